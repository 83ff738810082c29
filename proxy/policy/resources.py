"""Resources, each anew at its own type's lines: meta, ids, what is contained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from proxy.fhir.codec import Json, JsonObject
from proxy.fhir.structure import RESOURCES
from proxy.policy import primitives
from proxy.policy.decide import Decision, Mode, Node, Nodes, strength
from proxy.policy.rows import Rows
from proxy.policy.scope import Contained, Scope

if TYPE_CHECKING:
    from proxy.policy.walk import Compiler, Site, Walker

PASS = Mode("cover")  # the mode of a type shown whole: nothing inside is judged
_LABELS = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"


class Resources:
    """The part of the walk that begins a resource."""

    def __init__(self, compiler: Compiler, tree: Node) -> None:
        self._compiler = compiler
        self._tree = tree
        self.rows = Rows(compiler.policy.rows)
        self._sites: dict[tuple[str, Nodes], Site | None] = {}
        self._plain_sites: dict[str, Site | None] = {}
        self._walkers: dict[tuple[str, Nodes], Walker] = {}
        policy = compiler.policy
        line = policy.datatypes.get("Meta.lastUpdated")
        self._updated = None if line is None else primitives.scalar(line.method, "instant")
        self._profiles = policy.profiles
        self._labels = policy.labels

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
            body = self._walker(site)(resource, scope) or {}
            if site.type == "Bundle":
                self._compiler.bundles.entries(resource, body, scope)
            out.update(body)
            if inner is not None and not contained:
                shown = self._reveal_contained(inner, scope)
                if shown:
                    out["contained"] = shown
        finally:
            scope.contained = outer
        return out

    def _walker(self, site: Site) -> Walker:
        key = (site.type, site.nodes)
        if key not in self._walkers:
            self._walkers[key] = self._compiler.walker(site)
        return self._walkers[key]

    def situation(self, resource: JsonObject, claims: Mapping[str, object]) -> Site | None:
        """Where the walk of a resource begins; None if the resource is not shown."""
        type_name = resource.get("resourceType")
        if type(type_name) is not str or type_name not in self._tree.children:
            return None
        if type_name in self._plain_sites:
            site = self._plain_sites[type_name]
        else:
            branches = tuple(self._tree.children[type_name].values())
            nodes = self._compiler.selected(branches, resource, claims)
            if (type_name, nodes) not in self._sites:
                self._sites[type_name, nodes] = self._begin(type_name, nodes)
            site = self._sites[type_name, nodes]
            if not any(n.predicate for n in branches):
                self._plain_sites[type_name] = site
        if site is None:
            return None
        opaque = "modifierExtension" in resource and site.decision.mode != PASS
        if opaque and self._compiler.extensions.withholds(resource):
            return None
        return site if self.rows.hold(type_name, resource, claims) else None

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
        from proxy.policy.walk import Site

        return Site(
            type_name, nodes, nodes, Decision(rule.method, mode, rule.source, f"path {type_name}")
        )

    def _meta(self, meta: Json, scope: Scope) -> JsonObject:
        shown: JsonObject = {}
        if type(meta) is dict:
            stated, profiles = meta.get("lastUpdated"), meta.get("profile")
            if self._updated is not None and isinstance(stated, str):
                updated = self._updated(stated, scope)
                if isinstance(updated, str):
                    shown["lastUpdated"] = updated
            if self._profiles and isinstance(profiles, list):
                listed: list[Json] = [p for p in profiles if p in self._profiles]
                if listed:
                    shown["profile"] = listed
        if self._labels:
            shown["security"] = [{"system": _LABELS, "code": label} for label in self._labels]
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
        real = self._compiler.policy.ids_default != "pseudonym"
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
