"""Section 4 of the security requirements, R-SP-1 to R-SP-8, on the running product: what comes
along with a search, what is counted, and what is handed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.security.asking import check_refused, every_way, forgetting, found, hold
from tests.security.product import (
    DEID,
    EPI,
    INV,
    LDS,
    MARKER,
    PUB,
    RESTRICTED,
    SERVED,
    Answer,
    product,
)
from tests.security.revealing import is_clean
from tests.security.searched import REAL, WORLD, condition, measured, patient
from tests.security.serving import FHIR, common, holding, is_refusal, link, local, resources

NOT_INVESTIGATOR = tuple(role for role in SERVED if role != INV)
CHANGED = [{"url": f"http://example.org/{MARKER}", "valueBoolean": True}]


def withheld(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource as nobody but the investigator sees it: with a root modifier that no policy
    lists."""
    return {**resource, "modifierExtension": CHANGED}


def modes(answer: Answer) -> list[tuple[str, str, str]]:
    """(mode, type, id) of the entries."""
    return [
        (e["search"]["mode"], e["resource"]["resourceType"], e["resource"]["id"])
        for e in answer.json.get("entry", ())
    ]


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_sp_1_included_resources_are_transformed(role: str, tmp_path: Path) -> None:
    """R-SP-1: what is included is judged and transformed as a read would; it is marked as included,
    stands once on a page, and never changes how many matches a page has."""
    stored = [*WORLD, measured("o2", REAL, 3), patient("b"), measured("o3", "b", 4)]
    async with holding(*stored) as upstream, product(tmp_path) as running:
        shown = running.shown(role, "Patient", REAL)
        for answer in await every_way(running, role, "Observation?_include=Observation:subject"):
            assert answer.status == 200
            assert is_clean(answer, MARKER, REAL)
            found_modes = modes(answer)
            assert [m for m, _, _ in found_modes].count("match") == 3
            included = [(t, i) for m, t, i in found_modes if m == "include"]
            assert sorted(included) == sorted(
                [("Patient", shown), ("Patient", running.shown(role, "Patient", "b"))]
            )
            person = next(r for r in resources(answer) if r["id"] == shown)
            assert person == (await running.get(role, f"/Patient/{shown}")).json
        answer = await running.get(role, "/Observation?_include=Observation:subject&_count=2")
        assert [m for m, _, _ in modes(answer)].count("match") == 2
        answer = await running.get(role, local(link(answer, "next") or ""))
        assert [m for m, _, _ in modes(answer)].count("match") == 1
        # A patient who is withheld is not included, and the match shows as before.
        matches = [r for r in resources(answer) if r["resourceType"] == "Observation"]
        hold(upstream, *[withheld(r) if r["id"] == "b" else r for r in stored])
        answers = await every_way(running, role, "Observation?_include=Observation:subject")
        for answer in answers:
            assert [i for m, _, i in modes(answer) if m == "include"] == [shown]
            assert matches[0] in resources(answer)


INCLUDES = (
    "Observation?_include=*",
    "Observation?_include=Observation:*",
    "Observation?_include=*:*",
    "Observation?_include:iterate=*",
    "Observation?_include:recurse=Observation:*",
    "Observation?_revinclude=*",
    "Patient?_revinclude=*:*",
    "Patient?_revinclude=Observation:*",
    "Patient?_revinclude=Provenance:target",
    "Patient?_revinclude=AuditEvent:patient",
    "Patient?_revinclude=AuditEvent:entity",
    "Patient?_revinclude=Group:member",
    "Patient?_revinclude=Media:subject",
    "Patient?_revinclude=Binary:x",
    "Patient?_revinclude=List:item",
    "Patient?_revinclude=Consent:patient",
    "Patient?_include=Patient:link",
    "Observation?_include=Observation:nothing",
    "Observation?_include=Observation:code",
    "Observation?_include=Nonsense:subject",
    "Observation?_include=Observation:subject:Nonsense",
    "Observation?_include=Observation:subject:Group",
    "Observation?_include=Observation",
    "Observation?_include=:",
    "Observation?_include=Observation:subject.name",
    "Observation?_include:nothing=Observation:subject",
    "Observation?_include=Observation:subject&_include=*",
    "DocumentReference?_include=DocumentReference:relatesto,*",
    "Observation?_include=Observation:subject,Observation:*",
    "Observation?_includes=Observation:subject",
)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_sp_1_other_includes_are_refused(role: str, tmp_path: Path) -> None:
    """R-SP-1: wildcards, types that the role may not read and paths that the policy does not list
    are refused up front."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        without = await check_refused(running, upstream, role, INCLUDES)
        refers: Any = {"resourceType": "Provenance", "id": "x"}
        refers["target"] = [{"reference": f"Patient/{REAL}"}]
        hold(upstream, *WORLD, refers)
        assert await check_refused(running, upstream, role, INCLUDES) == without


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_sp_2_records_are_not_collected(role: str, tmp_path: Path) -> None:
    """R-SP-2: operations that collect a person's record are refused, whoever is named, by GET, POST
    and batch."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        shown = running.shown(role, "Patient", REAL)
        paths = [
            f"Patient/{shown}/$everything",
            f"Patient/{shown}/$everything?_count=1",
            f"Patient/{shown}/$everything?_type=Observation",
            f"Patient/{shown}/%24everything",
            f"Patient/{REAL}/$everything",
            "Patient/$everything",
            f"Encounter/{shown}/$everything",
            f"Patient/{shown}/*",
            f"Patient/{shown}/Observation",
            f"Patient/{shown}/Condition?code=x",
            f"Patient/{shown}/$summary",
            f"Patient/{shown}/$patient-everything",
            f"Observation/$lastn?patient={shown}",
        ]
        answers = []
        for path in paths:
            answers.append(await running.get(role, f"/{path}"))
            answers.append(await running.ask(role, "POST", f"/fhir/{path}", data=b"{}",
                                             headers=FHIR))  # fmt: skip
        assert all(is_refusal(a) or (a.status, a.code) == (404, "not-found") for a in answers)
        assert all(is_clean(answer, MARKER) for answer in answers)
        assert upstream.calls() == []


