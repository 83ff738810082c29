"""Reads a request under limits: its raw target, its headers, its body."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion10, HttpVersion11

from proxy.engine.messages import Call
from proxy.errors import (
    BodyTooLarge,
    HeadersTooLarge,
    RequestError,
    RequestTimeout,
    UnsupportedMediaType,
)
from proxy.policy.model import Caller

MAX_HEADER_BYTES: Final = 64 * 1024  # all headers together
BODY_SECONDS: Final = 30.0  # from the headers to the last byte of the body

# What the core may look at.
CALL_HEADERS: Final = (hdrs.ACCEPT, hdrs.CONTENT_TYPE, hdrs.IF_NONE_MATCH)

_TARGET = re.compile(r"/[!-~]*")


def read_target(request: web.Request) -> str:
    """The raw target, in origin form.

    :raises RequestError: it is in another form, or holds bytes that no target may hold.
    """
    if request.version < HttpVersion10:
        raise RequestError("The request is not valid HTTP/1.1.")
    if not _TARGET.fullmatch(request.raw_path):
        raise RequestError("The request target is not valid.")
    return request.raw_path


def split(prefix: str, target: str) -> str | None:
    """``target`` below the public path (``/Patient?x``, ``/`` for the base), None if elsewhere."""
    path, mark, query = target.partition("?")
    if path != prefix and not path.startswith(prefix + "/"):
        return None
    return (path[len(prefix) :] or "/") + mark + query


def check_headers(request: web.Request) -> None:
    """:raises HeadersTooLarge: all of them together are too long; one alone fails in the parser."""
    if sum(len(name) + len(value) + 4 for name, value in request.raw_headers) > MAX_HEADER_BYTES:
        raise HeadersTooLarge


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
