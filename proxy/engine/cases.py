"""What a hidden section hides beside itself: the resources that it alone reaches.

In a view that can hide a section, a resource that stands alone does not exist for its caller if a
stored Composition reaches it, by references at any depth, and none that the caller is shown does by
what shows of it. Candidates are the Compositions about the resource's patient and those that list
it as an entry; where none of them reaches it, those that are found backwards along the references
that the upstream indexes. What is bound to no patient (an Organization, a Device) exists only if a
shown path leads to it from some Composition, found backwards along the shown references that the
upstream indexes: references in extensions are in no index, so that here what is not found counts as
hidden.

:func:`find_hidden` is all that the rest of the engine knows of this.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping

from proxy.engine import answers
from proxy.engine.answers import Bundle, Row
from proxy.engine.asking import Rows, Work, ask_named, ask_referring, ask_rows, group
from proxy.engine.context import Context, ask_all
from proxy.engine.leads import find_links, indexed_leads
from proxy.engine.membership import NOWHERE, Case, Key, Links
from proxy.engine.messages import Answer, Ask
from proxy.engine.reveal import load
from proxy.engine.subjects import patients_of
from proxy.errors import TooCostly, UpstreamBroken
from proxy.policy.compile import View

Asking = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", None]
Referring = Generator[
    "Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", "list[tuple[Row, Key, bool]]"
]
Finding = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", frozenset[Key]]

_ABREAST = 10  # asks without meaning, gathered
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
    """One judgement of some rows. ``cases``: the candidates of each; of no others is anything
    asked, so that what a row is judged by never depends on which rows it comes with."""

    def __init__(self, context: Context, work: Work, rows: list[Row]) -> None:
        self._context, self._work, self._memory = context, work, context.membership
        self._targets = [(row.type, row.id) for row in rows]
        self._patients = {(row.type, row.id): _patients(context, row) for row in rows}
        self._cases: dict[Key, dict[Key, Case]] = {key: {} for key in self._targets}
        for row in rows:
            self._note(row)

    def run(self) -> Asking:
        """Judge every target."""
        yield from self._report(self._patients)
        yield from self._list()
        yield from self._follow()
        yield from self._trace()
        for key in self._targets:
            met = self._bound(key) and not self._is_stored(key)
            self._memory.shows[key] = met or self._is_shown(key)

    def _bound(self, key: Key) -> bool:
        """Whether a resource is of some patient's own. A Patient is if a Composition is about it;
        a Bundle is a case by itself."""
        if key[0] == "Patient":
            return bool(self._memory.reports.get(key[1]))
        return key[0] == "Bundle" or bool(self._patients[key])

    def _is_shown(self, key: Key) -> bool:
        return any(key in case.shown for case in self._cases[key].values())

    def _is_stored(self, key: Key) -> bool:
        return any(key in case.stored for case in self._cases[key].values())

    def _unsure(self) -> list[Key]:
        return [key for key in self._targets if not self._is_shown(key)]

    def _undecided(self) -> list[Key]:
        """The targets that none of their candidates says anything of."""
        return [k for k in self._unsure() if not (self._bound(k) and self._is_stored(k))]

    def _note(self, row: Row) -> Links:
        """Where a fetched resource leads."""
        context, key = self._context, (row.type, row.id)
        links = self._memory.links.get(key)
        if links is None:
            stored = load(row.body)
            shown = context.view.reveal(stored, context.scope())
            links = find_links(context.view, context.scope(), stored, shown)
            self._memory.links[key] = links
        return links

    def _begin(self, target: Key, report: Key) -> None:
        """Take a Composition for a candidate."""
        case = self._memory.cases.setdefault(report, Case.of(report))
        case.advance(self._memory.links)
        self._cases[target][report] = case

    def _report(self, patients: Mapping[Key, set[str]]) -> Asking:
        """Take the Compositions about the patients (by id) of each target."""
        wanted = {id_ for found in patients.values() for id_ in found}
        fresh = sorted(wanted - self._memory.reports.keys())
        self._memory.reports.update(dict.fromkeys(fresh, ()))
        for row in (yield from self._search("subject", [f"Patient/{id_}" for id_ in fresh])):
            for id_ in _patients(self._context, row) & set(fresh):
                self._memory.reports[id_] += ((row.type, row.id),)
        for key, found in patients.items():
            for id_ in found:
                for report in self._memory.reports[id_]:
                    self._begin(key, report)

    def _list(self) -> Asking:
        """Take the Compositions that list the targets as entries."""
        unsure = self._unsure()
        for row in (yield from self._search("entry", [f"{t}/{id_}" for t, id_ in unsure])):
            listed = indexed_leads(self._context.gateway.bases, load(row.body), "entry")
            for key in listed.intersection(unsure):
                self._begin(key, (row.type, row.id))

    def _search(self, code: str, names: list[str]) -> Rows:
        """The Compositions that refer to one of ``names`` by a search parameter."""
        asks = ask_referring(self._context, _REPORT, code, names)
        rows = [r for all_ in (yield from ask_rows(self._context, asks, self._work)) for r in all_]
        if any(row.type not in (_REPORT, "") for row in rows):
            raise UpstreamBroken()
        reports = [row for row in rows if row.type]
        for row in reports:
            self._note(row)
        return reports

    def _follow(self) -> Asking:
        """Follow what the candidates reach, level by level, until every target is decided."""
        while True:
            wanted: set[Key] = set()
            for key in self._unsure():
                for case in self._cases[key].values():
                    wanted |= case.ahead
                    if self._bound(key) and not self._is_stored(key):
                        wanted |= case.behind
            if not wanted:
                return
            level = sorted(wanted)
            found = yield from ask_rows(self._context, ask_named(level), self._work)
            for rows in found:
                for row in rows:
                    if (row.type, row.id) in wanted:
                        self._note(row)
            for key in level:
                self._memory.links.setdefault(key, NOWHERE)
            for case in self._memory.cases.values():
                case.advance(self._memory.links)

    def _trace(self) -> Asking:
        """Look backwards for what leads to what was not decided, until a report is at the beginning
        that reaches it: to what is bound to no patient along what shows, until somebody's reports
        are, to all else along what is stored."""
        ends = {key: {key} for key in self._undecided()}
        met = {key: {key} for key in ends}  # by target
        level = 0
        while ends:
            level += 1
            patients: dict[Key, set[str]] = {key: set() for key in met}
            before: dict[Key, tuple[set[str], set[Key]]] = {}
            for row, key, shown in (yield from self._refer(ends)):
                referring = (row.type, row.id)
                for target in ends[key]:
                    if not shown and not self._bound(target):
                        continue
                    if row.type == _REPORT:
                        self._begin(target, referring)
                    elif referring not in met[target]:
                        met[target].add(referring)
                        own = _patients(self._context, row)
                        patients[target] |= own
                        before.setdefault(referring, (own, set()))[1].add(target)
            yield from self._report(patients)
            yield from self._follow()
            bound, free = set[Key](), set[Key]()
            for key in self._undecided():
                (bound if self._bound(key) else free).add(key)
            ends = {}
            for referring, (own, targets) in before.items():
                begun = level == _LEVELS or any(self._memory.reports[id_] for id_ in own)
                if left := targets & (bound if begun else bound | free):
                    ends[referring] = left

    def _refer(self, keys: Iterable[Key]) -> Referring:
        """What refers to one of ``keys``, to which, and whether that shows."""
        asks = []
        for type_, ids in group(keys):
            form = (("_id", ",".join(ids)), ("_revinclude", "*"), ("_count", str(len(ids) + 1)))
            asks.append(Ask(path=f"{type_}/_search", form=form))
        wanted, pairs = set(keys), []
        for rows in (yield from ask_rows(self._context, asks, self._work, _along)):
            for row in rows:
                links = self._note(row)
                leads = wanted.intersection(links.stored)
                if leads:  # of these, what would have brought it along by itself
                    leads &= indexed_leads(self._context.gateway.bases, load(row.body))
                pairs += [(row, key, key in (links.shown or ())) for key in sorted(leads)]
        return pairs


def _along(bundle: Bundle) -> list[Row]:
    """The matches, which may refer to one another, and what comes along. Raises
    :class:`TooCostly` where that may not be all."""
    rows = [row for row in answers.found(bundle) if row.type]
    if sum(row.mode == "include" for row in rows) >= _FULL:
        raise TooCostly("Too much refers to what was asked for; ask for less, or for one.")
    return rows


def _patients(context: Context, row: Row) -> set[str]:
    """The ids of the upstream's patients that a resource is about."""
    main = f"{context.gateway.bases.main}/Patient/"
    urls = patients_of(row.body, context.gateway.bases)
    return {url.removeprefix(main) for url in urls if url.startswith(main)}
