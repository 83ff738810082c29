"""The initial case report: its clinical resources and its Composition."""

from __future__ import annotations

from proxy.demo import clinic, names
from proxy.demo.build import (
    absent,
    array,
    coding,
    concept,
    extension,
    hide,
    identifier,
    narrative,
    quantity,
    reference,
)
from proxy.demo.findings import findings
from proxy.demo.names import BASE, CORE, ECR, LOINC, PHIN, RXNORM, SNOMED, THO, TRIGGERS
from proxy.demo.patient import clinic as at
from proxy.demo.patient import patient
from proxy.demo.story import FOREIGN, UPSTREAM, UUIDS, Story
from proxy.fhir.codec import Json, JsonObject


def subject(story: Story) -> JsonObject:
    return reference(story.ref("Patient", "patient"), story.name)


def own_identifier(story: Story, key: str) -> list[Json]:
    return [identifier(names.URI, f"urn:uuid:{story.uuid(key)}")]


def trigger(story: Story, system: str, code: str, display: str) -> JsonObject:
    """The flag on what made the record system send a report."""
    return extension(
        ECR + "eicr-trigger-code-flag-extension",
        extension=[
            extension("triggerCodeValueSet", valueOid=f"urn:oid:{TRIGGERS}"),
            extension("triggerCodeValueSetVersion", valueString="20240216"),
            extension("triggerCode", valueCoding=coding(system, code, display)),
        ],
    )


def role_reference(story: Story) -> JsonObject:
    return reference(f"PractitionerRole/{clinic.role_id(story.facility)}", story.clinician)


def encounter(story: Story) -> JsonObject:
    found: JsonObject = {
        "resourceType": "Encounter",
        "id": story.id("Encounter", "encounter"),
        "meta": {"profile": [ECR + "eicr-encounter"]},
        "text": narrative(f"{story.name} was seen by {story.clinician}"),
        "identifier": [
            identifier(f"urn:oid:{story.facility.oid}.4", f"V{story.digits}", story.facility.name)
        ],
        "status": "finished",
        "class": coding(THO + "v3-ActCode", "AMB", "ambulatory"),
        "type": [
            concept(THO + "v3-ActCode", "AMB", "ambulatory",
                    f"Walk-in, {story.facility.name}")
        ],
        "subject": subject(story),
        "participant": [
            {
                "type": [concept(THO + "v3-ParticipationType", "ATND", "attender")],
                "individual": role_reference(story),
            }
        ],
        "period": {"start": story.time(0), "end": story.time(1.5)},
        "reasonCode": [concept(PHIN, "PHC1464", "Manually Initiated eICR")],
        "diagnosis": [
            {
                "extension": [
                    trigger(story, SNOMED, story.disease.code, story.disease.display)
                ],
                "condition": reference(story.ref("Condition", "diagnosis")),
            }
        ],
        "location": [
            {"location": reference(at("Location", story), f"{story.facility.name}, Building C")}
        ],
        "serviceProvider": reference(at("Organization", story), story.facility.name),
    }
    if story.style == UUIDS:
        found["class"] = absent()
    return found


def condition(story: Story, key: str) -> JsonObject:
    """``diagnosis``: the reportable one; ``problem``: another of the problem list."""
    reported = key == "diagnosis"
    kind = ("encounter-diagnosis", "Encounter Diagnosis")
    if not reported:
        kind = ("problem-list-item", "Problem List Item")
    found: JsonObject = {
        "resourceType": "Condition",
        "id": story.id("Condition", key),
        "meta": {"profile": [ECR + "us-ph-condition"]},
        "identifier": own_identifier(story, f"c{key}"),
        "clinicalStatus": concept(THO + "condition-clinical", "active"),
        "verificationStatus": concept(THO + "condition-ver-status", "confirmed"),
        "category": [concept(THO + "condition-category", *kind)],
        "code": concept(SNOMED, story.disease.code, story.disease.display,
                        f"Suspected on {story.day(-1)}"),
        "subject": subject(story),
        "onsetDateTime": story.day(-6),
        "recordedDate": story.day(0),
        "recorder": reference(at("Practitioner", story)),
        "asserter": reference(at("Practitioner", story), story.clinician),
        "note": [{"text": f"{story.given} fell ill at {story.employer}."}],
    }
    if not reported:
        found["code"] = concept(SNOMED, "38341003", "Hypertensive disorder (disorder)")
        if story.style == UUIDS:
            found["code"] = {"coding": [absent()], "text": "High blood pressure"}
    return found


