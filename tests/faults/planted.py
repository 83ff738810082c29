"""Small faults, each a patch of one function or table of the product while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
from aiohttp.web_protocol import RequestHandler

from proxy.engine import read, reveal
from proxy.engine.context import Context, render
from proxy.engine.messages import Answer
from proxy.errors import AuditUnavailable, Deleted, Gone
from proxy.fhir import codec
from proxy.fhir.codec import Fragment, Json, JsonObject
from proxy.fhir.structure import RESOURCES, Property
from proxy.lenses import generalize, identity, pseudonyms, surrogate
from proxy.lenses.narrative import PENDING
from proxy.lenses.table import narrate
from proxy.policy import ages, arrays, complexes, extensions, primitives, resources, scope, walk
from proxy.policy.bundle import BundleWalk, Entry
from proxy.policy.decide import KEEP, Decision, Mode
from proxy.policy.decide import decide as decided
from proxy.policy.scope import Contained, Scope
from proxy.shell.audit import Audit, Exchange
from proxy.shell.protocol import Protocol
from tests.faults import planted_search as found
from tests.noninterference.policies import CLAIMS, EPI, STAGE1
from tests.rig import DEID, LDS, Claims

Patch = pytest.MonkeyPatch
LINKED, COUNTED, MONTHS = "trial-linked", "trial-counted", "trial-months"
ASKING, ROWS = ("refusals",), ("oracle", "refusals")
VIEW = ("footprints", "oracle", "no-loss")
SHOWN = Decision(KEEP, Mode("cover"), None, "planted")


@dataclass(frozen=True, slots=True)
class Fault:
    """``plant``: puts it in. ``role``: in whose view it is looked for; ``claims``: with what claims
    in the token. ``suites``: the names of those that look for it, beside the harness and the
    embedded twins."""

    name: str
    plant: Callable[[Patch], None]
    role: str = DEID
    suites: tuple[str, ...] = VIEW
    claims: Claims = field(default_factory=lambda: CLAIMS)


def _year_shows_date(patch: Patch) -> None:
    year = replace(generalize.TEXTS["year"], show=lambda text: text)
    patch.setitem(generalize.TEXTS, "year", year)


def _mask_dropped(patch: Patch) -> None:
    patch.setattr(walk, "restorers", lambda *_: [])


def _identifier_shown(patch: Patch) -> None:
    patch.setattr(pseudonyms, "show_identifier", lambda value, context: value)


def _keep(patch: Patch, parent: str, name: str) -> None:

    def decide(policy: Any, where: str, prop: Property, *rest: Any) -> Decision:
        if (where, prop.name) == (parent, name):
            return SHOWN
        return decided(policy, where, prop, *rest)

    patch.setattr(walk, "decide", decide)


def _display_kept(patch: Patch) -> None:
    _keep(patch, "Reference", "display")


def _contact_kept(patch: Patch) -> None:
    _keep(patch, "Patient", "contact")


def _narrative_passed(patch: Patch) -> None:
    whole = complexes.make_item

    def make_item(compiler: Any, site: Any, prop: Property, *rest: Any) -> Any:
        if prop.type == "Narrative":
            return complexes.Item(lambda value, scope: value, None)
        return whole(compiler, site, prop, *rest)

    patch.setattr(complexes, "make_item", make_item)


def _narrative_of_stored(patch: Patch) -> None:
    whole = resources.Resources.walk

    def show(*given: Any, **options: Any) -> JsonObject:
        out, resource = whole(*given, **options), given[2]
        text = out.get("text")
        if isinstance(text, dict) and text.get("status") == "generated":
            told = {**resource, "text": {"status": "generated", "div": PENDING}}
            narrate(told)
            out["text"] = told["text"]
        return out

    patch.setattr(resources.Resources, "walk", show)


def _name_shown(patch: Patch) -> None:
    patch.setattr(surrogate.Surrogate, "bind", lambda *_: lambda value, context: value)


def _persons_alike(patch: Patch) -> None:
    patch.setattr(Scope, "bearer", property(lambda scope: "Patient/1"))


def _element_id_kept(patch: Patch) -> None:
    whole = walk.Compiler._make_walker

    def make_walker(compiler: walk.Compiler, site: walk.Site) -> walk.Walker:
        walker = whole(compiler, site)

        def show(obj: JsonObject, scope: Scope) -> JsonObject | None:
            out = walker(obj, scope)
            return out if out is None or "id" not in obj else {**out, "id": obj["id"]}

        return walker if site.type in RESOURCES else show

    patch.setattr(walk.Compiler, "_make_walker", make_walker)


def _meta_passed(patch: Patch) -> None:
    patch.setattr(resources.Resources, "meta", lambda found, meta, scope: meta or {})


def _contained_not_renamed(patch: Patch) -> None:
    whole = resources.Resources._contained

    def contained(compiler: Any, resource: JsonObject, scope: Scope) -> Contained | None:
        found = whole(compiler, resource, scope)
        if found is not None:
            found.real = True
        return found

    patch.setattr(resources.Resources, "_contained", contained)


def _ages_off(patch: Patch) -> None:
    patch.setattr(ages, "hooks", lambda *_: [])


def _malformed_passed(patch: Patch) -> None:
    def passed(key: str, value: Json, out: JsonObject) -> None:
        out[key] = value

    patch.setattr(primitives, "mask_malformed", passed)


def _codes_off(patch: Patch) -> None:
    patch.setattr(complexes, "coding", lambda walk, compiler, site: walk)


def _extensions_off(patch: Patch) -> None:
    def show(found: Any, item: JsonObject, scope: Scope, *_: bool) -> JsonObject | None:
        return item

    patch.setattr(extensions.Extensions, "_show_one", show)


def _modifier_ignored(patch: Patch) -> None:
    patch.setattr(extensions.Extensions, "withholds", lambda *_: False)


def _order_changed(patch: Patch) -> None:
    whole = arrays.complex_step

    def complex_step(prop: Property, item: Any) -> Any:
        step = whole(prop, item)

        def turned(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
            step(obj, key, value[::-1] if isinstance(value, list) else value, scope, out)

        return turned

    patch.setattr(arrays, "complex_step", complex_step)


def _decimals_as_floats(patch: Patch) -> None:
    decoder = msgspec.json.Decoder(float_hook=lambda text: Fragment(repr(float(text))))
    patch.setattr(codec, "_fast", decoder)


def _hidden_reference_kept(patch: Patch) -> None:
    whole = scope.Scope._refer

    def refer(found: Scope, text: str, declared: Json) -> tuple[str | None, str]:
        shown, identity = whole(found, text, declared)
        return shown or text, identity

    patch.setattr(scope.Scope, "_refer", refer)


def _full_url_kept(patch: Patch) -> None:
    whole = BundleWalk._name

    def name(bundles: BundleWalk, index: int, source: JsonObject, *rest: Any) -> Entry:
        entry, text = whole(bundles, index, source, *rest), source.get("fullUrl")
        return entry._replace(full_url=text) if isinstance(text, str) else entry

    patch.setattr(BundleWalk, "_name", name)


def _unlinked_entries_kept(patch: Patch) -> None:
    patch.setattr(BundleWalk, "_prune", lambda *_: None)


def _etag_passed(patch: Patch) -> None:
    whole = read._reply

    def reply(context: Any, body: bytes, resource: Any, answer: Any, projection: Any) -> Any:
        made = whole(context, body, resource, answer, projection)
        return replace(made, headers=(("ETag", answer.headers.get("etag", "")),))

    patch.setattr(read, "_reply", reply)


def _modified_passed(patch: Patch) -> None:
    whole = read._reply

    def reply(context: Any, body: bytes, resource: Any, answer: Any, projection: Any) -> Any:
        made = whole(context, body, resource, answer, projection)
        modified = ("Last-Modified", answer.headers.get("last-modified", ""))
        return replace(made, headers=(*made.headers, modified))

    patch.setattr(read, "_reply", reply)


def _deleted_told_apart(patch: Patch) -> None:
    whole = read._choose

    def choose(
        context: Context, type_: str, ids: tuple[str, ...], answers: tuple[Answer, ...]
    ) -> Any:
        if any(answer.status == Gone.status for answer in answers):
            raise Deleted()
        return whole(context, type_, ids, answers)

    patch.setattr(read, "_choose", choose)


def _stored_body_when_projected(patch: Patch) -> None:
    """A projection made of what is stored, not of what is shown."""
    def show(context: Context, body: bytes, projection: Any) -> bytes | None:
        shown = reveal.show(context, body, projection)
        if shown is None or not projection.changes:
            return shown
        stored = codec.decode(body)
        return render(b"", stored if isinstance(stored, dict) else None, projection)

    patch.setattr(read, "show", show)


def _type_not_checked(patch: Patch) -> None:
    """Pseudonyms that are not bound to a type: one of a Patient reads as an Observation's."""
    seal, open_ = identity._Ciphers.seal_id, identity._Ciphers.open_id
    patch.setattr(identity._Ciphers, "seal_id", lambda c, type_, real: seal(c, b"", real))
    patch.setattr(identity._Ciphers, "open_id", lambda c, type_, shown: open_(c, b"", shown))


