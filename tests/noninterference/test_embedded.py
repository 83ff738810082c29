"""Non-interference before the embedded upstream."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest
from aiohttp import web

from proxy.demo.upstream import STORE
from proxy.policy.compile import compile_view
from proxy.policy.load import load_directory
from tests.conftest import Tell
from tests.noninterference.harness import Tally, compare, show_all
from tests.noninterference.policies import (
    CLAIMS,
    SECTIONS,
    SHIPPED,
    TRIALS,
    gather_policies,
    pairs,
)
from tests.noninterference.refusals import choose, find_answered, refusals
from tests.noninterference.requests import KINDS_OF_REQUESTS
from tests.noninterference.sweeping import make_run
from tests.noninterference.worlds import KINDS, World, dataset, worlds
from tests.rig import POLICIES, RESTRICTED, embedded, running

PAIRS = 200  # that count, for each role
OF_A_TRIAL = 300  # that count, at most, for a policy that only tests have
# Of those made at random; more on request, under any seed.
RANDOM = int(os.environ.get("NONINTERFERENCE_PAIRS", "240"))
REFUSALS = 1000  # of what is not offered
WHOLE = 5000  # that many meet everything that is offered
SEED = int(os.environ.get("NONINTERFERENCE_SEED", "1"))


def swap(app: web.Application, world: World, side: int) -> None:
    """Bring the embedded upstream into one side of a world."""
    app[STORE].__dict__.update(world.store(side).__dict__)


async def run_embedded(role: str, folder: Path) -> Tally:
    """The whole harness of a role."""
    app = embedded([])
    async with running(app, folder) as rig:
        found = list(worlds(role, dataset(rig.upstream)))

        async def put(world: World, side: int) -> None:
            swap(app, world, side)

        return await compare(rig, found, put)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_worlds_show_the_same_and_differ(role: str, tmp_path: Path) -> None:
    """A world is one: both sides show the role the same, and are not the same."""
    app = embedded([])
    view = compile_view(load_directory(POLICIES)[role])
    async with running(app, tmp_path) as rig:
        for world in worlds(role, dataset(rig.upstream)):
            sides = []
            stored = []
            for side in (0, 1):
                swap(app, world, side)
                held = [
                    v.resource
                    for t in app[STORE].types()
                    for v in app[STORE].of_type(t)
                    if v.resource is not None
                ]
                stored.append(held)
                sides.append(show_all(view, rig, role, held))
            assert sides[0] == sides[1], world.name
            assert stored[0] != stored[1] or world.deleted, world.name


@pytest.mark.parametrize("role", RESTRICTED)
async def test_what_is_hidden_changes_no_answer(
    role: str, tmp_path: Path, tell: Tell
) -> None:
    """Every request is answered the same in both sides of every world."""
    tally = await run_embedded(role, tmp_path)
    tell(f"non-interference, {role}\n{tally.table(KINDS, KINDS_OF_REQUESTS)}")
    assert tally.differences == []
    assert tally.total >= PAIRS
    assert tally.refusals * 5 <= tally.replies
    missing = [(k, r) for k in KINDS for r in KINDS_OF_REQUESTS if not tally.counts[k, r]]
    assert missing == []


@pytest.mark.parametrize("role", [*SHIPPED, *TRIALS])
async def test_what_is_not_offered_is_refused_unasked(role: str, tmp_path: Path) -> None:
    """Every parameter, modifier, prefix, sort, include and chain that the table refuses, and every
    name that is none, is refused without a call upstream; by GET and by POST."""
    app, policies = embedded([]), gather_policies(tmp_path / "policies")
    async with running(app, tmp_path, roles=[role], policies=policies, claims=CLAIMS) as rig:
        run = make_run(rig, role, policies, lambda world, side: asyncio.sleep(0), f"{role} {SEED}")
        found = list(refusals(run.table, run.criteria(next(iter(run.sweep)))))
        asked = choose(found, REFUSALS, random.Random(SEED))
        assert await find_answered(rig, role, asked, random.Random(SEED)) == []


@pytest.mark.parametrize("role", [*SHIPPED, *(t for t in TRIALS if t != SECTIONS)])
async def test_random_worlds_change_no_answer(
    role: str, tmp_path: Path, tell: Tell
) -> None:
    """Whatever is hidden, in many resources at once, changes no answer to whatever can be asked:
    ``NONINTERFERENCE_PAIRS`` pairs that count (fewer for a trial), made from
    ``NONINTERFERENCE_SEED``."""
    app, policies = embedded([]), gather_policies(tmp_path / "policies")
    async with running(app, tmp_path, roles=[role], policies=policies, claims=CLAIMS) as rig:

        async def put(world: World, side: int) -> None:
            swap(app, world, side)

        run = make_run(rig, role, policies, put, f"{role} {SEED}")
        await run.until(pairs(role, RANDOM) if role in SHIPPED else min(RANDOM // 4, OF_A_TRIAL))
        if run.tally.total >= WHOLE:
            await run.finish()
    tell(f"at random, seed {SEED}, {run.report(role)}")
    assert run.tally.differences == []
    assert run.tally.exempt * 100 <= run.tally.total
    assert run.tally.refusals * 5 <= run.tally.replies
    if run.tally.total >= WHOLE:
        assert run.light() == []
        assert run.unmet() == []
        assert run.missing() == []
