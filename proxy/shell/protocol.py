"""HTTP below the handler: what aiohttp's parser refuses is answered in our words.

The parser answers bad requests itself, in text that quotes the client's bytes, below any
middleware, and logs them. :func:`guard` gives an application a protocol whose every answer is a
fixed OperationOutcome and whose log holds nothing of the request.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import struct
import sys
import termios
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler, RequestPayloadError, _ErrInfo

from proxy.errors import (
    HeadersTooLarge,
    InternalError,
    ProxyError,
    RequestError,
    TargetTooLong,
)
from proxy.shell.boundary import Handle, bound, describe
from proxy.shell.log import AccessLog, access_log
from proxy.shell.response import make_refusal

log = logging.getLogger(__name__)

# Bytes of the request target; bytes of one header, name and value; number of headers. The first
# two must differ: the parser raises the same exception for both and tells only the limit.
MAX_TARGET = 8 * 1024
MAX_FIELD = 16 * 1024
MAX_HEADERS = 100

KEEP_ALIVE = 75.0  # seconds an idle or half-sent request may hold a connection
LINGERING = 2.0  # seconds the rest of a refused body is read, so that the answer arrives
# A client takes at least so many bytes of what waits for it, each time so many seconds have passed.
TAKING_BYTES = 32 * 1024
TAKING_SECONDS = 30.0

NOT_HTTP = "The request is not valid HTTP/1.1."

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time (socket(7))

# aiohttp's own words for a limit that has no exception class of its own.
_TOO_MANY_HEADERS = "Too many headers received"


def judge_parser_error(raised: BaseException) -> ProxyError:
    """The error that leaves for what the parser raised; nothing of its text is used."""
    if isinstance(raised, LineTooLong):
        return TargetTooLong() if MAX_TARGET in raised.args else HeadersTooLarge()
    if raised.args == (_TOO_MANY_HEADERS,):
        return HeadersTooLarge()
    return RequestError(NOT_HTTP)


class Protocol(RequestHandler):
    """One connection. Overrides the places where aiohttp speaks for itself, and closes one whose
    client does not take what it asked for: aiohttp would hold the answer for as long."""

    def __init__(self, manager: web.Server, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._sent = 0  # bytes of all answers that have ended
        self._sending: AbstractStreamWriter | None = None
        self._look: asyncio.TimerHandle | None = None

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self._look is None and self.transport is not None:
            self._look_later(self.transport)
        self._sending = request.writer
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._sending = None
            self._sent += request.writer.output_size

    def _look_later(self, transport: asyncio.Transport) -> None:
        taken = self._taken(transport)
        self._look = self._loop.call_later(TAKING_SECONDS, self._judge_taking, transport, taken)

    def _judge_taking(self, transport: asyncio.Transport, before: int) -> None:
        """Close at once if too little was taken; what is closed and not all taken counts too."""
        self._look = None
        if transport.get_write_buffer_size() == 0:
            return
        if self._taken(transport) - before < TAKING_BYTES:
            # Reset, so that the kernel does not go on holding what it has.
            held = transport.get_extra_info("socket")
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
        else:
            self._look_later(transport)

    def _taken(self, transport: asyncio.Transport) -> int:
        """Bytes that the client's side has got."""
        sending = self._sending.output_size if self._sending else 0
        return self._sent + sending - transport.get_write_buffer_size() - _in_kernel(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._messages and isinstance(self._messages[-1][0], _ErrInfo):
            # The parser has given up, perhaps inside a body, whose reader it tells nothing: it
            # would wait for ever.
            current = [self._current_request.content] if self._current_request else []
            for body in (*current, *(payload for _, payload in self._messages)):
                if not body.is_eof():
                    body.set_exception(RequestPayloadError())

    def _make_error_handler(  # type: ignore[override]
        self, err_info: _ErrInfo
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        error = judge_parser_error(err_info.exc)

        async def refuse(request: web.Request) -> web.StreamResponse:
            raise error

        async def answer(request: web.Request) -> web.StreamResponse:
            response = await bound(refuse)(request)
            # Where the next request would begin is not known any more.
            response.force_close()
            return response

        return answer

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun; only closing is left")
        response = make_refusal(InternalError(), "")
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kwargs: Any) -> None:
        raised = kwargs.get("exc_info")
        fault = describe(raised) if isinstance(raised, BaseException) else "connection"
        log.error("fault", extra={"fault": fault})

    def log_debug(self, *args: Any, **kwargs: Any) -> None:
        """Silent: aiohttp's debug lines carry exceptions with the client's bytes."""


def _in_kernel(transport: asyncio.Transport) -> int:
    """Bytes that the kernel holds until the client's side has got them, megabytes at times; 0 where
    it does not tell (tcp(7), SIOCOUTQ)."""
    with suppress(OSError):
        told = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(told, sys.byteorder)
    return 0


class Listener(web.Server):
    """Makes a :class:`Protocol` for every connection."""

    def __call__(self) -> RequestHandler:
        return Protocol(self, loop=self._loop, **self._kwargs)


# For web.Application(handler_args=…): limits and logs of every connection.
HANDLER_ARGS: dict[str, Any] = {
    "max_line_size": MAX_TARGET,
    "max_field_size": MAX_FIELD,
    "max_headers": MAX_HEADERS,
    "auto_decompress": False,  # an encoded body is refused, never inflated
    "handler_cancellation": True,  # a client that has gone cancels its upstream calls
    "keepalive_timeout": KEEP_ALIVE,
    "lingering_time": LINGERING,
    "access_log_class": AccessLog,
    "access_log": access_log,
}


def guard(application: web.Application) -> web.Application:
    """Give ``application`` our protocol and our boundary; to be called once, before it starts.

    aiohttp has no public way to choose the protocol of an application, so the method with which it
    makes its server is replaced on this one object. Tests over raw sockets hold it in place.
    """

    def make_handler(*, loop: asyncio.AbstractEventLoop | None = None, **kwargs: Any) -> web.Server:
        application._set_loop(loop)
        application.freeze()
        kwargs.pop("access_log_class", None)
        return Listener(
            _bound_to(application),  # type: ignore[arg-type]
            request_factory=application._make_request,
            loop=loop,
            debug=False,
            **{**kwargs, **HANDLER_ARGS},
        )

    object.__setattr__(application, "_make_handler", make_handler)
    return application


def _bound_to(application: web.Application) -> Handle:
    return bound(application._handle)
