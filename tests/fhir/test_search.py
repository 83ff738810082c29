"""Search parameters as written: decoding, names, alternatives, escapes, typed values."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadStructure, BadValue, NotSupported, ProxyError, TooCostly
from proxy.fhir import search
from proxy.fhir import search_values as values
from proxy.fhir.search import Parameter, parse_form, parse_query, print_query


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", ()),
        ("code=a", (Parameter("code", "", "", "a"),)),
        ("code=a&code=b", (Parameter("code", "", "", "a"), Parameter("code", "", "", "b"))),
        ("b=1&a=2&", (Parameter("b", "", "", "1"), Parameter("a", "", "", "2"))),
        ("%66amily=Eve", (Parameter("family", "", "", "Eve"),)),
        ("%2566amily=Eve", None),  # decoded once: no name
        ("family%3Aexact=Eve", (Parameter("family", "exact", "", "Eve"),)),
        ("name=Eve+Every%2Bwoman", (Parameter("name", "", "", "Eve Every+woman"),)),
        ("name=100%2525", (Parameter("name", "", "", "100%25"),)),
        ("name=a=b", (Parameter("name", "", "", "a=b"),)),
        ("subject:Patient.name:exact=E", (Parameter("subject", "Patient", "name:exact", "E"),)),
        ("patient.family=E", (Parameter("patient", "", "family", "E"),)),
        (
            "_has:Observation:patient:code=1",
            (Parameter("_has", "Observation:patient:code", "", "1"),),
        ),
        ("_has=1", (Parameter("_has", "", "", "1"),)),
        ("_include:iterate=Observation:subject", (
            Parameter("_include", "iterate", "", "Observation:subject"),
        )),
        ("address-state=MI", (Parameter("address-state", "", "", "MI"),)),
    ],
)  # fmt: skip
def test_a_query_is_decoded_once_and_kept_in_order(
    raw: str, expected: tuple[Parameter, ...] | None
) -> None:
    """Names split into code, modifier and chain; `+` is a blank; nothing is decoded twice."""
    if expected is None:
        with pytest.raises(NotSupported):
            parse_query(raw)
    else:
        assert parse_query(raw) == expected
        assert parse_form(raw.encode() + b"\r\n") == expected


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        ("code", BadStructure),
        ("code=%", BadStructure),
        ("code=%zz", BadStructure),
        ("code=%C3", BadStructure),
        ("code=\u00e9", BadStructure),
        ("code=", BadValue),
        ("code=a%00b", BadValue),
        ("code=a%0Ab", BadValue),
        ("code=a%C2%85b", BadValue),
        ("=a", NotSupported),
        ("a b=c", NotSupported),
        ("a/b=c", NotSupported),
        ("co%00de=c", NotSupported),
        ("a..b=c", NotSupported),
        ("a:=c", NotSupported),
        (".a=c", NotSupported),
        ("&".join(["a=b"] * 201), TooCostly),
        ("a=" + "b" * 20_001, BadValue),
    ],
)
def test_a_malformed_query_is_an_error_that_echoes_nothing(
    raw: str, error: type[ProxyError]
) -> None:
    """Bad escapes, bad UTF-8, empty values, control characters and odd names are refused."""
    with pytest.raises(error) as caught:
        parse_query(raw)
    assert raw[:20] not in caught.value.text or not raw


_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn")), min_size=1, max_size=20)


@given(st.lists(st.tuples(st.sampled_from(["a", "b:exact", "c:T.d", "_id"]), _TEXT), max_size=5))
def test_printing_and_parsing_are_inverse(pairs: list[tuple[str, str]]) -> None:
    """What is printed is read as the same parameters, in order, whatever the values hold."""
    parameters = tuple(search.parameter(name, value) for name, value in pairs)
    assert parse_query(print_query(parameters)) == parameters
    assert search.pairs(parameters) == tuple(pairs)


@given(st.lists(_TEXT, min_size=1, max_size=4))
def test_escaped_alternatives_come_back(alternatives: list[str]) -> None:
    """Joining escaped texts by comma and splitting gives the texts again."""
    value = ",".join(search.escape(a) for a in alternatives)
    assert [search.unescape(a) for a in search.parameter("a", value).alternatives] == alternatives


def test_only_known_escapes_are_read() -> None:
    """A backslash before anything else, or at the end, is malformed."""
    assert search.unescape(r"a\,b\|c\$d\\e") == r"a,b|c$d\e"
    for text in (r"a\b", "a\\"):
        with pytest.raises(BadValue):
            search.unescape(text)


def test_alternatives_are_limited() -> None:
    """An OR list of more than a thousand members is too costly."""
    with pytest.raises(TooCostly):
        _ = search.parameter("a", ",".join("b" * 1001)).alternatives
    with pytest.raises(BadValue):
        values.nonempty(search.parameter("a", "b,,c").alternatives)


@pytest.mark.parametrize(
    ("text", "prefix", "precision", "seconds"),
    [
        ("2018", "eq", "year", 365 * 86400),
        ("ge2020", "ge", "year", 366 * 86400),
        ("2020-02", "eq", "month", 29 * 86400),
        ("lt2018-12", "lt", "month", 31 * 86400),
        ("9999-12", "eq", "month", 31 * 86400),
        ("9999", "eq", "year", 365 * 86400),
        ("2018-01-02", "eq", "day", 86400),
        ("2018-01-02T03:04Z", "eq", "minute", 60),
        ("sa2018-01-02T03:04:05", "sa", "second", 1),
    ],
)
def test_a_date_is_the_interval_of_its_precision(
    text: str, prefix: str, precision: str, seconds: int
) -> None:
    """R4, search.html#date: a date without time is a period."""
    value = values.parse_date(text)
    low, high = value.interval.low, value.interval.high
    assert low is not None
    assert high is not None
    assert (value.prefix, value.precision, high - low) == (prefix, precision, seconds * 10**6)


