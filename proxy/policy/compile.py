"""A policy compiled: for every element a lens, for every type one walk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from proxy.ecr.anonymized import MADE_ANEW
from proxy.fhir.codec import Json, JsonObject, decode, encode
from proxy.fhir.structure import RESOURCES, Property, properties
from proxy.lenses import method as lens_method
from proxy.policy.decide import (
    KEEP,
    Decision,
    Mode,
    Nodes,
    path_tree,
    strength,
)
from proxy.policy.model import Method, Policy, Source
from proxy.policy.persons import Persons
from proxy.policy.scope import Scope
from proxy.policy.walk import Compiler

LensKind = Literal["keep", "hidden", "pseudonym", "coarse"]


@dataclass(frozen=True, slots=True)
class Lens:
    """How one element is shown, without its predicates: the least that any of them leaves.

    ``kind``: ``keep`` (as stored), ``coarse`` (generalized), ``pseudonym``, ``hidden``.
    ``source``: the policy line that decides, None for a default; ``why`` says it in words.
    """

    kind: LensKind
    method: Method
    why: str
    source: Source | None


class View:
    """What one kind of caller sees; immutable once made, shared by all requests."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.name = policy.name
        self.digest = policy.digest
        self.identity = policy.identity
        self._root = path_tree(policy.elements)
        self._types = {t: self._type_rule(t, self._plain(t)) for t in sorted(RESOURCES)}
        self._shown = frozenset(t for t, m in self._types.items() if m.name in ("keep", "pass"))
        self._compiler = Compiler(policy, self._root, self._shown)
        self._lenses: dict[str, Lens] = {}

    def shows(self, type_name: str) -> bool:
        """Whether resources of the type are shown at all (by the rule without predicate)."""
        return self.identity or type_name in self._shown

    def passes(self, type_name: str) -> bool:
        """Whether resources of the type are shown whole, as stored."""
        return self.identity or self._types.get(type_name, KEEP).name == "pass"

    def pseudonym(self, type_name: str) -> bool:
        """Whether ids of the type are pseudonyms."""
        if self.identity:
            return False
        return self.policy.ids.get(type_name, self.policy.ids_default) == "pseudonym"

    def reveal(self, resource: JsonObject, scope: Scope) -> JsonObject | None:
        """The resource as this view shows it; None if it is not shown (type hidden, withheld by a
        modifierExtension, or a row rule does not hold). The input is untouched; its id becomes
        the shown one."""
        if self.identity:
            return resource
        return self._compiler.resources.root(resource, scope)

    def reveal_entries(self, bundle: JsonObject, scope: Scope) -> list[Json]:
        """The entries of a Bundle as they show in it, whether or not the view shows the Bundle
        itself: what a document is made of. Not for the identity view."""
        return self._compiler.resources.entries(bundle, scope)

    @property
    def shows_together(self) -> bool:
        """Whether a resource may show otherwise in a document than by itself: documents have a
        profile, or all of one is about the persons of its Composition."""
        return bool(self.policy.document) or self.persons is not None

    def reveal_bytes(self, body: bytes, scope: Scope) -> bytes | None:
        """:meth:`reveal` over bytes; raises CodecError for what is not JSON."""
        resource = decode(body)
        shown = self.reveal(resource, scope) if isinstance(resource, dict) else None
        return None if shown is None else encode(shown)

    def visible(self, resource: Json, claims: Mapping[str, object]) -> bool:
        """Whether :meth:`reveal` would show the resource, without making what it shows."""
        if not isinstance(resource, dict):
            return False
        return self.identity or self._compiler.resources.visible(resource, claims)

    @property
    def persons(self) -> Persons | None:
        """Whose dates resources hold, if the view shifts dates."""
        return self._compiler.resources.persons

    @property
    def has_companions(self) -> bool:
        """Whether :meth:`reveal` looks for stored Patients beside the resource."""
        return self.persons is not None and self.persons.has_companions

    @property
    def scrubs(self) -> bool:
        """Whether any text is scrubbed."""
        return self.persons is not None and self.persons.scrubs

    def companions(self, resource: JsonObject, scope: Scope) -> set[str]:
        """Absolute URLs of the stored Patients that :meth:`reveal` would look for in the scope's
        companions, and does not find there."""
        if self.persons is None or not self.persons.has_companions:
            return set()
        type_name, id = resource.get("resourceType"), resource.get("id")
        scope.url = f"{scope.base}/{type_name}/{id}"
        self.persons.survey(resource, scope)
        return scope.missing

    def limits(self, type_name: str) -> bool:
        """Whether a row rule stands on resources of the type, or they need a label to exist."""
        return not self.identity and self._compiler.resources.limits(type_name)

    @property
    def hides_sections(self) -> bool:
        """Whether this view can hide a section of a Composition, or the entries of one, and so the
        resources that nothing else of the report reaches."""
        return self._compiler.hides_sections

    def row_form(
        self, type_name: str, claims: Mapping[str, object]
    ) -> tuple[tuple[str, str], ...] | None:
        """What a search of the type asks upstream beside its own conditions, by its row rules;
        None if no resource of the type exists for a caller with these claims."""
        if self.identity:
            return ()
        return self._compiler.resources.rows.form(type_name, claims)

    def lens(self, path: str) -> Lens:
        """The lens of an element by its canonical path (``Observation.valueQuantity.value``).

        A choice spelled ``value[x]`` takes the least of its branches. Raises KeyError for a path
        that R4 does not know.
        """
        if path not in self._lenses:
            self._lenses[path] = self._made_anew(self._find(path), path)
        return self._lenses[path]

    def _made_anew(self, lens: Lens, path: str) -> Lens:
        """The lens where documents have a profile: what such a document has anew shows nothing of
        what is stored."""
        if self.policy.document and ".".join(path.split(".")[:2]) in MADE_ANEW:
            why = "an anonymized document has it anew"
            return Lens("hidden", Method("remove"), why, self.policy.sources.get("document"))
        return lens

    def _plain(self, type_name: str) -> Nodes:
        return tuple(n for n in self._root.children.get(type_name, {}).values() if not n.guarded)

    def _type_rule(self, type_name: str, nodes: Nodes) -> Method:
        rules = [n.rule for n in nodes if n.rule is not None]
        return rules[0].method if rules else Method("remove")

    def _find(self, path: str) -> Lens:
        type_name, *names = path.split(".")
        if type_name not in RESOURCES:
            raise KeyError(path)
        if self.identity or self.passes(type_name):
            for _ in self._places(type_name, names):
                pass
            return Lens("keep", Method("pass"), "shown as stored", None)
        rule = self._types[type_name]
        if rule.name == "remove":
            return Lens("hidden", rule, f"{type_name} is not shown", None)
        found = [
            self._lens_at(place, names)
            for nodes in (self._plain(type_name), self._all(type_name))
            for place in [(type_name, nodes)]
        ]
        return min(found, key=lambda lens: strength(lens.method))

    def _all(self, type_name: str) -> Nodes:
        return tuple(self._root.children.get(type_name, {}).values())

    def _places(self, type_name: str, names: list[str]) -> list[Property]:
        where, found = type_name, []
        for name in names:
            options = [p for p in properties(where).values() if name in (p.name, p.element.name)]
            if not options:
                raise KeyError(".".join([type_name, *names]))
            found.append(options[0])
            where = options[0].type
        return found

    def _lens_at(self, place: tuple[str, Nodes], names: list[str]) -> Lens:
        type_name, nodes = place
        decision = Decision(KEEP, Mode("keep"), None, f"{type_name} is kept")
        return self._descend(type_name, nodes, nodes, decision, names)

    def _descend(
        self, where: str, roots: Nodes, nodes: Nodes, decision: Decision, names: list[str]
    ) -> Lens:
        if not names:
            return self._as_lens(decision, where)
        name, *rest = names
        options = [p for p in properties(where).values() if name in (p.name, p.element.name)]
        if not options:
            raise KeyError(name)
        found = []
        for prop in options:
            special = self._special(where, prop, decision)
            if special is not None:
                found.append(special)
                continue
            below = self._compiler.nodes_of(where, prop, roots, nodes)
            plain = tuple(n for n in below if not n.predicate)
            for chosen in {plain, below}:
                next_one = self._compiler.decide(where, prop, chosen, decision)
                found.append(self._descend(prop.type, roots, chosen, next_one, rest))
        return min(found, key=lambda lens: strength(lens.method))

    def _special(self, where: str, prop: Property, decision: Decision) -> Lens | None:
        if where in RESOURCES and prop.name == "id":
            if self.pseudonym(where):
                return Lens("pseudonym", Method("pseudonymize"), "ids are pseudonyms", None)
            return Lens("keep", KEEP, "ids are real", None)
        if where in RESOURCES and prop.name == "contained":
            return Lens("hidden", Method("remove"), "contained resources are judged anew", None)
        if prop.name in ("extension", "modifierExtension") and prop.type == "Extension":
            return Lens("hidden", Method("remove"), "extensions show by their URL", None)
        if where == "Meta":
            line = self.policy.datatypes.get("Meta.lastUpdated")
            if prop.name != "lastUpdated" or line is None:
                return Lens("hidden", Method("remove"), "meta is made new", None)
            kind = lens_method(line.method.name).kind
            return Lens(kind, line.method, f"datatype {line.key}", line.source)
        if prop.name == "id":
            return Lens("hidden", Method("remove"), "element ids go", None)
        return None

    def _as_lens(self, decision: Decision, where: str) -> Lens:
        kind: LensKind
        if decision.shown:
            kind = "keep"
            if where == "Reference":
                kind = "pseudonym" if self.policy.ids_default == "pseudonym" else "keep"
        else:
            kind = lens_method(decision.method.name).kind
        return Lens(kind, decision.method, decision.why, decision.source)


def compile_view(policy: Policy) -> View:
    """Compile a policy; every type's walk is made on its first use."""
    return View(policy)


__all__ = ["Lens", "Scope", "View", "compile_view"]
