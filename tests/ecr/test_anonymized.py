"""The anonymized eICR: the guide's invariants over every example and generated case, and what the
guide leaves open."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.generator import cases
from proxy.fhir.codec import encode
from proxy.policy.compile import compile_view
from proxy.policy.load import load_policy
from tests.ecr.guide import BEYOND, breaches, documents, unmet
from tests.ecr.showing import (
    DAR,
    LOINC,
    MASKED,
    ages,
    document_of,
    entry,
    job,
    lab,
    organization,
    show,
)
from tests.views import ANON, POLICIES, PUBLIC, TODAY, UPSTREAM, Case

FHIR = "ecr-examples/fhir"
TARGET = f"{FHIR}/anonymized-ig/bundle-document-zika-anon.json"


def eicrs(shared: Path) -> Iterator[tuple[str, Any]]:
    """The eICR documents among the examples, those in messages too, by file name."""
    for file in sorted((shared / FHIR / "eicr").glob("*.json")):
        for document in documents(json.loads(file.read_bytes())):
            yield file.name, document


@cache
def generated() -> tuple[tuple[Any, Any], ...]:
    """The eICRs and messages of generated cases: stored, shown."""
    found = [case.eicr for case in cases(6, 3, base=UPSTREAM)]
    found += [c.message for c in cases(6, 3, base=UPSTREAM) if c.message is not None]
    stored = [json.loads(encode(one)) for one in found]
    return tuple((one, show(one)) for one in stored)


def test_examples_satisfy_the_guide(shared: Path) -> None:
    """Every example keeps all rules once anonymized, the known gaps too; as stored none does."""
    met = 0
    for file in sorted((shared / FHIR / "eicr").glob("*.json")):
        stored = json.loads(file.read_bytes())
        if stored["resourceType"] != "Bundle":
            continue
        for original, document in zip(documents(stored), documents(show(stored)), strict=True):
            assert breaches(document) == [], file.name
            assert breaches(document, BEYOND) == [], file.name
            assert unmet(document) == [], file.name
            assert len(breaches(original)) > 10, file.name
            assert unmet(original), file.name
            met += 1
    assert met == 12


def test_generated_cases_satisfy_the_guide() -> None:
    """So do generated documents, however they name their entries, and those in messages."""
    kinds = set()
    for stored, shown in generated():
        for original, document in zip(documents(stored), documents(shown), strict=True):
            assert breaches(document) == breaches(document, BEYOND) == unmet(document) == []
            assert breaches(original)
            assert unmet(original)
            kinds.add((stored["type"], document["entry"][0]["fullUrl"].split(":")[0]))
    assert kinds >= {("document", "http"), ("document", "urn"), ("message", "http")}


def test_the_example_of_the_guide_passes_but_for_its_gaps(shared: Path) -> None:
    """The published target satisfies the guide's rules, not what lies beyond them; anonymized once
    more it satisfies both and keeps its one age."""
    target = json.loads((shared / TARGET).read_bytes())
    assert breaches(target) == unmet(target) == []
    assert "Encounter: display anywhere" in breaches(target, BEYOND)
    assert "Device: serial numbers" in breaches(target, BEYOND)
    again = show(target)
    assert breaches(again) == breaches(again, BEYOND) == unmet(again) == []


BROKEN = [
    ("Patient", {"name": [{"family": "Roe"}]}, "eicr-anon-pt-name"),
    ("Patient", {"name": [{**MASKED, "period": {"start": "2020"}}]}, "eicr-anon-pt-name"),
    ("Patient", {"identifier": [{"value": "1"}]}, "eicr-anon-pt-iden"),
    ("Patient", {"telecom": [{"value": "1"}]}, "eicr-anon-pt-tel"),
    ("Patient", {"birthDate": "1974"}, "eicr-anon-pt-bd"),
    ("Patient", {"address": [{"line": ["1 A St", "Apt 2"]}]}, "eicr-anon-pt-addr"),
    ("Patient", {"address": [{"line": [None, "Apt 2"], "_line": [MASKED, None]}]},
     "eicr-anon-pt-addr"),
    ("Patient", {"address": [{"postalCode": "30300-1234"}]}, "address.postalCode"),
    ("Patient", {"contact": [{"name": {**MASKED, "family": "R"}}]}, "eicr-anon-pt-ct-name"),
    ("Practitioner", {"name": [{**MASKED, "family": "Roe"}]}, "eicr-anon-prct-fam"),
    ("Practitioner", {"telecom": [{**MASKED, "use": "work"}]}, "eicr-anon-prct-tel"),
    ("PractitionerRole", {"telecom": [{"system": "email", "value": "x"}]}, "eicr-anon-prctrl-tel"),
    ("RelatedPerson", {"birthDate": "1974"}, "eicr-anon-rp-bd"),
    ("Encounter", {"subject": {"reference": "Patient/1", "display": "x"}}, "eicr-anon-display"),
    ("Condition", {"text": {"status": "empty", "div": "<div>MASKED</div>"}}, "eicr-anon-text-div"),
    ("Observation", {"category": [{"coding": [{"code": "EXPOS"}]}]}, "eicr-anon-exposure"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "members", "key"), BROKEN, ids=[k for _, _, k in BROKEN])
def test_the_rules_tell(kind: str, members: Any, key: str) -> None:
    """Each rule finds what breaks it: values beside masks, a second line, ZIP+4."""
    document = {"entry": [{"resource": {"resourceType": kind, **members}}]}
    assert f"{kind}: {key}" in breaches(document)


def test_no_id_fullurl_or_reference_is_a_real_one(shared: Path) -> None:
    """Ids with names (patient-ecr-eve-everywoman) are gone from ids, fullUrls and references."""
    for name, document in eicrs(shared):
        text = json.dumps(show(document))
        ids = {e["resource"].get("id", e.get("fullUrl")) for e in document["entry"]} | {
            e["fullUrl"] for e in document["entry"] if "fullUrl" in e
        }
        assert [one for one in ids if one and len(one) > 3 and one in text] == [], name


def test_what_is_kept_stays(shared: Path) -> None:
    """NPI, visit number, dates, facility names and lines, lot numbers, section titles, the version,
    trigger flags, race and tribe are as stored."""
    found = json.dumps(show(_zika(shared)))
    for kept in (
        '"9937012"', '"9941339108"', '"2018-01-15"', "4444 Healthcare Drive", "Acme_Labs",
        "Salem Medical Center", '"Problems Section"', '"2106-3"', "v3-TribalEntityUS",
        "eicr-trigger-code-flag-extension", "versionNumber", '"99999"',
    ):  # fmt: skip
        assert kept in found, kept


def _zika(shared: Path) -> Any:
    file = shared / FHIR / "eicr" / "bundle-eicr-document-zika.json"
    return json.loads(file.read_bytes())


def test_a_document_has_a_new_identity_and_says_of_what(shared: Path) -> None:
    """Identifiers and dates are new; relatesTo names the original as other documents do (by the
    line for documents); what the original replaces is replaced in its anonymized form."""
    stored = _zika(shared)
    composition = stored["entry"][0]["resource"]
    composition["relatesTo"] = [
        {"code": "replaces", "targetIdentifier": {"value": "urn:uuid:ABC-1"}},
        {"code": "transforms", "targetIdentifier": {"value": "cda-1"}},
        {"code": "appends", "targetReference": {"reference": "Composition/other"}},
    ]
    older = copy.deepcopy(stored)
    older["entry"][0]["resource"]["identifier"] = {"system": "urn:ietf:rfc:3986", "value": "abc-1"}
    shown, before = show(stored), show(older)
    made, first = shown["entry"][0]["resource"], before["entry"][0]["resource"]
    namer = Case(ANON).scope().namer
    system, value = namer.show_document_identifier(composition["identifier"]["value"])
    transforms, replaces, appends = made["relatesTo"]
    assert transforms == {"code": "transforms",
                          "targetIdentifier": {"system": system, "value": value}}  # fmt: skip
    assert replaces == {"code": "replaces", "targetIdentifier": first["identifier"]}
    assert appends["targetReference"]["reference"].startswith("urn:uuid:")
    assert made["identifier"] not in ({"system": system, "value": value}, first["identifier"])
    assert shown["identifier"] == before["identifier"] != stored["identifier"]
    assert made["date"] == TODAY.isoformat()
    assert shown["timestamp"] == f"{TODAY}T00:00:00Z"


@pytest.mark.parametrize(
    ("birth_date", "shown"),
    [
        ("1974-11-24", {"value": 51, "unit": "year", "code": "a"}),
        ("1974", {"value": 52, "unit": "year", "code": "a"}),
        ("1974-11", {"value": 51, "unit": "year", "code": "a"}),
        ("2025-07-01", {"value": 1, "unit": "year", "code": "a"}),
        ("2025-07-02", {"value": 11, "unit": "month", "code": "mo"}),
        ("2026-05", {"value": 2, "unit": "month", "code": "mo"}),
        ("2026", {"value": 0, "unit": "year", "code": "a"}),
        ("2026-06-02", {"value": 4, "unit": "week", "code": "wk"}),
        ("2026-06-28", {"value": 3, "unit": "day", "code": "d"}),
        ("1936-07-02", {"value": 89, "unit": "year", "code": "a"}),
        ("1936-07-01", {"value": 90, "comparator": ">=", "unit": "year", "code": "a"}),
        ("1900", {"value": 90, "comparator": ">=", "unit": "year", "code": "a"}),
        ("2026-07-02", None), ("yesterday", None), (None, None), (19741124, None),
    ],
)  # fmt: skip
def test_the_age_is_made_from_the_birth_date(birth_date: Any, shown: Any) -> None:
    """Completed years, of infants months, weeks or days; from 90 on one group; of a birth date
    that tells none, one without value that says so."""
    (age,) = ages(show(document_of({"birthDate": birth_date})))
    quantity = age["valueQuantity"]
    assert quantity.pop("system") == "http://unitsofmeasure.org"
    reason = {"extension": [{"url": DAR, "valueCode": "unknown"}]}
    assert quantity == (shown or {"_value": reason, "unit": "year", "code": "a"})
    assert age["effectiveDateTime"] == "2026-07-01"


def test_social_history_is_made_where_there_is_none() -> None:
    """The age is listed once, in the first Social History, in one of its own if there is none; one
    that said why it was empty says so no more (cmp-2)."""
    social = {"coding": [{"system": LOINC, "code": "29762-2"}]}
    other = {"coding": [{"code": "x"}]}
    nested = [{"code": other, "section": [{"code": social}, {"code": social}]}]
    empty = [{"code": social, "emptyReason": {"coding": [{"code": "unavailable"}]}}]
    for sections in ([], nested, empty):
        shown = show(document_of({}, section=sections))
        composition = shown["entry"][0]["resource"]
        (url,) = [e["fullUrl"] for e in shown["entry"] if e["resource"] in ages(shown)]
        assert json.dumps(composition["section"]).count(url) == 1
        assert "emptyReason" not in json.dumps(composition)
        assert len(composition["section"]) == 1


def test_an_age_that_another_calculated_gives_way() -> None:
    """A stored calculated age does not show, so that there is one."""
    stored = {"resourceType": "Observation", "id": "o", "status": "final", "valueInteger": 35,
              "code": {"coding": [{"system": LOINC, "code": "29553-5"}]}}  # fmt: skip
    (age,) = ages(show(document_of({"birthDate": "1974-11-24"}, stored)))
    assert age["valueQuantity"]["value"] == 51


def test_an_employer_is_a_thing_of_its_own() -> None:
    """The employer shows masked, under a name of its own; the same Organization as the laboratory
    shows as such; whom it belongs to goes with it."""
    works = organization("works", partOf={"reference": "Organization/group"})
    group = organization("group")
    held = (job("Organization/works"), lab("Organization/works"), works, group)
    shown = show(document_of({}, *held))
    masked, = [o for o in entry(shown, "Organization") if "_name" in o]
    (told,) = [o for o in entry(shown, "Organization") if o.get("name") == "Name of works"]
    assert masked == {"resourceType": "Organization", "id": masked["id"], "meta": told["meta"],
                      "identifier": [MASKED], "_name": MASKED, "telecom": [MASKED],
                      "address": [MASKED]}  # fmt: skip
    assert masked["id"] != told["id"]
    assert told["address"][0]["postalCode"] == "48104"
    link = json.dumps([o for o in entry(shown, "Observation") if "extension" in o])
    assert masked["id"] in link
    assert told["id"] not in link
    alone = show(document_of({}, job("Organization/works"), works, group))
    assert [o["id"] for o in entry(alone, "Organization")] == [masked["id"]]
    assert "Name of" not in json.dumps(alone)
    assert "ein-" not in json.dumps(alone)


def test_alone_an_organization_shows_what_its_own_type_allows() -> None:
    """By itself, in batches and search results no document tells: the least form, unless the type
    says that it gives care; a job's reference leads to the employer, not to the Organization."""
    type_ = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/organization-type",
                          "code": "prov"}]}]  # fmt: skip
    assert show(organization("works"))["_name"] == MASKED
    assert show(organization("clinic", type=type_))["name"] == "Name of clinic"
    bundle = document_of({}, lab("Organization/works"), organization("works"))
    for kind in ("batch", "collection", "searchset"):
        assert "Name of works" not in json.dumps(show({**bundle, "type": kind}))
    reference = show(job("Organization/works"))["extension"][0]["valueReference"]["reference"]
    namer = Case(ANON).scope().namer
    assert reference == namer.show_uri(f"{UPSTREAM}/Organization/works#employer")
    inside = {**organization("o", type=type_)}
    assert "Name of o" not in json.dumps(show({**job("#o"), "contained": [inside]}))


