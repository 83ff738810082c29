"""Narratives made wholly from shown data: an XHTML table of element names and values.

Only what stands in the shown JSON comes into the table, so it holds no more than that. R4,
narrative.html: txt-1 (elements of HTML 4 chapters 7-11 alone), txt-2 (some content).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from proxy.fhir.codec import Fragment, Json, JsonObject
from proxy.fhir.r4 import TYPES
from proxy.fhir.structure import PRIMITIVES, RESOURCES, properties
from proxy.lenses.narrative import PENDING, masked_narrative

ROWS = 400  # of one narrative
LONGEST = 1_000  # characters of a value that is repeated in a table
CUT = "More is in the data."  # the one text that is not of the data: behind the last of the rows
_SECTION = "Composition.section"
# Types whose values are no reading matter.
_OPAQUE = frozenset({"base64Binary", "xhtml", "Narrative"})
# What XML 1.0 cannot hold (production Char).
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def narrate(resource: JsonObject) -> None:
    """Make the narratives of a shown resource, its sections' first, where one is to be made."""
    if resource.get("resourceType") == "Composition":
        for section in _sections(resource.get("section")):
            _describe(section, _SECTION)
    _describe(resource, str(resource.get("resourceType")))


def _sections(items: Json) -> Iterator[JsonObject]:
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            yield item
            yield from _sections(item.get("section"))


def _describe(shown: JsonObject, type_name: str) -> None:
    text = shown.get("text")
    if isinstance(text, dict) and text.get("div") is PENDING:
        table = _Table().of(shown, type_name)
        if table is None:
            shown["text"] = masked_narrative()
        else:
            div = f'<div xmlns="http://www.w3.org/1999/xhtml">{table}</div>'
            shown["text"] = {"status": "generated", "div": div}


class _Table:
    """The table of one narrative. ``left``: rows that may still be written; ``cut``: whether there
    were more."""

    def __init__(self) -> None:
        self._left = ROWS
        self._cut = False

    def of(self, shown: JsonObject, type_name: str) -> str | None:
        """The whole table; None if there is nothing to be said."""
        rows = "".join(self._rows(shown, type_name))
        if not rows:
            return None
        head = f"<caption>{escape(type_name)}</caption>" if type_name in RESOURCES else ""
        more = f"<p>{CUT}</p>" if self._cut else ""
        return f"<table>{head}{rows}</table>{more}"

    def _rows(self, shown: JsonObject, type_name: str) -> Iterator[str]:
        """A row for each value of each element, in R4's order. A nested section has a narrative of
        its own."""
        for name, prop in properties(type_name).items():
            value, beside = shown.get(name), shown.get("_" + name)
            if prop.type in _OPAQUE or (type_name == _SECTION and name == "section"):
                continue
            values = value if isinstance(value, list) else [value]
            notes = beside if isinstance(beside, list) else [beside]
            for at in range(max(len(values), len(notes))):
                one = values[at] if at < len(values) else None
                note = notes[at] if at < len(notes) else None
                if prop.type == "Extension":
                    yield from self._row(_url(one), one, None, "Extension")
                else:
                    yield from self._row(name, one, note, prop.type)

    def _row(self, name: str, value: Json, note: Json, type_name: str) -> Iterator[str]:
        if self._cut or not name:
            return
        if self._left == 0:
            self._cut = any(_Table()._row(name, value, note, type_name))
            return
        self._left -= 1
        cell = self._cell(value, type_name) + self._cell(note, "Element")
        if cell:
            yield f"<tr><td>{escape(name, quote=False)}</td><td>{cell}</td></tr>"
        elif not self._cut:
            self._left += 1

    def _cell(self, value: Json, type_name: str) -> str:
        """A value as text or as a table of its own; empty if it cannot be written."""
        if isinstance(value, dict):
            if value.get("resourceType") in RESOURCES:
                type_name = str(value["resourceType"])
            if type_name == "Extension":
                value = {k: v for k, v in value.items() if k != "url"}
                alone = next(iter(value.values())) if len(value) == 1 else None
                if alone is not None and not isinstance(alone, dict | list):
                    return self._cell(alone, "string")
            known = type_name in TYPES and type_name not in PRIMITIVES
            rows = "".join(self._rows(value, type_name)) if known else ""
            return f"<table>{rows}</table>" if rows else ""
        text = _text(value)
        if not text.strip() or len(text) > LONGEST or _NO_XML.search(text):
            return ""
        return escape(text, quote=False).replace("\r", "&#13;")


def _url(extension: Json) -> str:
    url = extension.get("url") if isinstance(extension, dict) else None
    return url if isinstance(url, str) and not _NO_XML.search(url) else ""


def _text(value: Json) -> str:
    if isinstance(value, Fragment):
        return value.contents
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else ""
