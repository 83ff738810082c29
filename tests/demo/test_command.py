"""``ecr-proxy demo`` as a user meets it: started, tried with the lines it prints, stopped."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.demo.generator import cases
from proxy.demo.upstream import STORE, create_upstream

Serve = Callable[[web.Application], Awaitable[TestServer]]

READY_SECONDS = 90
ROLES = (
    "investigator", "ecr-anonymized", "epidemiologist", "researcher-deidentified",
    "researcher-limited",
    "researcher-shifted", "stage1-pseudonymized",
)  # fmt: skip
EVERYONE = (*ROLES[:3], "public", *ROLES[3:])


@dataclass
class Demo:
    """A running demo: what it printed, and the variables it wrote."""

    process: asyncio.subprocess.Process
    output: str
    environment: dict[str, str]

    def curls(self) -> list[tuple[str, str, str]]:
        """(title, who, line) of each curl line."""
        found, title, who = [], "", ""
        for line in self.output.splitlines():
            if line.startswith("  # "):
                who = line.removeprefix("  # ")
            elif line.startswith("  curl "):
                found.append((title, who, line.strip()))
            elif line and not line.startswith(" "):
                title = line
        return found


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "proxy", "demo", *arguments]


def free_ports() -> int:
    """A port that is free, and the next one too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


