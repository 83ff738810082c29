"""Chained parameters where ids are pseudonyms: judged on what shows at the end that shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.engine.gateway import Limits
from proxy.engine.messages import Ask
from tests.engine.playbook import (
    DEID,
    LDS,
    WITHHOLDING,
    Chart,
    caller,
    converse,
    drive,
    entries_of,
    form_call,
    gateway,
    issue_of,
    make_call,
    patient,
    searchset,
    shown_id,
)
from tests.engine.test_includes import finding, named, visit

PEOPLE = [
    patient("a", address=[{"state": "MI", "postalCode": "48104-1234", "city": "Ann Arbor"}]),
    patient("b", gender="male", birthDate="1980-02-03", address=[{"state": "OH"}]),
    patient("h", birthDate="1980-02-03", **WITHHOLDING),
    {k: v for k, v in patient("n").items() if k not in ("gender", "birthDate")},
]
FINDINGS = [
    finding("1", "Patient/a"), finding("2", "Patient/b"), finding("3", "Patient/h"),
    finding("4", "Patient/n"), finding("5", "Patient/missing"),
    finding("6", "http://elsewhere.example/fhir/Patient/a"),
    finding("7", "Patient/a", encounter={"reference": "Encounter/v"}),
    finding("8", "Patient/a", **WITHHOLDING),
]
STORED = [*PEOPLE, visit("v"), *FINDINGS]

ANSWERED = [
    # query, real ids of the rows, what went upstream for it
    ("patient.gender=female", "17", "patient:Patient.gender=female"),
    ("subject:Patient.gender=female", "17", "subject:Patient.gender=female"),
    ("patient.gender=female,male", "127", "patient:Patient.gender=female,male"),
    ("patient.gender:not=female", "24", "patient:Patient.gender:not=female"),
    ("patient.gender:missing=true", "4", "_sort=_pid"),  # all rows are looked through
    ("patient.birthdate=ge1980", "2", "patient:Patient.birthdate=ge1980-01-01"),
    ("patient.birthdate=1980-02-03", "2", "patient:Patient.birthdate=1980-02-03"),
    ("subject:Patient.address-state=MI", "17", "subject:Patient.address-state=MI"),
    ("subject:Patient.address-postalcode=48104", "17",
     "subject:Patient.address-postalcode=48104"),
    ("subject:Patient.address-city=Ann%20Arbor", "17",
     "subject:Patient.address-city=Ann Arbor"),
    ("patient._id={a}", "17", "patient:Patient._id=a"),
    ("patient._id={a},nonsense", "17", "patient:Patient._id=a"),
    ("patient.gender=female&code=http://loinc.org|1", "17", "patient:Patient.gender=female"),
    ("patient.gender=female&patient.birthdate=1974-11-24", "17",
     "patient:Patient.birthdate=1974-11-24"),
    ("encounter.class=EMER", "7", "encounter:Encounter.class=EMER"),
    # A withheld patient of that year: the row that refers to it does not match.
    ("patient.birthdate=1980", "2", "patient:Patient.birthdate=ge1980-01-01"),
]


def filled(query: str) -> str:
    return "/Observation?" + query.replace("{a}", shown_id(LDS, "Patient", "a"))


@pytest.mark.parametrize(("query", "rows", "sent"), ANSWERED, ids=[a[0] for a in ANSWERED])
@pytest.mark.parametrize("count", [1, 100])
def test_answered(query: str, rows: str, sent: str, count: int) -> None:
    """R-SI-2: the rows whose visible reference leads to a visible resource that as shown meets
    the condition; the upstream is asked for at least those, by a chain with the type in it."""
    chart = Chart(STORED)
    pages = chart.pages(LDS, f"{filled(query)}&_count={count}")
    assert entries_of(*pages) == named(LDS, *(f"Observation/{i}" for i in rows))
    name, _, value = sent.partition("=")
    assert (name, value) in (chart.log[0].form or ())


def test_what_is_asked() -> None:
    """For each page of the upstream the ends of its rows are asked for by id, each once."""
    first = Ask(path="Observation/_search",
                form=(("patient:Patient.gender", "female"), ("_sort", "_pid"), ("_count", "101")))
    ends = Ask(path="Patient/_search", form=(("_id", "a,b"), ("_count", "3")))
    rows = [finding("1", "Patient/a"), finding("2", "Patient/b"), finding("3", "Patient/a")]
    # The upstream's word is no proof: it says that all three match.
    reply = converse(
        make_call(LDS, "/Observation?patient.gender=female"),
        (first, searchset(rows)), (ends, searchset(PEOPLE[:2])),
    )
    assert entries_of(reply) == named(LDS, "Observation/1", "Observation/3")


def test_what_names_nothing_is_not_asked() -> None:
    """R-SI-7: a chain to what cannot be there gives an empty set, with nothing asked."""
    for value in ("a", "nonsense", shown_id(DEID, "Patient", "a")):
        reply = converse(make_call(LDS, f"/Observation?patient._id={value}"))
        assert (reply.status, entries_of(reply)) == (200, [])


REFUSED = [
    *[(LDS, q, 403) for q in (
        "Observation?patient.family=Everywoman", "Observation?subject:Patient.name:contains=x",
        "Observation?patient.identifier:of-type=a|b|c", "Observation?patient.phone=1",
        "Observation?patient.general-practitioner.address-state=MI",
        "Observation?encounter.patient.gender=male", "Observation?device.type=x",
        "Observation?performer:Organization.address-state=MI", "Observation?patient._has=x",
        "Observation?subject:Patient._tag=x", "Patient?organization.address-state=MI",
        "Observation?subject:Group.code=x", "Patient?_has:Observation:patient:code=x",
        "Observation?patient._has:Condition:patient:code=x",
    )],
    *[(DEID, q, 403) for q in (
        "Observation?patient.gender=female", "Observation?subject:Patient.gender=female",
        "Condition?patient.birthdate=1974",
    )],
    *[(LDS, q, 400) for q in (
        "Observation?subject.gender=female", "Observation?subject:Nonsense.gender=female",
        "Observation?patient.nonsense=x", "Observation?patient._count=1",
        "Observation?patient._sort=gender", "Observation?code.gender=female",
        "Observation?patient.gender:nonsense=x", "Observation?patient.birthdate=never",
        "Observation?patient.address-postalcode=481", "Observation?patient:Group.gender=female",
    )],
]


@pytest.mark.parametrize(
    ("role", "query", "status"), REFUSED, ids=[f"{r[0]}-{r[1]}" for r in REFUSED]
)
def test_refused(role: str, query: str, status: int) -> None:
    """R-SI-2, R-SI-9: what is not listed, has more steps, no clear end, or ends in what is hidden
    is refused from the request alone; what ends in nothing is not known."""
    reply = converse(make_call(role, f"/{query}"))
    assert reply.status == status
    assert b"Everywoman" not in reply.body


def test_scopes_reach_the_end() -> None:
    """A condition on a type tells of its resources, so the token must cover searching it."""
    for scopes, status in (({"user/Observation.rs"}, 403), ({"user/*.rs"}, 200)):
        who = caller(LDS, scopes=frozenset(scopes))
        reply, _ = drive(make_call(who, "/Observation?patient.gender=male"), Chart(STORED).serve)
        assert reply.status == status


HIDDEN: list[tuple[str, list[dict[str, Any]]]] = [
    ("a hidden person", [*STORED, patient("h2", **WITHHOLDING),
                         finding("x", "Patient/h2", **WITHHOLDING)]),
    ("another hidden sex", [*(p for p in STORED if p["id"] != "h"),
                            patient("h", gender="male", **WITHHOLDING)]),
    ("another name", [*({**p, "name": [{"family": "Other"}]} if p["id"] == "a" else p
                        for p in STORED)]),
    ("the end of a ZIP code", [
        {**p, "address": [{"state": "MI", "postalCode": "48104-9999", "city": "Ann Arbor"}]}
        if p["id"] == "a" else p for p in STORED]),
]
QUERIES = [
    "patient.gender=female", "patient.gender=male", "patient.gender:not=male",
    "patient.birthdate=ge1980-01-01&_count=1", "subject:Patient.address-postalcode=48104&_count=1",
    "patient.gender:missing=false&_count=2", "patient.gender=female&_sort=date",
]


@pytest.mark.parametrize("world", [w for _, w in HIDDEN], ids=[n for n, _ in HIDDEN])
@pytest.mark.parametrize("query", QUERIES)
def test_hidden_ends_tell_nothing(query: str, world: list[dict[str, Any]]) -> None:
    """R-SI-2, R-SI-9: two stores that differ in hidden ends, or in what is hidden of them, give
    the same pages."""
    ordered = sorted(world, key=lambda r: (r["resourceType"] == "Observation", r["id"]))
    plain = sorted(STORED, key=lambda r: (r["resourceType"] == "Observation", r["id"]))
    one, other = (Chart(rows).pages(LDS, filled(query)) for rows in (plain, ordered))
    assert [entries_of(page) for page in one] == [entries_of(page) for page in other]
    assert [len(page.body) for page in one] == [len(page.body) for page in other]


def test_hidden_references_lead_nowhere() -> None:
    """A row that the upstream finds by a reference which does not show does not match: here the
    encounter, in a searchset that says so."""
    rows = [finding("1", "Patient/a", encounter={"reference": "Encounter/v", **WITHHOLDING}),
            finding("2", "Patient/a", encounter={"identifier": {"value": "v"}})]
    first = Ask(path="Observation/_search",
                form=(("encounter:Encounter.class", "EMER"), ("_sort", "_pid"), ("_count", "100")))
    chart = Chart([visit("v")])
    reply, asked = drive(
        make_call(LDS, "/Observation?encounter.class=EMER&_count=10"),
        lambda ask: searchset(rows) if ask == first else chart.serve(ask),
    )
    assert asked[0] == first
    assert all(name != "Observation/2" for name, _ in entries_of(reply))
    assert len(entries_of(reply)) <= 1


def test_malformed_rows_lead_nowhere() -> None:
    """A row that cannot be read meets no condition on what it refers to."""
    broken = {"resource": {"resourceType": "Observation", "id": 7}}
    chart = Chart(PEOPLE)
    reply, _ = drive(
        make_call(LDS, "/Observation?patient.gender=female"),
        lambda ask: chart.serve(ask) if ask.path.startswith("Patient")
        else searchset([broken, finding("1", "Patient/a")]),
    )
    assert entries_of(reply) == named(LDS, "Observation/1")


def test_work_is_limited() -> None:
    """Ends count as work: where too much must be looked through, the search is too costly."""
    stored = [*PEOPLE, *(finding(f"o{i}", "Patient/missing") for i in range(900))]
    at = replace(gateway(), limits=Limits(asks=4))
    reply, asked = drive(
        make_call(LDS, "/Observation?patient.gender:not=x&_count=1"),
        lambda ask: Chart(stored).serve(
            replace(ask, form=tuple(p for p in ask.form or () if "." not in p[0])))
        if not ask.url else searchset([], ask.url + "1"), at,
    )
    assert issue_of(reply) == (400, "too-costly")
    assert len(asked) <= 4


def test_sorted_and_included() -> None:
    """Chains go together with orders and with what comes along."""
    query = "patient.gender=female&_sort=-date&_include=Observation:patient&_count=1"
    pages = Chart(STORED).pages(LDS, filled(query))
    first, second = sorted(named(LDS, "Observation/1", "Observation/7"))
    (along,) = named(LDS, "+Patient/a")
    assert [entries_of(page) for page in pages] == [[first, along], [second, along]]


def test_post_equals_get() -> None:
    """A chain by POST is the same chain, judged with what stands in the URL."""
    get, _ = drive(make_call(LDS, filled("patient.gender=female&status=final")),
                   Chart(STORED).serve)
    post, _ = drive(form_call(LDS, "/Observation/_search?patient.gender=female", "status=final"),
                    Chart(STORED).serve)
    assert get.body == post.body
    assert len(entries_of(get)) == 2
