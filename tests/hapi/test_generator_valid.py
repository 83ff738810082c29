"""Everything that is generated is valid base R4, as HAPI's validator sees it."""

from __future__ import annotations

import json

import pytest

from proxy.demo.generator import cases, data_set
from proxy.fhir.codec import encode
from tests.validation import validate

pytestmark = pytest.mark.hapi


def test_every_generated_resource_and_bundle_is_valid(hapi: str) -> None:
    """No error in any of six cases (each way of naming entries twice) or the reporting rules."""
    errors: list[str] = []
    for resource in data_set(cases(6)):
        name = f"{resource['resourceType']}/{resource['id']}"
        errors += [f"{name} {text}" for text in validate(hapi, json.loads(encode(resource)))]
    assert errors == []
