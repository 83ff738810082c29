"""What stands in place of a required element that a rule hides.

Required is what R4's cardinality demands, and what these invariants demand of a type: bdl-9,
bdl-10, org-1, pat-1, cmp-1, obs-3, mad-1, fhs-2, qty-3 (the last by the rule of Quantity codes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from proxy.ecr.titles import document_title
from proxy.fhir.codec import Json, JsonObject
from proxy.lenses.context import masked
from proxy.lenses.narrative import masked_narrative

# The legal value of a required primitive that is hidden (docs/policies.md, "Required elements").
LEGAL_VALUES: Mapping[str, str] = {
    "string": "masked",
    "markdown": "masked",
    "uri": "urn:masked",
    "url": "urn:masked",
    "canonical": "urn:masked",
    "id": "masked",
    "date": "1900",
    "dateTime": "1900",
    "instant": "1900-01-01T00:00:00Z",
    "time": "00:00:00",
    "xhtml": '<div xmlns="http://www.w3.org/1999/xhtml"><p>MASKED</p></div>',
}

# A policy cannot hide these where they are required: no value of ours would be true.
UNMASKABLE = frozenset({"boolean", "integer", "positiveInt", "unsignedInt", "decimal", "code"})


class Demand(NamedTuple):
    """An invariant: one of ``names`` must show; ``fallback`` is put at the first of them."""

    key: str
    names: tuple[str, ...]
    fallback: Callable[[], Json]


def _text() -> Json:
    return "masked"


DEMANDS: Mapping[str, tuple[Demand, ...]] = {
    "Organization": (Demand("org-1", ("name", "identifier"), _text),),
    "Patient.contact": (Demand("pat-1", ("name", "telecom", "address", "organization"), masked),),
    "Composition.section": (Demand("cmp-1", ("text", "entry", "section"), masked_narrative),),
    "MedicationAdministration.dosage": (
        Demand("mad-1", ("dose", "rateRatio", "rateQuantity"), masked),
    ),
    "Observation.referenceRange": (Demand("obs-3", ("text", "low", "high"), _text),),
}

# Elements that only make sense beside another: (type, element, the stem of what it needs).
DEPENDENT: Mapping[str, tuple[tuple[str, str], ...]] = {
    "FamilyMemberHistory": (("estimatedAge", "age"),),  # fhs-2
}


def title(out: JsonObject) -> Json:
    """The title of a Composition whose own is hidden."""
    return document_title(out.get("type"))
