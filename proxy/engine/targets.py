"""What shown rows refer to, fetched and shown: the ends of includes and chains.

Everything starts from the references that the caller sees and ends with resources as the caller
sees them, so that a link or a resource that is hidden changes nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass

from proxy.engine.answers import Row
from proxy.engine.asking import Work, ask_ids, ask_rows, group
from proxy.engine.cases import find_hidden
from proxy.engine.companions import meet
from proxy.engine.context import Context
from proxy.engine.messages import Answer, Ask
from proxy.engine.reveal import reveal
from proxy.errors import UpstreamBroken
from proxy.fhir import match
from proxy.fhir.codec import JsonObject
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.reference import normalise_base, parse_reference

Name = tuple[str, str]  # type and id as shown
Showing = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", "list[Seen]"]
Fetching = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", None]


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
    yield from meet(context, [row.body for rows in found for row in rows if row.type], work)
    shown: list[Seen] = []
    for (type_, ids), rows in zip(asks, found, strict=True):
        for row in rows:
            if row.type and row.type != type_:
                raise UpstreamBroken()
            if row.id in ids:  # an upstream that ignores the ids adds nothing
                seen = see_target(context, row)
                if seen is not None:
                    shown.append(seen)
    known.update({seen.name: seen for seen in (yield from keep_cases(context, shown, work))})


def keep_cases(context: Context, rows: list[Seen], work: Work) -> Showing:
    """The rows but for those that only hidden sections of reports reach."""
    if not context.view.hides_sections:
        return rows
    hidden = yield from find_hidden(context, [seen.row for seen in rows], work)
    return [seen for seen in rows if (seen.row.type, seen.row.id) not in hidden]


def see_target(context: Context, row: Row) -> Seen | None:
    """The row as shown; None if the caller does not see it."""
    shown = reveal(context, row.body)
    return None if shown is None else Seen(row, shown)
