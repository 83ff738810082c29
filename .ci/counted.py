"""Fail unless a JUnit report shows that tests ran and none was skipped.

Usage: ``python .ci/counted.py REPORT``. The report is written by pytest itself.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path


def main(report: Path) -> int:
    if not report.is_file():
        print("no report: the suite did not run")
        return 1
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    counts = {"tests": 0, "skipped": 0, "failures": 0, "errors": 0}
    for suite in suites:
        for key in counts:
            counts[key] += int(suite.get(key, "0"))
    print(", ".join(f"{value} {key}" for key, value in counts.items()))
    return 0 if counts["tests"] and not any(list(counts.values())[1:]) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
