"""R-ID-8, R-CF-1 and R-CF-4 as an operator meets them: a start that is refused, and why."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.lenses.keys import KeyRing
from tests.conftest import REPOSITORY, free_port

DIGEST = hashlib.sha256(b"a long random token").hexdigest()
Change = Callable[[Path], None]


def write(folder: Path) -> None:
    """A good configuration with everything it names."""
    keys = folder / "keys.json"
    keys.touch(0o600)
    today = datetime.now(UTC).date()
    keys.write_bytes(KeyRing.new(secrets.token_bytes(32), secrets.token_bytes(32), today).write())
    (folder / "config.toml").write_text(
        f"""
[server]
port = {free_port()}
[upstream]
url = "http://127.0.0.1:9/fhir"
[auth]
[[auth.token]]
sha256 = "{DIGEST}"
subject = "pipeline"
role = "researcher"
[roles]
researcher = "researcher-deidentified"
[policies]
directory = "{REPOSITORY / "policies"}"
[limits]
"""
    )


def line(section: str, text: str) -> Change:
    """One more line under a section of the configuration."""

    def change(folder: Path) -> None:
        file = folder / "config.toml"
        file.write_text(file.read_text().replace(f"[{section}]\n", f"[{section}]\n{text}\n", 1))

    return change


def swap(old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        file = folder / "config.toml"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    return change


def secret(text: str) -> Change:
    """Another text as the secret of the first master key."""

    def change(folder: Path) -> None:
        ring = json.loads((folder / "keys.json").read_bytes())
        ring["masters"]["1"]["secret"] = text
        (folder / "keys.json").write_text(json.dumps(ring))

    return change


def start(folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """The exit code and all that a start prints; one that does not end is a failure."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ECR_PROXY_")}
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "serve", "--config", str(folder / "config.toml")],
        cwd=REPOSITORY,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


EIGHT = base64.b64encode(b"8charact").decode()
SAMPLE = "sample-secret-sample-secret-sample-secret-00"

REFUSED: list[tuple[str, Change, str]] = [
    ("R-ID-8 empty secret", secret(""), "is missing"),
    ("R-ID-8 eight characters", secret(EIGHT), "is shorter than 32 bytes"),
    ("R-ID-8 sample secret", secret(SAMPLE), "is a sample"),
    ("R-ID-8 counted secret", secret(base64.b64encode(bytes(range(32))).decode()), "a pattern"),
    ("R-ID-8 no key file", lambda f: (f / "keys.json").unlink(), "does not exist"),
    ("R-ID-8 empty key file", lambda f: os.truncate(f / "keys.json", 0), "is empty"),
    ("R-ID-8 open key file", lambda f: (f / "keys.json").chmod(0o644), "chmod 600"),
    ("R-ID-8 token of a sample word",
     swap(DIGEST, hashlib.sha256(b"changeme").hexdigest()), "is of a sample"),
    ("R-CF-1 no configuration", lambda f: (f / "config.toml").unlink(), "cannot be read"),
    ("R-CF-1 not parseable", line("server", "port ="), "is not TOML"),
    ("R-CF-1 unknown member", line("limits", "bodi = 1"), "unknown key; write body"),
    ("R-CF-1 wrong type", line("limits", "body = 1"), "must be a size"),
    ("R-CF-1 role without policy",
     swap('"researcher-deidentified"', '"no-such"'), "names no policy"),
    ("R-CF-1 no policies", swap(str(REPOSITORY / "policies"), "/nonexistent"), "/nonexistent"),
    ("R-CF-4 debug mode", line("server", "debug = true"), "unknown key"),
    ("R-CF-4 development token mode", line("auth", "dev-tokens = true"), "unknown key"),
    ("R-CF-4 no verification", line("upstream", "verify = false"), "unknown key"),
    ("R-CF-4 plain http", swap("http://127.0.0.1:9", "http://hapi.example.org"), "is plain http"),
    ("R-CF-4 wildcard CORS", line("server", 'origins = ["*"]'), "no wildcard"),
    ("R-CF-4 symmetric algorithms", line("auth", 'algorithms = ["HS256"]'), "asymmetric"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "why"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_bad_settings_stop_the_start(tmp_path: Path, change: Change, why: str) -> None:
    """R-ID-8, R-CF-1, R-CF-4: the start is refused with the reason, without a traceback, and no
    secret is printed."""
    write(tmp_path)
    ring = json.loads((tmp_path / "keys.json").read_bytes())
    change(tmp_path)
    code, printed = start(tmp_path, {})
    assert code == 1
    assert why in printed
    assert "Traceback" not in printed
    good = (ring["service"]["secret"], ring["masters"]["1"]["secret"])
    assert not [text for text in (*good, EIGHT, SAMPLE) if text in printed]


@pytest.mark.parametrize("name", ["ECR_PROXY_DEBUG", "ECR_PROXY_UPSTREAM_VERIFY"])
def test_r_cf_4_no_switch_in_the_environment(tmp_path: Path, name: str) -> None:
    """R-CF-4: a variable of ours that means nothing stops the start too."""
    write(tmp_path)
    code, printed = start(tmp_path, {name: "1"})
    assert code == 1
    assert f"variable {name} is unknown" in printed
