"""The originals: generated cases, and rows beside them where search values differ by little."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from proxy.demo.generator import cases, data_set, in_load_order
from proxy.fhir.codec import Fragment, Json, JsonObject

CASES = 4
SEED = 41
UNLISTED = "https://ehr.example.org/StructureDefinition/local-note"
UCUM = "http://unitsofmeasure.org"

# Days around the borders of years and months, with and without a time, in several zones.
DATES = (
    "2019", "2019-12", "2019-12-31", "2020-01-01", "2020-02-29", "2020-03",
    "2019-12-31T23:30:00-05:00", "2020-01-01T00:30:00+09:00", "2020-06-15T12:00:00Z",
    "2020-06-15T12:00:00.250Z", "2021-01-01T00:00:00Z",
)  # fmt: skip
PERIODS: tuple[dict[str, Json], ...] = (
    {"start": "2019-11-20", "end": "2020-01-10"},
    {"start": "2020-03-01T08:00:00-05:00", "end": "2020-03-01T09:30:00-05:00"},
    {"start": "2020-06-01"},
    {"end": "2020-06-30"},
)
QUANTITIES = (
    ("5", "mg"), ("5.0", "mg"), ("5.4", "mg"), ("5.40", "mL"), ("-2", "Cel"), ("100", "mg"),
    ("0.05", "g"), ("95.5", None),
)  # fmt: skip
BIRTHS = ("1919-07-01", "1934-05-05", "1974-02-11", "1974-12-25", "1975-01-01", "1974-02", "2003")
# A city's ZIP code, two of one area, one of an area with few people, one of nine digits.
ZIPS = ("48104", "48109", "48912", "03602", "48104-1234")
STATES = ("MI", "MI", "Michigan", "NH", "mi")


def originals(base: str) -> list[JsonObject]:
    """Everything that the upstream holds, what is referenced first. ``base``: the upstream's."""
    found = data_set(cases(CASES, SEED, base=base))
    return in_load_order([*found, *_beside(found)])


def _beside(found: list[JsonObject]) -> Iterator[JsonObject]:
    patient, observation = (_first(found, t) for t in ("Patient", "Observation"))
    for number, day in enumerate(BIRTHS):
        yield _patient(patient, number, day)
    subject: JsonObject = {"reference": "Patient/beside-0"}
    for number, day in enumerate(DATES):
        yield _observation(f"beside-date-{number}", subject, {"effectiveDateTime": day})
    for number, period in enumerate(PERIODS):
        yield _observation(f"beside-period-{number}", subject, {"effectivePeriod": period})
        yield _encounter(f"beside-visit-{number}", subject, period)
    for number, (value, unit) in enumerate(QUANTITIES):
        held: JsonObject = {"value": Fragment(value)}
        held |= {"system": UCUM, "code": unit, "unit": unit} if unit else {}
        yield _observation(f"beside-quantity-{number}", subject, {"valueQuantity": held})
    yield {
        "resourceType": "Location",
        "id": "beside-place",
        "position": {"longitude": Fragment("-83.74"), "latitude": Fragment("42.28")},
    }
    for number, value in enumerate(("0.1", "0.15", "0.150", "1", "0")):
        yield _risk(f"beside-risk-{number}", subject, value)
    for resource in (patient, observation, _first(found, "Condition")):
        withheld = copy.deepcopy(resource)
        withheld["id"] = f"withheld-{resource['resourceType']}".lower()
        withheld["modifierExtension"] = [{"url": UNLISTED, "valueBoolean": True}]
        yield withheld
    local = _observation("beside-local", subject, {"valueString": "seen at home"})
    local["code"] = {"coding": [{"system": "urn:oid:2.999.7", "code": "94500-6"}], "text": "ours"}
    yield local
    mixed = _observation("beside-mixed", subject, {"effectiveInstant": "2020-06-15T12:00:00Z"})
    mixed["code"] = {
        "coding": [
            {"system": "urn:oid:2.999.7", "code": "X-1"},
            {"system": "http://loinc.org", "code": "94500-6", "display": "SARS-CoV-2 RNA"},
        ]
    }
    yield mixed


def _first(found: list[JsonObject], type_name: str) -> JsonObject:
    return next(r for r in found if r["resourceType"] == type_name)


def _patient(like: JsonObject, number: int, day: str) -> JsonObject:
    made = {k: v for k, v in copy.deepcopy(like).items() if k not in ("text", "_birthDate", "meta")}
    at = number % len(ZIPS)
    return made | {
        "id": f"beside-{number}",
        "birthDate": day,
        "gender": ("female", "male", "other", "unknown")[number % 4],
        "active": number % 2 == 0,
        "name": [{"family": f"Ångström{number}", "given": ["Zoë", "Kim"]}],
        "address": [{"city": "Ann Arbor", "state": STATES[at], "postalCode": ZIPS[at]}],
        "identifier": [{"system": "urn:oid:2.999.8", "value": f"MRN-{number}"}],
    }


def _observation(id: str, subject: JsonObject, held: JsonObject) -> JsonObject:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
        "subject": subject,
        **held,
    }


def _encounter(id: str, subject: JsonObject, period: JsonObject) -> JsonObject:
    code = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    return {
        "resourceType": "Encounter",
        "id": id,
        "status": "finished",
        "class": {"system": code, "code": "EMER"},
        "subject": subject,
        "period": period,
    }


def _risk(id: str, subject: JsonObject, value: str) -> JsonObject:
    return {
        "resourceType": "RiskAssessment",
        "id": id,
        "status": "final",
        "subject": subject,
        "prediction": [{"probabilityDecimal": Fragment(value)}],
    }
