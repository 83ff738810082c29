"""Which Organizations and Locations an anonymized document shows as facilities, and which not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.ecr.showing import MASKED, document_of, entry, organization, show
from tests.policy.test_oracle import disagreements
from tests.views import ANON


def _coded(system: str, code: str) -> Any:
    return {"coding": [{"system": f"http://terminology.hl7.org/CodeSystem/{system}", "code": code}]}


HSLOC = "https://www.cdc.gov/nhsn/cdaportal/terminology/codesystem/hsloc.html"
_ODD: tuple[Any, ...] = ("ho", ["ro"], {"coding": {}}, {"coding": [{"code": ["ro"]}]},
                         {"coding": [{"system": ["x"], "code": "ro"}]})  # fmt: skip
STATED: list[tuple[str, Any, bool]] = [
    ("Location", {}, True),
    ("Location", {"physicalType": _coded("location-physical-type", "ro")}, True),
    ("Location", {"type": [], "physicalType": {}}, True),
    *(("Location", {"type": [_coded("v3-RoleCode", code)]}, False)
      for code in ("PTRES", "WORK", "SCHOOL", "ACC", "COMM", "X-NEW")),
    ("Location", {"type": [_coded("v3-RoleCode", "PC")]}, True),
    ("Location", {"type": [{"coding": [{"system": HSLOC, "code": "1108-0"}]}]}, True),
    *(("Location", {"type": [{"coding": [{"system": HSLOC, "code": code}]}]}, False)
      for code in ("1192-4", "1194-0", "1204-7")),
    ("Location", {"type": [_coded("v3-RoleCode", "HOSP")],
                  "physicalType": _coded("location-physical-type", "ho")}, False),
    ("Location", {"type": [{"text": "home of the patient"}]}, False),
    ("Location", {"type": _coded("v3-RoleCode", "PTRES")}, False),
    *(("Location", {"physicalType": _coded("location-physical-type", code)}, False)
      for code in ("ho", "ve", "rd", "area", "vi", "x")),
    ("Location", {"physicalType": _coded("x", "ro")}, False),
    ("Location", {"physicalType": {"text": "house"}}, False),
    *(("Location", {"physicalType": odd}, False) for odd in _ODD),
    ("Organization", {}, True),
    *(("Organization", {"type": [_coded("organization-type", code)]}, False)
      for code in ("bus", "edu", "reli", "team", "other", "X-NEW")),
    ("Organization", {"type": [_coded("organization-type", "prov")]}, True),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "members", "told"), STATED, ids=[str(m) for _, m, _ in STATED])
def test_what_says_to_be_something_else_is_no_facility(kind: str, members: Any, told: bool) -> None:
    """Only what leaves open what it is is taken for a facility because an encounter names it: a
    home, a school, a business, a type that nobody knows keep their least form."""
    held: Any = {**organization("x"), "resourceType": kind, **members}
    visit: Any = {"resourceType": "Encounter", "id": "e", "status": "finished"}
    if kind == "Location":
        held["address"] = held["address"][0]
        visit["location"] = [{"location": {"reference": "Location/x"}}]
    else:
        visit["serviceProvider"] = {"reference": "Organization/x"}
    for around in ("document", "message"):
        made = document_of({}, visit, held, encounter={"reference": "Encounter/e"}, section=[])
        shown = show({**made, "type": around})
        (found,) = entry(shown, kind)
        assert (found.get("name"), found.get("_name")) == (
            ("Name of x", None) if told else (None, MASKED)
        )
        assert ("1 Works Rd" in json.dumps(shown)) == told
        assert disagreements(ANON, {**made, "type": around}) == []


def test_what_is_no_facility_tells_of_nobody_else() -> None:
    """Who keeps a place of work, or whom a school belongs to, is no facility therefore; who keeps
    a clinic is one."""
    for type_, told in (("WORK", False), ("HOSP", True), ("PC", True)):
        site = {"resourceType": "Location", "id": "x", "type": [_coded("v3-RoleCode", type_)],
                "managingOrganization": {"reference": "Organization/keeper"}}  # fmt: skip
        visit = {"resourceType": "Encounter", "id": "e", "status": "finished",
                 "location": [{"location": {"reference": "Location/x"}}]}  # fmt: skip
        made = document_of({}, visit, site, organization("keeper"),
                           encounter={"reference": "Encounter/e"}, section=[])  # fmt: skip
        shown = show(made)
        assert [o.get("name") for o in entry(shown, "Organization")] == [
            "Name of keeper" if told else None
        ]
        assert disagreements(ANON, made) == []
