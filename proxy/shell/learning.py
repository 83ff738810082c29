"""Learns from the upstream's CapabilityStatement which search parameters it has.

Asked for when a caller first wants to know, not at start: an upstream that is down then must not
keep the service from starting, and what it lists is needed for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import msgspec

from proxy.engine.gateway import Gateway
from proxy.engine.messages import Answer, Ask, Call, Flow
from proxy.errors import ProxyError
from proxy.fhir.interaction import classify

AGAIN: Final = timedelta(hours=1)  # an upstream may be upgraded while we serve


class _Parameter(msgspec.Struct):
    name: str


class _Resource(msgspec.Struct):
    type: str
    searchParam: list[_Parameter] = []


class _Rest(msgspec.Struct):
    mode: str = ""
    resource: list[_Resource] = []


class _Statement(msgspec.Struct):
    resourceType: str
    rest: list[_Rest] = []


_statements = msgspec.json.Decoder(_Statement)


class Starter:
    """Starts the flow of each Call, before a caller's capability statement with the question
    which parameters the upstream has. An unusable answer leaves them unknown, as they were."""

    def __init__(self, gateway: Gateway, exchange: Callable[[Call, Gateway], Flow]) -> None:
        self._gateway = gateway
        self._exchange = exchange
        self._learned: datetime | None = None

    def __call__(self, call: Call) -> Flow:
        if self._wants(call):
            answer = yield Ask(path="metadata")
            found = read_parameters(answer) if isinstance(answer, Answer) else None
            if found is not None:
                self._gateway = replace(self._gateway, upstream_parameters=found)
                self._learned = call.now
        return (yield from self._exchange(call, self._gateway))

    def tell_issuer(self, members: Mapping[str, object]) -> None:
        """Members of the SMART configuration that the issuer's metadata gave."""
        smart = {**members, **self._gateway.smart}  # what is configured comes first
        self._gateway = replace(self._gateway, smart=smart)

    def _wants(self, call: Call) -> bool:
        if call.caller is None or not call.target.startswith("/metadata"):
            return False
        if self._learned is not None and call.now - self._learned < AGAIN:
            return False
        try:
            return classify(call.method, call.target).code == "capabilities"
        except ProxyError:
            return False


def read_parameters(answer: Answer) -> Mapping[str, frozenset[str]] | None:
    """Type to the codes of its search parameters; None if ``answer`` is no CapabilityStatement."""
    if answer.error is not None or answer.status != 200:
        return None
    try:
        statement = _statements.decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if statement.resourceType != "CapabilityStatement":
        return None
    return {
        resource.type: frozenset(parameter.name for parameter in resource.searchParam)
        for rest in statement.rest
        if rest.mode == "server"
        for resource in rest.resource
    }
