"""A resource with half a UTF-16 pair does not take its page with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from proxy.demo.generator import cases
from proxy.engine.messages import Answer, Ask
from proxy.fhir.codec import decode, encode
from proxy.fhir.surrogates import Unpaired
from tests.engine.playbook import (
    DEID,
    INV,
    LDS,
    body_of,
    drive,
    make_call,
    shown_id,
)
from tests.views import RESTRICTED, Case

HEALTHY = b'{"resourceType":"Patient","id":"p1","gender":"female"}'
LONE = (
    rb'{"resourceType":"Patient","id":"p2","gender":"male","birthDate":"1974-11-24",'
    rb'"maritalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-MaritalStatus"'
    rb',"code":"\udC00\ud83d\ude00"}]},"name":[{"family":"\ud800"}],"x":"\\ud800\uD800"}'
)
PAGE = (
    b'{"resourceType":"Bundle","type":"searchset","entry":['
    b'{"resource":' + HEALTHY + b'},{"resource":' + LONE + b"}]}"
)
POST = b',"request":{"method":"POST","url":"Patient"}}'
HISTORY = (
    b'{"resourceType":"Bundle","type":"history","entry":['
    b'{"resource":' + HEALTHY + POST + b',{"resource":' + LONE + POST + b"]}"
)


def serve(ask: Ask) -> Answer:
    if ask.path in ("Patient/p2", "Patient/p2/_history/1"):
        return Answer(200, {}, LONE)
    return Answer(200, {}, HISTORY if "_history" in ask.path else PAGE)


@pytest.mark.parametrize("target", ["/Patient", "/Patient/p2", "/Patient/_history",
                                    "/Patient/p2/_history/1", "/Patient/p2/$everything"])
def test_identity_view_passes_it_on(target: str) -> None:
    """In the identity view it passes byte for byte, in pages, alone, and in history."""
    reply, _ = drive(make_call(INV, target), serve)
    assert reply.status == 200
    assert LONE in reply.body
    assert len(reply.facts.patients) >= 1


@pytest.mark.parametrize("role", [LDS, DEID])
def test_restricted_views_mask_it(role: str) -> None:
    """In other views the element with it is masked as malformed, and all else shows; what comes is
    read by any parser."""
    alone, _ = drive(make_call(role, f"/Patient/{shown_id(role, 'Patient', 'p2')}"), serve)
    page, _ = drive(make_call(role, "/Patient"), serve)
    assert (alone.status, page.status) == (200, 200)
    first, second = (entry["resource"] for entry in body_of(page)["entry"])
    assert first["gender"] == "female"
    assert second == body_of(alone)
    assert second["gender"] == "male"
    assert "code" not in second["maritalStatus"]["coding"][0]
    assert b"\\ud" not in alone.body.lower()


def test_projection_keeps_it() -> None:
    """A projection of the identity view keeps the text of what it shows."""
    reply, _ = drive(make_call(INV, "/Patient/p2?_elements=name"), serve)
    assert rb'"family":"\ud800"' in reply.body
    pretty, _ = drive(make_call(INV, "/Patient/p2?_pretty=true"), serve)
    assert rb'"x": "\\ud800\uD800"' in pretty.body


@pytest.mark.parametrize("policy", RESTRICTED)
def test_wherever_it_stands(policy: str) -> None:
    """In every string of every resource of a case, one at a time, it is masked or gone."""
    (case,) = cases(1, 3)
    view, seen = Case(policy), 0
    for resource in case.resources:
        for changed in one_by_one(decode(encode(resource))):
            assert b"\\ud8" not in encode(view.reveal(changed)), resource["resourceType"]
            seen += 1
    assert seen > 1000


def one_by_one(value: Any) -> Iterator[Any]:
    """Copies of a JSON value, in each of which one string has a lone surrogate."""
    if isinstance(value, str):
        yield Unpaired(value + "\ud800")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            for changed in one_by_one(item):
                yield [*value[:index], changed, *value[index + 1 :]]
    elif isinstance(value, dict):
        for key, item in value.items():
            for changed in one_by_one(item):
                yield {**value, key: changed}
