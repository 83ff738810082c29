"""What the guide leaves open is closed, and what it masks is masked, one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.ecr.showing import LOINC, MASKED, show

# What is stored, what of it must be gone, what shows.
GAPS: dict[str, tuple[dict[str, Any], list[str], dict[str, Any]]] = {
    "nested displays": (
        {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"},
         "participant": [{"individual": {"reference": "Practitioner/1", "display": "Dr. Nested"}}],
         "location": [{"location": {"reference": "Location/1", "display": "12 Nested Street"}}],
         "subject": {"display": "Nora Nested"},
         "identifier": [{"system": "urn:x:visits", "value": "V-9",
                         "assigner": {"display": "Nested Clinic"}}]},
        ["Nested"], {"identifier": [{"system": "urn:x:visits", "value": "V-9"}]},
    ),
    "displays in sections and extensions": (
        {"resourceType": "Composition", "status": "final", "date": "2020", "title": "Nora Nested",
         "type": {"coding": [{"system": LOINC, "code": "55751-2", "display": "Nested"}]},
         "author": [{"reference": "Practitioner/1", "display": "Dr. Nested"}],
         "extension": [{"url": "http://hl7.org/fhir/us/ecr/StructureDefinition/"
                               "us-ph-information-recipient-extension",
                        "valueReference": {"reference": "Practitioner/1", "display": "Nested"}}],
         "section": [{"title": "Results", "code": {"coding": [{"system": LOINC,
                                                               "code": "30954-2"}]},
                      "entry": [{"reference": "Observation/1", "display": "Nested 2018-01"}]}]},
        ["Nested"], {"title": "Public health Case report"},
    ),
    "two-line addresses and ZIP+4": (
        {"resourceType": "Patient",
         "address": [{"line": ["9 Lined Rd", "Apt Lined"], "text": "9 Lined Rd, Atlanta",
                      "city": "Atlanta", "district": "Fulton", "state": "GA",
                      "postalCode": "30302-1234", "country": "US",
                      "period": {"start": "2001"},
                      "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/geolocation",
                                     "extension": [{"url": "latitude", "valueDecimal": 33.71}]}]}]},
        ["Lined", "1234", "2001", "33.71"],
        {"address": [{"line": [None, None], "_line": [MASKED, MASKED], "city": "Atlanta",
                      "district": "Fulton", "state": "GA", "postalCode": "30300",
                      "country": "US"}]},
    ),
    "areas where few live": (
        {"resourceType": "Patient", "address": [{"postalCode": "03601"}]}, ["036"],
        {"address": [{"postalCode": "00000"}]},
    ),
    "family names of relatives": (
        {"resourceType": "RelatedPerson", "patient": {"reference": "Patient/1"}, "gender": "female",
         "identifier": [{"system": "urn:x:mrn", "value": "77"}], "birthDate": "1950-01-02",
         "name": [{"family": "Relative", "given": ["Rhea"]}], "photo": [{"title": "Relative"}],
         "telecom": [{"system": "phone", "value": "555-0199", "use": "home"}],
         "address": [{"city": "Relativeville"}],
         "relationship": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/"
                                                 "v3-RoleCode", "code": "MTH"}]}]},
        ["Relative", "Rhea", "77", "1950", "0199"],
        {"identifier": [MASKED], "name": [MASKED], "telecom": [MASKED], "address": [MASKED],
         "_birthDate": MASKED, "gender": "female"},
    ),
    "identifiers of the patient": (
        {"resourceType": "Patient", "identifier": [
            {"use": "usual", "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/"
             "v2-0203", "code": "MR", "display": "Named"}], "text": "Named"}, "system": "urn:named",
             "value": "Named-1", "period": {"start": "2009"}, "assigner": {"display": "Named"}}]},
        ["Named", "named", "2009"],
        {"identifier": [{"use": "usual", "type": {"coding": [
            {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
            "_system": MASKED, "_value": MASKED}]},
    ),
    "guardians": (
        {"resourceType": "Patient", "photo": [{"data": "AAAA", "title": "Guardian"}],
         "link": [{"other": {"reference": "Patient/9"}, "type": "seealso"}],
         "contact": [{"relationship": [{"coding": [{"system": "http://terminology.hl7.org/"
                      "CodeSystem/v3-RoleClass", "code": "GUARD", "display": "Guardian"}]}],
                      "name": {"family": "Guardian"}, "telecom": [{"value": "555-0144"}],
                      "address": {"line": ["1 Guardian St"]}, "gender": "male",
                      "organization": {"display": "Guardian Ltd"}, "period": {"start": "2003"}}]},
        ["Guardian", "0144", "male", "2003", "AAAA", "Patient/9"],
        {"contact": [{"relationship": [{"coding": [{"system": "http://terminology.hl7.org/"
                      "CodeSystem/v3-RoleClass", "code": "GUARD"}]}],
                      "name": MASKED, "telecom": [MASKED], "address": MASKED}]},
    ),
    "births": (
        {"resourceType": "Patient", "birthDate": "1974-11-24", "deceasedDateTime": "2020-02-03",
         "_birthDate": {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/"
                                              "patient-birthTime",
                                       "valueDateTime": "1974-11-24T08:09:00Z"}]},
         "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace",
                        "valueAddress": {"city": "Birthtown"}}]},
        ["1974", "Birthtown"], {"_birthDate": MASKED, "deceasedDateTime": "2020-02-03"},
    ),
    "birth dates as findings": (
        {"resourceType": "Observation", "status": "final", "valueDateTime": "2018-05-01",
         "code": {"coding": [{"system": LOINC, "code": "82810-3"}]},
         "component": [{"code": {"coding": [{"system": LOINC, "code": "21112-8"}]},
                        "valueDateTime": "1974-11-24"},
                       {"code": {"coding": [{"system": LOINC, "code": "57064-8"}]},
                        "valueDateTime": "2018-05-01"}]},
        ["1974"], {"valueDateTime": "2018-05-01"},
    ),
    "free-text values": (
        {"resourceType": "Observation", "status": "final", "valueString": "Freetext 12 Elm",
         "code": {"text": "Freetext", "coding": [{"system": LOINC, "code": "8480-6",
                                                  "display": "Freetext"}]},
         "note": [{"text": "Freetext"}], "interpretation": [{"text": "Freetext"}],
         "referenceRange": [{"text": "Freetext"}], "bodySite": {"text": "Freetext"},
         "component": [{"code": {"text": "Freetext"}, "valueString": "Freetext"}]},
        ["Freetext"], {"status": "final"},
    ),
    "conclusions and attachments": (
        {"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "Freetext"},
         "conclusion": "Freetext", "presentedForm": [{"data": "RnJlZQ==", "title": "Freetext"}],
         "conclusionCode": [{"text": "Freetext"}]},
        ["Freetext", "RnJlZQ"], {"status": "final"},
    ),
    "dosage texts": (
        {"resourceType": "MedicationAdministration", "status": "completed",
         "medicationCodeableConcept": {"text": "Freetext"}, "subject": {"reference": "Patient/1"},
         "effectiveDateTime": "2020-02-03", "note": [{"text": "Freetext"}],
         "dosage": {"text": "Freetext", "dose": {"value": 1, "unit": "mL"}}},
        ["Freetext"], {"effectiveDateTime": "2020-02-03"},
    ),
    "reasons and descriptions": (
        {"resourceType": "DocumentReference", "status": "current", "description": "Freetext",
         "content": [{"attachment": {"data": "RnJlZQ==", "url": "http://x/Freetext"}}],
         "extension": [{"url": "http://hl7.org/fhir/us/ecr/StructureDefinition/"
                               "us-ph-initiation-reason-extension", "valueString": "Freetext"}]},
        ["Freetext", "RnJlZQ"], {"status": "current"},
    ),
    "serial numbers": (
        {"resourceType": "Device", "serialNumber": "SN-77", "lotNumber": "LOT-77",
         "distinctIdentifier": "DI-77", "identifier": [{"value": "ID-77"}],
         "udiCarrier": [{"deviceIdentifier": "UDI-77", "carrierHRF": "(21)77"}],
         "deviceName": [{"name": "Pump-77", "type": "user-friendly-name"}]},
        ["77"], {},
    ),
    "sources": (
        {"resourceType": "Condition", "subject": {"reference": "Patient/1"},
         "meta": {"source": "#Sourced", "lastUpdated": "2020-12-01T07:17:32Z",
                  "tag": [{"code": "Sourced"}]}},
        ["Sourced", "2020-12"], {},
    ),
    "narratives, contained too": (
        {"resourceType": "Condition",
         "text": {"status": "additional", "div": "<div>Narrated</div>"},
         "subject": {"reference": "Patient/1"}, "asserter": {"reference": "#p"},
         "contained": [{"resourceType": "Practitioner", "id": "p", "name": [{"family": "Narrated"}],
                        "text": {"status": "generated", "div": "<div>Narrated</div>"}}]},
        ["Narrated"],
        {"text": {**MASKED, "status": "empty",
                  "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>MASKED</p></div>'}},
    ),
    "providers": (
        {"resourceType": "Practitioner", "name": [{"family": "Provider", "given": ["P"]}],
         "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "9941339108"},
                        {"system": "urn:x:dea", "value": "Provider-5"}],
         "telecom": [{"value": "Provider"}], "address": [{"line": ["1 Provider St"]}],
         "qualification": [{"code": {"text": "Provider"}, "identifier": [{"value": "L-55"}]}]},
        ["Provider", "L-55"],
        {"name": [{**MASKED, "_family": MASKED}], "telecom": [MASKED], "address": [MASKED]},
    ),
    "who told of a job": (
        {"resourceType": "Observation", "status": "final",
         "code": {"coding": [{"system": LOINC, "code": "11341-5"}]},
         "performer": [{"reference": "Practitioner/9"}]},
        ["performer"], {"status": "final"},
    ),
    "who vaccinated": (
        {"resourceType": "Immunization", "status": "completed", "vaccineCode": {"coding": [
            {"system": "http://hl7.org/fhir/sid/cvx", "code": "33"}]}, "lotNumber": "M320",
         "patient": {"reference": "Patient/1"}, "occurrenceDateTime": "2020-02-03",
         "performer": [{"actor": {"reference": "Practitioner/9"}}]},
        ["performer"], {"lotNumber": "M320", "occurrenceDateTime": "2020-02-03"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("gap", GAPS)
def test_gaps_are_closed(gap: str) -> None:
    """What the guide leaves open, or a profile masks, does not show; what stands beside it does."""
    stored, gone, kept = GAPS[gap]
    shown = show({**stored, "id": "real-Id-of-Eve"})
    text = json.dumps(shown)
    assert [word for word in (*gone, "real-Id-of-Eve") if word in text] == []
    assert {name: shown.get(name) for name in kept} == kept


@pytest.mark.parametrize("code", ["21112-8", "76689-9", "8339-4", "9272-6"])
def test_findings_dated_by_the_birth_are_not_there(code: str) -> None:
    """What states the date of birth, or is dated by it, does not exist in the view."""
    coded = {"coding": [{"system": LOINC, "code": code}]}
    stored = {"resourceType": "Observation", "status": "final", "code": coded}
    assert show({**stored, "effectiveDateTime": "1974-11-24"}) is None
