"""vread and history: for the identity view, complete and in order; refused to all others."""

from __future__ import annotations

import pytest

from proxy.engine.messages import Answer, Ask
from tests.engine.playbook import (
    DEID,
    INV,
    LDS,
    PUBLIC,
    UPSTREAM,
    below,
    body_of,
    caller,
    converse,
    drive,
    issue_of,
    link_of,
    make_call,
    ok,
    patient,
    shown_id,
)

PATHS = ["/Patient/{p}/_history", "/Patient/{p}/_history/1", "/Patient/_history", "/_history"]


@pytest.mark.parametrize("role", [LDS, DEID])
@pytest.mark.parametrize("path", PATHS)
def test_refused(role: str, path: str) -> None:
    """R-HV-1: earlier versions may hold what the current one no longer does."""
    target = path.format(p=shown_id(role, "Patient", "p1"))
    assert issue_of(converse(make_call(role, target))) == (403, "forbidden")


def test_vread() -> None:
    """An identity view reads a version; its place is told at our base."""
    reply = converse(
        make_call(INV, "/Patient/p1/_history/3"),
        (Ask(path="Patient/p1/_history/3"), ok(patient("p1"), last_modified="then")),
    )
    assert body_of(reply) == patient("p1")
    assert dict(reply.headers)["Content-Location"] == f"{PUBLIC}/Patient/p1/_history/3"
    other = (Ask(path="Patient/p1/_history/2"), ok(patient("p1")))
    assert converse(make_call(INV, "/Patient/p1/_history/2"), other).status == 502  # R-UM-3
    missing = (Ask(path="Patient/p1/_history/9"), Answer(404))
    assert converse(make_call(INV, "/Patient/p1/_history/9"), missing).status == 404


def version(number: int) -> dict[str, object]:
    """Entry ``number`` of a long history, the 30th a deletion and the 31st a new creation."""
    deleted = number == 30
    found: dict[str, object] = {
        "fullUrl": f"{UPSTREAM}/Patient/p1",
        "request": {"method": "DELETE" if deleted else "PUT",
                    "url": f"Patient/p1/_history/{number}"},
        "response": {"status": "200 OK", "etag": f'W/"{number}"',
                     "lastModified": "2026-01-01T00:00:00Z",
                     "location": f"{UPSTREAM}/Patient/p1/_history/{number}"},
    }
    return found if deleted else {**found, "resource": patient("p1", multipleBirthInteger=number)}


def serve(ask: Ask) -> Answer:
    text = ask.url.split("?")[1] if ask.url else ""
    query = dict(pair.split("=") for pair in text.split("&")) if text else dict(ask.query)
    offset, count = int(query.get("_offset", 0)), int(query["_count"])
    entries = [version(n) for n in range(60, 0, -1)]
    page: dict[str, object] = {
        "resourceType": "Bundle", "id": "x", "type": "history", "total": 60,
        "entry": entries[offset:offset + count],
        "link": [{"relation": "self", "url": f"{UPSTREAM}/Patient/p1/_history"}],
    }
    if offset + count < 60:
        following = f"{UPSTREAM}/Patient/p1/_history?_count={count}&_offset={offset + count}"
        page["link"] = [{"relation": "next", "url": following}]
    return ok(page)


@pytest.mark.parametrize("path", ["/Patient/p1/_history", "/Patient/_history"])
def test_complete(path: str) -> None:
    """R-HV-4: 60 versions with a deletion, seven a page: all of them, in order, every part kept
    but addresses, which are ours (R-PG-1)."""
    entries, target = [], f"{path}?_count=7"
    while target:
        reply, asked = drive(make_call(INV, target), serve)
        assert len(asked) == 1
        assert body_of(reply)["total"] == 60
        assert UPSTREAM.encode() not in reply.body
        entries += body_of(reply)["entry"]
        link = link_of(reply, "next")
        target = below(link) if link else ""
    expected = []
    for number in range(60, 0, -1):
        row = version(number)
        row["fullUrl"] = f"{PUBLIC}/Patient/p1"
        row["response"] = {**row["response"],  # type: ignore[dict-item]
                           "location": f"{PUBLIC}/Patient/p1/_history/{number}"}
        expected.append(row)
    assert entries == expected


def test_system_history_shows_permitted_types() -> None:
    """The history of all types holds those whose history the caller may see, and no total."""
    page = {"resourceType": "Bundle", "type": "history", "total": 9, "entry": [
        version(1), version(30),
        {"resource": {"resourceType": "Subscription", "id": "s1"},
         "request": {"method": "PUT", "url": "Subscription/s1"}},
        {"request": {"method": "DELETE", "url": "Subscription/s2"}},
    ]}
    ask = Ask(path="_history", query=(("_count", "100"),))
    bundle = body_of(converse(make_call(INV, "/_history"), (ask, ok(page))))
    assert [e["request"]["method"] for e in bundle["entry"]] == ["PUT", "DELETE"]
    assert "total" not in bundle
    assert b"Subscription" not in str(bundle).encode()


def test_scopes_of_history() -> None:
    """A type's history is a search in SMART's terms, an instance's a read."""
    reader = caller(INV, scopes=frozenset({"user/Patient.r"}))
    assert drive(make_call(reader, "/Patient/p1/_history"), serve)[0].status == 200
    assert converse(make_call(reader, "/Patient/_history")).status == 403


