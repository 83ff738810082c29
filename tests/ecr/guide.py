"""The invariants of the eICR Data Anonymization guide (ecr.fhir.us.anonymized-eicr 1.0.1), run with
fhirpathpy over documents.

Each rule has the guide's key, or the element and cardinality it stands for. Re-expressed are:

* ``conformsTo(profile)``, which fhirpathpy lacks: the rules of the profile are run on the entries
  of its type; that of exposures by category and code, as those resources are recognized.
* ``hasValue()``, which fhirpathpy lacks, and ``value`` of a primitive, which it does not navigate
  to (``line.value.empty()`` always holds there): :func:`has_value` is called once per item, so that
  a second line is judged, too (``hasValue()`` is false for more than one item).
* ``text.`div` ~ '…'``: by ``matches``, and only where there is a text, as of 1.0.1.
* the Reference targets of profiles (``only Reference(…)``): by resolving within the document.
* ``children().where(reference.exists()).display``: as it stands, and by ``descendants()``, with and
  without a reference (:data:`BEYOND`, the guide's gap).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import fhirpathpy
from fhirpathpy.models import models

Json = Any


def _empty(*names: str) -> str:
    return " and ".join(f"{name}.empty()" for name in names)


MASKED = (
    "extension.where(url = 'http://hl7.org/fhir/StructureDefinition/data-absent-reason')"
    ".where(value = 'masked').count() = 1"
)
NAMELESS_BUT_FAMILY = _empty("use", "text", "given", "prefix", "suffix", "period")
NAMELESS = f"{NAMELESS_BUT_FAMILY} and family.empty()"
TELLS_NO_TELECOM = _empty("system", "value", "use", "rank", "period")
NOWHERE = _empty(
    "use", "text", "line", "city", "district", "state", "postalCode", "country", "period"
)
EXPOSURE = "code = 'AEXPOS' or code = 'TEXPOS' or code = 'EXPOS'"
UNITS = "('a' | 'mo' | 'wk' | 'd' | 'h' | 'min')"


class Rule(NamedTuple):
    """``expression`` holds of every item of ``at`` in every entry of type ``kind`` (empty: all)."""

    key: str
    kind: str
    at: str
    expression: str


_TEXT = r"`div`.matches('^<div xmlns=\"http://www.w3.org/1999/xhtml\">\\s*<p>MASKED</p>\\s*</div>$')"
RULES = (
    # eicr-anon-document-bundle
    Rule("eicr-anon-text-div", "", "text", _TEXT),
    Rule("text.extension 1..1", "", "text", MASKED),
    Rule("eicr-anon-display", "", "$this", "children().where(reference.exists()).display.empty()"),
    Rule("eicr-anon-exposure", "Observation", "$this",
         f"category.coding.where({EXPOSURE}).empty() and code.coding.where({EXPOSURE}).empty()"),
    # eicr-anon-patient
    Rule("eicr-anon-pt-iden", "Patient", "identifier", "(system | value).hasAny().not()"),
    Rule("identifier.system 1..1", "Patient", "identifier.system", MASKED),
    Rule("identifier.value 1..1", "Patient", "identifier.value", MASKED),
    Rule("eicr-anon-pt-name", "Patient", "name", NAMELESS),
    Rule("name.extension 1..1", "Patient", "name", MASKED),
    Rule("eicr-anon-pt-tel", "Patient", "telecom", "value.hasAny().not()"),
    Rule("telecom.value 1..1", "Patient", "telecom.value", MASKED),
    Rule("eicr-anon-pt-bd", "Patient", "birthDate", f"hasAny().not() and {MASKED}"),
    Rule("eicr-anon-pt-addr", "Patient", "address.line", f"hasAny().not() and {MASKED}"),
    Rule("address.postalCode", "Patient", "address.postalCode",
         "iif(hasAny(), matches('^[0-9]{3}00$'), true)"),
    Rule("eicr-anon-pt-ct-name", "Patient", "contact.name", f"{NAMELESS} and {MASKED}"),
    Rule("eicr-anon-pt-ct-tel", "Patient", "contact.telecom", f"{TELLS_NO_TELECOM} and {MASKED}"),
    Rule("eicr-anon-pt-ct-addr", "Patient", "contact.address", f"{NOWHERE} and {MASKED}"),
    # eicr-anon-practitioner, eicr-anon-practitionerrole
    Rule("eicr-anon-prct-name", "Practitioner", "name", f"{NAMELESS_BUT_FAMILY} and {MASKED}"),
    Rule("eicr-anon-prct-fam", "Practitioner", "name.family", f"hasAny().not() and {MASKED}"),
    Rule("eicr-anon-prct-tel", "Practitioner", "telecom", f"{TELLS_NO_TELECOM} and {MASKED}"),
    Rule("eicr-anon-prct-ad", "Practitioner", "address", f"{NOWHERE} and {MASKED}"),
    Rule("eicr-anon-prctrl-tel", "PractitionerRole", "telecom", "value.hasAny().not()"),
    Rule("telecom.value 1..1", "PractitionerRole", "telecom.value", MASKED),
    # eicr-anon-relatedperson
    Rule("eicr-anon-rp-iden", "RelatedPerson", "identifier",
         f"system.empty() and value.empty() and {MASKED}"),
    Rule("eicr-anon-rp-name", "RelatedPerson", "name", f"{NAMELESS_BUT_FAMILY} and {MASKED}"),
    Rule("eicr-anon-rp-tel", "RelatedPerson", "telecom", f"{TELLS_NO_TELECOM} and {MASKED}"),
    Rule("eicr-anon-rp-bd", "RelatedPerson", "birthDate", f"hasAny().not() and {MASKED}"),
    Rule("eicr-anon-rp-ad", "RelatedPerson", "address", f"{NOWHERE} and {MASKED}"),
    # eicr-anon-immunization, eicr-anon-past-or-present-job
    Rule("performer 0..0", "Immunization", "performer", "false"),
    Rule("performer 0..0", "Observation", "$this",
         "code.coding.where(code = '11341-5').empty() or performer.empty()"),
    # eicr-anon-caculated-age
    *(
        Rule(f"calculated age {name}", "Observation", "where(code.coding.exists(code = '29553-5'))",
             expression)
        for name, expression in (
            ("subject 1..1", "subject.reference.count() = 1"),
            ("effectiveDateTime 1..1", "effectiveDateTime.count() = 1"),
            ("value 1..1", "valueQuantity.value.count() = 1"),
            ("unit 1..1", "valueQuantity.unit.count() = 1"),
            ("system", "valueQuantity.system = 'http://unitsofmeasure.org'"),
            ("code", f"valueQuantity.code in {UNITS}"),
        )
    ),
    # eicr-anon-composition
    *(
        Rule(f"{name}.display 0..0", "Composition", name, "display.empty()")
        for name in ("subject", "encounter", "author", "custodian")
    ),
    Rule("relatesTo[sliceTransformed] 1..1", "Composition", "$this",
         "relatesTo.where(code = 'transforms').where(targetIdentifier.exists()).count() = 1 and "
         "relatesTo.where(code = 'transforms').count() = 1"),
    Rule("new identifier", "Composition", "$this",
         "identifier.value.exists() and relatesTo.where(code = 'transforms')."
         "targetIdentifier.value.first() != identifier.value"),
    Rule("section.text", "Composition", "section.descendants().text | section.text",
         f"`div`.exists().not() or ({MASKED} and {_TEXT})"),
    Rule("Social History", "Composition", "$this",
         "section.where(code.coding.exists(code = '29762-2')).exists()"),
)  # fmt: skip

# The guide's known gaps: what satisfies it and tells all the same.
BEYOND = (
    Rule("display anywhere", "", "$this", "descendants().display.empty()"),
    Rule("family names of relatives", "RelatedPerson", "name", NAMELESS),
    Rule("address text", "Patient", "address", "text.empty() and period.empty()"),
    Rule("notes", "", "$this", "descendants().note.text.empty()"),
    Rule("texts of codes", "", "$this", "descendants().where(coding.exists()).text.empty()"),
    Rule("free-text values", "", "$this",
         "(valueString | descendants().valueString).where($this.matches('^[0-9A-Za-z/.-]{1,20}$')"
         ".not()).empty()"),
    Rule("attachments", "", "$this",
         "descendants().where(contentType.exists() or data.exists()).empty()"),
    Rule("serial numbers", "Device", "$this",
         "serialNumber.empty() and lotNumber.empty() and distinctIdentifier.empty() and "
         "udiCarrier.deviceIdentifier.empty() and udiCarrier.carrierHRF.empty() and "
         "udiCarrier.carrierAIDC.empty()"),
    Rule("where it came from", "", "meta", "source.empty() and lastUpdated.empty()"),
    Rule("photo, link", "Patient", "$this",
         "photo.empty() and link.empty() and contact.gender.empty() and "
         "contact.organization.empty() and contact.period.empty()"),
    Rule("birth place and time", "", "$this",
         "descendants().where(url.exists()).where(url.startsWith("
         "'http://hl7.org/fhir/StructureDefinition/patient-birth')).empty()"),
)  # fmt: skip


def has_value(items: list[Any]) -> list[bool]:
    """Whether any of the items, primitives, has a value and not only extensions."""
    values = [getattr(item, "data", item) for item in items]
    return [any(value is not None and not isinstance(value, dict) for value in values)]


_OWN = {"userInvocationTable": {"hasAny": {"fn": has_value, "arity": {0: []}}}}


@cache
def _compiled(expression: str) -> Callable[[Json, dict[str, Any]], list[Any]]:
    found: Callable[[Json, dict[str, Any]], list[Any]] = fhirpathpy.compile(
        expression, models["r4"], _OWN
    )
    return found


def _broken(rule: Rule, resource: Json) -> bool:
    """Whether an item of the resource breaks the rule; an expression that gives nothing does."""
    whole = rule.at == "$this"
    holds = f"iif({rule.expression}, true, false)" if whole else f"{rule.at}.all({rule.expression})"
    return _compiled(holds)(resource, {}) != [True]


def documents(resource: Json) -> Iterator[Json]:
    """The document Bundles in a Bundle, itself among them."""
    if isinstance(resource, dict) and resource.get("resourceType") == "Bundle":
        if resource.get("type") == "document":
            yield resource
        for entry in resource.get("entry", ()):
            yield from documents(entry.get("resource"))


def resources(document: Json) -> list[Json]:
    """What a document's entries hold, and what that contains."""
    held = [_bare(entry["resource"]) for entry in document.get("entry", ()) if "resource" in entry]
    return [*held, *(inner for one in held for inner in one.get("contained", ()))]


