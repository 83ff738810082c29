"""R-UM-1 to R-UM-8, R-EL-1, R-DS-6 on the product: an upstream that lies, fails and floods."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.security.product import MARKER, ROLES, Answer, product, upstream_port
from tests.security.serving import common
from tests.shell.raw import Act, RawUpstream, hang_up, reply, say, silent

ID = "MRN-1032702"
M = MARKER.encode()
PATIENT = b'{"resourceType":"Patient","id":"MRN-1032702","gender":"female"}'
JSON = "application/fhir+json"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\n"
BOMB = gzip.compress(b" " * 200_000_000, 1)


@asynccontextmanager
async def acting(*script: Act) -> AsyncIterator[RawUpstream]:
    """An upstream on the product's upstream port that follows ``script``."""
    running = RawUpstream(script, port=upstream_port())
    server = await asyncio.start_server(running.serve, "127.0.0.1", running.port)
    try:
        yield running
    finally:
        server.close()


def searchset(*entries: bytes) -> bytes:
    return (
        b'{"resourceType":"Bundle","type":"searchset","link":[{"relation":"self","url":"x"}],'
        b'"entry":[' + b",".join(entries) + b"]}"
    )


def match(resource: bytes) -> bytes:
    return (
        b'{"fullUrl":"http://x/Patient/1","resource":' + resource + b',"search":{"mode":"match"}}'
    )


def other(text: bytes) -> Act:
    return reply("200 OK", text, JSON)


