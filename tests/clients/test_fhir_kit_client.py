"""fhir-kit-client, an npm package, walks the proxy as it would walk the server itself."""

from __future__ import annotations

import pytest

from tests.clients.conftest import Trial, run_node

pytestmark = pytest.mark.hapi


@pytest.mark.parametrize("kind", ["Patient", "Condition", "Bundle"])
def test_capabilities_pages_reads_and_posts(trial: Trial, kind: str) -> None:
    """Capabilities, a page walk, a POST search, a read and a 404 are all understood."""
    seen = run_node("walk.mjs", kind, base=trial.base, token=trial.token)
    assert seen["fhirVersion"] == "4.0.1"
    assert len(seen["ids"]) == len(set(seen["ids"]))
    assert trial.ids[kind] <= set(seen["ids"])
    assert seen["pages"] > 1
    assert seen["posted"] == [seen["ids"][0]]
    assert seen["read"] == seen["ids"][0]
    assert seen["missing"] == 404
