"""The slow evaluator: what a policy shows of a resource, straight from the language's text.

It asks at every element "which rule does this element take?" and knows nothing of the compiled
walk: it imports the R4 facts and the parsed Policy only. Where the two disagree, one is wrong.

AMBIGUITIES, and how they are read here:

* A branch (``valueQuantity``) is more specific than its choice (``value[x]``) of equal length.
* A path rule on a Coding covers it whatever its system; a ``Coding`` line is for those whose
  system is not listed. Prefixes of ``[codes]`` are plain string prefixes.
* A member's line on a structural member (``Identifier.type``) makes that member structurally kept.
* Under a parent that is removed, masked or transformed a contentReference child never shows.
* A value opened by members or longer paths only shows no extensions of its own.
* A listed modifierExtension that comes out empty withholds like an unlisted one.
* Malformed means: wrong JSON type or cardinality; a text that is no date is malformed for
  transforms only, as ``keep`` shows what is stored.
* Hidden items of a required list go; one masked item stands where none is left.
* A document's entry goes if the Composition reached it as stored and no longer reaches it as shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

import fhirpathpy
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.models import models

from proxy.fhir.codec import Fragment
from proxy.fhir.r4 import TYPES
from proxy.policy.model import Method, PathRule, Policy
from tests import oracle_facts as facts
from tests.oracle_facts import Json, Prop
from tests.oracle_scope import (
    BundleScope,
    Contained,
    Context,
    Place,
    bundle_scope,
    identify,
    is_type,
    split,
    upstream_id,
)
from tests.oracle_values import (
    UCUM,
    Tables,
    age_of_text,
    has_unit,
    to_number,
    transform,
    unit_years,
    years_since,
)

KEEP, REMOVE, MASK = Method("keep"), Method("remove"), Method("mask")
REFERENCE_MEMBERS = frozenset({("Reference", "type"), ("Reference", "reference")})
BORN = frozenset({"Patient", "RelatedPerson", "Person", "Practitioner"})
BIRTH_DATE = ("http://loinc.org", "21112-8")
LABELS = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"


@dataclass(frozen=True, slots=True)
class Step:
    """One step from the resource to an element. ``instance`` is None where there is none."""

    name: str  # as in JSON: valueQuantity
    element: str  # as defined: value[x]
    type: str  # type code or backbone path
    instance: Json


Lineage = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """The rule an element takes. ``method`` None: a value that can identify without a line.

    ``origin``: path (a rule of its own), type or member (a line), none (no line), struct (as its
    parent does), cover-path or cover-type (inside a value that a rule covers), closed.
    """

    method: Method | None
    origin: str

    @property
    def shows(self) -> bool:
        return self.method is not None and self.method.name != "remove"

    @property
    def keeps(self) -> bool:
        return self.method is not None and self.method.name == "keep"


CLOSED = Decision(None, "closed")


@dataclass(frozen=True, slots=True)
class State:
    """What holds for the children of an element: keep, cover-path, cover-type or closed.

    ``method``: the effective rule of the element. ``members``: its type's member lines open it.
    """

    kind: str
    method: Method
    members: bool = False


class Oracle:
    """A policy, evaluated slowly."""

    def __init__(self, policy: Policy, tables: Tables | None = None) -> None:
        self.policy = policy
        self.tables = tables or Tables()

    def reveal(self, resource: Json, context: Context) -> Json | None:
        """The resource as shown; None if it is withheld."""
        if not facts.is_resource(resource):
            return None
        kind, real = resource["resourceType"], resource.get("id")
        identity = f"{context.bases[0]}/{kind}/{real}" if isinstance(real, str) else ""
        shown_id = self.show_id(kind, real, context) if isinstance(real, str) and real else None
        return self.resource(resource, identity, shown_id, None, context)

    # --- which rule ---------------------------------------------------------------------------

    def find_rule(
        self, lineage: Lineage, context: Context, judge: bool = True
    ) -> tuple[PathRule | None, bool]:
        """The rule that the path rules give, and whether it names this very element.

        ``judge`` False: as if no predicate selected.
        """
        for length in range(len(lineage), 0, -1):
            found = [r for r in self.policy.elements if names(r, lineage[:length])]
            for count in sorted({branches(r) for r in found}, reverse=True):
                group = [r for r in found if branches(r) == count]
                selecting = [
                    r for r in group if r.has_predicate and judge and selects(r, lineage, context)
                ]
                plain = [r for r in group if not r.has_predicate]
                if selecting:
                    return min(selecting, key=lambda r: facts.shown(r.method)), length == len(
                        lineage
                    )
                if plain:
                    return plain[0], length == len(lineage)
        return None, False

    def effective(self, lineage: Lineage, context: Context, judge: bool) -> Method:
        rule, _ = self.find_rule(lineage, context, judge)
        return rule.method if rule else REMOVE

    def line(self, key: str) -> Method | None:
        rule = self.policy.datatypes.get(key)
        return rule.method if rule else None

    def member_line(self, parent_type: str, prop: Prop) -> Method | None:
        kind = facts.line_type(parent_type)
        return self.line(f"{kind}.{prop.name}") or self.line(f"{kind}.{prop.element.name}")

    def listed(self, system: Json) -> bool:
        """Whether codes of the system show."""
        if self.policy.codes is None:
            return True
        return isinstance(system, str) and system.startswith(self.policy.codes)

    def decide(
        self,
        parent_type: str,
        parent: Json,
        prop: Prop,
        value: Json,
        state: State,
        lineage: Lineage | None,
        context: Context,
        judge: bool = True,
    ) -> Decision:
        """The rule that one item of a property takes. ``lineage`` ends at the item."""
        if prop.element.recursive and lineage is not None:
            if state.kind == "closed":
                return CLOSED
            own = self.effective(lineage, context, judge)
            rule, exact = self.find_rule(lineage, context, judge)
            least = facts.lesser(state.method, own)
            return Decision(least, "path" if rule and exact and least is own else "struct")
        if lineage is not None:
            rule, exact = self.find_rule(lineage, context, judge)
            if rule is not None and exact:
                return Decision(rule.method, "path")
        member = self.member_line(parent_type, prop)
        if state.kind == "closed":
            return Decision(member, "member") if state.members and member else CLOSED
        document = is_document_identifier(lineage)
        if (parent_type, prop.name) == ("Reference", "identifier") and not document:
            return CLOSED
        if state.kind == "keep":
            if not self.can_identify(parent_type, parent, prop, value):
                return (
                    Decision(facts.lesser(KEEP, member), "member")
                    if member
                    else Decision(KEEP, "struct")
                )
            if member:
                return Decision(member, "member")
            line = (self.line("Identifier.document") if document else None) or self.line(
                facts.line_type(prop.code)
            )
            return Decision(line, "type") if line else Decision(None, "none")
        covered = Decision(KEEP, state.kind)
        if member:
            if state.kind == "cover-type":
                return Decision(member, "member")
            return Decision(member, "member") if facts.lesser(KEEP, member) is member else covered
        line = self.line(prop.code) if prop.code in facts.DATES else None
        if line and facts.lesser(KEEP, line) is line:
            return Decision(line, "type")
        return covered

    def can_identify(self, parent_type: str, parent: Json, prop: Prop, value: Json) -> bool:
        """Whether the value is of those that never follow a ``keep`` above them."""
        if prop.code == "Coding":
            if self.policy.codes is None:
                return False
            if not isinstance(value, dict) or not set(value) - {"id", "extension"}:
                return False
            return not self.listed(value.get("system"))
        if parent_type in facts.QUANTITIES and prop.name in ("code", "system"):
            system = parent.get("system") if isinstance(parent, dict) else None
            if prop.name == "code":
                return not (isinstance(system, str) and self.listed(system))
            return isinstance(system, str) and not self.listed(system)
        if prop.code == "uri" and prop.name == "system":
            return "code" not in {e.name for e in TYPES[parent_type].elements}
        if (parent_type, prop.name) in REFERENCE_MEMBERS:
            return False
        return prop.code in facts.IDENTIFYING

    def shows_type(self, kind: str) -> bool:
        """Whether resources of the type show, predicates aside."""
        rule = next(
            (
                r
                for r in self.policy.elements
                if len(r.steps) == 1 and r.steps[0].name == kind and not r.has_predicate
            ),
            None,
        )
        return rule is not None and rule.method.name in ("keep", "pass")

    def shows_resource(self, resource: Json, context: Context) -> bool:
        """Whether the resource's type rule shows it and no modifierExtension withholds it."""
        if not facts.is_resource(resource):
            return False
        kind = resource["resourceType"]
        method = self.effective((Step(kind, kind, kind, resource),), context, True)
        return method.name == "pass" or (
            method.name == "keep" and not self.withheld(resource, nowhere(context))
        )

    # --- resources ----------------------------------------------------------------------------

    def resource(
        self,
        resource: Json,
        identity: str,
        shown_id: str | None,
        bundle: BundleScope | None,
        context: Context,
    ) -> dict[str, Json] | None:
        if not self.shows_resource(resource, context):
            return None
        held = resource.get("contained")
        inside = {
            c["id"]: c
            for c in reversed(held if isinstance(held, list) else [])
            if isinstance(c, dict) and isinstance(c.get("id"), str)
        }
        kind = resource["resourceType"]
        contained = Contained(
            inside, lambda r: self.shows_resource(r, context), self.pseudonymous(kind)
        )
        place = Place(context, identity, bundle, contained)
        out = self.body(resource, shown_id, place)
        if out is None or not inside or self.root_method(resource, context) == "pass":
            return out
        shown = self.contained(held, place)
        if shown:
            out["contained"] = shown
        return out

    def root_method(self, resource: Json, context: Context) -> str:
        kind = resource["resourceType"]
        return self.effective((Step(kind, kind, kind, resource),), context, True).name

    def body(
        self, resource: Json, shown_id: str | None, place: Place, inside: bool = False
    ) -> dict[str, Json] | None:
        """The resource without its contained ones."""
        kind = resource["resourceType"]
        if self.root_method(resource, place.context) == "pass":
            for reference in references(resource):
                self.show_reference({"reference": reference}, place)
            return dict(resource) if shown_id is None else {**resource, "id": shown_id}
        out: dict[str, Json] = {"resourceType": kind}
        if shown_id is not None:
            out["id"] = shown_id
        if not inside and (meta := self.meta(resource.get("meta"))):
            out["meta"] = meta
        lineage = (Step(kind, kind, kind, resource),)
        state = State("keep", KEEP)
        if kind == "Bundle":
            self.bundle_members(resource, out, place)
        out |= self.children(kind, resource, state, lineage, place)
        if extensions := self.extensions(resource.get("extension"), "top", place):
            out["extension"] = extensions
        if extensions := self.extensions(resource.get("modifierExtension"), "top", place):
            out["modifierExtension"] = extensions
        self.complete(kind, resource, out, state, lineage, place)
        return out

    def contained(self, held: list[Json], place: Place) -> list[Json]:
        """The contained resources that are shown, in source order."""
        bodies: dict[str, Json] = {}
        scope = place.contained

        def show(name: str) -> None:
            reference = scope.show(name)
            assert reference is not None
            place.names_container = False
            bodies[name] = self.body(scope.resources[name], reference[1:], place, inside=True)

        def follow() -> None:
            while waiting := [n for n in scope.numbers if n not in bodies]:
                show(waiting[0])

        follow()
        for name, resource in scope.resources.items():
            if name not in bodies and scope.shows(resource) and self.points_back(resource, place):
                show(name)
                follow()
        return [
            bodies[r["id"]]
            for r in held
            if isinstance(r, dict)
            and bodies.get(str(r.get("id")))
            and scope.resources[r["id"]] is r
        ]

    def points_back(self, resource: Json, place: Place) -> bool:
        """Whether the contained resource shows a reference to its container."""
        trial = nowhere(place.context)
        trial.contained = Contained(
            place.contained.resources, place.contained.shows, place.contained.pseudonym
        )
        self.body(resource, "x", trial, inside=True)
        return trial.names_container

    def meta(self, source: Json) -> dict[str, Json]:
        out: dict[str, Json] = {}
        stored = source if isinstance(source, dict) else {}
        line = self.line("Meta.lastUpdated")
        updated = stored.get("lastUpdated")
        if line and line.name == "keep" and isinstance(updated, str):
            out["lastUpdated"] = updated
        profiles = stored.get("profile")
        if isinstance(profiles, list):
            listed = [p for p in profiles if isinstance(p, str) and p in self.policy.profiles]
            if listed:
                out["profile"] = listed
        if self.policy.labels:
            out["security"] = [{"system": LABELS, "code": x} for x in self.policy.labels]
        return out

    def pseudonymous(self, kind: str) -> bool:
        return self.policy.ids.get(kind, self.policy.ids_default) == "pseudonym"

    def show_id(self, kind: str, real: str, context: Context) -> str:
        return context.namer.show_id(kind, real) if self.pseudonymous(kind) else real

    # --- elements -----------------------------------------------------------------------------

    def children(
        self,
        kind: str,
        value: dict[str, Json],
        state: State,
        lineage: Lineage | None,
        place: Place,
    ) -> dict[str, Json]:
        """What shows of the known members of an element, in source order."""
        known = facts.props(kind)
        out: dict[str, Json] = {}
        done = set()
        for key in value:
            name = key[1:] if key[:1] == "_" else key
            prop = known.get(name)
            if prop is None or name in done or name in ("id", "extension", "modifierExtension"):
                continue
            if len(lineage or ()) == 1 and name in ("meta", "contained"):
                continue
            if kind == "Bundle" and name in ("entry", "link", "total", "signature"):
                continue
            if key[:1] == "_" and not prop.primitive:
                continue
            done.add(name)
            out |= self.member(kind, value, prop, state, lineage, place)
        if kind == "FamilyMemberHistory" and not ({"ageAge", "ageRange", "ageString"} & set(out)):
            out.pop("estimatedAge", None)
        if kind == "Composition" and "title" in out:
            self.title(value, out, state, lineage, place)
        return out

    def member(
        self,
        kind: str,
        parent: dict[str, Json],
        prop: Prop,
        state: State,
        lineage: Lineage | None,
        place: Place,
    ) -> dict[str, Json]:
        """One property with its sibling, as shown; empty if it does not show."""
        value = parent.get(prop.name)
        sibling = parent.get("_" + prop.name) if prop.primitive else None
        if value is None and not sibling:
            return {}
        if value is not None and isinstance(value, list) != prop.many:
            at = extend(lineage, prop, None)
            decision = self.decide(kind, parent, prop, None, state, at, place.context)
            if not decision.shows:
                return {}
            if self.required(kind, parent, prop):
                return facts.masked_property(prop, value)
            if prop.primitive:
                mask: Json = facts.dar()
                return (
                    {prop.name: [None], "_" + prop.name: [mask]}
                    if prop.many
                    else {"_" + prop.name: mask}
                )
            mask = facts.masked_complex(prop.code, value)
            return {prop.name: [mask] if prop.many else mask}
        if not prop.primitive:
            items: list[Json] = as_list(value) if prop.many else [value]
            shown = []
            for item in items:
                if item is None:
                    continue
                at = extend(lineage, prop, item)
                decision = self.decide(kind, parent, prop, item, state, at, place.context)
                result = self.complex(kind, parent, prop, item, decision, at, place)
                if result:
                    shown.append(result)
            if not shown:
                return {}
            return {prop.name: shown if prop.many else shown[0]}
        if prop.many and sibling is not None and not isinstance(sibling, list):
            sibling = None
        pairs = align(value, sibling, prop.many)
        results = []
        required = self.required(kind, parent, prop)
        for item, beside in pairs:
            if item is None and beside is None:
                continue
            at = extend(lineage, prop, item)
            decision = self.decide(kind, parent, prop, item, state, at, place.context)
            pair = self.primitive(kind, parent, prop, item, beside, decision, required, place)
            if pair is not None:
                results.append(pair)
        return join(prop, results)

    def primitive(
        self,
        kind: str,
        parent: dict[str, Json],
        prop: Prop,
        value: Json,
        sibling: Json,
        decision: Decision,
        required: bool,
        place: Place,
    ) -> tuple[Json, Json] | None:
        """(value, sibling) as shown; None if hidden."""
        method = decision.method
        if method is None or method.name == "remove":
            return None
        masked: tuple[Json, Json] | None = (None, facts.dar())
        if required and prop.code in facts.LEGAL:
            masked = (facts.LEGAL[prop.code], None)
        if method.name == "mask":
            return masked if value is not None or sibling else None
        held = sibling.get("extension") if isinstance(sibling, dict) else None
        if value is None:
            if decision.keeps:
                extensions = self.extensions(held, "top", place, dar=True)
            else:
                extensions = [d for d in map(clean_dar, as_list(held)) if d]
            return (None, {"extension": extensions}) if extensions else None
        if not facts.has_json_type(prop.code, value):
            return masked
        aged = self.aged(kind, parent, prop, value, place)
        if aged == "remove":
            return None
        if aged == "mask":
            return masked
        if aged is not None:
            value = aged
        if decision.keeps:
            extensions = self.extensions(held, "top", place)
            if (kind, prop.name) == ("Reference", "type") and not self.type_shows(value):
                return None
            if prop.code == "canonical":
                value = self.canonical(value, place)
                if value is None:
                    return None
            return value, ({"extension": extensions} if extensions else None)
        result = transform(method, prop.code, value, self.tables, place.context.namer, False)
        if result is None:
            return masked
        if prop.code == "instant" and not required:
            return None
        return result, None

    def complex(
        self,
        kind: str,
        parent: dict[str, Json],
        prop: Prop,
        value: Json,
        decision: Decision,
        lineage: Lineage | None,
        place: Place,
    ) -> dict[str, Json] | None:
        """One complex item as shown; None if hidden."""
        code = prop.code
        if code == "Resource":
            return None
        if not isinstance(value, dict):
            return facts.masked_complex(code, value) if decision.shows else None
        method = decision.method
        if not value and method is not None and method.name == "mask":
            return facts.masked_complex(code)
        if not value or self.withheld(value, place):
            return None
        template = relocate(lineage, prop) if lineage is not None else None
        if method is not None and method.name == "keep":
            return self.kept(kind, parent, prop, value, decision, template, place)
        by_type = decision.origin in ("type", "none")
        state = State("closed", method or REMOVE, members=by_type)
        opened = self.children(code, value, state, template, place)
        if method is None or method.name == "remove":
            if not opened:
                return None
            self.complete(code, value, opened, state, template, place)
            return opened
        if method.name == "mask":
            if code == "Identifier" and self.required(kind, parent, prop):
                return (
                    self.legal(kind, parent, prop, {}, lineage[:-1] if lineage else None, place)[
                        prop.name
                    ]
                    | opened
                )
            return facts.masked_complex(code, value) | opened
        absent = [d for d in map(clean_dar, as_list(value.get("extension"))) if d]
        if absent and not set(value) - {"id", "extension"}:
            return {"extension": absent}
        document = is_document_identifier(lineage)
        result = transform(method, code, value, self.tables, place.context.namer, document)
        if result is None:
            if code == "Identifier" and not lacks_value(value):
                return facts.masked_complex(code, value) | opened
            if code == "Identifier":
                return opened or None
            return facts.masked_complex(code, value) | opened
        assert isinstance(result, dict)
        if code in facts.QUANTITIES:
            coded = {k: v for k, v in result.items() if k in ("system", "code")}
            judged = {**value, "value": result["value"]}
            banded = self.aged(kind, parent, prop, judged, place)
            years = {"system": UCUM, "code": "a"} if coded else {}
            result = {**banded, **years} if isinstance(banded, dict) else result
            if not self.listed(result.get("system")):
                result = {k: v for k, v in result.items() if k not in ("system", "code")}
        return opened | result

    def kept(
        self,
        kind: str,
        parent: dict[str, Json],
        prop: Prop,
        value: dict[str, Json],
        decision: Decision,
        lineage: Lineage | None,
        place: Place,
    ) -> dict[str, Json] | None:
        """A complex item under ``keep``."""
        code = prop.code
        if (
            code == "Reference"
            and isinstance(value.get("reference"), str)
            and self.show_reference(value, place) is None
        ):
            return None
        identifying = code in facts.IDENTIFYING or code == "Coding"
        if decision.origin in ("cover-path", "cover-type"):
            state = State(decision.origin, KEEP)
        elif identifying and decision.origin in ("path", "type", "member"):
            state = State("cover-path" if decision.origin == "path" else "cover-type", KEEP)
        else:
            state = State("keep", KEEP)
        out: dict[str, Json] = {}
        with_value = bool(set(value) - {"id", "extension"})
        for key in value:  # in source order, for the numbers of contained resources
            if key == "extension":
                extensions = self.extensions(value[key], "top", place, dar=not with_value)
                if extensions:
                    out["extension"] = extensions
        out |= self.children(code, value, state, lineage, place)
        if code == "Reference" and isinstance(value.get("reference"), str):
            out["reference"] = self.show_reference(value, place)
        if "modifierExtension" in facts.props(code):
            modifiers = self.extensions(value.get("modifierExtension"), "top", place)
            if modifiers:
                out["modifierExtension"] = modifiers
        banded = self.aged(kind, parent, prop, value, place)
        if isinstance(banded, dict):
            out = self.band(code, banded, out, value, state, lineage, place)
        if code in facts.QUANTITIES and "code" in value and "code" not in out:
            out.pop("system", None)
        if "extension" in out and not with_value:
            return out
        self.complete(code, value, out, state, lineage, place)
        return out or None

    def complete(
        self,
        kind: str,
        value: dict[str, Json],
        out: dict[str, Json],
        state: State,
        lineage: Lineage | None,
        place: Place,
    ) -> None:
        """Add what must be there to ``out``, in place: where the rule hides it, or had been."""
        for prop in facts.props(kind).values():
            if not self.required(kind, value, prop):
                continue
            if {prop.name, "_" + prop.name} & set(out) or prop.code == "Resource":
                continue
            if kind == "Bundle" and prop.name in ("link", "entry"):
                continue
            had = value.get(prop.name) is not None or value.get("_" + prop.name) is not None
            if not had and (prop.choice or prop.code == "Identifier"):
                continue
            if had or self.hides(kind, prop, state, lineage, place.context):
                out |= self.legal(kind, value, prop, out, lineage, place)
        if kind in facts.ONE_OF:
            several, one = facts.ONE_OF[kind]
            prop = facts.props(kind)[one]
            if not ({x for n in several for x in (n, "_" + n)} & set(out)):
                had = any(value.get(n) or value.get("_" + n) for n in several)
                if had or self.hides(kind, prop, state, lineage, place.context):
                    out |= facts.masked_property(prop)

    def hides(
        self,
        kind: str,
        prop: Prop,
        state: State,
        lineage: Lineage | None,
        context: Context,
    ) -> bool:
        """Whether the rule, not the data, hides the property: with no predicate selecting."""
        at = extend(lineage, prop, None)
        listed = {"system": (self.policy.codes or ("",))[0], "code": "x"}
        decision = self.decide(kind, listed, prop, listed, state, at, context, judge=False)
        if decision.shows:
            return False
        if decision.origin in ("type", "none") and any(
            key.startswith(facts.line_type(prop.code) + ".") for key in self.policy.datatypes
        ):
            return False
        return at is None or not any(
            len(r.steps) > len(at) and names_prefix(r, at) for r in self.policy.elements
        )

    def legal(
        self,
        kind: str,
        value: dict[str, Json],
        prop: Prop,
        out: dict[str, Json],
        lineage: Lineage | None,
        place: Place,
    ) -> dict[str, Json]:
        """The property as it stands where it is required and hidden."""
        if prop.code == "Identifier":
            stored = value.get(prop.name)
            first = (stored[0] if stored else None) if isinstance(stored, list) else stored
            document = is_document_identifier(extend(lineage, prop, first))
            if isinstance(first, dict):
                shown = transform(
                    Method("pseudonymize"),
                    "Identifier",
                    first,
                    self.tables,
                    place.context.namer,
                    document,
                )
                if shown is not None:
                    return {prop.name: [shown] if prop.many else shown}
        if (kind, prop.name) == ("Composition", "title"):
            return {"title": self.own_title(out)}
        return facts.masked_property(prop, value.get(prop.name))

    def title(
        self,
        value: dict[str, Json],
        out: dict[str, Json],
        state: State,
        lineage: Lineage | None,
        place: Place,
    ) -> None:
        """A masked title shows our name for the document's type."""
        prop = facts.props("Composition")["title"]
        at = extend(lineage, prop, value.get("title"))
        decision = self.decide(
            "Composition", value, prop, value.get("title"), state, at, place.context
        )
        if out["title"] == "masked" and not (decision.keeps and value.get("title") == "masked"):
            out["title"] = self.own_title(out)

    def own_title(self, out: dict[str, Json]) -> str:
        for coding in as_list((out.get("type") or {}).get("coding")):
            if (
                coding.get("system") == "http://loinc.org"
                and coding.get("code") in self.tables.titles
            ):
                return self.tables.titles[coding["code"]]
        return "masked"

    def required(self, kind: str, value: Json, prop: Prop) -> bool:
        if kind == "Bundle" and prop.name in ("identifier", "timestamp"):
            return isinstance(value, dict) and value.get("type") == "document"  # bdl-9, bdl-10
        return prop.element.min > 0

    # --- extensions ---------------------------------------------------------------------------

    def extensions(
        self, source: Json, opened: str | tuple[str, ...], place: Place, dar: bool = False
    ) -> list[Json]:
        """The extensions that show. ``opened``: ``top`` (on an element), ``all`` or the part names
        (inside an extension). ``dar``: the bearer has no value, so its reason may stay."""
        shown = []
        for item in as_list(source):
            result = self.extension(item, opened, place)
            if result is None and dar:
                result = clean_dar(item)
            if result is not None:
                shown.append(result)
        return shown

    def extension(
        self, item: Json, opened: str | tuple[str, ...], place: Place
    ) -> dict[str, Json] | None:
        if not isinstance(item, dict) or not isinstance(item.get("url"), str):
            return None
        url = item["url"]
        absolute = re.match(r"[A-Za-z][A-Za-z0-9+.\-]*:", url) is not None
        if opened == "top" or absolute:
            rule = self.policy.extensions.get(url)
            if rule is None:
                return None
            parts, value = rule.parts, rule.parts is not None and "value[x]" in rule.parts
        elif opened == "all":
            parts, value = None, False
        else:
            value = f"{url}.value[x]" in opened
            if url in opened:
                parts = None
            elif value:
                parts = ()
            else:
                return None
        if self.withheld(item, place):
            return None
        out: dict[str, Json] = {"url": url}
        known = facts.props("Extension")
        no_value = not any(k.lstrip("_") in known and k.lstrip("_")[:5] == "value" for k in item)
        done = set()
        for key in item:
            if key == "extension":
                inner = self.extensions(
                    item[key], "all" if parts is None else parts, place, dar=no_value
                )
                if inner:
                    out["extension"] = inner
            prop = known.get(key.lstrip("_"))
            if prop is None or not prop.choice or prop.name in done:
                continue
            if key[:1] == "_" and not prop.primitive:
                continue
            done.add(prop.name)
            if value:
                out |= self.member("Extension", item, prop, State("cover-path", KEEP), None, place)
            elif parts is None:
                out |= self.member("Extension", item, prop, State("keep", KEEP), None, place)
        return out if len(out) > 1 else None

    def withheld(self, bearer: dict[str, Json], place: Place) -> bool:
        """Whether a modifierExtension withholds what bears it."""
        source = bearer.get("modifierExtension")
        if source is None or source == []:
            return False
        if not isinstance(source, list):
            return True
        trial = Place(
            place.context,
            place.identity,
            quiet(place.bundle),
            Contained(
                place.contained.resources,
                place.contained.shows,
                place.contained.pseudonym,
                dict(place.contained.numbers),
            ),
        )
        return any(self.extension(item, "top", trial) is None for item in source)

    # --- ages ---------------------------------------------------------------------------------

    def aged(
        self, kind: str, parent: dict[str, Json], prop: Prop, value: Json, place: Place
    ) -> Json:
        """What takes the place of an age or birth date of the oldest; None if it is none.

        A dict is a banded complex value; ``remove`` and ``mask`` say what becomes of it.
        """
        oldest = self.policy.ages
        if oldest is None:
            return None
        born = (prop.name == "birthDate" and kind in BORN) or (
            kind == "FamilyMemberHistory" and prop.element.name == "born[x]"
        )
        observed = kind in ("Observation", "Observation.component") and (
            prop.element.name == "value[x]"
        )
        codings = codes_of(parent) if observed else []
        if (observed and prop.code == "dateTime" and BIRTH_DATE in codings) or born:
            return self.born(prop.code, value, oldest, place)
        coded = observed and any(c in self.tables.age_codes for c in codings)
        known = any(isinstance(s, str) and self.listed(s) for s, _ in codings)
        limit = oldest + 1
        if prop.code == "integer" and coded:
            return limit if value >= limit else None
        if prop.code == "string" and coded:
            years = age_of_text(value, self.tables)
            return "mask" if years is None else f"{limit}+" if years >= limit else None
        if prop.code == "Range" and isinstance(value, dict):
            return self.aged_range(value, coded, limit)
        if prop.code == "Age" or (prop.code == "Quantity" and observed):
            always = coded or prop.code == "Age"
            if always or (not known and has_unit(value)):
                years = self.years(value, always)
                if years is not None and years >= limit:
                    return {"value": limit, "comparator": ">="}
        return None

    def years(self, quantity: Json, always: bool) -> Decimal | None:
        if not isinstance(quantity, dict):
            return None
        number = to_number(quantity.get("value"))
        factor = unit_years(quantity, self.tables)
        if factor is None and always and not has_unit(quantity):
            factor = Decimal(1)
        return None if number is None or factor is None else number * factor

    def aged_range(self, value: dict[str, Json], coded: bool, limit: int) -> Json:
        ends = [value.get("low"), value.get("high")]
        timed = any(isinstance(e, dict) and unit_years(e, self.tables) is not None for e in ends)
        if not timed and not coded:
            return None
        low, high = (self.years(e, True) for e in ends)
        if low is not None and low >= limit:
            return {"low": None}
        if high is not None and high >= limit:
            return {"low": value.get("low") if low is not None else None}
        return None

    def born(self, code: str, value: Json, oldest: int, place: Place) -> Json:
        today = place.context.today
        if code == "Period":
            start = value.get("start") if isinstance(value, dict) else None
            end = value.get("end") if isinstance(value, dict) else None
            years = years_since("dateTime", start if start is not None else end, today)
        elif code == "string":
            years = years_since("dateTime", value, today)
        else:
            years = years_since(code, value, today)
            if years is None:
                return None
        return "remove" if years is None or years > oldest else None

    def band(
        self,
        code: str,
        banded: dict[str, Json],
        out: dict[str, Json],
        value: dict[str, Json],
        state: State,
        lineage: Lineage | None,
        place: Place,
    ) -> dict[str, Json]:
        """The shown form of a banded Quantity, Age or Range."""
        if code == "Range":
            kept = {k: v for k, v in out.items() if k != "high"}
            if banded["low"] is None:
                prop = facts.props("Range")["low"]
                at = extend(lineage, prop, value.get("low"))
                kept["low"] = {
                    k: v
                    for k, v in self.banded_quantity(
                        "Quantity", State("keep", KEEP), at, place
                    ).items()
                    if k != "comparator"
                }
            return kept
        extensions = {k: v for k, v in out.items() if k == "extension"}
        return extensions | self.banded_quantity(code, state, lineage, place)

    def banded_quantity(
        self, code: str, state: State, lineage: Lineage | None, place: Place
    ) -> dict[str, Json]:
        known = facts.props(code)
        oldest = self.policy.ages
        assert oldest is not None
        ucum = {"system": UCUM, "code": "a"}

        def keeps(name: str) -> bool:
            at = extend(lineage, known[name], None)
            return self.decide(code, ucum, known[name], "x", state, at, place.context).keeps

        out: dict[str, Json] = {"value": oldest + 1, "comparator": ">="}
        if keeps("unit"):
            out["unit"] = "years"
        if keeps("code"):
            out |= ucum
        return out

    # --- names --------------------------------------------------------------------------------

    def type_shows(self, value: Json) -> bool:
        name = value.rpartition("/")[2] if isinstance(value, str) else ""
        return self.shows_type(name) if is_type(name) else True

    def show_reference(self, source: dict[str, Json], place: Place) -> str | None:
        """The shown text of a literal reference; None if what it names does not show."""
        text, context = source["reference"], place.context
        if not isinstance(text, str):
            return None
        if text == "#":
            place.names_container = True
            return text
        if text.startswith("#"):
            return place.contained.show(text[1:])
        identity = identify(text, place.base, context)
        if identity is None:
            return None
        for scope in place.bundle.around() if place.bundle else ():
            if identity in scope.identities:
                index = scope.identities.index(identity)
                if index in scope.hidden:
                    return None
                scope.edges.setdefault(scope.at, set()).add(index)
                return self.name(identity, scope.entry_type(index), context)
        if upstream := upstream_id(identity, context):
            if not is_type(upstream[0]) or not self.shows_type(upstream[0]):
                return None
            return self.name(identity, upstream[0], context)
        parts = split(identity)
        if parts and is_type(parts[1]):
            return self.name(identity, parts[1], context) if self.shows_type(parts[1]) else None
        declared = source.get("type")
        if isinstance(declared, str) and is_type(declared) and not self.shows_type(declared):
            return None
        return context.namer.show_uri(identity)

    def name(self, identity: str, kind: str, context: Context) -> str:
        if upstream := upstream_id(identity, context):
            return f"{upstream[0]}/{self.show_id(*upstream, context)}"
        if not self.pseudonymous(kind):
            return identity
        return context.namer.show_uri(identity)

    def canonical(self, text: str, place: Place) -> str | None:
        """A canonical below the upstream's base, moved to ours; None if its type does not show."""
        url, bar, version = text.partition("|")
        for base in place.context.bases:
            if url.startswith(base + "/"):
                parts = split(url)
                if parts is None or not is_type(parts[1]) or not self.shows_type(parts[1]):
                    return None
                shown = self.show_id(parts[1], parts[2], place.context)
                return f"{place.context.public}/{parts[1]}/{shown}{bar}{version}"
        return text

    # --- Bundles ------------------------------------------------------------------------------

    def bundle_members(self, bundle: Json, out: dict[str, Json], place: Place) -> None:
        """Links and entries of a Bundle, into ``out``."""
        context = place.context
        lineage = (Step("Bundle", "Bundle", "Bundle", bundle),)
        links = [
            shown for link in as_list(bundle.get("link")) if (shown := self.link(link, context))
        ]
        if links:
            out["link"] = links
        scope = bundle_scope(bundle, place.identity, place.bundle, context)
        prop = facts.props("Bundle")["entry"]
        for index, entry in enumerate(scope.entries):
            at = extend(lineage, prop, entry)
            if (
                self.effective(at or lineage, context, True).name != "keep"
                or not self.shows_resource(entry.get("resource"), context)
                or self.withheld(entry, nowhere(context))
            ):
                scope.hidden.add(index)
        while True:
            if place.bundle is not None:
                place.bundle.edges.pop(place.bundle.at, None)
            scope.edges.clear()
            shown_entries = {
                index: self.entry(entry, index, scope, context)
                for index, entry in enumerate(scope.entries)
                if index not in scope.hidden
            }
            gone = {index for index, entry in shown_entries.items() if entry is None}
            if bundle.get("type") == "document":
                stored, now = self.stored_edges(scope, context), scope.edges
                lost = reach(stored) - reach(now)
                lost |= reach(both_ways(stored)) - reach(both_ways(now))
                gone |= lost - scope.hidden
            if not gone:
                break
            scope.hidden |= gone
        entries = [entry for entry in shown_entries.values() if entry]
        if entries:
            out["entry"] = entries

    def stored_edges(self, scope: BundleScope, context: Context) -> dict[int, set[int]]:
        edges: dict[int, set[int]] = {}
        for index, entry in enumerate(scope.entries):
            base = (split(scope.identities[index]) or ("",))[0] or context.bases[0]
            for text in references(entry.get("resource")):
                identity = identify(text, base, context)
                if identity in scope.identities:
                    edges.setdefault(index, set()).add(scope.identities.index(identity))
        return edges

    def entry(
        self, entry: Json, index: int, scope: BundleScope, context: Context
    ) -> dict[str, Json] | None:
        resource, identity = entry["resource"], scope.identities[index]
        kind = resource["resourceType"]
        scope.at = index
        stored = entry.get("fullUrl")
        real = resource.get("id")
        if upstream := upstream_id(identity, context):
            shown_id: str | None = self.show_id(*upstream, context)
            full: str | None = f"{context.public}/{upstream[0]}/{shown_id}"
        elif not self.pseudonymous(kind):
            shown_id = real if isinstance(real, str) else None
            full = stored if isinstance(stored, str) else None
        else:
            full = context.namer.show_uri(identity)
            shown_id = full.removeprefix("urn:uuid:")
        shown = self.resource(resource, identity, shown_id, scope, context)
        if shown is None:
            return None
        out: dict[str, Json] = {}
        if stored is not None and full is not None:
            out["fullUrl"] = full
        out["resource"] = shown
        place = Place(context, identity, scope, nowhere(context).contained)
        if extensions := self.extensions(entry.get("extension"), "top", place):
            out["extension"] = extensions
        if extensions := self.extensions(entry.get("modifierExtension"), "top", place):
            out["modifierExtension"] = extensions
        search = entry.get("search")
        if isinstance(search, dict) and isinstance(search.get("mode"), str):
            out["search"] = {"mode": search["mode"]}
        request = entry.get("request")
        if isinstance(request, dict) and isinstance(request.get("method"), str):
            url = self.request_url(request.get("url"), context) or kind
            out["request"] = {"method": request["method"], "url": url}
        response = entry.get("response")
        if isinstance(response, dict) and isinstance(response.get("status"), str):
            out["response"] = {"status": response["status"]}
            location = response.get("location")
            url = self.request_url(location, context)
            if url and "/" in url:
                out["response"]["location"] = url
        return out

    def request_url(self, text: Json, context: Context) -> str | None:
        if not isinstance(text, str):
            return None
        path = text.split("?")[0]
        if is_type(path):
            return path if self.shows_type(path) else None
        identity = identify(path, context.bases[0], context)
        upstream = upstream_id(identity, context) if identity else None
        if upstream and is_type(upstream[0]) and self.shows_type(upstream[0]):
            return f"{upstream[0]}/{self.show_id(*upstream, context)}"
        return None

    def link(self, link: Json, context: Context) -> dict[str, Json] | None:
        if not isinstance(link, dict) or not isinstance(link.get("relation"), str):
            return None
        text = link.get("url")
        for base in context.bases:
            if isinstance(text, str) and text.startswith(base + "/"):
                url = self.request_url(text[len(base) + 1 :], context)
                if url and "?" not in text:
                    return {"relation": link["relation"], "url": f"{context.public}/{url}"}
        return None


