"""The suites catch what they are for: small faults are planted, one at a time."""

from __future__ import annotations

import pytest

from tests.faults.planted import FAULTS, Fault
from tests.faults.suites import GENERAL, fresh, harness, shell
from tests.rig import RESTRICTED

SUITES = ("harness", *GENERAL, "shell")
LEAST = 10  # faults that a suite not written for them catches


async def look(role: str, *, with_shell: bool) -> dict[str, str]:
    """Suite to what it caught first; suites that caught nothing are left out."""
    with fresh():
        found = {name: suite(role) for name, suite in GENERAL.items()}
        found["harness"] = await harness(role)
        if with_shell:
            found["shell"] = await shell(role)
    return {name: what for name, what in found.items() if what}


async def test_nothing_is_caught_without_a_fault() -> None:
    """The control: every suite is quiet before the product as it is."""
    for role in RESTRICTED:
        assert await look(role, with_shell=True) == {}


async def test_every_fault_is_caught(capsys: pytest.CaptureFixture[str]) -> None:
    """Each planted fault is caught by some suite, most of them by a general one."""
    caught = {fault.name: await plant(fault) for fault in FAULTS}
    with capsys.disabled():
        print("\n" + table(caught))
    assert [name for name, suites in caught.items() if not suites] == []
    assert sum(1 for suites in caught.values() if suites - {"shell"}) >= LEAST


async def plant(fault: Fault) -> set[str]:
    """The suites that catch the fault."""
    with pytest.MonkeyPatch.context() as patch:
        fault.plant(patch)
        return set(await look(fault.role, with_shell=fault.shell))


def table(caught: dict[str, set[str]]) -> str:
    width = max(map(len, caught)) + 2
    lines = [" " * width + "".join(f"{suite:>12}" for suite in SUITES)]
    for name, suites in caught.items():
        cells = "".join(f"{'caught' if s in suites else '-':>12}" for s in SUITES)
        lines.append(f"{name:<{width}}{cells}")
    general = sum(1 for suites in caught.values() if suites - {"shell"})
    lines.append(f"{len(caught)} faults, {general} of them caught by a general suite")
    return "\n".join(lines)
