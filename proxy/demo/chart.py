"""What the server holds of a patient beside the two documents: every other type of resource that
case reports use."""

from __future__ import annotations

from proxy.demo.build import (
    absent,
    coding,
    concept,
    decimal,
    extension,
    hide,
    identifier,
    quantity,
    reference,
)
from proxy.demo.eicr import administration, own_identifier, subject
from proxy.demo.findings import category, observation, residence
from proxy.demo.names import CORE, ECR, LOINC, RXNORM, SNOMED, THO
from proxy.demo.patient import clinic as at
from proxy.demo.patient import mother, person
from proxy.demo.story import UUIDS, Story
from proxy.fhir.codec import Json, JsonObject


def specimen(story: Story) -> JsonObject:
    found: JsonObject = {
        "resourceType": "Specimen",
        "id": story.id("Specimen", "specimen"),
        "identifier": own_identifier(story, "sp"),
        "accessionIdentifier": identifier(f"urn:oid:{story.facility.oid}.7", f"S{story.digits}"),
        "type": concept(SNOMED, "119297000", "Blood specimen (specimen)", "Blood"),
        "subject": subject(story),
        "receivedTime": story.time(8),
        "collection": {
            "collectedDateTime": story.time(2),
            "bodySite": concept(SNOMED, "368208006", "Left upper arm structure (body structure)"),
        },
        "note": [{"text": f"Drawn by {story.clinician}"}],
    }
    if story.style == UUIDS:
        found["collection"] = {"collectedPeriod": {"start": story.day(0)}}
    return found


def report(story: Story) -> JsonObject:
    return {
        "resourceType": "DiagnosticReport",
        "id": story.id("DiagnosticReport", "report"),
        "identifier": own_identifier(story, "dr"),
        "status": "final",
        "category": [concept(THO + "v2-0074", "LAB", "Laboratory")],
        "code": concept(LOINC, *story.disease.test),
        "subject": subject(story),
        "encounter": reference(story.ref("Encounter", "encounter")),
        "effectivePeriod": {"start": story.time(2), "end": story.time(9)},
        "issued": story.time(30),
        "specimen": [reference(story.ref("Specimen", "specimen"))],
        "result": [reference(story.ref("Observation", "lab-result"))],
        "conclusion": f"{story.name} is infected; told by telephone {story.phone(1)}.",
        "conclusionCode": [concept(SNOMED, story.disease.code, story.disease.display)],
        "presentedForm": [
            {"contentType": "text/plain", "data": "RmljdGlvbmFsIHJlcG9ydA==",
             "title": f"{story.family}-{story.mrn}.txt"}
        ],
    }


def medication(story: Story) -> JsonObject:
    found: JsonObject = {
        "resourceType": "Medication",
        "id": story.id("Medication", "medication"),
        "meta": {"profile": [CORE + "us-core-medication"]},
        "code": concept(RXNORM, "248656", "Azithromycin 500 MG Oral Tablet", "Azithromycin"),
        "batch": {"lotNumber": f"LOT-{story.digits % 9999}"},
    }
    if story.style == UUIDS:
        found["code"] = {"coding": [absent()], "text": "Antibiotic"}
    return found


def request(story: Story) -> JsonObject:
    """A MedicationRequest; outside converted data its Medication is contained."""
    found: JsonObject = {
        "resourceType": "MedicationRequest",
        "id": story.id("MedicationRequest", "request"),
        "meta": {"profile": [CORE + "us-core-medicationrequest"]},
        "identifier": own_identifier(story, "mr"),
        "status": "active",
        "intent": "plan",
        "medicationReference": reference(story.ref("Medication", "medication")),
        "subject": subject(story),
        "supportingInformation": [reference(story.ref("Observation", "lab-result"))],
        "authoredOn": story.time(1),
        "requester": reference(at("Practitioner", story)),
        "performer": reference(at("Practitioner", story)),
        "reasonReference": [reference(story.ref("Condition", "diagnosis"))],
        "dosageInstruction": [
            {
                "text": f"Twice daily; {story.relative} helps",
                "timing": {
                    "repeat": {
                        "boundsPeriod": {"start": story.day(0), "end": story.day(10)},
                        "period": decimal("12.0"),
                        "periodUnit": "h",
                    }
                },
                "route": concept(SNOMED, "26643006", "Oral route", "By mouth"),
                "doseAndRate": [{"doseQuantity": quantity("1", "TAB")}],
            }
        ],
        "dispenseRequest": {"numberOfRepeatsAllowed": 1},
    }
    if story.style != UUIDS:
        inner = medication(story)
        inner["id"] = "azithromycin"
        del inner["meta"]
        found["contained"] = [inner]
        found["medicationReference"] = reference("#azithromycin")
    return found


def given_later(story: Story) -> JsonObject:
    """A MedicationAdministration that refers to its Medication."""
    found = administration(story, "admission")
    del found["medicationCodeableConcept"]
    found["medicationReference"] = reference(story.ref("Medication", "medication"))
    found["supportingInformation"] = [reference(story.ref("Observation", "disability"))]
    return found


