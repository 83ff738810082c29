"""Views that ask for the persons of what they show, before a real HAPI: dates that shift by a
number of the Patient's, texts that are scrubbed of the persons of a case."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from proxy.fhir.codec import JsonObject
from proxy.lenses.dates import move_date
from tests.engine.test_shifted import finding
from tests.loading import load, unload
from tests.rig import Rig, running

pytestmark = pytest.mark.hapi

ROLE, DAY = "researcher-shifted", "2020-06-15"
TAG = uuid4().hex[:8]  # of this run: nothing else in the server is meant
NUMBER = f"urn:x:number-{TAG}"
TEXT = f"Ann Lee-{TAG} came with Bo Lee-{TAG} on 2020-06-15."
POLICY = f"""
title = "By number"
basis = "a test"

[access]
Bundle      = ["read"]
Composition = ["read", "search", "include", "$document"]
Observation = ["read", "search", "include"]
Patient     = ["read", "search", "include"]

[ids]
default = "pseudonym"

[elements]
"Bundle"      = "keep"
"Composition" = "keep"
"Observation" = "keep"
"Patient"     = "keep"
"Patient.name" = "remove"
"Observation.note.text" = "scrub"

[datatypes]
date     = {{ method = "shift", by-system = "{NUMBER}" }}
dateTime = {{ method = "shift", by-system = "{NUMBER}" }}
instant  = {{ method = "shift", by-system = "{NUMBER}" }}

[codes]
systems = ["http://loinc.org"]

[search]
include = ["Observation:subject"]
chain   = ["Observation:subject:Patient"]
"""


def at(id_: str) -> str:
    return f"{id_}-{TAG}"


def patient(id_: str, *numbers: str) -> JsonObject:
    return {"resourceType": "Patient", "id": at(id_), "birthDate": DAY,
            "name": [{"family": f"Lee-{TAG}", "given": ["Ann"]}],
            "identifier": [{"system": NUMBER, "value": number} for number in numbers]}  # fmt: skip


def made() -> list[JsonObject]:
    related: JsonObject = {
        "resourceType": "RelatedPerson", "id": at("r"),
        "patient": {"reference": f"Patient/{at('p')}"},
        "name": [{"family": f"Lee-{TAG}", "given": ["Bo"]}],
    }  # fmt: skip
    report: JsonObject = {
        "resourceType": "Composition", "id": at("c"), "status": "final", "date": DAY,
        "type": {"coding": [{"system": "http://loinc.org", "code": "55751-2"}]}, "title": "x",
        "subject": {"reference": f"Patient/{at('p')}"}, "author": [{"display": "x"}],
        "section": [{"entry": [{"reference": f"Observation/{at('op')}"}]}],
    }  # fmt: skip
    return [patient("p", "1"), patient("q", "1"), patient("s", "2", "3"), related,
            *(finding(at(f"o{w}"), at(w), effectiveDateTime=DAY, note=[{"text": TEXT}])
              for w in "pqs"), report]  # fmt: skip


@pytest.fixture
async def rig(hapi: str, tmp_path: Path) -> AsyncIterator[Rig]:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / f"{ROLE}.toml").write_text(POLICY)
    await load(hapi, made())
    async with running(hapi, tmp_path, roles=[ROLE], policies=folder) as found:
        yield found
    await unload(hapi, made())


def day(rig: Rig) -> str:
    """The shown day of whoever has the number 1."""
    return str(move_date(DAY, rig.namer(ROLE).offset(f"{NUMBER}|1", -365, -1)))


async def search(rig: Rig, query: str) -> dict[str, Any]:
    """The rows of a search by the ids that they have upstream."""
    names = {rig.id(ROLE, str(r["resourceType"]), str(r["id"])): str(r["id"]) for r in made()}
    found = (await rig.ask(ROLE, f"/{query}")).resources
    return {names[str(r["id"])].removesuffix(f"-{TAG}"): r for r in found if r["id"] in names}


async def test_two_records_of_one_number_are_one_person(rig: Rig) -> None:
    """In reads, searches by the shown day, by a named patient, along references and in order, and
    in documents; of several numbers no date shows."""
    one = day(rig)
    found = await search(rig, f"Observation?date={one}&_include=Observation:subject")
    assert found.keys() == {"op", "oq", "p", "q"}
    assert {r.get("effectiveDateTime") or r.get("birthDate") for r in found.values()} == {one}
    named = f"Patient/{rig.id(ROLE, 'Patient', at('q'))}"
    assert (await search(rig, f"Observation?subject={named}&date={one}")).keys() == {"oq"}
    assert (await search(rig, f"Observation?date={DAY}")).keys() == set()
    chained = await search(rig, f"Observation?subject:Patient.birthdate={one}&_sort=date")
    assert chained.keys() == {"op", "oq"}
    read = await rig.ask(ROLE, f"/Observation/{rig.id(ROLE, 'Observation', at('os'))}")
    assert read.status == 200
    assert "effectiveDateTime" not in read.json
    document = await rig.ask(
        ROLE, f"/Composition/{rig.id(ROLE, 'Composition', at('c'))}/$document"
    )
    dates = [r.get("date") or r.get("effectiveDateTime") or r.get("birthDate")
             for r in document.resources]  # fmt: skip
    assert dates == [one, one, one]


async def test_texts_do_not_name_the_persons_of_a_case(rig: Rig) -> None:
    """The Patient and who is related to them, fetched for the texts of rows and of one read."""
    for named, kin in (("op", "[NAME]"), ("oq", "Bo [NAME]")):
        read = await rig.ask(ROLE, f"/Observation/{rig.id(ROLE, 'Observation', at(named))}")
        notes = [{"text": f"[NAME] came with {kin} on [DATE]."}]
        assert read.json["note"] == notes
        assert TAG not in read.body.decode()
        found = await search(rig, f"Observation?_id={read.json['id']}")
        assert found[named]["note"] == notes
