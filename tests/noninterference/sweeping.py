"""Runs sweeps: worlds one after the other, a hundred requests and more in each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from proxy.fhir.codec import JsonObject
from proxy.policy.compile import compile_view
from proxy.policy.load import load_directory
from proxy.policy.verdicts import VerdictTable, compute_verdicts
from tests.noninterference.asking import KINDS as REQUESTS
from tests.noninterference.asking import Asker
from tests.noninterference.grow import dataset
from tests.noninterference.harness import Put, Tally, compare_one, show, show_all
from tests.noninterference.questions import Combination, Criteria, combinations
from tests.noninterference.requests import Request
from tests.noninterference.sweep import FAMILIES, KINDS, Sweep
from tests.noninterference.worlds import World, key_of
from tests.rig import Rig

_TIME = "_lastUpdated"
PER_WORLD = 110  # requests; at least 100 are to be made in each


@dataclass
class Run:
    """A sweep of one role. ``tally``: its results; ``asked``: which (type, parameter, modifier,
    prefix) were; ``worlds``: how many there were of each kind."""

    rig: Rig
    sweep: Sweep
    table: VerdictTable
    rng: random.Random
    put: Put
    tally: Tally = field(default_factory=Tally)
    asked: set[tuple[str, Combination]] = field(default_factory=set)
    worlds: int = 0

    async def until(self, pairs: int) -> None:
        """Go on until so many pairs count, or something differs."""
        for world in self.sweep:
            first, second = (self.view_of(world, side) for side in (0, 1))
            assert first == second, f"{world.name} shows two different things"
            await compare_one(self.rig, world, self.put, self.requests(world), self.tally)
            self.worlds += 1
            if self.tally.total >= pairs or self.tally.differences:
                return

    def criteria(self, world: World) -> Criteria:
        """What searches in a world are made with."""
        stored = [r for side in (world.first, world.second) for r in side]
        offered = combinations(self.table)
        if self.sweep.stored:  # its times of storage are its own
            offered = {t: [c for c in cs if c[0] != _TIME] for t, cs in offered.items()}
        return Criteria(
            table=self.table,
            shown=_by_type(self._shown(world)),
            stored=_by_type((str(r["id"]), r) for r in stored),
            about=world.about,
            rng=self.rng,
            upstream=self.rig.upstream,
            asked=self.asked,
            offered=offered,
        )

    def requests(self, world: World, count: int = PER_WORLD) -> list[Request]:
        """Requests about what differs in a world."""
        criteria = self.criteria(world)
        asker = Asker(world.role, self.sweep.view, world, criteria, self.rng)
        return list(asker.requests(count))

    def _shown(self, world: World) -> Iterator[tuple[str, JsonObject]]:
        for resource in world.first:
            if key_of(resource) not in world.unseen:
                made = show(self.sweep.view, self.rig, world.role, resource)
                if made is not None:
                    yield str(resource["id"]), made

    def view_of(self, world: World, side: int) -> list[bytes]:
        """V(D) of one side."""
        store = world.store(side)
        held = [v.resource for t in store.types() for v in store.of_type(t)]
        return show_all(self.sweep.view, self.rig, world.role, [r for r in held if r is not None])

    def report(self, title: str) -> str:
        """The table of counts, with what it took."""
        return f"{title}\n{self.tally.table(KINDS, list(REQUESTS))}, {self.worlds} pairs of worlds"

    def light(self) -> list[str]:
        """Families of changes under a tenth of all pairs."""
        counts, total = self.tally.counts, self.tally.total
        families = {
            family: sum(n for (kind, _), n in counts.items() if kind in kinds)
            for family, kinds in FAMILIES.items()
        }
        return [family for family, count in families.items() if count * 10 < total]

    def unmet(self) -> list[tuple[str, str]]:
        """Kinds of changes that never met a kind of request, of those kinds that the role has."""
        counts = self.tally.counts
        changes = [k for k in KINDS if any(kind == k for kind, _ in counts)]
        requests = [r for r in REQUESTS if any(request == r for _, request in counts)]
        return [(k, r) for k in changes for r in requests if not counts[k, r]]

    def missing(self) -> list[tuple[str, Combination]]:
        """What is offered and was never asked."""
        found = combinations(self.table).items()
        return [(t, c) for t, many in found for c in many if (t, c) not in self.asked]


def make_run(
    rig: Rig,
    role: str,
    policies: Path,
    put: Put,
    seed: str,
    *,
    stored: bool = False,
    each: int = 4,
) -> Run:
    """The sweep of a role by the policies of a folder, over ``each`` resources of a type.
    ``stored``: by a real server, which takes only what is legal and sets versions and times."""
    view = compile_view(load_directory(policies)[role])
    rng = random.Random(seed)
    resources = tuple(dataset(rig.upstream, each))
    sweep = Sweep(role, view, resources, lambda r: show(view, rig, role, r), rng, stored)
    return Run(rig, sweep, compute_verdicts(view), rng, put)


def _by_type(
    resources: Iterator[tuple[str, JsonObject]],
) -> dict[str, list[tuple[str, JsonObject]]]:
    found: dict[str, list[tuple[str, JsonObject]]] = {}
    for id, resource in resources:
        found.setdefault(str(resource["resourceType"]), []).append((id, resource))
    return found