@pytest.mark.parametrize("role", NOT_INVESTIGATOR)
async def test_r_sp_3_only_fhir_resources(role: str, tmp_path: Path) -> None:
    """R-SP-3: endpoints whose answers are no FHIR resources are refused: GraphQL above all."""
    query = "{PatientList{name{family}}}"
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        shown = running.shown(role, "Patient", REAL)
        answers = []
        for path in (
            f"$graphql?query={query}",
            f"Patient/{shown}/$graphql?query={{name{{family}}}}",
            f"Patient/{REAL}/$graphql?query={{name{{family}}}}",
            f"Patient/$graphql?query={query}",
            "$graphql",
            "%24graphql",
            "$gql",
            "graphql",
            "$binary-access-read",
            f"Patient/{shown}/$binary-access-read?path=Patient.photo.data",
            "$csv",
            "$stats",
            "$sql-query",
            "ViewDefinition/$run",
        ):
            path = path.replace("{", "%7B").replace("}", "%7D")
            answers.append(await running.get(role, f"/{path}"))
            for type_ in ("application/graphql", "application/json", "application/fhir+json"):
                answers.append(
                    await running.ask(
                        role, "POST", f"/fhir/{path}", data=query.encode(),
                        headers={"Content-Type": type_},
                    )
                )
        assert {a.status for a in answers} <= {400, 403, 404, 405, 415}
        assert all(a.code in ("forbidden", "not-supported", "not-found") for a in answers)
        assert upstream.calls() == []


COUNTED = ("_summary=count", "_total=accurate", "_total=estimate", "_total=none", "_count=0",
           "_count=3", "_summary=count&code=3928002", "code=3928002", "_elements=code")  # fmt: skip


@pytest.mark.parametrize("role", [EPI, *RESTRICTED])
async def test_r_sp_4_totals_do_not_count_what_is_hidden(role: str, tmp_path: Path) -> None:
    """R-SP-4: with 0 and with 500 hidden rows between them every form of the search is answered the
    same; whether there is a total does not depend on the rows."""
    seen = [condition(f"c{n}", REAL) for n in range(5)]
    # Out of the program's scope, and withheld from everyone: neither shows to any of the roles.
    hidden = [
        withheld(condition(f"h{n}", REAL, "86406008" if n % 2 else "3928002")) for n in range(500)
    ]
    mixed = [hidden[0], seen[0], *hidden[1:250], *seen[1:3], *hidden[250:], *seen[3:]]
    answers: list[list[tuple[int, bytes]]] = []
    async with holding(*seen) as upstream, product(tmp_path) as running:
        for stored in (seen, mixed):
            hold(upstream, patient(), *stored)
            answers.append([])
            for query in COUNTED:
                answer = await running.get(role, f"/Condition?{query}")
                assert answer.status in (200, 403)
                assert answer.status == 403 or "total" not in answer.json
                answers[-1].append((answer.status, untimed(answer.body)))
    assert answers[0] == answers[1]


def untimed(body: bytes) -> bytes:
    """A body without times of storage, which differ as other rows are stored between, and without
    page tokens."""
    value = orjson.loads(body)
    for entry in value.get("entry", ()):
        entry["resource"].get("meta", {}).pop("lastUpdated", None)
    for each in value.get("link", ()):
        each["url"] = each["url"].partition("_page=")[0]
    return orjson.dumps(value)


CONTAINED = (
    "Practitioner?_contained=true&_containedType=contained&family=Seven",
    "Practitioner?_contained=true",
    "Practitioner?_contained=both",
    "Practitioner?_contained=false",
    "Patient?_containedType=container",
    "Patient?_contained=true&_containedType=contained",
    "Observation?_contained:exact=true",
)


