"""Composition/$document, line by line: what is asked, level by level, and what comes of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.engine.gateway import Limits
from proxy.engine.messages import Answer, Ask, Call, Reply
from tests.engine.playbook import (
    DEID,
    INV,
    LDS,
    POLICIES,
    PUBLIC,
    ROLES,
    UPSTREAM,
    WITHHOLDING,
    body_of,
    caller,
    converse,
    drive,
    issue_of,
    make_call,
    make_gateway,
    ok,
    patient,
    searchset,
    shown_id,
)

COMPOSITION: dict[str, Any] = {
    "resourceType": "Composition",
    "id": "c",
    "meta": {"versionId": "1", "lastUpdated": "2026-02-01T10:00:00.000Z"},
    "status": "final",
    "type": {"coding": [{"system": "http://loinc.org", "code": "55751-2"}]},
    "subject": {"reference": "Patient/p"},
    "date": "2026-01-05T08:30:00-05:00",
    "author": [{"reference": "Practitioner/a"}],
    "title": "Case report",
    "relatesTo": [{"code": "replaces", "targetReference": {"reference": "Composition/old"}}],
    "section": [
        {
            "code": {"coding": [{"system": "http://loinc.org", "code": "30954-2"}]},
            "entry": [{"reference": f"{UPSTREAM}/Observation/o1/_history/4"}],
        }
    ],
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "94500-6"}]},
    "subject": {"reference": "Patient/p"},
    "hasMember": [{"reference": "Observation/o2"}, {"reference": "https://else.example/X/1"}],
    "performer": [{"reference": "#in"}, {"reference": "urn:uuid:0e2f6a52-0a3f-4b8e-8a8e-5d2d"}],
    "contained": [{"resourceType": "Organization", "id": "in", "active": True}],
    "valueQuantity": {"value": 7, "unit": "mg"},
}
MEMBER = {**OBSERVATION, "id": "o2", "hasMember": [{"reference": "Observation/o1"}]}
AUTHOR = {"resourceType": "Practitioner", "id": "a", "name": [{"family": "Seven"}]}
HELD: tuple[dict[str, Any], ...] = (COMPOSITION, patient("p"), AUTHOR, OBSERVATION, MEMBER)
WHOLE = [("Composition", "c"), ("Patient", "p"), ("Practitioner", "a"),
         ("Observation", "o1"), ("Observation", "o2")]  # fmt: skip


def asked(type_: str, *ids: str) -> Ask:
    form = (("_id", ",".join(ids)), ("_count", str(len(ids) + 1)))
    return Ask(path=f"{type_}/_search", form=form)


def call(role: str, query: str = "", **options: Any) -> Call:
    target = f"/Composition/{shown_id(role, 'Composition', 'c')}/$document{query}"
    return make_call(role, target, **options)


def upstream(*held: Mapping[str, Any], most: int = 100) -> Callable[[Ask], Answer]:
    """A server that holds resources; ``most``: rows on its pages."""
    by_key = {f"{r['resourceType']}/{r['id']}": r for r in held}

    def serve(ask: Ask) -> Answer:
        if ask.form is None and not ask.url:
            return ok(by_key[ask.path]) if ask.path in by_key else Answer(404)
        path, ids, start = ask.path, dict(ask.form or ()).get("_id", ""), 0
        if ask.url:
            path, ids, text = ask.url.removeprefix(f"{UPSTREAM}?_getpages=").split(";")
            start = int(text)
        type_ = path.split("/")[0]
        found = [r for key, r in by_key.items() if key in {f"{type_}/{i}" for i in ids.split(",")}]
        more = f"{UPSTREAM}?_getpages={path};{ids};{start + most}"
        return searchset(found[start : start + most], more if start + most < len(found) else "")

    return serve


def names(reply: Reply, role: str) -> list[tuple[str, str]]:
    """The entries, by their real type and id."""
    known = {f"{PUBLIC}/{t}/{shown_id(role, t, i)}": (t, i) for t, i in (*WHOLE, ("Group", "g"))}
    return [known[entry["fullUrl"]] for entry in body_of(reply).get("entry", [])]


@pytest.mark.parametrize("role", ROLES)
def test_levels(role: str) -> None:
    """The Composition is read; what each level refers to is one gathered ask, a search per type;
    versions go, what is elsewhere is not asked for, relatesTo is not followed, circles end."""
    reply = converse(
        call(role),
        (Ask(path="Composition/c"), ok(COMPOSITION)),
        (
            (asked("Patient", "p"), asked("Practitioner", "a"), asked("Observation", "o1")),
            (searchset([patient("p")]), searchset([AUTHOR]), searchset([OBSERVATION])),
        ),
        (asked("Observation", "o2"), searchset([MEMBER])),
    )
    bundle = body_of(reply)
    assert (reply.status, bundle["resourceType"], bundle["type"]) == (200, "Bundle", "document")
    assert names(reply, role) == WHOLE
    for entry in bundle["entry"]:
        type_, id_ = entry["resource"]["resourceType"], entry["resource"]["id"]
        assert entry["fullUrl"] == f"{PUBLIC}/{type_}/{id_}"
    value = f"urn:uuid:{bundle['id']}"
    assert bundle["identifier"] == {"system": "urn:ietf:rfc:3986", "value": value}
    assert reply.facts.entries == 5
    assert (reply.facts.interaction, reply.facts.operation) == ("operation", "$document")
    assert len(reply.facts.patients) == 1


@pytest.mark.parametrize("role", ROLES)
def test_entries_are_as_in_a_read(role: str) -> None:
    """Each entry is, byte for byte, what a read of it gives; in the identity view that is what the
    upstream holds, but for references under its base."""
    reply, _ = drive(call(role), upstream(*HELD))
    for entry, (type_, id_) in zip(body_of(reply)["entry"], WHOLE, strict=True):
        target = f"/{type_}/{shown_id(role, type_, id_)}"
        alone, _ = drive(make_call(role, target), upstream(*HELD))
        assert alone.body in reply.body
        assert entry["resource"] == body_of(alone)


def test_identity_view_is_exact() -> None:
    """The investigator's entries keep every byte: numbers, blanks, order, unknown elements."""
    body = rb'{ "resourceType" : "Patient", "id":"p", "x": 1.10e2, "y" : "\u00e9\ud800" }'
    serve = upstream(*HELD)

    def exact(ask: Ask) -> Answer:
        if ask.path != "Patient/_search":
            return serve(ask)
        head = b'{"resourceType":"Bundle","type":"searchset","entry":[{"resource":'
        return ok(head + body + b"}]}")

    reply, _ = drive(call(INV), exact)
    assert body in reply.body


