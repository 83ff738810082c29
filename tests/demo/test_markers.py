"""Markers: every leaf can hold one, it is legal there, and each can be told from the others."""

from __future__ import annotations

import base64
import re
from datetime import date, datetime

import pytest

from proxy.demo.generator import Case, cases
from proxy.demo.markers import Leaf, each, leaves, marker, plant
from proxy.fhir.codec import Fragment, encode

# R4, datatypes.html: the patterns of the primitive types, for what a marker looks like in JSON.
LEGAL = {
    "base64Binary": r"[0-9A-Za-z+/]+={0,2}",
    "canonical": r"\S+",
    "code": r"[^\s]+( [^\s]+)*",
    "date": r"\d{4}-\d\d-\d\d",
    "dateTime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
    "decimal": r"-?(0|[1-9]\d*)(\.\d+)?",
    "id": r"[A-Za-z0-9\-.]{1,64}",
    "instant": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
    "integer": r"[0-9]+",
    "markdown": r"\S[\s\S]*",
    "oid": r"urn:oid:[0-2](\.(0|[1-9]\d*))+",
    "positiveInt": r"[1-9]\d*",
    "string": r"\S[\s\S]*",
    "time": r"\d\d:\d\d:\d\d(\.\d+)?",
    "unsignedInt": r"\d+",
    "uri": r"\S+",
    "url": r"https?://\S+",
    "uuid": r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "xhtml": r'<div xmlns="http://www.w3.org/1999/xhtml"><p>[^<]+</p></div>',
}


@pytest.fixture(scope="module")
def case() -> Case:
    return next(cases(1))


def text(value: object) -> str:
    return value.contents if isinstance(value, Fragment) else str(value)


@pytest.mark.parametrize("type", sorted(LEGAL))
def test_a_marker_is_legal_for_its_type(type: str) -> None:
    """Whatever the number of the leaf."""
    for number in (0, 1, 59, 3_000):
        made = text(marker(Leaf((), "X.y", type, "", number)))
        assert re.fullmatch(LEGAL[type], made), made
        if type == "date":
            date.fromisoformat(made)
        elif type in ("dateTime", "instant"):
            datetime.fromisoformat(made)
        elif type == "base64Binary":
            assert base64.b64decode(made, validate=True)


def test_every_leaf_of_a_document_is_typed(case: Case) -> None:
    """Leaves are found in all resources of a document, each with its datatype."""
    found = list(leaves(case.eicr))
    assert len(found) > 1_000
    assert all(leaf.type in {*LEGAL, "boolean"} for leaf in found)
    assert {leaf.path.partition(".")[0] for leaf in found} >= {"Bundle", "Patient", "Composition"}


def test_markers_are_unique_and_are_where_they_were_planted(case: Case) -> None:
    """All at once: each marker stands at its place; what holds the document together stays."""
    planted = plant(case.eicr)
    found = {leaf.place: leaf for leaf in leaves(planted.resource)}
    assert len(planted.markers) > 900
    assert all(found[place].value is value for place, value in planted.markers.items())
    assert len({text(value) for value in planted.markers.values()}) == len(planted.markers)
    before = {leaf.place: leaf.value for leaf in leaves(case.eicr)}
    kept = [place for place in before if place not in planted.markers]
    assert all(text(found[place].value) == text(before[place]) for place in kept)
    assert ("entry", 0, "fullUrl") in kept
    assert ("entry", 0, "resource", "id") in kept


def test_one_at_a_time_every_leaf_but_a_boolean_takes_a_marker(case: Case) -> None:
    """One copy for each leaf, with one change; the resource itself is never changed."""
    before = encode(case.rr)
    wanted = [leaf.place for leaf in leaves(case.rr) if leaf.type != "boolean"]
    planted = list(each(case.rr))
    assert [leaf.place for leaf, _ in planted] == wanted
    for leaf, one in planted[::50]:
        changed = [
            a.place
            for a, b in zip(leaves(case.rr), leaves(one.resource), strict=True)
            if text(a.value) != text(b.value)
        ]
        assert changed == [leaf.place]
        assert encode(plant(case.rr, only=leaf.place).resource) == encode(one.resource)
    assert encode(case.rr) == before


def test_a_maker_decides_what_is_planted(case: Case) -> None:
    """A maker sees path and type; None leaves the value."""
    planted = plant(case.eicr, lambda leaf: "Zq" if leaf.path == "Patient.name.family" else None)
    assert set(planted.markers.values()) == {"Zq"}
    assert encode(planted.resource).count(b'"Zq"') == len(planted.markers) == 2