# --- helpers ------------------------------------------------------------------------------------


def names(rule: PathRule, lineage: Lineage) -> bool:
    """Whether the rule's path is the path of the last step."""
    return len(rule.steps) == len(lineage) and names_prefix(rule, lineage)


def names_prefix(rule: PathRule, lineage: Lineage) -> bool:
    return all(r.name in (s.name, s.element) for r, s in zip(rule.steps, lineage, strict=False))


def branches(rule: PathRule) -> int:
    """How many of the rule's steps name a branch where another could name the choice."""
    return sum(not s.name.endswith("[x]") for s in rule.steps)


def selects(rule: PathRule, lineage: Lineage, context: Context) -> bool:
    return all(
        not r.predicate or holds(r.predicate, s, context)
        for r, s in zip(rule.steps, lineage, strict=False)
    )


@lru_cache(maxsize=256)
def compiled(predicate: str) -> Any:
    return fhirpathpy.compile(predicate, models["r4"])


def holds(predicate: str, step: Step, context: Context) -> bool:
    """Whether a predicate is true of the stored element."""
    if step.instance is None:
        return False
    element = plain(step.instance)
    if TYPES[step.type].kind in ("datatype", "backbone"):
        element = ResourceNode.create_node(element, step.type)
    try:
        result = compiled(predicate)(element, {"caller": dict(context.claims)})
    except Exception:  # whatever it raises, it selects nothing
        return False
    return result == [True] and result[0] is True


