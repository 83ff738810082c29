"""The benchmarks run to their end; what they measure is no matter of a test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("engine", ["single resources", "view over parse + write"]),
        ("documents", ["against the smallest", "in a thread", "longest wait"]),
        ("hidden", ["90 %", "us a visible row"]),
        ("start", ["with all shipped policies"]),
        ("wire", ["added ms", "added p50 at 2 KB"]),
        ("search", ["translated years", "include", "deidentified", "50 rows", "of direct"]),
    ],
)
def test_a_small_run_tells_its_tables_and_goals(part: str, told: list[str]) -> None:
    """Each part, over a few resources, prints its tables and the goals, and ends with 0."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--small", "--rounds", "1", "--only", part],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    for text in [*told, "Goals", "goals met"]:
        assert text in run.stdout
