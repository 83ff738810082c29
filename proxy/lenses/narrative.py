"""narrative: fixed masked text in place of what people wrote, or a table of what is shown."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Final

from proxy.fhir.codec import Json
from proxy.lenses import LensKind, LensMethod, Transform, lens
from proxy.lenses.context import masked

# Stands for a div until the rest of its resource is made; known by identity.
PENDING: Final[str] = "".join(("\0", "pending"))


@lens("narrative")
class MaskNarrative(LensMethod):
    """A Narrative becomes fixed text, ``MASKED`` or the policy's own.

    The form is that of the anonymized-eICR guide: status ``empty``, data-absent-reason
    ``masked`` and ``<div xmlns="http://www.w3.org/1999/xhtml"><p>MASKED</p></div>``.

    With ``from = "shown"`` it is a table of what is shown of the resource, of a section's own
    elements in a section (:mod:`proxy.lenses.table`), with status ``generated``: made when all else
    of the resource has been, and the fixed text where nothing shows.

    Example: ``Narrative = "narrative"`` or ``{ method = "narrative", text = "Withheld" }``.
    """

    kind: LensKind = "hidden"
    suits = frozenset({"Narrative"})

    def bind(self, params: Mapping[str, object], type_code: str) -> Transform:
        if type_code != "Narrative":
            raise ValueError(f"narrative does not suit {type_code}")
        if params.get("from") == "shown":
            return lambda value, context: {"status": "generated", "div": PENDING}
        text = escape(str(params.get("text", "MASKED")), quote=False)
        return lambda value, context: masked_narrative(text)


def masked_narrative(text: str = "MASKED") -> Json:
    """The fixed Narrative with ``text`` (already escaped), always new."""
    return {
        **masked(),
        "status": "empty",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{text}</p></div>',
    }
