"""One request: read it under limits, drive its flow, record it, answer it.

Only what lies below the path of ``public-url`` is FHIR; two probes say a word; everything else
does not exist. The request is judged on its raw target, never on what a router made of it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec
from aiohttp import hdrs, web
from aiohttp.http import HttpVersion10, HttpVersion11

from proxy.engine.messages import Answer, Ask, Call, Facts, Flow, Pairs, Reply
from proxy.errors import (
    AuditUnavailable,
    BodyTooLarge,
    HeadersTooLarge,
    InternalError,
    NotFound,
    ProxyError,
    RequestError,
    RequestTimeout,
    Unauthorized,
    UnsupportedMediaType,
)
from proxy.fhir.interaction import OPEN, classify
from proxy.policy.model import Caller
from proxy.shell.audit import Audit, Exchange
from proxy.shell.boundary import judge
from proxy.shell.drive import Offload, Send, drive
from proxy.shell.keys import FRONT, TRACE, Trace
from proxy.shell.response import Response, make_response
from proxy.shell.upstream import Upstream

log = logging.getLogger(__name__)

MAX_HEADER_BYTES: Final = 64 * 1024  # all headers together
BODY_SECONDS: Final = 30.0  # from the headers to the last byte of the body

# What the core may look at.
CALL_HEADERS = (hdrs.ACCEPT, hdrs.CONTENT_TYPE, hdrs.IF_NONE_MATCH)

# What a browser of a configured origin may send and see.
CORS_METHODS = "GET, HEAD, POST"
CORS_REQUEST_HEADERS = "Accept, Authorization, Content-Type, If-None-Match, Prefer"
CORS_RESPONSE_HEADERS = "Content-Location, ETag, Location, Retry-After, X-Request-Id"
CORS_SECONDS = "600"

PROBES: Final = ("/healthz", "/readyz")

_TARGET = re.compile(r"/[!-~]*")

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
    if request.version < HttpVersion10:
        raise RequestError("The request is not valid HTTP/1.1.")
    target = request.raw_path
    if not _TARGET.fullmatch(target):
        # Absolute form, asterisk form, or bytes that no target may hold.
        raise RequestError("The request target is not valid.")
    if target in PROBES and request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
        return probe(front, trace, target)
    below = split(front.path, target)
    if below is None:
        raise NotFound("There is no such route.")
    if sum(len(name) + len(value) + 4 for name, value in request.raw_headers) > MAX_HEADER_BYTES:
        raise HeadersTooLarge
    trace.headers = allow_origin(front.origins, request)
    if trace.headers and is_preflight(request):
        trace.place = "preflight"
        return make_response(204, b"", trace.request_id, extra=trace.headers)
    return await converse(front, trace, request, below)


def split(prefix: str, target: str) -> str | None:
    """``target`` below the public path (``/Patient?x``, ``/`` for the base), None if elsewhere."""
    path, mark, query = target.partition("?")
    if path != prefix and not path.startswith(prefix + "/"):
        return None
    return (path[len(prefix) :] or "/") + mark + query


def probe(front: Front, trace: Trace, target: str) -> Response:
    """``/healthz``: this process answers. ``/readyz``: it can answer requests."""
    trace.place = target
    up = target == "/healthz" or front.ready()
    status, word = (200, b"up\n") if up else (503, b"down\n")
    return make_response(status, word, trace.request_id, content_type="text/plain; charset=utf-8")


def allow_origin(origins: frozenset[str], request: web.Request) -> Pairs:
    """CORS headers for a configured origin, none for any other (R-RT-10). Credentials are never
    allowed: the bearer token is a header that a script sets, no cookie."""
    origin = request.headers.getall(hdrs.ORIGIN, [])
    if len(origin) != 1 or origin[0] not in origins:
        return ()
    headers = [
        (hdrs.ACCESS_CONTROL_ALLOW_ORIGIN, origin[0]),
        (hdrs.ACCESS_CONTROL_EXPOSE_HEADERS, CORS_RESPONSE_HEADERS),
    ]
    if is_preflight(request):
        headers += [
            (hdrs.ACCESS_CONTROL_ALLOW_METHODS, CORS_METHODS),
            (hdrs.ACCESS_CONTROL_ALLOW_HEADERS, CORS_REQUEST_HEADERS),
            (hdrs.ACCESS_CONTROL_MAX_AGE, CORS_SECONDS),
        ]
    return tuple(headers)


def is_preflight(request: web.Request) -> bool:
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    )


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
        if reply.status == InternalError.status:
            trace.fault = "core"
            log.error("fault", extra={"request_id": trace.request_id, "fault": trace.fault})
        response = make_response(
            reply.status, reply.body, trace.request_id, added=reply.headers, extra=trace.headers
        )
    except asyncio.CancelledError:
        with suppress(AuditUnavailable):
            record(0, "cancelled")
        raise
    except Exception as raised:
        error = judge(raised)
        trace.facts = trace.facts if trace.facts.interaction else recognize(request, target)
        record(error.status, error.code)
        raise
    record(reply.status, issue_code(reply))
    return response


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
    return Facts(interaction.code, interaction.type)


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


def make_call(
    request: web.Request,
    target: str,
    body: bytes,
    caller: Caller | None,
    now: datetime,
    request_id: str,
) -> Call:
    headers = {
        name.lower(): ", ".join(values)
        for name in CALL_HEADERS
        if (values := request.headers.getall(name, []))
    }
    return Call(request.method, target, headers, body, caller, now, request_id)


async def read_body(request: web.Request, limit: int) -> bytes:
    """The body of a POST, at most ``limit`` bytes. That of a method which we do not offer is not
    read, and a GET has none.

    :raises UnsupportedMediaType: it is encoded. :raises BodyTooLarge: it is longer.
    :raises RequestTimeout: it did not arrive in :data:`BODY_SECONDS`.
    """
    coding = request.headers.get(hdrs.TRANSFER_ENCODING, "chunked").strip().lower()
    if coding != "chunked":
        raise RequestError("The request uses a transfer coding that is not supported.")
    if not request.body_exists:
        return b""
    if request.method in (hdrs.METH_GET, hdrs.METH_HEAD):
        raise RequestError("A GET request has no body.")
    if request.method != hdrs.METH_POST:
        return b""
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedMediaType("The request body must not be encoded.")
    if (request.content_length or 0) > limit:
        raise BodyTooLarge
    await proceed(request)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.content.iter_any():
                size += len(part)
                if size > limit:
                    raise BodyTooLarge
                parts.append(part)
    except TimeoutError:
        raise RequestTimeout from None
    except ConnectionError:
        raise RequestError("The request body is incomplete.") from None
    return b"".join(parts)


async def proceed(request: web.Request) -> None:
    """Tell a client that waits for it to send the body (RFC 9110, 10.1.1): only now, when it is
    known to be wanted."""
    expectation = request.headers.get(hdrs.EXPECT, "").lower()
    if expectation == "100-continue" and request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun


async def expect(request: web.Request) -> None:
    """Stands where aiohttp would answer an Expect header by itself; see :func:`proceed`."""
