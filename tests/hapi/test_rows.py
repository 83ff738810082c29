"""Rows before a real HAPI: the epidemiologist sees exactly the program's, and no condition that is
sent upstream loses one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from typing import Any

import aiohttp
import pytest

from proxy.demo.generator import cases, data_set
from proxy.fhir.codec import JsonObject, decode
from proxy.policy.model import RowRule, Source
from proxy.policy.rows import Rows
from tests.conftest import free_port
from tests.gateway import Gateway, running
from tests.loading import load, unload
from tests.views import EPI, Case

pytestmark = pytest.mark.hapi

ZIKA, STATE = ("3928002", "A92.5", "80825-3", "50471002"), "NH"
CLAIMS: dict[str, object] = {"conditions": list(ZIKA), "jurisdictions": [STATE]}
SNOMED = "http://snomed.info/sct"
KINDS = ("Bundle", "Patient", "Condition", "Observation", "DiagnosticReport", "ValueSet")


@pytest.fixture(scope="module")
def stored(hapi: str) -> Iterator[str]:
    """HAPI with the generator's cases, for all tests of this module."""
    held = data_set(list(cases(6, 1, base=hapi)))
    asyncio.run(load(hapi, held))
    yield hapi
    asyncio.run(unload(hapi, held))


@pytest.fixture(scope="module")
def gateway(stored: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("rows")
    with running(stored, folder, free_port(), roles=(EPI,), claims={EPI: CLAIMS}) as started:
        yield started


async def get(url: str, token: str = "") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {"Cache-Control": "no-cache"}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, decode(await response.read())


async def walk(url: str, token: str = "") -> list[JsonObject]:
    """The resources of all pages."""
    found: list[JsonObject] = []
    while url:
        status, page = await get(url, token)
        assert status == 200, page
        found += [entry["resource"] for entry in page.get("entry", [])]
        url = next((x["url"] for x in page["link"] if x["relation"] == "next"), "")
    return found


async def ids(url: str, form: Iterable[tuple[str, str]]) -> set[str]:
    """Of what a search by POST finds."""
    data, headers = [*form, ("_count", "1000")], {"Cache-Control": "no-cache"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=data, headers=headers) as response,
    ):
        assert response.status == 200, await response.text()
        page: Any = decode(await response.read())
    following = [x["url"] for x in page["link"] if x["relation"] == "next"]
    rest = [str(r["id"]) for url in following for r in await walk(url)]
    return {*rest, *(entry["resource"]["id"] for entry in page.get("entry", []))}


@pytest.mark.parametrize("kind", KINDS)
async def test_the_program_s_rows_are_found_and_read(
    kind: str, stored: str, gateway: Gateway
) -> None:
    """R-PG-4, R-SP-7: of every type exactly what the slow evaluator shows of all that HAPI holds,
    in HAPI's order, each once; what it does not show is read as what never was."""
    case = Case(EPI, CLAIMS)
    everything = await walk(f"{stored}/{kind}?_count=100")
    expected = [r["id"] for r in everything if case.reveal_slowly(r) is not None]
    shown = await walk(f"{gateway.base}/{kind}?_count=7", gateway.tokens[EPI])
    assert [r["id"] for r in shown] == expected
    assert expected
    assert kind == "ValueSet" or len(expected) < len(everything)
    never = await get(f"{gateway.base}/{kind}/never-existed", gateway.tokens[EPI])
    for resource in everything:
        status, read = await get(f"{gateway.base}/{kind}/{resource['id']}", gateway.tokens[EPI])
        if resource["id"] in expected:
            assert (status, read["id"]) == (200, resource["id"])
        else:
            assert (status, read) == never


@pytest.mark.parametrize(
    "query", ["Condition?_include=Condition:subject", "Patient?_revinclude=Condition:subject"]
)
async def test_what_comes_along_is_in_scope(query: str, stored: str, gateway: Gateway) -> None:
    """R-SP-1, R-SI-9: of what HAPI would include exactly the rows in scope come along."""
    case = Case(EPI, CLAIMS)
    kind = query.partition("?")[0]
    mine = await walk(f"{gateway.base}/{kind}?_count=100", gateway.tokens[EPI])
    names = {f"{kind}/{r['id']}" for r in mine}
    direct = await walk(f"{stored}/{query}&_id={','.join(str(r['id']) for r in mine)}&_count=100")
    expected = {f"{r['resourceType']}/{r['id']}" for r in direct if case.reveal_slowly(r)}
    shown = await walk(f"{gateway.base}/{query}&_count=100", gateway.tokens[EPI])
    found = [f"{r['resourceType']}/{r['id']}" for r in shown]
    assert sorted(found) == sorted(expected)
    assert names < expected


