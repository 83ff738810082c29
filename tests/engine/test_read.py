"""Reads, as conversations with the upstream."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.engine.flow import exchange
from proxy.engine.gateway import Limits
from proxy.engine.messages import Answer, Ask
from proxy.errors import Unavailable, UpstreamIncomplete, UpstreamTimeout
from tests.engine.playbook import (
    DEID,
    INV,
    LDS,
    PUBLIC,
    ROLES,
    UPSTREAM,
    WITHHOLDING,
    body_of,
    caller,
    converse,
    gateway,
    issue_of,
    make_call,
    namer,
    ok,
    patient,
    shown_id,
)

ASK = Ask(path="Patient/p1")
RESTRICTED = (LDS, DEID)


def target(role: str, id_: str = "p1", type_: str = "Patient") -> str:
    return f"/{type_}/{shown_id(role, type_, id_)}"


def test_restricted_read() -> None:
    """The pseudonym is decoded, the real id asked for, the view shown under the pseudonym."""
    reply = converse(
        make_call(DEID, target(DEID)), (ASK, ok(patient("p1"), etag='W/"3"', last_modified="x"))
    )
    assert reply.status == 200
    shown = body_of(reply)
    assert shown["id"] == shown_id(DEID, "Patient", "p1")
    assert shown["birthDate"] == "1974"
    assert b"Everywoman" not in reply.body
    assert [name for name, _ in reply.headers] == ["ETag"]


def test_identity_read_passes_bytes() -> None:
    """R-WR-3, R-DS-3: the body is the upstream's, byte for byte; R-HV-4: version and time are
    told in headers, at our base."""
    body = (
        b'{ "resourceType":"Patient",\n"id":"p1","meta":{"versionId":"3"}, "x":[1.10,0.00,1E2,-0.0,'
        b'123456789012345678901234567890],"_birthDate":null,"y":"\\u00e9\\/","y":"" }'
    )
    answer = ok(body, last_modified="Sun, 01 Mar 2026 05:06:07 GMT")
    reply = converse(make_call(INV, "/Patient/p1"), (ASK, answer))
    assert reply.body == body
    assert dict(reply.headers) | {"ETag": ""} == {
        "ETag": "",
        "Last-Modified": "Sun, 01 Mar 2026 05:06:07 GMT",
        "Content-Location": f"{PUBLIC}/Patient/p1/_history/3",
    }


@pytest.mark.parametrize(("given", "told"), [
    ("Sun, 01 Mar 2026 05:06:07 GMT", "Sun, 01 Mar 2026 05:06:07 GMT"),
    ("Sunday, 01-Mar-26 05:06:07 GMT", "Sun, 01 Mar 2026 05:06:07 GMT"),
    ("Sun, 01 Mar 2026 07:06:07 +0200 (x)", "Sun, 01 Mar 2026 05:06:07 GMT"),
    *((text, None) for text in ("a\x0bX", "ZMARKZ", "", "3", "Sun, 99 Mar 2026 05:06:07 GMT",
                                "Sun, 01 Mar 99999999 05:06:07 GMT", "\u0661", "01 Mar",
                                "Fri, 31 Dec 9999 23:59:59 -2359")),
])  # fmt: skip
def test_identity_read_writes_the_time_anew(given: str, told: str | None) -> None:
    """A header of the upstream is no text of ours: its time is read and written, or left out."""
    reply = converse(make_call(INV, "/Patient/p1"), (ASK, ok(patient("p1"), last_modified=given)))
    assert reply.status == 200
    assert dict(reply.headers).get("Last-Modified") == told


def test_identity_read_rebases_references() -> None:
    """R-RT-4: a reference under an upstream base leads to us; nothing else changes."""
    body = (
        b'{"resourceType":"Observation","id":"o1","subject":{"reference":"%s/Patient/p1"},'
        b'"focus":[{"reference":"https://ehr.example/r4/Patient/p2"}],"note":"%s/Patient/p1"}'
    )
    up, ours = UPSTREAM.encode(), PUBLIC.encode()
    reply = converse(
        make_call(INV, "/Observation/o1"), (Ask(path="Observation/o1"), ok(body % (up, up)))
    )
    expected = body.replace(b"https://ehr.example/r4", ours) % (ours, up)
    assert reply.body == expected


@pytest.mark.parametrize("role", RESTRICTED)
def test_blind(role: str) -> None:
    """R-EL-2: hidden, deleted and never existing are one answer, after the same ask."""
    answers = [
        Answer(404, {}, b"HAPI-2001: Resource Patient/p1 is not known"),
        Answer(410, {"location": "x"}, b"Resource was deleted at ..."),
        ok(patient("p1", **WITHHOLDING)),
    ]
    replies = [converse(make_call(role, target(role)), (ASK, answer)) for answer in answers]
    bare = [(r.status, r.headers, r.body) for r in replies]
    assert bare[0] == bare[1] == bare[2]
    assert issue_of(replies[0]) == (404, "not-found")


@pytest.mark.parametrize("role", RESTRICTED)
@pytest.mark.parametrize("id_", ["p1", "MRN-1032702", "x" * 40, "1" + "A" * 24])
def test_real_ids_mean_nothing(role: str, id_: str) -> None:
    """R-SI-7, R-ID-3: an upstream id is no id here, and is never sent upstream."""
    reply = converse(make_call(role, f"/Patient/{id_}"))
    assert issue_of(reply) == (404, "not-found")


def test_pseudonym_of_another_project_means_nothing() -> None:
    """R-ID-2: a project cannot use another's pseudonyms."""
    theirs = namer(LDS, "study-8").show_id("Patient", "p1")
    assert converse(make_call(LDS, f"/Patient/{theirs}")).status == 404


