"""A view over bytes against exact parse + write, and against rules evaluated one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import cast

import orjson

from benchmarks.corpus import BASE, document, searchset, singles
from benchmarks.naive import Rule, compile_rules, rewrite
from benchmarks.report import Effort, Goal, fastest, seconds, table
from proxy.fhir.codec import JsonObject, decode, encode
from proxy.fhir.reference import Bases
from proxy.lenses.identity import Namer, Namers
from proxy.lenses.keys import KeyRing
from proxy.policy.compile import View, compile_view
from proxy.policy.load import load_directory
from proxy.policy.scope import Scope

POLICIES = Path(__file__).resolve().parent.parent / "policies"
POLICY = "researcher-deidentified"
PROJECT = "benchmark"
TODAY = date(2026, 1, 1)
BASES = Bases(BASE)
PEER_BYTES = 956_000  # of a Bundle of 286 resources, for which a peer publishes 358 ms
PART_BYTES = 16_000  # of single resources that are timed together
NAIVE_SAMPLE = 40  # resources; the rest would take minutes


def new_scope(view: View, namer: Namer) -> Scope:
    """What one reveal knows; made anew for each resource, from parts that stay."""
    return Scope(
        namer=namer,
        bases=BASES,
        public="http://127.0.0.1:8000/fhir",
        today=TODAY,
        shows=view.shows,
        pseudonym=view.pseudonym,
    )


def reveal_page(view: View, namer: Namer, body: bytes) -> bytes:
    """A searchset through the view, entry by entry, as search answers are."""
    page = cast("JsonObject", decode(body))
    shown: list[JsonObject] = []
    for entry in cast("list[JsonObject]", page["entry"]):
        resource = view.reveal(cast("JsonObject", entry["resource"]), new_scope(view, namer))
        if resource is not None:
            url = f"http://127.0.0.1:8000/fhir/{resource['resourceType']}/{resource['id']}"
            shown.append({"fullUrl": url, "resource": resource, "search": entry["search"]})
    return encode({"resourceType": "Bundle", "type": "searchset", "entry": list(shown)})


def floor(bodies: list[bytes]) -> int:
    """Exact parse + write, without a look at what is parsed."""
    return sum(len(encode(decode(body))) for body in bodies)


def resources_in(bodies: list[bytes]) -> Iterator[bytes]:
    """Single resources of a corpus, a Bundle's entries one by one."""
    for body in bodies:
        value = orjson.loads(body)
        if value["resourceType"] == "Bundle":
            yield from (orjson.dumps(entry["resource"]) for entry in value["entry"])
        else:
            yield body


def sample(bodies: list[bytes]) -> list[bytes]:
    """Evenly spaced resources of a corpus, the first from within, not from its edge."""
    found = list(resources_in(bodies))
    step = max(1, len(found) // NAIVE_SAMPLE)
    return found[step // 2 :: step][:NAIVE_SAMPLE]


def naive(bodies: list[bytes], rules: list[Rule]) -> int:
    return sum(len(orjson.dumps(rewrite(orjson.loads(body), rules))) for body in bodies)


def parts_of(bodies: list[bytes]) -> list[list[bytes]]:
    """The bodies in parts that are long enough to be timed."""
    parts: list[list[bytes]] = [[]]
    for body in bodies:
        if sum(map(len, parts[-1])) >= PART_BYTES:
            parts.append([])
        parts[-1].append(body)
    return parts


def measure(effort: Effort) -> list[Goal]:
    """Print the table of the engine; give its goals."""
    policy = load_directory(POLICIES)[POLICY]
    ring = KeyRing.new(b"s" * 32, bytes(range(32)), TODAY)
    view, namer = compile_view(policy), Namers(ring).of(PROJECT, POLICY)
    rules = compile_rules(policy)
    size = effort.of(1000, 30)

    def reveal_each(bodies: list[bytes]) -> int:
        return sum(len(view.reveal_bytes(b, new_scope(view, namer)) or b"") for b in bodies)

    def reveal_pages(bodies: list[bytes]) -> int:
        return sum(len(reveal_page(view, namer, body)) for body in bodies)

    corpora: list[tuple[str, list[bytes], Callable[[list[bytes]], int]]] = [
        ("single resources", singles(effort.of(4, 1)), reveal_each),
        (f"searchset of {size}", [encode(searchset(size))], reveal_pages),
        (f"document of {size}", [encode(document(size))], reveal_each),
    ]
    rows, multiples, gains = [], [], []
    for name, bodies, reveal in corpora:
        parts = parts_of(bodies)
        bare, shown = fastest(
            [[partial(floor, p) for p in parts], [partial(reveal, p) for p in parts]],
            effort.rounds,
        )
        part = sample(bodies)[: effort.of(NAIVE_SAMPLE, 2)]
        slow = seconds(partial(naive, part, rules))
        (fast,) = fastest([[partial(reveal_each, part)]], effort.rounds)
        multiples.append(shown / bare)
        gains.append(slow / fast)
        length = sum(map(len, bodies))
        rows.append(
            [
                name,
                f"{length / 1e6:.2f}",
                f"{bare * 1e3:.1f}",
                f"{shown * 1e3:.1f}",
                f"{length / 1e6 / shown:.0f}",
                f"{multiples[-1]:.2f}",
                f"{slow / len(part) * 1e3:.0f}",
                f"{fast / len(part) * 1e3:.3f}",
                f"{gains[-1]:.0f}",
            ]
        )
    print(
        f"\nEngine: {POLICY}, {len(rules)} rules; CPU time, the fastest of {effort.rounds} rounds;"
        " the last three columns on a sample\n"
    )
    heads = ["corpus", "MB", "parse+write ms", "view ms", "MB/s", "multiple"]
    print(table([*heads, "one by one ms/resource", "view ms/resource", "faster x"], rows))

    peer = encode(document(effort.of(10_000, 30), most_bytes=PEER_BYTES))
    (spent,) = fastest([[lambda: reveal_each([peer])]], effort.rounds)
    entries = len(orjson.loads(peer)["entry"])
    print(f"\nBundle of {entries} resources, {len(peer) / 1e3:.0f} kB: {spent * 1e3:.1f} ms")
    return [
        *(
            Goal(f"view over parse + write, {name}", multiple, 3.0, True, "x")
            for (name, *_), multiple in zip(corpora, multiples, strict=True)
        ),
        Goal("view against rules one by one, worst corpus", min(gains), 100, False, "x faster"),
        Goal("Bundle of 956 kB on one core", spent * 1e3, 100, True, "ms"),
    ]
