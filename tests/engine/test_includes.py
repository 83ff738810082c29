"""What comes along with matches where ids are pseudonyms: from links that show to what shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.engine.gateway import Limits
from proxy.engine.messages import Answer, Ask
from tests.engine.playbook import (
    DEID,
    INV,
    LDS,
    POLICIES,
    PUBLIC,
    WITHHOLDING,
    Chart,
    body_of,
    caller,
    converse,
    drive,
    entries_of,
    form_call,
    gateway,
    issue_of,
    make_call,
    make_gateway,
    ok,
    patient,
    searchset,
    shown_id,
    spelled,
)

RESTRICTED = (LDS, DEID)


def finding(id_: str, subject: str, **members: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "1"}]},
            "subject": {"reference": subject}, **members}


def visit(id_: str, subject: str = "Patient/a") -> dict[str, Any]:
    return {"resourceType": "Encounter", "id": id_, "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "EMER"},
            "subject": {"reference": subject}}


STORED = [
    patient("a"), patient("b"), patient("h", **WITHHOLDING),
    visit("v"), visit("w", "Patient/b"),
    finding("1", "Patient/a", encounter={"reference": "Encounter/v"}),
    finding("2", "Patient/b"), finding("3", "Patient/a"),
    finding("4", "Patient/h"), finding("5", "Patient/missing"),
    finding("6", "http://elsewhere.example/fhir/Patient/a"), finding("7", "#x"),
    finding("8", "Group/g"), finding("9", "Patient/b", **WITHHOLDING),
    {**finding("p", "Patient/a"), "hasMember": [
        {"reference": f"Observation/{i}"} for i in ("2", "9", "1", "missing", "1")]},
]


def named(role: str, *names: str) -> list[tuple[str, str]]:
    """Entries by real names, ``+`` before what comes along."""
    found = []
    for name in names:
        type_, id_ = name.lstrip("+").split("/")
        mode = "include" if name.startswith("+") else "match"
        found.append((f"{type_}/{shown_id(role, type_, id_)}", mode))
    return found


INCLUDED = [
    # query, entries in order
    ("Observation?_id={1}&_include=Observation:subject", ["Observation/1", "+Patient/a"]),
    ("Observation?_id={1}&_include=Observation:subject:Patient", ["Observation/1", "+Patient/a"]),
    ("Observation?_id={2},{1},{3}&_include=Observation:patient",
     ["Observation/1", "Observation/2", "Observation/3", "+Patient/a", "+Patient/b"]),
    ("Observation?_id={1}&_include=Observation:encounter&_include=Observation:subject",
     ["Observation/1", "+Encounter/v", "+Patient/a"]),
    # What is hidden, missing, elsewhere, contained or of a type that does not show: nothing.
    ("Observation?_id={4},{5},{6},{7},{8}&_include=Observation:subject",
     [f"Observation/{i}" for i in "45678"]),
    # Of what a reference holds, only what shows, in its order, each once.
    ("Observation?_id={p}&_include=Observation:has-member",
     ["Observation/p", "+Observation/2", "+Observation/1"]),
    # A match does not come along as well.
    ("Observation?_id={p},{1}&_include=Observation:has-member",
     ["Observation/1", "Observation/p", "+Observation/2"]),
    # Once is not again: what came along is followed with :iterate only.
    ("Observation?_id={p}&_include=Observation:has-member&_include=Observation:subject",
     ["Observation/p", "+Observation/2", "+Observation/1", "+Patient/a"]),
    ("Observation?_id={p}&_include=Observation:has-member&_include:iterate=Observation:subject",
     ["Observation/p", "+Observation/2", "+Observation/1", "+Patient/a", "+Patient/b"]),
    ("Observation?_id={p}&_include:recurse=Observation:has-member&"
     "_include:iterate=Observation:encounter&_include:iterate=Encounter:patient",
     ["Observation/p", "+Observation/2", "+Observation/1", "+Encounter/v", "+Patient/a"]),
    # What refers to the matches, by references that show.
    ("Patient?_id={b}&_revinclude=Observation:patient", ["Patient/b", "+Observation/2"]),
    ("Patient?_id={a}&_revinclude=Observation:subject:Patient&_revinclude=Encounter:patient",
     ["Patient/a", "+Observation/1", "+Observation/3", "+Observation/p", "+Encounter/v"]),
    ("Encounter?_id={v}&_revinclude=Observation:encounter&_include=Encounter:patient",
     ["Encounter/v", "+Patient/a", "+Observation/1"]),
    ("Encounter?_id={v}&_include=Encounter:patient&_revinclude:iterate=Observation:patient",
     ["Encounter/v", "+Patient/a", "+Observation/1", "+Observation/3", "+Observation/p"]),
    # A path of another type adds nothing, as on other servers.
    ("Patient?_id={a}&_include=Observation:subject", ["Patient/a"]),
    ("Patient?_id={a}&_revinclude=Observation:encounter", ["Patient/a"]),
]


def filled(role: str, query: str) -> str:
    """The query with pseudonyms for the real ids in braces."""
    type_ = query.partition("?")[0]
    for id_ in "12345678abvp":
        query = query.replace("{" + id_ + "}", shown_id(role, type_, id_))
    return "/" + query


@pytest.mark.parametrize("role", RESTRICTED)
@pytest.mark.parametrize(("query", "names"), INCLUDED, ids=[i[0] for i in INCLUDED])
def test_included(role: str, query: str, names: list[str]) -> None:
    """R-SP-1, R4 search.html#include: what shows comes along once, in the order of the matches and
    their references, with mode include, and goes through the view."""
    reply, _ = drive(make_call(role, filled(role, query)), Chart(STORED).serve)
    assert reply.status == 200
    assert entries_of(reply) == named(role, *names)
    assert b"Everywoman" not in reply.body
    for entry in body_of(reply)["entry"]:
        shown = entry["resource"]
        assert entry["fullUrl"] == f"{PUBLIC}/{shown['resourceType']}/{shown['id']}"
    assert "total" not in body_of(reply)


def test_what_is_asked() -> None:
    """Nothing that the upstream includes is taken: targets are asked for by their ids, sources by
    their reference, all matches at once."""
    rows = [finding("1", "Patient/a"), finding("2", "Patient/b"), finding("3", "Patient/a")]
    first = Ask(path="Observation/_search", form=(("_sort", "_pid"), ("_count", "101"),))
    people = Ask(path="Patient/_search", form=(("_id", "a,b"), ("_count", "3")))
    call = make_call(LDS, "/Observation?_include=Observation:subject")
    reply = converse(call, (first, searchset(rows)), (people, searchset([patient("b")])))
    assert entries_of(reply) == named(
        LDS, "Observation/1", "Observation/2", "Observation/3", "+Patient/b")
    first = Ask(path="Patient/_search", form=(("_sort", "_pid"), ("_count", "101"),))
    sources = Ask(path="Observation/_search",
                  form=(("patient", spelled("a", "b")), ("_sort", "_pid"), ("_count", "200")))
    call = make_call(LDS, "/Patient?_revinclude=Observation:patient")
    # An upstream that ignores the condition adds nothing.
    reply = converse(
        call, (first, searchset([patient("a"), patient("b")])),
        (sources, searchset([*rows[:2], finding("x", "Patient/other")])),
    )
    assert entries_of(reply) == named(
        LDS, "Patient/a", "Patient/b", "+Observation/1", "+Observation/2")


def test_several_asks_are_gathered() -> None:
    """Targets of two types, and more ids than one search takes, are asked for at the same time."""
    rows = [finding(f"o{i}", f"Patient/p{i}", encounter={"reference": "Encounter/v"})
            for i in range(100)]
    chart = Chart([*rows, visit("v"), *(patient(f"p{i}") for i in range(100))])
    query = "/Observation?_include=Observation:subject&_include=Observation:encounter"
    reply, asked = drive(make_call(LDS, query), chart.serve)
    assert len(entries_of(reply)) == 201
    assert len(asked) == 3


def test_pages_carry_their_own() -> None:
    """Each page brings what its own matches refer to; _count counts matches only."""
    pages = Chart(STORED).pages(LDS, "/Observation?_include=Observation:subject&_count=2")
    kinds = [[mode for _, mode in entries_of(page)] for page in pages]
    assert [kind.count("match") for kind in kinds] == [2, 2, 2, 2, 1]
    assert [kind.count("include") for kind in kinds] == [2, 1, 0, 0, 1]


def test_sorted_matches_come_first() -> None:
    """What comes along follows the order of sorted matches."""
    stored = [patient("a"), patient("b"),
              finding("1", "Patient/a", effectiveDateTime="2020-01-01"),
              finding("2", "Patient/b", effectiveDateTime="2021-01-01")]
    query = "/Observation?_sort=-date&_include=Observation:patient"
    reply, _ = drive(make_call(LDS, query), Chart(stored).serve)
    assert entries_of(reply) == named(
        LDS, "Observation/2", "Observation/1", "+Patient/b", "+Patient/a")


REFUSED = [
    *[(role, q) for role in RESTRICTED for q in (
        "Observation?_include=*", "Observation?_include=Observation:*", "Observation?_revinclude=*",
        "Patient?_revinclude=Provenance:target", "Observation?_include=Observation:device",
        "Observation?_include=Observation:subject:Group", "Patient?_include=Patient:link",
        "Observation?_include:iterate=Patient:general-practitioner",
        "Observation?_include=Observation:subject&_total=accurate&_summary=count",
    )],
]


@pytest.mark.parametrize(("role", "query"), REFUSED, ids=[f"{r[0]}-{r[1]}" for r in REFUSED])
def test_refused(role: str, query: str) -> None:
    """R-SP-1: wildcards, what is not listed, and types that do not come along are refused before
    anything is asked."""
    assert issue_of(converse(make_call(role, f"/{query}"))) == (403, "forbidden")


def test_scopes_narrow_what_comes_along() -> None:
    """A token that covers matches only brings nothing else, and says so."""
    for scopes, query in (
        ({"user/Observation.rs"}, "Observation?_include=Observation:subject"),
        ({"user/Patient.rs"}, "Patient?_revinclude=Observation:patient"),
    ):
        who = caller(LDS, scopes=frozenset(scopes))
        assert issue_of(converse(make_call(who, f"/{query}"))) == (403, "forbidden")
    both = caller(LDS, scopes=frozenset({"user/Observation.s", "user/Patient.r"}))
    reply, _ = drive(make_call(both, "/Observation?_include=Observation:subject"),
                     Chart(STORED).serve)
    assert ("include" in {mode for _, mode in entries_of(reply)}) is True


def test_limits() -> None:
    """More than a page may hold, or more work than a request may cause, is too costly; never a
    part of what belongs to the page."""
    stored = [patient("a"), *(finding(f"o{i}", "Patient/a") for i in range(450))]
    query = "/Patient?_revinclude=Observation:patient"
    for limits, status in (
        (Limits(included=450), 200), (Limits(included=449), 400), (Limits(asks=2), 400),
    ):
        at = replace(gateway(), limits=limits)
        reply, _ = drive(make_call(LDS, query), Chart(stored).serve, at)
        assert reply.status == status
        assert status == 200 or issue_of(reply)[1] == "too-costly"


BROKEN = [
    ("another type", searchset([finding("1", "Patient/a")]), 502),
    ("no searchset", ok(patient("a")), 502),
    ("an error", Answer(500, {}, b"HAPI Everywoman"), 502),
    ("a next link elsewhere", searchset([patient("a")], "http://evil.example/?_getpages=1"), 502),
]


@pytest.mark.parametrize(("answer", "status"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_broken_answers_are_withheld(answer: Answer, status: int) -> None:
    """R-UM-1: where what belongs to a page cannot be had, there is no page."""
    rows = searchset([finding("1", "Patient/a")])
    call = make_call(LDS, "/Observation?_include=Observation:subject")
    reply, _ = drive(call, lambda ask: rows if ask.path.startswith("Obs") else answer)
    assert reply.status == status
    assert b"Everywoman" not in reply.body


@pytest.mark.parametrize("role", RESTRICTED)
def test_hidden_links_bring_nothing(role: str) -> None:
    """Design section 1: two stores that differ in rows and links that do not show give the same
    bytes, forward and in reverse."""
    hidden = [finding("9b", "Patient/a", **WITHHOLDING), patient("h2", **WITHHOLDING),
              finding("9c", "Patient/h2", **WITHHOLDING)]
    for query in (
        "/Observation?_include=Observation:subject&_count=3",
        "/Patient?_revinclude=Observation:patient&_revinclude=Encounter:patient&_count=3",
    ):
        one, other = (Chart(rows).pages(role, query) for rows in (STORED, [*STORED, *hidden]))
        assert [entries_of(page) for page in one] == [entries_of(page) for page in other]
        assert [len(page.body) for page in one] == [len(page.body) for page in other]


def test_post_and_get_are_the_same() -> None:
    """An include by POST, or in a batch, is the same include."""
    query = "_id={a}&_revinclude=Observation:patient&_include:iterate=Observation:encounter"
    asked = filled(LDS, f"Patient?{query}")
    get, _ = drive(make_call(LDS, asked), Chart(STORED).serve)
    post, _ = drive(form_call(LDS, "/Patient/_search", asked.partition("?")[2]),
                    Chart(STORED).serve)
    assert get.body == post.body
    assert len(entries_of(get)) == 5


def test_the_identity_view_forwards(tmp_path: Path) -> None:
    """An identity view asks the upstream to include, whatever is listed."""
    ask = Ask(path="Observation/_search",
              form=(("_include", "Observation:device"), ("_count", "100")))
    call = make_call(INV, "/Observation?_include=Observation:device")
    assert converse(call, (ask, searchset([]))).status == 200


COUNTED = """
title   = "Counted"
basis   = "test"
extends = "case-report"

