"""Plants faults one at a time, and looks with the suites until one of them catches it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import pytest

from tests.conftest import Tell
from tests.faults.planted import Fault
from tests.faults.running import prepare
from tests.faults.suites import GENERAL, SUITES, fresh
from tests.noninterference.policies import CLAIMS
from tests.rig import RESTRICTED, Claims

ALWAYS = ("twins", "harness")  # the suites that look for every fault
NOT_GENERAL = 6  # faults, at most, that only a suite written for their kind may catch
ONLY = os.environ.get("FAULT", "")  # part of a fault's name, to plant those alone
WHOLE = "FAULT" in os.environ  # whether every suite looks, though one has caught the fault

Looked = dict[str, str]  # suite to what it caught first, empty for nothing


async def look(role: str, claims: Claims, suites: Iterable[str], *, whole: bool) -> Looked:
    """What suites catch; ``whole``: all of them, else no further than the first that does."""
    found: Looked = {}
    with fresh():
        for name in suites:
            found[name] = await SUITES[name](role, claims)
            if found[name] and not whole:
                break
    return found


async def expect_quiet(roles: Iterable[str]) -> None:
    """No suite that looks for faults in these roles' views catches anything."""
    for role in roles:
        suites = tuple(SUITES) if role in RESTRICTED else (*ALWAYS, "refusals")
        found = await look(role, CLAIMS, suites, whole=True)
        assert {name: what for name, what in found.items() if what} == {}


async def expect_caught(faults: Sequence[Fault], tell: Tell) -> None:
    """Every fault is caught, but for few by a general suite; the table is told."""
    planted = [fault for fault in faults if ONLY in fault.name]
    for fault in planted:
        await prepare(fault.role, fault.claims)
    looked = {fault.name: await plant(fault) for fault in planted}
    caught = {name: {s for s, what in found.items() if what} for name, found in looked.items()}
    tell(table(looked))
    assert [name for name, suites in caught.items() if not suites] == []
    assert sum(1 for suites in caught.values() if not suites & GENERAL) <= NOT_GENERAL


async def plant(fault: Fault) -> Looked:
    """What the suites say while the fault is there, the quick ones first."""
    suites = sorted((*ALWAYS, *fault.suites), key=list(SUITES).index)
    with pytest.MonkeyPatch.context() as patch:
        fault.plant(patch)
        return await look(fault.role, fault.claims, suites, whole=WHOLE)


def table(looked: dict[str, Looked]) -> str:
    """Which suite caught which fault; a dot where it did not look."""
    width = max(map(len, looked)) + 2
    lines = [" " * width + "".join(f"{suite:>12}" for suite in SUITES)]
    for name, found in looked.items():
        cells = [("caught" if found[s] else "-") if s in found else "." for s in SUITES]
        lines.append(f"{name:<{width}}{''.join(f'{cell:>12}' for cell in cells)}")
    general = sum(1 for found in looked.values() if any(found.get(s) for s in GENERAL))
    lines.append(f"{len(looked)} faults, {general} of them caught by a general suite")
    return "\n".join(lines)
