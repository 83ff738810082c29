"""Extensions of eICR and RR: which values each part may have, by its definition.

Sources: HL7 FHIR US eCR implementation guide 2.1.2, US Core 4.0.0, US ODH 1.1.0, FHIR R4. The
key of a part is its relative URL; ``""`` is the extension itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.fhir.r4 import TYPES

ECR = "http://hl7.org/fhir/us/ecr/StructureDefinition/"
PH = "http://hl7.org/fhir/us/ph-library/StructureDefinition/"
CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
HL7 = "http://hl7.org/fhir/StructureDefinition/"

_CONCEPT = {"": ("CodeableConcept",)}
_TEXT_OR_CONCEPT = {"": ("string", "CodeableConcept")}
_DATE = {"": ("dateTime",)}
_REFERENCE = {"": ("Reference",)}
_ADDRESS = {"": ("Address",)}
_RACE = {"ombCategory": ("Coding",), "detailed": ("Coding",), "text": ("string",)}

# Public health's own, under both of its bases.
_PUBLIC_HEALTH: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "us-ph-information-recipient-extension": _REFERENCE,
    "us-ph-initiation-reason-extension": _TEXT_OR_CONCEPT,
    "us-ph-address-extension": _ADDRESS,
    "us-ph-date-determined-extension": _DATE,
    "us-ph-date-recorded-extension": _DATE,
    "us-ph-therapeutic-medication-response-extension": _CONCEPT,
    "us-ph-determination-of-reportability-extension": _CONCEPT,
    "us-ph-determination-of-reportability-reason-extension": _TEXT_OR_CONCEPT,
    "us-ph-determination-of-reportability-rule-extension": _TEXT_OR_CONCEPT,
    "us-ph-message-processing-category-extension": {"": ("code",)},
    "us-ph-data-encrypted-extension": {"": ("boolean",)},
    "us-ph-genderidentity-extension": {
        "value": ("CodeableConcept",),
        "period": ("Period",),
        "comment": ("string",),
    },
    "us-ph-tribal-affiliation-extension": {
        "TribeName": ("Coding",),
        "EnrolledTribeMember": ("boolean",),
    },
}

EXTENSIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    **{base + name: parts for base in (ECR, PH) for name, parts in _PUBLIC_HEALTH.items()},
    ECR + "eicr-trigger-code-flag-extension": {
        "triggerCodeValueSet": ("oid",),
        "triggerCodeValueSetVersion": ("string",),
        "triggerCode": ("Coding",),
    },
    ECR + "eicr-initiation-type-extension": _CONCEPT,
    ECR + "rr-priority-extension": _CONCEPT,
    ECR + "rr-external-resource-extension": _REFERENCE,
    ECR + "rr-eicr-receipt-time-extension": _DATE,
    ECR + "rr-eicr-processing-status-extension": {
        "eICRProcessingStatus": ("Reference",),
        "eICRValidationOutput": ("markdown", "string", "Attachment"),
        "": ("CodeableConcept",),
    },
    CORE + "us-core-race": _RACE,
    CORE + "us-core-ethnicity": _RACE,
    CORE + "us-core-birthsex": {"": ("code",)},
    CORE + "us-core-genderIdentity": _CONCEPT,
    CORE + "us-core-tribal-affiliation": {
        "tribalAffiliation": ("CodeableConcept",),
        "isEnrolled": ("boolean",),
    },
    "http://hl7.org/fhir/us/odh/StructureDefinition/odh-Employer-extension": _REFERENCE,
    HL7 + "composition-clinicaldocument-versionNumber": {"": ("string",)},
    HL7 + "condition-assertedDate": _DATE,
    HL7 + "patient-birthPlace": _ADDRESS,
    HL7 + "patient-birthTime": _DATE,
    HL7 + "patient-religion": _CONCEPT,
    HL7 + "data-absent-reason": {"": ("code",)},
}

_ANY = next(e.types for e in TYPES["Extension"].elements if e.name == "value[x]")


def value_types(url: str, part: str = "") -> tuple[str, ...]:
    """The types that the value of an extension, or of its part, may have by its definition; every
    type of ``Extension.value[x]`` if the extension is not one of these."""
    return EXTENSIONS.get(url, {}).get(part, _ANY)
