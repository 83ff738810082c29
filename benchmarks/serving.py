"""What the wire benchmarks run against: processes on loopback, and a client that counts."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import aiohttp

from benchmarks.engine import POLICIES, PROJECT, TODAY
from proxy.demo.load import load
from proxy.fhir.codec import JsonObject, decode, encode
from proxy.lenses.identity import Namer, Namers
from proxy.lenses.keys import KeyRing

REPOSITORY = POLICIES.parent
HAPI_JAR = REPOSITORY / "hapi" / "target" / "hapi-r4.jar"
START_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running proxy, each role named as its policy. ``base``: its FHIR base."""

    base: str
    namers: Namers

    def headers(self, role: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token(role)}", "Accept": "application/fhir+json"}

    def namer(self, role: str) -> Namer:
        return self.namers.of(PROJECT, role)


def token(role: str) -> str:
    return f"{role}-benchmark-token-0123456789"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return cast("int", probe.getsockname()[1])


@contextmanager
def process(command: Sequence[str], log: Path) -> Iterator[None]:
    """A process for the time of the block; what it prints goes to ``log``."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ECR_PROXY_")}
    with log.open("wb") as output:
        running = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        running.terminate()
        running.wait(30)


def configuration(upstream: str, port: int, roles: Iterable[str], folder: Path) -> str:
    tokens = "".join(
        f'[[auth.token]]\nsha256 = "{hashlib.sha256(token(role).encode()).hexdigest()}"\n'
        f'subject = "benchmark"\nrole = "{role}"\nproject = "{PROJECT}"\n'
        for role in roles
    )
    names = "".join(f'{role} = "{role}"\n' for role in roles)
    return (
        f'[server]\nport = {port}\npublic-url = "http://127.0.0.1:{port}/fhir"\n'
        f'[upstream]\nurl = "{upstream}"\n{tokens}'
        f"[roles]\n{names}"
        f'[policies]\ndirectory = "{POLICIES}"\n'
        f'[keys]\nfile = "{folder}/keys.json"\n[audit]\nfile = "{folder}/audit.ndjson"\n'
    )


@contextmanager
def proxy(upstream: str, roles: Iterable[str], folder: Path) -> Iterator[Proxy]:
    """The proxy as it is shipped, audit file and all, before ``upstream``."""
    port = free_port()
    ring = KeyRing.new(os.urandom(32), os.urandom(32), TODAY)
    keys, file = folder / "keys.json", folder / "config.toml"
    keys.touch(0o600)
    keys.write_bytes(ring.write())
    file.write_text(configuration(upstream, port, roles, folder))
    serve = (sys.executable, "-m", "proxy", "serve", "--config", str(file))
    with process(serve, folder / "proxy.log"):
        base = f"http://127.0.0.1:{port}/fhir"
        asyncio.run(wait_for(f"{base}/metadata"))
        yield Proxy(base, Namers(ring))


@contextmanager
def static(resources: Iterable[JsonObject], folder: Path) -> Iterator[str]:
    """The base of an upstream that serves finished bytes."""
    held, port = folder / "resources", free_port()
    held.mkdir()
    for resource in resources:
        (held / f"{resource['resourceType']}.{resource['id']}.json").write_bytes(encode(resource))
    serve = (sys.executable, "-m", "benchmarks.static_upstream", str(port), str(held))
    with process(serve, folder / "upstream.log"):
        base = f"http://127.0.0.1:{port}/fhir"
        asyncio.run(wait_for(f"{base}/metadata"))
        yield base


@contextmanager
def pass_through(upstream: str, folder: Path) -> Iterator[str]:
    """The base of a server that only hands on, before ``upstream`` (a base)."""
    port = free_port()
    origin = upstream.removesuffix("/fhir")
    serve = (sys.executable, "-m", "benchmarks.pass_through", str(port), origin)
    with process(serve, folder / "pass-through.log"):
        base = f"http://127.0.0.1:{port}/fhir"
        asyncio.run(wait_for(f"{base}/metadata"))
        yield base


def hapi_is_built() -> bool:
    return HAPI_JAR.is_file() and shutil.which("java") is not None


@contextmanager
def searchable(resources: list[JsonObject], folder: Path, *, real: bool) -> Iterator[str]:
    """The base of an upstream that can be searched: HAPI (``real``), else the embedded one."""
    port = free_port()
    if real:
        command: tuple[str, ...] = ("java", "-Xmx1g", "-jar", str(HAPI_JAR), "--port", str(port))
    else:
        command = (sys.executable, "-m", "benchmarks.embedded_upstream", str(port))
    with process(command, folder / "upstream.log"):
        base = f"http://127.0.0.1:{port}/fhir"
        asyncio.run(wait_for(f"{base}/metadata"))
        asyncio.run(load(base, resources))
        yield base


async def wait_for(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < deadline:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)
    raise SystemExit(f"{url} did not answer")


@dataclass(frozen=True, slots=True)
class Client:
    """Reads over at most ``connections`` connections of ``session``."""

    session: aiohttp.ClientSession
    connections: int

    async def fetch(self, url: str) -> float:
        """Seconds of one read; anything but 200 ends the benchmark."""
        begun = time.perf_counter()
        status, _ = await self.get(url)
        if status != 200:
            raise SystemExit(f"{url} answered {status}")
        return time.perf_counter() - begun

    async def get(self, url: str) -> tuple[int, bytes]:
        async with self.session.get(url) as response:
            return response.status, await response.read()

    async def rate(self, url: str, number: int) -> float:
        """Reads a second, all connections busy."""
        left = iter(range(number))

        async def reader() -> None:
            for _ in left:
                await self.fetch(url)

        begun = time.perf_counter()
        await asyncio.gather(*(reader() for _ in range(self.connections)))
        return number / (time.perf_counter() - begun)

    async def walk(self, url: str, rows: int) -> tuple[float, int]:
        """Seconds and matches of a search, its pages followed until it has ``rows`` matches."""
        begun, found = time.perf_counter(), 0
        while url and found < rows:
            status, body = await self.get(url)
            if status != 200:
                raise SystemExit(f"{url} answered {status}")
            found += body.count(b'"mode":"match"')
            url = next_of(body)
        return time.perf_counter() - begun, found


@asynccontextmanager
async def client(headers: Mapping[str, str], connections: int = 1) -> AsyncIterator[Client]:
    """A client with connections of its own."""
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield Client(session, connections)


def next_of(body: bytes) -> str:
    """The next link of a searchset, empty if there is none."""
    page = cast("JsonObject", decode(body))
    links = cast("list[dict[str, str]]", page.get("link", []))
    return next((link["url"] for link in links if link["relation"] == "next"), "")
