"""What the policy for anonymized eICRs shows, as plain JSON; small documents for it."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from proxy.fhir.codec import decode, encode
from tests.views import ANON, TODAY, UPSTREAM, Case

DAR = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
MASKED = {"extension": [{"url": DAR, "valueCode": "masked"}]}
EMPLOYER = "http://hl7.org/fhir/us/odh/StructureDefinition/odh-Employer-extension"
LOINC = "http://loinc.org"


def show(resource: Any, today: date = TODAY) -> Any:
    """What the policy shows of a resource on a civil day; None if it does not show."""
    shown = Case(ANON, today=today).reveal(decode(json.dumps(resource).encode()))
    return None if shown is None else json.loads(encode(shown))


def entry(document: Any, kind: str) -> list[Any]:
    return [e["resource"] for e in document["entry"] if e["resource"]["resourceType"] == kind]


def document_of(patient: dict[str, Any], *entries: dict[str, Any], **composition: Any) -> Any:
    """A small eICR with the entries given, each in a Plan of Treatment; their ids are e0, e1…"""
    held: list[dict[str, Any]] = [
        {"resourceType": "Composition", "id": "c", "status": "final", "date": "2020-02-03",
         "type": {"coding": [{"system": LOINC, "code": "55751-2"}]}, "title": "eICR",
         "identifier": {"value": "doc-1"}, "subject": {"reference": "Patient/p"},
         "author": [{"reference": "Patient/p"}],
         "section": [{"title": "Plan", "code": {"coding": [{"system": LOINC, "code": "18776-5"}]},
                      "entry": [{"reference": f"{e['resourceType']}/{e['id']}"} for e in entries
                                if e["resourceType"] == "Observation"]}], **composition},
        {"resourceType": "Patient", "id": "p", **patient}, *entries,
    ]  # fmt: skip
    return {"resourceType": "Bundle", "id": "b", "type": "document",
            "identifier": {"value": "b-1"}, "timestamp": "2020-02-03T00:00:00Z",
            "entry": [{"fullUrl": f"{UPSTREAM}/{r['resourceType']}/{r['id']}", "resource": r}
                      for r in held]}  # fmt: skip


def ages(document: Any) -> list[Any]:
    return [o for o in entry(document, "Observation") if '"29553-5"' in json.dumps(o["code"])]


def organization(id: str, **members: Any) -> dict[str, Any]:
    return {"resourceType": "Organization", "id": id, "name": f"Name of {id}",
            "telecom": [{"system": "phone", "value": "555-0100"}],
            "identifier": [{"system": "urn:x:ein", "value": f"ein-{id}"}],
            "address": [{"line": ["1 Works Rd"], "postalCode": "48104"}], **members}  # fmt: skip


def job(employer: str, **members: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": "job", "status": "final",
            "code": {"coding": [{"system": LOINC, "code": "11341-5"}]},
            "extension": [{"url": EMPLOYER, "valueReference": {"reference": employer}}],
            **members}  # fmt: skip


def lab(organization: str) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": "lab", "status": "final",
            "code": {"coding": [{"system": LOINC, "code": "80825-3"}]},
            "performer": [{"reference": organization}]}  # fmt: skip