def test_pseudonym_of_another_type_means_nothing() -> None:
    """R-ID-5: a Patient's pseudonym is no Observation's."""
    shown = shown_id(LDS, "Patient", "p1")
    assert converse(make_call(LDS, f"/Observation/{shown}")).status == 404


def test_long_ids_work() -> None:
    """An id of 41 to 64 characters keeps its length and leads back."""
    real = "patient-ecr-eve-everywoman-" + "x" * 30
    reply = converse(
        make_call(LDS, target(LDS, real)), (Ask(path=f"Patient/{real}"), ok(patient(real)))
    )
    assert body_of(reply)["id"] == shown_id(LDS, "Patient", real)


def test_deleted_in_identity_view() -> None:
    """An identity view may know that a resource was deleted."""
    assert issue_of(converse(make_call(INV, "/Patient/p1"), (ASK, Answer(410)))) == (
        410, "deleted",
    )


WRONG = [
    ("other id", ok(patient("p2"))),
    ("other type", ok({"resourceType": "Binary", "id": "p1", "data": "AAAA"})),
    ("a Bundle", ok({"resourceType": "Bundle", "id": "p1", "type": "searchset"})),
    ("no id", ok({"resourceType": "Patient"})),
    ("an array", ok(b"[]")),
    ("cut off", ok(b'{"resourceType":"Patient","id":"p1"')),
    ("not JSON", ok(b"<html>p1</html>")),
    ("empty", ok(b"")),
    ("not UTF-8", ok(b'{"resourceType":"Patient","id":"p1","x":"\xff"}')),
    ("too deep", ok(b'{"resourceType":"Patient","id":"p1","x":' + b"[" * 300 + b"]" * 300 + b"}")),
    ("redirect", Answer(302, {"location": "http://evil.example"})),
    ("204", Answer(204)),
]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("answer", [a for _, a in WRONG], ids=[n for n, _ in WRONG])
def test_wrong_answers_are_withheld(role: str, answer: Answer) -> None:
    """R-UM-1, R-UM-3, R-UM-4, R-DS-2: what was not asked for, or cannot be read, is a 502 without
    a byte of it."""
    reply = converse(make_call(role, target(role)), (ASK, answer))
    assert issue_of(reply) == (502, "exception")
    assert reply.headers == ()


FAILURES: list[tuple[Answer, int, str]] = [
    (Answer(400, {}, b"Everywoman"), 502, "exception"),
    (Answer(409, {}, b"Everywoman"), 502, "exception"),
    (Answer(412, {}, b"Everywoman"), 502, "exception"),
    (Answer(422, {}, b"Everywoman"), 502, "exception"),
    (Answer(error=Unavailable(retry_after=5)), 503, "transient"),
    (Answer(error=UpstreamTimeout()), 504, "timeout"),
    (Answer(error=UpstreamIncomplete()), 502, "incomplete"),
]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("answer", "status", "code"), FAILURES,
    ids=[f"{a.status or type(a.error).__name__}" for a, _, _ in FAILURES],
)
def test_failures_are_failures(role: str, answer: Answer, status: int, code: str) -> None:
    """R-EL-1, R-UM-7: an upstream failure is reported as one, in our words; never as empty or
    missing."""
    reply = converse(make_call(role, target(role)), (ASK, answer))
    assert issue_of(reply) == (status, code)
    assert b"Everywoman" not in reply.body
    assert dict(reply.headers).get("Retry-After") == ("5" if status == 503 else None)


