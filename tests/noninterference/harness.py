"""Makes every request in both worlds and compares."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from proxy.fhir.codec import Json, JsonObject, encode
from proxy.fhir.reference import Bases, parse_reference
from proxy.fhir.referring import reference_texts
from proxy.policy.compile import View
from proxy.policy.scope import Scope
from tests.alone import standing
from tests.noninterference.policies import SECTIONS
from tests.noninterference.requests import REQUESTS, Request
from tests.noninterference.worlds import World
from tests.rig import Response, Rig, Seen

# What may differ: when it was answered, under which number, and what a page token holds.
NOT_COMPARED = frozenset({"date", "x-request-id"})
_TOKEN = re.compile(rb"([?&]_page=)([A-Za-z0-9_\-]+)")

# What the upstream says anew each time, whatever it holds: ids of searches.
_ALWAYS_NEW = re.compile(rb'^\{"resourceType":"Bundle","id":"[^"]*"|_getpages=[^&"\\]*')
# Hidden, deleted and never-existing ids cause the same calls; a search fetches on.
_SAME_CALLS = frozenset({"read", "header"})
REFUSALS = frozenset({400, 401, 403, 405, 406})
TODAY = date(2026, 1, 31)

Put = Callable[[World, int], Awaitable[None]]


@dataclass
class Tally:
    """Pairs that count, by kind of change and kind of request; all replies, and the refusals among
    them; pairs that are exempt; what differed."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    replies: int = 0
    refusals: int = 0
    exempt: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def table(self, kinds: Sequence[str], requests: Sequence[str]) -> str:
        """The counts as a table of text."""
        width = max(map(len, kinds)) + 2
        lines = [" " * width + "".join(f"{r:>12}" for r in requests)]
        for kind in kinds:
            cells = "".join(f"{self.counts[kind, r]:>12}" for r in requests)
            lines.append(f"{kind:<{width}}{cells}")
        lines.append(
            f"{self.total} pairs, {self.refusals} of {self.replies} replies refused, "
            f"{self.exempt} exempt, {len(self.differences)} differ"
        )
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Transcript:
    """What one request gave in one world: to the client, and from the upstream, with what it was
    asked."""

    responses: tuple[Response, ...]
    upstream: tuple[bytes, ...]
    asked: tuple[str, ...]


async def observe(rig: Rig, world: World, request: Request) -> Transcript:
    rig.diary.clear()
    responses = tuple([r async for r in request.run(rig, world)])
    asked = tuple(f"{s.method} {s.target}" for s in rig.diary)
    return Transcript(responses, tuple(map(_essence, rig.diary)), asked)


def _essence(seen: Seen) -> bytes:
    """What the upstream said, but for what it says anew each time."""
    return b"%d %s" % (seen.status, _ALWAYS_NEW.sub(b"", seen.answer))


def comparable(response: Response) -> tuple[object, ...]:
    """A response as it must be equal."""
    headers = {k: v for k, v in response.headers.items() if k not in NOT_COMPARED}
    body = _TOKEN.sub(lambda m: m[1] + b"#" * len(m[2]), response.body)
    return response.status, tuple(sorted(headers.items())), body


def is_exempt(response: Response) -> bool:
    """503 and too-costly, which either side may give."""
    return response.status == 503 or b'"too-costly"' in response.body


async def compare(
    rig: Rig,
    all_worlds: Iterable[World],
    put: Put,
    *,
    requests: Sequence[Request] = REQUESTS,
) -> Tally:
    """Run every request in both sides of every world.

    ``put`` brings the upstream into side 0 or 1 of a world.
    """
    tally = Tally()
    for world in all_worlds:
        await compare_one(rig, world, put, requests, tally)
    return tally


async def compare_one(
    rig: Rig,
    world: World,
    put: Put,
    requests: Sequence[Request],
    tally: Tally,
) -> None:
    """Run some requests in both sides of one world."""
    seen: list[list[Transcript]] = []
    for side in (0, 1):
        await put(world, side)
        seen.append([await observe(rig, world, r) for r in requests])
    for request, one, other in zip(requests, *seen, strict=True):
        _judge(tally, world, request, one, other)


def _judge(
    tally: Tally,
    world: World,
    request: Request,
    one: Transcript,
    other: Transcript,
) -> None:
    where = f"{world.role}: {world.name}: {request.kind}, {request.name}"
    replies = (*one.responses, *other.responses)
    if any(r.status == 500 or b'"status":"500' in r.body for r in replies):
        tally.differences.append(f"{where}: a fault")
    if any(map(is_exempt, replies)):
        tally.exempt += 1
        return
    tally.replies += len(replies)
    tally.refusals += sum(r.status in REFUSALS for r in replies)
    if one.upstream != other.upstream:
        tally.counts[world.kind, request.kind] += 1
    if request.kind in _SAME_CALLS and _calls(world, one) != _calls(world, other):
        tally.differences.append(f"{where}: {len(one.asked)} and {len(other.asked)} upstream calls")
    first, second = ([comparable(r) for r in t.responses] for t in (one, other))
    if first != second:
        tally.differences.append(f"{where}: {_difference(first, second)}")


