"""One request: read it under limits, drive its flow, record it, answer it.

Only what lies below the path of ``public-url`` is FHIR; two probes say a word; everything else
does not exist. The request is judged on its raw target, never on what a router made of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import hdrs, web

from proxy.engine.messages import Answer, Ask, Call, Facts, Flow, Reply
from proxy.errors import (
    AuditUnavailable,
    InternalError,
    NotFound,
    ProxyError,
    Unauthorized,
)
from proxy.fhir.interaction import OPEN, classify
from proxy.policy.model import Caller
from proxy.shell.audit import Audit, Exchange
from proxy.shell.boundary import judge
from proxy.shell.claims import RefusedBearer
from proxy.shell.cors import allow_origin, is_preflight
from proxy.shell.drive import Offload, Send, drive
from proxy.shell.keys import FRONT, TRACE, Trace
from proxy.shell.request import check_headers, make_call, read_body, read_target, split
from proxy.shell.response import FHIR_JSON, Response, make_response
from proxy.shell.upstream import Upstream

log = logging.getLogger(__name__)

PROBES: Final = ("/healthz", "/readyz")

Authenticate = Callable[[Mapping[str, str]], Awaitable[Caller]]


@dataclass(frozen=True, slots=True)
class Front:
    """What the handler needs, put together once by the composition root.

    ``path``: path of the public URL without a trailing slash, ``/fhir`` or empty. ``body_limit``:
    bytes. ``exchange_seconds``: for all upstream calls of one request together. ``start``: makes
    the flow of a Call. ``ready``: whether requests can be answered now.
    """

    path: str
    body_limit: int
    exchange_seconds: float
    start: Callable[[Call], Flow]
    authenticate: Authenticate
    upstream: Upstream
    audit: Audit
    offload: Offload
    now: Callable[[], datetime]
    ready: Callable[[], bool]
    origins: frozenset[str] = field(default_factory=frozenset)


async def answer(request: web.Request) -> web.StreamResponse:
    """The response to ``request``; every error of :mod:`proxy.errors` may be raised instead."""
    front, trace = request.app[FRONT], request[TRACE]
    target = read_target(request)
    if target in PROBES and request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
        return probe(front, trace, target)
    below = split(front.path, target)
    if below is None:
        raise NotFound("There is no such route.")
    check_headers(request)
    trace.headers = allow_origin(front.origins, request)
    if trace.headers and is_preflight(request):
        trace.place = "preflight"
        return make_response(204, b"", trace.request_id, extra=trace.headers)
    return await converse(front, trace, request, below)


def probe(front: Front, trace: Trace, target: str) -> Response:
    """``/healthz``: this process answers. ``/readyz``: it can answer requests."""
    trace.place = target
    up = target == "/healthz" or front.ready()
    status, word = (200, b"up\n") if up else (503, b"down\n")
    return make_response(status, word, trace.request_id, content_type="text/plain; charset=utf-8")


async def converse(front: Front, trace: Trace, request: web.Request, target: str) -> Response:
    """Identify, read, drive, record, answer. Nothing is released before it is recorded."""
    caller: Caller | None = None

    def record(status: int, code: str = "") -> None:
        front.audit.write(
            Exchange(front.now(), trace.request_id, trace.method, caller, trace.facts, status, code)
        )

    try:
        caller = await identify(front, request, target)
        trace.role = caller.role if caller else ""
        body = await read_body(request, front.body_limit)
        call = make_call(request, target, body, caller, front.now(), trace.request_id)
        reply = await drive(front.start(call), sender(front), front.offload, weight=len(call.body))
        trace.facts = reply.facts
        if reply.facts.alarms:
            found = {"request_id": trace.request_id, "hits": reply.facts.alarms}
            log.error("tripwire", extra=found)
        if reply.status == InternalError.status:
            log.error("fault", extra={"request_id": trace.request_id, "fault": "core"})
        if not reply.body and reply.status != HTTPStatus.NOT_MODIFIED:
            raise InternalError  # an answer that says nothing is a fault, not an empty result
        response = make_response(
            reply.status,
            reply.body,
            trace.request_id,
            added=reply.headers,
            extra=trace.headers,
            content_type=_media_type(reply),
        )
    except asyncio.CancelledError:
        with suppress(AuditUnavailable):
            record(0, "cancelled")
        raise
    except Exception as raised:
        error = judge(raised)
        if isinstance(raised, RefusedBearer):
            caller = raised.caller
        trace.facts = trace.facts if trace.facts.interaction else recognize(request, target)
        record(error.status, error.code)
        raise
    record(reply.status, issue_code(reply))
    return response


def _media_type(reply: Reply) -> str:
    """All is FHIR but the SMART configuration (SMART App Launch 2.2, conformance.html)."""
    smart = reply.status == HTTPStatus.OK and reply.facts.interaction == "smart-configuration"
    return "application/json" if smart else FHIR_JSON


def issue_code(reply: Reply) -> str:
    """The issue code of a refusal that the core made itself, else empty."""
    if reply.status < 400:
        return ""
    try:
        return _refusals.decode(reply.body).issue[0].code
    except (msgspec.MsgspecError, IndexError):
        return ""


class _Issue(msgspec.Struct):
    code: str


class _Refusal(msgspec.Struct):
    issue: list[_Issue]


_refusals = msgspec.json.Decoder(_Refusal)


def sender(front: Front) -> Send:
    """Asks the upstream within what is left of this exchange's time."""
    deadline = asyncio.get_running_loop().time() + front.exchange_seconds

    async def send(ask: Ask) -> Answer:
        return await front.upstream.send(ask, deadline)

    return send


def recognize(request: web.Request, target: str) -> Facts:
    """Interaction and type of a request that was refused, as far as its target tells."""
    try:
        interaction = classify(request.method, target)
    except ProxyError:
        return Facts()
    return Facts(interaction.code, interaction.type, operation=interaction.operation)


async def identify(front: Front, request: web.Request, target: str) -> Caller | None:
    """Who asks; None for an anonymous request to what is open to everyone.

    :raises Unauthorized: there is no token, or more than one, or a bad one. Before anything else
        is looked at (R-AU-1).
    """
    tokens = request.headers.getall(hdrs.AUTHORIZATION, [])
    if len(tokens) == 1:
        return await front.authenticate(request.headers)
    if not tokens and recognize(request, target).interaction in OPEN:
        return None
    raise Unauthorized
