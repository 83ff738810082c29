"""Ask a server, to the last page; its answer in a form in which two servers can be compared."""

from __future__ import annotations

import asyncio
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from proxy.fhir.codec import decode
from tests.equivalence.losses import without_losses
from tests.equivalence.queries import Query
from tests.equivalence.values import BASE
from tests.views import comparable

MOST_PAGES = 200
PARALLEL = 4
PAGE = "100"


@dataclass(frozen=True, slots=True)
class Row:
    """An entry: what it is of (``Type/id``), why it is there, and what it says."""

    name: str
    mode: str
    content: Any = field(hash=False)


@dataclass(frozen=True, slots=True)
class Found:
    """An answer, all pages of it. ``sizes``: matches on each page."""

    status: int
    rows: tuple[Row, ...] = ()
    sizes: tuple[int, ...] = ()
    total: int | None = None
    text: str = ""

    def names(self, mode: str = "match") -> list[str]:
        return [row.name for row in self.rows if row.mode == mode]


@dataclass(frozen=True, slots=True)
class Server:
    """A FHIR server at ``base``. ``whole``: it is asked for large pages and a total, whatever a
    query says: HAPI else loses rows of some pages, see the deviations."""

    base: str
    session: aiohttp.ClientSession
    token: str = ""
    whole: bool = False

    async def ask(self, query: Query) -> Found:
        """The rows of a search, every page followed."""
        url = f"{self.base}/{query.type}/_search"
        form = [(name, value.replace(BASE, self.base)) for name, value in query.pairs]
        if self.whole:
            form = [(name, value) for name, value in form if name not in ("_count", "_total")]
            form += [("_count", PAGE), ("_total", "accurate")]
        status, body = await self._send("POST", url, form)
        rows: list[Row] = []
        sizes: list[int] = []
        total = body.get("total") if status == 200 else None
        for _ in range(MOST_PAGES):
            if status != 200:
                return Found(status, text=str(body)[:300])
            page = [self._row(entry) for entry in body.get("entry", [])]
            rows += page
            sizes.append(sum(row.mode == "match" for row in page))
            following = next(
                (k["url"] for k in body.get("link", []) if k["relation"] == "next"), ""
            )
            if not following:
                return Found(200, tuple(rows), tuple(sizes), total)
            status, body = await self._send("GET", following)
        raise AssertionError(f"{query.text} has no last page at {self.base}")

    async def get(self, path: str) -> tuple[int, Any]:
        """One answer, decoded."""
        return await self._send("GET", f"{self.base}/{path}")

    async def _send(self, method: str, url: str, form: Any = None) -> tuple[int, Any]:
        # A server may answer an equal search from an earlier one's result.
        headers = {"Cache-Control": "no-cache", "Accept": "application/fhir+json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        async with self.session.request(
            method, URL(url, encoded=True), data=form, headers=headers
        ) as response:
            return response.status, decode(await response.read())

    def _row(self, entry: Mapping[str, Any]) -> Row:
        resource = entry["resource"]
        name = f"{resource['resourceType']}/{resource.get('id', '')}"
        if entry.get("fullUrl") not in (None, f"{self.base}/{name}"):
            raise AssertionError(f"{name} has the fullUrl {entry['fullUrl']}")
        return Row(name, entry.get("search", {}).get("mode", ""), canonical(resource))


async def ask_all(server: Server, queries: Iterable[Query]) -> list[Found]:
    """The answers, a few searches at a time."""
    gate = asyncio.Semaphore(PARALLEL)

    async def one(query: Query) -> Found:
        async with gate:
            return await server.ask(query)

    return list(await asyncio.gather(*map(one, queries)))


def canonical(resource: Any) -> Any:
    """What a resource says: exact numbers as text, narratives as XML, without what each server
    assigns (meta.versionId, lastUpdated, source) and what HAPI does not store."""
    kept = comparable(without_losses(resource))
    meta = {
        k: v
        for k, v in kept.get("meta", {}).items()
        if k not in ("versionId", "lastUpdated", "source")
    }
    kept = {k: v for k, v in kept.items() if k != "meta"} | ({"meta": meta} if meta else {})
    return _plain(kept)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _xml(v) if k == "div" else _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value


def _xml(div: Any) -> Any:
    """A narrative by its meaning: servers write attributes and quotes in their own way."""
    if not isinstance(div, str):
        return _plain(div)
    try:
        text = ElementTree.canonicalize(div)
    except ElementTree.ParseError:
        return div
    return re.sub(r"\s+", " ", text)
