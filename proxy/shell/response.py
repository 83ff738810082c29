"""Responses: one set of fixed headers, one content type, no word about the software behind."""

from __future__ import annotations

import re

from aiohttp import hdrs, web
from multidict import CIMultiDict

from proxy.engine.messages import Pairs
from proxy.errors import InternalError, ProxyError, outcome_bytes

# FHIR R4, http.html#mime-type: requests and responses set the character encoding explicitly.
FHIR_JSON = "application/fhir+json; charset=utf-8"

# On every response. No cache on the way may keep one, and if it did, not for another caller; a
# browser that opens one neither guesses a type nor runs anything in it.
FIXED = (
    (hdrs.CACHE_CONTROL, "no-store"),
    (hdrs.VARY, "Authorization, Accept, Origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
)

# What a Reply or an error may add. Anything else is a fault of ours and is not sent.
ADDED = frozenset(
    {
        "allow",
        "content-location",
        "etag",
        "last-modified",
        "location",
        "retry-after",
        "www-authenticate",
    }
)

_VALUE = re.compile(r"[\x20-\x7e]*")


class Response(web.Response):
    """A response that does not name the server software."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall(hdrs.SERVER, None)


def make_response(
    status: int,
    body: bytes,
    request_id: str,
    *,
    added: Pairs = (),
    extra: Pairs = (),
    content_type: str = FHIR_JSON,
) -> Response:
    """The response to send. ``added``: headers of the Reply or error; ``extra``: the shell's own.

    :raises InternalError: if ``added`` holds a header that is not in :data:`ADDED`, or a value that
        is not printable ASCII.
    """
    headers: CIMultiDict[str] = CIMultiDict(FIXED)
    headers["X-Request-Id"] = request_id
    for name, value in added:
        if name.lower() not in ADDED or not _VALUE.fullmatch(value):
            raise InternalError
        headers[name] = value
    headers.extend(extra)
    if body:
        headers[hdrs.CONTENT_TYPE] = content_type
    return Response(status=status, body=body, headers=headers)


def make_refusal(error: ProxyError, request_id: str, extra: Pairs = ()) -> Response:
    """The response for ``error``: its OperationOutcome, its status, its headers."""
    return make_response(
        error.status, outcome_bytes(error), request_id, added=error.headers, extra=extra
    )
