"""Scrubbed texts: whose names are looked for, in documents, Bundles and resources alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.generator import cases
from proxy.fhir.codec import decode, encode
from proxy.policy.compile import View, compile_view
from proxy.policy.load import load_directory, load_policy, read_policies
from proxy.policy.scope import Scope
from tests.policy.test_persons import at, bundle, composition, entry, message, observation
from tests.views import POLICIES, UPSTREAM, Case

POLICY = """
title = "Scrubbed"
basis = "a test"

[access]
Observation = ["read", "search"]

[ids]
default = "pseudonym"

[elements]
"Bundle"        = "keep"
"Composition"   = "keep"
"MessageHeader" = "keep"
"Patient"       = "keep"
"RelatedPerson" = "remove"
"Observation"   = "keep"
"Organization"  = "keep"
"Provenance"    = "keep"
"Observation.note.text" = "scrub"

[datatypes]
string = "scrub"
"""
TEXT = "Ann Lee and Bo Lee, Cy Poe, Dee Roe: seen 2020-03-01"


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    file = tmp_path_factory.mktemp("policies") / "researcher-limited.toml"
    file.write_text(POLICY)
    return compile_view(load_policy(file))


def person(kind: str, id_: str, given: str, family: str, **members: Any) -> dict[str, Any]:
    name = {"family": family, "given": [given]}
    return {"resourceType": kind, "id": id_, "name": [name], **members}


ANN = person("Patient", "p", "Ann", "Lee",
             contact=[{"name": {"family": "Roe", "given": ["Dee"]}}])  # fmt: skip
BO = person("RelatedPerson", "r", "Bo", "Lee", patient={"reference": "Patient/p"})
CY = person("Patient", "q", "Cy", "Poe")
NOTED = observation("Patient/p", note=[{"text": TEXT}])
ALL = "[NAME] and [NAME], [NAME], [NAME]: seen [DATE]"
OTHER = observation("Patient/q", id="o2")
HEAD = entry(f"{UPSTREAM}/Composition/c", composition("Patient/p"))


def of(resource: dict[str, Any]) -> dict[str, Any]:
    return entry(f"{UPSTREAM}/{resource['resourceType']}/{resource['id']}", resource)


def scope(**members: Any) -> Scope:
    made = Case("researcher-limited").scope()
    for name, value in members.items():
        setattr(made, name, value)
    return made


def texts(view: View, resource: Any, **members: Any) -> list[str]:
    """The shown notes."""
    shown = view.reveal(resource, scope(**members))
    found: list[str] = []

    def look(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("note"), list):
                found.extend(n["text"] for n in value["note"])
            for inner in value.values():
                look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(shown)
    return found


MASKED = "masked"  # Annotation.text is required
FAMILY = "[NAME] and [NAME], Cy Poe, [NAME]: seen [DATE]"
CASES: list[tuple[str, Any, dict[str, Any], list[str]]] = [
    ("a document", bundle("document", HEAD, of(ANN), of(BO), of(CY), of(NOTED)), {}, [ALL]),
    ("a document without relatives", bundle("document", HEAD, of(ANN), of(NOTED)), {},
     [FAMILY.replace("[NAME],", "Bo [NAME],", 1)]),
    ("a document with stored relatives", bundle("document", HEAD, of(ANN), of(NOTED)),
     {"companions": {at("p"): CY}, "relatives": {at("p"): [BO]}}, [ALL]),
    ("a document that says otherwise where", bundle(
        "document", HEAD, entry("urn:uuid:1", ANN), of(NOTED)),
     {"companions": {at("p"): ANN}, "relatives": {at("p"): [BO]}}, [FAMILY]),
    ("a document about others too", bundle("document", HEAD, of(ANN), of(NOTED), of(OTHER)),
     {"companions": {at("p"): ANN, at("q"): CY}, "relatives": {at("p"): [BO], at("q"): []}}, [ALL]),
    ("a document about somebody unknown", bundle("document", HEAD, of(ANN), of(BO), of(NOTED), of(
        {**OTHER, "note": [{"text": TEXT}]})), {}, [FAMILY, MASKED]),
    ("a document with a Bundle", bundle("document", HEAD, of(ANN), of(NOTED), of(
        bundle("collection", of(OTHER), id="d"))),
     {"companions": {at("q"): CY}, "relatives": {at("q"): [BO]}}, [ALL]),
    ("a document with something contained", bundle("document", HEAD, of(ANN), of(
        {**NOTED, "contained": [OTHER]})),
     {"companions": {at("q"): CY}, "relatives": {at("q"): [BO]}}, [ALL]),
    ("a message about others too", message(of(bundle("document", HEAD, of(ANN), of(NOTED), id="d")),
                                           of(OTHER)),
     {"companions": {at("q"): CY}, "relatives": {at("p"): [BO]}}, [ALL]),
    ("a document without its subject", bundle("document", HEAD, of(BO), of(NOTED)), {}, [MASKED]),
    ("its subject is a companion", bundle("document", HEAD, of(BO), of(NOTED)),
     {"companions": {at("p"): ANN}}, [FAMILY]),
    ("a message", message(of(bundle("document", HEAD, of(ANN), of(BO), of(NOTED), id="d"))), {},
     [FAMILY]),
    ("a collection", bundle("collection", of(ANN), of(BO), of(NOTED)), {}, [FAMILY]),
    ("a collection with stored relatives", bundle("collection", of(ANN), of(NOTED)),
     {"relatives": {at("p"): [BO]}}, [FAMILY]),
    ("a collection without names", bundle("collection", entry(None, ANN), entry(None, BO),
                                          entry(None, NOTED)), {}, [FAMILY]),
    ("a collection without the patient", bundle("collection", of(BO), of(NOTED)), {}, [MASKED]),
    ("alone", NOTED, {}, [MASKED]),
    ("with companions", NOTED, {"companions": {at("p"): ANN}, "relatives": {at("p"): [BO]}},
     [FAMILY]),
    ("with a patient, relatives unknown", NOTED, {"companions": {at("p"): ANN}}, [MASKED]),
    ("with a patient that is not there", NOTED,
     {"companions": {at("p"): None}, "relatives": {at("p"): []}}, [MASKED]),
    ("of two", {"resourceType": "Provenance", "id": "v", "recorded": "2020", "agent": [],
                "target": [{"reference": "Patient/p"}, {"reference": "Patient/q"}],
                "reason": [{"text": TEXT}]},
     {"companions": {at("p"): ANN, at("q"): CY}, "relatives": {at("p"): [BO], at("q"): []}}, []),
    ("of nobody", {"resourceType": "Organization", "id": "g", "name": TEXT}, {}, []),
    ("contained", observation("#a", note=[{"text": TEXT}], contained=[{**ANN, "id": "a"}]), {},
     [FAMILY.replace("[NAME],", "Bo [NAME],", 1)]),
]  # fmt: skip


TWO, NOBODYS = (next(c for c in CASES if c[0] == name) for name in ("of two", "of nobody"))


@pytest.mark.parametrize(("resource", "around", "shown"), [c[1:] for c in CASES],
                         ids=[c[0] for c in CASES])  # fmt: skip
def test_who_is_looked_for(
    view: View, resource: Any, around: dict[str, Any], shown: list[str]
) -> None:
    """The persons of the same document or message, and those of all that it is about; alone the
    patient and those related. Where they are not known, the text is masked."""
    assert texts(view, resource, **around) == shown


def test_several_patients_are_all_looked_for(view: View) -> None:
    """What is about two persons names neither; with one of them unknown it is masked."""
    resource, around = TWO[1], TWO[2]
    shown: Any = view.reveal(resource, scope(**around))
    assert shown["reason"] == [{"text": ALL}]
    del around["companions"][at("q")]
    shown = view.reveal(resource, scope(**around))
    assert "text" not in shown["reason"][0]
    assert "Ann" not in json.dumps(json.loads(encode(shown)))


def test_nobodys_text_is_masked(view: View) -> None:
    """What is about no patient could name any."""
    shown: Any = view.reveal(NOBODYS[1], scope())
    assert "name" not in shown
    assert shown["_name"]["extension"][0]["valueCode"] == "masked"


def test_what_is_missing_is_said(view: View) -> None:
    """The survey names the Patients that must be fetched, with those related to them."""
    assert view.companions(NOTED, scope()) == {at("p")}
    assert view.companions(ANN, scope()) == {at("p")}
    assert view.companions(bundle("document", HEAD, of(ANN), of(NOTED)), scope()) == {at("p")}
    inner = of(bundle("document", HEAD, of(ANN), of(OTHER), id="d"))
    for whole in (bundle("document", HEAD, of(NOTED), of(OTHER)), message(inner, of(NOTED)),
                  bundle("collection", of(ANN), of(OTHER)), bundle("document", HEAD, inner)):
        assert view.companions(whole, scope()) == {at("p"), at("q")}
    assert view.companions(bundle("document", HEAD, of(NOTED)), scope()) == {at("p")}
    known = scope(companions={at("p"): ANN}, relatives={at("p"): []})
    assert view.companions(NOTED, known) == set()
    assert view.companions(bundle("document", HEAD, of(ANN), of(NOTED)), known) == set()


def test_what_was_found_is_counted_once(view: View) -> None:
    """Counts are by text, however often a document is walked, and hold nothing of it."""
    used = scope()
    view.reveal(bundle("document", HEAD, of(ANN), of(BO), of(CY), of(NOTED)), used)
    total = sum(sum(found.values()) for found in used.scrubbed.values())
    assert total == 5
    assert {kind for found in used.scrubbed.values() for kind in found} == {"NAME", "DATE"}


def test_no_text_of_generated_documents_names_the_person(tmp_path: Path) -> None:
    """With every text of every type scrubbed, no name, number, phone or street line of the patient
    stands in what shows of documents and messages, file names and displays among them."""
    base = (POLICIES / "case-report.toml").read_text("utf-8")
    kinds = re.findall(r'^"(\w+)" +?= "keep"', base, re.MULTILINE)
    lines = "\n".join(f'"{kind}" = "keep"' for kind in kinds)
    file = tmp_path / "researcher-limited.toml"
    file.write_text(POLICY.partition("[elements]")[0] + f"[elements]\n{lines}\n[datatypes]\n"
                    'string = "scrub"\nmarkdown = "scrub"\n"Annotation.text" = "scrub"\n')
    view, found = compile_view(load_policy(file)), 0
    for case in cases(4, 3, base=UPSTREAM):
        story = case.story
        for stored in case.bundles:
            used, document = scope(), decode(encode(stored))
            assert isinstance(document, dict)
            shown = json.dumps(json.loads(encode(view.reveal(document, used))))
            for secret in (story.family, story.given, story.mrn, story.ssn, story.phone(1),
                           story.street):  # fmt: skip
                assert secret.lower() not in shown.lower(), (stored["type"], secret)
            found += sum(sum(each.values()) for each in used.scrubbed.values())
    assert found > 100


def test_no_shipped_policy_relies_on_it() -> None:
    """No policy of the product scrubs: what is known of a case is not all that identifies."""
    for policy in load_directory(POLICIES).values():
        assert "scrub" not in {method.name for method in policy.methods}, policy.name


def test_the_loader_warns(tmp_path: Path) -> None:
    """Whoever scrubs is told what stays."""
    file = tmp_path / "scrubbed.toml"
    file.write_text(POLICY)
    found = [w for w in read_policies([file]).warnings if "scrub" in w.what]
    assert [w.line for w in found] == [20, 23]
    assert all("names of others stay" in w.what for w in found)
