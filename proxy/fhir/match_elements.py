"""What an element holds that a search can compare: its texts, codes, interval, quantities."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache

from proxy.fhir.fhirpath_values import decimal
from proxy.fhir.search_values import Interval, date_interval

Element = object

# Element types that each search type indexes (R4, search.html#ptypes); of a choice, the others are
# passed over.
QUANTITIES = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "Money", "Range"})
INDEXED: dict[str, frozenset[str]] = {
    "token": frozenset(
        {"CodeableConcept", "Coding", "Identifier", "ContactPoint", "code", "boolean", "string",
         "uri", "id", "canonical", "url", "oid", "uuid", "integer", "positiveInt"}
    ),
    "string": frozenset({"string", "markdown", "code", "HumanName", "Address"}),
    "date": frozenset({"date", "dateTime", "instant", "Period", "Timing"}),
    "number": frozenset({"integer", "decimal", "positiveInt", "unsignedInt"}),
    "quantity": QUANTITIES | {"SampledData"},
    "reference": frozenset({"Reference", "canonical", "uri", "url"}),
    "uri": frozenset({"uri", "url", "oid", "uuid", "canonical"}),
}  # fmt: skip
_ADDRESS = ("text", "line", "city", "district", "state", "postalCode", "country")
_NAME = ("text", "family", "given", "prefix", "suffix")


def present(element: Element) -> bool:
    """Whether an element counts for ``:missing``."""
    return element is not None and element not in ("", [], {})


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """A string without case and accents (R4, search.html#string)."""
    plain = unicodedata.normalize("NFD", text)
    return "".join(c for c in plain if not unicodedata.combining(c)).casefold()


def texts(element: Element, code: str) -> Iterator[str]:
    """The strings of an element that a string parameter compares one by one."""
    if isinstance(element, str):
        yield element
    elif isinstance(element, Mapping):
        for name in {"HumanName": _NAME, "Address": _ADDRESS}.get(code, ()):
            inner = element.get(name)
            for item in inner if isinstance(inner, list) else [inner]:
                if isinstance(item, str):
                    yield item


def tokens(element: Element, code: str) -> Iterator[tuple[str | None, str | None]]:
    """(system, code) of an element; the system is None where there is none."""
    if isinstance(element, bool):
        yield None, "true" if element else "false"
    elif isinstance(element, str):
        yield None, element
    elif isinstance(element, int):
        yield None, str(element)
    elif isinstance(element, Mapping):
        if code == "CodeableConcept":
            codings = element.get("coding")
            for coding in codings if isinstance(codings, list) else ():
                yield from tokens(coding, "Coding")
        elif code in ("Identifier", "ContactPoint"):
            yield _text(element.get("system")), _text(element.get("value"))
        elif code == "Coding":
            yield _text(element.get("system")), _text(element.get("code"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def interval(element: Element, code: str, civil: bool = False) -> Interval | None:
    """The interval that a date, Period or Timing means; None if it has none.

    ``civil``: dates count as they are written, whatever their zone."""
    if isinstance(element, str):
        found = date_interval(element, civil)
        return None if found is None else found[0]
    if not isinstance(element, Mapping):
        return None
    if code == "Period":
        start, end = (_bound(element.get(name), civil) for name in ("start", "end"))
        if start is None and end is None:
            return None
        return Interval(start.low if start else None, end.high if end else None)
    if code == "Timing":
        events = element.get("event")
        repeat = element.get("repeat")
        bounds = repeat.get("boundsPeriod") if isinstance(repeat, Mapping) else None
        spans = [interval(e, "dateTime", civil) for e in events] if isinstance(events, list) else []
        spans.append(interval(bounds, "Period", civil))
        return _hull([s for s in spans if s is not None])
    return None


def _bound(value: object, civil: bool) -> Interval | None:
    return interval(value, "dateTime", civil) if isinstance(value, str) else None


def _hull(spans: list[Interval]) -> Interval | None:
    if not spans:
        return None
    lows, highs = [s.low for s in spans], [s.high for s in spans]
    return Interval(
        None if None in lows else min(x for x in lows if x is not None),
        None if None in highs else max(x for x in highs if x is not None),
    )


def quantities(element: Element, code: str) -> Iterator[Mapping[str, object]]:
    """The Quantities of an element: itself, or the ends of a Range."""
    if isinstance(element, Mapping):
        if code == "Range":
            for name in ("low", "high"):
                inner = element.get(name)
                if isinstance(inner, Mapping):
                    yield inner
        elif code in QUANTITIES:
            yield element


def stands_for_older(element: Element, code: str, border: int) -> bool:
    """Whether a value is the one that a view shows for every age from ``border`` on: ``>= 90`` in
    years or without a unit, a Range from 90 years without an end, the text ``90+``."""
    if not isinstance(element, Mapping):
        return element == f"{border}+"
    if code == "Range":
        low = element.get("low")
        return "high" not in element and isinstance(low, Mapping) and _is_border(low, border)
    return code in QUANTITIES and element.get("comparator") == ">=" and _is_border(element, border)


def _is_border(quantity: Mapping[str, object], border: int) -> bool:
    years = quantity.get("code", "a") == "a" and quantity.get("unit", "years") == "years"
    return years and decimal(quantity.get("value")) == border
