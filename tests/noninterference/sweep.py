"""Worlds made at random from a seed: in each, one kind of hidden change in many resources."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from proxy.fhir.codec import JsonObject
from proxy.policy.compile import View
from tests.noninterference import changes, rows, sections
from tests.noninterference.changes import FOREIGN, TARGET, Changes, Show
from tests.noninterference.rows import HIDDEN_ID, HiddenRows
from tests.noninterference.sections import HiddenSections
from tests.noninterference.worlds import Key, World, key_of

VERSION = "version"
# Family -> the kinds of change in it.
FAMILIES = {
    "hidden element": changes.KINDS,
    "hidden row": rows.KINDS,
    "hidden id": (FOREIGN, TARGET, HIDDEN_ID, VERSION),
    "hidden section": sections.KINDS,
}
KINDS = tuple(kind for kinds in FAMILIES.values() for kind in kinds)
_SHARE = 0.8  # of the resources that may be changed


@dataclass(frozen=True, slots=True)
class Sweep:
    """``resources``: in storage order; ``show``: a stored resource as the role is shown it;
    ``stored``: by a real server, which takes only what is legal, and sets versions and times."""

    role: str
    view: View
    resources: tuple[JsonObject, ...]
    show: Show
    rng: random.Random
    stored: bool = False

    def __iter__(self) -> Iterator[World]:
        """Without end: the families in turn, and the kinds of each family in some order."""
        turns = {
            family: self._turn(tuple(self.rng.sample(kinds, len(kinds))))
            for family, kinds in FAMILIES.items()
        }
        while turns:
            for family in list(turns):
                made = next(turns[family], None)
                if made is None:
                    del turns[family]
                else:
                    yield made

    def _turn(self, kinds: tuple[str, ...]) -> Iterator[World]:
        found = True
        while found:
            found = False
            for kind in kinds:
                made = self.world(kind)
                if made is not None:
                    found = True
                    yield made

    def world(self, kind: str) -> World | None:
        """A world of one kind of change; None if the view hides nothing of that kind."""
        if kind in (*rows.KINDS, HIDDEN_ID):
            types = frozenset(t for t in self.view.policy.access if not self.view.passes(t))
            ruled = frozenset(getattr(self.view.policy, "rows", {}))
            maker = HiddenRows(self.show, self.rng, types, ruled, self.stored)
            made = maker.make(kind, self.resources)
            return None if made is None else self._world(kind, *made, deleted=kind == rows.DELETED)
        if kind in sections.KINDS:
            if not self.view.hides_sections:
                return None
            shown = frozenset(t for t in self.view.policy.access if not self.view.passes(t))
            held = HiddenSections(self.show, self.rng, shown).make(self.resources)
            return None if held is None else self._world(kind, *held)
        if kind == VERSION:
            return None if self.stored else self._rewritten()
        changes_of = Changes(self.show, self.rng, self.stored).change
        return self._changed(kind, lambda resource: changes_of(kind, resource))

    def _changed(
        self, kind: str, change: Callable[[JsonObject], tuple[JsonObject, JsonObject] | None]
    ) -> World | None:
        first, second, about = list(self.resources), list(self.resources), list[Key]()
        for index, resource in enumerate(self.resources):
            made = change(resource) if self.rng.random() < _SHARE else None
            if made is not None:
                first[index], second[index] = made
                about.append(key_of(resource))
        if not about:
            return None
        return self._world(kind, tuple(first), tuple(second), tuple(about), frozenset())

    def _rewritten(self) -> World:
        """Rows that were written again, and at another time where that is hidden, too."""
        passed = self.view.passes
        again = [
            r
            for r in self.resources
            if not passed(str(r["resourceType"])) and self.rng.random() < _SHARE
        ]
        keys = tuple(map(key_of, again))
        timed = "Meta.lastUpdated" in self.view.policy.datatypes
        unseen = frozenset() if timed else frozenset(keys)
        return self._world(VERSION, self.resources, (*self.resources, *again), keys, unseen)

    def _world(
        self,
        kind: str,
        first: tuple[JsonObject, ...],
        second: tuple[JsonObject, ...],
        about: tuple[Key, ...],
        unseen: frozenset[Key],
        *,
        deleted: bool = False,
    ) -> World:
        type_name, id = about[-1 if deleted else 0]
        return World(
            kind, self.role, type_name, id, first, second, deleted, "sweep", about, unseen
        )
