"""The proxy against its upstream asked directly: added latency, and rate at 16 connections.

Upstream, proxy and client are three processes; the upstream serves finished bytes, so what the
proxy adds is not hidden by a slow server. The proxy runs as it is shipped: token, audit file,
``researcher-deidentified``.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import aiohttp

from benchmarks.corpus import closest, document, some_cases
from benchmarks.engine import POLICIES, POLICY, PROJECT, TODAY
from benchmarks.report import Goal, table
from proxy.fhir.codec import JsonObject, encode
from proxy.lenses.identity import Namer, Namers
from proxy.lenses.keys import KeyRing

TOKEN = "benchmark-token-0123456789abcdef"
START_SECONDS = 30
WARM_UP = 20
CONNECTIONS = 16
# label, requests of one connection, requests of sixteen, most added p50 in ms
SIZES = (("2 KB", 400, 1600, 0.5), ("50 KB", 200, 480, 1.5), ("1 MB", 30, 48, 20.0))

CONFIGURATION = """
[server]
port = {port}
public-url = "http://127.0.0.1:{port}/fhir"
[upstream]
url = "http://127.0.0.1:{upstream}/fhir"
[[auth.token]]
sha256 = "{sha256}"
subject = "benchmark"
role = "researcher"
project = "{project}"
[roles]
researcher = "{policy}"
[policies]
directory = "{policies}"
[keys]
file = "{folder}/keys.json"
[audit]
file = "{folder}/audit.ndjson"
"""


def samples() -> list[JsonObject]:
    """A resource or document for each of SIZES."""
    resources = [r for case in some_cases(3) for r in case.resources if "contained" not in r]
    small = closest([r for r in resources if r["resourceType"] == "Observation"], 2_000)
    reports = [case.eicr for case in some_cases(6)]
    return [small, closest(reports, 50_000), document(10_000, most_bytes=1_000_000)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return cast("int", probe.getsockname()[1])


@contextmanager
def process(*command: str, log: Path) -> Iterator[None]:
    """A Python process for the time of the block; what it prints goes to ``log``."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ECR_PROXY_")}
    with log.open("wb") as output:
        running = subprocess.Popen(
            [sys.executable, *command], env=environment, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        running.terminate()
        running.wait(20)


async def wait_for(session: aiohttp.ClientSession, url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            async with session.get(url) as response:
                if response.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            pass
        await asyncio.sleep(0.1)
    raise SystemExit(f"{url} did not answer")


async def fetch(session: aiohttp.ClientSession, url: str) -> float:
    """Seconds of one read; anything but 200 ends the benchmark."""
    begun = time.perf_counter()
    async with session.get(url) as response:
        await response.read()
        if response.status != 200:
            raise SystemExit(f"{url} answered {response.status}")
    return time.perf_counter() - begun


def new_session(connections: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        headers={"Authorization": f"Bearer {TOKEN}", "Accept": "application/fhir+json"},
        auto_decompress=True,
    )


async def latencies(urls: list[str], number: int) -> list[float]:
    """p50 in ms of each URL over one connection, the URLs asked in turn."""
    async with new_session(1) as session:
        for _ in range(WARM_UP):
            for url in urls:
                await fetch(session, url)
        times: list[list[float]] = [[] for _ in urls]
        for _ in range(number):
            for index, url in enumerate(urls):
                times[index].append(await fetch(session, url))
    return [statistics.median(spent) * 1e3 for spent in times]


async def rate(url: str, number: int) -> float:
    """Reads a second over CONNECTIONS connections."""
    async with new_session(CONNECTIONS) as session:
        left = iter(range(number))

        async def reader() -> None:
            for _ in left:
                await fetch(session, url)

        begun = time.perf_counter()
        await asyncio.gather(*(reader() for _ in range(CONNECTIONS)))
        return number / (time.perf_counter() - begun)


async def compare(
    direct: str, proxied: str, namer: Namer, resources: list[JsonObject]
) -> list[Goal]:
    async with new_session(1) as session:
        await wait_for(session, f"{direct}/metadata")
        await wait_for(session, f"{proxied}/metadata")
    rows, goals = [], []
    for (label, few, many, bound), resource in zip(SIZES, resources, strict=True):
        kind, identifier = str(resource["resourceType"]), str(resource["id"])
        urls = [
            f"{direct}/{kind}/{identifier}",
            f"{proxied}/{kind}/{namer.show_id(kind, identifier)}",
        ]
        plain, through = await latencies(urls, few)
        rates = [await rate(url, many) for url in urls]
        rows.append(
            [
                f"{label} ({len(encode(resource)) / 1e3:.0f} kB)",
                f"{plain:.2f}",
                f"{through:.2f}",
                f"{through - plain:.2f}",
                f"{rates[0]:.0f}",
                f"{rates[1]:.0f}",
                f"{rates[1] / rates[0]:.3f}",
            ]
        )
        goals.append(Goal(f"added p50 at {label}", through - plain, bound, True, "ms"))
    print(f"\nProxy against direct: one connection (p50 ms), {CONNECTIONS} connections (rate)\n")
    heads = ["size", "direct ms", "proxy ms", "added ms", "direct /s", "proxy /s", "ratio"]
    print(table(heads, rows))
    return goals


def measure(rounds: int) -> list[Goal]:
    """Print the table of the wire; give its goals. ``rounds`` is the engine's and not used."""
    resources = samples()
    upstream, port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        held = folder / "resources"
        held.mkdir()
        for resource in resources:
            (held / f"{resource['resourceType']}.{resource['id']}.json").write_bytes(
                encode(resource)
            )
        keys = folder / "keys.json"
        keys.touch(0o600)
        keys.write_bytes(KeyRing.new(os.urandom(32), os.urandom(32), TODAY).write())
        configuration = folder / "config.toml"
        configuration.write_text(
            CONFIGURATION.format(
                port=port,
                upstream=upstream,
                sha256=hashlib.sha256(TOKEN.encode()).hexdigest(),
                project=PROJECT,
                policy=POLICY,
                policies=POLICIES,
                folder=folder,
            )
        )
        namer = Namers(KeyRing.load(keys)).of(PROJECT, POLICY)
        with (
            process(
                "-m",
                "benchmarks.static_upstream",
                str(upstream),
                str(held),
                log=folder / "upstream.log",
            ),
            process(
                "-m", "proxy", "serve", "--config", str(configuration), log=folder / "proxy.log"
            ),
        ):
            return asyncio.run(
                compare(
                    f"http://127.0.0.1:{upstream}/fhir",
                    f"http://127.0.0.1:{port}/fhir",
                    namer,
                    resources,
                )
            )
