"""batch, and a transaction of reads: each entry is the same request sent alone (R4, http.html).

The client's Bundle is taken apart into calls; nothing of it goes upstream as it is. Every entry is
classified and judged before the first of them asks, and all of them ask together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace

from proxy.engine.answers import status_line
from proxy.engine.assemble import assemble, make_entry
from proxy.engine.context import Notes
from proxy.engine.gateway import Limits
from proxy.engine.messages import Answer, Ask, Call, Facts, Reply
from proxy.errors import BadStructure, InternalError, TooCostly, UnsupportedMediaType
from proxy.fhir.codec import Json, JsonObject, decode_strict, encode

Flow = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", Reply]

MEDIA = frozenset({"application/fhir+json", "application/json"})
_TYPES: Mapping[str, str] = {
    "batch": "batch-response",
    "transaction": "transaction-response",
}


@dataclass(frozen=True, slots=True)
class Batch:
    """A client's Bundle, understood. ``kind``: ``batch`` or ``transaction``."""

    kind: str
    calls: tuple[Call, ...]


def parse_batch(call: Call, limits: Limits) -> Batch:
    """The calls that the Bundle in a POST to the base holds.

    Raises :class:`UnsupportedMediaType`, :class:`BadStructure` for what is no batch,
    :class:`TooCostly` for too many entries.
    """
    if media_type(call.headers) not in MEDIA:
        raise UnsupportedMediaType()
    bundle = decode_strict(call.body, limit=limits.body)
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise BadStructure("A Bundle of type batch or transaction is expected.")
    kind, entries = bundle.get("type"), bundle.get("entry", [])
    if not isinstance(kind, str) or kind not in _TYPES or not isinstance(entries, list):
        raise BadStructure("A Bundle of type batch or transaction is expected.")
    if len(entries) > limits.entries:
        raise TooCostly("The Bundle has too many entries.")
    return Batch(kind, tuple(_parse_entry(call, entry) for entry in entries))


def media_type(headers: Mapping[str, str]) -> str:
    """The media type of the request body, lower case. Raises :class:`UnsupportedMediaType` for
    another charset than UTF-8."""
    media, *parameters = headers.get("content-type", "").lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            raise UnsupportedMediaType()
    return media.strip()


def _parse_entry(call: Call, entry: Json) -> Call:
    request = entry.get("request") if isinstance(entry, dict) else None
    if not isinstance(request, dict):
        raise BadStructure("Each entry must have a request with method and url.")
    method, url = request.get("method"), request.get("url")
    if not isinstance(method, str) or not isinstance(url, str) or not url:
        raise BadStructure("Each entry must have a request with method and url.")
    headers = {"accept": call.headers.get("accept", "")}
    etag = request.get("ifNoneMatch")
    if isinstance(etag, str):
        headers["if-none-match"] = etag
    body = b""
    if method == "POST" and isinstance(entry, dict) and "resource" in entry:
        # The parameters of an operation.
        headers["content-type"], body = "application/fhir+json", encode(entry["resource"])
    return replace(call, method=method, target="/" + url, headers=headers, body=body)


def run_batch(batch: Batch, start: Callable[[Call], Flow], notes: Notes) -> Flow:
    """Run all calls of ``batch`` together. ``start`` makes the flow of one.

    A transaction in which one fails, fails as that one does.
    """
    notes.add(interaction=batch.kind)
    replies = yield from _gather([start(call) for call in batch.calls], batch.kind)
    _note(notes, [reply.facts for reply in replies])
    failed = next((reply for reply in replies if reply.status >= 400), None)
    if batch.kind == "transaction" and failed is not None:
        return replace(failed, facts=Facts())
    entries = [
        _entry(reply, head=call.method == "HEAD")
        for call, reply in zip(batch.calls, replies, strict=True)
    ]
    return Reply(200, assemble(_TYPES[batch.kind], (), entries))


def _gather(
    flows: list[Flow], kind: str
) -> Generator[Ask | tuple[Ask, ...], Answer | tuple[Answer, ...], list[Reply]]:
    """The replies of all flows, in order; what they ask in one round is asked at once."""
    replies: dict[int, Reply] = {}
    pending: dict[int, Ask | tuple[Ask, ...]] = {}
    for position, flow in enumerate(flows):
        _advance(flow, position, None, pending, replies)
    if kind == "transaction" and any(reply.status >= 400 for reply in replies.values()):
        return [replies[position] for position in sorted(replies)]
    while pending:
        asked = dict(sorted(pending.items()))
        pending.clear()
        flat = [ask for asks in asked.values() for ask in _several(asks)]
        answers = yield tuple(flat)
        if isinstance(answers, Answer) or len(answers) != len(flat):
            raise InternalError()
        rest = iter(answers)
        for position, asks in asked.items():
            got = tuple(next(rest) for _ in _several(asks))
            sent = got[0] if isinstance(asks, Ask) else got
            _advance(flows[position], position, sent, pending, replies)
    return [replies[position] for position in range(len(flows))]


def _several(asks: Ask | tuple[Ask, ...]) -> tuple[Ask, ...]:
    return (asks,) if isinstance(asks, Ask) else asks


def _advance(
    flow: Flow,
    position: int,
    sent: Answer | tuple[Answer, ...] | None,
    pending: dict[int, Ask | tuple[Ask, ...]],
    replies: dict[int, Reply],
) -> None:
    try:
        pending[position] = next(flow) if sent is None else flow.send(sent)
    except StopIteration as done:
        replies[position] = done.value


def _entry(reply: Reply, *, head: bool) -> bytes:
    response: JsonObject = {"status": status_line(reply.status)}
    etag = dict(reply.headers).get("ETag")
    if etag is not None:
        response["etag"] = etag
    if reply.status < 400:
        return make_entry(resource=b"" if head else reply.body, response=response)
    outcome = b'{"status":"' + status_line(reply.status).encode() + b'","outcome":'
    return make_entry(response=outcome + reply.body + b"}")


def _note(notes: Notes, facts: list[Facts]) -> None:
    names = dict.fromkeys(name for fact in facts for name in fact.parameters)
    rules = dict.fromkeys(rule for fact in facts for rule in fact.rules)
    policy = next((fact.policy for fact in facts if fact.policy), "")
    scrubbed = sum((Counter(dict(fact.scrubbed)) for fact in facts), Counter[str]())
    notes.add(
        parameters=tuple(names),
        rules=tuple(rules),
        policy=policy,
        entries=sum(fact.entries for fact in facts),
        alarms=sum(fact.alarms for fact in facts),
        scrubbed=tuple(sorted(scrubbed.items())),
    )
    notes.add_patients(patient for fact in facts for patient in fact.patients)