def plain(value: Json) -> Json:
    """A copy for FHIRPath: exact numbers as Decimals, and values without the siblings that say
    more of them (beside one, fhirpathpy no longer finds the value equal to itself)."""
    if isinstance(value, Fragment):
        return to_number(value)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k[:1] != "_" or value.get(k[1:]) is None}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


def extend(lineage: Lineage | None, prop: Prop, value: Json) -> Lineage | None:
    """The lineage one step on; where the step is defined by contentReference, the target's."""
    if lineage is None:
        return None
    step = Step(prop.name, prop.element.name, prop.code, value)
    return relocate((*lineage, step), prop)


def relocate(lineage: Lineage, prop: Prop) -> Lineage:
    if not prop.element.recursive:
        return lineage
    target = prop.code.split(".")
    if [s.element for s in lineage] == target:
        return lineage
    steps = []
    same = True
    for index, name in enumerate(target[:-1]):
        same = same and index < len(lineage) - 1 and lineage[index].element == name
        instance = lineage[index].instance if same else None
        steps.append(Step(name, name, ".".join(target[: index + 1]), instance))
    return (*steps, Step(target[-1], target[-1], prop.code, lineage[-1].instance))


def is_document_identifier(lineage: Lineage | None) -> bool:
    return lineage is not None and tuple(s.element for s in lineage) in facts.DOCUMENT_IDENTIFIERS