def dispense(story: Story) -> JsonObject:
    return {
        "resourceType": "MedicationDispense",
        "id": story.id("MedicationDispense", "dispense"),
        "identifier": own_identifier(story, "md"),
        "status": "preparation",
        "medicationReference": reference(story.ref("Medication", "medication")),
        "subject": subject(story),
        "daysSupply": {"value": 10},
        "whenHandedOver": story.time(20),
        "receiver": [reference(story.ref("Patient", "patient"), story.name)],
    }


def allergy(story: Story) -> JsonObject:
    return {
        "resourceType": "AllergyIntolerance",
        "id": story.id("AllergyIntolerance", "allergy"),
        "meta": {"profile": [CORE + "us-core-allergyintolerance"]},
        "identifier": own_identifier(story, "ai"),
        "clinicalStatus": concept(THO + "allergyintolerance-clinical", "inactive"),
        "verificationStatus": concept(
            THO + "allergyintolerance-verification", "confirmed", "Confirmed"
        ),
        "type": "allergy",
        "code": concept(RXNORM, "7980", "penicillin G"),
        "patient": subject(story),
        "onsetDateTime": story.day(-3000),
        "note": [{"text": f"Reported by {story.relative}"}],
    }


def communication(story: Story) -> JsonObject:
    return {
        "resourceType": "Communication",
        "id": story.id("Communication", "education"),
        "identifier": own_identifier(story, "co"),
        "partOf": [reference(story.ref("Procedure", "procedure"))],
        "status": "completed",
        "subject": subject(story),
        "topic": concept(SNOMED, "311401005", "Patient education"),
        "encounter": reference(story.ref("Encounter", "encounter")),
        "sent": story.time(2),
        "recipient": [reference(story.ref("Patient", "patient"))],
        "sender": reference(at("Practitioner", story)),
        "payload": [{"contentString": f"Dear {story.given}, please stay at home."}],
    }


def family_history(story: Story) -> JsonObject:
    return {
        "resourceType": "FamilyMemberHistory",
        "id": story.id("FamilyMemberHistory", "mother"),
        "status": "completed",
        "patient": subject(story),
        "name": f"{story.relative} {story.family}",
        "relationship": concept(THO + "v3-RoleCode", "MTH", "mother"),
        "sex": concept("http://hl7.org/fhir/administrative-gender", "female"),
        "bornDate": story.birth.replace(year=story.birth.year - 24, day=5).isoformat(),
        "condition": [{"code": concept(SNOMED, "59621000", "Essential hypertension")}],
    }


def goal(story: Story) -> JsonObject:
    return {
        "resourceType": "Goal",
        "id": story.id("Goal", "goal"),
        "identifier": own_identifier(story, "go"),
        "lifecycleStatus": "active",
        "description": concept(LOINC, "58144-7", "Resident's overall goal established during "
                               "assessment process [MDSv3]"),
        "subject": subject(story),
        "statusDate": story.day(2),
        "expressedBy": reference(at("Practitioner", story)),
        "addresses": [reference(story.ref("Condition", "diagnosis"))],
    }


def request_group(story: Story) -> JsonObject:
    return {
        "resourceType": "RequestGroup",
        "id": story.id("RequestGroup", "group"),
        "identifier": own_identifier(story, "rg"),
        "status": "active",
        "intent": "plan",
        "subject": subject(story),
        "authoredOn": story.time(1),
        "action": [{"resource": reference(story.ref("ServiceRequest", "order"))}],
    }


def source(story: Story) -> JsonObject:
    """The DocumentReference to the CDA document from which the report was made."""
    return {
        "resourceType": "DocumentReference",
        "id": story.id("DocumentReference", "source"),
        "meta": {"profile": [CORE + "us-core-documentreference"]},
        "masterIdentifier": identifier(
            f"urn:oid:{story.facility.oid}.1", story.uuid("cda"), story.facility.name
        ),
        "identifier": [
            identifier(f"urn:oid:{story.facility.oid}.2", f"{story.mrn}:1", story.facility.name)
        ],
        "status": "superseded",
        "type": concept(LOINC, "55751-2", "Public health Case report", "eICR"),
        "category": [
            concept(CORE.replace("StructureDefinition/", "CodeSystem/")
                    + "us-core-documentreference-category", "clinical-note", "Clinical Note")
        ],
        "subject": subject(story),
        "date": story.time(4),
        "author": [reference(at("Practitioner", story), story.clinician)],
        "description": f"Report on {story.name}",
        "content": [
            {"attachment": {"contentType": "text/plain", "data": "RmljdGlvbmFsIENEQQ==",
                            "url": f"urn:hl7ii:{story.facility.oid}.2:{story.mrn}"}}
        ],
    }


def provenances(story: Story) -> list[JsonObject]:
    target: list[Json] = [reference(story.ref("Composition", "eicr"))]
    author = concept(THO + "provenance-participant-type", "author")
    return [
        {
            "resourceType": "Provenance",
            "id": story.id("Provenance", "author"),
            "target": target,
            "recorded": story.time(4),
            "agent": [{"type": author,
                       "who": reference(at("Practitioner", story), story.clinician)}],
        },
        {
            "resourceType": "Provenance",
            "id": story.id("Provenance", "converter"),
            "target": target,
            "recorded": story.time(5),
            "agent": [{"who": {"display": "document converter"}}],
            "entity": [
                {"role": "derivation",
                 "what": reference(story.ref("DocumentReference", "source"))}
            ],
        },
    ]


