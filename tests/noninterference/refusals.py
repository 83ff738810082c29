"""What a role is not offered, asked all the same: every parameter with every modifier that its
table refuses, and names that are none."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from proxy.fhir import registry
from proxy.fhir.search_values import PREFIXES
from proxy.policy.controls import CONTROLS
from proxy.policy.verdicts import VerdictTable
from tests.noninterference.offers import PREFIXED, offered_prefixes
from tests.noninterference.questions import Criteria
from tests.rig import Rig

REFUSED = frozenset({400, 403})
_MODIFIERS = ("", "not", "missing", "text", "exact", "contains", "in", "identifier", "Patient")
_NAMES = ("nonsense", "_nonsense", "Code", "code%20", "_has:Observation:patient:code", "_filter",
          "_content", "_text", "_list", "_query", "_type", "_source", "_offset")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Refusal:
    """A search that the role is not offered: ``query`` in URL form."""

    type: str
    query: str


def refusals(table: VerdictTable, criteria: Criteria) -> Iterator[Refusal]:
    """Every search by one parameter, sort key, include or chain that the table refuses."""
    for type_name in table.types():
        for name in _NAMES:
            if name not in table.parameters(type_name):
                yield Refusal(type_name, f"{name}=1")
        for code, known in registry.get(type_name).items():
            if code in CONTROLS:
                continue
            yield from _by_modifier(table, criteria, type_name, code)
            if table.sort(type_name, code).kind == "refuse":
                yield Refusal(type_name, f"_sort={code}")
            if known.type == "reference":
                yield from _by_link(table, type_name, code)


def _by_modifier(
    table: VerdictTable, criteria: Criteria, type_name: str, code: str
) -> Iterator[Refusal]:
    for modifier in _MODIFIERS:
        verdict = table.verdict(type_name, code, modifier)
        if verdict.kind == "refuse":
            yield Refusal(type_name, criteria.write(type_name, code, modifier))
        elif modifier == "not" and verdict.way == "codes":
            yield Refusal(type_name, f"{code}:not=840539006")  # of whatever system
        elif not modifier and (known := registry.get(type_name)[code]).type in PREFIXED:
            for prefix in set(PREFIXES) - set(offered_prefixes(known, verdict, "")):
                yield Refusal(type_name, f"{code}={prefix}2019")


def _by_link(table: VerdictTable, type_name: str, code: str) -> Iterator[Refusal]:
    known = registry.get(type_name)[code]
    for name, reverse in (("_include", False), ("_revinclude", True)):
        if table.include(f"{type_name}:{code}", reverse=reverse).kind == "refuse":
            yield Refusal(type_name, f"{name}={type_name}:{code}")
    for target in registry.targets(known)[:2]:
        for last in ("_id", "identifier"):
            if table.verdict(type_name, code, target, last).kind == "refuse":
                yield Refusal(type_name, f"{code}:{target}.{quote(last)}=x")


def choose(found: Iterable[Refusal], most: int, rng: random.Random) -> list[Refusal]:
    """About ``most`` of them: one by every parameter, then any."""
    pool = list(found)
    rng.shuffle(pool)
    by_code = {refusal.query.replace("=", ":").partition(":")[0]: refusal for refusal in pool}
    kept = list(by_code.values())
    return [*kept, *pool[: max(0, most - len(kept))]]


async def find_answered(
    rig: Rig, role: str, asked: Iterable[Refusal], rng: random.Random
) -> list[str]:
    """Those that are not refused, or not before anything was asked upstream; by GET or by POST."""
    wrong = []
    for refusal in asked:
        rig.diary.clear()
        if rng.random() < 0.5:
            response = await rig.ask(role, f"/{refusal.type}?{refusal.query}")
        else:
            response = await rig.search(role, refusal.type, refusal.query)
        if response.status not in REFUSED:
            wrong.append(f"{refusal.type}?{refusal.query}: {response.status}")
        elif rig.diary:
            wrong.append(f"{refusal.type}?{refusal.query}: asked upstream")
    return wrong
