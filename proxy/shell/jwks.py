"""The issuer's public keys: fetched when needed, renewed in the background, never on demand of
whoever sends tokens faster than once per interval (R-AU-6)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import jwt
import orjson
from aiohttp import hdrs
from cryptography.exceptions import UnsupportedAlgorithm

from proxy.errors import Unauthorized, Unavailable

log = logging.getLogger(__name__)

FETCH_SECONDS: Final = 5.0
LARGEST: Final = 256 * 1024  # bytes of a key set
MIN_RSA_BITS: Final = 2048
# Type and curve of the key that each algorithm needs (RFC 7518, RFC 8037).
_FITS: Final = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One signing key of the set. ``algorithm`` empty: any that fits its type and curve."""

    kid: str
    kty: str
    crv: str | None
    algorithm: str
    jwk: dict[str, Any]

    def fits(self, algorithm: str) -> bool:
        """Whether signatures of ``algorithm`` may be verified with this key."""
        kty, crv = _FITS.get(algorithm, ("", None))
        return self.kty == kty and self.algorithm in ("", algorithm) and crv in (None, self.crv)


class KeySource:
    """The signing keys published at ``url``.

    ``interval``: seconds in which unknown keys cause at most one fetch. ``lifetime``: seconds
    after which unconfirmed keys are no longer trusted; they are renewed at a quarter of it.
    ``clock``: monotonic seconds.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        interval: float,
        lifetime: float,
        clock: Callable[[], float],
    ) -> None:
        self._session, self._url, self._clock = session, url, clock
        self._interval, self._lifetime = interval, lifetime
        self._keys: tuple[PublicKey, ...] = ()
        self._prepared: dict[tuple[str, str], jwt.PyJWK] = {}
        self._confirmed = float("-inf")  # when the keys were last fetched
        self._tried = float("-inf")  # when the last fetch, good or bad, began
        self._searched = float("-inf")  # when an unknown key last caused a fetch
        self._failures = 0  # in a row
        self._fetching: asyncio.Task[bool] | None = None

    async def find(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """The key that verifies ``algorithm`` under ``kid``; without one, the only key that can.

        :raises Unauthorized: the issuer has no such key. :raises Unavailable: its keys cannot be
            had now.
        """
        age = self._clock() - self._confirmed
        if age >= self._lifetime:
            await self._require()
        elif age >= self._lifetime / 4 and self._pause() == 0:
            self._start()  # nobody waits for it
        key = self._match(kid, algorithm)
        if key is None and age < self._lifetime and await self._search():
            key = self._match(kid, algorithm)
        if key is None:
            raise Unauthorized
        return key

    async def close(self) -> None:
        """Give up a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _match(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        fitting = [
            key for key in self._keys if key.fits(algorithm) and (kid is None or key.kid == kid)
        ]
        if len(fitting) != 1:
            return None
        place = (fitting[0].kid, algorithm)
        if place not in self._prepared:
            self._prepared[place] = jwt.PyJWK(fitting[0].jwk, algorithm)
        return self._prepared[place]

    async def _require(self) -> None:
        """Fetch the keys or raise Unavailable. After a failure the next try waits a little."""
        pause = self._pause()
        if self._fetching is None and pause > 0:
            raise Unavailable(retry_after=max(1, round(pause)))
        if not await self._wait(self._start()):
            raise Unavailable(retry_after=max(1, round(self._pause())))

    async def _search(self) -> bool:
        """Look for a key that is not in the set; whether the set was fetched anew for it."""
        if self._fetching is None:
            if self._clock() - self._searched < self._interval:
                return False
            self._searched = self._clock()
        if not await self._wait(self._start()):
            raise Unavailable(retry_after=max(1, round(self._interval)))
        return True

    def _pause(self) -> float:
        """Seconds until the next fetch that no unknown key causes may begin."""
        if not self._failures:
            return 0.0
        wait = min(self._interval, 2.0 ** (self._failures - 1))
        return max(0.0, self._tried + wait - self._clock())

    def _start(self) -> asyncio.Task[bool]:
        """The fetch under way, begun if there is none."""
        if self._fetching is None:
            self._tried = self._clock()
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._done)
        return self._fetching

    def _done(self, task: asyncio.Task[bool]) -> None:
        self._fetching = None

    async def _wait(self, fetching: asyncio.Task[bool]) -> bool:
        # One client that goes away must not end the fetch that others wait for.
        return await asyncio.shield(fetching)

    async def _fetch(self) -> bool:
        try:
            async with (
                asyncio.timeout(FETCH_SECONDS),
                self._session.get(
                    self._url, headers={hdrs.ACCEPT: "application/json"}, allow_redirects=False
                ) as response,
            ):
                body = await response.content.read(LARGEST + 1) if response.status == 200 else b""
                while body and len(body) <= LARGEST and not response.content.at_eof():
                    body += await response.content.read(LARGEST)
            keys = read_keys(body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            self._failures += 1
            log.error("issuer's keys not fetched")
            return False
        self._keys, self._prepared = keys, {}
        self._confirmed, self._failures = self._clock(), 0
        return True


def read_keys(body: bytes) -> tuple[PublicKey, ...]:
    """The signing keys in a JWK Set (RFC 7517). Others are passed over: encryption keys, symmetric
    and private ones, short RSA keys, what is malformed. Raises ValueError if none is left."""
    if len(body) > LARGEST:
        raise ValueError("key set too large")
    document = orjson.loads(body)  # its error is a ValueError
    listed = document.get("keys") if isinstance(document, dict) else None
    found = [_read_key(jwk) for jwk in listed] if isinstance(listed, list) else []
    keys = tuple(key for key in found if key is not None)
    if not keys:
        raise ValueError("no signing key")
    return keys


def _read_key(jwk: object) -> PublicKey | None:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or "d" in jwk or "k" in jwk:
        return None
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    kid, kty, crv, algorithm = (jwk.get(name, "") for name in ("kid", "kty", "crv", "alg"))
    if not all(isinstance(text, str) for text in (kid, kty, crv, algorithm)):
        return None
    key = PublicKey(kid, kty, crv, algorithm, jwk)
    fitting = [name for name in _FITS if key.fits(name)]
    if not fitting:
        return None
    try:
        material = jwt.PyJWK(jwk, fitting[0]).key
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError):
        return None
    if kty == "RSA" and material.key_size < MIN_RSA_BITS:
        return None
    return key