def administration(story: Story, key: str) -> JsonObject:
    """A MedicationAdministration: ``given`` during the visit, or ``admission``."""
    found: JsonObject = {
        "resourceType": "MedicationAdministration",
        "id": story.id("MedicationAdministration", key),
        "meta": {"profile": [ECR + "us-ph-medicationadministration"]},
        "identifier": own_identifier(story, f"m{key}"),
        "status": "completed",
        "medicationCodeableConcept": concept(
            RXNORM, "248656", "Azithromycin 500 MG Oral Tablet", "Azithromycin"
        ),
        "subject": subject(story),
        "effectivePeriod": {"start": story.time(1), "end": story.time(1.25)},
        "performer": [{"actor": reference(at("Practitioner", story))}],
        "reasonReference": [reference(story.ref("Condition", "diagnosis"))],
        "note": [{"text": f"Ask {story.relative} on {story.phone(3)} about side effects."}],
        "dosage": {
            "text": f"As {story.clinician} told the patient",
            "route": concept(SNOMED, "26643006", "Oral route", "By mouth"),
            "method": concept(SNOMED, "421521009", "Swallow"),
            "dose": quantity("2", "TAB", "TAB", THO + "v3-orderableDrugForm"),
        },
    }
    if key == "admission":
        found["effectiveDateTime"] = story.time(-20)
        del found["effectivePeriod"]
        found["extension"] = [
            extension(
                ECR + "us-ph-therapeutic-medication-response-extension",
                valueCodeableConcept=concept(
                    SNOMED, "268910001", "Patient's condition improved (finding)"
                ),
            )
        ]
    return found


def immunization(story: Story) -> JsonObject:
    found: JsonObject = {
        "resourceType": "Immunization",
        "id": story.id("Immunization", "vaccine"),
        "meta": {"profile": [CORE + "us-core-immunization"]},
        "identifier": own_identifier(story, "iv"),
        "status": "completed",
        "vaccineCode": concept(
            names.CVX, "33", "pneumococcal polysaccharide PPV23", "Pneumococcal"
        ),
        "patient": subject(story),
        "occurrenceDateTime": story.day(-200),
        "primarySource": True,
        "manufacturer": reference(story.ref("Organization", "employer")),
        "lotNumber": f"LOT-{story.digits % 10000}",
        "route": concept(THO + "v3-RouteOfAdministration", "IM", "Injection, intramuscular"),
        "doseQuantity": quantity("0.5", "mL"),
        "performer": [{"actor": reference(at("Practitioner", story))}],
        "note": [{"text": f"Given at {story.facility.name}."}],
    }
    if story.style == UUIDS:
        hide(found, "primarySource")
        found["vaccineCode"] = {"coding": [absent()], "text": "Unknown vaccine"}
        found["route"] = {"coding": [absent()]}
    return found


def procedure(story: Story) -> JsonObject:
    found: JsonObject = {
        "resourceType": "Procedure",
        "id": story.id("Procedure", "procedure"),
        "meta": {"profile": [ECR + "eicr-procedure"]},
        "identifier": own_identifier(story, "pr"),
        "status": "completed",
        "code": concept(SNOMED, "233573008", "Extracorporeal membrane oxygenation (procedure)",
                        "ECMO"),
        "subject": reference(story.ref("Patient", "patient")),
        "performedPeriod": {"start": story.time(3), "end": story.time(9)},
        "bodySite": [concept(SNOMED, "302551006", "Entire thorax (body structure)")],
        "focalDevice": [{"manipulated": reference(story.ref("Device", "device"))}],
    }
    if story.style == UUIDS:
        found["outcome"] = {"coding": [absent()]}
    return found


