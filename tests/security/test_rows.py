"""Roles that see some rows only, on the running product: R-AU-7, R-EL-2, R-HV-2, R-PG-3, R-PG-4,
R-SI-9, R-SI-11 and R-SP-7, as an epidemiologist of a Zika program in Michigan."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import orjson
import pytest

from tests.security.asking import check_refused, every_way, forgetting, found, hold
from tests.security.product import EPI, LDS, MARKER, NEVER, Answer, Product, product
from tests.security.revealing import is_clean
from tests.security.serving import (
    Upstream,
    bundle,
    caller,
    common,
    holding,
    link,
    local,
    post,
    resources,
    settings_with,
)

ZIKA, HIV = "3928002", "86406008"
SNOMED = "http://snomed.info/sct"
TRIGGER = "http://hl7.org/fhir/us/ecr/StructureDefinition/eicr-trigger-code-flag-extension"
KINDS = ("Bundle", "Patient", "Condition", "Observation", "DiagnosticReport")


def patient(real: str = "mi", state: str = "MI", **more: Any) -> dict[str, Any]:
    name = [{"family": "Shown" if state == "MI" else MARKER}]
    address = [{"state": state, "city": "Lansing"}]
    found = {"resourceType": "Patient", "id": real, "name": name, "address": address}
    return {**found, "gender": "female", **more}


def condition(real: str, code: str = ZIKA, who: str = "mi", **more: Any) -> dict[str, Any]:
    coding = {"system": SNOMED, "code": code, "display": MARKER if code == HIV else "Zika"}
    found = {"resourceType": "Condition", "id": real, "code": {"coding": [coding]}}
    return {**found, "subject": {"reference": f"Patient/{who}"}, **more}


def observation(real: str, value: str = ZIKA, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation", "id": real, "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "75323-6"}]},
        "valueCodeableConcept": {"coding": [{"system": SNOMED, "code": value}]},
        "subject": {"reference": "Patient/mi"}, **more,
    }  # fmt: skip


def labelled(resource: dict[str, Any], code: str = "R") -> dict[str, Any]:
    """The resource under a label of confidentiality."""
    system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
    return {**resource, "meta": {"security": [{"system": system, "code": code}]}}


def report(real: str, *entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A document of a Composition that names every entry."""
    named = [{"reference": f"{e['resourceType']}/{e['id']}"} for e in entries]
    composition: dict[str, Any] = {
        "resourceType": "Composition", "id": f"c-{real}", "status": "final",
        "type": {"coding": [{"system": "http://loinc.org", "code": "55751-2"}]},
        "subject": named[0], "date": "2024-05-01", "title": "Report",
        "author": [{"reference": "Practitioner/p"}], "section": [{"entry": named[1:]}],
        **more,
    }  # fmt: skip
    held = [composition, *entries]
    base = common()[0].upstream.url
    return {
        "resourceType": "Bundle", "id": real, "type": "document",
        "timestamp": "2024-05-01T10:00:00Z",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:x"},
        "entry": [
            {"fullUrl": f"{base}/{r['resourceType']}/{r['id']}", "resource": r} for r in held
        ],
    }  # fmt: skip


MINE: tuple[Any, ...] = (
    patient(), condition("z1"), observation("o1"), report("d1", patient(), condition("z1")),
    {**condition("r1"), "resourceType": "DiagnosticReport", "status": "final"},
)  # fmt: skip
OTHERS: tuple[Any, ...] = (
    patient("oh", "OH"), patient("nowhere", address=[]), labelled(patient("r")),
    condition("h1", HIV), labelled(condition("z9")), {**condition("none"), "code": {"text": ZIKA}},
    observation("o9", HIV), labelled(observation("o8"), "V"),
    report("d8", patient("oh", "OH"), condition("z8", who="oh")),
    report("d9", patient(), condition("h1", HIV)),
    report("d10", patient(), condition("z1"), patient("oh", "OH")),
    report("d11", patient(), condition("z1"), confidentiality="V"),
    labelled(report("d12", patient(), condition("z1"))),
    {"resourceType": "Bundle", "id": "coll", "type": "collection", "entry": [
        {"resource": condition("z1")}, {"resource": patient()},
    ]},
)  # fmt: skip


def asked(upstream: Upstream) -> list[list[tuple[str, str]]]:
    """The forms of the searches since the last time."""
    return [parse_qsl(body.decode()) for _, target, body in upstream.calls() if "_search" in target]


