"""Stage 2 before stage 1 before a real HAPI: reads, searches, includes, pages, documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.generator import cases, data_set
from proxy.fhir.codec import JsonObject
from tests.equivalence.twins import stored as held_by
from tests.loading import load, unload
from tests.rig import STAGE1, STAGE2
from tests.stages import Stages, chained, labels_of, walk

pytestmark = pytest.mark.hapi

KINDS = ("Patient", "Observation", "Bundle", "Composition", "DocumentReference")
SEED = 9  # of cases that no other test stores


@pytest.fixture(scope="module")
def stored(hapi: str) -> Iterator[list[JsonObject]]:
    """The generator's cases as HAPI holds them, for all tests of this module."""
    held = data_set(list(cases(3, SEED, base=hapi)))
    asyncio.run(load(hapi, held))
    mine = {(r["resourceType"], r["id"]) for r in held}
    found = asyncio.run(held_by(hapi, KINDS))
    yield [r for r in found if (r["resourceType"], r["id"]) in mine]
    asyncio.run(unload(hapi, held))


@pytest.fixture
async def stages(hapi: str, stored: list[JsonObject], tmp_path: Path) -> AsyncIterator[Stages]:
    async with chained(hapi, tmp_path) as found:
        yield found


def shown(stages: Stages, stored: list[JsonObject], kind: str) -> dict[str, JsonObject]:
    """What stage 2 shows of the stored resources of a type, by id."""
    found = (stages.show(r)[1] for r in stored if r["resourceType"] == kind)
    return {str(r["id"]): r for r in found if r is not None}


@pytest.mark.parametrize("kind", KINDS)
async def test_everything_is_found_and_read(
    kind: str, stages: Stages, stored: list[JsonObject]
) -> None:
    """All pages of a search give what stage 1 shows, as stage 2 shows that, and so does a read."""
    expected = shown(stages, stored, kind)
    found = {str(r["id"]): r for r in await walk(stages.two, STAGE2, f"/{kind}?_count=7")}
    assert expected
    assert {i: found.get(i) for i in expected} == expected
    id_ = next(iter(expected))
    assert (await stages.two.ask(STAGE2, f"/{kind}/{id_}")).json == expected[id_]


async def test_searches_by_what_shows(stages: Stages, stored: list[JsonObject]) -> None:
    """By id, reference, code, shifted date and included, at both proxies before HAPI."""
    expected = shown(stages, stored, "Observation")
    one: Any = next(r for r in expected.values() if "effectiveDateTime" in r and "subject" in r)
    patient, day = one["subject"]["reference"], one["effectiveDateTime"][:10]
    code = one["code"]["coding"][0]
    mine = {i for i, r in expected.items() if r.get("subject") == one["subject"]}
    for query in (
        f"_id={one['id']}",
        f"patient={patient.partition('/')[2]}",
        f"subject={patient}&date=eq{day}",
        f"patient={patient}&code={code['system']}%7C{code['code']}",
        f"patient={patient}&date=ge{day}&_sort=_id",
    ):
        found = await walk(stages.two, STAGE2, f"/Observation?{query}&_count=3")
        assert str(one["id"]) in {r["id"] for r in found}, query
        assert {str(r["id"]) for r in found} <= mine, query
    along = await walk(
        stages.two, STAGE2, f"/Observation?_id={one['id']}&_include=Observation:subject"
    )
    assert [f"{r['resourceType']}/{r['id']}" for r in along][1:] == [patient]
    assert {labels_of(r) for r in along} == {("ANONYED",)}


async def test_a_document_of_both_stages(stages: Stages, stored: list[JsonObject]) -> None:
    """``$document`` gives the same entries under the same ids at both."""
    id_ = next(iter(shown(stages, stored, "Composition")))
    first = await stages.one.ask(STAGE1, f"/Composition/{id_}/$document")
    second = await stages.two.ask(STAGE2, f"/Composition/{id_}/$document")
    assert [r["id"] for r in first.resources] == [r["id"] for r in second.resources]
    assert len(second.resources) > 10
