"""Searches, as conversations with the upstream: what is asked, what is refused, what is shown."""

from __future__ import annotations

import pytest

from proxy.engine.messages import Answer, Ask
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
    form_call,
    issue_of,
    link_of,
    make_call,
    namer,
    ok,
    patient,
    searchset,
    shown_id,
    spelled,
)

EMPTY = searchset([])
P1, LONG = "p1", "patient-ecr-eve-everywoman-0000000000000000000000"


def pid(role: str, real: str = P1, type_: str = "Patient") -> str:
    return shown_id(role, type_, real)


def form(*pairs: tuple[str, str], role: str, count: int = 100) -> tuple[tuple[str, str], ...]:
    """The form of a first page: one row more than the page in a restricted view, to know whether
    another page follows, in the order of storage; the identity view asks for its total, unless
    resources are included."""
    included = any(name.startswith(("_include", "_revinclude")) for name, _ in pairs)
    extra = (("_total", "accurate"),) if role == INV and not included else ()
    order = () if role == INV else (("_sort", "_pid"),)
    return (*pairs, *order, ("_count", str(count if role == INV else count + 1)), *extra)


ASKED = [
    # role, type, query, what goes upstream
    (LDS, "Patient", "gender=female", [("gender", "female")]),
    (DEID, "Patient", "gender=female&gender=male", [("gender", "female"), ("gender", "male")]),
    (DEID, "Patient", "gender=female,male", [("gender", "female,male")]),
    (DEID, "Patient", "gender:not=female", [("gender:not", "female")]),
    (DEID, "Patient", "address-state=MI", [("address-state", "MI")]),
    (LDS, "Patient", "address-postalcode=48104", [("address-postalcode", "48104")]),
    (LDS, "Patient", "address-city=Ann%20Arbor", [("address-city", "Ann Arbor")]),
    (LDS, "Patient", "birthdate=1974-11-24", [("birthdate", "1974-11-24")]),
    (LDS, "Patient", "birthdate=ge1974-11-01&birthdate=lt1974-12-01",
     [("birthdate", "ge1974-11-01"), ("birthdate", "lt1974-12-01")]),
    # Dates go upstream at day precision.
    (LDS, "Patient", "birthdate=ge1974", [("birthdate", "ge1974-01-01")]),
    (LDS, "Patient", "birthdate=gt1974-02", [("birthdate", "gt1974-02-28")]),
    (LDS, "Patient", "birthdate=le1974-12", [("birthdate", "le1974-12-31")]),
    (LDS, "Patient", "birthdate=lt1974", [("birthdate", "lt1974-01-01")]),
    (LDS, "Patient", "birthdate=1974",
     [("birthdate", "ge1974-01-01"), ("birthdate", "le1974-12-31")]),
    (LDS, "Patient", "birthdate=1974,1976-02",
     [("birthdate", "ge1974-01-01"), ("birthdate", "le1976-02-29")]),
    # HAPI takes no list of dates, and one lower and one upper bound: what is more becomes a span.
    (LDS, "Patient", "birthdate=ge1974,lt1950", []),
    (LDS, "Patient", "birthdate=ne1974", []),
    (LDS, "Patient", "birthdate=ne1974-11-24", [("birthdate", "ne1974-11-24")]),
    (LDS, "Patient", "birthdate=1974-11-24,1976-01-02",
     [("birthdate", "ge1974-11-24"), ("birthdate", "le1976-01-02")]),
    (LDS, "Patient", "birthdate=ge1974-11-01&birthdate=ge1974-12-01&birthdate=lt1976",
     [("birthdate", "ge1974-12-01"), ("birthdate", "le1976-01-01")]),
    (LDS, "Patient", "birthdate=ne1974-11-24&birthdate=ge1974-11-01",
     [("birthdate", "ge1974-11-01")]),
    (LDS, "Observation", "code-value-date=http://loinc.org|1$ge2019",
     [("code", "http://loinc.org|1")]),
    (LDS, "Observation", "value-quantity=sa5.4,gt3||mg", [("value-quantity", "gt5.4,gt3||mg")]),
    # HAPI reads the first prefix of a list as that of all.
    (LDS, "Observation", "value-quantity=lt3||mg,5.4||mg", [("value-quantity", "le5.45||mg")]),
    (LDS, "Observation", "value-quantity=gt5,3", [("value-quantity", "ge2.5")]),
    (LDS, "Observation", "value-quantity=gt5||g,3||mg", [("value-quantity", "ge2.5")]),
    (LDS, "Observation", "value-quantity=lt3,gt5", []),
    (LDS, "Observation", "code-value-quantity=http://loinc.org|1$sa5",
     [("code-value-quantity", "http://loinc.org|1$gt5")]),
    (INV, "Patient", "birthdate=ne1974", [("birthdate", "ne1974")]),
    (INV, "Patient", "birthdate=ge1974", [("birthdate", "ge1974-01-01")]),
    (INV, "Patient", "birthdate=1974", [("birthdate", "1974")]),
    # Codes: unlisted systems are not sent.
    (DEID, "Observation", "code=http://loinc.org|94500-6", [("code", "http://loinc.org|94500-6")]),
    (DEID, "Observation", "code=http://loinc.org|94500-6,urn:local|x",
     [("code", "http://loinc.org|94500-6")]),
    (DEID, "Observation", "code=94500-6", [("code", "94500-6")]),
    (DEID, "Observation", "code:not=urn:local|x", []),
    (INV, "Observation", "code=urn:local|x", [("code", "urn:local|x")]),
    # Pseudonyms decode, in every form; what does not is dropped.
    *[
        (role, "Observation", query.format(p=pid(role), l=pid(role, LONG)), [expected])
        for role in (LDS, DEID)
        for query, expected in [
            ("patient={p}", ("patient", spelled("p1"))),
            ("patient=Patient/{p}", ("patient", spelled("p1"))),
            (f"patient={PUBLIC}/Patient/{{p}}", ("patient", spelled("p1"))),
            ("subject={p}", ("subject", spelled("p1"))),
            ("subject:Patient={p}", ("subject", spelled("p1"))),
            ("patient={p},nonsense,Patient/p1", ("patient", spelled("p1"))),
        ]
    ],
    (LDS, "Patient", f"_id={pid(LDS)},{pid(LDS, 'p2')}", [("_id", "p1,p2")]),
    (LDS, "Patient", f"_id={pid(LDS, LONG)}", [("_id", LONG)]),
    (LDS, "Observation", f"patient={pid(LDS, LONG)}", [("patient", spelled(LONG))]),
    (LDS, "ValueSet", "_id=a-b", [("_id", "a-b")]),
    # The identity view forwards what the registry knows.
    (INV, "Patient", "family=Everywoman", [("family", "Everywoman")]),
    (INV, "Patient", "name:contains=eve", [("name:contains", "eve")]),
    (INV, "Observation", "subject:Patient.name=eve", [("subject:Patient.name", "eve")]),
    # HAPI finds nothing by an id at the end of a chain without a type.
    (INV, "Observation", "patient._id=p1", [("patient:Patient._id", "p1")]),
    (INV, "Observation", "patient.organization.name:exact=eve",
     [("patient:Patient.organization:Organization.name:exact", "eve")]),
    (INV, "Condition", "encounter:Encounter.patient.birthdate=1970",
     [("encounter:Encounter.patient:Patient.birthdate", "1970")]),
    (INV, "Observation", "performer.name=eve", [("performer.name", "eve")]),
    (INV, "Patient", "_has:Observation:patient:code=http://loinc.org|1",
     [("_has:Observation:patient:code", "http://loinc.org|1")]),
    (INV, "Observation", "_include=Observation:subject", [("_include", "Observation:subject")]),
    (INV, "Patient", "_revinclude:iterate=Observation:patient",
     [("_revinclude:iterate", "Observation:patient")]),
    (INV, "Patient", "_sort=-birthdate", [("_sort", "-birthdate,_id")]),
    (INV, "Patient", "_sort=_id", [("_sort", "_id")]),
    (INV, "Patient", "_sort=-gender&active=true&_sort=birthdate",
     [("active", "true"), ("_sort", "-gender,birthdate,_id")]),
    (INV, "Patient", "_sort=-_id&_sort=gender", [("_sort", "-_id,gender")]),
    (INV, "Observation", f"patient={PUBLIC}/Patient/p1", [("patient", spelled("p1"))]),
    (INV, "Observation", f"patient={UPSTREAM}/Patient/p1", [("patient", spelled("p1"))]),
    (INV, "Observation", "patient=https://EHR.example/r4/Patient/p1", [("patient", spelled("p1"))]),
    (INV, "Observation", "code:in=http://vs.example/x", [("code:in", "http://vs.example/x")]),
    # Local parameters stay here; one without effect is dropped.
    *[
        (role, "Patient", "gender=male&_elements=gender&_format=json&_pretty=true&_totalMethod=x",
         [("gender", "male")])
        for role in ROLES
    ],
    *[(role, "Patient", "_summary=true", []) for role in ROLES],
    *[(role, "Patient", "", []) for role in ROLES],
]


