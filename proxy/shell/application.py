"""The web application around the handler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from proxy.shell.handler import Front, answer
from proxy.shell.keys import FRONT
from proxy.shell.protocol import HANDLER_ARGS, guard
from proxy.shell.request import expect


def make_application(
    open_front: Callable[[], AbstractAsyncContextManager[Front]],
) -> web.Application:
    """An application whose every request goes to the handler; ``open_front`` is entered when it
    starts and left when it has drained."""
    application = web.Application(handler_args=HANDLER_ARGS)

    async def lifespan(application: web.Application) -> AsyncIterator[None]:
        async with open_front() as front:
            application[FRONT] = front
            yield

    application.cleanup_ctx.append(lifespan)
    # One route: the handler judges the raw target, a router would judge its own reading of it.
    application.router.add_route("*", "/{target:.*}", answer, expect_handler=expect)
    return guard(application)