@pytest.mark.parametrize("role", NOT_INVESTIGATOR)
async def test_r_sp_5_contained_resources_are_not_searched(role: str, tmp_path: Path) -> None:
    """R-SP-5: nothing searches what is contained."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        await check_refused(running, upstream, role, CONTAINED)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_sp_6_page_sizes_have_limits(role: str, tmp_path: Path) -> None:
    """R-SP-6: a large count is clipped to the policy's page size; a malformed one is an error;
    offsets and other controls of the upstream are refused."""
    many = [patient(f"p{n:03}") for n in range(130)]
    async with holding(*many) as upstream, product(tmp_path) as running:
        for count in ("999999", "101", "100", "000000200"):
            answer = await running.get(role, f"/Patient?_count={count}")
            assert (answer.status, len(resources(answer))) == (200, 100)
        upstream.calls()
        for count in ("-1", "abc", "1.5", "1e3", "%2B5", "0x10", "1,2", "", "%D9%A3", "9" * 30):
            answer = await running.get(role, f"/Patient?_count={count}")
            assert (answer.status, answer.code) in ((400, "value"), (400, "structure")), count
        assert (await running.get(role, "/Patient?_count=1&_count=2")).status == 400
        offsets = ("_offset=50", "_getpagesoffset=0", "_getpages=x", "page=2", "_offset=0",
                   "_page_token=x", "_skip=5", "start=2", "_bundletype=searchset",
                   "_searchid=1")  # fmt: skip
        await check_refused(running, upstream, role, [f"Patient?{each}" for each in offsets])


@pytest.mark.parametrize(
    ("target", "mine"),
    [
        ("Condition", "Condition/c1"),
        ("Condition?code=3928002", "Condition/c1"),
        ("Condition?clinical-status:not=http://example.org/x%7Cy", "Condition/c1"),
        ("Patient", f"Patient/{REAL}"),
        ("Patient?gender=female", f"Patient/{REAL}"),
        ("Patient?address-state=MI", f"Patient/{REAL}"),
    ],
)
async def test_r_sp_7_rows_are_judged_again(target: str, mine: str, tmp_path: Path) -> None:
    """R-SP-7: the restriction to the program's rows is not believed of the upstream: out-of-scope
    rows that it returns do not show; nor do they if the client asks for them."""
    kind = mine.partition("/")[0]
    stored = [
        patient(),
        patient("ga", address=[{"state": "GA", "city": "Atlanta"}]),
        patient("none", address=[]),
        condition("c1", REAL),
        condition("c2", REAL, "86406008"),
        condition("c3", "ga", "38341003"),
    ]
    rows = [r for r in stored if r["resourceType"] == kind]
    async with forgetting(*rows), product(tmp_path) as running:
        assert await found(running, EPI, target) == [mine.partition("/")[2]]
        hidden = [r["id"] for r in rows if f"{kind}/{r['id']}" != mine]
        answer = await running.get(EPI, f"/{kind}?_id={','.join(hidden)}")
        assert answer.status == 200
        assert {r["id"] for r in resources(answer)}.isdisjoint(hidden)
        for real in hidden:
            assert (await running.get(EPI, f"/{kind}/{real}")).status in (404, 502)


@pytest.mark.parametrize("role", NOT_INVESTIGATOR)
async def test_r_sp_8_only_known_parameters_go_upstream(role: str, tmp_path: Path) -> None:
    """R-SP-8: a parameter that is not known is an error, one that begins with an underscore too,
    which the upstream would ignore."""
    queries = (
        "gender=female&_hsa:Observation:patient:code=x",
        "gender=female&_has:",
        "_hsa:Observation:patient:code=x",
        "_has:Observation:patient=x",
        "_has:Observation:nothing:code=x",
        "_has::::=x",
        "_foo=bar",
        "_foo",
        "_=1",
        "_1=1",
        "_debug=true",
        "_security-context=x",
        "_partition=DEFAULT",
        "_tenant=x",
        "_explain=true",
        "_dryRun=true",
        "_method=DELETE",
        "_expunge=true",
        "access_token=x",
        "apikey=x",
        "_validate=true",
        "_cache=no",
        "_maxresults=1",
        "_narrative=x",
        "_outputFormat=ndjson",
    )
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        kind = "ValueSet" if role == PUB else "Patient"
        upstream.calls()
        for query in queries:
            for target in (f"{kind}?{query}", f"{kind}?_count=1&{query}"):
                for answer in await every_way(running, role, target):
                    assert answer.status in (400, 403), query
                    assert answer.code in ("not-supported", "structure", "value", "forbidden")
        assert upstream.calls() == []


async def test_r_sp_8_what_does_go_upstream(tmp_path: Path) -> None:
    """R-SP-8: what goes upstream was made from judged parts: no parameter of the client's own."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        upstream.calls()
        for role in (LDS, DEID, EPI):
            query = "gender=female&_elements=gender&_pretty=true&_format=json&_summary=false"
            assert (await running.get(role, f"/Patient?{query}&_totalMethod=count")).status == 200
        asked = {pair for _, _, body in upstream.calls() for pair in body.split(b"&") if pair}
        # What is added: a page size, the rows of the program, the order of storage.
        asked -= {b"gender=female", b"address-state%3Aexact=MI", b"_sort=_pid"}
        assert {pair.partition(b"=")[0] for pair in asked} == {b"_count"}


def test_every_role_is_one_that_is_served() -> None:
    """The roles of these tests are those that the configuration serves."""
    assert {INV, *NOT_INVESTIGATOR} == set(common()[0].roles)
