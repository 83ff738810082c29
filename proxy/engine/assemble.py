"""Bundles of ours, put together from finished bytes (R4, bundle.html)."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from proxy.engine.messages import Pairs

LABELS = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
INCOMPLETE = {
    "resourceType": "OperationOutcome",
    "issue": [
        {
            "severity": "warning",
            "code": "incomplete",
            "diagnostics": "A resource that belongs here cannot be shown: it is malformed.",
        }
    ],
}


def assemble(kind: str, links: Pairs, entries: Iterable[bytes], total: int | None = None) -> bytes:
    """A Bundle of type ``kind``. ``links``: (relation, URL). ``entries``: each an entry's JSON."""
    parts = [b'{"resourceType":"Bundle","type":"', kind.encode(), b'"']
    if total is not None:
        parts += [b',"total":', str(total).encode()]
    if links:
        listed = [{"relation": relation, "url": url} for relation, url in links]
        parts += [b',"link":', orjson.dumps(listed)]
    joined = b",".join(entries)
    if joined:  # an empty array is not legal FHIR
        parts += [b',"entry":[', joined, b"]"]
    return b"".join((*parts, b"}"))


def assemble_document(
    uuid: str, timestamp: str, labels: Iterable[str], entries: Iterable[bytes]
) -> bytes:
    """A Bundle of type ``document`` (R4, documents.html). ``uuid``: its identifier, a
    ``urn:uuid:``; its id is the same UUID. ``labels``: v3-ObservationValue codes for
    meta.security. ``entries``: not empty, each an entry's JSON."""
    head: dict[str, object] = {"resourceType": "Bundle", "id": uuid.rpartition(":")[2]}
    security = [{"system": LABELS, "code": label} for label in labels]
    if security:
        head["meta"] = {"security": security}
    head |= {
        "identifier": {"system": "urn:ietf:rfc:3986", "value": uuid},
        "type": "document",
        "timestamp": timestamp,
    }
    return orjson.dumps(head)[:-1] + b',"entry":[' + b",".join(entries) + b"]}"


def make_entry(full_url: str = "", resource: bytes = b"", **members: object) -> bytes:
    """An entry's JSON: ``resource`` as the bytes given, other members (``search``, ``response``,
    ``request``) as bytes or as what they encode to; those that are None or empty are left out."""
    parts = []
    if full_url:
        parts.append(b'"fullUrl":' + orjson.dumps(full_url))
    if resource:
        parts.append(b'"resource":' + resource)
    for name, value in members.items():
        if value:
            text = value if isinstance(value, bytes) else orjson.dumps(value)
            parts.append(b'"' + name.encode() + b'":' + text)
    return b"{" + b",".join(parts) + b"}"


def match_entry(base: str, type_: str, id_: str, resource: bytes, mode: str = "match") -> bytes:
    """An entry of a searchset."""
    return make_entry(f"{base}/{type_}/{id_}", resource, search={"mode": mode})


def incomplete_entry() -> bytes:
    """What stands in the place of a row that is malformed. A searchset may not hold an issue of
    severity error (R4, search.html#errors)."""
    return make_entry("", orjson.dumps(INCOMPLETE), search={"mode": "outcome"})


