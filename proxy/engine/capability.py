"""The CapabilityStatement: ours, and what this caller can really do (R4, http.html#capabilities).

Without a token it names the software, the base and the security, nothing else. With one it lists
types, interactions and search parameters of the caller's view, each with its reason: it doubles as
the data dictionary. The verdict table is asked, never a second implementation.
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy import __version__
from proxy.engine.access import NEEDS, may
from proxy.engine.dictionary import describe_type
from proxy.engine.gateway import Gateway
from proxy.engine.includes import reach
from proxy.fhir import registry
from proxy.fhir.codec import Json, JsonObject, encode
from proxy.fhir.interaction import OPERATIONS
from proxy.policy.compile import View
from proxy.policy.model import Caller
from proxy.policy.verdicts import Verdict, VerdictTable

RELEASED = "2026-11-21"  # CapabilityStatement.date is required; it dates this software

_SECURITY: JsonObject = {
    "service": [
        {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                    "code": "SMART-on-FHIR",
                    "display": "SMART-on-FHIR",
                }
            ],
            "text": "OAuth 2 bearer tokens with SMART scopes",
        }
    ],
    "description": "Every request but this one needs a bearer token. Its role decides the view.",
}
_OAUTH = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_ENDPOINTS = {"authorize": "authorization_endpoint", "token": "token_endpoint"}

# What is asked about the answer and not about an element; it means the same for every type.
_RESULTS: tuple[tuple[str, str, str], ...] = (
    ("_count", "number", "Rows on a page, at most the page size of your role"),
    ("_elements", "string", "Top-level elements to show, of those that your role sees"),
    ("_summary", "token", "true, text, data or false"),
    ("_sort", "string", "Parameters that sort, each with - before it for the way down"),
    ("_format", "token", "json; no other format is offered"),
    ("_pretty", "token", "Whether the JSON is indented"),
)
_INTERACTIONS = ("read", "vread", "history-instance", "history-type", "search-type")
_MODES = {"translate": "translated", "allow": "allowed"}


def capability_statement(gateway: Gateway, caller: Caller | None) -> bytes:
    """The statement for ``caller``; for nobody in particular if that is None. A caller whose role
    has no view is told no more than nobody."""
    rest: JsonObject = {"mode": "server", "security": _security(gateway)}
    view = None if caller is None else gateway.views.get(caller.role)
    if caller is not None and view is not None:
        rest |= _offers(gateway, caller, view)
    return encode(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": RELEASED,
            "kind": "instance",
            "software": {"name": "ecr-proxy", "version": __version__},
            "implementation": {
                "description": "A role-based view of a FHIR server that holds case reports",
                "url": gateway.public_url,
            },
            "fhirVersion": "4.0.1",
            "format": ["application/fhir+json", "json"],
            "rest": [rest],
        }
    )


def _security(gateway: Gateway) -> JsonObject:
    uris: list[Json] = [
        {"url": name, "valueUri": str(gateway.smart[member])}
        for name, member in _ENDPOINTS.items()
        if member in gateway.smart
    ]
    if not uris:
        return _SECURITY
    return {"extension": [{"url": _OAUTH, "extension": uris}], **_SECURITY}


def _offers(gateway: Gateway, caller: Caller, view: View) -> JsonObject:
    """What of the rest component depends on the caller."""
    table = gateway.verdicts[caller.role]
    resources = [
        _describe(gateway, caller, view, table, type_) for type_ in sorted(view.policy.access)
    ]
    shown: list[Json] = [r for r in resources if "interaction" in r or "operation" in r]
    codes = ["batch", "transaction"]
    if view.identity:
        codes.append("history-system")
    offers: JsonObject = {
        "documentation": f"{view.policy.title}. {view.policy.basis}.",
        "interaction": [{"code": code} for code in codes],
        "searchParam": [
            {"name": name, "type": kind, "documentation": text} for name, kind, text in _RESULTS
        ],
    }
    return ({"resource": shown} if shown else {}) | offers


def _describe(
    gateway: Gateway, caller: Caller, view: View, table: VerdictTable, type_: str
) -> JsonObject:
    offered = [code for code in _INTERACTIONS if code in NEEDS and may(caller, view, code, type_)]
    interactions: list[Json] = [{"code": code} for code in offered]
    operations: list[Json] = [
        {"name": name.removeprefix("$"), "definition": url}
        for (of, name), url in OPERATIONS.items()
        if of == type_ and may(caller, view, name, type_)
    ]
    found: JsonObject = {"type": type_}
    if interactions:
        found["interaction"] = interactions
    # A restricted view has versions to read where it lists them; it never says their numbers.
    found["versioning"] = "versioned" if view.identity and "vread" in offered else "no-version"
    documentation = describe_type(view, type_)
    if documentation:
        found["documentation"] = documentation
    if "vread" in offered:
        found["readHistory"] = True
    if "search-type" in offered:
        parameters: list[Json] = [*_parameters(gateway, table, type_)]
        if parameters:
            found["searchParam"] = parameters
        found |= _includes(caller, view, table, type_)
    if operations:
        found["operation"] = operations
    return found


def _includes(caller: Caller, view: View, table: VerdictTable, type_: str) -> JsonObject:
    """What may come along with rows of the type, in both directions."""
    if view.identity:
        return {"searchInclude": ["*"], "searchRevInclude": ["*"]}
    found: JsonObject = {}
    for name, reverse in (("searchInclude", False), ("searchRevInclude", True)):
        listed: list[Json] = [
            path
            for path in table.links.included(type_, reverse=reverse)
            if reach(caller, view, path.partition(":")[0],
                     table.include(path, reverse=reverse), reverse=reverse)
        ]  # fmt: skip
        if listed:
            found[name] = listed
    return found


def _parameters(gateway: Gateway, table: VerdictTable, type_: str) -> Iterator[JsonObject]:
    """The parameters that are answered: of our registry, our view, and the upstream if it said."""
    upstream = gateway.upstream_parameters
    known = None if upstream is None else upstream.get(type_, frozenset())
    sorts = frozenset(table.sorts(type_))
    for code, verdict in table.parameters(type_).items():
        if verdict.kind == "refuse" or (known is not None and code not in known):
            continue
        reason = _reason(table, type_, code, verdict)
        if code in sorts:
            reason += "; sorts"
        if ends := table.links.chained(type_, code):
            reason += f"; chained to {', '.join(ends)}"
        defined = registry.get(type_)[code]
        yield {
            "name": code,
            "definition": defined.url,
            "type": defined.type,
            "documentation": reason,
        }


def _reason(table: VerdictTable, type_: str, code: str, verdict: Verdict) -> str:
    text = f"{_MODES[verdict.kind]}: {verdict.reason}"
    if verdict.prefixes:
        text += f"; prefixes {', '.join(verdict.prefixes)}"
    modifiers = [f":{m}" for m in table.modifiers(type_, code) if m]
    return f"{text}; modifiers {', '.join(modifiers)}" if modifiers else text
