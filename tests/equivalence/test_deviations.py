"""Each deviation that a comparison passes over is real on this HAPI."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from proxy.fhir.codec import Fragment, JsonObject
from tests.equivalence.asking import Found, Server
from tests.equivalence.deviations import DEVIATIONS
from tests.equivalence.losses import LOSSES
from tests.equivalence.queries import Query
from tests.loading import load, unload

pytestmark = pytest.mark.hapi

MIXED = "lists of quantities with several prefixes"
UCUM = "http://unitsofmeasure.org"
Ask = Callable[..., Awaitable[Found]]


def coded(*codes: str) -> JsonObject:
    return {"coding": [{"system": "http://loinc.org", "code": code} for code in codes]}


def observation(id: str, **held: Any) -> JsonObject:
    code = held.pop("code", coded("8310-5"))
    return {"resourceType": "Observation", "id": id, "status": "final", "code": code, **held}


PATIENT: JsonObject = {
    "resourceType": "Patient",
    "id": "p",
    "birthDate": "1974-06-15",
    "identifier": [{"system": "urn:oid:2.999.8", "value": "7"}],
    "address": [{"postalCode": "48104"}],
    "deceasedBoolean": True,
}
FEVER = observation(
    "o", subject={"reference": "Patient/p"}, effectiveDateTime="2020-06-15",
    valueQuantity={"value": 90, "comparator": ">=", "system": UCUM, "code": "a"},
    component=[
        {"code": coded("c1"), "valueQuantity": {"value": 1}},
        {"code": coded("c2"), "valueQuantity": {"value": Fragment("2.25")}},
    ],
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Proof:
    """``deviation``: by name. HAPI answers a search of ``type`` with ``hapi``, whether it finds
    the row, or a status; that is not what it should be."""

    deviation: str
    type: str
    name: str
    value: str
    hapi: bool | int


PROOFS = (
    Proof("lists of ranges", "Observation", "date", "ge2019-01-01,lt2018-01-01", 400),
    Proof(MIXED, "Observation", "value-quantity", "lt1,gt5", False),
    Proof(MIXED, "Observation", "component-value-quantity", "2", False),
    Proof("years and months with ge, le and ne", "Patient", "birthdate", "ge1974", False),
    Proof("years and months with ge, le and ne", "Patient", "birthdate", "le1974", False),
    Proof("years and months with ge, le and ne", "Patient", "birthdate", "le1974-06", False),
    Proof("several conditions on one date", "Observation", "date", "2020&date=le2020-12-31", 400),
    Proof("sa and eb of numbers", "Observation", "value-quantity", "sa5", 400),
    Proof("sa and eb of numbers", "Observation", "value-quantity", "eb100", 400),
    Proof("references by URL at this server", "Observation", "subject", "{base}/Patient/p", False),
    Proof("identifiers without system or value", "Patient", "identifier", "7", True),
    Proof("identifiers without system or value", "Patient", "identifier", "urn:oid:2.999.8|", True),
    Proof("the complement of a code without system", "Observation", "code:not", "other", True),
    Proof("values finer than what is shown", "Patient", "birthdate", "1974-06-15", True),
    Proof("values finer than what is shown", "Patient", "address-postalcode", "481", True),
    Proof("sorts by parameters of US Core", "Patient", "_sort", "race", 400),
    Proof("ne of dates of US Core", "Condition", "asserted-date", "ne1801-01-01", 400),
    Proof(
        "missing at the end of a chain",
        "Observation",
        "subject:Patient.deceased:missing",
        "true",
        True,
    ),
    Proof(
        "composites over components",
        "Observation",
        "component-code-value-quantity",
        "c1$2.25",
        True,
    ),
    Proof("ages of 90 and more", "Observation", "value-quantity", f"90|{UCUM}|a", True),
)


@pytest.fixture
async def ask(hapi: str) -> AsyncIterator[Ask]:
    """A function that stores resources and gives HAPI's answer to a search for them. ``tag`` is
    appended to their ids, which a search may name by ``{tag}``."""
    stored: list[JsonObject] = []
    async with aiohttp.ClientSession() as session:

        async def asked(resources: list[JsonObject], query: Query) -> Found:
            stored.extend(resources)
            await load(hapi, resources)
            return await Server(hapi, session).ask(query)

        yield asked
    await unload(hapi, stored)


def tagged(value: Any, tag: str) -> Any:
    """Resources and references with ids of their own."""
    if isinstance(value, dict):
        changed = {k: tagged(v, tag) for k, v in value.items()}
        if "resourceType" in changed:
            changed["id"] = f"{changed['id']}-{tag}"
        if "reference" in changed:
            changed["reference"] = f"{changed['reference']}-{tag}"
        return changed
    return [tagged(v, tag) for v in value] if isinstance(value, list) else value


@pytest.mark.parametrize("proof", PROOFS, ids=lambda p: f"{p.deviation}: {p.name}={p.value}")
async def test_hapi_deviates(proof: Proof, ask: Ask) -> None:
    """HAPI's answer is the one that the deviation says."""
    tag = uuid.uuid4().hex[:12]
    text = f"{proof.name}={proof.value}".replace("Patient/p", f"Patient/p-{tag}")
    pairs = [(n, v) for n, _, v in (pair.partition("=") for pair in text.split("&"))]
    wanted = {"Patient": "p", "Observation": "o"}.get(proof.type, "none")
    pairs.append(("_id", f"{wanted}-{tag}"))
    found = await ask([tagged(PATIENT, tag), tagged(FEVER, tag)], Query(proof.type, tuple(pairs)))
    if isinstance(proof.hapi, bool):
        assert found.status == 200, found.text
        assert bool(found.rows) is proof.hapi
    else:
        assert found.status == proof.hapi


