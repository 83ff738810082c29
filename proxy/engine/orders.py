"""The orders that sorted searches were given, kept for their following pages.

Only names of rows that the caller was shown, in memory, a bounded number for a bounded time. What
is not here is walked again, so that any replica can go on with any page.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from threading import Lock
from typing import TypeAlias

Order: TypeAlias = tuple[str, ...]  # names of rows upstream, Type/id; of malformed ones a number

_MOST = 200_000  # names kept, over all searches


class Orders:
    """Orders by the name of their search (caller, view and query). Safe between threads."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._held: OrderedDict[bytes, tuple[datetime, Order]] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def remember(self, search: bytes, order: Order, until: datetime) -> None:
        """Keep ``order`` until then; the oldest ones go where there are too many."""
        with self._lock:
            self._forget(search)
            self._held[search] = until, order
            self._size += len(order)
            while self._size > self._most:
                self._forget(next(iter(self._held)))

    def recall(self, search: bytes, now: datetime) -> Order | None:
        """The order, None if there is none any more."""
        with self._lock:
            found = self._held.get(search)
            if found is None:
                return None
            if found[0] < now:
                self._forget(search)
                return None
            self._held.move_to_end(search)
            return found[1]

    def _forget(self, search: bytes) -> None:
        found = self._held.pop(search, None)
        if found is not None:
            self._size -= len(found[1])
