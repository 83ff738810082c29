"""What a hidden section hides beside itself: the resources that it alone reaches.

In a view that can hide a section, a resource that stands alone does not exist for its caller if a
stored Composition reaches it, by references at any depth, and none that the caller is shown does by
what shows of it. Candidates are the Compositions about the resource's patient and those that list
it as an entry. What is bound to no patient (an Organization, a Device) exists only if a shown path
leads to it from some Composition, found backwards along the shown references that the upstream
indexes: references in extensions are in no index, so that here what is not found counts as hidden.

:func:`find_hidden` is all that the rest of the engine knows of this.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from proxy.engine.answers import Bundle, Row, found
from proxy.engine.asking import CHUNK, Rows, Work, ask_ids, ask_rows, group
from proxy.engine.context import Context, ask_all
from proxy.engine.leads import shown_leads, stored_leads
from proxy.engine.membership import Key, Links
from proxy.engine.messages import Answer, Ask
from proxy.engine.reveal import load
from proxy.engine.spellings import spell
from proxy.engine.subjects import patients_of
from proxy.errors import TooCostly, UpstreamBroken
from proxy.policy.compile import View

Asking = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", None]
Finding = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", frozenset[Key]]

_ABREAST = 10  # asks without meaning, gathered
_ROWS = 200  # asked for at once of the Compositions of some patients
_LEVELS = 4  # references followed backwards from what is bound to no patient
_FULL = 1_000  # rows that come along with a search before an upstream leaves out the rest
_REPORT = "Composition"


def concerns(view: View, type_: str) -> bool:
    """Whether a resource of the type may be hidden because a section is."""
    return view.hides_sections and type_ != _REPORT and not view.passes(type_)


def find_hidden(context: Context, rows: Iterable[Row], work: Work) -> Finding:
    """Those of ``rows``, each of which shows by itself, that only hidden sections reach.

    Raises :class:`TooCostly` where that takes more asks than ``work`` has left.
    """
    listed = {(r.type, r.id): r for r in rows if r.type and concerns(context.view, r.type)}
    known = context.membership.shows
    fresh = [row for key, row in listed.items() if key not in known]
    if fresh:
        yield from _Judging(context, work, fresh).run()
    return frozenset(key for key in listed if not known[key])


def spend(context: Context, type_: str, work: Work) -> Asking:
    """Make up what is left of ``work``, so that a resource that is not there takes as many asks as
    one that is hidden."""
    while concerns(context.view, type_) and work.left:
        number = min(_ABREAST, work.left)
        work.spend(number)
        yield from ask_all((Ask(path=f"{_REPORT}/_search", form=(("_id", "none"),)),) * number)


class _Judging:
    """One judgement of some rows. ``shown`` and ``stored``: what the candidates reach by what
    shows, and at all; of these, ``ahead`` and ``behind`` were not yet followed."""

    def __init__(self, context: Context, work: Work, rows: list[Row]) -> None:
        self._context, self._work = context, work
        self._memory = context.membership
        self._targets = {(row.type, row.id): row for row in rows}
        self._patients = {key: _patients(context, row) for key, row in self._targets.items()}
        self._roots: set[Key] = set()
        self._shown: set[Key] = set()
        self._stored: set[Key] = set()
        self._ahead: set[Key] = set()
        self._behind: set[Key] = set()

    def run(self) -> Asking:
        """Judge every target."""
        for row in self._targets.values():
            self._note(row)
        yield from self._report({p for found in self._patients.values() for p in found})
        yield from self._list()
        yield from self._follow()
        yield from self._trace([key for key in self._unsure() if not self._bound(key)])
        for key in self._targets:
            hidden = key in self._stored if self._bound(key) else True
            self._memory.shows[key] = key in self._shown or not hidden

    def _bound(self, key: Key) -> bool:
        """Whether a resource is of some patient's own. A Patient is if a Composition is about it;
        a Bundle is a case by itself."""
        if key[0] == "Patient":
            return bool(self._memory.reports.get(key[1]))
        return key[0] == "Bundle" or bool(self._patients[key])

    def _unsure(self) -> list[Key]:
        return [key for key in self._targets if key not in self._shown]

    def _note(self, row: Row) -> None:
        """Take up where a fetched resource leads."""
        context, key = self._context, (row.type, row.id)
        if key in self._memory.links:
            return
        stored = load(row.body)
        shown = context.view.reveal(stored, context.scope())
        leads = None if shown is None else tuple(shown_leads(context, stored, shown))
        self._memory.links[key] = Links(tuple(stored_leads(context, stored).values()), leads)

    def _begin(self, row: Row) -> None:
        """Take a Composition for a candidate."""
        self._note(row)
        key = (row.type, row.id)
        if key not in self._roots:
            self._roots.add(key)
            self._reach([key], self._stored, self._behind)
            self._reach([key], self._shown, self._ahead)
            self._advance()

    def _report(self, patients: set[str]) -> Asking:
        """The Compositions about the patients (by id)."""
        fresh = sorted(p for p in patients if p not in self._memory.reports)
        if not fresh:
            return
        asks = []
        for at in range(0, len(fresh), CHUNK):
            names = [f"Patient/{id_}" for id_ in fresh[at : at + CHUNK]]
            value = ",".join(spell(self._context.gateway.bases, names))
            asks.append(Ask(path=f"{_REPORT}/_search",
                            form=(("subject", value), ("_count", str(_ROWS)))))  # fmt: skip
        self._memory.reports.update(dict.fromkeys(fresh, ()))
        for rows in (yield from ask_rows(self._context, asks, self._work)):
            for row in _reports(rows):
                for id_ in _patients(self._context, row):
                    known = self._memory.reports.get(id_, ())
                    self._memory.reports[id_] = (*known, (row.type, row.id))
                self._begin(row)

    def _list(self) -> Asking:
        """The Compositions that list the targets as entries."""
        names = [f"{type_}/{id_}" for type_, id_ in self._unsure()]
        asks = []
        for at in range(0, len(names), CHUNK):
            value = ",".join(spell(self._context.gateway.bases, names[at : at + CHUNK]))
            asks.append(Ask(path=f"{_REPORT}/_search",
                            form=(("entry", value), ("_count", str(_ROWS)))))  # fmt: skip
        for rows in (yield from ask_rows(self._context, asks, self._work)):
            for row in _reports(rows):
                self._begin(row)

    def _advance(self) -> None:
        """Follow what was fetched already, as far as that leads."""
        while todo := [key for key in self._ahead if key in self._memory.links]:
            self._ahead.difference_update(todo)
            for key in todo:
                links = self._memory.links[key]
                if links is not None and links.shown is not None:
                    self._reach(links.shown, self._shown, self._ahead)
        while todo := [key for key in self._behind if key in self._memory.links]:
            self._behind.difference_update(todo)
            for key in todo:
                links = self._memory.links[key]
                if links is not None:
                    self._reach(links.stored, self._stored, self._behind)

    def _reach(self, keys: Iterable[Key], reached: set[Key], waiting: set[Key]) -> None:
        fresh = {key for key in keys if key not in reached}
        reached |= fresh
        waiting |= fresh

    def _follow(self) -> Asking:
        """Follow all that was reached, level by level, until every target is decided."""
        while True:
            self._advance()
            unsure = self._unsure()
            wanted = set(self._ahead) if unsure else set()
            if any(self._bound(key) and key not in self._stored for key in unsure):
                wanted |= self._behind
            if not wanted:
                return
            level = sorted(wanted)
            asks = [ask_ids(type_, ids) for type_, ids in group(level)]
            self._memory.links.update(dict.fromkeys(level))
            for rows in (yield from ask_rows(self._context, asks, self._work)):
                for row in rows:
                    if (row.type, row.id) in wanted:
                        self._memory.links.pop((row.type, row.id), None)
                        self._note(row)

    def _trace(self, keys: list[Key]) -> Asking:
        """Look backwards for shown paths to ``keys``, until a Composition is at their beginning."""
        met = set(keys)
        for _ in range(_LEVELS):
            if not keys or not self._unsure():
                return
            rows = yield from self._refer(keys)
            fresh: dict[Key, set[str]] = {}
            for row in rows:
                key = (row.type, row.id)
                if row.type == _REPORT:
                    self._begin(row)
                elif key not in met:
                    met.add(key)
                    fresh[key] = _patients(self._context, row)
            yield from self._report({id_ for patients in fresh.values() for id_ in patients})
            yield from self._follow()
            reports = self._memory.reports
            keys = [key for key, own in fresh.items() if not any(reports[id_] for id_ in own)]

    def _refer(self, keys: list[Key]) -> Rows:
        """What shows a reference to one of ``keys``."""
        asks = [
            Ask(path=f"{type_}/_search",
                form=(("_id", ",".join(ids)), ("_revinclude", "*"), ("_count", str(len(ids) + 1))))
            for type_, ids in group(keys)
        ]  # fmt: skip
        wanted = set(keys)
        referring = []
        for rows in (yield from ask_rows(self._context, asks, self._work, _along)):
            for row in rows:
                self._note(row)
                links = self._memory.links[row.type, row.id]
                if links and links.shown and not wanted.isdisjoint(links.shown):
                    referring.append(row)
        return referring


def _along(bundle: Bundle) -> list[Row]:
    """What comes along with the matches. Raises :class:`TooCostly` where that may not be all."""
    rows = [row for row in found(bundle) if row.mode == "include" and row.type]
    if len(rows) >= _FULL:
        raise TooCostly("Too much refers to what was asked for; ask for less, or for one.")
    return rows


def _reports(rows: list[Row]) -> list[Row]:
    """The Compositions. Raises :class:`UpstreamBroken` if anything else came."""
    if any(row.type not in (_REPORT, "") for row in rows):
        raise UpstreamBroken()
    return [row for row in rows if row.type]


def _patients(context: Context, row: Row) -> set[str]:
    """The ids of the upstream's patients that a resource is about."""
    main = f"{context.gateway.bases.main}/Patient/"
    urls = patients_of(row.body, context.gateway.bases)
    return {url.removeprefix(main) for url in urls if url.startswith(main)}
