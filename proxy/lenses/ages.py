"""Ages: 90 and more are one category (45 CFR 164.514(b)(2)(i)(C)).

``AGE_CODES``: codes whose value is a person's age (LOINC 2.77, component "Age" and its kin;
SNOMED CT 2024-09, descendants of 397669002 and 445518008 in use for ages). ``YEARS_PER_UNIT``:
units of time by UCUM code or by the words that senders write, as years of 365.25 days.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal

from proxy.fhir.codec import Json, number
from proxy.lenses.dates import read_date
from proxy.lenses.numbers import UCUM

LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
BIRTH_DATE = (LOINC, "21112-8")

AGE_CODES: frozenset[tuple[str, str]] = frozenset(
    {
        *(
            (LOINC, code)
            for code in (
                "21611-9",  # Age - Estimated
                "21612-7",  # Age - Reported
                "29553-5",  # Age calculated
                "30525-0",  # Age
                "30972-4",  # Age at onset
                "35659-2",  # Age at specimen collection
                "39016-1",  # Age at death
                "42797-1",  # Age at diagnosis
                "46251-5",  # Age group
                "63900-5",  # Current age or age at death
                "63932-8",  # Age at diagnosis (PhenX)
                "64420-3",  # Current age (PhenX)
            )
        ),
        *(
            (SNOMED, code)
            for code in (
                "105727008",  # Age AND/OR growth period
                "397659008",  # Age
                "397669002",  # Age, qualifier
                "416671000",  # Age at death
                "424144002",  # Current chronological age
                "433152004",  # Age at specimen collection
                "445518008",  # Age at onset of clinical finding
            )
        ),
    }
)

_DAY = Decimal(1) / Decimal("365.25")
_UNITS: dict[Decimal, str] = {
    Decimal(1): "a a_j a_t a_g y yr yrs year years yo y/o year(s) {years}",
    Decimal(1) / 12: "mo mo_j mo_s mo_g mos mth mths month months month(s)",
    7 * _DAY: "wk wks week weeks week(s)",
    _DAY: "d day days day(s)",
    _DAY / 24: "h hr hrs hour hours hour(s)",
    _DAY / 1440: "min minute minutes minute(s)",
    _DAY / 86400: "s sec second seconds second(s)",
}
YEARS_PER_UNIT: dict[str, Decimal] = {
    word: years for years, words in _UNITS.items() for word in words.split()
}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def birthday(text: str) -> date | None:
    """The earliest day that a partial date can mean; None if it is malformed."""
    parts = read_date(text)
    return None if parts is None else date(parts[0], parts[1] or 1, parts[2] or 1)


def age_on(born: date, today: date) -> int:
    """Completed years of someone born on ``born``."""
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def is_older(birth_date: Json, oldest: int, today: date) -> bool:
    """Whether a person born then has passed ``oldest``; a date that cannot be read may have."""
    born = birthday(birth_date) if isinstance(birth_date, str) else None
    return born is None or age_on(born, today) > oldest


def unit_years(quantity: Json) -> Decimal | None:
    """Years per unit of a Quantity by its code, else its unit; None if it is no unit of time."""
    if not isinstance(quantity, dict):
        return None
    code, unit = quantity.get("code"), quantity.get("unit")
    if isinstance(code, str) and code:
        return YEARS_PER_UNIT.get(code)
    return YEARS_PER_UNIT.get(unit.strip().lower()) if isinstance(unit, str) else None


def years(quantity: Json, *, assume_years: bool) -> Decimal | None:
    """The age that a Quantity states, in years; None if it states none.

    ``assume_years``: a number without code and unit counts as years.
    """
    if not isinstance(quantity, dict):
        return None
    value, unit = number(quantity.get("value")), unit_years(quantity)
    if unit is None and assume_years and not quantity.get("code") and not quantity.get("unit"):
        unit = Decimal(1)
    return None if value is None or unit is None else value * unit


def band_quantity(shown: dict[str, Json], oldest: int, *, comparator: bool = True) -> Json:
    """What stands for an age past ``oldest``, with the members that ``shown`` has."""
    band: dict[str, Json] = {"value": oldest + 1}
    if comparator:
        band["comparator"] = ">="
    if "unit" in shown:
        band["unit"] = "years"
    if "code" in shown:
        band["system"], band["code"] = UCUM, "a"
    return band


def read_age_text(text: str) -> Decimal | None:
    """The first age in years in a text such as ``93 years``; None if it holds no number."""
    match = _NUMBER.search(text)
    if match is None:
        return None
    return Decimal(match[1]) * YEARS_PER_UNIT.get(match[2].lower(), Decimal(1))
