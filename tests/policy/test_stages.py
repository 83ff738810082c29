"""The two stages of the IHE De-Identification Handbook: its table of a Patient, line by line, and
its patient summary, with every difference and its reason."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from proxy.fhir.codec import decode
from proxy.policy.compile import compile_view
from proxy.policy.load import load_directory, read_policies
from tests.oracle_bundles import references
from tests.oracle_facts import DAR, dar
from tests.views import POLICIES, PUBLIC, STAGE1, STAGE2, UPSTREAM, Case, comparable

DAY = date(2024, 7, 1)  # when a man of 1985 is between 35 and 39
LABELS = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
SSN = "http://hl7.org/fhir/sid/us-ssn"
MR = {"coding": [{"system": TYPES, "code": "MR"}]}
SMITH: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "patient-12345",
    "identifier": [
        {"type": MR, "system": "http://hospital.example.org/mrn", "value": "MRN123456"},
        {"type": {"coding": [{"system": TYPES, "code": "SS"}]}, "system": SSN,
         "value": "123-45-6789"},
    ],
    "name": [{"use": "official", "family": "Smith", "given": ["John", "Robert"]}],
    "telecom": [
        {"system": "phone", "value": "+1-555-123-4567", "use": "home"},
        {"system": "email", "value": "john.smith@example.com"},
    ],
    "gender": "male",
    "birthDate": "1985-03-15",
    "address": [{"use": "home", "line": ["123 Main Street", "Apt 4B"], "city": "Springfield",
                 "state": "IL", "postalCode": "62701", "country": "US"}],
}  # fmt: skip


def stages(resource: Any, today: date = DAY) -> tuple[Any, Any]:
    """What stage 1 shows, and what stage 2 behind it."""
    return Case(STAGE1, today=today).reveal(resource), Case(STAGE2, today=today).reveal(resource)


def test_the_patient_of_the_handbook_at_stage_1() -> None:
    """Ids, record numbers and names as pseudonyms, no social security number, one masked telecom,
    no street and city; sex, birth date, state, ZIP code and country as they are."""
    one, _ = stages(SMITH)
    assert one["meta"] == {"security": [{"system": LABELS, "code": "PSEUDED"}]}
    assert one["id"] != SMITH["id"]
    (number,) = one["identifier"]
    assert number["system"] == "urn:ecr-proxy:pseudonym:identifier"
    assert "MRN" not in number["value"]
    assert number["type"] == MR
    (name,) = one["name"]
    assert name["use"] == "official"
    assert name["given"] == ["Pseudo"]
    assert name["family"].startswith("StudySubject-")
    assert len(name["family"]) == len("StudySubject-") + 16
    assert one["telecom"] == [dar()]
    assert (one["gender"], one["birthDate"]) == ("male", "1985-03-15")
    assert one["address"] == [
        {"use": "home", "state": "IL", "postalCode": "62701", "country": "US"}
    ]
    assert set(one) == set(SMITH) | {"meta"}


def test_the_patient_of_the_handbook_at_stage_2() -> None:
    """As stage 1 shows it, but for the label, the birth date as a range and three digits of the
    ZIP code."""
    one, two = stages(SMITH)
    same = {"id", "identifier", "name", "telecom", "gender"}
    assert {k: two[k] for k in same} == {k: one[k] for k in same}
    assert two["meta"] == {"security": [{"system": LABELS, "code": "ANONYED"}]}
    reason, ages = two["_birthDate"]["extension"]
    assert reason == {"url": DAR, "valueCode": "masked"}
    assert ages == {"url": "urn:ecr-proxy:age-range", "valueString": "35-39"}
    assert two["address"] == [
        {"use": "home", "state": "IL", "postalCode": "627", "country": "US"}
    ]
    assert set(two) == set(one) - {"birthDate"} | {"_birthDate"}


@pytest.mark.parametrize(
    ("born", "shown"),
    [("2024-07-01", "0-4"), ("2019-12-31", "5-9"), ("1984-01-01", "40-44"), ("1985", "35-39"),
     ("1935-12-31", "85-89"), ("1934-12-31", "90+"), ("1905", "90+"), ("2025-01-01", None),
     ("15.3.1985", None)],
)  # fmt: skip
def test_ranges_of_age(born: str, shown: str | None) -> None:
    """By the calendar year, from 90 on as one; none where the date is malformed or to come."""
    _, two = stages({"resourceType": "Patient", "id": "1", "birthDate": born})
    found = two["_birthDate"]["extension"]
    assert found[0] == {"url": DAR, "valueCode": "masked"}
    assert [e["valueString"] for e in found[1:]] == ([shown] if shown else [])


@pytest.mark.parametrize("number", [SMITH, {**SMITH, "meta": {"security": [
    {"system": "http://example.org/labels", "code": "PSEUDED"},
    {"system": LABELS, "code": "ANONYED"}]}}])  # fmt: skip
def test_stage_2_shows_nothing_that_stage_1_did_not(number: Any) -> None:
    """Before raw data it is empty: alone, as an entry and inside a Bundle that is labelled."""
    alone = Case(STAGE2, alone=True)
    label = {"security": [{"system": LABELS, "code": "PSEUDED"}]}
    entry = {"fullUrl": f"{UPSTREAM}/Patient/patient-12345", "resource": number}
    bundle = {"resourceType": "Bundle", "id": "b", "type": "collection", "entry": [entry]}
    assert alone.reveal(number) is None
    assert alone.reveal(bundle) is None
    assert "entry" not in alone.reveal({**bundle, "meta": label})


def test_stage_2_masks_names_and_numbers_that_are_none_of_stage_1() -> None:
    """Even where the label says that they are pseudonyms."""
    label = {"security": [{"system": LABELS, "code": "PSEUDED"}]}
    names = [{"family": "StudySubject-Smith", "given": ["Pseudo"]}, {"text": "Pseudo Smith"},
             {"family": "StudySubject-k5jx7zq2m4vd3rwa", "given": ["John"]}]  # fmt: skip
    shown = Case(STAGE2, alone=True).reveal({**SMITH, "meta": label, "name": names})
    assert shown["name"] == [dar(), dar(), dar()]
    assert "identifier" not in shown


def test_one_person_has_one_stand_in() -> None:
    """Alone, in a document, contained; the same id at another server is another person; a name in
    text alone stays so; a contact is not the patient."""
    case = Case(STAGE1)
    bundle = {
        "resourceType": "Bundle", "id": "b", "type": "collection",
        "entry": [
            {"fullUrl": f"{UPSTREAM}/Patient/patient-12345", "resource": SMITH},
            {"fullUrl": "http://other.example/fhir/Patient/patient-12345", "resource": SMITH},
            {"fullUrl": f"{UPSTREAM}/Observation/o", "resource": {
                "resourceType": "Observation", "id": "o", "status": "final",
                "subject": {"reference": "#p"}, "contained": [{**SMITH, "id": "p"}]}},
        ],
    }  # fmt: skip
    shown = [e["resource"] for e in case.reveal(bundle)["entry"]]
    alone = case.reveal(SMITH)["name"][0]["family"]
    here, other = (p["name"][0]["family"] for p in shown[:2])
    inside = shown[2]["contained"][0]["name"][0]["family"]
    assert here == alone
    assert len({alone, other, inside}) == 3
    said = case.reveal({**SMITH, "name": [{"text": "John Smith"}]})["name"]
    assert said == [{"text": f"Pseudo {alone}"}]
    nameless = case.reveal({"resourceType": "Patient", "name": SMITH["name"]})
    assert nameless["name"] == [dar()]


# --- the patient summary -------------------------------------------------------------------------

# What our stages show otherwise than the handbook's example, by path, and why.
ALIKE: Mapping[str, str] = {
    "*.meta.*": "every resource bears the label, and none claims a profile that it may not meet",
    "*.identifier.*": "the example leaves identifiers as they are; the handbook's text does not",
    "*.display": "displays are text, which can name; their codes show",
    "*.text": "text can name",
    "*.title": "text can name; of a document our name for its type shows",
    "Composition.section.text.*": "narratives are masked",
    "Patient.name.*": "a stand-in made for each person by key, with the use of the name",
    "Patient.address.*": "state, ZIP code and country as in the handbook's table",
    "Organization.*": "providers are not named either",
    "*.coding.code": "codes of IHE's own code systems: [codes] lists public ones",
    "*.coding.system": "as before",
}
REASONS: Mapping[str, Mapping[str, str]] = {
    STAGE1: {
        "Patient.contact.*": "the example leaves the contact's name: contacts go",
        "Practitioner.*": "the example leaves the practitioners' names and streets",
        **ALIKE,
    },
    STAGE2: {
        "Composition.section.extension.*": "a section that is withheld is marked as masked, too",
        "*Date": "moved by the person's own number of days, not by 107 for all",
        "*DateTime": "as before", "*.date": "as before", "*Period.*": "as before",
        "*.period.*": "as before", "*.timestamp": "as before", "*.issued": "as before",
        "*Occurrence": "as before", "*Asserted": "as before",
        "Patient._birthDate.*": "a range of age, as in the handbook's table",
        "Patient.maritalStatus.*": "the table does not drop it",
        "*.performer.*": "the example masks who performed, and drops the Practitioners",
        "*.asserter.*": "as before",
        "Patient.generalPractitioner.*": "as before",
        "Practitioner.*": "as before; ours are stand-ins",
        "Immunization.route.*": "the example masks it; a route describes nobody",
        **ALIKE,
    },
}  # fmt: skip
# Sections that the example withholds at stage 2: what is not of the study at hand.
WITHHELD = ("11348-0", "46264-8", "8716-3", "18776-5", "42348-3", "47420-5")
STUDY = f"""
title   = "Stage 2 for one study"
basis   = "IHE De-Identification Handbook, example of a patient summary"
extends = "{STAGE2}"
[elements]
"Composition.section" = "mask"
"Composition.section.title" = "keep"
"Composition.section.code" = "keep"
"Composition.section.where(code.coding.exists({' or '.join(f"code = '{c}'" for c in WITHHELD)}).not())" = "keep"
"""  # noqa: E501


def summary(shared: Path, stage: int) -> Any:
    name = f"ips-bundle-stage-{stage}.json"
    return decode((shared / "ecr-examples" / "fhir" / "ihe-deid-stages" / name).read_bytes())


def for_the_study(folder: Path, one: Any) -> Any:
    """What a policy for one study, which withholds sections, shows of what stage 1 shows."""
    shutil.copytree(POLICIES, folder, dirs_exist_ok=True)
    (folder / "study.toml").write_text(STUDY)
    view = compile_view(load_directory(folder)["study"])
    return view.reveal(one, Case(STAGE2).scope())


def by_path(value: Any, path: str = "") -> dict[str, list[Any]]:
    """Every value at its path, names of things (ids, references) left out."""
    found: dict[str, list[Any]] = defaultdict(list)

    def walk(item: Any, path: str) -> None:
        if isinstance(item, dict):
            path = item.get("resourceType", path)
            for key, inner in item.items():
                if key not in ("id", "reference", "fullUrl", "resourceType"):
                    walk(inner, f"{path}.{key}")
        elif isinstance(item, list):
            for inner in item:
                walk(inner, path)
        else:
            found[path].append(item)

    walk(comparable(value), path)
    return found


def reasons_of(stage: str, ours: Any, theirs: Any) -> Iterator[tuple[str, str]]:
    """Each path that differs, with the pattern that gives its reason; empty if none does."""
    mine, other = by_path(ours), by_path(theirs)
    for path in sorted({*mine, *other}):
        if mine[path] != other[path]:
            matches = (p for p in REASONS[stage] if fnmatchcase(path, p))
            yield path, next(matches, "")


@pytest.mark.parametrize("stage", [STAGE1, STAGE2])
def test_the_summary_of_the_handbook(stage: str, shared: Path, tmp_path: Path) -> None:
    """Each difference between what we and the example show has a reason, each reason its use."""
    ours, _ = stages(summary(shared, 0))
    if stage == STAGE2:
        ours = for_the_study(tmp_path, ours)
    found = list(reasons_of(stage, ours, summary(shared, 1 if stage == STAGE1 else 2)))
    assert [path for path, reason in found if not reason] == []
    assert set(REASONS[stage]) - {reason for _, reason in found} == set()


def test_sections_are_withheld_as_in_the_handbook(shared: Path, tmp_path: Path) -> None:
    """What a study does not need: the section with emptyReason and without entries; what only it
    led to is gone."""
    one, _ = stages(summary(shared, 0))
    ours, theirs = for_the_study(tmp_path, one), summary(shared, 2)
    sections = [bundle["entry"][0]["resource"]["section"] for bundle in (ours, theirs)]
    for mine, other in zip(*sections, strict=True):
        assert ("emptyReason" in mine) == ("emptyReason" in other)
        assert ("entry" in mine) == ("entry" in other)
    types = [
        [e["resource"]["resourceType"] for e in bundle["entry"]] for bundle in (ours, theirs)
    ]
    assert [t for t in types[0] if t != "Practitioner"] == types[1]


def test_dates_of_the_summary_keep_their_intervals(shared: Path) -> None:
    """Death and everything else of the person move by one number of days."""
    one, two = stages(summary(shared, 0))
    before, after = by_path(one), by_path(two)
    moved = {
        (date.fromisoformat(b[:10]) - date.fromisoformat(a[:10])).days
        for path in before
        if path.endswith(("Date", "DateTime", "timestamp", ".date", "issued"))
        for a, b in zip(before[path], after[path], strict=False)
    }
    assert len(moved) == 1
    assert -365 <= moved.pop() <= -1


def test_references_of_both_stages_stay_inside(shared: Path) -> None:
    """Every reference of the document leads to an entry that is there; both stages name alike."""
    one, two = stages(summary(shared, 0))
    for bundle in (one, two):
        urls = {e["fullUrl"] for e in bundle["entry"]}
        assert {r for r in references(bundle) if r.startswith("urn:")} <= urls
        assert not any(r.startswith(PUBLIC) for r in references(bundle))
    assert [e["fullUrl"] for e in one["entry"]] == [e["fullUrl"] for e in two["entry"]]
    assert list(references(one)) == list(references(two))


# --- what the language says of it ----------------------------------------------------------------

BEHIND = """
title   = "Behind another"
basis   = "test"
[access]
Patient = ["read"]
[ids]
default = "real"
[elements]
"Patient" = "keep"
[datatypes]
"HumanName"  = { method = "surrogate", from = "upstream" }
"Identifier" = { method = "pseudonymize", from = "upstream" }
[codes]
systems = ["http://loinc.org"]
"""


def test_names_from_upstream_need_a_label(tmp_path: Path) -> None:
    """A policy that takes names for stand-ins says which label makes them so."""
    file = tmp_path / "behind.toml"
    file.write_text(BEHIND)
    found = read_policies([file]).mistakes
    assert [m.line for m in found] == [11, 12]
    assert all('requires = ["PSEUDED"]' in m.mend for m in found)
    file.write_text('requires = ["PSEUDED"]' + BEHIND)
    assert not read_policies([file]).mistakes


def test_labels_of_base_and_child_are_required(tmp_path: Path) -> None:
    """Both must be there, and change what the policy is."""
    (tmp_path / "base.toml").write_text('requires = ["PSEUDED"]' + BEHIND)
    child = 'title = "c"\nbasis = "t"\nextends = "base"\n'
    (tmp_path / "child.toml").write_text(child + 'requires = ["MASKED"]\n')
    (tmp_path / "other.toml").write_text(child)
    found = load_directory(tmp_path)
    assert found["child"].requires == ("PSEUDED", "MASKED")
    assert found["other"].requires == ("PSEUDED",)
    assert replace(found["child"], name="other").digest != found["other"].digest
    label = {"system": LABELS, "code": "PSEUDED"}
    one = {**SMITH, "meta": {"security": [label]}}
    both = {**SMITH, "meta": {"security": [label, {**label, "code": "MASKED"}]}}
    view = compile_view(found["child"])
    assert [view.visible(r, {}) for r in (SMITH, one, both)] == [False, False, True]
