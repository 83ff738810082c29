"""FHIRPath predicates, compiled once: http://hl7.org/fhirpath/N1.

The shapes that policies use (paths, comparison, logic, ``exists``, ``where``, ``ofType`` …) become
Python closures over decoded JSON. What is left (arithmetic, date literals, conversions) is
evaluated by fhirpathpy on a copy of the one element, from its tree parsed once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

from fhirpathpy import apply_parsed_path
from fhirpathpy.engine.nodes import ResourceNode, TypeInfo
from fhirpathpy.models import models

from proxy.fhir import fhirpath_values as values
from proxy.fhir.fhirpath_functions import FUNCTIONS, Run
from proxy.fhir.fhirpath_syntax import (
    THIS,
    Expression,
    FhirPathError,
    Node,
    is_comparison,
    parse,
)
from proxy.fhir.fhirpath_values import Item, Items
from proxy.fhir.patterns import BOUNDED
from proxy.fhir.r4 import TYPES
from proxy.fhir.structure import RESOURCES, properties

__all__ = ["Expression", "FhirPathError", "Predicate", "is_a", "parse", "predicate"]

Claims: TypeAlias = Mapping[str, object]
Predicate: TypeAlias = Callable[..., bool]
# The static types of a collection's items: type codes and backbone paths, or None if unknown.
Static: TypeAlias = "frozenset[str] | None"
Compiled: TypeAlias = "tuple[Run, Static]"

NO_CLAIMS: Claims = MappingProxyType({})

# fhirpathpy sets this global from the first `is` or `as` it evaluates and `ofType` reads it; set
# once here, its answers do not depend on what was asked before.
TypeInfo.model = models["r4"]


class _Foreign(Exception):
    """This node is left to fhirpathpy."""


@lru_cache(maxsize=2048)
def predicate(text: str, base: str = "") -> Predicate:
    """``test(element, claims={}) -> bool``: does the predicate select this element?

    ``element`` is decoded JSON (see :mod:`proxy.fhir.codec`) and is not changed; ``claims`` is
    what ``%caller`` means. ``base``, if given, is the element's type (``HumanName``) or backbone
    path (``Patient.contact``): element names are then checked. An empty or non-boolean result, or
    an evaluation that fails, is False: such a predicate selects nothing.

    Raises :class:`FhirPathError` as :func:`parse` does, and for a name that is no element of
    ``base``.
    """
    run, _ = _compile(parse(text).root, frozenset({base}) if base in TYPES else None)

    def test(element: Item, claims: Claims = NO_CLAIMS) -> bool:
        try:
            result = run([element], claims)
        except Exception:
            # Whatever odd data makes an evaluation raise, the rule then shows nothing more.
            return False
        return len(result) == 1 and values.bare(result[0]) is True

    return test


def is_a(code: str, target: str) -> bool:
    """Whether type ``code`` is ``target`` or specializes it (R4, types.html)."""
    while code:
        if code == target:
            return True
        code = TYPES[code].base if code in TYPES else ""
    return False


def _compile(node: Node, this: Static) -> Compiled:
    """A node in operand position; falls back to fhirpathpy for it alone."""
    try:
        return _native(node, this)
    except _Foreign:
        return _foreign(node, this), None


def _native(node: Node, this: Static) -> Compiled:
    try:
        build = _BUILDERS[node.kind]
    except KeyError:
        raise _Foreign from None
    return build(node, this)


def _this(_: Node, this: Static) -> Compiled:
    return (lambda focus, claims: focus), this


def _literal(node: Node, _: Static) -> Compiled:
    items: Items = [] if node.value is None else [node.value]
    return (lambda focus, claims: items), None


def _variable(_: Node, __: Static) -> Compiled:
    return (lambda focus, claims: [claims]), None


def _choices() -> dict[str, tuple[tuple[str, str], ...]]:
    found: dict[str, dict[str, str]] = {}
    for path, definition in TYPES.items():
        if definition.kind == "primitive":
            continue
        for name, prop in properties(path).items():
            if prop.element.name.endswith("[x]"):
                found.setdefault(prop.element.name[:-3], {})[name] = prop.type
    return {stem: tuple(names.items()) for stem, names in found.items()}


_CHOICES = _choices()


def _spellings(name: str, source: Static) -> list[tuple[str, str]]:
    """(JSON property, type code) that an element name stands for; code empty if unknown."""
    if source is None or any(is_a(t, "Resource") and t not in RESOURCES for t in source):
        return [(name, ""), *_CHOICES.get(name, ())]
    found: dict[str, str] = {}
    for type_path in source:
        for json_name, prop in properties(type_path).items():
            if name in (json_name, prop.element.name, prop.element.name.removesuffix("[x]")):
                found[json_name] = prop.type
    if not found:
        known = " or ".join(sorted(source)) or "this"
        raise FhirPathError(f"{known} has no element {name}")
    return list(found.items())


def _member(node: Node, this: Static) -> Compiled:
    source = node.children[0]
    if source is THIS and node.name[:1].isupper() and node.name in TYPES:
        return _of_type(_this, node.name, THIS, this, every=True)
    run, types = _native(source, this)
    spelled = _spellings(node.name, types)
    names = tuple(name for name, _ in spelled)
    codes = frozenset(code for _, code in spelled)
    return _navigate(run, names), None if "" in codes else codes


def _navigate(run: Run, names: tuple[str, ...]) -> Run:
    find = values.members
    if len(names) == 1:
        (name,) = names
        return lambda focus, claims: [m for i in run(focus, claims) for m in find(i, name)]

    def navigate(focus: Items, claims: Claims) -> Items:
        found: Items = []
        for item in run(focus, claims):
            for name in names:
                if here := find(item, name):
                    found += here
                    break  # of a choice only one branch may be present
        return found

    return navigate


def _index(node: Node, this: Static) -> Compiled:
    run, types = _native(node.children[0], this)
    at = node.children[1]
    if at.kind != "literal" or not isinstance(at.value, Decimal):
        raise _Foreign
    position = int(at.value)
    return (lambda focus, claims: run(focus, claims)[position : position + 1]), types


def _call(node: Node, this: Static) -> Compiled:
    source, *arguments = node.children
    if node.name in ("is", "as", "ofType"):
        return _type_call(node, this)
    if node.name in ("where", "exists", "all", "select"):
        return _criteria(node, this)
    build = FUNCTIONS.get(node.name)
    if build is None:
        raise _Foreign
    run, types = _native(source, this)
    compiled = [_native(a, this)[0] for a in arguments]
    keeps = node.name in ("first", "last", "single", "tail", "skip", "take", "distinct")
    if node.name == "extension":
        types = frozenset({"Extension"})
    elif not keeps:
        types = None
    return build(run, *compiled), types


def _criteria(node: Node, this: Static) -> Compiled:
    source, *arguments = node.children
    run, types = _native(source, this)
    if not arguments:
        return (lambda focus, claims: [bool(run(focus, claims))]), None
    inner, inner_types = _compile(arguments[0], types)
    truth = values.truth

    def where(focus: Items, claims: Claims) -> Items:
        return [i for i in run(focus, claims) if truth(inner([i], claims)) is True]

    if node.name == "where":
        return where, types
    if node.name == "exists":
        return (lambda focus, claims: [bool(where(focus, claims))]), None
    if node.name == "all":
        return (
            lambda focus, claims: [
                all(truth(inner([i], claims)) is True for i in run(focus, claims))
            ]
        ), None
    return (lambda focus, claims: [m for i in run(focus, claims) for m in inner([i], claims)]), (
        inner_types
    )


def _type_call(node: Node, this: Static) -> Compiled:
    source, target = node.children[0], node.children[1].name.removeprefix("FHIR.")
    if target not in TYPES:
        raise _Foreign
    matched, types = _of_type(_native, target, source, this, every=node.name == "ofType")
    if node.name != "is":
        return matched, types
    whole, _ = _native(source, this)

    def test(focus: Items, claims: Claims) -> Items:
        items = whole(focus, claims)
        if len(items) > 1:
            raise values.NotSingle
        return [bool(matched(focus, claims))] if items else []

    return test, None


def _of_type(
    compiler: Callable[[Node, Static], Compiled],
    target: str,
    source: Node,
    this: Static,
    *,
    every: bool,
) -> Compiled:
    """The items of ``source`` that are a ``target``; ``every``: several are allowed."""
    types: Static = frozenset({target})
    if source.kind == "member" and not (source.name[:1].isupper() and source.children[0] is THIS):
        run, before = _native(source.children[0], this)
        spelled = _spellings(source.name, before)
        names = tuple(name for name, code in spelled if code and is_a(code, target))
        if len(spelled) > 1 and TYPES[target].kind != "resource":
            found = _navigate(run, names) if names else (lambda focus, claims: [])
            return (found if every else _single(found)), types
    run, before = compiler(source, this)
    if TYPES[target].kind == "resource":

        def found(focus: Items, claims: Claims) -> Items:
            return [i for i in run(focus, claims) if _is_resource(i, target)]

    elif before is not None and all(is_a(code, target) for code in before):
        found, types = run, before
    elif before is not None and not any(is_a(code, target) for code in before):
        found = _none(run)
    else:
        raise _Foreign
    return (found if every else _single(found)), types


def _none(run: Run) -> Run:
    def none(focus: Items, claims: Claims) -> Items:
        run(focus, claims)
        return []

    return none


def _single(run: Run) -> Run:
    def one(focus: Items, claims: Claims) -> Items:
        items = run(focus, claims)
        if len(items) > 1:
            raise values.NotSingle
        return items

    return one


def _is_resource(item: Item, target: str) -> bool:
    name = item.get("resourceType") if isinstance(item, dict) else None
    return isinstance(name, str) and is_a(name, target)


_LOGIC: dict[str, Callable[[bool | None, bool | None], bool | None]] = {
    # FHIRPath N1, 6.5: three-valued logic.
    "and": lambda a, b: False if a is False or b is False else (None if None in (a, b) else True),
    "or": lambda a, b: True if a is True or b is True else (None if None in (a, b) else False),
    "xor": lambda a, b: None if a is None or b is None else a is not b,
    "implies": lambda a, b: (
        True if a is False or b is True else (None if None in (a, b) else False)
    ),
}
_ORDER: dict[str, Callable[[int], bool]] = {
    "<": lambda o: o < 0,
    "<=": lambda o: o <= 0,
    ">": lambda o: o > 0,
    ">=": lambda o: o >= 0,
}


_DECIDED = {"and": False, "or": True}  # by one operand, whatever the other is


def _operator(node: Node, this: Static) -> Compiled:
    if node.name in _LOGIC:
        logic, truth = _LOGIC[node.name], values.truth
        first, second = (_compile(c, this)[0] for c in node.children)
        # Where the first operand decides, a second that cannot fail need not be evaluated.
        decided = _DECIDED.get(node.name) if is_comparison(node.children[1]) else None

        def combine(focus: Items, claims: Claims) -> Items:
            known = truth(first(focus, claims))
            if known is not None and known is decided:
                return [known]
            return _boxed(logic(known, truth(second(focus, claims))))

        return combine, None
    (left, left_types), (right, right_types) = (_native(c, this) for c in node.children)
    dates = all(c.kind != "literal" for c in node.children)
    if node.name in ("=", "!="):
        want = node.name == "="

        def equal(focus: Items, claims: Claims) -> Items:
            same = values.equal_collections(left(focus, claims), right(focus, claims), dates=dates)
            return [] if same is None else [same is want]

        return equal, None
    if node.name in _ORDER:
        holds = _ORDER[node.name]

        def compare(focus: Items, claims: Claims) -> Items:
            a, b = values.single(left(focus, claims)), values.single(right(focus, claims))
            found = values.order(a, b, dates=dates)
            return [] if found is None else [holds(found)]

        return compare, None
    if node.name == "|":
        both = None if left_types is None or right_types is None else left_types | right_types
        return (
            lambda focus, claims: values.distinct([*left(focus, claims), *right(focus, claims)])
        ), both
    if node.name in ("in", "contains"):
        one, many = (left, right) if node.name == "in" else (right, left)

        def membership(focus: Items, claims: Claims) -> Items:
            items = one(focus, claims)
            if len(items) > 1:
                raise values.NotSingle
            return [values.contains(many(focus, claims), items[0])] if items else []

        return membership, None
    raise _Foreign


def _boxed(value: bool | None) -> Items:
    return [] if value is None else [value]


_BUILDERS: dict[str, Callable[[Node, Static], Compiled]] = {
    "this": _this,
    "literal": _literal,
    "variable": _variable,
    "member": _member,
    "index": _index,
    "call": _call,
    "operator": _operator,
}


def _foreign(node: Node, this: Static) -> Run:
    tree: dict[str, Any] = {"children": [node.raw]}
    path = next(iter(this)) if this is not None and len(this) == 1 else None

    def run(focus: Items, claims: Claims) -> Items:
        source = [ResourceNode.create_node(values.thaw(i), path) for i in focus]
        caller = {"caller": values.thaw(claims)}
        result = apply_parsed_path(source, tree, caller, models["r4"], BOUNDED)
        return result if isinstance(result, list) else [result]

    return run
