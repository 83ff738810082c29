"""R-DS-1 to R-DS-5 on the product: long bodies, deep JSON, exact numbers, long requests, and
clients that are slow."""

from __future__ import annotations

import asyncio
import gzip
import resource
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from proxy.fhir.codec import JsonObject
from proxy.shell import protocol
from tests.security.product import INV, LDS, ROLES, product, stored, token
from tests.security.test_upstream import acting, other
from tests.shell.support import assert_outcome, parts, talk

PATIENT: JsonObject = {"resourceType": "Patient", "id": "1", "gender": "female"}
FHIR = {"Content-Type": "application/fhir+json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def resident() -> int:
    """Memory of this process in bytes; the proxy runs in it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


@pytest.mark.parametrize("role", ROLES)
async def test_huge_bodies(role: str, tmp_path: Path) -> None:
    """R-DS-1: 200 MB, announced or not, is 413 quickly and in bounded memory."""
    head = (
        f"POST /fhir HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(role)}\r\n"
        "Content-Type: application/fhir+json\r\n"
    ).encode()
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    async with stored(PATIENT) as log, product(tmp_path) as running:
        before, begun = resident(), time.monotonic()
        announced = await talk(running.port, head + b"Content-Length: 200000000\r\n\r\n")
        assert time.monotonic() - begun < 5
        streamed = await asyncio.wait_for(
            stream(running.port, head + b"Transfer-Encoding: chunked\r\n\r\n", chunk, 200), 20
        )
        assert resident() - before < 100_000_000
        for said in (announced, streamed):
            status, headers, body = parts(said)
            assert status == 413
            assert_outcome(status, headers, body, "too-long")
        assert log == []


async def stream(port: int, head: bytes, chunk: bytes, count: int) -> bytes:
    """What the server says to ``head`` and at most ``count`` chunks, until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)

    async def send() -> None:
        for _ in range(count):
            writer.write(chunk)
            await writer.drain()

    sending = asyncio.create_task(send())
    said = await reader.readuntil(b"}]}")
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    writer.close()
    return said


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x-unknown"])
async def test_encoded_bodies(encoding: str, tmp_path: Path) -> None:
    """R-DS-1: encoded bodies are 415; nothing is inflated."""
    bomb = gzip.compress(b" " * 50_000_000, 1)
    async with stored(PATIENT) as log, product(tmp_path) as running:
        before = resident()
        answer = await running.ask(
            LDS, "POST", "/fhir", data=bomb, headers={**FHIR, "Content-Encoding": encoding}
        )
        assert (answer.status, answer.code) == (415, "not-supported")
        assert resident() - before < 40_000_000
        assert log == []


@pytest.mark.parametrize("depth", [129, 300, 500, 1_025, 100_000])
@pytest.mark.parametrize("pair", ["[]", '{"a":}'], ids=["arrays", "objects"])
async def test_deep_requests(depth: int, pair: str, tmp_path: Path) -> None:
    """R-DS-2: a request body that is nested too deep is 400 `structure`; the service goes on."""
    opening, closing = pair[:-1], pair[-1]
    deep = opening * depth + "1" + closing * depth
    body = f'{{"resourceType":"Bundle","type":"batch","entry":[],"extension":{deep}}}'
    async with stored(PATIENT) as log, product(tmp_path) as running:
        answer = await running.ask(LDS, "POST", "/fhir", data=body.encode(), headers=FHIR)
        assert (answer.status, answer.code) == (400, "structure")
        assert log == []
        assert (await running.get(LDS, "/Patient?gender=female")).status == 200


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("depth", [300, 500, 1_025, 100_000])
async def test_deep_upstream(role: str, depth: int, tmp_path: Path) -> None:
    """R-DS-2: the same from the upstream is CLOSED."""
    deep = b"[" * depth + b"1" + b"]" * depth
    act = other(b'{"resourceType":"Patient","id":"1","extension":' + deep + b"}")
    async with acting(act), product(tmp_path) as running:
        answer = await running.get(role, f"/Patient/{running.shown(role, 'Patient', '1')}")
        assert (answer.status, answer.code) == (502, "exception")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xef\xbb\xbf{}",
        b'{"resourceType":"Bundle","type":"batch","type":"batch","entry":[]}',
        b'{"resourceType":"Bundle","type":"batch","entry":[],"x":NaN}',
        b'{"resourceType":"Bundle","type":"batch","entry":[],"x":"\xff"}',
        b'{"resourceType":"Bundle","type":"batch","entry":[]}garbage',
    ],
)
async def test_malformed_bodies(body: bytes, tmp_path: Path) -> None:
    """Principle 3: JSON that is not well formed is 400, whatever is wrong with it."""
    async with stored(PATIENT) as log, product(tmp_path) as running:
        answer = await running.ask(LDS, "POST", "/fhir", data=body, headers=FHIR)
        assert answer.status == 400
        assert answer.code in ("invalid", "structure", "value")
        assert log == []


NUMBERS = ["1.10", "0.00", "1E2", "1e-7", "3.141592653589793238462643", "-0.0", "100", "1.5E+3"]


