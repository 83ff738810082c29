"""Searches by values that show less exactly, before a real HAPI: dates around New Year, periods,
ZIP codes, steps and codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loading import load, unload
from tests.rig import running
from tests.shown.asking import found, write_policies
from tests.shown.coarse import RESOURCES, questions

pytestmark = pytest.mark.hapi


async def test_what_shows_a_value_is_found_by_it(hapi: str, tmp_path: Path) -> None:
    """What is asked of HAPI finds at least all that shows a value, so every answer is complete."""
    roles = write_policies(tmp_path / "policies")
    await load(hapi, RESOURCES)
    try:
        async with running(hapi, tmp_path, roles=roles, policies=tmp_path / "policies") as rig:
            wrong = [
                (policy, type_, query, sorted(ids), sorted(answer))
                for policy, type_, query, ids in questions()
                if (answer := await found(rig, policy, type_, query)) != ids
            ]
    finally:
        await unload(hapi, RESOURCES)
    assert not wrong, "\n".join(map(str, wrong))
