"""A stored document, and the one that $document makes of the same pieces, in a real HAPI."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import settled
from tests.engine.test_same_document import ROLES, compare
from tests.loading import load, unload
from tests.rig import running
from tests.views import CLAIMS

pytestmark = pytest.mark.hapi

LARGEST = 30  # entries


async def test_the_stored_and_the_made_document_agree(
    hapi: str, shared: Path, tmp_path: Path
) -> None:
    """They hold the same entries, each shown alike, for every policy that offers $document."""
    found = dict(settled.documents(shared, LARGEST))
    documents = {n: d for n, d in found.items() if not n.startswith(("eicr/eicr", "ihe"))}
    pieces = [piece for document in documents.values() for piece in settled.pieces(document)]
    claims = dict.fromkeys(ROLES, CLAIMS)
    wrong: dict[str, list[str]] = {}
    await load(hapi, pieces)
    async with running(hapi, tmp_path, roles=ROLES, claims=claims) as rig:
        for name, document in documents.items():
            for role in ROLES:
                if differing := await compare(rig, role, document):
                    wrong[f"{role} {name}"] = differing
    await unload(hapi, pieces)
    assert wrong == {}
    assert len(documents) >= 4