def test_a_household_employer_is_a_masked_relative() -> None:
    """A RelatedPerson who employs keeps the name that it has elsewhere: it is masked anyway."""
    relative = {"resourceType": "RelatedPerson", "id": "r", "patient": {"reference": "Patient/p"},
                "name": [{"family": "Household"}]}  # fmt: skip
    shown = show(document_of({}, job("RelatedPerson/r"), relative))
    (person,) = entry(shown, "RelatedPerson")
    link = json.dumps([o for o in entry(shown, "Observation") if "extension" in o])
    assert person["name"] == [MASKED]
    assert person["id"] in link


def test_exposures_go_with_what_only_they_reach(shared: Path) -> None:
    """An exposure is known by category or code, with or without its profile; the section no longer
    lists it, and the stadium and the contact persons that only it reaches go."""
    stored = _zika(shared)
    assert "City Football Stadium" in json.dumps(stored)
    for one in entry(stored, "Observation"):
        one.get("meta", {}).pop("profile", None)
    shown = show(stored)
    assert "Football" not in json.dumps(shown)
    assert len(entry(shown, "Location")) == len(entry(stored, "Location")) - 1
    listed = json.dumps(shown["entry"][0]["resource"])
    assert listed.count('"urn:uuid:') == len(set(listed.split('"urn:uuid:'))) - 1 > 20
    for members in ({"category": [{"coding": [{"code": "AEXPOS"}]}]},
                    {"code": {"coding": [{"code": "TEXPOS"}]}},
                    {"meta": {"profile": ["http://hl7.org/fhir/us/ph-library/StructureDefinition/"
                                          "us-ph-exposure-contact-information"]}}):  # fmt: skip
        assert show({"resourceType": "Observation", "status": "final", **members}) is None


