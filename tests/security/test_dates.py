"""Section 8 of the security requirements, R-DT-1 to R-DT-8, on the running product."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.security.product import DEID, INV, LDS, SHIFTED, product, stored
from tests.security.revealing import composition, document, extension, is_clean, observation, read

EXACT = ("1974-11", "2018-03", "05:06:07", "11-24", "03-04")
AGE = {"coding": [{"system": "http://loinc.org", "code": "30525-0"}]}
BIRTH_DATE = {"coding": [{"system": "http://loinc.org", "code": "21112-8"}]}
BIRTH_YEAR = {"coding": [{"system": "http://loinc.org", "code": "80904-6"}]}
SNOMED_BIRTH_DATE = {"coding": [{"system": "http://snomed.info/sct", "code": "184099003"}]}
RETIRED = {"coding": [{"system": "http://loinc.org", "code": "87510-4"}]}
UCUM = "http://unitsofmeasure.org"


def patient(real: str = "patient-1", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": real, "gender": "female", **more}


def condition(real: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": real,
        "subject": {"reference": "Patient/patient-1"},
        **more,
    }


def dated() -> list[Any]:
    """Resources with a person's date in every date type."""
    when, moment = "2018-03-04", "2018-03-04T05:06:07+01:00"
    return [
        patient(birthDate="1974-11-24", deceasedDateTime=moment),
        condition("condition-1", onsetDateTime=when, recordedDate=moment),
        observation(
            effectivePeriod={"start": when, "end": moment},
            issued="2018-03-04T05:06:07.089Z",
            valueDateTime=moment,
        ),
        observation(id="observation-2", effectiveTiming={"event": [moment, when]}),
        composition(),
        {
            "resourceType": "Encounter",
            "id": "encounter-1",
            "status": "finished",
            "class": {
                "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
                "code": "AMB",
            },
            "period": {"start": moment, "end": moment},
        },
        {
            "resourceType": "Immunization",
            "id": "immunization-1",
            "status": "completed",
            "vaccineCode": {"coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": "1"}]},
            "patient": {"reference": "Patient/patient-1"},
            "occurrenceDateTime": moment,
        },
        {
            "resourceType": "DocumentReference",
            "id": "reference-1",
            "status": "current",
            "date": "2018-03-04T05:06:07Z",
            "content": [{"attachment": {"contentType": "text/plain", "creation": when}}],
        },
        {
            "resourceType": "Provenance",
            "id": "provenance-1",
            "target": [{"reference": "Patient/patient-1"}],
            "recorded": "2018-03-04T05:06:07Z",
            "agent": [{"who": {"reference": "Practitioner/practitioner-1"}}],
        },
        document(composition()),
    ]


async def test_r_dt_1_only_years_show(tmp_path: Path) -> None:
    """R-DT-1: of every date only its year comes out; an instant goes, or is the first of its year
    where it is required (Provenance.recorded, the timestamp of a document)."""
    answers = await read(tmp_path, DEID, *dated())
    for answer in answers:
        assert answer.status == 200
        assert is_clean(answer, *EXACT)
    shown = [a.json for a in answers]
    assert (shown[0]["birthDate"], shown[0]["deceasedDateTime"]) == ("1974", "2018")
    assert (shown[1]["onsetDateTime"], shown[1]["recordedDate"]) == ("2018", "2018")
    assert shown[2]["effectivePeriod"] == {"start": "2018", "end": "2018"}
    assert shown[2]["valueDateTime"] == "2018"
    assert "issued" not in shown[2]
    assert shown[3]["effectiveTiming"]["event"] == ["2018", "2018"]
    assert shown[4]["date"] == "2018"
    assert shown[5]["period"]["start"] == "2018"
    assert shown[6]["occurrenceDateTime"] == "2018"
    assert "date" not in shown[7]
    assert shown[8]["recorded"] == "2018-01-01T00:00:00Z"
    assert shown[9]["timestamp"] == "2018-01-01T00:00:00Z"


def years_ago(years: int, days: int = 0) -> str:
    """The birth date of a person who turned ``years`` that many ``days`` ago."""
    today = datetime.now(UTC).date()
    born = date.fromordinal(today.toordinal() - days)
    leap = (born.month, born.day) == (2, 29)
    return born.replace(year=born.year - years, day=28 if leap else born.day).isoformat()


