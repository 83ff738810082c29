"""The generator: fictional cases that look like real case reports, the same for the same seed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.demo import ersd
from proxy.demo.everything import URL, any_value
from proxy.demo.generator import Case, cases, data_set, entries
from proxy.demo.names import SECTIONS
from proxy.demo.story import draw
from proxy.fhir.codec import decode, encode
from proxy.fhir.r4 import TYPES
from proxy.fhir.structure import RESOURCES, properties

BASE = "http://upstream.example.org/fhir"
# Sections that every eICR has (eICR 2.1, Composition slices with cardinality 1..1).
REQUIRED = {"29299-5", "10154-3", "10164-2", "11450-4", "29549-3", "30954-2", "29762-2"}
# Every path at which a published example has a value, without indices, sorted.
LEAF_PATHS = Path(__file__).with_name("leaf-paths.txt")


@pytest.fixture(scope="module")
def six() -> list[Case]:
    return list(cases(6, base=BASE))


def plain(resource: Any) -> Any:
    """As a client reads it."""
    return json.loads(encode(resource))


def leaf_paths(value: Any, path: str = "") -> Iterator[str]:
    """Paths of all primitive values, without indices, from the nearest resource's type."""
    if isinstance(value, dict):
        path = value.get("resourceType", path)
        for key, item in value.items():
            if key != "resourceType":
                yield from leaf_paths(item, f"{path}.{key}")
    elif isinstance(value, list):
        for item in value:
            yield from leaf_paths(item, path)
    elif value is not None:
        yield path


def everything(found: list[Case]) -> list[Any]:
    return [plain(r) for case in found for r in (*case.resources, *case.bundles)]


def test_a_seed_gives_the_same_cases_and_another_seed_gives_others() -> None:
    """The same arguments give the same bytes; a prefix of more cases is the same as fewer."""

    def written(count: int, seed: int) -> list[bytes]:
        return [encode(resource) for resource in data_set(cases(count, seed, base=BASE))]

    assert written(4, 7) == written(4, 7)
    assert set(written(2, 7)) < set(written(4, 7))
    assert written(4, 7) != written(4, 8)


@pytest.mark.parametrize("number", range(6))
def test_an_eicr_has_its_sections_25_entries_and_14_types(six: list[Case], number: int) -> None:
    """The Composition comes first and has all sections; each entry's resource is one of 14
    types."""
    found = plain(six[number].eicr)
    composition = found["entry"][0]["resource"]
    codes = {s["code"]["coding"][0]["code"] for s in composition["section"]}
    assert composition["resourceType"] == "Composition"
    assert codes == {code for code, _ in SECTIONS}
    assert codes >= REQUIRED
    assert all(s["text"]["div"] for s in composition["section"])
    assert len(found["entry"]) == 25
    assert len({e["resource"]["resourceType"] for e in found["entry"]}) == 14


@pytest.mark.parametrize("number", range(6))
def test_a_response_has_two_determinations_about_two_conditions(
    six: list[Case], number: int
) -> None:
    """An RR names its eICR by identifier, and holds two determinations with different codes."""
    found = plain(six[number].rr)
    observations = [
        e["resource"] for e in found["entry"] if e["resource"]["resourceType"] == "Observation"
    ]
    determined = [
        extension["valueCodeableConcept"]["coding"][0]["code"]
        for observation in observations
        for extension in observation.get("extension", ())
        if extension["url"].endswith("us-ph-determination-of-reportability-extension")
    ]
    conditions = {
        o["valueCodeableConcept"]["coding"][0]["code"]
        for o in observations
        if o["code"]["coding"][0]["code"] == "64572001"
    }
    assert determined[0] == "RRVS1"
    assert determined[1] in ("RRVS2", "RRVS3", "RRVS4")
    assert len(conditions) == 2
    [answered] = [
        entry["identifier"]
        for section in found["entry"][0]["resource"]["section"]
        for entry in section.get("entry", ())
        if "identifier" in entry
    ]
    report = plain(six[number].eicr)
    assert answered == report["identifier"] == report["entry"][0]["resource"]["identifier"]


def test_documents_name_their_entries_in_three_ways(six: list[Case]) -> None:
    """Under the upstream, under a sender's base, by UUID without ids; two senders have a
    Patient/1."""
    patients = [plain(entries(case.eicr)[1]) for case in six]
    assert patients[0]["fullUrl"] == f"{BASE}/Patient/{six[0].story.id('Patient', 'patient')}"
    assert patients[1]["fullUrl"] == "https://ehr.example.org/fhir/Patient/1"
    assert patients[4]["fullUrl"] == "https://his.example.net/fhir/Patient/1"
    assert patients[1]["resource"]["name"] != patients[4]["resource"]["name"]
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", patients[2]["fullUrl"])
    for case in (six[2], six[5]):
        assert all("id" not in e["resource"] for e in plain(case.eicr)["entry"])


@pytest.mark.parametrize("number", range(6))
def test_every_entry_is_reached_from_the_composition(six: list[Case], number: int) -> None:
    """No entry of a document hangs loose: forward references from the Composition reach all."""
    for bundle in (plain(six[number].eicr), plain(six[number].rr)):
        by_url = {e["fullUrl"]: e["resource"] for e in bundle["entry"]}
        first = bundle["entry"][0]["fullUrl"]
        base = re.sub(r"[^/]+/[^/]+$", "", first)
        reached, ahead = {first}, [by_url[first]]
        while ahead:
            for target in re.findall(r'"reference": "([^"]+)"', json.dumps(ahead.pop())):
                url = target if ":" in target else base + target
                if url in by_url and url not in reached:
                    reached.add(url)
                    ahead.append(by_url[url])
        assert reached == set(by_url)


