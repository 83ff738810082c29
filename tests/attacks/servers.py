"""A server as an attacker meets it: HTTP and nothing else. Everything it says is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
import orjson
from yarl import URL

from tests.noninterference.harness import comparable
from tests.rig import PUBLIC, Response, Rig

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/fhir+json"}
GET, POST, BATCH = WAYS = ("GET", "POST", "batch")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Of an entry of a batch: the entry's status and resource."""

    status: int
    body: Any
    response: Response

    @property
    def entries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.body.get("entry", []) if self.status == 200 else []
        return found

    @property
    def matches(self) -> list[str]:
        """``Type/id`` of the matches, in order."""
        return [_name(e) for e in self.entries if _mode(e) == "match"]

    @property
    def included(self) -> list[str]:
        return [_name(e) for e in self.entries if _mode(e) == "include"]

    @property
    def total(self) -> int | None:
        found: int | None = self.body.get("total") if self.status == 200 else None
        return found

    def link(self, relation: str) -> str:
        links = self.body.get("link", []) if self.status == 200 else []
        return next((str(each["url"]) for each in links if each["relation"] == relation), "")


def _mode(entry: dict[str, Any]) -> str:
    """Empty where nothing was searched, as in a history."""
    return str(entry.get("search", {}).get("mode", ""))


def _name(entry: dict[str, Any]) -> str:
    return f"{entry['resource']['resourceType']}/{entry['resource']['id']}"


class Server(Protocol):
    """``base``: its own, as it stands in its links; ``name``: the id under which it shows a
    resource; ``heard``: what it said so far, as it must be equal in worlds that show the same."""

    heard: list[tuple[object, ...]]

    @property
    def base(self) -> str: ...

    def name(self, type_name: str, real: str) -> str: ...

    async def send(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None
    ) -> Response: ...


async def ask(
    server: Server, target: str, way: str = GET, headers: dict[str, str] | None = None
) -> Reply:
    """``target``: type and query, below the base, percent-encoded."""
    type_name, _, query = target.partition("?")
    given = headers or {}
    if way == POST:
        response = await server.send(
            "POST", f"/{type_name}/_search", {**FORM, **given}, query.encode()
        )
    elif way == BATCH:
        entry = {"request": {"method": "GET", "url": target}}
        bundle = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
        response = await server.send("POST", "", {**JSON, **given}, orjson.dumps(bundle))
    else:
        response = await server.send("GET", f"/{target}", given, None)
    server.heard.append(comparable(response))
    body = orjson.loads(response.body) if response.body else {}
    if way != BATCH or response.status != 200:
        return Reply(response.status, body, response)
    answer = body["entry"][0]
    status = int(answer["response"]["status"][:3])
    return Reply(status, answer.get("resource", answer["response"].get("outcome", {})), response)


@dataclass
class Open:
    """The upstream itself, unprotected."""

    base: str
    session: aiohttp.ClientSession
    heard: list[tuple[object, ...]] = field(default_factory=list)

    def name(self, type_name: str, real: str) -> str:
        return real

    async def send(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None
    ) -> Response:
        url = URL(self.base + target, encoded=True)
        async with self.session.request(method, url, headers=headers, data=body) as answer:
            text = await answer.read()
            lower = {k.lower(): v for k, v in answer.headers.items()}
            return Response(answer.status, lower, text)


@dataclass
class Veiled:
    """The proxy, to a caller of ``role``."""

    rig: Rig
    role: str
    heard: list[tuple[object, ...]] = field(default_factory=list)
    base: str = PUBLIC

    def name(self, type_name: str, real: str) -> str:
        return self.rig.id(self.role, type_name, real)

    async def send(
        self, method: str, target: str, headers: dict[str, str], body: bytes | None
    ) -> Response:
        return await self.rig.ask(self.role, target, method=method, headers=headers, body=body)


def query(type_name: str, *pairs: tuple[str, str]) -> str:
    """Type and parameters as a target."""
    written = "&".join(f"{quote(n, safe=':.')}={quote(v, safe='')}" for n, v in pairs)
    return f"{type_name}?{written}"
