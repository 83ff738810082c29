"""The tripwire: does a direct identifier that was removed still stand in some other value?

A view hides by structure: it removes ``Patient.name`` wherever it is. The same name can also stand
in a logical id, a code or a URL, where structure does not see it. This looks for it there and
counts; it never says the value and never changes an answer.
"""

from __future__ import annotations

import binascii
import html
import re
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Iterator
from urllib.parse import unquote

from proxy.fhir.codec import Json, JsonObject
from proxy.fhir.structure import RESOURCES, properties
from proxy.policy.methods import PASSED

SHORTEST = 4  # letters of a name, characters of an identifier
# Members of datatypes that identify a person or a thing directly.
_MEMBERS = {
    "HumanName": ("text", "family", "given"),
    "Identifier": ("value",),
    "ContactPoint": ("value",),
    "Address": ("text", "line"),
}
_FREE = frozenset(
    {"string", "markdown", "xhtml", "base64Binary", "uri", "url", "oid", "uuid", "id"}
)
_NUMBER = re.compile(r"[0-9a-f]{1,11}")
_HL7 = "http://hl7.org/fhir/"
_WORDS = re.compile(r"\w+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{6,}={0,2}")


def identifiers(resource: Json) -> frozenset[str]:
    """Direct identifiers of a resource and of those inside it, in lower case: names of four
    letters or more, identifier values, telecoms, street lines, ids."""
    return frozenset(text for _, text in _identifiers(resource, ""))


def _identifiers(value: Json, kind: str) -> Iterator[tuple[str, str]]:
    """Each with the member that holds it, as ``HumanName.family``."""
    if isinstance(value, list):
        for item in value:
            yield from _identifiers(item, kind)
        return
    if not isinstance(value, dict):
        return
    if kind in ("", "Resource"):
        given = value.get("resourceType")
        kind = given if isinstance(given, str) and given in RESOURCES else ""
        if kind and kind not in PASSED:
            yield from _direct("id", value.get("id"))
    if not kind or kind in PASSED:
        return
    for member in _MEMBERS.get(kind, ()):
        inside = value.get(member)
        for text in inside if isinstance(inside, list) else [inside]:
            yield from _direct(f"{kind}.{member}", text)
    known = properties(kind)
    for name, inner in value.items():
        if name in known and not known[name].primitive:
            yield from _identifiers(inner, known[name].type)


def _direct(place: str, text: Json) -> Iterator[tuple[str, str]]:
    if not isinstance(text, str):
        return
    for part in _WORDS.findall(text) if place.startswith("HumanName.") else [text]:
        folded = " ".join(part.lower().split())
        if len(folded) >= SHORTEST:
            yield place, folded


def hits(shown: Json, removed: frozenset[str]) -> int:
    """In how many free texts and ids of ``shown`` one of the removed identifiers stands, as it is
    or percent, entity or base64 encoded. Whole words count: ``Mary`` is not found in ``Maryland``.
    """
    if not removed:
        return 0
    pattern = _pattern(removed)
    return sum(
        any(pattern.search(" ".join(form.lower().split())) for form in _forms(text))
        for text in _texts(shown, "")
    )


def _pattern(removed: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(removed, key=len, reverse=True)
    names = [re.escape(text) for text in longest_first if not _NUMBER.fullmatch(text)]
    # A few digits between hyphens are more likely a piece of a UUID.
    numbers = [re.escape(text) for text in longest_first if _NUMBER.fullmatch(text)]
    forms = [
        rf"(?<!{edge})(?:{'|'.join(texts)})(?!{edge})"
        for edge, texts in ((r"\w", names), (r"[\w-]", numbers))
        if texts
    ]
    return re.compile("|".join(forms))


def _texts(value: Json, kind: str) -> Iterator[str]:
    """Texts that are free or name things; codes and what a system is called are neither."""
    if isinstance(value, list):
        for item in value:
            yield from _texts(item, kind)
        return
    if isinstance(value, str) and kind in _FREE:
        yield value
    if not isinstance(value, dict):
        return
    if kind in ("", "Resource"):
        given = value.get("resourceType")
        kind = given if isinstance(given, str) and given in RESOURCES else ""
    if not kind or kind in PASSED:
        return
    known = properties(kind)
    for name, inner in value.items():
        if name not in known or (name == "system" and known[name].type == "uri"):
            continue
        # HL7's own extensions: their names are words, as names of people can be.
        if not (kind == "Extension" and name == "url" and str(inner).startswith(_HL7)):
            yield from _texts(inner, known[name].type)


def _forms(text: str) -> Iterator[str]:
    """The text and what it says once decoded."""
    yield text
    if "%" in text:
        yield unquote(text)
    if "&" in text:
        yield html.unescape(text)
    for piece in _BASE64.findall(text):
        padded = piece.rstrip("=") + "=" * (-len(piece.rstrip("=")) % 4)
        decode = urlsafe_b64decode if {"-", "_"} & set(padded) else b64decode
        try:
            yield decode(padded).decode("utf-8")
        except (binascii.Error, ValueError):
            continue


def alarm(stored: JsonObject, shown: JsonObject | None) -> int:
    """How many shown values still say what was removed from the resource: what a member held and,
    in what is shown, no such member holds."""
    if shown is None:
        return 0
    removed = set(_identifiers(stored, "")) - set(_identifiers(shown, ""))
    return hits(shown, frozenset(text for _, text in removed))
