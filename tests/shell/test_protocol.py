"""Bad HTTP over raw sockets: every answer is ours (R-EL-5, R-EL-6, R-DS-4), no byte comes back."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.shell import protocol, request
from tests.shell.support import MARKER, TOKEN, assert_outcome, gateway, parts, talk

M = MARKER.encode()
HOST = b"Host: x\r\n"
AUTH = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
HEAD = b"POST /fhir/Patient/_search HTTP/1.1\r\n" + HOST + AUTH
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

# name -> (pieces, status, issue code)
BAD: dict[str, tuple[tuple[bytes, ...], int, str]] = {
    "tls-hello": ((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + M,), 400, "invalid"),
    "http2-preface": ((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",), 400, "invalid"),
    "no-method": ((b" /fhir/" + M + b" HTTP/1.1\r\n\r\n",), 400, "invalid"),
    "unknown-method": ((M + b" /fhir HTTP/1.1\r\n" + HOST + b"\r\n",), 400, "invalid"),
    "lower-method": ((b"get /fhir/" + M + b" HTTP/1.1\r\n" + HOST + b"\r\n",), 400, "invalid"),
    "no-version": ((b"GET /fhir/" + M + b"\r\n\r\n",), 400, "invalid"),
    "bad-version": ((b"GET /fhir/" + M + b" HTTP/9.7\r\n" + HOST + b"\r\n",), 400, "invalid"),
    "not-http": ((b"GET /fhir/" + M + b" GOPHER/1.0\r\n\r\n",), 400, "invalid"),
    "space-in-target": ((b"GET /fhir/a " + M + b" HTTP/1.1\r\n\r\n",), 400, "invalid"),
    "control-in-target": ((b"GET /fhir/\x01" + M + b" HTTP/1.1\r\n\r\n",), 400, "invalid"),
    "no-host": ((b"GET /fhir/" + M + b" HTTP/1.1\r\n\r\n",), 400, "invalid"),
    "two-hosts": (
        (b"GET /fhir HTTP/1.1\r\n" + HOST + b"Host: " + M + b"\r\n\r\n",),
        400,
        "invalid",
    ),
    "header-without-colon": ((b"GET /fhir HTTP/1.1\r\n" + M + b"\r\n\r\n",), 400, "invalid"),
    "header-name": (
        (b"GET /fhir HTTP/1.1\r\n" + HOST + b"a b" + M + b": 1\r\n\r\n",),
        400,
        "invalid",
    ),
    "folded-header": (
        (b"GET /fhir HTTP/1.1\r\n" + HOST + b"A: 1\r\n " + M + b"\r\n\r\n",),
        400,
        "invalid",
    ),
    "nul-in-header": (
        (b"GET /fhir HTTP/1.1\r\n" + HOST + b"A: \x00" + M + b"\r\n\r\n",),
        400,
        "invalid",
    ),
    "bare-lf": ((b"GET /fhir/" + M + b" HTTP/1.1\nHost: x\n\n",), 400, "invalid"),
    "two-lengths": (
        (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n" + M,),
        400,
        "invalid",
    ),
    "length-no-number": ((HEAD + b"Content-Length: " + M + b"\r\n\r\n",), 400, "invalid"),
    "length-negative": ((HEAD + b"Content-Length: -1\r\n\r\n" + M,), 400, "invalid"),
    "length-and-chunked": (
        (HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + M,),
        400,
        "invalid",
    ),
    "unknown-coding": ((HEAD + b"Transfer-Encoding: " + M + b"\r\n\r\n",), 400, "invalid"),
    "gzip-coding": (
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",),
        400,
        "invalid",
    ),
    "chunk-size": ((CHUNKED + M + b"\r\n",), 400, "invalid"),
    "chunk-size-later": ((CHUNKED, b"3\r\nabc\r\n", M + b"\r\n"), 400, "invalid"),
    "chunk-too-long": ((CHUNKED, b"3\r\nabc" + M + b"\r\n"), 400, "invalid"),
    "chunk-size-huge": ((CHUNKED + b"f" * 40 + b"\r\n" + M,), 400, "invalid"),
    "garbage-behind": (
        (b"GET /elsewhere HTTP/1.1\r\n" + HOST + b"\r\n" + M + b"\r\n\r\n",),
        400,
        "invalid",
    ),
    "garbage-later": (
        (b"GET /elsewhere HTTP/1.1\r\n" + HOST + b"\r\n", M + b"\r\n\r\n"),
        404,
        "not-found",
    ),
    "websocket-key1": (
        (b"GET /fhir HTTP/1.1\r\n" + HOST + b"Sec-WebSocket-Key1: " + M + b"\r\n\r\n",),
        400,
        "invalid",
    ),
    "absolute-form": (
        (b"GET http://" + M + b".example/fhir/Patient HTTP/1.1\r\n" + HOST + AUTH + b"\r\n",),
        400,
        "invalid",
    ),
    "absolute-form-bad": (
        (b"GET http://[" + M + b"/fhir HTTP/1.1\r\n" + HOST + b"\r\n",),
        400,
        "invalid",
    ),
    "asterisk-form": ((b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",), 404, "not-found"),
    "connect": (
        (b"CONNECT " + M + b".example:443 HTTP/1.1\r\n" + HOST + b"\r\n",),
        404,
        "not-found",
    ),
    "expect-unknown": (
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"Expect: " + M + b"\r\n\r\n",),
        400,
        "invalid",
    ),
    "target-too-long": (
        (b"GET /fhir/" + M * 8000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",),
        414,
        "too-long",
    ),
    "target-without-end": ((b"GET /fhir/" + M * 8000,), 414, "too-long"),
    "header-too-long": (
        (b"GET /fhir HTTP/1.1\r\n" + HOST + b"A: " + M * 5000 + b"\r\n\r\n",),
        431,
        "too-long",
    ),
    "header-name-too-long": (
        (b"GET /fhir HTTP/1.1\r\n" + HOST + M * 5000 + b": 1\r\n\r\n",),
        431,
        "too-long",
    ),
    "too-many-headers": (
        (
            b"GET /fhir HTTP/1.1\r\n"
            + HOST
            + b"A: "
            + M
            + b"\r\n" * 1
            + b"B: 1\r\n" * 200
            + b"\r\n",
        ),
        431,
        "too-long",
    ),
    "headers-too-large": (
        (
            b"GET /fhir HTTP/1.1\r\n"
            + HOST
            + b"".join(b"A: " + M * 1000 + b"\r\n" for _ in range(6))
            + b"\r\n",
        ),
        431,
        "too-long",
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_bad_http(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """R-EL-5, R-EL-6, R-EL-3, R-DS-4: malformed HTTP gets a fixed OperationOutcome; neither the
    answer nor any log repeats it, and nothing is asked upstream."""
    caplog.set_level(logging.DEBUG)
    pieces, expected, code = BAD[name]
    async with gateway(tmp_path) as running:
        said = await talk(running.port, *pieces)
    status, headers, body = parts(said)
    assert status == expected
    assert M not in said
    first = body[: int(headers["content-length"])]
    assert_outcome(status, headers, first, code)
    assert MARKER not in caplog.text
    assert running.seen == []


async def test_connection_closes_after_bad_http(tmp_path: Path) -> None:
    """What follows a request that could not be parsed is not taken for the next request."""
    good = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    async with gateway(tmp_path) as running:
        said = await talk(running.port, b"GET /fhir HTTP/1.1\r\nbroken\r\n\r\n" + good)
    assert said.count(b"HTTP/1.1 ") + said.count(b"HTTP/1.0 ") == 1


async def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    """Two requests on one connection get two answers, each with a request id of its own."""
    one = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
    two = b"GET /nowhere HTTP/1.1\r\n" + HOST + b"\r\n"
    async with gateway(tmp_path) as running:
        said = await talk(running.port, one + two)
    assert said.index(b"HTTP/1.1 200") < said.index(b"HTTP/1.1 404")
    ids = [line for line in said.split(b"\r\n") if line.lower().startswith(b"x-request-id")]
    assert len(set(ids)) == 2


async def test_half_sent_body_is_an_error(tmp_path: Path) -> None:
    """A client that closes inside its body causes no exchange."""
    async with gateway(tmp_path) as running:
        await talk(running.port, HEAD + b"Content-Length: 100\r\n\r\nabc", seconds=0.3)
    assert running.seen == []
    assert [event["outcomeDesc"] for event in running.events()] == ["cancelled"]


async def test_headers_that_do_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that drips its headers is closed after the time of an idle connection."""
    monkeypatch.setitem(protocol.HANDLER_ARGS, "keepalive_timeout", 0.3)
    async with gateway(tmp_path) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        begun = time.monotonic()
        with suppress(ConnectionError):  # what it sent after the end may be answered by a reset
            for letter in b"GET /fhir HTTP/1.1\r\nHost: x\r\nA: " + M * 100:
                if reader.at_eof():
                    break
                writer.write(bytes([letter]))
                await asyncio.sleep(0.02)
            assert await reader.read() == b""
        assert time.monotonic() - begun < 5
        writer.close()


async def test_body_that_does_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that stops in the middle is 408 after its time, and the connection ends."""
    monkeypatch.setattr(request, "BODY_SECONDS", 0.2)
    async with gateway(tmp_path) as running:
        said = await talk(running.port, HEAD + b"Content-Length: 100\r\n\r\nabc")
    status, headers, body = parts(said)
    assert status == 408
    assert_outcome(status, headers, body, "timeout")
    assert running.seen == []
