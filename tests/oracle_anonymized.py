"""``document = "anonymized"``, said once more (docs/policies.md, "Anonymized documents")."""

from __future__ import annotations

import re
from typing import Any

from tests.oracle_facts import Json, as_list, masked_narrative
from tests.oracle_scope import BundleScope, Context, Place, identify, split
from tests.oracle_values import UCUM, years_since

LOINC = ("http://loinc.org", "urn:oid:2.16.840.1.113883.6.1")
EMPLOYER = "http://hl7.org/fhir/us/odh/StructureDefinition/odh-Employer-extension"
UNKNOWN = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                          "valueCode": "unknown"}]}  # fmt: skip
CARE = {
    "Organization": ("http://terminology.hl7.org/CodeSystem/organization-type", "prov"),
    "Location": ("http://terminology.hl7.org/CodeSystem/v3-RoleCode", "HOSP"),
}


def says(concept: Json, code: str) -> bool:
    codings = concept.get("coding") if isinstance(concept, dict) else None
    return isinstance(codings, list) and any(
        isinstance(c, dict) and c.get("code") == code and c.get("system") in LOINC for c in codings
    )


def is_eicr(resource: Json) -> bool:
    """Whether a Composition is an eICR's, or may be for all that its type tells."""
    if members(resource, "resourceType") != "Composition":
        return False
    stated = members(members(resource, "type"), "coding")
    pairs = [
        (c.get("system"), c.get("code"))
        for c in (stated if isinstance(stated, list) else [stated])
        if isinstance(c, dict)
    ]
    other = any(all(isinstance(x, str) and x.strip() for x in pair) for pair in pairs)
    return not other or any(code == "55751-2" for _, code in pairs)


def heads(bundle: dict[str, Json]) -> list[int]:
    """The entries with which a Bundle begins as a document: the Composition that is first of what
    it holds, else all Compositions."""
    entries = bundle.get("entry")
    held = [
        (i, members(e["resource"], "resourceType"))
        for i, e in enumerate(entries if isinstance(entries, list) else [])
        if isinstance(e, dict) and isinstance(e.get("resource"), dict)
    ]
    found = [i for i, kind in held if kind == "Composition"]
    return found[:1] if found and found[0] == held[0][0] else found


def is_report(bundle: dict[str, Json]) -> bool:
    return any(is_eicr(bundle["entry"][i]["resource"]) for i in heads(bundle))


def new_identifier(original: Json, place: Place) -> dict[str, Json]:
    """A document's identifier as anonymized: by its value, else by where it stands."""
    value = original.get("value") if isinstance(original, dict) else None
    of = place.identity
    if isinstance(value, str) and value:
        of = re.sub(r"^(urn:(uuid|oid):|URN:(UUID|OID):)", "", value)
        of = of.lower() if of in (of.lower(), of.lower().upper()) else of
    name = place.context.namer.show_uri(f"urn:ecr-proxy:anonymized:{of}")
    return {"system": "urn:ietf:rfc:3986", "value": name}


def age_name(composition: str, context: Context) -> str:
    return context.namer.show_uri(f"{composition}#calculated-age")


def put_age(sections: Json, entry: Json) -> list[Json]:
    """The sections with the age in the first Social History: one here before one further in."""
    here = list(sections) if isinstance(sections, list) else []
    if not _place_age(here, entry):
        here.append({
            "title": "Social History",
            "code": {"coding": [{"system": LOINC[0], "code": "29762-2"}]},
            "text": masked_narrative(),
            "entry": [entry],
        })  # fmt: skip
    return here


def _place_age(sections: list[Json], entry: Json) -> bool:
    for section in sections:
        if isinstance(section, dict) and says(section.get("code"), "29762-2"):
            section.pop("emptyReason", None)
            section["entry"] = [*section.get("entry", ()), entry]
            return True
    inner = [s["section"] for s in sections if isinstance(s, dict) and "section" in s]
    return any(_place_age(each, entry) for each in inner)


def employer(item: dict[str, Json], place: Place) -> dict[str, Json] | str:
    """The employer extension under a name of the employer's own; ``hidden``, or ``other`` if it
    leads to no Organization."""
    value = item.get("valueReference")
    text = value.get("reference") if isinstance(value, dict) else None
    if not isinstance(text, str):
        return "other"
    if text.startswith("#"):
        held = place.contained.resources.get(text[1:])
        is_one = isinstance(held, dict) and held.get("resourceType") == "Organization"
        return "hidden" if is_one else "other"
    identity = identify(text, place.base, place.context)
    if identity is None:
        return "other"
    parts = split(identity)
    kind = parts[1] if parts else ""
    scopes = place.bundle.around() if place.bundle else ()
    for scope in scopes:
        found = scope.named(identity)
        if found and found[0] not in scope.never:
            kind = scope.entry_type(found[0])
            break
    if kind not in ("", "Organization"):
        return "other"
    name = place.context.namer.show_uri(f"{identity}#employer")
    return {"url": item["url"], "valueReference": {"reference": name}}


WORK = ("11341-5", "21843-8", "74165-2", "87510-4", "87511-2")


def is_job(resource: Json) -> bool:
    """Whether it is about somebody's work, and so tells of nobody that they give care."""
    codes = [
        c.get("code") for c in as_list(members(resource.get("code"), "coding"))
        if isinstance(c, dict)
    ]  # fmt: skip
    return any(code in WORK for code in codes if isinstance(code, str)) or has_employer(resource)