def _bare(value: Json) -> Json:
    """JSON without arrays that hold nothing but null beside their ``_`` sibling (R4,
    json.html#null): fhirpathpy takes the nulls for values."""
    if isinstance(value, dict):
        nulls = {k for k, v in value.items() if isinstance(v, list) and set(map(id, v)) == _NULL}
        return {k: _bare(v) for k, v in value.items() if k not in nulls}
    return [_bare(item) for item in value] if isinstance(value, list) else value


_NULL = {id(None)}


def breaches(document: Json, rules: Iterable[Rule] = RULES) -> list[str]:
    """The keys of the rules that a document breaks, each with where, sorted."""
    found = set()
    for resource in resources(document):
        kind = resource["resourceType"]
        for rule in rules:
            if rule.kind in ("", kind) and _broken(rule, resource):
                found.add(f"{kind}: {rule.key}")
    return sorted(found)


def unmet(document: Json) -> list[str]:
    """What the guide says of a document as a whole and is not so, sorted."""
    by_url = {entry.get("fullUrl"): entry["resource"] for entry in document["entry"]}
    held = [entry["resource"] for entry in document["entry"]]
    composition = held[0]
    wrong = []

    def named(reference: Json) -> Json:
        text = (reference or {}).get("reference", "")
        ends = [one for url, one in by_url.items() if url == text or str(url).endswith("/" + text)]
        return ends[0] if ends else None

    ages = [one for one in held if _says(one, "29553-5")]
    listed = [
        named(entry)
        for section in composition.get("section", ())
        if _says(section, "29762-2")
        for entry in section.get("entry", ())
    ]
    if len(ages) != 1 or [one for one in listed if one in ages] != ages:
        wrong.append("Social History lists one calculated age")
    for age in ages:
        if named(age.get("subject")) != named(composition.get("subject")):
            wrong.append("the calculated age is the subject's")
        if age.get("effectiveDateTime") != composition.get("date"):
            wrong.append("the calculated age is of the document's date")
    if composition.get("date", "x") != document.get("timestamp", "")[: len(composition["date"])]:
        wrong.append("Bundle.timestamp is the document's date")
    for job in (one for one in held if _says(one, "11341-5")):
        for extension in job.get("extension", ()):
            employer = named(extension.get("valueReference"))
            if extension["url"].endswith("odh-Employer-extension") and not _is_masked(employer):
                wrong.append("the employer is masked")
    return sorted(wrong)


def _says(one: Json, code: str) -> bool:
    return f'"code": "{code}"' in json.dumps(one.get("code"))


def _is_masked(employer: Json) -> bool:
    """Whether it is an anonymized RelatedPerson or Organization (eicr-anon-organization)."""
    if employer is None or employer["resourceType"] != "Organization":
        return employer is not None and employer["resourceType"] == "RelatedPerson"
    rules = (
        Rule("name", "", "name", f"hasAny().not() and {MASKED}"),
        Rule("telecom", "", "telecom", f"{TELLS_NO_TELECOM} and {MASKED}"),
        Rule("address", "", "address", f"{NOWHERE} and {MASKED}"),
    )
    return not any(_broken(rule, employer) for rule in rules)