@pytest.mark.parametrize(
    ("born", "shows"),
    [
        pytest.param("1931-05-05", False, id="born-1931"),
        pytest.param(years_ago(90), False, id="turns-90-today"),
        pytest.param(years_ago(90, 1), False, id="turned-90-yesterday"),
        pytest.param(years_ago(90, -1), True, id="turns-90-tomorrow"),
        pytest.param(years_ago(89, 1), True, id="turned-89-yesterday"),
    ],
)
async def test_r_dt_2_no_birth_year_of_the_oldest(born: str, shows: bool, tmp_path: Path) -> None:
    """R-DT-2: a person of 90 and more has no birth year, in any resource that says it; the
    boundary is today's."""
    family = {
        "resourceType": "FamilyMemberHistory",
        "id": "family-1",
        "status": "completed",
        "patient": {"reference": "Patient/patient-1"},
        "relationship": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "MTH"}
            ]
        },
        "bornDate": born,
    }
    related = {
        "resourceType": "RelatedPerson",
        "id": "related-1",
        "patient": {"reference": "Patient/patient-1"},
        "birthDate": born,
    }
    said = observation(code=BIRTH_DATE, valueDateTime=born)
    answers = await read(tmp_path, DEID, patient(birthDate=born), family, related, said)
    for answer, key in zip(
        answers, ("birthDate", "bornDate", "birthDate", "valueDateTime"), strict=True
    ):
        assert (key in answer.json) is shows
        assert shows or is_clean(answer, born[:4])


@pytest.mark.parametrize("role", [DEID, SHIFTED])
@pytest.mark.parametrize(
    ("code", "value"),
    [
        (BIRTH_DATE, {"valueInteger": 19310505}),
        (BIRTH_DATE, {"valuePeriod": {"start": "1931-05-05"}}),
        (BIRTH_YEAR, {"valueDateTime": "1931"}),
        (BIRTH_YEAR, {"valueInteger": 1931}),
        (BIRTH_YEAR, {"valueQuantity": {"value": 1931, "unit": "a"}}),
        (SNOMED_BIRTH_DATE, {"valueDateTime": "1931-05-05"}),
        (RETIRED, {"valueQuantity": {"value": 20171216}}),
        (RETIRED, {"valueInteger": 20171216}),
        (RETIRED, {"valueQuantity": {"value": 201712161130}}),
    ],
)
async def test_r_dt_1_dates_in_other_forms(
    role: str, code: dict[str, Any], value: dict[str, Any], tmp_path: Path
) -> None:
    """R-DT-1, R-DT-2: a birth date or year under any of its codes, and a day that a converter wrote
    as a number, show in no form; so too in a component."""
    alone = observation(code=code, **value)
    part = observation(component=[{"code": code, **value}]) | {"id": "with-component"}
    for answer in await read(tmp_path, role, alone, part):
        assert answer.status == 200
        assert is_clean(answer, "1931")
        assert is_clean(answer, "201712")


async def test_numbers_that_are_no_days_stay(tmp_path: Path) -> None:
    """A count of eight digits, or a number with a unit, is no day."""
    (answer,) = await read(tmp_path, DEID, observation(
        code=RETIRED, component=[{"code": RETIRED, "valueQuantity": quantity} for quantity in (
            {"value": 20171316}, {"value": 20171216, "unit": "cells"}, {"value": 20171216.5})],
    ))  # fmt: skip
    assert [set(c["valueQuantity"]) >= {"value"} for c in answer.json["component"]] == [True] * 3


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param(
            {"valueQuantity": {"value": 93, "unit": "years", "system": UCUM, "code": "a"}},
            {
                "valueQuantity": {
                    "value": 90,
                    "comparator": ">=",
                    "unit": "years",
                    "system": UCUM,
                    "code": "a",
                }
            },
            id="quantity",
        ),
        pytest.param(
            {"valueQuantity": {"value": 1100, "unit": "mo", "system": UCUM, "code": "mo"}},
            {
                "valueQuantity": {
                    "value": 90,
                    "comparator": ">=",
                    "unit": "years",
                    "system": UCUM,
                    "code": "a",
                }
            },
            id="months",
        ),
        pytest.param(
            {"valueQuantity": {"value": 89, "unit": "years", "system": UCUM, "code": "a"}},
            {"valueQuantity": {"value": 89, "unit": "years", "system": UCUM, "code": "a"}},
            id="89",
        ),
        pytest.param({"valueInteger": 93}, {"valueInteger": 90}, id="integer"),
        pytest.param({"valueInteger": 34}, {"valueInteger": 34}, id="young"),
        pytest.param(
            {
                "valueRange": {
                    "low": {"value": 91, "unit": "years", "system": UCUM, "code": "a"},
                    "high": {"value": 95, "unit": "years", "system": UCUM, "code": "a"},
                }
            },
            {"valueRange": {"low": {"value": 90, "unit": "years", "system": UCUM, "code": "a"}}},
            id="range",
        ),
    ],
)
async def test_r_dt_2_ages_of_the_oldest_are_one_category(
    value: Any, shown: Any, tmp_path: Path
) -> None:
    """R-DT-2: an age above 89 is 90 or more, in every form, in an Observation and its component."""
    whole = observation(code=AGE, **value)
    part = observation(id="observation-2", component=[{"code": AGE, **value}])
    first, second = await read(tmp_path, DEID, whole, part)
    for held in (first.json, second.json["component"][0]):
        assert {k: v for k, v in held.items() if k.startswith("value")} == shown