def test_some_ids_are_long_some_are_record_numbers_and_some_hold_names(six: list[Case]) -> None:
    """All ids are legal; among them are 41 to 64 characters, record numbers and names."""
    ids = [r["id"] for r in everything(six)]
    assert all(re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", id) for id in ids)
    assert sum(len(id) > 40 for id in ids) > len(ids) / 5
    assert six[1].story.mrn in ids
    assert any(six[0].story.family.lower() in id for id in ids)


def test_ids_do_not_clash_between_cases() -> None:
    """A resource that two cases share is the same in both."""
    seen: dict[tuple[str, str], bytes] = {}
    for case in cases(30, base=BASE):
        for resource in (*case.resources, *case.bundles):
            key = (str(resource["resourceType"]), str(resource["id"]))
            assert seen.setdefault(key, encode(resource)) == encode(resource), key


def test_every_leaf_of_the_examples_is_generated(six: list[Case]) -> None:
    """Each path at which a published eICR or RR example has a value has one in any three
    cases."""
    wanted = set(LEAF_PATHS.read_text().split())
    assert len(wanted) > 800
    for three in (six[:3], six[3:]):
        have = {path for resource in everything(three) for path in leaf_paths(resource)}
        assert wanted - have == set()


def test_the_list_of_leaves_is_that_of_the_examples(shared: Path) -> None:
    """The committed list holds the paths of the examples, no more and no fewer."""
    found = {
        path
        for folder in ("eicr", "rr")
        for file in (shared / "ecr-examples" / "fhir" / folder).glob("*.json")
        for path in leaf_paths(json.loads(file.read_bytes()))
    }
    assert sorted(found) == LEAF_PATHS.read_text().split()


def test_each_datatype_is_once_in_an_extension(six: list[Case]) -> None:
    """All types of Extension.value[x] occur, each under an extension of its own."""
    [value] = [e for e in TYPES["Extension"].elements if e.name == "value[x]"]
    found = any_value(draw(0, 1))
    urls = [extension["url"] for extension in plain(found)]
    assert urls == list(dict.fromkeys(urls))
    assert {url.removeprefix(URL) for url in urls} == set(value.types)
    assert URL + "Timing" in encode(six[0].eicr).decode()


def test_every_element_is_one_that_r4_defines(six: list[Case]) -> None:
    """No misspelt element anywhere."""

    def check(value: Any, type: str, where: str) -> None:
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, dict):
                continue
            inner = item["resourceType"] if item.get("resourceType") in RESOURCES else type
            known = properties(inner)
            for key, part in item.items():
                if key == "resourceType":
                    continue
                assert key.removeprefix("_") in known, f"{where}.{key}"
                check(part, "Element" if key[0] == "_" else known[key].type, f"{where}.{key}")

    for resource in everything(six) + [plain(r) for r in ersd.resources()]:
        check(resource, resource["resourceType"], resource["resourceType"])


def test_what_is_referenced_is_loaded_first(six: list[Case]) -> None:
    """In load order no resource refers to a stored one that comes later, but for the links that
    go both ways, and Bundles come last."""
    order = [plain(resource) for resource in data_set(six)]
    place = {f"{r['resourceType']}/{r['id']}": n for n, r in enumerate(order)}
    both_ways = {"Patient": "RelatedPerson"}
    for number, resource in enumerate(order):
        if resource["resourceType"] == "Bundle":
            continue
        for target in re.findall(r'"reference": "([^"]+)"', json.dumps(resource)):
            if both_ways.get(resource["resourceType"]) == target.partition("/")[0]:
                continue
            assert place.get(target, -1) <= number, (resource["resourceType"], target)
    types = [r["resourceType"] for r in order]
    assert set(types[types.index("Bundle"):]) == {"Bundle"}


def test_people_of_all_ages_and_sparse_areas_occur() -> None:
    """Among thirty cases are children, people older than 89, and ZIP areas that are too small."""
    stories = [case.story for case in cases(30)]
    ages = [(s.visit.date() - s.birth).days // 365 for s in stories]
    assert min(ages) < 16
    assert max(ages) >= 90
    assert {s.place[3][:3] for s in stories} & {"036", "821"}


def test_the_reporting_rules_lead_from_a_trigger_code_to_its_condition() -> None:
    """Each condition is the focus of leaf value sets that hold its codes."""
    bundle = plain(ersd.bundle())
    types = [e["resource"]["resourceType"] for e in bundle["entry"]]
    assert types[:3] == ["Library", "PlanDefinition", "Library"]
    assert "ValueSet" in types
    focus = {
        (c["system"], c["code"]): context["valueCodeableConcept"]["coding"][0]["code"]
        for e in bundle["entry"]
        if e["resource"]["resourceType"] == "ValueSet" and "expansion" in e["resource"]
        for c in e["resource"]["expansion"]["contains"]
        for context in e["resource"]["useContext"]
        if context["code"]["code"] == "focus"
    }
    story = draw(0, 1)
    assert focus["http://loinc.org", story.disease.test[0]] == story.disease.code


def test_decimals_keep_their_digits(six: list[Case]) -> None:
    """What is written as 4.80 is 4.80 in the JSON, and is read back the same."""
    body = encode(six[0].eicr)
    assert b"4.80" in body
    assert encode(decode(body)) == body
