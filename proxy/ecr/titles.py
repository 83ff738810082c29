"""Our names for the kinds of documents, by LOINC code (LOINC 2.77 long common names).

A required title shows this name: what people write into a title can hold anything.
"""

from __future__ import annotations

from collections.abc import Mapping

from proxy.fhir.codec import Json

LOINC = "http://loinc.org"

DOCUMENT_TITLES = {
    "11488-4": "Consult note",
    "11502-2": "Laboratory report",
    "18842-5": "Discharge summary",
    "34117-2": "History and physical note",
    "34133-9": "Summary of episode note",
    "55751-2": "Public health Case report",
    "60591-5": "Patient summary Document",
    "88085-6": "Reportability response report Document Public health",
}


def document_title(type_element: Json) -> str:
    """The name of a document from its shown ``type``; ``masked`` for a type we do not know."""
    codings = type_element.get("coding") if isinstance(type_element, Mapping) else None
    for coding in codings if isinstance(codings, list) else ():
        if isinstance(coding, Mapping) and coding.get("system") == LOINC:
            title = DOCUMENT_TITLES.get(str(coding.get("code")))
            if title is not None:
                return title
    return "masked"
