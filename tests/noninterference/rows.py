"""Hidden rows made at random: like visible ones in what is searched by, but not shown."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.demo.markers import leaves
from proxy.fhir.codec import JsonObject
from proxy.fhir.fhirpath import is_a
from proxy.fhir.structure import properties
from tests.noninterference.changes import Show, apply
from tests.noninterference.worlds import UNLISTED, Key, key_of

WITHHELD, OUTSIDE, MANY, HIDDEN_TYPE = (
    "withheld row", "row out of scope", "many hidden rows", "hidden type",
)  # fmt: skip
DELETED, HIDDEN_ID, LINKED = "deleted row", "id of a hidden row", "row referred to"
KINDS = (WITHHELD, OUTSIDE, MANY, HIDDEN_TYPE, DELETED, LINKED)
# Types that no policy of ours shows.
_NEVER_SHOWN = ("Media", "Basic", "Substance")
_LABELS = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_WORDS = ("OH", "Toledo", "43604", "final", "0000000")

Rows = tuple[tuple[JsonObject, ...], tuple[JsonObject, ...], tuple[Key, ...], frozenset[Key]]


@dataclass(frozen=True, slots=True)
class HiddenRows:
    """Makes the two sides of a world that differ in rows. ``show``: a stored resource as the role
    is shown it, None if withheld; ``ruled``: the types on which the policy has row rules;
    ``types``: those that the role is shown."""

    show: Show
    rng: random.Random
    types: frozenset[str]
    ruled: frozenset[str] = frozenset()
    stored: bool = False

    def make(self, kind: str, resources: Sequence[JsonObject]) -> Rows | None:
        """Both sides, what differs, and what is not shown; None if the view has no such rows."""
        if kind == OUTSIDE and not self.ruled:
            return None
        if kind == HIDDEN_TYPE:
            return self._of_hidden_type(resources)
        if kind == LINKED:
            return self._linked(resources)
        rows = list(self._hidden(kind, resources, 40 if kind == MANY else 24))
        if kind == DELETED:
            return self._deleted(resources, rows)
        if kind == HIDDEN_ID:
            return self._renamed(resources, rows)
        return self._placed(resources, rows, heaped=kind == MANY)

    def hide(self, kind: str, resource: JsonObject) -> JsonObject | None:
        """A copy of a row, under another id, that is not shown."""
        copied: Any = copy.deepcopy(resource)
        copied["id"] = f"unseen-{self.rng.randint(1, 10**9)}"
        if kind == OUTSIDE or (kind == MANY and self.ruled and self.rng.random() < 0.5):
            found = next((c for c in self._spoilt(copied) if self.show(c) is None), None)
            if found is not None or kind == OUTSIDE:
                return found
        if self.stored and not is_a(str(copied["resourceType"]), "DomainResource"):
            return None  # R4 has no modifierExtension there, and a server drops it
        copied["modifierExtension"] = [{"url": UNLISTED, "valueBoolean": True}]
        return dict(copied) if self.show(copied) is None else None

    def _spoilt(self, resource: JsonObject) -> Iterator[JsonObject]:
        """Forms of a resource that some row rule may not let through: with a label, without a
        member, with another value."""
        rng = self.rng
        label: JsonObject = {"system": _LABELS, "code": "R"}
        ways: list[JsonObject] = [{**resource, "meta": {"security": [label]}}]
        known = properties(str(resource["resourceType"]))
        # A server stores nothing without what R4 requires of it, as the type of a Bundle.
        spared = [n for n in resource if self.stored and n in known and known[n].element.min]
        ways += [
            {k: v for k, v in resource.items() if k != name}
            for name in list(resource)[2:]
            if name not in spared
        ]
        for leaf in leaves(resource):
            legal = leaf.type == "string" or not self.stored
            if isinstance(leaf.value, str) and leaf.place != ("id",) and legal:
                ways.append(apply(resource, [(leaf.place, rng.choice(_WORDS))]))
        rng.shuffle(ways)
        yield from ways

    def _hidden(
        self, kind: str, resources: Sequence[JsonObject], most: int
    ) -> Iterator[JsonObject]:
        allowed = self.ruled if kind == OUTSIDE else self.types
        models = [r for r in resources if r["resourceType"] in allowed]
        for model in self.rng.choices(models, k=most) if models else ():
            made = self.hide(kind, model)
            if made is not None:
                yield made

    def _placed(
        self, resources: Sequence[JsonObject], rows: list[JsonObject], *, heaped: bool
    ) -> Rows | None:
        """Different numbers of hidden rows at different places; ``heaped``: many at one place."""
        if not rows:
            return None
        sides = []
        for part in (rows[: len(rows) // 4], rows[len(rows) // 4 :]):
            side = list(resources)
            for row in part:
                at = self._at(side, str(row["resourceType"]), heaped)
                side.insert(at, row)
            sides.append(tuple(side))
        keys = tuple(map(key_of, rows))
        return sides[0], sides[1], keys, frozenset(keys)

    def _at(self, side: list[JsonObject], type_name: str, heaped: bool) -> int:
        """A place among rows of the type; ``heaped``: after the first of them."""
        places = [i for i, r in enumerate(side) if r["resourceType"] == type_name]
        return places[0] + 1 if heaped else self.rng.choice([*places, places[-1] + 1])

    def _renamed(self, resources: Sequence[JsonObject], rows: list[JsonObject]) -> Rows | None:
        """Hidden rows at the same places, under other ids."""
        if not rows:
            return None
        first, second, keys = list(resources), list(resources), list[Key]()
        for row in rows:
            at = self._at(first, str(row["resourceType"]), heaped=False)
            other = {**row, "id": f"hidden.{self.rng.randint(1, 10**12)}"}
            first.insert(at, row)
            second.insert(at, other)
            keys += [key_of(row), key_of(other)]
        return tuple(first), tuple(second), tuple(keys), frozenset(keys)

    def _deleted(self, resources: Sequence[JsonObject], rows: list[JsonObject]) -> Rows | None:
        """Rows that will be deleted in the second side. In the first, some are there, hidden;
        some never were, and in the second they were shown before."""
        first, second = list(resources), list(resources)
        for number, row in enumerate(rows):
            at = self._at(second, str(row["resourceType"]), heaped=False)
            if number % 2:
                row.pop("modifierExtension", None)
            else:
                first.insert(self._at(first, str(row["resourceType"]), heaped=False), row)
            second.insert(at, row)
        keys = tuple(map(key_of, rows))
        return (tuple(first), tuple(second), keys, frozenset(keys)) if rows else None

    def _of_hidden_type(self, resources: Sequence[JsonObject]) -> Rows:
        """Resources of types that are not shown: rows, entries of documents, contained ones."""
        sides = []
        about: list[Key] = []
        for marker in ("one", "other"):
            side: list[Any] = copy.deepcopy(list(resources))
            for type_name in _NEVER_SHOWN:
                side.insert(self.rng.randint(0, len(side)), _unshown(type_name, marker))
            for resource in side:
                if resource["resourceType"] == "Bundle" and resource.get("type") == "document":
                    resource["entry"].append(_entry(marker))
                elif resource["resourceType"] in self.types and "contained" not in resource:
                    resource["contained"] = [_unshown("Media", marker)]
            sides.append(tuple(side))
        for before, now in zip(resources, _shown(sides[0]), strict=True):
            if before != now:
                about.append(key_of(before))
        unseen = frozenset((t, f"{t.lower()}-{m}") for t in _NEVER_SHOWN for m in ("one", "other"))
        return sides[0], sides[1], tuple(about), unseen

    def _linked(self, resources: Sequence[JsonObject]) -> Rows | None:
        """Visible rows refer to what is there but hidden, or to what never was. By what is not
        there HAPI finds no row, whatever it refers to: there it is another hidden row."""
        rng, base = self.rng, copy.deepcopy(list(resources))
        rows: list[JsonObject] = []
        others: list[JsonObject] = []
        for target in base:
            if target["resourceType"] in self.types and rng.random() < 0.8:
                kind = OUTSIDE if target["resourceType"] in self.ruled else WITHHELD
                made = self.hide(kind, target)
                if made is not None and self._lead(base, target, made):
                    rows.append(made)
                    others += self._other(resources, made)
        keys = tuple(map(key_of, rows))
        if not rows:
            return None
        return (*rows, *base), (*others, *base), keys, frozenset(keys)

    def _other(self, resources: Sequence[JsonObject], row: JsonObject) -> Iterator[JsonObject]:
        """A hidden row of the same name that holds something else, before a real server."""
        alike = [r for r in resources if r["resourceType"] == row["resourceType"]]
        if self.stored:
            held = {k: v for k, v in row.items() if k in ("id", "meta", "modifierExtension")}
            made = {**self.rng.choice(alike), **held}
            yield made if self.show(made) is None else row

    def _lead(self, base: list[JsonObject], target: JsonObject, to: JsonObject) -> bool:
        """Let some references to ``target`` lead to another row; whether there were any."""
        name, other = "/".join(key_of(target)), "/".join(key_of(to))
        changed = 0
        for holder in base:
            if holder["resourceType"] != "Bundle" and self.rng.random() < 0.6:
                changed += _point(holder, name, other)
        return changed > 0


def _point(value: Any, name: str, other: str) -> int:
    """References to ``name`` lead to ``other`` from now on; how many there were."""
    if isinstance(value, list):
        return sum(_point(item, name, other) for item in value)
    if not isinstance(value, dict):
        return 0
    found = value.get("reference") == name
    if found:
        value["reference"] = other
    return found + sum(_point(item, name, other) for item in value.values())


def _shown(side: Iterable[JsonObject]) -> list[JsonObject]:
    return [r for r in side if r["resourceType"] not in _NEVER_SHOWN]


def _unshown(type_name: str, marker: str) -> JsonObject:
    held: JsonObject = {"resourceType": type_name, "id": f"{type_name.lower()}-{marker}"}
    if type_name == "Media":
        held |= {"status": "completed", "content": {"contentType": "text/plain", "title": marker}}
    elif type_name == "Basic":
        held |= {"code": {"text": marker}}
    else:
        held |= {"status": "active", "code": {"text": marker}, "description": marker}
    return held


def _entry(marker: str) -> JsonObject:
    number = "1" if marker == "one" else "2"
    uuid = f"urn:uuid:0e2d6b4e-38a7-4bd6-9b9e-2f7e1f8f0d0{number}"
    held = _unshown("Media", marker)
    held.pop("id")
    return {"fullUrl": uuid, "resource": held}
