"""Entries of an upstream's searchset that are no rows, and rows that come twice."""

from __future__ import annotations

import pytest

from proxy.engine.messages import Answer, Ask
from tests.engine.playbook import (
    INV,
    ROLES,
    body_of,
    converse,
    issue_of,
    make_call,
    ok,
    patient,
    searchset,
    shown_id,
)

OUTCOME = {"resourceType": "OperationOutcome",
           "issue": [{"severity": "warning", "code": "not-supported"}]}


def page(*entries: object, **members: object) -> Answer:
    return ok({"resourceType": "Bundle", "type": "searchset", "total": len(entries),
               "entry": list(entries), **members})


def ask_for(role: str) -> Ask:
    own = (("_count", "100"), ("_total", "accurate"))
    return Ask(path="Patient/_search",
               form=own if role == INV else (("_sort", "_pid"), ("_count", "101")))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("lost", [
    {}, {"search": {"mode": "match"}}, {"fullUrl": "http://x/Patient/Everywoman"},
    {"search": {"mode": "outcome"}}, {"resource": patient("p2"), "search": {"mode": "Everywoman"}},
    {"resource": patient("p2"), "search": {"mode": "MATCH"}},
    {"resource": patient("p2"), "search": {"mode": "outcome"}},
    {"resource": "Everywoman", "search": {"mode": "outcome"}},
])  # fmt: skip
def test_an_entry_that_is_no_row_is_not_lost_in_silence(role: str, lost: object) -> None:
    """R-WR-5: an entry without resource, or of an unknown mode, or a row that says it is an
    outcome, has an outcome of ours in its place."""
    rows = [{"resource": patient("p1")}, lost, {"resource": patient("p3")}]
    reply = converse(make_call(role, "/Patient"), (ask_for(role), page(*rows)))
    entries = body_of(reply)["entry"]
    assert [e["search"]["mode"] for e in entries] == ["match", "outcome", "match"]
    assert entries[1]["resource"]["issue"][0]["code"] == "incomplete"
    assert b"Everywoman" not in bytes(str(entries[1]), "utf-8")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("members", [{}, {"id": "x"}])
def test_an_outcome_of_the_upstream_is_left_out(role: str, members: dict[str, str]) -> None:
    """What the upstream says about its search is no row, and names what it likes."""
    told = {"resource": OUTCOME | members, "search": {"mode": "outcome"}}
    answer = page({"resource": patient("p1")}, told)
    reply = converse(make_call(role, "/Patient"), (ask_for(role), answer))
    assert [e["search"]["mode"] for e in body_of(reply)["entry"]] == ["match"]


@pytest.mark.parametrize("role", [role for role in ROLES if role != INV])
def test_a_row_that_comes_twice_shows_once(role: str) -> None:
    """A result holds a resource once; a malformed one is none that could be known again."""
    twice = [patient("p1"), patient("p2"), patient("p1"), {"resource": 1}, {"resource": 1}]
    reply = converse(make_call(role, "/Patient"), (ask_for(role), searchset(twice)))
    found = [e["resource"].get("id") for e in body_of(reply)["entry"]]
    ids = [shown_id(role, "Patient", real) for real in ("p1", "p2")]
    assert found == [*ids, None, None]


@pytest.mark.parametrize("role", ROLES)
def test_a_total_below_nothing_is_broken(role: str) -> None:
    """A searchset whose total is no number of rows is none."""
    answer = page({"resource": patient("p1")}, total=-5)
    reply = converse(make_call(role, "/Patient"), (ask_for(role), answer))
    assert issue_of(reply) == (502, "exception")
