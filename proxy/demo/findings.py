"""The Observations of an eICR: results, vital signs, travel, work, exposure and the like."""

from __future__ import annotations

from proxy.demo import names
from proxy.demo.build import (
    absent,
    coding,
    concept,
    extension,
    hide,
    identifier,
    narrative,
    quantity,
    reference,
    thing,
)
from proxy.demo.names import CORE, ECR, LOINC, PHIN, SNOMED, THO
from proxy.demo.story import FOREIGN, UPSTREAM, UUIDS, Story
from proxy.fhir.codec import Json, JsonObject

ODH = "http://hl7.org/fhir/us/odh/StructureDefinition/"


def observation(story: Story, key: str, profile: str, code: JsonObject) -> JsonObject:
    """What every Observation of a case has; ``key`` also makes its id and identifier."""
    return {
        "resourceType": "Observation",
        "id": story.id("Observation", key),
        "meta": {"profile": [profile]},
        "identifier": [identifier(names.URI, f"urn:uuid:{story.uuid('o' + key)}")],
        "status": "final",
        "code": code,
        "subject": reference(story.ref("Patient", "patient"), story.name),
    }


def category(code: str, display: str, text: str = "") -> Json:
    return [concept(THO + "observation-category", code, display, text)]


def laboratory_result(story: Story) -> JsonObject:
    """The result that triggered the report: its code or, for converted data, its value."""
    found = observation(
        story, "lab-result", ECR + "us-ph-lab-result-observation",
        concept(LOINC, *story.disease.test, text="Pathogen test"),
    )
    found |= {
        "category": category("laboratory", "Laboratory", "Lab"),
        "effectiveDateTime": story.time(2),
        "issued": story.time(30),
        "performer": [
            reference(f"Organization/organization-laboratory-{story.facility.slug}",
                      f"{story.facility.family} Diagnostics")
        ],
        "interpretation": [
            concept(THO + "v3-ObservationInterpretation", "POS", "Positive", "Detected")
        ],
        "note": [{"text": f"Called to {story.clinician} at {story.time(31)}."}],
        "valueCodeableConcept": concept(SNOMED, *story.disease.organism, text="Detected"),
        "method": concept(SNOMED, "398545005", "Nucleic acid assay (procedure)"),
    }
    return found


def count(story: Story) -> JsonObject:
    """A lymphocyte count with a reference range; unknown parts in converted data."""
    found = observation(
        story, "lymphocytes", ECR + "us-ph-lab-result-observation",
        concept(LOINC, "731-0", "Lymphocytes [#/volume] in Blood by Automated count"),
    )
    value = f"{4 + story.digits % 3}.{story.digits % 10}0"
    found |= {
        "category": category("laboratory", "Laboratory"),
        "effectiveDateTime": story.time(2),
        "valueQuantity": quantity(value, "10*3/uL", "10*3/uL"),
    }
    found["referenceRange"] = [
        {
            "low": quantity("1.0", "10*3/uL", "10*3/uL"),
            "high": quantity("4.80", "10*3/uL", "10*3/uL"),
            "text": "1.0 to 4.80",
        }
    ]
    if story.style == UUIDS:
        found["valueQuantity"] = absent()
        found["code"] = {"coding": [absent()], "text": "Lymphocytes"}
        for path in ("identifier.system", "identifier.value"):
            hide(found, path, "not-applicable")
    return found


def blood_pressure(story: Story) -> JsonObject:
    found = observation(
        story, "blood-pressure", CORE + "us-core-blood-pressure",
        concept(LOINC, "85354-9", "Blood pressure panel with all children optional"),
    )
    parts = (("8480-6", "Systolic blood pressure", 96), ("8462-4", "Diastolic blood pressure", 58))
    found |= {
        "category": category("vital-signs", "Vital Signs"),
        "encounter": {"display": f"Visit of {story.name} on {story.day(0)}"},
        "effectiveDateTime": story.day(0),
        "component": [
            {
                "code": concept(LOINC, code, display),
                "valueQuantity": quantity(str(low + story.digits % 40), "mmHg", "mm[Hg]"),
            }
            for code, display, low in parts
        ],
    }
    return found


def travel(story: Story) -> JsonObject:
    code, country, town = story.travel
    found = observation(
        story, "travel", ECR + "us-ph-travel-history", concept(SNOMED, "420008001", "Travel")
    )
    place = concept(THO + "v3-ParticipationType", "LOC", "location")
    found |= {
        "text": narrative(f"{story.name} stayed in {town}, {country}"),
        "effectivePeriod": {"start": story.day(-30), "end": story.day(-12)},
        "component": [
            {"code": place, "valueCodeableConcept": concept(names.COUNTRY, code, country, town)},
            {
                "extension": [
                    extension(
                        ECR + "us-ph-address-extension",
                        valueAddress={
                            "line": [f"Guesthouse {story.digits % 90}, Beach Road"],
                            "city": town, "state": "Coast", "postalCode": "679", "country": code,
                        },
                    )
                ],
                "code": concept(THO + "v3-ParticipationType", "LOC", "location", "Stay"),
                "valueString": f"{town} with {story.relative}, ferry on {story.day(-20)}",
            },
            {
                "code": concept(SNOMED, "280147009", "Type of activity (attribute)"),
                "valueCodeableConcept": concept(SNOMED, "702348006",
                                                "Active duty military (occupation)"),
            },
        ],
    }
    return found


