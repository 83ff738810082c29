"""What collects a record, on the running product: R-SP-2, R-SP-3, R-OP-1 where one is granted, and
R-CF-2, R-TC-8, R-EL-4 of what is collected."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.demo.generator import Case, cases
from proxy.fhir.codec import JsonObject
from proxy.fhir.referring import reference_texts
from tests.security.product import (
    DEID,
    EPI,
    INV,
    LDS,
    NEVER,
    PUB,
    PUBLIC,
    RESTRICTED,
    ROLES,
    SERVED,
    Answer,
    Product,
    product,
)
from tests.security.revealing import MARKER, is_clean, person
from tests.security.serving import (
    bundle,
    caller,
    common,
    holding,
    is_refusal,
    local,
    post,
    resources,
    settings_with,
)

REAL = f"MRN-{MARKER}"
WITHHELD = {"modifierExtension": [{"url": "http://x.example/unlisted", "valueBoolean": True}]}


def observation(id_: str, **members: Any) -> JsonObject:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "94500-6", "display": MARKER}]},
        "subject": {"reference": f"Patient/{REAL}", "display": MARKER},
        "note": [{"text": MARKER}],
        **members,
    }


def composition(*entries: str, **members: Any) -> JsonObject:
    return {
        "resourceType": "Composition",
        "id": f"{MARKER}-c",
        "status": "final",
        "type": {"coding": [{"system": "http://loinc.org", "code": "55751-2"}]},
        "subject": {"reference": f"Patient/{REAL}", "display": MARKER},
        "date": "2019-03-04",
        "author": [{"reference": f"Practitioner/{REAL}"}],
        "title": MARKER,
        "identifier": {"value": MARKER},
        "section": [{"title": MARKER, "entry": [{"reference": each} for each in entries]}],
        **members,
    }


def store(**members: Any) -> list[JsonObject]:
    """A case whose every resource holds markers. Shown: a person, an author, an Observation. After
    them an Observation that is withheld, one that only this one refers to, a Binary, a Group."""
    return [
        person("Patient", REAL, gender="female", birthDate="1974-11-24"),
        person("Practitioner", REAL),
        observation("o1", hasMember=[{"reference": "Observation/o2"}]),
        composition("Observation/o1", "Binary/b", "Group/g", **members),
        observation("o2", **WITHHELD, hasMember=[{"reference": "Observation/o3"}]),
        observation("o3"),
        {"resourceType": "Binary", "id": "b", "contentType": "text/plain", "data": "eHF4"},
        {"resourceType": "Group", "id": "g", "type": "person", "actual": True, "name": MARKER},
    ]


async def document(running: Product, role: str, **options: Any) -> Answer:
    shown = running.shown(role, "Composition", f"{MARKER}-c")
    return await running.get(role, f"/Composition/{shown}/$document", **options)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_sp_2_entries_are_as_in_reads(role: str, tmp_path: Path) -> None:
    """R-SP-2, R-TC-8: every entry of a document is what a read of it gives, and CLEAN; hidden,
    withheld and ruleless resources and what only they refer to do not come (R-CF-2)."""
    async with holding(*store()) as upstream, product(tmp_path) as running:
        answer = await document(running, role)
        assert answer.status == 200, answer.body
        assert is_clean(answer)
        found = resources(answer)
        assert [r["resourceType"] for r in found] == [
            "Composition", "Patient", "Practitioner", "Observation",
        ]
        asked = [target.rpartition("/fhir/")[2] for _, target, _ in upstream.calls()]
        assert not [each for each in asked if each.startswith(("Binary", "Group"))]
        for resource in found:
            read = await running.get(role, f"/{resource['resourceType']}/{resource['id']}")
            assert read.json == resource
            assert read.body in answer.body


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_sp_2_a_document_tells_nothing_hidden(role: str, tmp_path: Path) -> None:
    """Principle 1: with other hidden values, more hidden rows, hidden references, and hidden rows
    gone, the document, its headers and the upstream's calls are the same."""
    patient, author, shown, case, *hidden = store()
    names: Any = patient["name"]
    born: JsonObject = {} if role == LDS else {"birthDate": "1974-02-03"}  # the same year
    changed: list[JsonObject] = [
        {**patient, "name": [{**each, "family": "Other"} for each in names], **born},
        author,
        {**shown, "note": [{"text": "other"}], "focus": [{"reference": "Group/g"}]},
        {**case, "title": "other"},
    ]
    visible: list[JsonObject] = [patient, author, shown, case]
    worlds: list[list[JsonObject]] = [
        [*visible, *hidden],
        [*changed, *hidden],
        [*visible, *hidden, observation("o9", **WITHHELD), {**hidden[3], "id": "g2"}],
        [*visible, hidden[1]],
    ]
    found = []
    for world in worlds:
        async with holding(*world) as upstream, product(tmp_path) as running:
            answer = await document(running, role)
            calls = [each for each in upstream.calls() if "metadata" not in each[1]]
            found.append((answer.same, calls))
    assert found[0][0][0] == 200
    for each in found[1:]:
        assert each == found[0]


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_sp_2_not_found_is_blind(role: str, tmp_path: Path) -> None:
    """A hidden Composition, a deleted one, a real id and one that never was: byte for byte the
    same."""
    held = store(**WITHHELD)
    async with holding(*held) as upstream, product(tmp_path) as running:
        never = running.shown(role, "Composition", NEVER)
        blind = await running.get(role, f"/Composition/{never}/$document")
        assert (blind.status, blind.code) == (404, "not-found")
        assert (await document(running, role)).same == blind.same
        real = await running.get(role, f"/Composition/{MARKER}-c/$document")
        assert real.same == blind.same
        upstream.store.delete("Composition", f"{MARKER}-c")
        assert (await document(running, role)).same == blind.same