def test_every_deviation_is_proved() -> None:
    """No comparison is passed over for a reason that is not shown here."""
    assert {p.deviation for p in PROOFS} == {d.name for d in DEVIATIONS}


async def test_rows_after_a_full_page_are_lost_without_a_total(ask: Ask) -> None:
    """Where rows are found several times, a page that holds all of HAPI's first batch ends the
    search, though rows follow; asked for a total HAPI gives them all."""
    tag = uuid.uuid4().hex[:12]
    component: list[Any] = [
        {"code": coded(tag), "valueCodeableConcept": coded(f"v{n}")} for n in range(2)
    ]
    rows = [observation(f"s{n}-{tag}", component=component) for n in range(12)]
    named = (("component-code", tag), ("component-value-concept", "http://loinc.org|"))
    query = Query("Observation", (*named, ("_count", "7")))
    lost = await ask(rows, query)
    assert (len(lost.rows), lost.sizes) == (7, (7,))
    whole = await ask([], query.extended(("_total", "accurate")))
    assert len(whole.rows) == len(rows)


async def test_references_to_what_was_never_stored_are_not_found(ask: Ask) -> None:
    """HAPI resolves a reference when it is written."""
    tag = uuid.uuid4().hex[:12]
    row = tagged(FEVER, tag)
    query = Query("Observation", (("subject", f"Patient/p-{tag}"),))
    assert (await ask([row], query)).names() == []
    # The same again changes nothing: only what is written anew is resolved anew.
    assert (await ask([tagged(PATIENT, tag)], query)).names() == []
    assert (await ask([row | {"status": "amended"}], query)).names() == [f"Observation/o-{tag}"]


async def test_what_is_lost_on_storing(hapi: str) -> None:
    """Of a stored Bundle HAPI gives everything back but what the losses say."""
    tag = str(uuid.uuid4())
    inner: JsonObject = {
        "resourceType": "Bundle",
        "id": "inner",
        "meta": {"tag": [{"system": "urn:x", "code": "y"}]},
        "type": "collection",
    }
    entries: list[Any] = [
        {"fullUrl": f"urn:uuid:{tag}", "resource": {**PATIENT, "id": tag}},
        {"fullUrl": f"{hapi}/Bundle/inner", "resource": inner},
    ]
    given: Any = {
        "resourceType": "Bundle", "id": f"b-{tag}", "type": "collection", "entry": entries,
    }  # fmt: skip
    await load(hapi, [given])
    try:
        async with aiohttp.ClientSession() as session:
            _, kept = await Server(hapi, session).get(f"Bundle/b-{tag}")
    finally:
        await unload(hapi, [given])
    kept = {k: v for k, v in kept.items() if k != "meta"}
    assert "id" not in kept["entry"][0]["resource"]
    assert "meta" not in kept["entry"][1]["resource"]
    for loss in LOSSES:
        given = loss.without(given)
        kept = loss.without(kept)
    assert kept == given
