"""Composition/$document, line by line: what is asked, level by level, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.engine.gateway import Limits
from proxy.engine.messages import Answer, Ask
from tests.engine.playbook import (
    DEID,
    INV,
    LDS,
    POLICIES,
    PUBLIC,
    ROLES,
    UPSTREAM,
    WITHHOLDING,
    body_of,
    caller,
    converse,
    drive,
    issue_of,
    make_call,
    make_gateway,
    ok,
    patient,
    searchset,
    shown_id,
)

COMPOSITION: dict[str, Any] = {
    "resourceType": "Composition",
    "id": "c",
    "meta": {"versionId": "1", "lastUpdated": "2026-02-01T10:00:00.000Z"},
    "status": "final",
    "type": {"coding": [{"system": "http://loinc.org", "code": "55751-2"}]},
    "subject": {"reference": "Patient/p"},
    "date": "2026-01-05T08:30:00-05:00",
    "author": [{"reference": "Practitioner/a"}],
    "title": "Case report",
    "relatesTo": [{"code": "replaces", "targetReference": {"reference": "Composition/old"}}],
    "section": [
        {
            "code": {"coding": [{"system": "http://loinc.org", "code": "30954-2"}]},
            "entry": [{"reference": f"{UPSTREAM}/Observation/o1/_history/4"}],
        }
    ],
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "o1",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "94500-6"}]},
    "subject": {"reference": "Patient/p"},
    "hasMember": [{"reference": "Observation/o2"}, {"reference": "https://else.example/X/1"}],
    "valueQuantity": {"value": 1.10, "unit": "mg"},
}
MEMBER = {**OBSERVATION, "id": "o2", "hasMember": [{"reference": "Observation/o1"}]}
AUTHOR = {"resourceType": "Practitioner", "id": "a", "name": [{"family": "Seven"}]}


def asked(type_: str, *ids: str) -> Ask:
    form = (("_id", ",".join(ids)), ("_count", str(len(ids))))
    return Ask(path=f"{type_}/_search", form=form)


def test_levels() -> None:
    """The Composition is read; each level of what it refers to is one gathered ask, a search per
    type; versions go, what is elsewhere is not asked for, nothing is asked for twice."""
    reply = converse(
        make_call(LDS, f"/Composition/{shown_id(LDS, 'Composition', 'c')}/$document"),
        (Ask(path="Composition/c"), ok(COMPOSITION)),
        (
            (asked("Patient", "p"), asked("Practitioner", "a"), asked("Observation", "o1")),
            (searchset([patient("p")]), searchset([AUTHOR]), searchset([OBSERVATION])),
        ),
        (asked("Observation", "o2"), searchset([MEMBER])),
    )
    bundle = body_of(reply)
    assert [e["fullUrl"] for e in bundle["entry"]] == [
        f"{PUBLIC}/{type_}/{shown_id(LDS, type_, id_)}"
        for type_, id_ in (
            ("Composition", "c"), ("Patient", "p"), ("Practitioner", "a"),
            ("Observation", "o1"), ("Observation", "o2"),
        )
    ]