def rows(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [r["id"] for r in resources(answer)]


CLAIMS: dict[str, dict[str, object]] = {
    "nothing": {},
    "no jurisdictions": {"conditions": [ZIKA]},
    "no conditions": {"jurisdictions": ["MI"]},
    "an empty list": {"conditions": [ZIKA], "jurisdictions": []},
    "an empty text": {"conditions": "", "jurisdictions": ["MI"]},
    "an empty text among others": {"conditions": [ZIKA, ""], "jurisdictions": ["MI"]},
    "a truth value": {"conditions": [ZIKA], "jurisdictions": True},
    "a list in a list": {"conditions": [[ZIKA]], "jurisdictions": ["MI"]},
    "an object": {"conditions": {"code": ZIKA}, "jurisdictions": ["MI"]},
    "what matches everything": {"conditions": [ZIKA], "jurisdictions": ["*", "-"]},
}


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=list(CLAIMS))
async def test_r_au_7_no_limits_are_no_rows(claims: dict[str, object], tmp_path: Path) -> None:
    """R-AU-7: a token without limits, or with limits that are not understood, finds no row and
    reads nothing, whatever is there, and nothing is asked upstream."""
    auth = settings_with(caller("lost", EPI, claims=claims))
    async with holding(*MINE, *OTHERS) as upstream, product(tmp_path, **auth) as running:
        upstream.calls()
        for kind in KINDS:
            for query in ("", "?_count=1", "?_id=z1", "?_sort=_id"):
                answer = await running.get("lost", f"/{kind}{query}")
                assert rows(answer) == []
                assert "total" not in answer.json
                assert link(answer, "next") is None
            mine = next(r for r in MINE if r["resourceType"] == kind)
            never = await running.get("lost", f"/{kind}/{NEVER}")
            assert (never.status, never.code) == (404, "not-found")
            for path in (f"/{kind}/{mine['id']}", f"/{kind}/{mine['id']}/_history/1"):
                assert (await running.get("lost", path)).same == never.same
        counted = await running.get("lost", "/Condition?_summary=count")
        assert (counted.status, counted.code) == (403, "forbidden")
        entries = bundle("batch", "Patient/mi", "Condition?code=" + ZIKA)
        answers = (await post(running, "lost", orjson.dumps(entries))).json["entry"]
        assert [e["response"]["status"][:3] for e in answers] == ["404", "200"]
        assert "entry" not in answers[1]["resource"]
        assert upstream.calls() == []
        assert rows(await running.get(EPI, "/Condition")) == ["z1"]


async def test_only_rows_in_scope_exist(tmp_path: Path) -> None:
    """R-AU-7, R-SP-7: of every type exactly the program's rows show, in every way to ask; the
    others are read as what never was. Of an in-scope document an entry out of scope goes."""
    async with holding(*MINE, *OTHERS) as upstream, product(tmp_path) as running:
        for kind in KINDS:
            mine = [r["id"] for r in MINE if r["resourceType"] == kind]
            assert await found(running, EPI, kind) == mine
            for real in mine:
                assert (await running.get(EPI, f"/{kind}/{real}")).status == 200
        comorbid = condition("h1", HIV), observation("o9", HIV)
        mixed = report("d1", patient(), condition("z1"), *comorbid)
        named = mixed["entry"][0]["resource"]["section"][0]["entry"]
        for each in named:  # what made the record system send a report
            code = HIV if each["reference"].endswith("h1") else ZIKA
            each["extension"] = [{"url": TRIGGER, "extension": [
                {"url": "triggerCode", "valueCoding": {"system": SNOMED, "code": code}},
            ]}]  # fmt: skip
        hold(upstream, *MINE[:3], mixed)
        answer = await running.get(EPI, "/Bundle/d1")
        assert is_clean(answer, MARKER, HIV, "h1", "o9")
        entries = [e["resource"] for e in answer.json["entry"]]
        assert [e["id"] for e in entries] == ["c-d1", "mi", "z1"]
        assert entries[0]["section"][0]["entry"] == named[:1]


