"""What reaches the core, and what the shell answers by itself (R-RT, R-AU-1, R-CA-2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shell.support import (
    AUTHORIZED,
    CALLER,
    MARKER,
    NOW,
    TOKEN,
    Gateway,
    ask,
    assert_outcome,
    constant,
    gateway,
    parts,
    talk,
)


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


async def test_not_ready_while_nothing_can_be_recorded(tmp_path: Path) -> None:
    """R-EL-4: with an audit that takes no record, requests get 503 and /readyz says down."""
    (tmp_path / "audit.ndjson").symlink_to("/dev/full")
    async with gateway(tmp_path, start=constant) as running:
        status, headers, body = await ask(running, "GET", "/fhir/Patient/1", headers=AUTHORIZED)
        assert status == 503
        assert_outcome(status, headers, body, "transient")
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
