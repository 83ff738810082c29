"""The product before an upstream of the test's choice, over sockets, for every shipped role."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import aiohttp
import orjson
from aiohttp.test_utils import TestServer
from yarl import URL

from proxy.app import Parts, assemble, build
from proxy.config import AuditSettings, Settings, read_settings
from proxy.demo.upstream import REQUEST_LOG, Logged, create_upstream
from proxy.fhir.codec import JsonObject
from proxy.lenses.keys import KeyRing
from tests.conftest import REPOSITORY, free_port

INV, LDS, DEID = ROLES = ("investigator", "researcher-limited", "researcher-deidentified")
RESTRICTED = (LDS, DEID)
EPI, PUB, SHIFTED = "epidemiologist", "public", "researcher-shifted"
STAGE1 = "stage1-pseudonymized"
SERVED = (*ROLES, EPI, PUB, SHIFTED, STAGE1)
# What the epidemiologist's token says: Zika, in Michigan.
CLAIMS = 'claims = { conditions = ["3928002"], jurisdictions = ["MI"] }\n'
PROJECT = "study-7"
PUBLIC = "https://ecr.example.org/fhir"
MARKER = "Everywoman7777"
NEVER = "never-existed"
FHIR_JSON = "application/fhir+json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. ``headers``: lower-case names; ``body``: as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def code(self) -> str:
        """Issue code of an OperationOutcome, which every error must be (R-EL-5)."""
        assert self.headers["content-type"] == FHIR_JSON
        assert self.json["resourceType"] == "OperationOutcome"
        (issue,) = self.json["issue"]
        assert issue["severity"] == "error"
        return str(issue["code"])

    @property
    def same(self) -> tuple[int, dict[str, str], bytes]:
        """What must be equal in equal answers: all but Date and request id."""
        kept = {k: v for k, v in self.headers.items() if k not in ("date", "x-request-id")}
        return self.status, kept, self.body

    def says(self, text: str) -> bool:
        return text in str(dict(self.headers)) or text.encode() in self.body


@dataclass(frozen=True, slots=True)
class Product:
    """A running proxy. ``settings``: as it was started with."""

    port: int
    settings: Settings
    parts: Parts

    async def ask(self, role: str | None, method: str, target: str, **options: Any) -> Answer:
        """Send exactly this target (not normalised) as a caller of ``role``; None: anonymous."""
        headers = dict(options.pop("headers", {}))
        if role is not None:
            headers["Authorization"] = f"Bearer {token(role)}"
        url = URL(f"http://127.0.0.1:{self.port}{target}", encoded=True)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(method, url, headers=headers, **options) as response,
        ):
            answered = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, answered, await response.read())

    async def get(self, role: str | None, target: str, **options: Any) -> Answer:
        return await self.ask(role, "GET", "/fhir" + target, **options)

    def shown(self, role: str, type_: str, real: str) -> str:
        """The id under which ``role`` is shown a resource."""
        if not self.parts.gateway.views[role].pseudonym(type_):
            return real
        return self.parts.gateway.namers.of(PROJECT, role).show_id(type_, real)

    def audit(self) -> list[dict[str, Any]]:
        lines = self.settings.audit.file.read_bytes().splitlines()
        return [orjson.loads(line) for line in lines]


def token(role: str) -> str:
    return f"{role}-{'0123456789abcdef' * 2}"


@cache
def _built() -> tuple[Settings, Parts]:
    """Settings and views for all tests: they take a second to compile. The upstream of every test
    listens on the one port that they name."""
    folder = Path(mkdtemp(prefix="product-"))
    keys = folder / "keys.json"
    keys.touch(0o600)
    keys.write_bytes(KeyRing.new(os.urandom(32), os.urandom(32), date.today()).write())
    tokens = "".join(
        f'[[auth.token]]\nsha256 = "{sha256(token(role).encode()).hexdigest()}"\n'
        f'subject = "{role}-client"\nrole = "{role}"\nproject = "{PROJECT}"\n'
        + (CLAIMS if role == EPI else "")
        for role in SERVED
    )
    text = (
        f'[server]\npublic-url = "{PUBLIC}"\norigins = ["https://app.example.org"]\n'
        f'[upstream]\nurl = "http://127.0.0.1:{free_port()}/fhir"\ntimeout = "2s"\n'
        f"{tokens}[roles]\n"
        + "".join(f'{role} = "{role}"\n' for role in SERVED)
        + f'[policies]\ndirectory = "{REPOSITORY / "policies"}"\n'
    )
    settings = read_settings(text, base=folder)
    return settings, build(settings)


def upstream_port() -> int:
    """The port on which a test's upstream must listen."""
    port = URL(_built()[0].upstream.url).port
    assert port is not None
    return port


@asynccontextmanager
async def product(folder: Path, **settings: Any) -> AsyncIterator[Product]:
    """The proxy, before whatever listens on :func:`upstream_port`. ``settings``: sections of the
    configuration to replace."""
    common, parts = _built()
    own = replace(common, audit=AuditSettings(folder / "audit.ndjson"), **settings)
    async with TestServer(assemble(own, parts), host="127.0.0.1") as server:
        assert server.port is not None
        yield Product(server.port, own, parts)


@asynccontextmanager
async def stored(*resources: JsonObject) -> AsyncIterator[list[Logged]]:
    """The embedded FHIR server with these resources; gives its request log."""
    application = create_upstream(resources, _built()[0].upstream.url)
    async with TestServer(application, host="127.0.0.1", port=upstream_port()):
        yield application[REQUEST_LOG]
