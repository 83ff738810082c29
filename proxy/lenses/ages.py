"""Ages: 90 and more are one category (45 CFR 164.514(b)(2)(i)(C)).

``AGE_CODES``: codes whose value is a person's age (LOINC 2.77, component "Age" and its kin;
SNOMED CT 2024-09, descendants of 397669002 and 445518008 in use for ages), under the systems'
URLs and their OIDs. ``YEARS_PER_UNIT``: units of time by UCUM code or by the words that senders
write, in lower case, as years of 365.25 days. A unit that is not among them tells nothing: a number
beside it can be any age.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from decimal import Decimal

from proxy.fhir.codec import Json, number
from proxy.lenses.context import DATA_ABSENT_REASON, LensContext
from proxy.lenses.dates import read_date
from proxy.lenses.numbers import UCUM

LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
AGE_RANGE = "urn:ecr-proxy:age-range"  # the extension that shows one

_SYSTEMS = {
    LOINC: (LOINC, "urn:oid:2.16.840.1.113883.6.1"),
    SNOMED: (SNOMED, "urn:oid:2.16.840.1.113883.6.96"),
}
# Codes whose value is a birth date or year (LOINC 2.82, SNOMED CT 2024-09).
BIRTH_DATES: frozenset[tuple[str, str]] = frozenset(
    {
        *((system, "21112-8") for system in _SYSTEMS[LOINC]),  # Birth date
        *((system, "80904-6") for system in _SYSTEMS[LOINC]),  # Birth year
        *((system, "184099003") for system in _SYSTEMS[SNOMED]),  # Date of birth
    }
)
AGE_CODES: frozenset[tuple[str, str]] = frozenset(
    {
        *(
            (system, code)
            for system in _SYSTEMS[LOINC]
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
            (system, code)
            for system in _SYSTEMS[SNOMED]
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

# Observations made at birth, so that when they were made tells a birth date (LOINC 2.82).
BIRTH_EVENTS = BIRTH_DATES | frozenset(
    (system, code)
    for system in _SYSTEMS[LOINC]
    for code in (
        "57722-1",  # Birth plurality of Pregnancy
        "73771-8",  # Birth order
        "76689-9",  # Sex assigned at birth
        "8305-8",  # Body height --post partum
        "8339-4",  # Birth weight Measured
        "89269-5",  # Body height Measured --at birth
        "9271-8",  # 10 minute Apgar Score
        "9272-6",  # 1 minute Apgar Score
        "9274-2",  # 5 minute Apgar Score
    )
)

_DAY = Decimal(1) / Decimal("365.25")
_UNITS: dict[Decimal, str] = {
    Decimal(100): "century centuries",
    Decimal(10): "decade decades",
    Decimal(1): "a a_j a_t a_g ann ann_j y yr yrs year years yo y/o yoa",
    Decimal(1) / 12: "mo mo_j mo_s mo_g mos mth mths month months",
    7 * _DAY: "wk wks week weeks",
    _DAY: "d day days",
    _DAY / 24: "h hr hrs hour hours",
    _DAY / 1440: "min minute minutes",
    _DAY / 86400: "s sec second seconds",
}
_ABROAD: dict[Decimal, str] = {
    Decimal(1): "an ans année années ano anos año años anno anni jaar jaren jahr jahre jahren år",
    Decimal(1) / 12: "mes meses mois monat monate",
    7 * _DAY: "semana semanas semaine semaines woche wochen",
    _DAY: "dia dias día días jour jours tag tage",
}
YEARS_PER_UNIT: dict[str, Decimal] = {
    word: years
    for table in (_UNITS, _ABROAD)
    for years, words in table.items()
    for word in words.split()
}
# Words beside a unit that say no more than that it is one of age.
FILLERS = frozenset({"age", "aged", "of", "old"})
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)(.*)", re.DOTALL | re.ASCII)
_WORDS = re.compile(r"[^\W\d_]{2,}")
_MONTH = Decimal(1) / 12


def birthday(text: str) -> date | None:
    """The earliest day that a partial date can mean; None if it is malformed."""
    parts = read_date(text)
    return None if parts is None else date(parts[0], parts[1] or 1, parts[2] or 1)


def age_on(born: date, today: date) -> int:
    """Completed years of someone born on ``born``."""
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def show_age_range(value: Json, context: LensContext) -> Json | None:
    """What stands beside a birth date that is masked: the age reached this year, by five years,
    from 90 on as one; None if there is none."""
    parts = read_date(value) if isinstance(value, str) else None
    age = -1 if parts is None else context.today.year - parts[0]
    if age < 0:
        return None
    low = age // 5 * 5
    text = "90+" if low >= 90 else f"{low}-{low + 4}"
    return {
        "extension": [
            {"url": DATA_ABSENT_REASON, "valueCode": "masked"},
            {"url": AGE_RANGE, "valueString": text},
        ]
    }


def is_day(value: Json) -> bool:
    """Whether a number reads as a day, YYYYMMDD, or a time of one: so converters write what was no
    FHIR date."""
    stated = number(value)
    if stated is None or stated != stated.to_integral_value() or not 0 < stated < 10**14:
        return False
    text = str(int(stated))
    if len(text) not in (8, 10, 12, 14) or not "1800" <= text[:4] < "2200":
        return False
    return "01" <= text[4:6] <= "12" and "01" <= text[6:8] <= "31"


def is_older(birth_date: Json, oldest: int, today: date) -> bool:
    """Whether a person born then has passed ``oldest``; a date that cannot be read may have."""
    born = birthday(birth_date) if isinstance(birth_date, str) else None
    return born is None or age_on(born, today) > oldest


def _fold(unit: str) -> str:
    """A unit without case, annotation marks, dots and fillers: ``{Years}``, ``YEARS OLD``."""
    text = unicodedata.normalize("NFKC", unit).lower().replace("(s)", "s").replace(".", "")
    text = re.sub(r"[{}()\[\]-]", " ", text)
    return " ".join(word for word in text.split() if word not in FILLERS)


def _said(quantity: dict[str, Json]) -> list[Json]:
    """Code and unit of a Quantity, as far as it has them."""
    found = (quantity.get("code"), quantity.get("unit"))
    return [x for x in found if x is not None and not (isinstance(x, str) and not x.strip())]


def unit_years(quantity: Json) -> Decimal | None:
    """Years per unit of a Quantity by its code and unit, the longer of two; None if neither is a
    known unit of time. One without both counts as years."""
    said = _said(quantity) if isinstance(quantity, dict) else [None]
    if not said:
        return Decimal(1)
    known = [YEARS_PER_UNIT.get(_fold(x)) for x in said if isinstance(x, str)]
    return max((years for years in known if years is not None), default=None)


def is_told(quantity: Json) -> bool:
    """Whether the unit of a Quantity that is an age is certain. Beside an unknown word a known
    unit is only if it is a year or longer: read by it, no age is taken for a younger one."""
    if not isinstance(quantity, dict):
        return quantity is None
    said, longest = _said(quantity), unit_years(quantity)
    if longest is None:
        return False
    return longest >= 1 or all(isinstance(x, str) and _fold(x) in YEARS_PER_UNIT for x in said)


def is_time(quantity: Json) -> bool:
    """Whether code or unit is a unit of time, or has a word for age or for months and more."""
    if not isinstance(quantity, dict):
        return False
    texts = [x for x in _said(quantity) if isinstance(x, str)]
    if any(_fold(text) in YEARS_PER_UNIT for text in texts):
        return True
    words = {w for t in texts if "/" not in t for w in _WORDS.findall(t.lower())}
    return any(w in FILLERS or YEARS_PER_UNIT.get(w, 0) >= _MONTH for w in words)


def years(quantity: Json) -> Decimal | None:
    """The age that a Quantity states, in years; None if it states none or its unit is unknown."""
    if not isinstance(quantity, dict):
        return None
    value, unit = number(quantity.get("value")), unit_years(quantity)
    return None if value is None or unit is None else abs(value) * unit


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
    """The age in years that a text such as ``93 years`` states; None if it says anything else."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    unit = _fold(match[2])
    per = YEARS_PER_UNIT.get(unit) if unit or match[2].strip() else Decimal(1)
    return None if per is None else Decimal(match[1]) * per
