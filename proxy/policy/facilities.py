"""Which Organizations and Locations of an anonymized document are taken for facilities: what leaves
open what it is, and is named by something that has to do with those who give care."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from proxy.ecr import anonymized as guide
from proxy.fhir.codec import JsonObject, is_among
from proxy.fhir.referring import reference_texts
from proxy.policy.places import list_entries
from proxy.policy.scope import Scope

if TYPE_CHECKING:
    from proxy.policy.bundle import Entry
    from proxy.policy.resources import Resources


class Facilities:
    """The facilities of Bundles under one policy."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def find(
        self,
        entries: Iterable[Entry],
        places: Mapping[str, list[Entry]],
        met: Mapping[int, set[str]],
        scope: Scope,
    ) -> Iterator[Entry]:
        """Of the entries those that are taken for facilities. ``met``: what each that shows refers
        to."""
        open_ = {
            name: [entry for entry in at if _may_give_care(entry)] for name, at in places.items()
        }
        open_ = {name: at for name, at in open_.items() if at}
        held = [(e.base, e.resource) for e in entries if e.resource is not None]
        work = _listed_as_work(held, scope)
        told: set[str] = set()
        for entry in entries:
            named = met.get(entry.position, set()) & open_.keys()
            if named and entry.resource is not None and entry.identity not in work:
                told |= named & self._tell(entry.resource, entry.base, scope)
        for name in told:
            yield from open_[name]

    def _tell(self, resource: JsonObject, base: str, scope: Scope) -> set[str]:
        """What a resource names as facilities; of what a Bundle holds, all that it names."""
        if resource.get("resourceType") == "Bundle":
            inside = list(list_entries(resource, "", scope.bases.main, scope))
            work = _listed_as_work([(place.base, inner) for place, inner in inside], scope)
            return set[str]().union(
                *(
                    self._tell(inner, place.base, scope)
                    for place, inner in inside
                    if place.identity not in work
                )
            )
        if self._is_mute(resource, scope):
            return set()
        texts = reference_texts(guide.without_lists(resource))
        return {scope.name_of(text, base) for text in texts}

    def _is_mute(self, resource: JsonObject, scope: Scope) -> bool:
        """Whether what the resource refers to need not give care: a job refers to the employer, a
        place of work to those who keep it."""
        if not is_among(resource.get("resourceType"), guide.FACILITY_TYPES):
            return guide.is_work(resource)
        if guide.may_give_care(resource):
            return False
        least = self._resources.start(guide.as_nothing(resource), scope.claims)
        return least is None or least is self._resources.start(resource, scope.claims)


def _may_give_care(entry: Entry) -> bool:
    return (
        entry.resource is not None
        and entry.start is not None
        and entry.start.type in guide.FACILITY_TYPES
        and guide.may_give_care(entry.resource)
    )


def _listed_as_work(held: Iterable[tuple[str, JsonObject]], scope: Scope) -> set[str]:
    """What Compositions list in a section about somebody's work. ``held``: resources, each with
    the base of its references."""
    return {
        scope.name_of(text, base)
        for base, resource in held
        if resource.get("resourceType") == "Composition"
        for text in reference_texts(guide.work_sections(resource.get("section")))
    }
