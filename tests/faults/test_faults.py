"""The suites catch what they are for: small faults of views are planted, one at a time."""

from __future__ import annotations

from tests.conftest import Tell
from tests.faults.planted import OF_VIEWS
from tests.faults.planting import expect_caught, expect_quiet
from tests.rig import RESTRICTED, STAGE1


async def test_nothing_is_caught_without_a_fault() -> None:
    """The control: every suite is quiet before the product as it is."""
    await expect_quiet((*RESTRICTED, STAGE1))


async def test_every_fault_is_caught(tell: Tell) -> None:
    """Each fault of a view is caught by some suite, nearly all of them by a general one."""
    await expect_caught(OF_VIEWS, tell)
