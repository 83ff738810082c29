"""Stage 2 of the IHE handbook before stage 1: two running proxies, one before the other."""

from __future__ import annotations

import random
from pathlib import Path

from proxy.demo.upstream import STORE
from proxy.fhir.codec import JsonObject
from proxy.policy.verdicts import compute_verdicts
from tests.equivalence.dataset import originals
from tests.equivalence.embedded import find_differences, make_queries
from tests.noninterference.grow import dataset
from tests.rig import STAGE2, embedded
from tests.stages import chained
from tests.views import find_view

QUERIES = 40  # by single parameters; sorted, included and chained ones beside them
NAMED = ("id", "identifier", "name")  # what both stages show alike


async def test_the_chain_answers_as_a_server_that_stores_what_it_shows(tmp_path: Path) -> None:
    """Searches by id, reference, code, date and text, sorted, included and chained, paged: the
    same rows, whole, in the same order; nothing that stage 2 offers is refused by stage 1."""
    app = embedded([])
    async with chained(app, tmp_path) as stages:
        stored = [*originals(stages.one.upstream), *dataset(stages.one.upstream)]
        for resource in stored:
            app[STORE].write(resource)
        held = [v.resource for t in app[STORE].types() for v in app[STORE].of_type(t)]
        shown = [s for r in held if r is not None and (s := stages.show(r)[1]) is not None]
        assert len(shown) > 100
        by_type: dict[str, list[JsonObject]] = {}
        for resource in shown:
            by_type.setdefault(str(resource["resourceType"]), []).append(resource)
        table = compute_verdicts(find_view(STAGE2))
        queries = make_queries(table, by_type, random.Random(STAGE2), QUERIES)
        found = await find_differences(stages.two, STAGE2, shown, queries)
        assert found == [], "\n".join(found)
