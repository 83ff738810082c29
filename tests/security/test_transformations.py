"""Section 6 of the security requirements, R-TC-1 to R-TC-12, on the running product."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.security.product import DEID, INV, LDS, RESTRICTED, product, stored
from tests.security.revealing import (
    MARKER,
    address,
    composition,
    document,
    extension,
    identifier,
    is_clean,
    name,
    narrative,
    observation,
    person,
    read,
    read_one,
    telecom,
)
from tests.tripwire import find_leaks, identifying_values

RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
TRIGGER = "http://hl7.org/fhir/us/ecr/StructureDefinition/eicr-trigger-code-flag-extension"
OMB = "urn:oid:2.16.840.1.113883.6.238"
PERSONS = ("Patient", "RelatedPerson", "Practitioner", "Person")


def members() -> list[Any]:
    """Resources of a case with markers in every name, address, telecom and identifier."""
    organization = {
        "resourceType": "Organization",
        "id": "organization-1",
        "name": f"{MARKER} Clinic",
        "alias": [MARKER],
        "identifier": [identifier()],
        "telecom": [telecom()],
        "address": [address()],
        "contact": [{"name": name(), "telecom": [telecom()], "address": address()}],
    }
    location = {
        "resourceType": "Location",
        "id": "location-1",
        "name": MARKER,
        "description": MARKER,
        "identifier": [identifier()],
        "telecom": [telecom()],
        "address": address(),
        "position": {"longitude": -84.39, "latitude": 33.75},
    }
    role = {
        "resourceType": "PractitionerRole",
        "id": "role-1",
        "identifier": [identifier()],
        "telecom": [telecom()],
        "practitioner": {"reference": "Practitioner/practitioner-1", "display": MARKER},
        "organization": {"reference": "Organization/organization-1", "display": MARKER},
        "location": [{"reference": "Location/location-1", "display": MARKER}],
    }
    contact = {"name": name(), "telecom": [telecom()], "address": address()}
    return [
        person("Patient", "patient-1", contact=[contact], birthDate="1974-11-24"),
        person("RelatedPerson", "related-1", patient={"reference": "Patient/patient-1"}),
        person("Practitioner", "practitioner-1", qualification=[{"identifier": [identifier()]}]),
        organization,
        location,
        role,
    ]


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_tc_1_direct_identifiers_go_everywhere(role: str, tmp_path: Path) -> None:
    """R-TC-1: in single resources, search sets and documents no name, street line, telecom or
    identifier comes out, at any depth and list position."""
    resources = members()
    bundle = document(composition(), *members())
    async with stored(*resources, bundle), product(tmp_path) as running:
        for resource in [*resources, bundle]:
            kind = resource["resourceType"]
            shown = running.shown(role, kind, resource["id"])
            for target in (f"/{kind}/{shown}", f"/{kind}?_id={shown}"):
                answer = await running.get(role, target)
                assert answer.status == 200
                assert is_clean(answer, "-84.39", resource["id"])
                assert shown in answer.body.decode()


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_tc_2_contained_resources_take_their_own_types_rules(
    role: str, tmp_path: Path
) -> None:
    """R-TC-2: contained persons lose what identifies; ``#`` references resolve or go with their
    target."""
    shown = await read_one(
        tmp_path,
        role,
        observation(
            contained=[
                person("Patient", "p1", gender="female"),
                person("RelatedPerson", "r1", patient={"reference": "#p1"}),
                person("Practitioner", "d1"),
                {"resourceType": "Media", "id": "m1", "status": "completed", "note": [MARKER]},
            ],
            subject={"reference": "#p1"},
            focus=[{"reference": "#r1"}],
            performer=[{"reference": "#d1"}],
            derivedFrom=[{"reference": "#m1"}],
        ),
    )
    ids = {c["id"] for c in shown["contained"]}
    assert {c["resourceType"] for c in shown["contained"]} == set(PERSONS) - {"Person"}
    named = [shown["subject"], *shown["focus"], *shown["performer"]]
    assert {n["reference"][1:] for n in named} == ids
    assert "derivedFrom" not in shown
    assert shown["contained"][0]["gender"] == "female"


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_tc_3_extensions_show_by_allow_list_only(role: str, tmp_path: Path) -> None:
    """R-TC-3: an unlisted extension goes whole at the root, in datatypes, on primitives and three
    deep, whatever its value; listed ones stay."""
    unknown = [
        extension("http://example.org/name", valueHumanName=name()),
        extension("http://example.org/address", valueAddress=address()),
        extension("http://example.org/string", valueString=MARKER),
        extension("http://example.org/reference", valueReference={"display": MARKER}),
        extension("http://example.org/file", valueAttachment={"title": MARKER}),
        extension(f"http://example.org/{MARKER}", valueCode="x"),
        extension(
            "http://example.org/deep",
            extension=[extension("a", extension=[extension("b", valueString=MARKER)])],
        ),
    ]
    race = extension(
        RACE,
        extension=[
            extension("ombCategory", valueCoding={"system": OMB, "code": "2106-3"}),
            extension("text", valueString=MARKER),
            extension("http://example.org/inside", valueString=MARKER),
        ],
    )
    patient = person("Patient", "patient-1", gender="female", extension=[*unknown, race])
    patient["address"][0]["extension"] = unknown
    patient["_gender"] = {"extension": unknown}
    patient["maritalStatus"] = {
        "coding": [
            {
                "system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus",
                "code": "M",
                "extension": unknown,
            }
        ]
    }
    shown = await read_one(tmp_path, role, patient)
    category = extension("ombCategory", valueCoding={"system": OMB, "code": "2106-3"})
    assert shown["extension"] == [extension(RACE, extension=[category])]
    assert shown["maritalStatus"]["coding"][0]["code"] == "M"
    assert b"example.org" not in (await read(tmp_path, role, patient))[0].body


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_tc_3_trigger_code_flag_stays(role: str, tmp_path: Path) -> None:
    """R-TC-3: the trigger code of a document comes out with its value set and version."""
    flag = extension(
        TRIGGER,
        extension=[
            extension("triggerCodeValueSet", valueOid="urn:oid:2.16.840.1.114222.4.11.7508"),
            extension("triggerCodeValueSetVersion", valueString="20250216"),
            extension("triggerCode", valueCoding={"system": "http://loinc.org", "code": "1-8"}),
        ],
    )
    section = {
        "code": {"coding": [{"system": "http://loinc.org", "code": "30954-2"}]},
        "text": narrative(),
        "entry": [{"extension": [flag], "reference": "Observation/observation-1"}],
    }
    shown = await read_one(tmp_path, role, composition(section=[section]))
    assert shown["section"][0]["entry"][0]["extension"] == [flag]


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_tc_4_reference_displays_and_identifiers_go(role: str, tmp_path: Path) -> None:
    """R-TC-4: of a Reference only reference and type survive; the eICR's id in a section entry
    becomes a pseudonym, the same as the document's own."""
    logical = {"identifier": identifier(), "display": MARKER}
    encounter = {
        "resourceType": "Encounter",
        "id": "encounter-1",
        "status": "finished",
        "class": {
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
            "code": "AMB",
        },
        "subject": {
            "reference": "Patient/patient-1",
            "type": "Patient",
            **logical,
        },
        "participant": [{"individual": {"reference": "Practitioner/practitioner-1", **logical}}],
        "location": [{"location": {"reference": "Location/location-1", **logical}}],
        "serviceProvider": logical,
    }
    shown = await read_one(tmp_path, role, encounter)
    assert set(shown["subject"]) == {"reference", "type"}
    assert set(shown["participant"][0]["individual"]) == {"reference"}
    assert set(shown["location"][0]["location"]) == {"reference"}
    assert "serviceProvider" not in shown

    eicr = {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{MARKER}-doc"}
    entry = {"identifier": eicr, "display": f"{MARKER}.xml"}
    bundle = document(composition(section=[{"text": narrative(), "entry": [entry]}]))
    whole = await read_one(tmp_path, role, bundle)
    entry = whole["entry"][0]["resource"]["section"][0]["entry"][0]
    assert entry["identifier"] == whole["identifier"]


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_tc_5_siblings_are_treated_with_their_element(role: str, tmp_path: Path) -> None:
    """R-TC-5: nothing of a hidden or generalized element shows in its ``_`` sibling, also when only
    the sibling exists."""
    time = extension(
        "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
        valueDateTime="1974-11-24T03:17:19+00:00",
    )
    hidden = {"extension": [extension("http://example.org/x", valueString=MARKER), time]}
    patient = person("Patient", "patient-1", birthDate="1974-11-24", _birthDate=hidden)
    patient["name"][0] |= {"_family": hidden, "_given": [hidden]}
    patient["address"][0] |= {"_line": [hidden], "_state": hidden}
    patient["telecom"][0]["_value"] = hidden
    patient["identifier"][0]["_value"] = hidden
    alone = {"resourceType": "Patient", "id": "patient-2", "_birthDate": hidden}
    for answer in await read(tmp_path, role, patient, alone):
        assert is_clean(answer, "03:17", "patient-birthTime")
        assert "_birthDate" not in answer.json


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_tc_6_displays_and_texts_of_codes_go(role: str, tmp_path: Path) -> None:
    """R-TC-6: CodeableConcept.text and Coding.display go; code and system stay."""
    coding = {"system": "http://snomed.info/sct", "code": "264379009"}
    shown = await read_one(
        tmp_path,
        role,
        observation(
            code={"coding": [{**coding, "display": f"Eve's rash {MARKER}"}], "text": MARKER},
            valueCodeableConcept={"coding": [coding], "text": f"City Football Stadium {MARKER}"},
        ),
    )
    assert shown["code"] == {"coding": [coding]}
    assert shown["valueCodeableConcept"] == {"coding": [coding]}


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_tc_7_free_text_goes(role: str, tmp_path: Path) -> None:
    """R-TC-7: strings, notes, dosages and titles go; a document's required title is our name for
    its kind."""
    code = {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]}
    await read_one(
        tmp_path,
        role,
        observation(
            component=[
                {"code": code, "valueString": f"Princess of the Sea {MARKER}"},
                {"code": code, "valueString": f"69B {MARKER}"},
            ],
            note=[{"text": MARKER, "authorString": MARKER, "time": "2018-01-01"}],
            referenceRange=[{"text": MARKER}],
            valueString=MARKER,
        ),
    )
    request = {
        "resourceType": "MedicationRequest",
        "id": "request-1",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"text": MARKER},
        "subject": {"reference": "Patient/patient-1"},
        "dosageInstruction": [{"text": MARKER, "patientInstruction": MARKER}],
        "note": [{"text": MARKER}],
    }
    await read_one(tmp_path, role, request)
    condition = {
        "resourceType": "Condition",
        "id": "condition-1",
        "subject": {"reference": "Patient/patient-1"},
        "onsetString": MARKER,
        "stage": [{"summary": {"text": MARKER}}],
    }
    await read_one(tmp_path, role, condition)
    shown = await read_one(tmp_path, role, composition())
    assert shown["title"] == "Public health Case report"
    assert "title" not in shown["section"][0]


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_tc_8_bundles_are_transformed_as_a_whole(role: str, tmp_path: Path) -> None:
    """R-TC-8: a document, a message that nests it and a search set of both are clean at every
    level: identifiers, full URLs, relatesTo, attester, custodian, section authors."""
    full = composition(
        relatesTo=[{"code": "replaces", "targetIdentifier": {"value": f"{MARKER}-old"}}],
        custodian={"reference": "Organization/organization-1", "display": MARKER},
        attester=[{"mode": "legal", "party": {"display": MARKER}, "time": "2018-03-04"}],
    )
    full["section"][0]["author"] = [{"display": MARKER}]
    full["extension"] = [extension("http://example.org/versionNumber", valueString=MARKER)]
    inner = document(full, *members())
    message: Any = {
        "resourceType": "Bundle",
        "id": "message-1",
        "type": "message",
        "entry": [
            {
                "fullUrl": f"http://{MARKER}.example/MessageHeader/header-1",
                "resource": {
                    "resourceType": "MessageHeader",
                    "id": "header-1",
                    "eventUri": f"http://{MARKER}.example/event",
                    "source": {"endpoint": f"http://{MARKER}.example", "name": MARKER},
                    "focus": [{"reference": "Bundle/document-1"}],
                },
            },
            {"fullUrl": f"http://{MARKER}.example/Bundle/document-1", "resource": inner},
        ],
    }
    async with stored(inner, message), product(tmp_path) as running:
        answer = await running.get(role, "/Bundle")
        assert answer.status == 200
        assert is_clean(answer, "patient-1", "sender.example")
        shown = [e["resource"] for e in answer.json["entry"]]
        assert [b["type"] for b in shown] == ["document", "message"]
        nested = shown[1]["entry"][1]["resource"]
        assert nested["entry"][0]["resource"]["resourceType"] == "Composition"
        focus = shown[1]["entry"][0]["resource"]["focus"][0]["reference"]
        assert focus == shown[1]["entry"][1]["fullUrl"]


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_tc_9_signatures_go(role: str, tmp_path: Path) -> None:
    """R-TC-9: no signature comes out, and no base64 of what it signed."""
    data = base64.b64encode(f'{{"name":"{MARKER}"}}'.encode()).decode()
    signature = {
        "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.5"}],
        "when": "2018-03-04T05:06:07Z",
        "who": {"display": MARKER},
        "data": data,
    }
    shown = await read_one(tmp_path, role, document(composition(), signature=signature))
    assert "signature" not in shown
    provenance = {
        "resourceType": "Provenance",
        "id": "provenance-1",
        "target": [{"reference": "Patient/patient-1"}],
        "recorded": "2018-03-04T05:06:07Z",
        "agent": [{"who": {"reference": "Practitioner/practitioner-1"}}],
        "signature": [signature],
    }
    assert "signature" not in await read_one(tmp_path, role, provenance)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_tc_10_unknown_types_and_elements_go(role: str, tmp_path: Path) -> None:
    """R-TC-10: what R4 does not define goes for restricted roles."""
    future = {"resourceType": "FutureThing", "id": "f", "name": MARKER}
    patient = {
        "resourceType": "Patient",
        "id": "patient-1",
        "gender": "female",
        "favouriteColour": MARKER,
        "contained": [future],
    }
    shown = await read_one(tmp_path, role, patient)
    assert shown["gender"] == "female"
    bundle = document(composition())
    bundle["entry"].append({"fullUrl": "http://sender.example/FutureThing/f", "resource": future})
    assert len((await read_one(tmp_path, role, bundle))["entry"]) == 1


