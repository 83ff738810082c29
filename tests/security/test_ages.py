"""R-DT-2 of the security requirements for ages in any unit and place, on the running product."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.security.product import DEID, product, stored
from tests.security.revealing import observation
from tests.security.test_dates import AGE, UCUM, condition, patient

# Units by which 95 cannot be told from an age, and ways to write one.
UNTOLD: list[dict[str, Any]] = [
    {"unit": "1"},
    {"unit": "moons"},
    {"unit": "mo", "system": UCUM, "code": "M"},
    {"system": UCUM, "code": "{age}"},
]
SPELT: list[dict[str, Any]] = [
    {"unit": "YEARS OLD"},
    {"unit": "años"},
    {"unit": " "},
    {"unit": "y", "system": "urn:local", "code": "YRS"},
    {"unit": "Years", "system": UCUM, "code": "A"},
    {"system": UCUM, "code": "{Years}"},
    {"unit": "y", "system": UCUM, "code": "1"},
]
# Searches by a value, the patient who would be found by it, and orders.
PROBES = (
    "/Observation?value-quantity=95",
    "/Observation?value-quantity=95||moons",
    "/Observation?value-quantity=ne5",
    "/Observation?value-quantity=ge90",
    "/Observation?combo-value-quantity=gt90",
    "/Observation?component-value-quantity=95",
    "/Observation?code-value-quantity=http://loinc.org|30525-0$95",
    "/Condition?onset-age=95",
    "/Condition?onset-age=gt90",
    "/Patient?_has:Observation:patient:value-quantity=95",
    "/Patient?_has:Condition:patient:onset-age=95",
)


def aged(real: str, age: dict[str, Any]) -> list[dict[str, Any]]:
    """Resources that state the age in every place where one stands."""
    span = {"low": {**age, "value": age["value"] - 1}, "high": age}
    samples = {"origin": age, "period": 1, "dimensions": 1, "data": f"{age['value']}"}
    forms: list[dict[str, Any]] = [
        {"valueQuantity": age},
        {"valueRange": span},
        {"valueRatio": {"numerator": age, "denominator": {"value": 1}}},
        {"valueSampledData": samples},
        {"referenceRange": [{"age": span}]},
    ]
    held = [
        observation(id=f"{real}-{n}-{part}", **({"component": [part_of]} if part else form_of))
        for n, form in enumerate(forms)
        for part, part_of, form_of in (
            (0, {}, {"code": AGE, **form}),
            (1, {"code": AGE, **form}, {}),
        )
    ]
    family = {"resourceType": "FamilyMemberHistory", "id": real, "status": "completed"}
    return [
        *held,
        condition(f"{real}-age", onsetAge=age),
        condition(f"{real}-range", onsetRange=span),
        {**family, "ageAge": age, "deceasedRange": span, "condition": [{"onsetAge": age}]},
    ]


@pytest.mark.parametrize("unit", [*UNTOLD, *SPELT], ids=str)
async def test_r_dt_2_an_age_in_any_unit_is_not_shown_nor_found(
    unit: dict[str, Any], tmp_path: Path
) -> None:
    """R-DT-2: an age is grouped, or masked where its unit tells nothing, in every place; whatever
    it is, no search finds it or tells it from another, and no order does."""
    answers = {}
    for value in (95, 101):
        rows = aged("old", {"value": value, **unit})
        async with stored(patient(), *rows), product(tmp_path) as running:
            for row in rows:
                kind = row["resourceType"]
                answer = await running.get(DEID, f"/{kind}/{running.shown(DEID, kind, row['id'])}")
                assert answer.status == 200
                body = re.sub(r'"id":"[^"]*"|"reference":"[^"]*"', "", answer.body.decode())
                assert not re.search(r"(?<![-\d])(9[1-9]|1\d\d)(?![-\d])", body), body
            found: list[Any] = []
            for probe in PROBES:
                answer = await running.get(DEID, probe)
                entries = answer.json.get("entry", [])
                assert [e for e in entries if e["search"]["mode"] == "match"] == [], probe
                found.append((answer.status, len(entries)))
            for order in ("value-quantity", "-value-quantity"):
                answer = await running.get(DEID, f"/Observation?_sort={order}&_count=20")
                found.append([e["fullUrl"] for e in answer.json.get("entry", [])])
            answers[value] = found
    assert answers[95] == answers[101]


async def test_r_dt_2_orders_tell_no_hidden_age(tmp_path: Path) -> None:
    """R-DT-2: rows stand in the same order whichever of them has the greater hidden age."""
    orders = []
    for unit in ({"unit": "moons"}, {"unit": "YEARS OLD"}):
        for values in ((91, 99), (99, 91)):
            rows = [
                observation(id=f"o{n}", code=AGE, valueQuantity={"value": value, **unit})
                for n, value in enumerate(values)
            ]
            async with stored(patient(), *rows), product(tmp_path) as running:
                for order in ("value-quantity", "-value-quantity"):
                    answer = await running.get(DEID, f"/Observation?_sort={order}")
                    orders.append([e["fullUrl"] for e in answer.json["entry"]])
    assert orders[0] == orders[2]
    assert orders[1] == orders[3]
    assert orders[4] == orders[6]
    assert orders[5] == orders[7]
