"""Extensions: by URL, at any depth; what modifies is never left out silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.fhir.codec import Json, JsonObject
from proxy.lenses.context import DATA_ABSENT_REASON, masked
from proxy.policy.decide import KEEP, Decision, Mode
from proxy.policy.model import Policy
from proxy.policy.scope import Scope

if TYPE_CHECKING:
    from proxy.policy.walk import Compiler, Step, Walker

_VALUE = "value[x]"


class Extensions:
    """The ``[extensions]`` table, compiled."""

    def __init__(self, policy: Policy, compiler: Compiler) -> None:
        self._rules = {url: rule.parts for url, rule in policy.extensions.items()}
        self._compiler = compiler
        self._walks: dict[str, Walker] = {}

    def withholds(self, obj: JsonObject, *, bears: bool = True) -> bool:
        """Whether a modifierExtension withholds what bears it (R4,
        extensibility.html#modifierExtension: it may change the meaning of the rest): one that is
        not listed, of which nothing shows, or that stands where R4 has none (not ``bears``)."""
        found = obj.get("modifierExtension")
        if found is None or found == []:
            return False
        if not isinstance(found, list) or not bears:
            return True
        return not all(isinstance(e, dict) and self._shows_something(e) for e in found)

    def _shows_something(self, item: JsonObject) -> bool:
        if item.get("url") not in self._rules:
            return False
        return self._show_one(item, self._compiler.nowhere, bare=False, listed=True) is not None

    def step(self, name: str) -> Step:
        """The step of ``extension`` or ``modifierExtension`` on an element that is kept."""
        modifies = name == "modifierExtension"

        def step(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
            bare = obj.keys() <= {"id", "extension"}
            shown = self.show(value, scope, bare=bare, listed=True, modifies=modifies)
            if shown:
                out[key] = shown

        return step

    def show(
        self, value: Json, scope: Scope, *, bare: bool, listed: bool, modifies: bool = False
    ) -> list[Json]:
        """The extensions shown of an element.

        ``bare``: the element has no value, so its data-absent-reason stays. ``listed``: the
        element is kept, so its listed extensions show.
        """
        shown: list[Json] = []
        for item in value if isinstance(value, list) else ():
            if not isinstance(item, dict):
                continue
            one = self._show_one(item, scope, bare, listed)
            if one is None and modifies:
                one = {**_object(masked()), "url": item.get("url")}
            if one is not None:
                shown.append(one)
        return shown

    def _show_one(
        self, item: JsonObject, scope: Scope, bare: bool, listed: bool
    ) -> JsonObject | None:
        url = item.get("url")
        if not isinstance(url, str):
            return None
        if listed and url in self._rules:
            return self._open(item, scope, self._rules[url])
        reason = item.get("valueCode")
        if url == DATA_ABSENT_REASON and bare and isinstance(reason, str):
            return {"url": url, "valueCode": reason}
        return None

    def _open(
        self, item: JsonObject, scope: Scope, parts: tuple[str, ...] | None, cover: bool = False
    ) -> JsonObject | None:
        """One extension: all its parts (``parts`` None) or those named; ``cover``: its value
        shows even where its datatype would hide it."""
        if "modifierExtension" in item and self.withholds(item, bears=False):
            return None
        has_value = any(k.lstrip("_").startswith("value") for k in item)
        out: JsonObject = {}
        nested = item.get("extension")
        inner: list[Json] = []
        for part in nested if isinstance(nested, list) else ():
            if isinstance(part, dict):
                one = self._open_part(part, scope, parts, bare=not has_value)
                if one is not None:
                    inner.append(one)
        if inner:
            out["extension"] = inner
        if parts is None or _VALUE in parts:
            walk = self._value_walk("cover" if cover or parts is not None else "keep")
            out.update(walk({k: v for k, v in item.items() if _is_value(k)}, scope) or {})
        return {"url": item["url"], **out} if out else None

    def _open_part(
        self, part: JsonObject, scope: Scope, parts: tuple[str, ...] | None, *, bare: bool
    ) -> JsonObject | None:
        url = part.get("url")
        if not isinstance(url, str):
            return None
        if ":" in url:
            return self._show_one(part, scope, bare, listed=True)
        if parts is None:
            return self._open(part, scope, None)
        named_value = f"{url}.{_VALUE}" in parts
        if url in parts:
            return self._open(part, scope, None, cover=named_value)
        return self._open(part, scope, (_VALUE,)) if named_value else None

    def _value_walk(self, kind: str) -> Walker:
        if kind not in self._walks:
            from proxy.policy.walk import Site

            mode = Mode("cover") if kind == "cover" else Mode("keep")
            decision = Decision(KEEP, mode, None, "an extension that is listed")
            self._walks[kind] = self._compiler.walker(Site("Extension", (), (), decision))
        return self._walks[kind]


def _is_value(key: str) -> bool:
    return key.startswith(("value", "_value"))


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}
