"""What reaches the core, and what the shell answers by itself (R-RT, R-AU-1, R-DS-1, R-EL)."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from proxy.engine.messages import Call, Facts, Flow, Reply
from proxy.errors import Forbidden, ProxyError
from tests.shell.raw import PATIENT, reply, upstream
from tests.shell.support import (
    AUTHORIZED,
    CALLER,
    MARKER,
    NOW,
    TOKEN,
    Gateway,
    assert_outcome,
    gateway,
    parts,
    talk,
)


def constant(call: Call) -> Flow:
    """A flow that asks nothing."""
    yield from ()
    return Reply(200, b'{"resourceType":"Patient"}', facts=Facts("read", "Patient", policy="p@1"))


async def ask(
    running: Gateway, method: str, path: str, **options: Any
) -> tuple[int, dict[str, str], bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{running.port}{path}", **options) as response,
    ):
        headers = {name.lower(): value for name, value in response.headers.items()}
        return response.status, headers, await response.read()


async def raw(running: Gateway, target: str, *headers: str) -> tuple[int, dict[str, str], bytes]:
    """GET with exactly this target and these headers, authorized."""
    lines = [f"GET {target} HTTP/1.1", f"Authorization: Bearer {TOKEN}", *headers]
    lines.append("Connection: close")
    if not any(header.startswith("Host:") for header in headers):
        lines.append("Host: x")
    return parts(await talk(running.port, "\r\n".join([*lines, "", ""]).encode("latin-1")))


@pytest.mark.parametrize(
    ("path", "target", "below"),
    [
        ("/fhir", "/fhir/Patient/1", "/Patient/1"),
        ("/fhir", "/fhir/Patient?name=%41%2F", "/Patient?name=%41%2F"),
        ("/fhir", "/fhir/Patient%2F1", "/Patient%2F1"),
        ("/fhir", "/fhir//Patient/1", "//Patient/1"),
        ("/fhir", "/fhir/./Patient/%2e%2e", "/./Patient/%2e%2e"),
        ("/fhir", "/fhir", "/"),
        ("/fhir", "/fhir/", "/"),
        ("/fhir", "/fhir?_getpages=1", "/?_getpages=1"),
        ("", "/Patient/1", "/Patient/1"),
        ("", "/", "/"),
        ("/a/b", "/a/b/Patient", "/Patient"),
    ],
)
async def test_core_sees_the_raw_target(path: str, target: str, below: str, tmp_path: Path) -> None:
    """R-RT-1: the target reaches the core undecoded, below the path of the public URL."""
    async with gateway(tmp_path, start=constant, path=path) as running:
        status, _, _ = await raw(running, target)
        assert status == 200
        (call,) = running.seen
    assert (call.method, call.target, call.caller, call.now) == ("GET", below, CALLER, NOW)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/Patient/1",
        "/fhirx/Patient",
        "/FHIR/Patient",
        "/%66hir/Patient",
        "//fhir/Patient",
        "/x/../fhir/Patient",
        "/actuator/prometheus",
        "/metrics",
        "/admin",
        "/reload",
        "/debug",
        "/healthz/",
        "/healthz?x=" + MARKER,
        "/swagger-ui/index.html",
    ],
)
async def test_nothing_but_fhir_is_served(target: str, tmp_path: Path) -> None:
    """R-RT-3, R-OP-6: what is not below the public path does not exist, for callers and anyone."""
    async with gateway(tmp_path, start=constant) as running:
        answers = [
            await raw(running, target),
            parts(
                await talk(
                    running.port,
                    f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode(),
                )
            ),
        ]
        assert running.seen == []
    for status, headers, body in answers:
        assert status == 404
        assert_outcome(status, headers, body, "not-found")


async def test_probes_say_a_word(tmp_path: Path) -> None:
    """R-OP-6: health and readiness say up or down to anyone, and nothing else."""
    async with gateway(tmp_path, start=constant) as running:
        for path in ("/healthz", "/readyz"):
            status, headers, body = await ask(running, "GET", path)
            assert (status, body) == (200, b"up\n")
            assert headers["content-type"] == "text/plain; charset=utf-8"
            assert (await ask(running, "POST", path))[0] == 404
        running.audit_file.unlink()
        running.audit_file.mkdir()
        assert (await ask(running, "GET", "/readyz"))[::2] == (503, b"down\n")
        assert (await ask(running, "GET", "/healthz"))[::2] == (200, b"up\n")


@pytest.mark.parametrize(
    "headers",
    [
        ("Host: evil.example",),
        ("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: ftp", "X-Forwarded-Prefix: /evil"),
        ("Forwarded: host=evil.example",),
        ("X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: PUT"),
        ("Range: bytes=0-3",),
        ("X-Request-Id: evil.example",),
    ],
)
async def test_headers_that_never_matter(headers: tuple[str, ...], tmp_path: Path) -> None:
    """R-RT-4, R-RT-6, R-RT-8: the core sees the same Call, and the answer is the same."""
    async with gateway(tmp_path, start=constant) as running:
        plain = await raw(running, "/fhir/Patient/1")
        other = await raw(running, "/fhir/Patient/1", *headers)
        one, two = running.seen
    changing = ("date", "x-request-id")
    assert {k: v for k, v in plain[1].items() if k not in changing} == {
        k: v for k, v in other[1].items() if k not in changing
    }
    assert (plain[0], plain[2]) == (other[0], other[2])
    assert "evil.example" not in str(other)
    assert (one.method, one.target, one.headers, one.body) == (
        two.method,
        two.target,
        two.headers,
        two.body,
    )


async def test_core_sees_listed_headers_only(tmp_path: Path) -> None:
    """The core may look at Accept, Content-Type and If-None-Match, repeated ones joined."""
    async with gateway(tmp_path, start=constant) as running:
        await raw(
            running,
            "/fhir/Patient/1",
            "Accept: text/html",
            "accept: application/json",
            'If-None-Match: W/"1"',
            "Content-Type: application/fhir+json",
            "Cookie: a=b",
            "Prefer: handling=lenient",
        )
        (call,) = running.seen
    assert call.headers == {
        "accept": "text/html, application/json",
        "if-none-match": 'W/"1"',
        "content-type": "application/fhir+json",
    }


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/fhir/Patient", {}),
        ("GET", "/fhir/Patient/1", {}),
        ("POST", "/fhir", {}),
        ("PUT", "/fhir/Patient/1", {}),
        ("POST", "/fhir/metadata", {}),
        ("OPTIONS", "/fhir/Patient", {}),
        ("GET", "/fhir/Nonsense/%2e%2e", {}),
        ("GET", "/fhir/Patient", {"Authorization": f"Bearer {MARKER}"}),
        ("GET", "/fhir/metadata", {"Authorization": f"Bearer {MARKER}"}),
    ],
)
async def test_callers_must_say_who_they_are(
    method: str, target: str, headers: dict[str, str], tmp_path: Path
) -> None:
    """R-AU-1: no token or a bad one is 401 before anything else is looked at."""
    async with gateway(tmp_path, start=constant) as running:
        status, answered, body = await ask(running, method, target, headers=headers, data=None)
        assert running.seen == []
        (event,) = running.events()
    assert status == 401
    assert answered["www-authenticate"] == "Bearer"
    assert_outcome(status, answered, body, "login")
    assert event["agent"][0]["who"] == {"display": "unidentified"}
    assert event["outcome"] == "4"


async def test_two_tokens_are_none(tmp_path: Path) -> None:
    """R-AU-5: a request that carries two credentials is not given the better one."""
    async with gateway(tmp_path, start=constant) as running:
        status, _, _ = await raw(running, "/fhir/Patient", f"Authorization: Bearer {MARKER}")
    assert status == 401


@pytest.mark.parametrize("target", ["/metadata", "/.well-known/smart-configuration"])
async def test_what_is_open_needs_no_token(target: str, tmp_path: Path) -> None:
    """R-AU-1: capability statement and SMART configuration are open, without a caller."""
    async with gateway(tmp_path, start=constant) as running:
        assert (await ask(running, "GET", "/fhir" + target))[0] == 200
        (call,) = running.seen
    assert call.caller is None


async def test_head_is_get_without_body(tmp_path: Path) -> None:
    """HEAD has the headers of GET, its length among them, and no body."""
    async with gateway(tmp_path, start=constant) as running:
        status, headers, body = await ask(running, "HEAD", "/fhir/Patient/1", headers=AUTHORIZED)
        assert (status, body, headers["content-length"]) == (200, b"", "26")
        assert running.seen[0].method == "HEAD"


async def test_fixed_headers(tmp_path: Path) -> None:
    """R-CA-2, R-NA-4: no store, no sniffing, nothing runs in a browser, no software is named."""
    async with gateway(tmp_path, start=constant) as running:
        _, headers, _ = await ask(running, "GET", "/fhir/Patient/1", headers=AUTHORIZED)
    del headers["date"], headers["x-request-id"]
    assert headers == {
        "cache-control": "no-store",
        "content-length": "26",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
        "content-type": "application/fhir+json; charset=utf-8",
        "vary": "Authorization, Accept, Origin",
        "x-content-type-options": "nosniff",
    }


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


def raising(error: Exception) -> Callable[[Call], Flow]:
    def start(call: Call) -> Flow:
        yield from ()
        raise error

    return start


def subclasses(of: type[ProxyError]) -> list[type[ProxyError]]:
    return [of, *(leaf for child in of.__subclasses__() for leaf in subclasses(child))]


@pytest.mark.parametrize("error", subclasses(ProxyError), ids=lambda error: error.__name__)
async def test_every_error_is_an_outcome(error: type[ProxyError], tmp_path: Path) -> None:
    """R-EL-5: every error has its status, its issue code and its headers, and is recorded."""
    async with gateway(tmp_path, start=raising(error())) as running:
        status, headers, body = await ask(running, "GET", "/fhir/Patient/1", headers=AUTHORIZED)
        (event,) = running.events()
    assert status == error.status
    assert_outcome(status, headers, body, error.code)
    assert event["outcomeDesc"] == f"{error.status} {error.code}"
    assert event["outcome"] == ("8" if error.status >= 500 else "4")


@pytest.mark.parametrize(
    "fault", [ValueError(MARKER), KeyError(MARKER), RecursionError(MARKER), ConnectionError(MARKER)]
)
async def test_faults_say_nothing(
    fault: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """R-CF-3, R-EL-3: a fault of ours is 500; its message, which may quote data, goes nowhere."""
    async with gateway(tmp_path, start=raising(fault)) as running:
        status, headers, body = await ask(running, "GET", "/fhir/Patient/1", headers=AUTHORIZED)
        assert MARKER not in running.audit_file.read_text()
    assert status == 500
    assert_outcome(status, headers, body, "exception")
    assert MARKER not in body.decode() + caplog.text
    fault_record = next(r for r in caplog.records if r.levelname == "ERROR")
    assert type(fault).__name__ in fault_record.fault  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "headers",
    [
        (("X-Patient", MARKER),),
        (("Content-Type", "text/html"),),
        (("ETag", "a\r\nX: y"),),
        (("ETag", "é"),),
    ],
)
async def test_headers_of_a_reply_are_listed(
    headers: tuple[tuple[str, str], ...], tmp_path: Path
) -> None:
    """R-EL-7: a Reply with a header that none may have is a fault and is not sent."""

    def start(call: Call) -> Flow:
        yield from ()
        return Reply(200, PATIENT, headers)

    async with gateway(tmp_path, start=start) as running:
        status, answered, body = await ask(running, "GET", "/fhir/Patient/1", headers=AUTHORIZED)
    assert status == 500
    assert_outcome(status, answered, body, "exception")


async def test_a_reply_says_something(tmp_path: Path) -> None:
    """R-EL-7: a 200 without a body is a fault, not an empty result."""

    def start(call: Call) -> Flow:
        yield from ()
        return Reply(200)

    async with gateway(tmp_path, start=start) as running:
        status, headers, body = await ask(running, "GET", "/fhir/Patient/1", headers=AUTHORIZED)
    assert status == 500
    assert_outcome(status, headers, body, "exception")


async def test_good_headers_of_a_reply(tmp_path: Path) -> None:
    """A reply may carry ETag and Location; a 304 has no body and no content type."""

    def start(call: Call) -> Flow:
        yield from ()
        return Reply(
            304, b"", (("ETag", 'W/"a"'), ("Content-Location", "https://x/fhir/Patient/1"))
        )

    async with gateway(tmp_path, start=start) as running:
        status, headers, body = await ask(running, "GET", "/fhir/Patient/1", headers=AUTHORIZED)
    assert (status, body, headers["etag"]) == (304, b"", 'W/"a"')
    assert "content-type" not in headers


async def test_nothing_is_released_unrecorded(tmp_path: Path) -> None:
    """R-EL-4: with the audit full or gone, data and refusals alike become 503."""
    for start, good in ((constant, 200), (raising(Forbidden()), 403)):
        async with gateway(tmp_path, start=start) as running:
            assert (await ask(running, "GET", "/fhir/Patient", headers=AUTHORIZED))[0] == good
            file = running.audit_file
            file.unlink()
            file.symlink_to("/dev/full")
            full = await ask(running, "GET", "/fhir/Patient", headers=AUTHORIZED)
            file.unlink()
            file.mkdir()
            gone = await ask(running, "GET", "/fhir/Patient", headers=AUTHORIZED)
            file.rmdir()
            again = await ask(running, "GET", "/fhir/Patient", headers=AUTHORIZED)
        for status, headers, body in (full, gone):
            assert status == 503
            assert_outcome(status, headers, body, "transient")
        assert again[0] == good
        file.unlink()


async def test_record_precedes_reply(tmp_path: Path) -> None:
    """R-EL-4: when the first byte of an answer arrives, its record stands in the file."""
    async with upstream(reply()) as behind, gateway(tmp_path, upstream=behind.base) as running:
        for count in range(1, 20):
            _, headers, _ = await ask(running, "GET", "/fhir/Patient/1", headers=AUTHORIZED)
            events = running.events()
            assert len(events) == count
            entity = events[-1]["entity"][0]["what"]["identifier"]
            assert entity["value"] == headers["x-request-id"]


async def test_concurrent_callers_get_their_own(tmp_path: Path) -> None:
    """R-CA-5: answers are never mixed up between requests under way at once."""

    def echo(call: Call) -> Flow:
        yield from ()
        return Reply(200, call.target.encode())

    async with gateway(tmp_path, start=echo) as running:
        paths = [f"/fhir/Patient/{n}" for n in range(200)]
        answers = await asyncio.gather(
            *(ask(running, "GET", path, headers=AUTHORIZED) for path in paths)
        )
    assert [f"/fhir{body.decode()}" for _, _, body in answers] == paths
    assert len({headers["x-request-id"] for _, headers, _ in answers}) == 200
