"""read and vread (R4, http.html#read, #vread)."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC
from email.utils import format_datetime, parsedate_to_datetime

from proxy.engine.answers import Resource, Row, read_resource
from proxy.engine.asking import Work
from proxy.engine.cases import find_hidden, spend
from proxy.engine.companions import meet
from proxy.engine.context import Context, ask_all
from proxy.engine.messages import Answer, Ask, Pairs, Reply
from proxy.engine.projection import PARAMETERS, Projection, parse_projection
from proxy.engine.reveal import load, show
from proxy.engine.subjects import patients_of
from proxy.errors import BadValue, Deleted, NotFound, NotSupported, ProxyError, UpstreamBroken
from proxy.fhir.interaction import Interaction
from proxy.fhir.search import Parameter
from proxy.policy.controls import IGNORED

Flow = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", Reply]
Asking = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", None]
Fetch = Generator[
    "Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", "tuple[bytes, Resource, Answer]"
]


def read(
    context: Context, interaction: Interaction, parameters: tuple[Parameter, ...]
) -> Flow:
    """The reply to a read. What is not shown, deleted, or never was, is one and the same 404."""
    projection = _judge(context, interaction.type, parameters)
    type_, work = interaction.type, Work(context.gateway.limits.asks)
    ids = _find_ids(context, type_, interaction.id)
    if not ids:
        raise NotFound()
    try:
        body, resource, answer = yield from _fetch(context, type_, ids)
        return (yield from _show(context, body, resource, answer, projection, body, work))
    except NotFound:
        yield from spend(context, type_, work)
        raise


def _show(
    context: Context,
    body: bytes,
    resource: Resource,
    answer: Answer,
    projection: Projection,
    current: bytes,
    work: Work,
) -> Flow:
    """The reply that shows ``body``, whose current version is ``current``. Companions are fetched
    only for what shows."""
    reply = _reply(context, body, resource, answer, projection)
    yield from _judge_case(context, current, resource, work)
    if (yield from meet(context, [body], Work(context.gateway.limits.asks))):
        reply = _reply(context, body, resource, answer, projection)
    return reply


def _judge_case(context: Context, body: bytes, resource: Resource, work: Work) -> Asking:
    """Raises :class:`NotFound` for what only hidden sections of reports reach."""
    row = Row(body, resource.resourceType, str(resource.id), "match")
    if (yield from find_hidden(context, [row], work)):
        raise NotFound()


def _find_ids(context: Context, type_: str, shown: str) -> tuple[str, ...]:
    """The real ids that a shown id may stand for; none where no resource of the type exists for
    the caller."""
    form = context.view.row_form(type_, context.caller.claims)
    return () if form is None else context.real_ids(type_, shown)


def fetch(context: Context, type_: str, shown: str) -> Fetch:
    """The stored resource whose shown id is ``shown``, what it says of itself, the answer.

    Raises :class:`NotFound` for what is not there (:class:`Deleted` in an identity view), without
    asking where the id cannot be one of ours.
    """
    ids = _find_ids(context, type_, shown)
    if not ids:
        raise NotFound()
    return (yield from _fetch(context, type_, ids))


def _fetch(context: Context, type_: str, ids: tuple[str, ...]) -> Fetch:
    answers = yield from ask_all(tuple(Ask(path=f"{type_}/{id_}") for id_ in ids))
    return _choose(context, type_, ids, answers)


def vread(
    context: Context, interaction: Interaction, parameters: tuple[Parameter, ...]
) -> Flow:
    """The reply to a vread. In a restricted view a version exists only where the current one does
    too and both are shown; both are always asked for, so that the calls tell nothing."""
    projection = _judge(context, interaction.type, parameters)
    type_, id_ = interaction.type, interaction.id
    if context.view.row_form(type_, context.caller.claims) is None:
        raise NotFound()
    earlier = Ask(path=f"{type_}/{id_}/_history/{interaction.version}")
    asks = (earlier,) if context.view.identity else (earlier, Ask(path=f"{type_}/{id_}"))
    answers = yield from ask_all(asks)
    work = Work(context.gateway.limits.asks)
    try:
        found = _all(context, type_, id_, answers)
        body, resource = found[0]
        if resource.version not in ("", interaction.version):
            raise UpstreamBroken()
        for current, _ in found[1:]:
            if not context.view.visible(load(current), context.caller.claims):
                raise NotFound()
        now = found[-1][0]
        return (yield from _show(context, body, resource, answers[0], projection, now, work))
    except NotFound:
        yield from spend(context, type_, work)
        raise


def _all(
    context: Context, type_: str, id_: str, answers: tuple[Answer, ...]
) -> list[tuple[bytes, Resource]]:
    """What all answers hold. Raises the first failure that is none of absence, else
    :class:`NotFound` (:class:`Deleted` in an identity view) if one of them is not there."""
    passes = context.view.identity
    found: list[tuple[bytes, Resource]] = []
    missing: ProxyError | None = None
    for answer in answers:
        try:
            found.append(read_resource(answer, type_, id_, passes=passes))
        except (NotFound, Deleted) as absent:
            missing = absent if passes else NotFound()
    if missing is not None:
        raise missing
    return found


def _judge(context: Context, type_: str, parameters: tuple[Parameter, ...]) -> Projection:
    """The projection of a read. Raises :class:`NotSupported` for any other parameter."""
    pairs = [(p.name, p.value) for p in parameters]
    context.notes.add(parameters=tuple(name for name, _ in pairs if name in PARAMETERS))
    if any(name not in PARAMETERS | IGNORED for name, _ in pairs):
        raise NotSupported("A read takes _elements, _summary, _format and _pretty only.")
    projection = parse_projection(pairs, type_)
    if projection.summary == "count":
        raise BadValue("_summary=count is for searches.")
    return projection


def _choose(
    context: Context, type_: str, ids: tuple[str, ...], answers: tuple[Answer, ...]
) -> tuple[bytes, Resource, Answer]:
    """The candidate that exists; at most one does, since ids are unique. If none does, a failure
    is a failure: it could have hidden the one."""
    missing: ProxyError = NotFound()
    failure: ProxyError | None = None
    for id_, answer in zip(ids, answers, strict=True):
        try:
            passes = context.view.identity
            return (*read_resource(answer, type_, id_, passes=passes), answer)
        except Deleted as deleted:
            missing = deleted if context.view.identity else missing
        except NotFound:
            continue
        except ProxyError as error:
            failure = error
    raise failure or missing


def _reply(
    context: Context, body: bytes, resource: Resource, answer: Answer, projection: Projection
) -> Reply:
    shown = show(context, body, projection)
    if shown is None:
        raise NotFound()
    patients = patients_of(body, context.gateway.bases)
    context.notes.add_patients(map(context.audit_name, patients))
    context.notes.add(entries=1)
    stored = _stored_headers(context, resource, answer) if context.view.identity else ()
    return tagged(context, shown, stored)


def tagged(context: Context, body: bytes, headers: Pairs = ()) -> Reply:
    """A 200 with ``body`` and its ETag, or the 304 that stands for it (RFC 9110, 13.1.2)."""
    etag = context.etag(body)
    headers = (("ETag", etag), *headers)
    if context.if_none_match and context.knows(etag):
        return Reply(304, b"", headers)
    return Reply(200, body, headers)


def _stored_headers(context: Context, resource: Resource, answer: Answer) -> Pairs:
    """What an identity view tells of the version (R4, http.html#versioning)."""
    headers: Pairs = ()
    modified = _http_date(answer.headers.get("last-modified", ""))
    if modified:
        headers += (("Last-Modified", modified),)
    if resource.version:
        place = f"{context.base}/{resource.resourceType}/{resource.id}/_history/{resource.version}"
        headers += (("Content-Location", place),)
    return headers


def _http_date(text: str) -> str:
    """An HTTP date written anew (RFC 9110, 5.6.7); empty for a text that is none."""
    try:
        read = parsedate_to_datetime(text)
        return format_datetime(read.replace(tzinfo=read.tzinfo or UTC).astimezone(UTC), usegmt=True)
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""
