"""The CapabilityStatement of the embedded server."""

from __future__ import annotations

from functools import lru_cache

from proxy.fhir import registry
from proxy.fhir.codec import Json, JsonObject, encode
from proxy.fhir.structure import RESOURCES

INTERACTIONS = (
    "read", "vread", "create", "update", "delete", "search-type", "history-instance",
    "history-type",
)


def resource(type: str) -> JsonObject:
    parameters: list[Json] = [
        {"name": code, "type": found.type, "definition": found.url}
        for code, found in sorted(registry.get(type).items())
        if not code.startswith("_") or code in ("_id", "_lastUpdated")
    ]
    return {
        "type": type,
        "interaction": [{"code": code} for code in INTERACTIONS],
        "versioning": "versioned-update",
        "searchParam": parameters,
    }


@lru_cache(maxsize=4)
def capability(base: str) -> bytes:
    """The CapabilityStatement as JSON; ``base``: the server's base URL."""
    rest: JsonObject = {
        "mode": "server",
        "resource": [resource(type) for type in sorted(RESOURCES)],
        "interaction": [{"code": "batch"}, {"code": "history-system"}],
    }
    statement: JsonObject = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-05",
        "kind": "instance",
        "software": {"name": "ecr-proxy demo upstream"},
        "implementation": {"description": "Fictional case reports", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [rest],
    }
    return encode(statement)
