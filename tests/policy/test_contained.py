"""What is contained in a resource: at its own type's lines, and never as stored."""

from __future__ import annotations

from typing import Any

import pytest

from tests.views import RESTRICTED, Case


@pytest.mark.parametrize("policy", RESTRICTED)
def test_nothing_contained_passes(policy: str) -> None:
    """A type that passes as stored, since it is published, does not where a person's resource
    contains one: anybody may have written anything there. A canonical that names what is contained
    does as a reference to it."""
    library = {"resourceType": "Library", "id": "lee-8834512", "description": "Ann Lee, 12 Elm St",
               "date": "2020-07-15", "status": "active"}  # fmt: skip
    held: dict[str, Any] = {
        "resourceType": "Goal", "id": "g", "lifecycleStatus": "active", "contained": [library],
        "subject": {"reference": "Patient/p"}, "description": {"text": "x"},
    }  # fmt: skip
    order: dict[str, Any] = {
        "resourceType": "ServiceRequest", "id": "s", "status": "active", "intent": "order",
        "contained": [library], "subject": {"reference": "Patient/p"},
        "instantiatesCanonical": ["#lee-8834512"],
    }  # fmt: skip
    for resource in (held, order):
        shown = str(Case(policy).reveal(resource))
        assert not any(word in shown for word in ("lee-8834512", "Elm", "2020-07-15"))
