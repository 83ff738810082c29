"""shift: every date of a person moves by the same days; offsets are uniform and frozen."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy.errors import BadValue
from proxy.fhir.match_values import make_test
from proxy.lenses import method
from proxy.lenses.backward import DATES, NotTranslatable, Ranged
from proxy.lenses.identity import Namer
from proxy.lenses.keys import KeyRing
from proxy.lenses.offsets import choose, offset_of
from proxy.lenses.shift import DEFAULT_RANGE, ShiftedDay
from tests.lenses.test_backward import DATES as ANY_DATE
from tests.lenses.test_backward import near
from tests.vectors import read

RANGES = st.sampled_from([(-365, -1), (1, 30), (-3, -3), (-36525, -1), (365, 730)])


@dataclass(frozen=True, slots=True)
class Whose:
    """The context of a lens, as far as this one looks."""

    offset: int | None


def show(value: Any, offset: int | None, code: str = "dateTime") -> Any:
    transform = method("shift").bind({}, code)
    return transform(value, Whose(offset))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stored", "offset", "shown"),
    [
        ("2020-03-01", -1, "2020-02-29"), ("2019-03-01", -1, "2019-02-28"),
        ("2020-02-29", -365, "2019-03-01"), ("2020-02-29", -366, "2019-02-28"),
        ("2020-02-29", 366, "2021-03-01"), ("2000-02-28", 1, "2000-02-29"),
        ("1900-02-28", 1, "1900-03-01"), ("2020-01-01", -1, "2019-12-31"),
        ("2020-03-01T08:30:00-05:00", -60, "2020-01-01T08:30:00-05:00"),
        ("2020-03-01T23:59:60.123456789Z", -1, "2020-02-29T23:59:60.123456789Z"),
        ("2016-12-31T23:30:00+14:00", 1, "2017-01-01T23:30:00+14:00"),
        ("2020-03", -15, "2020-03"), ("2020-03", -16, "2020-02"), ("2020-03", 16, "2020-04"),
        ("2020-02", -15, "2020-01"), ("2021-02", -14, "2021-02"), ("2021-02", -15, "2021-01"),
        ("2020", -182, "2020"), ("2020", -183, "2020"), ("2020", -184, "2019"),
        ("2021", -182, "2021"), ("2021", -183, "2020"), ("2021", 182, "2021"),
        ("2021", 183, "2022"), ("0001-01-01", -1, None), ("9999-12-31", 1, None),
        ("0001", -200, None), ("9999-12-31T23:59:59Z", -1, "9999-12-30T23:59:59Z"),
        ("2021-02-29", -1, None), ("2020-3-1", -1, None), ("2020-03-01T08:30", -1, None),
        ("", -1, None), (None, -1, None), (20200301, -1, None), ({}, -1, None),
        ("2020-03-01", None, None),
    ],
)  # fmt: skip
def test_dates_move_by_calendar_days(stored: Any, offset: int | None, shown: str | None) -> None:
    """Leap days count, times and zones stay, a date without a day moves from its middle; what is
    malformed, leaves the calendar or is nobody's cannot be shown."""
    assert show(stored, offset) == shown


@pytest.mark.parametrize(
    ("code", "stored"),
    [("date", "2020-03-01T08:30:00Z"), ("instant", "2020-03-01"), ("instant", "2020")],
)
def test_a_date_of_another_type_is_malformed(code: str, stored: str) -> None:
    """A date has no time, an instant has all of it."""
    assert show(stored, -1, code) is None


@given(one=st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1)),
       two=st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1)),
       zone=st.sampled_from(["Z", "-05:00", "+14:00"]),
       offset=st.integers(-36525, 36525))  # fmt: skip
def test_intervals_and_times_of_day_stay(
    one: datetime, two: datetime, zone: str, offset: int
) -> None:
    """Between any two dates of a person lies as much time as before, and each keeps its text from
    the time of day on."""
    texts = [f"{each.isoformat(timespec='microseconds')}{zone}" for each in (one, two)]
    shown = [show(text, offset) for text in texts]
    assert [text[10:] for text in shown] == [text[10:] for text in texts]
    moved = [datetime.fromisoformat(text[:26]) for text in shown]
    assert moved[1] - moved[0] == two - one
    assert moved[0] - one == timedelta(days=offset)


