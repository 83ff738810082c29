"""The Reportability Response to a case report: two determinations, their agencies, the status of
the report, and what the agency sends along."""

from __future__ import annotations

import base64

from proxy.demo import clinic, names
from proxy.demo.build import (
    absent,
    concept,
    extension,
    hide,
    identifier,
    narrative,
    quantity,
    reference,
)
from proxy.demo.eicr import (
    document_identifier,
    encounter,
    role_reference,
    subject,
)
from proxy.demo.names import BASE, ECR, LOINC, PHIN, PHINQ, SNOMED, Agency, Disease
from proxy.demo.patient import patient
from proxy.demo.story import UPSTREAM, UUIDS, Story
from proxy.fhir.codec import Json, JsonObject

DETERMINATIONS = (
    ("RRVS1", "Reportable"), ("RRVS2", "May be reportable"), ("RRVS3", "Not reportable"),
    ("RRVS4", "No reporting rule met"),
)
RELEVANCE = (
    ("RRVS5", "Patient home address"), ("RRVS6", "Provider facility address"),
    ("RRVS7", "Both patient home address and provider facility address"),
)
# What an agency sends along: key, category, priority, description.
MATERIALS = (
    ("outbreak", ("RRVS13", "Outbreak- or Cluster Related"),
     ("RRVS17", "Immediate action required"), "More cases than usual are seen in your county"),
    ("needs", ("RRVS8", "Additional reporting needs"), ("RRVS16", "Action requested"),
     "Please complete the supplemental form"),
    ("treatment", ("RRVS10", "Treatment and/or prevention"), ("RRVS15", "Information only"),
     "Guidance on treatment and prevention"),
)


def of_case(story: Story) -> Agency:
    return names.AGENCIES[story.number % len(names.AGENCIES)]


def observation(story: Story, key: str, profile: str, code: JsonObject) -> JsonObject:
    return {
        "resourceType": "Observation",
        "id": story.id("Observation", key),
        "meta": {"profile": [ECR + profile]},
        "status": "final",
        "code": code,
    }


def material(story: Story, key: str) -> JsonObject:
    """A DocumentReference to something for the clinician to read."""
    _, kind, priority, text = next(row for row in MATERIALS if row[0] == key)
    found: JsonObject = {
        "resourceType": "DocumentReference",
        "id": story.id("DocumentReference", key),
        "meta": {"profile": [ECR + "rr-documentreference"]},
        "extension": [
            extension(ECR + "rr-priority-extension",
                      valueCodeableConcept=concept(PHIN, *priority))
        ],
        "status": "current",
        "type": concept(LOINC, "83910-0", "Public health Note", "Information for clinicians"),
        "category": [concept(PHIN, *kind, text=kind[1])],
        "subject": subject(story),
        "description": f"{text} ({story.disease.display}).",
        "content": [
            {
                "attachment": {
                    "contentType": "application/pdf",
                    "url": f"https://{of_case(story).slug}.health.example.gov/{key}.pdf",
                }
            }
        ],
    }
    if story.style == UUIDS and key == "treatment":
        found["category"] = [{"coding": [absent("not-applicable")]}]
    return found


