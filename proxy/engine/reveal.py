"""A stored resource on its way out: through the view, then to bytes.

What cannot be shown is never passed on: a resource that the view withholds is None, one that is
malformed raises. In the identity view bytes pass, but for references under an upstream base.
"""

from __future__ import annotations

from proxy.engine.context import Context, render
from proxy.engine.projection import Projection
from proxy.engine.tripwire import alarm
from proxy.errors import InternalError, UpstreamBroken
from proxy.fhir.codec import CodecError, Json, JsonObject, decode
from proxy.fhir.reference import is_id
from proxy.fhir.splice import rebase_references


def reveal(context: Context, body: bytes) -> JsonObject | None:
    """The resource in ``body`` as the view shows it; None if the view withholds it.

    ``body`` is a resource whose type and id were checked. Raises :class:`UpstreamBroken` if it is
    no JSON object, :class:`InternalError` if what the view gave is not a resource of that type.
    """
    return reveal_resource(context, load(body))


def reveal_resource(context: Context, stored: JsonObject) -> JsonObject | None:
    """:func:`reveal` of a decoded resource. Raises :class:`InternalError`."""
    scope = context.scope()
    shown = context.view.reveal(stored, scope)
    if shown is None:
        return None
    if scope.scrubbed:
        name = f"{stored.get('resourceType')}/{stored.get('id')}"
        context.notes.add_scrubbed(name, scope.scrubbed.values())
    id_ = shown.get("id")
    if shown.get("resourceType") != stored.get("resourceType") or not (
        isinstance(id_, str) and is_id(id_)
    ):
        raise InternalError()
    if context.watched:
        _look(context, stored, shown)
    return shown


def reveal_entries(context: Context, bundle: JsonObject) -> list[Json]:
    """The entries of a Bundle that is made here, as they show together."""
    scope = context.scope()
    shown = context.view.reveal_entries(bundle, scope)
    context.notes.set_scrubbed(scope.scrubbed.values())
    if context.watched:
        _look(context, bundle, {"resourceType": "Bundle", "entry": shown})
    return shown


def _look(context: Context, stored: JsonObject, shown: JsonObject) -> None:
    """Look for what was removed in what is shown. An alarm is recorded and changes nothing: a
    different answer would itself tell; so does a tripwire that cannot read what it looks at."""
    try:
        found = alarm(stored, shown)
    except Exception:
        found = 1
    if found:
        context.notes.add(alarms=context.notes.facts.alarms + found)


def load(body: bytes) -> JsonObject:
    """Decode a resource. Raises :class:`UpstreamBroken`."""
    try:
        value = decode(body)
    except CodecError:
        raise UpstreamBroken() from None
    if not isinstance(value, dict):
        raise UpstreamBroken()
    return value


def pass_through(context: Context, body: bytes) -> bytes:
    """The resource in ``body`` in an identity view: its bytes, references rebased."""
    gateway = context.gateway
    return rebase_references(body, lambda url: gateway.bases.rebase(url, gateway.public_url))


def show(context: Context, body: bytes, projection: Projection) -> bytes | None:
    """The bytes a client gets for the resource in ``body``; None if the view withholds it."""
    if context.view.identity:
        out = pass_through(context, body)
        resource = load(out) if projection.changes else None
        return render(out, resource, projection)
    shown = reveal(context, body)
    return None if shown is None else render(b"", shown, projection)
