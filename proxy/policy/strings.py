"""Strings of R4 that hold names, numbers or free text, for the warning of ``string = "keep"``."""

from __future__ import annotations

from proxy.fhir.structure import RESOURCES
from proxy.policy.draft import Draft
from proxy.policy.methods import rank
from proxy.policy.paths import elements

# Last steps of strings that name a person or an organization, number a thing, or are free text.
_NAMES = frozenset(
    [
        "name",
        "alias",
        "title",
        "display",
        "description",
        "comment",
        "text",
        "note",
        "conclusion",
        "lotNumber",
        "serialNumber",
        "deviceIdentifier",
        "carrierHRF",
        "distinctIdentifier",
        "patientInstruction",
        "preparation",
        "batchNumber",
        "valueString",
        "onsetString",
        "abatementString",
        "occurrenceString",
        "bornString",
        "ageString",
        "deceasedString",
        "performedString",
        "contentString",
        "line",
        "city",
        "value",
        "policyHolder",
        "subscriberId",
    ]
)
_EVERYWHERE = ("Annotation.text", "CodeableConcept.text", "Coding.display", "Reference.display")
_DEEPEST = 3  # backbones within backbones


def named_strings(shown: frozenset[str], draft: Draft) -> tuple[str, ...]:
    """Paths of such strings in the types that a policy shows, without those it hides itself."""
    found: list[str] = []
    for kind in sorted(shown & RESOURCES):
        found.extend(_strings(kind, kind, draft, 0))
    return (*found, *_EVERYWHERE)


def _strings(owner: str, path: str, draft: Draft, depth: int) -> list[str]:
    found: list[str] = []
    for place in elements(owner).values():
        if place.element is None or place.element.recursive:
            continue
        below = f"{path}.{place.name}"
        rule = draft.elements.get(below)
        if rule is not None and rank(rule.method) < 3:
            continue
        if place.types == ("string",) and place.name in _NAMES:
            found.append(below)
        elif "." in place.types[0] and len(place.types) == 1 and depth < _DEEPEST:
            found.extend(_strings(place.types[0], below, draft, depth + 1))
    return found
