"""Section 9 of the security requirements, R-NA-1 to R-NA-6, on the running product."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.security.product import INV, RESTRICTED, product, stored
from tests.security.revealing import (
    MARKER,
    composition,
    document,
    is_clean,
    narrative,
    observation,
    person,
    read,
    read_one,
)

MASKED = '<div xmlns="http://www.w3.org/1999/xhtml"><p>MASKED</p></div>'
ABSENT = [
    {
        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
        "valueCode": "masked",
    }
]


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_na_1_narrative_is_replaced_everywhere(role: str, tmp_path: Path) -> None:
    """R-NA-1, R-NA-5: in every resource and every section at any depth stands the fixed masked
    text, in the form of the anonymized-eICR guide."""
    section = {"text": narrative(), "section": [{"text": narrative()}]}
    bundle = document(
        composition(text=narrative(), section=[section]),
        person("Patient", "patient-1", text=narrative()),
        observation(text=narrative()),
    )
    shown = await read_one(tmp_path, role, bundle)
    resources = [e["resource"] for e in shown["entry"]]
    sections = resources[0]["section"]
    found = [r["text"] for r in resources if "text" in r]
    found += [sections[0]["text"], sections[0]["section"][0]["text"]]
    assert len(found) >= 4
    for text in found:
        assert text == {"extension": ABSENT, "status": "empty", "div": MASKED}


def attachments() -> list[Any]:
    """Attachments that hold the original, in every element that carries one."""
    cda = base64.b64encode(f"<ClinicalDocument>{MARKER}</ClinicalDocument>".encode()).decode()
    attachment = {
        "contentType": "text/xml",
        "data": cda,
        "url": f"http://{MARKER}.example/Binary/1",
        "title": MARKER,
        "size": 7,
        "hash": cda,
        "creation": "2018-03-04T05:06:07Z",
    }
    code = {"coding": [{"system": "http://loinc.org", "code": "55751-2"}]}
    return [
        {
            "resourceType": "DocumentReference",
            "id": "reference-1",
            "status": "current",
            "content": [{"attachment": attachment}],
        },
        person("Patient", "patient-1", photo=[attachment]),
        {
            "resourceType": "DiagnosticReport",
            "id": "report-1",
            "status": "final",
            "code": code,
            "presentedForm": [attachment],
            "conclusion": MARKER,
        },
        {
            "resourceType": "Communication",
            "id": "communication-1",
            "status": "completed",
            "payload": [{"contentAttachment": attachment}, {"contentString": MARKER}],
        },
    ]


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_na_2_attachments_go(role: str, tmp_path: Path) -> None:
    """R-NA-2: data, url, title, hash, size and creation of an attachment do not come out, also
    after decoding what base64 remains."""
    for resource in attachments():
        (answer,) = await read(tmp_path, role, resource)
        assert answer.status == 200
        assert is_clean(answer, "text/xml", "ClinicalDocument", "2018-03")
        for key in ("data", "hash", "size", "creation", "photo", "presentedForm"):
            assert f'"{key}"' not in answer.body.decode()


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_na_2_media_is_refused(role: str, tmp_path: Path) -> None:
    """R-NA-2: Media, whose content is an attachment, is not offered; no upstream call."""
    media: Any = {"resourceType": "Media", "id": "media-1", "content": {"title": MARKER}}
    async with stored(media) as log, product(tmp_path) as running:
        answer = await running.get(role, f"/Media/{running.shown(role, 'Media', 'media-1')}")
        assert answer.status == 403
        assert answer.code == "forbidden"
        assert is_clean(answer)
        assert log == []


@pytest.mark.parametrize("accept", ["*/*", "application/pdf", "application/fhir+json"])
@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_na_3_binary_is_refused(role: str, accept: str, tmp_path: Path) -> None:
    """R-NA-3: no byte of a Binary, whatever is accepted; no upstream call."""
    data = base64.b64encode(MARKER.encode()).decode()
    binary: Any = {"resourceType": "Binary", "id": "b1", "contentType": "text/plain", "data": data}
    async with stored(binary) as log, product(tmp_path) as running:
        for real in ("b1", running.shown(role, "Binary", "b1")):
            answer = await running.get(role, f"/Binary/{real}", headers={"Accept": accept})
            assert answer.status in (403, 404, 406)
            assert answer.json["resourceType"] == "OperationOutcome"
            assert is_clean(answer, data)
        assert log == []


async def test_r_na_4_full_role_gets_narrative_that_cannot_run(tmp_path: Path) -> None:
    """R-NA-4: the body is unchanged, its type is FHIR JSON and browsers may not guess another."""
    evil = '<div xmlns="http://www.w3.org/1999/xhtml" onload="x()"><script>x()</script></div>'
    patient = person("Patient", "patient-1", text={"status": "generated", "div": evil})
    (answer,) = await read(tmp_path, INV, patient)
    assert answer.json["text"]["div"] == evil
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_na_6_questionnaire_answers_are_refused(role: str, tmp_path: Path) -> None:
    """R-NA-6: the type is not offered, as an entry it goes; no upstream call for a read."""
    answers: Any = {
        "resourceType": "QuestionnaireResponse",
        "id": "answers-1",
        "status": "completed",
        "item": [{"linkId": "1", "text": MARKER, "answer": [{"valueString": MARKER}]}],
    }
    async with stored(answers) as log, product(tmp_path) as running:
        shown = running.shown(role, "QuestionnaireResponse", "answers-1")
        answer = await running.get(role, f"/QuestionnaireResponse/{shown}")
        assert answer.status == 403
        assert log == []
    bundle = await read_one(tmp_path, role, document(composition(), answers))
    assert len(bundle["entry"]) == 1
