"""generalize: dates, places, ages, numbers and codes shown less exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from proxy.fhir.codec import Json
from proxy.lenses import LensMethod, Transform, lens
from proxy.lenses.ages import show_age_range
from proxy.lenses.backward import Backward, NotTranslatable, SameText, ShownDay
from proxy.lenses.codes import CODED, ShownCode, map_codes
from proxy.lenses.context import LensContext
from proxy.lenses.dates import DATES, month_of, year_of
from proxy.lenses.numbers import AGE_BANDS, NUMBERS, QUANTITIES, ShownStep, read_steps, step_down
from proxy.lenses.places import (
    ShownZip3,
    ShownZip3Padded,
    ShownZip5,
    show_country,
    show_state,
    show_zip3,
    show_zip3_padded,
    show_zip5,
)

_STRING = frozenset({"string"})


@dataclass(frozen=True, slots=True)
class TextScale:
    """A text made shorter. ``show``: forward; ``search``: backward for one type of search."""

    show: Callable[[str], str | None]
    suits: frozenset[str]
    search: tuple[str, Backward]


# What a state or country shows is what is stored, or nothing.
TEXTS: dict[str, TextScale] = {
    "year": TextScale(year_of, DATES, ("date", ShownDay("year"))),
    "month": TextScale(month_of, DATES, ("date", ShownDay("month"))),
    "zip3": TextScale(show_zip3, _STRING, ("string", ShownZip3())),
    "zip3-padded": TextScale(show_zip3_padded, _STRING, ("string", ShownZip3Padded())),
    "zip5": TextScale(show_zip5, _STRING, ("string", ShownZip5())),
    "state": TextScale(show_state, _STRING, ("string", SameText())),
    "country": TextScale(show_country, _STRING, ("string", SameText())),
}
SUITS: dict[str, frozenset[str]] = {
    **{to: scale.suits for to, scale in TEXTS.items()},
    "age-band": frozenset({"Age", "Quantity"}),
    "age-range": frozenset({"date"}),
    "range": NUMBERS | QUANTITIES,
    "map": CODED,
}


@lens("generalize")
class Generalize(LensMethod):
    """A value shown less exactly.

    ``to`` says how: ``year``, ``month`` (dates; an instant has no shorter form: it is removed
    where it is optional and becomes the first instant of the shown year where it is required);
    ``zip5``, ``zip3`` (Census ZCTA populations, ``000`` where 20,000 or fewer live),
    ``zip3-padded`` (the same as five digits: 30300, 00000); ``state``, ``country`` (a known code
    or name, else masked); ``age-band`` (five-year bands, shown by their lower border);
    ``age-range`` (a birth date becomes data-absent-reason ``masked`` and an extension
    ``urn:ecr-proxy:age-range`` with five years such as ``35-39``, or ``90+``: the age reached in
    the year of asking, so that no birthday shows by the day on which it changes); ``range`` with
    ``steps`` (the lower border of the step); ``map = "file"`` for codes (a TOML table from code to
    the code shown; what is not in it is masked).

    A search asks for values as they are shown: a year (``YYYY``, with ``eq``, ``ne``, ``ge``,
    ``gt``, ``le``, ``lt``), a month, three or five digits, three digits and two zeros,
    the border of a step, a mapped code.

    Example: ``date = { method = "generalize", to = "year" }`` shows 1974-11-24 as 1974.
    """

    suits = frozenset().union(*SUITS.values())

    def bind(self, params: Mapping[str, object], type_code: str) -> Transform:
        to = _scale(params)
        if type_code not in SUITS.get(to, frozenset()):
            raise ValueError(f"generalize to {to} does not suit {type_code}")
        if to in TEXTS:
            return _text(TEXTS[to].show)
        if to == "age-range":
            return show_age_range
        if to == "map":
            return map_codes(dict(_pairs(params)), type_code)
        return step_down(_steps(to, params), type_code)

    def backward(self, params: Mapping[str, object], search_type: str) -> Backward:
        to = _scale(params)
        if to in TEXTS:
            suited, found = TEXTS[to].search
            if search_type == suited:
                return found
        elif to == "map" and search_type == "token":
            return ShownCode(_pairs(params))
        elif to not in ("map", "age-range") and search_type in ("number", "quantity"):
            return ShownStep(_steps(to, params))
        raise NotTranslatable


def _scale(params: Mapping[str, object]) -> str:
    return "map" if "map" in params else str(params.get("to", ""))


def _steps(to: str, params: Mapping[str, object]) -> tuple[Decimal, ...]:
    return read_steps(params.get("steps")) if to == "range" else AGE_BANDS


def _pairs(params: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    mapping = params["map"]
    found = dict(mapping) if isinstance(mapping, tuple) else {}
    return tuple((str(stored), str(shown)) for stored, shown in found.items())


def _text(show: Callable[[str], str | None]) -> Transform:
    def transform(value: Json, context: LensContext) -> Json | None:
        return show(value) if type(value) is str else None

    return transform
