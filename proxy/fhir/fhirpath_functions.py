"""FHIRPath functions as closures: input and arguments compiled, collection in, collection out.

Functions that take a criterion or a type are built in :mod:`proxy.fhir.fhirpath`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from proxy.fhir import fhirpath_values as values
from proxy.fhir.fhirpath_values import Items, NotSingle

Run: TypeAlias = "Callable[[Items, Mapping[str, object]], Items]"

FUNCTIONS: dict[str, Callable[..., Run]] = {}


def _collection(name: str) -> Callable[[Callable[[Items], Items]], Callable[[Items], Items]]:
    """Register a function of its input alone."""

    def register(work: Callable[[Items], Items]) -> Callable[[Items], Items]:
        FUNCTIONS[name] = lambda run: lambda focus, claims: work(run(focus, claims))
        return work

    return register


def _two(name: str) -> Callable[[Callable[[Items, Items], Items]], Callable[[Items, Items], Items]]:
    """Register a function of its input and one argument."""

    def register(work: Callable[[Items, Items], Items]) -> Callable[[Items, Items], Items]:
        FUNCTIONS[name] = lambda run, other: (
            lambda focus, claims: work(run(focus, claims), other(focus, claims))
        )
        return work

    return register


@_collection("empty")
def _empty(items: Items) -> Items:
    return [not items]


@_collection("not")
def _not(items: Items) -> Items:
    value = values.truth(items)
    return [] if value is None else [not value]


@_collection("count")
def _count(items: Items) -> Items:
    return [len(items)]


@_collection("first")
def _first(items: Items) -> Items:
    return items[:1]


@_collection("last")
def _last(items: Items) -> Items:
    return items[-1:]


@_collection("tail")
def _tail(items: Items) -> Items:
    return items[1:]


@_collection("single")
def _single(items: Items) -> Items:
    if len(items) > 1:
        raise NotSingle
    return items


@_collection("distinct")
def _distinct(items: Items) -> Items:
    return values.distinct(items)


@_collection("isDistinct")
def _is_distinct(items: Items) -> Items:
    return [len(values.distinct(items)) == len(items)]


@_collection("allTrue")
def _all_true(items: Items) -> Items:
    return [all(values.truth([i]) is True for i in items)]


@_collection("anyTrue")
def _any_true(items: Items) -> Items:
    return [any(values.truth([i]) is True for i in items)]


@_collection("allFalse")
def _all_false(items: Items) -> Items:
    return [all(values.truth([i]) is False for i in items)]


@_collection("anyFalse")
def _any_false(items: Items) -> Items:
    return [any(values.truth([i]) is False for i in items)]


def _string(items: Items) -> str | None:
    value = values.single(items)
    if value is not None and not isinstance(value, str):
        raise NotSingle
    return value


def _whole(items: Items) -> int:
    value = values.decimal(values.single(items))
    if value is None or value != int(value):
        raise NotSingle
    return int(value)


@_two("skip")
def _skip(items: Items, number: Items) -> Items:
    return items[max(_whole(number), 0) :]


@_two("take")
def _take(items: Items, number: Items) -> Items:
    return items[: max(_whole(number), 0)]


@_two("union")
def _union(items: Items, others: Items) -> Items:
    return values.distinct([*items, *others])


@_two("combine")
def _combine(items: Items, others: Items) -> Items:
    return [*items, *others]


@_two("intersect")
def _intersect(items: Items, others: Items) -> Items:
    return [i for i in values.distinct(items) if values.contains(others, i)]


@_two("exclude")
def _exclude(items: Items, others: Items) -> Items:
    return [i for i in items if not values.contains(others, i)]


@_two("subsetOf")
def _subset_of(items: Items, others: Items) -> Items:
    return [all(values.contains(others, i) for i in items)]


@_two("supersetOf")
def _superset_of(items: Items, others: Items) -> Items:
    return [all(values.contains(items, i) for i in others)]


@_two("startsWith")
def _starts_with(items: Items, part: Items) -> Items:
    text, start = _string(items), _string(part)
    return [] if text is None or start is None else [text.startswith(start)]


@_two("endsWith")
def _ends_with(items: Items, part: Items) -> Items:
    text, end = _string(items), _string(part)
    return [] if text is None or end is None else [text.endswith(end)]


@_two("contains")
def _contains(items: Items, part: Items) -> Items:
    text, inner = _string(items), _string(part)
    return [] if text is None or inner is None else [inner in text]


@_two("extension")
def _extension(items: Items, url: Items) -> Items:
    wanted = _string(url)
    return [
        e
        for i in items
        for e in values.members(i, "extension")
        if isinstance(e, dict) and wanted is not None and e.get("url") == wanted
    ]