def determination(story: Story, number: int, disease: Disease) -> list[JsonObject]:
    """The relevant condition and what was found about it, the latter first."""
    agency = of_case(story)
    # The first is reportable; the second passes through the other answers from case to case.
    verdict = DETERMINATIONS[0 if number == 1 else 1 + story.number % 3]
    found = observation(
        story, f"determination-{number}", "rr-reportability-information-observation",
        concept(PHIN, *RELEVANCE[(story.number + number) % 3]),
    )
    extensions: list[Json] = [
        extension(ECR + "us-ph-determination-of-reportability-extension",
                  valueCodeableConcept=concept(PHIN, *verdict)),
        extension(ECR + "us-ph-determination-of-reportability-reason-extension",
                  valueString=f"{story.given} lives in {story.place[1]} county"),
        extension(ECR + "us-ph-determination-of-reportability-rule-extension",
                  valueString=f"{disease.display}: laboratory evidence within 14 days"),
    ]
    if number == 1:
        extensions += [
            extension(ECR + "rr-external-resource-extension",
                      valueReference=reference(story.ref("DocumentReference", row[0])))
            for row in MATERIALS
        ]
    found["extension"] = extensions
    found["performer"] = [
        reference(f"Organization/agency-{agency.slug}-{part}", f"{agency.name} - {title}")
        for part, _, title in clinic.PARTS
    ]
    found["component"] = [
        {
            "code": concept(PHINQ, "RR4", "Timeframe to report (urgency)"),
            "valueQuantity": quantity("24" if number == 1 else "3", "h" if number == 1 else "d",
                                      "h" if number == 1 else "d"),
        }
    ]
    if story.style == UUIDS and number == 2:
        found["component"] = [
            {
                "code": concept(PHINQ, "RR4", "Timeframe to report (urgency)"),
                "valueQuantity": {"value": 3, "unit": "d"},
            }
        ]
        for path in ("component.valueQuantity.value", "component.valueQuantity.unit"):
            hide(found, path)
    condition = observation(
        story, f"condition-{number}", "rr-relevant-reportable-condition-observation",
        {"coding": [{"system": SNOMED, "code": "64572001", "display": "Disease (disorder)"},
                    {"system": LOINC, "code": "75323-6", "display": "Condition"}]},
    )
    condition["subject"] = reference(story.ref("Patient", "patient"))
    condition["valueCodeableConcept"] = concept(SNOMED, disease.code, disease.display,
                                                disease.display)
    condition["hasMember"] = [reference(story.ref("Observation", f"determination-{number}"))]
    return [found, condition]


def processing(story: Story) -> list[JsonObject]:
    """Whether the report could be processed: with a warning, as in most real answers."""
    reason = observation(
        story, "status-reason", "rr-eicr-processing-status-reason-observation",
        concept(PHINQ, "RR6", "eICR Processing Status Reason"),
    )
    reason["valueCodeableConcept"] = concept(
        PHIN, "RRVS29", "eICR was processed with the warning of: outdated RCTC version"
    )
    reason["component"] = [
        {"code": concept(PHIN, "RRVS31", "Outdated RCTC Version Detail"),
         "valueString": "20240216"}
    ]
    status = observation(
        story, "status", "rr-eicr-processing-status-observation",
        concept(PHIN, "RRVS20", "eICR was processed - with a warning"),
    )
    status["hasMember"] = [reference(story.ref("Observation", "status-reason"))]
    return [reason, status]


def sentences(story: Story) -> list[str]:
    agency = of_case(story)
    return [
        "Your organization electronically submitted an initial case report to determine if "
        "reporting to public health is needed for a patient.",
        f'"{story.disease.display}" is reportable to "{agency.name}". The initial case report '
        f'was sent to "{agency.name}". Additional information may be required for this report.',
    ]


def summary(story: Story) -> JsonObject:
    found = observation(
        story, "summary", "rr-summary",
        concept(SNOMED, "304561000", "Informing health care professional (procedure)"),
    )
    found["valueString"] = " ".join(sentences(story))
    return found


def received(story: Story) -> JsonObject:
    """The DocumentReference to the case report that is answered."""
    file = f"eICR_{story.family}_{story.mrn}.xml"
    return {
        "resourceType": "DocumentReference",
        "id": story.id("DocumentReference", "received"),
        "masterIdentifier": document_identifier(story),
        "identifier": [identifier(f"urn:oid:{story.facility.oid}.2", f"{story.mrn}#1")],
        "status": "current",
        "type": concept(LOINC, "55751-2", "Public health Case report", "eICR"),
        "subject": reference(story.ref("Patient", "patient"), story.name),
        "content": [{"attachment": {"contentType": "text/xml",
                                    "url": f"urn:hl7ii:{story.facility.oid}.2:1", "title": file}}],
    }


def resources(story: Story) -> list[JsonObject]:
    """What stands in the Reportability Response beside its Composition."""
    place, agency = story.facility, of_case(story)
    return [
        clinic.organization(place), clinic.agency(agency),
        *(clinic.agency(agency, part) for part, _, _ in clinic.PARTS),
        clinic.location(place), clinic.practitioner(place), patient(story), clinic.role(place),
        *without_diagnosis(story),
        *(material(story, row[0]) for row in MATERIALS), received(story),
        *determination(story, 1, story.disease), *determination(story, 2, story.other),
        *processing(story), summary(story),
    ]