async def test_contained_resources_are_rows_too(tmp_path: Path) -> None:
    """R-SP-7, R-TC-2: what is contained exists by its own type's rows; references to it go."""
    inside = [{**patient("p1", "OH"), "id": "p1"}, {**patient("p2"), "id": "p2"}]
    refers = [{"reference": "#p1"}, {"reference": "#p2"}]
    holder = condition("z1", subject=refers[1], recorder=refers[0], contained=inside)
    async with holding(holder), product(tmp_path) as running:
        answer = await running.get(EPI, "/Condition/z1")
        assert is_clean(answer, MARKER)
        assert [r["id"] for r in answer.json["contained"]] == ["p2"]
        assert answer.json["subject"] == {"reference": "#p2"}
        assert "recorder" not in answer.json


@pytest.mark.parametrize("kind", KINDS)
async def test_r_el_2_hidden_deleted_and_never_are_one(kind: str, tmp_path: Path) -> None:
    """R-EL-2: what is out of scope, was deleted, or never was is one and the same 404, after the
    same call."""
    async with holding(*MINE, *OTHERS) as upstream, product(tmp_path) as running:
        gone = next(r for r in MINE if r["resourceType"] == kind)
        upstream.store.delete(kind, gone["id"])
        upstream.calls()
        never = await running.get(EPI, f"/{kind}/{NEVER}")
        assert (never.status, never.code) == (404, "not-found")
        calls = [(method, target.removesuffix(NEVER)) for method, target, _ in upstream.calls()]
        assert calls == [("GET", f"/fhir/{kind}/")]
        out = [r["id"] for r in OTHERS if r["resourceType"] == kind]
        for real in (gone["id"], *out):
            assert (await running.get(EPI, f"/{kind}/{real}")).same == never.same
            said = [(method, target.removesuffix(real)) for method, target, _ in upstream.calls()]
            assert said == calls
            head = await running.ask(EPI, "HEAD", f"/fhir/{kind}/{real}")
            assert (head.status, head.body) == (404, b"")
            upstream.calls()


async def test_r_hv_2_a_version_shows_if_it_and_the_current_one_do(tmp_path: Path) -> None:
    """R-HV-2: BLIND unless both are in scope: for what moved out, what moved in, what was deleted
    and what never was; the calls are the same each time. History stays refused (R-HV-1)."""
    async with holding() as upstream, product(tmp_path) as running:
        for name, codes in {
            "out": (ZIKA, HIV), "in": (HIV, ZIKA), "both": (ZIKA, ZIKA), "never": (HIV, HIV),
            "between": (ZIKA, HIV, ZIKA), "gone": (ZIKA,),
        }.items():  # fmt: skip
            for code in codes:
                upstream.store.write(condition(name, code))
        upstream.store.delete("Condition", "gone")
        upstream.calls()
        expected = {
            "out": "", "in": "2", "both": "12", "never": "", "between": "13", "gone": "", NEVER: "",
        }  # fmt: skip
        blind = await running.get(EPI, f"/Condition/{NEVER}")
        upstream.calls()
        for name, versions in expected.items():
            for version in "1234":
                answer = await running.get(EPI, f"/Condition/{name}/_history/{version}")
                if version in versions:
                    assert answer.status == 200, (name, version)
                    assert answer.json["code"]["coding"][0]["code"] == ZIKA
                    assert "versionId" not in answer.json["meta"]
                    assert not {"last-modified", "content-location"} & set(answer.headers)
                else:
                    assert answer.same == blind.same, (name, version)
                said = sorted(target for _, target, _ in upstream.calls())
                path = f"/fhir/Condition/{name}"
                assert said == [path, f"{path}/_history/{version}"]
        for path in ("/Condition/both/_history", "/Condition/_history", "/_history"):
            answer = await running.get(EPI, path)
            assert (answer.status, answer.code) == (403, "forbidden")
        shown = running.shown(LDS, "Condition", "both")
        answer = await running.get(LDS, f"/Condition/{shown}/_history/1")
        assert (answer.status, answer.code) == (403, "forbidden")
        assert upstream.calls() == []


