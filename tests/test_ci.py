"""What CI believes of a test report: only what was run counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SUITE = '<testsuites><testsuite tests="{}" skipped="{}" failures="{}" errors="{}"/></testsuites>'


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (SUITE.format(12, 0, 0, 0), 0),
        (SUITE.format(0, 0, 0, 0), 1),
        (SUITE.format(12, 1, 0, 0), 1),
        (SUITE.format(12, 0, 1, 0), 1),
        (SUITE.format(12, 0, 0, 1), 1),
        (None, 1),
    ],
    ids=["all ran", "none ran", "one skipped", "one failed", "one broke", "no report"],
)
def test_a_report_counts_only_if_all_ran(tmp_path: Path, report: str | None, code: int) -> None:
    """No report, no tests, or a skipped, failed or broken one: CI fails."""
    file = tmp_path / "report.xml"
    if report is not None:
        file.write_text(report)
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / ".ci" / "counted.py"), str(file)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == code


def test_the_script_is_sound_bash() -> None:
    """.ci/run parses, and stops what it started however it ends."""
    script = REPOSITORY / ".ci" / "run"
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "trap stop_hapi EXIT" in script.read_text()
