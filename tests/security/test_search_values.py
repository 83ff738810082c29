"""Section 3 of the security requirements, R-SI-7 to R-SI-12, on the running product: values that a
caller may not know, other rows, and how a question is written."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.security.asking import check_refused, every_way, forgetting, found, hold
from tests.security.product import (
    DEID,
    INV,
    LDS,
    MARKER,
    NEVER,
    PUBLIC,
    RESTRICTED,
    product,
)
from tests.security.searched import REAL, WORLD, condition, filled, patient
from tests.security.serving import holding, is_refusal, resources


@pytest.mark.parametrize("role", RESTRICTED)
@pytest.mark.parametrize(
    "target",
    [
        "Observation?patient=Patient/{id}",
        "Observation?patient={id}",
        "Observation?subject=Patient/{id}",
        "Observation?subject:Patient={id}",
        "Observation?patient=" + quote(PUBLIC, safe="") + "/Patient/{id}",
        "Patient?_id={id}",
        "Patient?_id={id},{id}",
        "Condition?patient=Patient/{id}&code=3928002",
        "Composition?subject=Patient/{id}",
        "Observation?encounter=Encounter/{id}",
    ],
)
async def test_r_si_7_upstream_ids_mean_nothing(role: str, target: str, tmp_path: Path) -> None:
    """R-SI-7: a real id in a search behaves as one that never existed: nothing is found, nothing is
    asked, and the answers are the same but for what is echoed."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        upstream.calls()
        bodies: dict[int, set[tuple[str, str]]] = {}
        for real in (REAL, NEVER, "1", "a" * 64, "12345678-1234-1234-1234-123456789012"):
            for way, answer in enumerate(await every_way(running, role, target.format(id=real))):
                assert answer.status == 200
                assert resources(answer) == []
                text = answer.body.decode().replace(quote(real, safe=""), "#")
                headers = {k: v for k, v in answer.same[1].items() if k != "content-length"}
                bodies.setdefault(way, set()).add((text, str(headers)))
            calls = upstream.calls()
            # Of 41 to 64 characters any string may stand for a long id; it does not say this one.
            assert all(real.encode() not in body for _, _, body in calls)
            assert len(real) > 40 or calls == []
        assert [len(each) for each in bodies.values()] == [1, 1, 1, 1]
        for real in (REAL, NEVER):
            answer = await running.get(role, f"/Patient/{real}")
            assert (answer.status, answer.code) == (404, "not-found")
        assert upstream.calls() == []


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_si_8_places_as_they_show(role: str, tmp_path: Path) -> None:
    """R-SI-8: places are searched as exactly as they show: the state by everyone, three digits of
    the ZIP code or five, no distance."""
    near = (
        "Location?near=42.28%7C-83.74%7C1%7Ckm",
        "Location?near=42.28%7C-83.74",
        "Location?near:missing=false",
        "Patient?address={m}",
        "Patient?address-postalcode:contains=81",
        "Patient?address-state:contains=I",
        "Patient?address-district=Washtenaw",
    )
    less = ("Patient?address-postalcode=48104", "Patient?address-city=Ann%20Arbor",
            "Patient?address-postalcode=4810", "Patient?address-postalcode=48",
            "Patient?address-postalcode=481,48104",
            "Patient?address-city=A", "Location?address-city=Ann%20Arbor")  # fmt: skip
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        shown = running.shown(role, "Patient", REAL)
        targets = filled(near[:4])
        upstream.calls()
        for target in filled(near[4:]):
            assert all(a.status in (400, 403) for a in await every_way(running, role, target))
        assert upstream.calls() == []
        await check_refused(running, upstream, role, targets)
        if role == DEID:
            for target in less:
                answers = await every_way(running, role, target)
                assert all(a.status in (400, 403) for a in answers), target
            assert upstream.calls() == []
        assert await found(running, role, "Patient?address-state=MI") == [shown]
        assert await found(running, role, "Patient?address-state=GA") == []
        own = {LDS: ("48104", "48105", "481"), DEID: ("481", "482", "48104")}[role]
        assert await found(running, role, f"Patient?address-postalcode={own[0]}") == [shown]
        assert await found(running, role, f"Patient?address-postalcode={own[1]}") == []
        for answer in await every_way(running, role, f"Patient?address-postalcode={own[2]}"):
            assert answer.status in (400, 403)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_si_9_other_rows_do_not_tell(role: str, tmp_path: Path) -> None:
    """R-SI-9: whether a patient who shows has a condition that the question names cannot be learned
    by a predicate over other rows: the answers are the same with and without."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        shown = running.shown(role, "Patient", REAL)
        targets = [
            f"Patient?_id={shown}&_has:Condition:patient:code={code}"
            for code in ("http://snomed.info/sct%7C86406008", "86406008", "3928002")
        ]
        targets += [f"Patient?_has:Condition:subject:code=86406008&_id={shown}&_summary=count"]
        without = await check_refused(running, upstream, role, targets)
        hold(upstream, *WORLD, condition("hiv", REAL, "86406008"))
        assert await check_refused(running, upstream, role, targets) == without


@pytest.mark.parametrize("role", RESTRICTED)
@pytest.mark.parametrize(
    "target",
    [
        "AuditEvent?agent-name=Seven",
        "AuditEvent?_id=a1",
        "AuditEvent",
        "Binary?_id=a1",
        "Media?status=completed",
        "Coverage?patient=Patient/x",
        "Group?member=Patient/x",
        "Basic?code=x",
        "Questionnaire?status=active",
        "SearchParameter?code=x",
        "Parameters?x=1",
        "Nonsense?x=1",
    ],
)
async def test_r_si_10_refusals_do_not_depend_on_data(
    role: str, target: str, tmp_path: Path
) -> None:
    """R-SI-10: a search of a type that the role does not have is refused the same with and without
    such a resource, before any upstream call."""
    event = {
        "resourceType": target.partition("?")[0],
        "id": "a1",
        "status": "completed",
        "agent": [{"name": "Seven", "requestor": True}],
    }
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        answers = []
        for held in ((), (event,)):
            hold(upstream, *WORLD, *held)
            asked = target if "?" in target else f"{target}?_id=x"
            answers += await every_way(running, role, asked)
            answers.append(await running.get(role, f"/{target}"))
        assert all(is_refusal(a) or (a.status, a.code) == (404, "not-found") for a in answers)
        assert len({(a.status, a.body) for a in answers}) == 1
        assert upstream.calls() == []


UNKNOWN = (
    "famly=Smith",
    "famly=Smith&gender=female",
    "Gender=female",
    "gender:nothing=female",
    "gender:exact=female",
    "gender.x=female",
    "birthdate:exact=1974",
    "_hsa:Observation:patient:code=x",
    "_Id=x",
    "__id=x",
    "id=x",
    "_ID=x",
    "gender%00=female",
    "gender%20=female",
    "gender[]=female",
    "gender;gender=female",
    "us-core-race=x",
    "_summary:x=true",
    "_count:x=1",
    "_elements:exact=name",
)


@pytest.mark.parametrize("role", [*RESTRICTED, INV])
async def test_r_si_11_unknown_parameters_are_refused(role: str, tmp_path: Path) -> None:
    """R-SI-11: what is not known is refused whatever handling the client prefers; the upstream is
    asked strictly and without its cache."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        upstream.calls()
        for query in UNKNOWN:
            for prefer in ("handling=lenient", "handling=strict", "return=minimal"):
                answer = await running.get(role, f"/Patient?{query}", headers={"Prefer": prefer})
                assert answer.status in (400, 403), query
                assert answer.code in ("not-supported", "structure", "value", "forbidden")
                assert not answer.says("famly")
        assert upstream.calls() == []
        upstream.log.clear()
        lenient = {"Prefer": "handling=lenient", "Cache-Control": "max-age=60"}
        assert (await running.get(role, "/Patient?gender=female", headers=lenient)).status == 200
        (asked,) = upstream.log
        assert asked.headers["prefer"] == "handling=strict"
        assert "no-cache" in asked.headers["cache-control"]


