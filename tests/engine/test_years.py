"""Dates that show as years, as conversations with the upstream: what is asked, what is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.engine.messages import Ask
from tests.engine.playbook import (
    DEID,
    body_of,
    converse,
    issue_of,
    make_call,
    make_gateway,
    patient,
    searchset,
    shown_id,
)

Pairs = tuple[tuple[str, str], ...]


def form(*values: str, name: str = "birthdate") -> Pairs:
    return tuple((name, value) for value in values)


ASKED: list[tuple[str, str, Pairs]] = [
    # One day wider on each side, for servers that read days in their own time zone.
    ("Patient", "birthdate=1974", form("ge1973-12-31", "le1975-01-01")),
    ("Patient", "birthdate=eq1974", form("ge1973-12-31", "le1975-01-01")),
    ("Patient", "birthdate=ge1974", form("ge1973-12-31")),
    ("Patient", "birthdate=gt1974", form("ge1974-12-31")),
    ("Patient", "birthdate=le1974", form("le1975-01-01")),
    ("Patient", "birthdate=lt1974", form("le1974-01-01")),
    # The complement of a year lies on both sides of it: nothing narrower than all is asked for.
    ("Patient", "birthdate=ne1974", ()),
    ("Patient", "birthdate=ne1974,1974", ()),
    ("Patient", "birthdate=lt1950,gt1990", ()),
    # A list is the span of its values, a repetition their intersection.
    ("Patient", "birthdate=1974,1976", form("ge1973-12-31", "le1977-01-01")),
    ("Patient", "birthdate=1974,ge1990", form("ge1973-12-31")),
    ("Patient", "birthdate=ge1974&birthdate=le1976", form("ge1973-12-31", "le1977-01-01")),
    ("Patient", "birthdate=1974&birthdate=1976", form("ge1975-12-31", "le1975-01-01")),
    ("Patient", "birthdate=ne1974&birthdate=ge1970", form("ge1969-12-31")),
    # An open period reaches beyond the days at which HAPI ends it; and the calendar has its own.
    ("Patient", "birthdate=0001", ()),
    ("Patient", "birthdate=ge0001", ()),
    ("Patient", "birthdate=9999", ()),
    ("Patient", "birthdate=9000", form("ge8999-12-31", "le9001-01-01")),
    ("Patient", "birthdate=1000", form("ge0999-12-31", "le1001-01-01")),
    # Of an element that repeats, each value may meet another condition.
    ("Encounter", "location-period=2017&location-period=2019",
     form("ge2016-12-31", "le2018-01-01", name="location-period")),
    ("Encounter", "location-period=ge2017&location-period=2019",
     form("ge2018-12-31", "le2020-01-01", name="location-period")),
    # A composite is asked for by its parts.
    ("Observation", "code-value-date=http://loinc.org|1$2018",
     (("code", "http://loinc.org|1"),)),
    ("Observation", "code-value-date=urn:local|1$2018,http://loinc.org|1$2019",
     (("code", "http://loinc.org|1"),)),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "query", "sent"), ASKED, ids=[f"{t}?{q}" for t, q, _ in ASKED])
def test_asked(type_: str, query: str, sent: Pairs) -> None:
    """R-DT-7: a year goes upstream as a span of days, at most one lower and one upper bound."""
    ask = Ask(path=f"{type_}/_search", form=(*sent, ("_sort", "_pid"), ("_count", "101")))
    assert converse(make_call(DEID, f"/{type_}?{query}"), (ask, searchset([]))).status == 200


JUDGED: list[tuple[str, Pairs, list[str]]] = [
    ("1974", form("ge1973-12-31", "le1975-01-01"), ["p1"]),
    ("ne1974", (), ["p2", "p3"]),
    ("1920", form("ge1919-12-31", "le1921-01-01"), []),
    ("lt1930", form("le1930-01-01"), []),
    ("ne1920", (), ["p1", "p2", "p3"]),
]


def test_judged() -> None:
    """R-DT-7, R-SI-11: a row matches by the year that shows, whatever the upstream found; a person
    in the group of the oldest shows none and matches none, nor the complement of one."""
    rows = [patient("p1", birthDate="1974-01-01"), patient("p2", birthDate="1973-12-31"),
            patient("p3", birthDate="1975"), patient("p4", birthDate="1920-01-01"), patient("p5")]
    for row in rows[4:]:
        row.pop("birthDate", None)
    for query, sent, found in JUDGED:
        ask = Ask(path="Patient/_search", form=(*sent, ("_sort", "_pid"), ("_count", "101")))
        reply = converse(make_call(DEID, f"/Patient?birthdate={query}"), (ask, searchset(rows)))
        shown = [entry["resource"]["id"] for entry in body_of(reply).get("entry", [])]
        assert shown == [shown_id(DEID, "Patient", real) for real in found], query


FINER = ["1974-11", "1974-11-24", "ge1974-11", "sa1974", "eb1974", "ap1974", "1974,1974-11",
         "1974-11-24T00:00:00Z", "ne1974-11-24"]  # fmt: skip


@pytest.mark.parametrize("value", FINER)
def test_finer_values_are_refused(value: str) -> None:
    """R-DT-7, R-SI-4: what is finer than a year, or has a prefix that needs more, is refused
    before anything is asked; the text says what to ask instead."""
    reply = converse(make_call(DEID, f"/Patient?birthdate={value}"))
    assert issue_of(reply) == (403, "forbidden")
    assert b"1974" not in reply.body
    assert b"YYYY" in reply.body or b"eq, ne, ge, gt, le, lt" in reply.body


ROWS = """
title = "Those born since 1950"
basis = "a test"
[access]
Patient = ["search"]
[ids]
default = "real"
[elements]
"Patient" = "keep"
[datatypes]
date = "keep"
[codes]
systems = ["http://loinc.org"]
[rows.Patient]
search = "birthdate=ge1950-01-01"
"""


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("gender=female", (("gender", "female"), *form("ge1950-01-01"))),
        ("birthdate=lt1990-01-01", form("lt1990-01-01")),
        ("birthdate=ge1940-01-01", form("ge1940-01-01")),
        ("birthdate=ne1974", form("ge1950-01-01")),
    ],
)
def test_beside_conditions_on_rows(query: str, sent: Pairs, tmp_path: Path) -> None:
    """An upstream takes one lower and one upper bound of a date, so of two conditions on it the
    caller's is asked for; both are judged."""
    (tmp_path / "born.toml").write_text(ROWS)
    at = make_gateway({"born": tmp_path / "born.toml"})
    rows = [patient("p1", birthDate="1945-01-01"), patient("p2", birthDate="1960-01-01")]
    ask = Ask(path="Patient/_search", form=(*sent, ("_sort", "_pid"), ("_count", "101")))
    reply = converse(make_call("born", f"/Patient?{query}"), (ask, searchset(rows)), at=at)
    entries = body_of(reply).get("entry", [])
    assert [e["resource"]["id"] for e in entries] == ["p2"]