@pytest.mark.parametrize("role", [*RESTRICTED, EPI, PUB])
async def test_r_sp_2_everything_is_refused(role: str, tmp_path: Path) -> None:
    """R-SP-2: $everything is refused for every restricted role, in every form."""
    async with holding(*store()) as upstream, product(tmp_path) as running:
        shown = running.shown(role, "Patient", REAL)
        answers = [
            await running.ask(role, method, f"/fhir/Patient/{id_}/$everything{query}")
            for id_ in (shown, REAL, NEVER)
            for query in ("", "?_count=5", "?_type=Binary", "?_page=x")
            for method in ("GET", "POST")
        ]
        assert all(map(is_refusal, answers))
        assert len({str(each.same) for each in answers}) == 1
        body = orjson.dumps(bundle("batch", f"Patient/{shown}/$everything"))
        batch = await post(running, role, body)
        assert batch.status == 403 or batch.json["entry"][0]["response"]["status"][:3] == "403"
        assert upstream.calls() == []


@pytest.mark.parametrize("role", [EPI, PUB])
async def test_r_sp_2_documents_are_granted_by_name(role: str, tmp_path: Path) -> None:
    """R-AG-1, R-OP-1: a role that is not granted documents is refused them."""
    async with holding(*store()) as upstream, product(tmp_path) as running:
        answer = await document(running, role)
        assert is_refusal(answer)
        assert upstream.calls() == []


@pytest.mark.parametrize("role", SERVED)
async def test_r_sp_3_what_is_no_resource_is_refused(role: str, tmp_path: Path) -> None:
    """R-SP-3: endpoints that give something else than FHIR resources are refused, on every level
    and by every method, without an upstream call."""
    async with holding(*store()) as upstream, product(tmp_path) as running:
        for path in (
            "$graphql?query=%7BPatientList%7Bname%7Bfamily%7D%7D%7D",
            f"Patient/{REAL}/$graphql?query=%7Bname%7Bfamily%7D%7D",
            f"Composition/{NEVER}/$graphql?query=%7Btitle%7D",
            f"Binary/{REAL}/$binary-access-read?path=Binary",
            f"Composition/{NEVER}/$document/x",
        ):
            for method in ("GET", "POST"):
                answer = await running.ask(role, method, f"/fhir/{path}")
                assert is_refusal(answer) or answer.status == 404
                assert is_clean(answer)
        assert upstream.calls() == []


async def test_r_op_1_scopes_narrow(tmp_path: Path) -> None:
    """R-OP-1: a token whose scopes do not read Compositions gets no document; one whose scopes do
    not read a type gets none of that type in it, and the upstream is not asked for it."""
    scoped = caller("scoped", LDS, scopes=frozenset({"user/Composition.r", "user/Observation.r"}))
    other = caller("other", LDS, scopes=frozenset({"user/Observation.rs"}))
    async with (
        holding(*store()) as upstream,
        product(tmp_path, **settings_with(scoped, other)) as running,
    ):
        shown = running.shown(LDS, "Composition", f"{MARKER}-c")
        answer = await running.get("scoped", f"/Composition/{shown}/$document")
        kinds = [r["resourceType"] for r in resources(answer)]
        assert kinds == ["Composition", "Observation"]
        assert not [t for _, t, _ in upstream.calls() if "Patient" in t or "Practitioner" in t]
        assert is_refusal(await running.get("other", f"/Composition/{shown}/$document"))
        assert upstream.calls() == []


@pytest.mark.parametrize("role", ROLES)
async def test_r_el_4_documents_are_recorded(role: str, tmp_path: Path) -> None:
    """R-EL-4, R-EL-3: the record names the operation, the number of entries and the patient as a
    pseudonym, and holds no marker."""
    async with holding(*store()), product(tmp_path) as running:
        answer = await document(running, role)
        event = running.audit()[-1]
        assert event["subtype"][0]["code"] == "operation"
        asked, *patients = event["entity"][1:]
        detail = {each["type"]: each["valueString"] for each in asked["detail"]}
        assert detail["operation"] == "$document"
        assert detail["entries"] == str(len(resources(answer)))
        assert len(patients) == 1
        assert MARKER not in str(event)


