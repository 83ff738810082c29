"""Run the benchmarks; end with the goals met or missed.

``--rounds N``: how often each thing is timed (default 15). ``--only PART``: engine, documents,
hidden, start, wire or search. ``--small``: a few resources and requests, to see that everything
runs. ``--strict``: exit 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence

from benchmarks import documents, engine, hidden, search, start, wire
from benchmarks.report import Effort, Goal

PARTS = {
    "engine": engine.measure,
    "documents": documents.measure,
    "hidden": hidden.measure,
    "start": start.measure,
    "wire": wire.measure,
    "search": search.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=sorted(PARTS))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--strict", action="store_true")
    options = parser.parse_args(arguments)
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores; only ratios of one run count"
    )
    goals: list[Goal] = []
    for name, measure in PARTS.items():
        if options.only in (None, name):
            goals += measure(Effort(options.rounds, options.small))
    print("\nGoals")
    for goal in goals:
        print(f"  {goal}")
    missed = sum(not goal.met for goal in goals)
    print(f"\n{len(goals) - missed} of {len(goals)} goals met")
    return 1 if missed and options.strict else 0


if __name__ == "__main__":
    sys.exit(main())
