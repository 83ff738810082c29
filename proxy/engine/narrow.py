"""A search on its way in: every parameter judged, then translated, before anything is asked.

The view's verdict table decides (:mod:`proxy.policy.verdicts`); an identity view forwards what the
registry knows. What comes out is a :class:`Plan`: the form for the upstream, made anew, and the
conditions that every shown row must meet here, since the upstream's filter proves nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxy.engine import dates, forward, translate
from proxy.engine.answers import COUNTED
from proxy.engine.chains import Chain
from proxy.engine.chains import send as send_chain
from proxy.engine.context import Context
from proxy.engine.includes import Include, parse_include
from proxy.engine.messages import Pairs
from proxy.engine.persons import find_offset
from proxy.engine.projection import Projection, parse_projection
from proxy.engine.question import Condition, Question, Sent
from proxy.errors import BadValue, Forbidden
from proxy.fhir import registry
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.search import Parameter, pairs, split
from proxy.policy.controls import CONTROLS, IGNORED
from proxy.policy.verdicts import Verdict

_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)
_TOTALS = frozenset({"none", "estimate", "accurate"})
_OTHERWISE = frozenset({"chain", "include", "sort"})  # ways of what is no condition on an element
_UNCOUNTED = ("This search is not counted for your role; leave out what it includes or chains, or "
              "search for the rows instead.")  # fmt: skip
_LEAST, _SIFTED = 50, 100  # rows of an upstream page, at least; where many may fall away


@dataclass(frozen=True, slots=True)
class Key:
    """A sort key of a search that is sorted here."""

    parameter: SearchParameter
    down: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A search, ready. ``query``: accepted parameters in the client's terms. ``form``: what is
    sent upstream, paging aside. ``conditions``: what a shown row must meet. ``empty``: nothing can
    match, so nothing is asked. ``count``: rows on a page. ``total``: whether it is shown.
    ``counts_only``: no rows were asked for. ``chains``: what a shown row must lead to. ``order``:
    what rows are sorted by here, if they are. ``includes``: what comes along, assembled here.
    ``sifted``: more is asked for than what was asked."""

    type: str
    query: tuple[Parameter, ...]
    form: Pairs
    conditions: tuple[Condition, ...]
    empty: bool
    count: int
    total: bool
    counts_only: bool
    projection: Projection
    ask_total: bool
    chains: tuple[Chain, ...] = ()
    order: tuple[Key, ...] = ()
    includes: tuple[Include, ...] = ()
    sifted: bool = False

    @property
    def step(self) -> int:
        """Rows of an upstream page from which one of ours is filled: one more than it holds, to
        know whether another follows, and not too few, since some of them may fall away."""
        return max(self.count + 1, _SIFTED if self.sifted else _LEAST)

    def page_form(self, count: int) -> Pairs:
        """What the first ask adds for pages of ``count`` rows."""
        total = (COUNTED,) if self.ask_total else ()
        return (("_count", str(count)), *total)


