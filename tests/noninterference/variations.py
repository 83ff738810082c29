"""Worlds and requests made at random from a seed: any leaf of any resource, any parameter.

A world is made by changing one leaf, or by adding one row, and kept if the view shows the same.
"""

from __future__ import annotations

import copy
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from proxy.demo.markers import Leaf, leaves, marker
from proxy.fhir import registry
from proxy.fhir.codec import Fragment, Json, JsonObject
from proxy.fhir.search import escape
from proxy.policy.verdicts import Verdict, VerdictTable
from tests.noninterference.requests import Request, batch, read, search, walk
from tests.noninterference.worlds import DELETED, UNLISTED, World

DATES = {"date", "dateTime", "instant"}
# The kind of change by a member of the leaf's path; the first that is there.
_KINDS = (
    ("extension", "extension"),
    ("identifier", "identifier"),
    ("telecom", "telecom"),
    ("name", "name"),
    ("div", "narrative"),
)
_PREFIXES = ("", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_SUMMARIES = (
    "_summary=true",
    "_summary=text",
    "_summary=data",
    "_elements=id,meta",
    "_pretty=true",
)
_REFUSED = 0.1  # share of searches that may be refused

Show = Callable[[JsonObject], object]


@dataclass(frozen=True, slots=True)
class Variation:
    """A world and what is asked in it."""

    world: World
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class Variations:
    """``show``: a resource as the role is shown it, anything comparable; None if withheld."""

    role: str
    resources: tuple[JsonObject, ...]
    show: Show
    table: VerdictTable
    rng: random.Random

    def __iter__(self) -> Iterator[Variation]:
        """Without end."""
        while True:
            made = self._row() if self.rng.random() < 0.15 else self._leaf()
            if made is not None:
                world, values = made
                yield Variation(world, tuple(self._requests(world, values)))

    def _pick(self) -> int:
        types = sorted({str(r["resourceType"]) for r in self.resources})
        type_name = self.rng.choice([t for t in types if t in self.table.types()])
        found = [i for i, r in enumerate(self.resources) if r["resourceType"] == type_name]
        return self.rng.choice(found)

    def _leaf(self) -> tuple[World, list[str]] | None:
        """One leaf of a resource, with two values."""
        index = self._pick()
        resource = self.resources[index]
        leaf = self.rng.choice([x for x in leaves(resource) if x.place != ("id",)])
        values = self._values(leaf)
        if len(values) < 2:
            return None
        sides = [_with(resource, leaf, value) for value in values[:2]]
        if self.show(sides[0]) != self.show(sides[1]):
            return None
        first, second = (
            (*self.resources[:index], side, *self.resources[index + 1 :]) for side in sides
        )
        parts = leaf.path.split(".")
        kind = next((k for name, k in _KINDS if name in parts), "unlisted element")
        kind = "date" if leaf.type in DATES else kind
        type_name, id = str(resource["resourceType"]), str(resource["id"])
        world = World(kind, self.role, type_name, id, first, second)
        return world, [v for v in values if isinstance(v, str)]

    def _values(self, leaf: Leaf) -> list[Json]:
        """Two values for a leaf, legal for its type where that is possible."""
        made = marker(leaf)
        if isinstance(leaf.value, bool):
            return [leaf.value, not leaf.value]
        if leaf.type in DATES and isinstance(leaf.value, str) and len(leaf.value) >= 10:
            month, day = self.rng.randint(1, 12), self.rng.randint(1, 28)
            return [leaf.value, f"{leaf.value[:4]}-{month:02}-{day:02}{leaf.value[10:]}"]
        if made is None or isinstance(leaf.value, Fragment | int):
            return [] if made is None else [leaf.value, made]
        return [leaf.value, made] if self.rng.random() < 0.5 else [made, leaf.value]

    def _row(self) -> tuple[World, list[str]]:
        """A withheld row at any place, deleted in the second world."""
        index = self._pick()
        hidden = copy.deepcopy(self.resources[index])
        hidden["id"] = str(uuid.UUID(int=self.rng.getrandbits(128)))
        hidden["modifierExtension"] = [{"url": UNLISTED, "valueBoolean": True}]
        at = self.rng.randint(0, len(self.resources))
        both = (*self.resources[:at], hidden, *self.resources[at:])
        type_name = str(hidden["resourceType"])
        return World(DELETED, self.role, type_name, str(hidden["id"]), both, both, True), []

    def _requests(self, world: World, values: list[str]) -> Iterator[Request]:
        rng = self.rng
        count = rng.randint(1, 4)
        one, two = self._criterion(world, values), self._criterion(world, values)
        tail = rng.choice(("", "&" + rng.choice(_SUMMARIES)))
        yield Request("read", "random", read("?" + rng.choice(_SUMMARIES)))
        yield Request("search", one, search(one))
        yield Request("search", f"{one}&{two}{tail}", search(f"{one}&{two}{tail}"))
        yield Request("page walk", f"{count} of {two}", walk(count, "&" + two))
        yield Request("page walk", f"{count} of all", walk(count))
        yield Request("batch", one, batch("{type}/{id}", "{type}?" + one))
        yield Request("header", "random", read(If_None_Match=f'W/"{rng.randint(1, 3)}"'))
        yield Request("bad input", two, batch("{type}?" + two, "{type}?_count=x", "{type}/{id}"))

    def _criterion(self, world: World, hidden: list[str]) -> str:
        """A search parameter with a value that occurs in the data, hidden or shown."""
        rng = self.rng
        answered = rng.random() >= _REFUSED
        codes = [
            (code, verdict)
            for code, verdict in self.table.parameters(world.type).items()
            if code != "_id" and (verdict.kind != "refuse" or not answered)
        ]
        code, verdict = rng.choice(codes)
        modifiers = self.table.modifiers(world.type, code) if answered else ("", "missing")
        modifier = rng.choice(("", *modifiers))
        value = "true" if modifier == "missing" else self._value(world, code, verdict, hidden)
        name = f"{code}:{modifier}" if modifier else code
        return f"{name}={quote(value, safe='')}"

    def _value(self, world: World, code: str, verdict: Verdict, hidden: list[str]) -> str:
        rng = self.rng
        held = [r for r in world.first if r["resourceType"] == world.type]
        texts = [x.value for r in held for x in leaves(r) if isinstance(x.value, str)]
        if hidden and rng.random() < 0.5:
            texts = hidden
        kind = registry.get(world.type)[code].type
        if kind == "token":
            return self._token(held, hidden)
        if kind == "reference":
            found = [self.show(r) for r in self.resources if r["resourceType"] in verdict.targets]
            ids = [f"{f['resourceType']}/{f['id']}" for f in found if isinstance(f, dict)]
            return rng.choice(ids or ["none"])
        if kind == "date":
            days = [t for t in texts if t[:4].isdigit() and len(t) >= 10] or ["2025-06-01"]
            return rng.choice(_PREFIXES) + rng.choice(days)[: rng.choice((4, 7, 10))]
        if kind in ("number", "quantity"):
            return rng.choice(_PREFIXES[:7]) + str(rng.randint(0, 200))
        text = rng.choice(texts)
        return escape(text[: rng.randint(3, 40)] if kind == "string" else text)

    def _token(self, held: list[JsonObject], hidden: list[str]) -> str:
        codings = [c for r in held for c in _codings(r)] + [("", h) for h in hidden]
        system, code = self.rng.choice(codings or [("", "final")])
        made = (code, f"{system}|{code}" if system else code, f"|{code}")
        return self.rng.choice(made)


def _codings(value: Json) -> Iterator[tuple[str, str]]:
    """System and code, or value, of everything coded."""
    if isinstance(value, dict):
        code = value.get("code", value.get("value"))
        system = value.get("system", "")
        if isinstance(code, str) and isinstance(system, str):
            yield escape(system), escape(code)
        for item in value.values():
            yield from _codings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _codings(item)


def _with(resource: JsonObject, leaf: Leaf, value: Json) -> JsonObject:
    copied = copy.deepcopy(resource)
    at: Json = copied
    for key in leaf.place[:-1]:
        at = at[key]  # type: ignore[index]
    at[leaf.place[-1]] = value  # type: ignore[index]
    return copied
