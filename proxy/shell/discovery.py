"""Learns from the issuer's metadata where tokens come from, to tell it to SMART clients.

OpenID Connect Discovery 1.0, section 4. Nothing is decided by it: which keys verify a token is
configured. While it cannot be had, the SMART configuration tells what is configured.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp import hdrs

log = logging.getLogger(__name__)

PATH: Final = "/.well-known/openid-configuration"
LARGEST: Final = 256 * 1024  # bytes of the metadata
SECONDS: Final = 10.0
PAUSES: Final = (5.0, 300.0)  # seconds between tries: the first, doubled up to the last

ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "introspection_endpoint")
LISTS: Final = ("grant_types_supported", "token_endpoint_auth_methods_supported")

Tell = Callable[[Mapping[str, object]], None]


async def discover(session: aiohttp.ClientSession, issuer: str) -> dict[str, object]:
    """The endpoints and methods in the metadata of ``issuer``.

    :raises ValueError: the answer is no metadata of this issuer.
    :raises aiohttp.ClientError: there is none.
    """
    url = issuer.rstrip("/") + PATH
    headers = {hdrs.ACCEPT: "application/json"}
    async with session.get(url, headers=headers, allow_redirects=False) as response:
        if response.status != 200:
            raise ValueError("no metadata")
        body = bytearray()
        async for part in response.content.iter_any():
            body += part
            if len(body) > LARGEST:
                raise ValueError("metadata too long")
    document = orjson.loads(bytes(body))
    if not isinstance(document, dict) or document.get("issuer") != issuer:
        raise ValueError("metadata of another issuer")
    return _pick(document, urlsplit(issuer).scheme)


def _pick(document: Mapping[str, object], scheme: str) -> dict[str, object]:
    """What a client is told: URLs no less protected than the issuer's own, lists of words."""
    picked: dict[str, object] = {}
    for name in ENDPOINTS:
        value = document.get(name)
        if isinstance(value, str) and urlsplit(value).scheme in ("https", scheme):
            picked[name] = value
    for name in LISTS:
        value = document.get(name)
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            picked[name] = value
    return picked


async def keep_discovering(session: aiohttp.ClientSession, issuer: str, tell: Tell) -> None:
    """Ask until there is an answer, and ``tell`` it once."""
    pause, longest = PAUSES
    while True:
        try:
            async with asyncio.timeout(SECONDS):
                found = await discover(session, issuer)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            log.warning("issuer's metadata not fetched")
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
        else:
            tell(found)
            return
