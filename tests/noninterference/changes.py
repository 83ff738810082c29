"""Hidden changes made at random: leaves of stored resources that a view does not show.

Nothing here knows what a policy hides: a change is proposed at any leaf, and kept if the view shows
the same with it.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from proxy.demo.markers import Leaf, Place, leaves, marker
from proxy.fhir.codec import Fragment, Json, JsonObject, encode

DATES = frozenset({"date", "dateTime", "instant"})
GONE = object()  # in place of a value: the leaf is not there
MOST = 40  # leaves changed in one resource
_FEW = ("036", "059", "102", "203", "821", "878")  # areas of so few people that none shows
OLDEST_BORN = 1934  # who was born up to this year is 90 or more, whatever the day

# The kind of change by a member of the leaf's path; the first that is there decides.
_BY_MEMBER: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"div"}), "narrative"),
    (frozenset({"extension", "modifierExtension"}), "extension"),
    (frozenset({"telecom"}), "telecom"),
    (frozenset({"postalCode", "city", "district", "position"}), "place"),
    (frozenset({"address", "line"}), "street"),
    (frozenset({"identifier", "masterIdentifier"}), "identifier"),
    (frozenset({"name", "family", "given"}), "name"),
    (frozenset({"display", "text", "title", "note", "description"}), "text"),
)
# Every kind, in the order of the table that is printed.
KINDS = (
    "name", "identifier", "telecom", "street", "place", "narrative", "text", "extension", "date",
    "age", "code", "other element",
)  # fmt: skip
FOREIGN, TARGET = "foreign id", "hidden reference"

Show = Callable[[JsonObject], object]
Edit = tuple[Place, Any]


def kind_of(leaf: Leaf) -> str:
    """What a change of the leaf is counted as."""
    parts = leaf.path.split(".")
    last = parts[-1]
    if last in ("id", "fullUrl") or (last == "url" and "entry" in parts):
        return FOREIGN
    if last == "reference":
        return TARGET
    if _is_old(leaf):
        return "age"
    if leaf.type in DATES:
        return "date"
    for members, kind in _BY_MEMBER:
        if not members.isdisjoint(parts):
            return kind
    return "code" if last in ("code", "system") or leaf.type == "code" else "other element"


def _is_old(leaf: Leaf) -> bool:
    """A birth date of somebody of 90 or more, or a number of such years."""
    if leaf.path.rpartition(".")[2] in ("birthDate", "bornDate"):
        return str(leaf.value)[:4] <= str(OLDEST_BORN)
    number = _number(leaf.value)
    return number is not None and 90 <= number <= 120 and "alue" in leaf.path


def _number(value: Json) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    return float(value.contents) if isinstance(value, Fragment) else None


@dataclass(frozen=True, slots=True)
class Changes:
    """Makes hidden changes. ``show``: a stored resource as the role is shown it; None if it is not.
    ``legal``: only what a server stores (no unknown codes, no wrong types)."""

    show: Show
    rng: random.Random
    legal: bool = False

    def change(self, kind: str, resource: JsonObject) -> tuple[JsonObject, JsonObject] | None:
        """Two forms of a resource that show the same and differ in leaves of one kind."""
        found = [x for x in leaves(resource) if x.place != ("id",) and kind_of(x) == kind]
        if self.legal:
            found = [x for x in found if x.type not in ("", "code", "boolean")]
        self.rng.shuffle(found)
        edits: list[Edit] = []
        for leaf in found[:MOST]:
            for value in self._values(leaf):
                edits.append((leaf.place, value))
                break
        edits = self._keep(resource, self._look(resource), edits)
        if not edits:
            return None
        half = len(edits) // 2
        first, second = apply(resource, edits[:half]), apply(resource, edits[half:])
        return (first, second) if encode(first) != encode(second) else None

    def _look(self, resource: JsonObject) -> bytes:
        shown = self.show(resource)
        return encode(shown) if isinstance(shown, dict) else b""

    def _keep(self, resource: JsonObject, expected: bytes, edits: Sequence[Edit]) -> list[Edit]:
        """Those edits that show nothing, each half by itself and all together."""
        if not edits:
            return []
        if self._look(apply(resource, edits)) == expected:
            return list(edits)
        if len(edits) == 1:
            return []
        half = len(edits) // 2
        kept = self._keep(resource, expected, edits[:half])
        more = self._keep(resource, expected, edits[half:])
        if kept and more and self._look(apply(resource, [*kept, *more])) == expected:
            return [*kept, *more]
        return kept or more

    def _values(self, leaf: Leaf) -> Iterator[Any]:
        """Another value for a leaf, legal for its type where that is possible."""
        rng, value = self.rng, leaf.value
        if isinstance(value, bool):
            yield not value
        elif isinstance(value, str) and leaf.type in DATES and value[:4].isdigit():
            yield self._date(leaf, value)
        elif (number := _number(value)) is not None:
            other = rng.randint(90, 118) if number >= 90 else rng.randint(0, 60)
            yield Fragment(f"{other}.5") if isinstance(value, Fragment) else other
        elif isinstance(value, str) and leaf.path.endswith(".postalCode") and len(value) >= 5:
            area = rng.choice(_FEW) if value[:3] in _FEW else value[:3]
            yield f"{area}{rng.randint(0, 99):02}{value[5:]}"
        elif isinstance(value, str) and leaf.path.endswith(".reference"):
            yield _other_target(value, rng)
        elif not self.legal and rng.random() < 0.1 and isinstance(leaf.place[-1], str):
            yield GONE
        else:
            made = marker(replace(leaf, number=rng.randint(1, 90_000)))
            if made is not None and made != value:
                yield made

    def _date(self, leaf: Leaf, value: str) -> str:
        """Another day of the same year, at times of another year."""
        rng = self.rng
        year, rest = value[:4], value[10:]
        if kind_of(leaf) == "age":
            year = str(rng.randint(1908, OLDEST_BORN - 1))
        elif rng.random() < 0.2:
            year = str(int(year) + rng.choice((-3, -1, 1)))
        day = f"{year}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        if rng.random() < 0.4:  # where a search that is widened by a day ends
            day = f"{year}-{rng.choice(('01-01', '12-31'))}"
        return day[: len(value)] if len(value) < 10 else day + rest


def _other_target(value: str, rng: random.Random) -> str:
    """Another id at the same place and of the same type."""
    if value.startswith(("#", "urn:")):
        return value
    head, slash, _ = value.rpartition("/")
    return f"{head}{slash}other-{rng.randint(1, 90_000)}"


def apply(resource: JsonObject, edits: Sequence[Edit]) -> JsonObject:
    """A copy with other values; what no edit reaches is shared with the original."""
    made: dict[str, Any] = dict(resource)
    fresh: dict[Place, Any] = {(): made}
    for place, value in edits:
        for depth in range(1, len(place)):
            here = place[:depth]
            if here not in fresh:
                fresh[here] = copy.copy(fresh[here[:-1]][here[-1]])
                fresh[here[:-1]][here[-1]] = fresh[here]
        at = fresh[place[:-1]]
        if value is not GONE:
            at[place[-1]] = value
        elif len(at) > 1:
            at.pop(place[-1], None)
    return made
