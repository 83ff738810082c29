"""Where ages stand, and what is done there when a policy says ``ages``."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from proxy.fhir.codec import Json, JsonObject
from proxy.lenses.ages import (
    AGE_CODES,
    BIRTH_DATE,
    band_quantity,
    is_older,
    read_age_text,
    unit_years,
    years,
)
from proxy.lenses.context import masked
from proxy.policy.model import Policy
from proxy.policy.scope import Scope
from proxy.policy.systems import is_listed

if TYPE_CHECKING:
    from proxy.policy.complexes import Hook

# The values of an Observation that an age or a birth date can stand in.
_VALUES = frozenset({"valueDateTime", "valueQuantity", "valueInteger", "valueString", "valueRange"})
_BORN = frozenset({"Patient", "RelatedPerson", "Person", "Practitioner"})


def hooks(type_name: str, policy: Policy) -> list[Hook]:
    """The hooks of a type: what is done to a shown object after its walk."""
    if policy.ages is None:
        return []
    ages = Ages(policy.ages, policy.codes)
    if type_name in _BORN:
        return [ages.birth_date]
    table = {
        "FamilyMemberHistory": ages.born,
        "Age": ages.age,
        "Range": ages.range,
        "Observation": ages.observation,
        "Observation.component": ages.observation,
    }
    return [table[type_name]] if type_name in table else []


class Ages:
    """The rule for one oldest age shown. Hooks take (source, shown, scope) and change ``shown``."""

    def __init__(self, oldest: int, codes: tuple[str, ...] | None) -> None:
        self.oldest = oldest
        self.codes = codes
        self.border = Decimal(oldest + 1)

    def birth_date(self, obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        """birthDate of a person past the oldest age goes, its sibling with it."""
        if "birthDate" in out and is_older(obj.get("birthDate"), self.oldest, scope.today):
            del out["birthDate"]
            out.pop("_birthDate", None)

    def born(self, obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        """FamilyMemberHistory.born[x] in each of its forms."""
        for name in ("bornDate", "bornString"):
            if name in out and is_older(obj.get(name), self.oldest, scope.today):
                del out[name]
                out.pop("_" + name, None)
        period = obj.get("bornPeriod")
        if "bornPeriod" in out and isinstance(period, dict):
            stated = period.get("start") or period.get("end")
            if is_older(stated, self.oldest, scope.today):
                del out["bornPeriod"]

    def age(self, obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        """A value of type Age."""
        self._band(obj, out, assume_years=True)

    def range(self, obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        """A Range whose borders are times."""
        if unit_years(obj.get("low")) or unit_years(obj.get("high")):
            self._band_range(obj, out, assume_years=False)

    def observation(self, obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        """The value of an Observation or component that states an age or a birth date."""
        if _VALUES.isdisjoint(out):
            return
        codings = _codings(obj.get("code"))
        if BIRTH_DATE in codings and "valueDateTime" in out:
            if is_older(obj.get("valueDateTime"), self.oldest, scope.today):
                del out["valueDateTime"]
                out.pop("_valueDateTime", None)
            return
        coded = not AGE_CODES.isdisjoint(codings)
        quantity, shown = obj.get("valueQuantity"), out.get("valueQuantity")
        if isinstance(quantity, dict) and isinstance(shown, dict):
            known = any(self._knows(system) for system, _ in codings)
            if coded or (not known and unit_years(quantity) is not None):
                self._band(quantity, shown, assume_years=coded)
        if coded:
            self._coded(obj, out)

    def _knows(self, system: str) -> bool:
        return bool(system) and (self.codes is None or is_listed(system, self.codes))

    def _coded(self, obj: JsonObject, out: JsonObject) -> None:
        whole = out.get("valueInteger")
        if type(whole) is int and whole > self.oldest:
            out["valueInteger"] = self.oldest + 1
        text = out.get("valueString")
        if isinstance(text, str):
            stated = read_age_text(text)
            if stated is None:
                del out["valueString"]
                out["_valueString"] = masked()
            elif stated >= self.border:
                out["valueString"] = f"{self.oldest + 1}+"
        borders, shown = obj.get("valueRange"), out.get("valueRange")
        if isinstance(borders, dict) and isinstance(shown, dict):
            self._band_range(borders, shown, assume_years=True)

    def _band(self, obj: JsonObject, out: JsonObject, *, assume_years: bool) -> None:
        # Judged as shown: a rule may have made it less exact already.
        stated = years({**obj, "value": out.get("value")}, assume_years=assume_years)
        if stated is not None and stated >= self.border:
            band = band_quantity(out, self.oldest)
            out.clear()
            out.update(band if isinstance(band, dict) else {})

    def _band_range(self, obj: JsonObject, out: JsonObject, *, assume_years: bool) -> None:
        low = years(obj.get("low"), assume_years=assume_years)
        high = years(obj.get("high"), assume_years=assume_years)
        if not any(stated is not None and stated >= self.border for stated in (low, high)):
            return
        shown: Json = out.get("low")
        pattern = shown if isinstance(shown, dict) else out.get("high")
        out.pop("high", None)
        if low is None or low >= self.border or not isinstance(shown, dict):
            members = pattern if isinstance(pattern, dict) else {}
            out["low"] = band_quantity(members, self.oldest, comparator=False)


def _codings(code: Json) -> set[tuple[str, str]]:
    items = code.get("coding") if isinstance(code, dict) else None
    return {
        (str(c.get("system") or ""), str(c.get("code") or ""))
        for c in (items if isinstance(items, list) else ())
        if isinstance(c, dict)
    }
