"""Patient/$everything: passed on to identity views, refused to all others."""

from __future__ import annotations

import orjson
import pytest

from proxy.engine.messages import Answer, Ask, Pairs
from tests.engine.playbook import (
    DEID,
    INV,
    LDS,
    PUBLIC,
    ROLES,
    UPSTREAM,
    below,
    body_of,
    caller,
    converse,
    drive,
    gateway,
    issue_of,
    link_of,
    make_call,
    ok,
    patient,
    searchset,
    shown_id,
)

TYPES = ",".join(sorted(gateway().views[INV].policy.access))
OBSERVATION = {"resourceType": "Observation", "id": "o", "status": "final", "x": "1.10",
               "subject": {"reference": f"{UPSTREAM}/Patient/p"}}  # fmt: skip
COVERAGE = {"resourceType": "Coverage", "id": "v", "status": "active"}
MORE = f"{UPSTREAM}?_getpages=abc&_getpagesoffset=2"


def asked(types: str = TYPES, count: int = 100) -> Ask:
    return Ask(path="Patient/p/$everything", query=(("_type", types), ("_count", str(count))))


def test_a_page_and_the_next() -> None:
    """The upstream is asked for what the caller may read; its rows pass as stored, rebased; the
    next page is behind a link of ours; neither a page link of the upstream nor a total shows."""
    first = converse(
        make_call(INV, "/Patient/p/$everything?_count=2"),
        (asked(count=2), searchset([patient("p"), OBSERVATION], MORE, total=3)),
    )
    bundle = body_of(first)
    assert (bundle["type"], "total" in bundle) == ("searchset", False)
    assert [e["fullUrl"] for e in bundle["entry"]] == [
        f"{PUBLIC}/Patient/p", f"{PUBLIC}/Observation/o",
    ]
    assert bundle["entry"][1]["resource"]["subject"] == {"reference": f"{PUBLIC}/Patient/p"}
    assert link_of(first, "self") == f"{PUBLIC}/Patient/p/$everything?_count=2"
    assert b"_getpages" not in first.body
    assert (first.facts.operation, first.facts.entries) == ("$everything", 2)
    following = below(link_of(first, "next"))
    second = converse(make_call(INV, following), (Ask(url=MORE), searchset([patient("q")])))
    assert [e["resource"]["id"] for e in body_of(second)["entry"]] == ["q"]
    assert link_of(second, "next") == ""


def test_links_are_the_callers_own() -> None:
    """R-PG-2: a link is worth nothing to another caller, about another patient, or as a search."""
    first, _ = drive(
        make_call(INV, "/Patient/p/$everything"), lambda _: searchset([patient("p")], MORE)
    )
    link = below(link_of(first, "next"))
    for call in (
        make_call(caller(INV, subject="u2"), link),
        make_call(INV, link.replace("/p/", "/q/")),
        make_call(INV, link.replace("/p/$everything", "")),
    ):
        assert issue_of(converse(call)) == (404, "not-found")
    gone = converse(make_call(INV, link), (Ask(url=MORE), Answer(410)))
    assert issue_of(gone)[0] == 410


NARROWED: list[tuple[str, frozenset[str] | None, Pairs]] = [
    ("?_type=Observation,Patient", None, (("_type", "Observation,Patient"), ("_count", "100"))),
    ("?_type=Observation&_type=Condition", None,
     (("_type", "Observation,Condition"), ("_count", "100"))),
    ("?_count=100000", None, (("_type", TYPES), ("_count", "100"))),
    ("", frozenset({"user/Patient.r", "user/Observation.rs", "user/Condition.s"}),
     (("_type", "Observation,Patient"), ("_count", "100"))),
]  # fmt: skip


@pytest.mark.parametrize(("query", "scopes", "expected"), NARROWED)
def test_types_and_pages_are_narrowed(
    query: str, scopes: frozenset[str] | None, expected: Pairs
) -> None:
    """Types that the caller may not read are not asked for, and not shown if they come; a page is
    no longer than the role's."""
    reply = converse(
        make_call(caller(INV, scopes=scopes), f"/Patient/p/$everything{query}"),
        (Ask(path="Patient/p/$everything", query=expected), searchset([patient("p"), COVERAGE])),
    )
    assert [e["resource"]["resourceType"] for e in body_of(reply)["entry"]] == ["Patient"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("start=2020-01-01", (400, "not-supported")),
        ("end=2020-01-01", (400, "not-supported")),
        ("_since=2020-01-01T00:00:00Z", (400, "not-supported")),
        ("_lastUpdated=ge2020", (400, "not-supported")),
        ("_elements=id", (400, "not-supported")),
        ("_getpages=abc", (400, "not-supported")),
        ("_offset=3", (400, "not-supported")),
        ("name=x", (400, "not-supported")),
        ("_count=0", (400, "value")),
        ("_count=-1", (400, "value")),
        ("_count=1&_count=2", (400, "value")),
        ("_type=Foo", (400, "value")),
        ("_type=Coverage", (403, "forbidden")),
        ("_page=x", (404, "not-found")),
        ("_page=x&_count=2", (400, "not-supported")),
    ],
)
def test_what_is_refused(query: str, status: tuple[int, str]) -> None:
    """What the upstream would ignore, or what reaches past the view, is refused without a call."""
    assert issue_of(converse(make_call(INV, f"/Patient/p/$everything?{query}"))) == status


