"""Pseudonyms after a rotation of keys: old ones are understood and answered with the new."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from hashlib import sha256

import pytest

from proxy.engine.gateway import Gateway
from proxy.engine.messages import Answer, Ask
from proxy.errors import Unavailable
from proxy.lenses.identity import IDENTIFIER_SYSTEM, Namers
from tests.engine.playbook import (
    LDS,
    body_of,
    converse,
    gateway,
    issue_of,
    make_call,
    namer,
    ok,
    patient,
    ring,
    searchset,
    spelled,
)

LONG = "patient-ecr-eve-everywoman-" + "0" * 20


@pytest.fixture(scope="module")
def rotated() -> Gateway:
    new = ring().rotate(sha256(b"new").digest(), date(2026, 2, 1))
    return replace(gateway(), namers=Namers(new))


def renamed(at: Gateway, real: str, type_: str = "Patient") -> str:
    return at.namers.of("study-7", LDS).show_id(type_, real)


def test_old_ids_still_read(rotated: Gateway) -> None:
    """An id made under the old key reads the resource, which is shown under its new id."""
    old = namer(LDS).show_id("Patient", "p1")
    reply = converse(
        make_call(LDS, f"/Patient/{old}"), (Ask(path="Patient/p1"), ok(patient("p1"))), at=rotated
    )
    assert body_of(reply)["id"] == renamed(rotated, "p1") != old


def candidates(at: Gateway, shown: str) -> tuple[str, ...]:
    return at.namers.of("study-7", LDS).real_ids("Patient", shown)


def test_long_ids_are_asked_under_every_key(rotated: Gateway) -> None:
    """A long id stands for one candidate a key; all are asked at once, and the one that exists is
    shown. A forged one causes the same asks and is not found."""
    for shown, exists in ((namer(LDS).show_id("Patient", LONG), True), ("x" * len(LONG), False)):
        ids = candidates(rotated, shown)
        assert len(ids) == 2
        asks = tuple(Ask(path=f"Patient/{i}") for i in ids)
        answers = tuple(ok(patient(i)) if i == LONG else Answer(404) for i in ids)
        reply = converse(make_call(LDS, f"/Patient/{shown}"), (asks, answers), at=rotated)
        if exists:
            assert body_of(reply)["id"] == renamed(rotated, LONG)
        else:
            assert issue_of(reply) == (404, "not-found")


def test_a_failure_may_hide_the_one(rotated: Gateway) -> None:
    """If no candidate exists and one could not be asked, that is a failure and no 404."""
    shown = namer(LDS).show_id("Patient", LONG)
    asks = tuple(Ask(path=f"Patient/{i}") for i in candidates(rotated, shown))
    failing = (Answer(404), Answer(error=Unavailable()))
    reply = converse(make_call(LDS, f"/Patient/{shown}"), (asks, failing), at=rotated)
    assert issue_of(reply) == (503, "transient")


@pytest.mark.parametrize("old", [True, False])
def test_references_are_judged_under_current_names(rotated: Gateway, old: bool) -> None:
    """A search by an old or a new id finds the rows, which carry the new one."""
    shown = namer(LDS).show_id("Patient", "p1") if old else renamed(rotated, "p1")
    rows = [
        {"resourceType": "Observation", "id": f"o{i}", "status": "final",
         "code": {"coding": [{"system": "http://loinc.org", "code": "1"}]},
         "subject": {"reference": f"Patient/p{i}"}} for i in (1, 2)
    ]
    ask = Ask(path="Observation/_search",
              form=(("patient", spelled("p1")), ("_sort", "_pid"), ("_count", "101")))
    reply = converse(
        make_call(LDS, f"/Observation?patient={shown}"), (ask, searchset(rows)), at=rotated
    )
    (entry,) = body_of(reply)["entry"]
    assert entry["resource"]["subject"]["reference"] == f"Patient/{renamed(rotated, 'p1')}"


@pytest.mark.parametrize("system", ["http://hospital.example/mrn", None])
@pytest.mark.parametrize("old", [True, False])
def test_identifiers(rotated: Gateway, system: str | None, old: bool) -> None:
    """R-ID-7: an identifier's pseudonym finds exactly the one, by its system and value; one that
    has no system is asked for as having none."""
    made = (namer(LDS) if old else rotated.namers.of("study-7", LDS)).show_identifier(
        system, "MRN,1|2"
    )
    stored = {"value": "MRN,1|2"} if system is None else {"system": system, "value": "MRN,1|2"}
    rows = [patient("p1", identifier=[stored]), patient("p2", identifier=[{"value": "other"}])]
    sent = f"{system or ''}|MRN\\,1\\|2"
    ask = Ask(path="Patient/_search",
              form=(("identifier", sent), ("_sort", "_pid"), ("_count", "101")))
    target = f"/Patient?identifier={made[0]}%7C{made[1]}"
    reply = converse(make_call(LDS, target), (ask, searchset(rows)), at=rotated)
    (entry,) = body_of(reply)["entry"]
    assert entry["resource"]["id"] == renamed(rotated, "p1")


@pytest.mark.parametrize(
    ("value", "status"),
    [(f"{IDENTIFIER_SYSTEM}%7Cnonsense", 200), ("http://x%7Cy", 200), ("nonsense", 400),
     ("%7Cx", 400), (f"{IDENTIFIER_SYSTEM}%7C", 400)],
)
def test_identifiers_that_stand_for_nothing(value: str, status: int) -> None:
    """What is no pseudonym finds nothing, unasked; what is not written as one is refused."""
    assert converse(make_call(LDS, f"/Patient?identifier={value}")).status == status
