"""Resources, each anew at its own type's lines: meta, ids, what is contained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from proxy.fhir.codec import Json, JsonObject
from proxy.fhir.structure import RESOURCES
from proxy.lenses.table import narrate
from proxy.policy import primitives
from proxy.policy.decide import Decision, Mode, Node, Nodes, strength
from proxy.policy.persons import Persons
from proxy.policy.rows import Rows
from proxy.policy.scope import Contained, Scope

if TYPE_CHECKING:
    from proxy.policy.walk import Compiler, Walker

_LABELS = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"


class Start(NamedTuple):
    """How a resource of a type is walked. ``walk``: None where the type is shown whole: nothing
    inside is judged."""

    type: str
    walk: Walker | None


_GUARDED = Start("", None)  # stands for a type that must be judged one by one


class Resources:
    """The part of the walk that begins a resource."""

    def __init__(self, compiler: Compiler, tree: Node) -> None:
        self._compiler = compiler
        self._tree = tree
        self.rows = Rows(compiler.policy.rows)
        self._starts: dict[tuple[str, Nodes], Start | None] = {}
        self._plain: dict[str, Start | None] = {}  # of types without a predicate
        policy = compiler.policy
        line = policy.datatypes.get("Meta.lastUpdated")
        self._updated = None if line is None else primitives.scalar(line.method, "instant")
        self.persons = Persons.of(policy)
        self._profiles = policy.profiles
        self._labels = policy.labels
        self._narrates = any(m.name == "narrative" and m.param("from") for m in policy.methods)
        self._requires = frozenset(policy.requires)

    def root(self, resource: JsonObject, scope: Scope) -> JsonObject | None:
        """A resource that is answered by itself, under its shown id."""
        type_name, id = resource.get("resourceType"), resource.get("id")
        shown_id = None
        if isinstance(type_name, str) and isinstance(id, str) and id:
            shown_id = scope.show_id(type_name, id)
            scope.url = f"{scope.base}/{type_name}/{id}"
        return self.resource(resource, scope, shown_id)

    def entries(self, bundle: JsonObject, scope: Scope) -> list[Json]:
        """The entries of a Bundle as they show together, whether or not it shows itself."""
        out: JsonObject = {}
        scope.url = f"{scope.base}/Bundle/{bundle.get('id')}"
        state = self.persons.enter(bundle, scope, contained=False) if self.persons else None
        self._compiler.bundles.entries(bundle, out, scope)
        if self.persons is not None and state is not None:
            self.persons.leave(state, scope)
        entries = out.get("entry")
        return entries if isinstance(entries, list) else []

    def inside(self, resource: JsonObject, scope: Scope) -> JsonObject | None:
        """A resource that is the value of an element (of Parameters), under its shown id."""
        outer = scope.url
        try:
            return self.root(resource, scope)
        finally:
            scope.url = outer

    def visible(
        self, resource: JsonObject, claims: Mapping[str, object], *, contained: bool = False
    ) -> bool:
        """Whether the resource shows at all."""
        return self.start(resource, claims, contained=contained) is not None

    def limits(self, type_name: str) -> bool:
        """Whether it depends on more than the type's line which resources of the type exist."""
        return bool(self._requires) or self.rows.limits(type_name)

    def resource(
        self, resource: JsonObject, scope: Scope, shown_id: str | None, *, contained: bool = False
    ) -> JsonObject | None:
        """Any resource, anew at its own type's lines, under the id given."""
        start = self.start(resource, scope.claims, contained=contained)
        if start is None:
            return None
        return self.walk(start, resource, scope, shown_id, contained=contained)

    def walk(
        self,
        start: Start,
        resource: JsonObject,
        scope: Scope,
        shown_id: str | None,
        *,
        contained: bool = False,
    ) -> JsonObject:
        """The resource as its :meth:`start` shows it."""
        out: JsonObject = {"resourceType": start.type}
        if shown_id is not None:
            out["id"] = shown_id
        if start.walk is None:
            out.update({k: v for k, v in resource.items() if k not in ("resourceType", "id")})
            return out
        persons, outer, part = self.persons, scope.contained, scope.part
        state = persons.enter(resource, scope, contained=contained) if persons else None
        inner = outer
        if not contained:
            scope.part = ""
            meta = self.meta(resource.get("meta"), scope)
            if meta:
                out["meta"] = meta
            inner = self._contained(resource, scope) if "contained" in resource else None
        scope.contained = inner
        try:
            body = start.walk(resource, scope) or {}
            if start.type == "Bundle":
                self._compiler.bundles.entries(resource, body, scope)
            out.update(body)
            if inner is not None and not contained:
                shown = self._reveal_contained(inner, scope)
                if shown:
                    out["contained"] = shown
        finally:
            scope.contained, scope.part = outer, part
            if persons is not None and state is not None:
                persons.leave(state, scope)
        if self._narrates:
            narrate(out)
        return out

    def start(
        self, resource: JsonObject, claims: Mapping[str, object], *, contained: bool = False
    ) -> Start | None:
        """Where the walk of a resource begins; None if the resource is not shown."""
        type_name = resource.get("resourceType")
        if type(type_name) is not str:
            return None
        start = self._plain.get(type_name, _GUARDED)
        if start is _GUARDED:
            start = self._find(type_name, resource, claims)
        if start is None:
            return None
        if contained and start.walk is None:
            return None  # what passes as stored is public by itself, not as a part of a person's
        opaque = "modifierExtension" in resource and start.walk is not None
        if opaque and self._compiler.extensions.withholds(resource):
            return None
        # What is contained has no labels (R4, dom-5): those of its container count.
        free = not self._requires or contained or start.walk is None
        if not (free or self._requires <= _labels(resource)):
            return None
        return start if self.rows.hold(type_name, resource, claims) else None

    def _find(
        self, type_name: str, resource: JsonObject, claims: Mapping[str, object]
    ) -> Start | None:
        branches = tuple(self._tree.children.get(type_name, {}).values())
        nodes = self._compiler.selected(branches, resource, claims)
        if not nodes:
            return None
        key = (type_name, nodes)
        if key not in self._starts:
            self._starts[key] = self._begin(type_name, nodes)
        if not any(n.predicate for n in branches):
            self._plain[type_name] = self._starts[key]
        return self._starts[key]

    def _begin(self, type_name: str, nodes: Nodes) -> Start | None:
        rules = [n.rule for n in nodes if n.rule is not None and n.guarded] or [
            n.rule for n in nodes if n.rule is not None
        ]
        if not rules or type_name not in RESOURCES:
            return None
        rule = min(rules, key=lambda r: strength(r.method))
        if rule.method.name == "remove":
            return None
        if rule.method.name == "pass":
            return Start(type_name, None)
        from proxy.policy.walk import Site

        decision = Decision(rule.method, Mode("keep"), rule.source, f"path {type_name}")
        return Start(type_name, self._compiler.walker(Site(type_name, nodes, nodes, decision)))

    def meta(self, meta: Json, scope: Scope) -> JsonObject:
        """The meta that is shown of a resource whose own is ``meta``."""
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
        return Contained(found, lambda r: self.visible(r, scope.claims, contained=True), real)

    def _reveal_contained(self, contained: Contained, scope: Scope) -> list[Json]:
        shown: dict[str, Json] = {}
        done = 0
        while True:
            while done < len(contained.queue):  # the queue grows while it is worked through
                id = contained.queue[done]
                done += 1
                name, scope.part = contained.names[id], id
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


def _labels(resource: JsonObject) -> set[Json]:
    """The codes of a resource's security labels that say what was done to it."""
    meta = resource.get("meta")
    held = meta.get("security") if isinstance(meta, dict) else None
    return {
        code
        for label in (held if isinstance(held, list) else ())
        if isinstance(label, dict) and label.get("system") == _LABELS
        if isinstance(code := label.get("code"), str)
    }
