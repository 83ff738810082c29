"""An upstream that lies, stalls, breaks off and redirects (R-UM-1, 2, 4 to 7; R-RT-5, R-RT-7)."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import time
import zlib
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from proxy.shell.upstream import Limits
from tests.shell.raw import (
    PATIENT,
    Act,
    drip,
    hang_up,
    reply,
    reset,
    say,
    silent,
    upstream,
    zipped,
)
from tests.shell.support import AUTHORIZED, MARKER, Gateway, assert_outcome, gateway

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n"
M = MARKER.encode()
BOMB = gzip.compress(b" " * 20_000_000)
LIMIT = 1_000_000
LOOPBACK = IPv4Address("127.0.0.1")

BROKEN = (502, "exception", 1)
CUT = (502, "incomplete", 2)
GZIP = "Content-Encoding: gzip"

# name -> (script, status, issue code, number of upstream calls)
CASES: dict[str, tuple[tuple[Act, ...], int, str, int]] = {
    # R-UM-1: incomplete answers; a read is asked once more, never oftener.
    "length-short": ((say(OK + b"Content-Length: 99\r\n\r\n" + M, close=True),), *CUT),
    "chunked-open": (
        (say(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\n{}x\r\n", close=True),),
        *CUT,
    ),
    "no-answer": ((hang_up,), *CUT),
    "reset": ((reset,), *CUT),
    "half-head": ((say(b"HTTP/1.1 200 OK\r\nContent-", close=True),), *CUT),
    "gzip-cut": (
        (reply("200 OK", gzip.compress(PATIENT)[:-6], "application/json", GZIP),),
        502,
        "incomplete",
        1,
    ),
    # R-UM-2: FHIR JSON only.
    "login-page": ((reply("200 OK", b"<html>" + M, "text/html"),), *BROKEN),
    "text-plain": ((reply("200 OK", PATIENT, "text/plain"),), *BROKEN),
    "no-type": ((reply("200 OK", PATIENT, None),), *BROKEN),
    "xml": ((reply("200 OK", b"<Patient/>", "application/fhir+xml"),), *BROKEN),
    "ndjson": ((reply("200 OK", PATIENT, "application/fhir+ndjson"),), *BROKEN),
    "latin-1": ((reply("200 OK", PATIENT, "application/json; charset=latin-1"),), *BROKEN),
    "two-types": (
        (reply("200 OK", PATIENT, "application/fhir+json", "Content-Type: text/html"),),
        *BROKEN,
    ),
    "html-404": ((reply("404 Not Found", b"<h1>" + M, "text/html"),), *BROKEN),
    "unknown-encoding": (
        (reply("200 OK", PATIENT, "application/fhir+json", "Content-Encoding: br"),),
        *BROKEN,
    ),
    "no-http": ((say(M + b"\r\n\r\n", close=True),), *BROKEN),
    "switching": ((say(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", close=True),), *BROKEN),
    "no-content": ((say(b"HTTP/1.1 204 No Content\r\n\r\n"),), *BROKEN),
    "partial": ((reply("206 Partial Content"),), *BROKEN),
    "unasked-304": ((say(b"HTTP/1.1 304 Not Modified\r\n\r\n"),), *BROKEN),
    # R-UM-5: compressed answers are inflated under the limit.
    "bomb": (
        (reply("200 OK", BOMB, "application/fhir+json", GZIP),),
        *BROKEN,
    ),
    "no-gzip": (
        (reply("200 OK", PATIENT, "application/fhir+json", GZIP),),
        *BROKEN,
    ),
    "gzip-and-more": (
        (reply("200 OK", gzip.compress(PATIENT) + M, "application/json", GZIP),),
        *BROKEN,
    ),
    "too-long": ((reply("200 OK", b" " * (LIMIT + 1)),), 400, "too-costly", 1),
    "too-long-chunked": (
        (
            say(
                OK
                + b"Transfer-Encoding: chunked\r\n\r\n"
                + (b"10000\r\n" + b" " * 0x10000 + b"\r\n") * 17
            ),
        ),
        400,
        "too-costly",
        1,
    ),
    # R-UM-7: overload and failure are reported as such.
    "500": ((reply("500 Oops", b'{"m":"' + M + b'"}'),), *BROKEN),
    "502": ((reply("502 Bad Gateway", M, "text/html"),), *BROKEN),
    "503": ((reply("503 Busy", M, "text/html"),), 503, "transient", 1),
    "429": ((reply("429 Slow down", M),), 503, "transient", 1),
    "504": ((reply("504 Late", M, "text/html"),), 504, "timeout", 1),
    "401": ((reply("401 Who?", M, None, "WWW-Authenticate: Basic realm=" + MARKER),), *BROKEN),
    "403": ((reply("403 No", M),), *BROKEN),
}
for code in (301, 302, 303, 307, 308):  # R-UM-4
    CASES[str(code)] = (
        (reply(f"{code} Moved", b"", None, f"Location: http://127.0.0.1:9/{MARKER}"),),
        *BROKEN,
    )


async def get(running: Gateway, path: str = "/Patient/1") -> tuple[int, dict[str, str], bytes]:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(f"http://127.0.0.1:{running.port}/fhir{path}", headers=AUTHORIZED) as response,
    ):
        headers = {name.lower(): value for name, value in response.headers.items()}
        return response.status, headers, await response.read()


@pytest.mark.parametrize("name", CASES)
async def test_misbehaviour_is_closed(name: str, tmp_path: Path) -> None:
    """R-UM-1, R-UM-2, R-UM-4, R-UM-5, R-UM-7, R-EL-1: fixed text, no byte from upstream, a bounded
    number of upstream calls, no connection elsewhere."""
    script, expected, code, calls = CASES[name]
    async with (
        upstream(*script) as behind,
        gateway(tmp_path, upstream=behind.base, limits=Limits(body=LIMIT)) as running,
    ):
        status, headers, body = await get(running)
        assert status == expected
        assert_outcome(status, headers, body, code)
        assert M not in body
        assert MARKER not in str(headers)
        assert "location" not in headers
        assert [asked.target for asked in behind.log] == ["/fhir/Patient/1"] * calls
        (event,) = running.events()
        assert event["outcomeDesc"] == f"{expected} {code}"


@pytest.mark.parametrize(
    ("told", "shown"),
    [("7", "7"), ("0", "1"), ("999999", "120"), ("soon", "5"), ("-1", "5"), (None, "5")],
)
async def test_retry_after_is_bounded(told: str | None, shown: str, tmp_path: Path) -> None:
    """R-UM-7: Retry-After is a number of seconds between 1 and 120, whatever the upstream says."""
    extra = () if told is None else (f"Retry-After: {told}",)
    async with (
        upstream(reply("503 Busy", b"", None, *extra)) as behind,
        gateway(tmp_path, upstream=behind.base) as running,
    ):
        status, headers, _ = await get(running)
    assert (status, headers["retry-after"]) == (503, shown)


@pytest.mark.parametrize("act", [reply(), zipped()], ids=["identity", "gzip"])
async def test_good_answers_arrive_whole(act: Act, tmp_path: Path) -> None:
    """R-UM-5: a good answer has its right length and no Content-Encoding."""
    async with (
        upstream(act) as behind,
        gateway(tmp_path, upstream=behind.base) as running,
    ):
        status, headers, body = await get(running)
    assert (status, body) == (200, PATIENT)
    assert headers["content-length"] == str(len(PATIENT))
    assert "content-encoding" not in headers


@pytest.mark.parametrize("bits", [15, -15], ids=["zlib", "bare"])
async def test_deflate_is_read(bits: int, tmp_path: Path) -> None:
    """R-UM-5: both readings of `deflate` are understood."""
    packer = zlib.compressobj(wbits=bits)
    body = packer.compress(PATIENT) + packer.flush()
    act = reply("200 OK", body, "application/fhir+json", "Content-Encoding: deflate")
    async with (
        upstream(act) as behind,
        gateway(tmp_path, upstream=behind.base) as running,
    ):
        assert (await get(running))[2] == PATIENT


async def test_one_retry_helps(tmp_path: Path) -> None:
    """R-UM-1: a read whose connection broke is asked once more, and the second answer counts."""
    async with (
        upstream(hang_up, reply()) as behind,
        gateway(tmp_path, upstream=behind.base) as running,
    ):
        status, _, body = await get(running)
        assert (status, body, len(behind.log)) == (200, PATIENT, 2)


@pytest.mark.parametrize("act", [silent(), drip], ids=["no-first-byte", "byte-by-byte"])
async def test_slow_upstream_meets_the_deadline(act: Act, tmp_path: Path) -> None:
    """R-UM-6: 504 within the configured total, and the upstream request is cancelled."""
    async with (
        upstream(act) as behind,
        gateway(tmp_path, upstream=behind.base, seconds=0.4) as running,
    ):
        begun = time.monotonic()
        status, headers, body = await get(running)
        assert time.monotonic() - begun < 2
        assert_outcome(status, headers, body, "timeout")
        assert status == 504
        await asyncio.wait_for(behind.gone.wait(), 2)
        assert len(behind.log) == 1


async def test_client_that_goes_cancels_the_upstream_call(tmp_path: Path) -> None:
    """A client that disconnects leaves no upstream request running; the exchange is recorded."""
    async with (
        upstream(silent()) as behind,
        gateway(tmp_path, upstream=behind.base) as running,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await get(running)
        await asyncio.wait_for(behind.gone.wait(), 2)
    assert [event["outcomeDesc"] for event in running.events()] == ["cancelled"]


@pytest.mark.parametrize(
    "base",
    ["http://127.0.0.1:9/fhir", "http://does-not-exist.invalid/fhir"],
    ids=["refused", "no-name"],
)
async def test_unreachable_upstream(base: str, tmp_path: Path) -> None:
    """R-UM-7: connection refused and DNS failure are 503, never 404 or an empty result."""
    async with gateway(tmp_path, upstream=base) as running:
        status, headers, body = await get(running)
    assert status == 503
    assert headers["retry-after"] == "5"
    assert_outcome(status, headers, body, "transient")


@pytest.mark.parametrize("certificate", [False, True], ids=["no-tls", "self-signed"])
async def test_tls_failure(certificate: bool, tmp_path: Path) -> None:
    """R-UM-7: a server without TLS where TLS was configured, or with a certificate that nobody
    vouches for, is a broken upstream; nothing is sent to it."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 2\r\n\r\n{}")
        heard.append(await reader.read(1) if certificate else b"")
        writer.close()

    context = self_signed(tmp_path) if certificate else None
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    base = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/fhir"
    async with server, gateway(tmp_path, upstream=base) as running:
        status, headers, body = await get(running)
    assert status == 502
    assert_outcome(status, headers, body, "exception")
    assert b"".join(heard) == b""


