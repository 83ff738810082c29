"""Type search: ask, judge every row, fill the page, seal the link to the next (R4, search.html).

A page holds exactly as many visible rows as were asked for, whatever is hidden between them, and
has a next link if and only if another visible row follows: so its borders tell nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from proxy.engine.access import may
from proxy.engine.answers import (
    OK,
    PAGE,
    SEARCH,
    Bundle,
    Row,
    check,
    matches,
    next_url,
    read_bundle,
    read_row,
)
from proxy.engine.assemble import assemble, incomplete_entry, match_entry
from proxy.engine.context import Context, ask_one, render
from proxy.engine.messages import Answer, Ask, Pairs, Reply
from proxy.engine.narrow import Plan, narrow
from proxy.engine.paging import PARAMETER, Cursor, Page
from proxy.engine.projection import prettify
from proxy.engine.reveal import load, reveal, show
from proxy.engine.subjects import patients_of
from proxy.errors import BadValue, NotSupported, TooCostly, UpstreamBroken
from proxy.fhir.interaction import Interaction
from proxy.fhir.search import Parameter, pairs, parameter, print_query

Flow = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", Reply]
Fetch = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", Bundle]
Filling = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", "Filled"]
Counted = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", int]

_WITH_PAGE = frozenset({PARAMETER, "_format", "_pretty"})


@dataclass(frozen=True, slots=True)
class Place:
    """One page to be answered: what is searched, and from where on. ``token``: empty on the first
    page."""

    plan: Plan
    cursor: Cursor
    token: str = ""


@dataclass(frozen=True, slots=True)
class Filled:
    """A page's entries; where the next page begins, None if there is none; the total if known."""

    entries: list[bytes]
    following: Cursor | None
    total: int | None


def search(
    context: Context, interaction: Interaction, parameters: tuple[Parameter, ...]
) -> Flow:
    """The searchset that the parameters ask for, or one page of it."""
    place = _place(context, interaction.type, parameters)
    plan = place.plan
    links: Pairs = (("self", _self_link(context, place)),)
    if plan.counts_only:
        total = 0 if plan.empty else (yield from _count(context, plan))
        return _reply(context, plan, links, [], total)
    if plan.empty:
        return _reply(context, plan, links, [], 0 if plan.total else None)
    if plan.total and not context.view.identity and place.cursor.total is None:
        total = yield from _count(context, plan)
        place = replace(place, cursor=replace(place.cursor, total=total))
    filled = yield from (_pass if context.view.identity else _fill)(context, place)
    if filled.following is not None:
        links += (("next", _next_link(context, plan, filled.following)),)
    return _reply(context, plan, links, filled.entries, filled.total if plan.total else None)


def _place(context: Context, type_: str, parameters: tuple[Parameter, ...]) -> Place:
    token = next((p.value for p in parameters if p.name == PARAMETER), "")
    if not token:
        return Place(narrow(context, type_, parameters), Cursor())
    if any(p.name not in _WITH_PAGE for p in parameters) or (
        sum(p.name == PARAMETER for p in parameters) > 1
    ):
        raise NotSupported("A page link is followed as it is, without other parameters.")
    page = context.unseal(token, type_)
    again = tuple(parameter(name, value) for name, value in page.query)
    form = tuple(p for p in parameters if p.name != PARAMETER)
    plan = narrow(context, type_, again + form)
    return Place(replace(plan, query=again), page.cursor, token)


def _reply(
    context: Context, plan: Plan, links: Pairs, entries: list[bytes], total: int | None
) -> Reply:
    context.notes.add(entries=len(entries))
    body = assemble("searchset", links, entries, total)
    return Reply(200, prettify(body) if plan.projection.pretty else body)


def _self_link(context: Context, place: Place) -> str:
    base = f"{context.base}/{place.plan.type}"
    if place.token:
        return f"{base}?{PARAMETER}={place.token}"
    query = print_query(place.plan.query)
    return f"{base}?{query}" if query else base


def _next_link(context: Context, plan: Plan, cursor: Cursor) -> str:
    token = context.seal(Page(pairs(plan.query), cursor), plan.type)
    link = f"{context.base}/{plan.type}?{PARAMETER}={token}"
    if len(link) > context.gateway.limits.target:
        raise TooCostly("The search is too long to be continued on a second page; shorten it.")
    return link


def _fetch(context: Context, plan: Plan, url: str, form: Pairs) -> Fetch:
    """One page of the upstream: the search itself, or the page at ``url``."""
    if url:
        answer = yield from ask_one(Ask(url=url))
        if answer.error is None and answer.status != OK:
            raise PAGE.get(answer.status, UpstreamBroken)()
    else:
        answer = yield from ask_one(Ask(path=f"{plan.type}/_search", form=plan.form + form))
        if answer.error is None and answer.status in SEARCH:
            raise BadValue("A search value is not one that this server understands.")
        if context.view.identity and answer.error is None and answer.status in (404, 405):
            raise NotSupported("The search uses something that this server does not support.")
    return read_bundle(check(answer, {}, passes=context.view.identity), "searchset")


