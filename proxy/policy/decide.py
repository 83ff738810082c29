"""Which rule does an element take? One function, asked by the compiler and by ``explain``.

The language (docs/policies.md) in terms of this module: an element is reached with the *nodes* of
the policy's path tree that name it, and in a *mode* that its parent's rule left. :func:`decide`
gives its rule and the mode that holds inside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from proxy.fhir.r4 import TYPES
from proxy.fhir.structure import Property, is_quantity
from proxy.lenses.pseudonyms import DOCUMENT
from proxy.policy.datatypes import IDENTIFYING
from proxy.policy.model import Method, PathRule, Policy, Source, TypeRule

KEEP, REMOVE = Method("keep"), Method("remove")
RANK = {"remove": 0, "mask": 1, "keep": 3, "pass": 4}  # a transform stands between: 2

# A Coding is judged by its system, not by its type; a position is a backbone element.
_IDENTIFYING = IDENTIFYING - {"Coding"} | {"Location.position"}
DATES = frozenset({"date", "dateTime", "instant", "time"})

# Where the identifier of a document stands: (type or backbone, property).
DOCUMENT_IDENTIFIERS = frozenset(
    {
        ("Bundle", "identifier"),
        ("Composition", "identifier"),
        ("DocumentManifest", "masterIdentifier"),
        ("DocumentReference", "masterIdentifier"),
        ("Composition.relatesTo", "targetIdentifier"),
    }
)
# References whose identifier is that of a document.
DOCUMENT_REFERENCES = frozenset(
    {
        ("Composition.section", "entry"),
        ("Composition.relatesTo", "targetReference"),
        ("DocumentReference.relatesTo", "target"),
    }
)


@dataclass(slots=True, eq=False)
class Node:
    """One step of the policy's paths: the rule that ends here, and the steps below."""

    predicate: str = ""
    guarded: bool = False  # a predicate stands on this step or above
    rule: PathRule | None = None
    children: dict[str, dict[str, Node]] = field(default_factory=dict)


def path_tree(rules: Iterable[PathRule]) -> Node:
    """The tree of all paths; below the root stand the resource types."""
    root = Node()
    for rule in rules:
        node = root
        for step in rule.steps:
            branches = node.children.setdefault(step.name, {})
            if step.predicate not in branches:
                guarded = node.guarded or bool(step.predicate)
                branches[step.predicate] = Node(step.predicate, guarded)
            node = branches[step.predicate]
        node.rule = rule
    return root


Nodes = tuple[Node, ...]


def children(nodes: Nodes, prop: Property) -> Nodes:
    """All nodes below that name the property, its own branch first, then the whole choice."""
    names = [prop.name] if prop.name == prop.element.name else [prop.name, prop.element.name]
    return tuple(
        child for name in names for node in nodes for child in node.children.get(name, {}).values()
    )


@dataclass(frozen=True, slots=True)
class Mode:
    """What a rule means for the elements inside.

    ``keep``: they show, those that can identify by ``[datatypes]``. ``cover``: all of them show.
    ``closed``: none but by a longer path, or by a member's line of ``origin``.
    """

    kind: Literal["keep", "cover", "closed"]
    origin: str = ""  # the datatype whose members' lines still open it


@dataclass(frozen=True, slots=True)
class Decision:
    """The rule of one element: its method, where it stands, and the mode inside."""

    method: Method
    mode: Mode
    source: Source | None
    why: str

    @property
    def shown(self) -> bool:
        return self.method.name in ("keep", "pass")

    @property
    def hides(self) -> bool:
        return self.method.name in ("remove", "mask")


def rank(method: Method) -> int:
    """How much a method shows: remove < mask < any transform < keep < pass."""
    return RANK.get(method.name, 2)


def identifies(parent: str, prop: Property) -> bool:
    """Whether a value here can identify (a Coding's and Quantity's code apart)."""
    code = prop.type
    if code not in _IDENTIFYING:
        return False
    if code == "uri":
        if prop.name == "system" and any(e.name == "code" for e in TYPES[parent].elements):
            return False
        return (parent, prop.name) not in {("Reference", "type"), ("Extension", "url")}
    return True


# Of two transforms the one further left shows less.
_STRENGTH = (
    "narrative", "pseudonymize", "surrogate", "country", "year", "state", "age-range", "age-band",
    "range", "map", "zip3", "zip3-padded", "month", "shift", "zip5",
)  # fmt: skip


def strength(method: Method) -> tuple[int, int]:
    """A sort key: how much a method shows."""
    if method.name in RANK:
        return RANK[method.name], 0
    kind = "map" if method.param("map") else str(method.param("to", method.name))
    return 2, _STRENGTH.index(kind) if kind in _STRENGTH else 0


def own_rule(nodes: Nodes, prop: Property) -> PathRule | None:
    """The path rule of an element among the nodes that name it.

    A line on the branch (``valueQuantity``) before one on the choice (``value[x]``), one whose
    predicate selects before one without, the least of several that select.
    """
    ending = [n for n in nodes if n.rule is not None]
    branch = [n for n in ending if n.rule is not None and n.rule.steps[-1].name == prop.name]
    named = branch or ending
    guarded = [n.rule for n in named if n.rule is not None and n.guarded]
    if guarded:
        return min(guarded, key=lambda r: strength(r.method))
    plain = [n.rule for n in named if n.rule is not None]
    return plain[0] if plain else None


