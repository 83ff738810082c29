"""pseudonymize: business and document identifiers under a project's key."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.fhir.codec import Json
from proxy.lenses import LensKind, LensMethod, Transform, lens
from proxy.lenses.context import LensContext

DOCUMENT = "Identifier.document"


@lens("pseudonymize")
class Pseudonymize(LensMethod):
    """An Identifier becomes a ``system`` of ours and a keyed, reversible value; nothing else.

    The identifiers of documents (Bundle.identifier, Composition.identifier, masterIdentifier,
    relatesTo, section.entry.identifier) are named by their canonical value, so that one document
    has one pseudonym wherever it is mentioned. Searchable exactly, as ``system|pseudonym``.

    Example: ``Identifier = "pseudonymize"``.
    """

    kind: LensKind = "pseudonym"
    suits = frozenset({"Identifier", DOCUMENT})

    def bind(self, params: Mapping[str, object], type_code: str) -> Transform:
        if type_code == DOCUMENT:
            return show_document_identifier
        if type_code != "Identifier":
            raise ValueError(f"pseudonymize does not suit {type_code}")
        return show_identifier


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
