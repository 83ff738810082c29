"""Requests that schemathesis draws from HAPI's own OpenAPI, and what a server reports on each."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.clients.conftest import needed

PARAMETERS = 3  # of one drawn search, at most
READ = {"Accept": "application/fhir+json", "Cache-Control": "no-cache"}
# Values that find something among the cases, put in the place of every second drawn text.
VALUES = {
    "gender": "female", "birthdate": "ge1950-01-01", "address-state": "MI", "status": "final",
    "code": "http://loinc.org|", "date": "ge2020-01-01", "category": "laboratory",
    "_count": "5", "active": "true", "value-quantity": "gt5", "class": "AMB", "family": "a",
    "_lastUpdated": "ge2020-01-01", "deceased": "false", "subject": "Patient/none",
}  # fmt: skip
# By the last segment of a path: first pages of one size, in one order where a server need not give
# one.
PAGES = {
    "": {"_count": "50", "_sort": "_id"},
    "_history": {"_count": "50"},
    "$everything": {"_count": "200"},
}

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff]")
_FAR_ZONE = re.compile(r"T.*[+-](1[5-9]|2\d):\d\d$")
_LISTED = re.compile(r"(?<!\\),")
_PATH = re.compile(r"/[A-Za-z]+(/[A-Za-z0-9.-]{1,64}(/_history(/[0-9]+)?|/\$[a-z]+)?)?")
_ABOUT_THE_ANSWER = {
    "_count", "_offset", "_summary", "_total", "_sort", "_include", "_revinclude", "_elements",
    "_contained", "_containedType", "_filter", "_content", "_text", "_has", "_list", "_language",
    "_id", "_at", "_since", "_type",
}  # fmt: skip

Asked = Mapping[str, str]


def _any(asked: Asked, holds: Callable[[str], bool]) -> bool:
    return any(map(holds, asked.values()))


# Why the proxy refuses what HAPI answers: HAPI ignores what it does not understand, and drops
# values without letters, which then find everything.
STRICTER: dict[str, Callable[[str, Asked], bool]] = {
    "a control character": lambda path, asked: _any(asked, lambda v: bool(_CONTROL.search(v))),
    "an empty alternative": lambda path, asked: _any(asked, lambda v: "" in _LISTED.split(v)),
    "a text without letter or digit": lambda path, asked: _any(
        asked, lambda v: not any(map(str.isalnum, v))
    ),
    "a time zone beyond 14 hours": lambda path, asked: _any(
        asked, lambda v: bool(_FAR_ZONE.search(v))
    ),
    "a backslash that escapes nothing": lambda path, asked: _any(asked, lambda v: "\\" in v),
    "a parameter that is not about an element": lambda path, asked: any(
        name in _ABOUT_THE_ANSWER and value not in ("50", "200", "_id")
        for name, value in asked.items()
    ),
    "an id that is none": lambda path, asked: not _PATH.fullmatch(path),
}


@dataclass(frozen=True, slots=True)
class Report:
    """On one request: the class of the status, what schemathesis has against the answer, and what
    was found."""

    status: int
    failures: frozenset[str] = frozenset()
    found: Any = field(default=None, repr=False)


def load_schema(base: str, kind: str) -> Any:
    """HAPI's description of itself, as far as it is about a type, as schemathesis reads it."""
    with urllib.request.urlopen(f"{base}/api-docs?page={kind}", timeout=120) as response:
        document = needed("yaml").safe_load(response.read())
    return needed("schemathesis").openapi.from_dict(document)


def draw(
    schema: Any,
    template: str,
    method: str,
    ids: Sequence[str],
    examples: int,
    check: Callable[[Any, str, Asked], None],
) -> None:
    """``check`` is called with each case, its path and its parameters. ``ids``: some that exist,
    put in the place of every second drawn one."""

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=schema[template][method].as_strategy(), data=st.data())
    def each(case: Any, data: st.DataObject) -> None:
        if "{id}" in template and data.draw(st.booleans()):
            case.path_parameters["id"] = data.draw(st.sampled_from(list(ids)))
        if "{version_id}" in template:
            case.path_parameters["version_id"] = "1"
        case.headers, case.cookies = {}, {}
        case.query = _choose(case.query or {}, data)
        last = template.rpartition("/")[2]
        case.query = PAGES.get("" if template.count("/") == 1 else last, {}) | case.query
        path = template
        for name, value in (case.path_parameters or {}).items():
            path = path.replace(f"{{{name}}}", str(value))
        check(case, path, case.query)

    each()


def _choose(drawn: Mapping[str, Any], data: st.DataObject) -> dict[str, str]:
    """A few of the drawn parameters, some with a value that finds something."""
    names = sorted(drawn)
    if len(names) > PARAMETERS:
        names = data.draw(st.lists(st.sampled_from(names), max_size=PARAMETERS, unique=True))
    return {
        name: VALUES[name] if name in VALUES and data.draw(st.booleans()) else str(drawn[name])
        for name in names
    }


def report(case: Any, base: str, token: str) -> Report:
    """What the server at ``base`` answers, and what schemathesis says to it."""
    headers = READ | ({"Authorization": f"Bearer {token}"} if token else {})
    response = case.call(base_url=base, headers=headers, timeout=60)
    status = response.status_code
    body = response.content.decode().replace(base, "")
    found = _found(json.loads(body, parse_float=str)) if status < 300 else None
    return Report(status // 100, _failures(case, response), found)


def _failures(case: Any, response: Any) -> frozenset[str]:
    """Titles of the checks that an answer does not pass."""
    checks, conformance = map(needed, ("schemathesis.checks", "schemathesis.specs.openapi.checks"))
    chosen = [
        checks.not_a_server_error,
        conformance.status_code_conformance,
        conformance.content_type_conformance,
        conformance.response_schema_conformance,
    ]
    try:
        case.validate_response(response, checks=chosen)
    except checks.FailureGroup as group:
        return frozenset(type(failure).__name__ for failure in group.exceptions)
    return frozenset()


def _found(body: Any) -> Any:
    """What an answer says: of a page its entries, since totals and links are the proxy's own."""
    if body["resourceType"] != "Bundle" or body["type"] not in ("searchset", "history"):
        return body
    entries = body.get("entry", [])
    found = [[e.get("fullUrl"), e.get("request"), e.get("resource")] for e in entries]
    return found if body["type"] == "history" else sorted(json.dumps(f) for f in found)
