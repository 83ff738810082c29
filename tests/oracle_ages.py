"""Ages of the oldest: one category, in every form in which an age is said."""

from __future__ import annotations

from decimal import Decimal

from tests import oracle_facts as facts
from tests.oracle_facts import Json, Prop, as_list
from tests.oracle_names import Names
from tests.oracle_rules import KEEP, Lineage, State, extend
from tests.oracle_scope import Place
from tests.oracle_values import UCUM, age_of_text, has_unit, to_number, unit_years, years_since

BORN = frozenset({"Patient", "RelatedPerson", "Person", "Practitioner"})
BIRTH_DATE = ("http://loinc.org", "21112-8")


class Ages(Names):
    """``ages`` of the policy."""

    def aged(
        self, kind: str, parent: dict[str, Json], prop: Prop, value: Json, place: Place
    ) -> Json:
        """What takes the place of an age or birth date of the oldest; None if it is none.

        A dict is a banded complex value; ``remove`` and ``mask`` say what becomes of it.
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
        codings = codes_of(parent) if observed else []
        if (observed and prop.code == "dateTime" and BIRTH_DATE in codings) or born:
            return self.born(prop.code, value, oldest, place)
        coded = observed and any(c in self.tables.age_codes for c in codings)
        known = any(isinstance(s, str) and self.listed(s) for s, _ in codings)
        limit = oldest + 1
        if prop.code == "integer" and coded:
            return limit if value >= limit else None
        if prop.code == "string" and coded:
            years = age_of_text(value, self.tables)
            return "mask" if years is None else f"{limit}+" if years >= limit else None
        if prop.code == "Range" and isinstance(value, dict):
            return self.aged_range(value, coded, limit)
        if prop.code == "Age" or (prop.code == "Quantity" and observed):
            always = coded or prop.code == "Age"
            if always or (not known and has_unit(value)):
                years = self.years(value, always)
                if years is not None and years >= limit:
                    return {"value": limit, "comparator": ">="}
        return None

    def years(self, quantity: Json, always: bool) -> Decimal | None:
        if not isinstance(quantity, dict):
            return None
        number = to_number(quantity.get("value"))
        factor = unit_years(quantity, self.tables)
        if factor is None and always and not has_unit(quantity):
            factor = Decimal(1)
        return None if number is None or factor is None else number * factor

    def aged_range(self, value: dict[str, Json], coded: bool, limit: int) -> Json:
        ends = [value.get("low"), value.get("high")]
        timed = any(isinstance(e, dict) and unit_years(e, self.tables) is not None for e in ends)
        if not timed and not coded:
            return None
        low, high = (self.years(e, True) for e in ends)
        if low is not None and low >= limit:
            return {"low": None}
        if high is not None and high >= limit:
            return {"low": value.get("low") if low is not None else None}
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
        banded: dict[str, Json],
        out: dict[str, Json],
        value: dict[str, Json],
        state: State,
        lineage: Lineage | None,
        place: Place,
    ) -> dict[str, Json]:
        """The shown form of a banded Quantity, Age or Range."""
        if code == "Range":
            kept = {k: v for k, v in out.items() if k != "high"}
            if banded["low"] is None:
                prop = facts.props("Range")["low"]
                at = extend(lineage, prop, value.get("low"))
                kept["low"] = {
                    k: v
                    for k, v in self.banded_quantity(
                        "Quantity", State("keep", KEEP), at, place
                    ).items()
                    if k != "comparator"
                }
            return kept
        extensions = {k: v for k, v in out.items() if k == "extension"}
        return extensions | self.banded_quantity(code, state, lineage, place)

    def banded_quantity(
        self, code: str, state: State, lineage: Lineage | None, place: Place
    ) -> dict[str, Json]:
        known = facts.props(code)
        oldest = self.policy.ages
        assert oldest is not None
        ucum = {"system": UCUM, "code": "a"}

        def keeps(name: str) -> bool:
            at = extend(lineage, known[name], None)
            return self.decide(code, ucum, known[name], "x", state, at, place.context).keeps

        out: dict[str, Json] = {"value": oldest + 1, "comparator": ">="}
        if keeps("unit"):
            out["unit"] = "years"
        if keeps("code"):
            out |= ucum
        return out


def codes_of(owner: dict[str, Json]) -> list[tuple[Json, Json]]:
    code = owner.get("code")
    return [
        (c.get("system"), c.get("code"))
        for c in as_list(code.get("coding") if isinstance(code, dict) else None)
        if isinstance(c, dict)
        and isinstance(c.get("system"), str | None)
        and isinstance(c.get("code"), str | None)
    ]
