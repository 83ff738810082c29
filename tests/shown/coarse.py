"""Values that a view shows less exactly: two policies, what is stored, and what each search finds.

The expected rows are written down here and computed nowhere: they are read off what shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from proxy.fhir.codec import decode

YEARS = """
title = "Years, ZIP3, states; the oldest in one group"
basis = "a test"
ages = { oldest = 89 }

[access]
Bundle = ["read", "search"]
Condition = ["read", "search"]
Encounter = ["read", "search"]
Observation = ["read", "search"]
Patient = ["read", "search"]
Provenance = ["read", "search"]

[ids]
default = "pseudonym"

[elements]
"Bundle" = "keep"
"Composition" = "keep"
"Condition" = "keep"
"Encounter" = "keep"
"Location" = "keep"
"Observation" = "keep"
"Patient" = "keep"
"Provenance" = "keep"

[datatypes]
date = { method = "generalize", to = "year" }
dateTime = { method = "generalize", to = "year" }
instant = { method = "generalize", to = "year" }
"Address.postalCode" = { method = "generalize", to = "zip3" }
"Address.state" = { method = "generalize", to = "state" }
"Identifier.document" = "pseudonymize"
"Quantity.unit" = "keep"

[codes]
systems = ["http://loinc.org", "http://unitsofmeasure.org", "http://terminology.hl7.org/"]

[search]
total = "none"
"""

STEPS = """
title = "Months, steps, bands, mapped codes, five digits"
basis = "a test"

[access]
Condition = ["read", "search"]
Encounter = ["read", "search"]
Observation = ["read", "search"]
Patient = ["read", "search"]
RiskAssessment = ["read", "search"]

[ids]
default = "pseudonym"

[elements]
"Condition" = "keep"
"Condition.onsetAge" = { method = "generalize", to = "age-band" }
"Encounter" = "keep"
"Encounter.class" = { method = "generalize", map = "codes.map" }
"Observation" = "keep"
"Observation.category" = { method = "generalize", map = "codes.map" }
"Observation.effectiveDateTime" = { method = "generalize", to = "year" }
"Observation.valueQuantity" = { method = "generalize", to = "range", steps = [0, 10, 20.5] }
"Patient" = "keep"
"Patient.gender" = { method = "generalize", map = "codes.map" }
"RiskAssessment" = "keep"
"RiskAssessment.prediction.probabilityDecimal" = { method = "generalize", to = "range", steps = [0, 0.5] }

[datatypes]
date = { method = "generalize", to = "month" }
dateTime = { method = "generalize", to = "month" }
instant = { method = "generalize", to = "month" }
"Address.postalCode" = { method = "generalize", to = "zip5" }

[codes]
systems = ["http://loinc.org", "http://unitsofmeasure.org", "http://terminology.hl7.org/"]

