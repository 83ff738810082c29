"""The anonymized eICR: what the guide's document has beside masked values.

Source: HL7 FHIR eICR Data Anonymization (US realm) 1.0.1, package ecr.fhir.us.anonymized-eicr. An
anonymized document is a document of its own: it has a new identifier and date, says of which
document it is a transform, lists the age that it was calculated for in its social history, leaves
out who may have been exposed, and names no employer.
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.ecr.titles import LOINC
from proxy.fhir.codec import Json, JsonObject, is_among

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

# What every employer has, whatever is stored of it (us-ph-organization: name, telecom, address):
# how many of each, or its kind, would tell which Organization it is.
EMPLOYER_FORM: Mapping[str, Json] = {
    "identifier": [{"value": "masked"}],
    "name": "masked",
    "telecom": [{"value": "masked"}],
    "address": [{"text": "masked"}],
}
# Observations of the work that somebody does (US ODH 1.1.0; LOINC): employment status, job, usual
# work, retirement, work in a combat zone.
_WORK = frozenset({"74165-2", "11341-5", "21843-8", "87510-4", "87511-2"})
OCCUPATION = "74166-0"  # LOINC: Occupational summary note
# Members that list what there is, whatever it is.
_LISTS: Mapping[str, frozenset[str]] = {
    "Composition": frozenset({"entry"}),
    "Provenance": frozenset({"target"}),
}

_LOINC = frozenset({LOINC, "urn:oid:2.16.840.1.113883.6.1"})


def has_code(concept: Json, code: str) -> bool:
    """Whether a CodeableConcept says the LOINC code."""
    codings = concept.get("coding") if isinstance(concept, Mapping) else None
    return isinstance(codings, list) and any(
        isinstance(c, Mapping) and c.get("code") == code and is_among(c.get("system"), _LOINC)
        for c in codings
    )


def is_eicr(resource: Json) -> bool:
    """Whether it is the Composition of an eICR: one whose type says so, or does not say in a code
    of a known system that it is something else."""
    if not isinstance(resource, Mapping) or resource.get("resourceType") != "Composition":
        return False
    concept = resource.get("type")
    stated = concept.get("coding") if isinstance(concept, Mapping) else None
    codings = [c for c in (stated if isinstance(stated, list) else [stated]) if isinstance(c, dict)]
    if any(c.get("code") == EICR for c in codings):
        return True
    return not any(_is_whole(c.get("system")) and _is_whole(c.get("code")) for c in codings)


def _is_whole(text: Json) -> bool:
    return isinstance(text, str) and text.strip() != ""


def is_work(resource: Json) -> bool:
    """Whether the resource is about somebody's work, by its code or as it bears the employer
    extension anywhere: what it refers to may be the employer."""
    if not isinstance(resource, Mapping):
        return False
    concept = resource.get("code")
    codings = concept.get("coding") if isinstance(concept, Mapping) else None
    return _bears_employer(resource) or any(
        isinstance(c, Mapping) and is_among(c.get("code"), _WORK)
        for c in (codings if isinstance(codings, list) else [codings])
    )


def _bears_employer(value: Json) -> bool:
    if isinstance(value, Mapping):
        return value.get("url") == EMPLOYER or any(map(_bears_employer, value.values()))
    return isinstance(value, list) and any(map(_bears_employer, value))


def work_sections(sections: Json) -> list[Json]:
    """The sections about somebody's work, at any depth."""
    found: list[Json] = []
    for section in sections if isinstance(sections, list) else ():
        if isinstance(section, dict):
            work = has_code(section.get("code"), OCCUPATION)
            found += [section] if work else work_sections(section.get("section"))
    return found


def without_lists(resource: JsonObject) -> JsonObject:
    """The resource without what only lists things: the entries of its sections, what it is the
    provenance of."""
    names = _LISTS.get(str(resource.get("resourceType")))
    return resource if names is None else _without(resource, names)


def _without(obj: JsonObject, names: frozenset[str]) -> JsonObject:
    kept: JsonObject = {}
    for name, value in obj.items():
        if name == "section" and isinstance(value, list):
            value = [_without(each, names) if isinstance(each, dict) else each for each in value]
        if name not in names:
            kept[name] = value
    return kept


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
        and is_among(coding.get("code"), _PREMISES)
    )


def as_facility(resource: JsonObject) -> JsonObject:
    """An Organization or Location for judging: with a type that says that it gives care."""
    system, code = FACILITY_TYPES[str(resource["resourceType"])]
    return {**resource, "type": [{"coding": [{"system": system, "code": code}]}]}


def as_nothing(resource: JsonObject) -> JsonObject:
    """An Organization for judging: one of which nothing is known."""
    return {name: resource[name] for name in ("resourceType", "id", "meta") if name in resource}


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
