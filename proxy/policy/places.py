"""Where the entries of a Bundle stand, and what references call them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias, TypeVar

from proxy.fhir.codec import Json, JsonObject
from proxy.fhir.reference import Reference, parse_reference
from proxy.fhir.structure import RESOURCES
from proxy.policy.scope import Scope

_SERVED = frozenset({"searchset", "history"})
# The entries of a Bundle by all that they are called: what each is called first, its resource.
Named: TypeAlias = "Mapping[str, tuple[str, JsonObject]]"

At = TypeVar("At")


class Place(NamedTuple):
    """Where an entry stands. ``identity``: absolute URL, empty without a fullUrl. ``base``: where
    its relative references resolve. ``url``: of the thing: its identity; where that is no URL of a
    resource the one that a batch stores it at; made up where it has none. ``text``: its fullUrl,
    None where it has none. ``put``: where a batch stores it in the upstream, if it says so."""

    identity: str
    base: str
    url: str
    text: Json
    reference: Reference | None
    put: Reference | None


def locate(
    index: int, source: JsonObject, served: bool, url: str, base: str, scope: Scope
) -> Place:
    """Where an entry of the Bundle at ``url`` stands: by its fullUrl, in what a server gave also by
    its type and id. ``base``: where relative fullUrls resolve."""
    held = source.get("resource")
    resource = held if isinstance(held, dict) else {}
    id, text = resource.get("id"), source.get("fullUrl")
    if served and text is None and isinstance(id, str):
        text = f"{scope.bases.main}/{resource.get('resourceType')}/{id}"
    reference = parse_reference(text, base) if text is not None else None
    main, put = scope.bases.main, _find_put(source, resource, scope)
    if reference is not None and reference.kind in ("relative", "absolute", "urn"):
        identity = scope.identity(reference)
        own = identity if reference.type or put is None else scope.identity(put)
        return Place(identity, reference.base or main, own, text, reference, put)
    own = f"{url}#{index}" if put is None else scope.identity(put)
    return Place("", main, own, text, reference, put)


def _find_put(source: JsonObject, resource: JsonObject, scope: Scope) -> Reference | None:
    """Where a batch stores what an entry holds, if it says so and that is in the upstream."""
    request, type_name = source.get("request"), resource.get("resourceType")
    if not isinstance(request, dict) or request.get("method") != "PUT":
        return None
    reference = parse_reference(request.get("url"), scope.bases.main)
    ours = reference.type == type_name and is_ours(reference, scope)
    return reference if ours else None


def is_ours(reference: Reference, scope: Scope) -> bool:
    """Whether it names a resource of the upstream."""
    return reference.type in RESOURCES and reference.base in scope.bases


def is_served(bundle: JsonObject) -> bool:
    """Whether a server gave the Bundle as an answer, so that entries are named by type and id."""
    kind = bundle.get("type")
    return isinstance(kind, str) and kind in _SERVED


def list_entries(
    bundle: JsonObject, url: str, base: str, scope: Scope
) -> Iterator[tuple[Place, JsonObject]]:
    """The entries of the Bundle at ``url`` that hold something, each with its place."""
    source, served = bundle.get("entry"), is_served(bundle)
    for index, entry in enumerate(source if isinstance(source, list) else ()):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(entry, dict) and isinstance(resource, dict):
            yield locate(index, entry, served, url, base, scope), resource


def find_heads(
    inside: Sequence[tuple[At, JsonObject]], type_name: str
) -> Sequence[tuple[At, JsonObject]]:
    """Of entries, each with where it stands, the first if it is of the type, as it ought to be;
    else all that are."""
    found = [each for each in inside if each[1].get("resourceType") == type_name]
    return found[:1] if inside and found and found[0] is inside[0] else found


def find_contained(id: str, resource: JsonObject) -> JsonObject | None:
    """What a resource contains under the id."""
    inside = resource.get("contained")
    held = [one for one in (inside if isinstance(inside, list) else ()) if isinstance(one, dict)]
    return next((one for one in held if one.get("id") == id), None)


def group_entries(
    inside: Sequence[tuple[str, JsonObject | None]], scope: Scope
) -> dict[str, list[int]]:
    """The entries, each by its identity (empty without one) and what it holds, by what references
    call them: their identity, and, where that is no URL of a resource, their type and id, as
    converters write it, unless it is the identity of another."""
    names: dict[str, list[int]] = {}
    for at, (identity, _) in enumerate(inside):
        if identity:
            names.setdefault(identity, []).append(at)
    nameless: dict[str, list[int]] = {}
    for at, (identity, resource) in enumerate(inside):
        type_name, id = (resource or {}).get("resourceType"), (resource or {}).get("id")
        urn = not identity or identity.startswith("urn:")
        if urn and isinstance(id, str) and isinstance(type_name, str) and type_name in RESOURCES:
            own = scope.name_of(f"{type_name}/{id}", scope.bases.main)
            if own and own not in names:
                nameless.setdefault(own, []).append(at)
    return {**names, **nameless}


def name_entries(inside: list[tuple[Place, JsonObject]], scope: Scope) -> Named:
    """The entries by what references call them (:func:`group_entries`). Of several with one name
    the first counts. What has no name stands under its URL."""
    near: dict[str, tuple[str, JsonObject]] = {}
    grouped = group_entries([(place.identity, resource) for place, resource in inside], scope)
    for name, (at, *_) in grouped.items():
        place, resource = inside[at]
        near[name] = (place.url if place.identity or place.put else name, resource)
    for place, resource in inside:
        near.setdefault(place.url, (place.url, resource))
    return near
