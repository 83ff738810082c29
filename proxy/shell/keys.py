"""Typed shared state: what hangs on the application, and what hangs on one request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from proxy.engine.messages import Facts

if TYPE_CHECKING:
    from proxy.shell.handler import Front


@dataclass(slots=True)
class Trace:
    """What the log and the audit learn of one request while it is answered.

    ``request_id``: our own, never the client's. ``started``: seconds of the event loop's clock.
    ``method``: the method if it is a standard one, else ``other``. ``headers``: response headers
    that every answer to this request carries, errors among them (CORS). ``fault``: class and place
    of an unexpected exception, never its text.
    """

    request_id: str
    started: float
    method: str = "other"
    place: str = ""
    role: str = ""
    facts: Facts = field(default_factory=Facts)
    headers: tuple[tuple[str, str], ...] = ()
    fault: str = ""


TRACE: web.RequestKey[Trace] = web.RequestKey("trace", Trace)
FRONT: web.AppKey[Front] = web.AppKey("front")
