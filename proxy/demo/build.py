"""The smallest parts that resources are built from."""

from __future__ import annotations

from typing import cast
from xml.sax.saxutils import escape

from proxy.fhir.codec import Fragment, Json, JsonObject

ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
UCUM = "http://unitsofmeasure.org"


def decimal(text: str) -> Fragment:
    """A JSON number that keeps its digits, as the codec decodes one."""
    return Fragment(text)


def coding(system: str, code: str, display: str = "") -> JsonObject:
    found: JsonObject = {"system": system, "code": code}
    if display:
        found["display"] = display
    return found


def concept(system: str, code: str, display: str = "", text: str = "") -> JsonObject:
    """A CodeableConcept of one coding."""
    found: JsonObject = {"coding": [coding(system, code, display)]}
    if text:
        found["text"] = text
    return found


def reference(target: str, display: str = "") -> JsonObject:
    found: JsonObject = {"reference": target}
    if display:
        found["display"] = display
    return found


def identifier(system: str, value: str, assigner: str = "") -> JsonObject:
    found: JsonObject = {"system": system, "value": value}
    if assigner:
        found["assigner"] = {"display": assigner}
    return found


def quantity(value: str, unit: str = "", code: str = "", system: str = UCUM) -> JsonObject:
    found: JsonObject = {"value": decimal(value)}
    if unit:
        found["unit"] = unit
    if code:
        found |= {"system": system, "code": code}
    return found


def extension(url: str, **value: Json) -> JsonObject:
    """``extension(url, valueCode="F")``, or ``extension(url, extension=[…])``."""
    return {"url": url, **value}


def absent(reason: str = "unknown") -> JsonObject:
    """What stands where a value is missing (the data-absent-reason extension)."""
    return {"extension": [extension(ABSENT, valueCode=reason)]}


def narrative(*paragraphs: str, status: str = "generated") -> JsonObject:
    body = "".join(f"<p>{escape(text)}</p>" for text in paragraphs)
    return {"status": status, "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{body}</div>'}


def telecom(system: str, value: str, use: str = "") -> JsonObject:
    found: JsonObject = {"system": system, "value": value}
    if use:
        found["use"] = use
    return found


def hide(value: Json, path: str, reason: str = "unknown") -> None:
    """Replace, in place, every primitive at the dotted ``path`` by a data-absent-reason.

    A complex element at ``path`` is emptied and bears the reason itself.
    """
    first, _, rest = path.partition(".")
    if isinstance(value, list):
        for item in value:
            hide(item, path, reason)
        return
    if not isinstance(value, dict) or first not in value:
        return
    child = value[first]
    if rest:
        hide(child, rest, reason)
    elif isinstance(child, dict):
        value[first] = absent(reason)
    elif isinstance(child, list):
        if child and isinstance(child[0], dict):
            value[first] = [absent(reason) for _ in child]
        else:
            # Nulls keep the place of each missing value (R4, json.html#null); some servers drop
            # an array that has only the underscored half.
            value[first] = [None for _ in child]
            value[f"_{first}"] = [absent(reason) for _ in child]
    else:
        del value[first]
        value[f"_{first}"] = absent(reason)


def array(value: Json) -> list[Json]:
    """``value``, which is known to be an array."""
    return cast("list[Json]", value)


def thing(value: Json) -> JsonObject:
    """``value``, which is known to be an object."""
    return cast(JsonObject, value)
