"""Containers and invalid shapes of real case reports, through every shipped policy: nothing breaks,
nothing hidden comes out, and nothing that shows is lost."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest

from proxy.__main__ import main
from proxy.demo.generator import cases
from proxy.fhir.codec import decode, encode
from tests.documents import served, shown_by
from tests.policy.test_documents import DEIDENTIFYING, private
from tests.policy.test_no_loss import WORDS, public_values
from tests.rig import PROJECT, PUBLIC, embedded, running
from tests.tripwire import find_leaks, identifying_values
from tests.views import CLAIMS, EPI, UPSTREAM, comparable

Change = Callable[[Any], None]
ANONYMIZED = "ecr-anonymized"
# What a policy makes of who something is about: dates that moved, stand-ins, names of things.
_MADE = re.compile(r"^\d{4}(-\d\d.*)?$|^urn:uuid:.*|(?<=^StudySubject-).*|(?<=^StudyProvider-).*")
UNKNOWN = {
    "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
    "valueCode": "unknown",
}


@cache
def stored() -> Any:
    """A document with its report, what the report is answered with, and a message around both."""
    (case,) = cases(1, 5, base=UPSTREAM)
    return [decode(encode(bundle)) for bundle in case.bundles]


def report() -> Any:
    return copy.deepcopy(stored()[0])


def resources(document: Any, type_: str = "") -> list[Any]:
    held = [e["resource"] for e in document["entry"] if "resource" in e]
    return [r for r in held if not type_ or r["resourceType"] == type_]


def references(value: Any) -> list[Any]:
    """Every Reference with a literal reference."""
    if isinstance(value, list):
        return [r for item in value for r in references(item)]
    if not isinstance(value, dict):
        return []
    own = [value] if isinstance(value.get("reference"), str) else []
    return own + [r for item in value.values() for r in references(item)]


def _message() -> Any:
    return copy.deepcopy(stored()[2])


def _report_in_answer() -> Any:
    """The Reportability Response whose entry is the report itself, as a Bundle."""
    made, inner = copy.deepcopy(stored()[1]), report()
    for section in made["entry"][0]["resource"]["section"]:
        if section["code"]["coding"][0]["code"] == "88082-3":
            section["entry"][0]["reference"] = f"Bundle/{inner['id']}"
    url = f"{UPSTREAM}/Bundle/{inner['id']}"
    made["entry"].append({"fullUrl": url, "resource": inner})
    return made


def _name_by_uuid(document: Any) -> dict[str, str]:
    """Give the entries ``urn:uuid:`` fullUrls; by which they were referred to, by what they are."""
    names = {}
    for entry in document["entry"]:
        name = f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
        names[name] = uuid5(NAMESPACE_URL, name).urn
        entry["fullUrl"] = names[name]
    return names


def _uuids(document: Any) -> None:
    names = _name_by_uuid(document)
    for found in references(document):
        found["reference"] = names.get(found["reference"], found["reference"])


def _batch(document: Any) -> None:
    document["type"] = "batch"
    for entry in document["entry"]:
        held = entry["resource"]
        held["confidence"] = "N"
        entry["request"] = {"method": "PUT", "url": f"{held['resourceType']}/{held['id']}"}
    _name_by_uuid(document)


def _transaction(document: Any) -> None:
    _uuids(document)
    document["type"] = "transaction"
    for entry in document["entry"]:
        del entry["resource"]["id"]
        entry["request"] = {"method": "POST", "url": entry["resource"]["resourceType"]}


def _source_arrays(document: Any) -> None:
    for held in resources(document):
        held.setdefault("meta", {}).update(source=["ecr"], tag={"code": "x"}, profile="http://x")


def _identifier_array(document: Any) -> None:
    composition = document["entry"][0]["resource"]
    composition["identifier"] = [composition["identifier"]]


def _no_ids(document: Any) -> None:
    for held in resources(document):
        del held["id"]


def _no_names(document: Any) -> None:
    _uuids(document)
    _no_ids(document)


def _no_full_urls(document: Any) -> None:
    for entry in document["entry"]:
        del entry["fullUrl"]


def _dangling(document: Any) -> None:
    document["entry"] = [
        e for e in document["entry"] if e["resource"]["resourceType"] != "ServiceRequest"
    ]


def _no_reference(document: Any) -> None:
    odd = [{}, {"display": "Marker"}, {"type": "Patient"}, {"reference": None}, "Marker", None, 7,
           {"reference": {"reference": "Patient/Marker"}}, {"identifier": {"value": "Marker"}},
           {"reference": ""}, {"reference": "Marker"}, {"reference": "#Marker"}]  # fmt: skip
    for held in resources(document, "Observation"):
        held.setdefault("derivedFrom", []).extend(copy.deepcopy(odd))


def _two_patients(document: Any) -> None:
    other = copy.deepcopy(resources(document, "Patient")[0])
    other["id"], other["name"] = "patient-second-marker", [{"family": "Markerson"}]
    url = f"{UPSTREAM}/Patient/{other['id']}"
    document["entry"].append({"fullUrl": url, "resource": other})


def _reason_beside_value(document: Any) -> None:
    for held in resources(document, "Patient"):
        held["_birthDate"] = {"extension": [UNKNOWN]}
        held["_gender"] = {"extension": [UNKNOWN]}
        held["name"][0]["_family"] = {"extension": [UNKNOWN]}
        held["telecom"][0]["_value"] = {"extension": [UNKNOWN]}


def _empty_codings(document: Any) -> None:
    odd: list[Any] = [[{}], [], [None], None, {}, "Marker", [{"extension": [UNKNOWN]}],
                      [{"code": "Marker"}], [{"display": "Marker"}]]  # fmt: skip
    for held, coding in zip(resources(document, "Observation"), odd, strict=False):
        held["code"] = {"coding": coding}


def _odd_entries(document: Any) -> None:
    odd: list[Any] = [
        None, "Marker", [], {}, {"resource": None}, {"resource": "Marker"}, {"resource": {}},
        {"resource": {"resourceType": ["Patient"], "id": "Marker"}}, {"fullUrl": "Marker"},
        {"fullUrl": 7, "resource": {"resourceType": "Marker", "id": "Marker"}},
    ]  # fmt: skip
    document["entry"] += odd


def _odd_codes(document: Any) -> None:
    odd: list[Any] = [["replaces"], {"a": "replaces"}, 7]
    composition = document["entry"][0]["resource"]
    composition["relatesTo"] = [
        {"code": code, "targetIdentifier": {"value": "Marker"}} for code in odd
    ]
    for entry, url in zip(document["entry"], odd, strict=False):
        entry["request"] = {"method": "PUT", "url": url}
    codings = [{"system": system, "code": "Marker"} for system in odd]
    for section in composition["section"]:
        section["code"]["coding"] += codings
    composition["type"]["coding"] += codings


# What is changed, and the types whose resources then show something else.
CHANGES: dict[str, tuple[Change, frozenset[str]]] = {
    "as it is": (lambda _: None, frozenset()),
    "urn:uuid names": (_uuids, frozenset()),
    "a converter's batch": (_batch, frozenset()),
    "a transaction without ids": (_transaction, frozenset()),
    "meta.source is an array": (_source_arrays, frozenset()),
    "Composition.identifier is an array": (_identifier_array, frozenset({"Composition"})),
    "Resource.id is missing": (_no_ids, frozenset()),
    "nothing but urn:uuid names": (_no_names, frozenset()),
    "no fullUrl": (_no_full_urls, frozenset()),
    "dangling references": (_dangling, frozenset({"ServiceRequest"})),
    "references without reference": (_no_reference, frozenset({"Observation"})),
    "two Patients": (_two_patients, frozenset({"Patient"})),
    "a reason beside a value": (_reason_beside_value, frozenset({"Patient"})),
    "empty codings": (_empty_codings, frozenset({"Observation"})),
    "codes and URLs that are no strings": (_odd_codes, frozenset({"Composition"})),
    "entries without resource": (_odd_entries, frozenset()),
}


def change(name: str) -> Any:
    """The report in one of the shapes."""
    made = report()
    CHANGES[name][0](made)
    return made


def content(value: Any) -> Any:
    """What a resource says, but for how it and others are named, and when."""
    if isinstance(value, list):
        return [content(item) for item in value]
    if isinstance(value, str):
        return _MADE.sub("made", value)
    if not isinstance(value, dict):
        return value
    named = ("id", "reference", "fullUrl", "request")
    return {k: content(v) for k, v in comparable(value).items() if k not in named}


def said(shown: Any, but: frozenset[str] = frozenset()) -> list[Any]:
    """The contents of a Bundle's entries, but for those of some types."""
    held = [e["resource"] for e in (shown or {}).get("entry", [])]
    return [content(r) for r in held if r["resourceType"] not in but]


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("policy", served())
def test_shapes_show_what_the_report_shows(policy: str, name: str) -> None:
    """A report in another shape shows what it shows in its own, entry by entry, and as many of the
    resources that are changed; nothing that is hidden there."""
    made, but = change(name), CHANGES[name][1]
    if policy == EPI and made["type"] != "document":
        assert shown_by(policy, made) is None  # its rows are documents
        return
    shown, plain = shown_by(policy, made), shown_by(policy, report())
    if policy == ANONYMIZED and made["type"] != "document":
        plain = shown_by(policy, {**report(), "type": made["type"]})  # its profile is of documents
    assert said(shown, but) == said(plain, but)
    if name not in ("dangling references", "two Patients"):
        assert len(said(shown)) == len(said(plain))
    assert "arker" not in json.dumps(comparable(shown)) or policy not in DEIDENTIFYING


