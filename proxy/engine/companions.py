"""Companions of a case: stored Patients that a view must know to show what is about them.

Where dates shift by a number of the Patient's, a resource that stands alone does not say whose its
dates are; where texts are scrubbed, not whom they may name. So before resources are revealed, the
Patients that they are about are fetched, many at once (for texts with their RelatedPersons), and
kept for the rest of the exchange. Only what shows is looked at: what is hidden causes no further
ask.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from proxy.engine.asking import Work, ask_named, ask_referring, ask_rows
from proxy.engine.context import Context
from proxy.engine.messages import Answer, Ask
from proxy.engine.reveal import load
from proxy.errors import UpstreamBroken
from proxy.fhir.reference import is_id

Meeting = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", bool]

Relating = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", None]

_MOST = 2_000  # Patients kept from one page to the next


def meet(
    context: Context, bodies: Iterable[bytes], work: Work, *, together: bool = False
) -> Meeting:
    """Fetch the companions of resources, as far as they are not known; whether there were any.
    ``together``: they will be shown with those that were met before, whose companions are kept.

    A Patient that is not there, or lives elsewhere, is known as absent. Raises
    :class:`proxy.errors.TooCostly` where that takes more asks than ``work`` has left,
    :class:`UpstreamBroken` for an unusable answer.
    """
    if not context.view.has_companions:
        return False
    if len(context.companions) > _MOST and not together:
        context.companions.clear()
        context.relatives.clear()
        context.scrubbers.clear()
    missing: set[str] = set()
    for body in bodies:
        missing |= _look(context, body)
    if not missing:
        return False
    context.companions.update(dict.fromkeys(missing))
    context.relatives.update({url: [] for url in missing})
    base = f"{context.gateway.bases.main}/Patient/"
    ids = sorted(url.removeprefix(base) for url in missing if url.startswith(base))
    ids = [id_ for id_ in ids if is_id(id_)]
    asks = ask_named(("Patient", id_) for id_ in ids)
    for rows in (yield from ask_rows(context, asks, work)):
        for row in rows:
            if row.type == "Patient" and base + row.id in missing:
                context.companions[base + row.id] = load(row.body)
    if context.view.scrubs:
        yield from _relate(context, ids, work)
    return True


def _relate(context: Context, ids: list[str], work: Work) -> Relating:
    """Fetch the RelatedPersons of Patients."""
    names = [f"Patient/{id_}" for id_ in ids]
    asks = ask_referring(context, "RelatedPerson", "patient", names)
    scope = context.scope()
    for rows in (yield from ask_rows(context, asks, work)):
        for row in rows:
            related = load(row.body)
            patient = related.get("patient")
            text = patient.get("reference") if isinstance(patient, dict) else None
            if row.type == "RelatedPerson" and isinstance(text, str):
                url = scope.name_of(text, context.gateway.bases.main)
                context.relatives.setdefault(url, []).append(related)


def _look(context: Context, body: bytes) -> set[str]:
    """The Patients that are missing to show a resource; none of one that does not show."""
    try:
        stored = load(body)
    except UpstreamBroken:  # said where it is revealed
        return set()
    if not context.view.visible(stored, context.caller.claims):
        return set()
    return context.view.companions(stored, context.scope())
