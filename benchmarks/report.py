"""How a benchmark is timed and told: rounds, ratios, goals."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured. ``rounds``: how often each thing is timed. ``small``: a few resources
    and requests, to see that everything runs; the numbers then mean nothing."""

    rounds: int = 15
    small: bool = False

    def of(self, number: int, few: int) -> int:
        """``number``, or ``few`` if little is to be measured."""
        return few if self.small else number


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


def seconds(work: Work) -> float:
    """CPU seconds of one call: what else runs on the machine counts as little as can be."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def fastest(works: Sequence[Sequence[Work]], rounds: int) -> list[float]:
    """CPU seconds of each work, a work being the list of its parts.

    Every part is run ``rounds`` times, in turn with the same part of the other works, and its
    fastest round counts: what else the machine does can only make a round slower. One round before
    is not counted: it fills caches and compiles what is compiled on first use.
    """
    gc.collect()
    gc.freeze()  # what is held meanwhile is no work of theirs
    best = [[float("inf")] * len(parts) for parts in works]
    for turn in range(rounds + 1):
        for index in range(len(works[0])):
            for parts, known in zip(works, best, strict=True):
                spent = seconds(parts[index])
                if turn:
                    known[index] = min(known[index], spent)
    return [sum(known) for known in best]


def middle(times: Sequence[float]) -> float:
    """The median in milliseconds."""
    return statistics.median(times) * 1e3


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
