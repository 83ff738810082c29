"""Small faults of the search, each a patch of one function of the product while it runs."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from proxy.engine import (
    answers,
    asking,
    chains,
    context,
    dates,
    document,
    flow,
    includes,
    narrow,
    ordering,
    paging,
    results,
    search,
    targets,
    translate,
)
from proxy.engine.narrow import Plan
from proxy.engine.paging import Cursor
from proxy.engine.question import Question, Sent
from proxy.engine.results import Part
from proxy.engine.reveal import load, reveal
from proxy.engine.targets import Seen
from proxy.errors import NotFound
from proxy.fhir import match
from proxy.fhir.codec import JsonObject
from proxy.fhir.reference import parse_reference
from proxy.fhir.referring import reference_texts
from proxy.lenses.backward import ShownDay, Span
from proxy.policy.compile import View
from proxy.policy.derive import Verdict
from proxy.policy.links import Links
from proxy.policy.resources import Resources
from proxy.policy.rows import Rows
from proxy.policy.scope import Scope
from proxy.policy.verdicts import Tokens, VerdictTable

Patch = pytest.MonkeyPatch


def _always(resource: JsonObject) -> bool:
    return True


# What comes back is judged anew


def rows_not_judged(patch: Patch) -> None:
    whole = results.see

    def see(context: Any, plan: Plan, row: Any, at: int = 0) -> Any:
        return whole(context, replace(plan, conditions=()), row, at)

    patch.setattr(results, "see", see)


def years_not_judged(patch: Patch) -> None:
    """A year is asked for by days on both sides of it, and what comes back is taken."""
    whole = dates.send

    def send(question: Question) -> Sent:
        sent = whole(question)
        given = sent.dates and replace(sent.dates, condition=_always)
        return replace(sent, conditions=(), dates=given) if question.verdict.backward else sent

    patch.setattr(dates, "send", send)


def year_too_narrow(patch: Patch) -> None:
    """A year is asked for from February on."""
    span = ShownDay.span

    def narrower(lens: ShownDay, value: str) -> Span | None:
        found = span(lens, value)
        if found is None or not isinstance(found.low, date):
            return found
        return replace(found, low=found.low + timedelta(days=32))

    patch.setattr(ShownDay, "span", narrower)


def complement_wrong(patch: Patch) -> None:
    """``ne`` is judged as if all other years came after."""
    whole = Question.condition

    def after(value: str) -> str:
        return "gt" + value[2:] if value.startswith("ne") and value[2:3].isdigit() else value

    def condition(question: Question, alternatives: tuple[str, ...]) -> Any:
        return whole(question, tuple(map(after, alternatives)))

    patch.setattr(Question, "condition", condition)


def judged_as_stored(patch: Patch) -> None:
    """Conditions are judged on what is stored, not on what is shown: of ZIP codes all digits."""

    def see(context: Any, plan: Plan, row: Any, at: int = 0) -> Any:
        shown = reveal(context, row.body)
        stored = load(row.body)
        if shown is None or not all(holds(stored) for holds in plan.conditions):
            return None
        return Seen(row, shown, at)

    patch.setattr(results, "see", see)


def oldest_by_year(patch: Patch) -> None:
    """Persons of 90 and more are found by the year of their birth."""
    whole = Question.condition

    def condition(question: Question, alternatives: tuple[str, ...]) -> Any:
        judged = whole(question, alternatives)
        return _always if question.written.code in ("birthdate", "born") else judged

    patch.setattr(Question, "condition", condition)


# Which rows exist


def row_rules_not_judged(patch: Patch) -> None:
    """Row rules narrow what is asked upstream, and nothing else."""
    patch.setattr(Rows, "hold", lambda *_: True)


def row_rules_at_the_root(patch: Patch) -> None:
    """Row rules are judged of a resource that is answered, not of what stands in it."""
    root, hold = Resources.root, Rows.hold
    answered: list[JsonObject] = []

    def begin(found: Resources, resource: JsonObject, scope: Any) -> Any:
        answered[:] = [resource]
        return root(found, resource, scope)

    def holds(rows: Rows, type_: str, resource: JsonObject, claims: Any) -> bool:
        inside = not answered or resource is not answered[0]
        return inside or hold(rows, type_, resource, claims)

    patch.setattr(Resources, "root", begin)
    patch.setattr(Rows, "hold", holds)


def missing_claim_unlimited(patch: Patch) -> None:
    """A token without the claim that a row rule names sees every row."""
    form, hold = Rows.form, Rows.hold

    def formed(rows: Rows, type_: str, claims: Any) -> Any:
        return form(rows, type_, claims) or ()

    def holds(rows: Rows, type_: str, resource: JsonObject, claims: Any) -> bool:
        return form(rows, type_, claims) is None or hold(rows, type_, resource, claims)

    patch.setattr(Rows, "form", formed)
    patch.setattr(Rows, "hold", holds)


# What comes along, and chains


def _unjudged(context: Any, row: Any) -> Seen:
    """A row that the caller may not see, shown without most of it."""
    seen = reveal(context, row.body)
    if seen is not None:
        return Seen(row, seen)
    name = context.scope().show_id(row.type, row.id)
    return Seen(row, {"resourceType": row.type, "id": name})


def include_target_not_judged(patch: Patch) -> None:
    patch.setattr(targets, "see_target", _unjudged)


def _stored_targets(context: Any, source: Seen, parameter: Any) -> Any:
    """Where a row's stored references lead, shown or not, by the names that are shown."""
    scope = context.scope()
    for text in match.references(load(source.row.body), source.row.type, parameter):
        reference = parse_reference(text)
        if reference.kind == "relative" and reference.type:
            yield reference.type, scope.show_id(reference.type, reference.id)


