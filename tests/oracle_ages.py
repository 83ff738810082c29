"""Ages of the oldest: one category, in every form in which an age is said."""

from __future__ import annotations

from decimal import Decimal

from tests import oracle_facts as facts
from tests.oracle_facts import Json, Prop, as_list
from tests.oracle_names import Names
from tests.oracle_scope import Place
from tests.oracle_values import UCUM, age_of_text, is_time, to_number, unit_years, years_since

BORN = frozenset({"Patient", "RelatedPerson", "Person", "Practitioner"})
BIRTH_DATES = {
    (system, code)
    for systems, codes in (
        (("http://loinc.org", "urn:oid:2.16.840.1.113883.6.1"), ("21112-8", "80904-6")),
        (("http://snomed.info/sct", "urn:oid:2.16.840.1.113883.6.96"), ("184099003",)),
    )
    for system in systems
    for code in codes
}


class Ages(Names):
    """``ages`` of the policy."""

    def aged(
        self, kind: str, parent: dict[str, Json], prop: Prop, value: Json, place: Place
    ) -> Json:
        """What takes the place of an age or birth date of the oldest; None if it is none.

        A dict is a banded complex value; ``remove`` and ``mask`` say what becomes of it. What
        cannot be told from an age past the oldest is masked.
        """
        oldest = self.policy.ages
        if oldest is None:
            return None
        born = (prop.name == "birthDate" and kind in BORN) or (
            kind == "FamilyMemberHistory" and prop.element.name == "born[x]"
        )
        observed = kind in ("Observation", "Observation.component") and (
            prop.element.name == "value[x]"
        )
        made = kind == "Observation" and prop.element.name in ("effective[x]", "issued")
        codings = codes_of(parent) if observed or made else []
        if made:
            at_birth = any(c in self.tables.birth_events for c in codings)
            if at_birth and prop.code == "Timing":
                return "remove"
            return self.born(prop.code, value, oldest, place) if at_birth else None
        of_birth = observed and not BIRTH_DATES.isdisjoint(codings)
        if (of_birth and prop.code in ("dateTime", "Period")) or born:
            return self.born(prop.code, value, oldest, place)
        if of_birth and prop.code in ("integer", "string", "Quantity", "Range"):
            return "mask"
        if observed and prop.code == "integer" and reads_as_day(value):
            return "mask"
        bare = isinstance(value, dict) and not {"unit", "code"} & value.keys()
        if prop.code == "Quantity" and bare and reads_as_day(value.get("value")):
            return "mask"
        coded = observed and any(c in self.tables.age_codes for c in codings)
        known = any(isinstance(s, str) and self.listed(s) for s, _ in codings)
        limit = oldest + 1
        if prop.code == "integer" and coded:
            return limit if value >= limit else None
        if prop.code == "string" and coded:
            years = age_of_text(value, self.tables)
            return "mask" if years is None else f"{limit}+" if years >= limit else None
        if not isinstance(value, dict):
            return None
        unknown = observed and not known
        if prop.code == "Range":
            ends = [value.get("low"), value.get("high")]
            timed = any(is_time(e, self.tables) for e in ends)
            return self.aged_range(ends, limit) if timed or coded or of_ages(prop) else None
        if prop.code == "Age" or (
            prop.code == "Quantity" and (coded or (unknown and is_time(value, self.tables)))
        ):
            return self.aged_quantity(value, limit)
        if prop.code == "Ratio" and (
            coded or (unknown and is_time(value.get("numerator"), self.tables))
        ):
            return "mask"
        if prop.code == "SampledData" and (
            coded or (unknown and is_time(value.get("origin"), self.tables))
        ):
            return "mask"
        return None

    def aged_quantity(self, quantity: dict[str, Json], limit: int) -> Json:
        """The band of a Quantity that is an age; ``mask`` if its unit tells nothing."""
        if unit_years(quantity, self.tables) is None:
            return "mask"
        years = self.years(quantity)
        old = years is not None and years >= limit
        return {"value": limit, "comparator": ">="} if old else None

    def years(self, quantity: Json) -> Decimal | None:
        if not isinstance(quantity, dict):
            return None
        number = to_number(quantity.get("value"))
        factor = unit_years(quantity, self.tables)
        return None if number is None or factor is None else abs(number) * factor

    def aged_range(self, ends: list[Json], limit: int) -> Json:
        for end in ends:
            if end is not None and (
                not isinstance(end, dict) or unit_years(end, self.tables) is None
            ):
                return "mask"
        low, high = (self.years(e) for e in ends)
        if low is not None and low >= limit:
            return {"low": None}
        if high is not None and high >= limit:
            return {"low": ends[0] if low is not None else None}
        return None

    def born(self, code: str, value: Json, oldest: int, place: Place) -> Json:
        today = place.context.today
        if code == "Period":
            start = value.get("start") if isinstance(value, dict) else None
            end = value.get("end") if isinstance(value, dict) else None
            years = years_since("dateTime", start if start is not None else end, today)
        elif code == "string":
            years = years_since("dateTime", value, today)
        else:
            years = years_since(code, value, today)
            if years is None:
                return None
        return "remove" if years is None or years > oldest else None

    def band(
        self,
        code: str,
        banded: Json,
        out: dict[str, Json],
    ) -> dict[str, Json]:
        """The shown form of a banded or masked Quantity, Age, Range, Ratio or SampledData."""
        if not (isinstance(banded, dict) or banded == "mask"):
            return out
        if code == "SampledData":
            numbers = {n for n in ("data", "lowerLimit", "upperLimit") if n in out}
            kept = {
                k: v for k, v in out.items() if k not in numbers and k.lstrip("_") not in numbers
            }
            kept |= {"_" + n: facts.dar() for n in numbers}
            return kept | ({"origin": facts.dar()} if "origin" in out else {})
        if banded == "mask":
            said = {"value", "unit", "code"} if code in facts.QUANTITIES else {"low", "high"}
            return facts.dar() if code == "Ratio" or said & set(out) else out
        assert isinstance(banded, dict)
        if code == "Range":
            kept = {k: v for k, v in out.items() if k != "high"}
            if banded["low"] is None:
                pattern = out["low"] if isinstance(out.get("low"), dict) else out.get("high")
                low = self.banded_quantity(pattern if isinstance(pattern, dict) else {})
                kept["low"] = {k: v for k, v in low.items() if k != "comparator"}
            return kept
        return self.banded_quantity(out)

    def banded_quantity(self, out: dict[str, Json]) -> dict[str, Json]:
        """The border in years, with a unit and a code where those of the source show."""
        oldest = self.policy.ages
        assert oldest is not None
        unit = {"unit": "years"} if "unit" in out else {}
        code = {"system": UCUM, "code": "a"} if "code" in out else {}
        return {"value": oldest + 1, "comparator": ">="} | unit | code


def of_ages(prop: Prop) -> bool:
    """Whether a Range can only be of ages: ``age``, or one of few types of which Age is another."""
    types = prop.element.types
    return prop.name == "age" or ("Age" in types and len(types) < 10)


def codes_of(owner: dict[str, Json]) -> list[tuple[Json, Json]]:
    code = owner.get("code")
    return [
        (c.get("system"), c.get("code"))
        for c in as_list(code.get("coding") if isinstance(code, dict) else None)
        if isinstance(c, dict)
        and isinstance(c.get("system"), str | None)
        and isinstance(c.get("code"), str | None)
    ]


def reads_as_day(value: Json) -> bool:
    """Whether a number is a day written without hyphens, with or without a time."""
    stated = to_number(value)
    if stated is None or stated % 1 or stated <= 0:
        return False
    text = f"{stated:.0f}"
    if len(text) not in (8, 10, 12, 14) or not 1800 <= int(text[:4]) < 2200:
        return False
    return 1 <= int(text[4:6]) <= 12 and 1 <= int(text[6:8]) <= 31