@pytest.mark.parametrize("policy", DEIDENTIFYING)
def test_shapes_name_nobody(policy: str) -> None:
    """In no shape does a name, number, address or id of a patient or a relative come out."""
    for name in CHANGES:
        made = change(name)
        secrets = set().union(*map(identifying_values, private(made)))
        shown = shown_by(policy, made)
        assert find_leaks(shown, secrets - WORDS - public_values(made)) == set(), name


@pytest.mark.parametrize("policy", served())
def test_a_bundle_in_a_bundle_shows_as_by_itself(policy: str) -> None:
    """The report in a message, and in the Reportability Response that answers it, shows what it
    shows by itself; so does what is around it."""
    alone, answer = shown_by(policy, report()), shown_by(policy, stored()[1])
    for made, around in ((_message(), None), (_report_in_answer(), answer)):
        shown = shown_by(policy, made)
        assert (shown is None) == (alone is None or (policy == EPI and made["type"] == "message"))
        if shown is None:
            continue
        held = [e["resource"] for e in shown["entry"]]
        inside = [r for r in held if r["resourceType"] == "Bundle"]
        assert [content(r) for r in inside] == [content(alone)]
        if around:
            outside = said(shown, frozenset({"Bundle", "Composition"}))
            lost = frozenset({"DocumentReference", "Composition"})
            assert [r for r in outside if r["resourceType"] not in lost] == said(around, lost)


