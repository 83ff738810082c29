"""How the upstream is shown who asks: token file, HTTP Basic, client credentials grant."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import aiohttp
import pytest

from proxy.errors import Unavailable
from proxy.shell.credential import (
    Basic,
    Bearer,
    ClientCredentials,
    Credential,
    CredentialError,
    SecretFile,
)
from tests.shell.raw import Act, RawUpstream, hang_up, reply, upstream
from tests.shell.support import AUTHORIZED, MARKER, gateway


def secret(directory: Path, text: str = MARKER + "\n") -> SecretFile:
    file = directory / "secret"
    file.write_text(text)
    return SecretFile(str(file))


async def authorization(credential: Credential, directory: Path) -> list[str]:
    """The Authorization header that the upstream saw, on two requests."""
    async with (
        upstream(reply()) as behind,
        gateway(directory, upstream=behind.base, credential=credential) as running,
        aiohttp.ClientSession() as session,
    ):
        for _ in range(2):
            url = f"http://127.0.0.1:{running.port}/fhir/Patient/1"
            async with session.get(url, headers=AUTHORIZED) as response:
                assert response.status == 200
        return [asked.headers["authorization"] for asked in behind.log]


async def test_bearer(tmp_path: Path) -> None:
    """The upstream sees the service's token, never the caller's."""
    assert await authorization(Bearer(secret(tmp_path)), tmp_path) == [f"Bearer {MARKER}"] * 2


async def test_basic(tmp_path: Path) -> None:
    """HTTP Basic with the password from its file."""
    expected = "Basic " + base64.b64encode(f"proxy:{MARKER}".encode()).decode()
    assert await authorization(Basic("proxy", secret(tmp_path)), tmp_path) == [expected] * 2


async def test_token_is_read_anew(tmp_path: Path) -> None:
    """A token that is replaced is used from the next request on; one that is gone is 503."""
    credential = Bearer(secret(tmp_path, "one"))
    file = tmp_path / "secret"
    assert await credential.headers() == {"Authorization": "Bearer one"}
    (tmp_path / "new").write_text("two")
    os.replace(tmp_path / "new", file)
    assert await credential.headers() == {"Authorization": "Bearer two"}
    file.unlink()
    with pytest.raises(Unavailable):
        await credential.headers()


@pytest.mark.parametrize("text", ["", "\n", "two words", "two\nlines", "naïve", "a\x00b"])
def test_unusable_secrets(text: str, tmp_path: Path) -> None:
    """R-ID-8, R-CF-1: what cannot be a credential is an error that names the file, not the text."""
    with pytest.raises(CredentialError) as raised:
        secret(tmp_path, text)
    assert str(tmp_path / "secret") in str(raised.value)
    assert not text.strip() or text not in str(raised.value)


def test_missing_secret(tmp_path: Path) -> None:
    """R-CF-1: a credential file that is not there stops the start."""
    with pytest.raises(CredentialError):
        SecretFile(str(tmp_path / "none"))


def granted(token: str, seconds: object = 3600) -> Act:
    body = f'{{"access_token":"{token}","token_type":"Bearer","expires_in":{seconds}}}'
    return reply("200 OK", body.encode(), "application/json")


def grant(
    session: aiohttp.ClientSession, behind: RawUpstream, directory: Path, clock: list[float]
) -> ClientCredentials:
    return ClientCredentials(
        session,
        behind.base + "/token",
        "client",
        secret(directory),
        "system/*.rs",
        lambda: clock[0],
    )


async def test_grant(tmp_path: Path) -> None:
    """RFC 6749, 4.4: a token is granted once, used until shortly before its end, then renewed."""
    clock = [0.0]
    async with (
        upstream(granted("one"), granted("two")) as behind,
        aiohttp.ClientSession() as session,
    ):
        credential = grant(session, behind, tmp_path, clock)
        seen = []
        for clock[0] in (0.0, 3569.0, 3570.0):
            seen.append((await credential.headers())["Authorization"])
        assert seen == ["Bearer one", "Bearer one", "Bearer two"]
        assert len(behind.log) == 2
        asked = behind.log[0]
        assert (asked.method, asked.target) == ("POST", "/fhir/token")
        assert asked.body == b"grant_type=client_credentials&scope=system%2F%2A.rs"
        assert asked.headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    "act",
    [
        hang_up,
        reply("401 No", b'{"error":"invalid_client"}'),
        reply("302 Found", b"", None, "Location: http://127.0.0.1:9/"),
        reply("200 OK", b"<html>", "text/html"),
        reply("200 OK", b"[]", "application/json"),
        reply("200 OK", b'{"access_token":"a"}', "application/json"),
        reply("200 OK", b'{"access_token":7,"token_type":"Bearer"}', "application/json"),
        granted("a b"),
        granted("a", '"soon"'),
    ],
)
async def test_refused_grants(act: Act, tmp_path: Path) -> None:
    """Without a granted token nothing is asked: 503."""
    async with upstream(act) as behind, aiohttp.ClientSession() as session:
        with pytest.raises(Unavailable):
            await grant(session, behind, tmp_path, [0.0]).headers()
