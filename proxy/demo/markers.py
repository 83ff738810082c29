"""Markers: unique values planted at the leaves of a resource, each legal for its datatype.

A test plants them, sends the document through a view, and looks for what came out.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from proxy.demo.build import decimal
from proxy.demo.story import SPACE
from proxy.fhir.codec import Json, JsonObject
from proxy.fhir.structure import RESOURCES, properties

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A primitive value. ``place``: keys and indices from the root. ``path``: names alone, from
    the nearest resource's type (``Patient.name.family``). ``type``: its datatype, empty where R4
    does not define the element. ``number`` counts the leaves of one walk from 0."""

    place: Place
    path: str
    type: str
    value: Json
    number: int


# Gives the value to plant at a leaf, or None to leave it as it is.
Maker = Callable[[Leaf], Json]


@dataclass(frozen=True, slots=True)
class Planted:
    """A resource with markers. ``markers``: what was planted, by place."""

    resource: JsonObject
    markers: Mapping[Place, Json] = field(default_factory=dict)


def leaves(resource: JsonObject) -> Iterator[Leaf]:
    """Every primitive value of ``resource`` and of the resources inside it, in order.

    ``resourceType`` is not one: it is the type's name, not a value.
    """
    found: list[tuple[Place, str, str, Json]] = []
    _walk(resource, (), "", "", found)
    for number, (place, path, type, value) in enumerate(found):
        yield Leaf(place, path, type, value, number)


def _walk(
    value: Json, place: Place, path: str, type: str, found: list[tuple[Place, str, str, Json]]
) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _walk(item, (*place, index), path, type, found)
    elif isinstance(value, dict):
        named = value.get("resourceType")
        if isinstance(named, str) and named in RESOURCES:
            path = type = named
        known = properties(type) if type else {}
        for key, item in value.items():
            if key == "resourceType":
                continue
            property = known.get(key)
            inner = property.type if property else ("Element" if key.startswith("_") else "")
            _walk(item, (*place, key), f"{path}.{key}", inner, found)
    elif value is not None:
        found.append((place, path, type, value))


def _word(number: int) -> str:
    return f"zq{number:05d}marker"


def _day(number: int) -> str:
    # Days to come: no date of a case lies there.
    return (date(2031, 1, 1) + timedelta(days=number)).isoformat()


def _moment(number: int) -> str:
    at = datetime(2031, 1, 1, 4, 5, 6, 17000, UTC) + timedelta(days=number)
    return at.isoformat(timespec="milliseconds")


def _time(number: int) -> str:
    return (datetime(2031, 1, 1) + timedelta(seconds=number)).time().isoformat()


# How to mark a value of each primitive type. A boolean has only two values and takes no marker.
_MAKERS: dict[str, Callable[[int], Json]] = {
    "base64Binary": lambda n: base64.b64encode(_word(n).encode()).decode(),
    "canonical": lambda n: f"http://{_word(n)}.example.net/canonical|1",
    "code": _word,
    "date": _day,
    "dateTime": _moment,
    "decimal": lambda n: decimal(f"{7_390_000 + n}.25"),
    "id": lambda n: f"zq{n:05d}.marker",
    "instant": _moment,
    "integer": lambda n: 73_900_000 + n,
    "markdown": lambda n: f"*{_word(n)}*",
    "oid": lambda n: f"urn:oid:2.999.739.{n + 1}",
    "positiveInt": lambda n: 73_900_000 + n,
    "string": _word,
    "time": _time,
    "unsignedInt": lambda n: 73_900_000 + n,
    "uri": lambda n: f"urn:{_word(n)}:a",
    "url": lambda n: f"https://{_word(n)}.example.net/a",
    "uuid": lambda n: f"urn:uuid:{uuid.uuid5(SPACE, _word(n))}",
    "xhtml": lambda n: f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{_word(n)}</p></div>',
}


def marker(leaf: Leaf) -> Json:
    """The marker of a leaf: unique by its number, legal for its type (though a code is none of
    its value set). None for a boolean and for what R4 does not define."""
    make = _MAKERS.get(leaf.type)
    if leaf.type == "code" and leaf.path.endswith(".language"):
        return f"zq-{leaf.number:05d}m"  # in the form of BCP 47
    return make(leaf.number) if make else None


def structural(leaf: Leaf) -> bool:
    """Whether the document hangs together by this leaf (type, id, full URL, reference, the code
    of a section or of a document, an extension's URL): with a marker there, other values are no
    longer reached, so that it says nothing about them."""
    last = leaf.path.rpartition(".")[2]
    if last in ("id", "fullUrl", "reference"):
        return True
    if leaf.path in ("Bundle.type", "Composition.status"):
        return True
    if last == "url" and leaf.place[-3:-2] in (("extension",), ("modifierExtension",)):
        return True
    return ".code.coding." in leaf.path and leaf.path.startswith("Composition.section")


def plant(
    resource: JsonObject, maker: Maker = marker, *, only: Place | None = None
) -> Planted:
    """A copy of ``resource`` with markers: at the place ``only``, or, without it, at every leaf
    by which the document does not hang together (:func:`structural`).

    Where ``maker`` gives None the value stays. A marked Resource.id is not followed by the
    references to it.
    """
    markers: dict[Place, Json] = {}
    for leaf in leaves(resource):
        if leaf.place == only if only is not None else not structural(leaf):
            made = maker(leaf)
            if made is not None:
                markers[leaf.place] = made
    copied = _copy(resource, (), markers)
    return Planted(copied if isinstance(copied, dict) else {}, markers)


def each(resource: JsonObject, maker: Maker = marker) -> Iterator[tuple[Leaf, Planted]]:
    """``resource`` again and again, a marker at one leaf at a time."""
    for leaf in leaves(resource):
        made = maker(leaf)
        if made is not None:
            copied = _copy(resource, (), {leaf.place: made})
            if isinstance(copied, dict):
                yield leaf, Planted(copied, {leaf.place: made})


def _copy(value: Json, place: Place, markers: Mapping[Place, Json]) -> Json:
    if isinstance(value, dict):
        return {k: _copy(v, (*place, k), markers) for k, v in value.items()}
    if isinstance(value, list):
        return [_copy(v, (*place, i), markers) for i, v in enumerate(value)]
    return markers.get(place, value)


