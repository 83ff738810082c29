"""fhir-kit-client, an npm package, walks the proxy as it would walk the server itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clients.conftest import Trial
from tests.conftest import absent

pytestmark = pytest.mark.hapi

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def node() -> str:
    """The path of node, with the client's package beside the script."""
    found = shutil.which("node")
    if found is None or not (HERE / "node_modules" / "fhir-kit-client").is_dir():
        absent("fhir-kit-client is not installed; run `make clients`")
    return str(found)


@pytest.mark.parametrize("kind", ["Patient", "Condition", "Bundle"])
def test_capabilities_pages_reads_and_posts(node: str, trial: Trial, kind: str) -> None:
    """Capabilities, a page walk, a POST search, a read and a 404 are all understood."""
    done = subprocess.run(
        [node, "walk.mjs", kind],
        cwd=HERE,
        env={"PATH": os.environ["PATH"], "BASE": trial.base, "TOKEN": trial.token},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout)
    assert seen["fhirVersion"] == "4.0.1"
    assert len(seen["ids"]) == len(set(seen["ids"]))
    assert trial.ids[kind] <= set(seen["ids"])
    assert seen["pages"] > 1
    assert seen["posted"] == [seen["ids"][0]]
    assert seen["read"] == seen["ids"][0]
    assert seen["missing"] == 404