@given(stored=ANY_DATE, offset=st.integers(-400, 400))
def test_precision_stays(stored: str, offset: int) -> None:
    """What has no day, or no time, has none afterwards; a year or month moves by what its middle
    does."""
    shown = show(stored, offset)
    assume(shown is not None)
    assert len(shown) == len(stored)
    assert shown[10:] == stored[10:]
    if len(stored) == 4:
        assert abs(int(shown) - int(stored)) <= 1 + abs(offset) // 365


@pytest.mark.parametrize("among", [1, 2, 3, 7, 30, 255, 256, 365])
def test_every_offset_is_as_likely_as_any_other(among: int) -> None:
    """Over all values that can be drawn, each offset comes up equally often; what is left over is
    drawn again."""
    bound = 1 << 9
    drawn = Counter(choose([value, -1], bound, among) for value in range(bound // among * among))
    assert drawn == dict.fromkeys(range(among), bound // among)
    for value in range(bound // among * among, bound):
        assert choose([value, among - 1], bound, among) == among - 1


def test_both_ends_of_the_range_are_offsets() -> None:
    """Every day of a range is somebody's offset, none outside it."""
    key = hashlib.sha256(b"offsets").digest()
    assert {offset_of(key, str(n), -7, -1) for n in range(400)} == set(range(-7, 0))
    assert {offset_of(key, str(n), 5, 5) for n in range(9)} == {5}


def test_offsets_are_frozen() -> None:
    """What earlier releases moved by, dates are moved by for ever."""
    vectors = read("pseudonyms.json")
    masters = [bytes.fromhex(text) for text in vectors["masters"]]
    ring = KeyRing.new(hashlib.sha256(b"service").digest(), masters[0], date(2026, 1, 31))
    for master in masters[1:]:
        ring = ring.rotate(master, date(2026, 1, 31))
    namer = Namer(ring.project(vectors["project"], vectors["policy"]))
    for case in vectors["offsets"]:
        assert namer.offset(case["person"], *case["range"]) == case["offset"]
    other = Namer(ring.project("another", vectors["policy"]))
    persons = [str(n) for n in range(50)]
    assert [namer.offset(p, -365, -1) for p in persons] != [
        other.offset(p, -365, -1) for p in persons
    ]


@settings(max_examples=600)
@given(stored=ANY_DATE, asked=ANY_DATE, prefix=st.sampled_from(["", *DATES]), limits=RANGES,
       data=st.data())  # fmt: skip
def test_the_way_back_finds_what_matches(
    stored: str, asked: str, prefix: str, limits: tuple[int, int], data: st.DataObject
) -> None:
    """What shows a date that matches lies in the span asked for, whosever it is; and in the span
    of its own person, if that one is known."""
    offset = data.draw(st.integers(*limits))
    shown = show(stored, offset)
    assume(shown is not None)
    if data.draw(st.booleans()):
        asked = shown
    if not make_test("date", "", prefix + asked, (), "")(shown, "dateTime"):
        return
    found = method("shift").backward({"range": limits}, "date")
    assert isinstance(found, ShiftedDay)
    for each in (found, found.pinned(offset)):
        span = each.span(prefix + asked)
        assert span is not None
        for name, end in (("ge", span.low), ("le", span.high)):
            assert end is None or near(stored, str(end), name), span


def test_one_person_is_asked_for_more_closely() -> None:
    """A known offset leaves days and half a year for dates without a day; the range is as wide as
    it says otherwise."""
    found = method("shift").backward({}, "date")
    assert isinstance(found, ShiftedDay)
    wide, close = found.span("2020-06-15"), found.pinned(-60).span("2020-06-15")
    assert wide is not None
    assert close is not None
    half = timedelta(days=184)
    assert (close.low, close.high) == (date(2020, 8, 14) - half, date(2020, 8, 14) + half)
    assert (wide.low, wide.high) == (date(2020, 6, 16) - half, date(2021, 6, 15) + half)
    assert DEFAULT_RANGE == (-365, -1)


def test_other_searches_have_no_way_back() -> None:
    """A moved date is asked for as a date, in the form of one."""
    with pytest.raises(NotTranslatable):
        method("shift").backward({}, "string")
    found = method("shift").backward({}, "date")
    assert isinstance(found, Ranged)
    assert found.prefixes == DATES
    with pytest.raises(BadValue):
        found.span("yesterday")
    with pytest.raises(ValueError, match="does not suit"):
        method("shift").bind({}, "string")
