"""Does one element satisfy one search value? One function per search type (R4, search.html).

HAPI differs from the specification in places (``tests/hapi/test_match.py`` asks it). As in HAPI:
a year, month or day asked for is compared with dates as they are written, whatever their zone;
``ge`` and ``le`` hold for a period that only overlaps the one asked for, ``ne`` of a number is
exact, a quantity's comparator is not looked at, ``5.4||mg`` compares the code only, ``1e2`` is
100. As R4 says, and not as HAPI: a number without prefix has the range of its precision, the parts
of a composite hold on one element, prefixes of year and month values, lists of dates (it refuses
them), the prefixes in a list of quantities (it reads the first as that of all), local absolute
references.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proxy.errors import NotSupported
from proxy.fhir.fhirpath_values import decimal
from proxy.fhir.match_elements import Element, fold, interval, quantities, texts, tokens
from proxy.fhir.reference import Reference, parse_reference
from proxy.fhir.search import split, unescape
from proxy.fhir.search_values import (
    Interval,
    NumberValue,
    parse_date,
    parse_number,
    parse_quantity,
    parse_token,
)

Test = Callable[[Element, str], bool]  # (element, its type code)

MODIFIERS: dict[str, frozenset[str]] = {
    "token": frozenset({"", "not", "text", "of-type", "missing"}),
    "string": frozenset({"", "exact", "contains", "missing"}),
    "date": frozenset({"", "missing"}),
    "number": frozenset({"", "missing"}),
    "quantity": frozenset({"", "missing"}),
    "reference": frozenset({"", "identifier", "missing"}),  # and the type of the target
    "uri": frozenset({"", "above", "below", "missing"}),
    "composite": frozenset({""}),
}


def make_test(
    search_type: str, modifier: str, value: str, targets: tuple[str, ...], base_url: str
) -> Test:
    """A test of elements for one alternative of a parameter of a simple type.

    ``value`` has its FHIR escapes. ``targets``: the types a reference may point to, all if empty.
    ``base_url``: the base at which references are local. Raises BadValue for a malformed value,
    NotSupported for a modifier that cannot be judged here.
    """
    if search_type == "reference":
        return _reference_test(modifier, value, targets, base_url)
    if modifier not in MODIFIERS[search_type]:
        raise NotSupported("This search modifier is not supported.")
    return _MAKERS[search_type](modifier, value)


def _string_test(modifier: str, value: str) -> Test:
    wanted = unescape(value)
    if modifier == "exact":
        return lambda element, code: wanted in texts(element, code)
    folded = fold(wanted)
    if modifier == "contains":
        return lambda element, code: any(folded in fold(t) for t in texts(element, code))
    return lambda element, code: any(fold(t).startswith(folded) for t in texts(element, code))


def _token_test(modifier: str, value: str) -> Test:
    if modifier == "text":
        return _token_text(fold(unescape(value)))
    if modifier == "of-type":
        return _of_type(value)
    wanted = parse_token(value)

    def test(element: Element, code: str) -> bool:
        for system, held in tokens(element, code):
            if wanted.code is not None and held != wanted.code:
                continue
            # The system of a `code` is that of its binding, which it does not carry itself.
            if wanted.system is None or (code == "code" and wanted.system):
                return held is not None
            if wanted.system == (system or ""):
                return held is not None or wanted.code is None
        return False

    return test


def _token_text(folded: str) -> Test:
    def test(element: Element, code: str) -> bool:
        if not isinstance(element, Mapping):
            return False
        if code == "Identifier":  # R4, search.html#token: the text of its type
            return test(element.get("type"), "CodeableConcept")
        codings = element.get("coding", []) if code == "CodeableConcept" else [element]
        found = [element.get("text")]
        for coding in codings if isinstance(codings, list) else ():
            if isinstance(coding, Mapping):
                found.append(coding.get("display"))
        return any(isinstance(t, str) and fold(t).startswith(folded) for t in found)

    return test


def _of_type(value: str) -> Test:
    parts = [unescape(p) for p in split(value, "|")]
    if len(parts) != 3 or not all(parts):
        raise NotSupported("The modifier of-type needs system|code|value.")
    system, kind, number = parts

    def test(element: Element, code: str) -> bool:
        if not isinstance(element, Mapping) or element.get("value") != number:
            return False
        return (system, kind) in tokens(element.get("type"), "CodeableConcept")

    return test


def _contained(held: Interval, asked: Interval) -> bool:
    return (
        held.low is not None
        and held.high is not None
        and asked.low is not None
        and asked.high is not None
        and asked.low <= held.low
        and held.high <= asked.high
    )


def _reaches_after(held: Interval, asked: Interval) -> bool:
    return held.high is None or (asked.high is not None and held.high > asked.high)


def _reaches_before(held: Interval, asked: Interval) -> bool:
    return held.low is None or (asked.low is not None and held.low < asked.low)


# R4, search.html#prefix: how the range held stands to the range asked for. `ge` and `le` take in
# a range that only overlaps the one asked for, as HAPI does; R4's text leaves it out.
_DATES: dict[str, Callable[[Interval, Interval], bool]] = {
    "eq": _contained,
    "ne": lambda held, asked: not _contained(held, asked),
    "gt": _reaches_after,
    "lt": _reaches_before,
    "ge": lambda held, asked: (
        held.high is None or (asked.low is not None and held.high > asked.low)
    ),
    "le": lambda held, asked: (
        held.low is None or (asked.high is not None and held.low < asked.high)
    ),
    "sa": lambda held, asked: (
        held.low is not None and asked.high is not None and held.low >= asked.high
    ),
    "eb": lambda held, asked: (
        held.high is not None and asked.low is not None and held.high <= asked.low
    ),
}


def _date_test(_: str, value: str) -> Test:
    asked = parse_date(value)
    if asked.prefix not in _DATES:
        raise NotSupported("The prefix ap is not supported for dates; use ge and le.")
    compare, civil = _DATES[asked.prefix], asked.civil

    def test(element: Element, code: str) -> bool:
        held = interval(element, code, civil)
        return held is not None and compare(held, asked.interval)

    return test


def number_holds(held: object, asked: NumberValue) -> bool:
    """Whether a JSON number satisfies what is asked of it."""
    number = decimal(held)
    if number is None:
        return False
    low, high = asked.value - asked.half, asked.value + asked.half
    tenth = abs(asked.value) / 10
    return {
        "eq": low <= number < high,
        "ne": number != asked.value,  # as HAPI; by R4 outside the range of eq
        "gt": number > asked.value,
        "lt": number < asked.value,
        "ge": number >= asked.value,
        "le": number <= asked.value,
        "sa": number > asked.value,
        "eb": number < asked.value,
        "ap": asked.value - tenth <= number <= asked.value + tenth,
    }[asked.prefix]


def _number_test(_: str, value: str) -> Test:
    asked = parse_number(value)
    return lambda element, code: number_holds(element, asked)


def _quantity_test(_: str, value: str) -> Test:
    asked = parse_quantity(value)

    def holds(held: Mapping[str, object], code: str) -> bool:
        if not number_holds(held.get("value"), asked.number):
            return False
        if code == "Money":  # its currency is an ISO 4217 code
            return asked.code is None or asked.code == held.get("currency")
        if asked.system is not None and asked.system != held.get("system"):
            return False
        return asked.code is None or asked.code == held.get("code")

    return lambda element, code: any(holds(q, code) for q in quantities(element, code))


def _uri_test(modifier: str, value: str) -> Test:
    wanted = unescape(value)
    compare: dict[str, Callable[[str], bool]] = {
        "": lambda held: held == wanted,
        "below": lambda held: held.startswith(wanted),
        "above": lambda held: wanted.startswith(held),
    }
    test = compare[modifier]
    return lambda element, code: isinstance(element, str) and test(element)


def _reference_test(modifier: str, value: str, targets: tuple[str, ...], base_url: str) -> Test:
    if modifier == "identifier":
        wanted = _token_test("", value)
        return lambda element, code: (
            isinstance(element, Mapping) and wanted(element.get("identifier"), "Identifier")
        )
    if modifier in ("above", "below") or (modifier and not modifier[0].isupper()):
        raise NotSupported("This search modifier is not supported.")
    text = unescape(value)
    asked = parse_reference(text, base_url)
    kinds = (modifier,) if modifier else targets

    def test(element: Element, code: str) -> bool:
        if isinstance(element, str):
            return _canonical(element, text)
        if not isinstance(element, Mapping):
            return False
        held = parse_reference(element.get("reference"), base_url)
        kind = held.type or element.get("type")
        if kinds and kind not in kinds:
            return False
        if asked.kind == "invalid" or ("/" not in text and asked.kind != "urn"):
            return held.id == text and held.base == base_url
        return _same(held, asked)

    return test


def _same(held: Reference, asked: Reference) -> bool:
    if asked.version and asked.version != held.version:
        return False
    return bool(asked.identity) and held.identity == asked.identity


def _canonical(held: str, asked: str) -> bool:
    """R4, references.html#canonical: a version that is not asked for does not count."""
    return held == asked or ("|" not in asked and held.partition("|")[0] == asked)


_MAKERS: dict[str, Callable[[str, str], Test]] = {
    "string": _string_test,
    "token": _token_test,
    "date": _date_test,
    "number": _number_test,
    "quantity": _quantity_test,
    "uri": _uri_test,
}
