"""A circuit breaker: an upstream that does not answer is left alone for a while."""

from __future__ import annotations

from math import ceil
from typing import Final

FAILURES: Final = 10  # in a row, with no success between
PAUSE: Final = 5.0  # seconds


class Breaker:
    """Counts failures in a row. After :data:`FAILURES` it refuses for :data:`PAUSE` seconds, then
    lets one request through: its success closes the breaker, its failure starts another pause.

    What counts is that nothing usable came for reasons of the connection or load; an error in the
    upstream's answer to one request does not, or a caller could cut off the others with it.
    """

    def __init__(self, failures: int = FAILURES, pause: float = PAUSE) -> None:
        self._limit = failures
        self._pause = pause
        self._failures = 0
        self._until = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether requests are refused until a probe succeeds."""
        return self._failures >= self._limit

    def closed_for(self, now: float) -> int:
        """Seconds (rounded up) for which a request is refused at ``now``; 0: it may go."""
        if not self.open:
            return 0
        if now < self._until or self._probing:
            return max(1, ceil(self._until - now))
        self._probing = True
        return 0

    def note(self, failed: bool, now: float) -> None:
        """A request has ended, at ``now``."""
        self._probing = False
        if not failed:
            self._failures = 0
        else:
            self._failures += 1
            if self.open:
                self._until = now + self._pause

    def release(self) -> None:
        """A request was cancelled: it says nothing about the upstream."""
        self._probing = False
