"""History of an identity view: instance, type and system (R4, http.html#history).

All versions, deletions among them, in the upstream's order; every part of an entry as it is, but
for addresses under an upstream base.
"""

from __future__ import annotations

import re
from collections.abc import Generator

import msgspec

from proxy.engine.access import may
from proxy.engine.answers import HISTORY, OK, PAGE, Bundle, Entry, check, read_bundle, read_row
from proxy.engine.assemble import assemble, make_entry
from proxy.engine.context import Context, ask_one
from proxy.engine.messages import Answer, Ask, Pairs, Reply
from proxy.engine.paging import PARAMETER, Cursor, Page
from proxy.engine.projection import PARAMETERS, parse_projection, prettify
from proxy.engine.reveal import pass_through
from proxy.engine.subjects import patients_of
from proxy.errors import BadValue, NotFound, NotSupported, UpstreamBroken
from proxy.fhir.codec import CodecError, JsonObject, decode, encode
from proxy.fhir.interaction import Interaction
from proxy.fhir.reference import Reference, parse_reference
from proxy.fhir.search import Parameter, print_query
from proxy.fhir.structure import RESOURCES
from proxy.policy.controls import IGNORED

Flow = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", Reply]

_OWN = frozenset({"_count", "_since", "_at"})
_COUNT = re.compile(r"[0-9]{1,9}")
_INSTANT = re.compile(
    r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d))?)?)?", re.ASCII
)


class Request(msgspec.Struct):
    """Bundle.entry.request of a version."""

    method: str
    url: str


_requests = msgspec.json.Decoder(Request)


def history(
    context: Context, interaction: Interaction, parameters: tuple[Parameter, ...]
) -> Flow:
    """One page of history, and a sealed link to the next."""
    path = _path(interaction)
    context.notes.add(
        parameters=tuple(p.name for p in parameters if p.name in _OWN | PARAMETERS | {PARAMETER})
    )
    pretty = _judge(parameters, interaction.type)
    token = next((p.value for p in parameters if p.name == PARAMETER), "")
    links: Pairs
    if token:
        page = context.unseal(token, path)
        if not page.cursor.url:
            raise NotFound("No such page.")
        answer = yield from ask_one(Ask(url=page.cursor.url))
        links = (("self", f"{context.base}/{path}?{PARAMETER}={token}"),)
    else:
        own = tuple(p for p in parameters if p.name in _OWN)
        page = Page(tuple((p.name, p.value) for p in own))
        answer = yield from ask_one(Ask(path=path, query=_clip(context, page.query)))
        links = (("self", f"{context.base}/{path}" + (f"?{print_query(own)}" if own else "")),)
    if token and answer.error is None and answer.status != OK:
        raise PAGE.get(answer.status, UpstreamBroken)()
    bundle = read_bundle(check(answer, HISTORY), "history")
    links += next_link(context, bundle, page, path)
    whole = interaction.code != "history-system"
    granted = [entry for entry in bundle.entry if _granted(context, entry, interaction)]
    entries = [_entry(context, entry) for entry in granted]
    context.notes.add(entries=len(entries))
    body = assemble("history", links, entries, bundle.total if whole else None)
    return Reply(200, prettify(body) if pretty else body)


def _judge(parameters: tuple[Parameter, ...], type_: str) -> bool:
    """Refuse what a history does not take; whether it is to be indented."""
    paged = any(p.name == PARAMETER for p in parameters)
    for p in parameters:
        if p.name in IGNORED or p.name in ("_format", "_pretty", PARAMETER):
            continue
        if p.name not in _OWN or paged:
            raise NotSupported("A history takes _count, _since, _at, _format and _pretty only.")
        if not (_COUNT if p.name == "_count" else _INSTANT).fullmatch(p.value):
            raise BadValue(f"The value of {p.name} is not valid.")
    pairs = [(p.name, p.value) for p in parameters if p.name in ("_format", "_pretty")]
    return parse_projection(pairs, type_).pretty


