"""The age of a person in the units of AgePQ_UCUM (2.16.840.1.113883.11.20.9.21): years, and of
infants months, weeks or days."""

from __future__ import annotations

from datetime import date

from proxy.fhir.codec import Json, JsonObject
from proxy.lenses.ages import age_on, birthday, is_older
from proxy.lenses.context import absent
from proxy.lenses.dates import read_date
from proxy.lenses.numbers import UCUM

# UCUM code -> the word shown beside it.
UNITS = {"a": "year", "mo": "month", "wk": "week", "d": "day"}


def calculate_age(birth_date: Json, today: date) -> tuple[int, str] | None:
    """The age on ``today`` as a whole number and a UCUM code; None if it cannot be told.

    Completed years from the first birthday on, before it completed months, before the first month
    weeks, before the first week days. A partial date counts from the first day it can mean, and
    its age has no finer unit than the date: ``2026`` is years, ``2026-03`` months.
    """
    born = birthday(birth_date) if isinstance(birth_date, str) else None
    if born is None or born > today:
        return None
    _, month, day = read_date(str(birth_date)) or (0, None, None)
    years = age_on(born, today)
    months = (today.year - born.year) * 12 + today.month - born.month - (today.day < born.day)
    days = (today - born).days
    if years or month is None:
        return years, "a"
    if months or day is None:
        return months, "mo"
    return (days // 7, "wk") if days >= 7 else (days, "d")


def show_age(birth_date: Json, today: date, oldest: int | None) -> JsonObject:
    """The age on ``today`` as a Quantity with value, unit, system and code. ``oldest``: the oldest
    age shown exactly, or None. One that cannot be told has a reason in place of its value."""
    found = calculate_age(birth_date, today)
    if found is None:
        return {"_value": absent("unknown"), "unit": UNITS["a"], "system": UCUM, "code": "a"}
    value, code = found
    shown: JsonObject = {"value": value}
    if oldest is not None and is_older(birth_date, oldest, today):
        shown = {"value": oldest + 1, "comparator": ">="}
    return {**shown, "unit": UNITS[code], "system": UCUM, "code": code}
