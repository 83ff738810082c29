"""Places that show less exactly, as conversations with the upstream."""

from __future__ import annotations

import pytest

from proxy.engine.messages import Ask
from proxy.lenses.places import hidden_zip3, zip3_table
from tests.engine.playbook import (
    DEID,
    LDS,
    body_of,
    converse,
    issue_of,
    make_call,
    searchset,
    shown_id,
)

ASKED = [
    (DEID, "address-postalcode=481", [("address-postalcode", "481")]),
    (DEID, "address-postalcode=481,482", [("address-postalcode", "481,482")]),
    (DEID, "address-postalcode=481&address-state=MI",
     [("address-postalcode", "481"), ("address-state", "MI")]),
    (DEID, "address-postalcode=000", [("address-postalcode", ",".join(hidden_zip3()))]),
    (LDS, "address-postalcode=48104", [("address-postalcode", "48104")]),
    (LDS, "address-country=US", [("address-country", "US")]),
]  # fmt: skip


@pytest.mark.parametrize(("role", "query", "sent"), ASKED, ids=[f"{r}-{q}" for r, q, _ in ASKED])
def test_asked(role: str, query: str, sent: list[tuple[str, str]]) -> None:
    """R-SI-8: the digits that show are the beginning of those that are stored; `000` is the
    beginning of none, so every prefix that shows so is asked for."""
    count = [("_sort", "_pid"), ("_count", "101")]
    ask = Ask(path="Patient/_search", form=(*sent, *count))
    assert converse(make_call(role, f"/Patient?{query}"), (ask, searchset([]))).status == 200


REFUSED = [
    *[(DEID, value, 403) for value in ("48104", "48", "4", "48104-1234", "481*", "MI", "481,48104",
                                       "036", "481,036", "+481")],
    *[(LDS, value, 400) for value in ("481", "48104-1234", "4810", "481040", "MI", "48104,481")],
]  # fmt: skip


@pytest.mark.parametrize(("role", "value", "status"), REFUSED)
def test_refused(role: str, value: str, status: int) -> None:
    """R-SI-8: a value that is not as exact as what shows is refused before anything is asked, and
    so is the prefix of an area where few live; the text says what to ask instead."""
    reply = converse(make_call(role, f"/Patient?address-postalcode={value}"))
    assert issue_of(reply)[0] == status
    assert b"digits" in reply.body or b"000" in reply.body
    assert b"036" not in reply.body


def place(id_: str, *codes: str) -> dict[str, object]:
    return {"resourceType": "Patient", "id": id_, "address": [{"postalCode": c} for c in codes]}


def test_judged() -> None:
    """R-SI-11: a row matches by the digits that show, in any of its addresses; ZIP+4 counts by its
    first digits, what is no ZIP code by nothing."""
    rows = [place("p1", "48104"), place("p2", "48201"), place("p3", "48201", "48105-1234"),
            place("p4", "036 01"), place("p5", "03601"), place("p6", "481 Way"), place("p7")]
    hidden = ",".join(hidden_zip3())
    for value, sent, found in [("481", "481", ["p1", "p3"]), ("000", hidden, ["p5"])]:
        ask = Ask(
            path="Patient/_search",
            form=(("address-postalcode", sent), ("_sort", "_pid"), ("_count", "101")),
        )
        call = make_call(DEID, f"/Patient?address-postalcode={value}")
        entries = body_of(converse(call, (ask, searchset(rows))))["entry"]
        assert [e["resource"]["id"] for e in entries] == [
            shown_id(DEID, "Patient", real) for real in found
        ]


def test_the_hidden_prefixes_are_those_of_the_table() -> None:
    """45 CFR 164.514(b)(2)(i)(B): a prefix shows itself or 000, and none is both."""
    shown = {p for p, s in zip3_table().items() if s == p}
    assert len(hidden_zip3()) + len(shown) == 1000
    assert not shown & set(hidden_zip3())
