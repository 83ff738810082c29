"""What leaves: replies, errors and faults, each recorded first (R-EL, R-CF-3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from proxy.engine.messages import Call, Facts, Flow, Reply
from proxy.errors import Forbidden, NotFound, ProxyError
from proxy.policy.model import Caller
from proxy.shell.claims import RefusedBearer
from proxy.shell.log import JsonFormatter
from tests.shell.raw import PATIENT, reply, upstream
from tests.shell.support import (
    AUTHORIZED,
    CALLER,
    MARKER,
    ask,
    assert_outcome,
    constant,
    gateway,
)


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


async def test_a_refused_bearer_is_recorded(tmp_path: Path) -> None:
    """R-EL-4, R-AU-4: who holds a good token that opens nothing is in the audit, with the role as
    far as it is known, and no word of the token."""

    async def refuse(headers: Mapping[str, str]) -> Caller:
        known = "researcher" if headers["Authorization"].endswith("known") else ""
        raise RefusedBearer("Your token opens nothing.", replace(CALLER, role=known))

    async with gateway(tmp_path, start=raising(NotFound()), identify=refuse) as running:
        for token in ("known", "other"):
            headers = {"Authorization": f"Bearer {MARKER}-{token}"}
            status, answered, body = await ask(running, "GET", "/fhir/Patient/1", headers=headers)
            assert status == 403
            assert_outcome(status, answered, body, "forbidden")
        assert running.seen == []
        known, other = (event["agent"][0] for event in running.events())
        assert MARKER not in running.audit_file.read_text()
    who = {"identifier": {"system": CALLER.issuer, "value": CALLER.subject}}
    assert known["who"] == other["who"] == who
    assert known["role"] == [{"text": "researcher"}]
    assert "role" not in other


async def test_an_alarm_is_logged_without_a_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """R-TC-11: what the tripwire found is logged as a number, with the request's id, and the
    answer goes out as it is."""

    def alarmed(call: Call) -> Flow:
        yield from ()
        return Reply(200, b'{"x":1}', facts=Facts("read", "Patient", policy="p@1", alarms=2))

    async with gateway(tmp_path, start=alarmed) as running:
        status, headers, body = await ask(running, "GET", "/fhir/Patient/1", headers=AUTHORIZED)
        (event,) = running.events()
    assert (status, body) == (200, b'{"x":1}')
    (record,) = [r for r in caplog.records if r.getMessage() == "tripwire"]
    line = orjson.loads(JsonFormatter().format(record))
    assert line.items() >= {"level": "error", "message": "tripwire", "hits": 2}.items()
    assert line["request_id"] == headers["x-request-id"]
    assert event["outcome"] == "0"