async def test_r_dt_2_onset_age(tmp_path: Path) -> None:
    """R-DT-2: an Age needs no code to be one."""
    age = {"value": 91, "unit": "years", "system": UCUM, "code": "a"}
    (answer,) = await read(tmp_path, DEID, condition("condition-1", onsetAge=age))
    assert answer.json["onsetAge"] == {**age, "value": 90, "comparator": ">="}
    (answer,) = await read(tmp_path, LDS, condition("condition-1", onsetAge=age))
    assert answer.json["onsetAge"] == age


async def test_r_dt_3_dates_in_extensions_follow(tmp_path: Path) -> None:
    """R-DT-3: no month, day or time comes out of siblings, listed extensions or times."""
    moment = "1974-11-24T03:17:19+00:00"
    listed = extension(
        "http://hl7.org/fhir/us/ecr/StructureDefinition/us-ph-date-recorded-extension",
        valueDateTime=moment,
    )
    birth = extension(
        "http://hl7.org/fhir/StructureDefinition/patient-birthTime", valueDateTime=moment
    )
    whole = patient(birthDate="1974-11-24", _birthDate={"extension": [birth, listed]})
    said = observation(
        effectiveDateTime=moment,
        _effectiveDateTime={"extension": [listed, birth]},
        valueTime="03:17:19",
        extension=[listed],
    )
    answers = await read(tmp_path, DEID, whole, said)
    for answer in answers:
        assert is_clean(answer, "11-24", "03:17")
    assert answers[1].json["extension"] == [{**listed, "valueDateTime": "1974"}]


async def test_r_dt_4_limited_data_set_keeps_dates_and_places(tmp_path: Path) -> None:
    """R-DT-4: dates and ages equal the source's; city, state and five-digit ZIP stay, street and
    ZIP+4 go."""
    whole = patient(
        birthDate="1931-05-05",
        address=[
            {
                "line": ["5101 Peachtree St NE"],
                "city": "Atlanta",
                "district": "Fulton",
                "state": "GA",
                "postalCode": "30302-1234",
                "country": "US",
            }
        ],
    )
    age = observation(code=AGE, valueInteger=93)
    first, second, *others = await read(
        tmp_path, LDS, whole, age, *dated()[1:2], dated()[2] | {"id": "o3"}
    )
    assert first.json["birthDate"] == "1931-05-05"
    assert first.json["address"] == [
        {"city": "Atlanta", "state": "GA", "postalCode": "30302", "country": "US"}
    ]
    assert is_clean(first, "Peachtree", "1234", "Fulton")
    assert second.json["valueInteger"] == 93
    assert others[0].json["onsetDateTime"] == "2018-03-04"
    assert others[0].json["recordedDate"] == "2018-03-04T05:06:07+01:00"
    assert others[1].json["issued"] == "2018-03-04T05:06:07.089Z"


