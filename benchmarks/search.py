"""Searches through each kind of view against the same searches asked directly.

Upstream is HAPI if it is built (``make hapi-jar``), else the embedded server, whose own searches
are slow. A 50-row search is one page; one of 1000 rows is walked page by page, on both sides alike,
since no view gives more than its ``page-size`` at once. What a view does not offer stands there as
``refused``; what it must do itself (judging years, sorting, fetching what is included) is in its
time.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.corpus import BASE, SEED
from benchmarks.report import Effort, Goal, middle, table
from benchmarks.serving import Client, Proxy, client, hapi_is_built, proxy, searchable
from proxy.demo.generator import cases
from proxy.fhir.codec import JsonObject, encode

VIEWS = {
    "identity": "investigator",
    "limited": "researcher-limited",
    "deidentified": "researcher-deidentified",
}
# label, search
SEARCHES = (
    ("plain", "Observation"),
    ("translated years", "Observation?date=ge2000"),
    ("sort by code", "Observation?_sort=code"),
    ("sort by date", "Observation?_sort=-date"),
    ("include", "Observation?_include=Observation:subject"),
    ("chain", "Observation?subject:Patient.gender=female,male,other,unknown"),
)
PAGE, ROWS = 50, 1000
CONNECTIONS = 16
# The proxy lets no upstream answer with what it found a minute ago; so it is asked directly, too.
AFRESH = {"Cache-Control": "no-cache"}
REFERENCE = re.compile(r'"reference":"([A-Za-z]+/[A-Za-z0-9.-]+)"')


@dataclass(frozen=True, slots=True)
class Found:
    """One search on one server. ``page``, ``rows``: ms of one page and of the walk, None if it is
    refused. ``matches``: rows that the walk found."""

    page: float | None
    rows: float | None = None
    matches: int = 0


def resources(rows: int) -> list[JsonObject]:
    """So many Observations, and all that they refer to, at whatever distance."""
    held: dict[str, JsonObject] = {}
    observations: list[str] = []
    for case in cases(rows, SEED, base=BASE):
        for resource in case.resources:
            name = f"{resource['resourceType']}/{resource['id']}"
            held.setdefault(name, resource)
            if name.startswith("Observation/"):
                observations.append(name)
        if len(observations) >= rows:
            break
    wanted: dict[str, JsonObject] = {}
    waiting = observations[:rows]
    while waiting:
        name = waiting.pop()
        if name in held and name not in wanted:
            wanted[name] = held[name]
            waiting += REFERENCE.findall(encode(held[name]).decode())
    return list(wanted.values())


def paged(base: str, search: str, count: int) -> str:
    return f"{base}/{search}{'&' if '?' in search else '?'}_count={count}"


async def time_search(one: Client, base: str, search: str, effort: Effort) -> Found:
    url = paged(base, search, PAGE)
    status, _ = await one.get(url)
    if status in (400, 403):
        return Found(None)
    pages = [await one.fetch(url) for _ in range(effort.of(effort.rounds, 1))]
    walks = [
        await one.walk(paged(base, search, 2 * PAGE), effort.of(ROWS, 2 * PAGE))
        for _ in range(effort.of(3, 1))
    ]
    return Found(middle(pages), middle([spent for spent, _ in walks]), walks[-1][1])


def cells(found: Found, direct: Found) -> list[str]:
    if found.page is None or found.rows is None:
        return ["refused", "", "", ""]
    if direct.page is None or direct.rows is None:
        return [f"{found.page:.1f}", "", f"{found.rows:.0f}", ""]
    return [
        f"{found.page:.1f}",
        f"{found.page / direct.page:.2f}",
        f"{found.rows:.0f}",
        f"{found.rows / direct.rows:.2f}",
    ]


async def compare(direct: str, served: Proxy, upstream: str, effort: Effort) -> list[Goal]:
    rows, shortfalls = [], []
    servers: list[tuple[str, str, dict[str, str]]] = [("direct", direct, AFRESH)]
    servers += [(kind, served.base, served.headers(role)) for kind, role in VIEWS.items()]
    for label, search in SEARCHES:
        found: dict[str, Found] = {}
        for kind, base, headers in servers:
            async with client(headers) as one:
                found[kind] = await time_search(one, base, search, effort)
            if kind != "direct" and found[kind].rows is not None:
                shortfalls.append((label, kind, found[kind].matches - found["direct"].matches))
        for kind in found:
            rows.append([label, kind, *cells(found[kind], found["direct"])])
    print(
        f"\nSearch before {upstream}: one page of {PAGE} rows, and {ROWS} rows page by page (ms)\n"
    )
    heads = ["search", "server", f"{PAGE} rows", "of direct", f"{ROWS} rows", "of direct"]
    print(table(heads, rows))
    for label, kind, missing in shortfalls:
        if missing:
            print(f"{label}, {kind}: {missing:+d} matches against direct")
    return await rates(direct, served, upstream, effort)


async def rates(direct: str, served: Proxy, upstream: str, effort: Effort) -> list[Goal]:
    """Pages a second at many connections; the goals, which are about HAPI."""
    number = effort.of(160, CONNECTIONS)
    rows, goals = [], []
    async with client(AFRESH, CONNECTIONS) as busy:
        plain = await busy.rate(paged(direct, "Observation", PAGE), number)
    for kind, role in VIEWS.items():
        async with client(served.headers(role), CONNECTIONS) as busy:
            through = await busy.rate(paged(served.base, "Observation", PAGE), number)
        rows.append([kind, f"{plain:.0f}", f"{through:.0f}", f"{through / plain:.3f}"])
        if upstream == "HAPI":
            label = f"search of {PAGE} at {CONNECTIONS} connections, {kind}"
            goals.append(Goal(label, through / plain, 0.85, False, "of the rate of direct HAPI"))
    print(f"\nPages of {PAGE} a second, {CONNECTIONS} connections\n")
    print(table(["view", "direct /s", "proxy /s", "ratio"], rows))
    return goals


def measure(effort: Effort) -> list[Goal]:
    """Print the tables of searches; give their goals."""
    real = hapi_is_built() and not effort.small
    upstream = "HAPI" if real else "the embedded server"
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        held = resources(effort.of(ROWS, 2 * PAGE))
        with (
            searchable(held, folder, real=real) as direct,
            proxy(direct, VIEWS.values(), folder) as served,
        ):
            return asyncio.run(compare(direct, served, upstream, effort))
