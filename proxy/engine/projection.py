"""What of a shown resource the client asked for: ``_elements``, ``_summary``; and in which form.

Applied after the view and never upstream (R4, search.html#summary, #elements; http.html#mime-type),
so a projection can only take away from what the caller sees anyway.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from proxy.engine.messages import Pairs
from proxy.errors import BadValue, NotAcceptable
from proxy.fhir.codec import Json, JsonObject
from proxy.fhir.layout import indent
from proxy.fhir.r4_summary import SUMMARY
from proxy.fhir.structure import RESOURCES, properties

PARAMETERS = frozenset({"_elements", "_summary", "_format", "_pretty"})

SUBSETTED: JsonObject = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "subsetted",
}

_SUMMARIES = frozenset({"true", "false", "text", "data", "count"})
# Never taken away: they name the resource or change its meaning.
_ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules", "modifierExtension"})
_JSON_TYPES = frozenset(
    {"application/fhir+json", "application/json", "application/json+fhir", "text/json",
     "application/*", "*/*"}
)
_JSON_FORMATS = frozenset({"json", "application/json", "application/fhir+json", "text/json",
                           "application/fhir json"})  # a plus that a form decoded to a blank


@dataclass(frozen=True, slots=True)
class Projection:
    """``elements``: names asked for, None for all. ``summary``: a ``_summary`` code, empty for
    none (``false`` is none)."""

    elements: frozenset[str] | None = None
    summary: str = ""
    pretty: bool = False

    @property
    def changes(self) -> bool:
        """Whether resources come out changed."""
        return self.elements is not None or self.summary in ("true", "text", "data")

    def apply(self, resource: JsonObject) -> JsonObject:
        """The projected resource, labelled SUBSETTED; the resource itself if nothing changes."""
        if not self.changes:
            return resource
        shown = self._project(resource)
        meta = shown.get("meta")
        members: JsonObject = dict(meta) if isinstance(meta, dict) else {}
        tags = members.get("tag")
        others = [t for t in tags if t != SUBSETTED] if isinstance(tags, list) else []
        members["tag"] = [*others, dict(SUBSETTED)]
        ordered: JsonObject = {k: shown[k] for k in ("resourceType", "id") if k in shown}
        return {**ordered, "meta": members, **{k: v for k, v in shown.items() if k != "meta"}}

    def _project(self, resource: JsonObject) -> JsonObject:
        type_ = resource.get("resourceType")
        if not isinstance(type_, str) or type_ not in RESOURCES:
            return {k: v for k, v in resource.items() if k in _ALWAYS}
        if self.summary == "data":
            return {k: v for k, v in resource.items() if k.removeprefix("_") != "text"}
        if self.summary == "true":
            return _summarise(resource, type_)
        keep = self.elements if self.elements is not None else frozenset({"text"})
        return _keep(resource, _required(type_) | _spelled(type_, keep))


def parse_projection(pairs: Iterable[tuple[str, str]], type_: str) -> Projection:
    """The projection that the parameters ask for.

    Raises :class:`BadValue` for a malformed value, an element that the type does not have, and
    ``_elements`` beside ``_summary``; :class:`NotAcceptable` for another format than JSON.
    """
    elements: set[str] = set()
    summary = ""
    pretty = False
    for name, value in pairs:
        if name == "_elements":
            elements.update(_parse_elements(value, type_))
        elif name == "_summary":
            if value not in _SUMMARIES or summary not in ("", value):
                raise BadValue("_summary must be true, text, data, count or false, once.")
            summary = value
        elif name == "_format":
            if value.partition(";")[0].strip().lower() not in _JSON_FORMATS:
                raise NotAcceptable()
        elif name == "_pretty":
            if value not in ("true", "false"):
                raise BadValue("_pretty must be true or false.")
            pretty = value == "true"
    if elements and summary not in ("", "false"):
        raise BadValue("_elements and _summary cannot be used together.")
    return Projection(
        frozenset(elements) if elements else None, "" if summary == "false" else summary, pretty
    )


def _parse_elements(value: str, type_: str) -> set[str]:
    names = {name.strip().removeprefix(type_ + ".") for name in value.split(",")}
    known = _names(type_)
    if any(name not in known for name in names):
        raise BadValue("_elements must list top-level elements of the resource type.")
    return names


def accepts_json(accept: str) -> bool:
    """Whether an ``Accept`` header admits FHIR JSON; an empty one does."""
    if not accept.strip():
        return True
    for item in accept.split(","):
        media, *parameters = (part.strip().lower() for part in item.split(";"))
        values = dict(p.split("=", 1) for p in parameters if "=" in p)
        refused = values.get("q", "1").strip(" ") in ("0", "0.0", "0.00", "0.000")
        other = values.get("fhirversion", "4.0").strip('"') not in ("4.0", "4.0.1")
        if media in _JSON_TYPES and not refused and not other:
            return True
    return False


def negotiate(accept: str, pairs: Pairs) -> None:
    """Raise :class:`NotAcceptable` unless JSON will do; ``_format`` outweighs ``Accept``."""
    if not any(name == "_format" for name, _ in pairs) and not accepts_json(accept):
        raise NotAcceptable()


def prettify(body: bytes) -> bytes:
    """``body`` indented; every token of it stays as it is."""
    return indent(body)


def _summarise(value: JsonObject, path: str) -> JsonObject:
    marked, elements = SUMMARY.get(path, frozenset()), properties(path)
    shown: JsonObject = {}
    for key, item in value.items():
        found = elements.get(key.removeprefix("_"))
        if found is None:
            if key in _ALWAYS:
                shown[key] = item
            continue
        name = found.element.name
        if name in marked or found.element.min or name in _ALWAYS:
            shown[key] = _summarise_item(item, found.type)
    return shown


def _summarise_item(item: Json, type_: str) -> Json:
    if isinstance(item, list):
        return [_summarise_item(each, type_) for each in item]
    if not isinstance(item, dict):
        return item
    inner = item.get("resourceType")
    if isinstance(inner, str) and inner in RESOURCES:
        return _summarise(item, inner)
    return _summarise(item, type_) if "." in type_ else item


def _keep(resource: JsonObject, names: frozenset[str]) -> JsonObject:
    return {k: v for k, v in resource.items() if k in _ALWAYS or k.removeprefix("_") in names}


@cache
def _required(type_: str) -> frozenset[str]:
    return frozenset(name for name, p in properties(type_).items() if p.element.min)


@cache
def _names(type_: str) -> frozenset[str]:
    """What ``_elements`` may say: JSON names, and choices as ``value`` and ``value[x]``."""
    found: set[str] = set()
    for name, item in properties(type_).items():
        found |= {name, item.element.name, item.element.name.removesuffix("[x]")}
    return frozenset(found)


def _spelled(type_: str, names: frozenset[str]) -> frozenset[str]:
    """JSON names of the elements named."""
    return frozenset(
        name
        for name, item in properties(type_).items()
        if names & {name, item.element.name, item.element.name.removesuffix("[x]")}
    )
