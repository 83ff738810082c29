"""Loading: every resource arrives under its id, what is referenced first; failures are one line."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.demo.generator import LOAD_ORDER, cases, data_set
from proxy.demo.load import LoadError, load
from proxy.demo.upstream import REQUEST_LOG, STORE, create_upstream

Serve = Callable[[web.Application], Awaitable[TestServer]]


async def test_resources_arrive_in_load_order(aiohttp_server: Serve) -> None:
    """Each is PUT once under its own id; types follow each other as references need it."""
    app = create_upstream([])
    server = await aiohttp_server(app)
    wanted = data_set(cases(2))
    stored = await load(str(server.make_url("/fhir")), reversed(wanted))
    asked = [logged.target.split("/")[2:] for logged in app[REQUEST_LOG]]
    assert stored == len(asked) == len(wanted)
    assert {logged.method for logged in app[REQUEST_LOG]} == {"PUT"}
    types = list(dict.fromkeys(type for type, _ in asked))
    assert [t for t in types if t in LOAD_ORDER] == [t for t in LOAD_ORDER if t in types]
    assert types[-1] == "Bundle"
    for resource in wanted:
        assert app[STORE].resource(str(resource["resourceType"]), str(resource["id"]))


async def test_a_refusal_names_the_resource(aiohttp_server: Serve) -> None:
    """The first refusal ends the loading with one line: server, resource, status."""

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=422, text="secret words of the server")

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", refuse)
    server = await aiohttp_server(app)
    with pytest.raises(LoadError, match=r"^http\S+ refused Organization/\S+ with status 422\.$"):
        await load(str(server.make_url("/fhir")), data_set(cases(1)))


async def test_no_server(unused_tcp_port: int) -> None:
    """A server that is not there is said to be so."""
    with pytest.raises(LoadError, match="does not answer"):
        await load(f"http://127.0.0.1:{unused_tcp_port}/fhir", data_set(cases(1)))
