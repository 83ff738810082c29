"""Codes shown as others by a table, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.fhir.codec import Json
from proxy.fhir.search import escape
from proxy.fhir.search_values import parse_token
from proxy.lenses import Transform
from proxy.lenses.backward import Listed

CODED = frozenset({"code", "Coding", "CodeableConcept"})


def map_codes(mapping: Mapping[str, str], type_code: str) -> Transform:
    """Forward: a code, Coding or CodeableConcept by the table; None for what is not in it."""

    def one(value: Json) -> Json | None:
        return mapping.get(value) if isinstance(value, str) else None

    def coding(value: Json) -> Json | None:
        if not isinstance(value, dict):
            return None
        code = one(value.get("code"))
        if code is None:
            return None
        system = value.get("system")
        return {"system": system, "code": code} if isinstance(system, str) else {"code": code}

    def concept(value: Json) -> Json | None:
        codings = value.get("coding") if isinstance(value, dict) else None
        if not isinstance(codings, list):
            return None
        shown: list[Json] = [c for c in map(coding, codings) if c is not None]
        return {"coding": shown} if shown else None

    chosen = {"code": one, "Coding": coding, "CodeableConcept": concept}[type_code]
    return lambda value, context: chosen(value)


@dataclass(frozen=True, slots=True)
class ShownCode(Listed):
    """Backward: every code that the table shows as the one asked for, under the same system."""

    pairs: tuple[tuple[str, str], ...]  # stored, shown

    def values(self, value: str) -> tuple[str, ...]:
        asked = parse_token(value)
        if asked.code is None:
            return (value,)
        before = "" if asked.system is None else f"{escape(asked.system)}|"
        return tuple(before + escape(code) for code, shown in self.pairs if shown == asked.code)
