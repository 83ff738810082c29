"""What a document's Composition reaches, as stored and as shown (R4, documents.html#content)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

Edges = Mapping[int, Collection[int]]


def find_lost(stored: Edges, shown: Edges, first: int) -> set[int]:
    """Entries, by index, that ``first`` reaches by the ``stored`` links and not by those that are
    ``shown``, once all that is lost is gone with its own links.

    A document may hold what refers to its entries and is referred to by none: it is lost with the
    last entry that joins it to the Composition, in whichever direction a link is read.
    """
    forward, either_way = reach(first, stored), reach(first, _both_ways(stored))
    lost: set[int] = set()
    while True:
        left = {start: set(ends) - lost for start, ends in shown.items() if start not in lost}
        more = forward - reach(first, left)
        more |= either_way - reach(first, _both_ways(left))
        if more <= lost:
            return lost
        lost |= more


def reach(first: int, edges: Edges) -> set[int]:
    """All that the links lead to from ``first``, itself too."""
    reached, waiting = {first}, [first]
    while waiting:
        for index in edges.get(waiting.pop(), ()):
            if index not in reached:
                reached.add(index)
                waiting.append(index)
    return reached


def join(names: Iterable[str], entries: Mapping[str, Collection[int]]) -> set[int]:
    """The entries, by index, that have one of the names."""
    return {index for name in names for index in entries.get(name, ())}


def _both_ways(edges: Edges) -> dict[int, set[int]]:
    both = {start: set(ends) for start, ends in edges.items()}
    for start, ends in edges.items():
        for end in ends:
            both.setdefault(end, set()).add(start)
    return both