@pytest.mark.parametrize("role", ROLES)
def test_validators(role: str) -> None:
    """R-CA-3, R-HV-3: an ETag is a keyed hash of what is shown; only that one gives 304, and none
    is sent upstream."""
    def read(if_none_match: str = "", who: str = "u1", **changes: object) -> tuple[int, str, bytes]:
        call = make_call(
            caller(role, subject=who), target(role), if_none_match=if_none_match
        )
        reply = converse(call, (ASK, ok(patient("p1", **changes), etag='W/"3"')))
        return reply.status, dict(reply.headers)["ETag"], reply.body

    status, etag, body = read()
    assert status == 200
    assert etag.startswith('W/"')
    assert etag != 'W/"3"'
    assert read(etag) == (304, etag, b"")
    assert read(f'"x", {etag[2:]}') == (304, etag, b"")
    for other in ('W/"1"', 'W/"3"', '"3"', "*", "nonsense", etag + "x"):
        assert read(other) == (200, etag, body)
    assert read(etag, gender="male")[0] == 200
    assert read(etag, who="u2")[0] == 200


def test_etag_follows_what_is_shown() -> None:
    """R-CA-3: a change that the role does not see changes no ETag."""
    replies = [
        converse(make_call(DEID, target(DEID)), (ASK, ok(patient("p1", **changes))))
        for changes in ({}, {"name": [{"family": "Other"}]}, {"birthDate": "1974-01-01"})
    ]
    assert len({(r.headers, r.body) for r in replies}) == 1


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("_format=xml", 406, "not-supported"),
        ("_format=html/json", 406, "not-supported"),
        ("_elements=nonsense", 400, "value"),
        ("_summary=count", 400, "value"),
        ("_summary=yes", 400, "value"),
        ("gender=female", 400, "not-supported"),
        ("_method=PUT", 400, "not-supported"),
        ("_count=1", 400, "not-supported"),
        ("_elements", 400, "structure"),
        ("x=%zz", 400, "structure"),
    ],
)
@pytest.mark.parametrize("role", ROLES)
def test_refused_parameters(role: str, query: str, status: int, code: str) -> None:
    """R-RT-6, R-RT-7: a read takes projection and format, nothing else; nothing is asked."""
    reply = converse(make_call(role, f"{target(role)}?{query}"))
    assert issue_of(reply) == (status, code)


@pytest.mark.parametrize(
    ("accept", "status"),
    [("application/fhir+xml", 406), ("text/html", 406), ("text/html, */*;q=0.1", 200), ("", 200)],
)
def test_accept(accept: str, status: int) -> None:
    """R-RT-7: JSON or 406, before anything is asked."""
    turns = [(ASK, ok(patient("p1")))] if status == 200 else []
    reply = converse(make_call(LDS, target(LDS), accept=accept), *turns)
    assert reply.status == status


@pytest.mark.parametrize("role", ROLES)
def test_projection_is_ours(role: str) -> None:
    """Projection is done on what is shown and never asked for upstream (R-TC-12)."""
    reply = converse(
        make_call(role, f"{target(role)}?_elements=gender"), (ASK, ok(patient("p1")))
    )
    shown = body_of(reply)
    assert sorted(shown) == ["gender", "id", "meta", "resourceType"]
    assert shown["meta"]["tag"][-1]["code"] == "SUBSETTED"


DENIED = [
    (LDS, "/Binary/x", "GET"), (DEID, "/Binary/x", "GET"), (LDS, "/Media/x", "GET"),
    (LDS, "/Group/x", "GET"), (INV, "/Subscription/x", "GET"), (LDS, "/AuditEvent", "GET"),
    ("guest", "/Patient/x", "GET"), ("", "/Patient/x", "GET"),
    (LDS, "/Patient/x/$everything", "GET"), (INV, "/$expunge", "POST"),
]


