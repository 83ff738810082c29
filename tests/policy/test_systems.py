"""Which code systems an entry of ``[codes]`` lists."""

from __future__ import annotations

import pytest

from proxy.policy.systems import is_listed
from tests.oracle_facts import is_under

LISTED = [
    ("http://loinc.org", "http://loinc.org"),
    ("http://loinc.org", "http://loinc.org/vs"),
    ("http://loinc.org", "http://loinc.org|2.77"),
    ("http://loinc.org", "http://loinc.org#part"),
    ("http://snomed.info/sct", "http://snomed.info/sct/731000124108"),
    ("http://snomed.info/sct", "http://snomed.info/sct?fhir_vs"),
    ("http://hl7.org/fhir/sid/icd-", "http://hl7.org/fhir/sid/icd-10-cm"),
    ("http://terminology.hl7.org/CodeSystem/", "http://terminology.hl7.org/CodeSystem/v2-0203"),
    ("urn:oid:1.0.3166.1", "urn:oid:1.0.3166.1.2.2"),
    ("urn:oid:2.16.840.1.113883.1.11.", "urn:oid:2.16.840.1.113883.1.11.20275"),
    ("urn:ietf:bcp:47", "urn:ietf:bcp:47"),
    ("urn:iso:std:iso:3166", "urn:iso:std:iso:3166:-2"),
    ("urn:iso:std:", "urn:iso:std:iso:3166"),
]
UNLISTED = [
    ("http://loinc.org", "http://loinc.org.stmary.example/mrn"),
    ("http://loinc.org", "http://loinc.org:8080/mrn"),
    ("http://loinc.org", "http://loinc.org@stmary.example/mrn"),
    ("http://loinc.org", "http://loinc.org-stmary.example"),
    ("http://loinc.org", "http://loinc.org\n"),
    ("http://loinc.org", "https://loinc.org"),
    ("http://loinc.org", "http://loinc"),
    ("http://loinc.org", ""),
    ("http://snomed.info/sct", "http://snomed.info/sct-local"),
    ("http://snomed.info/sct", "http://snomed.info/sctx/1"),
    ("urn:ietf:bcp:47", "urn:ietf:bcp:47x"),
    ("urn:ietf:bcp:47", "urn:ietf:bcp:47.1"),
    ("urn:oid:2.16.840.1.113883.6.4", "urn:oid:2.16.840.1.113883.6.42"),
    ("urn:oid:2.16.840.1.113883.6.4", "urn:oid:2.16.840.1.113883.6.4:1"),
    ("urn:oid:2.16.840.1.113883.6.4", "urn:oid:2.16.840.1.113883.6.4/1"),
]


@pytest.mark.parametrize(
    ("entry", "system", "listed"),
    [(*p, True) for p in LISTED] + [(*p, False) for p in UNLISTED],
)
def test_an_entry_lists_a_system_and_what_is_below_it(
    entry: str, system: str, listed: bool
) -> None:
    """An entry is a system with what is below it; one that ends in / . : or - a beginning."""
    assert is_listed(system, (entry,)) is listed
    assert is_listed(system, ("http://other.example", entry)) is listed
    assert is_under(system, entry) is listed
    assert not is_listed(system, ())
