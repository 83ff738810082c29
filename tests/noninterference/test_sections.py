"""Non-interference where sections are hidden, and with them what only they reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from proxy.demo.upstream import STORE
from tests.conftest import Tell
from tests.noninterference import rows, sections
from tests.noninterference.harness import compare_one
from tests.noninterference.policies import CLAIMS, LIMITS, SECTIONS, gather_policies
from tests.noninterference.sweeping import Run, make_run
from tests.noninterference.worlds import World
from tests.rig import embedded, running

WORLDS = (sections.ENTRIES, sections.ENTRIES, rows.DELETED)
REQUESTS = 55
PAIRS = 80  # that count


def worlds(run: Run) -> Iterator[World]:
    """One world of each kind that shows the same in both sides."""
    for kind in WORLDS:
        made = (run.sweep.world(kind) for _ in range(20))
        yield next(w for w in made if w is not None and run.holds(w))


async def test_hidden_sections_change_no_answer(tmp_path: Path, tell: Tell) -> None:
    """Whatever hidden sections hold, and how much, is in no answer; what only they reach is, alone
    as in documents, like what never was, down to the number of calls upstream."""
    app, policies = embedded([]), gather_policies(tmp_path / "policies")
    async with running(
        app, tmp_path, roles=[SECTIONS], policies=policies, claims=CLAIMS, extra=LIMITS[SECTIONS]
    ) as rig:

        async def put(world: World, side: int) -> None:
            app[STORE].__dict__.update(world.store(side).__dict__)

        run = make_run(rig, SECTIONS, policies, put, SECTIONS)
        hidden: Counter[int] = Counter()
        for world in worlds(run):
            await compare_one(rig, world, put, run.requests(world, REQUESTS), run.tally)
            for type_, id_ in sorted(world.unseen)[:3]:
                answer = await rig.ask(SECTIONS, f"/{type_}/{rig.id(SECTIONS, type_, id_)}")
                hidden[answer.status] += 1
    tell(f"hidden sections, {run.report(SECTIONS)}")
    assert run.tally.differences == []
    assert run.tally.exempt * 100 <= run.tally.total
    assert run.tally.total >= PAIRS
    assert hidden.keys() == {404}
