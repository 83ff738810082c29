"""The oracle's methods: one value on its way out, and ages of the oldest.

Tables (ZIP prefixes, states, countries, age codes, titles) are data, handed in as
:class:`Tables`; what is done with them is said here once more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Protocol

from proxy.fhir.codec import Fragment, encode
from proxy.policy.model import Method
from tests.oracle_facts import Json, dar, masked_narrative, read_day

UCUM = "http://unitsofmeasure.org"
NAME_USES = ["usual", "official", "temp", "nickname", "anonymous", "old", "maiden"]
TO_BE_MADE = "\0"
AGE_WORDS = ("age", "aged", "of", "old")


class Pseudonymizer(Protocol):
    """What the oracle needs of the project's naming."""

    def show_id(self, type: str, real: str) -> str: ...
    def show_uri(self, uri: str) -> str: ...
    def show_identifier(self, system: str | None, value: str) -> tuple[str, str]: ...
    def show_document_identifier(self, value: str) -> tuple[str, str]: ...
    def show_person(self, bearer: str) -> str: ...
    def offset(self, person: str, low: int, high: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Tables:
    """Data that the methods stand on; keys of ``states`` and ``countries`` are lower case."""

    zip3: Mapping[str, str] = field(default_factory=dict)
    states: Set[str] = frozenset()
    countries: Set[str] = frozenset()
    age_codes: Set[tuple[str, str]] = frozenset()
    years_per_unit: Mapping[str, Decimal] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    birth_events: Set[tuple[str, str]] = frozenset()


def to_number(value: Json) -> Decimal | None:
    """A JSON number exactly; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, Fragment):
        try:
            return Decimal(value.contents)
        except InvalidOperation:
            return None
    return None


def transform(
    method: Method,
    code: str,
    value: Json,
    tables: Tables,
    namer: Pseudonymizer,
    document: bool,
    bearer: str = "",
    own: bool = True,
    today: date = date.min,
) -> Json | None:
    """``value`` of type ``code`` as ``method`` shows it; None if it cannot be read.

    ``bearer``: how the resource is named that holds it; ``own``: it is the resource's own element.
    """
    if method.name == "surrogate":
        return stand_in(method, value, namer, bearer, own)
    if method.name == "pseudonymize" and method.param("from") == "upstream":
        ours = ("urn:ecr-proxy:pseudonym:identifier", "urn:ecr-proxy:pseudonym:document")
        held = value if isinstance(value, dict) else {}
        if held.get("system") not in ours or not isinstance(held.get("value"), str):
            return None
        return {k: held[k] for k in ("system", "value")} if held["value"] else None
    if method.name == "pseudonymize":
        return pseudonymize(value, namer, document)
    if method.name == "narrative" and method.param("from") == "shown":
        return {"status": "generated", "div": TO_BE_MADE}
    if method.name == "narrative":
        return masked_narrative(str(method.param("text", "MASKED")))
    if method.name == "generalize":
        if method.param("to") == "age-range":
            return age_range(value, today)
        return generalize(method, code, value, tables)
    raise AssertionError(f"the oracle does not know the method {method.name}")


def stand_in(
    method: Method, value: Json, namer: Pseudonymizer, bearer: str, own: bool
) -> Json | None:
    """The name of nobody in place of a person's."""
    if method.param("from") == "upstream":
        return made_already(method, value)
    if not bearer:
        return None
    given = str(method.param("given", "Pseudo"))
    family = str(method.param("family", "StudySubject"))
    if isinstance(value, str):
        return f"{given} {family}-{namer.show_person(bearer)}"
    if not isinstance(value, dict):
        return None
    said = {k: value.get(k) for k in ("text", "family", "given")}
    whom = bearer if own else f"{bearer} {encode(list(said.values())).decode()}"
    family = f"{family}-{namer.show_person(whom)}"
    out: dict[str, Json] = {}
    if value.get("use") in NAME_USES:
        out["use"] = value["use"]
    if said["text"] is not None and said["family"] is None and said["given"] is None:
        return out | {"text": f"{given} {family}"}
    return out | {"family": family, "given": [given]}


def made_already(method: Method, value: Json) -> Json | None:
    """A name that is a stand-in by its form."""
    given = str(method.param("given", "Pseudo"))
    family = str(method.param("family", "StudySubject"))
    form = re.compile(re.escape(family) + "-[a-z2-7]{16}")
    whole = re.compile(re.escape(given) + " " + form.pattern)
    if isinstance(value, str):
        return value if whole.fullmatch(value) else None
    if not isinstance(value, dict):
        return None
    out = {"use": value["use"]} if value.get("use") in NAME_USES else {}
    text, last = value.get("text"), value.get("family")
    if "text" in value:
        return out | {"text": text} if isinstance(text, str) and whole.fullmatch(text) else None
    if value.get("given") == [given] and isinstance(last, str) and form.fullmatch(last):
        return out | {"family": last, "given": [given]}
    return None


def pseudonymize(value: Json, namer: Pseudonymizer, document: bool) -> Json | None:
    """An Identifier as system and value of ours."""
    if not isinstance(value, dict) or not isinstance(value.get("value"), str):
        return None
    system = value.get("system")
    if system is not None and not isinstance(system, str):
        return None
    pair = (
        namer.show_document_identifier(value["value"])
        if document
        else namer.show_identifier(system, value["value"])
    )
    return {"system": pair[0], "value": pair[1]}


def generalize(method: Method, code: str, value: Json, tables: Tables) -> Json | None:
    if (pairs := method.param("map")) is not None:
        assert isinstance(pairs, tuple)
        return map_code(dict(pairs), code, value)
    to = method.param("to")
    if to in ("year", "month"):
        if read_day(code, value) is None:
            return None
        if code == "instant":
            return value[:4] + "-01-01T00:00:00Z"
        return value[: 4 if to == "year" else 7]
    if to == "age-band":
        return lower_border(tuple(range(0, 95, 5)), code, value)
    if to == "range":
        steps = method.param("steps")
        assert isinstance(steps, tuple)
        return lower_border(steps, code, value)
    if not isinstance(value, str):
        return None
    text = value.rstrip()
    if to == "state":
        return text if text.lower() in tables.states else None
    if to == "country":
        return text if text.lower() in tables.countries else None
    if to == "zip5":
        return text[:5] if re.fullmatch(r"\d{5}(-?\d{4})?", text, re.ASCII) else None
    if to in ("zip3", "zip3-padded"):
        if not re.fullmatch(r"\d{3}|\d{5}(-?\d{4})?", text, re.ASCII):
            return None
        return tables.zip3.get(text[:3], "000") + ("00" if to == "zip3-padded" else "")
    raise AssertionError(f"the oracle does not know generalize to {to}")


def age_range(value: Json, today: date) -> Json | None:
    """The five years in which the age of this calendar year lies, beside a masked birth date."""
    day = read_day("date", value)
    if day is None or day[0] > today.year:
        return None
    for low in range(0, 90, 5):
        if day[0] + low + 4 >= today.year:
            break
    else:
        low = 90
    text = f"{low}-{low + 4}" if low < 90 else "90+"
    shown = {"url": "urn:ecr-proxy:age-range", "valueString": text}
    return {"extension": [*dar()["extension"], shown]}


def lower_border(steps: tuple[object, ...], code: str, value: Json) -> Json | None:
    """The largest step that is not above the value."""
    if isinstance(value, dict):
        border = lower_border(steps, "decimal", value.get("value"))
        if border is None:
            return None
        shown = {"value": border}
        if value.get("system") == UCUM and isinstance(value.get("code"), str):
            shown |= {"system": UCUM, "code": value["code"]}
        return shown
    number = to_number(value)
    if number is None:
        return None
    below = [Decimal(str(s)) for s in steps if Decimal(str(s)) <= number]
    if not below:
        return None
    most = max(below)
    return int(most) if most == most.to_integral_value() else Fragment(str(most))


def map_code(table: Mapping[object, object], code: str, value: Json) -> Json | None:
    if code == "CodeableConcept":
        codings = value.get("coding") if isinstance(value, dict) else None
        if not isinstance(codings, list):
            return None
        found = [c for c in (map_code(table, "Coding", x) for x in codings) if c is not None]
        return {"coding": found} if found else None
    if code == "Coding":
        if not isinstance(value, dict) or not isinstance(value.get("code"), str):
            return None
        if value["code"] not in table:
            return None
        system = value.get("system")
        return ({"system": system} if isinstance(system, str) else {}) | {
            "code": table[value["code"]]
        }
    return table.get(value) if isinstance(value, str) else None


# --- ages ---------------------------------------------------------------------------------------


def years_since(code: str, text: Json, today: date) -> int | None:
    """Whole years from a birth date (its earliest reading) to ``today``; None if malformed."""
    day = read_day(code, text)
    if day is None:
        return None
    year, month, of_month = day[0], day[1] or 1, day[2] or 1
    return today.year - year - ((today.month, today.day) < (month, of_month))


def spoken(unit: str) -> str:
    """A unit as one says it: without case, marks, and words that only say that it is an age."""
    text = unicodedata.normalize("NFKC", unit).lower().replace("(s)", "s").replace(".", "")
    for mark in "{}()[]-":
        text = text.replace(mark, " ")
    return " ".join(w for w in text.split() if w not in AGE_WORDS)


def units(quantity: Mapping[str, Json]) -> list[Json]:
    """What the quantity says of its unit: code and unit, blanks aside."""
    both = [quantity.get("code"), quantity.get("unit")]
    return [x for x in both if x is not None and (not isinstance(x, str) or x.strip() != "")]


def unit_years(quantity: Mapping[str, Json], tables: Tables) -> Decimal | None:
    """How many years the quantity's unit is; None if that cannot be told.

    Without any unit it is years. Of two known the longer counts; where only one is known, it
    counts if it is a year at least.
    """
    said = units(quantity)
    if not said:
        return Decimal(1)
    found = [tables.years_per_unit.get(spoken(x)) if isinstance(x, str) else None for x in said]
    longest = max((f for f in found if f is not None), default=None)
    if longest is None or (None in found and longest < 1):
        return None
    return longest


def is_time(quantity: Json, tables: Tables) -> bool:
    """Whether the quantity has a unit of time, or one with a word for age, months or longer."""
    if not isinstance(quantity, dict):
        return False
    for said in units(quantity):
        if not isinstance(said, str):
            continue
        if spoken(said) in tables.years_per_unit:
            return True
        for word in () if "/" in said else re.split(r"[\W\d_]+", said.lower()):
            long = tables.years_per_unit.get(word, Decimal(0)) * 12 >= 1
            if word in AGE_WORDS or (len(word) > 1 and long):
                return True
    return False


def age_of_text(text: str, tables: Tables) -> Decimal | None:
    """Years said by ``93``, ``93 years``, ``1100 mo``; None for any other text."""
    match = re.match(r"\s*(\d+(?:\.\d+)?)", text, re.ASCII)
    if match is None:
        return None
    rest = text[match.end() :]
    factor = tables.years_per_unit.get(spoken(rest)) if rest.strip() else Decimal(1)
    return None if factor is None else Decimal(match[1]) * factor
