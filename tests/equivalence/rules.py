"""What the deviations come to for a whole search: what HAPI is asked, and how answers compare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain, product

from proxy.policy.verdicts import VerdictTable
from tests.equivalence.asked import Asked, Pair
from tests.equivalence.asking import Row
from tests.equivalence.deviations import DEVIATIONS, Deviation
from tests.equivalence.queries import Query

Conditions = tuple[Pair, ...]  # that must all hold


@dataclass(frozen=True, slots=True)
class Rule:
    """What the deviations that apply to a query come to. ``instead``: what HAPI is asked: what all
    of the groups have in common, of each group the rows of all its searches together."""

    met: tuple[Deviation, ...]
    instead: tuple[tuple[Query, ...], ...]

    @property
    def refused(self) -> bool:
        return any(d.refused for d in self.met)

    @property
    def alone(self) -> bool:
        return any(d.alone for d in self.met)

    @property
    def unordered(self) -> bool:
        return any(d.unordered for d in self.met)

    def excuses(self, row: Row) -> list[str]:
        """The deviations by which only HAPI may give a row."""
        return [d.name for d in self.met if d.excused is not None and d.excused(row)]

    @property
    def names(self) -> list[str]:
        """The deviations that the query itself meets, whatever rows there are."""
        return [d.name for d in self.met if d.instead or d.apart or d.refused or d.alone]


def rule_for(table: VerdictTable, query: Query, *, forwarded: bool) -> Rule:
    """The deviations of all parameters of a query together."""
    met: dict[Deviation, None] = {}
    names = [name for name, _ in query.pairs]
    groups: list[list[list[Conditions]]] = [[]]
    for name, value in query.pairs:
        if name == "_sort":  # R4 leaves open how rows that are alike in it follow each other
            value = f"{value},_id"
        asked = Asked.of(table, forwarded, query.type, (name, value), names.count(name) > 1)
        choices = _choices(asked, met)
        if any(d.apart and d.applies(asked) for d in met):
            groups.append([choices])
        else:
            groups[0].append(choices)
    return Rule(
        tuple(met),
        tuple(
            tuple(
                replace(query, pairs=tuple(chain.from_iterable(held))) for held in product(*group)
            )
            for group in groups
            if group or len(groups) == 1
        ),
    )


def _choices(asked: Asked, met: dict[Deviation, None]) -> list[Conditions]:
    """What HAPI is asked for one parameter; the deviations met on the way are noted."""
    found = [d for d in DEVIATIONS if d.applies(asked)]
    met.update(dict.fromkeys(found))
    return _in_other_ways(asked, met)


def _in_other_ways(asked: Asked, met: dict[Deviation, None]) -> list[Conditions]:
    for deviation in DEVIATIONS:
        if deviation.instead is not None and deviation.applies(asked):
            met[deviation] = None
            found = []
            for values in deviation.instead(asked):
                each = [_in_other_ways(replace(asked, value=value), met) for value in values]
                found += [tuple(chain.from_iterable(held)) for held in product(*each)]
            return found
    return [(asked.pair,)]
