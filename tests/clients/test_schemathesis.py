"""Schemathesis draws requests from HAPI's own OpenAPI: the investigator's reports are the server's.

What reads is asked of both. Where the proxy refuses what HAPI answers, it is for a reason of
:data:`~tests.clients.drawing.STRICTER`. All else that HAPI describes the proxy refuses, as
:data:`REFUSED` says, and HAPI is not changed.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections import Counter
from typing import Any

import pytest

from tests.clients.conftest import Trial
from tests.clients.drawing import STRICTER, Asked, Report, draw, load_schema, report
from tests.conftest import Tell

pytestmark = [
    pytest.mark.hapi,
    pytest.mark.parametrize("trial", ["investigator"], indirect=True),
    # of the packages below it, about versions to come
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

KINDS = ("Patient", "Observation", "Encounter")
EXAMPLES = 40  # of each type and path
# What is asked of both servers, by GET.
READS = (
    "/{}", "/{}/{{id}}", "/{}/{{id}}/_history/{{version_id}}", "/{}/{{id}}/_history",
    "/{}/_history",
)  # fmt: skip
# (method, path) -> what the proxy answers instead of HAPI, which would do it; the first that fits.
REFUSED: tuple[tuple[str, str, frozenset[int], str], ...] = (
    ("PUT|PATCH|DELETE", r".*", frozenset({405}), "the proxy only reads"),
    ("POST", r"/[A-Za-z]+", frozenset({405}), "the proxy only reads"),
    ("GET", r"/[A-Za-z]+/_search", frozenset({404}), "R4 has it by POST only"),
    (
        "POST",
        r"/Patient/\{id\}/\$everything",
        frozenset({400}),
        "the drawn body is no Parameters resource",
    ),
    # 404 where the drawn id is none
    ("GET|POST", r".*/\$[^/]+", frozenset({403, 404}), "an operation that is not offered"),
)
EVERYTHING = "/Patient/{id}/$everything"  # asked of both, too


@pytest.fixture(scope="module", params=KINDS)
def schema(request: pytest.FixtureRequest, hapi_view: str) -> tuple[str, Any]:
    """A type, and HAPI's description of it."""
    return request.param, load_schema(hapi_view, request.param)


def test_reports_are_those_of_the_server(
    hapi: str, trial: Trial, schema: tuple[str, Any], tell: Tell
) -> None:
    """For every drawn request the same class of status, the same that schemathesis has against the
    answer, and the same entries."""
    kind, described = schema
    tally: Counter[str] = Counter()
    against: Counter[str] = Counter()
    differing: list[str] = []

    def check(case: Any, path: str, asked: Asked) -> None:
        direct = report(case, hapi, "")
        through = report(case, trial.base, trial.token)
        verdict = judge(path, asked, direct, through)
        tally[verdict] += 1
        against.update(direct.failures & through.failures)
        if verdict == "differ":
            differing.append(f"{path} {asked}: {direct} | {through}")

    for template in (read.format(kind) for read in READS):
        draw(described, template, "GET", sorted(trial.ids[kind]), EXAMPLES, check)
    if kind == "Patient":
        draw(described, EVERYTHING, "GET", sorted(trial.ids[kind]), EXAMPLES // 4, check)
    tell(f"schemathesis, {kind}: {dict(tally)}; both are reported for {dict(against)}")
    assert differing == []
    assert tally["both answer"] >= EXAMPLES


def judge(path: str, asked: Asked, direct: Report, through: Report) -> str:
    """How two reports compare."""
    if direct == through:
        answered = "both answer" if direct.found else "both find nothing"
        return answered if direct.status == 2 else "both refuse"
    reasons = [name for name, holds in STRICTER.items() if holds(path, asked)]
    if through.status == 4 and direct.status in (2, 5) and reasons:
        return f"stricter: {reasons[0]}"
    return "differ"


def test_all_else_is_refused(hapi: str, trial: Trial, schema: tuple[str, Any]) -> None:
    """Every write and operation that HAPI describes is refused by an OperationOutcome, as the table
    says, and HAPI holds what it held."""
    kind, described = schema
    compared = {read.format(kind) for read in READS} | {EVERYTHING}
    before = count(hapi, kind)
    differing: list[str] = []
    refused: Counter[str] = Counter()
    for template in described:
        for method in map(str.upper, described[template]):
            if method == "GET" and template in compared:
                continue
            expected, reason = expect(method, template)
            refused[reason] += 1

            def check(
                case: Any,
                path: str,
                asked: Asked,
                *,
                named: str = f"{method} {template}",
                expected: frozenset[int] = expected,
            ) -> None:
                response = case.call(
                    base_url=trial.base,
                    headers={"Authorization": f"Bearer {trial.token}"},
                    timeout=60,
                )
                outcome = json.loads(response.content)["resourceType"] == "OperationOutcome"
                if response.status_code not in expected or not outcome:
                    differing.append(f"{named}: {response.status_code}, expected {expected}")

            draw(described, template, method, sorted(trial.ids[kind]), 2, check)
    assert differing == []
    assert set(refused) >= {"the proxy only reads", "an operation that is not offered"}
    assert count(hapi, kind) == before


def expect(method: str, template: str) -> tuple[frozenset[int], str]:
    """The statuses of a refusal, and its reason."""
    for methods, paths, statuses, reason in REFUSED:
        if re.fullmatch(methods, method) and re.fullmatch(paths, template):
            return statuses, reason
    raise AssertionError(f"nothing says what becomes of {method} {template}")


def count(base: str, kind: str) -> int:
    """How many versions of resources of a type a server has."""
    with urllib.request.urlopen(f"{base}/{kind}/_history?_count=1", timeout=60) as response:
        total: int = json.loads(response.read())["total"]
    return total
