"""What of a shown resource the client asked for."""

from __future__ import annotations

import re

import pytest

from proxy.engine.messages import Answer, Ask
from proxy.engine.projection import Projection, accepts_json, parse_projection, prettify
from proxy.errors import BadValue, NotAcceptable, ProxyError
from proxy.fhir.codec import JsonObject, decode, encode
from tests.engine.playbook import INV, drive, make_call

TAG = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "subsetted",
}
OBSERVATION: JsonObject = {
    "resourceType": "Observation",
    "id": "o1",
    "meta": {"security": [{"code": "PSEUDED"}]},
    "text": {"status": "empty", "div": "<div/>"},
    "modifierExtension": [{"url": "http://x", "valueCode": "y"}],
    "status": "final",
    "code": {"text": "c"},
    "valueQuantity": {"value": 1},
    "_issued": {"extension": []},
    "note": [{"text": "n"}],
    "component": [{"code": {"text": "d"}, "valueString": "v", "interpretation": [{"text": "i"}]}],
}
ALWAYS = ["resourceType", "id", "meta", "modifierExtension"]

ROWS = [
    ("_elements=value", ["status", "code", "valueQuantity"]),
    ("_elements=value[x]", ["status", "code", "valueQuantity"]),
    ("_elements=valueQuantity", ["status", "code", "valueQuantity"]),
    ("_elements=Observation.note", ["status", "code", "note"]),
    ("_elements=issued,note", ["status", "code", "_issued", "note"]),
    ("_elements=subject", ["status", "code"]),
    ("_summary=text", ["text", "status", "code"]),
    ("_summary=data", ["status", "code", "valueQuantity", "_issued", "note", "component"]),
    ("_summary=true", ["status", "code", "valueQuantity", "_issued", "component"]),
]


def project(query: str) -> Projection:
    return parse_projection([tuple(query.split("=", 1))], "Observation")  # type: ignore[list-item]


@pytest.mark.parametrize(("query", "names"), ROWS, ids=[row[0] for row in ROWS])
def test_kept(query: str, names: list[str]) -> None:
    """Elements asked for stay, with mandatory and modifying ones; the rest goes; SUBSETTED is
    added to the labels and takes none away (R-TC-12)."""
    shown = project(query).apply(OBSERVATION)
    assert sorted(shown) == sorted(ALWAYS + names)
    assert shown["meta"] == {"security": [{"code": "PSEUDED"}], "tag": [TAG]}
    assert list(shown)[:3] == ["resourceType", "id", "meta"]


def test_summary_reaches_backbones_and_nested_resources() -> None:
    """_summary=true prunes backbone elements and the resources in a Bundle by their own types."""
    shown = project("_summary=true").apply(OBSERVATION)
    assert shown["component"] == [{"code": {"text": "d"}, "valueString": "v"}]
    bundle: JsonObject = {"resourceType": "Bundle", "type": "document", "entry": [
        {"fullUrl": "urn:uuid:a", "resource": OBSERVATION}]}
    nested = parse_projection([("_summary", "true")], "Bundle").apply(bundle)
    assert "note" not in str(nested)
    assert "valueQuantity" in str(nested)


@pytest.mark.parametrize("query", ["_summary=false", "_pretty=true", "_format=json"])
def test_unchanged(query: str) -> None:
    """Without a projection the very same resource comes back, unlabelled."""
    assert project(query).apply(OBSERVATION) is OBSERVATION


BAD: list[tuple[list[tuple[str, str]], type[ProxyError]]] = [
    ([("_elements", "nonsense")], BadValue),
    ([("_elements", "")], BadValue),
    ([("_elements", "note.text")], BadValue),
    ([("_summary", "yes")], BadValue),
    ([("_summary", "true"), ("_summary", "text")], BadValue),
    ([("_summary", "true"), ("_elements", "note")], BadValue),
    ([("_pretty", "1")], BadValue),
    ([("_format", "xml")], NotAcceptable),
    ([("_format", "html/json")], NotAcceptable),
    ([("_format", "ttl")], NotAcceptable),
    ([("_format", "application/fhir+xml")], NotAcceptable),
]


@pytest.mark.parametrize(("pairs", "error"), BAD, ids=[str(row[0]) for row in BAD])
def test_bad(pairs: list[tuple[str, str]], error: type[ProxyError]) -> None:
    """R-RT-7, R-SP-6: malformed values are refused with a fixed text."""
    with pytest.raises(error) as raised:
        parse_projection(pairs, "Observation")
    assert "nonsense" not in raised.value.text


@pytest.mark.parametrize(
    ("accept", "admits"),
    [
        ("", True), ("*/*", True), ("application/fhir+json", True), ("application/json", True),
        ("application/*;q=0.5", True), ("text/html, application/fhir+json;q=0.1", True),
        ("application/fhir+xml, */*;q=0.1", True), ("application/FHIR+JSON", True),
        ("application/fhir+json; fhirVersion=4.0", True),
        ("application/fhir+xml", False), ("text/html", False), ("image/png", False),
        ("application/fhir+json;q=0", False), ("application/fhir+ndjson", False),
        ("application/fhir+json; fhirVersion=3.0", False), ("nonsense", False),
    ],
)
def test_accept(accept: str, admits: bool) -> None:
    """R-RT-7: JSON is given to those who take it, others get 406."""
    assert accepts_json(accept) is admits


def test_pretty_keeps_numbers() -> None:
    """R-DS-3: indenting changes blanks alone."""
    body = b'{"a":1.10,"b":[0.00,1E2],"c":123456789012345678901234567890}'
    pretty = prettify(body)
    assert pretty.startswith(b'{\n  "a": 1.10,')
    assert encode(decode(pretty)) == body


EXACT = (
    b'{"resourceType":"Patient","id":"p","a":1.10,"b":1E2,"c":-0.0,"d":-0,'
    rb'"e":123456789012345678901234567890,"f":"\u00e9\/","a":1.100,"g":[],"h":{}}'
)


@pytest.mark.parametrize("target", ["/Patient/p", "/Patient", "/Patient/p/_history",
                                    "/Patient/p/$everything"])
def test_pretty_changes_blanks_alone(target: str) -> None:
    """``_pretty`` in the identity view keeps every token: numbers as written, escapes, a name that
    stands twice."""

    def serve(ask: Ask) -> Answer:
        if ask.path == "Patient/p":
            return Answer(200, {}, EXACT)
        kind = "history" if "_history" in ask.path else "searchset"
        head = b'{"resourceType":"Bundle","type":"%b","entry":[{"resource":' % kind.encode()
        request = b',"request":{"method":"PUT","url":"Patient/p"}' if kind == "history" else b""
        return Answer(200, {}, head + EXACT + request + b"}]}")

    reply, _ = drive(make_call(INV, f"{target}?_pretty=true"), serve)
    assert b"\n" in reply.body
    assert EXACT in re.sub(rb"\s", b"", reply.body)
