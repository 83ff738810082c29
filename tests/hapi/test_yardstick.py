"""The yardstick before a real HAPI: what people ask is answered with the rows that match, but for
what HAPI itself answers otherwise, which is listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.demo.generator import cases
from proxy.demo.load import load as store
from proxy.fhir.codec import JsonObject
from proxy.policy.compile import compile_view
from proxy.policy.load import load_directory
from tests.loading import unload
from tests.rig import DEID, INV, LDS, POLICIES, PUBLIC, running
from tests.yardstick.charts import charted
from tests.yardstick.materialized import Materialized
from tests.yardstick.test_yardstick import (
    YARDSTICK,
    banded,
    named,
    rows,
    show,
    walk,
)
from tests.yardstick.yardstick import Filler, Search, encode

pytestmark = pytest.mark.hapi

CASES, SEED = 4, 4711  # of this test alone
NOT_INSTALLED = "US Core's own search parameters are not installed in a plain HAPI"
CONTAINS = "`:contains` is switched off in HAPI unless configured"
LATER = "HAPI finds a reference only if its target was there first; these two name each other"
# Search -> what HAPI does instead.
DEVIATIONS = {
    "patients-by-race": NOT_INSTALLED,
    "patients-by-ethnicity-and-gender": NOT_INSTALLED,
    "conditions-of-a-patient-asserted": NOT_INSTALLED,
    "encounters-by-discharge": NOT_INSTALLED,
    "teams-of-a-patient-by-role": NOT_INSTALLED,
    "goals-of-a-patient-by-description": NOT_INSTALLED,
    "trigger-sets-by-name": CONTAINS,
    "patient-by-part-of-a-name": CONTAINS,
    "trigger-sets-with-a-code": "HAPI does not index the concepts of ValueSet.compose",
    "conditions-of-an-encounter": LATER,
    "cases-with-everything": LATER,
}
# The same, where the search is forwarded as it is; other views judge the rows.
FORWARDED = {
    "patients-who-died": "a data-absent-reason on deceased[x] counts as deceased in HAPI",
}


@pytest.mark.parametrize("role", [INV, LDS, DEID])
async def test_searches_that_people_make(role: str, hapi: str, tmp_path: Path) -> None:
    """Of the loaded cases exactly the matching rows are found; what deviates is HAPI's doing, and
    is listed as long as it does."""
    made = list(cases(CASES, SEED, base=hapi))
    held = charted(made)
    await store(hapi, held, parallel=1)  # what is referred to first
    view = compile_view(load_directory(POLICIES)[role])
    wrong: dict[str, str] = {}
    try:
        async with running(hapi, tmp_path, roles=[role]) as rig:
            shown = show(view, rig, role)
            server = Materialized(held, shown, PUBLIC)
            ours = names([found for found in map(shown, held) if found is not None])
            filler = Filler(made[0], made[1], rig.namer(role) if role != INV else None)
            answered = [s for s in YARDSTICK.searches if not s.refusal(role)]
            for search in answered:
                type_name, pairs = filler.fill(search.text, search)
                if {"_summary", "_lastUpdated"} & dict(pairs).keys() or ("_count", "0") in pairs:
                    continue  # counts, and times of storage: of all that the server holds
                pages = await walk(rig, role, encode(type_name, pairs))
                if pages[-1].status != 200:
                    wrong[search.id] = f"is {pages[-1].status}"
                    continue
                found = {each for each in named(rows(pages)) if each[1:] in ours}
                rest = [row for row in server.search(type_name, pairs) if not banded(row[1])]
                wanted = set(named(rest))
                if found != wanted:
                    wrong[search.id] = difference(search, found, wanted)
    finally:
        await unload(hapi, held)
    deviating = DEVIATIONS.keys() | (FORWARDED.keys() if role == INV else set())
    expected = {search.id for search in answered} & deviating
    assert {name: text for name, text in wrong.items() if name not in expected} == {}
    assert expected - wrong.keys() == set()


def names(resources: list[JsonObject]) -> set[tuple[str, str]]:
    return {(str(each["resourceType"]), str(each["id"])) for each in resources}


def difference(
    search: Search, found: set[tuple[str, str, str]], wanted: set[tuple[str, str, str]]
) -> str:
    more, less = sorted(found - wanted)[:2], sorted(wanted - found)[:2]
    return f"{search.text}: too many {more}, missing {less}"
