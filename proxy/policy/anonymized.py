"""The place of ``document = "anonymized"`` in the walk: what an anonymized document has anew.

A Composition of an eICR gets its new identifier, date and relations and lists the calculated age
wherever it stands; the age itself is an entry of documents. In documents and messages an
Organization or Location that something names, and that does not say what it is, is judged as one
that gives care. An employer is a
thing of its own, under a name of its own: whom else the same Organization serves does not tell
where the patient works.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from proxy.ecr import anonymized as guide
from proxy.fhir.codec import Json, JsonObject, is_among
from proxy.fhir.reference import parse_reference
from proxy.fhir.referring import reference_texts
from proxy.lenses.calculated_age import show_age
from proxy.lenses.context import Naming, absent
from proxy.lenses.identity import canonical_document
from proxy.lenses.narrative import masked_narrative
from proxy.lenses.pseudonyms import show_document_identifier
from proxy.policy.facilities import Facilities
from proxy.policy.places import find_contained, find_heads, list_entries
from proxy.policy.scope import Scope

if TYPE_CHECKING:
    from proxy.policy.bundle import Entry
    from proxy.policy.complexes import Hook
    from proxy.policy.walk import Compiler

# One of these has an Identifier that names something, or says why it does not.
_NAMES = frozenset({"value", "_value", "extension"})
_TOLD_IN = frozenset({"document", "message"})
# Of the original's relations those that hold between the anonymized documents too. ``transforms``
# and ``signs`` are about the original's own bytes.
_CARRIED = frozenset({"replaces", "appends"})

Places = Mapping[str, "list[Entry]"]  # the entries by the names that references give them


class Anonymized:
    """What the walk does beside the rules where a policy's documents are anonymized eICRs."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._oldest = compiler.policy.ages

    def hooks(self, type_name: str) -> list[Hook]:
        """What is done to a shown object of the type after its walk."""
        if type_name == "Composition":
            return [self._composition]
        return [self._bundle] if type_name == "Bundle" else []

    def _composition(self, obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        if not guide.is_eicr(obj):
            return
        original = out.get("identifier")
        if not isinstance(original, dict) or _NAMES.isdisjoint(original):
            original = show_document_identifier(obj.get("identifier"), scope)
        if not original:
            original = absent("unknown")
        relations: list[Json] = [{"code": "transforms", "targetIdentifier": original}]
        if "relatesTo" in out:
            relations += self._carried(obj.get("relatesTo"), scope)
        out["identifier"] = _new_identifier(obj.get("identifier"), scope)
        out["date"] = scope.today.isoformat()
        out["relatesTo"] = relations
        if scope.shows("Observation"):
            sections = out.get("section")
            listed = guide.list_age(
                sections if isinstance(sections, list) else [],
                _age_name(scope.url, scope),
                masked_narrative(),
            )
            out["section"] = listed

    def _carried(self, relations: Json, scope: Scope) -> list[Json]:
        """The original's relations to other documents, as they hold between the anonymized ones."""
        carried: list[Json] = []
        for relation in relations if isinstance(relations, list) else ():
            if not (isinstance(relation, dict) and is_among(relation.get("code"), _CARRIED)):
                continue
            target = _target(relation, scope)
            if target:
                extensions = self._compiler.extensions.show(
                    relation.get("extension"), scope, bare=False, listed=True
                )
                head: JsonObject = {"extension": extensions} if extensions else {}
                carried.append({**head, "code": relation["code"], **target})
        return carried

    def _bundle(self, obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        if obj.get("type") != "document":
            return
        inside = list(list_entries(obj, scope.url, scope.base, scope))
        if any(guide.is_eicr(resource) for _, resource in find_heads(inside, "Composition")):
            out["identifier"] = _new_identifier(obj.get("identifier"), scope)
            out["timestamp"] = f"{scope.today.isoformat()}T00:00:00Z"

    def show_employer(self, item: JsonObject, scope: Scope) -> JsonObject | None:
        """The employer extension under the employer's own name, empty if it may not show; None if
        it is no Organization, which the rules show as any other."""
        value = item.get("valueReference")
        text = value.get("reference") if isinstance(value, dict) else None
        if not isinstance(text, str):
            return None
        if text[:1] == "#":
            held = scope.contained.resources.get(text[1:]) if scope.contained else None
            return {} if held is not None and held.get("resourceType") == "Organization" else None
        reference = parse_reference(text, scope.base)
        if reference.kind in ("invalid", "conditional"):
            return None
        identity = scope.identity(reference)
        held = scope.held.get(identity)
        if (held["resourceType"] if held else reference.type) not in ("", "Organization"):
            return None
        name = employer_name(identity, scope.namer)
        return {"url": item["url"], "valueReference": {"reference": name}}

    def enter(self, places: Places, scope: Scope) -> None:
        """Called before the entries of a Bundle are walked."""
        held = {name: at[0].resource for name, at in places.items() if at[0].start}
        scope.held = {**scope.held, **{n: one for n, one in held.items() if one is not None}}

    def complete(
        self,
        kind: Json,
        entries: list[Entry],
        places: Places,
        shown: dict[int, JsonObject],
        met: dict[int, set[str]],
        scope: Scope,
    ) -> list[Json]:
        """Called after the entries of a Bundle were walked: changes those of facilities, gives
        those that are made, which stand at its end. ``entries`` and ``places``: all, those that
        are not shown among them."""
        if not is_among(kind, _TOLD_IN):
            return []
        facilities = Facilities(self._compiler.resources)
        for entry in facilities.find(entries, places, met, scope):
            self._tell(entry, shown, scope)
        made = self._employers(places, shown, scope)
        heads = self._heads(entries) if kind == "document" and scope.shows("Observation") else ()
        for head in heads:
            if head.position in shown:
                made.append(self._age(head, shown[head.position], places, scope))
        return made

    def _heads(self, entries: list[Entry]) -> list[Entry]:
        """The Compositions of eICRs that a document begins with."""
        held = [(entry, entry.resource) for entry in entries if entry.resource is not None]
        heads = find_heads(held, "Composition")
        return [entry for entry, resource in heads if guide.is_eicr(resource)]

    def _tell(self, entry: Entry, shown: dict[int, JsonObject], scope: Scope) -> None:
        """Show an Organization or Location as one that gives care."""
        resources = self._compiler.resources
        if entry.position not in shown or entry.resource is None:
            return
        start = resources.start(guide.as_facility(entry.resource), scope.claims)
        if start is not None and start is not entry.start:
            scope.base, scope.url, scope.met = entry.base, entry.url, set()
            walked = resources.walk(start, entry.resource, scope, entry.id)
            shown[entry.position]["resource"] = walked

    def _employers(
        self, places: Places, shown: dict[int, JsonObject], scope: Scope
    ) -> list[Json]:
        """The employers that shown entries name, each as a thing of its own, in the least form,
        by the names that they show: nothing tells which Organization one is."""
        made: dict[str, Json] = {}
        resources = self._compiler.resources
        held = [
            (name, at[0], at[0].resource)
            for name, at in places.items()
            if at[0].start is not None and at[0].start.type == "Organization"
        ]
        if not held:
            return []
        named = {text for one in shown.values() for text in reference_texts(one["resource"])}
        for identity, entry, resource in held:
            name = employer_name(identity, scope.namer)
            if name not in named or resource is None:
                continue
            start = resources.start(guide.as_nothing(resource), scope.claims)
            if start is None:
                continue
            scope.base, scope.url, scope.met = entry.base, name, set()
            form: JsonObject = {"resourceType": "Organization", **guide.EMPLOYER_FORM}
            walked = resources.walk(start, form, scope, name.rpartition(":")[2])
            made[name] = {"fullUrl": name, "resource": walked}
        return [made[name] for name in sorted(made)]

    def _age(
        self, first: Entry, envelope: JsonObject, places: Places, scope: Scope
    ) -> Json:
        composition = envelope["resource"]
        name = _age_name(first.url, scope)
        shown = composition.get("subject") if isinstance(composition, dict) else None
        reference = shown.get("reference") if isinstance(shown, dict) else None
        patient = self._subject(first, places, scope) if reference is not None else None
        age = guide.calculated_age(
            name.rpartition(":")[2],
            _absolute(reference, scope),
            scope.today.isoformat(),
            show_age((patient or {}).get("birthDate"), scope.today, self._oldest),
            self._compiler.resources.meta(None, scope),
            masked_narrative(),
        )
        return {"fullUrl": name, "resource": age}

    def _subject(self, first: Entry, places: Places, scope: Scope) -> JsonObject | None:
        """The Patient that the document is about: an entry of it or of the Bundles around, or what
        the Composition contains."""
        resource = first.resource or {}
        subject = resource.get("subject")
        text = subject.get("reference") if isinstance(subject, dict) else None
        if not isinstance(text, str):
            return None
        name = scope.name_of(text, first.base)
        found = [e.resource for e in places.get(name, ()) if e.start is not None]
        found.append(scope.held.get(name))
        if text[:1] == "#":
            found = [find_contained(text[1:], resource)]
        return next((one for one in found if one and one.get("resourceType") == "Patient"), None)


def _target(relation: JsonObject, scope: Scope) -> JsonObject:
    """What a relation of the original leads to, as it is shown; empty if it is not."""
    identifier, reference = relation.get("targetIdentifier"), relation.get("targetReference")
    if isinstance(identifier, dict) and isinstance(identifier.get("value"), str):
        return {"targetIdentifier": _new_identifier(identifier, scope)}
    text = reference.get("reference") if isinstance(reference, dict) else None
    declared = reference.get("type") if isinstance(reference, dict) else None
    named = scope.refer(text, declared) if isinstance(text, str) else None
    return {} if named is None else {"targetReference": {"reference": named}}


def _new_identifier(original: Json, scope: Scope) -> Json:
    """The identifier of the anonymized form of a document; of one without identifier, by where it
    stands. All spellings of one identifier give one."""
    value = original.get("value") if isinstance(original, dict) else None
    of = canonical_document(value) if isinstance(value, str) and value else scope.url
    return {
        "system": "urn:ietf:rfc:3986",
        "value": scope.namer.show_uri(f"urn:ecr-proxy:anonymized:{of}"),
    }


def _absolute(reference: Json, scope: Scope) -> Json:
    """A Reference out of an entry with a ``urn:uuid:``, beside which nothing relative resolves (R4,
    bundle.html#references); None to what another contains, which nothing else can refer to."""
    if not isinstance(reference, str) or reference[:1] == "#":
        return None
    return {"reference": reference if ":" in reference else f"{scope.public}/{reference}"}


def _age_name(composition: str, scope: Scope) -> str:
    """The fullUrl of the age that the Composition with this absolute URL lists."""
    return scope.namer.show_uri(f"{composition}#calculated-age")


def employer_name(organization: str, namer: Naming) -> str:
    """The fullUrl of the Organization with this absolute URL as somebody's employer."""
    return namer.show_uri(f"{organization}#employer")
