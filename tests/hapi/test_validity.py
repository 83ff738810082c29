"""What a view gives is as valid as what was stored: HAPI's ``$validate`` is the judge."""

from __future__ import annotations

import json
import re
import urllib.error
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.generator import cases
from proxy.fhir.codec import decode, encode
from proxy.fhir.structure import PRIMITIVES, RESOURCES, properties
from tests.conftest import Tell
from tests.documents import COUNT, generated, served, shown_by
from tests.validation import validate
from tests.views import UPSTREAM, examples

pytestmark = pytest.mark.hapi

THREADS = 4  # requests at a time


def test_views_of_examples_have_no_new_error(hapi: str, shared: Path) -> None:
    """No published example has an error in any view that it did not have as stored."""
    assert new_errors(hapi, examples(shared)) == []


def test_views_of_generated_resources_have_no_new_error(hapi: str) -> None:
    """The single resources of generated cases are as valid in every view."""
    made = [r for case in cases(3, 5, base=UPSTREAM) for r in case.resources]
    named = ((f"{r['resourceType']}/{r['id']}", decode(encode(r))) for r in made)
    assert new_errors(hapi, named) == []


def test_views_of_generated_documents_have_no_new_error(hapi: str, tell: Tell) -> None:
    """Generated documents and messages are as valid in every view."""
    assert new_errors(hapi, generated()) == []
    tell(f"{COUNT} generated documents as valid in each of {len(served())} views as stored")


def test_narratives_of_what_shows_are_valid(hapi: str, shared: Path) -> None:
    """Tables in place of narratives are XHTML as R4 allows it, in every published example."""
    assert new_errors(hapi, examples(shared), ("narrated",)) == []


def new_errors(
    hapi: str, resources: Iterable[tuple[str, Any]], policies: Iterable[str] = ()
) -> list[str]:
    """Errors of what the views (all that are shipped, or of these policies) show whose kind and
    place the stored resource does not have."""
    views = tuple(policies) or served()

    def look(named: tuple[str, Any]) -> list[str]:
        name, resource = named
        found: list[str] = []
        known: set[str] | None = None
        for policy in views:
            shown = shown_by(policy, resource)
            errors = judge(hapi, shown) if shown is not None else []
            if errors and known is None:
                known = {kind(e) for e in judge(hapi, make_readable(resource))}
            found += [f"{policy} {name}: {e}" for e in errors if kind(e) not in (known or ())]
        return found

    with ThreadPoolExecutor(THREADS) as pool:
        return [error for errors in pool.map(look, resources) for error in errors]


def judge(hapi: str, resource: Any) -> list[str]:
    """The errors of a resource; one that HAPI cannot even read has that as its only error."""
    try:
        return validate(hapi, json.loads(encode(resource)))
    except urllib.error.HTTPError as error:
        outcome = json.load(error)
        return [f"unreadable: {issue['diagnostics']}" for issue in outcome["issue"]]


def make_readable(value: Any, type_code: str = "Resource") -> Any:
    """A copy that HAPI's parser reads, so that its validator can speak: of a list where one value
    belongs only the first; nothing that R4 does not define; no number or narrative that is none."""
    if isinstance(value, dict) and value.get("resourceType") in RESOURCES:
        type_code = str(value["resourceType"])
    if type_code == "decimal" and isinstance(value, bool):
        return None
    if type_code == "xhtml" and not str(value).startswith("<div"):
        return '<div xmlns="http://www.w3.org/1999/xhtml">text</div>'
    if not isinstance(value, dict) or type_code in PRIMITIVES:
        return value
    known = properties(type_code) if type_code != "Resource" else {}
    out = {}
    for key, item in value.items():
        found = known.get(key.removeprefix("_"))
        if key == "resourceType":
            out[key] = item
        elif found is not None and isinstance(item, list) and not found.many:
            out[key] = make_readable(item[0], found.type)
        elif found is not None and isinstance(item, list):
            out[key] = [make_readable(x, found.type) for x in item]
        elif found is not None:
            out[key] = make_readable(item, found.type)
    return {k: v for k, v in out.items() if v is not None}


def kind(error: str) -> str:
    """An error without what differs between the stored and the shown form: indexes and values."""
    place, _, message = error.partition(": ")
    place = re.sub(r"\[\d+\]|/\*.*?\*/", "", place)
    message = re.sub(r"/\*.*?\*/", "", message)
    return place + ": " + re.sub(r"'[^']*'|\"[^\"]*\"|\d+|urn:\S+|http\S+", "_", message)