def narrow(context: Context, type_: str, parameters: tuple[Parameter, ...]) -> Plan:
    """The plan of a type search.

    Raises :class:`NotSupported` for what is not known, :class:`Forbidden` for what this role may
    not search by, :class:`BadValue` for a malformed value; all before any upstream call.
    """
    table = context.gateway.verdicts[context.caller.role]
    accepted = tuple(p for p in parameters if p.code not in IGNORED)
    _note(context, type_, accepted)
    verdicts = [table.verdict(type_, p.code, p.modifier, p.chain) for p in accepted]
    for found in verdicts:
        if found.kind == "refuse":
            raise found.error()
    judged = [(p, v) for p, v in zip(accepted, verdicts, strict=True) if v.way != "result"]
    projection = parse_projection(pairs(accepted), type_)
    count = _parse_count(accepted, context.view.policy.search.page_size)
    wanted = _parse_total(accepted)
    counts_only = count == 0 or projection.summary == "count"
    asked = forward.join_sorts([(p, v) for p, v in judged if v.way not in _OTHERWISE])
    offset = find_offset(context, type_, asked)
    plain = [Question(context, type_, p, v, offset) for p, v in asked]
    sent = dates.join([*map(forward.send if context.view.identity else translate.send, plain)])
    chained = [
        send_chain(Question(context, type_, p, v)) for p, v in judged if v.way == "chain"
    ]
    sent += [each for each, _ in chained]
    includes = tuple(parse_include(context, p) for p, v in judged if v.way == "include")
    sort, order = _parse_sort(context, type_, [p.value for p, v in judged if v.way == "sort"])
    context.notes.add(rules=_rules(context, verdicts))
    limited = context.view.limits(type_) or context.view.hides_sections
    total = not limited and _total_is_shown(context, accepted, sent, wanted, counts_only)
    if counts_only and not total:
        counts = context.view.policy.search.total == "exact"
        raise Forbidden(_UNCOUNTED if counts else "Counts are not offered to your role; search for "
                        "the rows instead.")  # fmt: skip
    rows = context.view.row_form(type_, context.caller.claims)
    return Plan(
        type=type_,
        query=accepted,
        form=(*dates.beside(sent, rows or ()), *sort),
        conditions=tuple(c for each in sent for c in each.conditions),
        empty=rows is None or any(each.empty for each in sent),
        count=count or context.view.policy.search.page_size,
        total=total,
        counts_only=counts_only,
        projection=projection,
        ask_total=total and context.view.identity,
        chains=tuple(chain for _, chain in chained),
        order=order,
        includes=includes,
        sifted=limited or any(each.conditions for each in sent) or bool(chained),
    )


def _parse_sort(
    context: Context, type_: str, values: list[str]
) -> tuple[Pairs, tuple[Key, ...]]:
    """What the upstream is asked to sort by, or by what rows are sorted here.

    Raises what the verdict table says of a key, :class:`BadValue` for more than one _sort.
    """
    if not values:
        return (() if context.view.identity else context.gateway.as_stored), ()
    if len(values) > 1:
        raise BadValue("_sort must be given once, its keys separated by commas.")
    keys = split(values[0], ",")
    table = context.gateway.verdicts[context.caller.role]
    found = [table.sort(type_, key.removeprefix("-")) for key in keys]
    for verdict in found:
        if verdict.kind == "refuse":
            raise verdict.error()
    if all(verdict.way == "plain" for verdict in found):
        return (("_sort", forward.total_order(keys)),), ()
    defined = registry.get(type_)
    return (), tuple(Key(defined[k.removeprefix("-")], k.startswith("-")) for k in keys)


def _note(context: Context, type_: str, parameters: tuple[Parameter, ...]) -> None:
    """Names for the audit: those that the specification gives, never a client's own words."""
    known = CONTROLS | set(registry.get(type_))
    names = dict.fromkeys(p.code if p.code in known else "(unknown)" for p in parameters)
    context.notes.add(parameters=tuple(names))


def _rules(context: Context, verdicts: list[Verdict]) -> tuple[str, ...]:
    found = (rule for verdict in verdicts for rule in verdict.rules)
    return tuple(dict.fromkeys((*context.notes.facts.rules, *found)))


def _parse_count(parameters: tuple[Parameter, ...], most: int) -> int | None:
    values = [p.value for p in parameters if p.name == "_count"]
    if not values:
        return None
    if len(values) > 1 or not _COUNT.fullmatch(values[0]):
        raise BadValue("_count must be one whole number from 0 on.")
    return min(int(values[0]), most)


def _parse_total(parameters: tuple[Parameter, ...]) -> str:
    values = {p.value for p in parameters if p.name == "_total"}
    if len(values) > 1 or not values <= _TOTALS:
        raise BadValue("_total must be none, estimate or accurate.")
    return next(iter(values), "")


def _total_is_shown(
    context: Context,
    parameters: tuple[Parameter, ...],
    sent: list[Sent],
    wanted: str,
    counts_only: bool,
) -> bool:
    """Whether a total is given: by the view and the request alone, never by the data.

    In a restricted view a row may be withheld, so the total is counted row by row; that is done
    where it is asked for.
    """
    if context.view.policy.search.total != "exact":
        return False
    if any(p.code in ("_include", "_revinclude") for p in parameters):
        return False
    if not all(each.unchanged for each in sent):
        return False
    if counts_only:
        return True
    return wanted != "none" if context.view.identity else wanted in ("accurate", "estimate")
