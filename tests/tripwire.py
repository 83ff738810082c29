"""Looks for direct identifiers in what came out, in every encoding that hides text (R-TC-11).

Independent of the product's own tripwire: it knows nothing of datatypes in the output, and looks
through all of it as text.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from proxy.fhir.codec import Fragment

PERSONS = frozenset({"Patient", "RelatedPerson", "Person", "Practitioner"})
NAMES = ("text", "family", "given", "prefix", "suffix")


def identifying_values(resource: Any, *, dates: bool = False) -> set[str]:
    """Direct identifiers of every person in ``resource`` (a Bundle too), in lower case: names of
    four letters or more, identifier values, telecoms, street lines, ids; with ``dates`` also
    birth dates more exact than a year."""
    found: set[str] = set()
    for person in persons(resource):
        for name in items(person, "name"):
            for key in NAMES:
                for text in strings(name.get(key)):
                    found |= set(re.findall(r"[^\W\d_]{4,}", text))
        for identifier in items(person, "identifier"):
            found |= {v for v in strings(identifier.get("value")) if len(v) >= 4}
        for telecom in items(person, "telecom"):
            found |= {v for v in strings(telecom.get("value")) if len(v) >= 4}
        for address in items(person, "address"):
            found |= {v for v in strings(address.get("line")) if len(v) >= 4}
        found |= {v for v in strings(person.get("id")) if len(v) >= 4}
        if dates:
            found |= {v for v in strings(person.get("birthDate")) if len(v) > 4}
    return {v.lower() for v in found}


def persons(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if str(value.get("resourceType")) in PERSONS:
            yield value
            yield from items(value, "contact")
        for item in value.values():
            yield from persons(item)
    elif isinstance(value, list):
        for item in value:
            yield from persons(item)


def items(holder: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The objects of a member, whether it is one or a list."""
    value = holder.get(key)
    return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)]


def strings(value: Any) -> list[str]:
    return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)]


def find_leaks(output: Any, secrets: set[str]) -> set[str]:
    """The secrets that occur in the values of ``output`` (decoded JSON) as words, plain or
    decoded."""
    found = set()
    for text in readings("\n".join(values(output))):
        found |= {s for s in secrets if s in text and is_word(s, text)}
    return found


def values(value: Any) -> Iterator[str]:
    """Every value but the names of types."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "reference" and isinstance(item, str):
                yield item.partition("/")[2] or item
            elif key != "resourceType":
                yield from values(item)
    elif isinstance(value, list):
        for item in value:
            yield from values(item)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, Fragment):
        yield value.contents
    elif value is not None:
        yield json.dumps(value)


def is_word(secret: str, text: str) -> bool:
    """Whether the secret stands by itself: ``eve`` is not found in ``steve``."""
    return re.search(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", text) is not None


def readings(text: str, depth: int = 3) -> Iterator[str]:
    """The text in lower case, and what it says after decoding JSON escapes, percent signs,
    entities and base64, each also of the other's result."""
    seen = {text}
    waiting = [(text, depth)]
    while waiting:
        current, left = waiting.pop()
        yield current.lower()
        if left == 0:
            continue
        for decoded in decodings(current):
            if decoded not in seen:
                seen.add(decoded)
                waiting.append((decoded, left - 1))


def decodings(text: str) -> Iterator[str]:
    if "\\" in text:
        yield re.sub(r"\\u[0-9a-fA-F]{4}|\\[\"\\/bfnrt]", unescape, text)
    if "%" in text:
        yield unquote(text)
    if "&" in text:
        yield html.unescape(text)
    for match in re.finditer(r"[A-Za-z0-9+/_\-]{12,}={0,2}", text):
        decoded = from_base64(match[0])
        if decoded:
            yield decoded


def unescape(match: re.Match[str]) -> str:
    try:
        return str(json.loads(f'"{match[0]}"'))
    except ValueError:
        return match[0]


def from_base64(text: str) -> str | None:
    padded = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
        decoded = raw.decode()
    except (binascii.Error, ValueError):
        return None
    return decoded if decoded.isprintable() else None
