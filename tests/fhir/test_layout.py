"""Indenting keeps every token."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.fhir.layout import indent

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_layout(value: object) -> None:
    """Two blanks a level, a member a line, empty ones on one line."""
    assert indent(orjson.dumps(value)) == orjson.dumps(value, option=orjson.OPT_INDENT_2)
    assert indent(json.dumps(value, indent=7).encode()) == indent(json.dumps(value).encode())


EXACT = [
    b'{"a":1.10,"a":1E2}',
    b'{"value":-0.0,"big":123456789012345678901234567890,"e":1.0e-07}',
    rb'{"text":"\u00e9\/\ud800 { [ , : \" \\"}',
    b'[]',
    b'{"x":{},"y":[ ],"z":[{}]}',
]


@pytest.mark.parametrize("body", EXACT)
def test_tokens_stay(body: bytes) -> None:
    """Numbers, escapes and repeated names are what they were."""
    blanks = str.maketrans("", "", " \n")
    assert indent(body).decode().translate(blanks) == body.decode().translate(blanks)
