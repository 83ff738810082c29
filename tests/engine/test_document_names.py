"""One document has one name: wherever a report is mentioned, in whatever spelling, its identifier
is shown as one pseudonym, by which all that mention it are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.fhir.codec import JsonObject
from tests.rig import LDS, RESTRICTED, Rig, embedded, running

UUID = "0e2d6b4e-38a7-4bd6-9b9e-2f7e1f8f0c01"
PREFIXES = ("", "urn:uuid:", "URN:UUID:")
SPELLINGS = tuple(prefix + text for text in (UUID, UUID.upper()) for prefix in PREFIXES)
URI = "urn:ietf:rfc:3986"


def name(number: int) -> Any:
    """The report's identifier, in one of its spellings, under one of its systems."""
    system = {} if number % 3 == 0 else {"system": URI if number % 3 == 1 else "urn:oid:2.999.7"}
    return {**system, "value": SPELLINGS[number % len(SPELLINGS)]}


def composition(id: str, type_: str, **members: Any) -> JsonObject:
    return {
        "resourceType": "Composition",
        "id": id,
        "status": "final",
        "type": {"coding": [{"system": "http://loinc.org", "code": type_}]},
        "date": "2026-01-02",
        "author": [{"display": "x"}],
        "title": "x",
        **members,
    }


def bundle(id: str, number: int, held: JsonObject, kind: str = "document") -> JsonObject:
    url = f"https://ehr.example.org/fhir/{held['resourceType']}/{held['id']}"
    return {
        "resourceType": "Bundle",
        "id": id,
        "type": kind,
        "identifier": name(number),
        "timestamp": "2026-01-02T00:00:00Z",
        "entry": [{"fullUrl": url, "resource": held}],
    }


def stored() -> list[JsonObject]:
    """A report and what mentions it: its document, its answer, a message, what replaces it."""
    report = composition("eicr", "55751-2", identifier=name(0))
    entry = {"reference": "DocumentReference/dr", "identifier": name(1)}
    targets: list[Any] = [
        {"code": "replaces", "targetIdentifier": name(2)},
        {"code": "appends", "targetReference": {"reference": "Composition/eicr",
                                                "identifier": name(3)}},
    ]  # fmt: skip
    sections = [{"title": "eICR", "entry": [entry]}]
    other = {"value": "another"}
    answer = composition("rr", "88085-6", identifier=other, section=sections, relatesTo=targets)
    reference: JsonObject = {
        "resourceType": "DocumentReference",
        "id": "dr",
        "status": "current",
        "masterIdentifier": name(4),
        "content": [{"attachment": {"contentType": "text/plain"}}],
        "relatesTo": [{"code": "replaces", "target": {"reference": "DocumentReference/dr",
                                                      "identifier": name(5)}}],
    }  # fmt: skip
    report_bundle = bundle("b-eicr", 5, report)
    return [report, answer, reference, report_bundle, bundle("b-rr", 2, answer),
            bundle("b-message", 3, report_bundle, "message")]  # fmt: skip


def names_in(value: Any) -> list[tuple[str, str]]:
    """(system, value) of every Identifier."""
    if isinstance(value, list):
        return [found for item in value for found in names_in(item)]
    if not isinstance(value, dict):
        return []
    own = [(value["system"], value["value"])] if {"system", "value"} == value.keys() else []
    return own + [found for item in value.values() for found in names_in(item)]


async def shown_names(rig: Rig, role: str) -> dict[str, list[tuple[str, str]]]:
    found = {}
    for resource in stored():
        type_, id_ = str(resource["resourceType"]), str(resource["id"])
        response = await rig.ask(role, f"/{type_}/{rig.id(role, type_, id_)}")
        assert response.status == 200
        found[id_] = names_in(response.json)
    return found


@pytest.mark.parametrize("role", RESTRICTED)
async def test_one_document_has_one_name(role: str, tmp_path: Path) -> None:
    """In the report, its Bundle, its DocumentReference, its answer, what it replaces or appends to
    and a message around it stands one pseudonym; by it searches find them."""
    async with running(embedded(stored()), tmp_path) as rig:
        system, value = rig.namer(role).show_document_identifier(UUID)
        other = rig.namer(role).show_document_identifier("another")
        found = await shown_names(rig, role)
        assert {id_: len(names) for id_, names in found.items()} == {
            "eicr": 1, "rr": 4, "dr": 2, "b-eicr": 2, "b-rr": 5, "b-message": 3,
        }  # fmt: skip
        assert {n for names in found.values() for n in names} == {(system, value), other}
        token = f"identifier={system}%7C{value}"
        expected = {"Bundle": ["b-eicr", "b-rr", "b-message"], "Composition": ["eicr"]}
        if role == LDS:  # elsewhere DocumentReference.identifier is hidden, which it reads too
            expected["DocumentReference"] = ["dr"]
        for type_, ids in expected.items():
            response = await rig.ask(role, f"/{type_}?{token}")
            shown = sorted(str(r["id"]) for r in response.resources)
            assert shown == sorted(rig.id(role, type_, id_) for id_ in ids)
