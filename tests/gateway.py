"""The product as a deployment runs it: a process, a configuration file, static tokens."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from proxy.lenses.identity import Namer, Namers
from proxy.lenses.keys import KeyRing

REPOSITORY = Path(__file__).resolve().parent.parent
POLICIES = REPOSITORY / "policies"
ROLES = ("investigator", "researcher-limited", "researcher-deidentified")
PROJECT = "study-7"
START_SECONDS = 60
Claims = Mapping[str, Mapping[str, object]]  # by role


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running proxy. ``base``: its FHIR base; ``tokens``: role to bearer token; ``claims``: role
    to the claims of its token; ``audit``: the audit file; ``log``: what the process printed."""

    base: str
    tokens: Mapping[str, str]
    namers: Namers
    audit: Path
    log: Path
    claims: Claims = field(default_factory=dict)

    def namer(self, role: str) -> Namer:
        """Who names things for callers of ``role``, to know which pseudonym to expect."""
        return self.namers.of(PROJECT, role)


def configuration(
    upstream: str,
    port: int,
    tokens: Mapping[str, str],
    claims: Claims,
    policies: Path,
    extra: str,
) -> str:
    """The TOML of a proxy on ``port``: each role is named as its policy."""
    roles = "".join(f'{role} = "{role}"\n' for role in tokens)
    entries = "".join(
        "[[auth.token]]\n"
        f'sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n'
        f'subject = "{role}-client"\nrole = "{role}"\nproject = "{PROJECT}"\n'
        f"claims = {_inline(claims.get(role, {}))}\n"
        for role, token in tokens.items()
    )
    return (
        f'[server]\nport = {port}\npublic-url = "http://127.0.0.1:{port}/fhir"\n'
        f'[upstream]\nurl = "{upstream}"\n'
        f'{entries}[roles]\n{roles}[policies]\ndirectory = "{policies}"\n{extra}'
    )


def _inline(claims: Mapping[str, object]) -> str:
    """A TOML table on one line; JSON's texts and arrays are TOML's, too."""
    return "{" + ", ".join(f"{name} = {json.dumps(value)}" for name, value in claims.items()) + "}"


@contextmanager
def running(
    upstream: str,
    folder: Path,
    port: int,
    *,
    roles: Iterable[str] = ROLES,
    claims: Claims | None = None,
    policies: Path = POLICIES,
    extra: str = "",
) -> Iterator[Gateway]:
    """A proxy in front of ``upstream`` for the time of the block; ``claims``: those of each role's
    token; ``extra``: more TOML tables.

    Raises ``AssertionError`` with the end of its log if it does not start.
    """
    tokens = {role: f"{role}-{os.urandom(12).hex()}" for role in roles}
    ring = KeyRing.new(os.urandom(32), os.urandom(32), date.today())
    keys = folder / "keys.json"
    keys.touch(0o600)
    keys.write_bytes(ring.write())
    file, log = folder / "config.toml", folder / "proxy.log"
    file.write_text(configuration(upstream, port, tokens, claims or {}, policies, extra))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ECR_PROXY_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "serve", "--config", str(file)],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    base = f"http://127.0.0.1:{port}/fhir"
    try:
        wait_until_ready(process, base, log)
        yield Gateway(base, tokens, Namers(ring), folder / "audit.ndjson", log, claims or {})
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], base: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{base}/metadata", timeout=30):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"the proxy did not start:\n{log.read_text()[-3000:]}")