@pytest.mark.parametrize("role", [INV, LDS])
@pytest.mark.parametrize("number", NUMBERS)
async def test_exact_numbers(role: str, number: str, tmp_path: Path) -> None:
    """R-DS-3: decimals keep their text, in reads and in searches."""
    resource = (
        b'{"resourceType":"Observation","id":"1","status":"final",'
        b'"code":{"coding":[{"system":"http://loinc.org","code":"1"}]},'
        b'"valueQuantity":{"value":' + number.encode() + b',"unit":"x"}}'
    )
    bundle = (
        b'{"resourceType":"Bundle","type":"searchset","entry":[{"resource":'
        + resource
        + b',"search":{"mode":"match"}}]}'
    )
    async with acting(other(resource), other(bundle)), product(tmp_path) as running:
        id_ = running.shown(role, "Observation", "1")
        for target in (f"/Observation/{id_}", "/Observation?status=final"):
            answer = await running.get(role, target)
            assert answer.status == 200
            assert b'"value":' + number.encode() + b"," in answer.body.replace(b"}", b",")


@pytest.mark.parametrize(
    ("target", "options", "status", "code"),
    [
        ("/Patient?gender=" + "x" * 100_000, {}, 414, "too-long"),
        ("/Patient?gender=" + "x" * 8_100, {}, 414, "too-long"),
        ("/Patient?" + "&".join(["gender=x"] * 300), {}, 400, "too-costly"),
        ("/Patient", {"headers": {f"X-{n}": "1" for n in range(200)}}, 431, "too-long"),
        ("/Patient", {"headers": {"X": "1" * 65_536}}, 431, "too-long"),
        ("/Patient", {"headers": {f"X-{n}": "1" * 9_000 for n in range(8)}}, 431, "too-long"),
    ],
    ids=["url-100k", "url-8k", "parameters", "200-headers", "64k-header", "72k-headers"],
)
async def test_long_requests(
    target: str, options: dict[str, Any], status: int, code: str, tmp_path: Path
) -> None:
    """R-DS-4: long targets, headers and many parameters are refused with an OperationOutcome."""
    async with stored(PATIENT) as log, product(tmp_path) as running:
        answer = await running.get(LDS, target, **options)
        assert (answer.status, answer.code) == (status, code)
        assert log == []


async def test_many_form_parameters(tmp_path: Path) -> None:
    """R-DS-4: parameters in URL and form count together."""
    async with stored(PATIENT) as log, product(tmp_path) as running:
        answer = await running.ask(
            LDS,
            "POST",
            "/fhir/Patient/_search?" + "&".join(["gender=x"] * 60),
            data="&".join(["gender=x"] * 60),
            headers=FORM,
        )
        assert (answer.status, answer.code) == (400, "invalid")
        assert log == []


LINGERERS = 1_000  # connections that send a byte of their headers now and then
READERS = 8  # that take a byte of their answers now and then
LONG = 8_000_000  # bytes of an answer: more than two sockets hold


async def test_r_ds_5_slow_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R-DS-5: who sends headers byte by byte, and who takes an answer byte by byte, is closed after
    the time that is set; another client is served meanwhile."""
    monkeypatch.setitem(protocol.HANDLER_ARGS, "keepalive_timeout", 2.0)
    monkeypatch.setattr(protocol, "TAKING_SECONDS", 1.0)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    text = b'{"resourceType":"Patient","id":"1","gender":"female","language":"%s"}'
    async with acting(other(text % (b"x" * LONG))), product(tmp_path) as running:
        lingerers = [await asyncio.open_connection("127.0.0.1", running.port)
                     for _ in range(LINGERERS)]  # fmt: skip
        readers = [await ask_and_wait(running.port) for _ in range(READERS)]
        begun, held = time.monotonic(), {*range(LINGERERS)}
        while held and time.monotonic() - begun < 60:
            for number in tuple(held):
                reader, writer = lingerers[number]
                if reader.at_eof() or writer.transport.is_closing():
                    held.discard(number)
                else:
                    writer.write(b"G")
            assert (await running.ask(None, "GET", "/healthz")).status == 200
            await asyncio.sleep(0.2)
        assert held == set()
        assert max([await take_slowly(connection) for connection in readers]) < LONG
        assert (await running.get(INV, "/Patient/1")).status == 200
        for _, writer in lingerers:
            writer.close()


async def ask_and_wait(port: int) -> socket.socket:
    """A connection that has asked for something long and takes nothing yet."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", port))
    head = f"GET /fhir/Patient/1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(INV)}\r\n\r\n"
    await loop.sock_sendall(connection, head.encode())
    return connection


async def take_slowly(connection: socket.socket) -> int:
    """How many bytes were taken, one now and then, until the connection was reset."""
    loop, taken = asyncio.get_running_loop(), 0
    with suppress(OSError):
        async with asyncio.timeout(60):
            while connection.getpeername():
                taken += len(await loop.sock_recv(connection, 1))
                await asyncio.sleep(0.05)
    connection.close()
    return taken


async def test_r_ds_5_slow_is_not_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes little, but as much as is asked for, gets all of it, and the next answer too."""
    monkeypatch.setattr(protocol, "TAKING_SECONDS", 0.2)
    monkeypatch.setattr(protocol, "TAKING_BYTES", 1_000)
    text = b'{"resourceType":"Patient","id":"1","gender":"female","language":"%s"}'
    async with acting(other(text % (b"x" * LONG))), product(tmp_path) as running:
        connection, taken, loop = await ask_and_wait(running.port), 0, asyncio.get_running_loop()
        begun = time.monotonic()
        while taken < LONG:
            part = await loop.sock_recv(connection, 400_000)
            assert part
            taken += len(part)
            await asyncio.sleep(0.002)
        assert time.monotonic() - begun > 2 * protocol.TAKING_SECONDS
        connection.close()
        assert (await running.get(INV, "/Patient/1")).status == 200
