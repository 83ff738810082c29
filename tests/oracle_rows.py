"""Which resources exist: the oracle's reading of ``[rows]``, by FHIRPath and by hand.

A search condition is taken apart here anew, its expression evaluated by fhirpathpy, and its values
compared as R4 says of the few types that the policies use in rows: token, string, date.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

from proxy.fhir import registry
from proxy.policy.model import Policy, RowRule
from tests.oracle_facts import Json
from tests.oracle_rules import Step, compiled, holds, plain
from tests.oracle_scope import Context


def exists(policy: Policy, resource: Json, context: Context) -> bool:
    """Whether the resource is one of those that the caller's rows select."""
    kind = resource["resourceType"]
    return all(rule_holds(rule, resource, context) for rule in policy.rows.get(kind, ()))


def rule_holds(rule: RowRule, resource: Json, context: Context) -> bool:
    conditions = [part.split("=", 1) for part in rule.search.split("&") if part]
    for name, value in conditions:
        if not condition_holds(rule.type, name, unquote_plus(value), resource, context):
            return False
    if not rule.where:
        return True
    for claim in named_after(rule.where, "%caller."):
        if not values_of(claim, context):
            return False
    return holds(rule.where, Step(rule.type, rule.type, rule.type, resource), context)


def named_after(text: str, start: str) -> Iterator[str]:
    for piece in text.split(start)[1:]:
        length = next((i for i, c in enumerate(piece) if not (c.isalnum() or c == "_")), None)
        yield piece[:length]


def values_of(claim: str, context: Context) -> list[str]:
    """The claim as texts; none if any part of it is no text or number with something in it."""
    held = context.claims.get(claim)
    items = held if isinstance(held, list) else [held]
    good = all(type(i) in (str, int) and any(c.isalnum() for c in str(i)) for i in items)
    return [str(i) for i in items] if good else []


def condition_holds(kind: str, name: str, value: str, resource: Json, context: Context) -> bool:
    code, _, modifier = name.partition(":")
    wanted: list[str] = []
    for alternative in value.split(","):
        if alternative.startswith("{"):
            claimed = values_of(alternative[1:-1], context)
            if not claimed:
                return False
            wanted += claimed
        else:
            wanted.append(alternative)
    parameter = registry.get(kind)[code]
    try:
        found = compiled(parameter.expression)(plain(resource), {})
    except Exception:  # whatever it raises, there is no value
        found = []
    if modifier == "missing":
        return bool(found) is not (wanted == ["true"])
    if parameter.type == "token":
        held = {t for item in found for t in tokens(item)}
        matched = any(w in held for w in wanted)
        return matched is not (modifier == "not")
    if parameter.type == "string":
        texts = [t for item in found for t in strings(item)]
        if modifier == "exact":
            return any(t == w for t in texts for w in wanted)
        return any(folded(t).startswith(folded(w)) for t in texts for w in wanted)
    raise AssertionError(f"the oracle cannot judge {name}")


def tokens(value: Any) -> Iterator[str]:
    """Codes, as ``code`` and as ``system|code``."""
    if isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        codings = value.get("coding")
        for item in codings if isinstance(codings, list) else [value]:
            held = item.get("code", item.get("value")) if isinstance(item, dict) else None
            if isinstance(held, str):
                yield held
                system = item.get("system")
                yield f"{system if isinstance(system, str) else ''}|{held}"


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def folded(text: str) -> str:
    plain_text = unicodedata.normalize("NFD", text)
    return "".join(c for c in plain_text if not unicodedata.combining(c)).casefold()
