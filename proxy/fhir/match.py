"""What a search parameter reads of a resource, and whether the resource satisfies it.

Expressions are compiled once into tracks (:mod:`proxy.fhir.match_paths`); a parameter that is not
fully understood has None for its paths, cannot be judged, and is listed in
``not-understood.csv`` beside this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from proxy.errors import BadValue, NotSupported
from proxy.fhir import match_elements as elements
from proxy.fhir import match_values as values
from proxy.fhir import registry
from proxy.fhir.fhirpath import predicate
from proxy.fhir.match_order import KEYS, SortKey
from proxy.fhir.match_paths import NotUnderstood, Track, boolean_paths, compile_tracks
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.reference import normalise_base, parse_reference
from proxy.fhir.search import split
from proxy.fhir.structure import RESOURCES

_Look: TypeAlias = "Callable[[Mapping[str, Any], Track], Iterator[Any]]"


@dataclass(frozen=True, slots=True)
class ReadPath:
    """One element that a parameter reads.

    ``path``: canonical, choices spelled out (``Observation.valueQuantity``). ``type``: its type
    code. ``search_type``: how it is compared (a composite's component has its own), ``presence``
    where only its being there counts. ``targets``: from ``resolve() is T``. ``conditions``:
    (canonical path, text) of members that a ``where`` reads too (``Patient.telecom.system``).
    """

    path: str
    type: str
    search_type: str
    targets: tuple[str, ...] = ()
    conditions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Compiled:
    """``tracks`` of the values; of a composite, of its groups, with the ``parts`` below them;
    ``truth`` evaluates a parameter whose expression is boolean logic."""

    search_type: str
    tracks: tuple[Track, ...]
    parts: tuple[tuple[SearchParameter, Mapping[str, tuple[Track, ...]]], ...] = ()
    truth: Callable[..., bool] | None = None


_UNKNOWN = _Compiled("", ())
_cache: dict[tuple[str, str, str], _Compiled] = {}


def paths(parameter: SearchParameter, base_type: str) -> tuple[ReadPath, ...] | None:
    """Every element that the parameter reads on resources of ``base_type``.

    None if its expression is not fully understood.
    """
    compiled = _compile(parameter, base_type)
    if compiled is _UNKNOWN:
        return None
    if not compiled.parts:
        if compiled.truth is not None:
            return tuple(
                _read(t, "token" if t.type == "boolean" else "presence") for t in compiled.tracks
            )
        return tuple(_read(t, compiled.search_type) for t in compiled.tracks)
    groups = components(parameter, base_type)
    return tuple(dict.fromkeys(path for _, found in groups for path in found))


def components(
    parameter: SearchParameter, base_type: str
) -> tuple[tuple[SearchParameter, tuple[ReadPath, ...]], ...]:
    """Of a composite that is understood: each component's parameter and what it reads here."""
    compiled = _compile(parameter, base_type)
    found = []
    for part, relative in compiled.parts:
        wholes = [
            Track(group.root, (*group.steps, *track.steps), track.type, track.targets)
            for group in compiled.tracks
            for track in relative[group.type]
        ]
        paths = tuple(dict.fromkeys(_read(whole, part.type) for whole in wholes))
        found.append((part, paths))
    return tuple(found)


def matches(
    resource: Mapping[str, Any],
    base_type: str,
    parameter: SearchParameter,
    modifier: str,
    alternatives: Sequence[str],
    *,
    base_url: str = "",
) -> bool:
    """Whether the resource satisfies ``parameter:modifier=a,b``.

    ``alternatives``: the OR list (:attr:`proxy.fhir.search.Parameter.alternatives`), escapes kept.
    ``base_url``: the base that local references may be written with. Raises BadValue for a
    malformed value; NotSupported for a modifier or parameter that cannot be judged.
    """
    return matcher(base_type, parameter, modifier, tuple(alternatives), base_url)(resource)


def matcher(
    base_type: str,
    parameter: SearchParameter,
    modifier: str,
    alternatives: tuple[str, ...],
    base_url: str = "",
    *,
    oldest: int | None = None,
) -> Callable[[Mapping[str, Any]], bool]:
    """:func:`matches` with its values parsed once, for many resources.

    ``oldest``: the oldest age that is shown exactly, where resources are judged as a view shows
    them; the value that stands for all above it then matches no search.
    """
    base_url = normalise_base(base_url) if base_url else ""
    look = walk if oldest is None else _walk_below(oldest + 1)
    compiled = _compile(parameter, base_type)
    if compiled is _UNKNOWN:
        raise NotSupported("A search parameter is not supported.")
    if "" in alternatives:
        raise BadValue("A search value has an empty alternative.")
    if modifier == "missing":
        return _missing(compiled, alternatives)
    if compiled.parts:
        if modifier:
            raise NotSupported("This search modifier is not supported.")
        return _composite(compiled, alternatives, base_url, look)
    if compiled.truth is not None:
        return _boolean(compiled.truth, modifier, alternatives)
    # A negated search is the complement of the plain one (R4, search.html#modifiers).
    positive = "" if modifier == "not" else modifier
    tests = [
        [
            (t, values.make_test(compiled.search_type, positive, a, t.targets, base_url))
            for t in compiled.tracks
        ]
        for a in alternatives
    ]

    def match(resource: Mapping[str, Any]) -> bool:
        found = any(
            test(element, track.type)
            for one in tests
            for track, test in one
            for element in look(resource, track)
        )
        return found is not (modifier == "not")

    return match


def sorts(parameter: SearchParameter, base_type: str) -> bool:
    """Whether resources of ``base_type`` have an order by the parameter."""
    compiled = _compile(parameter, base_type)
    plain = compiled is not _UNKNOWN and not compiled.parts and compiled.truth is None
    return plain and compiled.search_type in KEYS


def sort_key(
    resource: Mapping[str, Any], base_type: str, parameter: SearchParameter, down: bool
) -> SortKey | None:
    """What ``_sort`` compares: of several values the least, or the greatest where ``down``; None
    if there is none. Raises NotSupported for a parameter that has no order (:func:`sorts`)."""
    if not sorts(parameter, base_type):
        raise NotSupported("Sorting by this search parameter is not supported.")
    compiled = _compile(parameter, base_type)
    keys = [
        key
        for track in compiled.tracks
        for element in walk(resource, track)
        for key in KEYS[compiled.search_type](element, track.type, down)
    ]
    return (max(keys) if down else min(keys)) if keys else None


def references(
    resource: Mapping[str, Any], base_type: str, parameter: SearchParameter
) -> Iterator[str]:
    """The literal references, as they stand, that a reference parameter reads."""
    for track in _compile(parameter, base_type).tracks:
        for element in walk(resource, track):
            text = element.get("reference") if isinstance(element, Mapping) else None
            if isinstance(text, str) and _counts(element, track):
                yield text


def walk(resource: Mapping[str, Any], track: Track) -> Iterator[Any]:
    """The values at a track's end."""
    if not track.steps:
        yield resource
        return
    items: list[Any] = [resource]
    for step in track.steps:
        found: list[Any] = []
        for item in items:
            value = item.get(step.name) if isinstance(item, Mapping) else None
            here = value if isinstance(value, list) else [value]
            found += [v for v in here if v is not None]
        if step.first:
            found = found[:1]
        for member, text in step.equals:
            found = [v for v in found if isinstance(v, Mapping) and v.get(member) == text]
        items = found
    yield from items


def _walk_below(border: int) -> _Look:
    """:func:`walk` without the values that stand for all ages from ``border`` on."""

    def look(resource: Mapping[str, Any], track: Track) -> Iterator[Any]:
        for element in walk(resource, track):
            if not elements.stands_for_older(element, track.type, border):
                yield element

    return look


def not_understood() -> Iterator[tuple[str, str, str]]:
    """(base type, code, why) of every parameter of the registry that cannot be judged; those
    that all resources have stand once, under their abstract base."""
    for base in sorted(RESOURCES):
        for code, parameter in registry.get(base).items():
            try:
                _compile_now(parameter, base)
            except NotUnderstood as why:
                bases = {"Resource", "DomainResource"} & set(parameter.bases)
                yield next(iter(bases), base), code, str(why)


def _read(track: Track, search_type: str) -> ReadPath:
    return ReadPath(track.path, track.type, search_type, track.targets, track.conditions)


def _compile(parameter: SearchParameter, base: str) -> _Compiled:
    key = (parameter.url, parameter.code, base)
    if key not in _cache:
        try:
            _cache[key] = _compile_now(parameter, base)
        except NotUnderstood:
            _cache[key] = _UNKNOWN
    return _cache[key]


def _compile_now(parameter: SearchParameter, base: str) -> _Compiled:
    if not parameter.expression:
        raise NotUnderstood("no expression")
    if parameter.type == "composite":
        groups = compile_tracks(parameter.expression, base)
        parts = []
        for part, expression in registry.components(parameter):
            relative = {g.type: _indexed(expression, g.type, part.type) for g in groups}
            parts.append((part, relative))
        return _Compiled("composite", groups, tuple(parts))
    if parameter.type not in elements.INDEXED:
        raise NotUnderstood(f"search type {parameter.type}")
    logic = boolean_paths(parameter.expression, base)
    if logic is not None:
        return _Compiled("token", logic, truth=predicate(parameter.expression))
    return _Compiled(parameter.type, _indexed(parameter.expression, base, parameter.type))


def _indexed(expression: str, base: str, search_type: str) -> tuple[Track, ...]:
    """The tracks that end at a type which the search type compares. Only a branch of a choice may
    be passed over; any other type is not understood."""
    kept = []
    for track in compile_tracks(expression, base):
        if track.type in elements.INDEXED.get(search_type, ()):
            kept.append(track)
        elif not track.chosen:
            raise NotUnderstood(f"{search_type} of {track.type}")
    if not kept:
        raise NotUnderstood(f"nothing that {search_type} compares")
    return tuple(kept)


def _missing(
    compiled: _Compiled, alternatives: Sequence[str]
) -> Callable[[Mapping[str, Any]], bool]:
    if list(alternatives) not in (["true"], ["false"]):
        raise BadValue("The modifier missing takes true or false.")
    want = alternatives[0] == "true"

    def match(resource: Mapping[str, Any]) -> bool:
        found = any(
            elements.present(element) and _counts(element, track)
            for track in compiled.tracks
            for element in walk(resource, track)
        )
        return found is not want

    return match


def _counts(element: Any, track: Track) -> bool:
    if not track.targets:
        return True
    held = element.get("reference") if isinstance(element, Mapping) else None
    return parse_reference(held).type in track.targets


def _boolean(
    truth: Callable[..., bool], modifier: str, alternatives: Sequence[str]
) -> Callable[[Mapping[str, Any]], bool]:
    tests = [values.make_test("token", "", a, (), "") for a in alternatives]
    if modifier not in ("", "not"):
        raise NotSupported("This search modifier is not supported.")
    return lambda resource: (
        any(test(truth(resource), "boolean") for test in tests) is not (modifier == "not")
    )


def _composite(
    compiled: _Compiled, alternatives: Sequence[str], base_url: str, look: _Look
) -> Callable[[Mapping[str, Any]], bool]:
    wanted = []
    for alternative in alternatives:
        pieces = split(alternative, "$")
        if len(pieces) != len(compiled.parts) or "" in pieces:
            raise BadValue("A composite value needs one part for each component, joined by $.")
        wanted.append(
            {
                group.type: [
                    [
                        (t, values.make_test(part.type, "", piece, t.targets, base_url))
                        for t in relative[group.type]
                    ]
                    for (part, relative), piece in zip(compiled.parts, pieces, strict=True)
                ]
                for group in compiled.tracks
            }
        )

    def match(resource: Mapping[str, Any]) -> bool:
        return any(
            all(
                any(test(e, track.type) for track, test in part for e in look(element, track))
                for part in one[group.type]
            )
            for one in wanted
            for group in compiled.tracks
            for element in walk(resource, group)
            if isinstance(element, Mapping)
        )

    return match


@cache
def modifiers(search_type: str) -> frozenset[str]:
    """The modifiers that :func:`matches` can judge on a search type; of a reference also the name
    of a target type."""
    return values.MODIFIERS.get(search_type, frozenset())
