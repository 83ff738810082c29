"""The service credential: how this server shows the upstream who it is. Never the caller's token.

A credential is read anew when its file changes, so that it can be rotated while serving.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

import aiohttp
import orjson
from aiohttp import hdrs

from proxy.errors import Unavailable

log = logging.getLogger(__name__)

_SECRET = re.compile(r"[!-~]+")  # what a header may carry, and no space
GRANT_LIMIT: Final = 64 * 1024  # bytes of a token endpoint's answer
GRANT_SECONDS: Final = 10.0
EARLY: Final = 30.0  # seconds before its expiry that a granted token is renewed


class CredentialError(Exception):
    """A credential cannot be used. The message names the file, never what is in it."""


class Credential(Protocol):
    """Gives the headers that authenticate this server."""

    async def headers(self) -> Mapping[str, str]:
        """The headers to send now. Raises Unavailable if there is none at this time."""


class Anonymous:
    """No credential: the upstream asks for none."""

    async def headers(self) -> Mapping[str, str]:
        return {}


class SecretFile:
    """A secret in a file of its own, one line of visible ASCII."""

    def __init__(self, path: str) -> None:
        """:raises CredentialError: if the file cannot be read or holds no such line."""
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._secret = ""
        self.read()

    def read(self) -> str:
        """The secret as it stands in the file now. Raises CredentialError."""
        try:
            found = os.stat(self._path)
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp != self._stamp:
                text = Path(self._path).read_text("ascii").strip()
                if not _SECRET.fullmatch(text):
                    raise CredentialError(f"{self._path}: must hold one line without spaces")
                self._secret, self._stamp = text, stamp
        except (OSError, UnicodeDecodeError):
            raise CredentialError(f"{self._path}: cannot be read") from None
        return self._secret


def _current(secret: SecretFile) -> str:
    try:
        return secret.read()
    except CredentialError:
        log.error("upstream credential unreadable")
        raise Unavailable from None


class Bearer:
    """A bearer token from a file."""

    def __init__(self, token: SecretFile) -> None:
        self._token = token

    async def headers(self) -> Mapping[str, str]:
        return {hdrs.AUTHORIZATION: f"Bearer {_current(self._token)}"}


class Basic:
    """HTTP Basic (RFC 7617) with a password from a file."""

    def __init__(self, user: str, password: SecretFile) -> None:
        self._user = user
        self._password = password

    async def headers(self) -> Mapping[str, str]:
        return {hdrs.AUTHORIZATION: basic(self._user, _current(self._password))}


class ClientCredentials:
    """The client credentials grant (RFC 6749, 4.4): a token from ``token_url``, renewed shortly
    before it expires, asked for once at a time."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        token_url: str,
        client_id: str,
        secret: SecretFile,
        scope: str = "",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._session = session
        self._token_url = token_url
        self._client_id = client_id
        self._secret = secret
        self._scope = scope
        self._clock = clock or asyncio.get_running_loop().time
        self._lock = asyncio.Lock()
        self._token = ""
        self._until = 0.0

    async def headers(self) -> Mapping[str, str]:
        async with self._lock:
            if self._clock() >= self._until:
                await self._renew()
        return {hdrs.AUTHORIZATION: f"Bearer {self._token}"}

    async def _renew(self) -> None:
        form = {"grant_type": "client_credentials"}
        if self._scope:
            form["scope"] = self._scope
        headers = {
            hdrs.ACCEPT: "application/json",
            hdrs.ACCEPT_ENCODING: "identity",
            hdrs.AUTHORIZATION: basic(self._client_id, _current(self._secret)),
        }
        try:
            async with (
                asyncio.timeout(GRANT_SECONDS),
                self._session.post(
                    self._token_url, data=form, headers=headers, allow_redirects=False
                ) as response,
            ):
                if response.status != 200:
                    raise ValueError
                body = await response.content.read(GRANT_LIMIT)
                granted = orjson.loads(body)
                token, seconds = granted["access_token"], granted.get("expires_in", 60)
                if not _SECRET.fullmatch(token) or str(granted["token_type"]).lower() != "bearer":
                    raise ValueError
                self._until = self._clock() + max(0.0, float(seconds) - EARLY)
                self._token = token
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError, AttributeError):
            log.error("upstream credential not granted")
            raise Unavailable from None


def basic(user: str, password: str) -> str:
    """The value of an Authorization header by RFC 7617."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
