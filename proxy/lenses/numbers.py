"""Numbers and Quantities shown as the lower border of their step, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from proxy.fhir.codec import Fragment, Json, number
from proxy.fhir.match_values import number_holds
from proxy.lenses import Transform
from proxy.lenses.backward import BORDERS, Ranged, Span, hull, read_number

NUMBERS = frozenset({"decimal", "integer", "positiveInt", "unsignedInt"})
QUANTITIES = frozenset({"Quantity", "Age", "Count", "Distance", "Duration"})
AGE_BANDS = tuple(Decimal(n) for n in range(0, 91, 5))
UCUM = "http://unitsofmeasure.org"


def read_steps(given: object) -> tuple[Decimal, ...]:
    """The borders of a policy's ``steps``, in order."""
    return tuple(sorted(Decimal(str(s)) for s in given)) if isinstance(given, tuple) else ()


def step_down(steps: tuple[Decimal, ...], type_code: str) -> Transform:
    """Forward: a number or Quantity as the border below it."""
    if type_code in NUMBERS:
        return lambda value, context: _lower(value, steps)
    return lambda value, context: _lower_quantity(value, steps)


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


@dataclass(frozen=True, slots=True)
class ShownStep(Ranged):
    """Backward: the steps whose border satisfies what is asked. Both ends are taken in, since a
    server may hold a number of many digits rounded to the border above it."""

    steps: tuple[Decimal, ...]
    prefixes: tuple[str, ...] = BORDERS

    def span(self, value: str) -> Span | None:
        asked = read_number(value)
        ends: tuple[Decimal | None, ...] = (*self.steps[1:], None)
        found = [
            Span(low, high)
            for low, high in zip(self.steps, ends, strict=True)
            if number_holds(low, asked)
        ]
        return hull(found) if found else None
