"""A small release of reporting rules: which codes trigger a report, and how a system reports."""

from __future__ import annotations

from proxy.demo import names
from proxy.demo.build import coding, concept, extension, identifier, narrative, quantity
from proxy.demo.names import BASE, ECR, ICD10, LOINC, SNOMED, THO, Disease
from proxy.fhir.codec import Json, JsonObject

BASE_URL = "http://hl7.org/fhir/us/ecr/"
USAGE = BASE_URL + "CodeSystem/us-ph-usage-context"
VERSION = "2024-02-16"
DATE = "2024-02-16"

# id, OID tail, title, and which of a disease's codes stand in its sets: (suffix, system).
GROUPERS = (
    ("dxtc", "627", "Diagnosis and Problem Triggers"),
    ("lotc", "1056", "Lab Order Test Triggers"),
    ("ostc", "1059", "Organism and Substance Triggers"),
)


def context(code: str, value: str, of: str = "us-ph-usage-context-type") -> JsonObject:
    return {
        "code": coding(f"{BASE_URL}CodeSystem/{of}", code),
        "valueCodeableConcept": concept(USAGE, value),
    }


def codes(disease: Disease, grouper: str) -> list[tuple[str, str, str]]:
    """(system, code, display) of a disease's triggers in a grouper."""
    return {
        "dxtc": [(SNOMED, disease.code, disease.display), (ICD10, disease.icd10, "")],
        "lotc": [(LOINC, *disease.test)],
        "ostc": [(SNOMED, *disease.organism)],
    }[grouper]


def leaf_oid(disease: Disease, grouper: str) -> str:
    return f"{disease.oid}.{[g[0] for g in GROUPERS].index(grouper) + 1}"


def leaf_url(disease: Disease, grouper: str) -> str:
    return f"http://cts.nlm.nih.gov/fhir/ValueSet/{leaf_oid(disease, grouper)}"


def leaf(disease: Disease, grouper: str) -> JsonObject:
    """The value set of one disease in one grouper; its focus is the disease."""
    oid = leaf_oid(disease, grouper)
    include: list[Json] = []
    contains: list[Json] = []
    for system, code, display in codes(disease, grouper):
        one: JsonObject = {"code": code}
        if display:
            one["display"] = display
        include.append({"system": system, "version": VERSION, "concept": [one]})
        contains.append({"system": system, "version": VERSION, **one})
    return {
        "resourceType": "ValueSet",
        "id": oid,
        "extension": [
            extension(BASE + "valueset-author", valueContactDetail={"name": "Example Author"}),
            extension(BASE + "valueset-steward", valueContactDetail={"name": "Example Steward"}),
        ],
        "url": leaf_url(disease, grouper),
        "identifier": [identifier(names.URI, f"urn:oid:{oid}")],
        "version": VERSION,
        "name": f"Triggers{grouper.capitalize()}{disease.code}",
        "title": f"{disease.display} - {grouper}",
        "status": "active",
        "experimental": True,
        "date": DATE,
        "publisher": "ecr-proxy demo",
        "description": f"Codes that point at {disease.display}",
        "useContext": [
            {
                "code": coding(THO + "usage-context-type", "focus"),
                "valueCodeableConcept": concept(SNOMED, disease.code, disease.display,
                                                disease.display),
            },
            context("reporting", "triggering"),
            context("priority", "routine"),
        ],
        "compose": {"include": include},
        "expansion": {"timestamp": f"{DATE}T10:00:00-05:00", "contains": contains},
    }


def grouper(id: str, tail: str, title: str) -> JsonObject:
    return {
        "resourceType": "ValueSet",
        "id": id,
        "url": f"{BASE_URL}ValueSet/{id}",
        "identifier": [identifier(names.URI, f"urn:oid:2.16.840.1.113762.1.4.1146.{tail}")],
        "version": VERSION,
        "name": title.replace(" ", ""),
        "title": title,
        "status": "active",
        "experimental": True,
        "date": DATE,
        "publisher": "ecr-proxy demo",
        "useContext": [context("reporting", "triggering")],
        "purpose": f"{title} documented in a clinical record",
        "compose": {
            "include": [{"valueSet": [leaf_url(d, id)]} for d in names.DISEASES]
        },
    }


