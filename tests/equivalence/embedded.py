"""Equivalence without sockets between the twins: what a role is shown, in an embedded server that
knows nothing of views, and the proxy before the originals. Both must give the same rows, whole and
in the same order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from proxy.demo.server import Request, Server
from proxy.demo.store import Store
from proxy.fhir import registry
from proxy.fhir.codec import Json, JsonObject, decode, encode
from proxy.policy.verdicts import VerdictTable
from tests.equivalence.queries import Query, every_parameter
from tests.equivalence.values import BASE
from tests.rig import PUBLIC, Rig

_ALL = ("_count", "200")
_MOST_PAGES = 300
# Values in a form that the role is not answered: finer than what is shown, half a postal code.
REFUSED = frozenset({"403 forbidden", "400 value"})
# What a server says of its storage; the twin stores at other times.
_OF_STORAGE = frozenset({"_lastUpdated", "_source"})
Rows = list[tuple[str, bytes]]  # (mode, resource), and the total where one is said


@dataclass(frozen=True, slots=True)
class Twin:
    """The server that holds what is shown, in storage order."""

    server: Server

    @classmethod
    def of(cls, shown: Sequence[JsonObject]) -> Twin:
        store = Store()
        for resource in shown:
            store.write(resource)
        return cls(Server(store, PUBLIC))

    def find(self, query: Query) -> Rows:
        """All that a search finds; where it sorts, ties are broken by id."""
        pairs = [(n, f"{v},_id" if n == "_sort" else v) for n, v in query.pairs if n != "_count"]
        target = f"/{query.type}?{_write((*pairs, _ALL))}"
        answer = decode(self.server.answer(Request("GET", target)).body)
        assert isinstance(answer, dict)
        assert answer["resourceType"] == "Bundle", (query.text, answer)
        return _rows(answer)


async def find_through(rig: Rig, role: str, query: Query) -> Rows | str:
    """What the proxy finds, all pages of it; its refusal instead."""
    response = await rig.ask(role, f"/{query.type}?{_write(query.pairs)}")
    found: Rows = []
    for _ in range(_MOST_PAGES):
        if response.status != 200:
            return f"{response.status} {response.issue}"
        page = response.json
        found += [row for row in _rows(page) if row[0] == "match" or row not in found]
        if "total" in page and (total := ("total", str(page["total"]).encode())) not in found:
            found.append(total)
        link = response.link("next")
        if link is None:
            return found
        response = await rig.follow(role, link)
    return "no last page"


def _write(pairs: Sequence[tuple[str, str]]) -> str:
    return "&".join(f"{n}={quote(v.replace(BASE, PUBLIC), safe='')}" for n, v in pairs)


def _rows(bundle: JsonObject) -> Rows:
    found = []
    entries = bundle.get("entry", [])
    assert isinstance(entries, list)
    for entry in entries:
        assert isinstance(entry, dict)
        search, resource = entry["search"], entry["resource"]
        assert isinstance(search, dict)
        assert isinstance(resource, dict)
        found.append((str(search["mode"]), encode(_unassigned(resource))))
    return found


def _unassigned(resource: JsonObject) -> JsonObject:
    """Without what a server sets when it stores a resource."""
    meta = resource.get("meta")
    kept: Json = {}
    if isinstance(meta, dict):
        kept = {k: v for k, v in meta.items() if k not in ("versionId", "lastUpdated", "source")}
    rest = {k: v for k, v in resource.items() if k != "meta"}
    return {**rest, "meta": kept} if kept else rest


def judge(one: Rows | str, other: Rows) -> str:
    """Where two answers differ; empty if they do not, or if the value is refused."""
    if isinstance(one, str):
        return "" if one in REFUSED else one
    for mode in ("match", "include"):
        here, there = ([row for m, row in rows if m == mode] for rows in (one, other))
        if mode == "include":  # what is a match of another page may come along with this one
            matches = {row for m, row in other if m == "match"}
            here, there = sorted(set(here) - matches), sorted(there)
        if here != there:
            order = ", in another order" if sorted(here) == sorted(there) else ""
            return f"{mode}: {len(here)} rows here, {len(there)} there{order}"
    return _miscounted(one, sum(1 for mode, _ in other if mode == "match"))


def _miscounted(rows: Rows, expected: int) -> str:
    """Where a page says another total than there are matches."""
    said = {int(total) for mode, total in rows if mode == "total"}
    return f"{sorted(said)} is the total of {expected} rows" if said - {expected} else ""


async def find_differences(
    rig: Rig, role: str, shown: Sequence[JsonObject], queries: Sequence[Query]
) -> list[str]:
    """The queries whose answers differ, each with how; that many are refused is one, too."""
    twin, wrong, refused = Twin.of(shown), [], 0
    for query in queries:
        found = await find_through(rig, role, query)
        refused += isinstance(found, str)
        text = judge(found, twin.find(query))
        if text:
            wrong.append(f"{query.text}: {text}")
    return [*wrong, *([f"{refused} are refused"] if refused * 4 > len(queries) else [])]


def make_queries(
    table: VerdictTable, shown: dict[str, list[JsonObject]], rng: random.Random, most: int
) -> list[Query]:
    """Searches by every parameter, modifier and prefix, in pages, sorted, with what comes along,
    and chained."""
    found = [q for q in every_parameter(table, shown) if not _is_its_own(table, q)]
    rng.shuffle(found)
    made: list[Query] = []
    sorts, links = list(_sorts(table)), list(_links(table))
    for query in found[:most]:
        made.append(query.extended(("_count", str(rng.choice((2, 5, 50))))))
    for type_name, code in rng.sample(sorts, min(len(sorts), most)):
        keys = f"{rng.choice(('', '-'))}{code}"
        made.append(Query(type_name, (("_sort", keys), ("_count", str(rng.choice((2, 50)))))))
    for type_name, name, value in links:
        made.append(Query(type_name, ((name, value), ("_count", str(rng.choice((2, 50)))))))
    return [*made, *_chains(table, found, rng, most // 3)]


def _is_its_own(table: VerdictTable, query: Query) -> bool:
    """Whether the twin answers something else: by when it stores; by ages that stand for all above
    them, which no search of a view finds; by half a pseudonym."""
    name, value = query.pairs[0]
    code = name.partition(":")[0]
    half = not value.partition("|")[0] or not value.partition("|")[2]
    return (
        code in _OF_STORAGE
        or registry.get(query.type)[code].type in ("quantity", "composite")
        or (half and table.verdict(query.type, code).way.endswith("identifier"))
    )


def _sorts(table: VerdictTable) -> Iterator[tuple[str, str]]:
    for type_name in table.types():
        for code in table.sorts(type_name):
            if code not in _OF_STORAGE:
                yield type_name, code


def _references(table: VerdictTable) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(type, code, targets) of every reference that can be searched by."""
    for type_name in table.types():
        for code in table.parameters(type_name):
            known = registry.get(type_name)[code]
            if known.type == "reference":
                yield type_name, code, registry.targets(known)


def _links(table: VerdictTable) -> Iterator[tuple[str, str, str]]:
    """(type that is searched, name, value) of every include that is offered."""
    for source, code, _ in _references(table):
        value = f"{source}:{code}"
        if table.include(value).kind != "refuse":
            yield source, "_include", value
        back = table.include(value, reverse=True)
        if back.kind != "refuse":
            for target in back.targets:
                yield target, "_revinclude", value


def _chains(
    table: VerdictTable, found: Sequence[Query], rng: random.Random, most: int
) -> Iterator[Query]:
    """Single searches of a target, asked of what refers to it."""
    made = []
    for type_name, code, targets in _references(table):
        for target in targets:
            if table.verdict(type_name, code, target, "_id").kind == "refuse":
                continue
            for query in found:
                name, value = query.pairs[0]
                if query.type == target and name != "_id":
                    made.append(Query(type_name, ((f"{code}:{target}.{name}", value),)))
    return iter(rng.sample(made, min(len(made), most)))
