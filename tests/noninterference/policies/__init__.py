"""The roles that are swept: those shipped that hide something of persons, and trials, whose
policies use what the shipped ones do not."""

from __future__ import annotations

import shutil
from pathlib import Path

from proxy.demo.story import draw
from tests.noninterference.grow import SEED
from tests.rig import DEID, LDS, POLICIES, Claims

EPI = "epidemiologist"
SECTIONS = "trial-sections"
NUMBERS = "trial-numbers"
STAGE1 = "stage1-pseudonymized"
TRIALS = (
    STAGE1, "trial-counted", "trial-linked", "trial-months", "trial-real-ids", NUMBERS, SECTIONS,
)  # fmt: skip
SHIFTED = "researcher-shifted"
ANON = "ecr-anonymized"
SHIPPED = (LDS, DEID, EPI, SHIFTED, ANON)
_STORIES = draw(0, SEED), draw(1, SEED)
# Of the three generated cases the first two are in some caller's scope, the third is in none.
_LIVED_IN = sorted({story.place[2] for story in _STORIES})
CLAIMS: Claims = {
    EPI: {
        "jurisdictions": _LIVED_IN,
        "conditions": sorted(
            {code for s in _STORIES for code in (s.disease.code, s.disease.test[0])}
        ),
    },
    "trial-counted": {"jurisdictions": _LIVED_IN[:1]},
}


# The grown dataset is one web of references, in which a case reaches more than cases do.
LIMITS = {SECTIONS: "[limits]\npage-asks = 150\n"}


def pairs(role: str, wanted: int) -> int:
    """How many pairs of requests a role is asked where ``wanted`` are: of a view that is built as
    another is, and differs from it in a few lenses, fewer."""
    return wanted // {SHIFTED: 2, ANON: 4}.get(role, 1)


def gather_policies(folder: Path) -> Path:
    """A folder with the shipped policies and the trials beside each other."""
    folder.mkdir()
    for held in (POLICIES, Path(__file__).parent):
        for file in held.glob("*.toml"):
            shutil.copy(file, folder)
    return folder