def job(story: Story) -> JsonObject:
    title, kind = story.job
    found = observation(
        story, "job", ODH + "odh-PastOrPresentJob", concept(LOINC, "11341-5",
                                                            "History of Occupation")
    )
    employer = reference(story.ref("Organization", "employer"))
    found |= {
        "extension": [extension(ODH + "odh-Employer-extension", valueReference=employer)],
        "category": category("social-history", "Social History"),
        "effectivePeriod": {"start": story.day(-1500), "end": story.day(-3)},
        "valueCodeableConcept": concept(
            "urn:oid:2.16.840.1.114222.4.5.327", "51-4121.06", kind, title
        ),
    }
    found["component"] = [
        {"code": concept(LOINC, "86188-0", "History of Occupation industry"),
         "valueString": f"{story.employer}, day shift"},
        {"code": {"coding": [absent()], "text": "Years in this job"}, "valueInteger": 4},
    ]
    if story.style != UPSTREAM:
        found["focus"] = [reference(story.ref("Patient", "patient"), story.name)]
    return found


def pregnancy(story: Story) -> JsonObject:
    found = observation(
        story, "pregnancy", ECR + "us-ph-pregnancy-status-observation",
        concept(LOINC, "82810-3", "Pregnancy status"),
    )
    found["effectivePeriod"] = {"start": story.day(-40)}
    if not story.expecting:
        found["dataAbsentReason"] = concept(
            THO + "data-absent-reason", "not-applicable", "Not Applicable"
        )
    else:
        found["valueCodeableConcept"] = concept(SNOMED, "77386006", "Pregnancy (finding)")
    determined = extension(ECR + "us-ph-date-determined-extension", valueDateTime=story.day(-9))
    found |= {
        "extension": [
            extension(ECR + "us-ph-date-recorded-extension", valueDateTime=story.day(-8)),
            determined,
        ],
        "method": concept(SNOMED, "16310003", "Ultrasonography (procedure)"),
        "component": [
            {
                "extension": [determined],
                "code": concept(LOINC, "57064-8", "Delivery date Estimated from date fundal "
                                "height reaches umb"),
                "valueDateTime": story.day(150),
            },
            {
                "extension": [determined],
                "code": concept(LOINC, "53691-2", "Gestational age Estimated from patient "
                                "reported estimated date of conception"),
                "valueQuantity": quantity("143", "d", "d"),
            },
        ],
    }
    if not story.expecting:
        found["component"] = [
            {
                "code": concept(LOINC, "53691-2", "Gestational age Estimated from patient "
                                "reported estimated date of conception"),
                "dataAbsentReason": concept(THO + "data-absent-reason", "not-applicable",
                                            "Not Applicable"),
            }
        ]
    return found


def exposure(story: Story) -> JsonObject:
    found = observation(
        story, "exposure", ECR + "us-ph-exposure-contact-information",
        concept(PHIN, "PHC2267", "Contact with known case"),
    )
    found |= {
        "category": [concept(THO + "v3-ActClass", "EXPOS", "exposure")],
        "focus": [reference(story.ref("Location", "venue"), story.venue)],
        "effectivePeriod": {"start": story.time(-200), "end": story.time(-196)},
        "valueString": f"Sat beside {story.relative} {story.family} at the {story.venue}",
        "component": [
            {
                "code": concept(THO + "v3-ParticipationType", "EXPAGNT", "ExposureAgent"),
                "valueCodeableConcept": concept(SNOMED, *story.disease.organism),
            }
        ],
    }
    return found


def residence(story: Story) -> JsonObject:
    found = observation(
        story, "residence", ECR + "eicr-country-of-residence",
        concept(LOINC, "77983-5", "Country of usual residence"),
    )
    found |= {
        "effectiveDateTime": story.day(-1),
        "valueCodeableConcept": concept(
            names.COUNTRY, "US", "United States of America", "United States"
        ),
    }
    return found


def outbreak(story: Story) -> JsonObject:
    """Emergency outbreak information; its profile allows a value of any type."""
    found = observation(
        story, "outbreak", ECR + "us-ph-emergency-outbreak-information",
        {"coding": [coding(LOINC, "75618-9", "Outbreak identifier")], "text": "Cluster"},
    )
    found["effectiveDateTime"] = story.day(1)
    found["valueString"] = f"Cluster {story.place[2]}-{story.digits % 900 + 100}"
    if story.style == FOREIGN:
        found["code"] = thing(absent()) | {"text": "Cluster"}
    if story.style == UUIDS:
        found["hasMember"] = [reference(story.ref("Observation", "travel"))]
    return found


def findings(story: Story) -> dict[str, JsonObject]:
    """The Observations that stand in the eICR, by key."""
    makers = (laboratory_result, count, blood_pressure, travel, job, pregnancy, exposure, outbreak)
    keys = ("lab-result", "lymphocytes", "blood-pressure", "travel", "job", "pregnancy",
            "exposure", "outbreak")
    return {key: make(story) for key, make in zip(keys, makers, strict=True)}