@pytest.mark.parametrize(
    ("role", "type_", "query", "sent"), ASKED, ids=[f"{r[0]}-{r[1]}?{r[2][:70]}" for r in ASKED]
)
def test_asked(role: str, type_: str, query: str, sent: list[tuple[str, str]]) -> None:
    """R-ID-7, R-SI-8, R-SI-12, R-DT-7: what goes upstream is made anew from judged parts; R-PG-3:
    the self link shows the client's own parameters."""
    ask = Ask(path=f"{type_}/_search", form=form(*sent, role=role))
    reply = converse(make_call(role, f"/{type_}?{query}"), (ask, EMPTY))
    assert reply.status == 200
    link = link_of(reply, "self")
    assert link.startswith(f"{PUBLIC}/{type_}")
    assert "_totalMethod" not in link
    assert query.count("&") - ("_totalMethod" in query) == max(link.count("&"), 0)
    assert "p1" not in link.split("?")[-1].split("=")[-1] or role == INV or "p1" in query


@pytest.mark.parametrize("role", ROLES)
def test_post_equals_get(role: str) -> None:
    """A search by POST is the same search; parameters of URL and form count together."""
    ask = Ask(
        path="Patient/_search", form=form(("gender", "female"), ("active", "true"), role=role)
    )
    by_get = converse(make_call(role, "/Patient?gender=female&active=true"), (ask, EMPTY))
    by_post = converse(
        form_call(role, "/Patient/_search?gender=female", "active=true"), (ask, EMPTY)
    )
    assert (by_get.status, by_get.body) == (by_post.status, by_post.body)