[search]
total = "none"
"""  # noqa: E501

EXACT = YEARS.replace('{ method = "generalize", to = "year" }', '"keep"').replace("ages", "# ages")

CODES = """
female = "unknown"
male = "unknown"
other = "other"
AMB = "AMB"
VR = "AMB"
IMP = "IMP"
laboratory = "exam"
imaging = "exam"
"""

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


def observation(id_: str, **more: Any) -> dict[str, Any]:
    code = {"coding": [{"system": LOINC, "code": "94500-6"}]}
    return {"resourceType": "Observation", "id": id_, "status": "final", "code": code, **more}


def patient(id_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_, **more}


def condition(id_: str, **more: Any) -> dict[str, Any]:
    subject = {"reference": "Patient/z-481"}
    return {"resourceType": "Condition", "id": id_, "subject": subject, **more}


def encounter(id_: str, class_: str, *stays: str) -> dict[str, Any]:
    return {
        "resourceType": "Encounter", "id": id_, "status": "finished",
        "class": {"system": ACT, "code": class_},
        "location": [
            {"location": {"reference": "Location/x-place"}, "period": {"start": day, "end": day}}
            for day in stays
        ],
    }  # fmt: skip


def age(number: int, **more: Any) -> dict[str, Any]:
    code = {"coding": [{"system": LOINC, "code": "30525-0"}]}
    value = {"value": number, "unit": "a", "system": UCUM, "code": "a"}
    return observation(f"a-{number}", code=code, valueQuantity=value, **more)


def measured(id_: str, number: float, unit: str = "mg") -> dict[str, Any]:
    return observation(id_, valueQuantity={"value": number, "system": UCUM, "code": unit})


def addressed(id_: str, **address: str) -> dict[str, Any]:
    return patient(id_, address=[address])


def categorized(id_: str, code: str) -> dict[str, Any]:
    return observation(id_, category=[{"coding": [{"system": CATEGORY, "code": code}]}])


_STORED: list[dict[str, Any]] = [
    {"resourceType": "Location", "id": "x-place", "status": "active"},
    # dates of every form, around New Year
    observation("d-west", effectiveDateTime="2018-12-31T23:30:00-05:00"),  # 2019 in UTC
    observation("d-east", effectiveDateTime="2019-01-01T00:30:00+14:00"),  # 2018 in UTC
    observation("d-year", effectiveDateTime="2018"),
    observation("d-month", effectiveDateTime="2018-12"),
    observation("d-day", effectiveDateTime="2018-06-01"),
    observation("d-leap", effectiveDateTime="2016-12-31T23:59:60Z"),
    observation("d-period", effectivePeriod={"start": "2017-05-01", "end": "2019-02-01"}),
    observation("d-since", effectivePeriod={"start": "2018-05-01"}),
    observation("d-until", effectivePeriod={"end": "2018-05-01"}),
    observation("d-times", effectiveTiming={"event": ["2017-01-01", "2019-05-05"]}),
    observation("d-instant", effectiveInstant="2018-07-01T00:00:00Z"),
    observation("d-none"),
    observation("v-18", valueDateTime="2018-03-04"),
    observation("v-19", valueDateTime="2019-03-04"),
    # birth and death
    patient("b-74", birthDate="1974-11-24"),
    patient("b-74y", birthDate="1974"),
    patient("b-90", birthDate="1990-01-01", deceasedDateTime="2019-12-31T23:00:00-10:00"),
    patient("b-31", birthDate="1931-05-05", deceasedDateTime="2015-02-03"),
    patient("b-none"),
    age(88), age(90), age(95),
    # places
    addressed("z-481", postalCode="48104", state="MI"),
    addressed("z-482", postalCode="48201-1234", state="mi"),
    addressed("z-4819", postalCode="481991234", state="Michigan"),
    addressed("z-036", postalCode="03601", state="NH"),
    addressed("z-343", postalCode="34399"),
    addressed("z-bad", postalCode="481 04", state="Mitteland"),
    addressed("z-pad", postalCode=" 48104", state=" MI"),
    # several dates in one resource
    encounter("e-two", "AMB", "2017-03-01", "2019-03-01"),
    encounter("e-one", "VR", "2018-03-01"),
    encounter("e-in", "IMP"),
    # required and optional instants
    {"resourceType": "Provenance", "id": "r-18", "recorded": "2018-12-31T23:30:00-05:00",
     "target": [{"reference": "Patient/z-481"}], "agent": [{"who": {"display": "x"}}]},
    {"resourceType": "Provenance", "id": "r-19", "recorded": "2019-01-01T00:30:00+14:00",
     "target": [{"reference": "Patient/z-481"}], "agent": [{"who": {"display": "x"}}]},
    {"resourceType": "Bundle", "id": "t-document", "type": "document",
     "identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:0c3151bd"},
     "timestamp": "2018-03-04T05:06:07Z",
     "entry": [{"fullUrl": "urn:uuid:5a1d", "resource": {
         "resourceType": "Composition", "id": "c", "status": "final", "title": "x",
         "type": {"coding": [{"system": LOINC, "code": "55751-2"}]},
         "date": "2018-03-04", "author": [{"display": "x"}]}}]},
    {"resourceType": "Bundle", "id": "t-collection", "type": "collection",
     "timestamp": "2018-03-04T05:06:07Z"},
    # steps, bands and codes
    measured("q-3", 3), measured("q-10", 10), measured("q-12", 12.5), measured("q-20", 20.5),
    measured("q-25", 25, "g"), measured("q-low", -1),
    condition("o-17", onsetAge={"value": 17, "system": UCUM, "code": "a"}),
    condition("o-20", onsetAge={"value": 20, "system": UCUM, "code": "a"}),
    condition("o-24", onsetAge={"value": 24, "system": UCUM, "code": "a"}),
    {"resourceType": "RiskAssessment", "id": "p-low", "status": "final",
     "subject": {"reference": "Patient/z-481"}, "prediction": [{"probabilityDecimal": 0.49}]},
    {"resourceType": "RiskAssessment", "id": "p-high", "status": "final",
     "subject": {"reference": "Patient/z-481"}, "prediction": [{"probabilityDecimal": 0.8}]},
    patient("g-f", gender="female"), patient("g-m", gender="male"), patient("g-o", gender="other"),
    patient("g-u", gender="unknown"),
    categorized("k-lab", "laboratory"), categorized("k-image", "imaging"),
    categorized("k-vital", "vital-signs"),
]  # fmt: skip

# As a server reads them: decimals digit by digit.
RESOURCES: list[dict[str, Any]] = [decode(json.dumps(each).encode()) for each in _STORED]  # type: ignore[misc]

_AGES = "a-88 a-90 a-95"
_2018 = "d-west d-year d-month d-day"
_LATER = "d-period d-since d-times"  # reach beyond 2018
_EARLIER = "d-period d-until d-times"  # reach before 2018

# policy -> type -> {query: ids}
FOUND: dict[str, dict[str, dict[str, str]]] = {
    "years": {
        "Observation": {
            "date=2018": _2018,
            "date=eq2018": _2018,
            "date=2019": "d-east",
            "date=2016,2019": "d-leap d-east",
            "date=2015": "",
            "date=ge2018": f"{_2018} {_LATER} d-east d-until",
            "date=ge2019": f"{_LATER} d-east",
            "date=gt2018": f"{_LATER} d-east",
            "date=ge9500": "d-since",
            "date=lt0900": "d-until",
            "date=lt2018": f"{_EARLIER} d-leap",
            "date=le2017": f"{_EARLIER} d-leap",
            "date=le2018": f"{_EARLIER} d-leap {_2018} d-since",
            "date=ne2018": f"{_LATER} d-east d-until d-leap",
            "date=ne2018&date=ne2019": f"{_LATER} d-until d-leap",
            "date=ge2018&date=le2018": f"{_2018} {_LATER} d-until",
            "date=gt2016&date=lt2019&date=ge2017": f"{_2018} {_LATER} d-until",
            "date=2018&date=ne2018": "",
            "date=lt2017,gt2018": f"{_LATER} d-east d-until d-leap",
            "date=2018&status=final": _2018,
            "value-date=2018": "v-18",
            f"code-value-date={LOINC}|94500-6$2018": "v-18",
            f"code-value-date={LOINC}|94500-6$ge2018": "v-18 v-19",
            f"code-value-date={LOINC}|94500-6$ge2018&value-date=2019": "v-19",
            "code-value-date=94500-6$2017,94500-6$2019": "v-19",
            f"code-value-date={LOINC}|1$2018": "",
            # The oldest match no value, and are not found by what is left.
            f"value-quantity=gt80|{UCUM}|a": "a-88",
            f"value-quantity=90|{UCUM}|a": "",
            f"value-quantity=95|{UCUM}|a": "",
            f"value-quantity=ne88|{UCUM}|a": "",
            f"value-quantity=lt100|{UCUM}|a": "a-88",
        },
        "Patient": {
            "birthdate=1974": "b-74 b-74y",
            "birthdate=1931": "",
            "birthdate=lt1974": "",
            "birthdate=ne1974": "b-90",
            "birthdate=le1990": "b-74 b-74y b-90",
            "birthdate=1931,1990": "b-90",
            "death-date=2019": "b-90",
            "death-date=2020": "",
            "death-date=2015": "b-31",
            "death-date=ne2015": "b-90",
            "address-postalcode=481": "z-481 z-4819",
            "address-postalcode=482": "z-482",
            "address-postalcode=000": "z-036 z-343",
            "address-postalcode=481,000": "z-481 z-4819 z-036 z-343",
            "address-postalcode=481&address-state=MI": "z-481 z-4819",
            "address-state=MI": "z-481 z-482 z-4819",
            "address-state=Michigan": "z-4819",
        },
        "Encounter": {
            "location-period=2017": "e-two",
            "location-period=2017&location-period=2019": "e-two",
            "location-period=2018": "e-one",
            "location-period=ne2018": "e-two",
        },
        "Provenance": {"recorded=2018": "r-18", "recorded=ge2019": "r-19"},
        "Bundle": {"timestamp=2018": "t-document", "timestamp=lt2018": ""},
    },
    "steps": {
        "Observation": {
            # One branch of the choice shows years, so all of it is asked for by years.
            "date=2018": _2018,
            "date=gt2018": f"{_LATER} d-east",
            "value-date=2018-03": "v-18",
            "value-date=ge2018-04": "v-19",
            "value-date=2018-04": "",
            "value-date=2018": "v-18",
            "value-quantity=10": "q-10 q-12",
            "value-quantity=12.5": "",
            "value-quantity=0": "q-3",
            "value-quantity=20.5": f"q-20 q-25 {_AGES}",
            f"value-quantity=20.5|{UCUM}|mg": "q-20",
            "value-quantity=20.5||g": "q-25",
            "value-quantity=gt0": f"q-10 q-12 q-20 q-25 {_AGES}",
            "value-quantity=lt10": "q-3",
            "value-quantity=le10": "q-3 q-10 q-12",
            "value-quantity=ne10": f"q-3 q-20 q-25 {_AGES}",
            "value-quantity=ge11": f"q-20 q-25 {_AGES}",
            "value-quantity=0,20.5": f"q-3 q-20 q-25 {_AGES}",
            "value-quantity=-1": "",
            f"code-value-quantity={LOINC}|94500-6$10": "q-10 q-12",
            f"category={CATEGORY}|exam": "k-lab k-image",
            "category=exam": "k-lab k-image",
            "category=laboratory": "",
            f"category={CATEGORY}|": "k-lab k-image",
        },
        "Condition": {
            "onset-age=20": "o-20 o-24",
            "onset-age=24": "",
            "onset-age=lt20": "o-17",
            "onset-age=ge15": "o-17 o-20 o-24",
        },
        "RiskAssessment": {"probability=0.5": "p-high", "probability=lt0.5": "p-low"},
        "Patient": {
            "gender=unknown": "g-f g-m",
            "gender=other": "g-o",
            "gender=female": "",
            "gender=other,unknown": "g-f g-m g-o",
            "birthdate=1974-11": "b-74",
            "birthdate=1974": "b-74 b-74y",
            "birthdate=ge1974-12": "b-74y b-90",
            "birthdate=lt1974-11": "b-31 b-74y",
            "address-postalcode=48104": "z-481",
            "address-postalcode=48201": "z-482",
            "address-postalcode=48199": "z-4819",
        },
        "Encounter": {
            f"class={ACT}|AMB": "e-two e-one",
            "class=IMP": "e-in",
            "class=VR": "",
        },
    },
}

FOUND["exact"] = {
    "Observation": {
        "date=2018-06-01,2018-12-31": "d-day d-west",
        "date=2018,2016": f"{_2018} d-instant d-leap",
        "date=ne2018-06-01": f"d-west d-year d-month {_LATER} d-east d-until d-leap d-instant",
        "date=ne2018": f"{_LATER} d-east d-until d-leap",
        "date=ne2018-06-01&date=ne2018": f"{_LATER} d-east d-until d-leap",
        "date=sa2018-12-31": "d-east",
        "date=eb2018-06-01": "d-until d-leap",
        "date=ge2018-06-01&date=ge2018-12-01&date=lt2019-02-01":
            f"d-west d-east d-year d-month {_LATER}",
        "date=ge2018-12&date=lt2019-01-01": f"d-west d-year d-month {_LATER}",
        "date=2018-06-01&date=ge2018-01-01": "d-day",
        "date=2018-12-31T23:30:00-05:00": "d-west",
        "date=2018-12-31T23:30:00-05:00,2018-12-31T10:30:00Z": "d-west d-east",
        f"code-value-date={LOINC}|94500-6$2018-03-04": "v-18",
        f"code-value-date={LOINC}|94500-6$ge2018-03": "v-18 v-19",
        "value-quantity=sa90": "a-95",
        "value-quantity=eb89,sa94": "a-88 a-95 q-3 q-10 q-12 q-20 q-25 q-low",
        f"code-value-quantity={LOINC}|30525-0$sa90": "a-95",
    },
    "Patient": {
        "birthdate=1974-11-24,1990-01-01": "b-74 b-90",
        "birthdate=1931-05-05": "b-31",
        "death-date=2019-12-31": "b-90",
    },
    "Encounter": {
        "location-period=2017-03-01&location-period=2019-03-01": "e-two",
        "location-period=2017-03-01,2018-03-01": "e-two e-one",
    },
    "Provenance": {"recorded=2018-12-31": "r-18", "recorded=ge2019-01-01": "r-19"},
    "Bundle": {"timestamp=2018-03-04": "t-document t-collection"},
}

# policy -> searches that are finer than what shows, or that no lens has a way back for
REFUSED: dict[str, list[str]] = {
    "exact": ["Observation?date=ap2018-06-01", "Patient?birthdate=ap1974,1990"],
    "years": [
        "Observation?date=2018-01", "Observation?date=ge2018-01-15", "Observation?date=sa2018",
        "Observation?date=eb2018", "Observation?date=ap2018", "Observation?date=2018,2018-06-01",
        "Observation?date=2018-06-01T00:00:00Z", "Observation?date:missing=true",
        f"Observation?code-value-date={LOINC}|94500-6$2018-03",
        f"Observation?code-value-date={LOINC}|94500-6$sa2018",
        "Patient?birthdate=1974-11-24", "Patient?birthdate:missing=false",
        "Patient?death-date:missing=true", "Patient?address-postalcode=48104",
        "Patient?address-postalcode=48", "Patient?address-postalcode=036",
        "Patient?address-postalcode=481,036", "Patient?address-postalcode=343",
        "Patient?address-postalcode:exact=481", "Patient?address-postalcode:contains=48",
        "Patient?address=481", "Patient?address-state:contains=I", "Patient?_lastUpdated=2018",
        "Bundle?timestamp=2018-03-04",
    ],
    "steps": [
        "Observation?date=2018-03", "Observation?value-date=2018-03-04",
        "Observation?value-quantity=sa10", "Observation?value-quantity=ap10",
        f"Observation?code-value-quantity={LOINC}|94500-6$sa10",
        "Observation?category:not=exam", "Patient?gender:not=other", "Patient?gender:missing=true",
        "Observation?category:text=x", "RiskAssessment?probability=ap0.5",
        "Encounter?class:not=AMB",
    ],
}  # fmt: skip


def questions() -> Iterator[tuple[str, str, str, frozenset[str]]]:
    """(policy, type, query, ids found)."""
    for policy, types in FOUND.items():
        for type_, queries in types.items():
            for query, ids in queries.items():
                yield policy, type_, query, frozenset(ids.split())