def nowhere(context: Context) -> Place:
    """A place for judging alone: nothing contained, no Bundle around."""
    return Place(context, "", None, Contained({}, lambda r: False, True))


def quiet(scope: BundleScope | None) -> BundleScope | None:
    """The Bundles around, without memory of what is referred to."""
    if scope is None:
        return None
    return BundleScope(
        scope.identity, scope.identities, scope.entries, scope.hidden, quiet(scope.outer)
    )


def reach(edges: dict[int, set[int]]) -> set[int]:
    """The entries that the first one reaches."""
    found, waiting = {0}, [0]
    while waiting:
        for index in edges.get(waiting.pop(), ()):
            if index not in found:
                found.add(index)
                waiting.append(index)
    return found


def both_ways(edges: dict[int, set[int]]) -> dict[int, set[int]]:
    """The same links, each also backwards."""
    found = {index: set(others) for index, others in edges.items()}
    for index, others in edges.items():
        for other in others:
            found.setdefault(other, set()).add(index)
    return found


def references(value: Json) -> Iterator[str]:
    """Every literal reference at any depth of stored data."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def as_list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def clean_dar(extension: Json) -> Json | None:
    return (
        {"url": facts.DAR, "valueCode": extension["valueCode"]} if facts.is_dar(extension) else None
    )


def lacks_value(identifier: dict[str, Json]) -> bool:
    system = identifier.get("system")
    return identifier.get("value") is None and (system is None or isinstance(system, str))


def codes_of(owner: dict[str, Json]) -> list[tuple[Json, Json]]:
    code = owner.get("code")
    return [
        (c.get("system"), c.get("code"))
        for c in as_list(code.get("coding") if isinstance(code, dict) else None)
        if isinstance(c, dict)
        and isinstance(c.get("system"), str | None)
        and isinstance(c.get("code"), str | None)
    ]


def align(value: Json, sibling: Json, many: bool) -> list[tuple[Json, Json]]:
    """Values beside their siblings."""
    if not many:
        return [(value, sibling)]
    values = as_list(value)
    siblings = as_list(sibling)
    size = max(len(values), len(siblings))
    values = values + [None] * (size - len(values))
    siblings = siblings + [None] * (size - len(siblings))
    return list(zip(values, siblings, strict=True))


def join(prop: Prop, pairs: list[tuple[Json, Json]]) -> dict[str, Json]:
    """Pairs of value and sibling as JSON members."""
    if not pairs:
        return {}
    if not prop.many:
        value, beside = pairs[0]
        return ({} if value is None else {prop.name: value}) | (
            {} if beside is None else {"_" + prop.name: beside}
        )
    out: dict[str, Json] = {prop.name: [v for v, _ in pairs]}
    if any(b is not None for _, b in pairs):
        out["_" + prop.name] = [b for _, b in pairs]
    return out
