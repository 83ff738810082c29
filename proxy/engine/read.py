"""read and vread (R4, http.html#read, #vread)."""

from __future__ import annotations

from collections.abc import Generator

from proxy.engine.answers import Resource, read_resource
from proxy.engine.context import Context, ask_all, ask_one
from proxy.engine.messages import Answer, Ask, Pairs, Reply
from proxy.engine.projection import PARAMETERS, Projection, parse_projection
from proxy.engine.reveal import show
from proxy.engine.subjects import patients_of
from proxy.errors import BadValue, Deleted, NotFound, NotSupported, ProxyError, UpstreamBroken
from proxy.fhir.interaction import Interaction
from proxy.fhir.search import Parameter
from proxy.policy.controls import IGNORED

Flow = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", Reply]


def read(
    context: Context, interaction: Interaction, parameters: tuple[Parameter, ...]
) -> Flow:
    """The reply to a read. What is not shown, deleted, or never was, is one and the same 404."""
    projection = _judge(context, interaction.type, parameters)
    ids = context.real_ids(interaction.type, interaction.id)
    if not ids:
        raise NotFound()
    answers = yield from ask_all(tuple(Ask(path=f"{interaction.type}/{id_}") for id_ in ids))
    body, resource, answer = _choose(context, interaction.type, ids, answers)
    return _reply(context, body, resource, answer, projection)


def vread(
    context: Context, interaction: Interaction, parameters: tuple[Parameter, ...]
) -> Flow:
    """The reply to a vread; only identity views come here."""
    projection = _judge(context, interaction.type, parameters)
    path = f"{interaction.type}/{interaction.id}/_history/{interaction.version}"
    answer = yield from ask_one(Ask(path=path))
    body, resource = read_resource(answer, interaction.type, interaction.id)
    if resource.version not in ("", interaction.version):
        raise UpstreamBroken()
    return _reply(context, body, resource, answer, projection)


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
    headers: Pairs = (("ETag", context.etag(shown)),)
    if context.view.identity:
        headers += _stored_headers(context, resource, answer)
    if context.if_none_match and context.knows(headers[0][1]):
        return Reply(304, b"", headers)
    return Reply(200, shown, headers)


def _stored_headers(context: Context, resource: Resource, answer: Answer) -> Pairs:
    """What an identity view tells of the version (R4, http.html#versioning)."""
    headers: Pairs = ()
    modified = answer.headers.get("last-modified")
    if modified:
        headers += (("Last-Modified", modified),)
    if resource.version:
        place = f"{context.base}/{resource.resourceType}/{resource.id}/_history/{resource.version}"
        headers += (("Content-Location", place),)
    return headers
