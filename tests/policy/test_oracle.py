"""The compiled walk shows exactly what the slow evaluator shows: two readings of one language."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.demo.generator import cases
from proxy.fhir.codec import decode, encode
from tests.mangling import mangle, seeds
from tests.views import (
    EPI,
    RESTRICTED,
    UPSTREAM,
    Case,
    comparable,
    differences,
    examples,
    find_view,
)

POLICIES = (
    *RESTRICTED, EPI, "predicates", "members", "narrow", "rows", "sections", "standins",
    "shifts", "narrated",
)  # fmt: skip
FUZZED = settings(
    max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


def disagreements(policy: str, resource: Any) -> list[str]:
    """Where walk and oracle differ over the resource, as ``path: walk | oracle``."""
    case = Case(policy)
    walked = case.reveal(copy.deepcopy(resource))
    return list(differences(comparable(walked), comparable(case.reveal_slowly(resource))))


@pytest.mark.parametrize("policy", POLICIES)
def test_walk_equals_oracle_over_examples(policy: str, shared: Path) -> None:
    """Every published example shows the same, number text and array order included."""
    found = {
        name: list(wrong)[:3]
        for name, resource in examples(shared)
        if (wrong := disagreements(policy, resource))
    }
    assert found == {}


@pytest.mark.parametrize("policy", POLICIES)
def test_walk_equals_oracle_over_generated_cases(policy: str) -> None:
    """The generator's documents and resources, which hold every R4 datatype, show the same."""
    found = {
        f"{resource['resourceType']}/{resource.get('id')}": wrong[:3]
        for resource in generated()
        if (wrong := disagreements(policy, resource))
    }
    assert found == {}


def test_walk_equals_oracle_where_sections_hide_in_any_bundle(shared: Path) -> None:
    """What documents hold shows the same, and less of it, in Bundles of every other type, beside
    other documents and around them."""
    documents: list[Any] = [r for _, r in examples(shared) if r.get("type") == "document"]
    documents = sorted(documents, key=lambda r: len(r["entry"]))[:20]
    lost = 0
    for kind, one, two in zip(
        ("message", "batch", "collection", "searchset") * 5, documents, documents[::-1], strict=True
    ):
        inside = {"fullUrl": "urn:uuid:6a3f0a4e-6c0a-4f0e-9d3d-3f4f2d0b6a11", "resource": two}
        made = {**one, "type": kind, "entry": [inside, *one["entry"], *two["entry"][1:9]]}
        assert disagreements("sections", made) == []
        lost += len(made["entry"]) - len(Case("sections").reveal(made)["entry"])
    assert lost > 100


def test_walk_equals_oracle_over_parameters() -> None:
    """What Parameters hold, Bundles among it, shows the same; a resource that does not exist for
    the caller is in neither."""
    held: list[Any] = [r for r in generated() if r["resourceType"] not in ("Binary", "Media")]
    parts = [{"name": "p", "part": [{"name": "q", "resource": r}]} for r in held]
    both: list[Any] = [
        {"resourceType": "Parameters", "id": "p", "parameter": parts},
        {"resourceType": "Parameters", "parameter": [{"name": "p", "resource": r} for r in held]},
    ]
    both.append({"resourceType": "Bundle", "id": "b", "type": "collection",
                 "entry": [{"fullUrl": f"{UPSTREAM}/Parameters/p", "resource": both[0]}]})
    for resource in both:
        assert disagreements("rows", resource) == []
        shown = json.dumps(comparable(Case("rows").reveal(resource)))
        assert shown.count("resourceType") > 50
        assert "resource\": {}" not in shown


@pytest.mark.parametrize("policy", POLICIES)
@FUZZED
@given(st.data())
def test_walk_equals_oracle_over_mangled_resources(policy: str, data: st.DataObject) -> None:
    """Wrong JSON types, unknown elements, odd nesting, nulls in arrays, siblings alone: the walk
    neither fails nor shows anything else than the oracle."""
    resource = mangle(data.draw, copy.deepcopy(data.draw(st.sampled_from(seeds()))))
    wrong = disagreements(policy, resource)
    assert wrong == [], json.dumps(resource, default=str)[:4000]


@pytest.mark.parametrize("policy", RESTRICTED)
def test_revealing_leaves_the_source_untouched(policy: str) -> None:
    """A reveal changes nothing in what it was given."""
    for resource in generated()[:40]:
        before = encode(resource)
        Case(policy).reveal(resource)
        assert encode(resource) == before


@pytest.mark.parametrize("policy", POLICIES)
def test_two_reveals_are_equal(policy: str) -> None:
    """The same resource shows the same, whatever was revealed before it."""
    resources = generated()
    first = [comparable(Case(policy).reveal(r)) for r in resources]
    second = [comparable(Case(policy).reveal(r)) for r in reversed(resources)]
    assert first == second[::-1]
    assert find_view(policy).name == policy


@cache
def generated() -> list[Any]:
    """Two cases: their Bundles and single resources, as the upstream would send them."""
    return [
        decode(encode(resource))
        for case in cases(3, 7, base=UPSTREAM)
        for resource in (*case.bundles, *case.resources)
    ]