def _pass(context: Context, place: Place) -> Filling:
    """A page of an identity view: the upstream's page, includes with it."""
    plan, cursor = place.plan, place.cursor
    form = plan.page_form(plan.count)
    bundle = yield from _fetch(context, plan, cursor.url, form)
    total = bundle.total if cursor.total is None else cursor.total
    entries = []
    for row in filter(None, map(read_row, bundle.entry)):
        if row.mode == "match" and not row.type:
            entries.append(incomplete_entry())
        elif row.mode == "match" and row.type != plan.type:
            raise UpstreamBroken()
        elif row.mode == "match" or _comes_along(context, row):
            body = show(context, row.body, plan.projection)
            entries.append(match_entry(context.base, row.type, row.id, body or b"", row.mode))
            _note(context, row)
    url = next_url(bundle, context.gateway.bases, {cursor.url} if cursor.url else set())
    return Filled(entries, Cursor(url=url, total=total) if url else None, total)


def _comes_along(context: Context, row: Row) -> bool:
    """Whether an included row may be shown; outcomes of the upstream never are."""
    return (
        row.mode == "include"
        and bool(row.type)
        and may(context.caller, context.view, "include", row.type)
    )


def _fill(context: Context, place: Place) -> Filling:
    """A page of a restricted view: visible rows, fetched until it is full or the set ends, and
    one more row, to know whether another page follows."""
    plan, cursor = place.plan, place.cursor
    form = plan.page_form(plan.count + 1)
    entries: list[bytes] = []
    url, first, asked = cursor.url, True, {cursor.url}
    for _ in range(context.gateway.limits.asks):
        bundle = yield from _fetch(context, plan, url, form)
        rows = matches(bundle)
        for offset in range(_start(rows, cursor) if first else 0, len(rows)):
            entry = _judge(context, plan, rows[offset])
            if entry is None:
                continue
            if len(entries) == plan.count:
                before = rows[offset - 1].key if offset else ""
                following = Cursor(url, offset, rows[offset].key, before, cursor.total)
                return Filled(entries, following, cursor.total)
            entries.append(entry)
            _note(context, rows[offset])
        url, first = next_url(bundle, context.gateway.bases, asked), False
        if not url:
            return Filled(entries, None, cursor.total)
    raise TooCostly()


def _start(rows: list[Row], cursor: Cursor) -> int:
    """Where the page begins among the rows of the upstream's page: at the row that was next, else
    after the one before it; if both were deleted meanwhile, where their follower moved up to."""
    keys = [row.key for row in rows]
    if cursor.row in keys:
        return keys.index(cursor.row)
    if cursor.before in keys:
        return keys.index(cursor.before) + 1
    return max(cursor.offset - 1, 0)


def _judge(context: Context, plan: Plan, row: Row) -> bytes | None:
    """The entry of a row as shown; None if the caller does not see it."""
    if not row.type:
        return incomplete_entry()
    if row.type != plan.type:
        raise UpstreamBroken()
    shown = reveal(context, row.body)
    if shown is None or not all(holds(shown) for holds in plan.conditions):
        return None
    body = render(b"", shown, plan.projection)
    return match_entry(context.base, row.type, str(shown["id"]), body)


def _note(context: Context, row: Row) -> None:
    patients = patients_of(row.body, context.gateway.bases)
    context.notes.add_patients(map(context.audit_name, patients))


def _count(context: Context, plan: Plan) -> Counted:
    """How many rows the caller sees. An identity view asks; any other walks the whole result,
    since a row may be withheld, and refuses above ``search.window``."""
    if context.view.identity:
        bundle = yield from _fetch(context, plan, "", (("_total", "accurate"), ("_count", "0")))
        if bundle.total is None:
            raise UpstreamBroken()
        return bundle.total
    window = context.view.policy.search.window
    form = plan.page_form(context.view.policy.search.page_size)
    seen, total, url, asked = 0, 0, "", {""}
    while True:
        bundle = yield from _fetch(context, plan, url, form)
        rows = matches(bundle)
        seen += len(rows)
        if seen > window or len(asked) > window:
            raise TooCostly()
        total += sum(_counts(context, plan, row) for row in rows)
        url = next_url(bundle, context.gateway.bases, asked)
        if not url:
            return total


def _counts(context: Context, plan: Plan, row: Row) -> bool:
    if row.type and row.type != plan.type:
        raise UpstreamBroken()
    if not row.type or not plan.conditions:
        return not row.type or context.view.visible(load(row.body), context.caller.claims)
    shown = reveal(context, row.body)
    return shown is not None and all(holds(shown) for holds in plan.conditions)
