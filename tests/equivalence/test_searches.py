"""What a role is answered through the proxy, a server that stores the role's view answers, too."""

from __future__ import annotations

import os

import aiohttp
import pytest

from tests.equivalence.compare import compare, same
from tests.equivalence.queries import Query, Shape, choose, combined, every_parameter
from tests.equivalence.twins import Twins

pytestmark = pytest.mark.hapi

# By role; more of them with EQUIVALENCE_SEARCHES.
SEARCHES = int(os.environ.get("EQUIVALENCE_SEARCHES", "360"))
COMBINATIONS = SEARCHES // 4

SWITCHED_OFF = "HAPI has it switched off, which is its default"
UNKNOWN = "HAPI does not know it"
# What both refuse: (search type, modifier, prefix) -> why.
NOT_OFFERED: dict[Shape, str] = {
    ("string", "contains", ""): SWITCHED_OFF,
    ("token", "of-type", ""): SWITCHED_OFF,
    ("date", "", "ap"): UNKNOWN,
    ("reference", "identifier", ""): UNKNOWN,
    ("reference", "above", ""): UNKNOWN,
    ("reference", "below", ""): UNKNOWN,
}
# What is refused where HAPI is asked as the client writes it.
NOT_OFFERED_AS_WRITTEN: dict[Shape, str] = {
    (kind, "", prefix): UNKNOWN
    for kind in ("number", "quantity", "composite")
    for prefix in ("sa", "eb")
}


# The roles whose rows have something to find by every shape.
FULL = ("open", "whole")


async def test_everything_shown_is_stored(twins: Twins, session: aiohttp.ClientSession) -> None:
    """All rows of every type: the same, whole."""
    tally = await compare(twins, session, [Query(t, (("_count", "200"),)) for t in twins.types])
    same(tally)


async def test_every_parameter_and_combinations(
    twins: Twins, session: aiohttp.ClientSession, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every parameter with every modifier and prefix that the view's table answers finds the same
    rows, and so do several parameters at once, and lists of values."""
    found = list(every_parameter(twins.table, twins.shown))
    tally = await compare(twins, session, choose(found, SEARCHES))
    several = await compare(twins, session, combined(tally.answered, COMBINATIONS))
    with capsys.disabled():
        print(f"\n{twins.role}: {tally}, combined: {several}")
    same(tally)
    same(several)
    refused = set(NOT_OFFERED) | (set(NOT_OFFERED_AS_WRITTEN) if twins.view.identity else set())
    assert not refused & set(tally.shapes)
    shapes = {shape for query in found for shape in query.shapes}
    assert sorted(shapes - set(tally.shapes) - refused) == []
    if twins.role in FULL:
        assert sorted(shapes - set(tally.hits) - refused) == []
