"""Searches beyond single parameters: orders, what comes along, chains, pages, totals."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from proxy.fhir import registry
from proxy.fhir.codec import JsonObject
from proxy.policy.verdicts import VerdictTable
from tests.equivalence.queries import Query

SEED = 11
ASSIGNED = ("_lastUpdated",)  # by each server when it stores
Shown = Mapping[str, list[JsonObject]]


def ordered(table: VerdictTable, shown: Shown, most: int) -> list[Query]:
    """Searches sorted by every key that a type can be sorted by, up and down, and by two; half of
    them in small pages."""
    chance, found = random.Random(SEED), []
    for type_name in _with_rows(shown):
        keys = [code for code in table.sorts(type_name) if code not in ASSIGNED]
        for code in keys:
            found += [Query(type_name, (("_sort", sign + code),)) for sign in ("", "-")]
        if len(keys) > 1:
            first, second = chance.sample(keys, 2)
            found.append(Query(type_name, (("_sort", f"-{first},{second}"),)))
    kept = chance.sample(found, min(most, len(found)))
    return [q.extended(("_count", "7")) if n % 2 else q for n, q in enumerate(kept)]


def linked(table: VerdictTable, shown: Shown, most: int) -> list[Query]:
    """Searches with what rows refer to, and with what refers to them."""
    chance, found = random.Random(SEED), []
    for source, code, targets in references(table, shown):
        value = f"{source}:{code}"
        if table.include(value).kind != "refuse":
            found.append(Query(source, (("_include", value),)))
        if table.include(value, reverse=True).kind != "refuse":
            found += [Query(t, (("_revinclude", value),)) for t in targets if shown.get(t)]
    return chance.sample(found, min(most, len(found)))


def chained(table: VerdictTable, shown: Shown, singles: list[Query], most: int) -> list[Query]:
    """Searches by what a reference leads to, and by what refers to a row."""
    chance, found = random.Random(SEED), []
    by_type: dict[str, list[Query]] = {}
    for query in singles:
        by_type.setdefault(query.type, []).append(query)
    for source, code, targets in references(table, shown):
        for target in targets:
            for query in _some(chance, by_type.get(target, [])):
                name, value = query.pairs[0]
                if table.verdict(source, code, target, name).kind != "refuse":
                    found.append(Query(source, ((f"{code}:{target}.{name}", value),)))
            for query in _some(chance, by_type.get(source, [])):
                name, value = query.pairs[0]
                reverse = f"{source}:{code}:{name}"
                if shown.get(target) and table.verdict(target, "_has", reverse).kind != "refuse":
                    found.append(Query(target, ((f"_has:{reverse}", value),)))
    return chance.sample(found, min(most, len(found)))


def paged(shown: Shown, singles: list[Query], most: int) -> Iterator[Query]:
    """Searches walked in small pages: everything of a type, and what single searches find, first
    those that HAPI finds rows several times by."""
    chance = random.Random(SEED)
    plain = [Query(type_name, ()) for type_name in _with_rows(shown)]
    chance.shuffle(plain)
    drawn = chance.sample(singles, len(singles))
    joined = [query for query in drawn if query.shapes[0][0] == "composite"]
    for query in [*plain[: most // 3], *joined[: most // 3], *drawn][:most]:
        yield query.extended(("_count", str(chance.choice((1, 2, 3, 7)))))


def counted(table: VerdictTable, singles: list[Query], most: int) -> list[Query]:
    """Searches with a total, with the rows or without them. Only of parameters that are asked as
    they are written."""
    chance = random.Random(SEED)
    exact = []
    for query in singles:
        code, _, modifier = query.pairs[0][0].partition(":")
        # Of a date it depends on the value: years and months are asked for in another way.
        plain = query.shapes[0][0] != "date"
        if plain and table.verdict(query.type, code, modifier).exact:
            exact.append(query)
    forms = (("_total", "accurate"), ("_summary", "count"))
    return [q.extended(chance.choice(forms)) for q in chance.sample(exact, min(most, len(exact)))]


def references(table: VerdictTable, shown: Shown) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(type, code, targets) of the references of shown rows that can be searched by."""
    for type_name in _with_rows(shown):
        for code in table.parameters(type_name):
            known = registry.get(type_name)[code]
            if known.type == "reference":
                yield type_name, code, registry.targets(known)


def _some(chance: random.Random, found: list[Query]) -> list[Query]:
    return chance.sample(found, min(3, len(found)))


def _with_rows(shown: Shown) -> list[str]:
    return [type_name for type_name, rows in shown.items() if rows]
