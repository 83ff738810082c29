"""What an anonymized document tells of employers: that there is one, and of none which it is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ecr.showing import LOINC, MASKED, document_of, entry, job, lab, organization, show
from tests.policy.test_oracle import disagreements
from tests.views import ANON

CARE = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/organization-type",
                     "code": "prov"}]}]  # fmt: skip
NAMED = {"reference": "Organization/works"}
WORKS = organization("works")


def coded(code: str, system: str = LOINC) -> Any:
    return {"coding": [{"system": system, "code": code}]}


def finding(code: str, **members: Any) -> Any:
    return {"resourceType": "Observation", "id": "f", "status": "final", "code": coded(code),
            **members}  # fmt: skip


def listing(*references: str, code: str = "29762-2") -> Any:
    entries = [{"reference": reference} for reference in references]
    return [{"title": "x", "code": coded(code), "text": {"status": "empty", "div": "<div/>"},
             "entry": entries}]  # fmt: skip


def test_every_employer_looks_alike() -> None:
    """Employers stand at the end, by the names that they show, in one form: neither where the
    Organization stands, nor its type, nor how much of it is stored tells which it is."""
    held = [organization(x, type=CARE, active=True, telecom=[{"value": x}] * 3) for x in "abc"]
    works = [job(f"Organization/{x}", id=f"j{x}") for x in "ab"]
    seen = []
    for order in (held, held[::-1]):
        labs = [{**lab(f"Organization/{x['id']}"), "id": f"l{x['id']}"} for x in held]
        made = document_of({}, order[0], *works, order[1], *labs, order[2])
        shown = show(made)
        last = shown["entry"][-3:]
        assert [e["resource"]["resourceType"] for e in last] == ["Organization"] * 2 + [
            "Observation"
        ]
        assert len(entry(shown, "Organization")) == 5
        assert [e["fullUrl"] for e in last[:2]] == sorted(e["fullUrl"] for e in last[:2])
        for one in last[:2]:
            assert one["resource"] == {
                "resourceType": "Organization", "id": one["fullUrl"].removeprefix("urn:uuid:"),
                "meta": entry(shown, "Patient")[0]["meta"], "_name": MASKED,
                "identifier": [MASKED], "telecom": [MASKED], "address": [MASKED],
            }  # fmt: skip
        assert disagreements(ANON, made) == []
        seen.append(last)
    assert seen[0] == seen[1]


TELLING: list[tuple[str, Any, list[Any], list[Any], bool]] = [
    ("a laboratory", lab("Organization/works"), [], [], True),
    ("a job's focus", job("Organization/works", focus=[NAMED]), [], [], False),
    *((f"the focus of {code}", finding(code, focus=[NAMED]), [], [], False)
      for code in ("11341-5", "74165-2", "21843-8", "87510-4", "87511-2")),
    ("the performer of an employment status", finding("74165-2", performer=[NAMED]), [], [], False),
    ("in a component", finding("1", performer=[NAMED], component=[
        {"code": coded("2"), "extension": job("Organization/works")["extension"]}]),
     [], [], False),
    ("in an occupation section", lab("Organization/works"), [],
     listing("Observation/lab", code="74166-0"), False),
    ("in one further in", lab("Organization/works"), [],
     [{"code": coded("1"), "section": listing("Observation/lab", code="74166-0")}], False),
    ("a section's entry", job("Organization/works"), [],
     listing("Observation/job", "Organization/works"), False),
    ("a Provenance's target", job("Organization/works"), [
        {"resourceType": "Provenance", "id": "v", "recorded": "2020-01-01T00:00:00Z",
         "target": [{"reference": "Composition/c"}, NAMED],
         "agent": [{"who": {"reference": "Patient/p"}}]}],
     listing("Observation/job", "Organization/works"), False),
    ("a Provenance's agent", job("Organization/works"), [
        {"resourceType": "Provenance", "id": "v", "recorded": "2020-01-01T00:00:00Z",
         "target": [{"reference": "Composition/c"}], "agent": [{"who": NAMED}]}],
     listing("Observation/job", "Organization/works"), True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "others", "sections", "told"),
    [case[1:] for case in TELLING],
    ids=[case[0] for case in TELLING],
)
def test_work_and_lists_tell_of_nobody_that_they_give_care(
    found: Any, others: Any, sections: Any, told: bool
) -> None:
    """What is about somebody's work may refer to the employer, and what only lists things to
    anything: neither makes a facility of an Organization, in documents, in messages and in
    documents whose Organization is an entry of the message around."""
    members = {"section": sections} if sections else {}
    made = document_of({}, found, *others, WORKS, **members)
    inner = {**made, "entry": made["entry"][:-1]}
    outer = {"resourceType": "Bundle", "id": "m", "type": "message", "entry": [
        {"fullUrl": "urn:uuid:0b0b0b0b-0000-4000-8000-000000000001",
         "resource": {"resourceType": "MessageHeader", "id": "h", "eventCoding": {"code": "x"},
                      "source": {"endpoint": "http://x"}, "focus": [{"reference": "Bundle/b"}]}},
        {"fullUrl": "http://upstream.example/fhir/Bundle/b", "resource": inner},
        made["entry"][-1],
    ]}  # fmt: skip
    for bundle in (made, {**made, "type": "message"}, outer):
        shown = show(bundle)
        assert ("Name of works" in str(shown)) == told
        assert not told or "1 Works Rd" in str(shown)
        assert [d for d in disagreements(ANON, bundle) if ".section" not in d] == []


def test_what_a_job_is_about_is_a_relative() -> None:
    """The focus of a job shows if it is a RelatedPerson; an Organization that gives care, and shows
    as such, is not referred to by the job of those who work there."""
    relative = {"resourceType": "RelatedPerson", "id": "r", "patient": {"reference": "Patient/p"}}
    both = [{"reference": "RelatedPerson/r"}, NAMED]
    clinic = organization("works", type=CARE)
    for kind in (job("Organization/works", focus=both), finding("74165-2", focus=both)):
        shown = show(document_of({}, kind, lab("Organization/works"), clinic, relative))
        (about,) = [o["focus"] for o in entry(shown, "Observation") if "focus" in o]
        (person,) = entry(shown, "RelatedPerson")
        assert about == [{"reference": f"RelatedPerson/{person['id']}"}]
    (other,) = entry(show(document_of({}, finding("1", focus=[NAMED]), clinic)), "Observation")[:1]
    assert other["focus"][0]["reference"].startswith("Organization/")
