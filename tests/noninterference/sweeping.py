"""Runs sweeps: worlds one after the other, a hundred requests and more in each."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from proxy.demo.markers import leaves
from proxy.fhir.codec import JsonObject
from proxy.policy.compile import compile_view
from proxy.policy.load import load_directory
from proxy.policy.verdicts import VerdictTable, compute_verdicts
from tests.noninterference import sections
from tests.noninterference.asking import KINDS as REQUESTS
from tests.noninterference.asking import Asker
from tests.noninterference.grow import dataset
from tests.noninterference.harness import Put, Tally, compare_one, show, show_all, show_whole
from tests.noninterference.offers import Combination, Offers
from tests.noninterference.questions import Criteria
from tests.noninterference.requests import Request
from tests.noninterference.sweep import FAMILIES, KINDS, Sweep
from tests.noninterference.worlds import World, key_of
from tests.rig import Rig

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

    @cached_property
    def _offers(self) -> Offers:
        return Offers(self.table, timed=not self.sweep.stored)  # a server's times are its own

    async def until(self, pairs: int) -> None:
        """Go on until so many pairs count, or something differs."""
        for world in self.sweep:
            if not self.holds(world):
                continue
            await compare_one(self.rig, world, self.put, self.requests(world), self.tally)
            self.worlds += 1
            if self.tally.total >= pairs or self.tally.differences:
                return

    async def finish(self) -> None:
        """Ask what is offered and was never asked, in the next world."""
        world = next(iter(self.sweep))
        criteria, made = self.criteria(world), []
        asker = Asker(world.role, self.sweep.view, world, criteria, self.rng)
        for type_name, combination in self.missing():
            query = criteria.write(type_name, *combination)
            made.append(asker.get("search", f"{type_name}?{query}"))
            self.asked.add((type_name, combination))
        await compare_one(self.rig, world, self.put, made, self.tally)
        self.worlds += 1

    def criteria(self, world: World) -> Criteria:
        """What searches in a world are made with."""
        stored = [r for side in (world.first, world.second) for r in side]
        return Criteria(
            offers=self._offers,
            shown=_by_type(self._shown(world)),
            stored=_by_type((str(r["id"]), r) for r in stored),
            about=world.about,
            rng=self.rng,
            upstream=self.rig.upstream,
            asked=self.asked,
            changed=_changed(world),
        )

    def requests(
        self, world: World, count: int = PER_WORLD, kinds: Iterable[str] = REQUESTS
    ) -> list[Request]:
        """Requests about what differs in a world."""
        criteria = self.criteria(world)
        asker = Asker(world.role, self.sweep.view, world, criteria, self.rng)
        return list(asker.requests(count, kinds))

    def _shown(self, world: World) -> Iterator[tuple[str, JsonObject]]:
        held = [r for r in world.first if key_of(r) not in world.unseen]
        for resource, shown in show_whole(self.sweep.view, self.rig, world.role, held):
            yield str(resource["id"]), shown

    def holds(self, world: World) -> bool:
        """Whether both sides show the same. Where sections can be hidden, a hidden reference may
        decide what else shows, where a number names the person, a hidden number may, and where
        documents have a profile, they show what a resource alone does not; there alone a world
        may fall away."""
        first, second = (self.view_of(world, side) for side in (0, 1))
        same = first == second
        view = self.sweep.view
        apart = view.hides_sections or view.has_companions or view.shows_together
        assert same or apart, f"{world.name} shows two different things"
        return same

    def view_of(self, world: World, side: int) -> list[bytes]:
        """V(D) of one side."""
        store = world.store(side)
        held = [v.resource for t in store.types() for v in store.of_type(t)]
        return show_all(self.sweep.view, self.rig, world.role, [r for r in held if r is not None])

    def report(self, title: str) -> str:
        """The table of counts, with what it took."""
        return f"{title}\n{self.tally.table(KINDS, list(REQUESTS))}, {self.worlds} pairs of worlds"

    def light(self) -> list[str]:
        """Families of changes that the role has, under a tenth of all pairs."""
        counts, total = self.tally.counts, self.tally.total
        families = {
            family: sum(n for (kind, _), n in counts.items() if kind in kinds)
            for family, kinds in FAMILIES.items()
            if kinds != sections.KINDS or self.sweep.view.hides_sections
        }
        return [family for family, count in families.items() if count * 10 < total]

    def unmet(self) -> list[tuple[str, str]]:
        """Kinds of changes that never met a kind of request in a pair that counts, of those kinds
        that the role has. Some hardly can: few documents lead to a row that is withheld."""
        counts = self.tally.counts
        changes = [k for k in KINDS if any(kind == k for kind, _ in counts)]
        requests = [r for r in REQUESTS if any(request == r for _, request in counts)]
        found = [(k, r) for k in changes for r in requests if not counts[k, r]]
        return found if len(found) * 20 > len(changes) * len(requests) else []

    def missing(self) -> list[tuple[str, Combination]]:
        """What is offered and was never asked."""
        found = self._offers.combinations.items()
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
    base: str = "",
) -> Run:
    """The sweep of a role by the policies of a folder, over ``each`` resources of a type.
    ``base``: what they call the upstream, if not by its address. ``stored``: by a real server,
    which takes only what is legal and sets versions and times."""
    view = compile_view(load_directory(policies)[role])
    rng = random.Random(seed)
    resources = tuple(dataset(base or rig.upstream, each))
    sweep = Sweep(role, view, resources, lambda r: show(view, rig, role, r, resources), rng, stored)
    return Run(rig, sweep, compute_verdicts(view), rng, put)


def _changed(world: World) -> dict[str, frozenset[str]]:
    """By type, the paths at which the two sides of a resource differ."""
    sides = [{key_of(r): r for r in side} for side in (world.first, world.second)]
    found: dict[str, set[str]] = {}
    for key in world.about:
        one, other = (side.get(key) for side in sides)
        if one is not None and other is not None and one is not other:
            first, second = ({x.place: (x.path, x.value) for x in leaves(r)} for r in (one, other))
            places = {p for p in first.keys() | second.keys() if first.get(p) != second.get(p)}
            paths = {(first.get(p) or second[p])[0] for p in places}
            found.setdefault(key[0], set()).update(p for p in paths if p.startswith(f"{key[0]}."))
    return {type_name: frozenset(paths) for type_name, paths in found.items()}


def _by_type(
    resources: Iterator[tuple[str, JsonObject]],
) -> dict[str, list[tuple[str, JsonObject]]]:
    found: dict[str, list[tuple[str, JsonObject]]] = {}
    for id, resource in resources:
        found.setdefault(str(resource["resourceType"]), []).append((id, resource))
    return found
