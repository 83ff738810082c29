"""A reference in a search, in every spelling under which the upstream may hold it.

A view shows all spellings of one thing as one. An upstream finds each by itself only: what is
stored as ``<alias>/Patient/1`` not by ``Patient/1`` (R4, search.html#reference). So where the
upstream has aliases, all are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy.engine.messages import Pairs
from proxy.engine.question import Question
from proxy.fhir import match, registry
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.reference import Bases, is_id, parse_reference
from proxy.fhir.search import escape, unescape
from proxy.fhir.structure import RESOURCES


def spell(bases: Bases, names: Iterable[str]) -> tuple[str, ...]:
    """Search values for ``names`` (``Type/id``): relative ones first, then absolute ones."""
    relative = tuple(names)
    absolute = (escape(f"{base}/{name}") for base in bases.written for name in relative)
    return (*map(escape, relative), *absolute)


def ask(question: Question, names: Iterable[str]) -> Pairs:
    """The parameter that asks for ``names`` (``Type/id``), each of a type that it may point to."""
    p, bases = question.written, question.context.gateway.bases
    if p.modifier and not bases.written:
        # The type stands in the name already (R4, search.html#reference).
        return question.ask(tuple(name.partition("/")[2] for name in names))
    # Where the type stands in the name, HAPI finds by ids only, and its own only.
    return ((p.code, ",".join(spell(bases, names))),)


def ask_written(question: Question, *servers: Bases) -> Pairs | None:
    """The parameter with its values as the client wrote them, where ids are the upstream's own:
    those below one of the ``servers`` made its own. None if no value can match."""
    p, bases = question.written, question.context.gateway.bases
    values = tuple(question.relative(value, *servers) for value in p.alternatives)
    if not bases.written or (p.modifier and p.modifier not in RESOURCES):
        return question.ask(values)
    types = (p.modifier,) if p.modifier else find_targets(question.defined, question.type)
    asked: dict[str, None] = {}
    for value in values:
        text = unescape(value)
        reference = parse_reference(text)
        if is_id(text):
            names = [f"{type_}/{text}" for type_ in types]
            spelled = spell(bases, names)
        elif p.modifier and reference.type != p.modifier:
            continue
        else:
            spelled = spell(bases, [text]) if reference.kind == "relative" else (value,)
        asked.update(dict.fromkeys(spelled))
    return ((p.code, ",".join(asked)),) if asked else None


def find_targets(parameter: SearchParameter, type_: str) -> tuple[str, ...]:
    """What a reference can lead to: where its expression says so (``resolve() is Patient``), only
    that."""
    paths = match.paths(parameter, type_) or ()
    said = {target for path in paths for target in path.targets}
    everywhere = bool(paths) and all(path.targets for path in paths)
    return tuple(sorted(said)) if everywhere else registry.targets(parameter)