TIMES = [
    (INV, COMPOSITION["date"], "2026-01-05T08:30:00-05:00"),
    (LDS, COMPOSITION["date"], "2026-01-05T08:30:00-05:00"),
    (DEID, COMPOSITION["date"], "2026-01-01T00:00:00Z"),
    (LDS, "2026-03", "2026-03-01T00:00:00Z"),
    (LDS, "2026-03-04", "2026-03-04T00:00:00Z"),
    (LDS, "2026", "2026-01-01T00:00:00Z"),
    (INV, None, "1900-01-01T00:00:00Z"),
    (INV, "05.01.2026", "1900-01-01T00:00:00Z"),
]


@pytest.mark.parametrize(("role", "date", "expected"), TIMES)
def test_timestamp(role: str, date: str | None, expected: str) -> None:
    """The timestamp is the first instant of the date that the Composition shows, not the clock."""
    changed = {k: v for k, v in {**COMPOSITION, "date": date}.items() if v is not None}
    reply, _ = drive(call(role), upstream(changed, *HELD[1:]))
    assert body_of(reply)["timestamp"] == expected


@pytest.mark.parametrize("role", ROLES)
def test_same_data_same_document(role: str) -> None:
    """The same data give the same bytes, whatever the order in which the upstream answers, and
    the same ETag, which is answered here; other content has another identifier."""
    first, _ = drive(call(role), upstream(*HELD))
    for order in list(permutations(HELD[1:]))[:6]:
        again, _ = drive(call(role, request_id="r2"), upstream(COMPOSITION, *order))
        assert again.body == first.body
    etag = dict(first.headers)["ETag"]
    known, _ = drive(call(role, if_none_match=etag), upstream(*HELD))
    assert (known.status, known.body) == (304, b"")
    other = patient("p", gender="male")
    changed, _ = drive(call(role), upstream(COMPOSITION, other, *HELD[2:]))
    assert body_of(changed)["id"] != body_of(first)["id"]


