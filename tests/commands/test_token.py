"""``ecr-proxy token``: what it prints is what the proxy accepts."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.__main__ import main
from proxy.config import Settings, read_settings
from proxy.policy.model import Caller
from proxy.shell.identity import STATIC_ISSUER, Authenticator
from tests.shell.issuer import bearer

BASE = """
[upstream]
url = "http://127.0.0.1:8080/fhir"
[roles]
researcher = "researcher-deidentified"
"""


def token(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """The exit code, standard output and standard error."""
    code = main(["token", *arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


async def identify(settings: Settings, text: str) -> Caller:
    """Who bears the token, under these settings."""
    async with aiohttp.ClientSession() as session:
        authenticator = Authenticator(settings.auth, settings.roles, session)
        try:
            return await authenticator.authenticate(bearer(text))
        finally:
            await authenticator.close()


async def test_a_static_token_is_accepted_with_its_block(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first line is the token; what follows goes into the configuration as it is."""
    code, out, _ = token(
        capsys,
        *("--role", "researcher", "--subject", 'pipeline "7"', "--project", "study-7"),
        *("--claim", "conditions=3928002,840539006", "--claim", "jurisdictions=MI"),
        *("--scope", "system/*.rs", "--expires", "30d"),
    )
    assert code == 0
    text, _, block = out.partition("\n")
    assert len(text) >= 43
    assert text not in block
    settings = read_settings(BASE + block)
    assert await identify(settings, text) == Caller(
        issuer=STATIC_ISSUER,
        subject='pipeline "7"',
        role="researcher",
        project="study-7",
        claims={"conditions": ["3928002", "840539006"], "jurisdictions": ["MI"]},
        scopes=frozenset({"system/*.rs"}),
    )
    expires = settings.auth.tokens[0].expires
    assert expires is not None
    assert abs(expires.timestamp() - time.time() - 30 * 86400) < 60


def test_static_tokens_differ(capsys: pytest.CaptureFixture[str]) -> None:
    """Each run makes a new token; without --expires it has no end."""
    printed = [token(capsys, "--role", "researcher")[1] for _ in range(2)]
    assert printed[0].split()[0] != printed[1].split()[0]
    assert "expires" not in printed[0]


async def test_a_signed_token_is_accepted_with_its_key_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key is made once and reused; its key set, served, makes the token good; claims go where
    the configuration looks for them."""

    async def certs(request: web.Request) -> web.Response:
        return web.Response(body=(tmp_path / "trial.pem.jwks.json").read_bytes())

    application = web.Application()
    application.router.add_get("/certs", certs)
    server = TestServer(application)
    await server.start_server()
    config = tmp_path / "config.toml"
    config.write_text(
        BASE
        + f"""[auth]
issuer = "https://id.example.org"
audience = ["ecr-proxy", "other"]
jwks-url = "{server.make_url("/certs")}"
role-claim = "realm_access.role"
project-claim = "https://ecr.example.org/project"
"""
    )
    key = tmp_path / "trial.pem"
    arguments = ["--key", str(key), "--config", str(config), "--role", "researcher"]
    code, out, err = token(capsys, *arguments, "--project", "p", "--scope", "user/*.rs")
    assert code == 0
    assert "jwks.json" in err
    if os.name == "posix":
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    settings = read_settings(config.read_text())
    caller = await identify(settings, out.strip())
    assert (caller.issuer, caller.role, caller.project, caller.scopes) == (
        "https://id.example.org",
        "researcher",
        "p",
        frozenset({"user/*.rs"}),
    )
    before = key.read_bytes()
    code, again, err = token(capsys, *arguments, "--claim", "conditions=1")
    assert (code, err, key.read_bytes()) == (0, "", before)
    assert (await identify(settings, again.strip())).claims == {"conditions": ["1"]}
    await server.close()
    assert b"PRIVATE" not in (tmp_path / "trial.pem.jwks.json").read_bytes()


SIGNED = ("--issuer", "i", "--audience", "a")
WRONG = [
    ([], 2, "--role"),
    (["--role", "r", "--claim", "x"], 2, "NAME=VALUE"),
    (["--role", "r", "--expires", "soon"], 2, "must be a duration"),
    (["--role", "r", "--issuer", "https://x"], 2, "go with --key"),
    (["--role", "r", "--key", "k.pem"], 2, "needs --issuer and --audience"),
    (["--role", "r", "--config", "missing.toml"], 1, "cannot be read"),
    (["--role", "guest", "--config", "c.toml"], 2, "is not one of researcher"),
    (["--role", "r", "--key", "bad.pem", *SIGNED], 1, "not a private key"),
    (["--role", "r", "--key", "open.pem", *SIGNED], 1, "open to other"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG)
def test_wrong_usage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    """What is wrong is said in a sentence, without a traceback and without a token."""
    monkeypatch.chdir(tmp_path)
    Path("bad.pem").write_text("no key")
    Path("bad.pem").chmod(0o600)
    Path("open.pem").write_text("no key")
    Path("open.pem").chmod(0o644)
    block = '[[auth.token]]\nsha256 = "' + "0123456789abcdef" * 4 + '"\nsubject = "s"\n'
    Path("c.toml").write_text(BASE + block + 'role = "researcher"\n')
    found, out, err = token(capsys, *arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert not Path("k.pem").exists()