NOTHING = [
    (LDS, "Patient", "_id=p1"), (DEID, "Patient", "_id=never-existed"),
    (DEID, "Observation", "patient=Patient/p1"), (LDS, "Observation", "patient=p1"),
    (LDS, "Observation", f"patient=Group/{pid(LDS)}"),
    (LDS, "Observation", f"patient={pid(DEID)}"),
    (DEID, "Observation", "code=urn:local|x,urn:other|y"),
    (DEID, "Bundle", "identifier=urn:x|y"),
    (LDS, "Patient", "gender=female&_id=p1"),
]


@pytest.mark.parametrize(("role", "type_", "query"), NOTHING, ids=[str(r) for r in NOTHING])
def test_what_stands_for_nothing_is_not_asked(role: str, type_: str, query: str) -> None:
    """R-SI-7: a value that names nothing shown gives an empty set, without an upstream call, the
    same as one that never existed."""
    reply = converse(make_call(role, f"/{type_}?{query}"))
    assert reply.status == 200
    bundle = body_of(reply)
    assert "entry" not in bundle
    assert "total" not in bundle


REFUSED = [
    # hidden elements, R-SI-1
    *[(role, f"Patient?{q}", 403) for role in (LDS, DEID) for q in (
        "family=Everywoman", "name=x", "family:exact=Everywoman", "given:contains=x", "phone=1",
        "email=x", "telecom=x", "address=x", "address:contains=x", "phonetic=x",
        "gender=female&family=x", "%66amily=x",
    )],
    (DEID, "Patient?identifier=x|y", 403),
    # R-SI-2, R-SI-3, R-SP-1 and what else is not sound in restricted views yet
    *[(role, q, 403) for role in (LDS, DEID) for q in (
        "Patient?_has:Observation:patient:code=http://loinc.org|1",
        "Patient?_sort=family", "Observation?patient.family=x",
        "Observation?subject:Patient.name=x",
        "Observation?_include=Observation:device", "Observation?_include=*",
        "Patient?_revinclude=Provenance:target", "Patient?_contained=true", "Patient?_list=42",
        "Patient?_filter=family%20co%20%22x%22", "Patient?_text=x", "Patient?_content=x",
        "Patient?_query=x", "Patient?_tag=x", "Patient?_security=x", "Patient?_profile=x",
        "Patient?_source=x", "Observation?code:in=http://x", "Observation?code:text=x",
        "Location?near=42.28|-83.74|1|km",
    )],
    # R-SI-4, R-SI-8
    (DEID, "Patient?birthdate=ge1974-11-01&birthdate=lt1974-12-01&_summary=count", 403),
    (DEID, "Patient?address-postalcode=48104", 403), (DEID, "Patient?address-postalcode=036", 403),
    (LDS, "Patient?address-postalcode=481", 400),
    (DEID, "Patient?address-city=Ann%20Arbor", 403), (DEID, "Patient?_lastUpdated=2020", 403),
    (DEID, "Observation?code:not=94500-6", 403),
    # pages are ours, R-SP-6
    *[(role, f"Patient?{q}", 403) for role in ROLES for q in (
        "_offset=50", "_getpages=x", "_getpagesoffset=0", "_getpages=x&_getpagesoffset=0",
    )],
    # not known at all, R-SI-11, R-SP-8, R-SI-12
    *[(role, f"Patient?{q}", 400) for role in ROLES for q in (
        "famly=Smith", "nonsense=1", "_nonsense=1", "_hsa:Observation:patient:code=x", "Gender=x",
        "gender:nonsense=x", "_method=PUT", "gender%3A=x", "_count:exact=1", "gender%2Fx=1",
    )],
    # malformed, R-SP-6
    *[(role, f"Patient?{q}", 400) for role in ROLES for q in (
        "_count=-1", "_count=abc", "_count=1&_count=2", "_count=1.5", "_total=yes",
        "_total=none&_total=accurate", "gender=", "gender=a,,b", "gender", "birthdate=notadate",
        "birthdate=2020-13-45", "active:missing=maybe", "_page=x&gender=male",
        "_elements=nonsense", "gender=%zz", "gender=%ff", "gender=a%00",
    ) if not (role == DEID and q.startswith("birthdate"))],
    (LDS, "Observation?patient=http://evil.example/Patient/1", 400),
    (LDS, f"Observation?patient=Patient/{pid(LDS)}/_history/1", 400),
    (LDS, f"Observation?patient=Patient/{pid(LDS)}%23x", 400),
    *[(role, "Patient?birthdate=ap1974", 403) for role in (LDS, DEID)],
    (LDS, "Patient?address-city=_", 400), (INV, "Patient?name=_", 400),
    *[(role, f"Patient?{q}", 400) for role in (LDS, DEID) for q in (
        "_sort=nonsense", "_sort=gender&_sort=active", "_include=Nonsense:subject",
        "_include=Observation:code", "_include=Observation",
        "_revinclude:nonsense=Observation:subject", "_include=Observation:subject:Nonsense",
        "_include=Observation:subject,Observation:patient",
        "_sort=", "_sort=,", "_sort=--gender",
    )],
    (INV, "Patient?_sort=nonsense", 400), (INV, "Patient?_include=Patient:nonsense", 400),
    (INV, "Patient?_has:Foo:x:y=1", 400), (INV, "Observation?subject.nonsense=1", 400),
    (INV, "Observation?code.name=1", 400), (INV, "Patient?general-practitioner:Foo=1", 400),
    # 300 parameters, R-DS-4
    (LDS, "Patient?" + "&".join(["gender=female"] * 300), 400),
]


