"""The issuer's keys: rotated, fetched once for many, bounded, and gone when they must be."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.errors import Unauthorized, Unavailable
from proxy.shell.jwks import LARGEST, read_keys
from tests.shell.issuer import (
    Issuer,
    Setting,
    bearer,
    claims,
    ec_key,
    jwk,
    rsa_key,
    setting,
    sign,
)

GOOD = sign(claims(exp=int(time.time()) + 86_400))  # good for as long as tests may take


async def accepted(s: Setting, token: str) -> bool:
    """Whether the token is accepted; 401 is the only other outcome."""
    try:
        return bool(await s.authenticator.authenticate(bearer(token)))
    except Unauthorized:
        return False


async def test_keys_are_fetched_once_for_many() -> None:
    """A hundred requests at the start share one fetch; later ones need none."""
    async with setting(Issuer(delay=0.05)) as s:
        assert all(await asyncio.gather(*(accepted(s, GOOD) for _ in range(100))))
        assert all([await accepted(s, GOOD) for _ in range(20)])
        assert s.issuer.fetches == 1


async def test_a_client_that_leaves_does_not_end_the_fetch() -> None:
    """The first request is cancelled while keys are fetched; the second gets its answer."""
    async with setting(Issuer(delay=0.1)) as s:
        first = asyncio.create_task(accepted(s, GOOD))
        await asyncio.sleep(0.02)
        second = asyncio.create_task(accepted(s, GOOD))
        await asyncio.sleep(0.02)
        first.cancel()
        assert await second
        assert s.issuer.fetches == 1


async def test_r_au_6_unknown_keys_cause_one_fetch_an_interval() -> None:
    """R-AU-6: a thousand tokens with random key ids cause one fetch per interval and are 401;
    a good client goes on meanwhile."""
    async with setting() as s:
        assert await accepted(s, GOOD)
        before = s.issuer.fetches
        for _ in range(10):
            flood = [accepted(s, sign(claims(), kid=secrets.token_hex(8))) for _ in range(100)]
            good = [accepted(s, GOOD) for _ in range(5)]
            results = await asyncio.gather(*flood, *good)
            assert results == [False] * 100 + [True] * 5
            s.clock.seconds += 1  # ten seconds in all, below the interval of 30
        assert s.issuer.fetches - before == 1
        s.clock.seconds += 30
        await asyncio.gather(*(accepted(s, sign(claims(), kid="other")) for _ in range(50)))
        assert s.issuer.fetches - before == 2


async def test_r_au_6_a_good_client_does_not_wait() -> None:
    """R-AU-6: while a fetch for an unknown key hangs, known keys go on."""
    async with setting() as s:
        assert await accepted(s, GOOD)
        s.issuer.delay = 2.0
        hanging = asyncio.create_task(accepted(s, sign(claims(), kid="other")))
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(accepted(s, GOOD), 1.0)
        assert not hanging.done()
        hanging.cancel()


async def test_rotation_is_followed() -> None:
    """A new key is fetched when a token names it; the old one stays good while it is listed, and
    not a moment longer."""
    async with setting() as s:
        assert await accepted(s, GOOD)
        new = sign(claims(), rsa_key("two"), kid="two")
        s.issuer.keys.insert(0, jwk(rsa_key("two"), "two"))
        assert await accepted(s, new)
        assert await accepted(s, GOOD)
        del s.issuer.keys[1]
        s.clock.seconds += 31
        assert not await accepted(s, sign(claims(), kid="three"))
        assert await accepted(s, new)
        assert not await accepted(s, GOOD)


async def test_a_key_taken_back_is_dropped_without_any_unknown_one() -> None:
    """Keys are renewed in the background, so that one the issuer withdrew stops working."""
    async with setting(jwks_lifetime=400.0) as s:
        assert await accepted(s, GOOD)
        s.issuer.keys[0] = jwk(rsa_key("two"), "two")
        s.clock.seconds += 101
        assert await accepted(s, GOOD)  # judged by what is known; the renewal has begun
        for _ in range(100):
            await asyncio.sleep(0.01)
            if not await accepted(s, GOOD):
                break
        assert not await accepted(s, GOOD)
        assert s.issuer.fetches <= 3


async def test_unreachable_keys_are_no_refusal() -> None:
    """Keys that cannot be had are 503 with Retry-After, not 401; tries are spaced out."""
    async with setting(Issuer(status=500)) as s:
        for _ in range(20):
            with pytest.raises(Unavailable) as refused:
                await s.authenticator.authenticate(bearer(GOOD))
            assert refused.value.status == 503
            assert refused.value.retry_after is not None
        assert s.issuer.fetches == 1
        s.issuer.status = 200
        s.clock.seconds += 1.5
        assert await accepted(s, GOOD)


async def test_known_keys_outlast_an_outage_for_their_lifetime() -> None:
    """While the issuer is down, known keys go on; unknown ones are 503; after the lifetime no key
    is trusted."""
    async with setting() as s:
        assert await accepted(s, GOOD)
        s.issuer.status = 503
        with pytest.raises(Unavailable):
            await s.authenticator.authenticate(bearer(sign(claims(), kid="two")))
        s.clock.seconds += 3000
        assert await accepted(s, GOOD)
        await asyncio.sleep(0.05)
        s.clock.seconds += 700
        with pytest.raises(Unavailable):
            await s.authenticator.authenticate(bearer(GOOD))


async def test_nobody_there() -> None:
    """A refused connection is 503."""
    async with setting(jwks_url="http://127.0.0.1:9/certs") as s:
        with pytest.raises(Unavailable):
            await s.authenticator.authenticate(bearer(GOOD))


async def test_redirects_are_not_followed() -> None:
    """A key set that moved elsewhere is not fetched there."""
    visits = 0

    async def elsewhere(request: web.Request) -> web.Response:
        nonlocal visits
        visits += 1
        return web.json_response({"keys": [jwk(rsa_key("one"), "one")]})

    application = web.Application()
    application.router.add_get("/certs", elsewhere)
    other = TestServer(application)
    await other.start_server()
    moved = Issuer(status=302, headers={"Location": str(other.make_url("/certs"))})
    async with setting(moved) as s:
        with pytest.raises(Unavailable):
            await s.authenticator.authenticate(bearer(GOOD))
    await other.close()
    assert visits == 0


BODIES = {
    "no JSON": b"<html>login</html>",
    "empty": b"",
    "a list": b"[]",
    "no keys": b'{"keys": []}',
    "keys no list": b'{"keys": {}}',
    "too large": b'{"keys": []}' + b" " * LARGEST,
    "not UTF-8": b'\xff\xfe{"keys"',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_unusable_key_sets(body: bytes) -> None:
    """What is no key set counts as a failure: nothing known is thrown away for it."""
    async with setting(Issuer(body=body)) as s:
        with pytest.raises(Unavailable):
            await s.authenticator.authenticate(bearer(GOOD))
        s.issuer.body = None
        s.clock.seconds += 2
        assert await accepted(s, GOOD)
        s.issuer.body = body
        s.clock.seconds += 31
        with pytest.raises(Unavailable):
            await s.authenticator.authenticate(bearer(sign(claims(), kid="x")))
        assert await accepted(s, GOOD)


def keys(*listed: Any) -> list[str]:
    """The names of the keys that are taken from a set."""
    return [key.kid for key in read_keys(json.dumps({"keys": listed}).encode())]


RSA = jwk(rsa_key("one"), "one")
PASSED_OVER = {
    "for encryption": {**RSA, "use": "enc", "alg": "RSA-OAEP"},
    "for signing only": {**RSA, "key_ops": ["sign"]},
    "private": {**RSA, "d": "AQAB"},
    "symmetric": {"kty": "oct", "k": "c2VjcmV0", "kid": "one", "alg": "HS256"},
    "of an unknown type": {**RSA, "kty": "XYZ"},
    "without a type": {"kid": "one"},
    "without numbers": {"kty": "RSA", "kid": "one"},
    "with odd numbers": {**RSA, "n": 5},
    "with a bad number": {**RSA, "n": "*"},
    "of an odd algorithm": {**RSA, "alg": "HS256"},
    "of a numbered algorithm": {**RSA, "alg": 5},
    "with an odd name": {**RSA, "kid": 5},
    "short": jwk(rsa_key("short", 1024), "one"),
    "off the curve": {**jwk(ec_key("e"), "one"), "x": "AAAA"},
    "text": "key",
    "nothing": None,
}


@pytest.mark.parametrize("bad", PASSED_OVER.values(), ids=PASSED_OVER.keys())
def test_only_public_signing_keys_are_taken(bad: object) -> None:
    """Encryption keys (Keycloak lists one), secrets, short and malformed keys are passed over,
    and do not spoil the others."""
    good = jwk(ec_key("e"), "two")
    assert keys(bad, good) == ["two"]
    with pytest.raises(ValueError, match="no signing key"):
        keys(bad)


async def test_tokens_without_a_key_id() -> None:
    """A token that names no key is verified by the only key that fits; with several it is 401."""
    nameless = sign(claims(), kid=None)
    async with setting(Issuer(keys=[jwk(rsa_key("one"), None), jwk(ec_key("e"), "e")])) as s:
        assert await accepted(s, nameless)
    async with setting(Issuer(keys=[RSA, jwk(rsa_key("two"), "two")])) as s:
        assert not await accepted(s, nameless)


async def test_a_key_verifies_only_its_own_kind() -> None:
    """A key id of another kind of key is no match."""
    async with setting(Issuer(keys=[jwk(ec_key("e"), "one")])) as s:
        assert not await accepted(s, GOOD)
        assert await accepted(s, sign(claims(), ec_key("e"), "ES256"))
