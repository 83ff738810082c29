"""R-EL-3, R-EL-4 and R-WR-4 on the product as a process: what it prints, what it writes, and what
happens when it cannot."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp.test_utils import TestServer
from yarl import URL

from proxy.config.model import AuditSettings
from proxy.demo.upstream import REQUEST_LOG, create_upstream
from proxy.fhir.structure import RESOURCES
from tests.conftest import free_port
from tests.gateway import ROLES, Gateway, running
from tests.security.product import MARKER as NAME
from tests.security.revealing import MARKER, document, observation, person
from tests.security.serving import bundle, common, holding, is_clean_of, post, product_of
from tests.security.test_errors import MARKED
from tests.shell.support import talk

REAL = f"MRN-{MARKER}"
# What a request leaves in the log, and nothing else.
FIELDS = {
    "time",
    "level",
    "logger",
    "message",
    "request_id",
    "role",
    "method",
    "path",
    "status",
    "duration_ms",
}


def held() -> list[Any]:
    return [
        person("Patient", REAL, gender="female"),
        observation(subject={"reference": f"Patient/{REAL}"}),
        document(person("Patient", REAL)),
    ]


async def send(gateway: Gateway, role: str | None, method: str, target: str, **more: Any) -> int:
    """One request to the process; its status."""
    headers = dict(more.pop("headers", {}))
    if role is not None:
        headers["Authorization"] = f"Bearer {gateway.tokens[role]}"
    url = URL(gateway.base + target, encoded=True)
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, headers=headers, **more) as response,
    ):
        await response.read()
        return response.status


async def test_r_el_3_nothing_personal_is_printed_or_written(tmp_path: Path) -> None:
    """R-EL-3, R-EL-4: after every kind of request by every role and by nobody, with markers in
    query, path, headers and body and in all data, and bytes that are no HTTP, no marker, id or
    token is in stdout, stderr or any file of the process; each request has its line, with
    template, role, status, duration and request id, and its record."""
    upstream = create_upstream(held())
    port = free_port()
    async with TestServer(upstream) as behind:
        base = str(behind.make_url("/fhir"))
        with running(base, tmp_path, port) as gateway:
            count = 0
            for role in (*ROLES, None):
                for method, target, options in MARKED.values():
                    await send(gateway, role, method, target, **options)
                    count += 1
                if role is None:
                    continue
                shown = gateway.namer(role).show_id("Patient", REAL)
                id_ = REAL if role == "investigator" else shown
                for target in (f"/Patient/{id_}", "/Patient?gender=female", "/Bundle", "/metadata"):
                    assert await send(gateway, role, "GET", target) == 200
                    count += 1
                body = orjson.dumps(bundle("batch", f"Patient/{id_}", f"Patient?family={MARKER}"))
                fhir = {"Content-Type": "application/fhir+json"}
                assert await send(gateway, role, "POST", "", data=body, headers=fhir) == 200
                count += 1
            for garbage in (
                f"GET /{MARKER} HTTP/9.9\r\n\r\n",
                f"{MARKER}\r\n\r\n",
                f"GET /fhir/Patient HTTP/1.1\r\n{MARKER}\r\n\r\n",
                f"GET /fhir/Patient HTTP/1.1\r\nHost: x\r\nX-{MARKER}\x01: y\r\n\r\n",
            ):
                await talk(port, garbage.encode())
            assert upstream[REQUEST_LOG]
    check_files(tmp_path, (base, *secrets_of(gateway)), count)


def secrets_of(gateway: Gateway) -> tuple[str, ...]:
    """What may stand in no file: markers, tokens, and the ids that roles are shown."""
    shown = [gateway.namer(role).show_id("Patient", REAL) for role in ROLES]
    return (MARKER, NAME, REAL, *gateway.tokens.values(), *shown)


def check_files(folder: Path, secrets: tuple[str, ...], count: int) -> None:
    """The log and all other files hold no secret; each of ``count`` requests has its log line and
    its record."""
    files = {file.name: file.read_text() for file in folder.rglob("*") if file.is_file()}
    assert set(files) == {"proxy.log", "audit.ndjson", "keys.json", "config.toml"}
    for name in ("proxy.log", "audit.ndjson"):
        assert is_clean_of(files[name], *secrets), name
    lines = [orjson.loads(line) for line in files["proxy.log"].splitlines()]
    answered = [line for line in lines if line["message"] == "answered"]
    assert len(answered) >= count
    assert {line.get("role") for line in answered} >= set(ROLES)
    for line in answered:
        assert set(line) <= FIELDS
        assert {"path", "status", "duration_ms", "request_id"} <= set(line)
        assert line["path"].strip("/").partition("/")[0] in {*PLACES, *RESOURCES}, line["path"]
    assert len(files["audit.ndjson"].splitlines()) >= count


# Where a template begins, beside types.
PLACES = {"", "-", "metadata", "[type]", "healthz", "readyz", "preflight"}


@pytest.mark.parametrize("role", ROLES)
async def test_r_el_4_no_record_no_data(role: str, tmp_path: Path) -> None:
    """R-EL-4: while the audit file is full, every kind of answer, data and refusals alike, is 503
    without a byte of data."""
    full = {"audit": AuditSettings(Path("/dev/full"))}
    async with (
        holding(*held()),
        product_of(tmp_path, common()[1], **full) as running_,
    ):
        shown = running_.shown(role, "Patient", REAL)
        for target in (f"/Patient/{shown}", "/Patient?gender=female", "/Patient?x=1", "/metadata"):
            answer = await running_.get(role, target)
            assert (answer.status, answer.code) == (503, "transient")
            assert not answer.says(REAL)
            assert b"gender" not in answer.body
        body = orjson.dumps(bundle("batch", f"Patient/{shown}"))
        answer = await post(running_, role, body)
        assert (answer.status, answer.code) == (503, "transient")


@pytest.mark.parametrize("role", ROLES)
async def test_r_el_4_every_kind_is_recorded(role: str, tmp_path: Path) -> None:
    """R-EL-4: allowed, refused and failed requests each leave one record before the answer, with
    its interaction, outcome and no marker; so does a client that goes away."""
    async with holding(*held()), product_of(tmp_path, common()[1]) as running_:
        shown = running_.shown(role, "Patient", REAL)
        asked = (
            ("GET", f"/Patient/{shown}", "read"),
            ("GET", "/Patient?gender=female", "search-type"),
            ("GET", f"/Patient?nonsense={MARKER}", "search-type"),
            ("GET", "/Binary/1/2/3", ""),
            ("PUT", f"/Patient/{shown}", ""),
            ("GET", f"/Patient/{MARKER}", "read"),
            ("POST", "", "batch"),
        )
        for number, (method, target, interaction) in enumerate(asked, 1):
            more = {"data": orjson.dumps(bundle("batch", "Patient"))} if method == "POST" else {}
            headers = {"Content-Type": "application/fhir+json"}
            answer = await running_.ask(
                role, method, "/fhir" + target, headers=headers if more else {}, **more
            )
            events = running_.audit()
            assert len(events) == number
            event = events[-1]
            assert event["outcomeDesc"].startswith(str(answer.status))
            text = orjson.dumps(event).decode()
            assert is_clean_of(text, MARKER, REAL, shown, "female")
            assert interaction in text
            assert f"{role}-client" in text
            assert answer.headers["x-request-id"] in text
        _, writer = await asyncio.open_connection("127.0.0.1", running_.port)
        writer.write(b"GET /fhir/Patient HTTP/1.1\r\nHost: x\r\n\r\n")
        await writer.drain()
        writer.transport.abort()
        for _ in range(100):
            if len(running_.audit()) > len(asked):
                break
            await asyncio.sleep(0.01)
        assert len(running_.audit()) == len(asked) + 1