async def test_r_si_9_conditions_on_other_rows_do_not_leak(tmp_path: Path) -> None:
    """R-SI-9: nothing asks about rows that are not the answer's own: the answers are the same
    whether the patient has HIV or not."""
    worlds = (MINE, (*MINE, condition("h1", HIV), condition("h2", HIV, "oh"), patient("oh", "OH")))
    hiv = f"{SNOMED}|{HIV}"
    refused = (
        f"Patient?_id=mi&_has:Condition:patient:code={hiv}",
        f"Patient?_id=mi&_has:Condition:subject:code={ZIKA}",
        "Condition?subject:Patient._has:Condition:patient:code=x",
        "Condition?patient.name=Shown",
        f"Patient?_has:Observation:patient:value-concept={hiv}",
        "Patient?_id=mi&_revinclude=Encounter:patient",
        "Bundle?composition.subject=Patient/mi",
    )
    answered = (
        f"Condition?code={hiv}", f"Condition?code:not={hiv}", "Condition?patient=Patient/mi",
        "Condition?patient=Patient/oh", "Patient?_id=mi", "Patient?_id=oh", "Patient?_sort=-_id",
        "Condition?_sort=code", "Condition?_include=Condition:subject", "Condition?_count=1",
        "Patient?_id=mi&_revinclude=Condition:subject", "Patient?_revinclude=Condition:subject",
        f"Condition?_id=h1,z1&code={ZIKA},{HIV}", "Patient?address-state=OH,MI",
    )  # fmt: skip
    said = []
    for number, world in enumerate(worlds):
        folder = tmp_path / str(number)
        folder.mkdir()
        async with holding(*world) as upstream, product(folder) as running:
            upstream.calls()
            first = await check_refused(running, upstream, EPI, refused)
            answers = [a.same for t in answered for a in await every_way(running, EPI, t)]
            said.append((first, answers))
            assert all(status == 200 for status, _, _ in answers), answers
    assert said[0] == said[1]


async def test_r_si_11_a_restriction_is_sent_and_judged_again(tmp_path: Path) -> None:
    """R-SI-11, R-SP-7: what the rows say goes upstream as conditions of their own, beside the
    caller's; an upstream that drops them shows no other row."""
    auth = settings_with(
        caller("odd", EPI, claims={"conditions": ["a,b", "c|d", "e$f", "g\\h"],
                                   "jurisdictions": ["MI&gender=male", "O H"]}),
    )  # fmt: skip
    async with holding(*MINE, *OTHERS) as upstream, product(tmp_path, **auth) as running:
        upstream.calls()
        for query, expected in {
            "Patient": [("address-state:exact", "MI")],
            "Patient?address-state=OH": [("address-state", "OH"), ("address-state:exact", "MI")],
            "Condition?code=x,y": [("code", "x,y"), ("code", ZIKA)],
            "Bundle": [("type", "document")],
            "Observation": [],
        }.items():
            await running.get(EPI, f"/{query}")
            (form,) = asked(upstream)
            assert [pair for pair in form if pair[0] not in ("_count", "_sort")] == expected
        assert rows(await running.get(EPI, "/Patient?address-state=OH")) == []
        assert rows(await running.get(EPI, "/Patient?address-state=MI")) == ["mi"]
        # Every value of a claim is one value: what separates is escaped.
        upstream.calls()
        assert rows(await running.get("odd", "/Condition")) == []
        assert rows(await running.get("odd", "/Patient")) == []
        forms = asked(upstream)
        assert ("code", "a\\,b,c\\|d,e\\$f,g\\\\h") in forms[0]
        assert ("address-state:exact", "MI&gender=male,O H") in forms[1]
    for kind in KINDS:
        held = [r for r in (*OTHERS, *MINE) if r["resourceType"] == kind]
        async with forgetting(*held), product(tmp_path) as running:
            mine = [r["id"] for r in MINE if r["resourceType"] == kind]
            assert await found(running, EPI, kind) == mine


async def test_r_pg_3_self_shows_what_the_caller_asked(tmp_path: Path) -> None:
    """R-PG-3: the self link has the caller's parameters; nothing of the rows that were added."""
    stored = [condition(f"z{i}", clinicalStatus={"coding": [{"code": "active", "system":
              "http://terminology.hl7.org/CodeSystem/condition-clinical"}]}) for i in range(3)]
    async with holding(*stored), product(tmp_path) as running:
        for query in ("clinical-status=active", "clinical-status=active&_count=2", ""):
            answer = await running.get(EPI, f"/Condition?{query}" if query else "/Condition")
            own = local(link(answer, "self") or "")
            assert own == (f"/Condition?{query}" if query else "/Condition")
            assert len(rows(answer)) == (2 if "_count" in query else 3)
            links = " ".join(each["url"] for each in answer.json["link"])
            assert ZIKA not in links
            assert "MI" not in links.partition("_page=")[0]


