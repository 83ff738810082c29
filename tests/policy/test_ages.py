"""Ages past the oldest, and what cannot be told from one, in every unit and place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.fhir.codec import decode
from proxy.lenses.ages import LOINC, read_age_text
from proxy.lenses.context import DATA_ABSENT_REASON
from proxy.lenses.numbers import UCUM
from tests.policy.test_oracle import disagreements
from tests.views import Case

DEID = "researcher-deidentified"
AGE = {"coding": [{"system": LOINC, "code": "30525-0"}]}
OTHER = {"coding": [{"system": LOINC, "code": "94500-6"}]}
LOCAL = {"coding": [{"system": "urn:local", "code": "age"}]}
MASKED = {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": "masked"}]}

# The unit of an age, and how long 95 of it are: past the oldest, young, or not known.
UNITS: list[tuple[dict[str, Any], str]] = [
    ({}, "old"),
    ({"unit": " "}, "old"),
    ({"unit": "Years"}, "old"),
    ({"unit": "YEARS OLD"}, "old"),
    ({"unit": "years of age"}, "old"),
    ({"unit": "year-old"}, "old"),
    ({"unit": "age (years)"}, "old"),
    ({"unit": "Yrs."}, "old"),
    ({"unit": "año(s)"}, "old"),
    ({"unit": "años"}, "old"),
    ({"unit": "{yr}"}, "old"),
    ({"unit": "decades"}, "old"),
    ({"unit": "Jahre", "system": "urn:local", "code": "J"}, "old"),
    ({"unit": "y", "system": "urn:local", "code": "YRS"}, "old"),
    ({"unit": "Years", "system": UCUM, "code": "A"}, "old"),
    ({"unit": "years", "system": UCUM, "code": "1"}, "old"),
    ({"unit": "years", "system": UCUM, "code": "d"}, "old"),
    ({"unit": "whatever", "system": UCUM, "code": "a"}, "old"),
    ({"system": UCUM, "code": "{Years}"}, "old"),
    ({"unit": "Months", "system": UCUM, "code": "Mo"}, "young"),
    ({"unit": "DAYS", "system": UCUM, "code": "d"}, "young"),
    ({"unit": "weeks of age"}, "young"),
    ({"unit": "1"}, "unknown"),
    ({"system": UCUM, "code": "1"}, "unknown"),
    ({"system": UCUM, "code": "{age}"}, "unknown"),
    ({"system": UCUM, "code": "da"}, "unknown"),
    ({"unit": "m"}, "unknown"),
    ({"unit": "age"}, "unknown"),
    ({"unit": "gestational weeks"}, "unknown"),
    ({"unit": "whatever", "system": UCUM, "code": "mo"}, "unknown"),
    ({"unit": ["a"]}, "unknown"),
    ({"unit": "a", "code": 5}, "old"),
]


def observation(code: Any = AGE, **rest: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": "o", "status": "final", "code": code, **rest}


def reveal(resource: dict[str, Any], policy: str = DEID) -> Any:
    """What the view shows, as the slow evaluator agrees."""
    stored = decode(json.dumps(resource).encode())
    assert disagreements(policy, stored) == []
    return Case(policy).reveal(stored)


def judge(shown: Any) -> str:
    """How a Quantity of 95 shows."""
    if shown == MASKED:
        return "unknown"
    return "old" if (shown["value"], shown.get("comparator")) == (90, ">=") else "young"


@pytest.mark.parametrize(("unit", "found"), UNITS)
def test_the_unit_of_an_age_is_known_or_its_number_is_masked(
    unit: dict[str, Any], found: str
) -> None:
    """95 of a unit is one of the oldest, plainly young, or masked, wherever an age stands."""
    age = {"value": 95, **unit}
    assert judge(reveal(observation(valueQuantity=age))["valueQuantity"]) == found
    part = reveal(observation(OTHER, component=[{"code": AGE, "valueQuantity": age}]))
    assert judge(part["component"][0]["valueQuantity"]) == found
    onset = reveal({"resourceType": "Condition", "id": "c", "onsetAge": age})
    assert judge(onset["onsetAge"]) == found
    family = reveal(
        {
            "resourceType": "FamilyMemberHistory",
            "id": "f",
            "ageAge": age,
            "deceasedAge": age,
            "condition": [{"code": OTHER, "onsetAge": age}],
        }
    )
    shown = [family["ageAge"], family["deceasedAge"], family["condition"][0]["onsetAge"]]
    assert [judge(s) for s in shown] == [found] * 3


@pytest.mark.parametrize(("unit", "found"), UNITS)
def test_ranges_of_ages(unit: dict[str, Any], found: str) -> None:
    """A Range where only ages stand: the border, the Range, or masked."""
    low, high = {"value": 91, **unit}, {"value": 95, **unit}
    span = {"low": low, "high": high}
    ranges = [
        reveal(observation(valueRange=span))["valueRange"],
        reveal(observation(OTHER, referenceRange=[{"age": span}]))["referenceRange"][0]["age"],
        reveal({"resourceType": "Condition", "id": "c", "onsetRange": span})["onsetRange"],
        reveal({"resourceType": "FamilyMemberHistory", "id": "f", "deceasedRange": span})[
            "deceasedRange"
        ],
    ]
    for shown in ranges:
        if found == "unknown":
            assert shown == MASKED
        elif found == "old":
            assert (shown["low"]["value"], "high" in shown) == (90, False)
        else:
            assert (shown["low"]["value"], shown["high"]["value"]) == (91, 95)


@pytest.mark.parametrize("code", [AGE, LOCAL])
def test_forms_without_a_border_are_masked(code: Any) -> None:
    """A Ratio or SampledData of an age, whatever its unit, shows no number."""
    years = {"value": 95, "unit": "a"}
    shown = reveal(observation(code, valueRatio={"numerator": years, "denominator": {"value": 1}}))
    assert shown["valueRatio"] == MASKED
    samples = {"origin": years, "period": 10, "lowerLimit": 95, "dimensions": 1, "data": "95 96"}
    shown = reveal(observation(code, valueSampledData=samples))["valueSampledData"]
    assert shown["origin"] == MASKED
    assert shown["period"] == 10
    assert not {"data", "lowerLimit", "value"} & set(shown)


def test_a_value_of_an_unknown_code_is_an_age_by_its_unit() -> None:
    """Where no coding is known, a unit of time or a word for age makes an age; others do not."""
    for unit, found in (("yrs old", "old"), ("completed years", "unknown"), ("mg/dL", "young"),
                        ("1", "young"), ("pg/mo", "young"), ("age", "unknown")):  # fmt: skip
        shown = reveal(observation(LOCAL, valueQuantity={"value": 95, "unit": unit}))
        assert judge(shown["valueQuantity"]) == found, unit
    shown = reveal(observation(OTHER, valueQuantity={"value": 95, "unit": "min"}))
    assert shown["valueQuantity"] == {"value": 95, "unit": "min"}


BIRTH = {"coding": [{"system": LOINC, "code": "76689-9"}]}  # sex assigned at birth
MADE: list[dict[str, Any]] = [
    {"effectiveDateTime": "1930-05-06"},
    {"effectiveDateTime": "1930"},
    {"effectivePeriod": {"start": "1930-05-06", "end": "1930-05-07"}},
    {"effectivePeriod": {"end": "1930-05-07"}},
    {"effectiveTiming": {"event": ["1930-05-06"]}},
    {"issued": "1930-05-06T07:08:09Z"},
]


@pytest.mark.parametrize("policy", [DEID, "researcher-shifted"])
@pytest.mark.parametrize("made", MADE, ids=str)
def test_what_was_seen_at_birth_tells_no_birth_date_of_the_oldest(
    policy: str, made: dict[str, Any]
) -> None:
    """When an Observation of a birth was made shows as a birth date does: not of the oldest."""
    subject = {"subject": {"reference": "Patient/p"}}
    shown = reveal(observation(BIRTH, **subject, **made), policy)
    assert not {name for name in shown if name.lstrip("_").startswith(("effective", "issued"))}
    for young in ("2001-05-06", "1938"):  # the year alone is of 88 or 87
        shown = reveal(observation(BIRTH, **subject, effectiveDateTime=young), policy)
        assert "effectiveDateTime" in shown
    shown = reveal(observation(OTHER, **subject, effectiveDateTime="1930-05-06"), policy)
    assert "effectiveDateTime" in shown


def test_an_age_code_by_the_oid_of_its_system() -> None:
    """The OID of a code system names it as its URL does."""
    code = {"coding": [{"system": "urn:oid:2.16.840.1.113883.6.1", "code": "30525-0"}]}
    shown = reveal(observation(code, valueQuantity={"value": 95, "unit": "1"}))
    assert shown["valueQuantity"] == MASKED


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("93", 93),
        (" 93 YEARS OLD ", 93),
        ("9 decades", 90),
        ("24 mo", 2),
        ("34 years and 95", None),
        ("95 moons", None),
        ("34 old", None),
        ("aged 93", None),
        ("90+", None),
        ("ninety-five", None),
    ],
)
def test_texts_of_ages(text: str, age: int | None) -> None:
    """A text is an age if it is one number and a known unit and nothing else."""
    assert read_age_text(text) == age
