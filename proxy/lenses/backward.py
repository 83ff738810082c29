"""Backward: what to ask upstream for values as a lens shows them.

What is asked for finds at least every resource that shows such a value; which of those do is then
judged on the shown resource. A lens that cannot promise as much for a type of search has no
backward for it, and what reads it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TypeAlias

from proxy.errors import Forbidden
from proxy.fhir.search_values import (
    DAYS,
    Interval,
    NumberValue,
    parse_date,
    parse_number,
    parse_quantity,
)

Bound: TypeAlias = "date | Decimal"
_DAY = 86_400 * 1_000_000  # microseconds


class NotTranslatable(Exception):
    """Searches of this type cannot be carried back through the lens."""


@dataclass(frozen=True, slots=True)
class Span:
    """All from ``low`` to ``high``, both taken in; None is unbounded."""

    low: Bound | None = None
    high: Bound | None = None

    @property
    def open(self) -> bool:
        """Whether it holds everything."""
        return self.low is None and self.high is None


def hull(spans: Iterable[Span]) -> Span:
    """The least span that holds all of them (at least one is given)."""
    lows, highs = zip(*((span.low, span.high) for span in spans), strict=True)
    return Span(
        None if None in lows else min(lows),
        None if None in highs else max(highs),
    )


class Listed:
    """Searches by text or code: a shown value comes from any of a list of stored ones.

    ``form``: how a value is written to match what is shown, empty if in no special way.
    """

    form: str = ""
    prefixes: tuple[str, ...] = ()

    def check(self, value: str) -> None:
        """Raises :class:`Forbidden` for a value finer than what is shown, BadValue for what is no
        value at all."""

    def values(self, value: str) -> tuple[str, ...]:
        """The search values to ask for, one of which finds what shows ``value``; escapes kept."""
        raise NotImplementedError


class Ranged:
    """Searches by size or time: what shows a value lies in one span.

    ``prefixes``: those that are answered; ``form`` as of :class:`Listed`.
    """

    form: str = ""
    prefixes: tuple[str, ...] = ()

    def check(self, value: str) -> None:
        """As of :class:`Listed`."""

    def span(self, value: str) -> Span | None:
        """Where the stored values lie; None if nothing shown can match."""
        raise NotImplementedError

    def masked_as(self, text: str) -> Ranged:
        """The same where what is masked shows as ``text``. Of a value that is always shown less
        exactly, and never masked, it is itself."""
        return self


Backward: TypeAlias = "Listed | Ranged"

_OPEN_START, _OPEN_END = date(1001, 1, 1), date(9000, 1, 1)
_PRECISIONS = {"year": "a year (YYYY)", "month": "a year or month (YYYY, YYYY-MM)"}
NUMBERS = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")  # R4, search.html#prefix
DATES = NUMBERS[:-1]  # what is approximate for a date depends on the day of asking
BORDERS = ("eq", "ne", "ge", "gt", "le", "lt")


@dataclass(frozen=True, slots=True)
class SameText(Listed):
    """What is shown as stored."""

    def values(self, value: str) -> tuple[str, ...]:
        return (value,)


@dataclass(frozen=True, slots=True)
class SameNumber(Ranged):
    """A number, or a Quantity's, as stored."""

    prefixes: tuple[str, ...] = NUMBERS

    def span(self, value: str) -> Span | None:
        asked = read_number(value)
        width = abs(asked.value) / 10 if asked.prefix == "ap" else asked.half
        low, high = asked.value, asked.value
        if asked.prefix in ("eq", "ap"):
            low, high = low - width, high + width
        return borders(asked.prefix, low, high)


@dataclass(frozen=True, slots=True)
class SameDay(Ranged):
    """A date as stored, asked for by days."""

    prefixes: tuple[str, ...] = DATES

    def span(self, value: str) -> Span | None:
        asked = parse_date(value)
        span = borders(asked.prefix, *days(asked.interval))
        return reached(span if asked.precision in DAYS else widened(span))


@dataclass(frozen=True, slots=True)
class ShownDay(Ranged):
    """A date shown as its year or month. Upstream the days asked for are one more on each side,
    for servers that read days in their own time zone."""

    finest: str
    prefixes: tuple[str, ...] = BORDERS

    @property
    def form(self) -> str:  # type: ignore[override]
        return _PRECISIONS[self.finest]

    def check(self, value: str) -> None:
        if parse_date(value).precision not in {"year", self.finest}:
            raise Forbidden(f"Your role sees dates less exactly: ask with {self.form}.")

    def span(self, value: str) -> Span | None:
        asked = parse_date(value)
        span = borders(asked.prefix, *days(asked.interval))
        # What lies after or before the days asked for does so by a day at least.
        return reached(span if asked.prefix in ("gt", "lt") else widened(span))


def read_number(value: str) -> NumberValue:
    """The number of a number or quantity value. Raises BadValue for a malformed one."""
    return parse_quantity(value).number if "|" in value else parse_number(value)


def days(interval: Interval) -> tuple[date, date]:
    """The first and last day of an interval that is bounded."""
    first = date.fromordinal((interval.low or 0) // _DAY + 1)
    last = date.fromordinal(max((interval.high or 0) - 1, 0) // _DAY + 1)
    return first, last


def widened(span: Span) -> Span:
    """A span of days with one day more on each side, as far as the calendar goes."""
    low, high = span.low, span.high
    if isinstance(low, date):
        low = low - timedelta(days=1) if low > date.min else None
    if isinstance(high, date):
        high = high + timedelta(days=1) if high < date.max else None
    return Span(low, high)


def reached(span: Span) -> Span:
    """A span of days without an end that an open period may not reach: HAPI holds one as ending on
    9000-01-01 and beginning on 1001-01-01."""
    low, high = span.low, span.high
    if isinstance(low, date) and low > _OPEN_END:
        low = None
    if isinstance(high, date) and high < _OPEN_START:
        high = None
    return Span(low, high)


def borders(prefix: str, low: Bound, high: Bound) -> Span:
    """Where values lie that stand to ``low`` … ``high`` as the prefix says; of periods, at least
    one end does."""
    if prefix in ("eq", "ap"):
        return Span(low, high)
    if prefix == "ge":
        return Span(low, None)
    if prefix in ("gt", "sa"):
        return Span(high, None)
    if prefix == "le":
        return Span(None, high)
    if prefix in ("lt", "eb"):
        return Span(None, low)
    return Span()
