"""Where the twins answer differently, and why: the only differences that a comparison passes over.

Three kinds. HAPI deviates from R4 and the proxy does not: then HAPI is asked in another way, in
which it answers what R4 says. The proxy refuses a way of writing a value that it cannot answer
without telling what is hidden. The view's own rule takes rows away from a value search.
``test_deviations.py`` shows that each of them is real.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from itertools import product

from proxy.fhir import registry
from proxy.fhir.search import parameter as read_parameter
from proxy.fhir.search import split
from proxy.fhir.search_values import PREFIXES, date_interval
from proxy.policy.verdicts import Verdict, VerdictTable
from tests.equivalence.asking import Row
from tests.equivalence.queries import Query
from tests.equivalence.values import BASE

Pair = tuple[str, str]
_YEAR_OR_MONTH = re.compile(r"\d{4}(-\d\d)?", re.ASCII)
_DAY = 86_400 * 1_000_000
_NUMBERS = ("number", "quantity")
# How the table says that a value must be written -> what is written so.
FORMS = {
    "a year (YYYY)": r"\d{4}",
    "a year or month (YYYY, YYYY-MM)": r"\d{4}(-\d\d)?",
    "five digits": r"\d{5}",
    "three digits (000 for areas where few live)": r"\d{3}",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One parameter of a search on a type, as the table of a view judges it. ``forwarded``: by an
    identity view, which leaves to HAPI what it can. ``again``: the search has others of its name.
    """

    table: VerdictTable
    forwarded: bool
    type: str
    name: str
    value: str
    again: bool = False

    @property
    def pair(self) -> Pair:
        return self.name, self.value

    @property
    def modifier(self) -> str:
        return read_parameter(*self.pair).modifier

    @property
    def values(self) -> tuple[str, ...]:
        return split(self.value, ",")

    @property
    def search_type(self) -> str:
        """Empty for a parameter that is about the answer."""
        known = registry.get(self.type).get(read_parameter(*self.pair).code)
        return "" if known is None else known.type

    @property
    def compared(self) -> str:
        """The type of what a prefix compares: of a composite, of the last of its parts; empty with
        a modifier."""
        if self.modifier:
            return ""
        if self.search_type != "composite":
            return self.search_type
        known = registry.get(self.type)[read_parameter(*self.pair).code]
        return registry.components(known)[-1][0].type

    @property
    def verdict(self) -> Verdict:
        asked = read_parameter(*self.pair)
        return self.table.verdict(self.type, asked.code, asked.modifier, asked.chain)

    def with_value(self, value: str) -> Pair:
        return self.name, value


@dataclass(frozen=True, slots=True)
class Deviation:
    """``rule``: what R4 or the view says; ``hapi``, ``proxy``: what they do. ``applies``: to a
    parameter. ``instead``: what HAPI is asked, the rows of all together. ``apart``: it is asked in
    a search of its own, and the rows common to all searches count. ``refused``: the proxy refuses
    it. ``excused``: a row that only HAPI gives."""

    name: str
    rule: str
    hapi: str
    proxy: str
    applies: Callable[[Asked], bool]
    instead: Callable[[Asked], tuple[Pair, ...]] | None = None
    apart: bool = False
    refused: bool = False
    excused: Callable[[Row], bool] | None = None


def _prefix(value: str) -> tuple[str, str]:
    """Prefix and rest; of a composite's value, of its last part."""
    last = value.rpartition("$")[2]
    return (last[:2], last[2:]) if last[:2] in PREFIXES else ("", last)


def _with(value: str, prefix: str, text: str) -> str:
    """A value with another prefix and rest."""
    first, parted, _ = value.rpartition("$")
    return first + parted + prefix + text


def _is_list_of_ranges(asked: Asked) -> bool:
    """Lists in which HAPI wants no prefix; of coarse values each is asked in another way anyhow."""
    if asked.forwarded or asked.compared != "date" or len(asked.values) < 2:
        return False
    return any(_prefix(value)[0] for value in asked.values)


