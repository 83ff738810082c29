"""Documents whose pieces a server holds, too: every entry under an id of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from proxy.demo.generator import cases
from proxy.fhir.codec import decode, encode
from proxy.fhir.reference import parse_reference
from proxy.fhir.referring import reference_texts
from tests.views import comparable, examples

ALIAS = "https://ehr.example.org/fhir"  # a base that means the upstream


def documents(shared: Path, most: int = 100) -> Iterator[tuple[str, Any]]:
    """The documents of a generated case and of the published examples, of up to ``most`` entries,
    settled, by name."""
    (case,) = cases(1, 5, base=ALIAS)
    held = [(str(b["id"]), decode(encode(b))) for b in case.bundles]
    for name, found in [*held, *examples(shared)]:
        resource: Any = found
        if resource.get("type") == "document" and len(resource["entry"]) <= most:
            yield name, settle(resource, name)


def settle(document: Any, name: str) -> Any:
    """The document with an id for everything, and references that say it. What one document holds
    is told from what another does, so that one server can hold all."""
    made = copy.deepcopy(document)
    named: dict[str, str] = {}
    for entry in made["entry"]:
        base, held = parse_reference(entry["fullUrl"]).base, entry["resource"]
        here = f"{name} {entry['fullUrl']}"
        own = f"{held['resourceType']}/{uuid5(NAMESPACE_URL, here)}"
        named[entry["fullUrl"]] = own
        if base:
            named[f"{held['resourceType']}/{held['id']}"] = own
        held["id"], entry["fullUrl"] = own.partition("/")[2], f"{ALIAS}/{own}"
    made["id"] = str(uuid5(NAMESPACE_URL, name))
    _rename(made, named)
    return made


def _rename(value: Any, named: dict[str, str]) -> None:
    if isinstance(value, list):
        for item in value:
            _rename(item, named)
    elif isinstance(value, dict):
        if value.get("reference") in named:
            value["reference"] = named[value["reference"]]
        for item in value.values():
            _rename(item, named)


def pieces(document: Any) -> list[Any]:
    """What the document holds, each as a resource of its own, and the document itself."""
    held = {(r["resourceType"], r["id"]): r for r in (e["resource"] for e in document["entry"])}
    return [*held.values(), document]


def entries(bundle: Any) -> dict[str, Any]:
    """What a shown document holds, by type and id; without what a server says of its storage."""
    found = {}
    for entry in bundle.get("entry", []):
        held = dict(comparable(entry["resource"]))
        meta = {k: v for k, v in held.pop("meta", {}).items() if k in ("security", "profile")}
        name = f"{held['resourceType']}/{held['id']}"
        assert entry["fullUrl"].endswith(held["id"])
        found[name] = {**held, "meta": meta}
    return found


def led_to(document: Any) -> set[tuple[str, str]]:
    """Type and id of all that the Composition leads to in its document, itself too."""
    held = {f"{r['resourceType']}/{r['id']}": r for r in (e["resource"] for e in document["entry"])}
    first = document["entry"][0]["resource"]
    found, waiting = set[str](), [f"{first['resourceType']}/{first['id']}"]
    while waiting:
        name = waiting.pop()
        if name in held and name not in found:
            found.add(name)
            waiting += reference_texts(held[name])
    return {(type_, id_) for type_, _, id_ in (name.partition("/") for name in found)}
