"""The least that a proxy of this kind can do: hand on each GET, and the bytes that come back.

``python -m benchmarks.pass_through PORT UPSTREAM``, UPSTREAM an origin. What it adds to a read is
the price of the second hop alone, on the same server and client libraries as the proxy.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

SESSION = web.AppKey("session", aiohttp.ClientSession)


def create_app(upstream: str) -> web.Application:
    async def session(app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession() as app[SESSION]:
            yield

    async def hand_on(request: web.Request) -> web.Response:
        async with request.app[SESSION].get(upstream + request.raw_path) as answer:
            headers = {"Content-Type": answer.headers["Content-Type"]}
            return web.Response(status=answer.status, body=await answer.read(), headers=headers)

    app = web.Application()
    app.cleanup_ctx.append(session)
    app.router.add_get("/{rest:.*}", hand_on)
    return app


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop where it is installed, as the proxy does."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


if __name__ == "__main__":
    web.run_app(
        create_app(sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        print=None,
        access_log=None,
        loop=new_loop(),
    )
