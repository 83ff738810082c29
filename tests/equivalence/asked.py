"""One parameter of a search, as the table of a view judges it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxy.fhir import registry
from proxy.fhir.search import parameter as read_parameter
from proxy.fhir.search import split
from proxy.fhir.search_values import PREFIXES
from proxy.policy.verdicts import Verdict, VerdictTable

Pair = tuple[str, str]
_CHAIN = re.compile(
    r"(?P<lead>[a-z-]+:(?P<target>[A-Z][A-Za-z]+)\.|_has:(?P<source>[A-Z][A-Za-z]+):[a-z-]+:)"
    r"(?P<rest>.+)"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One parameter of a search on a type, as the table of a view judges it. ``lead``: of a chain,
    what stands before the parameter at its end, which is on ``type``. ``forwarded``: by an identity
    view, which leaves to HAPI what it can. ``again``: the search has others of its name."""

    table: VerdictTable
    forwarded: bool
    type: str
    name: str
    value: str
    again: bool = False
    lead: str = ""

    @classmethod
    def of(
        cls, table: VerdictTable, forwarded: bool, type_name: str, pair: Pair, again: bool
    ) -> Asked:
        """The parameter itself, or of a chain or _has the one at its end."""
        name, value = pair
        chain = _CHAIN.fullmatch(name)
        if chain is None:
            return cls(table, forwarded, type_name, name, value, again)
        target = chain["target"] or chain["source"]
        return cls(table, forwarded, target, chain["rest"], value, again, chain["lead"])

    @property
    def pair(self) -> Pair:
        return self.lead + self.name, self.value

    @property
    def modifier(self) -> str:
        return read_parameter(self.name, self.value).modifier

    @property
    def values(self) -> tuple[str, ...]:
        return split(self.value, ",")

    @property
    def search_type(self) -> str:
        """Empty for a parameter that is about the answer."""
        known = registry.get(self.type).get(read_parameter(self.name, self.value).code)
        return "" if known is None else known.type

    @property
    def compared(self) -> str:
        """The type of what a prefix compares: of a composite, of the last of its parts; empty with
        a modifier."""
        if self.modifier:
            return ""
        if self.search_type != "composite":
            return self.search_type
        known = registry.get(self.type)[read_parameter(self.name, self.value).code]
        return registry.components(known)[-1][0].type

    @property
    def verdict(self) -> Verdict:
        asked = read_parameter(self.name, self.value)
        return self.table.verdict(self.type, asked.code, asked.modifier, asked.chain)


def prefix_of(value: str) -> tuple[str, str]:
    """Prefix and rest; of a composite's value, of its last part."""
    last = value.rpartition("$")[2]
    return (last[:2], last[2:]) if last[:2] in PREFIXES else ("", last)


def rewritten(value: str, prefix: str, text: str) -> str:
    """A value with another prefix and rest."""
    first, parted, _ = value.rpartition("$")
    return first + parted + prefix + text
