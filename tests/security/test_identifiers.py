"""Section 7 of the security requirements, R-ID-1 to R-ID-8, on the running product."""

from __future__ import annotations

import itertools
import os
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from proxy.lenses.identity import Namer
from proxy.lenses.keys import KeyFileError, KeyRing
from tests.security.product import DEID, LDS, PUBLIC, RESTRICTED, _built, product, stored
from tests.security.revealing import (
    MARKER,
    composition,
    document,
    is_clean,
    observation,
    person,
    read,
    read_one,
)

MRN = "MRN-1032702"
LEGAL = re.compile(r"[A-Za-z0-9\-.]{1,64}")
TELLING = (MRN, "patient-ecr-eve-everywoman", "observation-travel-history-eve-everywoman-1999")


def patient(real: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": real, "gender": "female"}


def about(real: str, reference: str) -> dict[str, Any]:
    return observation(id=real, subject={"reference": reference})


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_id_1_one_pseudonym_everywhere(role: str, tmp_path: Path) -> None:
    """R-ID-1: read, search, document and reference show the patient under one id, and following a
    reference gives the same resource."""
    upstream = _built()[0].upstream.url
    bundle = document(composition(subject={"reference": f"{upstream}/Patient/{MRN}"}))
    bundle["entry"].append(
        {"fullUrl": f"{upstream}/Patient/{MRN}", "resource": patient(MRN)},
    )
    held = (patient(MRN), about("o1", f"Patient/{MRN}"), bundle)
    async with stored(*held), product(tmp_path) as running:
        shown = running.shown(role, "Patient", MRN)
        single = (await running.get(role, f"/Patient/{shown}")).json
        found = (await running.get(role, "/Patient")).json["entry"][0]
        whole = await running.get(role, f"/Bundle/{running.shown(role, 'Bundle', 'document-1')}")
        seen = (await running.get(role, f"/Observation?patient={shown}")).json["entry"][0]
        assert single["id"] == found["resource"]["id"] == shown
        assert found["fullUrl"] == f"{PUBLIC}/Patient/{shown}"
        entries = whole.json["entry"]
        assert entries[1]["resource"]["id"] == shown
        assert entries[0]["resource"]["subject"]["reference"] == f"Patient/{shown}"
        assert seen["resource"]["subject"]["reference"] == f"Patient/{shown}"
        followed = await running.get(role, "/" + seen["resource"]["subject"]["reference"])
        assert followed.json == single


async def test_r_id_2_pseudonyms_of_roles_and_projects_do_not_match(tmp_path: Path) -> None:
    """R-ID-2: one patient has ids without a common part under two roles and two projects."""
    ring = KeyRing.new(os.urandom(32), os.urandom(32), date(2026, 1, 1))
    shown = [
        Namer(ring.project(project, role)).show_id("Patient", MRN)
        for project in ("study-7", "study-8")
        for role in RESTRICTED
    ]
    for one, other in itertools.combinations(shown, 2):
        common = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
        assert len(list(common)) <= 3  # the first character says the key's version
        assert not any(one[i : i + 6] in other for i in range(len(one) - 6))
    first = (await read(tmp_path, LDS, patient(MRN)))[0].json["id"]
    second = (await read(tmp_path, DEID, patient(MRN)))[0].json["id"]
    assert first != second


@pytest.mark.parametrize("real", TELLING)
@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_id_3_raw_ids_occur_nowhere(role: str, real: str, tmp_path: Path) -> None:
    """R-ID-3: a telling id is in no id, reference, fullUrl, link, header or error."""
    held = (patient(real), about(real, f"Patient/{real}"))
    async with stored(*held), product(tmp_path) as running:
        shown = running.shown(role, "Patient", real)
        for target in (
            f"/Patient/{shown}",
            "/Patient",
            f"/Observation?subject=Patient/{shown}",
            f"/Observation/{running.shown(role, 'Observation', real)}",
            f"/Patient/{real}",
        ):
            assert is_clean(await running.get(role, target), real), target
        for target in (f"/Observation?patient={real}", f"/Patient?_id={real}"):
            # The self link repeats what the client itself asked; nothing else does.
            answer = await running.get(role, target)
            assert set(answer.json) == {"resourceType", "type", "link"}


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_id_4_every_form_of_reference_is_rewritten(role: str, tmp_path: Path) -> None:
    """R-ID-4: relative, versioned, absolute, contained and urn:uuid references all become shown
    ones, without version; what is no reference goes."""
    upstream = _built()[0].upstream.url
    forms = [
        f"Patient/{MRN}",
        f"Patient/{MRN}/_history/3",
        f"{upstream}/Patient/{MRN}",
        f"{upstream}/Patient/{MRN}/_history/3",
        "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
        "#p1",
        f"Patient?identifier={MRN}",
        f"ftp://example.org/{MRN}",
        f"{MRN}",
    ]
    stored_one = observation(
        contained=[patient("p1")], focus=[{"reference": f} for f in forms], subject=None
    )
    del stored_one["subject"]
    (answer,) = await read(tmp_path, role, stored_one)
    assert is_clean(answer, MRN, "0c3151bd", "_history")
    shown = [f["reference"] for f in answer.json["focus"]]
    assert len(shown) == 6
    assert len(set(shown[:4])) == 1
    assert shown[0].startswith("Patient/")
    assert shown[4].startswith("urn:uuid:")
    assert shown[5] == "#" + answer.json["contained"][0]["id"]


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_id_4_canonicals_under_the_upstream_are_rewritten(
    role: str, tmp_path: Path
) -> None:
    """R-ID-4: a canonical with version that lies under the upstream's base shows ours."""
    upstream = _built()[0].upstream.url
    request = {
        "resourceType": "ServiceRequest",
        "id": "request-1",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/1"},
        "instantiatesCanonical": [f"{upstream}/PlanDefinition/plan-1|3"],
    }
    (answer,) = await read(tmp_path, role, request)
    assert is_clean(answer, upstream)
    assert answer.json["instantiatesCanonical"] == [f"{PUBLIC}/PlanDefinition/plan-1|3"]


@pytest.mark.parametrize("role", RESTRICTED)
def test_r_id_5_pseudonyms_are_legal_and_distinct(role: str) -> None:
    """R-ID-5: 100 000 patients have distinct legal ids, and a Patient and an Observation of the
    same raw id differ."""
    ring = KeyRing.new(os.urandom(32), os.urandom(32), date(2026, 1, 1))
    namer = Namer(ring.project("study-7", role))
    shown = {namer.show_id("Patient", str(number)) for number in range(100_000)}
    assert len(shown) == 100_000
    assert all(LEGAL.fullmatch(s) for s in shown)
    assert namer.show_id("Patient", MRN) != namer.show_id("Observation", MRN)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_id_6_document_identifiers_become_pseudonyms(role: str, tmp_path: Path) -> None:
    """R-ID-6: no identifier of a document comes out; the same document is the same pseudonym in
    Bundle.identifier, relatesTo and masterIdentifier, in whatever spelling."""
    uuid1 = "1B4E28BA-2FA1-11D2-883F-0016D3CCA427"
    spelled = ("urn:uuid:" + uuid1.lower(), uuid1, "urn:uuid:" + uuid1)
    related = composition(
        relatesTo=[{"code": "replaces", "targetIdentifier": {"value": spelled[1]}}]
    )
    bundle = document(related, identifier={"system": "urn:ietf:rfc:3986", "value": spelled[0]})
    reference = {
        "resourceType": "DocumentReference",
        "id": "reference-1",
        "status": "current",
        "masterIdentifier": {"value": spelled[2]},
        "content": [{"attachment": {"title": MARKER}}],
    }
    first, second = await read(tmp_path, role, bundle, reference)
    for answer in (first, second):
        assert is_clean(answer, uuid1, uuid1.replace("-", ""))
    shown = first.json["identifier"]
    target = first.json["entry"][0]["resource"]["relatesTo"][0]["targetIdentifier"]
    assert target == shown == second.json["masterIdentifier"]
    assert first.json["entry"][0]["resource"]["identifier"] != shown


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_id_7_pseudonyms_work_as_search_values(role: str, tmp_path: Path) -> None:
    """R-ID-7: every form of a reference or id that the API accepts finds what the real id finds."""
    held = (patient(MRN), patient("other"), about("o1", f"Patient/{MRN}"), about("o2", "Patient/x"))
    async with stored(*held) as log, product(tmp_path) as running:
        shown, other = (running.shown(role, "Patient", x) for x in (MRN, "other"))
        observed = [running.shown(role, "Observation", "o1")]
        for query in (
            f"patient={shown}",
            f"patient=Patient/{shown}",
            f"subject=Patient/{shown}",
            f"patient:Patient={shown}",
            f"subject:Patient={shown}",
            f"subject={PUBLIC}/Patient/{shown}",
        ):
            answer = await running.get(role, f"/Observation?{query}")
            assert [e["resource"]["id"] for e in answer.json["entry"]] == observed, query
            assert is_clean(answer, MRN)
            posted = await running.ask(
                role,
                "POST",
                "/fhir/Observation/_search",
                data=query,
                headers={"Content-Type": "application/x-www-form-urlencoded"},
            )
            assert posted.json["entry"] == answer.json["entry"], query
        both = await running.get(role, f"/Patient?_id={shown},{other}")
        assert {e["resource"]["id"] for e in both.json["entry"]} == {shown, other}
        before = len(log)
        forged = await running.get(role, f"/Patient?_id={shown[:-1]}")
        assert "entry" not in forged.json
        assert is_clean(forged, MRN)
        assert len(log) == before


@pytest.mark.parametrize("secret", ["", "12345678", "changeme" * 8])
def test_r_id_8_bad_secrets_stop_the_start(secret: str) -> None:
    """R-ID-8: a missing, short or sample secret is refused, and the message does not print it."""
    text = KeyRing.new(os.urandom(32), os.urandom(32), date(2026, 1, 1)).write()
    good = re.search(rb'"secret":\s*"([^"]+)"', text)
    assert good is not None
    with pytest.raises(KeyFileError) as error:
        KeyRing.parse(text.replace(good[1], secret.encode()))
    assert not secret or secret not in str(error.value)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_two_senders_patients_never_merge(role: str, tmp_path: Path) -> None:
    """Design section 4: ``Patient/1`` of two senders in two documents are two persons, and neither
    is the upstream's ``Patient/1``."""
    first, second = (
        {
            **document(),
            "id": f"document-{sender}",
            "entry": [
                {
                    "fullUrl": f"http://{sender}.example/Composition/1",
                    "resource": composition(subject={"reference": "Patient/1"}, author=[]),
                },
                {
                    "fullUrl": f"http://{sender}.example/Patient/1",
                    "resource": person("Patient", "1"),
                },
            ],
        }
        for sender in ("a", "b")
    )
    ids = set()
    for bundle in (first, second):
        shown = await read_one(tmp_path, role, bundle)
        subject = shown["entry"][0]["resource"]["subject"]["reference"]
        assert subject == shown["entry"][1]["fullUrl"]
        assert subject == "urn:uuid:" + shown["entry"][1]["resource"]["id"]
        ids.add(subject)
    (own,) = await read(tmp_path, role, patient("1"))
    assert len(ids | {own.json["id"]}) == 3
