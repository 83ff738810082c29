"""Datasets in which every type holds much that a view may hide, and much to search by.

The generator's cases hold what case reports hold. Here each resource of every second kind is given
what it lacks: a value in each optional element, unlisted extensions, ids on its elements.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

from proxy.demo.everything import complexes, primitives
from proxy.demo.generator import cases, data_set
from proxy.demo.story import draw
from proxy.fhir import match, registry
from proxy.fhir.codec import Json, JsonObject
from proxy.fhir.structure import properties
from tests.noninterference.worlds import UNLISTED

SEED = 11
# Their elements hang together by rules of their own, or they are shown as stored.
WHOLE = frozenset({"Bundle", "ValueSet", "CodeSystem", "Library", "PlanDefinition"})
# A server that checks codes refuses made-up ones; what holds resources or is about storage is left.
_LEFT = frozenset({"code", "boolean", "Resource", "Extension", "Meta", "Narrative", "xhtml", "id"})
_DEPTH = 2


def dataset(base: str, each: int = 4, count: int = 3) -> list[JsonObject]:
    """``each`` resources of a type out of ``count`` cases, every second one grown; in an order in
    which what is referred to comes first."""
    held: dict[str, list[JsonObject]] = {}
    for resource in data_set(cases(count, SEED, base=base)):
        of_type = held.setdefault(str(resource["resourceType"]), [])
        if len(of_type) < (each if resource["resourceType"] not in WHOLE else min(each, 3)):
            of_type.append(resource)
    ids = {t: [str(r["id"]) for r in found] for t, found in held.items()}
    rng = random.Random(SEED)
    return [
        _aged(grow(resource, ids, rng)) if number % 2 == 0 and type_name not in WHOLE else resource
        for type_name, found in held.items()
        for number, resource in enumerate(found)
    ]


def _aged(resource: JsonObject) -> JsonObject:
    """Somebody of more than 90 years, if it is about somebody."""
    for name in ("birthDate", "bornDate"):
        if name in resource:
            return {**resource, name: "1924-05-06"}
    return resource


def grow(resource: JsonObject, ids: Mapping[str, Sequence[str]], rng: random.Random) -> JsonObject:
    """A copy with a value in optional elements that it lacks. ``ids``: what may be referred to."""
    made: Any = copy.deepcopy(resource)
    type_name = str(made["resourceType"])
    # A real server does not delete what refers to itself.
    ids = {**ids, type_name: [i for i in ids.get(type_name, ()) if i != made["id"]]}
    _fill(made, type_name, type_name, _targets(type_name), ids, rng)
    made.setdefault("extension", []).append({"url": UNLISTED, "valueString": "of this place"})
    for member in list(made.values()):
        for item in member if isinstance(member, list) else [member]:
            if isinstance(item, dict) and "resourceType" not in item and rng.random() < 0.5:
                item.setdefault("id", f"e{rng.randint(1, 9999)}")
    _withhold(made, type_name, rng)
    return dict(made)


def _withhold(resource: dict[str, Any], type_name: str, rng: random.Random) -> None:
    """Let some parts of a resource bear a modifier, so that they, and what they refer to, are
    hidden."""
    for name, prop in properties(type_name).items():
        held = resource.get(name)
        if isinstance(held, list) and "modifierExtension" in _names(prop.type):
            for item in held[1:] if len(held) > 1 else held:
                if rng.random() < 0.3:
                    item["modifierExtension"] = [{"url": UNLISTED, "valueBoolean": True}]


def _names(type_name: str) -> Collection[str]:
    return properties(type_name).keys() if "." in type_name else ()


def _fill(
    holder: dict[str, Any],
    type_name: str,
    path: str,
    targets: Mapping[str, frozenset[str]],
    ids: Mapping[str, Sequence[str]],
    rng: random.Random,
) -> None:
    """Give an object the elements it lacks; of a choice one branch."""
    chosen = {
        p.element.name for n, p in properties(type_name).items() if n in holder or f"_{n}" in holder
    }
    offered = list(properties(type_name).items())
    rng.shuffle(offered)
    for name, prop in offered:
        if prop.element.name in chosen or prop.type in _LEFT or name in ("contained", "text"):
            continue
        where = f"{path}.{name}"
        value = _value(prop.type, where, targets, ids, rng)
        if value is not None and rng.random() < 0.7:
            chosen.add(prop.element.name)
            holder[name] = [value] if prop.many else value


def _value(
    type_name: str,
    path: str,
    targets: Mapping[str, frozenset[str]],
    ids: Mapping[str, Sequence[str]],
    rng: random.Random,
) -> Json:
    if type_name == "Reference":
        found = sorted(f"{t}/{i}" for t in targets.get(path, ()) for i in ids.get(t, ()))
        return {"reference": rng.choice(found)} if found else None
    known = _known().get(type_name)
    if known is not None:
        return copy.deepcopy(known)
    if "." in type_name and path.count(".") < _DEPTH:
        made: dict[str, Any] = {}
        _fill(made, type_name, path, targets, ids, rng)
        return made or None
    return None


@cache
def _known() -> Mapping[str, Json]:
    """A value of each datatype."""
    story = draw(1, SEED)
    return {**primitives(story), **complexes(story)}


@cache
def _targets(type_name: str) -> Mapping[str, frozenset[str]]:
    """What each reference of a type may point to, as far as search parameters tell."""
    found: dict[str, frozenset[str]] = {}
    for parameter in registry.get(type_name).values():
        if parameter.type == "reference":
            for path in match.paths(parameter, type_name) or ():
                allowed = path.targets or registry.targets(parameter)
                found[path.path] = found.get(path.path, frozenset()) | frozenset(allowed)
    return found
