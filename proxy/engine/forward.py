"""One search parameter of an identity view: forwarded, its values checked first.

The verdict table says what the registry knows. Chains, ``_has``, includes and sorts go through too,
but only over types that the caller may search: a condition on a type tells of its resources.
"""

from __future__ import annotations

from proxy.engine import spellings
from proxy.engine.access import may
from proxy.engine.context import Context
from proxy.engine.dates import send_coarse
from proxy.engine.question import Question, Sent
from proxy.errors import Forbidden, NotSupported
from proxy.fhir import registry
from proxy.fhir.reference import Bases
from proxy.fhir.search import Parameter, parameter, split
from proxy.policy.verdicts import Verdict, VerdictTable

_INCLUDES = frozenset({"_include", "_revinclude"})
# About no one element, so with no values to check here.
_OTHERS = frozenset({"_filter", "_list", "_query", "_contained", "_containedType"})


def send(question: Question) -> Sent:
    """What the question comes to. Raises :class:`Forbidden` for types out of reach, what the
    verdict table says of sort keys and includes, :class:`BadValue` for a malformed value."""
    context, p = question.context, question.written
    table = context.gateway.verdicts[context.caller.role]
    if p.code == "_sort":
        return Sent(((p.name, _sort(table, question.type, p)),))
    if p.code in _INCLUDES:
        for value in p.alternatives:
            _accept(table, value)
        return Sent(question.as_written())
    if p.code == "_has" or p.chain:
        _reach(context, question.type, p)
        return Sent(((_typed(question.type, p), p.value),))
    if p.code in _OTHERS:
        return Sent(question.as_written())
    return _send_plain(question)


def _send_plain(question: Question) -> Sent:
    p, defined = question.written, question.defined
    try:
        question.condition(p.alternatives)
    except NotSupported:
        return Sent(question.as_written())  # a modifier that only the upstream can judge
    question.check_text()
    if p.modifier == "missing":
        return Sent(question.as_written())
    if defined.type == "date":
        return Sent(send_coarse(p))
    if defined.type == "reference":
        servers = Bases(question.context.base), question.context.gateway.bases
        spelled = spellings.ask_written(question, *servers)
        return Sent(empty=True) if spelled is None else Sent(spelled)
    return Sent(question.as_written())


def _sort(table: VerdictTable, type_: str, p: Parameter) -> str:
    """The sort keys, made a total order by ``_id``, so that pages of one search fit together."""
    keys = split(p.value, ",")
    for key in keys:
        found = table.sort(type_, key.removeprefix("-"))
        if found.kind == "refuse":
            raise found.error()
    return total_order(keys)


def join_sorts(asked: list[tuple[Parameter, Verdict]]) -> list[tuple[Parameter, Verdict]]:
    """What is asked, with the keys of a repeated ``_sort`` in one: HAPI sorts by all of them, and
    only the last of all may be followed by ``_id``."""
    sorts = [p.value for p, _ in asked if p.name == "_sort"]
    if len(sorts) < 2:
        return asked
    others = [(p, v) for p, v in asked if p.name != "_sort"]
    verdict = next(v for p, v in asked if p.name == "_sort")
    return [*others, (parameter("_sort", ",".join(sorts)), verdict)]


def total_order(keys: tuple[str, ...]) -> str:
    """A value of ``_sort`` that leaves no two rows at the same place."""
    return ",".join(keys if {"_id", "-_id"} & {*keys} else (*keys, "_id"))


def _accept(table: VerdictTable, include: str) -> None:
    found = table.include(include)
    if found.kind == "refuse":
        raise found.error()


def _reach(context: Context, type_: str, p: Parameter) -> None:
    """Every type that a chain or ``_has`` puts a condition on must be one that may be searched."""
    if p.code == "_has":
        source, _, rest = p.modifier.split(":", 2)
        _require(context, source)
        _reach(context, source, parameter(rest, p.value))
    elif p.chain:
        rest_of_it = p.rest()
        defined = registry.get(type_)[p.code]
        for target in [p.modifier] if p.modifier else spellings.find_targets(defined, type_):
            if rest_of_it.code == "_has" or rest_of_it.code in registry.get(target):
                _require(context, target)
                _reach(context, target, rest_of_it)


def _typed(type_: str, p: Parameter) -> str:
    """The name of a chain with the type of each reference that leads to one only: HAPI finds
    nothing by ``patient._id``, and what is meant by ``patient:Patient._id``."""
    if p.code == "_has" or not p.chain:
        return p.name
    defined = registry.get(type_)[p.code]
    targets = (p.modifier,) if p.modifier else spellings.find_targets(defined, type_)
    if len(targets) != 1:
        return p.name
    return f"{p.code}:{targets[0]}.{_typed(targets[0], p.rest())}"


def _require(context: Context, type_: str) -> None:
    if not may(context.caller, context.view, "search-type", type_):
        raise Forbidden(
            "The search reaches a resource type that your role or token does not; where a "
            "reference leads to several types, name one (subject:Patient.gender)."
        )
