"""``ecr-proxy serve`` as a process: it answers, logs, refuses mistakes, and stops when told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from datetime import date
from pathlib import Path

import orjson
import pytest

from proxy.lenses.keys import KeyRing
from tests.conftest import REPOSITORY, free_port
from tests.gateway import POLICIES, configuration, wait_until_ready


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serves_until_told_to_stop(workers: str, tmp_path: Path) -> None:
    """One process or two: the service is up, its log is JSON, and it ends with 0 when told to."""
    port, log = free_port(), tmp_path / "log"
    keys = tmp_path / "keys.json"
    keys.touch(0o600)
    keys.write_bytes(KeyRing.new(os.urandom(32), os.urandom(32), date.today()).write())
    file = tmp_path / "config.toml"
    tokens = {"investigator": "x" * 40}
    text = configuration("http://127.0.0.1:9/fhir", port, tokens, {}, POLICIES, "")
    file.write_text(text)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "serve", "--config", str(file)],
            cwd=REPOSITORY,
            env={**os.environ, "ECR_PROXY_SERVER_WORKERS": workers},
            stdout=output,
            stderr=output,
        )
    try:
        wait_until_ready(process, f"http://127.0.0.1:{port}/fhir", log)
        deadline = time.monotonic() + 60
        while log.read_bytes().count(b'"listening"') < int(workers):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for path in ("healthz", "readyz"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}") as response:
                assert response.read() == b"up\n"
    finally:
        process.terminate()
        assert process.wait(30) == 0
    lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    said = [line["message"] for line in lines]
    assert set(said) == {"listening", "answered", "stopping"}
    assert said.count("stopping") == int(workers)
    paths = {line.get("path") for line in lines if line["message"] == "answered"}
    assert paths == {"/metadata", "/healthz", "/readyz"}


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "proxy", "serve", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_missing_configuration(tmp_path: Path) -> None:
    """R-CF-1: a configuration that is not there is one line and exit code 1, no traceback."""
    ended = serve("--config", str(tmp_path / "none.toml"))
    assert ended.returncode == 1
    assert "none.toml: cannot be read" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
