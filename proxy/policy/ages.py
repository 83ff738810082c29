"""Where ages stand, and what is done there when a policy says ``ages``.

An age past the oldest is shown as their border; one whose unit is not known, or that stands in a
form without a border of its own, is masked: it could be any age.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from proxy.fhir.codec import Json, JsonObject
from proxy.fhir.r4 import TYPES
from proxy.fhir.structure import properties
from proxy.lenses.ages import (
    AGE_CODES,
    BIRTH_DATES,
    BIRTH_EVENTS,
    band_quantity,
    is_day,
    is_older,
    is_time,
    is_told,
    read_age_text,
    years,
)
from proxy.lenses.context import masked
from proxy.policy.model import Policy
from proxy.policy.scope import Scope
from proxy.policy.systems import is_listed

if TYPE_CHECKING:
    from proxy.policy.complexes import Hook

# The values of an Observation that an age or a birth date can stand in.
_VALUES = frozenset(
    {
        "valueDateTime",
        "valueInteger",
        "valuePeriod",
        "valueQuantity",
        "valueRange",
        "valueRatio",
        "valueSampledData",
        "valueString",
    }
)
# When an Observation was made or reported.
_MADE = frozenset(
    {"effectiveDateTime", "effectiveInstant", "effectivePeriod", "effectiveTiming", "issued"}
)
# Forms of a birth date or year that no lens of dates sees.
_NUMBERS = frozenset({"valueInteger", "valueQuantity", "valueString", "valueRange"})
_PARTS = frozenset({"value", "unit", "code"})
_SAMPLES = ("data", "lowerLimit", "upperLimit")
# A choice of more types than this is open (Extension.value[x]), and tells nothing of its values.
_OPEN = 10
_BORN = frozenset({"Patient", "RelatedPerson", "Person", "Practitioner"})


def hooks(type_name: str, policy: Policy) -> list[Hook]:
    """The hooks of a type: what is done to a shown object after its walk."""
    if policy.ages is None:
        return []
    ages = Ages(policy.ages, policy.codes)
    if type_name in _BORN:
        return [ages.birth_date]
    table: dict[str, Hook] = {
        "FamilyMemberHistory": ages.born,
        "Age": ages.age,
        "Range": ages.range,
        "Quantity": ages.day,
        "Observation": ages.observation,
        "Observation.component": ages.observation,
    }
    found = [table[type_name]] if type_name in table else []
    names = _age_ranges(type_name)
    return [*found, ages.ranges(names)] if names else found


def _age_ranges(type_name: str) -> tuple[str, ...]:
    """The properties of a type that are a Range of ages: an ``age``, or a choice beside an Age."""
    if type_name not in TYPES:
        return ()
    return tuple(
        prop.name
        for prop in properties(type_name).values()
        if prop.type == "Range"
        and (
            prop.name == "age" or ("Age" in prop.element.types and len(prop.element.types) < _OPEN)
        )
    )


class Ages:
    """The rule for one oldest age shown. Hooks take (source, shown, scope) and change ``shown``."""

    def __init__(self, oldest: int, codes: tuple[str, ...] | None) -> None:
        self.oldest = oldest
        self.codes = codes
        self.border = Decimal(oldest + 1)

    def birth_date(self, obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        """birthDate of a person past the oldest age goes, its sibling with it."""
        self._drop_past(obj, out, "birthDate", scope)

    def born(self, obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        """FamilyMemberHistory.born[x] in each of its forms."""
        for name in ("bornDate", "bornString", "bornPeriod"):
            self._drop_past(obj, out, name, scope)

    def _drop_past(self, obj: JsonObject, out: JsonObject, name: str, scope: Scope) -> None:
        """The birth date, or Period of it, ``name`` goes if it is past the oldest age."""
        if name not in out:
            return
        when, shown = obj.get(name), out[name]
        if isinstance(when, dict) and isinstance(shown, dict):
            end = "end" if when.get("start") is None else "start"
            past = self._is_past(when, shown, end, scope)
        else:
            past = self._is_past(obj, out, name, scope)
        if past:
            del out[name]
            out.pop("_" + name, None)

    def _is_past(self, obj: JsonObject, out: JsonObject, name: str, scope: Scope) -> bool:
        """Whether a birth date is past the oldest age, as stored or, moved, as shown."""
        stored, shown = obj.get(name), out.get(name)
        if is_older(stored, self.oldest, scope.today):
            return True
        moved = isinstance(shown, str) and shown != stored and len(shown) == len(str(stored))
        return moved and is_older(shown, self.oldest, scope.today)

    def age(self, obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        """A value of type Age."""
        self._band(obj, out)

    def day(self, obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        """A number without a unit that reads as a day: no lens of dates sees it."""
        if "unit" not in obj and "code" not in obj and is_day(out.get("value")):
            _mask(out)

    def range(self, obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        """A Range whose borders are times."""
        if is_time(obj.get("low")) or is_time(obj.get("high")):
            self._band_range(obj, out)

    def ranges(self, names: tuple[str, ...]) -> Hook:
        """The hook of a type whose properties ``names`` are Ranges of ages."""

        def hook(obj: JsonObject, out: JsonObject, scope: Scope) -> None:
            for name in names:
                borders, shown = obj.get(name), out.get(name)
                if isinstance(borders, dict) and isinstance(shown, dict):
                    self._band_range(borders, shown)

        return hook

    def observation(self, obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        """The value of an Observation or component that states an age or a birth date, and when one
        that is made at birth was."""
        if _VALUES.isdisjoint(out) and _MADE.isdisjoint(out):
            return
        codings = _codings(obj.get("code"))
        if not BIRTH_EVENTS.isdisjoint(codings):
            self._made(obj, out, scope)
        if is_day(out.get("valueInteger")):
            _mask_member(out, "valueInteger")
        if not BIRTH_DATES.isdisjoint(codings):
            self._drop_past(obj, out, "valueDateTime", scope)
            self._drop_past(obj, out, "valuePeriod", scope)
            for name in _NUMBERS & out.keys():
                _mask_member(out, name)
        coded = not AGE_CODES.isdisjoint(codings)
        known = any(self._knows(system) for system, _ in codings)
        quantity, shown = obj.get("valueQuantity"), out.get("valueQuantity")
        if (
            isinstance(quantity, dict)
            and isinstance(shown, dict)
            and (coded or (not known and is_time(quantity)))
        ):
            self._band(quantity, shown)
        for name, part, mask in _UNBORDERED:
            value, shown = obj.get(name), out.get(name)
            if (
                isinstance(value, dict)
                and isinstance(shown, dict)
                and (coded or (not known and is_time(value.get(part))))
            ):
                mask(shown)
        if coded:
            self._coded(obj, out)

    def _made(self, obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        """When an Observation was made, if that was at the birth of someone past the oldest age."""
        if "effectiveTiming" in out:  # it says when in more ways than one
            del out["effectiveTiming"]
        for name in _MADE & out.keys():
            self._drop_past(obj, out, name, scope)

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
                _mask_member(out, "valueString")
            elif stated >= self.border:
                out["valueString"] = f"{self.oldest + 1}+"
        borders, shown = obj.get("valueRange"), out.get("valueRange")
        if isinstance(borders, dict) and isinstance(shown, dict):
            self._band_range(borders, shown)

    def _band(self, obj: JsonObject, out: JsonObject) -> None:
        if _PARTS.isdisjoint(out):
            return
        if not is_told(obj):
            _mask(out)
            return
        # Judged as shown: a rule may have made it less exact already.
        stated = years({**obj, "value": out.get("value")})
        if stated is not None and stated >= self.border:
            band = band_quantity(out, self.oldest)
            out.clear()
            out.update(band if isinstance(band, dict) else {})

    def _band_range(self, obj: JsonObject, out: JsonObject) -> None:
        if "low" not in out and "high" not in out:
            return
        if any(name in out and not is_told(obj.get(name)) for name in ("low", "high")):
            _mask(out)
            return
        low, high = years(obj.get("low")), years(obj.get("high"))
        if not any(stated is not None and stated >= self.border for stated in (low, high)):
            return
        shown: Json = out.get("low")
        pattern = shown if isinstance(shown, dict) else out.get("high")
        out.pop("high", None)
        if low is None or low >= self.border or not isinstance(shown, dict):
            members = pattern if isinstance(pattern, dict) else {}
            out["low"] = band_quantity(members, self.oldest, comparator=False)


def _mask(out: JsonObject) -> None:
    """In place: a complex value that is there and withheld."""
    out.clear()
    out.update(masked())


def _mask_member(out: JsonObject, name: str) -> None:
    """In place: a member that is there and withheld."""
    if isinstance(out[name], dict):
        out[name] = masked()
    else:
        del out[name]
        out["_" + name] = masked()


def _mask_samples(out: JsonObject) -> None:
    """In place: a SampledData without its numbers; what it must have stays."""
    if "origin" in out:
        out["origin"] = masked()
    for name in _SAMPLES:
        if name in out:
            del out[name]
            out["_" + name] = masked()


# Values that no border can stand for: name, the Quantity that tells what they are of, the mask.
_UNBORDERED = (
    ("valueRatio", "numerator", _mask),
    ("valueSampledData", "origin", _mask_samples),
)


def _codings(code: Json) -> set[tuple[str, str]]:
    items = code.get("coding") if isinstance(code, dict) else None
    return {
        (str(c.get("system") or ""), str(c.get("code") or ""))
        for c in (items if isinstance(items, list) else ())
        if isinstance(c, dict)
    }
