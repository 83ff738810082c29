"""generalize: dates, places, ages and numbers shown less exactly."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache

from proxy.fhir.codec import Fragment, Json, number
from proxy.lenses import LensMethod, Transform, lens
from proxy.lenses.context import LensContext
from proxy.lenses.places import show_country, show_state, show_zip3, show_zip5

DATES = frozenset({"date", "dateTime", "instant"})

UCUM = "http://unitsofmeasure.org"

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
    if match[4] and (int(match[4]) > 24 or int(match[5]) > 59 or int(match[6]) > 60):
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


def _text(show: Callable[[str], str | None]) -> Transform:
    def transform(value: Json, context: LensContext) -> Json | None:
        return show(value) if type(value) is str else None

    return transform


_TO_TEXT: dict[str, tuple[Callable[[str], str | None], frozenset[str]]] = {
    "year": (year_of, DATES),
    "month": (month_of, DATES),
    "zip3": (show_zip3, frozenset({"string"})),
    "zip5": (show_zip5, frozenset({"string"})),
    "state": (show_state, frozenset({"string"})),
    "country": (show_country, frozenset({"string"})),
}
NUMBERS = frozenset({"decimal", "integer", "positiveInt", "unsignedInt"})
QUANTITIES = frozenset({"Quantity", "Age", "Count", "Distance", "Duration"})
CODED = frozenset({"code", "Coding", "CodeableConcept"})
SUITS: dict[str, frozenset[str]] = {
    **{to: types for to, (_, types) in _TO_TEXT.items()},
    "age-band": frozenset({"Age", "Quantity"}),
    "range": NUMBERS | QUANTITIES,
    "map": CODED,
}
AGE_BANDS = tuple(Decimal(n) for n in range(0, 91, 5))


@lens("generalize")
class Generalize(LensMethod):
    """A value shown less exactly.

    ``to`` says how: ``year``, ``month`` (dates; an instant has no shorter form: it is removed
    where it is optional and becomes the first instant of the shown year where it is required);
    ``zip5``, ``zip3`` (Census ZCTA populations, ``000`` where 20,000 or fewer live); ``state``,
    ``country`` (a known code or name, else masked); ``age-band`` (five-year bands, shown by their
    lower border); ``range`` with ``steps`` (the lower border of the step); ``map = "file"`` for
    codes (a TOML table from code to the code shown; what is not in it is masked).

    Example: ``date = { method = "generalize", to = "year" }`` shows 1974-11-24 as 1974.
    """

    suits = frozenset().union(*SUITS.values())

    def bind(self, params: Mapping[str, object], type_code: str) -> Transform:
        to = "map" if "map" in params else str(params.get("to", ""))
        if type_code not in SUITS.get(to, frozenset()):
            raise ValueError(f"generalize to {to} does not suit {type_code}")
        if to in _TO_TEXT:
            return _text(_TO_TEXT[to][0])
        if to == "map":
            mapping = params["map"]
            return _map_codes(dict(mapping) if isinstance(mapping, tuple) else {}, type_code)
        steps = _steps(params.get("steps")) if to == "range" else AGE_BANDS
        if type_code in NUMBERS:
            return lambda value, context: _lower(value, steps)
        return lambda value, context: _lower_quantity(value, steps)


def _steps(given: object) -> tuple[Decimal, ...]:
    return tuple(sorted(Decimal(str(s)) for s in given)) if isinstance(given, tuple) else ()


def _lower(value: Json, steps: tuple[Decimal, ...]) -> Json | None:
    exact = number(value)
    if exact is None:
        return None
    below = [s for s in steps if s <= exact]
    if not below:
        return None  # under the lowest step: masked
    border = below[-1]
    return int(border) if border == border.to_integral_value() else Fragment(str(border))


def _lower_quantity(value: Json, steps: tuple[Decimal, ...]) -> Json | None:
    if not isinstance(value, dict):
        return None
    border = _lower(value.get("value"), steps)
    if border is None:
        return None
    shown: dict[str, Json] = {"value": border}
    if value.get("system") == UCUM and isinstance(value.get("code"), str):
        shown["system"], shown["code"] = UCUM, value["code"]
    return shown


def _map_codes(mapping: Mapping[object, object], type_code: str) -> Transform:
    def one(value: Json) -> Json | None:
        shown = mapping.get(value) if isinstance(value, str) else None
        return shown if isinstance(shown, str) else None

    def coding(value: Json) -> Json | None:
        if not isinstance(value, dict):
            return None
        code = one(value.get("code"))
        if code is None:
            return None
        system = value.get("system")
        return {"system": system, "code": code} if isinstance(system, str) else {"code": code}

    def concept(value: Json) -> Json | None:
        codings = value.get("coding") if isinstance(value, dict) else None
        if not isinstance(codings, list):
            return None
        shown: list[Json] = [c for c in map(coding, codings) if c is not None]
        return {"coding": shown} if shown else None

    chosen = {"code": one, "Coding": coding, "CodeableConcept": concept}[type_code]
    return lambda value, context: chosen(value)
