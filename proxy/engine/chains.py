"""Chained parameters of a restricted view: conditions on what a row refers to (R4,
search.html#chaining).

Upstream they select at least what is wanted. A row stays only if a reference that it shows leads
to a resource that shows, and that as shown meets the condition: what is hidden changes nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from proxy.engine import dates, translate
from proxy.engine.access import may
from proxy.engine.asking import Work
from proxy.engine.context import Context
from proxy.engine.messages import Answer, Ask
from proxy.engine.question import Condition, Question, Sent
from proxy.engine.targets import Known, Name, Seen, fetch_targets, name_targets
from proxy.errors import Forbidden
from proxy.fhir.r4 import SearchParameter

Keeping = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", list[Seen]]


_REMEMBERED = 2_000  # ends kept while a result is walked, so that few are asked for twice


@dataclass(frozen=True, slots=True)
class Chain:
    """``parameter`` of a row must lead to a resource of type ``target`` that meets all
    ``conditions`` as it is shown."""

    parameter: SearchParameter
    target: str
    conditions: tuple[Condition, ...]


def send(question: Question) -> tuple[Sent, Chain]:
    """What is asked upstream for a chained parameter, and what is judged here.

    Raises :class:`Forbidden` where the token does not cover the type at the end, and what the
    parameter on that type raises.
    """
    context, written = question.context, question.written
    (target,) = question.verdict.targets
    if not may(context.caller, context.view, "search-type", target):
        raise Forbidden("The search reaches a resource type that your role or token does not.")
    asked = written.rest()
    table = context.gateway.verdicts[context.caller.role]
    verdict = table.verdict(target, asked.code, asked.modifier, asked.chain)
    inner = Question(context, target, asked, verdict)
    (sent,) = dates.join([translate.send(inner)])
    # HAPI finds nothing by a chain that ends with :missing, so all rows are looked through. With
    # the type, since some servers follow a chain to any type otherwise.
    asked_for = () if asked.modifier == "missing" else sent.form
    form = tuple((f"{written.code}:{target}.{name}", value) for name, value in asked_for)
    conditions = sent.conditions or (inner.condition(asked.alternatives),)
    chain = Chain(question.defined, target, conditions)
    return Sent(form, empty=sent.empty, unchanged=False), chain


def keep(
    context: Context, chains: tuple[Chain, ...], rows: list[Seen], known: Known, work: Work
) -> Keeping:
    """Those of ``rows`` that satisfy every chain. A malformed row refers to nothing."""
    ends = {(at, n): _ends(context, chain, row)
            for at, row in enumerate(rows) for n, chain in enumerate(chains)}  # fmt: skip
    names = dict.fromkeys(name for found in ends.values() for name in found)
    if len(known) > _REMEMBERED:
        known.clear()
    yield from fetch_targets(context, names, known, work)
    return [
        row
        for at, row in enumerate(rows)
        if all(_holds(chain, ends[at, n], known) for n, chain in enumerate(chains))
    ]


def _ends(context: Context, chain: Chain, row: Seen) -> list[Name]:
    names = name_targets(context, row, chain.parameter)
    return [name for name in names if name[0] == chain.target]


def _holds(chain: Chain, ends: list[Name], known: Known) -> bool:
    targets = (known[name] for name in ends)
    return any(
        target is not None
        and target.shown is not None
        and all(holds(target.shown) for holds in chain.conditions)
        for target in targets
    )
