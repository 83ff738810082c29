"""What ``_sort`` compares of an element, by search type (R4, search.html#sort).

The order is HAPI's where the specification leaves it open: text without case and accents; codes by
their system, then the code, what has none after all that have; a period without a begin before all
others. What has no value at all comes last in either direction.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, TypeAlias, TypeVar

from proxy.fhir import match_elements as elements
from proxy.fhir.fhirpath_values import decimal

# Of one parameter and direction all keys are of one kind, so that they compare.
SortKey: TypeAlias = "str | int | Decimal | tuple[bool, str, bool, str]"
T = TypeVar("T")

_LONG_AGO = -(1 << 62)  # microseconds; before any date


def _text_keys(element: Any, code: str, _: bool) -> Iterator[SortKey]:
    for text in elements.texts(element, code):
        plain = unicodedata.normalize("NFD", text)
        yield "".join(c for c in plain if not unicodedata.combining(c)).upper()


def _token_keys(element: Any, code: str, down: bool) -> Iterator[SortKey]:
    for system, value in elements.tokens(element, code):
        if system is None and value is None:
            continue
        # Where there is none must come last, and the greatest comes first on the way down.
        yield (system is None) is not down, system or "", (value is None) is not down, value or ""


def _date_keys(element: Any, code: str, _: bool) -> Iterator[SortKey]:
    held = elements.interval(element, code)
    if held is not None:
        yield _LONG_AGO if held.low is None else held.low


def _number_keys(element: Any, code: str, _: bool) -> Iterator[SortKey]:
    if isinstance(element, Mapping):
        found = [decimal(each.get("value")) for each in elements.quantities(element, code)]
    else:
        found = [decimal(element)]
    yield from (number for number in found if number is not None)


def _plain_keys(element: Any, _: str, __: bool) -> Iterator[SortKey]:
    text = element.get("reference") if isinstance(element, Mapping) else element
    if isinstance(text, str):
        yield text


# Search type -> the keys of an element of a type, on the way up or down.
KEYS: Mapping[str, Callable[[Any, str, bool], Iterator[SortKey]]] = {
    "string": _text_keys,
    "token": _token_keys,
    "date": _date_keys,
    "number": _number_keys,
    "quantity": _number_keys,
    "reference": _plain_keys,
    "uri": _plain_keys,
}


def put_in_order(keyed: Iterable[tuple[SortKey | None, T]], *, down: bool) -> list[T]:
    """Things by their keys; those with the same key, or with none, as they came."""
    having: list[tuple[SortKey, T]] = []
    others: list[T] = []
    for key, item in keyed:
        if key is None:
            others.append(item)
        else:
            having.append((key, item))
    having.sort(key=lambda pair: pair[0], reverse=down)
    return [item for _, item in having] + others
