"""Search values by type: date, number, quantity, token, reference (R4, search.html#ptypes).

Instants are whole microseconds since 0001-01-01T00:00:00Z, so that intervals can end after the
year 9999. An interval is half-open: ``[low, high)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache

from proxy.errors import BadValue
from proxy.fhir.search import split, unescape

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")

DAYS = frozenset({"year", "month", "day"})  # precisions without a time of day

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?"
    r"(Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)
_NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?([eE][+-]?\d{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Interval:
    """``[low, high)`` in microseconds; None is unbounded."""

    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class DateValue:
    """A date as searched for: ``2018``, ``ge2018-03-01T12:00Z``.

    ``text``: without prefix. ``precision``: year, month, day, minute, second or fraction.
    ``civil``: it names days, so it is compared with dates as they are written, whatever their zone.
    """

    prefix: str
    text: str
    precision: str
    interval: Interval

    @property
    def civil(self) -> bool:
        return self.precision in DAYS


@dataclass(frozen=True, slots=True)
class NumberValue:
    """A number as searched for; ``half``: half a unit of its last digit (R4, #number).

    ``1e2`` counts as ``100``, as HAPI reads it; R4's text gives it the range 95 to 105.
    """

    prefix: str
    text: str
    value: Decimal
    half: Decimal


@dataclass(frozen=True, slots=True)
class QuantityValue:
    """``5.4|http://unitsofmeasure.org|mg``. ``system`` None: any, also none; "": none."""

    number: NumberValue
    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class TokenValue:
    """``code``, ``system|code``, ``|code``, ``system|``.

    ``system`` None: any; "": none. ``code`` None: any.
    """

    system: str | None
    code: str | None


@lru_cache(maxsize=4096)
def date_interval(text: str, civil: bool = False) -> tuple[Interval, str] | None:
    """The interval that a FHIR date, dateTime or instant means, and its precision.

    A time without zone is read as UTC; with ``civil`` every time is, as if it had no zone. None if
    it is not a date of the calendar.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        start = date(int(year), int(month or 1), int(day or 1)).toordinal() - 1
        if month is None:
            return Interval(start * _DAY, _year_end(int(year)) * _DAY), "year"
        if day is None:
            following = int(year) * 12 + int(month)
            end = (
                _year_end(int(year))
                if following % 12 == 0
                else date(following // 12, following % 12 + 1, 1).toordinal() - 1
            )
            return Interval(start * _DAY, end * _DAY), "month"
    except ValueError:
        return None
    if hour is None:
        return Interval(start * _DAY, (start + 1) * _DAY), "day"
    offset = _offset(zone)
    # R4, datatypes.html#dateTime: 60 is a leap second, which counts as the one before.
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 60 or offset is None:
        return None
    if civil:
        offset = 0
    seconds = min(int(second or 0), 59)
    low = start * _DAY + ((int(hour) * 60 + int(minute) - offset) * 60 + seconds) * _SECOND
    if second is None:
        return Interval(low, low + 60 * _SECOND), "minute"
    if fraction is None:
        return Interval(low, low + _SECOND), "second"
    digits = min(len(fraction), 6)
    low += int(fraction[:6].ljust(6, "0"))
    return Interval(low, low + 10 ** (6 - digits)), "fraction"


def _year_end(year: int) -> int:
    return date(year, 12, 31).toordinal()


def _offset(zone: str | None) -> int | None:
    """Minutes east of UTC."""
    if zone is None or zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[4:])
    if hours > 14 or minutes > 59:
        return None
    return (hours * 60 + minutes) * (-1 if zone[0] == "-" else 1)


def _prefixed(text: str) -> tuple[str, str]:
    return (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)


def parse_date(text: str) -> DateValue:
    """One alternative of a date parameter. :class:`BadValue` if it is not one."""
    prefix, rest = _prefixed(unescape(text))
    found = date_interval(rest)
    if found is None:
        raise BadValue(
            "A date in the search is not valid: use YYYY, YYYY-MM, YYYY-MM-DD or a date-time, "
            "with + percent-encoded as %2B."
        )
    return DateValue(prefix, rest, found[1], found[0])


def parse_number(text: str) -> NumberValue:
    """One alternative of a number parameter. :class:`BadValue` if it is not one."""
    prefix, rest = _prefixed(unescape(text))
    if not _NUMBER.fullmatch(rest):
        raise BadValue("A number in the search is not valid.")
    value = Decimal(rest)
    mantissa, _, exponent = rest.lower().partition("e")
    decimals = max(len(mantissa.partition(".")[2]) - int(exponent or 0), 0)
    return NumberValue(prefix, rest, value, Decimal((0, (5,), -decimals - 1)))


def parse_quantity(text: str) -> QuantityValue:
    """``[prefix]number[|system|code]``. :class:`BadValue` if it is not one."""
    parts = split(text, "|")
    if len(parts) not in (1, 3):
        raise BadValue("A quantity in the search must be a number or number|system|code.")
    number = parse_number(parts[0])
    if len(parts) == 1:
        return QuantityValue(number, None, None)
    system, code = unescape(parts[1]), unescape(parts[2])
    return QuantityValue(number, system or None, code or None)


def parse_token(text: str) -> TokenValue:
    """One alternative of a token parameter. :class:`BadValue` if it is not one."""
    system, bar, code = _partition(text)
    if not bar:
        return TokenValue(None, unescape(text))
    if not system and not code:
        raise BadValue("A token in the search is empty.")
    return TokenValue(unescape(system), unescape(code) if code else None)


def _partition(text: str) -> tuple[str, str, str]:
    """``text`` at its first unescaped bar."""
    at = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "|":
            return text[:at], "|", text[at + 1 :]
        at += 1
    return text, "", ""


def nonempty(alternatives: tuple[str, ...]) -> tuple[str, ...]:
    """The alternatives, or :class:`BadValue` if one of them is empty."""
    if "" in alternatives:
        raise BadValue("A search value has an empty alternative.")
    return alternatives
