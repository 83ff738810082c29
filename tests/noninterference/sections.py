"""Worlds in which hidden sections of reports hold more, or less, or something else."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.fhir.codec import JsonObject
from proxy.fhir.structure import properties
from tests.noninterference.changes import Show
from tests.noninterference.rows import Rows
from tests.noninterference.worlds import key_of

ENTRIES = "entries of a hidden section"
KINDS = (ENTRIES,)
_MOST = 12  # resources that stand in hidden sections alone


@dataclass(frozen=True, slots=True)
class HiddenSections:
    """``show``: a stored resource as the role is shown it; ``types``: those that it is shown."""

    show: Show
    rng: random.Random
    types: frozenset[str]

    def make(self, resources: Sequence[JsonObject]) -> Rows | None:
        """Both sides, what differs, and what is not shown: copies of resources, to which hidden
        sections refer, directly, in a section inside, or from one another; None if no section is
        hidden. Each side has some of them."""
        models = [r for r in resources if r["resourceType"] in self.types - {"Composition"}]
        copies = [self._copy(model) for model in self.rng.choices(models, k=_MOST)]
        half = self.rng.randint(1, _MOST - 1)
        sides = []
        for part in (copies[:half], copies[half:]):
            side, placed = self._place(resources, part)
            if not placed:
                return None
            sides.append(side)
        keys = tuple(dict.fromkeys(map(key_of, copies)))
        return sides[0], sides[1], keys, frozenset(keys)

    def _copy(self, model: JsonObject) -> JsonObject:
        """What refers to no other resource, so that nothing else comes to be reached."""
        made: Any = _without_references(model)
        made["id"] = f"unseen-{self.rng.randint(1, 10**9)}"
        return dict(made)

    def _place(
        self, resources: Sequence[JsonObject], copies: list[JsonObject]
    ) -> tuple[tuple[JsonObject, ...], bool]:
        """The dataset with the copies, each where its type stands, and in hidden sections."""
        side = [copy.deepcopy(r) if r["resourceType"] == "Composition" else r for r in resources]
        reports = [r for r in side if r["resourceType"] == "Composition"]
        places = [(r["subject"], section) for r in reports for section in self._hidden(r)]
        for number, made in enumerate(copies if places else ()):
            same = [i for i, r in enumerate(side) if r["resourceType"] == made["resourceType"]]
            side.insert(self.rng.choice([*same, same[-1] + 1]), made)
            subject, section = self.rng.choice(places)
            known = properties(str(made["resourceType"]))
            made.update({name: subject for name in ("subject", "patient") if name in known})
            if number % 3 == 2:
                section = section.setdefault("section", [{}])[0]
            entry = {"reference": "/".join(key_of(made))}
            section.setdefault("entry", []).append(entry)
        return tuple(side), bool(places)

    def _hidden(self, report: Any) -> Iterator[Any]:
        """The sections of a report of whose entries nothing shows."""
        before = self.show(report)
        if before is None:
            return
        for section in report.get("section", ()):
            section.setdefault("entry", []).append({"reference": "Patient/unheard-of"})
            changed = self.show(report) != before
            section["entry"].pop()
            if not section["entry"]:
                del section["entry"]
            if not changed:
                yield section


def _without_references(value: Any) -> Any:
    if isinstance(value, list):
        items = [_without_references(item) for item in value]
        return [item for item in items if item not in ({}, None)] or None
    if isinstance(value, dict):
        kept = {k: _without_references(v) for k, v in value.items() if k != "reference"}
        return {k: v for k, v in kept.items() if v not in ({}, None)}
    return value