async def test_shapes_show_the_same_stored_and_offline(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Each shape, stored on an upstream, is read as ``ecr-proxy view`` shows it from a file."""
    bundles = [*map(change, CHANGES), _message(), _report_in_answer()]
    for number, made in enumerate(bundles):
        made["id"] = f"shape-{number}"
    file, keys = tmp_path / "shapes.ndjson", tmp_path / "keys.json"
    file.write_bytes(b"\n".join(map(encode, bundles)))
    roles = sorted({*served(), "investigator"} - {"public"})
    claims = dict.fromkeys(roles, CLAIMS)
    store = [json.loads(encode(made)) for made in bundles]
    async with running(embedded(store), tmp_path, roles=roles, claims=claims) as rig:
        for role in roles:
            main(["view", "--policy", role, "--keys", str(keys), "--project", PROJECT,
                  "--upstream", rig.upstream, "--alias", "https://ehr.example.org/fhir",
                  "--public", PUBLIC, "--claims", json.dumps(CLAIMS), str(file)])  # fmt: skip
            lines = map(json.loads, capsysbinary.readouterr().out.splitlines())
            offline, read = {}, {}
            for line in lines:  # the upstream says when it stored what
                offline[line["id"]] = {**line, "meta": None}
            for made in bundles:
                shown = await rig.ask(role, f"/Bundle/{rig.id(role, 'Bundle', made['id'])}")
                assert shown.status in (200, 404)
                if shown.status == 200:
                    whole = json.loads(shown.body)
                    read[whole["id"]] = {**whole, "meta": None}
            assert read == offline
            # The second of the two stages takes what the first one made.
            assert len(read) >= (0 if role == "stage2-anonymized" else len(bundles) - 4)