def hidden_reference_followed(patch: Patch) -> None:
    """Includes start from what is stored: from references that are not shown, too."""
    patch.setattr(includes, "name_targets", _stored_targets)


def revinclude_not_judged(patch: Patch) -> None:
    """What refers to a match comes along, withheld or not."""
    whole = targets.name_targets

    def name_targets(context: Any, source: Seen, parameter: Any) -> Any:
        withheld = set(source.shown or {}) == {"resourceType", "id"}
        return (_stored_targets if withheld else whole)(context, source, parameter)

    patch.setattr(includes, "see_target", _unjudged)
    patch.setattr(includes, "name_targets", name_targets)


def include_beyond_list(patch: Patch) -> None:
    whole = Links.include

    def include(links: Links, value: str, *, reverse: bool) -> Verdict:
        found = whole(links, value, reverse=reverse)
        if found.kind == "refuse" and value.count(":") == 1 and "*" not in value:
            ends = ("Patient", "Organization", "Encounter")
            return Verdict("allow", "include", "planted", (), ends)
        return found

    patch.setattr(Links, "include", include)


def chain_not_judged(patch: Patch) -> None:
    """Rows that a chain finds upstream are taken, whatever they lead to."""

    def keep(context: Any, chains: Any, rows: Any, *_: Any) -> Generator[Any, Any, Any]:
        yield from ()
        return rows

    patch.setattr(results, "keep", keep)


def chain_target_as_stored(patch: Patch) -> None:
    """A chain's condition is judged on the stored target, hidden or not."""

    def holds(chain: Any, ends: Any, known: Any) -> bool:
        return any(
            known[name] is not None
            and all(condition(load(known[name].row.body)) for condition in chain.conditions)
            for name in ends
        )

    patch.setattr(chains, "_holds", holds)
    patch.setattr(targets, "see_target", _unjudged)


# Order


def sort_forwarded(patch: Patch) -> None:
    """The upstream sorts, by what it holds."""

    def parse_sort(context: Any, type_: str, values: list[str]) -> Any:
        return tuple(("_sort", value) for value in values), ()

    patch.setattr(narrow, "_parse_sort", parse_sort)


def sorted_as_stored(patch: Patch) -> None:
    """Rows are sorted by what is stored, not by what is shown."""
    whole = ordering._place

    def place(plan: Plan, seen: Seen) -> Any:
        return replace(whole(plan, replace(seen, shown=load(seen.row.body))), id=seen.name[1])

    patch.setattr(ordering, "_place", place)


def ties_by_real_id(patch: Patch) -> None:
    whole = ordering._place

    def place(plan: Plan, seen: Seen) -> Any:
        return replace(whole(plan, seen), id=seen.row.id)

    patch.setattr(ordering, "_place", place)


# Totals and pages


def total_passed(patch: Patch) -> None:
    fetch, reply = results.fetch, search._reply
    totals: list[int | None] = [None]

    def fetched(*given: Any) -> Generator[Any, Any, Any]:
        bundle = yield from fetch(*given)
        totals.append(bundle.total)
        return bundle

    def replied(context: Any, plan: Any, links: Any, entries: Any, total: int | None) -> Any:
        return reply(context, plan, links, entries, totals[-1] if total is None else total)

    patch.setattr(search, "fetch", fetched)
    patch.setattr(search, "_reply", replied)


def total_counts_hidden(patch: Patch) -> None:
    patch.setattr(search, "_counts", lambda *_: True)


def borders_by_upstream(patch: Patch) -> None:
    """A page is what the upstream's page leaves, and the next is where the upstream goes on."""

    def fill(context: Any, plan: Plan, cursor: Cursor) -> Generator[Any, Any, Part]:
        bundle = yield from results.fetch(context, plan, cursor.url, plan.page_form(plan.count))
        rows = answers.matches(bundle)
        seen = yield from results.judge(context, plan, rows, {}, asking.Work(50))
        following = answers.next_url(bundle, context.gateway.bases, {cursor.url})
        return Part(seen, Cursor(following) if following else None, None)

    patch.setattr(search, "_fill", fill)


