"""The matcher beside a real server: where they differ is known, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from tests.fhir.test_match import CASES, satisfied
from tests.loading import load, unload

pytestmark = pytest.mark.hapi

TARGETS = [
    {"resourceType": "Practitioner", "id": "d1"},
    {"resourceType": "Patient", "id": "p1"},
]

YEARS = "it compares years and months with a prefix by one end only"
PRECISION = "a number without prefix is exact"
FIRST = "it reads the first prefix of a list as that of all"
REFUSED = "it refuses the prefix, the modifier or the list"
# (type, query) -> why HAPI answers otherwise.
KNOWN: dict[tuple[str, str], str] = {
    ("Patient", "birthdate=le1974"): YEARS,
    ("Patient", "birthdate=ge1974"): YEARS,
    ("Observation", "date=ge2018"): YEARS,
    ("Observation", "date=le2018"): YEARS,
    ("Patient", "birthdate=1900,1974"): REFUSED,
    ("Patient", "name:contains=ller"): REFUSED,
    ("Patient", "name:contains=zz"): REFUSED,
    ("Patient", "identifier:of-type=http://v2|MR|1-2\\,3"): REFUSED,
    ("Patient", "identifier:of-type=http://v2|XX|1-2\\,3"): REFUSED,
    ("Patient", "identifier:text=char"): "it does not index the text of an identifier's type",
    (
        "Patient",
        "general-practitioner=http://upstream.example/fhir/Practitioner/d1",
    ): "the base is not its own; of its own it finds nothing either",
    ("Observation", "encounter:identifier=http://e|77"): REFUSED,
    ("Observation", "encounter:identifier=77x"): REFUSED,
    ("Observation", "value-quantity=sa5"): REFUSED,
    ("Observation", "value-quantity=eb6"): REFUSED,
    ("RiskAssessment", "probability=eb0.8"): REFUSED,
    ("Observation", "value-quantity=lt5,gt5.3"): FIRST,
    ("Observation", "value-quantity=5"): PRECISION,
    ("RiskAssessment", "probability=1"): PRECISION,
    ("Observation", "component-code-value-quantity=c1$2"): (
        "the parts of a composite may hold on two components"
    ),
}


def prepared() -> list[Any]:
    """The cases as a server with referential integrity takes them."""
    kept = []
    for resource, _ in CASES:
        copy = {k: v for k, v in resource.items() if k not in ("focus", "meta")}
        kept.append(copy)
    return kept


def queries(resource: Any, table: dict[bool, list[str]]) -> Iterator[str]:
    """What both can be asked: not what HAPI does not store, or answers with an error."""
    for asked in (query for each in table.values() for query in each):
        name, _, value = asked.partition("=")
        if name.partition(":")[0] not in ("focus", "_lastUpdated", "race") and value:
            yield asked


async def found(session: aiohttp.ClientSession, base: str, resource: Any, query: str) -> Any:
    """Whether HAPI finds the resource; the status if it refuses."""
    name, _, value = query.partition("=")
    form = [("_id", resource["id"]), (name, value)]
    if name == "_id":
        form = form[1:]
    url = f"{base}/{resource['resourceType']}/_search"
    headers = {"Cache-Control": "no-cache"}
    async with session.post(url, data=form, headers=headers) as response:
        if response.status != 200:
            return response.status
        return any(
            e["resource"]["id"] == resource["id"] for e in (await response.json()).get("entry", [])
        )


async def test_the_matcher_agrees_with_hapi(hapi: str) -> None:
    """Every case of the matcher's own table, asked of HAPI: the same, but for what is listed."""
    resources = prepared()
    ids = {f"{r['resourceType']}/{r['id']}" for r in resources}
    everything = resources + [t for t in TARGETS if f"{t['resourceType']}/{t['id']}" not in ids]
    await load(hapi, everything)
    differing = {}
    try:
        async with aiohttp.ClientSession() as session:
            for resource, (_, table) in zip(resources, CASES, strict=True):
                for query in queries(resource, table):
                    theirs = await found(session, hapi, resource, query)
                    if theirs is not satisfied(resource, query):
                        differing[resource["resourceType"], query] = theirs
    finally:
        await unload(hapi, everything)
    assert sorted(differing) == sorted(KNOWN), differing
