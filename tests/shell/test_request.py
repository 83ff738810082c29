"""Bodies under limits, and browsers of other origins (R-DS-1, R-RT-10)."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.shell.support import (
    AUTHORIZED,
    MARKER,
    TOKEN,
    ask,
    assert_outcome,
    constant,
    gateway,
    parts,
    talk,
)

FORM = "application/x-www-form-urlencoded"
SEARCH = "/fhir/Patient/_search"
BOMB = gzip.compress(b" " * 20_000_000)


@pytest.mark.parametrize(
    ("method", "options", "status", "code"),
    [
        ("POST", {"data": b"x" * 65_537}, 413, "too-long"),
        ("POST", {"data": BOMB, "headers": {"Content-Encoding": "gzip"}}, 415, "not-supported"),
        ("POST", {"data": b"x", "headers": {"Content-Encoding": MARKER}}, 415, "not-supported"),
        ("GET", {"data": b"x"}, 400, "invalid"),
        ("HEAD", {"data": b"x"}, 400, ""),
    ],
    ids=["too-long", "gzip", "unknown-encoding", "get-body", "head-body"],
)  # fmt: skip
async def test_bodies_are_limited(
    method: str, options: dict[str, Any], status: int, code: str, tmp_path: Path
) -> None:
    """R-DS-1: too long is 413, encoded is 415, and a GET has no body."""
    options = {**options, "headers": AUTHORIZED | options.get("headers", {})}
    async with gateway(tmp_path, start=constant) as running:
        answered, headers, body = await ask(running, method, SEARCH, **options)
        assert running.seen == []
    assert answered == status
    if code:
        assert_outcome(answered, headers, body, code)


async def test_long_chunked_body_is_cut_off(tmp_path: Path) -> None:
    """R-DS-1: a body without a length is refused as soon as it passes the limit."""
    head = f"POST {SEARCH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    start = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    async with gateway(tmp_path, start=constant) as running:
        status, headers, body = parts(await talk(running.port, start, chunk, chunk, chunk))
        assert running.seen == []
    assert status == 413
    assert_outcome(status, headers, body, "too-long")


async def test_body_reaches_the_core(tmp_path: Path) -> None:
    """A body within the limit arrives as it was sent; one of an unknown length, too."""

    async def pieces() -> Any:
        yield b"gender="
        yield b"female"

    async with gateway(tmp_path, start=constant) as running:
        for data in (b"gender=female", pieces()):
            headers = AUTHORIZED | {"Content-Type": FORM}
            await ask(running, "POST", SEARCH, data=data, headers=headers)
        assert [call.body for call in running.seen] == [b"gender=female"] * 2


async def test_write_bodies_are_not_read(tmp_path: Path) -> None:
    """R-WR-1: a method that is not offered is judged without its body."""
    async with gateway(tmp_path, start=constant) as running:
        await ask(running, "PUT", "/fhir/Patient/1", data=b"x" * 100_000, headers=AUTHORIZED)
        assert [(call.method, call.body) for call in running.seen] == [("PUT", b"")]


async def test_body_is_invited_only_when_wanted(tmp_path: Path) -> None:
    """A client that waits for 100 (Continue) gets it after token and length have been judged."""
    head = f"POST {SEARCH} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n".encode()
    token = f"Authorization: Bearer {TOKEN}\r\n".encode()
    async with gateway(tmp_path, start=constant) as running:
        long = await talk(running.port, head + token + b"Content-Length: 99999\r\n\r\n")
        anonymous = await talk(running.port, head + b"Content-Length: 3\r\n\r\n")
        good = await talk(running.port, head + token + b"Content-Length: 3\r\n\r\n", b"a=b")
    assert long.startswith(b"HTTP/1.1 413")
    assert anonymous.startswith(b"HTTP/1.1 401")
    assert good.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


APP = "https://app.example.org"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "*", APP + ".evil.example"])
async def test_foreign_origins_get_no_cors(origin: str, tmp_path: Path) -> None:
    """R-RT-10: an origin that is not configured by name is allowed nothing."""
    preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    async with gateway(tmp_path, start=constant, origins=frozenset({APP})) as running:
        answers = [
            await ask(running, "OPTIONS", "/fhir/Patient", headers=preflight),
            await ask(running, "GET", "/fhir/Patient", headers=AUTHORIZED | {"Origin": origin}),
        ]
    assert [status for status, _, _ in answers] == [401, 200]
    assert not any(
        name.startswith("access-control") for _, headers, _ in answers for name in headers
    )


async def test_configured_origin_gets_cors(tmp_path: Path) -> None:
    """R-RT-10: a configured origin may ask and read, errors too; credentials are never allowed."""
    preflight = {"Origin": APP, "Access-Control-Request-Method": "GET"}
    async with gateway(tmp_path, start=constant, origins=frozenset({APP})) as running:
        status, headers, body = await ask(running, "OPTIONS", "/fhir/Patient", headers=preflight)
        assert (status, body) == (204, b"")
        assert headers["access-control-allow-origin"] == APP
        assert headers["access-control-allow-methods"] == "GET, HEAD, POST"
        assert "Authorization" in headers["access-control-allow-headers"]
        for extra in (AUTHORIZED, {}):
            _, headers, _ = await ask(
                running, "GET", "/fhir/Patient", headers={"Origin": APP, **extra}
            )
            assert headers["access-control-allow-origin"] == APP
            assert "access-control-allow-credentials" not in headers
            assert "access-control-allow-methods" not in headers
