"""What a role is answered through the proxy, a server that stores the role's view answers, too."""

from __future__ import annotations

import os

import aiohttp
import pytest

from tests.conftest import Tell
from tests.equivalence.compare import compare, same
from tests.equivalence.coverage import NOT_OFFERED, NOT_OFFERED_AS_WRITTEN, Coverage
from tests.equivalence.queries import Query, choose, combined, every_parameter, fixed
from tests.equivalence.related import chained, counted, linked, ordered, paged
from tests.equivalence.twins import ROLES, Twins

pytestmark = pytest.mark.hapi

# By role; more of them with EQUIVALENCE_SEARCHES.
SEARCHES = int(os.environ.get("EQUIVALENCE_SEARCHES", "360"))
COMBINATIONS = SEARCHES // 4
RELATED = SEARCHES // 8  # of each other kind


async def test_everything_shown_is_stored(twins: Twins, session: aiohttp.ClientSession) -> None:
    """All rows of every type: the same, whole."""
    tally = await compare(twins, session, [Query(t, (("_count", "200"),)) for t in twins.types])
    same(tally)


async def test_every_parameter_and_combinations(
    twins: Twins,
    session: aiohttp.ClientSession,
    coverage: Coverage,
    tell: Tell,
) -> None:
    """Every parameter with every modifier and prefix that the view's table answers finds the same
    rows, and so do several parameters at once, and lists of values."""
    found = list(every_parameter(twins.table, twins.shown))
    asked = [*fixed(twins.table, twins.shown), *choose(found, SEARCHES)]
    tally = await compare(twins, session, asked)
    several = await compare(twins, session, combined(tally.answered, COMBINATIONS))
    tell(f"{twins.role}: {tally}\ncombined: {several}")
    for each in (tally, several):
        coverage.add(twins.role, each.shapes, each.hits, each.refused)
    same(tally)
    same(several)
    assert not set(NOT_OFFERED) & set(tally.shapes)
    refused = set(NOT_OFFERED) | (set(NOT_OFFERED_AS_WRITTEN) if twins.view.identity else set())
    shapes = {shape for query in found for shape in query.shapes}
    assert sorted(shapes - set(tally.shapes) - refused) == []


async def test_orders_and_pages(twins: Twins, session: aiohttp.ClientSession, tell: Tell) -> None:
    """Sorted rows come in the same order; a walk in small pages gives every row once, on full
    pages; totals are the same."""
    singles = choose(every_parameter(twins.table, twins.shown), RELATED, least=1)
    found = [
        *ordered(twins.table, twins.shown, RELATED),
        *paged(twins.shown, singles, RELATED // 2),
    ]
    if twins.view.policy.search.total == "exact":
        found += counted(twins.table, singles, RELATED // 4)
    tally = await compare(twins, session, found)
    tell(f"{twins.role}, in order and in pages: {tally}")
    same(tally)


async def test_what_comes_along_and_chains(
    twins: Twins, session: aiohttp.ClientSession, tell: Tell
) -> None:
    """What rows refer to, and what refers to them, comes along as from a plain server; what they
    refer to can be asked for."""
    singles = list(every_parameter(twins.table, twins.shown))
    found = [
        *linked(twins.table, twins.shown, RELATED),
        *chained(twins.table, twins.shown, singles, RELATED),
    ]
    tally = await compare(twins, session, found)
    tell(f"{twins.role}, along references: {tally}")
    same(tally)


def test_every_type_modifier_and_prefix_has_a_case(coverage: Coverage, tell: Tell) -> None:
    """All roles together asked for everything that R4 has, and found rows by it; what is not
    answered has a reason, which was seen. Needs the tests above in the same run."""
    assert set(coverage.answered) == set(ROLES)
    tell(f"answered by both (with rows), by role:\n{coverage}")
    assert coverage.missing() == []
    assert coverage.empty() == []