def test_time_zones_meet() -> None:
    """The same instant in two zones is one interval; fractions are kept to the microsecond."""
    one = values.parse_date("2018-01-01T03:00:00.25+05:00").interval
    other = values.parse_date("2017-12-31T22:00:00.25Z").interval
    assert one == other
    assert one.high is not None
    assert one.low is not None
    assert one.high - one.low == 10_000


@pytest.mark.parametrize(
    "text",
    ["", "18", "2018-13", "2018-02-30", "0000", "2018-1-1", "xx2018", "2018-01-02T25:00:00Z",
     "2018-01-02T03", "2018-01-02T03:04:05 05:00", "2018Z", "yesterday",
     "\u0662\u0660\u0661\u0668"],
)  # fmt: skip
def test_what_is_no_date_is_a_bad_value(text: str) -> None:
    """Calendar and grammar are both checked."""
    with pytest.raises(BadValue):
        values.parse_date(text)


def test_a_number_carries_its_precision() -> None:
    """R4, search.html#number: 100 means 99.5 to 100.5, 100.00 means 99.995 to 100.005."""
    for text, half in [("100", "0.5"), ("100.00", "0.005"), ("-2.5", "0.05"), ("1e2", "0.5")]:
        assert values.parse_number(text).half == Decimal(half)
    for text in ("", "gt", "1.", ".5", "1e", "NaN", "Infinity", "0x1", "1_000", "1,2"):
        with pytest.raises(BadValue):
            values.parse_number(text)


def test_quantities_and_tokens_split_at_bars() -> None:
    """`number|system|code`; `code`, `system|code`, `|code`, `system|`."""
    quantity = values.parse_quantity("gt5.4|http://u|m\\|g")
    assert (quantity.number.prefix, quantity.system, quantity.code) == ("gt", "http://u", "m|g")
    assert values.parse_quantity("5.4||mg").system is None
    for text in ("5.4|mg", "5|a|b|c", "|a|b"):
        with pytest.raises(BadValue):
            values.parse_quantity(text)
    assert values.parse_token("a") == values.TokenValue(None, "a")
    assert values.parse_token("|a") == values.TokenValue("", "a")
    assert values.parse_token("s|") == values.TokenValue("s", None)
    assert values.parse_token(r"s\|t|a|b") == values.TokenValue("s|t", "a|b")
    with pytest.raises(BadValue):
        values.parse_token("|")
