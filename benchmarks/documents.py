"""Documents of 50, 400 and 2,000 entries, read by policy; and how long the event loop waits while a
big one is rewritten.

The core is driven without a network, as in :mod:`benchmarks.hidden`; the loop as the shell does it,
long steps in a thread.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from benchmarks.corpus import BASE, document
from benchmarks.engine import POLICIES, PROJECT, TODAY, floor
from benchmarks.report import Effort, Goal, fastest, table
from proxy.demo.names import DISEASES, PLACES
from proxy.engine.flow import exchange
from proxy.engine.gateway import Gateway
from proxy.engine.messages import Answer, Ask, Call, Flow, Reply
from proxy.fhir.codec import JsonObject, decode, encode
from proxy.fhir.reference import Bases
from proxy.lenses.keys import KeyRing
from proxy.policy.compile import compile_view
from proxy.policy.load import load_directory
from proxy.policy.model import Caller, Policy
from proxy.shell.drive import Offload, drive

SIZES = (50, 400, 2000)
FEW = (5, 10, 20)
NOW = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)
CLAIMS: Mapping[str, object] = {
    "conditions": sorted({code for d in DISEASES for code in (d.code, d.icd10, d.test[0])}),
    "jurisdictions": sorted({state for _, _, state, _ in PLACES}),
}
_TICK = 0.001  # seconds between two looks at the loop
_LABELS = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"


def shows_documents(policy: Policy) -> bool:
    return policy.served and "read" in policy.access.get("Bundle", ())


def make_gateway(policies: Mapping[str, Policy]) -> Gateway:
    """Each policy as a role of its own name."""
    return Gateway.make(
        public_url="http://127.0.0.1:8000/fhir",
        bases=Bases(BASE),
        views={name: compile_view(policy) for name, policy in policies.items()},
        ring=KeyRing.new(b"s" * 32, bytes(range(32)), TODAY),
    )


def labelled(size: int) -> JsonObject:
    """A document of so many entries, as a first stage labels what it gives on."""
    made: Any = document(size)
    for held in (made, *(entry["resource"] for entry in made["entry"])):
        label = {"system": _LABELS, "code": "PSEUDED"}
        held.setdefault("meta", {})["security"] = [label]
    return cast("JsonObject", made)


class Reading:
    """One role's reads of one document; of nothing else does the upstream hold anything."""

    def __init__(self, gateway: Gateway, role: str, body: bytes) -> None:
        self._gateway, self._body = gateway, body
        self._caller = Caller("", "benchmark", role, PROJECT, claims=CLAIMS)
        self._id = str(json.loads(body)["id"])
        view, shown = gateway.views[role], self._id
        if view.pseudonym("Bundle"):
            shown = gateway.namers.of(PROJECT, role).show_id("Bundle", self._id)
        self._target = f"/Bundle/{shown}"

    def flow(self) -> Flow:
        call = Call("GET", self._target, {}, b"", self._caller, NOW, "benchmark")
        return exchange(call, self._gateway)

    def answer(self, ask: Ask) -> Answer:
        if ask.path == f"Bundle/{self._id}":
            return Answer(200, {}, self._body)
        if ask.form is not None:
            return Answer(200, {}, b'{"resourceType":"Bundle","type":"searchset","total":0}')
        return Answer(404, {}, b"")

    def run(self) -> int:
        """Bytes of the reply."""
        flow = self.flow()
        said = next(flow)
        while True:
            asks = said if isinstance(said, tuple) else (said,)
            answers = tuple(map(self.answer, asks))
            try:
                said = flow.send(answers if isinstance(said, tuple) else answers[0])
            except StopIteration as end:
                return len(checked(end.value).body)

    async def send(self, ask: Ask) -> Answer:
        return self.answer(ask)


def checked(reply: Reply) -> Reply:
    if reply.status != 200:
        raise SystemExit(f"a document was answered with {reply.status}: {reply.body[:200]!r}")
    return reply


