"""Section 18 of the security requirements, R-AG-1 to R-AG-6, on the running product.

There is no endpoint of aggregates yet: what is required of its tables is met by there being none,
and by no count of any kind for anyone but the investigator.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.security.asking import check_refused, every_way, hold
from tests.security.product import DEID, EPI, LDS, MARKER, NEVER, PUB, Answer, Product, product
from tests.security.revealing import is_clean
from tests.security.searched import REAL, WORLD, condition, patient
from tests.security.serving import (
    FHIR,
    bundle,
    caller,
    common,
    holding,
    is_refusal,
    post,
    resources,
    settings_with,
)

ROWS = (
    "Patient?_count=1",
    "Patient?gender=female",
    "Condition?code=x",
    "Condition?code=3928002",
    "Observation?_elements=id",
    "Bundle?type=document",
    "Composition?status=final",
    "Organization?address-state=MI",
    "Location?status=active",
    "DocumentReference?status=current",
    "Encounter?_summary=true",
    "Practitioner?_id=x",
    "Group?type=person",
    "MeasureReport?status=complete",
    "List?status=current",
    "Binary?_id=x",
)


@pytest.mark.parametrize("real", [REAL, NEVER, "1"])
async def test_r_ag_1_no_rows_for_the_public(real: str, tmp_path: Path) -> None:
    """R-AG-1: the public role reads and searches no row of any person, place or document: by GET,
    POST, HEAD and batch the same refusal, whatever is stored."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        full = await check_refused(running, upstream, PUB, ROWS)
        reads = [f"/{target.partition('?')[0]}/{real}" for target in ROWS]
        answers = [await running.get(PUB, path) for path in reads]
        answers += [await running.get(PUB, f"{path}/_history") for path in reads[:3]]
        answers += [await running.get(PUB, f"{path}/_history/1") for path in reads[:3]]
        assert all(is_refusal(a) or a.status == 404 for a in answers)
        assert all(is_clean(answer, MARKER) for answer in answers)
        body = orjson.dumps(bundle("batch", *(path[1:] for path in reads), *ROWS))
        for entry in (await post(running, PUB, body)).json["entry"]:
            assert entry["response"]["status"][:3] in ("400", "403", "404")
            assert "resource" not in entry
        assert upstream.calls() == []
        hold(upstream)
        assert await check_refused(running, upstream, PUB, ROWS) == full


async def test_r_ag_1_listed_reference_content(tmp_path: Path) -> None:
    """R-AG-1, R-OP-7: what the public role may read are the reporting rules, under their own ids,
    by what names them; from them nothing leads to anything else."""
    rules: Any = {
        "resourceType": "ValueSet",
        "id": "dxtc",
        "url": "http://example.org/ValueSet/dxtc",
        "version": "1",
        "name": "Triggers",
        "title": "Trigger codes",
        "status": "active",
    }
    async with holding(*WORLD, rules) as upstream, product(tmp_path) as running:
        assert (await running.get(PUB, "/ValueSet/dxtc")).json["title"] == "Trigger codes"
        for query in ("url=http://example.org/ValueSet/dxtc", "version=1", "status=active",
                      "title=Trigger", "name=Triggers", "_id=dxtc", "title:contains=codes"):
            for answer in await every_way(running, PUB, f"ValueSet?{query}"):
                assert [r["id"] for r in resources(answer)] == ["dxtc"]
        targets = (
            "ValueSet?_include=*",
            "ValueSet?_revinclude=*",
            "ValueSet?_revinclude=Observation:code",
            "Library?_include=Library:depends-on",
            "Library?_include:iterate=PlanDefinition:definition",
            "Library?_has:PlanDefinition:definition:status=active",
            "Library?depends-on.title=x",
            "PlanDefinition?composed-of:Library.title=x",
            "PlanDefinition?_has:Observation:x:code=y",
            "ValueSet?_content=x",
            "ValueSet?_filter=status%20eq%20active",
            "ValueSet?_list=x",
        )
        await check_refused(running, upstream, PUB, targets)
        for path in ("/ValueSet/dxtc/$expand", "/ValueSet/$expand", "/CodeSystem/$lookup",
                     "/ValueSet/dxtc/_history", "/ValueSet/dxtc/_history/1"):
            answer = await running.get(PUB, path)
            assert is_refusal(answer) or answer.status == 404
        assert upstream.calls() == []


async def test_r_ag_1_the_public_needs_no_project(tmp_path: Path) -> None:
    """R-AG-1: nothing that the public role is shown carries a pseudonym, so its token needs no
    project; that of a researcher does."""
    rules: Any = {"resourceType": "ValueSet", "id": "dxtc", "status": "active"}
    callers = (caller("anyone", PUB, project=""), caller("homeless", DEID, project=""))
    async with holding(*WORLD, rules) as upstream, product(
        tmp_path, **settings_with(*callers)
    ) as running:
        assert (await running.get("anyone", "/ValueSet/dxtc")).status == 200
        found = await running.get("anyone", "/ValueSet?status=active")
        assert [r["id"] for r in resources(found)] == ["dxtc"]
        upstream.calls()
        assert is_refusal(await running.get("anyone", "/Patient"))
        assert is_refusal(await running.get("homeless", "/Patient"))
        assert is_refusal(await running.get("homeless", "/ValueSet/dxtc"))
        assert upstream.calls() == []


