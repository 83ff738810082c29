"""The identity view's one change: absolute references, in place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.fhir.reference import Bases
from proxy.fhir.splice import rebase_references

BASES = Bases("http://up:8080/fhir", ["https://ehr.example/r4"])


def rebase(text: str) -> str | None:
    return BASES.rebase(text, "https://public.example/fhir")


CASES = [
    ("a lone surrogate stays", rb'{"reference":"h\ud800","\ud800":1}', None),
    ("relative stays", b'{"subject":{"reference":"Patient/1"}}', None),
    (
        "absolute moves",
        b'{"subject" : { "reference" :\n"http://up:8080/fhir/Patient/1" },"x":1.10}',
        b'{"subject" : { "reference" :\n"https://public.example/fhir/Patient/1" },"x":1.10}',
    ),
    (
        "alias, capitals, escapes",
        rb'{"a":{"reference":"https:\/\/EHR.example\/r4\/Patient\/1"},"b":"\u00e9\/"}',
        rb'{"a":{"reference":"https://public.example/fhir/Patient/1"},"b":"\u00e9\/"}',
    ),
    (
        "escaped key",
        rb'{"a":{"\u0072eference":"http://up:8080/fhir/Patient/1"}}',
        rb'{"a":{"\u0072eference":"https://public.example/fhir/Patient/1"}}',
    ),
    ("foreign stays", b'{"a":{"reference":"http://up:8081/fhir/Patient/1"}}', None),
    ("other members stay", b'{"url":"http://up:8080/fhir/Patient/1","reference":"http://x/y"}',
     None),
    (
        "text that looks like one stays",
        rb'{"div":"\"reference\":\"http://up:8080/fhir/Patient/1\"","reference":["http://x/"]}',
        None,
    ),
    ("a value is not a key", b'{"a":"reference","b":"http://up:8080/fhir/Patient/1"}', None),
    ("an object is not a string", b'{"reference":{"x":"http://up:8080/fhir/Patient/1"},'
     b'"a":{"reference":"http://z/"}}', None),
    (
        "stored documents stay",
        b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Observation",'
        b'"subject":{"reference":"http://up:8080/fhir/Patient/1"}}}]}',
        None,
    ),
    (
        "a document within stays, its neighbours move",
        b'{"a":[{"reference":"http://up:8080/fhir/Patient/1"},{"entry":[{"reference":'
        b'"http://up:8080/fhir/Patient/2"}],"resourceType":"Bundle"},'
        b'{"reference":"http://up:8080/fhir/Patient/3"}]}',
        b'{"a":[{"reference":"https://public.example/fhir/Patient/1"},{"entry":[{"reference":'
        b'"http://up:8080/fhir/Patient/2"}],"resourceType":"Bundle"},'
        b'{"reference":"https://public.example/fhir/Patient/3"}]}',
    ),
]


@pytest.mark.parametrize(("body", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_references(body: bytes, expected: bytes | None) -> None:
    """R-WR-3: only references under an upstream base change; all other bytes stay."""
    assert rebase_references(body, rebase) == (body if expected is None else expected)


JSON = st.recursive(
    st.text() | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.text() | st.sampled_from(["reference", "resourceType"]),
        inner | st.sampled_from(["Bundle", "http://elsewhere.example/Patient/1"]),
    ),
)


@settings(deadline=None)
@given(JSON)
def test_untouched(value: object) -> None:
    """Without a reference to the upstream, any JSON comes back as the same bytes."""
    body = json.dumps({"v": value}).encode()
    assert rebase_references(body, rebase) == body
