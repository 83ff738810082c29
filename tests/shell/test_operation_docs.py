"""docs/operation.md says what the code does."""

from __future__ import annotations

import pytest

from proxy.engine import asking
from proxy.shell import breaker, log, protocol, request, server, upstream
from tests.conftest import REPOSITORY

TEXT = " ".join((REPOSITORY / "docs" / "operation.md").read_text().split())


@pytest.mark.parametrize(
    "sentence",
    [
        f"within {server.EARLY:.0f} s of its start",
        f"have {server.DRAIN:.0f} s to end",
        f"failed {breaker.FAILURES} times in a row",
        f"up to 2 · `search.window` / {asking.CHUNK} more",
        f"after {breaker.PAUSE:.0f} s one request tries again",
        f"Retry-After of {upstream.RETRY_AFTER[0]} to {upstream.RETRY_AFTER[2]} s",
        f"| request target | {protocol.MAX_TARGET // 1024} KiB |",
        f"| one header, name and value | {protocol.MAX_FIELD // 1024} KiB |",
        f"| {request.MAX_HEADER_BYTES // 1024} KiB, {protocol.MAX_HEADERS} of them |",
        f"| time for a body to arrive | {request.BODY_SECONDS:.0f} s |",
        f"that do not end | {protocol.KEEP_ALIVE:.0f} s |",
        f"{protocol.TAKING_BYTES // 1024} KiB each {protocol.TAKING_SECONDS:.0f} s |",
        f"a template: `{log.TEMPLATES['read'].replace('{type}', 'Patient')}`",
        "Asked with " + ", ".join(f"`{name}`" for name in sorted(upstream.HEADERS)[:-1]),
    ],
)
def test_numbers(sentence: str) -> None:
    """Each number in the document is the one in the code."""
    assert sentence in TEXT


def test_the_readme_names_each_policy_once() -> None:
    """The table of the README holds every shipped policy, each with one basis."""
    lines = (REPOSITORY / "README.md").read_text("utf-8").splitlines()
    start = lines.index("| shipped policy | basis | shows |") + 2
    rows = [line.split("`")[1] for line in lines[start : lines.index("", start)]]
    assert sorted(rows) == sorted(p.stem for p in (REPOSITORY / "policies").glob("*.toml"))
