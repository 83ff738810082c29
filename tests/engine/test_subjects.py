"""Which patients a resource is about, for the audit: found by reading, failing on nothing."""

from __future__ import annotations

import pytest

from proxy.engine.subjects import patients_of
from proxy.fhir.codec import encode
from proxy.fhir.reference import Bases

BASES = Bases("http://up/fhir", ["https://ehr.example/r4"])
ONE = "http://up/fhir/Patient/1"

ROWS: list[tuple[str, object, list[str]]] = [
    ("itself", {"resourceType": "Patient", "id": "1"}, [ONE]),
    ("subject", {"resourceType": "Observation", "subject": {"reference": "Patient/1"}}, [ONE]),
    ("patient", {"resourceType": "Immunization", "patient": {"reference": ONE}}, [ONE]),
    ("alias", {"resourceType": "Condition",
               "subject": {"reference": "https://ehr.example/r4/Patient/1"}}, [ONE]),
    ("a version", {"resourceType": "Condition",
                   "subject": {"reference": "Patient/1/_history/2"}}, [ONE]),
    ("elsewhere", {"resourceType": "Condition",
                   "subject": {"reference": "http://other/Patient/1"}}, ["http://other/Patient/1"]),
    ("a group", {"resourceType": "Condition", "subject": {"reference": "Group/1"}}, []),
    ("a urn", {"resourceType": "Condition", "subject": {"reference": "urn:uuid:a"}}, []),
    ("no reference", {"resourceType": "Condition", "subject": {"display": "x"}}, []),
    ("an odd subject", {"resourceType": "Condition", "subject": [1]}, []),
    ("a number for a reference", {"resourceType": "Condition", "subject": {"reference": 1}}, []),
    ("nobody", {"resourceType": "ValueSet"}, []),
    ("a document", {"resourceType": "Bundle", "entry": [
        {"fullUrl": "http://up/fhir/Composition/c", "resource": {"resourceType": "Composition"}},
        {"fullUrl": ONE, "resource": {"resourceType": "Patient", "id": "1"}},
        {"fullUrl": "urn:uuid:ab", "resource": {"resourceType": "Patient"}},
        {"resource": {"resourceType": "Patient", "id": "7"}},
        {"resource": {"resourceType": "Observation", "code": {"text": "Patient"}}},
    ]}, [ONE, "urn:uuid:ab", "http://up/fhir/Patient/7"]),
    ("an empty document", {"resourceType": "Bundle"}, []),
    ("odd entries", {"resourceType": "Bundle", "entry": {"x": 1}}, []),
    ("an odd entry", {"resourceType": "Bundle", "entry": [
        {"resource": {"resourceType": "Patient", "id": 1}}]}, []),
]


@pytest.mark.parametrize(("resource", "found"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS])
def test_patients(resource: object, found: list[str]) -> None:
    """The patient is the resource, or what its subject, patient or a like element refers to; of a
    document each of its patients."""
    assert patients_of(encode(resource), BASES) == found


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b'{"resourceType":7}', b'{"id":"1"}'])
def test_anything(body: bytes) -> None:
    """What cannot be read names nobody."""
    assert patients_of(body, BASES) == []
