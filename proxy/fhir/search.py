"""Search parameters as written: parse, split, edit, print in order (R4, search.html).

A query string or form body is percent-decoded exactly once, ``+`` as blank; what comes out is
never decoded again. Order and repetitions are kept. Values are split and typed by
:mod:`proxy.fhir.search_values`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from proxy.errors import BadStructure, BadValue, NotSupported, TooCostly

MAX_PARAMETERS = 200
MAX_ALTERNATIVES = 1000
MAX_VALUE = 20_000  # characters

_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff]")
# A parameter, with modifier and chain; `_has` has type, reference and parameter after colons.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:[.:][A-Za-z0-9_*-]+)*")
# The first step: everything up to a modifier or the rest of a chain.
_STEP = re.compile(r"([^.:]+)(?::([^.]*))?(?:\.(.*))?")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter as the client wrote it, decoded.

    ``Observation?subject:Patient.name:exact=Eve``: ``code`` is ``subject``, ``modifier``
    ``Patient``, ``chain`` ``name:exact``. ``_has:Observation:patient:code=x``: ``code`` is
    ``_has``, ``modifier`` ``Observation:patient:code``. ``value`` still has its FHIR escapes,
    prefix and commas.
    """

    code: str
    modifier: str
    chain: str
    value: str

    @property
    def name(self) -> str:
        """The full name, as before the ``=``."""
        modifier = f":{self.modifier}" if self.modifier else ""
        return self.code + modifier + (f".{self.chain}" if self.chain else "")

    @property
    def alternatives(self) -> tuple[str, ...]:
        """The OR list: the value split at unescaped commas, escapes kept."""
        return split(self.value, ",")

    def rest(self) -> Parameter:
        """What a chain demands of its target, as a parameter of its own."""
        return parameter(self.chain, self.value)


def parameter(name: str, value: str, longest: int = MAX_VALUE) -> Parameter:
    """A parameter from its full name and decoded value, of at most ``longest`` characters.

    Raises :class:`NotSupported` for a name that no parameter can have, :class:`BadValue` for an
    empty or over-long value or control characters.
    """
    match = _STEP.fullmatch(name) if _NAME.fullmatch(name) else None
    if match is None:
        raise NotSupported("The name of a search parameter is not valid.")
    code, modifier, chain = match[1], match[2] or "", match[3] or ""
    if code == "_has":
        modifier, chain = name[5:], ""
    if not value:
        raise BadValue("A search parameter has an empty value; leave it out instead.")
    if len(value) > longest:
        raise BadValue("A search value is too long.")
    if _CONTROL.search(value):
        raise BadValue("A search value has a control character.")
    return Parameter(code, modifier, chain, value)


def parse_query(raw: str | bytes) -> tuple[Parameter, ...]:
    """The parameters of a raw query string (without ``?``), percent-encoded as sent.

    Raises :class:`BadStructure` where it is not ``name=value`` pairs or not UTF-8 when decoded,
    :class:`TooCostly` past :data:`MAX_PARAMETERS`, and what :func:`parameter` raises.
    """
    if isinstance(raw, str):
        try:
            raw = raw.encode("ascii")
        except UnicodeEncodeError:
            raise BadStructure("The query has characters that must be percent-encoded.") from None
    pairs = [pair for pair in raw.split(b"&") if pair]
    if len(pairs) > MAX_PARAMETERS:
        raise TooCostly("The search has too many parameters.")
    found = []
    for pair in pairs:
        name, equals, value = pair.partition(b"=")
        if not equals:
            raise BadStructure("A search parameter has no value.")
        found.append(parameter(_decode(name), _decode(value)))
    return tuple(found)


def parse_form(body: bytes) -> tuple[Parameter, ...]:
    """The parameters of an ``application/x-www-form-urlencoded`` body; see :func:`parse_query`."""
    return parse_query(body.strip(b"\r\n"))


def _decode(text: bytes) -> str:
    if _BAD_PERCENT.search(text):
        raise BadStructure("The query has a malformed percent escape.")
    plain = _ESCAPE.sub(lambda m: bytes((int(m[1], 16),)), text.replace(b"+", b" "))
    try:
        return plain.decode("utf-8")
    except UnicodeDecodeError:
        raise BadStructure("The query is not valid UTF-8.") from None


def pairs(parameters: Iterable[Parameter]) -> tuple[tuple[str, str], ...]:
    """(name, value) as they go into a form, in order."""
    return tuple((p.name, p.value) for p in parameters)


def print_query(parameters: Iterable[Parameter]) -> str:
    """A query string that :func:`parse_query` reads as the same parameters, in order."""
    return "&".join(f"{quote(p.name, safe=':.*')}={quote(p.value, safe='')}" for p in parameters)


def split(text: str, separator: str, most: int = MAX_ALTERNATIVES) -> tuple[str, ...]:
    """``text`` at each ``separator`` that no backslash escapes (R4, search.html#escaping).

    Raises :class:`TooCostly` for more than ``most`` parts.
    """
    if "\\" not in text:
        parts = text.split(separator)
    else:
        parts, start, at = [], 0, 0
        while at < len(text):
            if text[at] == "\\":
                at += 1
            elif text[at] == separator:
                parts.append(text[start:at])
                start = at + 1
            at += 1
        parts.append(text[start:])
    if len(parts) > most:
        raise TooCostly("A search value has too many alternatives.")
    return tuple(parts)


def unescape(text: str) -> str:
    r"""``\,`` ``\|`` ``\$`` ``\\`` to the characters; any other backslash is :class:`BadValue`."""
    if "\\" not in text:
        return text
    out, characters = [], iter(text)
    for character in characters:
        if character == "\\":
            character = next(characters, "")
            if character not in ("\\", ",", "|", "$"):
                raise BadValue("A search value has a backslash that escapes nothing.")
        out.append(character)
    return "".join(out)


def escape(text: str) -> str:
    r"""``text`` as a part of a search value: ``\`` ``,`` ``|`` ``$`` escaped."""
    for character in "\\,|$":
        text = text.replace(character, "\\" + character)
    return text
