"""No row is lost where the upstream ends a search too early."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from proxy.engine.answers import COUNTED
from proxy.engine.messages import Answer, Ask
from tests.engine.playbook import (
    DEID,
    INV,
    LDS,
    Chart,
    converse,
    drive,
    entries_of,
    issue_of,
    make_call,
    ok,
    patient,
    searchset,
    shown_id,
)
from tests.engine.test_includes import finding, named

CODES = "http://loinc.org"
PEOPLE = [patient(f"p{i}", address=[{"state": "MI"}]) for i in range(7)]
FOUND = [finding(f"f{i}", f"Patient/p{i}") for i in range(7)]


class Lossy(Chart):
    """HAPI where joins give rows several times: a first page that is exactly full does not say
    that it goes on, nor how many rows there are, unless it is asked to count them. ``most`` rows
    on a page."""

    def __init__(self, resources: list[dict[str, Any]], most: int = 3) -> None:
        super().__init__(resources)
        self.most = most

    def serve(self, ask: Ask) -> Answer:
        if ask.url:
            return super().serve(ask)
        cut = [(n, str(min(int(v), self.most)) if n == "_count" else v) for n, v in ask.form or ()]
        answer = super().serve(Ask(path=ask.path, form=tuple(cut)))
        bundle = orjson.loads(answer.body)
        full = len(bundle.get("entry", ())) == self.most
        if answer.status == 200 and COUNTED not in cut and full:
            bundle["link"] = [link for link in bundle["link"] if link["relation"] != "next"]
            bundle.pop("total", None)
        return ok(bundle)


SEARCHES = [
    # role, search, rows found: all of them
    (INV, "/Observation?_total=none", [f"Observation/f{i}" for i in range(7)]),
    (INV, f"/Observation?code={CODES}|&_sort=code&_total=none&_count=3",
     [f"Observation/f{i}" for i in range(7)]),
    (LDS, f"/Observation?code={CODES}|1", [f"Observation/f{i}" for i in range(7)]),
    (DEID, "/Observation?_count=2", [f"Observation/f{i}" for i in range(7)]),
    (LDS, "/Observation?subject:Patient.address-state=MI", [f"Observation/f{i}" for i in range(7)]),
]


@pytest.mark.parametrize(("role", "target", "names"), SEARCHES, ids=[s[1] for s in SEARCHES])
def test_all_rows_are_found(role: str, target: str, names: list[str]) -> None:
    """No loss: a first page that neither goes on nor has a total is not taken for all there is."""
    pages = Lossy([*PEOPLE, *FOUND]).pages(role, target)
    assert entries_of(*pages) == named(role, *names)
    assert all(b'"total"' not in page.body for page in pages)


def test_sorted_rows_are_all_found() -> None:
    """A search that is sorted here walks to the real end."""
    pages = Lossy([*PEOPLE, *FOUND]).pages(LDS, "/Observation?_sort=code&_count=4")
    ids = sorted(shown_id(LDS, "Observation", f"f{i}") for i in range(7))
    assert entries_of(*pages) == [(f"Observation/{i}", "match") for i in ids]


def test_what_refers_is_all_found() -> None:
    """What comes along is complete, too."""
    stored = [patient("p"), *(finding(f"f{i}", "Patient/p") for i in range(7))]
    reply, _ = drive(make_call(LDS, "/Patient?_revinclude=Observation:subject"),
                     Lossy(stored).serve)
    assert entries_of(reply) == named(
        LDS, "Patient/p", *(f"+Observation/f{i}" for i in range(7)))


def test_asked_once_more_only_in_doubt() -> None:
    """A page that says that it goes on, how many rows there are, or that there are none, is taken
    at its word; an upstream that counts nothing is asked once more, not for ever."""
    ask = Ask(path="Patient/_search", form=(("_sort", "_pid"), ("_count", "101")))
    again = Ask(path="Patient/_search", form=(*(ask.form or ()), COUNTED))
    call = make_call(LDS, "/Patient")
    rows = [patient("a")]
    for known in (searchset(rows), searchset(rows, total=900), searchset([], total=None)):
        assert converse(call, (ask, known)).status == 200
    doubtful = searchset(rows, total=None)
    for answer in (doubtful, searchset(rows)):
        reply = converse(call, (ask, doubtful), (again, answer))
        assert entries_of(reply) == named(LDS, "Patient/a")
    assert issue_of(converse(call, (ask, doubtful), (again, Answer(500)))) == (502, "exception")
