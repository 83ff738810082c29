"""Steps for properties whose items are walked one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from proxy.fhir.codec import Json, JsonObject
from proxy.fhir.structure import Property
from proxy.policy import primitives
from proxy.policy.scope import Scope

if TYPE_CHECKING:
    from proxy.policy.complexes import Item
    from proxy.policy.walk import Predicate, Step, Walker


def complex_step(prop: Property, item: Item) -> Step:
    """The step of a complex property."""
    if item.walk is not None:
        return _walk_step(prop, item.walk, item.masked)
    show, instead, most = item.show, item.masked, 1 if item.once else None

    def many(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
        if type(value) is list:
            shown: list[Json] = [s for v in value if (s := show(v, scope)) is not None]
            if shown:
                out[key] = shown[:most]
        elif value is not None and instead is not None:
            out[key] = [instead()]

    def single(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
        shown = show(value, scope)
        if shown is not None:
            out[key] = shown

    return many if prop.many else single


def _walk_step(prop: Property, walk: Walker, instead: Callable[[], Json] | None) -> Step:
    """The step of a complex property whose objects are walked and no more: most of a resource."""

    def many(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
        if type(value) is list:
            shown: list[Json] = []
            for item in value:
                if type(item) is dict:
                    one = walk(item, scope)
                    if one is not None:
                        shown.append(one)
                elif item is not None and instead is not None:
                    shown.append(instead())
            if shown:
                out[key] = shown
        elif value is not None and instead is not None:
            out[key] = [instead()]

    def single(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
        if type(value) is dict:
            one = walk(value, scope)
            if one is not None:
                out[key] = one
        elif value is not None and instead is not None:
            out[key] = instead()

    return many if prop.many else single


def run(step: Step | type | None, key: str, obj: JsonObject, scope: Scope, out: JsonObject) -> None:
    """One step on one property, the quick forms of kept primitives included."""
    value = obj.get(key)
    if step is None or value is None:
        return
    if isinstance(step, type):
        if type(value) is step:
            out[key] = value
        else:
            primitives.mask_malformed(key, value, out)
    else:
        step(obj, key, value, scope, out)


def guarded_steps(
    prop: Property,
    tests: list[Predicate],
    variant_of: Callable[[int], Mapping[str, Step | type]],
    steps: dict[str, Step | type],
) -> None:
    """A property some of whose rules stand under predicates: each item is judged, then walked by
    the variant for exactly the predicates that select it."""
    name, beside = prop.name, "_" + prop.name

    def one(
        mini: JsonObject, value: Json, scope: Scope, *, formed: bool = True
    ) -> JsonObject:
        # A list in place of one value, or the reverse, is no element that a predicate selects.
        asked = tests if formed else []
        mask = sum(1 << i for i, test in enumerate(asked) if test(value, scope.claims))
        variant = variant_of(mask)
        out: JsonObject = {}
        for key in (name, beside):
            if key in mini:
                run(variant.get(key), key, mini, scope, out)
        return out

    def single(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
        stored = obj.get(name)
        held = {k: obj[k] for k in (name, beside) if k in obj}
        formed = stored is None or isinstance(stored, list) == prop.many
        out.update(one(held, stored, scope, formed=formed))

    def many(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
        items, notes = obj.get(name), obj.get(beside)
        if not isinstance(items, list | None) or not isinstance(notes, list | None):
            single(obj, key, value, scope, out)
            return
        items, notes = items or [], notes or []
        shown: list[Json] = []
        shown_notes: list[Json] = []
        for index in range(max(len(items), len(notes))):
            item = items[index] if index < len(items) else None
            note = notes[index] if index < len(notes) else None
            mini: JsonObject = {name: [item]} if note is None else {name: [item], beside: [note]}
            result = one(mini, item, scope)
            values, reasons = result.get(name), result.get(beside)
            for position, entry in enumerate(values if isinstance(values, list) else ()):
                shown.append(entry)
                shown_notes.append(reasons[position] if isinstance(reasons, list) else None)
        if shown:
            out[name] = shown
            if any(n is not None for n in shown_notes):
                out[beside] = shown_notes

    step = many if prop.many else single

    def sibling(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
        if obj.get(name) is None:
            step(obj, name, None, scope, out)

    steps[name] = step
    if prop.primitive:
        steps[beside] = sibling