def _one_by_one(asked: Asked) -> tuple[Pair, ...]:
    return tuple(asked.with_value(value) for value in asked.values)


def _is_coarse(asked: Asked) -> bool:
    if asked.compared != "date" or len(asked.values) > 1:
        return False
    if asked.forwarded and asked.search_type == "composite":
        return False
    prefix, text = _prefix(asked.value)
    return prefix in ("ge", "le", "ne") and bool(_YEAR_OR_MONTH.fullmatch(text))


def _at_days(asked: Asked) -> tuple[Pair, ...]:
    prefix, text = _prefix(asked.value)
    found = date_interval(text)
    assert found is not None
    assert found[0].high is not None
    first = f"{text}-01-01" if len(text) == 4 else f"{text}-01"
    last = date.fromordinal(found[0].high // _DAY)
    days = {"ge": (("ge", first),), "le": (("le", last),), "ne": (("lt", first), ("gt", last))}
    return tuple(asked.with_value(_with(asked.value, p, str(day))) for p, day in days[prefix])


def _is_date_again(asked: Asked) -> bool:
    return asked.search_type == "date" and asked.again and not asked.forwarded


def _is_before_or_after(asked: Asked) -> bool:
    if asked.forwarded or asked.compared not in _NUMBERS:
        return False
    return any(_prefix(value)[0] in ("sa", "eb") for value in asked.values)


def _less_or_greater(asked: Asked) -> tuple[Pair, ...]:
    same = {"sa": "gt", "eb": "lt"}
    parts = [(value, *_prefix(value)) for value in asked.values]
    changed = [_with(value, same.get(prefix, prefix), text) for value, prefix, text in parts]
    return (asked.with_value(",".join(changed)),)


def _is_absolute(asked: Asked) -> bool:
    return BASE in asked.value


def _relative(asked: Asked) -> tuple[Pair, ...]:
    return (asked.with_value(asked.value.replace(f"{BASE}/", "")),)


def _is_half_identifier(asked: Asked) -> bool:
    if asked.verdict.way not in ("identifier", "document-identifier"):
        return False
    listed = [split(value, "|") for value in asked.values]
    return any(len(parts) != 2 or not all(parts) for parts in listed)


def _is_complement_of_bare_code(asked: Asked) -> bool:
    bare = any(len(split(value, "|")) < 2 for value in asked.values)
    return asked.modifier == "not" and asked.verdict.way == "codes" and bare


def _is_finer_than_shown(asked: Asked) -> bool:
    return any(_is_finer(asked.verdict, value) for value in asked.values)


def _is_finer(verdict: Verdict, value: str) -> bool:
    if verdict.parts:
        pieces = zip(verdict.parts, split(value, "$"), strict=False)
        return any(_is_finer(part, piece) for (_, part), piece in pieces)
    return bool(verdict.form) and not re.fullmatch(FORMS[verdict.form], _prefix(value)[1])


def _is_composite(asked: Asked) -> bool:
    return not asked.forwarded and asked.search_type == "composite" and not asked.modifier


def _has_several_components(row: Row) -> bool:
    return len(row.content.get("component", ())) > 1


def _can_read_ages(asked: Asked) -> bool:
    return asked.verdict.judge == "always" and asked.search_type in ("quantity", "composite")


def _is_banded(row: Row) -> bool:
    """Whether a row shows an age as 90 or more."""
    text = str(row.content)
    return "'comparator': '>='" in text and "'value': 90" in text


DEVIATIONS = (
    Deviation(
        "lists of ranges",
        "R4: a list is true of what any of its values is true of",
        "refuses lists of dates with prefixes",
        "judges each value",
        _is_list_of_ranges,
        instead=_one_by_one,
    ),
    Deviation(
        "years and months with ge, le and ne",
        "R4: ge2020 is true of all that reaches into 2020 or after it, le2020 of all that begins "
        "before its end, ne2020 of all that does not lie within",
        "compares with one end only: ge2020 and le2020 leave out what lies in 2020",
        "asks at day precision and judges again",
        _is_coarse,
        instead=_at_days,
    ),
    Deviation(
        "several conditions on one date",
        "R4: a parameter may be repeated, and all must hold",
        "refuses them where one is eq or ne",
        "judges each",
        _is_date_again,
        apart=True,
    ),
    Deviation(
        "sa and eb of numbers",
        "R4: of a number without a range they are gt and lt",
        "refuses them",
        "asks for gt and lt",
        _is_before_or_after,
        instead=_less_or_greater,
    ),
    Deviation(
        "references by URL at this server",
        "R4: Patient/1, 1 and [base]/Patient/1 are the same reference",
        "finds nothing by its own base",
        "asks for the relative reference",
        _is_absolute,
        instead=_relative,
    ),
    Deviation(
        "identifiers without system or value",
        "the view: a pseudonym stands for one system and value",
        "finds by value alone, by system alone",
        "refuses",
        _is_half_identifier,
        refused=True,
    ),
    Deviation(
        "the complement of a code without system",
        "the view: rows left out would tell of hidden local codes",
        "answers",
        "refuses",
        _is_complement_of_bare_code,
        refused=True,
    ),
    Deviation(
        "values finer than what is shown",
        "the view: a date or postal code is searched in the form in which it is shown",
        "compares whatever is asked",
        "refuses",
        _is_finer_than_shown,
        refused=True,
    ),
    Deviation(
        "composites over components",
        "R4: the parts of a composite hold on one and the same element",
        "gives rows in which one component has the one part, another the other",
        "judges them on each component",
        _is_composite,
        excused=_has_several_components,
    ),
    Deviation(
        "ages of 90 and more",
        "the view: an age shown as 90 or more matches no value search",
        "takes the value of the Quantity, and not its comparator",
        "finds no such row",
        _can_read_ages,
        excused=_is_banded,
    ),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """What the deviations that apply to a query come to. ``instead``: what HAPI is asked: what all
    of the groups have in common, of each group the rows of all its searches together."""

    names: tuple[str, ...]
    instead: tuple[tuple[Query, ...], ...]
    refused: bool
    excused: tuple[Callable[[Row], bool], ...]


def rule_for(table: VerdictTable, query: Query, *, forwarded: bool) -> Rule:
    """The deviations of all parameters of a query together."""
    met: dict[Deviation, None] = {}
    names = [name for name, _ in query.pairs]
    groups: list[list[list[Pair]]] = [[]]
    for name, value in query.pairs:
        asked = Asked(table, forwarded, query.type, name, value, names.count(name) > 1)
        choices = _choices(asked, met)
        if any(d.apart and d.applies(asked) for d in met):
            groups.append([choices])
        else:
            groups[0].append(choices)
    return Rule(
        tuple(d.name for d in met),
        tuple(
            tuple(replace(query, pairs=pairs) for pairs in product(*group))
            for group in groups
            if group or len(groups) == 1
        ),
        any(d.refused for d in met),
        tuple(d.excused for d in met if d.excused is not None),
    )


def _choices(asked: Asked, met: dict[Deviation, None]) -> list[Pair]:
    """What HAPI is asked for one parameter; the deviations met on the way are noted."""
    found = [d for d in DEVIATIONS if d.applies(asked)]
    met.update(dict.fromkeys(found))
    return _in_other_ways(asked, met)


def _in_other_ways(asked: Asked, met: dict[Deviation, None]) -> list[Pair]:
    for deviation in DEVIATIONS:
        if deviation.instead is not None and deviation.applies(asked):
            met[deviation] = None
            ways = [replace(asked, value=value) for _, value in deviation.instead(asked)]
            return [pair for way in ways for pair in _in_other_ways(way, met)]
    return [asked.pair]
