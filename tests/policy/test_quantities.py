"""The code of a Quantity, whole, malformed or absent, under systems that are listed and not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.fhir.codec import decode
from proxy.lenses.context import DATA_ABSENT_REASON
from tests.policy.test_oracle import disagreements
from tests.views import RESTRICTED, Case

UCUM = "http://unitsofmeasure.org"


def reason(code: str) -> dict[str, Any]:
    return {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": code}]}


@pytest.mark.parametrize("policy", RESTRICTED)
@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ({"system": UCUM, "code": "mg"}, {"system": UCUM, "code": "mg"}),
        ({"system": UCUM}, {"system": UCUM}),
        ({"system": UCUM, "code": 5}, {"system": UCUM, "_code": reason("masked")}),
        ({"system": UCUM, "_code": reason("unknown")},
         {"system": UCUM, "_code": reason("unknown")}),
        ({"system": "urn:local", "code": "mg"}, {}),
        ({"system": "urn:local", "code": 5}, {}),
        ({"system": "urn:local", "_code": reason("unknown")}, {}),
        ({"code": "mg"}, {}),
        ({"code": ["mg"]}, {}),
        ({"_code": reason("unknown")}, {}),
        ({"system": 5, "code": "mg"}, {"_system": reason("masked")}),
    ],
)  # fmt: skip
def test_the_code_of_a_quantity_shows_under_a_listed_system(
    policy: str, stored: dict[str, Any], shown: dict[str, Any]
) -> None:
    """A code shows with its system if that is listed; if not, neither shows, nor that one was
    there (qty-3: a code needs a system)."""
    resource = decode(
        json.dumps(
            {"resourceType": "Observation", "id": "o", "valueQuantity": {"value": 1, **stored}}
        ).encode()
    )
    assert Case(policy).reveal(resource)["valueQuantity"] == {"value": 1, **shown}
    assert disagreements(policy, resource) == []
