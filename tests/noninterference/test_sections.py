"""Non-interference where sections are hidden, and with them what only they reach."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.generator import cases as generated
from proxy.demo.generator import data_set
from proxy.demo.upstream import STORE
from proxy.engine import cases
from proxy.fhir.codec import JsonObject
from proxy.policy.bundle import BundleWalk
from proxy.policy.compile import View
from proxy.policy.decide import KEEP, Decision, Mode
from proxy.policy.walk import Compiler
from tests.conftest import Tell
from tests.equivalence.queries import Query
from tests.noninterference import rows, sections
from tests.noninterference.harness import compare_one, show
from tests.noninterference.planting import differs
from tests.noninterference.policies import CLAIMS, LIMITS, SECTIONS, gather_policies
from tests.noninterference.sweeping import Run, make_run
from tests.noninterference.worlds import World
from tests.rig import Rig, embedded, running

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


def _shown_alone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cases, "concerns", lambda *_: False)


def _shown_when_nested(patch: pytest.MonkeyPatch) -> None:
    decide = Compiler.decide

    def wrong(compiler: Any, parent: str, prop: Any, nodes: Any, decision: Any) -> Any:
        if parent == "Composition.section" and prop.name == "section":
            return Decision(KEEP, Mode("keep"), None, "planted")
        return decide(compiler, parent, prop, nodes, decision)

    patch.setattr(Compiler, "decide", wrong)


def _left_in_document(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BundleWalk, "_prune", lambda *_: None)


FAULTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], bool]] = {
    "none": (lambda _: None, False),
    "what a section hides in documents is shown alone": (_shown_alone, True),
    "a section inside a section is shown": (_shown_when_nested, True),
    "entries of hidden sections stay in documents": (_left_in_document, True),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_faults_are_caught(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that stores what the view shows answers as the proxy, and not as one with a
    fault."""
    plant, caught = FAULTS[name]

    def make(rig: Rig, view: View) -> tuple[JsonObject, ...]:
        def see(resource: JsonObject) -> JsonObject | None:
            return show(view, rig, SECTIONS, resource)

        plain = data_set(generated(2, 5, base=rig.upstream))
        types = frozenset({"Observation", "Condition"})
        made = sections.HiddenSections(see, random.Random(1), types).make(plain)
        assert made is not None
        return made[1]

    def ask(rig: Rig, shown: list[JsonObject]) -> list[Query]:
        return [Query(t, (("_count", "50"),)) for t in ("Composition", "Bundle", "Observation")]

    assert await differs(SECTIONS, tmp_path, make, lambda: plant(monkeypatch), ask) == caught
