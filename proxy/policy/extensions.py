"""Extensions: by URL, at any depth; what modifies is never left out silently."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

from proxy.ecr.anonymized import EMPLOYER
from proxy.fhir.codec import Json, JsonObject, is_among
from proxy.fhir.lexical import FORMS, checker
from proxy.lenses.context import DATA_ABSENT_REASON, masked
from proxy.policy.decide import KEEP, Decision, Mode
from proxy.policy.model import Policy
from proxy.policy.scope import Scope

if TYPE_CHECKING:
    from proxy.policy.walk import Compiler, Step, Walker

_VALUE = "value[x]"
_is_code, _is_uri = (checker(code, FORMS[code]) for code in ("code", "uri"))
BARE = frozenset({"id", "extension"})  # the members of an element that has no value


class Extensions:
    """The ``[extensions]`` table, compiled."""

    def __init__(self, policy: Policy, compiler: Compiler) -> None:
        self._rules = {url: rule.parts for url, rule in policy.extensions.items()}
        self._compiler = compiler

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
        if not is_among(item.get("url"), self._rules):
            return False
        return self._show_one(item, self._compiler.nowhere, bare=False, listed=True) is not None

    def step(self, name: str) -> Step:
        """The step of ``extension`` or ``modifierExtension`` on an element that is kept."""
        modifies = name == "modifierExtension"

        def step(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
            bare = obj.keys() <= BARE
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
        if type(value) is not list:
            return []
        shown: list[Json] = []
        for item in value:
            if type(item) is not dict:
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
        if type(url) is not str:
            return None
        if listed and url in self._rules:
            return self._open(item, scope, self._rules[url])
        if not bare or url != DATA_ABSENT_REASON:
            return None
        reason = item.get("valueCode")
        return {"url": url, "valueCode": reason} if _is_code(reason) else None

    def _open(
        self, item: JsonObject, scope: Scope, parts: tuple[str, ...] | None, cover: bool = False
    ) -> JsonObject | None:
        """One extension: all its parts (``parts`` None) or those named; ``cover``: its value
        shows even where its datatype would hide it."""
        if "modifierExtension" in item and self.withholds(item, bears=False):
            return None
        anonymized = self._compiler.anonymized
        if anonymized is not None and item["url"] == EMPLOYER:
            employer = anonymized.show_employer(item, scope)
            if employer is not None:
                return employer or None
        out: JsonObject = {"url": item["url"]}
        nested = item.get("extension")
        if isinstance(nested, list):
            inner: list[Json] = []
            for part in nested:
                if isinstance(part, dict):
                    one = self._open_part(part, scope, parts, item)
                    if one is not None:
                        inner.append(one)
            if inner:
                out["extension"] = inner
        if parts is None or _VALUE in parts:
            walk = self._covered if cover or parts is not None else self._kept
            shown = walk(item, scope)
            if shown is not None:
                out.update(shown)
        return out if len(out) > 1 else None

    def _open_part(
        self, part: JsonObject, scope: Scope, parts: tuple[str, ...] | None, whole: JsonObject
    ) -> JsonObject | None:
        url = part.get("url")
        if not (isinstance(url, str) and _is_uri(url)):
            return None
        if ":" in url:
            bare = not any(k.lstrip("_").startswith("value") for k in whole)
            return self._show_one(part, scope, bare, listed=True)
        if parts is None:
            return self._open(part, scope, None)
        named_value = f"{url}.{_VALUE}" in parts
        if url in parts:
            return self._open(part, scope, None, cover=named_value)
        return self._open(part, scope, (_VALUE,)) if named_value else None

    @cached_property
    def _kept(self) -> Walker:
        return self._value_walk("keep")

    @cached_property
    def _covered(self) -> Walker:
        return self._value_walk("cover")

    def _value_walk(self, kind: Literal["keep", "cover"]) -> Walker:
        from proxy.policy.walk import Site

        decision = Decision(KEEP, Mode(kind), None, "an extension that is listed")
        return self._compiler.walker(Site("Extension", (), (), decision))


def _object(value: Json) -> JsonObject:
    return value if isinstance(value, dict) else {}