def one_upstream_page(patch: Patch) -> None:
    """The rows of one upstream page are all."""
    patch.setattr(Plan, "step", property(lambda plan: plan.count + 1))
    patch.setattr(search, "next_url", lambda *_: "")


def next_link_to_nothing(patch: Patch) -> None:
    """A next link stands where more rows follow upstream, shown or not."""
    whole = search._fill

    def fill(context: Any, plan: Plan, cursor: Cursor) -> Generator[Any, Any, Part]:
        part = yield from whole(context, plan, cursor)
        if part.following is not None or len(part.rows) < plan.count:
            return part
        form = plan.page_form(200)
        bundle = yield from results.fetch(context, plan, "", form)
        rows = answers.matches(bundle)
        last = part.rows[-1].row.key if part.rows else ""
        more = bool(rows) and rows[-1].key != last
        return replace(part, following=Cursor("", len(rows), "", last) if more else None)

    patch.setattr(search, "_fill", fill)


def token_not_padded(patch: Patch) -> None:
    """A token is as long as what it holds: where upstream it goes on, and after which row."""
    seal, unseal = paging.seal, paging.unseal

    def sealed(page: paging.Page, *rest: Any) -> str:
        cursor = page.cursor
        return f"{seal(page, *rest)}{'A' * (cursor.offset + len(cursor.row + cursor.before))}"

    def unsealed(token: str, *rest: Any) -> paging.Page:
        for end in range(len(token), 0, -1):
            try:
                return unseal(token[:end], *rest)
            except NotFound:
                continue
        raise NotFound()

    patch.setattr(context, "seal", sealed)
    patch.setattr(context, "unseal", unsealed)


def token_not_bound(patch: Patch) -> None:
    """A page link goes on for whoever has it, whatever the token claims."""
    nobody = paging.Binding(b"0" * 32, b"0" * 32)
    patch.setattr(context, "bind", lambda *_: nobody)


# What may be asked


def verdict_flipped(patch: Patch) -> None:
    whole = VerdictTable.verdict

    def verdict(table: VerdictTable, type_name: str, code: str, *rest: str) -> Verdict:
        if code == "family":
            return Verdict("allow", "plain", "planted")
        return whole(table, type_name, code, *rest)

    patch.setattr(VerdictTable, "verdict", verdict)


def _choosing(choose: Callable[[Verdict, str, tuple[str, ...]], Tokens]) -> Callable[[Patch], None]:
    def plant(patch: Patch) -> None:
        patch.setattr(translate, "choose_tokens", choose)

    return plant


# :not of a code without a system asks for the complement of hidden codes, too.
bare_not_forwarded = _choosing(lambda verdict, modifier, values: Tokens(values, modifier != "not"))
# Codes of systems that are not listed are asked for, and what is found is taken.
hidden_codes_sent = _choosing(lambda verdict, modifier, values: Tokens(values, False))


def missing_on_coarse(patch: Patch) -> None:
    """Whether an element is there may be asked though it is not shown as stored."""
    whole = VerdictTable.verdict

    def verdict(
        table: VerdictTable, type_name: str, code: str, modifier: str = "", chain: str = ""
    ) -> Verdict:
        found = whole(table, type_name, code, modifier, chain)
        if modifier == "missing" and whole(table, type_name, code).kind == "translate":
            return Verdict("allow", "plain", "planted", found.reads)
        return found

    patch.setattr(VerdictTable, "verdict", verdict)


def prefixes_not_judged(patch: Patch) -> None:
    patch.setattr(translate, "_check", lambda *_: None)


def unknown_forwarded(patch: Patch) -> None:
    """What the registry does not know goes upstream, which may ignore it."""
    whole, send = VerdictTable.verdict, translate.send

    def verdict(table: VerdictTable, *asked: str) -> Verdict:
        found = whole(table, *asked)
        return Verdict("allow", "unknown", "planted") if found.way == "unknown" else found

    def forward(question: Question) -> Sent:
        unknown = question.verdict.way == "unknown"
        return Sent(question.as_written()) if unknown else send(question)

    patch.setattr(VerdictTable, "verdict", verdict)
    patch.setattr(translate, "send", forward)


def body_not_judged(patch: Patch) -> None:
    """What stands in the body of a search is dropped, and all rows are answered."""
    patch.setattr(flow, "parse_form", lambda body: ())


def document_follows_hidden(patch: Patch) -> None:
    """A document holds what is stored references of it lead to, shown or not."""

    def leads(view: View, scope: Scope, stored: JsonObject, shown: JsonObject) -> Any:
        found = {}
        for text in reference_texts(stored):
            reference = parse_reference(text)
            known = bool(reference.type) and view.shows(reference.type)
            if reference.kind == "relative" and known:
                found[reference.type, reference.id] = True
        return list(found)

    patch.setattr(document, "shown_leads", leads)
