"""The proxy against its upstream asked directly: added latency, and rate at 16 connections.

Upstream, proxy and client are three processes; the upstream serves finished bytes, so what the
proxy adds is not hidden by a slow server. The proxy runs as it is shipped: token, audit file,
``researcher-deidentified``. Beside it stands a server that only hands on, the price of the hop.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from benchmarks.corpus import closest, document, some_cases
from benchmarks.engine import POLICY
from benchmarks.report import Effort, Goal, middle, table
from benchmarks.serving import Proxy, client, pass_through, proxy, static
from proxy.fhir.codec import JsonObject, encode

WARM_UP = 20
CONNECTIONS = 16
# label, requests of one connection, requests of sixteen, most added p50 in ms
SIZES = (("2 KB", 400, 1600, 0.5), ("50 KB", 200, 480, 1.5), ("1 MB", 30, 48, 20.0))


def samples(effort: Effort) -> list[JsonObject]:
    """A resource or document for each of SIZES."""
    resources = [r for case in some_cases(3) for r in case.resources if "contained" not in r]
    small = closest([r for r in resources if r["resourceType"] == "Observation"], 2_000)
    reports = [case.eicr for case in some_cases(effort.of(6, 1))]
    large = document(effort.of(10_000, 40), most_bytes=1_000_000)
    return [small, closest(reports, 50_000), large]


async def latencies(urls: list[str], headers: dict[str, str], number: int) -> list[float]:
    """p50 in ms of each URL over one connection, the URLs asked in turn."""
    async with client(headers) as one:
        for _ in range(WARM_UP):
            for url in urls:
                await one.fetch(url)
        times: list[list[float]] = [[] for _ in urls]
        for _ in range(number):
            for index, url in enumerate(urls):
                times[index].append(await one.fetch(url))
    return [middle(spent) for spent in times]


async def compare(
    direct: str, handed_on: str, served: Proxy, resources: list[JsonObject], effort: Effort
) -> list[Goal]:
    rows, goals = [], []
    headers = served.headers(POLICY)
    for (label, few, many, bound), resource in zip(SIZES, resources, strict=True):
        kind, identifier = str(resource["resourceType"]), str(resource["id"])
        urls = [
            f"{direct}/{kind}/{identifier}",
            f"{handed_on}/{kind}/{identifier}",
            f"{served.base}/{kind}/{served.namer(POLICY).show_id(kind, identifier)}",
        ]
        plain, hop, through = await latencies(urls, headers, effort.of(few, 3))
        async with client(headers, CONNECTIONS) as busy:
            rates = [await busy.rate(url, effort.of(many, 16)) for url in urls]
        rows.append(
            [
                f"{label} ({len(encode(resource)) / 1e3:.0f} kB)",
                f"{plain:.2f}",
                f"{through:.2f}",
                f"{hop - plain:.2f}",
                f"{through - plain:.2f}",
                *(f"{rate:.0f}" for rate in rates),
                f"{rates[1] / rates[0]:.3f}",
                f"{rates[2] / rates[0]:.3f}",
            ]
        )
        goals.append(Goal(f"added p50 at {label}", through - plain, bound, True, "ms"))
    print(f"\nProxy against direct: one connection (p50 ms), {CONNECTIONS} connections (rate)\n")
    heads = ["size", "direct ms", "proxy ms", "added by a hop", "added ms"]
    heads += ["direct /s", "hop /s", "proxy /s", "hop ratio", "proxy ratio"]
    print(table(heads, rows))
    return goals


def measure(effort: Effort) -> list[Goal]:
    """Print the table of the wire; give its goals."""
    resources = samples(effort)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with (
            static(resources, folder) as direct,
            pass_through(direct, folder) as handed_on,
            proxy(direct, [POLICY], folder) as served,
        ):
            return asyncio.run(compare(direct, handed_on, served, resources, effort))
