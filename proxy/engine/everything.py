"""Patient/$everything of an identity view (R4, patient-operation-everything.html).

The upstream collects; what it gives passes as the rows of a search do, with pages of our own. Types
that the caller may not read are neither asked for nor shown. HAPI ignores ``start``, ``end`` and
``_since``, so they are refused rather than dropped. No total is shown: HAPI has none, or a wrong
one.
"""

from __future__ import annotations

import re
from collections.abc import Generator

from proxy.engine.access import may
from proxy.engine.answers import PAGE, READ, Row, check, found, read_bundle
from proxy.engine.assemble import assemble, incomplete_entry, match_entry
from proxy.engine.context import Context, ask_one
from proxy.engine.history import next_link
from proxy.engine.messages import Answer, Ask, Pairs, Reply
from proxy.engine.paging import PARAMETER, Page
from proxy.engine.projection import parse_projection, prettify
from proxy.engine.reveal import pass_through
from proxy.engine.subjects import patients_of
from proxy.errors import BadValue, Forbidden, NotFound, NotSupported
from proxy.fhir.interaction import Interaction
from proxy.fhir.search import Parameter, pairs, print_query
from proxy.fhir.structure import RESOURCES
from proxy.policy.controls import IGNORED

Flow = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", Reply]

_OWN = frozenset({"_type", "_count"})
_FORM = frozenset({"_format", "_pretty"})
_COUNT = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


def everything(
    context: Context, interaction: Interaction, parameters: tuple[Parameter, ...]
) -> Flow:
    """One page of what the upstream holds about the patient, and a sealed link to the next."""
    path = f"{interaction.type}/{interaction.id}/{interaction.operation}"
    pretty = _judge(context, parameters)
    token = next((p.value for p in parameters if p.name == PARAMETER), "")
    own = tuple(p for p in parameters if p.name in _OWN)
    page, asked, table = Page(pairs(own)), print_query(own), READ
    if token:
        page, asked, table = context.unseal(token, path), f"{PARAMETER}={token}", PAGE
        if not page.cursor.url:
            raise NotFound("No such page.")
        ask = Ask(url=page.cursor.url)
    else:
        ask = Ask(path=path, query=_narrow(context, own))
    answer = yield from ask_one(ask)
    bundle = read_bundle(check(answer, table), "searchset")
    links: Pairs = (("self", f"{context.base}/{path}" + (f"?{asked}" if asked else "")),)
    links += next_link(context, bundle, page, path)
    rows = [row for row in found(bundle) if not row.type or _readable(context, row.type)]
    context.notes.add(entries=len(rows))
    body = assemble("searchset", links, [_entry(context, row) for row in rows])
    return Reply(200, prettify(body) if pretty else body)


def _judge(context: Context, parameters: tuple[Parameter, ...]) -> bool:
    """Whether it is to be indented. Raises :class:`NotSupported` for what is not taken,
    :class:`BadValue` for a malformed value."""
    known = _OWN | _FORM | {PARAMETER}
    context.notes.add(parameters=tuple(p.name for p in parameters if p.name in known))
    given = [p for p in parameters if p.name not in IGNORED]
    paged = any(p.name == PARAMETER for p in given)
    if any(p.name not in (_FORM | {PARAMETER} if paged else known) for p in given):
        raise NotSupported(
            "$everything takes _type, _count, _format and _pretty only; to narrow by dates, "
            "search the types by patient and date."
        )
    if sum(p.name in (PARAMETER, "_count") for p in given) > 1:
        raise BadValue("_count must be given once.")
    if any(p.name == "_count" and not _COUNT.fullmatch(p.value) for p in given):
        raise BadValue("_count must be one whole number from 1 on.")
    return parse_projection([(p.name, p.value) for p in given if p.name in _FORM], "Bundle").pretty


def _narrow(context: Context, own: tuple[Parameter, ...]) -> Pairs:
    """What the upstream is asked: types that the caller may read, a page of ours.

    Raises :class:`BadValue` for a type that R4 does not have, :class:`Forbidden` for one that the
    caller may not read.
    """
    wanted = [type_ for p in own if p.name == "_type" for type_ in p.alternatives]
    if any(type_ not in RESOURCES for type_ in wanted):
        raise BadValue("_type must list resource types.")
    if not all(_readable(context, type_) for type_ in wanted):
        raise Forbidden("Your role or token does not offer one of the types in _type.")
    types = wanted or [t for t in sorted(context.view.policy.access) if _readable(context, t)]
    most = context.view.policy.search.page_size
    count = min([most, *(int(p.value) for p in own if p.name == "_count")])
    return (("_type", ",".join(types)), ("_count", str(count)))


def _readable(context: Context, type_: str) -> bool:
    return may(context.caller, context.view, "read", type_)


def _entry(context: Context, row: Row) -> bytes:
    if not row.type:
        return incomplete_entry()
    patients = patients_of(row.body, context.gateway.bases)
    context.notes.add_patients(map(context.audit_name, patients))
    return match_entry(context.base, row.type, row.id, pass_through(context, row.body))
