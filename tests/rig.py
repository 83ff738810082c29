"""The whole product on loopback: an upstream that keeps a diary, the proxy, a client per role."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler, Middleware
from yarl import URL

from proxy.app import create_app
from proxy.config import read_settings
from proxy.demo.upstream import create_upstream
from proxy.fhir.codec import Json, JsonObject, decode
from proxy.lenses.identity import Namer, Namers
from proxy.lenses.keys import KeyRing

REPOSITORY = Path(__file__).resolve().parent.parent
POLICIES = REPOSITORY / "policies"
PUBLIC = "https://ecr.example.org/fhir"
PROJECT = "study-7"
INV, LDS, DEID = "investigator", "researcher-limited", "researcher-deidentified"
ROLES = (INV, LDS, DEID)
RESTRICTED = (LDS, DEID)
STAGE1, STAGE2 = "stage1-pseudonymized", "stage2-anonymized"
IDENTIFIED = (INV, "epidemiologist", "public", STAGE2)  # who see ids as their upstream has them
Claims = Mapping[str, Mapping[str, object]]  # by role
RING = KeyRing.new(
    hashlib.sha256(b"service of the tests").digest(),
    hashlib.sha256(b"master of the tests").digest(),
    date(2026, 1, 1),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One exchange as the upstream saw it."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    answer: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """What the client got. ``headers``: lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> JsonObject:
        value = decode(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def issue(self) -> str:
        """The code of the only issue of an OperationOutcome."""
        issues = self.json["issue"]
        assert isinstance(issues, list)
        assert isinstance(issues[0], dict)
        return str(issues[0]["code"])

    @property
    def entries(self) -> list[JsonObject]:
        found = self.json.get("entry", [])
        assert isinstance(found, list)
        return [e for e in found if isinstance(e, dict)]

    @property
    def resources(self) -> list[JsonObject]:
        found: list[Json] = [e.get("resource") for e in self.entries]
        return [r for r in found if isinstance(r, dict)]

    def link(self, relation: str) -> str | None:
        links = self.json.get("link", [])
        for link in links if isinstance(links, list) else ():
            if isinstance(link, dict) and link.get("relation") == relation:
                return str(link["url"])
        return None


@dataclass
class Rig:
    """A running product. ``diary``: what the upstream was asked and answered, since cleared;
    ``claims``: what the tokens claim, by role."""

    base: URL
    upstream: str
    session: aiohttp.ClientSession
    tokens: Mapping[str, str]
    audit: Path
    diary: list[Seen] = field(default_factory=list)
    claims: Claims = field(default_factory=dict)
    namers: Namers = field(default_factory=lambda: Namers(RING))
    public: str = PUBLIC

    def namer(self, role: str) -> Namer:
        return self.namers.of(PROJECT, role)

    def id(self, role: str, type_name: str, real: str) -> str:
        """The id of a resource as the role is shown it."""
        return real if role in IDENTIFIED else self.namer(role).show_id(type_name, real)

    async def ask(
        self,
        role: str | None,
        target: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Response:
        """One request; ``target`` goes out as written, below the base (or from the root if it
        begins with two slashes, of which one goes)."""
        raw = target[1:] if target.startswith("//") else self.base.path + target
        url = URL(f"{self.base.origin()}{raw}", encoded=True)
        sent = dict(headers or {})
        if role is not None:
            sent.setdefault("Authorization", f"Bearer {self.tokens[role]}")
        async with self.session.request(
            method, url, headers=sent, data=body, allow_redirects=False
        ) as response:
            answer = await response.read()
            return Response(
                response.status, {k.lower(): v for k, v in response.headers.items()}, answer
            )

    async def follow(self, role: str, url: str) -> Response:
        """GET a link that the proxy gave, which begins with its public base."""
        assert url.startswith(self.public)
        return await self.ask(role, url[len(self.public) :])

    async def search(self, role: str, type_name: str, pairs: str) -> Response:
        """A search by POST."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return await self.ask(
            role, f"/{type_name}/_search", method="POST", headers=form, body=pairs.encode()
        )


def configuration(
    upstream: str,
    tokens: Mapping[str, str],
    claims: Claims,
    policies: Path,
    extra: str,
    public: str = PUBLIC,
    asked: str = 'aliases = ["https://ehr.example.org/fhir"]',
) -> str:
    """The text of the configuration. ``asked``: lines of ``[upstream]`` beside its URL."""
    roles = "".join(f'{role} = "{role}"\n' for role in tokens)
    entries = "".join(
        "[[auth.token]]\n"
        f'sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n'
        f'subject = "{role}-client"\nrole = "{role}"\nproject = "{PROJECT}"\n'
        f"claims = {{ {_inline(claims.get(role, {}))} }}\n"
        for role, token in tokens.items()
    )
    return (
        f'[server]\npublic-url = "{public}"\n[upstream]\nurl = "{upstream}"\n'
        f'{asked}\n{entries}[roles]\n{roles}'
        f'[policies]\ndirectory = "{policies}"\n{extra}'
    )


def _inline(claims: Mapping[str, object]) -> str:
    """The inside of a TOML table; JSON's texts and arrays are TOML's, too."""
    return ", ".join(f"{name} = {json.dumps(value)}" for name, value in claims.items())


@asynccontextmanager
async def running(
    upstream: web.Application | str,
    folder: Path,
    *,
    roles: Iterable[str] = ROLES,
    policies: Path = POLICIES,
    extra: str = "",
    claims: Claims | None = None,
    port: int | None = None,
    **written: str,
) -> AsyncIterator[Rig]:
    """The product in front of an upstream application, or of the server at a URL (which keeps no
    diary), for the time of the block. ``claims``: what the tokens claim; ``written``: ``public``
    and ``asked`` of :func:`configuration`."""
    diary: list[Seen] = []
    if isinstance(upstream, web.Application):
        upstream.middlewares.append(_keep(diary))
    tokens = {role: f"{role}-{secrets.token_hex(12)}" for role in roles}
    keys = folder / "keys.json"
    keys.touch(0o600)
    keys.write_bytes(RING.write())
    async with _behind(upstream) as url:
        text = configuration(url, tokens, claims or {}, policies, extra, **written)
        settings = read_settings(text, {}, file="rig", base=folder)
        async with (
            TestServer(create_app(settings), port=port) as front,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        ):
            base = front.make_url("/fhir")
            public = written.get("public", PUBLIC)
            yield Rig(
                base, url, session, tokens, folder / "audit.ndjson", diary, claims or {},
                public=public,
            )  # fmt: skip


@asynccontextmanager
async def _behind(upstream: web.Application | str) -> AsyncIterator[str]:
    if isinstance(upstream, str):
        yield upstream
        return
    async with TestServer(upstream) as server:
        yield str(server.make_url("/fhir"))


def embedded(resources: Iterable[JsonObject]) -> web.Application:
    """The embedded upstream over some resources."""
    return create_upstream(resources)


def _keep(diary: list[Seen]) -> Middleware:
    @web.middleware
    async def keep(request: web.Request, handler: Handler) -> web.StreamResponse:
        body = await request.read()
        response = await handler(request)
        answer = response.body if isinstance(response, web.Response) else b""
        headers = {k.lower(): v for k, v in request.headers.items()}
        diary.append(
            Seen(
                request.method,
                request.raw_path,
                headers,
                body,
                response.status,
                answer if isinstance(answer, bytes) else b"",
            )
        )
        return response

    return keep
