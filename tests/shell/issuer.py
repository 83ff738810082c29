"""An issuer for tests: real keys, real signatures, a real key set over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import aiohttp
import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from proxy.config import AuthSettings, StaticToken
from proxy.shell.identity import Authenticator

ISSUER = "https://id.example.org/realms/ecr"
AUDIENCE = "https://ecr.example.org/fhir"
ROLES = ("investigator", "public", "researcher-limited", "researcher-deidentified")

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key of its own for each name; making one is slow."""
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def ed_key(name: str) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def jwk(key: PrivateKey, kid: str | None, **more: str) -> dict[str, Any]:
    """The public half of ``key`` as a JWK."""
    if isinstance(key, rsa.RSAPrivateKey):
        found = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        found = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        found = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    named = {} if kid is None else {"kid": kid}
    return {**found, "use": "sig", **named, **more}


def claims(**changes: object) -> dict[str, object]:
    """The claims of a good token; a change to None takes one out."""
    now = int(time.time())
    good: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "someone",
        "iat": now,
        "exp": now + 300,
        "ecr_role": "researcher-limited",
        "ecr_project": "study-7",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def sign(
    payload: dict[str, object],
    key: PrivateKey | None = None,
    algorithm: str = "RS256",
    kid: str | None = "one",
    header: Mapping[str, object] | None = None,
) -> str:
    """A token signed by the issuer's first key, unless another is named."""
    named = {} if kid is None else {"kid": kid}
    return jwt.encode(
        payload, key or rsa_key("one"), algorithm, headers={**named, **(header or {})}
    )


@dataclass
class Issuer:
    """The issuer's key endpoint. ``status`` and ``body`` stand in for the key set; ``fetches``
    counts who asked."""

    keys: list[dict[str, Any]] = field(default_factory=lambda: [jwk(rsa_key("one"), "one")])
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    fetches: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.fetches += 1
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.body is not None or self.status != 200:
            return web.Response(status=self.status, body=self.body, headers=self.headers)
        return web.json_response({"keys": self.keys})


@dataclass
class Clock:
    """A clock that tests move."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Setting:
    """An authenticator in front of a running issuer."""

    issuer: Issuer
    authenticator: Authenticator
    clock: Clock
    server: TestServer


@asynccontextmanager
async def setting(
    issuer: Issuer | None = None,
    tokens: tuple[StaticToken, ...] = (),
    jwks_url: str = "",
    trusted: str = ISSUER,
    **changes: Any,
) -> AsyncIterator[Setting]:
    """A running issuer and an authenticator that trusts it."""
    issuer = issuer or Issuer()
    application = web.Application()
    application.router.add_get("/certs", issuer.answer)
    server = TestServer(application)
    await server.start_server()
    values: dict[str, Any] = {
        "issuer": trusted,
        "audience": (AUDIENCE,),
        "jwks_url": jwks_url or str(server.make_url("/certs")),
        "role_claim": "ecr_role",
        "project_claim": "ecr_project",
        "claims": ("conditions", "jurisdictions"),
        "algorithms": ("RS256", "PS256", "ES256", "EdDSA"),
        "leeway": 30.0,
        "jwks_interval": 30.0,
        "jwks_lifetime": 3600.0,
    }
    clock = Clock()
    async with aiohttp.ClientSession() as session:
        auth = AuthSettings(**{**values, **changes}, tokens=tokens)
        authenticator = Authenticator(auth, ROLES, session, clock=clock)
        try:
            yield Setting(issuer, authenticator, clock, server)
        finally:
            await authenticator.close()
            await server.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