[access]
Patient     = ["read", "search", "include"]
Observation = ["read", "search", "include"]

[search]
total   = "exact"
include = ["Observation:patient"]
chain   = ["Observation:patient"]
"""
COUNTS = [
    ("Observation?_total=accurate", 7), ("Observation?status=final&_total=accurate", 7),
    ("Observation?_sort=code&_total=accurate", 7),
    ("Observation?_summary=count", 7), ("Observation?_count=0", 7),
    ("Observation?_include=Observation:patient&_total=accurate", None),
    ("Patient?_revinclude=Observation:patient&_total=accurate", None),
    ("Observation?patient.gender=female&_total=accurate", None),
    ("Observation?patient={a}&_total=accurate", None),
    ("Observation?_include=Observation:patient&_summary=count", 403),
    ("Observation?patient.gender=female&_count=0", 403),
    ("Observation?patient={a}&_summary=count", 403),
]


@pytest.mark.parametrize(("query", "total"), COUNTS, ids=[c[0] for c in COUNTS])
def test_totals(query: str, total: int | None, tmp_path: Path) -> None:
    """R-SP-4, search rules 4.5: no total where something is included, chained or translated, and
    then no count alone; whatever there is."""
    (tmp_path / "case-report.toml").write_text((POLICIES / "case-report.toml").read_text())
    (tmp_path / "counted.toml").write_text(COUNTED)
    at = make_gateway({"r": tmp_path / "counted.toml"})
    named_a = at.namers.of("study-7", "counted").show_id("Patient", "a")
    call = make_call("r", "/" + query.replace("{a}", named_a))
    stored = [r for r in STORED if r["id"] not in ("8", "9", "p")]
    reply, asked = drive(call, Chart([*stored, finding("y", "Patient/a")]).serve, at)
    if total == 403:
        assert (reply.status, asked) == (403, [])
    else:
        assert (reply.status, body_of(reply).get("total")) == (200, total and total + 1)


TYPED = """
title   = "Typed paths"
basis   = "test"
extends = "case-report"

[access]
Observation = ["read", "search"]
Patient     = ["read", "include"]
Device      = ["read"]

[search]
include = ["Observation:subject:Patient", "Observation:device"]
"""


def test_listed_paths_may_name_the_type(tmp_path: Path) -> None:
    """Of a path with a type only that type comes along; of a path to a type that [access] does
    not let come along, nothing: that is an error of the policy, or a refusal where other types
    are at the end of it."""
    (tmp_path / "case-report.toml").write_text((POLICIES / "case-report.toml").read_text())
    policy = tmp_path / "typed.toml"
    policy.write_text(TYPED.replace(', "Observation:device"', ""))
    at = make_gateway({"r": policy})
    for query, status in (
        ("Observation?_include=Observation:subject", 200),
        ("Observation?_include=Observation:subject:Patient", 200),
        ("Observation?_include=Observation:subject:Group", 403),
        ("Patient?_revinclude=Observation:subject", 403),
    ):
        reply, _ = drive(make_call("r", f"/{query}"), Chart(STORED).serve, at)
        assert reply.status == status
