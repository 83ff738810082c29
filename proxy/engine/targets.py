"""What shown rows refer to, fetched and shown: the ends of includes and chains.

Everything starts from the references that the caller sees and ends with resources as the caller
sees them, so that a link or a resource that is hidden changes nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
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
from proxy.engine.messages import Answer, Ask
from proxy.engine.reveal import reveal
from proxy.errors import TooCostly, UpstreamBroken
from proxy.fhir import match
from proxy.fhir.codec import JsonObject
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.reference import normalise_base, parse_reference

Name = tuple[str, str]  # type and id as shown
Rows = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", list[Row]]
Paging = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", Bundle]
Fetching = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", None]

CHUNK = 100  # ids asked for at once


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


@dataclass(frozen=True, slots=True)
class Seen:
    """A row that the caller sees, ``shown`` (None if it is malformed, so that an outcome stands in
    its place). ``at``: its place in the upstream's page."""

    row: Row
    shown: JsonObject | None
    at: int = 0

    @property
    def name(self) -> Name:
        return self.row.type, "" if self.shown is None else str(self.shown["id"])


Known = dict[Name, Seen | None]  # fetched so far; None: not there for this caller


def name_targets(context: Context, source: Seen, parameter: SearchParameter) -> Iterable[Name]:
    """What a reference parameter of a shown row leads to at this server, in order."""
    if source.shown is None:
        return
    here = normalise_base(context.base)
    for text in match.references(source.shown, source.row.type, parameter):
        reference = parse_reference(text, here)
        if reference.type and reference.base == here:
            yield reference.type, reference.id


def fetch_targets(context: Context, names: Iterable[Name], known: Known, work: Work) -> Fetching:
    """Fetch what is named and not yet known, all at once, and add it to ``known``."""
    asked: list[Name] = []
    scope = context.scope()
    for type_, id_ in names:
        if (type_, id_) not in known:
            known[type_, id_] = None
            # Under the current key: at most one.
            real = [r for r in context.real_ids(type_, id_) if scope.show_id(type_, r) == id_]
            asked += [(type_, r) for r in real]
    asks = group(asked)
    pages = [ask_ids(type_, ids) for type_, ids in asks]
    found = yield from ask_rows(context, pages, work)
    for (type_, ids), rows in zip(asks, found, strict=True):
        for row in rows:
            if row.type and row.type != type_:
                raise UpstreamBroken()
            if row.id in ids:  # an upstream that ignores the ids adds nothing
                seen = see_target(context, row)
                if seen is not None:
                    known[seen.name] = seen


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


def see_target(context: Context, row: Row) -> Seen | None:
    """The row as shown; None if the caller does not see it."""
    shown = reveal(context, row.body)
    return None if shown is None else Seen(row, shown)


def ask_rows(
    context: Context, asks: list[Ask], work: Work
) -> Generator[Ask | tuple[Ask, ...], Answer | tuple[Answer, ...], list[list[Row]]]:
    """The matches of each search, all of its pages; the first pages gathered."""
    if not asks:
        return []
    work.spend(len(asks))
    found = []
    answers = yield from ask_all(tuple(asks))
    for ask, answer in zip(asks, answers, strict=True):
        found.append((yield from _follow(context, ask, answer, work)))
    return found


def _follow(context: Context, ask: Ask, answer: Answer, work: Work) -> Rows:
    bundle = yield from read_first(context, ask, answer)
    rows = matches(bundle)
    asked: set[str] = set()
    while url := next_url(bundle, context.gateway.bases, asked):
        work.spend()
        bundle = read_page(context, (yield from ask_one(Ask(url=url))))
        rows += matches(bundle)
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
