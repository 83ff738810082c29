"""The yardstick: which of the searches that people make each role can ask, and that what it is
answered is exactly what a server would answer that holds nothing but the role's view."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.generator import Case, cases
from proxy.demo.upstream import STORE
from proxy.fhir import match, registry
from proxy.fhir.codec import JsonObject
from proxy.fhir.reference import Bases
from proxy.policy.compile import View, compile_view
from proxy.policy.load import load_directory
from proxy.policy.scope import Scope
from tests.conftest import Tell
from tests.rig import (
    DEID,
    INV,
    LDS,
    POLICIES,
    PUBLIC,
    REPOSITORY,
    Response,
    Rig,
    embedded,
    running,
)
from tests.yardstick.charts import charted
from tests.yardstick.materialized import Materialized
from tests.yardstick.yardstick import (
    OTHER_TYPE,
    Filler,
    Pairs,
    Search,
    codes,
    encode,
    load,
    without_meta,
)

ALIAS = "https://ehr.example.org/fhir"  # which the rig takes for the upstream
CASES, SEED = 12, 7
# The least shares of the list that are answered, in percent.
SHARES = {INV: 100, LDS: 75, DEID: 50}
EPI, PUB = "epidemiologist", "public"
EVERYONE = (INV, EPI, LDS, DEID, PUB)
YARDSTICK = load()
US_CORE = REPOSITORY / "proxy" / "fhir" / "us-core-search-parameters.csv"


@pytest.fixture(scope="module")
def made() -> list[Case]:
    return list(cases(CASES, SEED, base=ALIAS))


def show(view: View, rig: Rig, role: str) -> Callable[[JsonObject], JsonObject | None]:
    """A stored resource as the role is shown it."""
    if view.identity:
        return lambda resource: resource
    scope = Scope(
        namer=rig.namer(role),
        bases=Bases(rig.upstream, [ALIAS]),
        public=PUBLIC,
        today=datetime.now(UTC).date(),
        shows=view.shows,
        pseudonym=view.pseudonym,
        claims=rig.claims.get(role, {}),
    )
    return lambda resource: view.reveal(resource, scope)


async def walk(rig: Rig, role: str, target: str) -> list[Response]:
    """All pages of a search."""
    pages = [await rig.ask(role, target)]
    while pages[-1].status == 200 and (url := pages[-1].link("next")):
        pages.append(await rig.follow(role, url))
    return pages


def rows(pages: list[Response]) -> list[tuple[str, JsonObject]]:
    """(mode, resource) of all pages; what is included on several of them once."""
    found: dict[tuple[object, object, object], tuple[str, JsonObject]] = {}
    for page in pages:
        for entry in page.entries:
            resource, mode = entry["resource"], entry["search"]
            assert isinstance(resource, dict)
            assert isinstance(mode, dict)
            key = (mode["mode"], resource["resourceType"], resource["id"])
            assert mode["mode"] == "include" or key not in found, "a match stands twice"
            found[key] = (str(mode["mode"]), resource)
    return list(found.values())


def named(found: list[tuple[str, JsonObject]]) -> list[tuple[str, str, str]]:
    return [(mode, str(r["resourceType"]), str(r["id"])) for mode, r in found]


def in_order(type_name: str, matches: list[JsonObject], by: str) -> bool:
    """Whether the matches come in the order that ``_sort`` asks for."""
    code, down = by.lstrip("-"), by.startswith("-")
    parameter = registry.get(type_name)[code]
    keys = [match.sort_key(each, type_name, parameter, down) for each in matches]
    having: list[Any] = [key for key in keys if key is not None]
    # What has no value comes last.
    return having == keys[: len(having)] and having == sorted(having, reverse=down)


def banded(resource: JsonObject) -> bool:
    """Whether the value stands for all from the border of the oldest on: it matches no search."""
    value = resource.get("valueQuantity")
    return isinstance(value, dict) and value.get("comparator") == ">="


def judge(
    search: Search, pairs: Pairs, pages: list[Response], view: Materialized, *, whole: bool
) -> str:
    """What is wrong with the answer to a search; empty if nothing is. ``whole``: the role sees
    every row, so what the cases hold must be found."""
    given = dict(pairs)
    expected = view.search(search.type, pairs)
    if "value-quantity" in given:
        expected = [row for row in expected if not banded(row[1])]
    if search.matches and whole and not expected:
        return "the generated cases hold no match"
    if given.get("_summary") == "count" or given.get("_count") == "0":
        total = pages[0].json.get("total")
        return "" if total == len(expected) else f"the total is {total}, not {len(expected)}"
    found = rows(pages)
    if sorted(named(found)) != sorted(named(expected)):
        more = set(named(found)) - set(named(expected))
        less = set(named(expected)) - set(named(found))
        return f"too many: {sorted(more)[:3]}, missing: {sorted(less)[:3]}"
    matches = [resource for mode, resource in found if mode == "match"]
    if "_sort" in given:
        if not in_order(search.type, matches, given["_sort"]):
            return "not in the order that was asked for"
    elif named(found)[: len(matches)] != named(expected)[: len(matches)]:
        return "not in the order of storage"
    if "_elements" in given:
        return ""
    plain = {name: without_meta(each) for name, (_, each) in zip(named(found), found, strict=True)}
    for name, (_, each) in zip(named(expected), expected, strict=True):
        if plain[name] != without_meta(each):
            return f"{name} is not as the role is shown it"
    return ""


def reads_back(outcome: Response) -> str:
    issues = outcome.json["issue"]
    assert isinstance(issues, list)
    assert isinstance(issues[0], dict)
    return str(issues[0]["diagnostics"])


async def refuse(rig: Rig, role: str, search: Search, filler: Filler) -> str:
    """What is wrong with a refusal; empty if nothing is."""
    type_name, pairs = filler.fill(search.text, search)
    rig.diary.clear()
    answer = await rig.ask(role, encode(type_name, pairs))
    calls = len(rig.diary)
    if (answer.status, calls) != (403, 0) and (answer.status, calls) != (400, 0):
        return f"is {answer.status} with {calls} upstream calls, not refused"
    if search.refusal(role) == OTHER_TYPE:
        return ""
    refusal = YARDSTICK.refusals[search.refusal(role)]
    said = reads_back(answer)
    if refusal.says not in said:
        return f"does not say {refusal.says!r}: {said}"
    other_type, other = filler.fill(refusal.instead, search)
    instead = await rig.ask(role, encode(other_type, other))
    if instead.status != 200:
        return f"cannot be asked {refusal.instead} instead: {reads_back(instead)}"
    return ""


async def answer(
    rig: Rig, role: str, search: Search, filler: Filler, view: Materialized
) -> str:
    """What is wrong with an answer; empty if nothing is."""
    type_name, pairs = filler.fill(search.text, search)
    pages = await walk(rig, role, encode(type_name, pairs))
    if pages[-1].status != 200:
        return f"is {pages[-1].status}: {reads_back(pages[-1])}"
    return judge(search, pairs, pages, view, whole=role != EPI)


def program(case: Case) -> dict[str, list[str]]:
    """What an epidemiologist's token claims: the program's condition with what points at it, and
    the state where the case lives."""
    disease = case.story.disease
    return {
        "conditions": [disease.code, disease.test[0], disease.organism[0]],
        "jurisdictions": [case.story.place[2]],
    }


@pytest.mark.parametrize("role", EVERYONE)
async def test_searches_that_people_make(
    role: str, made: list[Case], tmp_path: Path, tell: Tell
) -> None:
    """Every search of the list is answered with exactly the rows that the role sees and that match,
    or refused as the list says, without an upstream call and with a search that can be asked
    instead. Enough of them are answered."""
    app = embedded(charted(made))
    view = compile_view(load_directory(POLICIES)[role])
    wrong, answered = {}, set()
    claims = {EPI: program(made[0])}
    async with running(app, tmp_path, roles=[role], claims=claims) as rig:
        stored = [v.resource for t in app[STORE].types() for v in app[STORE].of_type(t)]
        held = [resource for resource in stored if resource is not None]
        server = Materialized(held, show(view, rig, role), PUBLIC)
        filler = Filler(made[0], made[1], rig.namer(role) if view.pseudonym("Patient") else None)
        for search in YARDSTICK.searches:
            if search.refusal(role):
                problem = await refuse(rig, role, search, filler)
            else:
                answered.add(search.id)
                problem = await answer(rig, role, search, filler, server)
            if problem:
                wrong[search.id] = problem
    share = 100 * len(answered) / len(YARDSTICK.searches)
    mattering = [s for s in YARDSTICK.searches if role in s.roles]
    theirs = 100 * sum(s.id in answered for s in mattering) / len(mattering)
    tell(
        f"{role}: {len(answered)} of {len(YARDSTICK.searches)} searches answered = "
        f"{share:.0f} %; of the {len(mattering)} that matter to it {theirs:.0f} %"
    )
    assert wrong == {}, "\n".join(f"{name}: {text}" for name, text in wrong.items())
    assert min(share, theirs) >= SHARES.get(role, 0)


def test_the_list_is_well_made() -> None:
    """Ids are unique, sources and refusals known and used, and what is refused is explained."""
    ids = [search.id for search in YARDSTICK.searches]
    assert len(ids) == len(set(ids)) >= 60
    assert {s.source for s in YARDSTICK.searches} == set(YARDSTICK.sources)
    used = {name for s in YARDSTICK.searches for name in s.refused.values()}
    assert used == set(YARDSTICK.refusals)
    for search in YARDSTICK.searches:
        assert search.roles
        assert re.fullmatch(r"[A-Z][A-Za-z]+\?\S.*", search.text)
        assert INV not in search.refused


def test_us_core_is_covered() -> None:
    """Every search parameter of US Core's list is used at least once, for every type that case
    reports use."""
    types = set(load_directory(POLICIES)[INV].access)
    used = {(s.type, code) for s in YARDSTICK.searches for code in codes(s.text)}
    with US_CORE.open(newline="") as file:
        listed = {(row["base"], row["code"]) for row in csv.DictReader(file)}
    assert {pair for pair in listed if pair[0] in types} - used == set()
