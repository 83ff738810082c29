"""Which code systems ``[codes]`` lists.

An entry is a code system with what belongs to it, and no more: ``http://loinc.org`` is also
``http://loinc.org/vs``, and is not ``http://loinc.org.example``, which is somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

_REMEMBERED = 1024  # systems; an entry admits any number of them

# An entry that ends so is the beginning of systems, whatever follows.
_OPEN = ("/", ".", ":", "-")
# What continues a system and stays in it: an arc of an OID, a part of another urn (RFC 8141), and
# a path, query or fragment of a URL or the version of a canonical.
_AFTER = (("urn:oid:", "."), ("urn:", ":"), ("", "/?#|"))


@lru_cache(maxsize=256)
def listing(entries: tuple[str, ...]) -> Callable[[str], bool]:
    """The function that tells whether a system is under one of the entries of ``[codes]``."""
    whole = frozenset(entries)
    beginnings = tuple(b for entry in entries for b in _beginnings(entry))

    # Systems are few and entries many: what was asked is remembered.
    @lru_cache(maxsize=_REMEMBERED)
    def is_listed(system: str) -> bool:
        return system in whole or system.startswith(beginnings)

    return is_listed


def is_listed(system: str, entries: tuple[str, ...]) -> bool:
    """Whether a system is under one of the entries of ``[codes]``."""
    return listing(entries)(system)


def _beginnings(entry: str) -> tuple[str, ...]:
    if entry.endswith(_OPEN):
        return (entry,)
    after = next(marks for start, marks in _AFTER if entry.startswith(start))
    return tuple(entry + mark for mark in after)