# name -> (act, statuses allowed); every one of them is a failure, never data and never a 404.
LIES: dict[str, tuple[Act, set[int]]] = {
    # R-UM-1
    "closes-early": (say(OK + b"Content-Length: 999\r\n\r\n" + PATIENT, close=True), {502}),
    "chunked-without-end": (
        say(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n" + M[:5] + b"\r\n", close=True),
        {502},
    ),
    "valid-prefix": (other(b'{"resourceType":"Patient","id":"MRN-1032702","name":["' + M), {502}),
    "valid-prefix-until-close": (
        say(OK + b'Connection: close\r\n\r\n{"resourceType":"Bundle","entry":["' + M, close=True),
        {502},
    ),
    "hang-up": (hang_up, {502}),
    # R-UM-2
    "login-page": (reply("200 OK", b"<html>" + M, "text/html"), {502}),
    "text": (reply("200 OK", PATIENT, "text/plain"), {502}),
    "no-type": (reply("200 OK", PATIENT, None), {502}),
    "xml": (reply("200 OK", b"<Patient>" + M, "application/fhir+xml"), {502}),
    "xml-labelled-json": (other(b"<Patient>" + M), {502}),
    "no-json": (other(M), {502}),
    "empty": (other(b""), {502}),
    "array": (other(b"[" + PATIENT + b"]"), {502}),
    "string": (other(b'"' + M + b'"'), {502}),
    "null": (other(b"null"), {502}),
    "bad-utf-8": (other(PATIENT[:-1] + b',"x":"\xff' + M + b'"}'), {502}),
    "trailing": (other(PATIENT + M), {502}),
    "deep": (other(PATIENT[:-1] + b',"a":' + b"[" * 5000 + b"]" * 5000 + b"}"), {502}),
    "very-deep": (other(b"[" * 100_000), {502}),
    "no-resource-type": (other(b'{"id":"MRN-1032702","a":"' + M + b'"}'), {502}),
    # R-UM-3
    "binary": (other(b'{"resourceType":"Binary","id":"MRN-1032702","data":"' + M + b'"}'), {502}),
    "bundle": (other(searchset(match(PATIENT))[:-1] + b',"id":"MRN-1032702"}'), {502}),
    "another-patient": (other(b'{"resourceType":"Patient","id":"' + M + b'"}'), {502}),
    "no-id": (other(b'{"resourceType":"Patient","gender":"female"}'), {502}),
    "outcome": (other(b'{"resourceType":"OperationOutcome","id":"' + M + b'"}'), {502}),
    # R-UM-5
    "bomb": (reply("200 OK", BOMB, JSON, "Content-Encoding: gzip"), {502}),
    # R-UM-7, R-EL-1
    "500": (reply("500 Oops", b'{"diagnostics":"' + M + b'"}', JSON), {502}),
    "502": (reply("502 Bad", b"<html>" + M, "text/html"), {502}),
    "503": (reply("503 Busy", M, "text/html", "Retry-After: 3600"), {503}),
    "429": (reply("429 Slow", M, JSON, "Retry-After: 3600"), {503}),
    "504": (reply("504 Late", M, "text/html"), {504}),
    "401": (reply("401 Who", M, JSON), {502}),
    "403": (reply("403 No", M, JSON), {502}),
    "409": (reply("409 Conflict", b'{"diagnostics":"' + M + b'"}', JSON), {502}),
    "412": (reply("412 Precondition", b'{"diagnostics":"' + M + b'"}', JSON), {502}),
    "418": (reply("418 Teapot", M, JSON), {502}),
    "404-html": (reply("404 Not Found", b"<html>" + M, "text/html"), {502}),
}  # fmt: skip
for moved in (301, 302, 303, 307, 308):  # R-UM-4
    for where in (f"http://evil.example/{MARKER}", f"/fhir/Patient/{MARKER}", "/fhir/Patient/1"):
        act = reply(f"{moved} Moved", M, JSON, f"Location: {where}")
        LIES[f"{moved}-{where[:12]}"] = (act, {502})


def check_closed(answer: Answer, allowed: set[int]) -> None:
    """CLOSED: a fitting status, fixed text, no byte from upstream."""
    assert answer.status in allowed
    assert answer.code in ("exception", "incomplete", "transient", "timeout")
    assert not answer.says(MARKER)
    assert not answer.says(MARKER[:5])
    assert not answer.says(ID)
    assert "location" not in answer.headers
    assert int(answer.headers.get("retry-after", "1")) <= 120


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", LIES)
async def test_reads(role: str, name: str, tmp_path: Path) -> None:
    """R-UM-1 to R-UM-5, R-UM-7, R-EL-1: a read of a lying upstream is CLOSED, at most one retry."""
    act, allowed = LIES[name]
    async with acting(act) as behind, product(tmp_path) as running:
        answer = await running.get(role, f"/Patient/{running.shown(role, 'Patient', ID)}")
        check_closed(answer, allowed)
        assert 1 <= len(behind.log) <= 2
        assert {asked.target for asked in behind.log} == {f"/fhir/Patient/{ID}"}
        (event,) = running.audit()
        assert event["outcome"] == "8"
        assert MARKER not in str(event)


SEARCH_LIES = {
    name: lie for name, lie in LIES.items() if name not in ("no-id", "409", "412", "bundle")
}
SEARCH_LIES |= {
    "patient": (other(PATIENT), {502}),
    "document": (other(b'{"resourceType":"Bundle","type":"document","entry":[]}'), {502}),
    "entry-no-list": (other(b'{"resourceType":"Bundle","type":"searchset","entry":{}}'), {502}),
    "prefix": (other(searchset(match(PATIENT))[:-2]), {502}),
    "410": (reply("410 Gone", b'{"diagnostics":"' + M + b'"}', JSON), {502}),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", SEARCH_LIES)
async def test_searches(role: str, name: str, tmp_path: Path) -> None:
    """R-UM-1 to R-UM-5, R-UM-7, R-EL-1: nor is a search ever an empty result then."""
    act, allowed = SEARCH_LIES[name]
    async with acting(act) as behind, product(tmp_path) as running:
        answer = await running.get(role, "/Patient?gender=female")
        check_closed(answer, allowed)
        assert 1 <= len(behind.log) <= 2
        assert {(asked.method, asked.target) for asked in behind.log} == {
            ("POST", "/fhir/Patient/_search")
        }


@pytest.mark.parametrize("role", ROLES)
async def test_search_that_is_not_found(role: str, tmp_path: Path) -> None:
    """R-UM-7: an upstream that answers 404 to a search (HAPI does, for a value set that it does
    not know) is no empty result and no 404."""
    act = reply("404 Not Found", b'{"diagnostics":"' + M + b'"}', JSON)
    async with acting(act), product(tmp_path) as running:
        answer = await running.get(role, "/Patient?gender=female")
    assert answer.status in (400, 502)
    assert answer.code in ("exception", "not-supported", "value")
    assert not answer.says(MARKER)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", ["/Patient/{}", "/Patient?gender=female"])
async def test_slow_upstreams(role: str, path: str, tmp_path: Path) -> None:
    """R-UM-6: 504 within the configured total; the upstream request is cancelled."""
    async with acting(silent()) as behind, product(tmp_path) as running:
        async with asyncio.timeout(4):
            answer = await running.get(role, path.format(running.shown(role, "Patient", ID)))
        check_closed(answer, {504})
        assert answer.code == "timeout"
        await asyncio.wait_for(behind.gone.wait(), 2)


@pytest.mark.parametrize("role", ROLES)
async def test_unreachable_upstream(role: str, tmp_path: Path) -> None:
    """R-UM-7: a refused connection is 503, for reads, searches and in a batch."""
    batch = (
        b'{"resourceType":"Bundle","type":"batch","entry":['
        b'{"request":{"method":"GET","url":"Patient?gender=female"}}]}'
    )
    headers = {"Content-Type": "application/fhir+json"}
    async with product(tmp_path) as running:
        for path in (f"/Patient/{running.shown(role, 'Patient', ID)}", "/Patient?gender=female"):
            check_closed(await running.get(role, path), {503})
        answer = await running.ask(role, "POST", "/fhir", data=batch, headers=headers)
        (entry,) = answer.json["entry"]
        assert entry["response"]["status"].startswith("503")


@pytest.mark.parametrize("role", ROLES)
async def test_batch_entries_fail_alone(role: str, tmp_path: Path) -> None:
    """R-UM-7, R-BT-1: an entry whose upstream call fails is a failure in its place, no more."""
    batch = (
        b'{"resourceType":"Bundle","type":"batch","entry":['
        b'{"request":{"method":"GET","url":"Patient/%s"}},'
        b'{"request":{"method":"GET","url":"Patient?gender=female"}}]}'
    )

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        good = behind.log[-1].method == "GET"
        await (other(PATIENT) if good else reply("500 Oops", M, JSON))(reader, writer)

    async with acting(act) as behind, product(tmp_path) as running:
        id_ = running.shown(role, "Patient", ID).encode()
        answer = await running.ask(
            role,
            "POST",
            "/fhir",
            data=batch % id_,
            headers={"Content-Type": "application/fhir+json"},
        )
        statuses = [entry["response"]["status"][:3] for entry in answer.json["entry"]]
        assert statuses == ["200", "502"]
        assert not answer.says(MARKER)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_writes_never_happen(role: str, method: str, tmp_path: Path) -> None:
    """R-UM-8: there is no write to repeat: 405 without an upstream call."""
    path = "/fhir/Patient" + ("" if method == "POST" else f"/{ID}")
    async with acting(other(PATIENT)) as behind, product(tmp_path) as running:
        answer = await running.ask(
            role, method, path, data=PATIENT, headers={"Content-Type": "application/fhir+json"}
        )
        assert (answer.status, answer.code) == (405, "not-supported")
        assert behind.log == []


@pytest.mark.parametrize("role", ROLES)
async def test_compressed_good_answers(role: str, tmp_path: Path) -> None:
    """R-UM-5: a good answer that came compressed leaves with its right length and no encoding."""
    act = reply("200 OK", gzip.compress(PATIENT), JSON, "Content-Encoding: gzip")
    async with acting(act), product(tmp_path) as running:
        answer = await running.get(role, f"/Patient/{running.shown(role, 'Patient', ID)}")
    assert (answer.status, answer.json["gender"]) == (200, "female")
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("role", ROLES)
async def test_links_that_lead_away(role: str, tmp_path: Path) -> None:
    """R-PG-1, R-BT-2: a next link to another host is not followed."""
    page = searchset(match(PATIENT)).replace(
        b'"relation":"self","url":"x"', b'"relation":"next","url":"http://evil.example/fhir?p=1"'
    )
    async with acting(other(page)) as behind, product(tmp_path) as running:
        answer = await running.get(role, "/Patient?gender=female&_count=5")
        assert not answer.says("evil.example")
        assert len(behind.log) == 1
        check_closed(answer, {502})


MEGABYTE = 1_000_000
FLOODS = {
    "/Patient?gender=female": (300, b'{"resourceType":"Bundle","type":"searchset","entry":["'),
    "/Patient/{}": (80, b'{"resourceType":"Patient","id":"MRN-1032702","name":[{"text":"'),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", FLOODS)
async def test_floods(role: str, path: str, tmp_path: Path) -> None:
    """R-DS-6: an answer past ``limits.upstream-body`` is not read to its end: too costly, whether
    its length is said or not, and the next request is served."""
    megabytes, head = FLOODS[path]
    sent: list[int] = []

    def flood(framing: bytes) -> Act:
        async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sent.append(0)
            writer.write(OK + framing + b"Connection: close\r\n\r\n" + head)
            with suppress(ConnectionError):
                while sent[-1] < megabytes * MEGABYTE:
                    writer.write(M * (MEGABYTE // len(M)))
                    await writer.drain()
                    sent[-1] += MEGABYTE
            writer.close()

        return act

    said = b"Content-Length: %d\r\n" % (megabytes * MEGABYTE)
    slowly = {"upstream": replace(common()[0].upstream, timeout=60)}
    script = (flood(said), flood(b""), reply("200 OK", PATIENT, JSON))
    async with acting(*script) as behind, product(tmp_path, **slowly) as running:
        for _ in range(2):
            answer = await running.get(role, path.format(running.shown(role, "Patient", ID)))
            assert (answer.status, answer.code) == (400, "too-costly")
            assert not answer.says(MARKER)
        assert len(sent) == 2
        assert max(sent) < megabytes * MEGABYTE
        after = await running.get(role, f"/Patient/{running.shown(role, 'Patient', ID)}")
        assert after.status == 200
    assert len(behind.log) == 3
