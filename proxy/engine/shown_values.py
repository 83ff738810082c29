"""Names that a client was shown, as it uses them in a search, back to what they stand for.

Accepted: ``<id>``, ``Type/<id>`` and ``<public base>/Type/<id>`` (R4, search.html#reference). What
does not decode stands for nothing and is dropped; versions, fragments and foreign URLs are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.engine.question import Question
from proxy.errors import BadValue
from proxy.fhir.reference import is_id, normalise_base, parse_reference
from proxy.fhir.search import escape, unescape
from proxy.fhir.search_values import parse_token
from proxy.lenses.identity import SYSTEMS, document_spellings


@dataclass(frozen=True, slots=True)
class Named:
    """One thing that a value stands for. ``asked``: search values that find it upstream;
    ``shown``: the search value that finds it among shown rows (current names: a client may still
    use older ones)."""

    asked: tuple[str, ...]
    shown: str


def decode_id(question: Question, value: str) -> list[Named]:
    """What a value of ``_id`` stands for."""
    context = question.context
    type_, id_ = _read(question, value)
    if type_ not in ("", question.type):
        return []
    scope = context.scope()
    return [
        Named((real,), scope.show_id(question.type, real))
        for real in context.real_ids(question.type, id_)
    ]


def decode_reference(question: Question, value: str) -> list[Named]:
    """What a value of a reference parameter stands for: with its type the one thing, without it
    one for each type that the parameter may point to and the view shows. ``asked`` are their names,
    ``Type/id``, still to be spelled (:mod:`proxy.engine.spellings`)."""
    context = question.context
    type_, id_ = _read(question, value)
    targets = question.verdict.targets
    if type_:
        targets = tuple(target for target in targets if target == type_)
    scope = context.scope()
    found = []
    for target in targets:
        for real in context.real_ids(target, id_):
            found.append(Named((f"{target}/{real}",), f"{target}/{scope.show_id(target, real)}"))
    return found


def _read(question: Question, value: str) -> tuple[str, str]:
    """Type (empty if not given) and id of a value. Raises :class:`BadValue` for other forms."""
    text = unescape(value)
    if is_id(text):
        return "", text
    reference = parse_reference(text)
    here = reference.base in ("", normalise_base(question.context.base))
    if reference.kind not in ("relative", "absolute") or not reference.type or not here:
        raise BadValue("Refer to a resource by its id, Type/id, or its URL at this server.")
    if reference.version or reference.fragment:
        raise BadValue("A search by reference takes no version and no fragment.")
    return reference.type, reference.id


def decode_identifier(question: Question, value: str) -> list[Named]:
    """What ``system|value`` stands for where identifiers are shown as pseudonyms; of a document's,
    any spelling of its canonical value, whatever its system."""
    token = parse_token(value)
    if not token.system or not token.code:
        raise BadValue("Search an identifier as system|value, both as shown.")
    if all(read.method.param("from") == "upstream" for read in question.verdict.reads):
        return [Named((value,), value)] if token.system in SYSTEMS else []
    context = question.context
    namer = context.gateway.namers.of(context.caller.project, context.view.name)
    canonical = namer.real_document_identifier(token.system, token.code)
    if canonical is not None:
        asked = tuple(map(escape, document_spellings(canonical)))
        # One prefix goes again, whatever the canonical value begins with.
        shown = namer.show_document_identifier(f"urn:uuid:{canonical}")
        return [Named(asked, _token(shown))]
    real = namer.real_identifier(token.system, token.code)
    if real is None:
        return []
    wanted = f"{escape(real[0] or '')}|{escape(real[1])}"
    return [Named((wanted,), _token(namer.show_identifier(*real)))]


def _token(shown: tuple[str, str]) -> str:
    return f"{escape(shown[0])}|{escape(shown[1])}"
