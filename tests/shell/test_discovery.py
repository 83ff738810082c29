"""The issuer's metadata: picked with care, asked until there is an answer."""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
import orjson
import pytest

from proxy.shell import discovery
from proxy.shell.discovery import discover, keep_discovering
from tests.shell.raw import Act, hang_up, reply, upstream

DOCUMENT: Mapping[str, object] = {
    "authorization_endpoint": "https://id.example.org/auth",
    "token_endpoint": "https://id.example.org/token",
    "introspection_endpoint": "ftp://id.example.org/introspect",
    "jwks_uri": "https://elsewhere.example.org/certs",
    "grant_types_supported": ["authorization_code", "client_credentials"],
    "token_endpoint_auth_methods_supported": [7],
    "claims_supported": ["sub"],
}


def metadata(issuer: str, document: Mapping[str, object] = DOCUMENT) -> Act:
    body = orjson.dumps({**document, "issuer": issuer})
    return reply("200 OK", body, "application/json")


async def test_what_is_told() -> None:
    """Endpoints over a protected transport and lists of words; keys are never taken from it."""
    async with upstream(hang_up) as behind, aiohttp.ClientSession() as session:
        behind.script = (metadata(behind.base),)
        assert await discover(session, behind.base) == {
            "authorization_endpoint": "https://id.example.org/auth",
            "token_endpoint": "https://id.example.org/token",
            "grant_types_supported": ["authorization_code", "client_credentials"],
        }
        assert behind.log[0].target == "/fhir/.well-known/openid-configuration"


@pytest.mark.parametrize(
    "act",
    [
        metadata("https://evil.example"),
        reply("404 Not Found", b"{}"),
        reply("302 Found", b"", None, "Location: http://127.0.0.1:9/"),
        reply("200 OK", b"<html>", "text/html"),
        reply("200 OK", b"[]", "application/json"),
        reply("200 OK", b" " * 300_000, "application/json"),
        hang_up,
    ],
)
async def test_what_is_not_believed(act: Act) -> None:
    """Metadata of another issuer, redirects and anything malformed are no answer."""
    async with upstream(act) as behind, aiohttp.ClientSession() as session:
        with pytest.raises((ValueError, aiohttp.ClientError)):
            await discover(session, behind.base)


async def test_asked_until_there_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An issuer that is down at start is asked again, and told of once."""
    monkeypatch.setattr(discovery, "PAUSES", (0.01, 0.02))
    told: list[Mapping[str, object]] = []
    async with upstream(hang_up) as behind, aiohttp.ClientSession() as session:
        bad = reply("503 Busy", b"{}")
        behind.script = (bad, bad, bad, metadata(behind.base))
        await keep_discovering(session, behind.base, told.append)
    assert len(behind.log) == 4
    assert [found["token_endpoint"] for found in told] == ["https://id.example.org/token"]