@pytest.mark.parametrize(
    ("role", "target", "status"), REFUSED, ids=[f"{r[0]}-{r[1][:60]}" for r in REFUSED]
)
def test_refused(role: str, target: str, status: int) -> None:
    """R-SI-1 to R-SI-6, R-SI-8, R-SI-10 to R-SI-12, R-SP-1, R-SP-5, R-SP-6, R-SP-8: refused from
    the request alone, with nothing asked and nothing repeated (R-EL-6)."""
    reply = converse(make_call(role, f"/{target}"))
    assert reply.status == status
    assert issue_of(reply)[1] in {"forbidden", "not-supported", "value", "structure", "invalid",
                                  "too-costly"}
    for word in ("Everywoman", "Smith", "famly", "nonsense", "evil.example", "notadate"):
        assert word.encode() not in reply.body


@pytest.mark.parametrize("role", [LDS, DEID])
@pytest.mark.parametrize(
    ("url", "body"), [("family=Everywoman", "gender=female"), ("gender=female", "family=x")]
)
def test_union_is_judged(role: str, url: str, body: str) -> None:
    """R-RT-9: a hidden parameter is refused whether in the URL or in the form."""
    assert issue_of(converse(form_call(role, f"/Patient/_search?{url}", body))) == (
        403, "forbidden",
    )


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b'{"gender":"male"}', 415), ("", b"gender=male", 415),
        ("application/x-www-form-urlencoded; charset=iso-8859-1", b"gender=male", 415),
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("application/x-www-form-urlencoded", b"gender=\xff", 400),
        ("application/x-www-form-urlencoded", b"gender=%ff", 400),
    ],
)
def test_forms(content_type: str, body: bytes, status: int) -> None:
    """A body that is no form is refused: a server that ignores it would show everything."""
    call = make_call(INV, "/Patient/_search", "POST", body, content_type=content_type)
    assert converse(call).status == status


