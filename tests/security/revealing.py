"""Read stored resources through the running product, and look for markers in all of the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.security.product import Answer, product, stored
from tests.tripwire import readings

MARKER = "zqmarker"
UPSTREAM_LIMIT = 5000  # characters of a header worth decoding


async def read(folder: Path, role: str, *resources: Any) -> list[Answer]:
    """Every resource as ``role`` reads it by its shown id."""
    async with stored(*resources), product(folder) as running:
        answers = []
        for resource in resources:
            kind, real = resource["resourceType"], resource["id"]
            answers.append(await running.get(role, f"/{kind}/{running.shown(role, kind, real)}"))
        return answers


async def read_one(folder: Path, role: str, resource: Any) -> Any:
    """One resource as ``role`` reads it, which must be CLEAN: 200, and no marker in header or
    body, whatever its encoding."""
    (answer,) = await read(folder, role, resource)
    assert answer.status == 200, answer.body
    assert is_clean(answer)
    return answer.json


def is_clean(answer: Answer, *secrets: str) -> bool:
    """Whether no marker (and no other secret) is in headers or body, plain or decoded."""
    everything = answer.body.decode() + "\n" + str(dict(answer.headers))[:UPSTREAM_LIMIT]
    return not any(
        secret.lower() in text for text in readings(everything) for secret in (MARKER, *secrets)
    )


def name(use: str = "official") -> dict[str, Any]:
    return {
        "use": use,
        "text": f"{MARKER} text",
        "family": f"{MARKER} family",
        "given": [f"{MARKER} given"],
    }


def address() -> dict[str, Any]:
    return {
        "use": "home",
        "text": f"{MARKER} address",
        "line": [f"7777 {MARKER} Street"],
        "city": "Atlanta",
        "state": "GA",
        "postalCode": "30302-1234",
        "country": "US",
    }


def telecom() -> dict[str, Any]:
    return {"system": "phone", "value": f"{MARKER}-555", "use": "home"}


def identifier() -> dict[str, Any]:
    return {
        "system": f"urn:oid:2.16.{len(MARKER)}",
        "value": f"{MARKER}-1032702",
        "assigner": {"display": MARKER},
    }


def person(kind: str, real: str, **more: Any) -> dict[str, Any]:
    """A person of the type with a marker in every direct identifier."""
    return {
        "resourceType": kind,
        "id": real,
        "identifier": [identifier()],
        "name": [name(), name("nickname")],
        "telecom": [telecom()],
        "address": [address()],
        **more,
    }


def extension(url: str, **more: Any) -> dict[str, Any]:
    return {"url": url, **more}


def document(*entries: Any, **more: Any) -> dict[str, Any]:
    """A stored document Bundle; ``entries``: resources, named under a sender's base."""
    return {
        "resourceType": "Bundle",
        "id": "document-1",
        "type": "document",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{MARKER}-doc"},
        "timestamp": "2018-03-04T05:06:07Z",
        "entry": [
            {"fullUrl": f"http://sender.example/{r['resourceType']}/{r['id']}", "resource": r}
            for r in entries
        ],
        **more,
    }


def composition(**more: Any) -> dict[str, Any]:
    """An eICR Composition about ``Patient/patient-1`` by ``Practitioner/practitioner-1``."""
    return {
        "resourceType": "Composition",
        "id": "composition-1",
        "identifier": {"system": "urn:ietf:rfc:3986", "value": f"{MARKER}-set"},
        "status": "final",
        "type": {"coding": [{"system": "http://loinc.org", "code": "55751-2"}], "text": MARKER},
        "subject": {"reference": "Patient/patient-1", "display": MARKER},
        "date": "2018-03-04T05:06:07Z",
        "author": [{"reference": "Practitioner/practitioner-1", "display": MARKER}],
        "title": f"{MARKER} title",
        "section": [
            {
                "title": MARKER,
                "code": {"coding": [{"system": "http://loinc.org", "code": "29299-5"}]},
                "text": narrative(),
                "section": [{"title": MARKER, "text": narrative()}],
            }
        ],
        **more,
    }


def narrative() -> dict[str, Any]:
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p title="{MARKER}">{MARKER}</p></div>',
    }


def observation(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": "observation-1",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
        "subject": {"reference": "Patient/patient-1"},
        **more,
    }
