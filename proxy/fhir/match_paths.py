"""What a search parameter reads: its FHIRPath expression as tables of paths.

Unions, casts, choice types, ``where(member = 'literal')``, ``where(resolve() is T)`` and ``[0]``
are understood; anything else is :class:`NotUnderstood`, and the parameter counts as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from proxy.fhir.fhirpath import is_a
from proxy.fhir.fhirpath_syntax import FhirPathError, Node, parse
from proxy.fhir.r4 import TYPES
from proxy.fhir.structure import RESOURCES, properties


class NotUnderstood(ValueError):
    """An expression that is not a union of paths."""


@dataclass(frozen=True, slots=True)
class Step:
    """One JSON property on a path. ``equals``: (member, text) pairs that the element must have;
    ``first``: of several elements only the first counts."""

    name: str
    equals: tuple[tuple[str, str], ...] = ()
    first: bool = False


@dataclass(frozen=True, slots=True)
class Track:
    """One path without choices, from a type to values of one type.

    ``root``: the type it starts from. ``type``: type code or backbone path of what it ends at.
    ``targets``: the only types that a reference may point to, all if empty. ``chosen``: the last
    step is one branch of a choice that the expression names as a whole.
    """

    root: str
    steps: tuple[Step, ...]
    type: str
    targets: tuple[str, ...] = ()
    chosen: bool = False

    @property
    def path(self) -> str:
        """Canonical: ``Observation.valueQuantity``."""
        return ".".join((self.root, *(s.name for s in self.steps)))

    @property
    def conditions(self) -> tuple[tuple[str, str], ...]:
        """(canonical path, text) of every member that a ``where`` compares."""
        found, path = [], self.root
        for step in self.steps:
            path += "." + step.name
            found += [(f"{path}.{member}", text) for member, text in step.equals]
        return tuple(found)


def compile_tracks(expression: str, base: str) -> tuple[Track, ...]:
    """The tracks of an expression for one base: a resource type, or (for the components of a
    composite) the type of the element that it is relative to.

    Parts of a union that start from another resource type are left out. Raises
    :class:`NotUnderstood`.
    """
    try:
        root = parse(expression, resolve=True).root
    except FhirPathError as error:
        raise NotUnderstood(str(error)) from error
    tracks = tuple(dict.fromkeys(_tracks(root, base)))
    if not tracks:
        raise NotUnderstood("no part of the expression is about this type")
    return tracks


def boolean_paths(expression: str, base: str) -> tuple[Track, ...] | None:
    """The paths that a boolean expression reads; None if the expression is not boolean logic."""
    try:
        root = parse(expression).root
    except FhirPathError:
        return None
    if root.kind != "operator" or root.name not in ("and", "or"):
        return None
    found: dict[Track, None] = {}
    for leaf in _leaves(root):
        found.update(dict.fromkeys(_tracks(leaf, base)))
    return tuple(found)


def _leaves(node: Node) -> list[Node]:
    if node.kind == "operator":
        return [leaf for child in node.children for leaf in _leaves(child)]
    if node.kind == "call" and node.name in ("exists", "empty", "not") and len(node.children) == 1:
        return _leaves(node.children[0])
    return [] if node.kind == "literal" else [node]


def _tracks(node: Node, base: str) -> list[Track]:
    if node.kind == "this":
        return [Track(base, (), base)]
    if node.kind == "operator" and node.name == "|":
        return [track for child in node.children for track in _tracks(child, base)]
    if node.kind == "member":
        if node.children[0].kind == "this" and node.name in TYPES and node.name[0].isupper():
            return [Track(base, (), base)] if is_a(base, node.name) else []
        return _members(node.name, _tracks(node.children[0], base))
    if node.kind == "index" and node.children[1].value == 0:
        return [_last(t, first=True) for t in _tracks(node.children[0], base)]
    if node.kind == "call" and node.name in ("as", "ofType"):
        return _cast(node.children[1].name, _tracks(node.children[0], base))
    if node.kind == "call" and node.name == "where":
        return _where(node.children[1], _tracks(node.children[0], base))
    raise NotUnderstood(f"{node.kind} {node.name}")


def _members(name: str, tracks: list[Track]) -> list[Track]:
    found = []
    for track in tracks:
        if track.type in TYPES and track.type in RESOURCES and track.steps:
            raise NotUnderstood("goes into another resource")
        for json_name, prop in properties(track.type).items():
            stem = prop.element.name.removesuffix("[x]")
            if name in (json_name, stem):
                steps = (*track.steps, Step(json_name))
                chosen = name != json_name
                found.append(replace(track, steps=steps, type=prop.type, chosen=chosen))
    if tracks and not found:
        raise NotUnderstood(f"no element {name}")
    return found


def _last(track: Track, *, first: bool = False, equals: tuple[str, str] | None = None) -> Track:
    if not track.steps:
        raise NotUnderstood("a condition on the resource itself")
    step = track.steps[-1]
    step = Step(step.name, step.equals + ((equals,) if equals else ()), step.first or first)
    return replace(track, steps=(*track.steps[:-1], step))


def _cast(name: str, tracks: list[Track]) -> list[Track]:
    # R4 spells the cast of code-value-date `as(DateTime)`; the type is dateTime.
    target = name if name in TYPES else name[:1].lower() + name[1:]
    if target not in TYPES:
        raise NotUnderstood(f"no type {name}")
    found = [replace(t, chosen=False) for t in tracks if is_a(t.type, target)]
    if tracks and not found:
        raise NotUnderstood(f"nothing is a {name}")
    return found


def _where(criterion: Node, tracks: list[Track]) -> list[Track]:
    left, *right = criterion.children or (criterion,)
    if criterion.kind == "call" and criterion.name == "is" and _is_resolve(left):
        return [replace(t, targets=(right[0].name,)) for t in tracks if t.type == "Reference"]
    if (
        criterion.kind == "operator"
        and criterion.name == "="
        and left.kind == "member"
        and left.children[0].kind == "this"
        and right[0].kind == "literal"
        and isinstance(right[0].value, str)
    ):
        for track in tracks:
            if left.name not in properties(track.type):
                raise NotUnderstood(f"no element {left.name}")
        return [_last(t, equals=(left.name, right[0].value)) for t in tracks]
    raise NotUnderstood("a criterion that is no comparison with a text")


def _is_resolve(node: Node) -> bool:
    return node.kind == "call" and node.name == "resolve" and node.children[0].kind == "this"
