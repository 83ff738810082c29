"""One search parameter of a restricted view on its way upstream, by its verdict.

Backward, a pseudonym becomes the one id it stands for, and a value that is shown less exactly
becomes what finds at least all that is shown so (:mod:`proxy.lenses.backward`). All that is
translated or widened is judged again on the shown row, in shown terms, so that a row matches
exactly if what the caller sees of it matches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from proxy.engine import dates, spellings
from proxy.engine.question import Question, Sent
from proxy.engine.shown_values import (
    Named,
    decode_id,
    decode_identifier,
    decode_reference,
)
from proxy.errors import Forbidden
from proxy.fhir import registry
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.reference import Bases
from proxy.fhir.search import parameter, split
from proxy.fhir.search_values import parse_date
from proxy.lenses.backward import Listed, Ranged, SameNumber, read_number
from proxy.policy.verdicts import Verdict, choose_tokens

Decode = Callable[[Question, str], list[Named]]


def send(question: Question) -> Sent:
    """What the question comes to. Raises :class:`BadValue` for a malformed value,
    :class:`Forbidden` for one that is finer than what is shown, or has another prefix than those
    that are answered."""
    verdict, values = question.verdict, question.written.alternatives
    decode = _NAMES.get(verdict.way)
    if decode is not None:
        return _send_names(question, decode)
    if question.written.modifier == "missing":
        return _send_plain(question)
    _check(question.type, question.defined, verdict, values)
    question.condition(values)  # values are checked before anything is asked
    if verdict.way == "codes":
        return _send_codes(question)
    if verdict.way == "presence":
        return _send_presence(question)
    if verdict.way == "parts":
        return _send_parts(question)
    kind = question.defined.type
    if kind == "date":
        return dates.send(question)
    if (kind in _NUMBERS and verdict.way == "coarse") or (kind == "quantity" and _is_mixed(values)):
        return _send_span(question)
    return _send_coarse(question) if verdict.way == "coarse" else _send_plain(question)


def _check(
    type_: str, defined: SearchParameter, verdict: Verdict, values: tuple[str, ...]
) -> None:
    """Whether each value is one that the view answers."""
    for value in values:
        if verdict.parts:
            for (code, part), piece in zip(verdict.parts, split(value, "$"), strict=False):
                _check(type_, registry.get(type_)[code], part, (piece,))
            continue
        prefix = _prefix(defined.type, value)
        if prefix and prefix not in verdict.prefixes:
            raise Forbidden(
                f"The parameter {defined.code} is answered with the prefixes "
                f"{', '.join(verdict.prefixes)} only."
            )
        for each in verdict.backward:
            if isinstance(each, Ranged) or len(verdict.backward) == 1:
                each.check(value)


def _prefix(search_type: str, value: str) -> str:
    if search_type == "date":
        return parse_date(value).prefix
    return read_number(value).prefix if search_type in _NUMBERS else ""


def _is_mixed(values: tuple[str, ...]) -> bool:
    """Whether a list of quantities has several prefixes: HAPI reads the first as that of all."""
    prefixes = [read_number(value).prefix for value in values]
    return len({_SAME.get(prefix, prefix) for prefix in prefixes}) > 1


def _send_names(question: Question, decode: Decode) -> Sent:
    """Values that are names of ours: each stands for one thing or for none."""
    found = [name for value in question.written.alternatives for name in decode(question, value)]
    if not found:
        return Sent(empty=True, unchanged=False)
    asked = tuple(dict.fromkeys(value for name in found for value in name.asked))
    shown = tuple(dict.fromkeys(name.shown for name in found))
    is_reference = question.verdict.way == "reference"
    form = spellings.ask(question, asked) if is_reference else question.ask(asked)
    return Sent(form, (question.condition(shown),), unchanged=False)


def _send_codes(question: Question) -> Sent:
    """Codes of unlisted systems are not shown, so they match nothing and are not sent."""
    p = question.written
    tokens = choose_tokens(question.verdict, p.modifier, p.alternatives)
    if not tokens.alternatives:
        return Sent(empty=p.modifier != "not", unchanged=False)
    conditions = (question.condition(tokens.alternatives),) if tokens.judge else ()
    unchanged = tokens.alternatives == p.alternatives and not conditions
    return Sent(question.ask(tokens.alternatives), conditions, unchanged=unchanged)


def _send_presence(question: Question) -> Sent:
    """What shows is there upstream, too, so it is asked for; what does not show may be."""
    values = question.written.alternatives
    form = question.ask(values) if set(values) == {"true"} else ()
    return Sent(form, (question.condition(values),), unchanged=False)


def _send_coarse(question: Question) -> Sent:
    """Values as they are shown: what finds at least all of them, judged on what is shown."""
    verdict, values = question.verdict, question.written.alternatives
    condition = question.condition(values)
    question.check_text()
    asked = tuple(
        dict.fromkeys(
            stored
            for each in verdict.backward
            if isinstance(each, Listed)
            for value in values
            for stored in each.values(value)
        )
    )
    form = question.ask(asked) if asked else ()
    return Sent(form, (condition,), empty=not asked, unchanged=False)


def _send_span(question: Question) -> Sent:
    """Numbers as the span that all values lie in, with their unit if it is one, and judged."""
    values = question.written.alternatives
    condition = question.condition(values)
    span = dates.find_span(question.verdict.backward or (SameNumber(),), values)
    if span is None:
        return Sent(empty=True, unchanged=False)
    units = {value.partition("|")[2] for value in values}
    unit = f"|{units.pop()}" if len(units) == 1 and "" not in units else ""
    bounds = dates.bounds(question.written.name, span)
    form = tuple((name, value + unit) for name, value in bounds)
    return Sent(form, (condition,), unchanged=False)


def _send_parts(question: Question) -> Sent:
    """A composite by its parts: each must hold of what the whole holds of. Dates are not asked
    for: beside others of their name an upstream refuses them, and the other part narrows enough."""
    pieces = zip(*(split(value, "$") for value in question.written.alternatives), strict=True)
    sent = []
    for (code, verdict), found in zip(question.verdict.parts, pieces, strict=True):
        if registry.get(question.type)[code].type != "date":
            written = parameter(code, ",".join(dict.fromkeys(found)))
            sent.append(send(replace(question, written=written, verdict=verdict)))
    return Sent(
        tuple(pair for each in sent for pair in each.form),
        (question.condition(question.written.alternatives),),
        empty=any(each.empty for each in sent),
        unchanged=False,
    )


def _send_plain(question: Question) -> Sent:
    p, defined = question.written, question.defined
    condition = question.condition(p.alternatives)
    form = question.as_written()
    if p.modifier != "missing":
        question.check_text()
        if defined.type == "reference":
            spelled = spellings.ask_written(question, Bases(question.context.base))
            if spelled is None:
                return Sent(empty=True, unchanged=False)
            form = spelled
        elif defined.type in _NUMBERS | {"composite"}:
            form = question.ask(tuple(_usual(question, value) for value in p.alternatives))
    conditions = (condition,) if question.verdict.judge != "never" else ()
    return Sent(form, conditions, unchanged=not conditions)


def _usual(question: Question, value: str) -> str:
    """``sa`` and ``eb`` mean ``gt`` and ``lt`` of a number, and not every server knows them."""
    known = registry.get(question.type)
    types = [known[code].type for code, _ in question.verdict.parts] or [question.defined.type]
    pieces = split(value, "$") if question.verdict.parts else (value,)
    return "$".join(
        _SAME.get(piece[:2], piece[:2]) + piece[2:] if of in _NUMBERS else piece
        for of, piece in zip(types, pieces, strict=True)
    )


_NUMBERS = frozenset({"number", "quantity"})
_SAME = {"sa": "gt", "eb": "lt"}
_NAMES: Mapping[str, Decode] = {
    "id": decode_id,
    "reference": decode_reference,
    "identifier": decode_identifier,
    "document-identifier": decode_identifier,
}
