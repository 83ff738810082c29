"""Generated documents, hundreds if asked for: nothing that a policy hides comes out of any."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.markers import Leaf, leaves, marker, plant
from proxy.fhir.codec import Json, encode
from proxy.lenses.dates import DATES
from tests.documents import generated, served, shown_by
from tests.footprints import name_path, reviewed, text_of
from tests.policy.test_no_loss import WORDS, public_values, singles
from tests.tripwire import find_leaks, identifying_values, items, persons, strings
from tests.views import EPI, examples, find_policy

BIRTH_DATE = "Patient.birthDate"
# The epidemiologist works with names, and the public sees no document.
DEIDENTIFYING = tuple(p for p in served() if p not in (EPI, "public"))


@pytest.mark.parametrize("policy", served())
def test_no_hidden_marker_comes_out(policy: str) -> None:
    """With a marker at every leaf at once (in every other document codes stay, since predicates and
    rows look at them), only those come out whose path the reviewed footprint says to show."""
    looked, came, wrong = 0, 0, set()
    moved = moves_dates(policy)
    for number, (name, document) in enumerate(generated()):
        planted = plant(document, mark_values if number % 2 else marker)
        shown = shown_by(policy, planted.resource)
        looked += 1
        if shown is None:
            continue
        text = encode(shown)
        known = reviewed(policy)
        for leaf in leaves(document):
            made = planted.markers.get(leaf.place)
            if made is None or isinstance(made, bool):
                continue
            if leaf.type in DATES and moved:
                continue  # a day that moved may be the marker of another leaf
            if text_of(made) in text:
                came += 1
                path = name_path(document, leaf)
                if "shown" not in known.get(path, ()):
                    wrong.add(f"{name} {path}")
    assert not wrong
    assert looked
    assert came or policy == "public"


@pytest.mark.parametrize("policy", DEIDENTIFYING)
def test_nobody_is_named(policy: str) -> None:
    """No name, number, telecom, street line or id, nor a hidden birth date, of a patient, a
    relative or a contact stands anywhere in what is shown of generated documents, in whatever
    encoding."""
    assert name_persons(policy, generated()) == {}


@pytest.mark.parametrize("policy", DEIDENTIFYING)
def test_nobody_is_named_in_examples(policy: str, shared: Path) -> None:
    """Nor in what is shown of the published examples."""
    assert name_persons(policy, examples(shared)) == {}


def name_persons(policy: str, resources: Iterable[tuple[str, Any]]) -> dict[str, set[str]]:
    """What names a person in what is shown of each resource."""
    found = {}
    hides_birth = "shown" not in reviewed(policy).get(BIRTH_DATE, ())
    places = "shown" in reviewed(policy).get("Organization.identifier.value", ())
    looked = 0
    for name, resource in resources:
        secrets = set[str]()
        for person in private(resource):
            secrets |= identifying_values(person, dates=hides_birth)
        looked += len(secrets)
        known = WORDS | public_values(resource) | (of_places(resource) if places else set())
        leaks = find_leaks(shown_by(policy, resource), secrets - known)
        if leaks:
            found[name] = leaks
    assert looked
    return found


def of_places(resource: Any) -> set[str]:
    """Numbers and telecoms of organizations, some of which a published example gives to its patient
    too."""
    held = [r for r in singles(resource) if r.get("resourceType") == "Organization"]
    return {
        value.lower()
        for organization in held
        for key in ("identifier", "telecom")
        for item in items(organization, key)
        for value in strings(item.get("value"))
    }


def mark_values(leaf: Leaf) -> Json:
    """A marker, but at what decides whether other things show."""
    decides = leaf.type in ("code", "uri") or leaf.path.endswith(".state")
    return None if decides else marker(leaf)


def private(document: Any) -> list[Any]:
    """The patients and relatives in a document, contacts with them: who provides care is public."""
    return [p for p in persons(document) if p.get("resourceType") not in (None, "Practitioner")]


def moves_dates(policy: str) -> bool:
    """Whether dates are shown as other dates."""
    return any(method.name == "shift" for method in find_policy(policy).methods)
