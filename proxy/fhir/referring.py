"""What a resource refers to, as it is written."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.fhir.codec import Json


def reference_texts(value: Json) -> dict[str, None]:
    """Every ``reference`` text in ``value`` (R4, references.html#Reference), what it contains
    included; each once, in the order in which they stand."""
    found: dict[str, None] = {}
    waiting: list[Json] = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is dict:
            text = item.get("reference")
            if type(text) is str:
                found[text] = None
            inner: Iterable[Json] = reversed(item.values())
        else:
            inner = reversed(item) if type(item) is list else ()
        for child in inner:
            kind = type(child)
            if kind is dict or kind is list:
                waiting.append(child)
    return found
