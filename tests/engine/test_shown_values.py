"""Searches by values that show less exactly, over a socket and before the embedded upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.rig import Rig, embedded, running
from tests.shown.asking import found, refused, write_policies
from tests.shown.coarse import REFUSED, RESOURCES, questions


@asynccontextmanager
async def product(folder: Path) -> AsyncIterator[Rig]:
    roles = write_policies(folder / "policies")
    async with running(
        embedded(RESOURCES), folder, roles=roles, policies=folder / "policies"
    ) as rig:
        yield rig


async def test_what_shows_a_value_is_found_by_it(tmp_path: Path) -> None:
    """All and only rows that show what is asked for are found: by years and months in any prefix
    and list, by the digits, steps, bands and codes that show (search rules, 4.4)."""
    async with product(tmp_path) as rig:
        wrong = [
            (policy, type_, query, sorted(ids), sorted(answer))
            for policy, type_, query, ids in questions()
            if (answer := await found(rig, policy, type_, query)) != ids
        ]
    assert not wrong, "\n".join(map(str, wrong))


async def test_what_is_finer_than_what_shows_is_refused(tmp_path: Path) -> None:
    """R-DT-7, R-SI-8: finer values, other prefixes and modifiers are refused from the request
    alone."""
    async with product(tmp_path) as rig:
        for policy, targets in REFUSED.items():
            for target in targets:
                assert await refused(rig, policy, target), target
        assert rig.diary == []
