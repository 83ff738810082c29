"""Requests made at random from what a role's verdict table offers, with values of the data.

Values are drawn from what is shown and from what is hidden, then spoilt now and then: what a
curious caller would try. Every offered parameter, modifier and prefix has its turn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from proxy.demo.markers import leaves
from proxy.fhir import registry
from proxy.fhir.codec import Fragment, JsonObject
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.search import escape
from proxy.fhir.structure import RESOURCES
from tests.equivalence.values import BASE, draw, elements
from tests.noninterference.changes import DATES
from tests.noninterference.offers import Combination, Offers
from tests.noninterference.worlds import Key
from tests.rig import PUBLIC

By = Mapping[str, Sequence[tuple[str, JsonObject]]]  # by type: (id as stored, resource)

# Where nothing is held to draw from.
_NOWHERE = {
    "token": "http://loinc.org|0-0", "string": "nowhere", "reference": "Patient/nowhere",
    "date": "2019-06-15", "quantity": "7.5", "number": "7.5", "uri": "urn:nowhere",
    "composite": "0-0$7.5", "special": "nowhere",
}  # fmt: skip


@dataclass(slots=True)
class Criteria:
    """Makes search criteria in one world. ``shown``, ``stored``: resources by type as the role is
    shown them and as they are held in either side; ``about``: what differs; ``changed``: by type,
    the paths at which it does; ``asked``: all that was asked so far, for the same role."""

    offers: Offers
    shown: By
    stored: By
    about: tuple[Key, ...]
    rng: random.Random
    upstream: str
    asked: set[tuple[str, Combination]] = field(default_factory=set)
    changed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    _pointed: dict[str, list[Combination]] = field(default_factory=dict)

    def pointed(self, type_name: str) -> list[Combination]:
        """What is offered of a type and reads something that differs."""
        if type_name not in self._pointed:
            changed = self.changed.get(type_name, frozenset())
            self._pointed[type_name] = [
                c
                for c in (self.offers.combinations.get(type_name, ()) if changed else ())
                if self._reads(type_name, c, changed)
            ]
        return self._pointed[type_name]

    def _reads(self, type_name: str, asked: Combination, changed: frozenset[str]) -> bool:
        verdict = self.offers.table.verdict(type_name, asked[0], asked[1])
        return any(
            f"{read.path}.".startswith(f"{path}.") or f"{path}.".startswith(f"{read.path}.")
            for read in verdict.reads
            for path in changed
        )

    def take(
        self, type_name: str, wanted: Callable[[Combination], bool] = lambda c: True
    ) -> str | None:
        """The next criterion on a type, ``name=value`` in URL form: one that points at something
        that differs, or one that was not asked yet. None if nothing is offered that is wanted."""
        pointed = [c for c in self.pointed(type_name) if wanted(c)]
        if pointed and self.rng.random() < 0.5:
            chosen, hidden = self.rng.choice(pointed), 0.8
        else:
            found = [c for c in self.offers.combinations.get(type_name, ()) if wanted(c)]
            if not found:
                return None
            fresh = [c for c in found if (type_name, c) not in self.asked]
            chosen, hidden = self.rng.choice(fresh or found), 0.4
        code, modifier, prefix = chosen
        self.asked.add((type_name, chosen))
        return self.write(type_name, code, modifier, prefix, hidden=hidden)

    def write(
        self, type_name: str, code: str, modifier: str, prefix: str = "", *, hidden: float = 0.4
    ) -> str:
        """A criterion with a value of the data. ``hidden``: how often it is one as stored."""
        known = registry.get(type_name).get(code)
        several = 2 if self.rng.random() < 0.15 else 1
        values = [prefix + self.value(type_name, known, modifier, hidden) for _ in range(several)]
        if modifier == "missing":
            values = [self.rng.choice(("true", "false"))]
        name = f"{code}:{modifier}" if modifier else code
        return f"{name}={quote(','.join(values), safe='')}"

    def value(
        self, type_name: str, known: SearchParameter | None, modifier: str, hidden: float
    ) -> str:
        rng = self.rng
        if known is None:
            return "1"
        resource = self._source(type_name, hidden)
        kind = "typed" if modifier in RESOURCES else modifier
        found = list(self._values(type_name, known, kind, resource)) if resource else []
        value = rng.choice(found) if found else _NOWHERE[known.type]
        if known.type == "date" and value[:4].isdigit() and rng.random() < 0.5:
            value = value[:4]  # years are what most views answer
        value = value.replace(BASE, PUBLIC if rng.random() < 0.8 else self.upstream)
        return self._spoilt(value) if rng.random() < 0.1 else value

    def _source(self, type_name: str, hidden: float) -> JsonObject | None:
        """A resource to draw from: mostly one that differs, shown or as stored."""
        rng = self.rng
        held = self.stored if rng.random() < hidden else self.shown
        found = held.get(type_name, ())
        ids = {id for name, id in self.about if name == type_name}
        near = [one for one in found if one[0] in ids]
        if near and rng.random() < 0.7:
            return rng.choice(near)[1]
        return rng.choice(found)[1] if found else None

    def _values(
        self, type_name: str, known: SearchParameter, kind: str, resource: JsonObject
    ) -> Iterator[str]:
        if known.type == "composite":
            parts = [part.type for part, _ in registry.components(known)]
            yield "$".join(self._any(part, resource) for part in parts)
            return
        for element, code in elements(known, type_name, (resource,)):
            yield from draw(known.type, kind, element, code)

    def _any(self, search_type: str, resource: JsonObject) -> str:
        """A value of the search type from anywhere in a resource."""
        found = [v for v in _anywhere(resource) if v[0] == search_type]
        return self.rng.choice(found)[1] if found else _NOWHERE[search_type].partition("$")[0]

    def _spoilt(self, value: str) -> str:
        at = self.rng.randrange(len(value))
        return self.rng.choice(
            (
                value[: at + 1],
                value + self.rng.choice("x0 *%"),
                value.swapcase(),
                value[:at] + self.rng.choice("0159aZ|,$\\") + value[at + 1 :],
                value[::-1],
            )
        )


def _anywhere(resource: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(search type, value) of what a resource holds."""
    for leaf in leaves(dict(resource)):
        if isinstance(leaf.value, Fragment):
            yield "quantity", leaf.value.contents
            yield "number", leaf.value.contents
        elif isinstance(leaf.value, str):
            name = leaf.path.rpartition(".")[2]
            if leaf.type in DATES:
                yield "date", leaf.value[:10]
            elif name in ("code", "value"):
                yield "token", escape(leaf.value)
            elif name == "reference":
                yield "reference", escape(leaf.value)
            elif leaf.type in ("uri", "url", "canonical"):
                yield "uri", escape(leaf.value)
            else:
                yield "string", escape(leaf.value[:30])