def _audit_after_reply(patch: Patch) -> None:
    write = Audit.write

    def later(audit: Audit, exchange: Exchange) -> None:
        def run() -> None:
            with suppress(AuditUnavailable):
                write(audit, exchange)

        asyncio.get_running_loop().call_later(0.05, run)

    patch.setattr(Audit, "write", later)


def _parser_error_passed(patch: Patch) -> None:
    patch.setattr(Protocol, "_make_error_handler", RequestHandler._make_error_handler)
    patch.setattr(Protocol, "handle_error", RequestHandler.handle_error)


# Of the search: what it is called, in whose view it is looked for, how it is planted.
_SEARCH = (
    ("rows are not judged again", LINKED, found.rows_not_judged),
    ("years are widened and not judged again", LINKED, found.years_not_judged),
    ("years are not widened enough", LINKED, found.year_too_narrow),
    ("ne of a year is not its complement", LINKED, found.complement_wrong),
    ("conditions are judged on what is stored", LINKED, found.judged_as_stored),
    ("persons of 90 are found by their year", LINKED, found.oldest_by_year),
    ("what is included is not judged", LINKED, found.include_target_not_judged),
    ("includes follow hidden references", LINKED, found.hidden_reference_followed),
    ("what refers to a match is not judged", LINKED, found.revinclude_not_judged),
    ("includes go beyond the list", LINKED, found.include_beyond_list),
    ("chains are not judged again", LINKED, found.chain_not_judged),
    ("a chain's end is judged as stored", LINKED, found.chain_target_as_stored),
    ("_sort is forwarded", LINKED, found.sort_forwarded),
    ("rows are sorted as stored", LINKED, found.sorted_as_stored),
    ("ties are broken by the real id", LINKED, found.ties_by_real_id),
    ("the upstream's total is passed on", LINKED, found.total_passed),
    ("a total counts hidden rows", MONTHS, found.total_counts_hidden),
    ("the upstream decides where pages end", LINKED, found.borders_by_upstream),
    ("a page is filled from one upstream page", LINKED, found.one_upstream_page),
    ("a next link leads to hidden rows only", LINKED, found.next_link_to_nothing),
    ("page tokens are not padded", LINKED, found.token_not_padded),
    ("one search verdict is flipped to allow", LINKED, found.verdict_flipped),
    (":not of a bare code is forwarded", LINKED, found.bare_not_forwarded),
    ("codes of unlisted systems are asked for", LINKED, found.hidden_codes_sent),
    (":missing of what is coarse is answered", LINKED, found.missing_on_coarse),
    ("prefixes that are not offered are taken", LINKED, found.prefixes_not_judged),
    ("an unknown parameter is forwarded", LINKED, found.unknown_forwarded),
    ("the body of a search is not read", LINKED, found.body_not_judged),
    ("$document follows hidden references", LINKED, found.document_follows_hidden),
)