def device(story: Story) -> JsonObject:
    serial = f"SN{story.digits}"
    found: JsonObject = {
        "resourceType": "Device",
        "id": story.id("Device", "device"),
        "text": narrative(f"Used for {story.name}, serial number {serial}"),
        "identifier": [identifier("urn:oid:2.999.77", serial)],
        "udiCarrier": [
            {
                "deviceIdentifier": "09999990000019",
                "carrierHRF": f"(01)09999990000019(17)271101(10)B77(21){serial}",
                "entryType": "rfid",
            }
        ],
        "status": "active",
        "manufacturer": "Bellweather Devices",
        "expirationDate": story.day(700),
        "lotNumber": "B77",
        "serialNumber": serial,
        "deviceName": [{"name": "Bellweather Oxygenator 4", "type": "udi-label-name"}],
        "modelNumber": "4.0",
        "type": concept(
            SNOMED, "469244005", "Extracorporeal membrane oxygenator (physical object)",
            "Oxygenator",
        ),
        "version": [
            {"type": concept(THO + "v3-ActCode", "AMB", "ambulatory"), "value": "4.0.2"}
        ],
        "patient": subject(story),
        "owner": reference(at("Organization", story)),
        "contact": [{"system": "phone", "value": story.phone(6)}],
        "location": reference(at("Location", story)),
        "url": f"https://devices.example.org/{serial}",
    }
    if story.style == UUIDS:
        for path in ("identifier.system", "identifier.value"):
            hide(found, path)
    return found


def order(story: Story) -> JsonObject:
    return {
        "resourceType": "ServiceRequest",
        "id": story.id("ServiceRequest", "order"),
        "meta": {"profile": [ECR + "eicr-servicerequest"]},
        "identifier": [identifier(f"urn:oid:{story.facility.oid}.6", f"A{story.digits}")],
        "status": "completed",
        "intent": "order",
        "category": [
            concept(SNOMED, "103693007", "Diagnostic procedure (procedure)", "Test")
        ],
        "code": concept(LOINC, *story.disease.test, text="Pathogen test"),
        "subject": subject(story),
        "occurrenceDateTime": story.time(2),
        "authoredOn": story.time(1),
        "requester": reference(at("Practitioner", story)),
        "performer": [
            reference(f"Organization/organization-laboratory-{story.facility.slug}",
                      f"{story.facility.family} Diagnostics")
        ],
    }


def employer(story: Story) -> JsonObject:
    return {
        "resourceType": "Organization",
        "id": story.id("Organization", "employer"),
        "active": True,
        "name": story.employer,
        "telecom": [{"system": "phone", "value": story.phone(7), "use": "work"}],
        "address": [
            {"use": "work", "line": [f"{story.digits % 70 + 1} Wharf Street"],
             "city": story.place[0], "state": story.place[2], "postalCode": story.place[3],
             "country": "US"}
        ],
    }


def venue(story: Story) -> JsonObject:
    """The place of the exposure, which is not a place of care."""
    return {
        "resourceType": "Location",
        "id": story.id("Location", "venue"),
        "meta": {"profile": [CORE + "us-core-location"]},
        "identifier": [identifier(f"urn:oid:{story.facility.oid}.5", f"L{story.digits}")],
        "status": "active",
        "name": story.venue,
        "type": [concept(SNOMED, "264379009", "Sports stadium (environment)", "Arena")],
        "address": {
            "use": "temp", "line": [f"{story.digits % 40 + 1} Fairground Road"],
            "city": story.place[0], "district": story.place[1], "state": story.place[2],
            "postalCode": story.place[3], "country": "US",
        },
    }


def resources(story: Story) -> list[JsonObject]:
    """What stands in the eICR beside its Composition, what is referenced first."""
    place = story.facility
    return [
        clinic.organization(place), clinic.laboratory(place), employer(story),
        clinic.location(place), venue(story), clinic.practitioner(place), patient(story),
        device(story), clinic.role(place), condition(story, "diagnosis"),
        condition(story, "problem"), encounter(story), order(story), procedure(story),
        *findings(story).values(), administration(story, "given"), immunization(story),
    ]


