"""What goes upstream: built from parsed parts, under the base, over pooled connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.engine.messages import Answer, Ask
from proxy.errors import InternalError, UpstreamBroken
from proxy.shell.credential import Anonymous
from proxy.shell.drive import Send
from proxy.shell.upstream import Limits, connect
from tests.shell.raw import (
    PATIENT,
    RawUpstream,
    reply,
    say,
    upstream,
)
from tests.shell.support import MARKER

M = MARKER.encode()
LIMIT = 1_000_000


@asynccontextmanager
async def client(running: RawUpstream) -> AsyncIterator[Send]:
    async with connect(running.base, Anonymous(), Limits(body=LIMIT)) as upstream_client:

        async def send(ask: Ask) -> Answer:
            return await upstream_client.send(ask, asyncio.get_running_loop().time() + 5)

        yield send


SEARCH = (("name", "a b&c=d/é"), ("_id", "x,y"), ("name", "+"))
ENCODED = "name=a%20b%26c%3Dd%2F%C3%A9&_id=x%2Cy&name=%2B"


@pytest.mark.parametrize(
    ("ask", "method", "target", "body"),
    [
        (Ask(), "GET", "/fhir", b""),
        (Ask("Patient/a.b-c"), "GET", "/fhir/Patient/a.b-c", b""),
        (Ask("Patient", query=SEARCH), "GET", "/fhir/Patient?" + ENCODED, b""),
        (Ask("Patient/_search", form=SEARCH), "POST", "/fhir/Patient/_search", ENCODED.encode()),
        (Ask(url="BASE?_getpages=1&_b=%41"), "GET", "/fhir?_getpages=1&_b=%41", b""),
        (Ask(url="BASE/Patient?_offset=2"), "GET", "/fhir/Patient?_offset=2", b""),
    ],
)
async def test_requests_are_built_from_parts(
    ask: Ask, method: str, target: str, body: bytes
) -> None:
    """R-RT-1: what goes upstream is built from parsed parts, each encoded exactly once."""
    async with upstream(reply()) as behind, client(behind) as send:
        answer = await send(
            Ask(ask.path, ask.query, ask.form, ask.url.replace("BASE", behind.base))
        )
        assert answer == Answer(200, {}, PATIENT)
        (asked,) = behind.log
        assert (asked.method, asked.target, asked.body) == (method, target, body)


@pytest.mark.parametrize(
    "ask",
    [
        Ask("../actuator"),
        Ask("Patient/.."),
        Ask("Patient//1"),
        Ask("/Patient"),
        Ask("Patient/1?x=y"),
        Ask("Patient/1#x"),
        Ask("Patient/1\\x"),
        Ask("Patient/1\r\nX: y"),
        Ask("Patient", if_none_match="x\r\nA: b"),
    ],
)
async def test_faulty_asks_are_not_sent(ask: Ask) -> None:
    """R-RT-1: an Ask that breaks its contract is a fault of ours and reaches nobody."""
    async with upstream(reply()) as behind, client(behind) as send:
        assert isinstance((await send(ask)).error, InternalError)
        assert behind.log == []


@pytest.mark.parametrize(
    "link",
    [
        "http://evil.example/fhir?_getpages=1",
        "//evil.example/x",
        "BASE.evil.example/x",
        "BASEx?_getpages=1",
        "BASE@evil.example/",
        "BASE/../admin",
        "BASE/Patient/../../admin",
        "BASE?_getpages=1#x",
        "BASE?a b",
        "?_getpages=1",
    ],
)
async def test_page_links_stay_under_the_base(link: str) -> None:
    """R-PG-1, R-BT-2: a page link that leads elsewhere is not followed."""
    async with upstream(reply()) as behind, client(behind) as send:
        answer = await send(Ask(url=link.replace("BASE", behind.base)))
        assert isinstance(answer.error, UpstreamBroken)
        assert behind.log == []


async def test_validators_come_back() -> None:
    """An Ask with a validator may be answered 304; the core learns ETag and Last-Modified only."""
    head = b'HTTP/1.1 304 Not Modified\r\nETag: W/"3"\r\nX-Powered-By: HAPI\r\n\r\n'
    async with upstream(say(head)) as behind, client(behind) as send:
        answer = await send(Ask("Patient/1", if_none_match='W/"3"'))
        assert answer == Answer(304, {"etag": 'W/"3"'})
        assert behind.log[0].headers["if-none-match"] == 'W/"3"'


@pytest.mark.parametrize("status", [400, 404, 409, 410, 412, 422])
async def test_error_texts_stay_below(status: int) -> None:
    """R-EL-1: of an upstream error only the status goes on."""
    act = reply(f"{status} X", b'{"diagnostics":"' + M + b'"}')
    async with upstream(act) as behind, client(behind) as send:
        assert await send(Ask("Patient/1")) == Answer(status)


async def test_connection_is_not_reused_after_an_early_answer() -> None:
    """A POST answered with an error may leave a connection that the server is about to close."""
    async with upstream(reply("400 Bad", b"{}"), reply()) as behind, client(behind) as send:
        await send(Ask("Patient/_search", form=SEARCH))
        assert (await send(Ask("Patient/_search", form=SEARCH))).status == 200
        assert behind.connections == 2


async def test_good_connections_are_reused() -> None:
    """Ten reads one after the other take one connection."""
    async with upstream(reply()) as behind, client(behind) as send:
        for _ in range(10):
            assert (await send(Ask("Patient/1"))).status == 200
        assert behind.connections == 1


def test_environment_has_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies of the environment are not used: the request goes where the settings say."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    async def ask() -> Answer:
        async with upstream(reply()) as behind, client(behind) as send:
            return await send(Ask("Patient/1"))

    assert asyncio.run(ask()).status == 200