def _path(interaction: Interaction) -> str:
    parts = (interaction.type, interaction.id, "_history")
    return "/".join(part for part in parts if part)


def _clip(context: Context, query: Pairs) -> Pairs:
    most = context.view.policy.search.page_size
    given = [min(int(v), most) for n, v in query if n == "_count"]
    return (*((n, v) for n, v in query if n != "_count"), ("_count", str(min([most, *given]))))


def next_link(context: Context, bundle: Bundle, page: Page, path: str) -> Pairs:
    """The sealed link to where the upstream goes on after ``bundle``; none at the end. Raises
    :class:`UpstreamBroken` for a link that leads elsewhere."""
    if not bundle.next:
        return ()
    url = context.gateway.bases.rebase(bundle.next, context.gateway.bases.main)
    if url is None:
        raise UpstreamBroken()
    token = context.seal(Page(page.query, Cursor(url=url)), path)
    return (("next", f"{context.base}/{path}?{PARAMETER}={token}"),)


def _granted(context: Context, entry: Entry, interaction: Interaction) -> bool:
    """Whether the entry's type is one whose history the caller may see. Raises
    :class:`UpstreamBroken` for one that is no version of anything, or of another resource than was
    asked for."""
    type_ = _type(entry, interaction)
    return bool(interaction.type) or may(context.caller, context.view, "history-type", type_)


def _type(entry: Entry, interaction: Interaction) -> str:
    """The type of the resource that the entry is a version of; all that names it must agree."""
    row = read_row(entry)
    named = _named(entry, deleted=row is None)
    types, ids = {n.type for n in named}, {n.id for n in named if n.id}
    if row is not None:
        types.add(row.type)
        ids.add(row.id)
    if interaction.type:
        types.add(interaction.type)
    if interaction.id:
        ids.add(interaction.id)
    if len(types) != 1 or len(ids) != 1 or not all((*types, *ids)):
        raise UpstreamBroken()
    return types.pop()


def _named(entry: Entry, *, deleted: bool) -> list[Reference]:
    """What the URLs of an entry name: of its request always a type, of its fullUrl if it names a
    resource. Raises :class:`UpstreamBroken` where R4 (bundle.html, bdl-3) demands other."""
    try:
        request = _requests.decode(bytes(entry.request))
    except (msgspec.MsgspecError, RecursionError):
        raise UpstreamBroken() from None
    if request.method not in (("DELETE",) if deleted else ("POST", "PUT", "PATCH")):
        raise UpstreamBroken()
    url = request.url
    found = [_created(url) if request.method == "POST" else parse_reference(url)]
    if entry.fullUrl is not None and (full := parse_reference(entry.fullUrl)).type:
        found.append(full)
    return found


def _created(url: str) -> Reference:
    """What a POST names: a type alone, or, as HAPI says it, what came of it."""
    type_ = url.rpartition("/")[2]
    return Reference("relative", url, type=type_) if type_ in RESOURCES else parse_reference(url)


def _entry(context: Context, entry: Entry) -> bytes:
    resource = bytes(entry.resource)
    if resource:
        patients = patients_of(resource, context.gateway.bases)
        context.notes.add_patients(map(context.audit_name, patients))
    return make_entry(
        _rebase(context, entry.fullUrl or ""),
        pass_through(context, resource) if resource else b"",
        request=_rebase_member(context, bytes(entry.request), "url"),
        response=_rebase_member(context, bytes(entry.response), "location"),
    )


def _rebase(context: Context, url: str) -> str:
    return context.gateway.bases.rebase(url, context.base) or url


def _rebase_member(context: Context, body: bytes, name: str) -> bytes:
    """``body`` with the URL in member ``name`` rebased; the same bytes if it needs none."""
    if not body:
        return b""
    try:
        value = decode(body)
    except CodecError:
        raise UpstreamBroken() from None
    url = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(url, str):
        return body
    moved = _rebase(context, url)
    changed: JsonObject = {**value, name: moved}
    return body if moved == url else encode(changed)
