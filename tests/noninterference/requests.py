"""The requests that are made in both worlds; each gives a transcript."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import orjson

from tests.noninterference.worlds import World
from tests.rig import Response, Rig

JSON = {"Content-Type": "application/fhir+json"}
MOST_PAGES = 8


@dataclass(frozen=True, slots=True)
class Request:
    """A request of one kind; ``run`` makes it about the resource of a world."""

    kind: str
    name: str
    run: Callable[[Rig, World], AsyncIterator[Response]]


def _target(rig: Rig, world: World) -> str:
    return f"/{world.type}/{rig.id(world.role, world.type, world.id)}"


def _read(suffix: str = "", **headers: str) -> Callable[[Rig, World], AsyncIterator[Response]]:
    async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        yield await rig.ask(world.role, _target(rig, world) + suffix, headers=sent)

    return run


async def _head(rig: Rig, world: World) -> AsyncIterator[Response]:
    yield await rig.ask(world.role, _target(rig, world), method="HEAD")


def _search(query: str) -> Callable[[Rig, World], AsyncIterator[Response]]:
    async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
        shown = rig.id(world.role, world.type, world.id)
        yield await rig.ask(world.role, f"/{world.type}?{query.format(id=shown)}")

    return run


async def _post_search(rig: Rig, world: World) -> AsyncIterator[Response]:
    yield await rig.search(world.role, world.type, "_count=30")


def _walk(count: int) -> Callable[[Rig, World], AsyncIterator[Response]]:
    async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
        response = await rig.ask(world.role, f"/{world.type}?_count={count}")
        yield response
        for _ in range(MOST_PAGES):
            link = response.link("next") if response.status == 200 else None
            if link is None:
                return
            response = await rig.follow(world.role, link)
            yield response

    return run


def _batch(*urls: str) -> Callable[[Rig, World], AsyncIterator[Response]]:
    async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
        shown = rig.id(world.role, world.type, world.id)
        entries = [
            {"request": {"method": "GET", "url": url.format(type=world.type, id=shown)}}
            for url in urls
        ]
        body = orjson.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries})
        yield await rig.ask(world.role, "", method="POST", headers=JSON, body=body)

    return run


async def _validated(rig: Rig, world: World) -> AsyncIterator[Response]:
    """A read, and the same with the validator that it gave."""
    first = await rig.ask(world.role, _target(rig, world))
    yield first
    etag = first.headers.get("etag", 'W/"1"')
    yield await rig.ask(world.role, _target(rig, world), headers={"If-None-Match": etag})


REQUESTS = (
    Request("read", "plain", _read()),
    Request("read", "elements", _read("?_elements=id,status,name")),
    Request("read", "summary", _read("?_summary=true")),
    Request("read", "pretty", _read("?_pretty=true")),
    Request("read", "head", _head),
    Request("search", "all", _search("_count=30")),
    Request("search", "by id", _search("_id={id}")),
    Request("search", "summary", _search("_count=30&_summary=data")),
    Request("search", "post", _post_search),
    Request("page walk", "one by one", _walk(1)),
    Request("page walk", "three by three", _walk(3)),
    Request("batch", "read and search", _batch("{type}/{id}", "{type}?_count=3")),
    Request("batch", "two reads", _batch("{type}/{id}", "Patient/none")),
    Request("header", "validators", _validated),
    Request("header", "range", _read(Range="bytes=0-300", Prefer="return=minimal")),
    Request("header", "old version", _read(If_None_Match='W/"1"')),
    Request("header", "forwarding", _read(X_Forwarded_Host="evil.example", Cookie="a=b")),
    Request("bad input", "among good", _batch("{type}/{id}", "{type}?nonsense=1", "//evil/x")),
    Request("bad input", "bad search in batch", _batch("{type}?_count=2", "{type}?_count=abc")),
)
REFUSED = Request("bad input", "refused", _search("nonsense=1"))
KINDS_OF_REQUESTS = tuple(dict.fromkeys(r.kind for r in REQUESTS))
