"""How long the proxy takes until it can answer: imports, the shipped policies, their verdicts.

Measured in new processes, as installed: the bytecode is there already.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from benchmarks.engine import POLICIES
from benchmarks.report import Effort, Goal

CODE = f"""
import time
import proxy.app
from pathlib import Path
from proxy.policy.compile import compile_view
from proxy.policy.load import load_directory
from proxy.policy.verdicts import compute_verdicts
imported = time.process_time()
for policy in load_directory(Path({str(POLICIES)!r})).values():
    compute_verdicts(compile_view(policy))
print(imported, time.process_time())
"""


def measure(effort: Effort) -> list[Goal]:
    """Print the CPU seconds of a start; give its goal."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment["PYTHONPYCACHEPREFIX"] = folder
        told = [
            subprocess.run(
                [sys.executable, "-c", CODE],
                cwd=POLICIES.parent,
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            ).stdout.split()
            for _ in range(effort.of(4, 2))
        ][1:]  # the first writes the bytecode
    imports, whole = min(((float(a), float(b)) for a, b in told), key=lambda pair: pair[1])
    print(f"\nStart: imports {imports:.2f} s, with all shipped policies {whole:.2f} s of CPU")
    return [Goal("start with all shipped policies", whole, 2, True, "s")]