async def test_r_dt_5_transport_metadata_is_data(tmp_path: Path) -> None:
    """R-DT-5: lastUpdated, Last-Modified, timestamps and version counters of the original are in no
    header and no body; the limited data set may show lastUpdated."""
    stamped = patient(meta={"versionId": "17", "lastUpdated": "2018-03-04T05:06:07.089Z"})
    bundle = document(composition())
    async with stored(stamped, bundle), product(tmp_path) as running:
        for target in (
            f"/Patient/{running.shown(DEID, 'Patient', 'patient-1')}",
            "/Patient",
            f"/Bundle/{running.shown(DEID, 'Bundle', 'document-1')}",
            "/Bundle",
        ):
            answer = await running.get(DEID, target)
            assert answer.status == 200
            assert is_clean(answer, "2018-03", "05:06", "versionId", "lastUpdated")
            assert "last-modified" not in answer.headers
        shown = running.shown(LDS, "Patient", "patient-1")
        answer = await running.get(LDS, f"/Patient/{shown}")
        assert "versionId" not in answer.json["meta"]


ODD = ("2018", "2018-03", "2020-02-29", "2018-01-01T03:00:00Z", "2017-12-31T22:00:00-05:00")


@pytest.mark.parametrize("odd", ODD)
async def test_r_dt_6_odd_dates_survive(odd: str, tmp_path: Path) -> None:
    """R-DT-6: the year is the one written, whatever the offset; the limited data set is exact."""
    held = condition("condition-1", onsetDateTime=odd)
    (deid,) = await read(tmp_path, DEID, held)
    (lds,) = await read(tmp_path, LDS, held)
    assert (deid.json["onsetDateTime"], lds.json["onsetDateTime"]) == (odd[:4], odd)


ONSETS = {
    "west": "2018-12-31T23:30:00-05:00",
    "east": "2019-01-01T00:30:00+14:00",
    "day": "2018-06-01",
    "year": "2018",
    "before": "2017-12-31",
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("onset-date=2018", {"west", "day", "year"}),
        ("onset-date=ge2018", {"west", "day", "year", "east"}),
        ("onset-date=lt2018", {"before"}),
        ("onset-date=ne2018", {"before", "east"}),
        ("onset-date=2017,2019", {"before", "east"}),
        ("onset-date=2016", set()),
    ],
)
async def test_r_dt_7_years_are_searched_as_they_show(
    query: str, found: set[str], tmp_path: Path
) -> None:
    """R-DT-7: all and only rows that show the year are found, whatever the offset they are stored
    with."""
    held = [condition(id_, onsetDateTime=when) for id_, when in ONSETS.items()]
    async with stored(*held, condition("none")), product(tmp_path) as running:
        answer = await running.get(DEID, f"/Condition?{query}")
        ids = {running.shown(DEID, "Condition", id_): id_ for id_ in (*ONSETS, "none")}
        entries = answer.json.get("entry", [])
        assert {ids[entry["resource"]["id"]] for entry in entries} == found
        assert is_clean(answer, *EXACT, "06-01", "23:30")


@pytest.mark.parametrize(
    "query",
    ["onset-date=2018-01", "onset-date=ge2018-01-15", "onset-date=2018,2018-01-15",
     "onset-date=2018-06-01T00:00:00Z", "onset-date=sa2018", "onset-date=ap2018",
     "onset-date:missing=true"],
)  # fmt: skip
async def test_r_dt_7_finer_dates_are_refused(query: str, tmp_path: Path) -> None:
    """R-DT-7: what is finer than a year is refused without an upstream call, and not echoed."""
    async with stored(condition("condition-1", onsetDateTime="2018-03-04")) as log:
        async with product(tmp_path) as running:
            answer = await running.get(DEID, f"/Condition?{query}")
            assert (answer.status, answer.code) == (403, "forbidden")
            assert is_clean(answer, "2018")
        assert log == []


@pytest.mark.parametrize("bad", ["2018-13-45", "0000", "yesterday", "2018-01-02T25:61:00Z"])
async def test_r_dt_8_malformed_dates_are_masked(bad: str, tmp_path: Path) -> None:
    """R-DT-8: never shown to the de-identified role, never an error; unchanged for the full one."""
    held = [
        patient(birthDate=bad),
        condition("condition-1", onsetDateTime=bad),
        observation(effectivePeriod={"start": bad}, issued=bad),
        composition(date=bad),
    ]
    for answer in await read(tmp_path, DEID, *held):
        assert answer.status == 200
        assert is_clean(answer, bad)
        assert not re.search(r"-13-|25:61|yesterday", answer.body.decode())
    full = await read(tmp_path, INV, *held)
    assert full[0].json["birthDate"] == bad
    assert full[3].json["date"] == bad
