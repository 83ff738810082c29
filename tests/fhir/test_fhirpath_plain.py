"""Plain paths are read without the grammar's parser, and as it reads them."""

from __future__ import annotations

import pytest

from proxy.fhir.fhirpath import FhirPathError, parse
from proxy.fhir.fhirpath_syntax import Expression
from proxy.fhir.r4 import SEARCH_PARAMETERS

EXPRESSIONS = sorted({p.expression for p in SEARCH_PARAMETERS if p.expression})


def read(text: str) -> Expression | str:
    try:
        return parse(text, resolve=True)
    except FhirPathError:
        return "refused"


def read_by_grammar(text: str) -> Expression | str:
    """A parenthesis is nothing that is plain, and leaves no trace in the tree."""
    found = read(f"({text})")
    return found if isinstance(found, str) else Expression(text, found.root)


@pytest.mark.parametrize("first", range(5))
def test_registry_is_read_as_the_grammar_reads_it(first: int) -> None:
    """Each start takes every twenty-fifth expression of the search registry."""
    for text in EXPRESSIONS[first::25]:
        assert read(text) == read_by_grammar(text), text


@pytest.mark.parametrize(
    "text",
    [
        "name",
        "Patient.name.given",
        "a.b | c",
        "a|b|c",
        "as",
        "contains.is",
        "a.as",
        "true",
        "a.false",
        "day",
        "a.div",
        "_a.b2",
        "a | true",
        " | ".join(f"a{n}.b" for n in range(19)),
        " | ".join(f"a{n}.b" for n in range(30)),
    ],
)
def test_names_and_words_of_the_grammar(text: str) -> None:
    """What looks plain and is a word of the grammar means what the grammar says."""
    assert read(text) == read_by_grammar(text)


@pytest.mark.parametrize(
    "text", ["a.", ".a", "a..b", "a | ", "| a", "a b", "a.1", "a.b |", "a\n|b\x00"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    """Nearly plain is not plain."""
    assert read(text) == "refused"
