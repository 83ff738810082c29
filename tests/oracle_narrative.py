"""Narratives made from what is shown, read once more: rows first, then markup."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from proxy.fhir.codec import Fragment
from proxy.fhir.r4 import TYPES
from tests import oracle_facts as facts
from tests.oracle_facts import Json
from tests.oracle_values import TO_BE_MADE

MOST, LONG = 400, 1000
SECTION = "Composition.section"


@dataclass
class Row:
    """A name with a text, rows of its own, or both."""

    name: str
    text: str = ""
    rows: list[Row] = field(default_factory=list)  # of the value
    notes: list[Row] = field(default_factory=list)  # beside it

    @property
    def says(self) -> bool:
        return bool(self.name and (self.text or self.rows or self.notes))


def narrate(resource: dict[str, Json]) -> None:
    """Make what is still to be made, in place."""
    if resource["resourceType"] == "Composition":
        for section in nested(resource.get("section")):
            describe(section, SECTION)
    describe(resource, resource["resourceType"])


def nested(sections: Json) -> Iterator[dict[str, Json]]:
    for section in sections or []:
        yield section
        yield from nested(section.get("section"))


def describe(shown: dict[str, Json], kind: str) -> None:
    if shown.get("text", {}).get("div") != TO_BE_MADE:
        return
    rows = rows_of(shown, kind)
    if not rows:
        shown["text"] = facts.masked_narrative()
        return
    kept: set[int] = set()
    everything = list(preorder(rows))
    kept.update(id(r) for r in everything[:MOST])
    more = "<p>More is in the data.</p>" if len(everything) > MOST else ""
    title = "" if kind == SECTION else f"<caption>{kind}</caption>"
    body = "".join(markup(r, kept) for r in rows)
    shown["text"] = {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><table>{title}{body}</table>{more}</div>',
    }


def preorder(rows: list[Row]) -> Iterator[Row]:
    for row in rows:
        yield row
        yield from preorder(row.rows)
        yield from preorder(row.notes)


def markup(row: Row, kept: set[int]) -> str:
    if id(row) not in kept:
        return ""
    inside = row.text
    for rows in (row.rows, row.notes):
        text = "".join(markup(r, kept) for r in rows)
        inside += f"<table>{text}</table>" if text else ""
    return f"<tr><td>{escaped(row.name)}</td><td>{inside}</td></tr>" if inside else ""


def rows_of(value: dict[str, Json], kind: str) -> list[Row]:
    """The rows of an element, in R4's order; those that say nothing left out."""
    found: list[Row] = []
    for name, prop in facts.props(kind).items():
        if prop.code in ("base64Binary", "xhtml", "Narrative"):
            continue
        if kind == SECTION and name == "section":
            continue
        items, beside = value.get(name), value.get("_" + name)
        items = items if isinstance(items, list) else [items]
        beside = beside if isinstance(beside, list) else [beside]
        for index in range(max(len(items), len(beside))):
            item = items[index] if index < len(items) else None
            note = beside[index] if index < len(beside) else None
            found.append(row_of(name, item, note, prop.code))
    return [row for row in found if row.says]


def row_of(name: str, item: Json, note: Json, code: str) -> Row:
    if code == "Extension":
        if not isinstance(item, dict) or not writable(item.get("url")):
            return Row("")
        held = {k: v for k, v in item.items() if k != "url"}
        values = list(held.values())
        if len(values) == 1 and values[0] is not None and not isinstance(values[0], dict | list):
            return Row(item["url"], text_of(values[0]))
        return Row(item["url"], rows=rows_of(held, "Extension"))
    row = Row(name)
    if facts.is_resource(item):
        row.rows = rows_of(item, item["resourceType"])
    elif isinstance(item, dict):
        known = code in TYPES and TYPES[code].kind != "primitive"
        row.rows = rows_of(item, code) if known else []
    else:
        row.text = text_of(item)
    if isinstance(note, dict):
        row.notes = rows_of(note, "Element")
    return row


def text_of(value: Json) -> str:
    """A value as text, escaped; empty if it is none or cannot stand in XML."""
    if isinstance(value, Fragment):
        text = value.contents
    elif isinstance(value, bool):
        text = str(value).lower()
    else:
        text = str(value) if isinstance(value, str | int) else ""
    return escaped(text) if text.strip() and len(text) <= LONG and writable(text) else ""


def writable(text: Json) -> bool:
    return isinstance(text, str) and all(
        c in "\t\n\r" or (unicodedata.category(c) not in ("Cs",) and ord(c) >= 32
                          and c not in "\ufffe\uffff")
        for c in text
    )  # fmt: skip


def escaped(text: str) -> str:
    for mark, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;")):
        text = text.replace(mark, name)
    return text
