"""Sorting where ids are pseudonyms: by what shows, over the whole result, page by page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.engine.gateway import Limits
from proxy.engine.messages import Answer, Ask, Reply
from proxy.engine.orders import Orders
from tests.engine.playbook import (
    DEID,
    LDS,
    NOW,
    POLICIES,
    WITHHOLDING,
    Chart,
    below,
    body_of,
    converse,
    drive,
    entries_of,
    form_call,
    gateway,
    issue_of,
    link_of,
    make_call,
    make_gateway,
    patient,
    searchset,
    shown_id,
)

LOINC = "http://loinc.org"


def seen(id_: str, **members: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final", **members}


def coded(*codings: tuple[str, str]) -> dict[str, Any]:
    return {"code": {"coding": [{"system": s, "code": c} for s, c in codings]}}


PEOPLE = [
    patient("a", gender="male", birthDate="1970-05-05"),
    patient("b", gender="female", birthDate="1970-05"),
    patient("c", gender="female", birthDate="1969-12-31"),
    {k: v for k, v in patient("d").items() if k not in ("gender", "birthDate")},
    patient("e", gender="male", birthDate="1980"),
    patient("f", gender="other", birthDate="1970-05-05"),
]
FINDINGS = [
    seen("a", effectiveDateTime="2020-01-15", **coded((LOINC, "9"))),
    seen("b", effectivePeriod={"end": "2020-01-12"}, **coded((LOINC, "10"), ("urn:local", "0"))),
    seen("c", effectivePeriod={"start": "2020-01-10", "end": "2020-02-01"},
         **coded(("http://snomed.info/sct", "1"), (LOINC, "95"))),
    seen("d", **coded(("urn:local", "1"))),
    seen("e", effectiveDateTime="2019", valueQuantity={"value": 5}),
    seen("f", effectiveInstant="2020-01-15T08:00:00-05:00", valueQuantity={"value": -2.5}),
]
# The real ids in the order of what shows; those of one place are ordered by their shown ids.
ORDERS: list[tuple[str, str, list[set[str]]]] = [
    ("Patient", "gender", [{"b", "c"}, {"a", "e"}, {"f"}, {"d"}]),
    ("Patient", "-gender", [{"f"}, {"a", "e"}, {"b", "c"}, {"d"}]),
    ("Patient", "birthdate", [{"c"}, {"b"}, {"a", "f"}, {"e"}, {"d"}]),
    ("Patient", "gender,-birthdate", [{"b"}, {"c"}, {"e"}, {"a"}, {"f"}, {"d"}]),
    ("Patient", "-gender,birthdate", [{"f"}, {"a"}, {"e"}, {"c"}, {"b"}, {"d"}]),
    ("Observation", "date", [{"b"}, {"e"}, {"c"}, {"a"}, {"f"}, {"d"}]),
    ("Observation", "-date", [{"f"}, {"a"}, {"c"}, {"e"}, {"b"}, {"d"}]),
    ("Observation", "value-quantity", [{"f"}, {"e"}, {"a", "b", "c", "d"}]),
    ("Observation", "-value-quantity", [{"e"}, {"f"}, {"a", "b", "c", "d"}]),
    # Codes of unlisted systems do not show, so they order nothing.
    ("Observation", "code", [{"b"}, {"a"}, {"c"}, {"d", "e", "f"}]),
    ("Observation", "-code", [{"c"}, {"a"}, {"b"}, {"d", "e", "f"}]),
]


def expected(role: str, type_: str, order: list[set[str]]) -> list[str]:
    return [
        f"{type_}/{name}"
        for place in order
        for name in sorted(shown_id(role, type_, real) for real in place)
    ]


@pytest.mark.parametrize(("type_", "keys", "order"), ORDERS, ids=[f"{o[0]}-{o[1]}" for o in ORDERS])
@pytest.mark.parametrize("count", [1, 2, 4, 100])
def test_order(type_: str, keys: str, order: list[set[str]], count: int) -> None:
    """Rows come in the order of what shows, then of their shown ids, those without a value last;
    whatever order they are stored in, and wherever the pages end."""
    rows = PEOPLE if type_ == "Patient" else FINDINGS
    for stored in (rows, rows[::-1]):
        pages = Chart(stored).pages(LDS, f"/{type_}?_sort={keys}&_count={count}")
        assert [name for name, _ in entries_of(*pages)] == expected(LDS, type_, order)
        assert {len(entries_of(page)) for page in pages[:-1]} <= {count}


@pytest.mark.parametrize("role", [LDS, DEID])
@pytest.mark.parametrize("count", [1, 4, 100])
def test_ids_are_sorted_as_they_show(role: str, count: int) -> None:
    """The shown id orders rows that are alike in all else anyway, so it may be asked for: up, down
    and beside other keys, never by the real id."""
    ids = {str(row["id"]): shown_id(role, "Patient", str(row["id"])) for row in PEOPLE}
    women, men = ([r for r in ids if r in names] for names in ("bc", "ae"))
    rows = [*PEOPLE, patient("h", **WITHHOLDING)]
    for keys, order in (
        ("_id", sorted(ids, key=ids.__getitem__)),
        ("-_id", sorted(ids, key=ids.__getitem__, reverse=True)),
        ("-_id,gender", sorted(ids, key=ids.__getitem__, reverse=True)),
        ("gender,-_id", [*sorted(women, key=ids.__getitem__, reverse=True),
                         *sorted(men, key=ids.__getitem__, reverse=True), "f", "d"]),
    ):
        pages = Chart(rows).pages(role, f"/Patient?_sort={keys}&_count={count}")
        assert [name for name, _ in entries_of(*pages)] == [f"Patient/{ids[r]}" for r in order]
    walked = Chart(rows)
    walked.pages(role, "/Patient?_sort=_id")
    assert "_sort" not in str(walked.log)


@pytest.mark.parametrize("keys", ["gender", "-birthdate", "_id"])
def test_hidden_rows_move_nothing(keys: str) -> None:
    """Design section 1: with and without hidden rows between, pages are equal, with their
    lengths."""
    hidden = [patient(f"h{i}", gender="male", **WITHHOLDING) for i in range(7)]
    mixed = [row for pair in zip(PEOPLE, hidden, strict=False) for row in pair] + hidden[6:]
    one, other = (Chart(rows).pages(LDS, f"/Patient?_sort={keys}&_count=2")
                  for rows in (PEOPLE, mixed))
    assert entries_of(*one) == entries_of(*other)
    assert [len(page.body) for page in one] == [len(page.body) for page in other]


def test_what_is_hidden_orders_nothing() -> None:
    """R-SI-3: two stores that differ in hidden values only give the same order."""
    renamed = [{**row, "name": [{"family": f"X{9 - i}"}], "multipleBirthInteger": 9 - i}
               for i, row in enumerate(PEOPLE)]
    one, other = (drive(make_call(LDS, "/Patient?_sort=gender"), Chart(rows).serve)[0]
                  for rows in (PEOPLE, renamed))
    assert entries_of(one) == entries_of(other)


def test_no_order_goes_upstream() -> None:
    """Design section 5.5: never an upstream order where ids are pseudonyms; one walk, no second
    ask for a page that was met on the way."""
    form = (("gender", "male"), ("_count", "200"))
    ask = Ask(path="Patient/_search", form=form)
    call = make_call(LDS, "/Patient?gender=male&_sort=-birthdate&_count=1")
    reply = converse(call, (ask, searchset([PEOPLE[0], PEOPLE[4]])))
    assert entries_of(reply) == [(f"Patient/{shown_id(LDS, 'Patient', 'e')}", "match")]
    assert link_of(reply, "next")


SHARED = """
title   = "Under real ids"
basis   = "test"
extends = "case-report"

