"""Stage 2 of the IHE handbook before stage 1: two running proxies, one before the other."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.demo.generator import cases
from proxy.demo.upstream import STORE
from proxy.fhir.codec import JsonObject
from proxy.policy.verdicts import compute_verdicts
from tests.equivalence.embedded import find_differences, make_queries
from tests.noninterference.grow import dataset
from tests.rig import PUBLIC, STAGE1, STAGE2, embedded, running
from tests.stages import Stages, chained, labels_of, walk
from tests.views import find_view

QUERIES = 10  # by single parameters; sorted, included and chained ones beside them
NAMED = ("id", "identifier", "masterIdentifier", "name")  # what both stages show alike


@pytest.fixture
async def stages(tmp_path: Path) -> AsyncIterator[Stages]:
    app = embedded([])
    async with chained(app, tmp_path) as found:
        for case in cases(3, 5, base=found.one.upstream):
            for resource in (*case.bundles, *case.resources):
                app[STORE].write(resource)
        yield found


async def test_the_chain_answers_as_a_server_that_stores_what_it_shows(tmp_path: Path) -> None:
    """Searches by id, reference, code, date and text, sorted, included and chained, paged: the
    same rows, whole, in the same order; nothing that stage 2 offers is refused by stage 1."""
    app = embedded([])
    async with chained(app, tmp_path) as stages:
        for resource in dataset(stages.one.upstream):
            app[STORE].write(resource)
        held = [v.resource for t in app[STORE].types() for v in app[STORE].of_type(t)]
        shown = [s for r in held if r is not None and (s := stages.show(r)[1]) is not None]
        assert len(shown) > 50
        by_type: dict[str, list[JsonObject]] = {}
        for resource in shown:
            by_type.setdefault(str(resource["resourceType"]), []).append(resource)
        table = compute_verdicts(find_view(STAGE2))
        queries = make_queries(table, by_type, random.Random(STAGE2), QUERIES)
        found = await find_differences(stages.two, STAGE2, shown, queries)
        assert found == [], "\n".join(found)


@pytest.mark.parametrize("type_", ["Patient", "Practitioner", "Bundle", "DocumentReference"])
async def test_both_stages_name_alike(stages: Stages, type_: str) -> None:
    """Ids, identifiers and names of stage 2 are those of stage 1; its labels are its own; what it
    reads it finds by id, at either proxy."""
    first = await walk(stages.one, STAGE1, f"/{type_}?_count=2")
    second = await walk(stages.two, STAGE2, f"/{type_}?_count=2")
    assert len(first) > 1
    assert [{k: r.get(k) for k in NAMED} for r in first] == [
        {k: r.get(k) for k in NAMED} for r in second
    ]
    assert {labels_of(r) for r in first} == {("PSEUDED",)}
    assert {labels_of(r) for r in second} == {("ANONYED",)}
    for resource in second:
        read = await stages.two.ask(STAGE2, f"/{type_}/{resource['id']}")
        assert read.json == resource


async def test_identifiers_are_found_as_they_show(stages: Stages) -> None:
    """``system|value`` as shown finds the document at both stages; another system finds nothing
    and is not asked for."""
    (bundle, *_) = await walk(stages.two, STAGE2, "/Bundle?type=document")
    held = bundle["identifier"]
    assert isinstance(held, dict)
    query = f"/Bundle?identifier={held['system']}%7C{held['value']}"
    for rig, role in ((stages.one, STAGE1), (stages.two, STAGE2)):
        assert [r["id"] for r in await walk(rig, role, query)] == [bundle["id"]]
    stages.one.diary.clear()
    assert await walk(stages.two, STAGE2, "/Bundle?identifier=urn:x%7C1") == []
    assert stages.one.diary == []


async def test_a_document_is_put_together_from_what_stage_1_shows(stages: Stages) -> None:
    """``$document`` at stage 2: the entries are its reads, each labelled, named as at stage 1."""
    (composition, *_) = await walk(stages.two, STAGE2, "/Composition?_count=1")
    path = f"/Composition/{composition['id']}/$document"
    first, second = await stages.one.ask(STAGE1, path), await stages.two.ask(STAGE2, path)
    assert first.status == second.status == 200
    ids = [[(r["resourceType"], r["id"]) for r in d.resources] for d in (first, second)]
    assert ids[0] == ids[1]
    assert len(ids[0]) > 10
    assert {labels_of(r) for r in (second.json, *second.resources)} == {("ANONYED",)}
    for entry in second.entries:
        assert str(entry["fullUrl"]).startswith(PUBLIC)
    read = await stages.two.ask(STAGE2, "/" + "/".join(map(str, ids[1][-1])))
    assert read.json == second.resources[-1]


async def test_batches_forms_and_conditional_reads_go_through(stages: Stages) -> None:
    """A batch of reads, a search by POST, an ETag, and the capability statement."""
    (patient, *_) = await walk(stages.two, STAGE2, "/Patient")
    url = f"/Patient/{patient['id']}"
    read = await stages.two.ask(STAGE2, url)
    again = await stages.two.ask(STAGE2, url, headers={"If-None-Match": read.headers["etag"]})
    assert again.status == 304
    found = await stages.two.search(STAGE2, "Observation", f"patient={patient['id']}&_count=1")
    assert len(found.resources) == 1
    body = b'{"resourceType":"Bundle","type":"batch","entry":[' + b",".join(
        b'{"request":{"method":"GET","url":"' + text.encode() + b'"}}'
        for text in (url[1:], f"Observation?patient={patient['id']}", "Patient/1")
    ) + b"]}"  # fmt: skip
    batch = await stages.two.ask(
        STAGE2, "/", method="POST", body=body, headers={"Content-Type": "application/fhir+json"}
    )
    statuses = [e["response"]["status"][:3] for e in batch.entries]  # type: ignore[index,call-overload]
    assert statuses == ["200", "200", "404"]
    told = await stages.two.ask(STAGE2, "/metadata")
    assert told.status == 200
    assert b'"birthdate"' not in told.body


async def test_stage_2_before_raw_data_shows_nothing(tmp_path: Path) -> None:
    """Put before the source itself by mistake: every read is a 404, every search is empty, but for
    the public rules."""
    held = [r for c in cases(2, 5) for r in (*c.bundles, *c.resources)]
    async with running(embedded(held), tmp_path, roles=[STAGE2]) as rig:
        for type_ in ("Patient", "Bundle", "Observation", "Composition"):
            stored = next(r for r in held if r["resourceType"] == type_)
            assert (await rig.ask(STAGE2, f"/{type_}/{stored['id']}")).status == 404
            empty = await rig.ask(STAGE2, f"/{type_}?_count=5")
            assert (empty.status, empty.resources) == (200, [])