# Section code -> what it lists: (type, key); the display is made from the resource's type.
ENTRIES: dict[str, tuple[tuple[str, str], ...]] = {
    "11450-4": (("Condition", "diagnosis"), ("Condition", "problem")),
    "29549-3": (("MedicationAdministration", "given"),),
    "42346-7": (("MedicationAdministration", "given"),),
    "10160-0": (("MedicationAdministration", "given"),),
    "30954-2": (("Observation", "lab-result"), ("Observation", "lymphocytes")),
    "18776-5": (("ServiceRequest", "order"),),
    "11369-6": (("Immunization", "vaccine"),),
    "47519-4": (("Procedure", "procedure"),),
    "8716-3": (("Observation", "blood-pressure"),),
    "29762-2": (("Observation", "travel"), ("Observation", "job"), ("Observation", "exposure")),
    "90767-5": (("Observation", "pregnancy"),),
    "83910-0": (("Observation", "outbreak"),),
    "11348-0": (("Condition", "problem"),),
}


def section(story: Story, code: str, title: str) -> JsonObject:
    found: JsonObject = {
        "title": title,
        "code": concept(LOINC, code, title),
        "text": narrative(
            f"{title} of {story.name} ({story.mrn}), seen on {story.day(0)} by {story.clinician}."
        ),
    }
    entries: list[Json] = []
    for number, (type, key) in enumerate(ENTRIES.get(code, ())):
        entry = reference(story.ref(type, key), f"{type} of {story.name} {story.day(0)}")
        if number == 0 and code in ("11450-4", "30954-2", "18776-5"):
            coded = (SNOMED, story.disease.code, story.disease.display)
            if code != "11450-4":
                coded = (LOINC, *story.disease.test)
            entry = {"extension": [trigger(story, *coded)], **entry}
        entries.append(entry)
    if entries:
        found["entry"] = entries
    return found


def document_identifier(story: Story, kind: str = "eicr") -> JsonObject:
    """The identifier of a document: a UUID, written in the ways that are met in the field."""
    value = story.uuid(kind)
    if story.style == FOREIGN:
        return identifier(f"urn:oid:{story.facility.oid}.1", value.upper(), story.facility.name)
    return identifier(names.URI, f"urn:uuid:{value}")


def composition(story: Story) -> JsonObject:
    original = identifier(f"urn:oid:{story.facility.oid}.1", story.uuid("cda"),
                          story.facility.name)
    found: JsonObject = {
        "resourceType": "Composition",
        "id": story.id("Composition", "eicr"),
        "meta": {"profile": [ECR + "eicr-composition"]},
        "language": "en-US",
        "text": narrative(f"Case report on {story.name}, {story.home}"),
        "extension": [
            extension(BASE + "composition-clinicaldocument-versionNumber", valueString="1"),
            extension(
                ECR + "us-ph-information-recipient-extension",
                valueReference=reference(f"PractitionerRole/{clinic.role_id(story.facility)}"),
            ),
        ],
        "identifier": document_identifier(story),
        "status": "final",
        "type": concept(LOINC, "55751-2", "Public health Case report"),
        "subject": subject(story),
        "encounter": reference(story.ref("Encounter", "encounter"), f"Visit {story.day(0)}"),
        "date": story.time(4),
        "author": [role_reference(story)],
        "title": f"Initial Public Health Case Report - {story.name}",
        "confidentiality": "N",
        "custodian": reference(at("Organization", story), story.facility.name),
        "relatesTo": [{"code": "transforms", "targetIdentifier": original}],
        "section": [section(story, code, title) for code, title in names.SECTIONS],
    }
    if story.style == UPSTREAM:
        return found
    array(found["extension"]).append(
        extension(
            ECR + "eicr-initiation-type-extension",
            valueCodeableConcept=concept(PHIN, "PHC1464", "Manually Initiated eICR"),
        )
    )
    return found
