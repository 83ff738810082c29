"""Patterns in FHIRPath: those that end soon are matched, on texts of bounded length."""

from __future__ import annotations

import pytest

from proxy.fhir.fhirpath import FhirPathError, predicate
from proxy.fhir.patterns import MAX_TEXT, PatternError, check_pattern


@pytest.mark.parametrize(
    "pattern",
    ["^[A-Z]{2}-[0-9]+$", "(abc)+", "^(a|b|cd)$", ".*-.*", "^[0-9]{3}(-[0-9]{2})?$", "(?i)smith",
     "([0-9]{2})+", "a??b", "^.*x.*y$", ""],
)  # fmt: skip
def test_patterns_that_end_soon(pattern: str) -> None:
    """Repeats of what has one form, choices and options outside a repeat are taken."""
    check_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+$", "(a*)*b", "(a|aa)+$", "(a?){40}a{40}", "((a{1,2}))+", "(.*a){20}", "(x+x+)+y",
     "(?:a|a)*", "(a+?)+?$", "a*a*a*a*b", "(a)\\1", "(?=a+)", "(?<!a)b", "(?>a+)b", "(a", "a++",
     "(" * 3000],
)  # fmt: skip
def test_patterns_that_may_not_end(pattern: str) -> None:
    """What could try more ways than can be waited for is refused before it is used."""
    with pytest.raises(PatternError):
        check_pattern(pattern)
    if "\\" not in pattern:
        with pytest.raises(FhirPathError, match="pattern"):
            predicate(f"family.matches('{pattern}')", "HumanName")


@pytest.mark.parametrize(
    ("text", "length", "expected"),
    [
        ("family.matches('^a+$')", MAX_TEXT, True),
        ("family.matches('^b+$')", MAX_TEXT, False),
        ("family.matches('^b+$').not()", MAX_TEXT, True),
        ("family.matches('^a+$')", MAX_TEXT + 1, False),
        ("family.matches('^b+$').not()", MAX_TEXT + 1, False),
        ("iif(family.matches('^a+$'), true, true)", MAX_TEXT + 1, False),
        ("family.replaceMatches('a', 'b').startsWith('b')", MAX_TEXT, True),
        ("family.replaceMatches('a', 'b').startsWith('b')", MAX_TEXT + 1, False),
    ],
)
def test_long_texts_select_nothing(text: str, length: int, expected: bool) -> None:
    """A pattern on a longer text is an evaluation that fails: the predicate does not select,
    whatever is made of the match."""
    assert predicate(text, "HumanName")({"family": "a" * length}) is expected


def test_a_predicate_without_the_element() -> None:
    """Nothing matches no pattern."""
    assert predicate("family.matches('^a+$')", "HumanName")({}) is False