def test_ids_differ_by_project_and_role() -> None:
    """R-ID-2: the identifiers of one document in two projects or roles have nothing in common."""
    project = caller(LDS, project="study-8")
    found = {body_of(drive(call(role), upstream(*HELD))[0])["id"] for role in ROLES}
    assert len(found) == 3
    shown = shown_id(LDS, "Composition", "c")
    reply, asks = drive(make_call(project, f"/Composition/{shown}/$document"), upstream(*HELD))
    assert issue_of(reply) == (404, "not-found")
    assert asks == []


# What a Composition refers to beside the rest, and what that brings in each view.
HIDDEN = {"reference": "Group/g"}
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("a reference in a hidden element", {"extension": [{"url": "http://x.example/y",
                                                       "valueReference": HIDDEN}]}),
    ("a reference to a hidden type", {"encounter": HIDDEN}),
    ("a conditional reference", {"custodian": {"reference": "Group?identifier=g"}}),
    ("a reference to another server", {"custodian": {"reference": "https://else.example/Group/g"}}),
    ("a reference by identifier alone", {"custodian": {"identifier": {"value": "Group/g"}}}),
    ("a display", {"custodian": {"display": "Group/g"}}),
]  # fmt: skip


@pytest.mark.parametrize("role", [LDS, DEID])
@pytest.mark.parametrize("change", [c for _, c in CHANGES], ids=[name for name, _ in CHANGES])
def test_what_is_not_shown_brings_nothing(role: str, change: dict[str, Any]) -> None:
    """R-SP-2: a reference that the caller is not shown is not followed, nor asked for."""
    group = {"resourceType": "Group", "id": "g", "type": "person", "actual": True}
    reply, asks = drive(call(role), upstream({**COMPOSITION, **change}, *HELD[1:], group))
    assert names(reply, role) == WHOLE
    assert not [ask for ask in asks if "Group" in ask.path]


@pytest.mark.parametrize("role", [LDS, DEID])
def test_withheld_looks_as_never_there(role: str) -> None:
    """A part that the view withholds, one that was deleted and one that never was: the same bytes
    after the same asks; what it refers to does not come by it."""
    withheld = {**OBSERVATION, **WITHHOLDING}
    hidden, asks = drive(call(role), upstream(*HELD[:3], withheld, MEMBER))
    absent, same = drive(call(role), upstream(*HELD[:3]))
    assert hidden == absent
    assert asks == same
    assert names(hidden, role) == WHOLE[:3]
    # The reference to it stays, as in a read.
    section = body_of(hidden)["entry"][0]["resource"]["section"][0]
    assert section["entry"] == [{"reference": f"Observation/{shown_id(role, 'Observation', 'o1')}"}]


@pytest.mark.parametrize("role", ROLES)
def test_not_found(role: str) -> None:
    """A Composition that is not shown is what it is for a read; no part of it is asked for."""
    withheld = {**COMPOSITION, **WITHHOLDING}
    stores: list[tuple[Any, ...]] = [(), *([(withheld,)] if role != INV else [])]
    for held in stores:
        reply, asks = drive(call(role), upstream(*held))
        assert issue_of(reply) == (404, "not-found")
        assert asks == [Ask(path="Composition/c")]


