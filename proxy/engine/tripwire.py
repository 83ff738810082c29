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

SHORTEST = 4  # letters of a name, characters of an identifier
# Members of datatypes that identify a person or a thing directly.
_MEMBERS = {
    "HumanName": ("text", "family", "given"),
    "Identifier": ("value",),
    "ContactPoint": ("value",),
    "Address": ("text", "line"),
}
_WORDS = re.compile(r"\w+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{6,}={0,2}")


def identifiers(resource: Json) -> frozenset[str]:
    """Direct identifiers of a resource and of those inside it, in lower case: names of four
    letters or more, identifier values, telecoms, street lines, ids."""
    return frozenset(_identifiers(resource, ""))


def _identifiers(value: Json, kind: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _identifiers(item, kind)
        return
    if not isinstance(value, dict):
        return
    if kind in ("", "Resource"):
        given = value.get("resourceType")
        kind = given if isinstance(given, str) and given in RESOURCES else ""
        yield from _direct(value.get("id"))
    if not kind:
        return
    for member in _MEMBERS.get(kind, ()):
        inside = value.get(member)
        for text in inside if isinstance(inside, list) else [inside]:
            yield from _direct(text, words=kind == "HumanName")
    known = properties(kind)
    for name, inner in value.items():
        if name in known and not known[name].primitive:
            yield from _identifiers(inner, known[name].type)


def _direct(text: Json, *, words: bool = False) -> Iterator[str]:
    if not isinstance(text, str):
        return
    for part in _WORDS.findall(text) if words else [text]:
        folded = " ".join(part.lower().split())
        if len(folded) >= SHORTEST:
            yield folded


def hits(shown: Json, removed: frozenset[str]) -> int:
    """In how many values of ``shown`` one of the removed identifiers stands, as it is or percent,
    entity or base64 encoded. Whole words count: ``Mary`` is not found in ``Maryland``."""
    if not removed:
        return 0
    longest_first = sorted(removed, key=len, reverse=True)
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)")
    return sum(
        any(pattern.search(" ".join(form.lower().split())) for form in _forms(text))
        for text in _texts(shown)
    )


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)


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
    """How many shown values still say what was removed from the resource."""
    if shown is None:
        return 0
    return hits(shown, identifiers(stored) - identifiers(shown))
