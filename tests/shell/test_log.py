"""Logs: templates, roles, statuses, durations, request ids; no personal data (R-EL-3)."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from proxy.engine.messages import Facts
from proxy.shell.log import configure, template
from tests.shell.raw import reply, upstream
from tests.shell.support import AUTHORIZED, MARKER, gateway


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Logging as a server has it, into memory; undone afterwards."""
    root, ours = logging.getLogger(), logging.getLogger("proxy")
    before = root.handlers[:], root.level, ours.level
    into = io.StringIO()
    configure(into)
    yield into
    logging.captureWarnings(False)
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


async def test_access_log(stream: io.StringIO, tmp_path: Path) -> None:
    """R-EL-3: an exchange is one line with template, role, status, duration and request id, and
    nothing that the client or the upstream sent."""
    act = reply("200 OK", b'{"resourceType":"Patient","id":"' + MARKER.encode() + b'"}')
    async with (
        upstream(act) as behind,
        gateway(tmp_path, upstream=behind.base) as running,
        aiohttp.ClientSession() as session,
        session.get(
            f"http://127.0.0.1:{running.port}/fhir/Patient/{MARKER}?name={MARKER}",
            headers=AUTHORIZED | {"X-Marker": MARKER, "User-Agent": MARKER},
        ) as response,
    ):
        await response.read()
    (line,) = map(orjson.loads, stream.getvalue().splitlines())
    assert line.pop("time").endswith("+00:00")
    assert line.pop("duration_ms") > 0
    assert line == {
        "level": "info",
        "logger": "proxy.access",
        "message": "answered",
        "request_id": response.headers["X-Request-Id"],
        "method": "GET",
        "path": "/Patient/[id]",
        "role": "researcher",
        "status": 200,
    }


@pytest.mark.parametrize(
    ("facts", "path"),
    [
        (Facts(), "-"),
        (Facts("read", "Patient"), "/Patient/[id]"),
        (Facts("search-type", "Bundle"), "/Bundle"),
        (Facts("vread", "Patient"), "/Patient/[id]/_history/[vid]"),
        (Facts("batch"), "/"),
        (Facts("operation", "Composition", operation="$document"), "/Composition/[id]/$document"),
        (Facts("capabilities"), "/metadata"),
        (Facts("something-new", "Patient"), "-"),
    ],
)
def test_templates(facts: Facts, path: str) -> None:
    """R-EL-3: paths are logged as templates."""
    assert template(facts) == path


def test_libraries_say_nothing(stream: io.StringIO) -> None:
    """R-EL-3: what a library logs or warns of may quote what passed through it: its words stay
    out, and so do arguments and tracebacks of our own lines."""
    logging.getLogger("aiohttp.server").error("Error handling %s", MARKER)
    logging.getLogger("asyncio").error(MARKER, exc_info=ValueError(MARKER))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = logging._showwarning  # type: ignore[attr-defined]  # as in a server
        warnings.warn(MARKER, ResourceWarning, stacklevel=1)
    try:
        raise ValueError(MARKER)
    except ValueError:
        logging.getLogger("proxy.shell").exception("fault of %s", MARKER)
    lines = [orjson.loads(line) for line in stream.getvalue().splitlines()]
    assert MARKER not in stream.getvalue()
    assert [line["logger"] for line in lines] == [
        "aiohttp.server",
        "asyncio",
        "py.warnings",
        "proxy.shell",
    ]
    assert [line.get("message") for line in lines] == [None, None, None, "fault of %s"]