ROWS = [patient("p1"), patient("p2", gender="male")]


@pytest.mark.parametrize("role", ROLES)
def test_shown(role: str) -> None:
    """R-PG-5: every row goes through the view; its fullUrl is the public base with the shown id;
    nothing of the upstream's envelope is handed on (R-SP-4, R-DT-5, R-SI-11)."""
    answer = searchset(ROWS, total=7, meta={"lastUpdated": "2026-01-01T00:00:00Z"}, score=1)
    ask = Ask(path="Patient/_search", form=form(role=role))
    bundle = body_of(converse(make_call(role, "/Patient"), (ask, answer)))
    assert sorted(bundle) == sorted(
        ["resourceType", "type", "link", "entry", *(["total"] if role == INV else [])]
    )
    ids = [pid(role, "p1"), pid(role, "p2")]
    assert [e["fullUrl"] for e in bundle["entry"]] == [f"{PUBLIC}/Patient/{i}" for i in ids]
    assert [e["resource"]["id"] for e in bundle["entry"]] == ids
    assert [e["search"] for e in bundle["entry"]] == [{"mode": "match"}] * 2
    if role == INV:
        assert bundle["total"] == 7
        assert [e["resource"] for e in bundle["entry"]] == ROWS
    else:
        assert "Everywoman" not in str(bundle)


def ask_for(role: str, *pairs: tuple[str, str], type_: str = "Patient") -> Ask:
    return Ask(path=f"{type_}/_search", form=form(*pairs, role=role))