async def walk(running: Product, who: str, target: str) -> list[list[str]]:
    """The ids of every page."""
    pages, seen = [], set[str]()
    while target:
        assert target not in seen
        seen.add(target)
        answer = await running.get(who, target)
        pages.append(rows(answer))
        assert "total" not in answer.json
        following = link(answer, "next")
        target = local(following) if following else ""
    return pages


@pytest.mark.parametrize("kind", ["Condition", "Observation"])
async def test_r_pg_4_paging_loses_and_repeats_nothing(kind: str, tmp_path: Path) -> None:
    """R-PG-4: 1000 rows in pages of seven, of which the role sees three in five: every visible row
    once, in the order of storage, all pages full but the last."""
    make = condition if kind == "Condition" else observation
    stored = [make(f"row-{i}", ZIKA if i % 5 < 3 else HIV) for i in range(1000)]
    async with holding(*stored), product(tmp_path) as running:
        pages = await walk(running, EPI, f"/{kind}?_count=7")
    assert [real for page in pages for real in page] == [
        f"row-{i}" for i in range(1000) if i % 5 < 3
    ]
    assert {len(page) for page in pages[:-1]} == {7}


async def test_r_pg_6_a_page_is_of_one_set_of_claims(tmp_path: Path) -> None:
    """R-PG-6: a caller whose claims have changed does not go on where another scope began."""
    stored = [condition(f"z{i}") for i in range(5)]
    wide = {"conditions": [ZIKA, HIV], "jurisdictions": ["MI"]}
    auth = settings_with(caller("wider", EPI, claims=wide))
    async with holding(*stored) as upstream, product(tmp_path, **auth) as running:
        following = local(link(await running.get(EPI, "/Condition?_count=2"), "next") or "")
        upstream.calls()
        answer = await running.get("wider", following)
        assert (answer.status, answer.code) == (410, "expired")
        assert upstream.calls() == []
        assert len(rows(await running.get(EPI, following))) == 2


async def test_r_bt_1_entries_of_a_batch_see_the_same_rows(tmp_path: Path) -> None:
    """R-BT-1: each entry is answered as the same request alone."""
    targets = ("Patient/mi", "Patient/oh", "Condition", f"Condition?code={HIV}", "Condition/h1",
               "Condition/z1/_history/1", "Observation?_count=1", "Bundle/d9")  # fmt: skip
    async with holding(*MINE, *OTHERS), product(tmp_path) as running:
        alone = [await running.get(EPI, f"/{target}") for target in targets]
        answer = await post(running, EPI, orjson.dumps(bundle("batch", *targets)))
        for each, entry in zip(alone, answer.json["entry"], strict=True):
            assert int(entry["response"]["status"][:3]) == each.status
            held = entry.get("resource", entry["response"].get("outcome"))
            assert held == each.json
        assert [a.status for a in alone] == [200, 404, 200, 200, 404, 200, 200, 404]


async def test_r_sp_1_what_comes_along_is_a_row_too(tmp_path: Path) -> None:
    """R-SP-1, R-SI-9: of what the matches refer to only rows in scope come along, and a chain ends
    at nothing else."""
    stored = [*MINE, *OTHERS, condition("z2", who="oh"), condition("z3", who="r")]
    async with holding(*stored), product(tmp_path) as running:
        for answer in await every_way(running, EPI, "Condition?_include=Condition:subject"):
            assert is_clean(answer, MARKER)
            modes = [(e["search"]["mode"], e["resource"]["id"]) for e in answer.json["entry"]]
            assert modes == [
                ("match", "z1"), ("match", "z2"), ("match", "z3"), ("include", "mi"),
            ]  # fmt: skip


async def test_the_capability_statement_says_that_rows_are_limited(tmp_path: Path) -> None:
    """R-OP-4: the caller is told which types are limited, and by which claims."""
    async with holding(), product(tmp_path) as running:
        (rest,) = (await running.get(EPI, "/metadata")).json["rest"]
    said = {each["type"]: each for each in rest["resource"]}
    assert set(said) == {*KINDS, "PlanDefinition", "Library", "ValueSet", "CodeSystem"}
    for kind, each in said.items():
        text = "by the claims conditions, jurisdictions of your token"
        assert (text in each["documentation"]) is (kind in KINDS)
        assert ({"code": "vread"} in each["interaction"]) is (kind in KINDS)
        assert each["versioning"] == "no-version"
