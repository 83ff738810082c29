"""Asking the upstream for many things at once: by ids, page after page, within what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

from proxy.engine.answers import (
    COUNTED,
    Bundle,
    Row,
    check,
    is_whole,
    matches,
    next_url,
    read_bundle,
)
from proxy.engine.context import Context, ask_all, ask_one
from proxy.engine.messages import Answer, Ask, Pairs
from proxy.engine.spellings import spell
from proxy.errors import TooCostly

Rows = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", list[Row]]
RowsOfAll = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", list[list[Row]]]
Paging = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", Bundle]
Pick = Callable[[Bundle], list[Row]]

CHUNK = 100  # ids asked for at once
_ROWS = 200  # asked for at once of what refers to them


@dataclass(slots=True)
class Work:
    """Upstream calls that one request may still cause. ``text``: what it says when there are none
    left."""

    left: int
    text: str = (
        "The search must look through more than is allowed at once; narrow it, by a code, a date "
        "or a patient, or ask for less."
    )

    def spend(self, calls: int = 1) -> None:
        """Raises :class:`TooCostly` when there are none left."""
        if calls > self.left:
            raise TooCostly(self.text)
        self.left -= calls


def group(names: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Types and ids by type, as many together as one search asks for."""
    by_type: dict[str, list[str]] = {}
    for type_, id_ in names:
        by_type.setdefault(type_, []).append(id_)
    return [
        (type_, ids[at : at + CHUNK])
        for type_, ids in by_type.items()
        for at in range(0, len(ids), CHUNK)
    ]


def ask_ids(type_: str, ids: list[str]) -> Ask:
    """The search for the resources of these real ids."""
    # One more than there can be, since some servers offer a next page after a full one.
    count = str(len(ids) + 1)
    return Ask(path=f"{type_}/_search", form=(("_id", ",".join(ids)), ("_count", count)))


def ask_named(names: Iterable[tuple[str, str]]) -> list[Ask]:
    """The searches for the resources of these types and real ids."""
    return [ask_ids(type_, ids) for type_, ids in group(names)]


def ask_referring(
    context: Context, type_: str, code: str, names: Sequence[str], more: Pairs = ()
) -> list[Ask]:
    """The searches for the resources of the type that refer to one of ``names`` (``Type/id``) by
    the parameter ``code``. ``more``: what else they ask."""
    parts = [names[at : at + CHUNK] for at in range(0, len(names), CHUNK)]
    values = [",".join(spell(context.gateway.bases, part)) for part in parts]
    count = ("_count", str(_ROWS))
    return [Ask(path=f"{type_}/_search", form=((code, value), *more, count)) for value in values]


def ask_rows(
    context: Context, asks: list[Ask], work: Work, pick: Pick = matches
) -> RowsOfAll:
    """The matches of each search, or what else ``pick`` takes, all of its pages; the first pages
    gathered."""
    if not asks:
        return []
    work.spend(len(asks))
    found = []
    answers = yield from ask_all(tuple(asks))
    for ask, answer in zip(asks, answers, strict=True):
        found.append((yield from _follow(context, ask, answer, work, pick)))
    return found


def _follow(context: Context, ask: Ask, answer: Answer, work: Work, pick: Pick) -> Rows:
    bundle = yield from read_first(context, ask, answer)
    rows = pick(bundle)
    asked: set[str] = set()
    while url := next_url(bundle, context.gateway.bases, asked):
        work.spend()
        bundle = read_page(context, (yield from ask_one(Ask(url=url))))
        rows += pick(bundle)
    return rows


def read_first(context: Context, ask: Ask, answer: Answer) -> Paging:
    """The first page of the search ``ask``; asked for once more where it may not be all of it."""
    bundle = read_page(context, answer)
    form = ask.form or ()
    if is_whole(bundle) or COUNTED in form:
        return bundle
    return read_page(context, (yield from ask_one(Ask(path=ask.path, form=(*form, COUNTED)))))


def read_page(context: Context, answer: Answer) -> Bundle:
    """A page of a search. Raises :class:`UpstreamBroken` for anything else."""
    return read_bundle(check(answer, {}, passes=context.view.identity), "searchset")