@pytest.mark.parametrize("role", ROLES)
async def test_generated_documents(role: str, tmp_path: Path) -> None:
    """For every generated case: each reference between shown parts resolves inside the document
    (R-PG-5), the Composition is the one a read gives, and nothing repeats."""
    made = list(cases(2, 7))
    held = [resource for case in made for resource in case.resources]
    async with holding(*held), product(tmp_path) as running:
        for case in made:
            for id_ in compositions(case):
                target = f"/Composition/{running.shown(role, 'Composition', id_)}"
                answer = await running.get(role, f"{target}/$document")
                assert answer.status == 200
                read = await running.get(role, target)
                assert resources(answer)[0] == read.json
                unresolved(answer.json)


def compositions(case: Case) -> list[str]:
    return [str(r["id"]) for r in case.resources if r["resourceType"] == "Composition"]


def unresolved(document_: Mapping[str, Any]) -> None:
    """Every reference to something of ours names an entry, or what no entry may be."""
    urls = [entry["fullUrl"] for entry in document_["entry"]]
    assert len(set(urls)) == len(urls)
    for entry in document_["entry"]:
        resource = {k: v for k, v in entry["resource"].items() if k != "relatesTo"}
        for text in reference_texts(resource):
            if not text.startswith(("#", "urn:", "http")):
                assert f"{PUBLIC}/{text}" in urls, text


@pytest.mark.parametrize("role", RESTRICTED)
async def test_documents_agree_with_stored_ones(role: str, tmp_path: Path) -> None:
    """A case that is stored as a document too shows the same there as in the document that is put
    together: the same entries, the same content, but for times of storing."""
    (case,) = cases(1, 9)
    base = common()[0].upstream.url
    by_name = {f"{r['resourceType']}/{r['id']}": r for r in case.resources}
    (id_, *_) = compositions(case)
    names = {f"Composition/{id_}": None}
    for name in (waiting := [*names]):
        content = {k: v for k, v in by_name[name].items() if k != "relatesTo"}
        found = [text for text in reference_texts(content) if text in by_name]
        waiting += [text for text in found if text not in names]
        names |= dict.fromkeys(found)
    stored: JsonObject = {
        "resourceType": "Bundle",
        "id": "stored",
        "type": "document",
        "identifier": {"value": "x"},
        "timestamp": "2020-01-01T00:00:00Z",
        "entry": [{"fullUrl": f"{base}/{name}", "resource": by_name[name]} for name in names],
    }
    async with holding(*case.resources, stored), product(tmp_path) as running:
        whole = await running.get(role, f"/Bundle/{running.shown(role, 'Bundle', 'stored')}")
        made = await running.get(
            role, f"/Composition/{running.shown(role, 'Composition', id_)}/$document"
        )
        assert whole.status == made.status == 200
        there, here = (
            {e["fullUrl"]: {**e["resource"], "meta": None} for e in answer.json["entry"]}
            for answer in (whole, made)
        )
        assert len(here) > 20
        assert here == there


async def test_r_sp_2_everything_for_the_investigator(tmp_path: Path) -> None:
    """R-SP-2, R-PG-1, R-PG-4: the investigator gets all pages of what the upstream collects, by
    links of ours, each resource once and as a read gives it."""
    (case,) = cases(1, 7)
    patient = next(str(r["id"]) for r in case.resources if r["resourceType"] == "Patient")
    async with holding(*case.resources) as upstream, product(tmp_path) as running:
        target: str | None = f"/Patient/{patient}/$everything?_count=7"
        found: list[str] = []
        while target:
            answer = await running.get(INV, target)
            assert not answer.says("_getpages")
            assert not answer.says(upstream.base)
            assert "total" not in answer.json
            page = resources(answer)
            assert 0 < len(page) <= 7
            found += [f"{r['resourceType']}/{r['id']}" for r in page]
            links = {each["relation"]: each["url"] for each in answer.json["link"]}
            assert links["self"].startswith(f"{PUBLIC}/Patient/{patient}/$everything?")
            target = local(links["next"]) if "next" in links else None
        assert len(set(found)) == len(found) > 30
        assert found[0] == f"Patient/{patient}"


async def test_r_pg_2_links_of_everything(tmp_path: Path) -> None:
    """R-PG-2: a link of one investigator is nothing to another, or to a researcher."""
    (case,) = cases(1, 7)
    patient = next(str(r["id"]) for r in case.resources if r["resourceType"] == "Patient")
    other = caller("other", INV, subject="someone-else")
    async with (
        holding(*case.resources) as upstream,
        product(tmp_path, **settings_with(other)) as running,
    ):
        first = await running.get(INV, f"/Patient/{patient}/$everything?_count=2")
        link = next(each["url"] for each in first.json["link"] if each["relation"] == "next")
        upstream.calls()
        assert (await running.get("other", local(link))).status in (404, 410)
        for role in (LDS, DEID):
            assert (await running.get(role, local(link))).status == 403
        assert upstream.calls() == []
