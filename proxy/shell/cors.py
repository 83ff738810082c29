"""Cross-origin requests: closed unless an origin is configured by name (Fetch, CORS protocol)."""

from __future__ import annotations

from aiohttp import hdrs, web

from proxy.engine.messages import Pairs

# What a browser of a configured origin may send and see, and for how many seconds it may rely on
# that.
METHODS = "GET, HEAD, POST"
REQUEST_HEADERS = "Accept, Authorization, Content-Type, If-None-Match, Prefer"
RESPONSE_HEADERS = "Content-Location, ETag, Location, Retry-After, X-Request-Id"
SECONDS = "600"


def allow_origin(origins: frozenset[str], request: web.Request) -> Pairs:
    """CORS headers for a configured origin, none for any other (R-RT-10). Credentials are never
    allowed: the bearer token is a header that a script sets, no cookie."""
    origin = request.headers.getall(hdrs.ORIGIN, [])
    if len(origin) != 1 or origin[0] not in origins:
        return ()
    headers = [
        (hdrs.ACCESS_CONTROL_ALLOW_ORIGIN, origin[0]),
        (hdrs.ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS),
    ]
    if is_preflight(request):
        headers += [
            (hdrs.ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (hdrs.ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS),
            (hdrs.ACCESS_CONTROL_MAX_AGE, SECONDS),
        ]
    return tuple(headers)


def is_preflight(request: web.Request) -> bool:
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    )
