"""What a role is shown, stored in a server without views, gives the same answers; embedded."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from proxy.demo.upstream import STORE
from proxy.fhir.codec import JsonObject
from proxy.policy.compile import compile_view
from proxy.policy.load import load_directory
from proxy.policy.verdicts import compute_verdicts
from tests.equivalence.dataset import originals
from tests.equivalence.embedded import find_differences, make_queries
from tests.noninterference.grow import dataset
from tests.noninterference.harness import show_whole
from tests.noninterference.policies import CLAIMS, LIMITS, SHIPPED, TRIALS, gather_policies
from tests.rig import embedded, running

QUERIES = 80  # by single parameters, for each role; sorted, included and chained ones beside them
FEW = 14  # where every row is looked up in its cases


@pytest.mark.parametrize("role", [*SHIPPED, *TRIALS])
async def test_a_view_answers_as_a_server_that_stores_it(role: str, tmp_path: Path) -> None:
    """The same rows, whole, in the same order, on whatever pages; with them the same others."""
    app, policies = embedded([]), gather_policies(tmp_path / "policies")
    view = compile_view(load_directory(policies)[role])
    async with running(app, tmp_path, roles=[role], policies=policies, claims=CLAIMS,
                       extra=LIMITS.get(role, "")) as rig:  # fmt: skip
        for resource in (*originals(rig.upstream), *dataset(rig.upstream)):
            app[STORE].write(resource)
        stored = [v.resource for t in app[STORE].types() for v in app[STORE].of_type(t)]
        held = [r for r in stored if r is not None]
        shown = [made for _, made in show_whole(view, rig, role, held)]
        by_type: dict[str, list[JsonObject]] = {}
        for resource in shown:
            by_type.setdefault(str(resource["resourceType"]), []).append(resource)
        most = FEW if view.hides_sections else QUERIES
        queries = make_queries(compute_verdicts(view), by_type, random.Random(role), most)
        assert await find_differences(rig, role, shown, queries) == []
