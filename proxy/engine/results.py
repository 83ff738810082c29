"""What a search finds upstream, page by page, each row judged as the view shows it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from proxy.engine.answers import OK, PAGE, SEARCH, Bundle, Row
from proxy.engine.asking import Work, read_first, read_page
from proxy.engine.assemble import incomplete_entry, match_entry
from proxy.engine.chains import keep
from proxy.engine.companions import meet
from proxy.engine.context import Context, ask_one, render
from proxy.engine.messages import Answer, Ask, Pairs
from proxy.engine.narrow import Plan
from proxy.engine.paging import Cursor
from proxy.engine.reveal import reveal
from proxy.engine.subjects import patients_of
from proxy.engine.targets import Known, Seen, keep_cases
from proxy.errors import BadValue, NotSupported, UpstreamBroken

T = TypeVar("T")
Asking = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", T]


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one page; where the next begins, None if there is none; the total if known."""

    rows: list[Seen]
    following: Cursor | None
    total: int | None


_TWICE = 412  # HAPI: a list names a resource twice, once by its id alone


def fetch(context: Context, plan: Plan, url: str, form: Pairs) -> Asking[Bundle]:
    """One page of the upstream: the search itself with ``form``, or the page at ``url``. A first
    page that may not be all is asked for once more.

    Raises :class:`Gone` where the upstream has forgotten the page, :class:`BadValue` where it does
    not read a value, :class:`NotSupported` where it does not offer what is asked.
    """
    if url:
        answer = yield from ask_one(Ask(url=url))
        if answer.error is None and answer.status != OK:
            raise PAGE.get(answer.status, UpstreamBroken)()
        return read_page(context, answer)
    ask = Ask(path=f"{plan.type}/_search", form=plan.form + form)
    answer = yield from ask_one(ask)
    if answer.error is None and answer.status in (*SEARCH, _TWICE):
        raise BadValue("A search value is not one that this server understands.")
    if answer.error is None and answer.status in (404, 405):
        raise NotSupported("The search uses something that this server does not support.")
    return (yield from read_first(context, ask, answer))


def judge(
    context: Context,
    plan: Plan,
    rows: list[Row],
    known: Known,
    work: Work,
    start: int = 0,
    most: int | None = None,
) -> Asking[list[Seen]]:
    """The rows from ``start`` on that the caller sees and that meet every condition, at ``most``
    so many."""
    yield from meet(context, [row.body for row in rows[start:] if row.type], work)
    found: list[Seen] = []
    at = start
    while at < len(rows) and (most is None or len(found) < most):
        some: list[Seen] = []
        while at < len(rows) and (plan.chains or most is None or len(found) + len(some) < most):
            seen = see(context, plan, rows[at], at)
            at += 1
            if seen is not None:
                some.append(seen)
        if plan.chains:
            some = yield from keep(context, plan.chains, some, known, work)
        found += yield from keep_cases(context, some, work)
    return found[:most]


def see(context: Context, plan: Plan, row: Row, at: int = 0) -> Seen | None:
    """The row if the caller sees it and it meets the conditions on itself."""
    if not row.type:
        return Seen(row, None, at)
    if row.type != plan.type:
        raise UpstreamBroken()
    shown = reveal(context, row.body)
    if shown is None or not all(holds(shown) for holds in plan.conditions):
        return None
    return Seen(row, shown, at)


def write_entry(context: Context, plan: Plan, seen: Seen, mode: str = "match") -> bytes:
    """The entry of a row, noted for the audit; of a malformed one, an outcome in its place."""
    if seen.shown is None:
        return incomplete_entry()
    patients = patients_of(seen.row.body, context.gateway.bases)
    context.notes.add_patients(map(context.audit_name, patients))
    body = render(b"", seen.shown, plan.projection)
    return match_entry(context.base, seen.row.type, str(seen.shown["id"]), body, mode)
