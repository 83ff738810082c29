"""Lone surrogates: half of a UTF-16 pair, written as an escape, which stands for no character.

JSON's grammar allows ``"\\ud800"`` (RFC 8259, 8.2) and a FHIR server may hold it. The fast decoders
refuse all of a text for one; so it is taken out of their way here, and put back.
"""

from __future__ import annotations

import re

from proxy.errors import UpstreamBroken

# An escape: of a pair, of half a pair, or any other. In JSON a backslash begins nothing else.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_SOME = re.compile(rb"\\u[dD][89a-fA-F]")
_MARK = b"\x7f"  # legal in JSON text, and in no FHIR string (R4, datatypes.html#string)
_MARKED = re.compile(rb"\x7f(\d+)\x7f")
_REPLACEMENT = rb"\ufffd"


def has_lone(body: bytes) -> bool:
    """Whether the JSON text ``body`` has a lone surrogate."""
    if not _SOME.search(body):
        return False
    return any(match["lone"] for match in _ESCAPE.finditer(body))


def mend(body: bytes) -> bytes:
    """``body`` with the replacement character for each lone surrogate: to be read, not handed
    on."""
    return _ESCAPE.sub(lambda match: _REPLACEMENT if match["lone"] else match[0], body)


def hide(body: bytes) -> tuple[bytes, list[bytes]]:
    """``body`` with a mark for each lone surrogate, and what the marks stand for.

    Raises :class:`UpstreamBroken` if what marks them is in the text already.
    """
    if _MARK in body:
        raise UpstreamBroken()
    hidden: list[bytes] = []

    def replace(match: re.Match[bytes]) -> bytes:
        if not match["lone"]:
            return match[0]
        hidden.append(match[0])
        return b"%b%d%b" % (_MARK, len(hidden) - 1, _MARK)

    return _ESCAPE.sub(replace, body), hidden


def restore(part: bytes, hidden: list[bytes]) -> bytes:
    """A part of what :func:`hide` gave, as it was."""
    return _MARKED.sub(lambda match: hidden[int(match[1])], part)


class Unpaired(str):
    """A string with a lone surrogate. It is no FHIR string: whatever judges values by their exact
    type takes it for malformed."""

    __slots__ = ()


def mark(value: object) -> object:
    """``value``, decoded JSON, with its strings that have lone surrogates as :class:`Unpaired`."""
    if isinstance(value, dict):
        return {key: mark(item) for key, item in value.items()}
    if isinstance(value, list):
        return [mark(item) for item in value]
    if isinstance(value, str) and not is_text(value):
        return Unpaired(value)
    return value


def is_text(value: str) -> bool:
    """Whether ``value`` has no lone surrogate."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
