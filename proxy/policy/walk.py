"""The compiled walk: closures over the R4 definitions, one per type and situation.

A *site* is a type reached with certain nodes of the path tree in a certain mode; its walker is
made once, on first use. No rule is looked up while walking. Values of a JSON type that R4 does not
allow are masked, elements that R4 does not know are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from proxy.fhir.codec import Fragment, Json, JsonObject
from proxy.fhir.fhirpath import predicate
from proxy.fhir.r4 import TYPES
from proxy.fhir.structure import RESOURCES, Property, is_quantity, properties
from proxy.policy import ages, arrays, complexes, primitives
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
    strength,
)
from proxy.policy.extensions import Extensions
from proxy.policy.model import Policy
from proxy.policy.required import DEPENDENT
from proxy.policy.restore import Restore, restorers
from proxy.policy.scope import Contained, Scope

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


PASS = Mode("cover")  # the mode of a type shown whole: nothing inside is judged
_GUARDED = Site("", (), (), Decision(REMOVE, Mode("closed"), None, ""))


class Compiler:
    """Makes walkers for one policy and keeps them."""

    def __init__(self, policy: Policy, tree: Node, shown: frozenset[str]) -> None:
        self.policy = policy
        self.shown = shown
        self.extensions = Extensions(policy, self)
        self.bundles = BundleWalk(self)
        self.nowhere = Scope.nowhere()
        self._tree = tree
        self._walkers: dict[tuple[object, ...], Walker] = {}
        self._predicates: dict[str, Predicate] = {}
        self._plain_sites: dict[str, Site | None] = {}

    # -- resources ------------------------------------------------------------------------------

    def root(self, resource: JsonObject, scope: Scope) -> JsonObject | None:
        """A resource that is answered by itself, under its shown id."""
        type_name, id = resource.get("resourceType"), resource.get("id")
        shown_id = None
        if isinstance(type_name, str) and isinstance(id, str) and id:
            shown_id = scope.show_id(type_name, id)
            scope.url = f"{scope.base}/{type_name}/{id}"
        return self.resource(resource, scope, shown_id)

    def visible(self, resource: JsonObject, claims: Mapping[str, object]) -> bool:
        """Whether the resource shows at all."""
        return self.situation(resource, claims) is not None

    def resource(
        self, resource: JsonObject, scope: Scope, shown_id: str | None, *, contained: bool = False
    ) -> JsonObject | None:
        """Any resource, anew at its own type's lines, under the id given."""
        site = self.situation(resource, scope.claims)
        if site is None:
            return None
        return self.at_site(site, resource, scope, shown_id, contained=contained)

    def at_site(
        self,
        site: Site,
        resource: JsonObject,
        scope: Scope,
        shown_id: str | None,
        *,
        contained: bool = False,
    ) -> JsonObject:
        """The resource as its :meth:`situation` shows it."""
        out: JsonObject = {"resourceType": site.type}
        if shown_id is not None:
            out["id"] = shown_id
        if site.decision.mode == PASS:
            out.update({k: v for k, v in resource.items() if k not in ("resourceType", "id")})
            return out
        if not contained:
            meta = self._meta(resource.get("meta"), scope)
            if meta:
                out["meta"] = meta
        inner = scope.contained if contained else self._contained(resource, scope)
        outer, scope.contained = scope.contained, inner
        try:
            body = self.walker(site)(resource, scope) or {}
            if site.type == "Bundle":
                self.bundles.entries(resource, body, scope)
            out.update(body)
            if inner is not None and not contained:
                shown = self._reveal_contained(inner, scope)
                if shown:
                    out["contained"] = shown
        finally:
            scope.contained = outer
        return out

    def situation(self, resource: JsonObject, claims: Mapping[str, object]) -> Site | None:
        """Where the walk of a resource begins; None if the resource is not shown."""
        type_name = resource.get("resourceType")
        if type(type_name) is not str or type_name not in self._tree.children:
            return None
        site = self._plain_sites.get(type_name, _GUARDED)
        if site is _GUARDED:
            branches = tuple(self._tree.children[type_name].values())
            site = self._begin(type_name, self._selected(branches, resource, claims))
            if not any(n.predicate for n in branches):
                self._plain_sites[type_name] = site
        if site is not None and "modifierExtension" in resource and site.decision.mode != PASS:
            return None if self.extensions.withholds(resource) else site
        return site

    def _begin(self, type_name: str, nodes: Nodes) -> Site | None:
        rules = [n.rule for n in nodes if n.rule is not None and n.guarded] or [
            n.rule for n in nodes if n.rule is not None
        ]
        if not rules or type_name not in RESOURCES:
            return None
        rule = min(rules, key=lambda r: strength(r.method))
        if rule.method.name == "remove":
            return None
        mode = PASS if rule.method.name == "pass" else Mode("keep")
        return Site(
            type_name, nodes, nodes, Decision(rule.method, mode, rule.source, f"path {type_name}")
        )

    def _meta(self, meta: Json, scope: Scope) -> JsonObject:
        shown: JsonObject = {}
        source = meta if isinstance(meta, dict) else {}
        line = self.policy.datatypes.get("Meta.lastUpdated")
        if line is not None and isinstance(source.get("lastUpdated"), str):
            updated = primitives.scalar(line.method, "instant")(source["lastUpdated"], scope)
            if isinstance(updated, str):
                shown["lastUpdated"] = updated
        profiles = source.get("profile")
        if self.policy.profiles and isinstance(profiles, list):
            listed: list[Json] = [p for p in profiles if p in self.policy.profiles]
            if listed:
                shown["profile"] = listed
        if self.policy.labels:
            shown["security"] = [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
                    "code": label,
                }
                for label in self.policy.labels
            ]
        return shown

    def _contained(self, resource: JsonObject, scope: Scope) -> Contained | None:
        items = resource.get("contained")
        if items is None:
            return None
        found: dict[str, JsonObject] = {}
        for item in items if isinstance(items, list) else ():
            id = item.get("id") if isinstance(item, dict) else None
            if isinstance(item, dict) and isinstance(id, str):
                found.setdefault(id, item)
        real = self.policy.ids_default != "pseudonym"
        return Contained(found, lambda r: self.visible(r, scope.claims), real)

    def _reveal_contained(self, contained: Contained, scope: Scope) -> list[Json]:
        shown: dict[str, Json] = {}
        done = 0
        while True:
            while done < len(contained.queue):  # the queue grows while it is worked through
                id = contained.queue[done]
                done += 1
                name = contained.names[id]
                shown[id] = self.resource(contained.resources[id], scope, name, contained=True)
            waiting = [i for i in contained.resources if i not in contained.names]
            if not any(self._names_container(i, contained, scope) for i in waiting):
                return [shown[i] for i in contained.queue if shown[i] is not None]

    def _names_container(self, id: str, contained: Contained, scope: Scope) -> bool:
        """Whether the resource refers to its container (then it stays, dom-3)."""
        names, queue = dict(contained.names), list(contained.queue)
        contained.container_named = False
        self.resource(contained.resources[id], scope, None, contained=True)
        named = contained.container_named
        contained.names, contained.queue[:] = names, queue
        if named:
            contained.refer(id)
            return contained.names.get(id) is not None
        contained.names[id] = None
        return False

    # -- sites ----------------------------------------------------------------------------------

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
            site.document,
        )
        found = self._walkers.get(key)
        if found is None:
            cell: list[Walker] = []

            # A site can contain itself (section.section): it is entered by a forward reference.
            def forward(obj: JsonObject, scope: Scope) -> JsonObject | None:
                return cell[0](obj, scope)

            self._walkers[key] = forward
            cell.append(self._make_walker(site))
            found = self._walkers[key] = cell[0]
        return found

    def _selected(self, nodes: Nodes, value: Json, claims: Mapping[str, object]) -> Nodes:
        return tuple(n for n in nodes if not n.predicate or self.test(n.predicate)(value, claims))

    def test(self, text: str) -> Predicate:
        """The compiled predicate."""
        if text not in self._predicates:
            self._predicates[text] = predicate(text)
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
        if site.type == "Bundle":
            for name in ("entry", "total", "signature", "_total"):
                steps.pop(name, None)
            steps["link"] = self.bundles.links
        # A removed element appears only if something in it is opened and there.
        opened = site.decision.method.name == "remove"
        if steps or not opened:
            restore += restorers(site.type, self, site)
        hooks = ages.hooks(site.type, self.policy)
        if is_quantity(site.type) and site.decision.mode.kind == "keep":
            hooks += complexes.quantity_codes(self.policy)
        for element, stem in DEPENDENT.get(site.type, ()):
            hooks.append(complexes.dependent(element, stem))
        if site.type == "Reference":
            return complexes.reference(self._loop(steps, [], hooks, False), self, site)
        walk = self._loop(steps, restore, hooks, opened)
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
        variants: dict[int, dict[str, Step | type]] = {}
        for mask in range(1 << len(guarded)):
            chosen = tuple(n for n in below if not n.predicate or mask >> guarded.index(n) & 1)
            variant: dict[str, Step | type] = {}
            self._plain_steps(site, prop, chosen, self._decide_at(site, prop, chosen), variant)
            variants[mask] = variant
        tests = [self.test(n.predicate) for n in guarded]
        arrays.guarded_steps(prop, tests, variants, steps)

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
        steps: dict[str, Step | type],
        restore: list[Restore],
        hooks: list[complexes.Hook],
        opened: bool,
    ) -> Walker:
        get = steps.get
        withholds = self.extensions.withholds
        text, truth, whole = str, bool, int

        def walk(obj: JsonObject, scope: Scope) -> JsonObject | None:
            if "modifierExtension" in obj and withholds(obj):
                return None
            out: JsonObject = {}
            for key, value in obj.items():
                step = get(key)
                if step is None:
                    continue
                if step is text or step is truth or step is whole:
                    if type(value) is step:
                        out[key] = value
                    elif value is not None:
                        primitives.mask_malformed(key, value, out)
                elif step is Fragment:
                    if type(value) is Fragment or type(value) is int:
                        out[key] = value
                    elif value is not None:
                        primitives.mask_malformed(key, value, out)
                else:
                    step(obj, key, value, scope, out)
            for hook in hooks:
                hook(obj, out, scope)
            if opened and not out:
                return None
            for put_back in restore:
                put_back(obj, out, scope)
            return out or None

        return walk
