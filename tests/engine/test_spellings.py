"""References stored as URLs of the upstream: shown as relative ones are, found as they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.engine.messages import Ask
from proxy.fhir.reference import Bases
from tests.engine.playbook import (
    ALIAS,
    DEID,
    INV,
    LDS,
    PUBLIC,
    ROLES,
    UPSTREAM,
    Chart,
    drive,
    entries_of,
    gateway,
    make_call,
    patient,
    shown_id,
)
from tests.engine.test_includes import finding, visit

RESTRICTED = (LDS, DEID)
ELSEWHERE = "http://elsewhere.example/fhir"
STORED = [
    patient("a"), patient("b"),
    visit("v", f"{ALIAS}/Patient/a"),
    finding("1", "Patient/a"),
    finding("2", f"{ALIAS}/Patient/a", encounter={"reference": f"{ALIAS}/Encounter/v"}),
    finding("3", f"{UPSTREAM}/Patient/a"),
    finding("4", f"{ALIAS}/Patient/b"),
    finding("5", f"{ELSEWHERE}/Patient/a"),
    finding("6", f"{ALIAS}/Group/a"),
    finding("7", "Group/a"),
]  # fmt: skip

FOUND = [
    # query, what is found
    ("Observation?subject=Patient/{a}", "123"),
    ("Observation?patient={a}", "123"),
    ("Observation?patient=Patient/{a}", "123"),
    ("Observation?subject:Patient={a}", "123"),
    ("Observation?subject:Patient=Patient/{a}", "123"),
    (f"Observation?subject={PUBLIC}/Patient/{{a}}", "123"),
    (f"Observation?subject:Patient={PUBLIC}/Patient/{{a}}", "123"),
    ("Observation?subject=Patient/{a},Patient/{b}", "1234"),
    ("Observation?subject:Patient={b},{a}", "1234"),
    ("Observation?subject=Patient/{a}&subject=Patient/{b}", ""),
    ("Observation?encounter={v}", "2"),
    ("Encounter?patient={a}", "v"),
    ("Patient?_id={b}&_revinclude=Observation:subject", "b4"),
]


def filled(role: str, query: str) -> str:
    for id_, type_ in (("a", "Patient"), ("b", "Patient"), ("v", "Encounter")):
        query = query.replace("{" + id_ + "}", id_ if role == INV else shown_id(role, type_, id_))
    return "/" + query


def names_of(role: str, ids: str) -> set[str]:
    types = {"a": "Patient", "b": "Patient", "v": "Encounter"}
    found = [(types.get(id_, "Observation"), id_) for id_ in ids]
    return {f"{t}/{i if role == INV else shown_id(role, t, i)}" for t, i in found}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("query", "ids"), FOUND, ids=[f[0] for f in FOUND])
def test_every_spelling_is_found(role: str, query: str, ids: str) -> None:
    """One thing has one name in a view, so what shows a reference is found by it, however the
    upstream stores it."""
    if role == INV and "_revinclude" in query:
        ids = ids[:1]  # the upstream's own, which does not know its aliases
    reply, _ = drive(make_call(role, filled(role, query)), Chart(STORED).serve)
    assert reply.status == 200, reply.body
    assert {name for name, _ in entries_of(reply)} == names_of(role, ids)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        # An id alone is that of any type that may stand there.
        ("subject=a", "12367"),
        ("subject:Group=a", "67"),
        ("subject:Group=Group/a,Patient/a", "67"),
        ("subject:Group=Patient/a", ""),
        (f"subject={ALIAS}/Patient/a", "123"),
        (f"subject={UPSTREAM}/Group/a", "67"),
        # A thing elsewhere is another thing; an identifier is no reference.
        (f"subject={ELSEWHERE}/Patient/a", "5"),
        (f"subject={ELSEWHERE}/Patient/a,Patient/a", "1235"),
        ("subject:identifier=urn:x|1", ""),
        ("subject:missing=false", "1234567"),
    ],
)
def test_what_the_identity_view_finds(query: str, ids: str) -> None:
    """Ids are the upstream's own, and a reference may be written in any of its forms."""
    reply, _ = drive(make_call(INV, f"/Observation?{query}"), Chart(STORED).serve)
    assert reply.status == 200, reply.body
    assert {name for name, _ in entries_of(reply)} == names_of(INV, ids)


def test_what_comes_along_is_found_in_every_spelling() -> None:
    """Two ways to include, in one: what refers to a match, and what that refers to."""
    for role in RESTRICTED:
        query = ("Patient?_id={a}&_revinclude=Observation:subject"
                 "&_include:iterate=Observation:encounter")  # fmt: skip
        reply, _ = drive(make_call(role, filled(role, query)), Chart(STORED).serve)
        assert {name for name, _ in entries_of(reply)} == names_of(role, "a123v")


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("subject=Patient/{a}", ("subject", "Patient/a")),
        ("subject:Patient={a}", ("subject:Patient", "a")),
        ("patient={a}", ("patient", "Patient/a")),
    ],
)
def test_without_aliases_a_name_has_one_spelling(query: str, sent: tuple[str, str]) -> None:
    """A server without aliases is asked for what it holds: its own things, relative."""
    plain = replace(gateway(), bases=Bases(UPSTREAM))
    for role in RESTRICTED:
        call = make_call(role, filled(role, f"Observation?{query}"))
        reply, asked = drive(call, Chart(STORED).serve, plain)
        assert reply.status == 200
        assert isinstance(asked[0], Ask)
        assert sent in (asked[0].form or ())
