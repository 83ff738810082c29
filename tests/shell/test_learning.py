"""Learning the upstream's search parameters: once, on demand, never in the way of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from proxy.engine.gateway import Gateway
from proxy.engine.messages import Answer, Ask, Call, Flow, Reply
from proxy.errors import UpstreamTimeout
from proxy.fhir.reference import Bases
from proxy.lenses.keys import KeyRing
from proxy.shell.learning import AGAIN, Starter, read_parameters
from tests.shell.support import CALLER, NOW, PUBLIC

STATEMENT = (
    b'{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","rest":['
    b'{"mode":"client","resource":[{"type":"Group"}]},'
    b'{"mode":"server","resource":[{"type":"Patient","searchParam":['
    b'{"name":"_id","type":"token"},{"name":"family","type":"string"}]},{"type":"Binary"}]}]}'
)
KNOWN = {"Patient": frozenset({"_id", "family"}), "Binary": frozenset[str]()}
ASKED = Call("GET", "/metadata?_format=json", {}, b"", CALLER, NOW, "1")


def parameters(call: Call, gateway: Gateway) -> Flow:
    """A flow whose reply says what the gateway knows."""
    yield from ()
    known = gateway.upstream_parameters
    return Reply(200, b"none" if known is None else repr(sorted(known)).encode())


@pytest.fixture
def starter() -> Starter:
    ring = KeyRing.new(bytes(range(32)), bytes(range(32, 64)), NOW.date())
    gateway = Gateway.make(
        public_url=PUBLIC, bases=Bases("http://127.0.0.1:9/fhir"), views={}, ring=ring
    )
    return Starter(gateway, parameters)


def say(starter: Starter, call: Call, *answers: Answer) -> tuple[list[object], Reply]:
    """What a flow asks, and its reply, when it is given these answers."""
    flow, asked, sent = starter(call), [], iter(answers)
    try:
        asked.append(next(flow))
        while True:
            asked.append(flow.send(next(sent)))
    except StopIteration as done:
        return cast("list[object]", asked), done.value


def test_learned_once_an_hour(starter: Starter) -> None:
    """The first capability statement of a caller asks the upstream; later ones do not, for an
    hour."""
    good = Answer(200, body=STATEMENT)
    assert say(starter, ASKED, good) == ([Ask("metadata")], Reply(200, b"['Binary', 'Patient']"))
    assert say(starter, ASKED) == ([], Reply(200, b"['Binary', 'Patient']"))
    later = replace(ASKED, now=NOW + AGAIN - timedelta(seconds=1))
    assert say(starter, later)[0] == []
    assert say(starter, replace(ASKED, now=NOW + AGAIN), good)[0] == [Ask("metadata")]


@pytest.mark.parametrize(
    "call",
    [
        replace(ASKED, caller=None),
        replace(ASKED, target="/Patient"),
        replace(ASKED, target="/metadata/x"),
        replace(ASKED, method="POST"),
    ],
)
def test_nobody_else_asks(call: Call, starter: Starter) -> None:
    """Anonymous requests and other interactions cause no such call."""
    assert say(starter, call)[0] == []


@pytest.mark.parametrize(
    "answer",
    [
        Answer(error=UpstreamTimeout()),
        Answer(404),
        Answer(200, body=b""),
        Answer(200, body=b"[]"),
        Answer(200, body=b'{"resourceType":"Patient"}'),
        Answer(200, body=STATEMENT[:-5]),
        Answer(200, body=b'{"resourceType":"CapabilityStatement","rest":7}'),
        Answer(200, body=b"\xff" + STATEMENT),
    ],
)
def test_unusable_answers_leave_it_unknown(answer: Answer, starter: Starter) -> None:
    """A statement that cannot be used changes nothing, and the next request asks again."""
    for _ in range(2):
        assert say(starter, ASKED, answer) == ([Ask("metadata")], Reply(200, b"none"))


def test_parameters_of_a_statement() -> None:
    """What the server side lists, by type; a type without parameters has an empty set."""
    found: Mapping[str, frozenset[str]] | None = read_parameters(Answer(200, body=STATEMENT))
    assert found == KNOWN