[access]
Patient     = ["read", "search"]
Observation = ["read", "search"]

[ids]
default = "real"

[datatypes]
date             = "keep"
dateTime         = "keep"
"Meta.lastUpdated" = "keep"

[search]
total  = "exact"
window = 6
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy under which ids show as they are, and one with pseudonyms."""
    folder = tmp_path_factory.mktemp("policies")
    (folder / "real.toml").write_text(SHARED)
    (folder / "named.toml").write_text(SHARED.replace('"real"', '"pseudonym"'))
    (folder / "case-report.toml").write_text((POLICIES / "case-report.toml").read_text())
    return folder


FORWARDED = [
    ("Patient", "birthdate", "birthdate,_id"), ("Patient", "-birthdate", "-birthdate,_id"),
    ("Patient", "_id", "_id"), ("Patient", "gender,-_id", "gender,-_id"),
    ("Patient", "_lastUpdated", "_lastUpdated,_id"),
]


@pytest.mark.parametrize(("type_", "keys", "sent"), FORWARDED, ids=[f[1] for f in FORWARDED])
def test_real_ids_are_sorted_upstream(real: Path, type_: str, keys: str, sent: str) -> None:
    """Where ids are real and all that is read shows as stored, the upstream sorts, by a total
    order."""
    at = make_gateway({"r": real / "real.toml"})
    ask = Ask(path=f"{type_}/_search", form=(("_sort", sent), ("_count", "101")))
    assert converse(make_call("r", f"/{type_}?_sort={keys}"), (ask, searchset([])), at=at).status \
        == 200


def test_codes_are_sorted_here_under_real_ids(real: Path) -> None:
    """Codes that the view hides would order rows upstream."""
    at = make_gateway({"r": real / "real.toml"})
    reply, asked = drive(make_call("r", "/Observation?_sort=code"), Chart(FINDINGS).serve, at)
    assert [n for n, _ in entries_of(reply)] == [f"Observation/{i}" for i in "bacdef"]
    assert "_sort" not in str(asked)


@pytest.mark.parametrize(("order", "sent"), [
    ("_pid", (("_sort", "_pid"),)), ("_lastUpdated", (("_sort", "_lastUpdated"),)), ("", ()),
])
def test_rows_come_as_they_are_stored(order: str, sent: tuple[tuple[str, str], ...]) -> None:
    """Design section 5.5: without an order of the client the upstream is asked for its order of
    storage, so that no index of hidden values orders what it finds; by the key that it has."""
    at = replace(gateway(), storage_order=order)
    ask = Ask(path="Patient/_search", form=(("gender", "male"), *sent, ("_count", "101")))
    assert converse(make_call(DEID, "/Patient?gender=male"), (ask, searchset([])), at=at).status \
        == 200


REFUSED = [
    *[(role, f"Patient?_sort={key}") for role in (LDS, DEID) for key in (
        "family", "name", "phonetic", "_lastUpdated", "_score", "general-practitioner",
        "address", "identifier", "gender,family", "patient.name", "subject:Patient.gender", "link",
        "address-postalcode", "_pid",
    )],
    *[(role, f"Observation?_sort={key}") for role in (LDS, DEID) for key in (
        "patient", "subject", "code-value-quantity", "value-string", "patient.birthdate", "device",
    )],
    (DEID, "Patient?_sort=birthdate"), (DEID, "Patient?_sort=-birthdate"),
    (DEID, "Observation?_sort=date"), (DEID, "Patient?_sort=death-date"),
]


@pytest.mark.parametrize(("role", "query"), REFUSED, ids=[f"{r[0]}-{r[1]}" for r in REFUSED])
def test_refused(role: str, query: str) -> None:
    """R-SI-3: no order by what is hidden, a pseudonym, less exact, chained, or of the store; the
    refusal says what can be sorted by, and nothing is asked."""
    reply = converse(make_call(role, f"/{query}"))
    assert reply.status in (400, 403)
    assert issue_of(reply)[1] in ("forbidden", "not-supported")
    if reply.status == 403:
        assert b"Sortable here: " in reply.body


def test_window(real: Path) -> None:
    """A result that is too large to be sorted is refused with the reason, never sorted in part."""
    at = make_gateway({"r": real / "named.toml"})
    for extra, status in ((0, 200), (1, 400)):
        rows = [*PEOPLE, *(patient(f"x{i}", gender="male") for i in range(extra))]
        reply, _ = drive(make_call("r", "/Patient?_sort=gender"), Chart(rows).serve, at)
        assert reply.status == status
    assert issue_of(reply)[1] == "too-costly"
    assert b"6 rows are sorted" in reply.body


def test_totals_of_sorted_pages(real: Path) -> None:
    """A total that is asked for counts the rows that show, on every page."""
    at = make_gateway({"r": real / "named.toml"})
    rows = [*PEOPLE[:4], patient("h", **WITHHOLDING)]
    pages = Chart(rows).pages("r", "/Patient?_sort=gender&_count=3&_total=accurate", at)
    assert [body_of(page)["total"] for page in pages] == [4, 4]


def next_of(chart: Chart, target: str) -> tuple[Reply, str]:
    reply, _ = drive(make_call(LDS, target), chart.serve)
    return reply, below(link_of(reply, "next"))


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize("change", ["delete", "add", "hide", "delete both"])
def test_rows_change_meanwhile(remembered: bool, change: str) -> None:
    """R-PG-4: a row deleted, added or hidden between two pages moves nothing: the others come,
    each once; also where the order was forgotten, as after a restart."""
    chart = Chart(PEOPLE)
    at = replace(gateway(), orders=Orders())
    names = expected(LDS, "Patient", [{"b"}, {"c"}, {"e"}, {"a"}, {"f"}, {"d"}])
    first, _ = drive(make_call(LDS, "/Patient?_sort=gender,-birthdate&_count=2"), chart.serve, at)
    assert [n for n, _ in entries_of(first)] == names[:2]
    gone = {"delete": ["e"], "add": [], "hide": ["a"], "delete both": ["c", "e"]}[change]
    for real_id in gone:
        if change == "hide":
            chart.write({**patient(real_id), **WITHHOLDING})
        else:
            chart.delete("Patient", real_id)
    if change == "add":
        chart.write(patient("z", gender="female", birthDate="1990-01-01"))
    if not remembered:
        at = replace(at, orders=Orders())
    rest, link = [], link_of(first, "next")
    while link:
        reply, _ = drive(make_call(LDS, below(link)), chart.serve, at)
        rest += [n for n, _ in entries_of(reply)]
        link = link_of(reply, "next")
    lost = [f"Patient/{shown_id(LDS, 'Patient', i)}" for i in gone]
    assert rest == [name for name in names[2:] if name not in lost]


def test_following_pages_do_not_walk_again() -> None:
    """The order of a walk is kept for its following pages, which ask for their rows alone."""
    chart = Chart([patient(f"p{i:04}", gender="male") for i in range(1200)])
    pages = chart.pages(LDS, "/Patient?_sort=gender&_count=100")
    assert len({name for name, _ in entries_of(*pages)}) == 1200
    walked = [ask for ask in chart.log if ask.url or "_id" not in dict(ask.form or ())]
    assert len(walked) == 6
    assert all(len(dict(ask.form or ())["_id"].split(",")) <= 101 for ask in chart.log
               if ask not in walked)


def test_malformed_rows_come_last() -> None:
    """R-WR-5: a row that cannot be read has an outcome in its place, on its page, each once."""
    broken = {"resource": {"resourceType": "Patient", "id": 7}}
    answer = searchset([broken, PEOPLE[1], broken, PEOPLE[0]])

    def serve(ask: Ask) -> Answer:
        ids = dict(ask.form or ()).get("_id", "")
        rows = [row for row in PEOPLE if row["id"] in ids.split(",")]
        return searchset(rows) if ids else answer

    first, _ = drive(make_call(LDS, "/Patient?_sort=gender&_count=3"), serve)
    assert [mode for _, mode in entries_of(first)] == ["match", "match", "outcome"]
    second, _ = drive(make_call(LDS, below(link_of(first, "next"))), serve)
    assert [mode for _, mode in entries_of(second)] == ["outcome"]


def test_a_later_page_is_judged_anew() -> None:
    """R-SP-7: rows of a later page are fetched and judged like any, whatever the upstream adds."""
    chart = Chart(PEOPLE)
    _, link = next_of(chart, "/Patient?gender=male,other&_sort=birthdate&_count=1")
    chart.write(patient("f", gender="female", birthDate="1970-05-05"))
    chart.write(patient("h", gender="male", birthDate="1970-05-05"))
    more, _ = drive(make_call(LDS, link), lambda ask: searchset(
        [v.resource for v in chart.store.of_type("Patient")]))
    names = {name for name, _ in entries_of(more)}
    assert not names & {f"Patient/{shown_id(LDS, 'Patient', i)}" for i in ("h", "b", "c")}


def test_work_of_a_walk_is_limited() -> None:
    """An upstream of endless pages ends as too costly."""
    numbers = iter(range(10**6))

    def serve(ask: Ask) -> Answer:
        return searchset([], f"http://upstream:8080/fhir?_getpages={next(numbers)}")

    at = replace(gateway(), limits=Limits(asks=3))
    reply, asked = drive(make_call(LDS, "/Patient?_sort=gender"), serve, at)
    assert issue_of(reply) == (400, "too-costly")
    assert len(asked) < 300


def test_post_equals_get() -> None:
    """A sorted search by POST is the same search."""
    chart = Chart(PEOPLE)
    get, _ = drive(make_call(LDS, "/Patient?gender=male&_sort=birthdate"), chart.serve)
    post, _ = drive(form_call(LDS, "/Patient/_search?gender=male", "_sort=birthdate"), chart.serve)
    assert (get.status, get.body) == (post.status, post.body)


def test_orders_are_bounded() -> None:
    """Orders go when there are too many names, the oldest first, and when their time is over."""
    orders = Orders(most=5)
    later = NOW.replace(hour=13)
    orders.remember(b"1", ("a", "b", "c"), later)
    orders.remember(b"2", ("d", "e"), later)
    assert orders.recall(b"1", NOW) == ("a", "b", "c")
    orders.remember(b"3", ("f",), later)
    assert [orders.recall(name, NOW) for name in (b"1", b"2", b"3")] == [
        ("a", "b", "c"), None, ("f",)]
    assert orders.recall(b"1", later.replace(minute=1)) is None
    orders.remember(b"4", tuple("ghijkl"), later)
    assert orders.recall(b"4", NOW) is None
