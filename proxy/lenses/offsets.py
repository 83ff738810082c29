"""One offset in days a person, from a key: the same for ever, and no hint at the person."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Final

_BITS: Final = 256  # of one HMAC-SHA-256


def offset_of(key: bytes, person: str, low: int, high: int) -> int:
    """The days, from ``low`` to ``high``, both included, by which the dates of ``person`` move.

    HMAC-SHA-256 under ``key`` of a counter (4 bytes, from 0) and the person's name; the first
    value that is no remainder is taken modulo the number of days, so that all are equally likely.
    """
    return low + choose(_values(key, person), 1 << _BITS, high - low + 1)


def choose(values: Iterable[int], bound: int, among: int) -> int:
    """One of ``0 … among - 1`` without bias, from uniform ``values`` below ``bound``: those that
    would make the first ones more likely are passed over."""
    even = bound - bound % among
    return next(value for value in values if value < even) % among


def _values(key: bytes, person: str) -> Iterator[int]:
    name = person.encode("utf-8", "surrogatepass")
    for number in count():
        yield int.from_bytes(hmac.digest(key, number.to_bytes(4, "big") + name, "sha256"), "big")