@asynccontextmanager
async def running(folder: Path, *arguments: str) -> AsyncIterator[Demo]:
    """The demo with ``arguments``, ready; it is interrupted at the end and must stop well."""
    file = folder / "demo.env"
    process = await asyncio.create_subprocess_exec(
        *command("--env-file", str(file), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        output = ""
        async with asyncio.timeout(READY_SECONDS):
            while "Press Ctrl-C" not in output:
                line = await process.stdout.readline()
                assert line, (await process.stderr.read()).decode()
                output += line.decode()
        pairs = (line.split("=", 1) for line in file.read_text().splitlines())
        yield Demo(process, output, {name: shlex.split(value)[0] for name, value in pairs})
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(30):
            rest = await process.stderr.read()
            assert await process.wait() == 0, rest.decode()
        assert b"Traceback" not in rest
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def records(audit: Path) -> int | None:
    """How many exchanges were recorded; None if the log is gone."""
    return len(audit.read_bytes().splitlines()) if audit.exists() else None


async def run_curl(line: str) -> tuple[int, Any, str]:
    """Do what a printed curl line does: status, JSON, text."""
    words = shlex.split(line)
    assert words[:2] == ["curl", "-s"]
    headers = {}
    if words[2] == "-H":
        name, value = words[3].split(": ", 1)
        headers[name] = value
    async with aiohttp.ClientSession() as session, session.get(
        words[-1], headers=headers
    ) as response:
        text = await response.text()
        return response.status, json.loads(text), text


async def test_the_printed_lines_show_one_case_as_each_role(tmp_path: Path) -> None:
    """Every printed curl line works: as stored the patient's name shows, and to the investigator
    and the epidemiologist whose program it is too; to the others neither name nor record number
    nor any id. A role that belongs before another proxy has no line."""
    port = free_ports()
    story = next(cases(1)).story
    async with running(tmp_path, "--port", str(port), "--cases", "2") as demo:
        assert demo.environment["PROXY_URL"] == f"http://127.0.0.1:{port}/fhir"
        assert demo.environment["UPSTREAM_URL"] == f"http://127.0.0.1:{port + 1}/fhir"
        tokens = {name: demo.environment[f"TOKEN_{name.upper().replace('-', '_')}"]
                  for name in (*EVERYONE, "stage2-anonymized")}
        assert all(token in demo.output for token in tokens.values())
        found = demo.curls()
        before = "before: as stored"
        assert [who for _, who, _ in found] == [*3 * [before, *ROLES], before, *EVERYONE]
        assert len({title for title, _, _ in found}) == 4
        urls = [shlex.split(line)[-1] for _, _, line in found]
        # The rules have their own ids for all, the rest real ones for two.
        assert len(set(urls)) == len(urls) - len(EVERYONE) + 1 - 3
        assert f"epidemiologist sees {story.disease.display} in {story.place[2]}" in demo.output
        for (title, who, line), url in zip(found, urls, strict=True):
            status, shown, text = await run_curl(line)
            assert status == 200, (title, who, text[:500])
            assert shown["resourceType"] in ("Patient", "Bundle", "PlanDefinition")
            if "search" in title:
                assert len(shown["entry"]) == 1
            elif shown["resourceType"] == "Bundle":
                assert len(shown["entry"]) == (10 if who == "epidemiologist" else 25)
            if who.startswith(("ecr", "researcher", "stage")):
                for secret in (story.family, story.mrn, story.ssn, story.phone(1), story.street,
                               story.id("Patient", "patient")):
                    assert secret.lower() not in (text + url).lower(), (title, who)
            elif "search" not in title and "rules" not in title:
                assert story.family in text
        audit = Path(next(x for x in demo.output.split() if x.endswith("audit.ndjson")))
        assert records(audit) == 3 * len(ROLES) + len(EVERYONE)
    assert records(audit) is None


async def test_the_proxy_asks_for_a_token(tmp_path: Path) -> None:
    """Without a token nothing is shown; the file with tokens is for its owner alone."""
    port = free_ports()
    async with running(tmp_path, "--port", str(port), "--cases", "1") as demo:
        async with (
            aiohttp.ClientSession() as session,
            session.get(demo.environment["PROXY_URL"] + "/Patient") as response,
        ):
            assert response.status == 401
        assert (tmp_path / "demo.env").stat().st_mode & 0o077 == 0


async def test_a_server_of_ones_own_is_loaded(tmp_path: Path, aiohttp_server: Serve) -> None:
    """``--upstream`` puts the cases there and stands in front of that server."""
    app = create_upstream([])
    server = await aiohttp_server(app)
    base = str(server.make_url("/fhir"))
    arguments = ("--port", str(free_ports()), "--cases", "1", "--seed", "5", "--upstream", base)
    async with running(tmp_path, *arguments) as demo:
        assert demo.environment["UPSTREAM_URL"] == base
        case = next(cases(1, 5, base=base))
        assert app[STORE].resource("Bundle", str(case.eicr["id"]))
        for _, _, line in demo.curls():
            status, _, text = await run_curl(line)
            assert status == 200, text[:500]


async def failing(*arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *command(*arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await asyncio.wait_for(process.communicate(), READY_SECONDS)
    assert output == b""
    return process.returncode, errors.decode()


async def test_a_busy_port_is_one_clear_line() -> None:
    """Which port, and what to do."""
    port = free_ports()
    for taken in (port, port + 1):
        with socket.socket() as other:
            other.bind(("127.0.0.1", taken))
            other.listen()
            code, errors = await failing("--port", str(port), "--cases", "1")
        assert code == 1
        assert errors.count("\n") == 1
        assert f"Port {taken} cannot be used" in errors
        assert "--port" in errors


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        pytest.param(("--upstream", "http://127.0.0.1:9/fhir", "--cases", "1"), 1,
                     "does not answer", id="no server there"),
        pytest.param(("--upstream", "not a url"), 1, "url", id="no URL"),
        pytest.param(("--cases", "0"), 2, "--cases", id="no cases"),
        pytest.param(("--env-file", "/nowhere/at/all/x.env", "--cases", "1"), 1,
                     "cannot be written", id="file"),
    ],
)
async def test_mistakes_are_named(arguments: tuple[str, ...], code: int, words: str) -> None:
    """What cannot be done is said in a line, without a traceback."""
    found, errors = await failing("--port", str(free_ports()), *arguments)
    assert found == code
    assert words in errors
    assert "Traceback" not in errors