def without_diagnosis(story: Story) -> list[JsonObject]:
    """The Encounter as the answer repeats it: the Conditions are not part of it."""
    found = encounter(story)
    del found["diagnosis"]
    return [found]


def sections(story: Story) -> list[Json]:
    text = base64.b64encode(
        f"<html><body><p>Checked the report on {story.name}.</p></body></html>".encode()
    ).decode()
    output: list[Json] = [
        extension(
            "eICRProcessingStatus",
            valueReference=reference(story.ref("Observation", "status"),
                                     "eICR was processed - with a warning"),
        ),
        extension("eICRValidationOutput",
                  valueAttachment={"contentType": "text/html", "data": text}),
    ]
    if story.style != UPSTREAM:
        output[1] = extension("eICRValidationOutput",
                              valueString=f"Missing element in the report on {story.name}")
    return [
        {
            "title": "Reportability Response Subject",
            "code": concept(LOINC, "88084-9", "Reportable condition response information and "
                            "summary Document"),
            "text": narrative(
                "Public Health Reporting Communication: one or more conditions are reportable, "
                "or may be reportable, to public health."
            ),
        },
        {
            "extension": [
                extension(ECR + "rr-eicr-processing-status-extension", extension=output),
                extension(ECR + "rr-eicr-receipt-time-extension", valueDateTime=story.time(5)),
                extension(ECR + "eicr-initiation-type-extension",
                          valueCodeableConcept=concept(PHIN, "PHC2235",
                                                       "Alternately Initiated eICR")),
            ],
            "title": "Electronic Initial Case Report",
            "code": concept(LOINC, "88082-3", "Initial case report processing information "
                            "Document"),
            "text": narrative(f"The report on {story.name} was received on {story.time(5)}."),
            "entry": [
                {
                    **reference(story.ref("DocumentReference", "received"),
                                f"eICR_{story.family}_{story.mrn}.xml"),
                    "identifier": document_identifier(story),
                }
            ],
        },
        {
            "extension": [
                extension(ECR + "rr-priority-extension",
                          valueCodeableConcept=concept(PHIN, "RRVS17",
                                                       "Immediate action required"))
            ],
            "title": "Reportability Response Summary",
            "code": concept(LOINC, "55112-7", "Document summary"),
            "text": narrative(*sentences(story)),
            "entry": [
                reference(story.ref("Observation", "summary"), "Summary"),
                reference(story.ref("Observation", "condition-1"), story.disease.display),
                reference(story.ref("Observation", "condition-2"), story.other.display),
            ],
        },
    ]


def composition(story: Story) -> JsonObject:
    agency = of_case(story)
    issuer = reference(f"Organization/agency-{agency.slug}", agency.name)
    return {
        "resourceType": "Composition",
        "id": story.id("Composition", "rr"),
        "meta": {"profile": [ECR + "rr-composition"]},
        "language": "en-US",
        "text": narrative(f"Response to the case report on {story.name}"),
        "extension": [
            extension(BASE + "composition-clinicaldocument-versionNumber", valueString="1"),
            extension(ECR + "us-ph-information-recipient-extension",
                      valueReference=role_reference(story)),
        ],
        "identifier": identifier(names.URI, f"urn:uuid:{story.uuid('rr')}", agency.name),
        "status": "final",
        "type": concept(LOINC, "88085-6", "Reportability response report Document Public health"),
        "subject": subject(story),
        "encounter": reference(story.ref("Encounter", "encounter"), f"Visit {story.day(0)}"),
        "date": story.time(6),
        "author": [issuer],
        "title": f"Reportability Response - {story.name}",
        "confidentiality": "N",
        "custodian": issuer,
        "relatesTo": [
            {
                "code": "transforms",
                "targetIdentifier": identifier(
                    f"urn:oid:2.999.{story.number}", story.uuid("cda-rr"), agency.name
                ),
            }
        ],
        "section": sections(story),
    }
