"""What Compositions reach, as stored and as shown (R4, documents.html#content)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from proxy.policy.model import Policy

Edges = Mapping[int, Collection[int]]

# Of what hides these, nothing but other sections reaches the resources behind.
_SECTIONS = frozenset({("Composition", "section"), ("Composition", "section", "entry")})


def hides_sections(policy: Policy) -> bool:
    """Whether a line can hide a section, or its entries: predicates only show more, so the one
    without decides."""
    return any(
        rule.method.name in ("remove", "mask") and not rule.has_predicate
        for rule in policy.elements
        if tuple(step.name for step in rule.steps) in _SECTIONS
    )


def find_lost(stored: Edges, shown: Edges, first: int) -> set[int]:
    """Entries, by index, that ``first`` reaches by the ``stored`` links and not by those that are
    ``shown``, once all that is lost is gone with its own links.

    A document may hold what refers to its entries and is referred to by none: it is lost with the
    last entry that joins it to the Composition, in whichever direction a link is read.
    """
    forward, either_way = reach((first,), stored), reach((first,), _both_ways(stored))
    lost: set[int] = set()
    while True:
        left = _without(shown, lost)
        more = forward - reach((first,), left)
        more |= either_way - reach((first,), _both_ways(left))
        if more <= lost:
            return lost
        lost |= more


def find_unreached(stored: Edges, shown: Edges, roots: Collection[int]) -> set[int]:
    """Entries, by index, that one of ``roots`` reaches by the ``stored`` links and none by those
    that are ``shown``, and what nothing but these joins to a root, in whichever direction a link
    is read. What no root has to do with is not among them."""
    lost = reach(roots, stored) - reach(roots, shown)
    joined = reach(roots, _both_ways(stored))
    return lost | joined - reach(roots, _both_ways(_without(stored, lost)))


def find_roots(reports: Collection[int], nested: Collection[int], stored: Edges) -> set[int]:
    """Where the links of reports begin: at ``reports``, and at those of ``nested``, Bundles that
    hold some, to which no other of these leads."""
    reached = reach(reports, stored)
    free = {index: reach((index,), stored) for index in nested if index not in reached}
    pointed = {end for ends in stored.values() for end in ends}
    return set(reports) | {
        index
        for index, own in free.items()
        if index not in pointed
        or not any(
            index in other and (start not in own or start < index)
            for start, other in free.items()
            if start != index
        )
    }


def reach(starts: Iterable[int], edges: Edges) -> set[int]:
    """All that the links lead to from ``starts``, themselves too."""
    reached = set(starts)
    waiting = list(reached)
    while waiting:
        for index in edges.get(waiting.pop(), ()):
            if index not in reached:
                reached.add(index)
                waiting.append(index)
    return reached


def join(names: Iterable[str], entries: Mapping[str, Collection[int]]) -> set[int]:
    """The entries, by index, that have one of the names."""
    return {index for name in names for index in entries.get(name, ())}


def _without(edges: Edges, lost: set[int]) -> Edges:
    return {start: set(ends) - lost for start, ends in edges.items() if start not in lost}


def _both_ways(edges: Edges) -> dict[int, set[int]]:
    both = {start: set(ends) for start, ends in edges.items()}
    for start, ends in edges.items():
        for end in ends:
            both.setdefault(end, set()).add(start)
    return both
