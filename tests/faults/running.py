"""Suites on the running product, over what was made once while nothing was planted: worlds and
requests, the answers of a twin, searches that are not offered."""

from __future__ import annotations

import random
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from proxy.demo.store import Store
from proxy.demo.upstream import STORE
from proxy.engine import gateway
from proxy.fhir.codec import JsonObject
from proxy.policy.compile import View
from proxy.policy.verdicts import VerdictTable, compute_verdicts
from tests.equivalence.dataset import originals
from tests.equivalence.embedded import Rows, Twin, find_through, judge, make_queries
from tests.equivalence.queries import Query
from tests.noninterference.asking import KINDS as KINDS_OF_REQUESTS
from tests.noninterference.changes import TARGET
from tests.noninterference.grow import dataset
from tests.noninterference.harness import Tally, compare_one, show_whole
from tests.noninterference.policies import LIMITS, TRIALS, gather_policies
from tests.noninterference.refusals import Refusal, choose, find_answered, refusals
from tests.noninterference.requests import Request
from tests.noninterference.rows import KINDS as ROWS
from tests.noninterference.sweep import KINDS
from tests.noninterference.sweeping import make_run
from tests.noninterference.worlds import World
from tests.rig import Claims, Rig, embedded, running

# An upstream's alias: so the data name the same server whatever port it gets.
BASE = "https://ehr.example.org/fhir"
SEARCHES = (
    "search", "modifier", "prefix", "sort", "include", "revinclude", "chain", "page walk",
    "operation",
)  # fmt: skip
REQUESTS, QUERIES, REFUSALS = 30, 200, 1000  # in each world; of a twin; that are not offered


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a role is asked. ``answers``: of the twin, to each query; ``stored``: what the upstream
    holds then."""

    worlds: tuple[tuple[World, list[Request]], ...]
    stored: tuple[JsonObject, ...]
    answers: tuple[tuple[Query, Rows], ...]
    refused: tuple[Refusal, ...]


_prepared: dict[str, Prepared] = {}
_tables: dict[str, VerdictTable] = {}


def _table(view: View) -> VerdictTable:
    """The verdicts of a view, computed once for all faults."""
    if view.name not in _tables:
        _tables[view.name] = compute_verdicts(view)
    return _tables[view.name]


@asynccontextmanager
async def product(role: str, claims: Claims) -> AsyncIterator[tuple[Rig, web.Application, Path]]:
    """The product as it is now, for a role, and its policies."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(gateway, "compute_verdicts", _table)
        app, policies = embedded([]), gather_policies(Path(folder) / "policies")
        async with running(
            app, Path(folder), roles=[role], policies=policies, claims=claims,
            extra=LIMITS.get(role, ""),
        ) as rig:
            yield rig, app, policies


async def prepare(role: str, claims: Claims) -> Prepared:
    """What a role is asked; made at the first call, so call it while nothing is planted."""
    key = f"{role} {claims.get(role)}"
    if key not in _prepared:
        async with product(role, claims) as (rig, app, policies):
            _prepared[key] = await _make(rig, app, role, policies)
    return _prepared[key]


async def _make(rig: Rig, app: web.Application, role: str, policies: Path) -> Prepared:
    async def put(world: World, side: int) -> None:
        _fill(app, world.store(side))

    run = make_run(rig, role, policies, put, role, base=BASE)
    made = [world for kind in KINDS if (world := run.sweep.world(kind)) is not None]
    worlds = tuple((w, run.requests(w, _count(w), _kinds(role))) for w in made)
    rng = random.Random(role)
    found = list(refusals(run.table, run.criteria(made[0])))
    stored = (*originals(BASE), *dataset(BASE))
    store = Store(stored)
    held = [v.resource for t in store.types() for v in store.of_type(t)]
    rows = [r for r in held if r is not None]
    shown = [made for _, made in show_whole(run.sweep.view, rig, role, rows)]
    by_type: dict[str, list[JsonObject]] = {}
    for resource in shown:
        by_type.setdefault(str(resource["resourceType"]), []).append(resource)
    queries = make_queries(run.table, by_type, rng, QUERIES)
    twin = Twin.of(shown)
    _fill(app, store)
    taken = [q for q in queries if not isinstance(await find_through(rig, role, q), str)]
    refused = choose(found, REFUSALS, rng)
    return Prepared(worlds, stored, tuple((q, twin.find(q)) for q in taken), tuple(refused))


def _count(world: World) -> int:
    """How many requests are made in a world; by links there are many ways to rows."""
    return REQUESTS * 2 if world.kind in (*ROWS, TARGET) else REQUESTS // 2


def _kinds(role: str) -> Iterable[str]:
    """What the role's faults have to do with: of trials, searches."""
    return SEARCHES if role in TRIALS else KINDS_OF_REQUESTS


def _fill(app: web.Application, store: Store) -> None:
    app[STORE].__dict__.update(store.__dict__)


async def harness(role: str, claims: Claims) -> str:
    """Non-interference: a world of every kind, requests of every kind."""
    tally, prepared = Tally(), await prepare(role, claims)
    async with product(role, claims) as (rig, app, _):

        async def put(world: World, side: int) -> None:
            _fill(app, world.store(side))

        for world, requests in prepared.worlds:
            await compare_one(rig, world, put, requests, tally)
            if tally.differences:
                return tally.differences[0]
    return ""


async def twins(role: str, claims: Claims) -> str:
    """Equivalence: the answers of a server that holds what the role is shown."""
    prepared = await prepare(role, claims)
    async with product(role, claims) as (rig, app, _):
        _fill(app, Store(prepared.stored))
        for query, expected in prepared.answers:
            text = judge(await find_through(rig, role, query), expected)
            if text:
                return f"{query.text}: {text}"
    return ""


async def refusal(role: str, claims: Claims) -> str:
    """What is not offered is refused unasked."""
    prepared = await prepare(role, claims)
    async with product(role, claims) as (rig, app, _):
        _fill(app, Store(prepared.stored))
        found = await find_answered(rig, role, prepared.refused, random.Random(role))
    return found[0] if found else ""