@pytest.mark.parametrize("role", RESTRICTED)
@pytest.mark.parametrize(
    "target",
    [
        "Patient?address-postalcode={zip}",
        "Patient?_id={shown}",
        "Patient?birthdate=1974",
        "Patient?birthdate=1974&gender=female",
    ],
)
async def test_r_si_11_an_upstream_that_drops_the_restriction(
    role: str, target: str, tmp_path: Path
) -> None:
    """R-SI-11: what the proxy added or widened is evaluated again on every row: an upstream that
    forgets the search values shows no row more."""
    others = [patient(f"p{n}", birthDate=f"19{50 + n}-01-01", address=[]) for n in range(4)]
    async with forgetting(patient(), *others), product(tmp_path) as running:
        shown = running.shown(role, "Patient", REAL)
        zip_code = "48104" if role == LDS else "481"
        ids = await found(running, role, target.format(zip=zip_code, shown=shown))
        assert ids == [shown]


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_si_12_names_are_decoded_once(role: str, tmp_path: Path) -> None:
    """R-SI-12: escaped, repeated, mixed and hidden-among-others names are judged as what they
    are, each of them and all alternatives."""
    queries = (
        "%66amily={m}",
        "%66%61%6d%69%6c%79={m}",
        "gender=female&family%3Aexact={m}",
        "gender=female&gender=male&family=x",
        "family={m}&gender=female",
        "gender=female&%66amily%3Acontains={m}",
        "family=a,b,{m}",
        "family=&gender=female",
        "gender=female&_count=1&name={m}&_count=1",
        "+family={m}",
        "family+={m}",
        "%2566amily={m}",
        "fam%C4%B1ly={m}",
        "FAMILY={m}",
        "Family={m}",
        "family%00={m}",
        "family%3A={m}",
        "gender=female&&family={m}",
        "gender=female%26family={m}",
        "gender=female;family={m}",
    )
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        upstream.calls()
        for query in queries:
            for answer in await every_way(running, role, "Patient?" + query.format(m=MARKER)):
                if "%26" in query or ";" in query:  # one value, which matches no code
                    assert answer.status in (200, 400)
                    assert answer.status == 400 or resources(answer) == []
                else:
                    assert answer.status in (400, 403), query
                    assert answer.code in ("forbidden", "not-supported", "value", "structure",
                                           "invalid")  # fmt: skip
        calls = upstream.calls()
        assert all(b"family=" not in body for _, _, body in calls)
        assert len(calls) <= 8
