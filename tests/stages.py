"""Two running proxies: one that serves stage 2 of the IHE handbook, before one of stage 1."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from proxy.fhir.codec import JsonObject
from tests.conftest import free_port
from tests.noninterference.harness import show
from tests.rig import STAGE1, STAGE2, Rig, running
from tests.views import find_view


class Stages(NamedTuple):
    """The proxy at the source, and the one at the centre, whose upstream it is."""

    one: Rig
    two: Rig

    def show(self, stored: JsonObject) -> tuple[JsonObject | None, JsonObject | None]:
        """A stored resource as stage 1 shows it, and what stage 2 shows of that."""
        first = show(find_view(STAGE1), self.one, STAGE1, stored)
        second = None if first is None else show(find_view(STAGE2), self.two, STAGE2, first)
        return first, second


@asynccontextmanager
async def chained(upstream: web.Application | str, folder: Path) -> AsyncIterator[Stages]:
    """Both, for the time of the block, configured as docs/operation.md says."""
    source, centre = folder / "source", folder / "centre"
    source.mkdir()
    centre.mkdir()
    port = free_port()
    url = f"http://127.0.0.1:{port}/fhir"
    async with running(upstream, source, roles=[STAGE1], port=port, public=url) as one:
        token = centre / "upstream.token"
        token.touch(0o600)
        token.write_text(one.tokens[STAGE1])
        asked = 'token-file = "upstream.token"\nstorage-order = "none"'
        async with running(url, centre, roles=[STAGE2], asked=asked) as two:
            yield Stages(one, two)


async def walk(rig: Rig, role: str, target: str) -> list[JsonObject]:
    """What a search finds, all pages of it."""
    response = await rig.ask(role, target)
    found: list[JsonObject] = []
    while True:
        assert response.status == 200, (target, response.body)
        found += response.resources
        link = response.link("next")
        if link is None:
            return found
        response = await rig.follow(role, link)


def labels_of(resource: JsonObject) -> tuple[str, ...]:
    """The codes of a resource's security labels."""
    meta = resource.get("meta")
    labels = meta.get("security") if isinstance(meta, dict) else None
    return tuple(
        str(label["code"]) for label in (labels if isinstance(labels, list) else ())
        if isinstance(label, dict)
    )
