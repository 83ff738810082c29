"""What a verdict table offers: parameters with modifiers and prefixes, includes, chains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from proxy.fhir import registry
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.search_values import PREFIXES
from proxy.fhir.structure import RESOURCES
from proxy.policy.controls import CONTROLS
from proxy.policy.verdicts import Verdict, VerdictTable

PREFIXED = frozenset({"date", "number", "quantity"})
Combination = tuple[str, str, str]  # parameter, modifier, prefix
Included = tuple[str, str, str]  # type that is searched, include, type that comes along
Chained = tuple[str, str, str, str, str]  # source, reference, target, parameter, modifier


def offered_prefixes(known: SearchParameter, verdict: Verdict, modifier: str) -> tuple[str, ...]:
    """The prefixes with which a parameter is answered; the empty one where they mean nothing."""
    if modifier or known.type not in PREFIXED:
        return ("",)
    return verdict.prefixes or tuple(PREFIXES)


@dataclass
class Offers:
    """All that a role's table offers, looked up once. ``timed``: with when rows were stored."""

    table: VerdictTable
    timed: bool = True

    @cached_property
    def combinations(self) -> dict[str, list[Combination]]:
        """What is answered of each type."""
        found: dict[str, list[Combination]] = {}
        for type_name in self.table.types():
            for code in self.table.parameters(type_name):
                if code not in CONTROLS and (self.timed or code != "_lastUpdated"):
                    found.setdefault(type_name, []).extend(self._of(type_name, code))
        return found

    def _of(self, type_name: str, code: str) -> Iterator[Combination]:
        for modifier in self.table.modifiers(type_name, code):
            verdict = self.table.verdict(type_name, code, modifier)
            known = registry.get(type_name)[code]
            for prefix in offered_prefixes(known, verdict, modifier):
                yield code, modifier, prefix

    @cached_property
    def includes(self) -> list[Included]:
        return list(self._links("_include"))

    @cached_property
    def revincludes(self) -> list[Included]:
        return [(end, value, source) for source, value, end in self._links("_revinclude")]

    def _links(self, name: str) -> Iterator[Included]:
        """(source, include, target) of every include that is offered."""
        for source, code, target in self._references():
            for value in (f"{source}:{code}", f"{source}:{code}:{target}"):
                found = self.table.include(value, reverse=name == "_revinclude")
                if target in self.table.types() and found.kind != "refuse":
                    yield source, value, target

    @cached_property
    def chains(self) -> list[Chained]:
        """Every chain that is offered."""
        found = []
        for source, code, target in self._references():
            for last, modifier, prefix in self.combinations.get(target, ()):
                if prefix not in ("", "eq") or modifier in RESOURCES:
                    continue
                name = f"{last}:{modifier}" if modifier else last
                if self.table.verdict(source, code, target, name).kind != "refuse":
                    found.append((source, code, target, last, modifier))
        return found

    def _references(self) -> Iterator[tuple[str, str, str]]:
        """(type, reference parameter, a type it may lead to)."""
        for source in self.table.types():
            for code, known in registry.get(source).items():
                for target in registry.targets(known) if known.type == "reference" else ():
                    yield source, code, target
