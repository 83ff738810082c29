"""An attacker who reads dates by bisection, where dates are shifted, ends with the shifted date."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.store import Store
from proxy.demo.upstream import STORE
from proxy.lenses.dates import move_date
from tests.attacks.algorithms import Bisect, of_victim
from tests.attacks.catalogue import by_date
from tests.attacks.hidden import FINDING, VICTIM, world
from tests.attacks.servers import Veiled
from tests.rig import embedded, running

SHIFTED = "researcher-shifted"
REAL = {"Patient": "1974-06-15", "Observation": "2019-03-04"}
CODES = {"Patient": "birthdate", "Observation": "date"}
# The days on which the value may lie, and those that shifting leads to.
SPAN = timedelta(days=500)


@pytest.mark.parametrize("type_", REAL)
async def test_bisection_ends_with_the_shifted_date(type_: str, tmp_path: Path) -> None:
    """Whatever prefix, precision, list or way is used, alone or with a patient named, it is what
    shows that is found, and nothing answers otherwise for the real day."""
    app, code = embedded([]), CODES[type_]
    async with running(app, tmp_path, roles=[SHIFTED]) as rig:
        app[STORE].__dict__.update(Store(world()).__dict__)
        person = f"{rig.upstream}/Patient/{VICTIM}"
        shown = move_date(REAL[type_], rig.namer(SHIFTED).offset(person, -365, -1))
        middle = date.fromisoformat(REAL[type_])
        days = [f"{middle - SPAN + timedelta(days=n)}" for n in range(2 * SPAN.days)]
        attacks: dict[str, Any] = dict(by_date("1900-01-01", "2100-01-01", type_, code))
        named = of_victim(type_, ("_id", "{v}"), (code, "lt{x}"))
        if type_ == "Observation":
            named = of_victim(type_, ("patient", "{v}"), ("_id", "{o}"), (code, "lt{x}"))
        attacks["with a patient named"] = Bisect(named, "1900-01-01", "2100-01-01")
        ended = {
            title: await attack(Veiled(rig, SHIFTED), days)
            for title, attack in attacks.items()
            if isinstance(attack, Bisect)
        }
        assert shown != REAL[type_]
        assert len(ended) > 5
        assert {title: left for title, left in ended.items() if left != {shown}} == {}


async def test_the_shown_date_is_the_one_that_is_read(tmp_path: Path) -> None:
    """A read shows what the attacker found; no header says when the server wrote."""
    app = embedded([])
    async with running(app, tmp_path, roles=[SHIFTED]) as rig:
        app[STORE].__dict__.update(Store(world()).__dict__)
        offset = rig.namer(SHIFTED).offset(f"{rig.upstream}/Patient/{VICTIM}", -365, -1)
        for type_, real, element in (("Patient", VICTIM, "birthDate"),
                                     ("Observation", FINDING, "effectiveDateTime")):  # fmt: skip
            answer = await rig.ask(SHIFTED, f"/{type_}/{rig.id(SHIFTED, type_, real)}")
            assert answer.json[element] == move_date(REAL[type_], offset)
            assert REAL[type_].encode() not in answer.body
            assert "last-modified" not in answer.headers
            assert "lastUpdated" not in str(answer.json)
