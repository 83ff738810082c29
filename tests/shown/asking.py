"""Asks the product about :mod:`tests.shown.coarse`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from tests.rig import Rig
from tests.shown.coarse import CODES, EXACT, RESOURCES, STEPS, YEARS

POLICIES = {"years": YEARS, "steps": STEPS, "exact": EXACT}


def write_policies(folder: Path) -> tuple[str, ...]:
    """The policies as files; their names, which are those of their roles."""
    folder.mkdir()
    for name, text in POLICIES.items():
        (folder / f"{name}.toml").write_text(text)
    (folder / "codes.map").write_text(CODES)
    return tuple(POLICIES)


async def found(rig: Rig, role: str, type_: str, query: str) -> frozenset[str]:
    """The ids, as stored, of the resources of ours that a search finds, page after page."""
    own = {
        rig.id(role, type_, str(r["id"])): str(r["id"])
        for r in RESOURCES
        if r["resourceType"] == type_
    }
    answer = await rig.ask(role, f"/{type_}?{quote(query, safe='=&')}")
    ids: set[str] = set()
    while True:
        assert answer.status == 200, (query, answer.body)
        ids |= {own[str(r["id"])] for r in answer.resources if r["id"] in own}
        following = answer.link("next")
        if following is None:
            return frozenset(ids)
        answer = await rig.follow(role, following)


async def refused(rig: Rig, role: str, target: str) -> bool:
    """Whether a search is refused."""
    answer = await rig.ask(role, f"/{quote(target, safe='=&?')}")
    return answer.status in (400, 403)
