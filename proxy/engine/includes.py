"""What comes along with the matches of a restricted view: _include, _revinclude, :iterate
(R4, search.html#revinclude).

Assembled here and never taken from the upstream: from references that show to resources that show.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from proxy.engine.access import may
from proxy.engine.asking import Work, ask_referring, ask_rows
from proxy.engine.companions import meet
from proxy.engine.context import Context
from proxy.engine.messages import Answer, Ask
from proxy.engine.targets import (
    Known,
    Name,
    Seen,
    fetch_targets,
    keep_cases,
    name_targets,
    see_target,
)
from proxy.errors import Forbidden, NotSupported, TooCostly, UpstreamBroken
from proxy.fhir import registry
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.search import Parameter
from proxy.policy.compile import View
from proxy.policy.model import Caller
from proxy.policy.verdicts import Verdict

Gathering = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", list[Seen]]


@dataclass(frozen=True, slots=True)
class Include:
    """``parameter`` of ``source``, forward or ``reverse``; ``targets``: the types it may lead to.
    ``iterate``: followed from what was included too."""

    source: str
    parameter: SearchParameter
    targets: frozenset[str]
    reverse: bool
    iterate: bool


def parse_include(context: Context, p: Parameter) -> Include:
    """The include that is asked for. Raises what the verdict table says of it, and
    :class:`Forbidden` where the token does not cover what would come along."""
    reverse = p.code == "_revinclude"
    if "," in p.value:
        raise NotSupported("An include takes one Type:parameter; repeat the parameter for more.")
    found = context.gateway.verdicts[context.caller.role].include(p.value, reverse=reverse)
    if found.kind == "refuse":
        raise found.error()
    source, code, *_ = p.value.split(":")
    targets = reach(context.caller, context.view, source, found, reverse=reverse)
    if not targets:
        raise Forbidden("The scopes of your token do not cover what this include leads to.")
    return Include(source, registry.get(source)[code], targets, reverse, bool(p.modifier))


def reach(
    caller: Caller, view: View, source: str, found: Verdict, *, reverse: bool
) -> frozenset[str]:
    """The types that an include with the verdict ``found`` leads to for this caller; none: nothing
    would come along, since the token does not cover it."""
    if reverse:
        return frozenset(found.targets if may(caller, view, "include", source) else ())
    return frozenset(t for t in found.targets if may(caller, view, "include", t))


def gather(
    context: Context, includes: tuple[Include, ...], rows: list[Seen], work: Work
) -> Gathering:
    """What comes along with ``rows``, each resource once: what they refer to, in their order, then
    what refers to them, in the upstream's. Raises :class:`TooCostly` for more than a page may
    hold."""
    there = {row.name for row in rows if row.shown is not None}
    known: Known = {}
    found: list[Seen] = []
    sources, first = [row for row in rows if row.shown is not None], True
    while sources:
        wanted = [include for include in includes if first or include.iterate]
        fresh: dict[Name, Seen] = {}
        names = _name(context, wanted, sources)
        yield from fetch_targets(context, names, known, work)
        for name in names:
            target = known[name]
            if target is not None:
                fresh[name] = target
        for include in wanted:
            if include.reverse:
                for row in (yield from _refer(context, include, sources, work)):
                    fresh.setdefault(row.name, row)
        sources, first = [row for name, row in fresh.items() if name not in there], False
        there |= fresh.keys()
        found += sources
        if len(found) > context.gateway.limits.included:
            raise TooCostly("More resources would be included than a page may hold; ask for fewer "
                            "rows with _count, or include less.")  # fmt: skip
    return found


def _name(context: Context, includes: list[Include], sources: list[Seen]) -> dict[Name, None]:
    """What the sources lead to, in their order."""
    return dict.fromkeys(
        name
        for source in sources
        for include in includes
        if not include.reverse and include.source == source.row.type
        for name in name_targets(context, source, include.parameter)
        if name[0] in include.targets
    )


def _refer(context: Context, include: Include, sources: list[Seen], work: Work) -> Gathering:
    """The rows that show a reference to one of the sources."""
    ends = [source for source in sources if source.row.type in include.targets]
    limits = context.view.row_form(include.source, context.caller.claims)
    if not ends or limits is None:
        return []
    code, names = include.parameter.code, [source.row.key for source in ends]
    more = (*limits, *context.gateway.as_stored)
    asks = ask_referring(context, include.source, code, names, more)
    named = {source.name for source in ends}
    found: list[Seen] = []
    for rows in (yield from ask_rows(context, asks, work)):
        yield from meet(context, [row.body for row in rows if row.type], work)
        for row in rows:
            if row.type and row.type != include.source:
                raise UpstreamBroken()
            seen = see_target(context, row) if row.type else None
            if seen and named.intersection(name_targets(context, seen, include.parameter)):
                found.append(seen)
    return (yield from keep_cases(context, found, work))
