"""Resources that no FHIR server should send: made by damaging good ones in one to four places."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from hypothesis import strategies as st

from proxy.demo.generator import cases
from proxy.fhir.codec import Fragment, decode, encode

Draw = Callable[[st.SearchStrategy[Any]], Any]

# Values that stand where something else belongs.
WRONG: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**30,
    Fragment("1.50"),
    "",
    " ",
    "text",
    "2018-13-45",
    "1931-05-05",
    "2020-02-29T10:00:00Z",
    "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
    [],
    {},
    [None],
    [[]],
    [{}],
    [[{"a": 1}]],
    {"value": {}},
    {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason"}]},
    {
        "extension": [
            {
                "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                "valueCode": "unknown",
            }
        ]
    },
    {"reference": "#c1"},
    {"reference": "Patient/1/_history/2", "display": "Eve", "type": "Patient"},
    {"reference": "http://other.example/fhir/Patient/1"},
    {"system": "http://loinc.org", "code": "8480-6", "display": "x"},
    {"resourceType": "Patient", "id": "1", "birthDate": "1931-05-05"},
    {"resourceType": "FutureThing"},
)
EXTENSIONS: tuple[Any, ...] = (
    {"url": "http://example.org/unknown", "valueString": "text"},
    {
        "url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
        "extension": [
            {"url": "ombCategory", "valueCoding": {"system": "http://loinc.org", "code": "x"}},
            {"url": "text", "valueString": "text"},
            {"url": "http://example.org/absolute", "valueString": "text"},
        ],
    },
    {
        "url": "http://hl7.org/fhir/us/ecr/StructureDefinition/us-ph-address-extension",
        "valueAddress": {"line": ["1 Main St"], "state": "GA", "postalCode": "03601"},
    },
    {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex", "valueCode": "F"},
    {"url": 17, "valueString": "text"},
    "text",
)
BASE = "http://upstream.example/fhir"
NAMES = ("favouriteColour", "valueString", "_value", "extension", "modifierExtension", "id", "_id")


@cache
def seeds() -> tuple[Any, ...]:
    """Good resources of every type that the generator makes, and one document of each kind."""
    found: dict[str, Any] = {}
    for case in cases(3, 11, base=BASE):
        for resource in case.resources:
            found.setdefault(str(resource["resourceType"]), resource)
        for bundle in case.bundles:
            entries = bundle["entry"]
            assert isinstance(entries, list)
            small = {**bundle, "entry": [*entries[:4], *entries[-2:]]}
            found.setdefault(f"{bundle['type']} {case.story.style}", small)
    return tuple(decode(encode(r)) for r in found.values())


def mangle(draw: Draw, resource: Any) -> Any:
    """``resource`` with one to four places changed, in place."""
    for _ in range(draw(st.integers(1, 4))):
        spots = list(places(resource))
        holder, key = spots[draw(st.integers(0, len(spots) - 1))]
        draw(st.sampled_from(CHANGES))(draw, holder, key)
    return resource


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every member and item below ``value``: its holder and its key."""
    keys = range(len(value)) if isinstance(value, list) else list(value)
    for key in keys:
        if key == "resourceType":
            continue
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def replace(draw: Draw, holder: Any, key: Any) -> None:
    holder[key] = copy.deepcopy(draw(st.sampled_from(WRONG)))


def wrap(draw: Draw, holder: Any, key: Any) -> None:
    holder[key] = [holder[key]]


def unwrap(draw: Draw, holder: Any, key: Any) -> None:
    if isinstance(holder[key], list) and holder[key]:
        holder[key] = holder[key][0]


def add(draw: Draw, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[draw(st.sampled_from(NAMES))] = copy.deepcopy(draw(st.sampled_from(WRONG)))
    else:
        holder.insert(key, copy.deepcopy(draw(st.sampled_from(WRONG))))


def extend(draw: Draw, holder: Any, key: Any) -> None:
    if not isinstance(holder, dict) or str(key).startswith("_"):
        return
    item = copy.deepcopy(draw(st.sampled_from(EXTENSIONS)))
    value = holder[key]
    name = draw(st.sampled_from(("extension", "extension", "modifierExtension")))
    if isinstance(value, dict):
        value.setdefault(name, [])
        if isinstance(value[name], list):
            value[name].append(item)
    elif isinstance(value, list):
        holder["_" + key] = [{"extension": [item]}]
    else:
        holder["_" + key] = {"extension": [item]}


def leave_sibling(draw: Draw, holder: Any, key: Any) -> None:
    if isinstance(holder, dict) and not isinstance(holder[key], dict):
        del holder[key]
        holder["_" + str(key).lstrip("_")] = copy.deepcopy(
            draw(st.sampled_from([w for w in WRONG if isinstance(w, dict)]))
        )


def rename(draw: Draw, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[draw(st.sampled_from((str(key) + "x", "_" + str(key), *NAMES)))] = holder.pop(key)


CHANGES = (replace, replace, wrap, unwrap, add, extend, leave_sibling, rename)