def test_scopes_narrow_the_entries() -> None:
    """An entry comes only if a read of it would be answered: scopes and [access] say so by type."""
    scopes = frozenset({"user/Composition.r", "user/Patient.rs", "user/Observation.s"})
    target = f"/Composition/{shown_id(LDS, 'Composition', 'c')}/$document"
    reply, asks = drive(make_call(caller(LDS, scopes=scopes), target), upstream(*HELD))
    assert names(reply, LDS) == WHOLE[:2]
    assert [ask.path for ask in asks] == ["Composition/c", "Patient/_search"]
    refused, asks = drive(
        make_call(caller(LDS, scopes=frozenset({"user/Patient.r"})), target), upstream(*HELD)
    )
    assert issue_of(refused) == (403, "forbidden")
    assert asks == []


def test_pages_of_the_upstream_are_followed() -> None:
    """Nothing is lost where the upstream has shorter pages than were asked for."""
    members = [{**MEMBER, "id": f"m{n}"} for n in range(7)]
    first = {**OBSERVATION, "hasMember": [{"reference": f"Observation/m{n}"} for n in range(7)]}
    reply, asks = drive(call(LDS), upstream(*HELD[:3], first, *members, most=3))
    assert len(body_of(reply)["entry"]) == 4 + 7
    assert [ask.url for ask in asks if ask.url] != []


def test_work_is_limited() -> None:
    """A chain that goes on for ever ends in too-costly, not in a shortened document."""
    def serve(ask: Ask) -> Answer:
        if ask.path == "Composition/c":
            return ok(COMPOSITION)
        if ask.path != "Observation/_search":
            return searchset([])
        id_ = dict(ask.form or ())["_id"]
        following = [{"reference": f"Observation/{id_}x"}]
        return searchset([{**OBSERVATION, "id": id_, "hasMember": following}])

    policies = {LDS: POLICIES / f"{LDS}.toml"}
    reply, asks = drive(call(LDS), serve, make_gateway(policies, Limits(asks=6)))
    assert issue_of(reply) == (400, "too-costly")
    assert len(asks) == 1 + 6


BROKEN: list[tuple[str, Answer]] = [
    ("another resource", searchset([patient("other")])),
    ("another type", searchset([{**AUTHOR, "id": "p"}])),
    ("a malformed one", searchset([{"resourceType": "Patient"}])),
    ("no searchset", ok(patient("p"))),
    ("an error", Answer(500)),
    ("not found", Answer(404)),
    ("a page elsewhere", searchset([patient("p")], "https://evil.example/fhir?_getpages=1")),
]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("answer", [a for _, a in BROKEN], ids=[name for name, _ in BROKEN])
def test_a_part_that_fails_fails_the_whole(role: str, answer: Answer) -> None:
    """R-WR-5, R-UM-3, R-UM-7: no document without a part that could not be had."""
    serve = upstream(*HELD)
    reply, _ = drive(call(role), lambda ask: answer if "Patient" in ask.path else serve(ask))
    assert reply.status == 502
    assert issue_of(reply)[1] == "exception"


@pytest.mark.parametrize(
    "query",
    ["persist=true", "persist=false", "graph=http%3A%2F%2Fx", "_elements=entry", "_summary=true",
     "id=c", "_count=1", "name=x"],
)
@pytest.mark.parametrize("role", ROLES)
def test_parameters_are_refused(role: str, query: str) -> None:
    """Nothing is stored, no graph followed, nothing left out: such parameters are refused, as a
    query and as a Parameters resource, without an upstream call."""
    reply = converse(call(role, "?" + query))
    assert issue_of(reply) == (400, "not-supported")
    name, _, value = query.partition("=")
    body = {"resourceType": "Parameters", "parameter": [{"name": name, "valueString": value}]}
    posted = converse(post(role, orjson.dumps(body)))
    assert issue_of(posted) == issue_of(reply)


def post(role: str, body: bytes, media: str = "application/fhir+json") -> Call:
    target = f"/Composition/{shown_id(role, 'Composition', 'c')}/$document"
    return make_call(role, target, "POST", body, content_type=media)


