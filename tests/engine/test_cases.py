"""What a hidden section hides beside itself, alone: one small report, and who belongs to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.fhir.codec import JsonObject
from tests.noninterference.policies import SECTIONS, gather_policies
from tests.rig import PUBLIC, Rig, embedded, running

SHOWN, HIDDEN = "30954-2", "11450-4"
EMPLOYER = "http://hl7.org/fhir/us/odh/StructureDefinition/odh-Employer-extension"


def refer(*names: str) -> list[Any]:
    return [{"reference": name} for name in names]


def section(code: str, *names: str, **members: Any) -> JsonObject:
    coding = {"coding": [{"system": "http://loinc.org", "code": code}]}
    return {"code": coding, "entry": refer(*names), **members}


def observation(id: str, patient: str = "p", **members: Any) -> JsonObject:
    code = {"coding": [{"system": "http://loinc.org", "code": "94500-6"}]}
    return {"resourceType": "Observation", "id": id, "status": "final", "code": code,
            "subject": {"reference": f"Patient/{patient}"}, **members}  # fmt: skip


def report(id: str, patient: str, *sections: JsonObject, **members: Any) -> JsonObject:
    return {"resourceType": "Composition", "id": id, "status": "final", "title": "x",
            "type": {"text": "x"}, "date": "2026", "author": refer(f"Patient/{patient}"),
            "subject": {"reference": f"Patient/{patient}"},
            "section": list(sections), **members}  # fmt: skip


def simple(type_: str, *ids: str) -> list[JsonObject]:
    return [{"resourceType": type_, "id": id} for id in ids]


STORED: list[JsonObject] = [
    *simple("Patient", "p", "q", "alone", "met", "met-hidden"),
    *simple("Organization", "lab", "lab-hidden", "custodian", "employer", "unknown"),
    *simple("Practitioner", "doctor"),
    report(
        "c", "p",
        section(SHOWN, "Observation/shown", "Observation/both", "Observation/contact",
                section=[section(HIDDEN, "Observation/inner")]),
        section(HIDDEN, "Observation/hidden", "Observation/both", "DiagnosticReport/panel",
                "Observation/elsewhere", "Observation/contact-hidden",
                section=[section(SHOWN, "Observation/deeper")]),
        custodian={"reference": "Organization/custodian"},
        relatesTo=[{"code": "replaces", "targetReference": {"reference": "Composition/d"}}],
    ),
    report("d", "q", section(SHOWN, "Observation/elsewhere")),
    observation("shown", performer=refer("Organization/lab", "Practitioner/doctor"),
                hasMember=refer("Observation/member"),
                extension=[{"url": EMPLOYER, "valueReference": refer("Organization/employer")[0]}]),
    observation("member"), observation("both"), observation("inner"), observation("deeper"),
    observation("hidden", performer=refer("Organization/lab-hidden", "Practitioner/doctor")),
    observation("elsewhere"), observation("result"), observation("of-nobody", "alone"),
    observation("free"),
    observation("contact", focus=refer("Patient/met")),
    observation("contact-hidden", focus=refer("Patient/met-hidden")),
    {"resourceType": "DiagnosticReport", "id": "panel", "status": "final", "code": {"text": "x"},
     "subject": {"reference": "Patient/p"}, "result": refer("Observation/result")},
]  # fmt: skip
EXISTS = {
    "Observation": {"shown", "member", "both", "elsewhere", "of-nobody", "free", "contact"},
    "DiagnosticReport": set[str](),
    # What only an extension or a custodian leads to is found by no search.
    "Organization": {"lab"},
    "Practitioner": {"doctor"},
    "Patient": {"p", "q", "met"},
    "Composition": {"c", "d"},
}


def ids(type_: str) -> list[str]:
    return [str(r["id"]) for r in STORED if r["resourceType"] == type_]


@pytest.fixture
async def rig(tmp_path: Path) -> Any:
    policies = gather_policies(tmp_path / "policies")
    async with running(embedded(STORED), tmp_path, roles=[SECTIONS], policies=policies) as found:
        yield found


def names(rig: Rig, resources: list[JsonObject]) -> list[str]:
    """Of shown resources, the stored ``Type/id``."""
    known = {
        (r["resourceType"], rig.id(SECTIONS, str(r["resourceType"]), str(r["id"]))): str(r["id"])
        for r in STORED
    }
    return [f"{r['resourceType']}/{known[r['resourceType'], str(r['id'])]}" for r in resources]


async def test_reads_and_rows_agree(rig: Rig) -> None:
    """A read finds what a search finds, a page of one like a page of all, and a batch as well."""
    for type_, existing in EXISTS.items():
        found = {}
        for id_ in ids(type_):
            read = await rig.ask(SECTIONS, f"/{type_}/{rig.id(SECTIONS, type_, id_)}")
            found[id_] = read.status
        assert {id_ for id_, status in found.items() if status == 200} == existing
        assert set(found.values()) <= {200, 404}
        expected = [f"{type_}/{id_}" for id_ in ids(type_) if id_ in existing]
        for count in (1, 50):
            assert names(rig, await search(rig, f"/{type_}?_count={count}")) == expected
        assert names(rig, await batch(rig, type_)) == expected


async def search(rig: Rig, url: str) -> list[JsonObject]:
    """The rows of all pages."""
    rows: list[JsonObject] = []
    while url:
        page = await rig.ask(SECTIONS, url)
        rows += page.resources
        url = (page.link("next") or "").removeprefix(PUBLIC)
    return rows


async def batch(rig: Rig, type_: str) -> list[JsonObject]:
    """What a batch reads of all resources of a type."""
    entry = [{"request": {"method": "GET", "url": f"{type_}/{rig.id(SECTIONS, type_, id_)}"}}
             for id_ in ids(type_)]  # fmt: skip
    body = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entry}).encode()
    headers = {"Content-Type": "application/fhir+json"}
    answer = await rig.ask(SECTIONS, "/", method="POST", headers=headers, body=body)
    assert len(answer.entries) == len(entry)
    return answer.resources


async def test_what_is_hidden_comes_along_with_nothing(rig: Rig) -> None:
    """Not by an include in either direction, at no chain's end, in no document, in no total."""
    assert "total" not in (await rig.ask(SECTIONS, "/Observation?_total=accurate")).json
    assert (await rig.ask(SECTIONS, "/Observation?_summary=count")).status == 403
    along = await rig.ask(SECTIONS, "/Patient?_revinclude=Observation:subject")
    held = {f"Observation/{id_}" for id_ in EXISTS["Observation"]}
    assert set(names(rig, along.resources)) - held == {
        f"Patient/{id_}" for id_ in EXISTS["Patient"]
    }
    subjects = await rig.ask(SECTIONS, "/Observation?_include=Observation:subject")
    assert set(names(rig, subjects.resources)) - held == {"Patient/p"}
    ends = await rig.ask(SECTIONS, "/Observation?subject:Patient._id=" + ",".join(
        rig.id(SECTIONS, "Patient", id_) for id_ in ids("Patient")))  # fmt: skip
    assert set(names(rig, ends.resources)) == held - {"Observation/of-nobody"}
    report = rig.id(SECTIONS, "Composition", "c")
    whole = await rig.ask(SECTIONS, f"/Composition/{report}/$document")
    assert set(names(rig, whole.resources)) == {
        "Composition/c", "Patient/p", "Patient/met", "Observation/shown", "Observation/both",
        "Observation/contact", "Observation/member", "Organization/lab", "Practitioner/doctor",
        "Organization/custodian",
    }  # fmt: skip


