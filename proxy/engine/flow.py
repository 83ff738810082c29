"""One exchange, top to bottom: classify, decide, hand to the interaction, record.

``exchange`` is a generator: it yields what to ask the upstream and is sent the answers, failures
among them; it returns the whole reply or nothing. Every :class:`ProxyError` becomes the reply that
it stands for; anything else that is raised is a fault, and the shell withholds the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import replace

from proxy.engine.access import decide
from proxy.engine.batch import MEDIA, media_type, parse_batch, run_batch
from proxy.engine.capability import capability_statement
from proxy.engine.context import Context, Notes
from proxy.engine.document import document
from proxy.engine.everything import everything
from proxy.engine.gateway import Gateway
from proxy.engine.history import history
from proxy.engine.messages import Answer, Ask, Call, Reply
from proxy.engine.projection import negotiate, parse_projection, prettify
from proxy.engine.read import read, vread
from proxy.engine.search import search
from proxy.engine.smart import smart_configuration
from proxy.errors import (
    BadStructure,
    NotSupported,
    ProxyError,
    RequestError,
    TargetTooLong,
    Unauthorized,
    UnsupportedMediaType,
    outcome_bytes,
)
from proxy.fhir.interaction import OPEN, Interaction, classify
from proxy.fhir.parameters import read_parameters
from proxy.fhir.search import Parameter, pairs, parse_form, parse_query

Flow = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", Reply]
Handler = Callable[[Context, Interaction, tuple[Parameter, ...]], Flow]

HANDLERS: Mapping[str, Handler] = {
    "read": read,
    "vread": vread,
    "search-type": search,
    "history-instance": history,
    "history-type": history,
    "history-system": history,
    "$document": document,
    "$everything": everything,
}
_FORM = "application/x-www-form-urlencoded"


def exchange(call: Call, gateway: Gateway) -> Flow:
    """The reply to ``call``, with what the audit may know of it."""
    notes = Notes()
    return (yield from _recorded(call, gateway, notes, nested=False))


def _recorded(call: Call, gateway: Gateway, notes: Notes, *, nested: bool) -> Flow:
    try:
        reply = yield from _answer(call, gateway, notes, nested=nested)
    except ProxyError as error:
        reply = Reply(error.status, outcome_bytes(error), error.headers)
    return replace(reply, facts=notes.facts)


def _answer(call: Call, gateway: Gateway, notes: Notes, *, nested: bool) -> Flow:
    if len(call.target) > gateway.limits.target:
        raise TargetTooLong()
    interaction = _classify(call)
    notes.add(
        interaction=interaction.code, type=interaction.type, operation=interaction.operation
    )
    if interaction.code == "smart-configuration" and not nested:
        return Reply(200, smart_configuration(gateway))
    parameters = _parameters(call, interaction, gateway)
    negotiate(call.headers.get("accept", ""), pairs(parameters))
    if interaction.code == "capabilities":
        return _describe(call, gateway, parameters)
    if call.caller is None:
        raise Unauthorized()
    decision = decide(gateway, call.caller, interaction)
    notes.add(rules=decision.rules)
    if interaction.operation and call.body:
        parameters = _limited(parameters + _posted(call, gateway), gateway)
    if interaction.name in HANDLERS:
        context = Context.make(gateway, call.caller, decision.view, call, notes)
        return (yield from HANDLERS[interaction.name](context, interaction, parameters))
    if nested:
        raise NotSupported("An entry of a batch must be a read or a search.")
    return (yield from _run_batch(call, gateway, notes, parameters))


def _classify(call: Call) -> Interaction:
    """Without a token nothing is told, not even what is well formed, but what is open."""
    if call.caller is not None:
        return classify(call.method, call.target)
    try:
        interaction = classify(call.method, call.target)
    except ProxyError:
        raise Unauthorized() from None
    if interaction.code not in OPEN:
        raise Unauthorized()
    return interaction


def _parameters(call: Call, interaction: Interaction, gateway: Gateway) -> tuple[Parameter, ...]:
    """URL and form parameters together: a search is judged on their union (R4, http.html#search).

    Raises :class:`UnsupportedMediaType` for a form of another kind, :class:`RequestError` for too
    many parameters.
    """
    parameters = parse_query(interaction.query)
    if interaction.code == "search-type" and interaction.post and call.body:
        if media_type(call.headers) != _FORM:
            raise UnsupportedMediaType()
        parameters += parse_form(call.body)
    elif call.body and interaction.code not in ("batch", "operation"):
        raise BadStructure("The request must not have a body.")
    return _limited(parameters, gateway)


def _limited(parameters: tuple[Parameter, ...], gateway: Gateway) -> tuple[Parameter, ...]:
    if len(parameters) > gateway.limits.parameters:
        raise RequestError("The request has too many parameters.")
    return parameters


def _posted(call: Call, gateway: Gateway) -> tuple[Parameter, ...]:
    """The parameters in the body of an operation (R4, operations.html#executing). Read after the
    decision, so that what is not offered is refused alike. Raises :class:`UnsupportedMediaType`,
    :class:`BadStructure`."""
    if media_type(call.headers) not in MEDIA:
        raise UnsupportedMediaType()
    return read_parameters(call.body, limit=gateway.limits.body)


def _describe(call: Call, gateway: Gateway, parameters: tuple[Parameter, ...]) -> Reply:
    if any(p.name not in ("_format", "_pretty", "mode") for p in parameters) or any(
        p.name == "mode" and p.value != "full" for p in parameters
    ):
        raise NotSupported("The capability statement takes _format and _pretty only.")
    projection = parse_projection(pairs(parameters), "CapabilityStatement")
    body = capability_statement(gateway, call.caller)
    return Reply(200, prettify(body) if projection.pretty else body)


def _run_batch(
    call: Call, gateway: Gateway, notes: Notes, parameters: tuple[Parameter, ...]
) -> Flow:
    if any(p.name not in ("_format", "_pretty") for p in parameters):
        raise NotSupported("A batch takes _format and _pretty only.")
    projection = parse_projection(pairs(parameters), "Bundle")
    batch = parse_batch(call, gateway.limits)
    reply = yield from run_batch(
        batch, lambda each: _recorded(each, gateway, Notes(), nested=True), notes
    )
    if projection.pretty and reply.status == 200:
        return replace(reply, body=prettify(reply.body))
    return reply
