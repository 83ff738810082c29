"""Non-interference where the offset of dates hangs on a number that does not show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.generator import cases as generated
from proxy.demo.generator import data_set
from proxy.demo.upstream import STORE
from proxy.engine import dates
from proxy.fhir.codec import JsonObject
from proxy.lenses import shift
from proxy.lenses.dates import move_date
from proxy.lenses.shift import ShiftedDay
from proxy.policy.compile import View
from proxy.policy.persons import Persons
from tests.conftest import Tell
from tests.equivalence.queries import Query
from tests.noninterference.harness import compare_one
from tests.noninterference.numbers import make_worlds
from tests.noninterference.planting import differs
from tests.noninterference.policies import CLAIMS, NUMBERS, SHIFTED, gather_policies
from tests.noninterference.sweeping import make_run
from tests.noninterference.worlds import World
from tests.rig import Rig, embedded, running
from tests.views import Case

REQUESTS, PAIRS = 60, 80


async def test_another_number_changes_no_answer(tmp_path: Path, tell: Tell) -> None:
    """Two stores that differ in a person's number and in every day of that person's, and show the
    same, answer the same: by dates, in any order, and with what comes along."""
    app, policies = embedded([]), gather_policies(tmp_path / "policies")
    async with running(app, tmp_path, roles=[NUMBERS], policies=policies, claims=CLAIMS) as rig:

        async def put(world: World, side: int) -> None:
            app[STORE].__dict__.update(world.store(side).__dict__)

        run = make_run(rig, NUMBERS, policies, put, NUMBERS)
        scope = Case("shifts").scope()
        scope.namer = rig.namer(NUMBERS)
        made = make_worlds(NUMBERS, run.sweep.view, scope, run.sweep.resources, run.rng)
        held = [world for world in made if run.holds(world)]
        for world in held:
            await compare_one(rig, world, put, run.requests(world, REQUESTS), run.tally)
    tell(f"another number, {run.report(NUMBERS)}")
    assert len(held) >= 2
    assert run.tally.differences == []
    assert run.tally.exempt * 100 <= run.tally.total
    assert run.tally.total >= PAIRS


def _offset_by_type(patch: pytest.MonkeyPatch) -> None:
    enter = Persons.enter

    def wrong(self: Persons, resource: Any, scope: Any, **kind: Any) -> Any:
        state = enter(self, resource, scope, **kind)
        if resource["resourceType"] == "Condition" and scope.offset is not None:
            scope.offset -= 1
        return state

    patch.setattr(Persons, "enter", wrong)


def _day_lost(patch: pytest.MonkeyPatch) -> None:
    def wrong(text: str, offset: int) -> str | None:
        found = move_date(text, offset)
        return found and (found[:8] + "01" + found[10:] if len(found) >= 10 else found)

    patch.setattr(shift, "move_date", wrong)


def _too_narrow(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shift, "_SLACK", shift._SLACK * 0)
    span = ShiftedDay.span

    def wrong(self: ShiftedDay, value: str) -> Any:
        return span(ShiftedDay(self.low + 1, self.high, self.prefixes), value)

    patch.setattr(ShiftedDay, "span", wrong)


def _wrong_direction(patch: pytest.MonkeyPatch) -> None:
    span = ShiftedDay.span

    def wrong(self: ShiftedDay, value: str) -> Any:
        return span(ShiftedDay(-self.high, -self.low, self.prefixes), value)

    patch.setattr(ShiftedDay, "span", wrong)


def _unjudged(patch: pytest.MonkeyPatch) -> None:
    send = dates.send

    def wrong(question: Any) -> Any:
        return replace(send(question), conditions=(), dates=None)

    patch.setattr("proxy.engine.translate.dates.send", wrong)


FAULTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], bool]] = {
    "none": (lambda _: None, False),
    "one type has an offset of its own": (_offset_by_type, True),
    "the day is lost": (_day_lost, True),
    "the days asked for are one too few": (_too_narrow, True),
    "the days asked for lie on the other side": (_wrong_direction, True),
    "rows are not judged by what shows": (_unjudged, True),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_faults_are_caught(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that stores what the view shows answers as the proxy, and not as one with a
    fault."""
    plant, caught = FAULTS[name]

    def make(rig: Rig, view: View) -> list[JsonObject]:
        return data_set(generated(3, 5, base=rig.upstream))

    assert await differs(SHIFTED, tmp_path, make, lambda: plant(monkeypatch), ask) == caught


def ask(rig: Rig, shown: list[JsonObject]) -> list[Query]:
    """All, and by the days on which conditions and findings show, of one patient and of all."""
    queries = [Query(t, (("_count", "50"),)) for t in ("Condition", "Observation")]
    names = {"Condition": ("onset-date", "onsetDateTime"),
             "Observation": ("date", "effectiveDateTime")}  # fmt: skip
    for each in shown:
        code, element = names.get(str(each["resourceType"]), ("", ""))
        value, subject = each.get(element), each.get("subject")
        if not isinstance(value, str) or not isinstance(subject, dict) or len(value) < 10:
            continue
        for prefix in ("", "ge", "le"):
            asked = ((code, f"{prefix}{value[:10]}"),)
            queries.append(Query(str(each["resourceType"]), asked))
            named = ("patient", str(subject["reference"]))
            queries.append(Query(str(each["resourceType"]), (*asked, named)))
        if len(queries) > 60:
            break
    return queries