async def test_versions_need_both_ends_in_scope(stored: str, gateway: Gateway) -> None:
    """R-HV-2: a Condition whose code moves out of the program and in again."""
    condition = next(
        r for r in await walk(f"{stored}/Condition?code={ZIKA[0]}") if "note" in r
    )
    # HAPI keeps versions of what was deleted.
    moving: JsonObject = {**condition, "id": f"moving-{os.urandom(6).hex()}", "meta": {}}
    out: JsonObject = {**moving, "code": {"coding": [{"system": SNOMED, "code": "1"}]}}

    async def statuses() -> list[int]:
        paths = ["", *(f"/_history/{version}" for version in (1, 2, 3, 4))]
        url, token = f"{gateway.base}/Condition/{moving['id']}", gateway.tokens[EPI]
        return [(await get(url + path, token))[0] for path in paths]

    found = []
    back: JsonObject = {**moving, "note": [{"text": "again"}]}
    for resource in (moving, out, back):
        await load(stored, [resource])
        found.append(await statuses())
    await unload(stored, [moving])
    found.append(await statuses())
    assert found == [
        [200, 200, 404, 404, 404], [404] * 5, [200, 200, 404, 200, 404], [404] * 5,
    ]  # fmt: skip


SENT = [
    ("Patient", "address-state:exact={jurisdictions}"),
    ("Patient", "address-state={jurisdictions},mi"),
    ("Patient", "gender=female,male"),
    ("Patient", "gender:not=male"),
    ("Patient", "gender:missing=false"),
    ("Patient", "birthdate=ge1960-01-01"),
    ("Patient", "birthdate=lt1960-01-01"),
    ("Patient", "death-date:missing=true"),
    ("Patient", "name=c,o"),
    ("Patient", "identifier:missing=false&active:missing=true"),
    ("Condition", "code={conditions}"),
    ("Condition", "code=http://snomed.info/sct|38341003,{conditions}"),
    ("Condition", "code:not={conditions}"),
    ("Condition", "clinical-status=active"),
    ("Condition", "onset-date=ge2024-06-01"),
    ("Condition", "recorded-date=lt2025-06-01&recorded-date=gt2024-06-01"),
    ("Observation", "code={conditions}"),
    ("Observation", "value-concept={conditions}"),
    ("Observation", "combo-code:not=75323-6"),
    ("Observation", "date=gt2024-06-01"),
    ("Encounter", "class=AMB"),
    ("Bundle", "type=document"),
    ("Bundle", "timestamp=ge2024-01-01T00:00:00Z"),
    ("ValueSet", "url:missing=false&status=active"),
    ("PlanDefinition", "name:missing=false"),
]


@pytest.mark.parametrize(("kind", "search"), SENT)
async def test_what_is_sent_loses_no_row(kind: str, search: str, stored: str) -> None:
    """HAPI gives, for the conditions that are sent, all rows that are judged to exist."""
    rules = Rows({kind: (RowRule(kind, search, "", Source("p.toml", 1, "rows")),)})
    form = rules.form(kind, CLAIMS)
    assert form
    found = await ids(f"{stored}/{kind}/_search", form)
    everything = await walk(f"{stored}/{kind}?_count=200")
    exist = {r["id"] for r in everything if rules.hold(kind, r, CLAIMS)}
    assert exist <= found
    assert exist == found, "and none besides, so that pages need no second look"


async def test_claims_are_values_for_hapi_too(stored: str) -> None:
    """What separates or escapes in a search is part of the value in a claim."""
    odd = ["a,b", "c|d", "e$f", "g\\h", "plain"]
    held: list[JsonObject] = [
        {"resourceType": "Patient", "id": f"odd-{i}", "identifier": [{"value": text}]}
        for i, text in enumerate([*odd, "a", "b", "c", "d", "g"])
    ]
    await load(stored, held)
    try:
        rules = Rows({"Patient": (RowRule("Patient", "identifier={x}", "", Source("p", 1, "r")),)})
        for number, text in enumerate(odd):
            form = rules.form("Patient", {"x": [text, "never there"]})
            assert form is not None
            assert await ids(f"{stored}/Patient/_search", form) == {f"odd-{number}"}
    finally:
        await unload(stored, held)