def self_signed(directory: Path) -> ssl.SSLContext:
    """A server's context with a certificate for 127.0.0.1 that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(LOOPBACK)]), critical=False)
        .sign(key, SHA256())
    )
    file = directory / "server.pem"
    file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + certificate.public_bytes(Encoding.PEM)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


async def test_breaker_leaves_a_dead_upstream_alone(tmp_path: Path) -> None:
    """R-UM-7: after ten failures in a row the upstream is not asked, and /readyz says down."""
    async with (
        upstream(reply("503 Busy", b"", None)) as behind,
        gateway(tmp_path, upstream=behind.base) as running,
    ):
        answers = [await get(running) for _ in range(13)]
        assert [status for status, _, _ in answers] == [503] * 13
        assert len(behind.log) == 10
        assert all(1 <= int(headers["retry-after"]) <= 5 for _, headers, _ in answers)
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{running.port}/readyz") as response,
        ):
            assert (response.status, await response.text()) == (503, "down\n")


async def test_faults_of_single_answers_open_no_breaker(tmp_path: Path) -> None:
    """A request that makes the upstream answer 500 cannot cut off others, however often sent."""
    script = [reply("500 Oops", b"", None)] * 12
    async with (
        upstream(*script, reply()) as behind,
        gateway(tmp_path, upstream=behind.base) as running,
    ):
        answers = [(await get(running))[0] for _ in range(13)]
    assert answers == [502] * 12 + [200]


async def test_upstream_sees_only_listed_headers(tmp_path: Path) -> None:
    """R-RT-4, R-RT-5, R-RT-6, R-RT-7, R-RT-8: whatever the client sends, the upstream sees the
    list, and asks for JSON."""
    sent = {
        **AUTHORIZED,
        "Accept": "application/fhir+xml",
        "Cookie": "a=b",
        "Forwarded": "host=evil.example",
        "If-Modified-Since": "Sat, 31 Jan 2026 00:00:00 GMT",
        "If-None-Match": 'W/"1"',
        "Prefer": "handling=lenient",
        "Range": "bytes=0-3",
        "User-Agent": MARKER,
        "X-Cascade": "delete",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "ftp",
        "X-HTTP-Method-Override": "DELETE",
        "X-Request-ID": MARKER,
        "X-Request-Partition-IDs": "1",
        "X-Rewrite-History": "true",
        "X-Role": "investigator",
        "X-Security-Context": "x",
    }
    async with (
        upstream(reply("200 OK", PATIENT, "application/fhir+json", "Set-Cookie: a=b")) as behind,
        gateway(tmp_path, upstream=behind.base) as running,
        aiohttp.ClientSession() as session,
    ):
        url = f"http://127.0.0.1:{running.port}/fhir/Patient/1"
        for _ in range(2):
            async with session.get(url, headers=sent) as response:
                assert response.status == 200
                assert "Set-Cookie" not in response.headers
                assert response.headers["X-Request-Id"] != MARKER
    for asked in behind.log:
        assert asked.method == "GET"
        assert asked.headers == {
            "host": f"127.0.0.1:{behind.port}",
            "accept": "application/fhir+json",
            "accept-encoding": "identity",
            "cache-control": "no-cache",
            "prefer": "handling=strict",
        }
