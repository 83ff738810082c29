"""Bearer token to Caller: signed tokens of the configured issuer, and static ones.

Nothing of a token is believed before its signature is: it chooses among the issuer's keys by
``kid``, never an algorithm outside the configured ones, never a key of its own (``jwk``, ``jku``,
``x5c`` are not looked at).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

import aiohttp
import jwt
import orjson
from aiohttp import hdrs

from proxy.config import AuthSettings, StaticToken
from proxy.errors import TokenExpired, Unauthorized
from proxy.policy.model import Caller
from proxy.shell.claims import judge_claims, judge_kind, read_caller
from proxy.shell.jwks import KeySource

# The issuer of static tokens, in audit records and page links.
STATIC_ISSUER: Final = "urn:ecr-proxy:static-token"
LONGEST: Final = 16 * 1024  # characters of a token

_BEARER = re.compile(r"Bearer +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)  # RFC 6750, 2.1
_JWS = re.compile(r"[A-Za-z0-9\-_]+\.[A-Za-z0-9\-_]+\.[A-Za-z0-9\-_]+")


class Authenticator:
    """Turns an Authorization header into a Caller. ``roles``: the configured ones.

    ``now``: seconds since 1970; ``clock``: monotonic seconds.
    """

    def __init__(
        self,
        auth: AuthSettings,
        roles: Collection[str],
        session: aiohttp.ClientSession,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._auth, self._roles, self._now = auth, frozenset(roles), now
        self._keys: KeySource | None = None
        if auth.issuer:
            self._keys = KeySource(
                session,
                auth.jwks_url,
                interval=auth.jwks_interval,
                lifetime=auth.jwks_lifetime,
                clock=clock or asyncio.get_running_loop().time,
            )

    async def authenticate(self, headers: Mapping[str, str]) -> Caller:
        """The caller whom ``headers`` (of a request, names in any case) identify.

        :raises Unauthorized: no token, or none that is accepted; TokenExpired among them.
        :raises Forbidden: a good token without exactly one known role.
        :raises Unavailable: the issuer's keys cannot be had now.
        """
        header = headers.get(hdrs.AUTHORIZATION, "")
        found = _BEARER.fullmatch(header)
        if found is None or len(header) > LONGEST:
            raise Unauthorized
        static = self._find_static(found[1])
        if static is not None:
            return _static_caller(static, self._now())
        if self._keys is None or not _JWS.fullmatch(found[1]):
            raise Unauthorized
        return await self._verify(found[1], self._keys)

    async def close(self) -> None:
        """End what is under way."""
        if self._keys is not None:
            await self._keys.close()

    def _find_static(self, token: str) -> StaticToken | None:
        digest = hashlib.sha256(token.encode()).digest()
        found = None
        for static in self._auth.tokens:  # all of them: time tells nothing about which matched
            if hmac.compare_digest(static.sha256, digest):
                found = static
        return found

    async def _verify(self, token: str, keys: KeySource) -> Caller:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise Unauthorized from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._auth.algorithms or "crit" in header or "b64" in header:
            raise Unauthorized
        if kid is not None and not isinstance(kid, str):
            raise Unauthorized
        key = await keys.find(kid, algorithm)
        try:
            signed = jwt.api_jws.decode_complete(token, key, [algorithm])
            claims = orjson.loads(signed["payload"])
        except (jwt.PyJWTError, orjson.JSONDecodeError):
            raise Unauthorized from None
        if not isinstance(claims, dict):
            raise Unauthorized
        judge_claims(claims, self._auth, self._now())
        judge_kind(header, claims)
        return read_caller(claims, self._auth, self._roles)


def _static_caller(token: StaticToken, now: float) -> Caller:
    if token.expires is not None and now >= token.expires.timestamp():
        raise TokenExpired
    return Caller(
        issuer=STATIC_ISSUER,
        subject=token.subject,
        role=token.role,
        project=token.project,
        claims=token.claims,
        scopes=token.scopes,
    )
