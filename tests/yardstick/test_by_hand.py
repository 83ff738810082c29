"""Some searches of the yardstick, computed by hand from what a role is shown: an answer to them
that owes nothing to the code that answers searches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.generator import cases
from proxy.fhir import codec
from tests.rig import DEID, INV, LDS, embedded, running
from tests.yardstick.charts import charted
from tests.yardstick.test_yardstick import ALIAS, CASES, SEED, rows, walk
from tests.yardstick.yardstick import Filler, Search, encode, load

Predicate = Callable[[dict[str, Any], dict[str, str]], bool]


def coded(concept: Any, system: str, code: str) -> bool:
    return any(
        c.get("system") == system and c.get("code") == code for c in concept.get("coding", ())
    )


def number(quantity: Any) -> float:
    return float(codec.encode(quantity["value"]))


def states(resource: dict[str, Any]) -> list[str]:
    return [str(a.get("state")) for a in resource.get("address", ())]


CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
SNOMED, LOINC = "http://snomed.info/sct", "http://loinc.org"
# Id of a search -> whether a shown resource answers it, given what stands for its placeholders.
BY_HAND: dict[str, Predicate] = {
    "documents": lambda r, v: r["type"] == "document",
    "case-reports": lambda r, v: coded(r["type"], LOINC, "55751-2"),
    "case-reports-of-a-year": lambda r, v: (
        coded(r["type"], LOINC, "55751-2") and r["date"][:4] == v["year"]
    ),
    "cases-of-a-condition": lambda r, v: coded(r["code"], SNOMED, "3928002"),
    "cases-of-several-conditions": lambda r, v: any(
        coded(r["code"], SNOMED, code) for code in ("3928002", "27836007", "56717001")
    ),
    "cases-of-a-year": lambda r, v: (
        coded(r["code"], SNOMED, "3928002") and r["recordedDate"][:4] == v["year"]
    ),
    "trigger-tests": lambda r, v: coded(r["code"], LOINC, "80825-3"),
    "lymphocytes-above": lambda r, v: (
        coded(r["code"], LOINC, "731-0") and number(r["valueQuantity"]) > 4.5
    ),
    "systolic-pressure-above": lambda r, v: any(
        coded(c["code"], LOINC, "8480-6") and number(c["valueQuantity"]) > 110
        for c in r.get("component", ())
    ),
    "patients-of-a-state": lambda r, v: v["state"] in states(r),
    "patients-of-states": lambda r, v: (
        r["gender"] == "female" and not {"MI", "GA", "CA", "IL"}.isdisjoint(states(r))
    ),
    "patients-of-a-birth-year": lambda r, v: r.get("birthDate", "")[:4] == v["birth-year"],
    "patients-born-between-years": lambda r, v: "1980" <= r.get("birthDate", "")[:4] < "2000",
    "patients-of-a-zip-area": lambda r, v: any(
        str(a.get("postalCode", "")).startswith(v["zip3"]) for a in r["address"]
    ),
    "conditions-of-a-patient": lambda r, v: r["subject"]["reference"] == f"Patient/{v['patient']}",
    "findings-of-a-patient-of-a-year": lambda r, v: (
        r.get("subject", {}).get("reference") == f"Patient/{v['patient']}"
        and any(coded(c, CATEGORY, "laboratory") for c in r.get("category", ()))
        and r["effectiveDateTime"][:4] == v["year"]
    ),
    "encounters-of-a-year": lambda r, v: (
        r["period"]["start"][:4] == v["year"] and r.get("class", {}).get("code") == "AMB"
    ),
    "procedures-done": lambda r, v: (
        r["subject"]["reference"] == f"Patient/{v['patient']}" and r["status"] == "completed"
    ),
}
SEARCHES = {search.id: search for search in load().searches}


@pytest.mark.parametrize("role", [INV, LDS, DEID])
async def test_answers_are_what_is_computed_by_hand(role: str, tmp_path: Path) -> None:
    """All resources of the type are read page by page; those that the predicate is true of are what
    the search finds, in the same order."""
    made = list(cases(CASES, SEED, base=ALIAS))
    compared = 0
    async with running(embedded(charted(made)), tmp_path, roles=[role]) as rig:
        filler = Filler(made[0], made[1], None if role == INV else rig.namer(role))
        for name, holds in BY_HAND.items():
            search: Search = SEARCHES[name]
            if search.refusal(role):
                continue
            type_name, pairs = filler.fill(search.text, search)
            everything = [r for _, r in rows(await walk(rig, role, f"/{type_name}?_count=100"))]
            found = rows(await walk(rig, role, encode(type_name, pairs)))
            wanted = [r["id"] for r in everything if holds(r, filler.values)]
            assert wanted, name
            assert [r["id"] for _, r in found] == wanted, name
            compared += 1
    assert compared >= len(BY_HAND) - 1
