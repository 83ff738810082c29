"""Batches: each entry the same request sent alone."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.engine.messages import Answer, Ask, Call
from proxy.errors import Unavailable
from tests.engine.playbook import (
    DEID,
    INV,
    LDS,
    ROLES,
    body_of,
    converse,
    drive,
    issue_of,
    make_call,
    ok,
    patient,
    searchset,
    shown_id,
)


def entry(url: str, method: str = "GET", **members: Any) -> dict[str, Any]:
    return {"request": {"method": method, "url": url, **members}}


def bundle_call(
    role: str, *entries: object, kind: str = "batch", **members: object
) -> Call:
    body = {"resourceType": "Bundle", "type": kind, "entry": list(entries), **members}
    return raw_call(role, orjson.dumps(body))


def raw_call(role: str, body: bytes, content_type: str = "application/fhir+json") -> Call:
    return make_call(role, "/", "POST", body, content_type=content_type)


def serve(ask: Ask) -> Answer:
    """An upstream with one patient."""
    if ask.path == "Patient/p1":
        return ok(patient("p1"), etag='W/"3"', last_modified="x")
    if ask.path == "Patient/_search":
        return searchset([patient("p1"), patient("p2")])
    return Answer(404, {}, b"HAPI-2001 Everywoman")


def statuses(bundle: Any) -> list[str]:
    return [e["response"]["status"] for e in bundle["entry"]]


@pytest.mark.parametrize("role", [LDS, DEID])
def test_judged_one_by_one(role: str) -> None:
    """R-BT-1, R-BT-4: entries come back in order; a refused one never reaches the upstream; no
    version, time or real id is in any."""
    p1 = shown_id(role, "Patient", "p1")
    call = bundle_call(
        role, entry(f"Patient/{p1}"), entry("Patient?family=Everywoman"),
        entry("Patient?gender=female"), entry("Patient/never"), entry("Patient/p1"),
    )
    reply, asked = drive(call, serve)
    bundle = body_of(reply)
    assert (reply.status, bundle["type"]) == (200, "batch-response")
    assert statuses(bundle) == [
        "200 OK", "403 Forbidden", "200 OK", "404 Not Found", "404 Not Found",
    ]
    assert [ask.path for ask in asked] == ["Patient/p1", "Patient/_search"]
    assert bundle["entry"][0]["resource"]["id"] == p1
    assert bundle["entry"][1]["response"]["outcome"]["issue"][0]["code"] == "forbidden"
    assert [sorted(e["response"]) for e in bundle["entry"]] == [
        ["etag", "status"], ["outcome", "status"], ["status"], *[["outcome", "status"]] * 2,
    ]
    assert b"Everywoman" not in reply.body
    assert reply.facts.entries == 3
    assert reply.facts.interaction == "batch"


REQUESTS = st.sampled_from(
    ["Patient/{p}", "Patient/p1", "Patient?gender=female", "Patient?family=x", "Patient?_id={p}",
     "Patient/{p}?_elements=gender", "metadata", "Binary/x", "nonsense", "Patient/{p}/_history",
     "$export", "Patient?_count=abc"]
)


@settings(deadline=None)
@given(st.sampled_from(ROLES), st.lists(REQUESTS, max_size=5))
def test_a_batch_equals_its_entries(role: str, urls: list[str]) -> None:
    """R-BT-1: whatever is batched, each entry is answered as it is alone."""
    filled = [url.format(p=shown_id(role, "Patient", "p1")) for url in urls]
    reply, _ = drive(bundle_call(role, *map(entry, filled)), serve)
    entries = body_of(reply).get("entry", [])
    assert len(entries) == len(urls)
    for url, found in zip(filled, entries, strict=True):
        alone, _ = drive(make_call(role, "/" + url), serve)
        assert found["response"]["status"].startswith(str(alone.status))
        body = found["resource"] if alone.status == 200 else found["response"]["outcome"]
        assert body == body_of(alone)
        assert found["response"].get("etag") == dict(alone.headers).get("ETag")


def test_asked_together() -> None:
    """What the entries ask, they ask at once; one that fails, fails alone."""
    one, two = Ask(path="Patient/p1"), Ask(path="Patient/p2")
    turns = ((one, two), (ok(patient("p1")), Answer(error=Unavailable())))
    reply = converse(bundle_call(INV, entry("Patient/p1"), entry("Patient/p2")), turns)
    assert statuses(body_of(reply)) == ["200 OK", "503 Service Unavailable"]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest/meta-data", "http://evil.example/Patient", "//evil.example/x",
     "http://upstream:8080/fhir/Patient/p1", "/Patient/p1", "../x", "Patient/%2e%2e", "?x=y#z"],
)
def test_other_hosts(role: str, url: str) -> None:
    """R-BT-2: an entry's URL is a relative FHIR request; anything else is refused, unasked."""
    reply, asked = drive(bundle_call(role, entry(url)), serve)
    (status,) = statuses(body_of(reply))
    assert status in ("400 Bad Request", "404 Not Found")
    assert asked == []
    assert b"evil" not in reply.body


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_writes_in_batches(role: str, method: str) -> None:
    """R-WR-1, R-BT-6: a write is refused in a batch as it is alone."""
    call = bundle_call(role, {**entry("Patient/p1", method), "resource": patient("p1")})
    reply, asked = drive(call, serve)
    assert statuses(body_of(reply)) == ["405 Method Not Allowed"]
    assert asked == []