async def test_hidden_and_never_existing_take_as_many_calls(rig: Rig) -> None:
    """A read that finds nothing takes one number of calls upstream; none where the id cannot be
    one of ours."""
    calls = set()
    for id_ in ("hidden", "inner", "result", "never"):
        rig.diary.clear()
        shown = rig.id(SECTIONS, "Observation", id_)
        assert (await rig.ask(SECTIONS, f"/Observation/{shown}")).status == 404
        calls.add(len(rig.diary))
    assert calls == {51}
    rig.diary.clear()
    assert (await rig.ask(SECTIONS, "/Observation/made-up")).status == 404
    assert rig.diary == []


ABOUT_ANOTHER: list[JsonObject] = [
    *simple("Patient", "mother", "father", "baby", "twin"),
    report("m", "mother", section(SHOWN, "Observation/told"), section(HIDDEN, "Observation/birth")),
    observation("told", "mother", hasMember=refer("Observation/told-of-baby")),
    observation("birth", "mother",
                hasMember=refer("Observation/of-baby", "Observation/in-both")),
    observation("of-baby", "baby", hasMember=refer("Observation/of-twin")),
    observation("of-twin", "twin"), observation("in-both", "baby"),
    observation("told-of-baby", "baby", hasMember=refer("Observation/in-both")),
    observation("by-itself", "baby", hasMember=refer("Observation/after-it")),
    observation("after-it", "baby"),
    {**report("n", "father", section(HIDDEN, "DiagnosticReport/panel-of-none")),
     "subject": {"display": "A man"}},
    {"resourceType": "DiagnosticReport", "id": "panel-of-none", "status": "final",
     "code": {"text": "x"}, "subject": {"reference": "Patient/father"},
     "result": refer("Observation/of-none")},
    observation("of-none", "father"),
]  # fmt: skip


async def test_what_is_about_another_patient_is_hidden_too(tmp_path: Path) -> None:
    """A hidden section hides what it leads to about somebody without a report, at any depth, and
    so does one of a report that names no patient; reads that find nothing take one number of calls,
    and what no report leads to is there."""
    policies = gather_policies(tmp_path / "policies")
    stored = embedded([*STORED, *ABOUT_ANOTHER])
    there = {"told", "told-of-baby", "in-both", "by-itself", "after-it"}
    hidden = {"birth", "of-baby", "of-twin", "of-none"}
    async with running(stored, tmp_path, roles=[SECTIONS], policies=policies) as rig:
        calls, found = set(), set()
        for id_ in [*sorted(there | hidden), "never"]:
            rig.diary.clear()
            read = await rig.ask(SECTIONS, f"/Observation/{rig.id(SECTIONS, 'Observation', id_)}")
            found |= {id_} if read.status == 200 else set()
            calls |= {len(rig.diary)} if read.status == 404 else set()
        assert found == there
        assert calls == {51}
        for count in (1, 50):
            rows = await search(rig, f"/Observation?_count={count}")
            names = {rig.id(SECTIONS, "Observation", id_): id_ for id_ in there | hidden}
            assert {names[str(r["id"])] for r in rows if r["id"] in names} == there


async def test_a_report_of_too_many_parts_is_too_costly(tmp_path: Path) -> None:
    """Where telling takes more calls than are allowed, a search is refused and says so."""
    policies = gather_policies(tmp_path / "policies")
    limits = "[limits]\npage-asks = 3\n"
    async with running(
        embedded(STORED), tmp_path, roles=[SECTIONS], policies=policies, extra=limits
    ) as rig:
        answer = await rig.ask(SECTIONS, "/Observation")
        assert (answer.status, answer.issue) == (400, "too-costly")
