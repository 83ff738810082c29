"""Parameters resources: the body of an operation that is called by POST (R4, parameters.html)."""

from __future__ import annotations

from proxy.errors import BadStructure
from proxy.fhir.codec import Fragment, Json, JsonObject, decode_strict
from proxy.fhir.search import Parameter, parameter

_SIMPLE = "Each parameter must have a name and one simple value."


def read_parameters(body: bytes, *, limit: int) -> tuple[Parameter, ...]:
    """The parameters in ``body``, as the query of the same operation by GET would give them.

    ``limit``: bytes. Raises :class:`BadStructure` for what is no Parameters resource or holds
    other than simple values, :class:`BodyTooLarge`.
    """
    resource = decode_strict(body, limit=limit)
    if not isinstance(resource, dict) or resource.get("resourceType") != "Parameters":
        raise BadStructure("A Parameters resource is expected.")
    items = resource.get("parameter", [])
    if not isinstance(items, list):
        raise BadStructure(_SIMPLE)
    return tuple(_read(item) for item in items)


def _read(item: Json) -> Parameter:
    name = item.get("name") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(name, str) or set(item) - {"id"} != {
        "name", value := _value_name(item)
    }:
        raise BadStructure(_SIMPLE)
    return parameter(name, _text(item[value]))


def _value_name(item: JsonObject) -> str:
    return next((key for key in item if key.startswith("value") and len(key) > len("value")), "")


def _text(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    if isinstance(value, Fragment):
        return value.contents
    raise BadStructure(_SIMPLE)
