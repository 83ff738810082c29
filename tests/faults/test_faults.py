"""The suites catch what they are for: small faults are planted, one at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest

from tests.conftest import Tell
from tests.faults.planted import FAULTS, Fault
from tests.faults.running import prepare
from tests.faults.suites import GENERAL, SUITES, fresh
from tests.noninterference.policies import CLAIMS
from tests.rig import RESTRICTED, Claims

ALWAYS = ("harness", "twins")  # the suites that look for every fault
NOT_GENERAL = 6  # faults, at most, that only a suite written for their kind may catch
ONLY = os.environ.get("FAULT", "")  # part of a fault's name, to plant those alone


async def look(role: str, claims: Claims, suites: Iterable[str]) -> dict[str, str]:
    """Suite to what it caught first; suites that caught nothing are left out."""
    with fresh():
        found = {name: await SUITES[name](role, claims) for name in suites}
    return {name: what for name, what in found.items() if what}


async def test_nothing_is_caught_without_a_fault() -> None:
    """The control: every suite is quiet before the product as it is."""
    for role in RESTRICTED:
        assert await look(role, CLAIMS, SUITES) == {}
    for role in {fault.role for fault in FAULTS} - set(RESTRICTED):
        assert await look(role, CLAIMS, (*ALWAYS, "refusals")) == {}


async def test_every_fault_is_caught(tell: Tell) -> None:
    """Each planted fault is caught by some suite, nearly all of them by a general one."""
    planted = [fault for fault in FAULTS if ONLY in fault.name]
    for fault in planted:
        await prepare(fault.role, fault.claims)
    caught = {fault.name: await plant(fault) for fault in planted}
    tell(table(caught))
    assert [name for name, suites in caught.items() if not suites] == []
    assert sum(1 for suites in caught.values() if not suites & GENERAL) <= NOT_GENERAL


async def plant(fault: Fault) -> set[str]:
    """The suites that catch the fault."""
    with pytest.MonkeyPatch.context() as patch:
        fault.plant(patch)
        return set(await look(fault.role, fault.claims, (*ALWAYS, *fault.suites)))


def table(caught: dict[str, set[str]]) -> str:
    width = max(map(len, caught)) + 2
    lines = [" " * width + "".join(f"{suite:>12}" for suite in SUITES)]
    for name, suites in caught.items():
        cells = "".join(f"{'caught' if s in suites else '-':>12}" for s in SUITES)
        lines.append(f"{name:<{width}}{cells}")
    general = sum(1 for suites in caught.values() if suites & GENERAL)
    lines.append(f"{len(caught)} faults, {general} of them caught by a general suite")
    return "\n".join(lines)
