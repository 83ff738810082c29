"""May this caller do this? One conjunction of named checks; whatever is not granted is denied."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.engine.gateway import Gateway
from proxy.errors import Forbidden, InternalError
from proxy.fhir.interaction import NOT_OFFERED, Interaction
from proxy.policy.compile import View
from proxy.policy.model import Caller

# Interaction -> the word of [access] that allows it, and the letter of a SMART v2 scope that does
# (SMART App Launch 2.2, scopes-and-launch-context.html#scopes-for-requesting-fhir-resources).
NEEDS: Mapping[str, tuple[str, str]] = {
    "read": ("read", "r"),
    "vread": ("vread", "r"),
    "history-instance": ("history", "r"),
    "history-type": ("history", "s"),
    "history-system": ("history", "s"),
    "search-type": ("search", "s"),
    "$document": ("$document", "r"),
    "$everything": ("$everything", "r"),
}
# Interactions on no one type; their entries are judged one by one.
UNTYPED = frozenset({"batch", "history-system"})
# Earlier versions may hold what the current one no longer does. A single one may be offered where
# ids are real: it is shown if it and the current one are (under pseudonyms versions have no name).
IDENTITY_ONLY = frozenset({"vread", "history-instance", "history-type", "history-system"})
# What the upstream collects, so that nothing here can judge whether a view is complete.
IDENTITY_OPERATIONS = frozenset({"$everything"})

_SCOPE = re.compile(r"(user|system)/([A-Z][A-Za-z]*|\*)\.((?=.)c?r?u?d?s?|read|write|\*)")
_CLINICAL = re.compile(r"(?:patient|user|system)/")
_VERSION_1 = {"read": "rs", "write": "", "*": "rs"}


@dataclass(frozen=True, slots=True)
class Request:
    """What a decision is about."""

    caller: Caller
    view: View
    interaction: Interaction


@dataclass(frozen=True, slots=True)
class Check:
    """``holds``: whether the check grants the request; ``text``: what the refusal says."""

    name: str
    holds: Callable[[Request], bool]
    text: str


def _listed(request: Request) -> bool:
    """Whether [access] has the word that the interaction needs."""
    type_, name = request.interaction.type, request.interaction.name
    return NEEDS[name][0] in request.view.policy.access.get(type_, ())


CHECKS = (
    Check(
        "operation",
        lambda r: not r.interaction.operation
        or (_listed(r) and (r.view.identity or r.interaction.operation not in IDENTITY_OPERATIONS)),
        NOT_OFFERED,
    ),
    Check(
        "history",
        lambda r: r.view.identity
        or r.interaction.code not in IDENTITY_ONLY
        or (r.interaction.code == "vread" and not r.view.pseudonym(r.interaction.type)),
        "Versions and history are not offered to your role.",
    ),
    Check(
        "access",
        lambda r: r.interaction.code in UNTYPED
        or _listed(r),
        "Your role does not offer this interaction on this resource type.",
    ),
    Check(
        "shown",
        lambda r: r.interaction.code in UNTYPED or r.view.shows(r.interaction.type),
        "Your role does not offer this resource type.",
    ),
    Check(
        "scopes",
        lambda r: r.interaction.code in UNTYPED
        or scopes_grant(r.caller.scopes, r.interaction.type, NEEDS[r.interaction.name][1]),
        "The scopes of your token do not cover this request.",
    ),
    Check(
        "project",
        lambda r: bool(r.caller.project) or not makes_pseudonyms(r.view),
        "Your token names no project, which this role needs.",
    ),
)


@dataclass(frozen=True, slots=True)
class Decision:
    """A grant. ``rules``: where the policy says so (``file:line``), for the audit."""

    view: View
    rules: tuple[str, ...]


def decide(gateway: Gateway, caller: Caller, interaction: Interaction) -> Decision:
    """The grant of ``interaction`` to ``caller``. Raises :class:`Forbidden`."""
    view = gateway.views.get(caller.role)
    if view is None:
        raise Forbidden("Your role has no access.")
    if interaction.name not in NEEDS and interaction.code not in UNTYPED:
        raise InternalError()
    request = Request(caller, view, interaction)
    for check in CHECKS:
        if not check.holds(request):
            raise Forbidden(check.text)
    source = view.policy.sources.get(f"access.{interaction.type}")
    return Decision(view, () if source is None else (str(source),))


def may(caller: Caller, view: View, code: str, type_: str) -> bool:
    """Whether an interaction (or operation, ``$document``) on a type is granted; ``include``:
    whether its rows may come along."""
    if code == "include":
        words = view.policy.access.get(type_, frozenset())
        granted = scopes_grant(caller.scopes, type_, "r")
        return "include" in words and view.shows(type_) and granted
    operation = code if code.startswith("$") else ""
    request = Request(caller, view, Interaction(code, type_, operation=operation))
    return all(check.holds(request) for check in CHECKS)


def scopes_grant(scopes: frozenset[str] | None, type_: str, letter: str) -> bool:
    """Whether SMART v2 scopes grant ``letter`` (of ``cruds``) on the type.

    Scopes only narrow what the role allows. A token without clinical scopes (``openid`` alone, or
    no scope claim: None) is not narrowed. A clinical scope that cannot be enforced here grants
    nothing: one bound to a patient in context (``patient/…``), or to a search (``…?code=x``).
    """
    clinical = [s for s in scopes or () if _CLINICAL.match(s)]
    if not clinical:
        return True
    for scope in clinical:
        match = _SCOPE.fullmatch(scope)
        if match and match[2] in (type_, "*") and letter in _VERSION_1.get(match[3], match[3]):
            return True
    return False


def makes_pseudonyms(view: View) -> bool:
    """Whether anything this view shows carries a pseudonym, so that it needs a project."""
    return any(not view.passes(t) or view.pseudonym(t) for t in view.policy.access)
