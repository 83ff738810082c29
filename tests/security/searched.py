"""A small world to search in, whose hidden elements all hold the marker, and one without them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.security.product import MARKER
from tests.security.revealing import observation, person

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
REAL = "MRN-1032702"


def patient(real: str = REAL, **more: Any) -> dict[str, Any]:
    """A patient whose hidden elements all hold the marker."""
    home = {
        "line": [f"7777 {MARKER} Street"],
        "city": "Ann Arbor",
        "state": "MI",
        "postalCode": "48104",
        "country": "US",
    }
    held = {"gender": "female", "birthDate": "1974-11-24", "address": [home], **more}
    return {
        **person("Patient", real),
        "name": [{"family": MARKER, "given": [MARKER, "Eve"]}],
        "telecom": [{"system": "phone", "value": MARKER}, {"system": "email", "value": MARKER}],
        "identifier": [{"system": "urn:oid:1.2.3", "value": MARKER}],
        **held,
    }


def condition(real: str, of: str, code: str = "3928002", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": real,
        "code": {"coding": [{"system": SNOMED, "code": code}], "text": MARKER},
        "subject": {"reference": f"Patient/{of}"},
        "recordedDate": "2019-02-03",
        **more,
    }


def measured(real: str, of: str, value: float) -> dict[str, Any]:
    return observation(
        id=real,
        code={"coding": [{"system": LOINC, "code": "59419-2"}]},
        subject={"reference": f"Patient/{of}"},
        valueQuantity={"value": value, "unit": "u"},
        valueString=MARKER,
        effectiveDateTime="2019-02-03T04:05:06Z",
    )


WORLD = (patient(), condition("c1", REAL), measured("o1", REAL, 2000))
EMPTY = (patient("other", name=[], telecom=[], identifier=[], birthDate="1980-01-01", address=[]),)


def filled(targets: Iterable[str]) -> list[str]:
    """The targets with the marker in place of ``{m}``, ready for a URL."""
    return [target.format(m=MARKER).replace("|", "%7C") for target in targets]
