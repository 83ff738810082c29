"""A small gateway for tests of the shell: real sockets, a tiny flow, a temporary audit file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.engine.messages import Answer, Ask, Call, Facts, Flow, Reply
from proxy.errors import Unauthorized
from proxy.policy.model import Caller
from proxy.shell.application import make_application
from proxy.shell.audit import Audit
from proxy.shell.credential import Anonymous, Credential
from proxy.shell.drive import Offload
from proxy.shell.handler import Authenticate, Front
from proxy.shell.upstream import Limits, connect

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
PUBLIC = "https://ecr.example.org/fhir"
TOKEN = "good-token"
CALLER = Caller("https://id.example.org", "someone", "researcher", "study-7")
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
MARKER = "Everywoman7777"

Start = Callable[[Call], Flow]


def fetch(call: Call) -> Flow:
    """The smallest flow: asks for the path that the call names and hands the answer on."""
    path, _, _query = call.target.partition("?")
    answer = yield Ask(path=path.removeprefix("/"))
    assert isinstance(answer, Answer)
    if answer.error is not None:
        raise answer.error
    status = 200 if answer.status == 304 else answer.status
    return Reply(status, answer.body or b"{}", facts=Facts("read", "Patient", policy="p@1"))


async def authenticate(headers: Mapping[str, str]) -> Caller:
    if headers["Authorization"] != f"Bearer {TOKEN}":
        raise Unauthorized
    return CALLER


@dataclass
class Gateway:
    """A running gateway: its port and the audit file it writes."""

    server: TestServer
    audit_file: Path
    seen: list[Call] = field(default_factory=list)

    @property
    def port(self) -> int:
        assert self.server.port is not None
        return self.server.port

    def events(self) -> list[dict[str, Any]]:
        """The audit events so far, oldest first."""
        return [orjson.loads(line) for line in self.audit_file.read_bytes().splitlines()]


def application(
    directory: Path,
    *,
    upstream: str = "http://127.0.0.1:9/fhir",
    start: Start = fetch,
    credential: Credential | None = None,
    limits: Limits | None = None,
    seconds: float = 10.0,
    offload: Offload | None = None,
    origins: frozenset[str] = frozenset(),
    body_limit: int = 64 * 1024,
    path: str = "/fhir",
    identify: Authenticate = authenticate,
) -> web.Application:
    """The product's application around ``start``, in front of ``upstream``."""
    file = directory / "audit.ndjson"

    @asynccontextmanager
    async def open_front() -> AsyncIterator[Front]:
        audit = Audit(str(file), PUBLIC)
        async with connect(upstream, credential or Anonymous(), limits) as client:
            yield Front(
                path=path,
                body_limit=body_limit,
                exchange_seconds=seconds,
                start=start,
                authenticate=identify,
                upstream=client,
                audit=audit,
                offload=offload or Offload(),
                now=lambda: NOW,
                ready=lambda: audit.ready and not client.breaker.open,
                origins=origins,
            )
        audit.close()

    return make_application(open_front)


@asynccontextmanager
async def gateway(
    directory: Path, *, start: Start = fetch, **options: Any
) -> AsyncIterator[Gateway]:
    """An :func:`application` on a free port of the loopback interface."""
    calls: list[Call] = []

    def begin(call: Call) -> Flow:
        calls.append(call)
        return start(call)

    served = application(directory, start=begin, **options)
    server = TestServer(served, host="127.0.0.1")
    await server.start_server()
    try:
        yield Gateway(server, directory / "audit.ndjson", calls)
    finally:
        await server.close()


async def talk(port: int, *pieces: bytes, seconds: float = 10.0) -> bytes:
    """Everything the server says to these bytes, sent one piece after the other, until it closes
    the connection (or, after the last piece, until it has been silent for a moment)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        async with asyncio.timeout(seconds):
            while part := await _some(reader, 0.2 if said else seconds):
                said += part
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()
    return said


async def _some(reader: asyncio.StreamReader, seconds: float) -> bytes:
    try:
        return await asyncio.wait_for(reader.read(65536), seconds)
    except TimeoutError:
        return b""


def parts(said: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower-case names) and body of one raw response."""
    head, _, body = said.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), {name.lower(): value for name, value in pairs}, body


def assert_outcome(status: int, headers: Mapping[str, str], body: bytes, code: str) -> None:
    """The response is an OperationOutcome in FHIR JSON with this issue code (R-EL-5)."""
    assert headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
    assert int(headers["content-length"]) == len(body)
    outcome = orjson.loads(body)
    assert outcome["resourceType"] == "OperationOutcome"
    (issue,) = outcome["issue"]
    assert issue["severity"] == "error"
    assert issue["code"] == code
    assert status >= 400


def constant(call: Call) -> Flow:
    """A flow that asks nothing."""
    yield from ()
    return Reply(200, b'{"resourceType":"Patient"}', facts=Facts("read", "Patient", policy="p@1"))


async def ask(
    running: Gateway, method: str, path: str, **options: Any
) -> tuple[int, dict[str, str], bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{running.port}{path}", **options) as response,
    ):
        headers = {name.lower(): value for name, value in response.headers.items()}
        return response.status, headers, await response.read()
