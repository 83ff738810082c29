"""The requests that are made in both worlds; each gives a transcript."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import orjson

from proxy.fhir import registry
from tests.noninterference.worlds import MARKERS, World
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


def read(suffix: str = "", **headers: str) -> Callable[[Rig, World], AsyncIterator[Response]]:
    async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        yield await rig.ask(world.role, _target(rig, world) + suffix, headers=sent)

    return run


async def _head(rig: Rig, world: World) -> AsyncIterator[Response]:
    yield await rig.ask(world.role, _target(rig, world), method="HEAD")


def search(query: str) -> Callable[[Rig, World], AsyncIterator[Response]]:
    async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
        shown = rig.id(world.role, world.type, world.id)
        yield await rig.ask(world.role, f"/{world.type}?{query.replace('{id}', shown)}")

    return run


async def _post_search(rig: Rig, world: World) -> AsyncIterator[Response]:
    yield await rig.search(world.role, world.type, "_count=30")


def walk(count: int, query: str = "") -> Callable[[Rig, World], AsyncIterator[Response]]:
    async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
        response = await rig.ask(world.role, f"/{world.type}?_count={count}{query}")
        yield response
        for _ in range(MOST_PAGES):
            link = response.link("next") if response.status == 200 else None
            if link is None:
                return
            response = await rig.follow(world.role, link)
            yield response

    return run


def batch(*urls: str) -> Callable[[Rig, World], AsyncIterator[Response]]:
    async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
        shown = rig.id(world.role, world.type, world.id)
        entries = [
            {"request": {"method": "GET", "url": _fill(url, world.type, shown)}} for url in urls
        ]
        body = orjson.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries})
        yield await rig.ask(world.role, "", method="POST", headers=JSON, body=body)

    return run


async def _every_parameter(rig: Rig, world: World) -> AsyncIterator[Response]:
    """Searches by and sorts by whatever the registry knows of the type, for what a world hides;
    most of them are refused, one by one."""
    urls = []
    for code, known in registry.get(world.type).items():
        for value in _VALUES.get(code, _VALUES.get(known.type, ())):
            urls.append(f"{world.type}?{code}={value}")
        if known.type in ("string", "date", "token"):
            urls.append(f"{world.type}?_sort={code}&_count=30")
    async for response in batch(*urls)(rig, world):
        yield response


# What the worlds hide, by parameter or by the parameter's type.
_VALUES = {
    "phone": ("%2B1-555-0100",),
    "telecom": ("%2B1-555-0100",),
    "birthdate": ("ge1974-06-15", "lt1925-01-01"),
    "date": ("ge2019-06-15",),
    "string": (MARKERS[0],),
    "token": (MARKERS[0],),
    "uri": (f"urn:{MARKERS[0]}",),
}


def _fill(url: str, type_name: str, id: str) -> str:
    return url.replace("{type}", type_name).replace("{id}", id)


async def _validated(rig: Rig, world: World) -> AsyncIterator[Response]:
    """A read, and the same with the validator that it gave."""
    first = await rig.ask(world.role, _target(rig, world))
    yield first
    etag = first.headers.get("etag", 'W/"1"')
    yield await rig.ask(world.role, _target(rig, world), headers={"If-None-Match": etag})


REQUESTS = (
    Request("read", "plain", read()),
    Request("read", "elements", read("?_elements=id,meta,identifier")),
    Request("read", "summary", read("?_summary=true")),
    Request("read", "pretty", read("?_pretty=true")),
    Request("read", "head", _head),
    Request("search", "all", search("_count=30")),
    Request("search", "by id", search("_id={id}")),
    Request("search", "summary", search("_count=30&_summary=data")),
    Request("search", "post", _post_search),
    Request("page walk", "one by one", walk(1)),
    Request("page walk", "three by three", walk(3)),
    Request("batch", "read and search", batch("{type}/{id}", "{type}?_count=3")),
    Request("batch", "two reads", batch("{type}/{id}", "Patient/none")),
    Request("batch", "every parameter", _every_parameter),
    Request("header", "validators", _validated),
    Request("header", "range", read(Range="bytes=0-300", Prefer="return=minimal")),
    Request("header", "old version", read(If_None_Match='W/"1"')),
    Request("header", "forwarding", read(X_Forwarded_Host="evil.example", Cookie="a=b")),
    Request("bad input", "among good", batch("{type}/{id}", "{type}?nonsense=1", "//evil/x")),
    Request("bad input", "bad search in batch", batch("{type}?_count=2", "{type}?_count=abc")),
    # Asks nothing, so it never counts; the refusal must be the same all the same.
    Request("bad input", "refused", search("nonsense=1")),
)
KINDS_OF_REQUESTS = tuple(dict.fromkeys(r.kind for r in REQUESTS))
