"""The same search asked of both twins, and where the answers differ."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import pytest

from tests.equivalence.asking import PAGE, Found, ask_all
from tests.equivalence.queries import Query, Shape
from tests.equivalence.rules import Rule, rule_for
from tests.equivalence.twins import Twins
from tests.views import differences

REFUSALS = (400, 403)


@dataclass(slots=True)
class Tally:
    """What was compared. ``answered``: by both. ``shapes``: of those; ``hits``: of those that found
    rows; ``refused``: of the others. ``deviating``: by the name of a deviation. ``differing``: one
    line for each difference."""

    answered: list[Query] = field(default_factory=list)
    shapes: Counter[Shape] = field(default_factory=Counter)
    hits: Counter[Shape] = field(default_factory=Counter)
    refused: Counter[Shape] = field(default_factory=Counter)
    deviating: Counter[str] = field(default_factory=Counter)
    differing: list[str] = field(default_factory=list)
    asked: int = 0

    def __str__(self) -> str:
        passed = "".join(f"\n  {count:4} {name}" for name, count in sorted(self.deviating.items()))
        answered = f"{len(self.answered)} of {self.asked} answered by both"
        return f"{answered}, {len(self.differing)} differ; deviations:{passed or ' none'}"


def same(tally: Tally) -> None:
    """Fail with every difference, each on a line."""
    if tally.differing:
        pytest.fail("\n".join(tally.differing), pytrace=False)


async def compare(twins: Twins, session: aiohttp.ClientSession, queries: Iterable[Query]) -> Tally:
    """Ask both everything."""
    asked = list(queries)
    tally = Tally(asked=len(asked))
    rules = [rule_for(twins.table, query, forwarded=twins.view.identity) for query in asked]
    through, plain = await asyncio.gather(
        ask_all(twins.proxy(session), asked),
        ask_all(
            twins.plain(session), [q for rule in rules for group in rule.instead for q in group]
        ),
    )
    rest = iter(plain)
    for query, rule, one in zip(asked, rules, through, strict=True):
        other = common([united([next(rest) for _ in group]) for group in rule.instead])
        other = _without(other, twins.ghosts)
        tally.deviating.update(rule.names)
        _note(tally, query, rule, one, other)
        if one.status == 200:
            other = _excused(tally, rule, one, other)
        tally.differing += [f"{query.text}: {text}" for text in judge(query, rule, one, other)]
    return tally


def _note(tally: Tally, query: Query, rule: Rule, one: Found, other: Found) -> None:
    if one.status == other.status == 200:
        tally.answered.append(query)
        tally.shapes.update(query.shapes)
        if one.rows:
            tally.hits.update(query.shapes)
    elif one.status >= 400 and (rule.refused or other.status >= 400):
        tally.refused.update(query.shapes)


def judge(query: Query, rule: Rule, one: Found, other: Found) -> Iterator[str]:
    """Where the proxy's answer is not the plain server's."""
    if rule.refused:
        if one.status not in REFUSALS:
            yield f"is not refused: {one.status}"
        return
    if rule.alone:
        if one.status != 200:
            yield f"is not answered: {one.status} {one.text}"
        return
    if one.status >= 500 or one.status // 100 != other.status // 100:
        yield f"status {one.status} | {other.status} {one.text or other.text}"
        return
    yield from _rows(query, one, other, ordered=not rule.unordered)
    yield from _pages(query, one)
    counted = not rule.met and {"_total", "_summary"} & {name for name, _ in query.pairs}
    if counted and one.total != other.total:
        yield f"total {one.total} | {other.total}"
    contents = {row.name: row.content for row in other.rows}
    for row in one.rows:
        if row.name in contents:
            for text in differences(row.content, contents[row.name]):
                yield f"{row.name}{text}"


def _without(found: Found, ghosts: frozenset[str]) -> Found:
    """An answer without what is not shown, and without what comes along with that only."""
    if not ghosts:
        return found
    named = {row.name for row in found.rows} & ghosts
    rows = tuple(r for r in found.rows if r.name not in named)
    if named and any(row.mode == "match" and row.name in named for row in found.rows):
        shown = {row.name for row in rows if row.mode == "match"}
        rows = tuple(r for r in rows if r.mode == "match" or shown & set(texts(r.content)))
    return replace(found, rows=rows)


def texts(value: Any) -> Iterator[str]:
    """Every text inside a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


def _rows(query: Query, one: Found, other: Found, *, ordered: bool) -> Iterator[str]:
    """Where rows differ. What comes along is repeated on pages, and may be a match of another."""
    here, there = one.names(), other.names()
    if Counter(here) != Counter(there):
        yield _sets("match", set(here), set(there))
    elif query.sorted and ordered and here != there:
        yield f"order {_few(here, 20)} | {_few(there, 20)}"
    along, others = (set(found.names("include")) - set(there) for found in (one, other))
    if along != others:
        yield _sets("include", along, others)


def _sets(mode: str, here: set[str], there: set[str]) -> str:
    more, less = _few(sorted(here - there)), _few(sorted(there - here))
    return f"{mode} {len(here)} | {len(there)}: only here {more}, only there {less}"


def _pages(query: Query, one: Found) -> Iterator[str]:
    """Whether every page but the last is full."""
    asked = [int(value) for name, value in query.pairs if name == "_count"]
    if asked and asked[0] < int(PAGE) and any(size != asked[0] for size in one.sizes[:-1]):
        yield f"pages of {one.sizes}"


def united(found: list[Found]) -> Found:
    """The rows of several answers, each once; the first that is an error instead."""
    if len(found) == 1:
        return found[0]
    failed = next((one for one in found if one.status != 200), None)
    rows = {(row.mode, row.name): row for one in found for row in one.rows}
    return failed or Found(200, tuple(rows.values()))


def common(found: list[Found]) -> Found:
    """The rows that all answers have; the first that is an error instead."""
    if len(found) == 1:
        return found[0]
    failed = next((one for one in found if one.status != 200), None)
    names = set.intersection(*({row.name for row in one.rows} for one in found))
    return failed or Found(200, tuple(row for row in found[0].rows if row.name in names))


def _excused(tally: Tally, rule: Rule, one: Found, other: Found) -> Found:
    """The other answer without rows that only it may have, by deviations that are noted."""
    here, kept, met = set(one.names()), [], set()
    for row in other.rows:
        reasons = [] if row.name in here else rule.excuses(row)
        met.update(reasons)
        if not reasons:
            kept.append(row)
    tally.deviating.update(met - set(rule.names))
    return replace(other, rows=tuple(kept))


def _few(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
