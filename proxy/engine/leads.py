"""Where a stored resource leads in the upstream: by what it holds, and by what of it shows."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.engine.membership import Key, Links
from proxy.fhir import match, registry
from proxy.fhir.codec import JsonObject
from proxy.fhir.reference import Bases, parse_reference
from proxy.fhir.referring import reference_texts
from proxy.fhir.structure import RESOURCES
from proxy.policy.anonymized import employer_name
from proxy.policy.compile import Scope, View

_CORE = "http://hl7.org/fhir/SearchParameter/"


def stored_leads(bases: Bases, stored: JsonObject) -> dict[str, Key]:
    """What the resource refers to in the upstream, each by the text with which it refers."""
    return _name(bases, reference_texts(_content(stored)))


def indexed_leads(bases: Bases, stored: JsonObject, *codes: str) -> set[Key]:
    """What a search for the resource by a reference finds it by: by any parameter of R4 itself, or
    by those with the ``codes``."""
    type_ = str(stored["resourceType"])
    parameters = [
        parameter
        for code, parameter in registry.get(type_).items()
        if parameter.type == "reference" and parameter.url.startswith(_CORE)
        if (not codes or code in codes) and match.paths(parameter, type_)
    ]
    texts = (text for p in parameters for text in match.references(stored, type_, p))
    return set(_name(bases, texts).values())


def _name(bases: Bases, texts: Iterable[str]) -> dict[str, Key]:
    found: dict[str, Key] = {}
    for text in texts:
        reference = parse_reference(text, bases.main)
        kept = reference.kind in ("relative", "absolute") and reference.type in RESOURCES
        if kept and reference.base in bases:
            found[text] = (reference.type, reference.id)
    return found


def shown_leads(view: View, scope: Scope, stored: JsonObject, shown: JsonObject) -> list[Key]:
    """What the resource refers to in the upstream as far as that shows, in the order in which it
    does so. ``shown``: the resource as its caller is shown it."""
    named = {
        text if view.identity else f"{key[0]}/{scope.show_id(*key)}": key
        for text, key in stored_leads(scope.bases, stored).items()
    }
    if view.policy.document:
        named |= {
            employer_name(f"{scope.bases.main}/{key[0]}/{key[1]}", scope.namer): key
            for key in tuple(named.values())
            if key[0] == "Organization"
        }
    return [named[text] for text in reference_texts(_content(shown)) if text in named]


def find_links(view: View, scope: Scope, stored: JsonObject, shown: JsonObject | None) -> Links:
    """Where a resource leads as stored, and as ``shown``; None where nothing of it is."""
    leads = None if shown is None else tuple(shown_leads(view, scope, stored, shown))
    return Links(tuple(stored_leads(scope.bases, stored).values()), leads)


def _content(resource: JsonObject) -> JsonObject:
    """What of a resource may lead on. A Composition's relatesTo names other documents, which are no
    part of this one; references inside a stored Bundle stay inside it."""
    if resource.get("resourceType") == "Bundle":
        return {}
    if resource.get("resourceType") == "Composition":
        return {name: value for name, value in resource.items() if name != "relatesTo"}
    return resource