def test_translated_conditions_are_judged_here() -> None:
    """R-SI-11, R-SP-7: an upstream that ignores the proxy's condition shows nothing more."""
    rows = [
        {"resourceType": "Observation", "id": f"o{i}", "status": "final",
         "code": {"coding": [{"system": "http://loinc.org", "code": "1"}]},
         "subject": {"reference": f"Patient/{p}"}}
        for i, p in enumerate(["p1", "p2", "p1"])
    ]
    reply = converse(
        make_call(LDS, f"/Observation?patient={pid(LDS)}"),
        (ask_for(LDS, ("patient", spelled("p1")), type_="Observation"), searchset(rows)),
    )
    shown = [entry["resource"]["id"] for entry in body_of(reply)["entry"]]
    assert shown == [pid(LDS, "o0", "Observation"), pid(LDS, "o2", "Observation")]


def test_bare_codes_are_judged_as_shown() -> None:
    """A bare code that only a hidden local coding has finds nothing."""
    def row(id_: str, system: str) -> dict[str, object]:
        return {"resourceType": "Observation", "id": id_, "status": "final",
                "code": {"coding": [{"system": system, "code": "x1"}]}}

    reply = converse(
        make_call(DEID, "/Observation?code=x1"),
        (ask_for(DEID, ("code", "x1"), type_="Observation"),
         searchset([row("a", "urn:local"), row("b", "http://loinc.org")])),
    )
    assert [e["resource"]["id"] for e in body_of(reply)["entry"]] == [
        pid(DEID, "b", "Observation")
    ]


def test_document_identifier() -> None:
    """R-ID-6: a document's pseudonym is asked for in all its spellings and judged as shown."""
    uuid = "0C3151BD-1CBF-4D64-B04D-CD9187A4C6E0"
    system, value = namer(DEID).show_document_identifier(f"urn:uuid:{uuid}")
    low, up = uuid.lower(), uuid
    prefixes = ("", "urn:uuid:", "URN:UUID:", "urn:oid:", "URN:OID:")
    spellings = ",".join(p + u for p in prefixes for u in (low, up))
    stored = {"resourceType": "Bundle", "id": "b1", "type": "document",
              "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{low}"}}
    other = {**stored, "id": "b2", "identifier": {"system": "x", "value": "y"}}
    reply = converse(
        make_call(DEID, f"/Bundle?identifier={system}|{value}"),
        (ask_for(DEID, ("identifier", spellings), type_="Bundle"), searchset([stored, other])),
    )
    (entry,) = body_of(reply)["entry"]
    assert entry["resource"]["identifier"] == {"system": system, "value": value}


@pytest.mark.parametrize("role", ROLES)
def test_malformed_row(role: str) -> None:
    """R-WR-5: a row that is no resource has an outcome in its place: never raw, never silent."""
    rows = [patient("p1"), {"resource": {"resourceType": "Patient", "id": 7, "x": "Everywoman"}},
            {"resource": "Everywoman"}, patient("p3")]
    entries = body_of(converse(make_call(role, "/Patient"), (ask_for(role), searchset(rows))))[
        "entry"]
    assert [e["search"]["mode"] for e in entries] == ["match", "outcome", "outcome", "match"]
    assert entries[1]["resource"]["issue"][0]["code"] == "incomplete"
    assert "Everywoman" not in str(entries[1:3])


BROKEN = [
    ("another type", searchset([{"resourceType": "Observation", "id": "o1"}])),
    ("a history", ok({"resourceType": "Bundle", "type": "history"})),
    ("a resource", ok(patient("p1"))),
    ("an array for a Bundle", ok(b"[]")),
    ("entries that are no list", ok({"resourceType": "Bundle", "type": "searchset", "entry": {}})),
    ("a next link elsewhere", searchset(ROWS, "http://evil.example/fhir?_getpages=1")),
    ("a next link beside", searchset(ROWS, "http://upstream:8080/fhirx?_getpages=1")),
    ("a relative next link", searchset(ROWS, "?_getpages=1")),
    ("cut off", ok(b'{"resourceType":"Bundle","type":"searchset","entry":[{"resource":{')),
]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("answer", [a for _, a in BROKEN], ids=[n for n, _ in BROKEN])
def test_broken_answers_are_withheld(role: str, answer: Answer) -> None:
    """R-UM-1, R-UM-3, R-EL-7: an answer that is not a page of what was asked for is a 502, never
    an empty or a partial set."""
    reply = converse(make_call(role, "/Patient"), (ask_for(role), answer))
    assert issue_of(reply) == (502, "exception")


