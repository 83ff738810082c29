"""The outermost layer of a request: whatever is raised below leaves as an OperationOutcome."""

from __future__ import annotations

import asyncio
import logging
import traceback
import uuid
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from proxy.errors import (
    BodyTooLarge,
    InternalError,
    MethodNotAllowed,
    NotFound,
    ProxyError,
    RequestError,
)
from proxy.shell.keys import TRACE, Trace
from proxy.shell.response import make_refusal

log = logging.getLogger(__name__)

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# aiohttp's own exceptions, should one arise below: its status, our text.
_FROM_STATUS: Mapping[int, type[ProxyError]] = {
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.METHOD_NOT_ALLOWED: MethodNotAllowed,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: BodyTooLarge,
}


def bound(handle: Handle) -> Handle:
    """``handle`` with a request id, timing and an answer for everything it may raise."""

    async def answer(request: web.Request) -> web.StreamResponse:
        trace = Trace(str(uuid.uuid4()), asyncio.get_running_loop().time())
        if request.method in METHODS:
            trace.method = request.method
        request[TRACE] = trace
        try:
            return await handle(request)
        except asyncio.CancelledError:
            log.info("cancelled", extra={"request_id": trace.request_id})
            raise
        except Exception as raised:
            error = judge(raised)
            if isinstance(error, InternalError):
                trace.fault = describe(raised)
                log.error("fault", extra={"request_id": trace.request_id, "fault": trace.fault})
            response = make_refusal(error, trace.request_id, trace.headers)
            if isinstance(raised, RequestPayloadError):
                response.force_close()  # where the next request begins is not known any more
            return response

    return answer


def judge(raised: Exception) -> ProxyError:
    """The error that leaves for ``raised``. Nothing of its text is used unless it is ours."""
    if isinstance(raised, ProxyError):
        return raised
    if isinstance(raised, web.HTTPException):
        default = RequestError if 400 <= raised.status < 500 else InternalError
        return _FROM_STATUS.get(raised.status, default)()
    if isinstance(raised, RequestPayloadError | HttpProcessingError):
        return RequestError("The request body is not valid HTTP.")
    return InternalError()


def describe(raised: BaseException) -> str:
    """Class and innermost place of an exception. Its message may quote data and stays out."""
    frames = traceback.extract_tb(raised.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    own = [f for f in frames if "proxy" in Path(f.filename).parts]
    if own and own[-1] is not frames[-1]:
        place += f" from {Path(own[-1].filename).name}:{own[-1].lineno}"
    return type(raised).__name__ + place
