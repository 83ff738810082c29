"""Items of complex type: kept, opened, masked or transformed; References, Codings, Quantities."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from proxy.fhir.codec import Json, JsonObject
from proxy.fhir.structure import RESOURCES, Property, is_quantity, properties
from proxy.lenses import method as lens_method
from proxy.lenses.context import masked
from proxy.lenses.narrative import masked_narrative
from proxy.lenses.pseudonyms import DOCUMENT
from proxy.lenses.surrogate import INNER
from proxy.policy import ages
from proxy.policy.decide import DOCUMENT_IDENTIFIERS, Decision, Mode, coding_rule
from proxy.policy.extensions import BARE
from proxy.policy.model import Method, Policy
from proxy.policy.scope import Scope
from proxy.policy.systems import listing

if TYPE_CHECKING:
    from proxy.policy.walk import Compiler, Site, Walker

Hook = Callable[[JsonObject, JsonObject, Scope], None]
Show = Callable[[Json, Scope], "Json | None"]


class Item(NamedTuple):
    """What one item becomes. ``masked``: what stands for a malformed one; None where the rule
    shows not even its presence. ``walk``: what ``show`` does with an object, where that is all."""

    show: Show
    masked: Callable[[], Json] | None
    walk: Walker | None = None
    once: bool = False  # one item stands for all


def make_item(
    compiler: Compiler, site: Site, prop: Property, inner: Site, opens: bool
) -> Item | None:
    """The item function of a complex property; None if nothing of it can ever show."""
    method = inner.decision.method
    if prop.type == "Resource":
        return Item(_anew(compiler), None) if method.name in ("keep", "pass") else None
    if method.name == "remove":
        walk = compiler.walker(inner) if opens else None
        return Item(_opened(walk), None, walk) if walk is not None else None
    instead = masked_item(compiler, prop.type)
    if method.name in ("keep", "pass"):
        walk = compiler.walker(inner)
        return Item(_kept(walk, instead), instead, walk)
    if method.name == "mask":
        show = _masked(compiler, compiler.walker(inner), prop)
        return Item(show, instead, once=method.param("once") is True)
    document = (site.type, prop.name) in DOCUMENT_IDENTIFIERS or site.document
    code = DOCUMENT if document and prop.type == "Identifier" else prop.type
    if code == "HumanName" and site.type not in RESOURCES:
        code = INNER
    walk = compiler.walker(inner) if opens else None
    return Item(_transformed(compiler, inner, code, walk), instead)


def masked_item(compiler: Compiler, type_name: str) -> Callable[[], Json]:
    """Makes what stands for a complex value that is there and not shown: data-absent-reason
    ``masked`` and the required children."""
    if type_name == "Narrative":
        return masked_narrative
    walks: list[Walker] = []

    def make() -> Json:
        if not walks:
            from proxy.policy.walk import Site

            decision = Decision(Method("mask"), Mode("closed"), None, "masked")
            walks.append(compiler.walker(Site(type_name, (), (), decision)))
        return _as_masked(type_name, walks[0]({}, compiler.nowhere) or {})

    return make


def _as_masked(type_name: str, opened: JsonObject) -> Json:
    """A masked object with what shows in it all the same; a section says that it is withheld."""
    shown: JsonObject = {**_masked_object(), **opened}
    if type_name == "Composition.section":
        shown.setdefault("text", masked_narrative())
        if "entry" not in shown:  # cmp-2: a section with entries has no reason to be empty
            shown.setdefault("emptyReason", _withheld())
    return shown


def _anew(compiler: Compiler) -> Show:
    """A resource inside another, at the lines and rows of its own type."""
    inside = compiler.resources.inside
    return lambda value, scope: inside(value, scope) if isinstance(value, dict) else None


def _kept(walk: Walker, instead: Callable[[], Json]) -> Show:
    def show(value: Json, scope: Scope) -> Json | None:
        if type(value) is dict:
            return walk(value, scope)
        return None if value is None else instead()

    return show


def _opened(walk: Walker) -> Show:
    return lambda value, scope: walk(value, scope) if isinstance(value, dict) else None


def _masked(compiler: Compiler, walk: Walker, prop: Property) -> Show:
    """Data-absent-reason, the required children, and what longer paths open."""
    if prop.type == "Narrative":
        return lambda value, scope: None if value is None else masked_narrative()
    withholds = compiler.extensions.withholds
    bears = "modifierExtension" in properties(prop.type)

    def show(value: Json, scope: Scope) -> Json | None:
        if value is None:
            return None
        item: JsonObject = value if isinstance(value, dict) else {}
        if "modifierExtension" in item and withholds(item, bears=bears):
            return None
        opened = walk(item, scope) or {}
        return _as_masked(prop.type, opened)

    return show


def _masked_object() -> JsonObject:
    shown = masked()
    return shown if isinstance(shown, dict) else {}


def _withheld() -> JsonObject:
    """R4, list-empty-reason ``withheld``: a section that is there and not shown."""
    system = "http://terminology.hl7.org/CodeSystem/list-empty-reason"
    return {"coding": [{"system": system, "code": "withheld"}]}


def _transformed(compiler: Compiler, inner: Site, code: str, walk: Walker | None) -> Show:
    method = inner.decision.method
    transform = lens_method(method.name).bind(dict(method.params), code)
    extensions = compiler.extensions
    instead = masked_item(compiler, inner.type)
    hooks = quantity_codes(compiler.policy) if is_quantity(inner.type) else []
    aged = ages.hooks(inner.type, compiler.policy)
    bears = "modifierExtension" in properties(inner.type)

    def show(value: Json, scope: Scope) -> Json | None:
        if value is None:
            return None
        if not isinstance(value, dict):
            return instead()
        if "modifierExtension" in value and extensions.withholds(value, bears=bears):
            return None
        if value.keys() <= BARE:
            reason = extensions.show(value.get("extension"), scope, bare=True, listed=False)
            return {"extension": reason} if reason else None
        opened = (walk(value, scope) if walk is not None else None) or {}
        shown = transform(value, scope)
        if shown is None:
            return {**_masked_object(), **opened}
        if isinstance(shown, dict):
            for hook in hooks:
                hook(value, shown, scope)
            whole = {**opened, **shown}
            for hook in aged:
                hook(value, whole, scope)
            return whole or None
        return shown

    return show


def reference(walk: Walker, names: frozenset[str], compiler: Compiler, site: Site) -> Walker:
    """A Reference: what is not shown is not referred to. ``walk`` shows what else is in it, of
    the ``names`` only."""
    if site.decision.mode.kind == "closed":
        return walk
    shown, withholds = compiler.shown, compiler.extensions.withholds

    def show(obj: JsonObject, scope: Scope) -> JsonObject | None:
        if "modifierExtension" in obj and withholds(obj, bears=False):
            return None
        text, declared = obj.get("reference"), obj.get("type")
        out: JsonObject = {}
        if type(text) is str:
            named = scope.refer(text, declared)
            if named is None:
                return None
            out["reference"] = named
        elif text is not None:
            out["_reference"] = masked()
        if type(declared) is str:
            if declared in shown:
                out["type"] = declared
        elif declared is not None:
            out["_type"] = masked()
        if not names.isdisjoint(obj):
            rest = walk(obj, scope)
            if rest is not None:
                out.update(rest)
        return out or None

    return show


def coding(walk: Walker, compiler: Compiler, site: Site) -> Walker:
    """A Coding under ``[codes]``: listed systems by ``walk``, all others by the Coding's line."""
    rule = coding_rule(compiler.policy)
    entries = compiler.policy.codes
    if rule is None or entries is None:
        return walk
    is_listed = listing(entries)
    other = site._replace(decision=rule)
    if rule.method.name == "remove":
        hidden = compiler.walker(other)
        unlisted: Show = lambda value, scope: hidden(value, scope)  # type: ignore[arg-type]  # noqa: E731
    elif rule.method.name == "mask":
        unlisted = lambda value, scope: masked()  # noqa: E731
    elif rule.shown:
        covered = compiler.walker(other)
        unlisted = lambda value, scope: covered(value, scope)  # type: ignore[arg-type]  # noqa: E731
    else:
        unlisted = _transformed(compiler, other, "Coding", None)

    def show(obj: JsonObject, scope: Scope) -> JsonObject | None:
        system = obj.get("system")
        if (type(system) is str and is_listed(system)) or obj.keys() <= BARE:
            return walk(obj, scope)
        return unlisted(obj, scope)  # type: ignore[return-value]

    return show


def quantity_codes(policy: Policy) -> list[Hook]:
    """The code of a Quantity shows if its system is listed (qty-3: a code needs a system)."""
    line = policy.datatypes.get("Quantity.code")
    if line is not None and line.method.name == "keep":
        return []
    is_listed = None if policy.codes is None else listing(policy.codes)

    def hook(obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        system = obj.get("system")
        listed = type(system) is str and (is_listed is None or is_listed(system))
        if not listed:
            for name in ("code", "_code", "system"):
                out.pop(name, None)

    return [hook]


def dependent(element: str, stem: str) -> Hook:
    """Take ``element`` out where no ``stem[x]`` shows."""

    def hook(obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        if element in out and not any(k.lstrip("_").startswith(stem) for k in out):
            del out[element]

    return hook