@pytest.mark.parametrize(
    ("role", "bad", "status"),
    [(INV, entry("Patient/p1", "PUT"), 405), (INV, entry("Subscription/x"), 403),
     (LDS, entry("Patient?family=x"), 403), (INV, entry("http://evil.example/x"), 400)],
)
def test_transactions_fail_whole(role: str, bad: object, status: int) -> None:
    """R-BT-3: a transaction with a refused part is refused whole, and nothing of it is asked."""
    good = entry(f"Patient/{shown_id(role, 'Patient', 'p1')}")
    reply, asked = drive(bundle_call(role, good, bad, kind="transaction"), serve)
    assert issue_of(reply)[0] == status
    assert asked == []


def test_a_transaction_of_reads() -> None:
    """A transaction of reads is a batch that succeeds or fails as a whole."""
    good = bundle_call(INV, entry("Patient/p1"), entry("Patient"), kind="transaction")
    reply, _ = drive(good, serve)
    assert body_of(reply)["type"] == "transaction-response"
    assert statuses(body_of(reply)) == ["200 OK", "200 OK"]
    bad = bundle_call(INV, entry("Patient/p1"), entry("Patient/p9"), kind="transaction")
    assert issue_of(drive(bad, serve)[0]) == (404, "not-found")


def test_identity_entries_pass_bytes() -> None:
    """R-WR-3: in a batch too, an identity view hands resources on byte for byte."""
    body = b'{ "resourceType":"Patient","id":"p1", "x": 1.10}'
    turn = ((Ask(path="Patient/p1"),), (ok(body),))
    reply = converse(bundle_call(INV, entry("Patient/p1")), turn)
    assert body in reply.body


def test_validators_and_heads() -> None:
    """ifNoneMatch is answered as alone; HEAD has no resource."""
    first, _ = drive(bundle_call(LDS, entry(url := f"Patient/{shown_id(LDS, 'Patient', 'p1')}")),
                     serve)
    etag = body_of(first)["entry"][0]["response"]["etag"]
    call = bundle_call(LDS, entry(url, ifNoneMatch=etag), entry(url, "HEAD"))
    second = body_of(drive(call, serve)[0])
    assert statuses(second) == ["304 Not Modified", "200 OK"]
    assert [sorted(e) for e in second["entry"]] == [["response"], ["response"]]


def test_searches_by_post() -> None:
    """POST _search may stand in a batch, with its parameters in the URL."""
    call = bundle_call(INV, entry("Patient/_search?gender=female", "POST"))
    reply, asked = drive(call, serve)
    assert statuses(body_of(reply)) == ["200 OK"]
    assert asked[0].form is not None
    assert asked[0].form[0] == ("gender", "female")


