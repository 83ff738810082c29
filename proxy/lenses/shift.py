"""shift: dates moved by one offset a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import NamedTuple

from proxy.fhir.codec import Json
from proxy.fhir.lexical import FORMS
from proxy.fhir.search_values import parse_date
from proxy.lenses import LensMethod, Transform, lens
from proxy.lenses.backward import (
    DATES as PREFIXES,
)
from proxy.lenses.backward import (
    Backward,
    NotTranslatable,
    Ranged,
    Span,
    borders,
    days,
    reached,
    widened,
)
from proxy.lenses.context import LensContext
from proxy.lenses.dates import DATES, move_date

DEFAULT_RANGE = (-365, -1)
# By how much an end of a shown date without a day can differ from the moved end of the stored one:
# half a year, since it is their middle that moves; and a day for servers in other time zones.
_SLACK = timedelta(days=184)
_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Shifting(NamedTuple):
    """The parameters of the method: offsets from ``low`` to ``high`` days; ``system``: of the
    Patient's identifier that names the person, empty where its URL does."""

    low: int
    high: int
    system: str


def read_shift(params: Mapping[str, object]) -> Shifting:
    """The parameters as a policy gives them, checked at load."""
    given = params.get("range", DEFAULT_RANGE)
    low, high = given if isinstance(given, tuple) else DEFAULT_RANGE
    return Shifting(int(low), int(high), str(params.get("by-system", "")))


@dataclass(frozen=True, slots=True)
class ShiftedDay(Ranged):
    """A date shown ``low`` to ``high`` days later than stored; both the same for one person.
    ``masked``: what a date shows that is nobody's, empty if nothing: whoever asks for that asks for
    stored dates of every day."""

    low: int
    high: int
    prefixes: tuple[str, ...] = PREFIXES
    masked: str = ""

    def pinned(self, offset: int) -> ShiftedDay:
        """The same for a person whose offset is known."""
        return replace(self, low=offset, high=offset)

    def masked_as(self, text: str) -> ShiftedDay:
        return replace(self, masked=text)

    def span(self, value: str) -> Span | None:
        asked = parse_date(value)
        span = borders(asked.prefix, *days(asked.interval))
        if self.masked and _meets(widened(span), *days(parse_date(self.masked).interval)):
            return Span()
        return reached(Span(_moved(span.low, -self.high, -_SLACK),
                            _moved(span.high, -self.low, _SLACK)))  # fmt: skip


def _meets(span: Span, first: date, last: date) -> bool:
    """Whether any of these days is in the span."""
    early = isinstance(span.high, date) and span.high < first
    late = isinstance(span.low, date) and span.low > last
    return not (early or late)


def _moved(end: object, offset: int, slack: timedelta) -> date | None:
    """An end of a span as days of the stored dates; open where the calendar ends."""
    if not isinstance(end, date):
        return None
    try:
        return end + timedelta(days=offset) + slack
    except OverflowError:
        return None


def move_weekday(code: Json, offset: int) -> str | None:
    """The day of the week (R4, days-of-week) ``offset`` days later; None for what is none."""
    if code not in _WEEK:
        return None
    return _WEEK[(_WEEK.index(str(code)) + offset) % len(_WEEK)]


@lens("shift")
class Shift(LensMethod):
    """A date moved by as many days as all dates of the same person.

    ``range``: the least and the greatest offset in days, both included; one is drawn for each
    person from a key of the project, every one as likely as any other. ``by-system``: the system
    of the Patient's identifier that names the person; without it the Patient's URL does.

    Intervals between dates of one person, the time of day, fractions of seconds and the time zone
    stay; days are counted by the calendar, leap days too, and days of the week (of a Timing) move
    along. A date without a day moves from its
    middle (2 July; the 16th, in February the 15th) and stays as short. What leaves the calendar
    (years 1 to 9999) is masked, and so is the date of no person or of several.

    A search asks for dates as they show, by every prefix but ``ap``. It is exact for one patient
    that it names, and asks for the whole range otherwise; rows are judged as they show.

    Example: ``dateTime = { method = "shift", range = [-365, -1] }`` shows 2020-03-01T08:30:00-05:00
    of someone whose offset is -60 as 2020-01-01T08:30:00-05:00.
    """

    suits = DATES
    says = "moved by some days"
    shortens = False
    orders = True

    def bind(self, params: Mapping[str, object], type_code: str) -> Transform:
        if type_code not in DATES:
            raise ValueError(f"shift does not suit {type_code}")
        is_formed = FORMS[type_code].fullmatch

        def transform(value: Json, context: LensContext) -> Json | None:
            if type(value) is not str or context.offset is None or not is_formed(value):
                return None
            return move_date(value, context.offset)

        return transform

    def backward(self, params: Mapping[str, object], search_type: str) -> Backward:
        if search_type != "date":
            raise NotTranslatable
        low, high, _ = read_shift(params)
        return ShiftedDay(low, high)
