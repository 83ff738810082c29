"""What only hidden sections reach, before a real HAPI."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.demo.generator import cases, data_set
from proxy.policy.compile import compile_view
from proxy.policy.load import load_directory
from tests.loading import load, unload
from tests.noninterference.harness import show_whole
from tests.noninterference.policies import CLAIMS, LIMITS, SECTIONS, gather_policies
from tests.rig import running

pytestmark = pytest.mark.hapi

TYPES = ("Observation", "Condition", "Immunization", "Organization", "Practitioner", "Patient")


async def test_what_hidden_sections_reach_is_not_there(hapi: str, tmp_path: Path) -> None:
    """A search finds exactly what stands alone by a slow reading of the rule over all that is
    stored, and a read of anything else finds nothing."""
    stored = data_set(cases(2, 5, base=hapi))
    policies = gather_policies(tmp_path / "policies")
    view = compile_view(load_directory(policies)[SECTIONS])
    await load(hapi, stored)
    async with running(
        hapi, tmp_path, roles=[SECTIONS], policies=policies, claims=CLAIMS, extra=LIMITS[SECTIONS]
    ) as rig:
        standing = {
            (str(r["resourceType"]), str(r["id"]))
            for r, _ in show_whole(view, rig, SECTIONS, stored)
        }
        hidden = 0
        for type_ in TYPES:
            held = {str(r["id"]) for r in stored if r["resourceType"] == type_}
            found = {id_ for kind, id_ in standing if kind == type_}
            names = {rig.id(SECTIONS, type_, id_): id_ for id_ in held}
            ids = ",".join(names)
            answer = await rig.search(SECTIONS, type_, f"_id={ids}&_count=100")
            assert {names[str(r["id"])] for r in answer.resources} == found, type_
            for id_ in sorted(held - found)[:2]:
                read = await rig.ask(SECTIONS, f"/{type_}/{rig.id(SECTIONS, type_, id_)}")
                assert read.status == 404
                hidden += 1
    await unload(hapi, stored)
    assert hidden >= 4