def member_line(datatypes: Mapping[str, TypeRule], parent: str, prop: Property) -> TypeRule | None:
    """The line of a datatype's member; a type derived from Quantity takes Quantity's."""
    for owner in (parent, "Quantity") if is_quantity(parent) else (parent,):
        if TYPES[owner].kind != "datatype":
            return None
        line = datatypes.get(f"{owner}.{prop.element.name}") or datatypes.get(
            f"{owner}.{prop.name}"
        )
        if line is not None:
            return line
    return None


def decide(policy: Policy, parent: str, prop: Property, nodes: Nodes, mode: Mode) -> Decision:
    """The rule of the property ``prop`` of ``parent``, which was reached in ``mode``.

    ``nodes``: the tree nodes that name the property, predicates that did not select left out.
    """
    own = own_rule(nodes, prop)
    if own is not None:
        return _by_path(parent, prop, own)
    member = member_line(policy.datatypes, parent, prop)
    if mode.kind == "keep":
        return _in_keep(policy, parent, prop, member)
    if mode.kind == "cover":
        return _in_cover(policy, parent, prop, member)
    opened = mode.origin == parent or (is_quantity(mode.origin) and is_quantity(parent))
    if mode.origin and opened and member is not None:
        return _by_type(prop, identifies(parent, prop), member)
    return Decision(REMOVE, Mode("closed"), None, "not opened by a rule of its own")


def _by_path(parent: str, prop: Property, rule: PathRule) -> Decision:
    why = f"path {rule.source.key}"
    if rule.method.name == "keep":
        whole = identifies(parent, prop) or prop.type == "Coding"
        return Decision(KEEP, Mode("cover" if whole else "keep"), rule.source, why)
    return Decision(rule.method, Mode("closed"), rule.source, why)


def _by_type(prop: Property, identifying: bool, line: TypeRule) -> Decision:
    why = f"datatype {line.key}"
    if line.method.name == "keep":
        return Decision(KEEP, Mode("cover" if identifying else "keep"), line.source, why)
    return Decision(line.method, Mode("closed", prop.type), line.source, why)


def _in_keep(policy: Policy, parent: str, prop: Property, member: TypeRule | None) -> Decision:
    if (parent, prop.name) == ("Reference", "identifier"):
        return Decision(REMOVE, Mode("closed"), None, "an identifier in a reference is hidden")
    if not identifies(parent, prop):
        if member is not None:
            return _by_type(prop, False, member)
        return Decision(KEEP, Mode("keep"), None, "kept with what bears it")
    line = member or _type_line(policy, parent, prop)
    if line is None:
        return Decision(REMOVE, Mode("closed", prop.type), None, f"no line for {prop.type}")
    return _by_type(prop, True, line)


def _type_line(policy: Policy, parent: str, prop: Property) -> TypeRule | None:
    if (parent, prop.name) in DOCUMENT_IDENTIFIERS:
        line = policy.datatypes.get(DOCUMENT)
        if line is not None:
            return line
    if (parent, prop.name) == ("Location", "position"):
        return policy.datatypes.get("Location.position")
    return policy.datatypes.get(prop.type)


def _in_cover(policy: Policy, parent: str, prop: Property, member: TypeRule | None) -> Decision:
    if (parent, prop.name) == ("Reference", "identifier"):
        return Decision(REMOVE, Mode("closed"), None, "an identifier in a reference is hidden")
    if member is not None:
        return _by_type(prop, identifies(parent, prop), member)
    line = policy.datatypes.get(prop.type) if prop.type in DATES else None
    if line is not None and line.method.name != "keep":
        return _by_type(prop, True, line)
    return Decision(KEEP, Mode("cover"), None, "inside a value that a rule shows whole")


def document_reference(policy: Policy) -> Decision:
    """The rule of the identifier in a Reference to a document (``section.entry.identifier``)."""
    line = policy.datatypes.get(DOCUMENT) or policy.datatypes.get("Identifier")
    if line is None:
        return Decision(REMOVE, Mode("closed", "Identifier"), None, f"no line for {DOCUMENT}")
    why = f"datatype {line.key}"
    if line.method.name == "keep":
        return Decision(KEEP, Mode("cover"), line.source, why)
    return Decision(line.method, Mode("closed", "Identifier"), line.source, why)


def coding_rule(policy: Policy) -> Decision | None:
    """The rule of a Coding whose system is not under ``[codes]``; None if all codes show."""
    if policy.codes is None:
        return None
    line = policy.datatypes.get("Coding")
    if line is None:
        return Decision(REMOVE, Mode("closed", "Coding"), None, "its system is not in [codes]")
    why = f"datatype {line.key}"
    if line.method.name == "keep":
        return Decision(KEEP, Mode("cover"), line.source, why)
    return Decision(line.method, Mode("closed", "Coding"), line.source, why)
