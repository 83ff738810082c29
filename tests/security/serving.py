"""More callers than one for each role, changed parts, and the store behind: for tests of who may
use what, and when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.app import Parts, assemble
from proxy.config import AuditSettings, Settings
from proxy.config.model import StaticToken
from proxy.demo.store import Store
from proxy.demo.upstream import REQUEST_LOG, STORE, Logged, create_upstream
from proxy.fhir.codec import JsonObject
from tests.security.product import (
    EPI,
    FHIR_JSON,
    PROJECT,
    Answer,
    Product,
    _built,
    token,
    upstream_port,
)
from tests.tripwire import readings

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
FHIR = {"Content-Type": "application/fhir+json"}


def caller(name: str, role: str, **more: Any) -> StaticToken:
    """A caller who asks as ``name`` (``running.ask(name, …)``). ``more``: subject, project,
    claims, scopes; by default those of the role's first caller."""
    fields: dict[str, Any] = {"subject": f"{role}-client", "project": PROJECT}
    if role == EPI:
        fields["claims"] = {"conditions": ["3928002"], "jurisdictions": ["MI"]}
    fields |= more
    return StaticToken(sha256=sha256(token(name).encode()).digest(), role=role, **fields)


def settings_with(*callers: StaticToken) -> dict[str, Any]:
    """The setting to start :func:`product` with these callers as well."""
    auth = _built()[0].auth
    return {"auth": replace(auth, tokens=(*auth.tokens, *callers))}


def common() -> tuple[Settings, Parts]:
    """Settings and parts that every product starts from."""
    return _built()


@asynccontextmanager
async def product_of(folder: Path, parts: Parts, **settings: Any) -> AsyncIterator[Product]:
    """The proxy around other parts than the common ones."""
    changed: dict[str, Any] = {"audit": AuditSettings(folder / "audit.ndjson"), **settings}
    own = replace(_built()[0], **changed)
    async with TestServer(assemble(own, parts), host="127.0.0.1") as server:
        assert server.port is not None
        yield Product(server.port, own, parts)


class Upstream:
    """The embedded FHIR server. ``log``: its requests; ``store``: what it holds."""

    def __init__(self, application: web.Application) -> None:
        self.log: list[Logged] = application[REQUEST_LOG]
        self.store: Store = application[STORE]
        self.base = _built()[0].upstream.url

    def calls(self) -> list[tuple[str, str, bytes]]:
        """What was asked since the last time."""
        found = [(asked.method, asked.target, asked.body) for asked in self.log]
        self.log.clear()
        return found


@asynccontextmanager
async def holding(*resources: JsonObject) -> AsyncIterator[Upstream]:
    """The embedded FHIR server with these resources."""
    application = create_upstream(resources, _built()[0].upstream.url)
    async with TestServer(application, host="127.0.0.1", port=upstream_port()):
        yield Upstream(application)


def bundle(kind: str, *requests: Any, **more: Any) -> dict[str, Any]:
    """A batch or transaction; ``requests``: URLs to GET, or entries as they are."""
    entries = [
        {"request": {"method": "GET", "url": r}} if isinstance(r, str) else r for r in requests
    ]
    return {"resourceType": "Bundle", "type": kind, "entry": entries, **more}


async def post(running: Product, role: str | None, body: bytes, **headers: str) -> Answer:
    """POST to the base."""
    sent = {**FHIR, **headers}
    return await running.ask(role, "POST", "/fhir", data=BytesIO(body), headers=sent)


async def search(running: Product, role: str, kind: str, query: str) -> Answer:
    """A search by POST."""
    return await running.ask(
        role, "POST", f"/fhir/{kind}/_search", data=query.encode(), headers=FORM
    )


def is_refusal(answer: Answer) -> bool:
    """REFUSE: 403, or 400 and 405 where the thing is not known at all, with an OperationOutcome."""
    return (answer.status, answer.code) in (
        (403, "forbidden"),
        (400, "not-supported"),
        (405, "not-supported"),
    )


def is_outcome(answer: Answer) -> bool:
    return answer.headers["content-type"] == FHIR_JSON and bool(answer.code)


def link(answer: Answer, relation: str) -> str | None:
    """The link of a Bundle."""
    for each in answer.json.get("link", ()):
        if each["relation"] == relation:
            return str(each["url"])
    return None


def resources(answer: Answer) -> list[Any]:
    """The resources of a Bundle's entries."""
    return [e["resource"] for e in answer.json.get("entry", ()) if "resource" in e]


def local(url: str) -> str:
    """A link that we gave, below our base."""
    public = _built()[0].server.public_url
    assert url.startswith(public + "/")
    return url.removeprefix(public)


def is_clean_of(text: str, *secrets: str) -> bool:
    """Whether none of ``secrets`` is in ``text``, plain or decoded."""
    return not any(secret.lower() in form for form in readings(text) for secret in secrets)
