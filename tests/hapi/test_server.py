"""The HAPI server of this repository stands as its README says."""

from __future__ import annotations

import uuid

import aiohttp
import pytest

from proxy.fhir.codec import JsonObject
from tests.loading import load, unload
from tests.validation import validate

pytestmark = pytest.mark.hapi


async def test_what_is_referenced_first_is_found_by_reference(hapi: str) -> None:
    """Resources given in any order are loaded so that searches by reference find them."""
    tag = uuid.uuid4().hex
    patient: JsonObject = {"resourceType": "Patient", "id": f"p-{tag}", "active": True}
    observation: JsonObject = {
        "resourceType": "Observation",
        "id": f"o-{tag}",
        "status": "final",
        "code": {"text": "made up"},
        "subject": {"reference": f"Patient/p-{tag}"},
    }
    assert await load(hapi, [observation, patient]) == 2
    url = f"{hapi}/Observation?subject=Patient/p-{tag}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        found = await response.json()
    assert [entry["resource"]["id"] for entry in found["entry"]] == [f"o-{tag}"]
    await unload(hapi, [patient, observation])


async def test_a_search_is_reused_for_a_minute_unless_it_says_no_cache(hapi: str) -> None:
    """HAPI's own default stays: an equal search is answered from the first one's result."""
    tag = uuid.uuid4().hex
    url = f"{hapi}/Patient?family={tag}&_summary=false"
    one: JsonObject = {"resourceType": "Patient", "id": f"a-{tag}", "name": [{"family": tag}]}
    two: JsonObject = {**one, "id": f"b-{tag}"}

    async def count(**headers: str) -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers=headers) as response,
        ):
            return len((await response.json()).get("entry", []))

    await load(hapi, [one])
    assert await count() == 1
    await load(hapi, [two])
    assert await count() == 1
    assert await count(**{"Cache-Control": "no-cache"}) == 2
    await unload(hapi, [one, two])


async def test_all_digit_ids_foreign_and_urn_references_are_stored(hapi: str) -> None:
    """What case reports hold, and HAPI refuses by default, can be loaded."""
    number = str(uuid.uuid4().int)[:20]
    patient: JsonObject = {
        "resourceType": "Patient",
        "id": number,
        "generalPractitioner": [
            {"reference": f"urn:uuid:{uuid.uuid4()}"},
            {"reference": "https://ehr.example.org/fhir/Practitioner/1"},
            {"reference": "Practitioner/is-not-here"},
        ],
    }
    assert await load(hapi, [patient]) == 1
    await unload(hapi, [patient])


@pytest.mark.parametrize(
    ("resource", "errors"),
    [
        ({"resourceType": "Patient", "active": True}, ()),
        (
            {"resourceType": "Patient", "meta": {"profile": ["http://example.org/unknown"]}},
            (),
        ),
        ({"resourceType": "Observation", "code": {"text": "x"}}, ("Observation.status",)),
    ],
    ids=["valid", "unknown profile", "required element missing"],
)
def test_validation_reports_base_r4_errors_only(
    hapi: str, resource: dict[str, object], errors: tuple[str, ...]
) -> None:
    """The validator's findings about what an offline server cannot know are left out."""
    found = validate(hapi, resource)
    assert len(found) == len(errors), found
    for text, expected in zip(found, errors, strict=True):
        assert expected in text
