"""Every R4 datatype that an extension can carry, each once (R4, extensibility.html)."""

from __future__ import annotations

from proxy.demo import names
from proxy.demo.build import coding, concept, decimal, extension, identifier, quantity, reference
from proxy.demo.names import LOINC, THO
from proxy.demo.story import Story
from proxy.fhir.codec import Json, JsonObject

URL = "http://example.org/fhir/StructureDefinition/any-"


def primitives(story: Story) -> dict[str, Json]:
    """A value of each primitive type, by type name; several hold what identifies the person."""
    return {
        "base64Binary": "QSBub3RlIG9uIHRoZSBwYXRpZW50",
        "boolean": True,
        "canonical": "http://example.org/fhir/Questionnaire/intake|2.1",
        "code": "observed",
        "date": story.day(3),
        "dateTime": story.time(25),
        "decimal": decimal("36.60"),
        "id": story.id("Basic", "note"),
        "instant": story.time(26),
        "integer": -12,
        "markdown": f"*Seen* with {story.relative}",
        "oid": "urn:oid:2.999.4.1",
        "positiveInt": 3,
        "string": f"Lives with {story.relative} {story.family}",
        "time": "08:30:00",
        "unsignedInt": 0,
        "uri": f"urn:example:record:{story.mrn}",
        "url": f"https://portal.example.org/{story.given}".lower(),
        "uuid": f"urn:uuid:{story.uuid('any')}",
    }


def complexes(story: Story) -> dict[str, Json]:
    """A value of each complex type, by type name."""
    patient = reference(story.ref("Patient", "patient"), story.name)
    period: JsonObject = {"start": story.day(-3), "end": story.day(4)}
    mail: JsonObject = {"system": "email", "value": story.email, "use": "home"}
    signed: JsonObject = {
        "type": [coding("urn:iso-astm:E1762-95:2013", "1.2.840.10065.1.12.1.5",
                        "Verification Signature")],
        "when": story.time(5),
        "who": patient,
        "targetFormat": "application/fhir+json",
        "sigFormat": "application/signature+xml",
        "data": "c2lnbmVk",
    }
    use: JsonObject = {
        "code": coding(THO + "usage-context-type", "focus"),
        "valueCodeableConcept": concept(names.SNOMED, story.disease.code, story.disease.display),
    }
    return {
        "Address": {
            "use": "billing", "type": "postal", "text": story.home, "line": [story.street],
            "city": story.place[0], "state": story.place[2], "postalCode": story.place[3],
        },
        "Age": quantity(str(story.visit.year - story.birth.year), "years", "a"),
        "Annotation": {"authorReference": patient, "time": story.time(2),
                       "text": f"Note on {story.name}"},
        "Attachment": {"contentType": "text/plain", "language": "en", "data": "bm90ZQ==",
                       "title": f"{story.family}.txt", "creation": story.time(1)},
        "CodeableConcept": concept(LOINC, *story.disease.test, text=f"For {story.given}"),
        "Coding": coding(names.SNOMED, story.disease.code, story.disease.display),
        "ContactPoint": mail | {"rank": 1, "period": period},
        "Count": quantity("7", "visits", "1"),
        "Distance": quantity("3.2", "km", "km"),
        "Duration": quantity("90", "minutes", "min"),
        "HumanName": {"use": "maiden", "text": f"{story.given} Silverbrook",
                      "family": "Silverbrook", "given": [story.given], "suffix": ["II"]},
        "Identifier": {"use": "secondary", "system": "urn:oid:2.999.6", "value": story.mrn,
                       "period": period},
        "Money": {"value": decimal("120.50"), "currency": "USD"},
        "Period": period,
        "Quantity": quantity("5.40", "mg", "mg") | {"comparator": "<"},
        "Range": {"low": quantity("1.0", "mg", "mg"), "high": quantity("2.5", "mg", "mg")},
        "Ratio": {"numerator": quantity("1", "mg", "mg"),
                  "denominator": quantity("8", "mL", "mL")},
        "Reference": {"type": "Patient", "identifier": identifier("urn:oid:2.999.6", story.mrn),
                      "display": story.name},
        "SampledData": {
            "origin": quantity("0", "mV", "mV"), "period": decimal("10.0"),
            "factor": decimal("1.5"), "dimensions": 1, "data": "2 4 E 6 U",
        },
        "Signature": signed,
        "Timing": {"event": [story.time(12)],
                   "repeat": {"boundsPeriod": period, "frequency": 2, "period": 1,
                              "periodUnit": "wk", "dayOfWeek": ["mon", "thu"]}},
        "ContactDetail": {"name": story.name, "telecom": [mail]},
        "Contributor": {"type": "author", "name": story.clinician,
                        "contact": [{"name": story.clinician}]},
        "DataRequirement": {
            "type": "Observation", "mustSupport": ["code"],
            "codeFilter": [{"path": "code", "code": [coding(LOINC, *story.disease.test)]}],
            "limit": 5,
        },
        "Expression": {"description": f"Visits of {story.given}", "language": "text/fhirpath",
                       "expression": "Patient.name"},
        "ParameterDefinition": {"name": "visit", "use": "in", "min": 0, "max": "1",
                                "type": "date"},
        "RelatedArtifact": {"type": "documentation", "label": "1", "display": story.clinician,
                            "url": "https://guides.example.org/care"},
        "TriggerDefinition": {"type": "named-event", "name": "encounter-start"},
        "UsageContext": use,
        "Dosage": {"sequence": 1, "text": f"For {story.name}", "patientInstruction": "With food",
                   "doseAndRate": [{"doseQuantity": quantity("1", "mg", "mg")}]},
        "Meta": {"versionId": "4", "lastUpdated": story.time(9), "source": f"#{story.mrn}",
                 "tag": [coding("http://example.org/fhir/tags", "walk-in", story.given)]},
    }


def any_value(story: Story) -> list[Json]:
    """One extension for each datatype."""
    values = primitives(story) | complexes(story)
    return [
        extension(URL + type, **{f"value{type[0].upper()}{type[1:]}": value})
        for type, value in values.items()
    ]
