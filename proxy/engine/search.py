"""Type search: ask, judge every row, fill the page, seal the link to the next (R4, search.html).

A page holds exactly as many visible rows as were asked for, whatever is hidden between them, and
has a next link if and only if another visible row follows: so its borders tell nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from proxy.engine.access import may
from proxy.engine.answers import COUNTED, Row, found, matches, next_url
from proxy.engine.asking import Work
from proxy.engine.assemble import assemble, incomplete_entry, match_entry
from proxy.engine.companions import meet
from proxy.engine.context import Context
from proxy.engine.includes import gather
from proxy.engine.messages import Answer, Ask, Pairs, Reply
from proxy.engine.narrow import Plan, narrow
from proxy.engine.ordering import sort_page
from proxy.engine.paging import PARAMETER, Cursor, Page
from proxy.engine.projection import prettify
from proxy.engine.results import Part, fetch, judge, see, write_entry
from proxy.engine.reveal import load, show
from proxy.engine.subjects import patients_of
from proxy.engine.targets import Known, Seen
from proxy.errors import NotSupported, TooCostly, UpstreamBroken
from proxy.fhir.interaction import Interaction
from proxy.fhir.search import Parameter, pairs, parameter, print_query

Flow = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", Reply]
Filling = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", "Filled"]
Parting = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", Part]
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
    filled = yield from (_pass if context.view.identity else _show)(context, place)
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


def _pass(context: Context, place: Place) -> Filling:
    """A page of an identity view: the upstream's page, includes with it."""
    plan, cursor = place.plan, place.cursor
    form = plan.page_form(plan.count)
    bundle = yield from fetch(context, plan, cursor.url, form)
    total = bundle.total if cursor.total is None else cursor.total
    entries = []
    for row in found(bundle):
        if not row.type:
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
    return row.mode == "include" and may(context.caller, context.view, "include", row.type)


def _show(context: Context, place: Place) -> Filling:
    """A page of a restricted view, what comes along with it, and its total if that is shown."""
    plan, cursor = place.plan, place.cursor
    if plan.order:
        part = yield from sort_page(context, plan, cursor, fresh=not place.token)
    else:
        if plan.total and cursor.total is None:
            cursor = replace(cursor, total=(yield from _count(context, plan)))
        part = yield from _fill(context, plan, cursor)
    entries = [write_entry(context, plan, row) for row in part.rows]
    if plan.includes:
        work = Work(context.gateway.limits.asks)
        along = yield from gather(context, plan.includes, part.rows, work)
        entries += [write_entry(context, plan, row, "include") for row in along]
    return Filled(entries, part.following, part.total)


def _fill(context: Context, plan: Plan, cursor: Cursor) -> Parting:
    """Visible rows, fetched until the page is full or the set ends, and one more, to know whether
    another page follows."""
    form = plan.page_form(plan.step)
    work = Work(context.gateway.limits.asks)
    known: Known = {}
    page: list[Seen] = []
    url, start, asked = cursor.url, None, {cursor.url}
    while True:
        work.spend()
        bundle = yield from fetch(context, plan, url, form)
        rows = matches(bundle)
        start = cursor.find([row.key for row in rows]) if start is None else 0
        most = plan.count + 1 - len(page)
        page += yield from judge(context, plan, rows, known, work, start, most)
        if len(page) > plan.count:
            last = page.pop()
            before = rows[last.at - 1].key if last.at else ""
            following = Cursor(url, last.at, last.row.key, before, cursor.total)
            return Part(page, following, cursor.total)
        url = next_url(bundle, context.gateway.bases, asked)
        if not url:
            return Part(page, None, cursor.total)


def _note(context: Context, row: Row) -> None:
    patients = patients_of(row.body, context.gateway.bases)
    context.notes.add_patients(map(context.audit_name, patients))


def _count(context: Context, plan: Plan) -> Counted:
    """How many rows the caller sees. An identity view asks; any other walks the whole result,
    since a row may be withheld, and refuses above ``search.window``."""
    if context.view.identity:
        bundle = yield from fetch(context, plan, "", (COUNTED, ("_count", "0")))
        if bundle.total is None:
            raise UpstreamBroken()
        return bundle.total
    window = context.view.policy.search.window
    form = plan.page_form(context.view.policy.search.page_size)
    seen, total, url, asked, work = 0, 0, "", {""}, Work(window)
    while True:
        bundle = yield from fetch(context, plan, url, form)
        rows = matches(bundle)
        seen += len(rows)
        if seen > window or len(asked) > window:
            raise TooCostly(f"Only results of up to {window} rows are counted; narrow the search.")
        if plan.conditions:
            yield from meet(context, [row.body for row in rows if row.type], work)
        total += sum(_counts(context, plan, row) for row in rows)
        url = next_url(bundle, context.gateway.bases, asked)
        if not url:
            return total


def _counts(context: Context, plan: Plan, row: Row) -> bool:
    if not row.type or plan.conditions:
        return see(context, plan, row) is not None
    if row.type != plan.type:
        raise UpstreamBroken()
    return context.view.visible(load(row.body), context.caller.claims)
