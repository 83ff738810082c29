"""The search parameters of each resource type: R4's and US Core's, from :mod:`proxy.fhir.r4`.

The only source of what a parameter means; a server's own SearchParameter resources, which can be
redefined, are never asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from proxy.fhir.r4 import SEARCH_PARAMETERS, TYPES, SearchParameter
from proxy.fhir.structure import RESOURCES

_BY_URL = {p.url: p for p in SEARCH_PARAMETERS}


@cache
def get(resource_type: str) -> Mapping[str, SearchParameter]:
    """Code to parameter for a concrete resource type, Resource's and DomainResource's included.

    Parameters without expression (``_text``, ``_content``, ``_query``) are listed too: they are
    known, but nothing can be said of what they read. Raises KeyError for what is no concrete type.
    """
    if resource_type not in RESOURCES:
        raise KeyError(resource_type)
    bases = ["Resource", resource_type]
    if TYPES[resource_type].base == "DomainResource":
        bases.insert(1, "DomainResource")
    found: dict[str, SearchParameter] = {}
    for base in bases:
        for parameter in SEARCH_PARAMETERS:
            if base in parameter.bases:
                found[parameter.code] = parameter
    return MappingProxyType(dict(sorted(found.items())))


def by_url(url: str) -> SearchParameter | None:
    """The parameter with this canonical URL."""
    return _BY_URL.get(url)


def components(parameter: SearchParameter) -> tuple[tuple[SearchParameter, str], ...]:
    """Of a composite: each component's parameter and its expression, relative to the composite's.

    Raises KeyError if a component's definition is not in the registry.
    """
    return tuple((_BY_URL[url], expression) for url, expression in parameter.components)


def targets(parameter: SearchParameter) -> tuple[str, ...]:
    """The concrete types that a reference parameter may point to, sorted."""
    return tuple(sorted(t for t in parameter.targets if t in RESOURCES))
