"""The codes of a stored value set, for searches with ``:in`` and ``:not-in``."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.demo.build import array, thing
from proxy.demo.store import Store
from proxy.fhir.codec import JsonObject
from proxy.fhir.search import escape


def members(store: Store, url: str) -> tuple[str, ...] | None:
    """The codes of the value set ``url`` and of those that it includes, as search values
    (``system|code``); None if there is no such value set."""
    found = dict.fromkeys(_members(store, url, set()))
    return tuple(found) or None


def _members(store: Store, url: str, seen: set[str]) -> Iterator[str]:
    if url in seen:
        return
    seen.add(url)
    for version in store.of_type("ValueSet"):
        if version.resource is not None and version.resource.get("url") == url:
            yield from _listed(store, version.resource, seen)


def _listed(store: Store, value_set: JsonObject, seen: set[str]) -> Iterator[str]:
    for include in map(thing, array(thing(value_set.get("compose", {})).get("include", []))):
        for concept in map(thing, array(include.get("concept", []))):
            yield f"{escape(str(include.get('system', '')))}|{escape(str(concept['code']))}"
        for other in array(include.get("valueSet", [])):
            yield from _members(store, str(other), seen)