def members(value: Json, name: str) -> Json:
    return value.get(name) if isinstance(value, dict) else None


def has_employer(value: Json) -> bool:
    if isinstance(value, list):
        return any(has_employer(each) for each in value)
    if not isinstance(value, dict):
        return False
    return value.get("url") == EMPLOYER or any(has_employer(each) for each in value.values())


def telling(value: Json, kind: str) -> Json:
    """A resource, or a section of it, without what it only lists."""
    lists = {"Composition": "entry", "Provenance": "target"}.get(kind)
    kept = {name: each for name, each in value.items() if name != lists}
    if lists and isinstance(kept.get("section"), list):
        kept["section"] = [
            telling(s, kind) if isinstance(s, dict) else s for s in kept["section"]
        ]
    return kept


def of_work(sections: Json) -> list[Json]:
    """The sections about work, outermost ones."""
    found: list[Json] = []
    for section in sections if isinstance(sections, list) else []:
        if isinstance(section, dict):
            work = says(section.get("code"), "74166-0")
            found += [section] if work else of_work(section.get("section"))
    return found


def least_employer() -> dict[str, Json]:
    """What stands for every employer."""
    text = "masked"
    return {
        "resourceType": "Organization", "identifier": [{"value": text}], "name": text,
        "telecom": [{"value": text}], "address": [{"text": text}],
    }  # fmt: skip


# Forms of a place that leave open what it is for; all others say that it is not for care.
PREMISES = ("si", "bu", "wi", "wa", "lvl", "co", "ro", "bd")


def says_what_it_is(resource: dict[str, Json]) -> bool:
    """Whether an Organization or Location states its type, or a form that not all premises have."""
    form = resource.get("physicalType")
    if resource.get("type"):
        return True
    if not form:
        return False
    codings = form.get("coding") if isinstance(form, dict) else None
    if not isinstance(codings, list) or codings == []:
        return True
    system = "http://terminology.hl7.org/CodeSystem/location-physical-type"
    known = [{"system": system, "code": code} for code in PREMISES]
    return not all(
        isinstance(c, dict) and {k: c.get(k) for k in ("system", "code")} in known for c in codings
    )


def as_care(resource: dict[str, Json]) -> dict[str, Json]:
    """The resource for predicates, if it gave care."""
    system, code = CARE[resource["resourceType"]]
    return {**resource, "type": [{"coding": [{"system": system, "code": code}]}]}


def as_unknown(resource: dict[str, Json]) -> dict[str, Json]:
    """The resource for predicates, if nothing of it were known."""
    return {k: resource[k] for k in ("resourceType", "id", "meta") if k in resource}


def texts(value: Json) -> set[str]:
    """Every reference in what is shown."""
    if isinstance(value, dict):
        own = {value["reference"]} if isinstance(value.get("reference"), str) else set()
        return own.union(*map(texts, value.values()))
    return set().union(*map(texts, value)) if isinstance(value, list) else set()


def names_of(scope: BundleScope, index: int) -> list[str]:
    """The names by which references find the entry first."""
    candidates = [scope.identities[index], scope.own.get(index, "")]
    return [name for name in candidates if name and scope.named(name)[:1] == [index]]


def age_of(birth_date: Json, context: Context, oldest: int | None) -> dict[str, Json]:
    """The age as a Quantity: in years; in the first year in months, weeks or days."""
    unknown: dict[str, Json] = {"_value": UNKNOWN, "unit": "year", "system": UCUM, "code": "a"}
    years = years_since("date", birth_date, context.today)
    years = years_since("dateTime", birth_date, context.today) if years is None else years
    if years is None or years < 0:
        return unknown
    if oldest is not None and years > oldest:
        return {"value": oldest + 1, "comparator": ">=",
                "unit": "year", "system": UCUM, "code": "a"}  # fmt: skip
    number, unit, code = years, "year", "a"
    given = [int(x) for x in birth_date[:10].split("-")]
    if years == 0 and len(given) > 1:
        today, days = context.today, 0
        if len(given) > 2:
            days = today.toordinal() - type(today)(*given).toordinal()
        day = given[2] if len(given) > 2 else 1
        months = (today.year - given[0]) * 12 + today.month - given[1] - (today.day < day)
        number, unit, code = months, "month", "mo"
        if months == 0 and len(given) > 2:
            number, unit, code = (days // 7, "week", "wk") if days > 6 else (days, "day", "d")
        if months < 0 or days < 0:
            return unknown
    return {"value": number, "unit": unit, "system": UCUM, "code": code}


def age_observation(
    name: str, subject: Json, quantity: Json, meta: Json, context: Context
) -> dict[str, Json]:
    out: dict[str, Any] = {
        "resourceType": "Observation",
        "id": name.removeprefix("urn:uuid:"),
        "text": masked_narrative(),
        "status": "final",
        "code": {"coding": [{"system": LOINC[0], "code": "29553-5"}]},
        "effectiveDateTime": context.today.isoformat(),
        "valueQuantity": quantity,
    }
    if meta:
        out["meta"] = meta
    if subject:
        out["subject"] = {"reference": subject}
    return out
