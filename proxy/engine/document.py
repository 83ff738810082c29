"""Composition/$document: a document put together here (R4, composition-operation-document.html).

The Composition and all that it reaches by references that its caller is shown, level by level, each
as a plain read would show it. A reference that is hidden brings nothing. What a read would not show
(not listed under [access], out of the token's scopes, withheld, deleted, elsewhere) is left out,
and what refers to it stays as in a read. Identifier, id and timestamp are made from what is shown:
the same data give the same document.

Where a resource may show otherwise in a document than by itself, what was collected is shown as one
document, as a stored one would be: dates move with those of the Composition's subject, texts are
scrubbed of all whom a read of any part would be scrubbed of, and a document profile
(``document = "anonymized"``) is met; there, what sections list and cannot show is not referred to.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from hashlib import sha256
from uuid import NAMESPACE_URL, uuid5

from proxy.engine.access import may
from proxy.engine.answers import Row
from proxy.engine.asking import Work, ask_named, ask_rows
from proxy.engine.assemble import assemble_document, make_entry
from proxy.engine.companions import meet
from proxy.engine.context import Context
from proxy.engine.leads import shown_leads, stored_leads
from proxy.engine.membership import Key
from proxy.engine.messages import Answer, Ask, Reply
from proxy.engine.projection import parse_projection, prettify
from proxy.engine.read import fetch, tagged
from proxy.engine.reveal import load, pass_through, reveal_entries, reveal_resource
from proxy.engine.subjects import patients_of
from proxy.errors import NotFound, NotSupported, UpstreamBroken
from proxy.fhir.codec import Json, JsonObject, encode
from proxy.fhir.interaction import Interaction
from proxy.fhir.search import Parameter, pairs
from proxy.policy.controls import IGNORED

Flow = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", Reply]
Collected = tuple["list[Part]", "set[Key]"]
Parts = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", "Collected"]

_TOO_MANY = "The document has more parts than one request may collect; read them by themselves."
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))?)?)?", re.ASCII
)
_NO_YEAR = "1900"  # what a view shows of a required date that there is not


@dataclass(frozen=True, slots=True)
class Part:
    """A resource of the document. ``stored``: as the upstream has it. ``url``: its fullUrl.
    ``body``: as shown; empty where all are shown together. ``date``: the shown ``date`` if it has
    one. ``leads``: what it refers to that the caller may read."""

    key: Key
    stored: JsonObject
    url: str
    body: bytes
    date: str
    leads: tuple[Key, ...]


def document(
    context: Context, interaction: Interaction, parameters: tuple[Parameter, ...]
) -> Flow:
    """The document of one Composition; a 404 where a read of it is one."""
    pretty = _judge(context, parameters)
    body, found, _ = yield from fetch(context, interaction.type, interaction.id)
    yield from meet(context, [body], Work(context.gateway.limits.asks))
    first = _reveal(context, (found.resourceType, str(found.id)), body)
    if first is None:
        raise NotFound()
    parts, withheld = yield from _collect(context, first)
    context.notes.add(entries=len(parts))
    if context.view.shows_together:
        made = _assemble(context, parts[0].url, *_reveal_together(context, parts, withheld))
    else:
        entries = [make_entry(part.url, part.body) for part in parts]
        made = _assemble(context, parts[0].url, parts[0].date, entries)
    return tagged(context, prettify(made) if pretty else made)


def _judge(context: Context, parameters: tuple[Parameter, ...]) -> bool:
    """Whether it is to be indented. Raises :class:`NotSupported` for any other parameter."""
    taken = [p for p in parameters if p.name in ("_format", "_pretty")]
    context.notes.add(parameters=tuple(p.name for p in taken))
    if any(p.name not in IGNORED for p in parameters if p not in taken):
        raise NotSupported(
            "$document takes _format and _pretty only: it stores nothing, follows no graph and "
            "shows whole resources."
        )
    return parse_projection(pairs(tuple(taken)), "Bundle").pretty


def _collect(context: Context, first: Part) -> Parts:
    """All that ``first`` reaches, breadth first, in the order in which references meet it, and what
    of it was asked for and does not show."""
    parts, met = [first], {first.key}
    level, work = first.leads, Work(context.gateway.limits.asks, _TOO_MANY)
    while level := tuple(key for key in level if key not in met):
        met.update(level)
        answered = yield from ask_rows(context, ask_named(level), work)
        bodies = _bodies(level, [row for rows in answered for row in rows])
        yield from meet(context, bodies.values(), work, together=True)
        found = [_reveal(context, key, bodies[key]) for key in level if key in bodies]
        shown = [part for part in found if part is not None]
        parts += shown
        level = tuple(dict.fromkeys(key for part in shown for key in part.leads))
    return parts, met - {part.key for part in parts}


def _bodies(asked: tuple[Key, ...], rows: list[Row]) -> dict[Key, bytes]:
    """The resources that came. Raises :class:`UpstreamBroken` for one that was not asked for or is
    malformed: a document without it would look complete."""
    bodies = {(row.type, row.id): row.body for row in reversed(rows)}
    if not bodies.keys() <= set(asked):
        raise UpstreamBroken()
    return bodies


def _reveal(context: Context, key: Key, body: bytes) -> Part | None:
    """The resource as a read would show it; None if it would not."""
    stored = load(body)
    if context.view.identity:
        shown, out = stored, pass_through(context, body)
    else:
        revealed = reveal_resource(context, stored)
        if revealed is None:
            return None
        shown, out = revealed, b"" if context.view.shows_together else encode(revealed)
    context.notes.add_patients(map(context.audit_name, patients_of(body, context.gateway.bases)))
    url = f"{context.base}/{key[0]}/{shown['id']}"
    leads = shown_leads(context.view, context.scope(), stored, shown)
    allowed = {
        type_
        for type_ in {type_ for type_, _ in leads}
        if may(context.caller, context.view, "read", type_)
    }
    date = shown.get("date")
    return Part(
        key,
        stored,
        url,
        out,
        date if isinstance(date, str) else "",
        tuple(lead for lead in leads if lead[0] in allowed),
    )


def _reveal_together(
    context: Context, parts: list[Part], withheld: set[Key]
) -> tuple[str, list[bytes]]:
    """The Composition's date and the entries of the document that ``parts`` are as they are shown
    together. Where documents have a profile, an entry that holds nothing stands for each of
    ``withheld`` that a section lists: a stored document would hold it, and so not refer to it.
    Raises :class:`NotFound` if the view does not show such a document."""
    main = context.gateway.bases.main
    held: list[Json] = [
        {"fullUrl": f"{main}/{part.key[0]}/{part.key[1]}", "resource": part.stored}
        for part in parts
    ]
    if context.view.policy.document:
        sections = {"resourceType": "Composition", "section": parts[0].stored.get("section")}
        listed = withheld.intersection(stored_leads(context.gateway.bases, sections).values())
        held += [{"fullUrl": f"{main}/{type_}/{id_}"} for type_, id_ in sorted(listed)]
    head: JsonObject = {"resourceType": "Bundle", "id": parts[0].key[1], "type": "document"}
    entries = reveal_entries(context, {**head, "entry": held})
    first = entries[0] if entries else None
    composition = first.get("resource") if isinstance(first, dict) else None
    if not isinstance(composition, dict):
        raise NotFound()
    if composition.get("resourceType") != "Composition":
        raise NotFound()
    date = composition.get("date")
    return (date if isinstance(date, str) else ""), [encode(entry) for entry in entries]


def _assemble(context: Context, url: str, date: str, entries: list[bytes]) -> bytes:
    """The Bundle (bdl-9, bdl-10) of the Composition with this URL and date. Its identifier names
    the Composition and what is shown of it, so that no two documents share one."""
    content = sha256(b"\0".join(entries)).hexdigest()
    name = f"{url}/$document#{content}"
    if context.view.identity:
        uuid = uuid5(NAMESPACE_URL, name).urn
    else:
        uuid = context.scope().namer.show_uri(name)
    labels = context.view.policy.labels
    return assemble_document(uuid, _instant(date), labels, entries)


def _instant(date: str) -> str:
    """The first instant of a date as shown (R4, datatypes.html#dateTime), in UTC."""
    found = _DATE.fullmatch(date)
    year, month, day, time = found.groups() if found else (_NO_YEAR, None, None, None)
    return f"{year}-{month or '01'}-{day or '01'}{time or 'T00:00:00Z'}"
