"""Fixtures that several suites share: the published examples, a real HAPI server.

What is absent is skipped with its reason on a developer's machine and is a failure in CI
(``CI=true``): a suite that did not run there must not look like one that passed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.loading import Resource, load, unload

Tell = Callable[[str], None]
Serve = Callable[[web.Application], Awaitable[TestServer]]
Upstream = Callable[[Iterable[Resource]], Awaitable[str]]

REPOSITORY = Path(__file__).resolve().parent.parent
HAPI_JAR = REPOSITORY / "hapi" / "target" / "hapi-r4.jar"
# Quick to start and small; benchmarks use the default compilers instead.
HAPI_JAVA_OPTIONS = ("-Xmx1g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
HAPI_START_SECONDS = 180


def absent(reason: str) -> None:
    """Skip, or fail where nothing may be absent."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """Say what a test measured: a text that is printed below all results, from whatever process."""
    # What record_property does, which warns where reports are also written as XML.
    return lambda text: request.node.user_properties.append((_TOLD, text))


_TOLD = "told"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests told."""
    reports = (r for found in terminalreporter.stats.values() for r in found)
    for report in reports:
        if getattr(report, "when", "") == "call":
            for name, text in report.user_properties:
                if name == _TOLD:
                    terminalreporter.write_line(f"\n{text}")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with published eCR examples: ``ECR_SHARED``, else ``../shared``."""
    folder = Path(os.environ.get("ECR_SHARED") or REPOSITORY.parent / "shared")
    if not (folder / "ecr-examples").is_dir():
        absent("the folder with the eCR examples is not there; set ECR_SHARED")
    return folder


@pytest.fixture(scope="session")
def hapi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of a real HAPI server without data of its own: ``HAPI_URL``, else it is started.

    The server is one for the whole session: a test uses ids of its own.
    """
    with _real("HAPI_URL", tmp_path_factory) as base:
        yield base


@pytest.fixture(scope="session")
def hapi_view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of a second real HAPI server, for what a view shows: ``HAPI_VIEW_URL``, else it is
    started. It describes itself by OpenAPI. Who uses it empties it again."""
    with _real("HAPI_VIEW_URL", tmp_path_factory, "--openapi", "true") as base:
        yield base


@contextmanager
def _real(variable: str, folders: pytest.TempPathFactory, *arguments: str) -> Iterator[str]:
    """The HAPI that the environment names, else one of this repository."""
    if url := os.environ.get(variable):
        yield url.rstrip("/")
        return
    if not HAPI_JAR.is_file():
        absent(f"HAPI is not built; run `make hapi-jar`, or set {variable}")
    log = folders.mktemp("hapi") / "hapi.log"
    port = free_port()
    base = f"http://127.0.0.1:{port}/fhir"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["java", *HAPI_JAVA_OPTIONS, "-jar", str(HAPI_JAR), "--port", str(port), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_ready(process, base, log)
        yield base
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(params=["embedded", pytest.param("hapi", marks=pytest.mark.hapi)])
async def upstream(
    request: pytest.FixtureRequest, aiohttp_server: Serve
) -> AsyncIterator[Upstream]:
    """A function from resources to the base URL of a FHIR server that holds them.

    A test that uses it runs twice: against the embedded server, and, marked ``hapi``, against
    HAPI, from which the resources are deleted again.
    """
    loaded: list[Resource] = []

    async def embedded(resources: Iterable[Resource]) -> str:
        from proxy.demo.upstream import create_upstream

        server = await aiohttp_server(create_upstream(list(resources)))
        return str(server.make_url("/fhir"))

    async def real(resources: Iterable[Resource]) -> str:
        base: str = request.getfixturevalue("hapi")
        held = list(resources)
        loaded.extend(held)
        await load(base, held)
        return base

    yield real if request.param == "hapi" else embedded
    if loaded:
        await unload(request.getfixturevalue("hapi"), loaded)


def free_port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(process: subprocess.Popen[bytes], base: str, log: Path) -> None:
    """Return when ``base`` answers; fail with the end of the log if it does not."""
    deadline = time.monotonic() + HAPI_START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{base}/metadata", timeout=60):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"HAPI did not start:\n{log.read_text()[-3000:]}", pytrace=False)