async def test_r_tc_10_identity_view_preserves_the_unknown(tmp_path: Path) -> None:
    """R-TC-10: the full-access role gets unknown elements and types unchanged."""
    patient = {"resourceType": "Patient", "id": "patient-1", "favouriteColour": MARKER}
    bundle = document({"resourceType": "FutureThing", "id": "f", "name": MARKER})
    first, second = await read(tmp_path, INV, patient, bundle)
    assert first.json["favouriteColour"] == MARKER
    assert second.json["entry"] == bundle["entry"]


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_tc_11_tripwire_finds_names_in_free_text_and_ids(role: str, tmp_path: Path) -> None:
    """R-TC-11: a name that stands in a narrative, a logical id or an extension's URL would be
    caught by the tripwire of the tests, and does not come out."""
    patient = person("Patient", f"patient-{MARKER}-1")
    patient["text"] = narrative()
    patient["extension"] = [extension(f"http://example.org/{MARKER}", valueString="x")]
    secrets = identifying_values(patient)
    assert find_leaks(patient, secrets) >= {MARKER}
    assert find_leaks(await read_one(tmp_path, role, patient), secrets) == set()


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_tc_12_meta_is_made_new(role: str, tmp_path: Path) -> None:
    """R-TC-12: source, tags, foreign labels, profiles, versions go; a label says what was done."""
    patient = {
        "resourceType": "Patient",
        "id": "patient-1",
        "gender": "female",
        "meta": {
            "versionId": "17",
            "lastUpdated": "2018-03-04T05:06:07.089Z",
            "source": f"http://{MARKER}#reqid",
            "profile": [f"http://{MARKER}.example/StructureDefinition/x"],
            "tag": [{"system": "http://example.org", "code": MARKER}],
            "security": [
                {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
            ],
            "extension": [extension("http://example.org/x", valueString=MARKER)],
        },
    }
    meta = (await read_one(tmp_path, role, patient))["meta"]
    (label,) = meta.pop("security")
    assert label["system"] == "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
    assert label["code"] == "PSEUDED"
    assert set(meta) <= ({"lastUpdated"} if role == LDS else set())


def test_restricted_roles_are_those_tested() -> None:
    """The roles of these tests are the two researchers."""
    assert set(RESTRICTED) == {LDS, DEID}
