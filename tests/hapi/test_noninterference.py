"""Non-interference before a real HAPI, which stands behind a relay that keeps a diary."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from proxy.fhir.codec import JsonObject, encode
from tests.conftest import Tell
from tests.loading import rank
from tests.noninterference.policies import CLAIMS, SHIPPED
from tests.noninterference.sweeping import make_run
from tests.noninterference.worlds import Key, World, key_of
from tests.rig import POLICIES, running

pytestmark = pytest.mark.hapi

PAIRS = int(os.environ.get("NONINTERFERENCE_HAPI_PAIRS", "500"))  # that count, for each role
SEED = int(os.environ.get("NONINTERFERENCE_SEED", "1"))
REQUEST_HEADERS = ("accept", "cache-control", "content-type", "if-none-match", "prefer")
RESPONSE_HEADERS = ("content-type", "etag", "last-modified")
_STORED = re.compile(rb'"(lastUpdated|versionId|source)":\s*"([^"]*)"')
_AT = {b"lastUpdated": b"2026-01-05T06:00:00.000+00:00", b"versionId": b"1", b"source": b"#0"}
LINKS = ("location", "content-location")


def relay(hapi: str) -> web.Application:
    """A server under which HAPI lives: its base instead of HAPI's, in both directions, and for
    everything one version, time and source of storage: HAPI sets them when a side is written, so
    that the two sides of a world would differ in more than is meant, and in what is shown."""

    async def handle(request: web.Request) -> web.Response:
        own = f"{request.scheme}://{request.host}/fhir"
        target = _renamed(request.raw_path.removeprefix("/fhir").encode(), own, hapi)
        headers = {k: request.headers[k] for k in REQUEST_HEADERS if k in request.headers}
        url = URL(hapi + target.decode(), encoded=True)
        body = _renamed(await request.read(), own, hapi)
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, url, headers=headers, data=body or None) as response,
        ):
            answered = {k: response.headers[k] for k in RESPONSE_HEADERS if k in response.headers}
            for name in LINKS:
                if name in response.headers:
                    answered[name] = response.headers[name].replace(hapi, own)
            answer = _still(_renamed(await response.read(), hapi, own))
            return web.Response(status=response.status, headers=answered, body=answer)

    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_route("*", "/fhir", handle)
    application.router.add_route("*", "/fhir/{rest:.*}", handle)
    return application


def _still(text: bytes) -> bytes:
    """As if everything had been stored once, at one time."""

    def put(found: re.Match[bytes]) -> bytes:
        own = found[1] != b"source" or found[2].startswith(b"#")
        return b'"%s":"%s"' % (found[1], _AT[found[1]]) if own else found[0]

    return _STORED.sub(put, text)


def _renamed(text: bytes, old: str, new: str) -> bytes:
    """One base for the other, as it is and percent-encoded."""
    renamed = text.replace(old.encode(), new.encode())
    return renamed.replace(quote(old, safe="").encode(), quote(new, safe="").encode())


class Shelf:
    """What HAPI holds of ours, and how it comes from one side of a world to the other."""

    def __init__(self, hapi: str) -> None:
        self.hapi = hapi
        self.held: dict[Key, JsonObject] = {}

    async def put(self, world: World, side: int) -> None:
        """Store a side: all rows are deleted and written again, in order. The order in which HAPI
        gives the rows of an unsorted search follows its last writes, and it is part of what is
        shown; and by a reference it finds those rows only that were written after their target."""
        wanted = {key_of(r): r for r in (world.second if side else world.first)}
        await self.clear()
        await self._write(wanted)
        if world.deleted and side:
            await self.clear(set(wanted) - set(world.about))

    async def _write(self, resources: dict[Key, JsonObject]) -> None:
        ordered = sorted(resources, key=lambda key: rank(key[0]))
        self.held |= resources  # at once: where one is refused, the others are there all the same
        await self._send([_entry("PUT", key, resources[key]) for key in ordered])

    async def clear(self, but: AbstractSet[Key] = frozenset()) -> None:
        """Delete all of ours, but for some."""
        gone = sorted((k for k in self.held if k not in but), key=lambda k: rank(k[0]))
        await self._send([_entry("DELETE", key) for key in reversed(gone)])
        self.held = {k: r for k, r in self.held.items() if k in but}

    async def _send(self, entries: list[JsonObject]) -> None:
        """One after the other, in one batch (of many writes in one transaction some fail by
        "version constraint failure")."""
        body = encode({"resourceType": "Bundle", "type": "batch", "entry": list(entries)})
        headers = {"Content-Type": "application/fhir+json"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.hapi, data=body, headers=headers) as response,
        ):
            answered = await response.json(content_type=None)
        found = [entry["response"] for entry in answered.get("entry", [])]
        assert [r for r in found if not r["status"].startswith("2")] == []
        assert len(found) == len(entries), answered


def _entry(method: str, key: Key, resource: JsonObject | None = None) -> JsonObject:
    entry: JsonObject = {"request": {"method": method, "url": "/".join(key)}}
    return entry if resource is None else {**entry, "resource": resource}


@asynccontextmanager
async def shelf(hapi: str) -> AsyncIterator[Shelf]:
    holding = Shelf(hapi)
    try:
        yield holding
    finally:
        await holding.clear()


@pytest.mark.parametrize("role", SHIPPED)
async def test_what_is_hidden_changes_no_answer(
    role: str, hapi: str, tmp_path: Path, tell: Tell
) -> None:
    """Whatever is hidden, in many resources at once, changes no answer to whatever can be asked:
    ``NONINTERFERENCE_HAPI_PAIRS`` pairs that count, made from ``NONINTERFERENCE_SEED``."""
    async with (
        running(relay(hapi), tmp_path, roles=[role], claims=CLAIMS) as rig,
        shelf(hapi) as holding,
    ):
        run = make_run(rig, role, POLICIES, holding.put, f"{role} {SEED}", stored=True, each=2)
        await run.until(PAIRS)
    tell(f"before HAPI, seed {SEED}, {run.report(role)}")
    assert run.tally.differences == []
    assert run.tally.refusals * 5 <= run.tally.replies
    assert run.tally.exempt * 100 <= run.tally.total
    assert run.light() == []


def test_relay_renames_in_both_forms() -> None:
    """A base goes as it is and percent-encoded."""
    text = encode({"a": "http://h/fhir/x", "b": "http%3A%2F%2Fh%2Ffhir%2Fx"})
    assert _renamed(text, "http://h/fhir", "http://r/f") == encode(
        {"a": "http://r/f/x", "b": "http%3A%2F%2Fr%2Ff%2Fx"}
    )
