"""The server's processes: listening, draining, several workers on one port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import orjson
import pytest

from proxy.shell.server import EARLY, StartError, bind, count_workers
from tests.conftest import free_port
from tests.shell.raw import PATIENT, RawUpstream, say, upstream
from tests.shell.support import AUTHORIZED

# A worker as `ecr-proxy serve` has it, around the tests' small gateway.
PROGRAM = """
    import sys
    from pathlib import Path
    from proxy.shell.log import configure
    from proxy.shell.server import bind, serve, supervise
    from tests.shell.support import application

    def work(folder, port, upstream):
        configure()
        with bind("127.0.0.1", int(port), shared=True) as bound:
            serve(lambda: application(Path(folder), upstream=upstream), bound)

    if __name__ == "__main__":
        folder, port, upstream, workers = sys.argv[1:]
        if workers == "1":
            work(folder, port, upstream)
        else:
            configure()
            supervise(work, (folder, port, upstream), int(workers))
"""


@contextlib.contextmanager
def serving(folder: Path, base: str, workers: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A running server and its port; its log is ``folder/log``."""
    port = free_port()
    program = folder / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    repository = Path(__file__).resolve().parents[2]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(program), str(folder), str(port), base, str(workers)],
            env={**os.environ, "PYTHONPATH": str(repository)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(folder, "listening", workers)
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def lines(folder: Path, message: str) -> list[dict[str, object]]:
    found = map(orjson.loads, (folder / "log").read_bytes().splitlines())
    return [line for line in found if line.get("message") == message]


def wait_for(folder: Path, message: str, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(lines(folder, message)) < count:
        assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
        time.sleep(0.05)


async def read(port: int) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/fhir/Patient/1", headers=AUTHORIZED) as response,
    ):
        return response.status, await response.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_requests_under_way_are_finished(number: signal.Signals, tmp_path: Path) -> None:
    """On a signal the server stops listening, finishes what it has begun, and exits with 0."""
    asked = asyncio.Event()
    held = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await held.wait()
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(PATIENT)}"
        )
        await say(head.encode() + b"\r\n\r\n" + PATIENT)(reader, writer)

    async with upstream(slow) as behind:
        with serving(tmp_path, behind.base, 1) as (process, port):
            task = asyncio.create_task(read(port))
            await asyncio.wait_for(asked.wait(), 10)
            process.send_signal(number)
            await asyncio.to_thread(wait_for, tmp_path, "stopping", 1)
            await asyncio.sleep(0.1)
            with pytest.raises(aiohttp.ClientConnectorError):
                await read(port)
            held.set()
            assert await task == (200, PATIENT)
            assert await asyncio.to_thread(process.wait, 10) == 0


async def test_workers_share_the_port_and_the_audit(tmp_path: Path) -> None:
    """Two workers answer on one port, write whole lines to one audit file, and one that dies is
    replaced."""
    async with instant() as behind:
        with serving(tmp_path, behind.base, 2) as (process, port):
            answers = await asyncio.gather(*(read(port) for _ in range(100)))
            assert answers == [(200, PATIENT)] * 100
            events = (tmp_path / "audit.ndjson").read_bytes().splitlines()
            assert len([orjson.loads(event) for event in events]) == 100
            await asyncio.sleep(EARLY + 0.5)  # a worker that dies earlier ends the server
            os.kill(children(process.pid)[0], signal.SIGKILL)
            await asyncio.to_thread(wait_for, tmp_path, "listening", 3)
            assert (await read(port))[0] == 200
            process.terminate()
            assert await asyncio.to_thread(process.wait, 10) == 0
            assert len(lines(tmp_path, "worker ended")) == 1


@contextlib.asynccontextmanager
async def instant() -> AsyncIterator[RawUpstream]:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(PATIENT)}"
    async with upstream(say(head.encode() + b"\r\n\r\n" + PATIENT)) as behind:
        yield behind


def children(of: int) -> list[int]:
    """Process ids of the workers (the resource tracker of multiprocessing is none)."""
    listed = Path(f"/proc/{of}/task/{of}/children").read_text().split()
    return [
        int(child)
        for child in listed
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def test_port_in_use() -> None:
    """A port that is taken is one clear sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"127\.0\.0\.1:{port} cannot be listened on"):
            bind("127.0.0.1", port, shared=False)


def test_names_are_bound_by_their_first_address() -> None:
    """localhost is 127.0.0.1, also where it has an address of version 6, too."""
    with bind("localhost", 0, shared=False) as bound:
        assert bound.getsockname()[0] == "127.0.0.1"


def test_number_of_workers() -> None:
    """0 means one per core that this process may use."""
    assert count_workers(3) == 3
    assert count_workers(0) == len(os.sched_getaffinity(0))