@pytest.mark.parametrize(("role", "path", "method"), DENIED, ids=[f"{r}{p}" for r, p, _ in DENIED])
def test_denied(role: str, path: str, method: str) -> None:
    """R-CF-2, R-NA-3, R-OP-1, R-OP-2, R-AU-4: what no line offers is refused without an ask."""
    assert issue_of(converse(make_call(role, path, method))) == (403, "forbidden")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
@pytest.mark.parametrize("path", ["/Patient/p1", "/Subscription/s1", "/Binary/b1"])
def test_writes(role: str, method: str, path: str) -> None:
    """R-WR-1, R-WR-2, R-WR-4, R-UM-8, R-OP-3: the product is read-only for every role."""
    reply = converse(make_call(role, path, method, b"{}"))
    assert issue_of(reply) == (405, "not-supported")
    assert reply.headers == (("Allow", "GET, HEAD, POST"),)


@pytest.mark.parametrize(
    "path", ["/Patient", "/Patient/p1", "/_history", "/nonsense", "/Patient/%2e%2e", "/$export"]
)
def test_anonymous(path: str) -> None:
    """R-AU-1: without a token there is one answer, whatever is asked."""
    reply = converse(make_call(None, path))
    assert issue_of(reply) == (401, "login")
    assert reply.headers == (("WWW-Authenticate", "Bearer"),)


def test_scopes_narrow() -> None:
    """SMART scopes take away from a role and never add to it."""
    granted = caller(INV, scopes=frozenset({"user/Patient.r", "user/Subscription.rs", "openid"}))
    assert converse(make_call(granted, "/Patient/p1"), (ASK, ok(patient("p1")))).status == 200
    for refused in ("/Patient", "/Observation/o1", "/Patient/_history", "/Subscription/s1"):
        assert issue_of(converse(make_call(granted, refused))) == (403, "forbidden")


def test_project_is_needed() -> None:
    """A view that makes pseudonyms needs a project to make them for."""
    nobody = caller(LDS, project="")
    assert issue_of(converse(make_call(nobody, target(LDS)))) == (403, "forbidden")


def test_limits_of_a_request() -> None:
    """R-DS-4: an over-long target is refused; so is a body where none belongs."""
    assert issue_of(converse(make_call(LDS, "/Patient?gender=" + "x" * 9_000)))[0] == 414
    assert issue_of(converse(make_call(LDS, "/Patient", body=b"x"))) == (400, "structure")


@pytest.mark.parametrize("role", ROLES)
def test_facts(role: str) -> None:
    """R-EL-4: the audit learns names, counts, the policy and its lines; no value."""
    reply = converse(
        make_call(role, f"{target(role)}?_elements=gender"), (ASK, ok(patient("p1")))
    )
    facts = reply.facts
    assert (facts.interaction, facts.type, facts.entries) == ("read", "Patient", 1)
    assert facts.parameters == ("_elements",)
    assert facts.policy.startswith(f"{role}@")
    assert len(facts.rules) == 1
    (name,) = facts.patients
    assert name not in (shown_id(role, "Patient", "p1"), "p1")
    assert len(name) == 32


def test_the_tripwire_looks_at_a_share() -> None:
    """R-TC-11: a removed name that still stands in a shown value is noticed and counted; the answer
    stays as it is, looked at or not."""
    stored = patient("p1", address=[{"city": "Everywoman"}])
    at = replace(gateway(), limits=Limits(tripwire=5))
    replies = [
        converse(make_call(LDS, target(LDS), request_id=f"r{i}"), (ASK, ok(stored)), at=at)
        for i in range(50)
    ]
    assert len({(r.status, r.headers, r.body) for r in replies}) == 1
    looked = [r.facts.alarms for r in replies if r.facts.alarms]
    assert 0 < len(looked) < 25
    assert set(looked) == {1}


def test_facts_of_refusals() -> None:
    """R-EL-4: a refused request is recorded too, with what was understood of it."""
    facts = converse(make_call(LDS, "/Patient?family=Everywoman&nonsense=1")).facts
    assert (facts.interaction, facts.type) == ("search-type", "Patient")
    assert facts.parameters == ("family", "(unknown)")
    assert "Everywoman" not in str(facts)


def test_a_fault_is_not_an_answer() -> None:
    """R-CF-3: a shell that answers out of turn is a fault of ours, and nothing is released."""
    flow = exchange(make_call(INV, "/Patient/p1"), gateway())
    next(flow)
    with pytest.raises(StopIteration) as done:
        flow.send((ok(patient("p1")),))
    assert issue_of(done.value.value) == (500, "exception")