@pytest.mark.parametrize(
    ("query", "status"),
    [("_since=yesterday", 400), ("_count=abc", 400), ("_count=-1", 400), ("_offset=3", 400),
     ("gender=male", 400), ("_page=x&_count=3", 400), ("_page=x", 404), ("_format=xml", 406),
     ("_at=2026", 200), ("_since=2026-01-01T00:00:00Z", 200), ("_count=999999", 200)],
)
def test_parameters(query: str, status: int) -> None:
    """A history takes its own parameters, and refuses malformed ones unasked."""
    reply, asked = drive(make_call(INV, f"/Patient/p1/_history?{query}"), serve)
    assert reply.status == status
    assert len(asked) == (1 if status == 200 else 0)
    if query.startswith("_count=9"):
        assert dict(asked[0].query)["_count"] == "100"


def test_links_serve_one_caller() -> None:
    """R-PG-2: a history's page link is of no use to another caller or another path."""
    reply, _ = drive(make_call(INV, "/Patient/p1/_history?_count=7"), serve)
    link = below(link_of(reply, "next"))
    assert converse(make_call(caller(INV, subject="u2"), link)).status == 404
    assert converse(make_call(INV, link.replace("p1", "p2"))).status == 404


@pytest.mark.parametrize(
    ("answer", "status"),
    [(Answer(404), 404), (Answer(410), 410), (Answer(500), 502), (ok(patient("p1")), 502),
     (ok({"resourceType": "Bundle", "type": "searchset"}), 502),
     (ok({"resourceType": "Bundle", "type": "history", "entry": [
         {"resource": patient("p1"), "request": {"method": "PUT", "url": "x"}}],
         "link": [{"relation": "next", "url": "http://evil.example/x"}]}), 502),
     (ok({"resourceType": "Bundle", "type": "history", "entry": [{"resource": patient("p2")}]}),
      502)],
    ids=["404", "410", "500", "a resource", "a searchset", "a link elsewhere", "another's"],
)
def test_answers(answer: Answer, status: int) -> None:
    """R-UM-3, R-UM-7: what is no history is withheld; what is missing is missing."""
    ask = Ask(path="Patient/p1/_history", query=(("_count", "100"),))
    reply = converse(make_call(INV, "/Patient/p1/_history"), (ask, answer))
    assert reply.status == status


def entry(**members: object) -> dict[str, object]:
    whole = {"resource": patient("p1"), "request": {"method": "PUT", "url": "Patient/p1"}}
    return {k: v for k, v in {**whole, **members}.items() if v is not None}


GONE = {"method": "DELETE", "url": "Patient/p1"}
VERSIONS: list[dict[str, object]] = [
    entry(), entry(request={"method": "POST", "url": "Patient"}),
    entry(request={"method": "POST", "url": f"{UPSTREAM}/Patient/p1/_history/1"}),
    entry(request={"method": "PUT", "url": "Patient?identifier=x"}),
    entry(request={"method": "PATCH", "url": "Patient/p1/_history/2"}, fullUrl="urn:uuid:x"),
    entry(resource=None, request=GONE, fullUrl=f"{UPSTREAM}/Patient/p1"),
]
NO_VERSIONS: list[dict[str, object]] = [
    {}, entry(request=None), entry(request={}), entry(request={"method": "PUT"}), entry(request=1),
    entry(request={"method": "GET", "url": "Patient/p1"}), entry(request=GONE),
    entry(request={"method": "ZMARKZ", "url": "Patient/p1"}),
    entry(request={"method": "PUT", "url": "ZMARKZ"}),
    entry(request={"method": "PUT", "url": "Patient/p2"}),
    entry(request={"method": "PUT", "url": "Observation/p1"}),
    entry(request={"method": "POST", "url": "Observation"}),
    entry(fullUrl=f"{UPSTREAM}/Patient/p2"), entry(resource=None),
    entry(resource=None, request={"method": "DELETE", "url": "Patient/p2"}),
    entry(resource=None, request=GONE, fullUrl=f"{UPSTREAM}/Patient/p2"),
    entry(resource={"resourceType": "Patient"}),
]


@pytest.mark.parametrize("path", ["Patient/p1/_history", "Patient/_history", "_history"])
@pytest.mark.parametrize(
    ("version", "status"), [*((v, 200) for v in VERSIONS), *((v, 502) for v in NO_VERSIONS)]
)
def test_entries_are_versions(path: str, version: dict[str, object], status: int) -> None:
    """bdl-3, R-UM-3: an entry says how its version came about, and all that names its resource
    names one, the one that was asked for; else the history is none."""
    page = {"resourceType": "Bundle", "type": "history", "entry": [version]}
    ask = Ask(path=path, query=(("_count", "100"),))
    reply = converse(make_call(INV, f"/{path}"), (ask, ok(page)))
    assert reply.status == (200 if _names_another(path, version) else status)


def _names_another(path: str, version: dict[str, object]) -> bool:
    """Whether it is a good version of a resource that the history of one would not hold."""
    deleted = version == entry(resource=None, request={"method": "DELETE", "url": "Patient/p2"})
    return deleted and path != "Patient/p1/_history"
