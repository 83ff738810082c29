"""A small FHIR R4 server in memory, as an aiohttp application.

It stands on the search registry and the matcher that the proxy itself uses; as an oracle it
counts for paging and linking only.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from proxy.demo.server import Request, Server
from proxy.demo.store import Store
from proxy.fhir.codec import JsonObject

PATH = "/fhir"
MOST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Logged:
    """One request as it arrived. ``target``: raw path and query. ``headers``: lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


REQUEST_LOG = web.AppKey("request_log", list[Logged])
STORE = web.AppKey("store", Store)
_SERVERS = web.AppKey("servers", dict[str, Server])


def create_upstream(resources: Iterable[JsonObject], base_url: str = "") -> web.Application:
    """A FHIR server that holds ``resources`` (each with type and id) in their order.

    ``base_url``: its base, as it stands in links and full URLs; empty: ``/fhir`` on the host that
    a request names. ``app[REQUEST_LOG]`` lists every request, ``app[STORE]`` is the store.
    """
    app = web.Application(client_max_size=MOST_BYTES)
    app[STORE] = Store(resources)
    app[REQUEST_LOG] = []
    app[_SERVERS] = {}
    path = urlsplit(base_url).path.rstrip("/") if base_url else PATH
    fixed = base_url.rstrip("/")

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        target = request.raw_path
        if not target.startswith("/"):
            parts = urlsplit(target)
            target = parts.path + (f"?{parts.query}" if parts.query else "")
        app[REQUEST_LOG].append(Logged(request.method, target, headers, body))
        base = fixed or f"{request.scheme}://{request.host}{path}"
        server = app[_SERVERS].setdefault(base, Server(app[STORE], base))
        answer = server.answer(
            Request(request.method, target[len(path):] or "/", headers, body)
        )
        return web.Response(
            status=answer.status,
            body=b"" if request.method == "HEAD" or answer.status == 304 else answer.body,
            headers={
                **answer.headers,
                "Content-Type": "application/fhir+json;charset=utf-8",
                "X-Request-ID": headers.get("x-request-id", uuid.uuid4().hex[:16]),
                "X-Powered-By": "ecr-proxy demo",
            },
        )

    # Any method: what is not possible is answered by the server, as an OperationOutcome.
    app.router.add_route("*", path or "/", handle)
    app.router.add_route("*", path + "/{rest:.*}", handle)
    return app
