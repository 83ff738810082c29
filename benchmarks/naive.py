"""The comparison: the same rules, each a FHIRPath expression evaluated over the resource.

This is how rule engines are usually written. Each line of the policy becomes one expression,
compiled once by fhirpathpy; for each resource every expression that can concern its type is
evaluated, and what it finds is kept, removed, masked or cut. It is spared much that the view does
(required elements, contained resources, references and ids, narrative, ages, entries that nothing
reaches, values of a type without a line), so the comparison favours it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import fhirpathpy
from fhirpathpy.models import models

from proxy.policy.model import Policy, Step

Evaluate = Callable[[Any, Any], list[Any]]
RAW = {"returnRawData": True}  # found nodes carry their place in the resource
MASKED = {
    "extension": [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
            "valueCode": "masked",
        }
    ]
}


@dataclass(frozen=True, slots=True)
class Rule:
    """``type``: the resource type it is about, empty for all."""

    type: str
    method: str
    evaluate: Evaluate


def compile_rule(expression: str, type_name: str, method: str) -> Rule:
    return Rule(type_name, method, fhirpathpy.compile(expression, models["r4"], RAW))


def spell(step: Step) -> str:
    name = step.name.removesuffix("[x]")
    return f"{name}.where({step.predicate})" if step.predicate else name


def compile_rules(policy: Policy) -> list[Rule]:
    """One expression for each line of the policy, in the order in which a later one wins."""
    rules = []
    for key, line in policy.datatypes.items():
        datatype, *member = key.split(".")
        place = f"descendants().ofType({datatype})" + "".join(f".{m}" for m in member)
        if key == "Identifier.document":
            place = "(Bundle | Composition).identifier"
        elif key == "Location.position":
            place = "Location.position"
        rules.append(compile_rule(place, "", line.method.name))
    if policy.codes is not None:
        shown = " or ".join(f"system.startsWith('{prefix}')" for prefix in policy.codes)
        rules.append(
            compile_rule(f"descendants().ofType(Coding).where(({shown}).not())", "", "remove")
        )
    rules.extend(
        compile_rule(f"descendants().where(url = '{url}')", "", "keep") for url in policy.extensions
    )
    for rule in sorted(policy.elements, key=lambda rule: (len(rule.steps), rule.has_predicate)):
        expression = ".".join(spell(step) for step in rule.steps)
        rules.append(compile_rule(expression, rule.steps[0].name, rule.method.name))
    return rules


def rewrite(resource: dict[str, Any], rules: list[Rule]) -> dict[str, Any] | None:
    """The resource after all rules; None if its type has no line. The input is untouched."""
    type_name = resource["resourceType"]
    decided: dict[str, str] = {}
    for rule in rules:
        if not rule.type or rule.type == type_name:
            for node in rule.evaluate(resource, {}):
                place = getattr(node, "propName", None)
                decided[place or type_name] = rule.method
    if type_name not in decided:
        return None
    shown = apply(resource, type_name, decided)
    return shown if isinstance(shown, dict) else None


def apply(value: Any, place: str, decided: dict[str, str]) -> Any:
    """``value`` as its rule says, or as it is; None if it goes."""
    method = decided.get(place, "keep")
    if method == "remove":
        return None
    if method == "mask":
        return MASKED
    if method not in ("keep", "pass"):
        return value[:4] if isinstance(value, str) else MASKED
    if isinstance(value, dict):
        members = {k: apply(v, f"{place}.{k}", decided) for k, v in value.items()}
        return {k: v for k, v in members.items() if v is not None}
    if isinstance(value, list):
        items = [apply(v, f"{place}[{i}]", decided) for i, v in enumerate(value)]
        return [v for v in items if v is not None]
    return value
