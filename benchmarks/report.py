"""How a benchmark is timed and told: rounds, ratios, goals."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """One row of "what to reach". ``most``: whether ``bound`` is an upper bound, else a lower."""

    measure: str
    value: float
    bound: float
    most: bool
    unit: str

    @property
    def met(self) -> bool:
        return self.value <= self.bound if self.most else self.value >= self.bound

    def __str__(self) -> str:
        sign = "<=" if self.most else ">="
        verdict = "met   " if self.met else "MISSED"
        return (
            f"{verdict}  {self.measure}: {self.value:.2f} {self.unit} (goal {sign} {self.bound:g})"
        )


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call: what else runs on the machine counts as little as can be."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def side_by_side(works: Sequence[Callable[[], object]], rounds: int) -> list[list[float]]:
    """CPU seconds of each work, ``rounds`` times, taken in turn so that noise meets all alike.

    One round before is not counted: it fills caches and compiles what is compiled on first use.
    """
    gc.collect()
    gc.freeze()  # what is held meanwhile is no work of theirs
    times: list[list[float]] = [[] for _ in works]
    for turn in range(rounds + 1):
        for index, work in enumerate(works):
            spent = seconds(work)
            if turn:
                times[index].append(spent)
    return times


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be, numbers to the right."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [heads, ["-" * width for width in widths], *rows]
    ]
    return "\n".join(lines)
