"""After a walk: required elements that a rule hid get what keeps the resource valid."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from proxy.fhir.codec import JsonObject
from proxy.fhir.structure import Property, properties
from proxy.lenses.context import masked
from proxy.lenses.pseudonyms import show_document_identifier, show_identifier
from proxy.policy import primitives
from proxy.policy.complexes import masked_item
from proxy.policy.decide import DOCUMENT_IDENTIFIERS
from proxy.policy.required import DEMANDS, LEGAL_VALUES, Demand, title
from proxy.policy.scope import Scope

if TYPE_CHECKING:
    from proxy.policy.walk import Compiler, Site

PutBack = Callable[[JsonObject, JsonObject, Scope], None]


class Restore(NamedTuple):
    """``put_back`` is called if what is shown has neither ``name`` nor ``beside``; both are empty
    where that is judged there."""

    name: str
    beside: str
    put_back: PutBack


def restorers(type_name: str, compiler: Compiler, site: Site) -> list[Restore]:
    """What to put back in objects of a type, given how the site shows its elements."""
    found: list[Restore] = []
    choices: dict[str, list[Property]] = {}
    for prop in properties(type_name).values():
        if prop.element.min > 0 and prop.name != "id":
            choices.setdefault(prop.element.name, []).append(prop)
    for props in choices.values():
        if type_name == "Reference" or (type_name == "Extension" and props[0].name == "url"):
            continue
        found.append(_restore(type_name, props, compiler, site))
    if type_name == "Bundle":
        found += _document_demands(compiler, site)
    found += [_demand(d, compiler, site) for d in DEMANDS.get(type_name, ())]
    return found


def hides(compiler: Compiler, site: Site, prop: Property) -> bool:
    """Whether the rule alone, no predicate selecting, leaves nothing of the property."""
    nodes = tuple(
        n for n in compiler.nodes_of(site.type, prop, site.roots, site.nodes) if not n.predicate
    )
    decision = compiler.decide(site.type, prop, nodes, site.decision)
    if decision.method.name != "remove":
        return False
    return prop.primitive or compiler.item(site, prop, nodes, decision) is None


def _had(obj: JsonObject, name: str) -> bool:
    return obj.get(name) is not None or obj.get("_" + name) is not None


def _shows(out: JsonObject, name: str) -> bool:
    return name in out or "_" + name in out


def _identifies(out: JsonObject, name: str) -> bool:
    """Whether a required identifier shows more than that it is masked."""
    shown = out.get(name)
    items = shown if isinstance(shown, list) else [shown]
    return any(isinstance(item, dict) and item.keys() - {"extension"} for item in items)


def _restore(type_name: str, props: list[Property], compiler: Compiler, site: Site) -> Restore:
    names = [p.name for p in props]
    always = len(props) == 1 and hides(compiler, site, props[0])
    makers = {p.name: _maker(type_name, p, compiler) for p in props}
    shows = _identifies if props[0].type == "Identifier" else _shows

    alone = len(names) == 1 and shows is _shows
    spelled = frozenset(names) | {"_" + n for n in names}

    def restore(obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        if not spelled.isdisjoint(out) and any(shows(out, n) for n in names):
            return
        name = next((n for n in names if _had(obj, n)), names[0] if always else None)
        if name is not None:
            makers[name](obj, out, scope)

    return Restore(names[0], "_" + names[0], restore) if alone else Restore("", "", restore)


def _maker(type_name: str, prop: Property, compiler: Compiler) -> PutBack:
    name = prop.name
    if (type_name, name) == ("Composition", "title"):

        def make_title(obj: JsonObject, out: JsonObject, scope: Scope) -> None:
            out["title"] = title(out)

        return make_title
    if prop.primitive:
        return _primitive_maker(prop)
    if prop.type == "Identifier":
        document = (type_name, name) in DOCUMENT_IDENTIFIERS
        return _identifier_maker(name, document)
    instead = masked_item(compiler, prop.type)

    def make(obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        out[name] = [instead()] if prop.many else instead()

    return make


def _primitive_maker(prop: Property) -> PutBack:
    legal, name = LEGAL_VALUES.get(prop.type), prop.name

    def make(obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        if legal is not None:
            out[name] = [legal] if prop.many else legal
        elif prop.many:
            out[name], out["_" + name] = [None], [masked()]
        else:
            out["_" + name] = masked()

    return make


def _identifier_maker(name: str, document: bool) -> PutBack:
    show = show_document_identifier if document else show_identifier

    def make(obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        source = obj.get(name)
        many = isinstance(source, list)
        items = source if isinstance(source, list) else [source]
        shown = [s for s in (show(i, scope) for i in items) if s]
        if shown:
            out[name] = list(shown) if many else shown[0]
        elif source is not None:
            out[name] = [masked()] if many else masked()

    return make


def _document_demands(compiler: Compiler, site: Site) -> list[Restore]:
    """bdl-9 and bdl-10: a document Bundle has an identifier and a timestamp."""
    identifier = _identifier_maker("identifier", document=True)
    prop = properties("Bundle")["timestamp"]
    nodes = compiler.nodes_of("Bundle", prop, site.roots, site.nodes)
    method = compiler.decide("Bundle", prop, nodes, site.decision).method
    show = primitives.scalar(method, "instant", required=True)

    def restore(obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        if obj.get("type") != "document":
            return
        if not _identifies(out, "identifier") and _had(obj, "identifier"):
            identifier(obj, out, scope)
        if "timestamp" not in out:
            shown = show(obj.get("timestamp"), scope)
            if isinstance(shown, str):
                out["timestamp"] = shown
            elif _had(obj, "timestamp") or shown is primitives.GONE:
                out["timestamp"] = LEGAL_VALUES["instant"]
                out.pop("_timestamp", None)

    return [Restore("", "", restore)]


def _demand(demand: Demand, compiler: Compiler, site: Site) -> Restore:
    first = properties(site.type)[demand.names[0]]
    hidden = hides(compiler, site, first)
    spelled = frozenset(demand.names) | {"_" + n for n in demand.names}

    def restore(obj: JsonObject, out: JsonObject, scope: Scope) -> None:
        if not spelled.isdisjoint(out):
            return
        if hidden or any(_had(obj, n) for n in demand.names):
            shown = demand.fallback()
            out[first.name] = [shown] if first.many else shown

    return Restore("", "", restore)