def _calls(world: World, transcript: Transcript) -> object:
    """What must be the same of the upstream calls: all of them, in order; where what is not there
    is told from what a hidden section hides by looking, their number."""
    if world.role != SECTIONS:
        return transcript.asked
    missing = any(response.status == 404 for response in transcript.responses)
    return len(transcript.asked) if missing else 0


def _difference(first: list[tuple[object, ...]], second: list[tuple[object, ...]]) -> str:
    if len(first) != len(second):
        return f"{len(first)} and {len(second)} pages"
    for page, (one, other) in enumerate(zip(first, second, strict=True)):
        for part, a, b in zip(("status", "headers", "body"), one, other, strict=True):
            if a != b:
                text, against = str(a), str(b)
                at = next(
                    (i for i, (x, y) in enumerate(zip(text, against, strict=False)) if x != y),
                    min(len(text), len(against)),
                )
                around = slice(max(0, at - 60), at + 60)
                return f"{part} of answer {page}: …{text[around]}… and …{against[around]}…"
    return "nothing"


def show(
    view: View, rig: Rig, role: str, resource: JsonObject, stored: Iterable[JsonObject] = ()
) -> JsonObject | None:
    """A stored resource as the role is shown it; None if it is withheld. ``stored``: all that the
    upstream holds, where that matters."""
    scope = Scope(
        namer=rig.namer(role),
        bases=Bases(rig.upstream, ["https://ehr.example.org/fhir"]),
        public=rig.public,
        # V(D) is compared with itself, so any day will do; an age is that of the day of asking.
        today=datetime.now(UTC).date() if view.policy.document else TODAY,
        shows=view.shows,
        pseudonym=view.pseudonym,
        claims=rig.claims.get(role, {}),
        companions={
            f"{rig.upstream}/Patient/{each['id']}": each
            for each in (stored if view.has_companions else ())
            if each["resourceType"] == "Patient"
        },
    )
    return view.reveal(resource, scope)


def show_whole(
    view: View, rig: Rig, role: str, stored: Iterable[JsonObject]
) -> list[tuple[JsonObject, JsonObject]]:
    """The stored resources that exist in the view, each with what is shown of it, in storage
    order."""
    held = everything = list(stored)
    if view.hides_sections:
        bases = (rig.upstream, "https://ehr.example.org/fhir")
        held = standing(
            held,
            lambda resource: show(view, rig, role, resource),
            lambda key: f"{key[0]}/{rig.id(role, *key)}",
            bases,
        )
    found = ((resource, show(view, rig, role, resource, everything)) for resource in held)
    return [(resource, shown) for resource, shown in found if shown is not None]


def show_all(view: View, rig: Rig, role: str, stored: Iterable[JsonObject]) -> list[bytes]:
    """V(D): what the view shows of the stored resources, in storage order; where a resource may
    show otherwise in a document that is made, what those show counts as shown."""
    held = list(stored)
    shown = [encode(shown) for _, shown in show_whole(view, rig, role, held)]
    documents = view.shows_together and "$document" in view.policy.access.get("Composition", ())
    return shown + (show_documents(view, rig, role, held) if documents else [])


def show_documents(view: View, rig: Rig, role: str, held: list[JsonObject]) -> list[bytes]:
    """The documents of all Compositions, each with all that its own leads to as stored: what does
    not show leads nowhere in them."""
    by_key = {(str(r["resourceType"]), str(r["id"])): r for r in held}
    bases, found = Bases(rig.upstream, ["https://ehr.example.org/fhir"]), []
    for first in (key for key in by_key if key[0] == "Composition"):
        reached, waiting = dict.fromkeys([first]), [first]
        while waiting:
            composition = {k: v for k, v in by_key[waiting.pop()].items() if k != "relatesTo"}
            for text in reference_texts(composition):
                named = parse_reference(text, bases.main)
                key = (named.type, named.id)
                if named.base in bases and key in by_key and key not in reached:
                    reached[key] = None
                    waiting.append(key)
        entries: list[Json] = [
            {"fullUrl": f"{bases.main}/{type_}/{id_}", "resource": by_key[type_, id_]}
            for type_, id_ in reached
        ]
        document: JsonObject = {"resourceType": "Bundle", "type": "document", "entry": entries}
        shown = show(view, rig, role, document)
        found.append(encode(shown) if shown else b"")
    return found
