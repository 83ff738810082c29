"""What a lens may look at beside the value: who names, and what day it is."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Protocol

from proxy.fhir.codec import JsonObject

if TYPE_CHECKING:
    from proxy.lenses.scrub import Known


class Naming(Protocol):
    """The part of a project's naming that lenses use (:class:`proxy.lenses.identity.Namer`)."""

    def show_id(self, type: str, real: str) -> str: ...
    def show_uri(self, uri: str) -> str: ...
    def show_identifier(self, system: str | None, value: str) -> tuple[str, str]: ...
    def show_document_identifier(self, value: str) -> tuple[str, str]: ...
    def show_person(self, bearer: str) -> str: ...
    def offset(self, person: str, low: int, high: int) -> int: ...


class LensContext(Protocol):
    """The context of one reveal. ``today``: the civil date (UTC) of the call. ``offset``: by how
    many days the dates at this point are shifted; None: they are no person's, or several'.
    ``known``: what is known of the persons whom a text at this point may name; None: not who they
    are. ``scrubbed``: what was found in each text, by kind, under the id of the text's object."""

    namer: Naming
    today: date
    offset: int | None
    known: Known | None
    scrubbed: dict[int, Counter[str]]

    @property
    def bearer(self) -> str:
        """What the resource at hand is named by: ``Type/id`` of the upstream's, the absolute URL
        of any other, ``#id`` behind it for a contained one. Empty if it has no name."""


def absent(reason: str) -> JsonObject:
    """What stands for a value that is not there (R4 data-absent-reason), always new."""
    return {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": reason}]}


def masked() -> JsonObject:
    """An element that is present and withheld, always new."""
    return absent("masked")


DATA_ABSENT_REASON = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