def library(id: str, title: str, kind: str, parts: list[str]) -> JsonObject:
    return {
        "resourceType": "Library",
        "id": id,
        "text": narrative(title),
        "url": f"{BASE_URL}Library/{id}",
        "identifier": [identifier(names.URI, f"urn:oid:{names.TRIGGERS}")],
        "version": VERSION,
        "name": title.replace(" ", ""),
        "title": title,
        "status": "active",
        "experimental": True,
        "type": concept(THO + "library-type", "asset-collection"),
        "date": DATE,
        "publisher": "ecr-proxy demo",
        "contact": [{"name": "Help desk",
                     "telecom": [{"system": "phone", "value": "+1-555-555-0100"}]}],
        "description": f"{title} of the demo",
        "useContext": [context("reporting", "triggering"), context("specification-type", kind)],
        "jurisdiction": [concept(names.COUNTRY, "US", "United States of America",
                                 "United States of America")],
        "effectivePeriod": {"start": DATE},
        "relatedArtifact": [{"type": "composed-of", "resource": part} for part in parts],
    }


def plan() -> JsonObject:
    """The workflow: look for triggers when an encounter starts, then make the report."""
    def action(id: str, text: str, code: str, **more: Json) -> JsonObject:
        return {
            "id": id,
            "description": text,
            "textEquivalent": text,
            "code": [concept(f"{BASE_URL}CodeSystem/us-ph-plandefinition-actions", code)],
            **more,
        }

    query = ECR + "us-ph-fhirquerypattern-extension"
    start: JsonObject = {
        "id": "encounter-start",
        "extension": [
            extension(
                ECR + "us-ph-named-eventtype-extension",
                valueCodeableConcept=concept(
                    f"{BASE_URL}CodeSystem/us-ph-triggerdefinition-namedevents", "encounter-start"
                ),
            )
        ],
        "type": "named-event",
        "name": "encounter-start",
    }
    inputs: list[Json] = [
        {
            "id": "conditions",
            "extension": [
                extension(query, valueString="Condition?patient={{context.patientId}}")
            ],
            "type": "Condition",
            "codeFilter": [{"path": "code", "valueSet": f"{BASE_URL}ValueSet/dxtc"}],
        }
    ]
    return {
        "resourceType": "PlanDefinition",
        "id": "plandefinition-ersd-demo",
        "url": f"{BASE_URL}PlanDefinition/plandefinition-ersd-demo",
        "version": VERSION,
        "name": "PlanDefinitionErsdDemo",
        "title": "Reporting workflow of the demo",
        "type": concept(THO + "plan-definition-type", "workflow-definition"),
        "status": "active",
        "experimental": True,
        "date": DATE,
        "publisher": "ecr-proxy demo",
        "description": "How a record system finds and reports a case",
        "effectivePeriod": {"start": DATE},
        "relatedArtifact": [
            {"type": "depends-on", "label": "Trigger codes",
             "resource": f"{BASE_URL}Library/library-rctc-demo"}
        ],
        "action": [
            action(
                "start-workflow", "Begin when an encounter begins", "initiate-reporting-workflow",
                trigger=[start], input=inputs,
                relatedAction=[
                    {"actionId": "create-eicr", "relationship": "before-start",
                     "offsetDuration": quantity("1", "", "h")}
                ],
            ),
            action("create-eicr", "Make the report", "create-report"),
        ],
    }


def resources() -> list[JsonObject]:
    """The release, its first resource the specification library."""
    leaves = [leaf(d, g[0]) for g in GROUPERS for d in names.DISEASES]
    groupers = [grouper(*g) for g in GROUPERS]
    return [
        library("SpecificationLibrary", "Specification Library", "program",
                [f"{BASE_URL}PlanDefinition/plandefinition-ersd-demo",
                 f"{BASE_URL}Library/library-rctc-demo"]),
        plan(),
        library("library-rctc-demo", "Reportable Condition Trigger Codes", "value-set-library",
                [str(g["url"]) for g in groupers]),
        *groupers,
        *leaves,
    ]


def bundle() -> JsonObject:
    """The release as one collection Bundle."""
    return {
        "resourceType": "Bundle",
        "id": "bundle-ersd-demo",
        "type": "collection",
        "timestamp": f"{DATE}T12:00:00-05:00",
        "entry": [{"fullUrl": r["url"], "resource": r} for r in resources()],
    }