def test_other_documents_are_masked_alike(shared: Path) -> None:
    """A Reportability Response and batches have the same masks; they relate to no original, and no
    age is made for them."""
    for file in (*sorted((shared / FHIR / "rr").glob("*.json")),
                 *sorted((shared / FHIR / "converter-batch").glob("*.json"))):  # fmt: skip
        stored = json.loads(file.read_bytes())
        shown = show(stored)
        held = entry(shown, "Composition") if "entry" in shown else [shown]
        patients = entry(shown, "Patient") if "entry" in shown else []
        assert all(p["name"] == [MASKED] * len(p["name"]) for p in patients), file.name
        if stored.get("type") != "batch":
            assert ages(shown) == [] if "entry" in shown else True
            assert all(one["date"] != "2026-07-01" for one in held), file.name
        assert "Everywoman" not in json.dumps(shown)
        assert "Mothma" not in json.dumps(shown)


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ('"keep"', {"system": "urn:x:docs", "value": "Doc-1"}),
        ('"remove"', None), ('"pseudonymize"', None),
    ],
)  # fmt: skip
def test_the_original_is_named_as_the_policy_says(line: str, target: Any, tmp_path: Path) -> None:
    """``Identifier.document`` decides how relatesTo names the original: as it is, or by a
    pseudonym, also where the line would show nothing, since a relation must have an end."""
    for file in POLICIES.glob("*.toml"):
        shutil.copy(file, tmp_path)
    child = tmp_path / "kept.toml"
    child.write_text(
        f'extends = "{ANON}"\n[datatypes]\n"Identifier.document" = {line}\n'
        f'"Identifier.assigner" = "remove"\n'
    )
    view = compile_view(load_policy(child))
    identifier = {"system": "urn:x:docs", "value": "Doc-1", "use": "official"}
    stored = document_of({}, identifier=identifier)["entry"][0]["resource"]
    scope = Case(ANON).scope()
    shown: Any = view.reveal(stored, scope)
    system, value = scope.namer.show_document_identifier("Doc-1")
    named = shown["relatesTo"][0]["targetIdentifier"]
    named.pop("use", None)
    assert named == (target or {"system": system, "value": value})
    assert shown["identifier"]["value"].startswith("urn:uuid:")


def test_the_same_day_gives_the_same_document() -> None:
    """On one civil day a document is the same; on another its date and age are new."""
    stored = document_of({"birthDate": "1974-11-24"})
    assert show(stored) == show(copy.deepcopy(stored))
    first, later = show(stored), show(stored, TODAY.replace(year=2027))
    (old,), (new,) = ages(first), ages(later)
    assert (old["valueQuantity"]["value"], new["valueQuantity"]["value"]) == (51, 52)
    assert first["identifier"] == later["identifier"]
    assert old["id"] == new["id"]
    assert PUBLIC in first["entry"][0]["fullUrl"]
