"""Whose dates a search asks for, where dates are shifted by one offset a person."""

from __future__ import annotations

from collections.abc import Iterable

from proxy.engine.context import Context
from proxy.engine.question import Question
from proxy.engine.shown_values import decode_id, decode_reference
from proxy.fhir.search import Parameter
from proxy.policy.persons import CODES
from proxy.policy.verdicts import Verdict


def find_offset(
    context: Context, type_: str, asked: Iterable[tuple[Parameter, Verdict]]
) -> int | None:
    """The offset of all dates that the search can match, if its parameters name exactly one
    Patient; None if they name nobody, or one whose offset the upstream must be asked for.

    Raises :class:`proxy.errors.BadValue` for a malformed reference or id.
    """
    persons = context.view.persons
    if persons is None or persons.how is None or persons.how.system:
        return None
    for parameter, verdict in asked:
        names = _names(Question(context, type_, parameter, verdict))
        if len(names) == 1 and names[0].startswith("Patient/"):
            return persons.offset(f"{context.gateway.bases.main}/{names[0]}", context.scope())
    return None


def _names(question: Question) -> list[str]:
    """``Type/id`` of all that the one value stands for, where every match is about one of them."""
    written, way = question.written, question.verdict.way
    if len(written.alternatives) != 1:
        return []
    value = written.alternatives[0]
    if way == "id" and question.type == "Patient":
        found = decode_id(question, value)
        return [f"Patient/{id}" for each in found for id in each.asked]
    if way == "reference" and written.code in CODES and written.modifier in ("", "Patient"):
        return [name for each in decode_reference(question, value) for name in each.asked]
    return []
