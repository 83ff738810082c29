"""Load resources into a FHIR server in the order that HAPI needs: what is referenced first."""

from __future__ import annotations

from collections.abc import Iterable

import aiohttp

from proxy.demo.generator import is_made_of_value_sets
from proxy.fhir.codec import JsonObject, encode

Resource = JsonObject

# HAPI resolves a reference when it is written; one to a later resource is stored unresolved and no
# search finds it. Types that refer to others come after them; Bundles, which hold copies, last.
ORDER = (
    "Organization",
    "Location",
    "Practitioner",
    "Patient",
    "RelatedPerson",
    "Device",
    "Medication",
    "Substance",
    "Specimen",
    "PractitionerRole",
    "HealthcareService",
    "Encounter",
    "Condition",
    "ServiceRequest",
    "Observation",
)
LAST = ("DiagnosticReport", "Composition", "Bundle")


def rank(type_name: str) -> int:
    """Position of a type in the loading order; types without a place of their own share one."""
    if type_name in ORDER:
        return ORDER.index(type_name)
    if type_name in LAST:
        return len(ORDER) + 1 + LAST.index(type_name)
    return len(ORDER)


def _rank(resource: Resource) -> tuple[int, bool]:
    # HAPI expands value sets now and then by itself; what they are made of is to be there.
    return rank(str(resource["resourceType"])), is_made_of_value_sets(resource)


async def load(base: str, resources: Iterable[Resource]) -> int:
    """PUT every resource under its own id; give how many were stored.

    One after the other: HAPI answers 500 when two first uses of one profile or tag meet, and the
    order of storage stays that of loading. Raises ``AssertionError`` naming the resource if the
    server refuses one.
    """
    stored = 0
    async with aiohttp.ClientSession() as session:
        for resource in sorted(resources, key=_rank):
            url = f"{base}/{resource['resourceType']}/{resource['id']}"
            headers = {"Content-Type": "application/fhir+json"}
            async with session.put(url, data=encode(resource), headers=headers) as response:
                text = await response.text()
                if response.status not in (200, 201):
                    raise AssertionError(f"{url} was refused ({response.status}): {text[:500]}")
            stored += 1
    return stored


async def unload(base: str, resources: Iterable[Resource]) -> None:
    """DELETE every resource, what is referenced last. Raises ``AssertionError`` on a refusal."""
    ordered = sorted(resources, key=_rank, reverse=True)
    async with aiohttp.ClientSession() as session:
        for resource in ordered:
            url = f"{base}/{resource['resourceType']}/{resource['id']}"
            async with session.delete(url) as response:
                if response.status not in (200, 204):
                    raise AssertionError(f"{url} was not deleted ({response.status})")
