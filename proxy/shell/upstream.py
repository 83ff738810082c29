"""Ask to Answer over one pooled HTTP client.

The upstream is trusted to store, not to behave: it is asked for JSON by a URL built from parsed
parts, with listed headers and our own credential; what comes back is bounded in time and size, is
FHIR JSON with a status that we know, or is an error in our words. No redirect is followed, no
cookie kept, no proxy of the environment used.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlencode

import aiohttp
from aiohttp import hdrs
from yarl import URL

from proxy.engine.messages import Answer, Ask, Pairs
from proxy.errors import (
    InternalError,
    ProxyError,
    TooCostly,
    Unavailable,
    UpstreamBroken,
    UpstreamIncomplete,
    UpstreamTimeout,
)
from proxy.shell.breaker import Breaker
from proxy.shell.credential import Credential
from proxy.shell.inflate import INFLATED, inflate

ATTEMPTS: Final = 2  # every Ask is a read; one that broke off is asked once more
CONNECTIONS: Final = 100
RETRY_AFTER: Final = (1, 5, 120)  # seconds: least, where the upstream names none, most

FHIR_JSON: Final = "application/fhir+json"
FORM: Final = "application/x-www-form-urlencoded"
_JSON_TYPES: Final = frozenset({FHIR_JSON, "application/json"})

# On every request upstream, beside the credential. `no-cache`: HAPI else answers a search from the
# results of an equal one for a minute. Identity: it spares both sides the work; an answer that is
# compressed all the same is inflated under the limit.
HEADERS: Final[Mapping[str, str]] = {
    hdrs.ACCEPT: FHIR_JSON,
    hdrs.ACCEPT_ENCODING: "identity",
    hdrs.CACHE_CONTROL: "no-cache",
    "Prefer": "handling=strict",
}

# What an Answer tells the core of the upstream's headers.
ANSWER_HEADERS: Final = (hdrs.ETAG, hdrs.LAST_MODIFIED)

# Statuses that mean something to the core; their body is kept for 200 only, since the text of an
# upstream's error goes nowhere.
_KNOWN: Final = frozenset({200, 304, 400, 404, 405, 409, 410, 412, 413, 414, 415, 422})
_BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_LATE: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.GATEWAY_TIMEOUT})

_SEGMENT = r"(?!\.{1,2}(?:/|$))(?:[A-Za-z0-9\-._~$]|%[0-9A-Fa-f]{2})+"
_PATH = re.compile(rf"(?:{_SEGMENT}(?:/{_SEGMENT})*)?")
_LINK = re.compile(r"[!-~]*")
_ETAG = re.compile(r"(?:W/)?\"[!#-~]*\"")


@dataclass(frozen=True, slots=True)
class Limits:
    """``body``: bytes of one answer, before and after inflating. ``connect``: seconds until a
    connection stands."""

    body: int = 64 * 1024 * 1024
    connect: float = 10.0


class _BrokenOff(Exception):
    """The connection ended inside an exchange; asking once more may help."""


class Upstream:
    """The one client of the one upstream. ``base``: absolute URL without a trailing slash."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        credential: Credential,
        limits: Limits | None = None,
        breaker: Breaker | None = None,
    ) -> None:
        self._session = session
        self._base = base.rstrip("/")
        self._credential = credential
        self._limits = limits or Limits()
        self.breaker = breaker or Breaker()

    async def send(self, ask: Ask, deadline: float) -> Answer:
        """The answer to ``ask``, or the error that asking came to; never raises one.

        ``deadline``: by the event loop's clock, for all attempts together.
        """
        loop = asyncio.get_running_loop()
        if loop.time() >= deadline:
            return Answer(error=UpstreamTimeout())
        if (wait := self.breaker.closed_for(loop.time())) > 0:
            return Answer(error=Unavailable(retry_after=wait))
        try:
            async with asyncio.timeout_at(deadline):
                answer = await self._attempts(ask)
        except TimeoutError:
            answer = Answer(error=UpstreamTimeout())
        except ProxyError as error:
            answer = Answer(error=error)
        except asyncio.CancelledError:
            self.breaker.release()
            raise
        failed = isinstance(answer.error, Unavailable | UpstreamTimeout)
        self.breaker.note(failed, loop.time())
        return answer

    async def _attempts(self, ask: Ask) -> Answer:
        method, url, headers, body = self._request(ask)
        headers |= await self._credential.headers()
        for _ in range(ATTEMPTS):
            try:
                return await self._attempt(method, url, headers, body)
            except _BrokenOff:
                continue
        raise UpstreamIncomplete

    def _request(self, ask: Ask) -> tuple[str, URL, dict[str, str], bytes | None]:
        """Method, URL, headers, body. Raises InternalError for an Ask that is not what its
        contract says: it is not sent."""
        headers = dict(HEADERS)
        if ask.if_none_match:
            if not _ETAG.fullmatch(ask.if_none_match):
                raise InternalError
            headers[hdrs.IF_NONE_MATCH] = ask.if_none_match
        if ask.url:
            return hdrs.METH_GET, self._link(ask.url), headers, None
        if not _PATH.fullmatch(ask.path):
            raise InternalError
        text = f"{self._base}/{ask.path}" if ask.path else self._base
        if ask.query:
            text += "?" + encode(ask.query)
        url = URL(text, encoded=True)
        if ask.form is None:
            return hdrs.METH_GET, url, headers, None
        headers[hdrs.CONTENT_TYPE] = FORM
        return hdrs.METH_POST, url, headers, encode(ask.form).encode("ascii")

    def _link(self, link: str) -> URL:
        """A page link of the upstream's, if it lies under the base (a link may lead anywhere)."""
        rest = link.removeprefix(self._base)
        path, _, query = rest.partition("?")
        inside = rest != link and _LINK.fullmatch(rest) and "#" not in query
        if not inside or (path and not (path[0] == "/" and _PATH.fullmatch(path[1:]))):
            raise UpstreamBroken
        return URL(link, encoded=True)

    async def _attempt(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        try:
            async with self._session.request(
                method, url, headers=headers, data=body, allow_redirects=False
            ) as response:
                try:
                    return await self._read(response)
                finally:
                    if method == hdrs.METH_POST and response.status >= 400:
                        _discard(response)
        except (aiohttp.ClientSSLError, ssl.SSLError):
            raise UpstreamBroken from None
        except aiohttp.ClientConnectorError:
            raise Unavailable(retry_after=RETRY_AFTER[1]) from None
        except aiohttp.ServerTimeoutError:
            raise UpstreamTimeout from None
        except (aiohttp.ClientPayloadError, aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            raise _BrokenOff from None
        except aiohttp.ClientError:
            raise UpstreamBroken from None

    async def _read(self, response: aiohttp.ClientResponse) -> Answer:
        status = response.status
        if status not in _KNOWN:
            response.close()
            raise judge_status(status, response.headers.get(hdrs.RETRY_AFTER, ""))
        if status == HTTPStatus.NOT_MODIFIED:
            if hdrs.IF_NONE_MATCH not in response.request_info.headers:
                raise UpstreamBroken
            return Answer(status, _told(response))
        types = response.headers.getall(hdrs.CONTENT_TYPE, [])
        if not types and status != HTTPStatus.OK and response.content_length == 0:
            return Answer(status, _told(response))
        if len(types) != 1 or not is_json(types[0]):
            # A "404" in HTML is some other server's, not the FHIR server's word on a resource.
            response.close()
            raise UpstreamBroken
        body = await read_body(response, self._limits.body)
        return Answer(status, _told(response), body if status == HTTPStatus.OK else b"")


async def read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, inflated; at most ``limit`` bytes before and after.

    :raises TooCostly: more came. :raises UpstreamBroken: an encoding that we do not read, or one
        that inflates past the limit. :raises UpstreamIncomplete: a compressed body that ends early.
    """
    encoding = response.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
    if encoding != "identity" and encoding not in INFLATED:
        response.close()
        raise UpstreamBroken
    parts: list[bytes] = []
    size = 0
    if (response.content_length or 0) > limit:
        response.close()
        raise TooCostly
    async for part in response.content.iter_any():
        size += len(part)
        if size > limit:
            response.close()
            raise TooCostly
        parts.append(part)
    body = b"".join(parts)
    if encoding == "identity":
        return body
    return await asyncio.to_thread(inflate, body, encoding, limit)


def _discard(response: aiohttp.ClientResponse) -> None:
    """Close the connection of ``response``. A server that answers a POST early, before it has read
    the body, may close without a word; the next request must not run into that. By now aiohttp
    has put the connection back into the pool, which drops what is closed."""
    response.close()
    if response._protocol is not None:
        response._protocol.close()


def is_json(content_type: str) -> bool:
    """Whether a Content-Type is FHIR JSON (or plain JSON) in UTF-8."""
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    pairs = [parameter.partition("=") for parameter in parameters]
    charsets = [value.strip().strip('"') for name, _, value in pairs if name.strip() == "charset"]
    return media in _JSON_TYPES and all(charset == "utf-8" for charset in charsets)


def judge_status(status: int, retry_after: str) -> ProxyError:
    """The error for a status that is no answer to a read: overload and time-outs as such, anything
    else (a redirect, a refused credential, a fault) as an unusable answer."""
    if status in _BUSY:
        least, default, most = RETRY_AFTER
        named = int(retry_after) if re.fullmatch(r"[0-9]{1,9}", retry_after) else default
        return Unavailable(retry_after=min(max(named, least), most))
    if status in _LATE:
        return UpstreamTimeout()
    return UpstreamBroken()


def encode(pairs: Pairs) -> str:
    """Decoded pairs as a query or form, every character but the unreserved ones escaped."""
    return urlencode(pairs, safe="", errors="strict", quote_via=quote)


def _told(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {
        name.lower(): response.headers[name] for name in ANSWER_HEADERS if name in response.headers
    }


@asynccontextmanager
async def connect(
    base: str,
    credential: Credential,
    limits: Limits | None = None,
) -> AsyncIterator[Upstream]:
    """An :class:`Upstream` with a session of its own, for as long as the context lasts."""
    limits = limits or Limits()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect),
        skip_auto_headers=(hdrs.USER_AGENT, hdrs.CONTENT_TYPE),
        read_bufsize=256 * 1024,
    ) as session:
        # aiohttp would repeat a GET on a new connection by itself; attempts are counted here.
        session._retry_connection = False
        yield Upstream(session, base, credential, limits)
