"""Non-interference before a real HAPI, which stands behind a relay that keeps a diary."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from proxy.fhir.codec import JsonObject, encode
from tests.loading import load, unload
from tests.noninterference.harness import compare
from tests.noninterference.requests import KINDS_OF_REQUESTS, REQUESTS
from tests.noninterference.worlds import KINDS, World, dataset, worlds
from tests.rig import LDS, RESTRICTED, running

pytestmark = pytest.mark.hapi

PAIRS = 50  # that count, for each role
ASKED = (
    "plain", "elements", "all", "by id", "post", "one by one", "three by three",
    "read and search", "every parameter", "validators", "range", "among good",
)  # fmt: skip
# What HAPI does not store: values of the wrong JSON type, the same content once more.
NOT_STORED = frozenset({"malformed", "version"})
REQUEST_HEADERS = ("accept", "cache-control", "content-type", "if-none-match", "prefer")
RESPONSE_HEADERS = ("content-type", "etag", "last-modified")
LINKS = ("location", "content-location")


def relay(hapi: str) -> web.Application:
    """A server under which HAPI lives: its base instead of HAPI's, in both directions."""

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
            answer = _renamed(await response.read(), hapi, own)
            return web.Response(status=response.status, headers=answered, body=answer)

    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_route("*", "/fhir", handle)
    application.router.add_route("*", "/fhir/{rest:.*}", handle)
    return application


def _renamed(text: bytes, old: str, new: str) -> bytes:
    """One base for the other, as it is and percent-encoded."""
    renamed = text.replace(old.encode(), new.encode())
    return renamed.replace(quote(old, safe="").encode(), quote(new, safe="").encode())


class Shelf:
    """What HAPI holds of ours, and how it comes from one side of a world to the other."""

    def __init__(self, hapi: str) -> None:
        self.hapi = hapi
        self.held: dict[str, JsonObject] = {}

    async def put(self, world: World, side: int) -> None:
        """Store a side. All rows of the world's type are deleted and written again, in order: the
        order in which HAPI gives the rows of an unsorted search follows its last writes, and it is
        part of what is shown."""
        wanted = {_key(r): r for r in (world.second if side else world.first)}
        await self.clear({k for k, r in wanted.items() if r["resourceType"] != world.type})
        await self._write({k: r for k, r in wanted.items() if self.held.get(k) != r})
        if world.deleted and side:
            await self.clear(set(wanted) - {f"{world.type}/{world.id}"})

    async def _write(self, resources: dict[str, JsonObject]) -> None:
        await load(self.hapi, resources.values())
        self.held |= resources

    async def clear(self, but: AbstractSet[str] = frozenset()) -> None:
        """Delete all of ours, but for some."""
        await unload(self.hapi, [r for k, r in self.held.items() if k not in but])
        self.held = {k: r for k, r in self.held.items() if k in but}


@asynccontextmanager
async def shelf(hapi: str) -> AsyncIterator[Shelf]:
    holding = Shelf(hapi)
    try:
        yield holding
    finally:
        await holding.clear()


def _key(resource: JsonObject) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def _worlds(role: str, base: str) -> Iterator[World]:
    """The worlds that HAPI can store."""
    found = worlds(role, dataset(base, each=2))
    return (world for world in found if world.what not in NOT_STORED)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_what_is_hidden_changes_no_answer(
    role: str, hapi: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every request is answered the same in both sides of every world."""
    requests = [r for r in REQUESTS if r.name in ASKED]
    async with running(relay(hapi), tmp_path, roles=[role]) as rig, shelf(hapi) as holding:
        # HAPI itself sets meta.lastUpdated when a side is written, so that the two sides differ in
        # it; where the role is shown it, the two views do, too, and it is left out of comparison.
        tally = await compare(
            rig,
            list(_worlds(role, rig.upstream)),
            holding.put,
            requests=requests,
            updated=role != LDS,
        )
    with capsys.disabled():
        print(f"\nbefore HAPI, {role}\n{tally.table(KINDS, KINDS_OF_REQUESTS)}")
    assert tally.differences == []
    assert tally.total >= PAIRS
    assert tally.refusals * 5 <= tally.replies
    assert tally.exempt * 100 <= tally.total
    assert [(k, r) for k in KINDS for r in KINDS_OF_REQUESTS if not tally.counts[k, r]] == []


def test_relay_renames_in_both_forms() -> None:
    """A base goes as it is and percent-encoded."""
    text = encode({"a": "http://h/fhir/x", "b": "http%3A%2F%2Fh%2Ffhir%2Fx"})
    assert _renamed(text, "http://h/fhir", "http://r/f") == encode(
        {"a": "http://r/f/x", "b": "http%3A%2F%2Fr%2Ff%2Fx"}
    )
