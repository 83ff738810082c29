"""Where the twins answer differently, and why: the only differences that a comparison passes over.

Three kinds. HAPI deviates from R4 and the proxy does not: then HAPI is asked in another way, in
which it answers what R4 says. The proxy refuses a way of writing a value that it cannot answer
without telling what is hidden. The view's own rule takes rows away from a value search.
``test_deviations.py`` shows that each of them is real.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from proxy.fhir import registry
from proxy.fhir.search import split
from proxy.fhir.search_values import date_interval, parse_number
from proxy.policy.verdicts import Verdict
from tests.equivalence.asked import Asked, prefix_of, rewritten
from tests.equivalence.asking import Row
from tests.equivalence.values import BASE

Ways = tuple[tuple[str, ...], ...]
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
class Deviation:
    """``rule``: what R4 or the view says; ``hapi``, ``proxy``: what they do. ``applies``: to a
    parameter. ``instead``: the values that HAPI is asked for, those of a way all at once, the rows
    of all ways together. ``apart``: it is asked in a search of its own, and the rows common to all
    searches count. ``refused``: the proxy refuses it. ``alone``: only the proxy answers it rightly,
    so nothing is compared. ``unordered``: the order is not compared. ``excused``: a row that only
    HAPI gives."""

    name: str
    rule: str
    hapi: str
    proxy: str
    applies: Callable[[Asked], bool]
    instead: Callable[[Asked], Ways] | None = None
    apart: bool = False
    refused: bool = False
    alone: bool = False
    unordered: bool = False
    excused: Callable[[Row], bool] | None = None


def _is_list_of_ranges(asked: Asked) -> bool:
    """Lists in which HAPI wants no prefix; of coarse values each is asked in another way anyhow."""
    if asked.forwarded or asked.compared != "date" or len(asked.values) < 2:
        return False
    return any(prefix_of(value)[0] for value in asked.values)


def _is_list_of_prefixes(asked: Asked) -> bool:
    if asked.forwarded or asked.compared != "quantity":
        return False
    return len({prefix_of(value)[0] or "eq" for value in asked.values}) > 1


def _one_by_one(asked: Asked) -> Ways:
    return tuple((value,) for value in asked.values)


def _by_range(asked: Asked) -> Ways:
    """Each value by itself; one without prefix by the range of its precision."""
    return tuple(_range(value) for value in asked.values)


def _range(value: str) -> tuple[str, ...]:
    prefix, text = prefix_of(value)
    if prefix not in ("", "eq"):
        return (value,)
    number, parted, unit = text.partition("|")
    read = parse_number(number)
    bounds = (("ge", read.value - read.half), ("lt", read.value + read.half))
    return tuple(rewritten(value, p, f"{bound:f}{parted}{unit}") for p, bound in bounds)


def _is_coarse(asked: Asked) -> bool:
    if asked.compared != "date" or len(asked.values) > 1:
        return False
    if asked.forwarded and asked.search_type == "composite":
        return False
    prefix, text = prefix_of(asked.value)
    return prefix in ("ge", "le", "ne") and bool(_YEAR_OR_MONTH.fullmatch(text))


def _at_days(asked: Asked) -> Ways:
    prefix, text = prefix_of(asked.value)
    found = date_interval(text)
    assert found is not None
    assert found[0].high is not None
    first = f"{text}-01-01" if len(text) == 4 else f"{text}-01"
    last = date.fromordinal(found[0].high // _DAY)
    days = {"ge": (("ge", first),), "le": (("le", last),), "ne": (("lt", first), ("gt", last))}
    return tuple((rewritten(asked.value, p, str(day)),) for p, day in days[prefix])


def _is_date_again(asked: Asked) -> bool:
    return asked.search_type == "date" and asked.again and not asked.forwarded


def _is_before_or_after(asked: Asked) -> bool:
    if asked.forwarded or asked.compared not in _NUMBERS:
        return False
    return any(prefix_of(value)[0] in ("sa", "eb") for value in asked.values)


def _less_or_greater(asked: Asked) -> Ways:
    same = {"sa": "gt", "eb": "lt"}
    parts = [(value, *prefix_of(value)) for value in asked.values]
    changed = [rewritten(value, same.get(prefix, prefix), text) for value, prefix, text in parts]
    return ((",".join(changed),),)


def _is_absolute(asked: Asked) -> bool:
    return BASE in asked.value


def _relative(asked: Asked) -> Ways:
    return ((asked.value.replace(f"{BASE}/", ""),),)


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
    return bool(verdict.form) and not re.fullmatch(FORMS[verdict.form], prefix_of(value)[1])


def _sorts_by_what_hapi_lacks(asked: Asked) -> bool:
    if asked.name != "_sort" or asked.forwarded:
        return False
    keys = [value.removeprefix("-") for value in asked.values]
    known = registry.get(asked.type)
    return any("us/core" in known[key].url for key in keys if key in known)


def _is_of_all_days(asked: Asked) -> bool:
    """A date of US Core that is only not to be one, where dates show in another form: nothing is
    asked of it upstream, since any stored date may show another."""
    code = asked.name.partition(":")[0]
    known = registry.get(asked.type).get(code)
    if asked.forwarded or known is None or "us/core" not in known.url or asked.compared != "date":
        return False
    return bool(asked.verdict.backward) and {prefix_of(v)[0] for v in asked.values} == {"ne"}


def _by_id(asked: Asked) -> Ways:
    return (("_id",),)


def _is_missing_in_chain(asked: Asked) -> bool:
    return bool(asked.lead) and asked.modifier == "missing" and not asked.forwarded


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
        "lists of quantities with several prefixes",
        "R4: each value of a list has a prefix of its own; one without stands for the range of its "
        "precision",
        "takes the prefix of the first value for all of them; one without finds the number only, "
        "also by itself",
        "asks for the span of them all and judges each value",
        _is_list_of_prefixes,
        instead=_by_range,
        excused=_has_several_components,
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
        "sorts by parameters of US Core",
        "the parameters of US Core are search parameters like others",
        "does not know them unless they are loaded into it",
        "sorts by what is shown",
        _sorts_by_what_hapi_lacks,
        instead=_by_id,
        unordered=True,
    ),
    Deviation(
        "ne of dates of US Core",
        "the parameters of US Core are search parameters like others",
        "does not know them unless they are loaded into it",
        "judges what is shown",
        _is_of_all_days,
        alone=True,
    ),
    Deviation(
        "missing at the end of a chain",
        "R4: true where what is referred to has no such element",
        "looks at the row itself, which never has it",
        "judges what is referred to",
        _is_missing_in_chain,
        alone=True,
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
