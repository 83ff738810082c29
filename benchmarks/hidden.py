"""What hidden rows cost: the same page of visible rows while more and more rows between them are
hidden by a condition that only the proxy can judge.

The core is driven without a network, the embedded server asked between its steps: what is timed is
the CPU of the core alone.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlencode

from benchmarks.corpus import BASE, SEED
from benchmarks.engine import POLICIES, PROJECT, TODAY
from benchmarks.report import Effort, Goal, table
from proxy.demo.generator import cases
from proxy.demo.server import Request, Server
from proxy.demo.store import Store
from proxy.engine.flow import exchange
from proxy.engine.gateway import Gateway
from proxy.engine.messages import Answer, Ask, Call, Reply
from proxy.fhir.codec import JsonObject
from proxy.fhir.reference import Bases
from proxy.lenses.keys import KeyRing
from proxy.policy.compile import compile_view
from proxy.policy.load import load_directory
from proxy.policy.model import Caller

ROLE = "researcher"
POLICY = "narrowed"
SHARES = (0, 10, 30, 50, 70, 90)  # percent hidden
PAGE = 50
ROWS = 2000
NARROWED = """
title   = "Observations that were not amended"
basis   = "For the benchmark"
extends = "researcher-deidentified"
[rows.Observation]
where = "status != 'amended'"
"""
NOW = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)


@dataclass(slots=True)
class Page:
    """One page. ``asks``: upstream calls; ``rows``: visible rows; ``spent``: CPU seconds of the
    core."""

    asks: int = 0
    rows: int = 0
    spent: float = 0.0


@dataclass(slots=True)
class Driver:
    """Runs exchanges of one role before an embedded server."""

    gateway: Gateway
    server: Server
    caller: Caller = field(default_factory=lambda: Caller("", "benchmark", ROLE, PROJECT))

    def run(self, target: str) -> Page:
        call = Call("GET", target, {}, b"", self.caller, NOW, "benchmark")
        flow, page = exchange(call, self.gateway), Page()
        sent: Answer | tuple[Answer, ...] | None = None
        while True:
            begun = time.process_time()
            try:
                asked = flow.send(sent)  # type: ignore[arg-type]  # None starts a generator
            except StopIteration as end:
                page.spent += time.process_time() - begun
                reply = cast("Reply", end.value)
                if reply.status != 200:
                    raise SystemExit(
                        f"{target} answered {reply.status}: {reply.body[:200]!r}"
                    ) from None
                page.rows = reply.body.count(b'"mode":"match"')
                return page
            page.spent += time.process_time() - begun
            asks = asked if isinstance(asked, tuple) else (asked,)
            page.asks += len(asks)
            answers = tuple(map(self.ask, asks))
            sent = answers if isinstance(asked, tuple) else answers[0]

    def ask(self, ask: Ask) -> Answer:
        if ask.url:
            request = Request("GET", ask.url.removeprefix(BASE))
        elif ask.form is not None:
            headers = {"content-type": "application/x-www-form-urlencoded"}
            request = Request("POST", f"/{ask.path}", headers, urlencode(ask.form).encode())
        else:
            request = Request("GET", f"/{ask.path}?{urlencode(ask.query, quote_via=quote)}")
        answer = self.server.answer(request)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status, headers, answer.body)


def observations(rows: int) -> list[JsonObject]:
    found: list[JsonObject] = []
    for case in cases(rows, SEED, base=BASE):
        found += [r for r in case.resources if r["resourceType"] == "Observation"]
        if len(found) >= rows:
            break
    return found[:rows]


def hide(rows: list[JsonObject], percent: int) -> list[JsonObject]:
    """The rows, so many of each hundred amended, spread as evenly as can be."""
    return [
        {**row, "status": "amended" if index * 37 % 100 < percent else "final"}
        for index, row in enumerate(rows)
    ]


def narrowed_gateway() -> Gateway:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        for file in POLICIES.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / f"{POLICY}.toml").write_text(NARROWED)
        policy = load_directory(folder)[POLICY]
    return Gateway.make(
        public_url="http://127.0.0.1:8000/fhir",
        bases=Bases(BASE),
        views={ROLE: compile_view(policy)},
        ring=KeyRing.new(b"s" * 32, bytes(range(32)), TODAY),
    )


def measure(effort: Effort) -> list[Goal]:
    """Print the table of hidden rows; it has no goals of its own."""
    gateway = narrowed_gateway()
    held = observations(effort.of(ROWS, 100))
    count = effort.of(PAGE, 5)
    rows, before = [], 0.0
    for percent in SHARES:
        driver = Driver(gateway, Server(Store(hide(held, percent)), BASE))
        pages = [driver.run(f"/Observation?_count={count}") for _ in range(effort.rounds + 1)][1:]
        best = min(pages, key=lambda page: page.spent)
        each = best.spent / max(best.rows, 1) * 1e6
        before = before or each
        rows.append(
            [
                f"{percent} %",
                str(best.rows),
                str(best.asks),
                f"{best.spent * 1e3:.1f}",
                f"{each:.0f}",
                f"{each / before:.2f}",
            ]
        )
    print(f"\nHidden rows: a page of {count} visible rows, CPU of the core\n")
    print(table(["hidden", "rows", "asks", "ms", "us a visible row", "of none hidden"], rows))
    return []