@pytest.mark.parametrize("role", [LDS, DEID])
def test_uninvited_rows_are_left_out(role: str) -> None:
    """What the upstream adds beside the matches was not asked for and is not shown."""
    rows = [patient("p1"),
            {"resource": patient("p2"), "search": {"mode": "include"}},
            {"resource": {"resourceType": "OperationOutcome", "id": "x"},
             "search": {"mode": "outcome"}}]
    reply = converse(make_call(role, "/Patient"), (ask_for(role), searchset(rows)))
    assert len(body_of(reply)["entry"]) == 1


def test_included_rows_of_an_identity_view() -> None:
    """Includes come along if their type may; an outcome of the upstream never does."""
    rows = [{"resource": {"resourceType": "Observation", "id": "o1"}, "search": {"mode": "match"}},
            {"resource": patient("p1"), "search": {"mode": "include"}},
            {"resource": {"resourceType": "Group", "id": "g1"}, "search": {"mode": "include"}},
            {"resource": {"resourceType": "OperationOutcome", "id": "x"},
             "search": {"mode": "outcome"}}]
    ask = Ask(path="Observation/_search",
              form=(("_include", "Observation:subject"), ("_count", "100")))
    call = make_call(INV, "/Observation?_include=Observation:subject")
    entries = body_of(converse(call, (ask, searchset(rows))))["entry"]
    assert [(e["fullUrl"], e["search"]["mode"]) for e in entries] == [
        (f"{PUBLIC}/Observation/o1", "match"), (f"{PUBLIC}/Patient/p1", "include"),
    ]


@pytest.mark.parametrize(
    "query",
    ["subject:Patient.name=x", "_has:Observation:patient:code=x", "patient.organization.name=x"],
)
def test_scopes_reach_through_chains(query: str) -> None:
    """A condition on a type tells of its resources, so the token must cover it too."""
    type_ = "Patient" if query.startswith("_has") else "Observation"
    narrow = caller(INV, scopes=frozenset({f"user/{type_}.rs"}))
    reply = converse(make_call(narrow, f"/{type_}?{query}"))
    assert issue_of(reply) == (403, "forbidden")
    assert b"name one (subject:Patient.gender)" in reply.body


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("status", "expected"), [(400, 400), (422, 400), (500, 502), (409, 502)])
def test_upstream_errors(role: str, status: int, expected: int) -> None:
    """R-EL-1: an upstream error is ours in words; a value it cannot read is the client's."""
    reply = converse(
        make_call(role, "/Patient?gender=x"),
        (ask_for(role, ("gender", "x")), Answer(status, {}, b"HAPI-0524 Everywoman")),
    )
    assert reply.status == expected
    assert b"HAPI" not in reply.body


def test_withheld_rows_are_absent() -> None:
    """A resource withheld by a modifierExtension has no row."""
    rows = [patient("p1", **WITHHOLDING), patient("p2")]
    reply = converse(make_call(LDS, "/Patient"), (ask_for(LDS), searchset(rows)))
    (entry,) = body_of(reply)["entry"]
    assert entry["resource"]["id"] == pid(LDS, "p2")


@pytest.mark.parametrize("role", ROLES)
def test_projection_of_rows(role: str) -> None:
    """_elements applies to the rows, never to the searchset itself."""
    call = make_call(role, "/Patient?_elements=gender")
    bundle = body_of(converse(call, (ask_for(role), searchset(ROWS))))
    assert bundle["type"] == "searchset"
    for entry in bundle["entry"]:
        assert sorted(entry["resource"]) == ["gender", "id", "meta", "resourceType"]
        assert entry["resource"]["meta"]["tag"][-1]["code"] == "SUBSETTED"
