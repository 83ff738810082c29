"""An upstream that does exactly what a test tells it, byte by byte, and logs what it was asked."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

PATIENT = b'{"resourceType":"Patient","id":"1"}'


@dataclass
class Asked:
    """A request as the upstream saw it. Header names are lower-case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class RawUpstream:
    """Acts by a script: one act a request, the last one for all that follow."""

    script: tuple[Act, ...]
    log: list[Asked] = field(default_factory=list)
    connections: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/fhir"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing() and (asked := await read(reader)) is not None:
                self.log.append(asked)
                await self.script[min(len(self.log), len(self.script)) - 1](reader, writer)
                await writer.drain()
        except ConnectionError:
            self.gone.set()
        finally:
            writer.close()


async def read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, target, headers, body)


@asynccontextmanager
async def upstream(*script: Act) -> AsyncIterator[RawUpstream]:
    """A running upstream that follows ``script``."""
    running = RawUpstream(script)
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()


def say(text: bytes, *, close: bool = False) -> Act:
    """Send these bytes, and close the connection if asked to."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        if close:
            writer.close()

    return act


def reply(
    status: str = "200 OK",
    body: bytes = PATIENT,
    content_type: str | None = "application/fhir+json;charset=utf-8",
    *headers: str,
) -> Act:
    """A well-formed response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    return say("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


def zipped(body: bytes = PATIENT) -> Act:
    """A well-formed response in gzip."""
    return reply("200 OK", gzip.compress(body), "application/fhir+json", "Content-Encoding: gzip")


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close without a word."""
    writer.close()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset the connection."""
    writer.transport.abort()


def silent(running_for: float = 60.0) -> Act:
    """Say nothing; notice when the other side goes."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(running_for):
            if await reader.read(1) == b"":
                raise ConnectionError

    return act


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A head, then one byte of the body every tenth of a second, for ever."""
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n"
    )
    while True:
        writer.write(b" ")
        await writer.drain()
        if writer.transport.is_closing():
            raise ConnectionError
        await asyncio.sleep(0.1)
