"""Many generated documents, and what each policy makes of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

from proxy.demo.generator import cases
from proxy.fhir.codec import JsonObject, decode, encode
from tests.views import UPSTREAM, Case, shipped

SEED = 11
# Documents and messages that a run looks at; CI and `make documents` ask for more.
COUNT = int(os.environ.get("GENERATED_DOCUMENTS", "40"))


def served() -> tuple[str, ...]:
    """The shipped policies that change what they show."""
    return tuple(name for name, p in sorted(shipped().items()) if p.served and not p.identity)


def generated(count: int = COUNT) -> Iterator[tuple[str, JsonObject]]:
    """That many documents and messages, each with its type and id."""
    made = (bundle for case in cases(count, SEED, base=UPSTREAM) for bundle in case.bundles)
    for bundle in islice(made, count):
        resource: Any = decode(encode(bundle))
        yield f"Bundle/{resource['id']}", resource


@cache
def case_of(policy: str) -> Case:
    return Case(policy)


def shown_by(policy: str, resource: Any) -> Any:
    """What a caller of the policy is shown; None if nothing."""
    return case_of(policy).reveal(resource)