@pytest.mark.parametrize("role", [LDS, DEID])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_other_views_are_refused(role: str, method: str) -> None:
    """R-SP-2, R-OP-1: refused in the words of every operation that is not offered, whatever the
    patient and the parameters; nothing is asked."""
    known = converse(make_call(role, "/Patient/p/$lastn", method))
    for id_ in ("p", shown_id(role, "Patient", "p"), shown_id(role, "Patient", "never")):
        for query in ("", "?_count=2", "?_page=x", "?start=2020"):
            reply = converse(make_call(role, f"/Patient/{id_}/$everything{query}", method))
            assert issue_of(reply) == (403, "forbidden")
            assert reply.body == known.body


ANSWERS: list[tuple[Answer, tuple[int, str]]] = [
    (Answer(404), (404, "not-found")),
    (Answer(410), (410, "deleted")),
    (Answer(400), (502, "exception")),
    (Answer(500), (502, "exception")),
    (ok(patient("p")), (502, "exception")),
    (searchset([], "https://evil.example/fhir?_getpages=1"), (502, "exception")),
]


@pytest.mark.parametrize(("answer", "status"), ANSWERS)
def test_failures(answer: Answer, status: tuple[int, str]) -> None:
    """R-UM-7: a failure of the upstream is one of ours, in fixed words."""
    reply = converse(make_call(INV, "/Patient/p/$everything"), (asked(), answer))
    assert issue_of(reply) == status


def test_post_and_batch() -> None:
    """Parameters in a body count as those of a query; a batch may hold the operation."""
    body = {"resourceType": "Parameters", "parameter": [
        {"name": "_type", "valueCode": "Patient"}, {"name": "_count", "valueInteger": 5}]}
    reply = converse(
        make_call(INV, "/Patient/p/$everything", "POST", orjson.dumps(body),
                  content_type="application/fhir+json"),
        (asked("Patient", 5), searchset([patient("p")])),
    )
    assert reply.status == 200
    entry = {"request": {"method": "POST", "url": "Patient/p/$everything"}, "resource": body}
    batch = orjson.dumps({"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    together = converse(
        make_call(INV, "", "POST", batch, content_type="application/fhir+json"),
        ((asked("Patient", 5),), (searchset([patient("p")]),)),
    )
    assert reply.body in together.body


@pytest.mark.parametrize(
    "body",
    [
        b"x", b"[]", b'{"resourceType":"Patient"}', b'{"resourceType":"Parameters","parameter":{}}',
        b'{"resourceType":"Parameters","parameter":[{"name":"_count"}]}',
        b'{"resourceType":"Parameters","parameter":[{"valueString":"x"}]}',
        b'{"resourceType":"Parameters","parameter":[{"name":"_type","valueCoding":{"code":"x"}}]}',
        b'{"resourceType":"Parameters","parameter":[{"name":"_type","part":[]}]}',
        b'{"resourceType":"Parameters","parameter":["x"]}',
        b'{"resourceType":"Parameters","parameter":[{"name":"a","valueString":"x","valueCode":"y"}]}',
    ],
)
def test_bodies_that_are_no_parameters(body: bytes) -> None:
    """A body that is not Parameters with simple values is refused."""
    call = make_call(INV, "/Patient/p/$everything", "POST", body,
                     content_type="application/fhir+json")
    assert issue_of(converse(call)) == (400, "structure")


def test_media_type_of_a_body() -> None:
    """A form is no way to call an operation."""
    call = make_call(INV, "/Patient/p/$everything", "POST", b"_count=1",
                     content_type="application/x-www-form-urlencoded")
    assert issue_of(converse(call)) == (415, "not-supported")


def test_granted_operations_are_listed() -> None:
    """R-OP-4: the CapabilityStatement lists the operations that the role has, nothing else."""
    for role in ROLES:
        (rest,) = body_of(converse(make_call(role, "/metadata")))["rest"]
        listed = {r["type"]: r["operation"] for r in rest["resource"] if "operation" in r}
        base = "http://hl7.org/fhir/OperationDefinition"
        document = [{"name": "document", "definition": f"{base}/Composition-document"}]
        everything = [{"name": "everything", "definition": f"{base}/Patient-everything"}]
        more = {"Patient": everything} if role == INV else {}
        assert listed == {"Composition": document, **more}
        assert "operation" not in rest
    scoped = caller(INV, scopes=frozenset({"user/Observation.r"}))
    assert b'"operation"' not in converse(make_call(scoped, "/metadata")).body