def care(story: Story) -> list[JsonObject]:
    team: JsonObject = {
        "resourceType": "CareTeam",
        "id": story.id("CareTeam", "team"),
        "identifier": own_identifier(story, "ct"),
        "status": "active",
        "name": f"Team of {story.name}",
        "subject": subject(story),
        "period": {"start": story.day(0)},
        "participant": [{"member": reference(at("Practitioner", story), story.clinician)}],
    }
    plan: JsonObject = {
        "resourceType": "CarePlan",
        "id": story.id("CarePlan", "plan"),
        "identifier": own_identifier(story, "cp"),
        "status": "active",
        "intent": "plan",
        "title": f"Isolation of {story.given}",
        "subject": subject(story),
        "period": {"start": story.day(0), "end": story.day(14)},
        "created": story.day(0),
        "careTeam": [reference(story.ref("CareTeam", "team"))],
        "goal": [reference(story.ref("Goal", "goal"))],
    }
    return [team, plan]


def more_findings(story: Story) -> list[JsonObject]:
    """Observations of kinds and with values that the document does not hold."""
    disability = observation(
        story, "disability", ECR + "us-ph-disability-status",
        concept(LOINC, "69856-3", "Are you deaf, or do you have serious difficulty hearing"),
    )
    disability |= {"effectiveDateTime": story.day(-1), "valueBoolean": True}
    period = observation(
        story, "last-period", "http://hl7.org/fhir/StructureDefinition/Observation",
        concept(LOINC, "8665-2", "Last menstrual period start date"),
    )
    period |= {"effectiveDateTime": story.day(0), "valueDateTime": story.day(-45)}
    age = observation(
        story, "age", "http://hl7.org/fhir/StructureDefinition/Observation",
        concept(LOINC, "29553-5", "Age calculated"),
    )
    years = (story.visit.date() - story.birth).days // 366
    age |= {"effectiveDateTime": story.day(0), "valueQuantity": quantity(str(years), "a", "a")}
    ward = observation(
        story, "ward-contact", "http://hl7.org/fhir/StructureDefinition/Observation",
        {"coding": [coding(f"urn:oid:{story.facility.oid}.3", f"LOC-{story.mrn}",
                           f"Ward round {story.given}")]},
    )
    ward |= {
        "effectiveDateTime": story.time(3),
        "specimen": reference(story.ref("Specimen", "specimen")),
        "device": reference(story.ref("Device", "device")),
        "valueQuantity": quantity("2.50", "visits"),
    }
    if story.style == UUIDS:
        ward["component"] = [
            {"code": {"coding": [absent()], "text": "Length"},
             "valueQuantity": quantity("20", "min")}
        ]
        for path in ("component.valueQuantity.value", "component.valueQuantity.unit"):
            hide(ward, path)
    home = observation(
        story, "home", ECR + "us-ph-characteristics-of-home-environment",
        concept(LOINC, "75274-1", "Characteristics of residence"),
    )
    home |= {
        "category": category("social-history", "Social History"),
        "effectivePeriod": {"start": story.day(-90)},
        "valueCodeableConcept": concept(SNOMED, "32911000", "Homeless (finding)"),
    }
    transport = observation(
        story, "transport", ECR + "us-ph-transportation-details",
        concept(SNOMED, "424483007", "Transportation details (observable entity)"),
    )
    transport["component"] = [
        {
            "extension": [
                extension(ECR + "us-ph-date-determined-extension", valueDateTime=story.day(-1))
            ],
            "code": {"text": "Departure"},
            "valueDateTime": story.time(-280),
        },
        {"code": {"text": "Seat"}, "valueString": f"{story.digits % 40}C, {story.name}"},
    ]
    return [disability, period, age, ward, home, transport, residence(story)]


def endpoint(story: Story) -> JsonObject:
    """Where the place of care receives answers; its header may name a person."""
    return {
        "resourceType": "Endpoint",
        "id": story.id("Endpoint", "endpoint"),
        "status": "active",
        "connectionType": coding(THO + "endpoint-connection-type", "hl7-fhir-rest"),
        "name": f"Inbox of {story.facility.name}",
        "managingOrganization": reference(at("Organization", story)),
        "payloadType": [{"text": "eCR"}],
        "address": f"https://{story.facility.slug}.example.org/fhir",
        "extension": [
            extension("http://example.org/fhir/StructureDefinition/desk",
                      valueString=story.clinician)
        ],
    }


def chart(story: Story) -> list[JsonObject]:
    """All of it, what is referenced first."""
    return [
        mother(story), person(story), endpoint(story), specimen(story), medication(story),
        *more_findings(story), report(story), request(story), given_later(story),
        dispense(story), allergy(story), communication(story), family_history(story),
        goal(story), request_group(story), *care(story), source(story), *provenances(story),
    ]
