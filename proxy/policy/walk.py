"""The compiled walk: closures over the R4 definitions, one per type and situation.

A *site* is a type reached with certain nodes of the path tree in a certain mode; its walker is
made once, on first use. No rule is looked up while walking. Values of a JSON type that R4 does not
allow are masked, elements that R4 does not know are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from threading import RLock
from typing import NamedTuple

from proxy.ecr.anonymized import ANONYMIZED
from proxy.fhir.codec import Json, JsonObject
from proxy.fhir.r4 import TYPES
from proxy.fhir.structure import RESOURCES, Property, is_quantity, properties
from proxy.policy import ages, arrays, complexes, primitives
from proxy.policy.anonymized import Anonymized
from proxy.policy.bundle import BundleWalk
from proxy.policy.decide import (
    DOCUMENT_REFERENCES,
    REMOVE,
    Decision,
    Mode,
    Node,
    Nodes,
    children,
    decide,
    document_reference,
    member_line,
)
from proxy.policy.extensions import Extensions
from proxy.policy.model import Policy
from proxy.policy.reachability import hides_sections
from proxy.policy.required import DEPENDENT
from proxy.policy.resources import Resources
from proxy.policy.restore import Restore, restorers
from proxy.policy.rows import element_predicate
from proxy.policy.scope import Scope

Step = Callable[[JsonObject, str, Json, Scope, JsonObject], None]
Walker = Callable[[JsonObject, Scope], "JsonObject | None"]
Predicate = Callable[[Json, Mapping[str, object]], bool]


class Site(NamedTuple):
    """A type reached in one situation. ``roots``: the selected nodes of the resource type, at
    which contentReferences start anew."""

    type: str
    nodes: Nodes
    roots: Nodes
    decision: Decision
    document: bool = False  # a Reference to a document, whose identifier is a document's


class Compiler:
    """Makes walkers for one policy and keeps them."""

    def __init__(self, policy: Policy, tree: Node, shown: frozenset[str]) -> None:
        self.policy = policy
        self.shown = shown
        self.anonymized = Anonymized(self) if policy.document == ANONYMIZED else None
        self.extensions = Extensions(policy, self)
        self.resources = Resources(self, tree)
        self.hides_sections = "Composition" in shown and hides_sections(policy)
        self.bundles = BundleWalk(self.resources, self.anonymized, self.hides_sections)
        self.nowhere = Scope.nowhere()
        self._walkers: dict[tuple[object, ...], Walker] = {}
        self._making = RLock()  # long steps run in threads
        self._predicates: dict[str, Predicate] = {}

    def nodes_of(self, parent: str, prop: Property, roots: Nodes, nodes: Nodes) -> Nodes:
        """The tree nodes that may name a property; through a contentReference its target's."""
        if not prop.element.recursive:
            return children(nodes, prop)
        found = roots
        names = prop.type.split(".")[1:]
        for index, name in enumerate(names):
            last = index == len(names) - 1
            found = tuple(
                child
                for node in found
                for child in node.children.get(name, {}).values()
                if last or not child.predicate
            )
        return found

    def decide(self, parent: str, prop: Property, nodes: Nodes, decision: Decision) -> Decision:
        """The rule of a property, the target's or the parent's for a contentReference."""
        if prop.element.recursive and decision.mode.kind == "closed":
            return Decision(REMOVE, Mode("closed"), None, "not below what is hidden")
        return decide(self.policy, parent, prop, nodes, decision.mode)

    def walker(self, site: Site) -> Walker:
        """The walker of a site."""
        mode = site.decision.mode
        key = (
            site.type,
            tuple(map(id, site.nodes)),
            tuple(map(id, site.roots)),
            mode,
            site.decision.method.name == "remove",
            site.document,
        )
        found = self._walkers.get(key)
        return self._make_once(key, site) if found is None else found

    def _make_once(self, key: tuple[object, ...], site: Site) -> Walker:
        with self._making:
            found = self._walkers.get(key)
            if found is not None:
                return found
            cell: list[Walker] = []

            # A site can contain itself (section.section): it is entered by a forward reference.
            def forward(obj: JsonObject, scope: Scope) -> JsonObject | None:
                if not cell:
                    with self._making:  # another thread is not yet done with what lies below
                        pass
                return cell[0](obj, scope)

            self._walkers[key] = forward
            cell.append(self._make_walker(site))
            self._walkers[key] = cell[0]
            return cell[0]

    def selected(self, nodes: Nodes, value: Json, claims: Mapping[str, object]) -> Nodes:
        return tuple(n for n in nodes if not n.predicate or self.test(n.predicate)(value, claims))

    def test(self, text: str) -> Predicate:
        """The compiled predicate."""
        if text not in self._predicates:
            self._predicates[text] = element_predicate(text)
        return self._predicates[text]

    def _make_walker(self, site: Site) -> Walker:
        steps: dict[str, Step | type] = {}
        restore: list[Restore] = []
        for prop in properties(site.type).values():
            self._add_steps(site, prop, steps, restore)
        if site.type in RESOURCES:
            for name in ("meta", "contained"):
                steps.pop(name, None)
        steps.pop("id", None)
        steps.pop("_id", None)
        if site.type == "Extension":  # its url and what stands inside it: policy.extensions
            steps = {k: s for k, s in steps.items() if k.startswith(("value", "_value"))}
        if site.type == "Bundle":
            for name in ("entry", "total", "signature", "_total"):
                steps.pop(name, None)
            steps["link"] = self.bundles.links
        # A removed element appears only if something in it is opened and there.
        opened = site.decision.method.name == "remove"
        if steps or not opened:
            restore += restorers(site.type, self, site)
        hooks: list[complexes.Hook] = []
        if is_quantity(site.type) and site.decision.mode.kind == "keep":
            hooks += complexes.quantity_codes(self.policy)
        hooks += ages.hooks(site.type, self.policy)
        if self.resources.persons is not None:
            hooks += self.resources.persons.hooks(site.type)
        if self.anonymized is not None:
            hooks += self.anonymized.hooks(site.type)
        for element, stem in DEPENDENT.get(site.type, ()):
            hooks.append(complexes.dependent(element, stem))
        if site.type == "Reference":
            walk = self._loop(site, steps, [], hooks, False)
            return complexes.reference(walk, frozenset(steps), self, site)
        walk = self._loop(site, steps, restore, hooks, opened)
        if site.type == "Coding" and site.decision.mode.kind == "keep":
            return complexes.coding(walk, self, site)
        return walk

    def _add_steps(
        self, site: Site, prop: Property, steps: dict[str, Step | type], restore: list[Restore]
    ) -> None:
        if prop.name in ("extension", "modifierExtension") and prop.type == "Extension":
            if site.decision.mode.kind != "closed":
                steps[prop.name] = self.extensions.step(prop.name)
            return
        below = self.nodes_of(site.type, prop, site.roots, site.nodes)
        guarded = [n for n in below if n.predicate]
        plain = tuple(n for n in below if not n.predicate)
        decision = self._decide_at(site, prop, plain)
        if not guarded:
            self._plain_steps(site, prop, plain, decision, steps)
            return

        @cache  # made when first met: of many predicates hardly any combination occurs
        def variant(mask: int) -> Mapping[str, Step | type]:
            chosen = tuple(n for n in below if not n.predicate or mask >> guarded.index(n) & 1)
            found: dict[str, Step | type] = {}
            self._plain_steps(site, prop, chosen, self._decide_at(site, prop, chosen), found)
            return found

        tests = [self.test(n.predicate) for n in guarded]
        arrays.guarded_steps(prop, tests, variant, steps)

    def _decide_at(self, site: Site, prop: Property, nodes: Nodes) -> Decision:
        decision = self.decide(site.type, prop, nodes, site.decision)
        if site.document and prop.name == "identifier" and not any(n.rule for n in nodes):
            return document_reference(self.policy)
        return decision

    def _plain_steps(
        self,
        site: Site,
        prop: Property,
        nodes: Nodes,
        decision: Decision,
        steps: dict[str, Step | type],
    ) -> None:
        if prop.primitive:
            primitives.add_steps(site, prop, decision, self, steps)
            return
        item = self.item(site, prop, nodes, decision)
        if item is not None:
            steps[prop.name] = arrays.complex_step(prop, item)

    def item(
        self, site: Site, prop: Property, nodes: Nodes, decision: Decision
    ) -> complexes.Item | None:
        """What one item of a complex property becomes; None if nothing of it can show."""
        document = (site.type, prop.name) in DOCUMENT_REFERENCES
        inner = Site(prop.type, nodes, site.roots, decision, document)
        opens = bool(nodes) or self._members_open(prop.type, decision.mode)
        return complexes.make_item(self, site, prop, inner, opens)

    def _members_open(self, type_name: str, mode: Mode) -> bool:
        if mode.kind != "closed" or not mode.origin or TYPES[type_name].kind != "datatype":
            return False
        found = [
            member_line(self.policy.datatypes, type_name, p) for p in properties(type_name).values()
        ]
        return any(line is not None and line.method.name != "remove" for line in found)

    def _loop(
        self,
        site: Site,
        steps: dict[str, Step | type],
        restore: list[Restore],
        hooks: list[complexes.Hook],
        opened: bool,
    ) -> Walker:
        # What R4 knows and the rules hide stands there too, so that hardly any key is missing.
        known: dict[str, Step | type | None] = dict.fromkeys(_names(site.type))
        known.update(steps)
        withholds = self.extensions.withholds
        bears = "modifierExtension" in properties(site.type)
        text, formed = str, primitives.Formed

        def walk(obj: JsonObject, scope: Scope) -> JsonObject | None:
            if "modifierExtension" in obj and withholds(obj, bears=bears):
                return None
            out: JsonObject = {}
            for key, value in obj.items():
                try:
                    step = known[key]
                except KeyError:
                    continue
                if step is text:  # a kept string, by far the most frequent
                    if type(value) is text:
                        out[key] = value
                    elif value is not None:
                        primitives.mask_malformed(key, value, out)
                elif step is None:
                    continue
                elif type(step) is formed and type(value) is text and value in step:
                    out[key] = value
                else:
                    step(obj, key, value, scope, out)
            return out or None

        if not (hooks or restore):
            return walk

        def walk_and_mend(obj: JsonObject, scope: Scope) -> JsonObject | None:
            if "modifierExtension" in obj and withholds(obj, bears=bears):
                return None
            out = walk(obj, scope) or {}
            for hook in hooks:
                hook(obj, out, scope)
            if opened and not out:
                return None
            for name, beside, put_back in restore:
                if name not in out and beside not in out:
                    put_back(obj, out, scope)
            return out or None

        return walk_and_mend


def _names(type_name: str) -> Iterator[str]:
    """Every name that a member of an object of the type has in JSON."""
    yield from ("resourceType", "id")
    for name in properties(type_name):
        yield from (name, "_" + name)