OF_VIEWS = (
    Fault("a year shows the whole date", _year_shows_date),
    Fault("a required mask is dropped", _mask_dropped),
    Fault("identifiers are shown as stored", _identifier_shown, LDS),
    Fault("Reference.display is kept", _display_kept),
    Fault("an element that a rule removes is kept", _contact_kept),
    Fault("narrative is passed", _narrative_passed),
    Fault("a narrative tells what is stored", _narrative_of_stored, MONTHS, ()),
    Fault("a stand-in is the name itself", _name_shown, STAGE1),
    Fault("all persons have one stand-in", _persons_alike, STAGE1),
    Fault("Element.id is kept", _element_id_kept, LDS),
    Fault("meta is passed", _meta_passed),
    Fault("contained resources keep their ids", _contained_not_renamed),
    Fault("ages are not grouped", _ages_off),
    Fault("a malformed value is passed", _malformed_passed),
    Fault("codes of any system are shown", _codes_off),
    Fault("extensions of any URL are shown", _extensions_off),
    Fault("modifierExtension is ignored", _modifier_ignored),
    Fault("the order of an array is changed", _order_changed),
    Fault("decimals go through float", _decimals_as_floats),
    Fault("a reference to what is hidden is kept", _hidden_reference_kept),
    Fault("fullUrl is not mapped", _full_url_kept),
    Fault("entries that nothing shown links stay", _unlinked_entries_kept),
    Fault("the upstream's ETag is passed on", _etag_passed),
    Fault("Last-Modified is passed on", _modified_passed),
    Fault("a deleted resource is told apart", _deleted_told_apart),
    Fault("a summary is made of what is stored", _stored_body_when_projected),
    Fault("pseudonyms are not bound to a type", _type_not_checked),
    Fault("the audit is written after the reply", _audit_after_reply, suites=("shell",)),
    Fault("the parser's own errors leave", _parser_error_passed, suites=("shell",)),
)

OF_SEARCH = (
    *(Fault(name, plant, role, ASKING) for name, role, plant in _SEARCH),
    Fault("row rules are not judged again", found.row_rules_not_judged, COUNTED, ASKING),
    Fault("row rules hold at the root only", found.row_rules_at_the_root, EPI, ROWS),
    Fault("a missing claim is no limit", found.missing_claim_unlimited, EPI, ROWS, {}),
    Fault("page links are not bound to claims", found.token_not_bound, LDS, ("paging",)),
)
