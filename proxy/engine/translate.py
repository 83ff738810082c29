"""One search parameter of a restricted view on its way upstream, by its verdict.

Backward, a pseudonym becomes the one id it stands for. All that is translated or widened is judged
again on the shown row, in shown terms, so that a row matches exactly if what the caller sees of it
matches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from proxy.engine.dates import at_day_precision, is_coarse
from proxy.engine.question import Question, Sent
from proxy.engine.shown_values import (
    Named,
    decode_id,
    decode_identifier,
    decode_reference,
)
from proxy.errors import BadValue
from proxy.fhir.reference import Bases
from proxy.policy.verdicts import choose_tokens

Decode = Callable[[Question, str], list[Named]]


def send(question: Question) -> Sent:
    """What the question comes to. Raises :class:`BadValue` for a malformed value."""
    decode = _NAMES.get(question.verdict.way)
    if decode is not None:
        return _send_names(question, decode)
    question.condition(question.written.alternatives)  # values are checked before anything is asked
    if question.verdict.way == "codes":
        return _send_codes(question)
    return _send_plain(question)


def _send_names(question: Question, decode: Decode) -> Sent:
    """Values that are names of ours: each stands for one thing or for none."""
    found = [name for value in question.written.alternatives for name in decode(question, value)]
    if not found:
        return Sent(empty=True, unchanged=False)
    asked = tuple(dict.fromkeys(value for name in found for value in name.asked))
    shown = tuple(dict.fromkeys(name.shown for name in found))
    return Sent(question.ask(asked), (question.condition(shown),), unchanged=False)


def _send_codes(question: Question) -> Sent:
    """Codes of unlisted systems are not shown, so they match nothing and are not sent."""
    p = question.written
    tokens = choose_tokens(question.verdict, p.modifier, p.alternatives)
    if not tokens.alternatives:
        return Sent(empty=p.modifier != "not", unchanged=False)
    conditions = (question.condition(tokens.alternatives),) if tokens.judge else ()
    unchanged = tokens.alternatives == p.alternatives and not conditions
    return Sent(question.ask(tokens.alternatives), conditions, unchanged=unchanged)


def _send_plain(question: Question) -> Sent:
    p, defined = question.written, question.defined
    form, judged = question.as_written(), question.verdict.judge != "never"
    if p.modifier != "missing":
        question.check_text()
        if defined.type == "date" and is_coarse(p):
            form, judged = at_day_precision(p), True
        elif defined.type == "reference":
            here = Bases(question.context.base)
            form = question.ask(tuple(question.relative(value, here) for value in p.alternatives))
        elif _reads_zip5(question):
            _check_postal(question)
    conditions = (question.condition(p.alternatives),) if judged else ()
    return Sent(form, conditions, unchanged=not conditions)


def _reads_zip5(question: Question) -> bool:
    coarse = (read for read in question.verdict.reads if read.kind == "coarse")
    lens = question.context.view.lens
    return any(lens(read.path).method.param("to") == "zip5" for read in coarse)


def _check_postal(question: Question) -> None:
    """A shown ZIP code is asked for whole."""
    for value in question.written.alternatives:
        if not re.fullmatch(r"[0-9]{5}", value):
            raise BadValue("A postal code must have exactly five digits.")


_NAMES: Mapping[str, Decode] = {
    "id": decode_id,
    "reference": decode_reference,
    "identifier": decode_identifier,
    "document-identifier": decode_identifier,
}
