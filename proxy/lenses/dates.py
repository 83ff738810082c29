"""Dates read, and shown as their year or month or some days away."""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from datetime import date, timedelta
from functools import lru_cache

DATES = frozenset({"date", "dateTime", "instant"})

# R4, datatypes.html#dateTime: precision from the year on; a time needs seconds and a zone.
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d))?)?)?"
)


@lru_cache(maxsize=65_536)
def read_date(text: str) -> tuple[int, int | None, int | None] | None:
    """(year, month, day) of a FHIR date, dateTime or instant, None where not given.

    None if it is malformed: not of the grammar, or no day of the calendar.
    """
    match = _DATE.fullmatch(text)
    if match is None or not text.isascii():
        return None
    year = int(match[1])
    month = int(match[2]) if match[2] else None
    day = int(match[3]) if match[3] else None
    if year == 0 or (month is not None and not 1 <= month <= 12):
        return None
    if month is not None and day is not None and not 1 <= day <= monthrange(year, month)[1]:
        return None
    if match[4] and (int(match[4]) > 23 or int(match[5]) > 59 or int(match[6]) > 60):
        return None
    zone = match[7]
    if zone and zone != "Z" and (int(zone[1:3]) > 14 or int(zone[4:6]) > 59):
        return None
    return year, month, day


@lru_cache(maxsize=65_536)
def year_of(text: str) -> str | None:
    """``YYYY`` of a well-formed date, as written."""
    return text[:4] if read_date(text) else None


@lru_cache(maxsize=65_536)
def month_of(text: str) -> str | None:
    """``YYYY-MM`` of a well-formed date, or ``YYYY`` if it has no month."""
    return text[:7] if read_date(text) else None


@lru_cache(maxsize=65_536)
def move_date(text: str, offset: int) -> str | None:
    """A well-formed date ``offset`` days later, as precise as it is written; its time stays.

    One without a day moves from its middle. None for a malformed one, and for what leaves the
    years from 1 to 9999.
    """
    parts = read_date(text)
    if parts is None:
        return None
    year, month, day = parts
    if month is None:
        stored = date(year, 1, 1) + timedelta(days=(365 + isleap(year)) // 2)
    else:
        stored = date(year, month, day or 1 + monthrange(year, month)[1] // 2)
    try:
        moved = stored + timedelta(days=offset)
    except OverflowError:
        return None
    return moved.isoformat()[: len(text)] + text[10:]
