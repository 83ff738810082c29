"""Attackers who use nothing but HTTP try to read what a role is not shown of a patient whom they
know: by bisection, order, counts, includes, chains, texts of errors, ETags, batches.

Every attack is an algorithm that finds the value on a server without a view, which is tested first.
Before the proxy it ends with nothing: everything that is said to it is the same in all worlds that
show the role the same, so that every value that what is shown allows is as likely as before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from proxy.demo.store import Store
from proxy.demo.upstream import STORE
from proxy.policy.compile import compile_view
from proxy.policy.load import load_directory
from tests.attacks.catalogue import CATALOGUE
from tests.attacks.hidden import SECRETS, elsewhere
from tests.attacks.servers import Open, Server, Veiled
from tests.conftest import Tell
from tests.noninterference.harness import show_all
from tests.rig import INV, POLICIES, RESTRICTED, Rig, embedded, running

EPI = "epidemiologist"
CLAIMS = {"conditions": ["3928002"], "jurisdictions": ["MI"]}


def of(role: str) -> list[str]:
    """The secrets that are kept from a role."""
    return [name for name, secret in SECRETS.items() if role in secret.roles]



@asynccontextmanager
async def trial(folder: Path, role: str = INV) -> AsyncIterator[tuple[Rig, web.Application]]:
    app = embedded([])
    async with running(app, folder, roles=[role], claims={EPI: CLAIMS}) as rig:
        yield rig, app


def bring(app: web.Application, store: Store) -> None:
    """Let the upstream hold this world."""
    app[STORE].__dict__.update(store.__dict__)


async def found_by(
    server: Callable[[], Server], app: web.Application, name: str, worlds: Sequence[str]
) -> list[str]:
    """The attacks that do not find the secret in one of its worlds, with what they end with."""
    secret, failed = SECRETS[name], []
    for value in worlds:
        bring(app, secret.make(value))
        for title, attack in CATALOGUE[name].items():
            left = await attack(server(), secret.candidates)
            if left != {value}:
                failed.append(f"{name}, {title}: {value} was {sorted(left)}")
    return failed


async def test_every_attack_works_without_a_view(tmp_path: Path) -> None:
    """On the upstream itself each attack finds the value, whichever it is."""
    async with trial(tmp_path) as (rig, app):
        failed = []
        for name in SECRETS:
            failed += await found_by(
                lambda: Open(rig.upstream, rig.session), app, name, SECRETS[name].worlds
            )
    assert failed == [], "\n".join(failed)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_worlds_show_the_same(role: str, tmp_path: Path) -> None:
    """The worlds of a secret differ, and are shown alike."""
    view = compile_view(load_directory(POLICIES)[role])
    async with trial(tmp_path) as (rig, _):
        for name in of(role):
            secret = SECRETS[name]
            shown, stored = [], []
            for value in secret.candidates:
                store = secret.make(value)
                held = [v for kind in store.types() for v in store.of_type(kind)]
                resources = [v.resource for v in held if v.resource is not None]
                shown.append(show_all(view, rig, role, resources))
                stored.append([v.body for v in held])
            assert all(each == shown[0] for each in shown), name
            assert all(each != stored[0] for each in stored[1:]), name


async def test_every_attack_works_on_who_sees_everything(tmp_path: Path) -> None:
    """Through the proxy too, for the investigator, whom nothing is hidden from; only what tells by
    its ETag does not, since the proxy makes its own."""
    async with trial(tmp_path) as (rig, app):
        failed = []
        for name in SECRETS:
            failed += await found_by(
                lambda: Veiled(rig, INV), app, name, SECRETS[name].worlds[1:2]
            )
    assert [each for each in failed if "If-None-Match" not in each] == []


# What an epidemiologist may not learn of a person elsewhere: all of it. How often and when the row
# was written is left out: these worlds are written once, in one order.
ELSEWHERE = [name for name in SECRETS if name not in
             ("time of storage", "number of versions", "number of withheld rows")]  # fmt: skip


@pytest.mark.parametrize("role", [*RESTRICTED, EPI])
async def test_no_attack_finds_anything_behind_the_proxy(
    role: str, tmp_path: Path, tell: Tell
) -> None:
    """Through the proxy each attack hears the same in every world, and has no fewer candidates
    for it."""
    told, tried, asked = [], 0, 0
    async with trial(tmp_path, role) as (rig, app):
        for name in ELSEWHERE if role == EPI else of(role):
            secret = SECRETS[name]
            for title, attack in CATALOGUE[name].items():
                heard, found = [], []
                for value in secret.worlds:
                    store = secret.make(value)
                    bring(app, elsewhere(store) if role == EPI else store)
                    server = Veiled(rig, role)
                    found.append(await attack(server, secret.candidates))
                    heard.append(server.heard)
                assert heard[0], title
                tried, asked = tried + 1, asked + sum(map(len, heard))
                if any(each != heard[0] for each in heard):
                    told.append(f"{name}, {title}: hears another answer in another world")
                if any(each != found[0] for each in found):
                    told.append(f"{name}, {title}: ends with {found}")
    tell(f"{role}: {tried} attacks, {asked} questions, {len(told)} told something")
    assert told == []


def test_what_is_named_is_attacked() -> None:
    """Every secret is attacked, and the attacks are many."""
    assert set(CATALOGUE) == set(SECRETS)
    assert sum(map(len, CATALOGUE.values())) >= 100
