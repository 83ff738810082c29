"""Which search types, modifiers and prefixes were asked of HAPI, and why some are not answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from proxy.fhir.search_values import PREFIXES
from proxy.policy.derive import MODIFIERS
from tests.equivalence.queries import ORDERED, Shape

SWITCHED_OFF = "HAPI has it switched off, which is its default"
UNKNOWN = "HAPI does not know it"
# What both refuse -> why.
NOT_OFFERED: dict[Shape, str] = {
    ("string", "contains", ""): SWITCHED_OFF,
    ("token", "of-type", ""): SWITCHED_OFF,
    ("date", "", "ap"): UNKNOWN,
    ("reference", "identifier", ""): UNKNOWN,
    ("reference", "above", ""): UNKNOWN,
    ("reference", "below", ""): UNKNOWN,
}
# What is refused where HAPI is asked as the client writes it.
NOT_OFFERED_AS_WRITTEN: dict[Shape, str] = {
    (kind, "", prefix): UNKNOWN
    for kind in ("number", "quantity", "composite")
    for prefix in ("sa", "eb")
}


def every_shape() -> Iterator[Shape]:
    """Every search type with every modifier and prefix of R4, as far as a standard parameter can
    have it."""
    for kind, modifiers in MODIFIERS.items():
        yield from ((kind, modifier, "") for modifier in modifiers if modifier)
        if kind in (*ORDERED, "composite"):
            yield from ((kind, "", prefix) for prefix in PREFIXES)
        if kind not in ORDERED:
            yield kind, "", ""
    yield "reference", "typed", ""


@dataclass(slots=True)
class Coverage:
    """By role: how often a shape was ``answered`` by both servers alike, how often of these with
    rows, how often refused by both or by the view."""

    answered: dict[str, Counter[Shape]] = field(default_factory=dict)
    found: dict[str, Counter[Shape]] = field(default_factory=dict)
    refused: dict[str, Counter[Shape]] = field(default_factory=dict)

    def add(
        self, role: str, answered: Counter[Shape], found: Counter[Shape], refused: Counter[Shape]
    ) -> None:
        for kept, more in (
            (self.answered, answered), (self.found, found), (self.refused, refused),
        ):  # fmt: skip
            kept.setdefault(role, Counter()).update(more)

    def missing(self) -> list[str]:
        """Shapes without a case, and without a reason that was seen to be one."""
        answered, refused = _sum(self.answered), _sum(self.refused)
        return [
            " ".join(shape)
            for shape in every_shape()
            if not (refused[shape] if shape in NOT_OFFERED else answered[shape])
        ]

    def empty(self) -> list[str]:
        """Shapes that are answered and never found a row."""
        found = _sum(self.found)
        return [" ".join(s) for s in every_shape() if s not in NOT_OFFERED and not found[s]]

    def __str__(self) -> str:
        """A table: a line for each shape; by role, how often it was answered and found rows."""
        roles = list(self.answered)
        lines = [f"{'type':10} {'modifier':10} {'prefix':6} " + " ".join(f"{r:>23}" for r in roles)]
        for shape in every_shape():
            kind, modifier, prefix = shape
            counts = " ".join(f"{self._cell(role, shape):>23}" for role in roles)
            why = NOT_OFFERED.get(shape, "")
            lines.append(f"{kind:10} {modifier:10} {prefix:6} {counts} {why}".rstrip())
        return "\n".join(lines)

    def _cell(self, role: str, shape: Shape) -> str:
        if self.answered[role][shape]:
            return f"{self.answered[role][shape]} ({self.found[role][shape]})"
        return f"refused {self.refused[role][shape]}" if self.refused[role][shape] else "-"


def _sum(by_role: dict[str, Counter[Shape]]) -> Counter[Shape]:
    return sum(by_role.values(), Counter())
