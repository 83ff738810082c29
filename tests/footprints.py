"""What comes out of a view, leaf by leaf: a marker is planted at one leaf, the whole document is
revealed, and the two outputs are compared.

``shown``: the marker itself is in the output. ``changed``: the output differs, without the marker
(a pseudonym, a year, a mask, an entry that goes). Everything else is hidden: whatever stands
there, the output is the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from proxy.demo.generator import cases
from proxy.demo.markers import Leaf, Place, leaves, marker
from proxy.fhir.codec import Fragment, Json, JsonObject, decode, encode
from tests.views import UPSTREAM, Case

FILES = Path(__file__).parent / "cases" / "footprints"
PLACES = 3  # representatives of one path in one document

Found = dict[str, set[str]]


def documents() -> list[JsonObject]:
    """The documents of three cases (entries by upstream, foreign and urn:uuid names), and single
    resources with what no document has."""
    made = list(cases(3, 5, base=UPSTREAM))
    found = [b for case in made for b in case.bundles]
    inside = {path for b in found for path in paths(b)}
    for case in made:
        for resource in case.resources:
            if not paths(resource) <= inside:
                inside |= paths(resource)
                found.append(resource)
    return found


def paths(resource: JsonObject) -> set[str]:
    """The leaf paths of a resource."""
    return {name_path(resource, leaf) for leaf in leaves(resource)}


def footprint(policy: str, held: Iterable[JsonObject] | None = None) -> Found:
    """For every leaf path of the generated documents, or of ``held``, what its markers did."""
    case = Case(policy)
    found: Found = defaultdict(set)
    for document in documents() if held is None else held:
        resource: Any = decode(encode(document))
        plain = encode(case.reveal(resource))
        for path, leaf in representatives(resource):
            made = not leaf.value if isinstance(leaf.value, bool) else marker(leaf)
            if made is None:
                continue
            stored = swap(resource, leaf.place, made)
            shown = encode(case.reveal(resource))
            swap(resource, leaf.place, stored)
            if shown == plain:
                found[path].add("hidden")
            elif isinstance(made, bool) or text_of(made) in shown:
                found[path].add("shown")
            else:
                found[path].add("changed")
    return dict(found)


def representatives(resource: JsonObject) -> Iterator[tuple[str, Leaf]]:
    """Up to ``PLACES`` leaves of every path, spread over the document."""
    by_path: dict[str, list[Leaf]] = defaultdict(list)
    for leaf in leaves(resource):
        by_path[name_path(resource, leaf)].append(leaf)
    for path, found in by_path.items():
        step = max(1, len(found) // PLACES)
        for leaf in found[::step][:PLACES]:
            yield path, leaf


def name_path(resource: Json, leaf: Leaf) -> str:
    """The leaf's path with the URLs of the extensions on its way, shortened to their last part."""
    path, at = "", resource
    for key in leaf.place:
        at = at[key]  # type: ignore[index]
        if isinstance(key, str):
            path += f".{key}"
        if isinstance(at, dict) and isinstance(at.get("resourceType"), str):
            path = str(at["resourceType"])
        elif isinstance(at, dict) and isinstance(at.get("url"), str) and "xtension" in path[-12:]:
            path += f"({str(at['url']).rpartition('/')[2]})"
    root = resource.get("resourceType") if isinstance(resource, dict) else ""
    return f"{root}{path}" if path.startswith(".") else path


def swap(resource: Json, place: Place, value: Json) -> Json:
    """Put ``value`` at a place, in place; what stood there."""
    at: Any = resource
    for key in place[:-1]:
        at = at[key]
    stored: Json = at[place[-1]]
    at[place[-1]] = value
    return stored


def text_of(value: Json) -> bytes:
    if isinstance(value, Fragment):
        return value.contents.encode()
    return encode(value).strip(b'"')


def write(found: Found) -> str:
    """The footprint as a reviewed file has it: a line a path, hidden ones left out."""
    lines = []
    for path, kinds in sorted(found.items()):
        out = sorted(kinds - {"hidden"})
        if out:
            lines.append(f"{'/'.join(out)}{'?' if 'hidden' in kinds else ''} {path}")
    return "\n".join(lines) + "\n"


@cache
def reviewed(policy: str) -> dict[str, frozenset[str]]:
    """The reviewed footprint of a policy: what markers may do at each path; any other is hidden."""
    found = {}
    for line in (FILES / f"{policy}.txt").read_text().splitlines():
        kinds, _, path = line.partition(" ")
        hidden = {"hidden"} if kinds.endswith("?") else set()
        found[path] = frozenset({*kinds.rstrip("?").split("/"), *hidden})
    return found
