"""Which rule an element takes: the oracle's reading of "How a value finds its rule"."""

from __future__ import annotations

from dataclasses import dataclass
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
from tests.oracle_scope import Context
from tests.oracle_values import Tables, to_number

KEEP, REMOVE = Method("keep"), Method("remove")
REFERENCE_MEMBERS = frozenset({("Reference", "type"), ("Reference", "reference")})


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


class Rules:
    """The rules of one policy."""

    def __init__(self, policy: Policy, tables: Tables | None = None) -> None:
        self.policy = policy
        self.tables = tables or Tables()

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
        return isinstance(system, str) and any(facts.is_under(system, e) for e in self.policy.codes)

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