def test_the_bundle_is_not_sent_on() -> None:
    """R-BT-7: what goes upstream is made from the judged requests; other members count nothing."""
    smuggled = {**entry("Patient/p1"), "fullUrl": "http://evil.example", "resource": patient("p2"),
                "extension": [{"url": "x"}], "link": [{"relation": "x", "url": "y"}]}
    call = bundle_call(INV, smuggled, signature={"data": "AAAA"}, unknown=1)
    reply, asked = drive(call, serve)
    assert asked == [Ask(path="Patient/p1")]
    assert b"evil" not in reply.body


BAD: list[tuple[str, bytes, str, int, str]] = [
    ("no JSON", b"nonsense", "", 400, "structure"),
    ("no object", b"[]", "", 400, "structure"),
    ("no Bundle", b'{"resourceType":"Patient"}', "", 400, "structure"),
    ("a document", b'{"resourceType":"Bundle","type":"document"}', "", 400, "structure"),
    ("no type", b'{"resourceType":"Bundle"}', "", 400, "structure"),
    ("entries that are none", b'{"resourceType":"Bundle","type":"batch","entry":{}}', "", 400,
     "structure"),
    ("an entry that is none", b'{"resourceType":"Bundle","type":"batch","entry":[1]}', "", 400,
     "structure"),
    ("no request", b'{"resourceType":"Bundle","type":"batch","entry":[{}]}', "", 400, "structure"),
    ("no url", b'{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET"}}]}',
     "", 400, "structure"),
    ("a duplicate key", b'{"resourceType":"Bundle","type":"batch","type":"batch"}', "", 400,
     "structure"),
    ("NaN", b'{"resourceType":"Bundle","type":"batch","x":NaN}', "", 400, "structure"),
    ("a byte order mark", b'\xef\xbb\xbf{"resourceType":"Bundle","type":"batch"}', "", 400,
     "structure"),
    *[(f"{n} deep", b'{"resourceType":"Bundle","type":"batch","x":' + b"[" * n + b"]" * n + b"}",
       "", 400, "structure") for n in (300, 500, 1025, 100_000)],
    ("a form", b"a=b", "application/x-www-form-urlencoded", 415, "not-supported"),
    ("no content type", b"{}", "-", 415, "not-supported"),
    ("another charset", b"{}", "application/json; charset=latin1", 415, "not-supported"),
    ("too long", b" " * 10_000_001, "", 413, "too-long"),
]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_bad_bundles(body: bytes, content_type: str, status: int, code: str) -> None:
    """R-DS-1, R-DS-2: what is no batch is refused whole with a clear error."""
    media = {"": "application/fhir+json", "-": ""}.get(content_type, content_type)
    assert issue_of(converse(raw_call(INV, body, media))) == (status, code)


def test_size_limit() -> None:
    """R-BT-5: too many entries are refused before any work is done."""
    assert issue_of(converse(bundle_call(INV, *[entry("Patient/p1")] * 10_001))) == (
        400, "too-costly",
    )


@pytest.mark.parametrize("inner", [{"method": "POST", "url": "/"}, {"method": "POST", "url": "?"}])
def test_no_batch_in_a_batch(inner: dict[str, str]) -> None:
    """A batch is no entry of a batch."""
    reply, asked = drive(bundle_call(INV, {"request": inner}), serve)
    assert statuses(body_of(reply)) == ["400 Bad Request"]
    assert asked == []


@pytest.mark.parametrize(
    ("query", "status"), [("?_pretty=true", 200), ("?_format=xml", 406), ("?x=y", 400)]
)
def test_parameters_of_a_batch(query: str, status: int) -> None:
    """A batch takes its format and nothing else."""
    body = b'{"resourceType":"Bundle","type":"batch","entry":[]}'
    call = make_call(INV, f"/{query}", "POST", body, content_type="application/fhir+json")
    reply = converse(call)
    assert reply.status == status
    assert (b'\n  "type"' in reply.body) is (status == 200)


def test_anonymous_batches() -> None:
    """R-AU-1: without a token a batch is refused as anything else is."""
    call = make_call(None, "/", "POST", b"{}", content_type="application/fhir+json")
    assert converse(call).status == 401
