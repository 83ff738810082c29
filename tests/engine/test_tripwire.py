"""A removed identifier that still stands in a shown text or id is counted, in any encoding."""

from __future__ import annotations

from base64 import b64encode

import pytest

from proxy.engine.tripwire import alarm, hits, identifiers
from proxy.fhir.codec import Json, JsonObject

PATIENT: JsonObject = {
    "resourceType": "Patient",
    "id": "eve-1985",
    "name": [{"family": "Everywoman", "given": ["Eve", "Ann Marie"]}],
    "identifier": [{"system": "http://hosp.example.org/mrn", "value": "MRN-778899"}],
    "telecom": [{"system": "phone", "value": "+1 (404) 555-1212"}],
    "address": [{"line": ["5101 Peachtree St NE"], "city": "Atlanta", "state": "GA"}],
}


def test_what_identifies_directly() -> None:
    """Names of four letters or more, identifier values, telecoms, street lines and ids; not what
    a policy may show of an address, not short names."""
    assert identifiers(PATIENT) == {
        "eve-1985", "everywoman", "marie", "mrn-778899", "+1 (404) 555-1212",
        "5101 peachtree st ne",
    }


def test_resources_inside_count() -> None:
    """Entries and contained resources give their identifiers too; public releases give none."""
    bundle: JsonObject = {
        "resourceType": "Bundle",
        "entry": [
            {"resource": PATIENT},
            {"resource": {"resourceType": "ValueSet", "id": "some-release"}},
            {"resource": {"resourceType": "Patient", "contained": [PATIENT]}},
        ],
    }
    assert identifiers(bundle) == identifiers(PATIENT)


DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'


@pytest.mark.parametrize(
    ("shown", "count"),
    [
        ({"resourceType": "Patient", "text": {"div": DIV.format("Eve EVERYWOMAN")}}, 1),
        ({"resourceType": "Patient", "text": {"div": DIV.format("Ever&#121;woman")}}, 1),
        ({"resourceType": "Patient", "id": "patient-everywoman"}, 1),
        ({"resourceType": "Patient", "link": [{"other": {"reference": "Patient/eve-1985"}}]}, 1),
        ({"resourceType": "Patient", "extension": [{"url": "http://x.org/Everywoman"}]}, 1),
        ({"resourceType": "Patient", "implicitRules": "http://x.org/%45verywoman"}, 1),
        (
            {
                "resourceType": "Patient",
                "photo": [{"data": b64encode(b"name: Everywoman").decode()}],
            },
            1,
        ),
        ({"resourceType": "Patient", "address": [{"city": "Everywomanville"}]}, 0),
        ({"resourceType": "Patient", "gender": "everywoman"}, 0),
        ({"resourceType": "Patient", "address": [{"city": "Atlanta"}]}, 0),
    ],
    ids=["narrative", "entity", "id", "reference", "extension URL", "percent", "base64",
         "part of a word", "a code", "what may show"],
)
def test_carriers(shown: Json, count: int) -> None:
    """Free texts, ids, references and URLs are looked at, whole words only; codes are not."""
    assert hits(shown, identifiers(PATIENT)) == count


def test_what_still_shows_is_no_alarm() -> None:
    """What the view shows in its place was not removed."""
    assert alarm(PATIENT, PATIENT) == 0
    shown: JsonObject = {"resourceType": "Patient", "id": "p", "address": [{"text": "Everywoman"}]}
    assert alarm(PATIENT, shown) == 1
    assert alarm(PATIENT, None) == 0


@pytest.mark.parametrize(
    "broken",
    [None, [], "text", {"resourceType": 3}, {"resourceType": "Patient", "name": "x"},
     {"resourceType": "Patient", "name": [{"given": {"a": 1}}], "id": ["abcd"]}],
)
def test_malformed_content_is_no_crash(broken: Json) -> None:
    """What has the wrong shape holds nothing that can be compared."""
    assert identifiers(broken) == frozenset()
    assert hits(broken, frozenset({"everywoman"})) == 0
