"""A stored document, and the one that $document makes of the same pieces."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import Any

from tests import settled
from tests.rig import Rig, embedded, running
from tests.views import CLAIMS, differences, shipped

# The second stage takes what the first one made.
ROLES = sorted(
    name
    for name, policy in shipped().items()
    if policy.served and "$document" in policy.access.get("Composition", ())
    if name != "stage2-anonymized"
)
AT_ONCE = 2  # roles that look at one document, taken in turn


async def test_the_stored_and_the_made_document_agree(shared: Path, tmp_path: Path) -> None:
    """For every policy that offers $document they hold the same entries, each shown alike, over a
    generated case and the published examples."""
    documents = dict(settled.documents(shared))
    pieces = [piece for document in documents.values() for piece in settled.pieces(document)]
    claims, turn = dict.fromkeys(ROLES, CLAIMS), cycle(ROLES)
    wrong: dict[str, list[str]] = {}
    async with running(embedded(pieces), tmp_path, roles=ROLES, claims=claims) as rig:
        for name, document in documents.items():
            for role in [next(turn) for _ in range(AT_ONCE)]:
                if found := await compare(rig, role, document):
                    wrong[f"{role} {name}"] = found
    assert wrong == {}
    assert len(documents) * AT_ONCE > len(ROLES)


async def compare(rig: Rig, role: str, document: Any) -> list[str]:
    """Where the two differ, but for what the Composition leads to by no reference, and what the
    role may not read by itself."""
    report = rig.id(role, "Composition", document["entry"][0]["resource"]["id"])
    stored = await rig.ask(role, f"/Bundle/{rig.id(role, 'Bundle', document['id'])}")
    made = await rig.ask(role, f"/Composition/{report}/$document")
    if (stored.status, made.status) != (200, 200):
        return [f"{stored.status} and {made.status}"]
    one, other = settled.entries(stored.json), settled.entries(made.json)
    access = shipped()[role].access
    left = {
        f"{type_}/{rig.id(role, type_, id_)}"
        for type_, id_ in settled.led_to(document)
        if "read" in access.get(type_, ())
    }
    stored_ones = (e["resource"] for e in document["entry"])
    own = {f"{r['resourceType']}/{rig.id(role, r['resourceType'], r['id'])}" for r in stored_ones}
    # What is in the document and no piece of it was made for it.
    kept = {name: held for name, held in one.items() if name in left or name not in own}
    return list(differences(kept, other))