@pytest.mark.parametrize("role", ROLES)
def test_forms_of_the_request(role: str) -> None:
    """POST without a body, with empty Parameters, HEAD and a batch give what GET gives."""
    wanted, _ = drive(call(role), upstream(*HELD))
    for body in (b"", b'{"resourceType":"Parameters"}'):
        assert drive(post(role, body), upstream(*HELD))[0].body == wanted.body
    target = call(role).target
    assert drive(make_call(role, target, "HEAD"), upstream(*HELD))[0] == wanted
    entry = {"request": {"method": "GET", "url": target[1:]}}
    posted = {"request": {"method": "POST", "url": target[1:]},
              "resource": {"resourceType": "Parameters"}}  # fmt: skip
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [entry, posted]}
    reply, _ = drive(
        make_call(role, "", "POST", orjson.dumps(batch), content_type="application/fhir+json"),
        upstream(*HELD),
    )
    found = body_of(reply)["entry"]
    assert [e["response"]["status"] for e in found] == ["200 OK", "200 OK"]
    assert reply.body.count(wanted.body) == 2


def test_pretty() -> None:
    """``_pretty`` indents the document and changes nothing else."""
    plain, _ = drive(call(LDS), upstream(*HELD))
    pretty, _ = drive(call(LDS, "?_pretty=true&_format=json"), upstream(*HELD))
    assert body_of(pretty) == body_of(plain)
    assert b"\n  " in pretty.body


def test_references_in_stored_bundles_stay_inside() -> None:
    """A stored Bundle that a document refers to is one entry; what its own entries refer to is
    inside it, or on its sender's server, and brings nothing."""
    inner = {"resourceType": "Bundle", "id": "b", "type": "collection", "entry": [
        {"fullUrl": "https://else.example/fhir/Observation/x",
         "resource": {**OBSERVATION, "id": "x", "subject": {"reference": "Patient/theirs"}}}]}
    composition = {**COMPOSITION, "section": [{"entry": [{"reference": "Bundle/b"}]}]}
    for role in ROLES:
        _, asks = drive(call(role), upstream(composition, *HELD[1:], inner))
        assert [ask.form for ask in asks if ask.path == "Patient/_search"] == [
            asked("Patient", "p").form
        ]
        assert asked("Bundle", "b") in asks


PROGRAM = """
title   = "Case reports of one state"
basis   = "none: a test"
extends = "case-report"
labels  = ["REDACTED"]

[access]
Composition  = ["read", "$document"]
Patient      = ["read"]
Practitioner = ["read"]
Observation  = ["read"]

[ids]
default = "real"

[rows.Patient]
search = "address-state={states}"

[rows.Composition]
where = "%caller.states.exists()"
"""


def test_rows_narrow_the_entries(tmp_path: Path) -> None:
    """Each entry's own row rules hold: a Patient elsewhere is left out, as if it were not there;
    without the claims there is no document, and nothing is asked."""
    shutil.copy(POLICIES / "case-report.toml", tmp_path)
    (tmp_path / "program.toml").write_text(PROGRAM)
    at = make_gateway({"program": tmp_path / "program.toml"})
    here = patient("p", address=[{"state": "MI"}])
    elsewhere = patient("p", address=[{"state": "OH"}])
    michigan = make_call(caller("program", claims={"states": ["MI"]}), "/Composition/c/$document")

    def kinds(*held: Mapping[str, Any]) -> tuple[list[str], list[Ask]]:
        reply, asks = drive(michigan, upstream(*held), at)
        return [e["resource"]["resourceType"] for e in body_of(reply)["entry"]], asks

    whole = ["Composition", "Patient", "Practitioner", "Observation", "Observation"]
    assert kinds(COMPOSITION, here, *HELD[2:])[0] == whole
    out = kinds(COMPOSITION, elsewhere, *HELD[2:])
    assert out == kinds(COMPOSITION, *HELD[2:])
    assert out[0] == [kind for kind in whole if kind != "Patient"]
    nobody = make_call(caller("program"), "/Composition/c/$document")
    assert issue_of(converse(nobody, at=at)) == (404, "not-found")
