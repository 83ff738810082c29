"""Forward and backward of every lens fit together: what is asked for finds all that is shown so."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy.errors import BadValue, Forbidden
from proxy.fhir.codec import Fragment
from proxy.fhir.match_values import make_test
from proxy.fhir.search_values import date_interval
from proxy.lenses import method
from proxy.lenses.backward import (
    BORDERS,
    Listed,
    NotTranslatable,
    Ranged,
    SameDay,
    Span,
    hull,
)

NOBODY: Any = None  # these lenses look at nothing but the value

YEARS = st.integers(1, 9999).map("{:04}".format)
MONTHS = st.dates().map(lambda day: day.isoformat()[:7])
DAYS = st.dates().map(lambda day: day.isoformat())
ZONES = st.sampled_from(["Z", "+00:00", "-05:00", "+14:00", "-12:00", "+05:30"])
TIMES = st.tuples(
    st.dates(), st.sampled_from(["00:00:00", "23:59:60", "12:30:00.123456789", "23:59:59"]), ZONES
).map(lambda parts: f"{parts[0].isoformat()}T{parts[1]}{parts[2]}")
DATES = st.one_of(YEARS, MONTHS, DAYS, TIMES)


def generalize(**params: object) -> tuple[Any, Any]:
    """Forward for a type, and backward for a type of search, of one way to generalize."""
    lens = method("generalize")

    def show(code: str, value: Any) -> Any:
        return lens.forward(value, params, code, NOBODY)

    return show, lambda search_type: lens.backward(params, search_type)


def near(text: str, asked: str, prefix: str) -> bool:
    """Whether a server may find a stored date by a day: it reads its own day, or that of UTC."""
    for civil in (True, False):
        held, day = date_interval(text, civil), date_interval(asked)
        assert held is not None
        assert day is not None
        low, high = held[0].low, held[0].high
        assert low is not None
        assert high is not None
        assert day[0].low is not None
        assert day[0].high is not None
        if not (high > day[0].low if prefix == "ge" else low < day[0].high):
            return False
    return True


@settings(max_examples=400)
@given(stored=DATES, asked=st.one_of(YEARS, MONTHS), prefix=st.sampled_from(BORDERS),
       to=st.sampled_from(["year", "month"]), same=st.booleans())  # fmt: skip
def test_dates(stored: str, asked: str, prefix: str, to: str, same: bool) -> None:
    """What shows a year or month that matches lies in the span asked for, in whatever time zone
    the server reads days."""
    show, backward = generalize(to=to)
    shown = show("dateTime", stored)
    assert shown is not None
    if same:
        asked = shown
    assume(to == "month" or len(asked) == 4)
    found = backward("date")
    assert isinstance(found, Ranged)
    found.check(asked)
    if make_test("date", "", prefix + asked, (), "")(shown, "dateTime"):
        span = found.span(prefix + asked)
        assert span is not None
        for name, end in (("ge", span.low), ("le", span.high)):
            assert end is None or near(stored, str(end), name), span


ZIPS = st.one_of(
    st.from_regex(r"[0-9]{3}([0-9]{2}(-?[0-9]{4})?)?", fullmatch=True),
    st.from_regex(r" ?(036|000|481|343)[0-9]{2} ?", fullmatch=True),
    st.text("048 -\u0664", max_size=6),
)
PLACES = st.sampled_from(["MI", "mi", "Michigan ", " MI", "Utah", "US", "usa", "Canada", "x"])


@settings(max_examples=400)
@given(to=st.sampled_from(["zip3", "zip3-padded", "zip5", "state", "country"]), data=st.data())
def test_places(to: str, data: st.DataObject) -> None:
    """What shows a place that matches begins, as stored, with one of the texts asked for."""
    stored = data.draw(ZIPS if to.startswith("zip") else PLACES)
    show, backward = generalize(to=to)
    shown = show("string", stored)
    assume(shown is not None)
    found = backward("string")
    assert isinstance(found, Listed)
    drawn = (shown, shown[:1], "000", "00000")
    asked = data.draw(st.sampled_from(drawn))
    if make_test("string", "", asked, (), "")(shown, "string"):
        tests = [make_test("string", "", value, (), "") for value in found.values(asked)]
        assert any(test(stored, "string") for test in tests)


@settings(max_examples=300)
@given(
    stored=st.decimals(-50, 150, places=3),
    asked=st.one_of(st.sampled_from(["0", "18", "64.5", "65"]), st.decimals(-1, 99, places=1)),
    prefix=st.sampled_from(BORDERS),
    to=st.sampled_from(["range", "age-band"]),
)
def test_steps(stored: Decimal, asked: object, prefix: str, to: str) -> None:
    """What shows a border that matches lies in the span asked for."""
    steps = {"steps": (0, 18, 64.5, 65)} if to == "range" else {}
    show, backward = generalize(to=to, **steps)
    shown = show("Quantity", {"value": Fragment(str(stored))})
    assume(shown is not None)
    found = backward("quantity")
    assert isinstance(found, Ranged)
    matched = make_test("quantity", "", f"{prefix}{asked}", (), "")(shown, "Quantity")
    span = found.span(f"{prefix}{asked}")
    if span is None:
        assert not matched
    elif matched:
        assert span.low is None or stored >= span.low  # type: ignore[operator]
        assert span.high is None or stored <= span.high  # type: ignore[operator]


@given(
    code=st.sampled_from("abcd"), system=st.sampled_from([None, "u|x"]),
    asked=st.sampled_from(["x", "y", "z", "|x", "u\\|x|x", "u\\|x|", "u\\|x|q"]),
)  # fmt: skip
def test_codes(code: str, system: str | None, asked: str) -> None:
    """What shows a code that matches is found by one of those that are shown as it."""
    show, backward = generalize(map=(("a", "x"), ("b", "x"), ("c", "y")))
    stored = {"code": code} | ({"system": system} if system else {})
    shown = show("Coding", stored)
    if shown is not None and make_test("token", "", asked, (), "")(shown, "Coding"):
        found = backward("token").values(asked)
        assert any(make_test("token", "", value, (), "")(stored, "Coding") for value in found)


@pytest.mark.parametrize(
    ("params", "search_type"),
    [
        ({"to": "year"}, "string"), ({"to": "zip3"}, "token"), ({"to": "state"}, "date"),
        ({"to": "age-band"}, "string"), ({"map": (("a", "b"),)}, "quantity"),
        ({"map": (("a", "b"),)}, "string"),
    ],
)  # fmt: skip
def test_other_searches_have_no_way_back(params: dict[str, object], search_type: str) -> None:
    """A lens says nothing of searches that its values are not made for."""
    with pytest.raises(NotTranslatable):
        method("generalize").backward(params, search_type)


@pytest.mark.parametrize("name", ["remove", "mask", "pseudonymize", "narrative"])
def test_what_hides_or_renames_has_no_way_back(name: str) -> None:
    """Hidden values cannot be asked for; names are decoded by who made them."""
    with pytest.raises(NotTranslatable):
        method(name).backward({}, "string")


@pytest.mark.parametrize(
    ("to", "value", "error"),
    [
        ("year", "2018-03", Forbidden), ("year", "2018-03-04T05:06:07Z", Forbidden),
        ("year", "x", BadValue), ("month", "2018-03-04", Forbidden), ("zip3", "48104", Forbidden),
        ("zip3", "036", Forbidden), ("zip5", "481", BadValue),
        ("zip3-padded", "48104", Forbidden), ("zip3-padded", "481", Forbidden),
        ("zip3-padded", "03600", Forbidden),
    ],
)  # fmt: skip
def test_finer_values_are_refused(to: str, value: str, error: type[Exception]) -> None:
    """What is finer than what shows is refused, in words that say what to ask instead."""
    search_type = "string" if to.startswith("zip") else "date"
    with pytest.raises(error):
        method("generalize").backward({"to": to}, search_type).check(value)


@pytest.mark.parametrize(
    ("value", "span"),
    [
        ("5.4", (Decimal("5.35"), Decimal("5.45"))), ("ge5", (Decimal(5), None)),
        ("sa5", (Decimal(5), None)), ("lt5|u|mg", (None, Decimal(5))), ("ne5", (None, None)),
        ("ap10", (Decimal(9), Decimal(11))),
    ],
)  # fmt: skip
def test_numbers_as_stored(value: str, span: tuple[Decimal | None, Decimal | None]) -> None:
    """Beside values that show less exactly, those that show as stored widen what is asked for."""
    found = method("keep").backward({}, "quantity")
    assert isinstance(found, Ranged)
    assert found.span(value) == Span(*span)


def test_spans() -> None:
    """An instant may lie on the day before or after, by the zone that it is read in; a hull is
    open where one of its spans is."""
    span = SameDay().span("ge2018-01-01T00:30:00+14:00")
    assert span is not None
    assert str(span.low) == "2017-12-30"
    assert hull([Span(Decimal(1), Decimal(2)), Span(Decimal(0), None)]) == Span(Decimal(0), None)
    assert hull([Span(None, Decimal(2)), Span(Decimal(0), None)]).open