COUNTS = (
    "Patient?_summary=count",
    "Patient?_count=0",
    "Patient?_total=accurate",
    "Patient?_total=estimate&_count=0",
    "Condition?_summary=count",
    "Condition?code=3928002&_summary=count",
    "Observation?_summary=count",
    "Bundle?type=document&_summary=count",
    "Patient?_summary=count&address-state=MI",
)


@pytest.mark.parametrize("cases", [0, 1, 10, 11])
async def test_r_ag_2_counts_are_not_shown(cases: int, tmp_path: Path) -> None:
    """R-AG-2: no count is shown to the public, small or large: the refusal is the same for 0, 1,
    10 and 11 cases."""
    stored = [condition(f"c{n}", REAL) for n in range(cases)]
    async with holding(patient(), *stored) as upstream, product(tmp_path) as running:
        said = await check_refused(running, upstream, PUB, COUNTS)
        hold(upstream)
        assert await check_refused(running, upstream, PUB, COUNTS) == said


async def aggregated(running: Product, role: str) -> list[Answer]:
    """What could be an endpoint of tables, rates or measures."""
    paths = (
        "/$stats",
        "/$aggregate",
        "/Condition/$count",
        "/Patient/$stats",
        "/Observation/$stats",
        "/$get-resource-counts",
        "/Measure/$evaluate-measure",
        "/Measure/1/$evaluate-measure",
        "/MeasureReport",
        "/aggregate",
        "/counts?group=county",
    )
    answers = [await running.get(role, path) for path in paths]
    for path in paths:
        answers.append(
            await running.ask(role, "POST", f"/fhir{path}", data=b"{}", headers=FHIR)
        )
    return answers


@pytest.mark.parametrize("role", [EPI, LDS, DEID, PUB])
async def test_r_ag_3_there_are_no_tables(role: str, tmp_path: Path) -> None:
    """R-AG-3: no table of counts is published, so no total can undo a suppression: whatever such
    endpoints are called elsewhere is refused here."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        answers = await aggregated(running, role)
        assert all(is_refusal(a) or (a.status, a.code) == (404, "not-found") for a in answers)
        assert upstream.calls() == []


FILTERS = (
    "Patient?_summary=count&address-postalcode=48104&birthdate=1974&gender=female",
    "Patient?address-postalcode=48104&birthdate=1974&gender=female&_count=0",
    "Condition?_summary=count&code=x&subject.name=y",
    "Condition?_summary=count&code=x&subject:Patient.address-state=MI",
    "Patient?_has:Condition:patient:code=x&_summary=count",
    "Encounter?_summary=count&date=2019-02-03",
    "Observation?_summary=count&value-quantity=gt5",
    "Patient?_total=accurate&family=x",
)


async def test_r_ag_4_no_filters_of_ones_own(tmp_path: Path) -> None:
    """R-AG-4: the public role cannot choose what is counted, in any form."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        said = await check_refused(running, upstream, PUB, FILTERS)
        hold(upstream)
        assert await check_refused(running, upstream, PUB, FILTERS) == said


@pytest.mark.parametrize("role", [LDS, DEID, EPI])
async def test_r_ag_5_answers_do_not_count(role: str, tmp_path: Path) -> None:
    """R-AG-5: a restricted view's searches have no total, asked for or not, on no page, and no form
    that only counts. (The shipped policies say ``total = "none"``.)"""
    rare = condition("rare", REAL)
    async with holding(patient(), rare) as upstream, product(tmp_path) as running:
        refused = (
            "Condition?code=3928002&_summary=count",
            "Condition?code=3928002&_count=0",
            "Condition?_summary=count&_total=accurate",
            "Condition?_count=0&_totalMethod=count",
        )
        said = await check_refused(running, upstream, role, refused)
        for query in ("code=3928002", "code=3928002&_total=accurate", "_total=estimate",
                      "_total=none", "_count=1&_total=accurate", "_summary=true",
                      "_summary=data&_total=accurate"):
            for answer in await every_way(running, role, f"Condition?{query}"):
                assert answer.status == 200
                assert "total" not in answer.json
        hold(upstream, patient())
        assert await check_refused(running, upstream, role, refused) == said
        answer = await running.get(role, "/Condition?code=3928002&_total=accurate")
        assert "total" not in answer.json


@pytest.mark.parametrize("role", [LDS, DEID, EPI, PUB])
async def test_r_ag_6_nothing_is_counted_twice(role: str, tmp_path: Path) -> None:
    """R-AG-6: five versions of one case report, a deleted one and one entered in error are not
    counted as cases, since nothing is counted: count-only forms are refused whatever there is."""
    versions: list[Any] = [
        {
            "resourceType": "Bundle",
            "id": f"v{n}",
            "type": "document",
            "identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:set-1"},
        }
        for n in range(5)
    ]
    wrong = condition("wrong", REAL, verificationStatus={"coding": [{"code": "entered-in-error"}]})
    counts = ("Bundle?type=document&_summary=count", "Condition?_summary=count",
              "Condition?code=3928002&_count=0")
    async with holding(*versions, condition("c", REAL), wrong) as upstream, product(
        tmp_path
    ) as running:
        said = await check_refused(running, upstream, role, counts)
        hold(upstream, versions[0], condition("c", REAL))
        assert await check_refused(running, upstream, role, counts) == said


def test_no_shipped_policy_counts_for_others() -> None:
    """R-AG-5: of the shipped views only the investigator's says ``total = "exact"``."""
    views = common()[1].gateway.views.values()
    assert all(view.identity == (view.policy.search.total == "exact") for view in views)
