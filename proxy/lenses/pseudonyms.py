"""pseudonymize: business and document identifiers under a project's key."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.fhir.codec import Json
from proxy.lenses import LensKind, LensMethod, Transform, lens
from proxy.lenses.context import LensContext
from proxy.lenses.identity import SYSTEMS

DOCUMENT = "Identifier.document"


@lens("pseudonymize")
class Pseudonymize(LensMethod):
    """An Identifier becomes a ``system`` of ours and a keyed, reversible value; nothing else.

    The identifiers of documents (Bundle.identifier, Composition.identifier, masterIdentifier,
    relatesTo, section.entry.identifier) are named by their canonical value, so that one document
    has one pseudonym wherever it is mentioned. Searchable exactly, as ``system|pseudonym``.

    ``from = "upstream"`` (in a policy with ``requires``): the upstream shows pseudonyms already.
    They stay as they are, and what is none of ours is masked.

    Example: ``Identifier = "pseudonymize"``.
    """

    kind: LensKind = "pseudonym"
    suits = frozenset({"Identifier", DOCUMENT})

    def bind(self, params: Mapping[str, object], type_code: str) -> Transform:
        if type_code not in self.suits:
            raise ValueError(f"pseudonymize does not suit {type_code}")
        if params.get("from") == "upstream":
            return keep_pseudonym
        return show_document_identifier if type_code == DOCUMENT else show_identifier


def keep_pseudonym(value: Json, context: LensContext) -> Json | None:
    """An Identifier that is a pseudonym, and no more of it; empty if it has no value, None for any
    other."""
    if not isinstance(value, dict):
        return None
    text, system = value.get("value"), value.get("system")
    if text is None and isinstance(system, str | None):
        return {}
    if not (isinstance(system, str) and system in SYSTEMS and isinstance(text, str) and text):
        return None
    return {"system": system, "value": text}


def show_identifier(value: Json, context: LensContext) -> Json | None:
    """An Identifier as its pseudonym; empty if it has no value, None if it is malformed."""
    if not isinstance(value, dict):
        return None
    text, system = value.get("value"), value.get("system")
    if not isinstance(text, str | None) or not isinstance(system, str | None):
        return None
    if not text:
        return {}
    system, text = context.namer.show_identifier(system, text)
    return {"system": system, "value": text}


def show_document_identifier(value: Json, context: LensContext) -> Json | None:
    """A document's Identifier as its pseudonym, keyed by the canonical value."""
    if not isinstance(value, dict):
        return None
    text = value.get("value")
    if not isinstance(text, str | None) or not isinstance(value.get("system"), str | None):
        return None
    if not text:
        return {}
    system, text = context.namer.show_document_identifier(text)
    return {"system": system, "value": text}