async def longest_wait(reading: Reading, offload: Offload, rounds: int) -> float:
    """Seconds for which nothing else could run on the loop while the document was read; the best of
    some rounds."""
    best = float("inf")
    for _ in range(rounds):
        waited = [0.0]
        ticking = asyncio.create_task(_tick(waited))
        await asyncio.sleep(10 * _TICK)
        waited[0] = 0.0
        checked(await drive(reading.flow(), reading.send, offload))
        await asyncio.sleep(2 * _TICK)
        ticking.cancel()
        best = min(best, waited[0])
    return best


async def _tick(waited: list[float]) -> None:
    last = time.perf_counter()
    while True:
        await asyncio.sleep(_TICK)
        now = time.perf_counter()
        waited[0] = max(waited[0], now - last - _TICK)
        last = now


def waits(gateway: Gateway, body: bytes, rounds: int) -> Iterator[tuple[str, float, float]]:
    """(policy, seconds with the thread, seconds without it)."""
    with ThreadPoolExecutor(1) as executor:
        for role in gateway.views:
            reading = Reading(gateway, role, body)
            for offload in (Offload(executor), Offload()):
                asyncio.run(longest_wait(reading, offload, 1))
            threaded = asyncio.run(longest_wait(reading, Offload(executor), rounds))
            alone = asyncio.run(longest_wait(reading, Offload(), rounds))
            yield role, threaded, alone


def measure(effort: Effort) -> list[Goal]:
    """Print the tables of documents; give their goals."""
    found = {n: p for n, p in sorted(load_directory(POLICIES).items()) if shows_documents(p)}
    gateway, rounds = make_gateway(found), max(1, effort.rounds // 3)
    sizes = FEW if effort.small else SIZES
    bodies = [encode(labelled(size)) for size in sizes]
    bare, times = [], dict[str, list[float]]()
    for body in bodies:
        runs = [[Reading(gateway, role, body).run] for role in gateway.views]
        floored, *spent = fastest([[partial(floor, [body])], *runs], rounds)
        bare.append(floored)
        for role, seconds in zip(gateway.views, spent, strict=True):
            times.setdefault(role, []).append(seconds)
    print(f"\nDocuments: read by policy; CPU of the core, ms, the fastest of {rounds} rounds\n")
    counts = [len(cast("list[object]", cast("JsonObject", decode(b))["entry"])) for b in bodies]
    heads = ["policy", *(f"{count} entries" for count in counts), "of parse+write", "us an entry",
             "against the smallest"]  # fmt: skip
    rows, growth = [], []
    for role, spent in [("parse + write", bare), *times.items()]:
        each = [seconds / count for seconds, count in zip(spent, counts, strict=True)]
        growth.append(each[-1] / each[0])
        cells = [*(f"{seconds * 1e3:.1f}" for seconds in spent), f"{spent[-1] / bare[-1]:.2f}",
                 f"{each[-1] * 1e6:.0f}", f"{growth[-1]:.2f}"]  # fmt: skip
        rows.append([role, *cells])
    print(table(heads, rows))
    blocks = list(waits(gateway, bodies[-1], rounds))
    print(f"\nThe event loop while {counts[-1]} entries ({len(bodies[-1]) / 1e6:.1f} MB) are "
          f"rewritten: longest wait, ms, the best of {rounds} rounds\n")  # fmt: skip
    print(table(["policy", "in a thread", "on the loop", "of it"],
                [[role, f"{a * 1e3:.1f}", f"{b * 1e3:.1f}", f"{a / b:.2f}"]
                 for role, a, b in blocks]))  # fmt: skip
    return [
        Goal("an entry of the largest document against the smallest's, worst policy",
             max(growth[1:]), 1.5, True, "x"),
        Goal("longest wait of the loop in a thread, worst policy",
             max(a for _, a, _ in blocks) * 1e3, 150, True, "ms"),
    ]  # fmt: skip
