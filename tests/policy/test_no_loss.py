"""What a policy permits comes out complete and exact; what identifies comes out nowhere."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.generator import cases
from proxy.fhir.codec import decode, encode
from tests.footprints import FILES
from tests.oracle_ages import reads_as_day
from tests.oracle_facts import is_under
from tests.tripwire import find_leaks, identifying_values, items, strings
from tests.views import (
    EPI,
    RESTRICTED,
    UPSTREAM,
    Case,
    comparable,
    examples,
    find_policy,
    find_view,
)

# Words that are names of persons in an example and also words of FHIR or of its code systems.
WORDS = frozenset(
    {"encounter", "registered", "author", "assigned", "recipient", "information", "usual"}
)
AGENCY = frozenset({"RR7", "RR8", "RR12"})


def test_identity_view_gives_every_example_as_it_is(shared: Path) -> None:
    """The investigator's view changes no byte inside a resource."""
    for _, resource in examples(shared):
        shown = find_view("investigator").reveal(resource, Case("investigator").scope())
        assert encode(shown) == encode(resource)


@pytest.mark.parametrize("policy", [*RESTRICTED, EPI])
def test_permitted_elements_are_complete_and_exact(policy: str, shared: Path) -> None:
    """Every value at a path that the reviewed footprint shows comes out: all of them, in their
    order, numbers digit by digit. Only codes of systems that the policy does not list stay back,
    and resources that its rows do not have."""
    permitted = shown_paths(policy)
    lost = []
    for name, resource in [*examples(shared), *generated()]:
        for single in singles(resource):
            revealed = Case(policy).reveal(single)
            if revealed is None and find_view(policy).limits(single["resourceType"]):
                continue
            stored, shown = by_path(policy, single), by_path(policy, revealed)
            for path in stored.keys() & permitted:
                banded = shown.get(path.rpartition(".")[0] + ".comparator") == [">="]
                malformed = path.endswith("Quantity.value") and ("boolean", True) in stored[path]
                # Two others write a day as a number.
                malformed |= path.endswith("Quantity.value") and any(
                    map(reads_as_day, stored[path])
                )
                # Two published examples write a list where R4 has one identifier.
                malformed |= path.startswith("Composition.identifier.") and isinstance(
                    single.get("identifier"), list
                )
                if stored[path] != shown.get(path, []) and not banded and not malformed:
                    lost.append(f"{name} {path}: {stored[path]} | {shown.get(path)}"[:300])
    assert lost == []


@pytest.mark.parametrize("policy", RESTRICTED)
def test_no_identifying_value_of_a_person_comes_out(policy: str, shared: Path) -> None:
    """Names, identifiers, telecoms, street lines and ids of every person in every example, and for
    the de-identified view birth dates, occur nowhere, in no encoding (R-TC-11)."""
    found = {}
    for name, resource in [*examples(shared), *generated()]:
        secrets = identifying_values(resource, dates=policy == "researcher-deidentified")
        secrets -= WORDS | public_values(resource)
        if find_policy(policy).document:
            secrets -= facility_values(resource)
        leaks = find_leaks(Case(policy).reveal(resource), secrets)
        if leaks:
            found[name] = leaks
    assert found == {}


def test_tripwire_finds_what_is_planted() -> None:
    """The search itself finds a name in base64, percent signs, entities and JSON escapes."""
    for hidden in (
        "RXZlIEV2ZXJ5d29tYW4gd2FzIGhlcmU=",
        "%45%76%65%72%79%77%6f%6d%61%6e",
        "&#69;verywoman",
        "\\u0045verywoman",
        "a/Everywoman/1999",
    ):
        assert find_leaks({"id": hidden}, {"everywoman"}) == {"everywoman"}
    assert find_leaks({"id": "neverywoman"}, {"everywoman"}) == set()


def generated() -> Iterator[tuple[str, Any]]:
    for case in cases(3, 5, base=UPSTREAM):
        for resource in (*case.bundles, *case.resources):
            yield f"{resource['resourceType']}/{resource['id']}", decode(encode(resource))


def singles(resource: Any) -> Iterator[Any]:
    """The resource itself, or those inside a Bundle, each alone."""
    if resource.get("resourceType") != "Bundle":
        yield resource
        return
    for entry in items(resource, "entry"):
        if isinstance(entry.get("resource"), dict):
            yield from singles(entry["resource"])


def shown_paths(policy: str) -> frozenset[str]:
    """The plain paths that the footprint always shows, of types that a read shows."""
    lines = (FILES / f"{policy}.txt").read_text().splitlines()
    paths = (line.removeprefix("shown ") for line in lines if line.startswith("shown "))
    found = frozenset(p for p in paths if not re.search(r"[(_]|^Bundle\.", p))
    if find_policy(policy).document:  # alone, no document tells what an Organization is
        found = frozenset(p for p in found if find_view(policy).lens(p).kind != "hidden")
    return found


def by_path(policy: str, resource: Any) -> dict[str, list[Any]]:
    """The values of a resource by path, in order; codes of unlisted systems left out, and values
    of the wrong JSON type or marked as absent."""
    found: dict[str, list[Any]] = defaultdict(list)
    codes = find_policy(policy).codes
    assert codes is not None

    def walk(value: Any, path: str) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item, path)
        elif isinstance(value, dict):
            system = value.get("system")
            listed = isinstance(system, str) and any(is_under(system, c) for c in codes)
            for key, item in value.items():
                if key in ("contained", "meta", "extension", "text") or key[0] == "_":
                    continue
                coded = key in ("system", "code", "userSelected") and "code" in value
                if coded and isinstance(value["code"], str) and not listed and path.count("."):
                    continue
                walk(item, f"{path}.{key}")
        else:
            found[path].append(comparable(value))

    if isinstance(resource, dict):
        walk(resource, str(resource.get("resourceType")))
    return dict(found)


def facility_values(resource: Any) -> set[str]:
    """What the guide keeps of facilities, and the NPI of providers, which may be their own; one
    example has the system of NPIs for a value."""
    found = {"http://hl7.org/fhir/sid/us-npi"}
    for single in singles(resource):
        kind = single.get("resourceType")
        if kind in ("Organization", "Location"):
            shown = [single.get("name"), *(t.get("value") for t in items(single, "telecom"))]
            shown += [i.get("value") for i in items(single, "identifier")]
            for address in items(single, "address"):
                shown += strings(address.get("line"))
            for text in strings(shown):
                found |= {text.lower(), *re.findall(r"[^\W\d_]+", text.lower())}
        if kind in ("Practitioner", "PractitionerRole"):
            npi = (i for i in items(single, "identifier") if "npi" in str(i.get("system")))
            found |= {v.lower() for i in npi for v in strings(i.get("value"))}
    return found


def public_values(resource: Any) -> set[str]:
    """Names and telecoms of the public health agencies of a response, which are meant to show."""
    found: set[str] = set()
    for single in singles(resource):
        codes = {c.get("code") for t in items(single, "type") for c in items(t, "coding")}
        if single.get("resourceType") == "Organization" and codes & AGENCY:
            for name in strings(single.get("name")):
                found |= {w.lower() for w in re.findall(r"[^\W\d_]+", name)}
            for telecom in items(single, "telecom"):
                found |= {v.lower() for v in strings(telecom.get("value"))}
    return found
