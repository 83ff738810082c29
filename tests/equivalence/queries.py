"""Searches of a role: every parameter with every modifier and prefix that its table answers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from proxy.fhir import registry
from proxy.fhir.codec import JsonObject
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.search import parameter as read_parameter
from proxy.fhir.structure import RESOURCES
from proxy.policy.controls import CONTROLS
from proxy.policy.verdicts import VerdictTable
from tests.equivalence.values import VALUE_SETS, composites, draw, elements

Shape = tuple[str, str, str]  # (search type, modifier, prefix); a modifier of a type is "typed"
ORDERED = ("date", "number", "quantity")
SEED = 7
DRAWN = 4  # elements of one parameter that values are drawn from


@dataclass(frozen=True, slots=True)
class Query:
    """One search: ``pairs`` of name and value; ``shapes`` of its parameters; ``sort``: the order
    of the answer is specified."""

    type: str
    pairs: tuple[tuple[str, str], ...]
    shapes: tuple[Shape, ...] = ()

    @property
    def text(self) -> str:
        return f"{self.type}?" + "&".join(f"{name}={value}" for name, value in self.pairs)

    @property
    def sorted(self) -> bool:
        return any(name == "_sort" for name, _ in self.pairs)

    def extended(self, *pairs: tuple[str, str]) -> Query:
        return Query(self.type, (*self.pairs, *pairs), self.shapes)


def every_parameter(table: VerdictTable, shown: Mapping[str, list[JsonObject]]) -> Iterator[Query]:
    """Single searches: each parameter of each type that has rows, with each modifier and prefix
    that the table answers, and values from the rows."""
    chance = random.Random(SEED)
    for type_name in table.types():
        if not shown.get(type_name):
            continue
        for code in table.parameters(type_name):
            known = registry.get(type_name)[code]
            if code in CONTROLS:
                continue
            found = list(elements(known, type_name, shown[type_name]))
            picked = chance.sample(found, min(DRAWN, len(found)))
            for modifier in table.modifiers(type_name, code):
                kind = "typed" if modifier in RESOURCES else modifier
                values = [v for e, t in picked for v in draw(known.type, kind, e, t)]
                if known.type == "composite" and not modifier:
                    values = composites(known, type_name, shown[type_name])
                values = list(dict.fromkeys(values)) or list(_NOWHERE.get((known.type, kind), ()))
                prefixes = table.verdict(type_name, code, modifier).prefixes
                prefixes = prefixes if _is_ordered(known) else ()
                yield from _asked(chance, type_name, known, modifier, values, prefixes)


def _asked(
    chance: random.Random,
    type_name: str,
    known: SearchParameter,
    modifier: str,
    values: list[str],
    prefixes: tuple[str, ...],
) -> Iterator[Query]:
    kind = "typed" if modifier in RESOURCES else modifier
    name = f"{known.code}:{modifier}" if modifier else known.code
    for prefix in prefixes or ("",):
        for value in chance.sample(values, min(2, len(values))):
            first, parted, last = value.rpartition("$")
            plain = prefix == "eq" and chance.random() < 0.5
            asked = value if plain else first + parted + prefix + last
            yield Query(type_name, ((name, asked),), ((known.type, kind, prefix),))


def _is_ordered(known: SearchParameter) -> bool:
    """Whether its values may have a prefix; of a composite, the last of its parts."""
    if known.type == "composite":
        known = registry.components(known)[-1][0]
    return known.type in ORDERED


# Where nothing is shown to draw from: the answer is empty on both sides.
_NOWHERE: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("token", ""): ("http://loinc.org|0-0",),
    ("token", "not"): ("http://loinc.org|0-0",),
    ("string", ""): ("nowhere",),
    ("reference", ""): ("Patient/nowhere",),
    ("date", ""): ("1801-01-01", "1801"),
    ("quantity", ""): ("123456.789",),
    ("number", ""): ("123456.789",),
    ("uri", ""): ("urn:nowhere",),
    ("special", ""): ("42.28|-83.74|50|km",),
    **{(t, "missing"): ("true", "false") for t in
       ("token", "string", "reference", "date", "quantity", "number", "uri", "composite")},
}  # fmt: skip


_ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
# (type, code, modifier, value): searches that find something among the originals. Value sets and
# hierarchies are R4's own, which every server knows.
_TERMS = (
    ("Patient", "gender", "in", VALUE_SETS[0]),
    ("Patient", "gender", "not-in", VALUE_SETS[1]),
    ("Patient", "gender", "below", "http://hl7.org/fhir/administrative-gender|female"),
    ("Patient", "gender", "above", "http://hl7.org/fhir/administrative-gender|male"),
    ("Encounter", "class", "below", f"{_ACT}|_ActEncounterCode"),
    ("Encounter", "class", "above", f"{_ACT}|EMER"),
)
# (type, code, value): the same with any prefix.
_MIDDLES = (
    ("Observation", "date", "2020-02-29"),
    ("Observation", "value-quantity", "5.4"),
    ("Observation", "code-value-quantity", "http://loinc.org|8310-5$5.4"),
    ("RiskAssessment", "probability", "0.15"),
)


def fixed(table: VerdictTable, shown: Mapping[str, list[JsonObject]]) -> Iterator[Query]:
    """Searches that find something by modifiers and prefixes for which a drawn value may not, as
    far as they are offered."""
    for type_name, code, modifier, value in _TERMS:
        if shown.get(type_name) and table.verdict(type_name, code, modifier).kind != "refuse":
            yield Query(type_name, ((f"{code}:{modifier}", value),), (("token", modifier, ""),))
    for type_name, code, value in _MIDDLES:
        if shown.get(type_name):
            kind, (first, parted, last) = registry.get(type_name)[code].type, value.rpartition("$")
            for prefix in table.verdict(type_name, code).prefixes:
                asked = first + parted + prefix + last
                yield Query(type_name, ((code, asked),), ((kind, "", prefix),))


def choose(found: Iterable[Query], most: int, least: int = 4) -> list[Query]:
    """At most about ``most`` of the queries: of every shape ``least``, then every parameter once
    as far as they go, then any."""
    chance = random.Random(SEED)
    pool = list(dict.fromkeys(found))
    chance.shuffle(pool)
    shapes: Counter[Shape] = Counter()
    names: set[tuple[str, str]] = set()
    kept, new, rest = [], [], []
    for query in pool:
        name = query.type, read_parameter(*query.pairs[0]).code
        if shapes[query.shapes[0]] < least:
            kept.append(query)
        elif name not in names:
            new.append(query)
        else:
            rest.append(query)
            continue
        shapes.update(query.shapes)
        names.add(name)
    return kept + [*new, *rest][: max(0, most - len(kept))]


def combined(found: list[Query], count: int) -> Iterator[Query]:
    """Several parameters at once (AND), the same one again, and lists (OR)."""
    chance = random.Random(SEED + 1)
    by_type: dict[str, list[Query]] = {}
    for query in found:
        by_type.setdefault(query.type, []).append(query)
    types = [t for t, queries in by_type.items() if len(queries) > 3]
    for _ in range(count):
        queries = by_type[chance.choice(types)]
        if chance.random() < 0.5:
            several = chance.sample(queries, chance.choice((2, 2, 3)))
            pairs = tuple(pair for query in several for pair in query.pairs)
            yield Query(several[0].type, pairs, tuple(s for q in several for s in q.shapes))
        else:
            one = chance.choice([q for q in queries if q.shapes[0][1] != "missing"])
            alike = [q for q in queries if q.pairs[0][0] == one.pairs[0][0]]
            # HAPI needs minutes for longer lists of composites.
            listed = chance.sample(alike, min(len(alike), 2 if "$" in one.pairs[0][1] else 3))
            values = ",".join(dict.fromkeys(q.pairs[0][1] for q in listed))
            shapes = tuple(s for q in listed for s in q.shapes)
            yield Query(one.type, ((one.pairs[0][0], values),), shapes)
