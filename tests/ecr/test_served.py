"""Anonymized eICRs as they are served: reads, documents, searches, what was not changed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.generator import cases
from proxy.fhir.codec import JsonObject, decode, encode
from tests.ecr.guide import BEYOND, breaches, unmet
from tests.ecr.showing import MASKED, ages, document_of, entry, job, lab, organization
from tests.rig import Response, Rig, embedded, running
from tests.views import ANON, UPSTREAM

ALIAS = "https://ehr.example.org/fhir"  # a base that equals the upstream


def generated() -> Any:
    """A document whose entries the upstream holds one by one, too."""
    return json.loads(encode(next(iter(cases(1, 3, base=ALIAS))).eicr))


def small() -> Any:
    """A document with an exposure, an employer that is a laboratory too, and one that is not."""
    exposure = {"resourceType": "Observation", "id": "exposure", "status": "final",
                "code": {"text": "x"}, "category": [{"coding": [{"code": "EXPOS"}]}],
                "focus": [{"reference": "Location/stadium"}]}  # fmt: skip
    stadium = {"resourceType": "Location", "id": "stadium", "name": "Stadium"}
    other = {**job("Organization/shop"), "id": "job-2"}
    held = document_of(
        {"birthDate": "1974-11-24", "name": [{"family": "Roe"}],
         "address": [{"postalCode": "48104"}]},
        exposure, job("Organization/works"), other, lab("Organization/works"), stadium,
        organization("works"), organization("shop"),
    )  # fmt: skip
    return json.loads(json.dumps(held).replace(UPSTREAM, ALIAS))


def held(*stored: Any) -> list[JsonObject]:
    """Documents and what they hold, as single resources."""
    found = [*stored, *(e["resource"] for one in stored for e in one["entry"])]
    decoded = [decode(json.dumps(one).encode()) for one in found]
    return [one for one in decoded if isinstance(one, dict)]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(embedded(held(small(), generated())), tmp_path, roles=[ANON]) as found:
        yield found


async def get(rig: Rig, target: str, **headers: str) -> Response:
    return await rig.ask(ANON, target, headers=headers)


async def shown(rig: Rig, target: str) -> Any:
    response = await get(rig, target)
    assert response.status == 200, response.body
    return json.loads(response.body)


def path(rig: Rig, type_: str, id_: str) -> str:
    return f"/{type_}/{rig.id(ANON, type_, id_)}"


@pytest.mark.parametrize("stored", [small, generated], ids=["small", "generated"])
async def test_a_document_put_together_is_the_stored_one(rig: Rig, stored: Any) -> None:
    """``Composition/$document`` and the read of the stored document have the same entries, those
    that are made among them; both satisfy the guide."""
    bundle = stored()
    composition = bundle["entry"][0]["resource"]["id"]
    one = await shown(rig, path(rig, "Bundle", bundle["id"]))
    other = await shown(rig, path(rig, "Composition", composition) + "/$document")
    for document in (one, other):
        assert breaches(document) == breaches(document, BEYOND) == unmet(document) == []
    by_url = [{e["fullUrl"]: e["resource"] for e in d["entry"]} for d in (one, other)]
    assert by_url[0] == by_url[1]
    assert one["entry"][0] == other["entry"][0]
    assert len(ages(other)) == 1


async def test_a_composition_alone_is_the_one_of_its_document(rig: Rig) -> None:
    """A read of the Composition has the document's identifier, date and relations, and lists the
    age; only what no longer shows in the document is still referred to."""
    document = await shown(rig, path(rig, "Bundle", "b"))
    alone = await shown(rig, path(rig, "Composition", "c"))
    inside = document["entry"][0]["resource"]
    assert {k: v for k, v in alone.items() if k != "section"} == {
        k: v for k, v in inside.items() if k != "section"
    }
    listed, kept = ([json.dumps(e) for s in one["section"] for e in s.get("entry", ())]
                    for one in (alone, inside))  # fmt: skip
    assert [e for e in listed if e in kept] == kept
    assert len(listed) == len(kept) + 1


async def test_an_exposure_and_an_employer_lead_nowhere(rig: Rig) -> None:
    """The exposure is answered as if it never was; a search finds jobs, not exposures; of the
    employer nothing is found by the name that the job gives it."""
    assert (await get(rig, path(rig, "Observation", "exposure"))).status == 404
    rows = await shown(rig, "/Observation?status=final&_count=50")
    texts = json.dumps(rows)
    assert "EXPOS" not in texts
    assert "odh-Employer-extension" in texts
    (reference,) = {x["valueReference"]["reference"] for o in entry(rows, "Observation")
                    if o["id"] == rig.id(ANON, "Observation", "job")
                    for x in o.get("extension", ())}  # fmt: skip
    assert (await get(rig, f"/Organization/{reference.removeprefix('urn:uuid:')}")).status == 404
    works = await shown(rig, path(rig, "Organization", "works"))
    assert works["_name"] == MASKED
    assert "works" not in json.dumps(works)


SEARCHES = [
    ("Patient?address-postalcode=48100", 200), ("Patient?address-postalcode=48104", 403),
    ("Patient?address-postalcode=481", 403), ("Patient?address-city=Ann%20Arbor", 200),
    ("Patient?name=roe", 403), ("Patient?family=roe", 403), ("Patient?birthdate=1974-11-24", 403),
    ("Patient?identifier=1", 403), ("Patient?telecom=1", 403), ("Patient?phone=1", 403),
    ("Organization?name=works", 403), ("Organization?address-city=x", 403),
    ("Location?name=stadium", 403), ("Practitioner?family=x", 403),
    ("Composition?date=2020-02-03", 403), ("Composition?identifier=doc-1", 403),
    ("Composition?section=http://loinc.org|29762-2", 403), ("Composition?related-id=x", 403),
    ("Composition?entry=Observation/1", 403), ("Composition?type=http://loinc.org|55751-2", 200),
    ("Bundle?identifier=b-1", 403), ("Bundle?timestamp=2020", 403), ("Bundle?type=document", 200),
    ("Observation?code=http://loinc.org|11341-5", 200), ("Observation?performer=Patient/1", 403),
    ("Observation?value-date=2018-05-01", 200),
    ("Observation?date=2018", 200), ("Immunization?lot-number=M320", 200),
    ("Encounter?date=2020", 200), ("Condition?_text=zika", 403),
]  # fmt: skip


@pytest.mark.parametrize(("search", "status"), SEARCHES, ids=[s for s, _ in SEARCHES])
async def test_searches_ask_for_what_shows(rig: Rig, search: str, status: int) -> None:
    """What is masked or made anew cannot be asked for, nor a name that only some Organizations
    show; ZIP codes are asked for as they show."""
    found = await get(rig, f"/{search}")
    if status == 403:
        assert found.status in (400, 403), found.body
        assert rig.diary == []
    else:
        assert found.status == 200, found.body
    if "48100" in search:
        assert [p["id"] for p in entry(found.json, "Patient")] == [rig.id(ANON, "Patient", "p")]


async def test_what_was_not_changed_is_not_sent_again(rig: Rig) -> None:
    """The ETag of a document is the same on one day; ``If-None-Match`` is answered with 304."""
    for target in (path(rig, "Bundle", "b"), path(rig, "Composition", "c"),
                   path(rig, "Composition", "c") + "/$document"):  # fmt: skip
        first = await get(rig, target)
        again = await get(rig, target, **{"If-None-Match": first.headers["etag"]})
        assert (first.status, again.status, again.body) == (200, 304, b"")
