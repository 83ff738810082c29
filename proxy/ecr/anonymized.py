"""The anonymized eICR: what the guide's document has beside masked values.

Source: HL7 FHIR eICR Data Anonymization (US realm) 1.0.1, package ecr.fhir.us.anonymized-eicr. An
anonymized document is a document of its own: it has a new identifier and date, says of which
document it is a transform, lists the age that it was calculated for in its social history, leaves
out who may have been exposed, and names no employer.
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.ecr.titles import LOINC
from proxy.fhir.codec import Json, JsonObject

ANONYMIZED = "anonymized"  # what ``document`` says in a policy

EICR = "55751-2"  # LOINC: Public health Case report
SOCIAL_HISTORY = "29762-2"  # LOINC: Social history note
CALCULATED_AGE = "29553-5"  # LOINC: Age calculated

# US ODH 1.1.0; its value is an Organization or, of a household, a RelatedPerson.
EMPLOYER = "http://hl7.org/fhir/us/odh/StructureDefinition/odh-Employer-extension"

# Elements that an anonymized document has anew (eicr-anon-composition, eicr-anon-document-bundle).
MADE_ANEW = frozenset(
    {
        "Bundle.identifier",
        "Bundle.timestamp",
        "Composition.identifier",
        "Composition.date",
        "Composition.relatesTo",
        "Composition.section",
    }
)

# What an Organization or Location is that a document names otherwise than as an employer and that
# does not itself say what it is: judged as if its own ``type`` said so (organization-type;
# v3-RoleCode, ServiceDeliveryLocationRoleType).
FACILITY_TYPES: Mapping[str, tuple[str, str]] = {
    "Organization": ("http://terminology.hl7.org/CodeSystem/organization-type", "prov"),
    "Location": ("http://terminology.hl7.org/CodeSystem/v3-RoleCode", "HOSP"),
}
# Forms of a place that do not tell what it is for (location-physical-type, R4 4.0.1): site,
# building, wing, ward, level, corridor, room, bed. Its others, such as ``ho``, house, are no care.
_PREMISES = frozenset({"si", "bu", "wi", "wa", "lvl", "co", "ro", "bd"})
_PHYSICAL_TYPE = "http://terminology.hl7.org/CodeSystem/location-physical-type"

# What of an employer tells who it is, beside what a rule masks: whom it belongs to, whom to ask.
_EMPLOYER_TELLS = ("partOf", "endpoint", "contact", "alias")

_LOINC = frozenset({LOINC, "urn:oid:2.16.840.1.113883.6.1"})


def has_code(concept: Json, code: str) -> bool:
    """Whether a CodeableConcept says the LOINC code."""
    codings = concept.get("coding") if isinstance(concept, Mapping) else None
    return isinstance(codings, list) and any(
        isinstance(c, Mapping) and c.get("code") == code and c.get("system") in _LOINC
        for c in codings
    )


def is_eicr(resource: Json) -> bool:
    """Whether it is the Composition of an eICR."""
    return (
        isinstance(resource, Mapping)
        and resource.get("resourceType") == "Composition"
        and has_code(resource.get("type"), EICR)
    )


def first_resource(bundle: JsonObject) -> Json:
    """The resource of a Bundle's first entry."""
    entries = bundle.get("entry")
    first = entries[0] if isinstance(entries, list) and entries else None
    return first.get("resource") if isinstance(first, dict) else None


def names_employer(resource: Json) -> bool:
    """Whether the resource itself bears the employer extension: what else it refers to may be the
    employer, too."""
    extensions = resource.get("extension") if isinstance(resource, Mapping) else None
    return isinstance(extensions, list) and any(
        isinstance(e, Mapping) and e.get("url") == EMPLOYER for e in extensions
    )


def may_give_care(resource: JsonObject) -> bool:
    """Whether an Organization or Location leaves open what it is: it states no type, and no form
    but of what any premises have. What it states is judged as it stands."""
    return not resource.get("type") and _is_premises(resource.get("physicalType"))


def _is_premises(concept: Json) -> bool:
    if not concept:
        return True
    codings = concept.get("coding") if isinstance(concept, dict) else None
    return isinstance(codings, list) and any(codings) and all(map(_is_part, codings))


def _is_part(coding: Json) -> bool:
    return (
        isinstance(coding, dict)
        and coding.get("system") == _PHYSICAL_TYPE
        and isinstance(code := coding.get("code"), str)
        and code in _PREMISES
    )


def as_facility(resource: JsonObject) -> JsonObject:
    """An Organization or Location for judging: with a type that says that it gives care."""
    system, code = FACILITY_TYPES[str(resource["resourceType"])]
    return {**resource, "type": [{"coding": [{"system": system, "code": code}]}]}


def as_nothing(resource: JsonObject) -> JsonObject:
    """An Organization for judging: one of which nothing is known."""
    return {name: resource[name] for name in ("resourceType", "id", "meta") if name in resource}


def employer(shown: JsonObject) -> JsonObject:
    """The least form of an Organization, without what tells of others who it is."""
    return {name: value for name, value in shown.items() if name not in _EMPLOYER_TELLS}


def list_age(sections: list[Json], reference: str, text: Json) -> list[Json]:
    """The shown sections with the calculated age in the first Social History among them, or in one
    of its own, at the end, whose narrative is ``text``."""
    entry: Json = {"reference": reference}
    path = _find(sections)
    if path is None:
        return [*sections, _social_history(entry, text)]
    return _put(sections, path, entry)


def _find(sections: list[Json]) -> tuple[int, ...] | None:
    """Where the first Social History stands: an index per level, sections before what is in
    them."""
    inner: list[tuple[int, ...]] = []
    for index, section in enumerate(sections):
        if not isinstance(section, dict):
            continue
        if has_code(section.get("code"), SOCIAL_HISTORY):
            return (index,)
        below = section.get("section")
        found = _find(below) if isinstance(below, list) else None
        if found is not None:
            inner.append((index, *found))
    return inner[0] if inner else None


def _put(sections: list[Json], path: tuple[int, ...], entry: Json) -> list[Json]:
    index, *rest = path
    section = sections[index]
    if not isinstance(section, dict):
        return sections
    below, entries = section.get("section"), section.get("entry")
    changed = dict(section)
    if rest and isinstance(below, list):
        changed["section"] = _put(below, tuple(rest), entry)
    else:
        changed.pop("emptyReason", None)  # cmp-2: only where there is no entry
        changed["entry"] = [*(entries if isinstance(entries, list) else ()), entry]
    return [*sections[:index], changed, *sections[index + 1 :]]


def _social_history(entry: Json, text: Json) -> Json:
    return {
        "title": "Social History",
        "code": {"coding": [{"system": LOINC, "code": SOCIAL_HISTORY}]},
        "text": text,
        "entry": [entry],
    }


def calculated_age(
    id: str, subject: Json, date: str, quantity: JsonObject, meta: JsonObject, text: Json
) -> JsonObject:
    """The Observation of the profile eicr-anon-caculated-age (spelled so). ``subject``: the
    Composition's, as shown; ``date``: the day that the age is of."""
    made: JsonObject = {"resourceType": "Observation", "id": id}
    if meta:
        made["meta"] = meta
    made["text"] = text
    made["status"] = "final"
    made["code"] = {"coding": [{"system": LOINC, "code": CALCULATED_AGE}]}
    if subject is not None:
        made["subject"] = subject
    made["effectiveDateTime"] = date
    made["valueQuantity"] = quantity
    return made
