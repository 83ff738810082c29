"""Items of a FHIRPath collection as decoded JSON, and how two of them compare.

An item is a JSON value as :mod:`proxy.fhir.codec` decodes it (exact numbers are Fragments), or a
:class:`Leaf` where a primitive has a ``_name`` sibling with its id and extensions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, TypeAlias

from proxy.fhir.codec import Fragment, encode

Item: TypeAlias = Any
Items: TypeAlias = list[Item]


class NotSingle(ValueError):
    """A collection of several items, or of the wrong type, where one item is demanded."""


class Leaf(NamedTuple):
    """A primitive with its sibling; ``value`` is None where only the sibling is there."""

    value: Item
    sibling: Mapping[str, Any]


def bare(item: Item) -> Item:
    """The value without its sibling."""
    return item.value if isinstance(item, Leaf) else item


def members(item: Item, name: str) -> Items:
    """The items of one JSON property of an element, null and absent ones left out."""
    if type(item) is not dict:  # nearly always it is; an abstract class is slow to ask
        if isinstance(item, Leaf):
            item = item.sibling
        if not isinstance(item, Mapping):
            return []
    value, sibling = item.get(name), item.get("_" + name)
    if sibling is None:
        if value is None:
            return []
        if isinstance(value, list | tuple):
            return [v for v in value if v is not None]
        return [value]
    if isinstance(value, list) or isinstance(sibling, list):
        values = value if isinstance(value, list) else []
        siblings = sibling if isinstance(sibling, list) else []
        found = [
            _leaf(
                values[i] if i < len(values) else None,
                siblings[i] if i < len(siblings) else None,
            )
            for i in range(max(len(values), len(siblings)))
        ]
    else:
        found = [_leaf(value, sibling)]
    return [v for v in found if v is not None]


def _leaf(value: Item, sibling: Item) -> Item:
    return Leaf(value, sibling) if isinstance(sibling, Mapping) and sibling else value


def truth(items: Items) -> bool | None:
    """One boolean, or None for the empty collection; else :class:`NotSingle`.

    Stricter than FHIRPath's singleton evaluation, which takes any single item for true: a
    predicate that is no boolean selects nothing.
    """
    if not items:
        return None
    value = bare(items[0])
    if len(items) > 1 or not isinstance(value, bool):
        raise NotSingle
    return value


def single(items: Items) -> Item:
    """The only item, or None for the empty collection; else :class:`NotSingle`."""
    if len(items) > 1:
        raise NotSingle
    return bare(items[0]) if items else None


def decimal(item: Item) -> Decimal | None:
    """The number that an item is; None for anything else."""
    if isinstance(item, bool):
        return None
    if isinstance(item, Decimal | int):
        return Decimal(item)
    if isinstance(item, Fragment):
        try:
            return Decimal(encode(item).decode())
        except InvalidOperation:  # an exponent beyond all numbers
            return None
    return None


_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?"
_DATE = re.compile(rf"\d{{4}}(-\d\d(-\d\d(T{_TIME}(Z|[+-]\d\d:\d\d)?)?)?)?")
_FULL = re.compile(r"(.{19})(\.\d+)?(.*)")


def _instant(text: str) -> tuple[datetime, str] | None:
    """Date-time to the second, in its zone, and the fraction's digits."""
    parts = _FULL.fullmatch(text)
    if parts is None or not parts[3]:
        return None
    try:
        moment = datetime.fromisoformat(parts[1] + parts[3].replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment, (parts[2] or ".").rstrip("0")


def _order_dates(a: str, b: str) -> int | None:
    """-1, 0 or 1; None where precision or zone make it unknown (FHIRPath N1, 6.1.1, 6.2)."""
    if len(a) < 11 and len(b) < 11:
        common = min(len(a), len(b))
        if a[:common] != b[:common]:
            return -1 if a[:common] < b[:common] else 1
        return 0 if len(a) == len(b) else None
    first, second = _instant(a), _instant(b)
    if first is None or second is None:
        return 0 if a == b else None
    return (first > second) - (first < second)


def equal(a: Item, b: Item, *, dates: bool = False) -> bool | None:
    """FHIRPath ``=`` on two items (N1, 6.1.1); None where it is empty.

    ``dates``: two strings that are both dates compare as dates; False where one is a literal.
    """
    if type(a) is str and type(b) is str and not dates:
        return a == b
    a, b = bare(a), bare(b)
    if a is None or b is None:
        return None
    if isinstance(a, str) and isinstance(b, str):
        if a == b or not (dates and _DATE.fullmatch(a) and _DATE.fullmatch(b)):
            return a == b
        order = _order_dates(a, b)
        return None if order is None else order == 0
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_deep(a[k], b[k]) for k in a)
    if isinstance(a, Decimal | int | Fragment) and isinstance(b, Decimal | int | Fragment):
        return decimal(a) == decimal(b)
    return False


def _deep(a: Item, b: Item) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_deep, a, b))
    if a is None or b is None:
        return a is b
    return equal(a, b) is True


def equal_collections(a: Items, b: Items, *, dates: bool = False) -> bool | None:
    """FHIRPath ``=`` on two collections: same size, items equal in order; None if one is empty."""
    if not a or not b:
        return None
    if len(a) != len(b):
        return False
    if len(a) == 1:
        return equal(a[0], b[0], dates=dates)
    results = [equal(x, y, dates=dates) for x, y in zip(a, b, strict=True)]
    if False in results:
        return False
    return None if None in results else True


def order(a: Item, b: Item, *, dates: bool = False) -> int | None:
    """-1, 0 or 1 as ``a`` is before, at or after ``b`` (N1, 6.2); None where that is unknown.

    Raises :class:`NotSingle` for items that have no order or are of different types.
    """
    a, b = bare(a), bare(b)
    if a is None or b is None:
        return None
    if isinstance(a, str) and isinstance(b, str):
        if dates and _DATE.fullmatch(a) and _DATE.fullmatch(b):
            return _order_dates(a, b)
        return (a > b) - (a < b)
    left, right = decimal(a), decimal(b)
    if left is None or right is None:
        raise NotSingle
    return (left > right) - (left < right)


def contains(items: Items, item: Item) -> bool:
    """Whether one of ``items`` equals ``item``."""
    return any(equal(x, item) is True for x in items)


def distinct(items: Sequence[Item]) -> Items:
    """The items in order, equal ones once."""
    kept: Items = []
    for item in items:
        if not contains(kept, item):
            kept.append(item)
    return kept


def thaw(value: Item) -> Item:
    """A copy with Fragments as Decimal (int where it has no fraction), for fhirpathpy."""
    if isinstance(value, Leaf):
        return thaw(value.value)
    if isinstance(value, Mapping):
        return {k: thaw(v) for k, v in value.items()}
    if isinstance(value, list | tuple | frozenset | set):
        return [thaw(v) for v in value]
    return decimal(value) if isinstance(value, Fragment) else value
