"""``_sort`` in a restricted view: by what is shown, then by the shown id (R4, search.html#sort).

The whole result is walked, up to ``search.window`` rows, and put in order here, so that nothing
hidden moves a row. Where ids are real and all that a key reads is shown as stored, the upstream
sorts, with ``_id`` appended.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from proxy.engine.answers import Row, matches, next_url
from proxy.engine.asking import CHUNK, Work, ask_named, ask_rows
from proxy.engine.context import Context
from proxy.engine.messages import Answer, Ask
from proxy.engine.narrow import Plan
from proxy.engine.orders import Order
from proxy.engine.paging import Cursor
from proxy.engine.results import Part, fetch, judge
from proxy.engine.targets import Known, Seen
from proxy.errors import TooCostly
from proxy.fhir import match
from proxy.fhir.match_order import SortKey, put_in_order
from proxy.fhir.search import pairs

T = TypeVar("T")
Asking = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", T]

_STEP = 200  # rows of an upstream page while a result is walked
_HELD = 1_000  # rows kept while walking, so that most pages need no second ask


@dataclass(frozen=True, slots=True)
class Placed:
    """A row's name upstream, its shown id, and what it is sorted by."""

    key: str
    id: str
    values: tuple[SortKey | None, ...]


@dataclass(slots=True)
class Arranged:
    """A result in order, malformed rows last. ``held``: rows that were kept, by their name
    upstream."""

    order: Order
    held: dict[str, Seen] = field(default_factory=dict)


def arrange(context: Context, plan: Plan) -> Asking[Arranged]:
    """The whole result, walked and put in order.

    Raises :class:`TooCostly` for a result of more than ``search.window`` rows upstream.
    """
    window = context.view.policy.search.window
    work = Work(context.gateway.limits.asks + 2 * window // CHUNK)
    known: Known = {}
    placed: list[Placed] = []
    malformed: list[str] = []
    held: dict[str, Seen] = {}
    met, url, asked = 0, "", {""}
    while True:
        work.spend()
        bundle = yield from fetch(context, plan, url, plan.page_form(_STEP))
        rows = matches(bundle)
        met += len(rows)
        if met > window:
            raise TooCostly(f"Only results of up to {window} rows are sorted; narrow the search, "
                            "or leave out _sort.")  # fmt: skip
        for seen in (yield from judge(context, plan, rows, known, work)):
            if seen.shown is None:
                malformed.append(f"{len(malformed)}")
                continue
            placed.append(_place(plan, seen))
            if len(held) < _HELD:
                held[seen.row.key] = seen
        url = next_url(bundle, context.gateway.bases, asked)
        if not url:
            break
    placed.sort(key=lambda each: each.id)
    for at in reversed(range(len(plan.order))):
        values = [each.values[at] for each in placed]
        placed = put_in_order(zip(values, placed, strict=True), down=plan.order[at].down)
    return Arranged((*(each.key for each in placed), *malformed), held)


def _place(plan: Plan, seen: Seen) -> Placed:
    shown = seen.shown or {}
    values = tuple(
        match.sort_key(shown, plan.type, key.parameter, key.down) for key in plan.order
    )
    return Placed(seen.row.key, seen.name[1], values)


def take(context: Context, plan: Plan, cursor: Cursor, arranged: Arranged) -> Asking[Part]:
    """A full page of the rows in order, judged anew, since they may have changed meanwhile."""
    order, work = arranged.order, Work(context.gateway.limits.asks)
    known: Known = {}
    rows: list[tuple[int, Seen]] = []
    at = cursor.find(order)
    while at < len(order) and len(rows) <= plan.count:
        end = min(len(order), at + plan.count + 1 - len(rows))
        found = yield from _look_up(context, plan, order[at:end], arranged.held, known, work)
        rows += [(i, found[order[i]]) for i in range(at, end) if order[i] in found]
        at = end
    total = len(order) if cursor.total is None else cursor.total
    following = None
    if len(rows) > plan.count:
        next_at, _ = rows[plan.count]
        before = order[next_at - 1] if next_at else ""
        following = Cursor("", next_at, order[next_at], before, total)
    return Part([row for _, row in rows[: plan.count]], following, total)


def _look_up(
    context: Context, plan: Plan, names: Order, held: dict[str, Seen], known: Known, work: Work
) -> Asking[dict[str, Seen]]:
    """The rows of these names that the caller still sees."""
    found = {name: held[name] for name in names if name in held}
    missing = [name for name in names if name not in held]
    found |= {name: Seen(Row(b"", "", "", "match"), None) for name in missing if "/" not in name}
    ids = [name.partition("/")[2] for name in missing if "/" in name]
    asks = ask_named((plan.type, id_) for id_ in ids)
    for rows in (yield from ask_rows(context, asks, work)):
        wanted = [row for row in rows if row.id in ids]
        for seen in (yield from judge(context, plan, wanted, known, work)):
            found[seen.row.key] = seen
    return found


def sort_page(context: Context, plan: Plan, cursor: Cursor, *, fresh: bool) -> Asking[Part]:
    """A page of a search that is sorted here. ``fresh``: the first one, which walks in any case;
    a later one does so if the order was forgotten meanwhile."""
    orders, key = context.gateway.orders, context.name_search(plan.type, pairs(plan.query))
    order = None if fresh else orders.recall(key, context.now)
    arranged = (yield from arrange(context, plan)) if order is None else Arranged(order)
    part = yield from take(context, plan, cursor, arranged)
    if order is None and part.following is not None:
        until = context.now + timedelta(seconds=context.gateway.limits.page_seconds)
        orders.remember(key, arranged.order, until)
    return part
