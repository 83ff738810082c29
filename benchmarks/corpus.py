"""What is measured on: generated cases as single resources, a searchset, and big documents."""

from __future__ import annotations

from itertools import chain
from typing import cast

from proxy.demo.generator import Case, cases
from proxy.fhir.codec import JsonObject, decode, encode

SEED = 7
BASE = "http://127.0.0.1:8205/fhir"


def some_cases(number: int) -> list[Case]:
    """The first ``number`` cases of the fixed seed."""
    return list(cases(number, SEED, base=BASE))


def singles(number: int = 4) -> list[bytes]:
    """Every resource and Bundle of some cases, each as bytes."""
    return [
        encode(resource)
        for case in some_cases(number)
        for resource in chain(case.resources, case.bundles)
    ]


def searchset(size: int = 1000) -> JsonObject:
    """A page of ``size`` single resources of many types and cases."""
    found: list[JsonObject] = []
    for case in cases(size, SEED, base=BASE):
        found += case.resources
        if len(found) >= size:
            break
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": "self", "url": f"{BASE}/Observation"}],
        "entry": [
            {
                "fullUrl": f"{BASE}/{r['resourceType']}/{r['id']}",
                "resource": r,
                "search": {"mode": "match"},
            }
            for r in found[:size]
        ],
    }


def document(size: int = 1000, *, most_bytes: int = 0) -> JsonObject:
    """One document of ``size`` entries, all reached from its Composition, so that all are shown.

    The entries of many case reports under the Composition of the first. ``most_bytes``: stop
    before the encoded document grows past this (0: no limit).
    """
    found = cases(size, SEED, base=BASE)
    bundle = cast("JsonObject", decode(encode(next(found).eicr)))  # a copy, to be added to
    entries = cast("list[JsonObject]", bundle["entry"])
    composition = cast("JsonObject", entries[0]["resource"])
    section = next(s for s in cast("list[JsonObject]", composition["section"]) if s.get("entry"))
    members = cast("list[JsonObject]", section["entry"])
    length = len(encode(bundle))
    seen = {str(entry["fullUrl"]) for entry in entries}
    for case in found:
        for entry in cast("list[JsonObject]", case.eicr["entry"])[1:]:
            url = str(entry["fullUrl"])
            if url in seen:
                continue
            length += len(encode(entry)) + len(url) + len(',{"reference":""},')
            if len(entries) >= size or (most_bytes and length > most_bytes):
                return bundle
            seen.add(url)
            entries.append(entry)
            members.append({"reference": url})
    return bundle


def closest(resources: list[JsonObject], size: int) -> JsonObject:
    """The resource whose encoding is closest to ``size`` bytes."""
    return min(resources, key=lambda resource: abs(len(encode(resource)) - size))
