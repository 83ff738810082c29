"""Fictional cases: for each a case report, the response to it, and the single resources of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proxy.demo import clinic, eicr, ersd, rr
from proxy.demo.build import array, identifier
from proxy.demo.chart import chart
from proxy.demo.document import Naming, document, message
from proxy.demo.everything import any_value
from proxy.demo.names import URI
from proxy.demo.story import UPSTREAM, Story, draw
from proxy.fhir.codec import JsonObject

# What is referenced comes first: a server that resolves references on arrival finds them all.
LOAD_ORDER = (
    "Organization", "Location", "Practitioner", "Patient", "RelatedPerson", "Person", "Device",
    "PractitionerRole", "Endpoint", "Medication", "Condition", "Encounter", "Specimen",
    "ServiceRequest", "Procedure", "DocumentReference", "Observation",
)
_LAST = ("Provenance", "Bundle")


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    ``eicr`` and ``rr``: document Bundles; ``message``: a message Bundle that nests the eICR, in
    every third case. ``resources``: the single resources with the upstream's ids, what is
    referenced first (those of places of care and agencies recur in other cases, unchanged).
    """

    story: Story
    eicr: JsonObject
    rr: JsonObject
    message: JsonObject | None
    resources: tuple[JsonObject, ...]

    @property
    def bundles(self) -> tuple[JsonObject, ...]:
        return (self.eicr, self.rr) + ((self.message,) if self.message else ())


def make(story: Story, base: str) -> Case:
    """The case of ``story``; ``base``: the upstream's FHIR base, without a slash at its end."""
    naming = Naming(story, base.rstrip("/"))
    reported = eicr.resources(story)
    answered = rr.resources(story)
    if story.style == UPSTREAM:
        for resource in reported:
            if resource["id"] == story.id("Observation", "outbreak"):
                resource["extension"] = any_value(story)
    first, second = eicr.composition(story), rr.composition(story)
    report = document(
        naming, story, "eicr", eicr.document_identifier(story), [first, *_entries(reported)]
    )
    answer = document(
        naming,
        story,
        "rr",
        identifier(URI, f"urn:uuid:{story.uuid('rr')}"),
        [second, *_entries(answered)],
    )
    carried = None
    if story.style == UPSTREAM:
        carried = message(naming, story, report, clinic.organization(story.facility))
    singles = unique(
        [
            *clinic.facility_resources(story.facility),
            *reported,
            *(r for r in answered if r["resourceType"] != "Encounter"),
            *chart(story),
            first,
            second,
        ]
    )
    return Case(story, report, answer, carried, tuple(in_load_order(singles)))


def _entries(resources: Iterable[JsonObject]) -> list[JsonObject]:
    """As they stand in documents: the patient and the visit before who and where."""
    front = ("Patient", "Encounter")
    return sorted(resources, key=lambda r: 0 if r["resourceType"] in front else 1)


def cases(
    count: int, seed: int = 1, *, base: str = "http://127.0.0.1:8181/fhir"
) -> Iterator[Case]:
    """``count`` cases. The same arguments always give the same cases.

    Three in a row differ in how their documents name the entries (under ``base``, under a
    sender's base, by ``urn:uuid:``) and together hold every element that case reports use. Cases
    1 and 4 are the ``Patient/1`` of two senders.
    """
    for number in range(count):
        yield make(draw(number, seed), base)


def unique(resources: Iterable[JsonObject]) -> list[JsonObject]:
    """The first resource of each type and id."""
    found: dict[tuple[str, str], JsonObject] = {}
    for resource in resources:
        found.setdefault((str(resource["resourceType"]), str(resource["id"])), resource)
    return list(found.values())


def in_load_order(resources: Iterable[JsonObject]) -> list[JsonObject]:
    """What is referenced first; Provenances and Bundles last; otherwise as given."""
    return sorted(resources, key=load_rank)


def load_rank(resource: JsonObject) -> tuple[int, bool]:
    """When a resource is stored: the place of its type, and whether it is a ValueSet made of
    others. (A server that expands value sets by itself may meet it before they are there.)"""
    type = str(resource["resourceType"])
    if type in _LAST:
        return 100 + _LAST.index(type), False
    place = LOAD_ORDER.index(type) if type in LOAD_ORDER else 50
    return place, is_made_of_value_sets(resource)


def is_made_of_value_sets(resource: JsonObject) -> bool:
    """Whether a ValueSet includes others."""
    compose = resource.get("compose")
    included = array(compose.get("include", [])) if isinstance(compose, dict) else []
    return any(isinstance(each, dict) and "valueSet" in each for each in included)


def data_set(found: Iterable[Case]) -> list[JsonObject]:
    """All resources of ``found`` and the reporting rules, each once, in load order."""
    everything: list[JsonObject] = [*ersd.resources(), ersd.bundle()]
    for case in found:
        everything += [*case.resources, *case.bundles]
    return in_load_order(unique(everything))


def entries(bundle: JsonObject) -> list[JsonObject]:
    """The entries of a Bundle."""
    return [entry for entry in array(bundle["entry"]) if isinstance(entry, dict)]
