"""Lone surrogates are found, taken away and put back, and read as no strings of FHIR."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadStructure, UpstreamBroken
from proxy.fhir.codec import decode, decode_strict, encode
from proxy.fhir.surrogates import Unpaired, has_lone, hide, mend, restore

TEXTS: list[tuple[bytes, bool]] = [
    (rb'"\ud800"', True),
    (rb'"\uDFFF"', True),
    (rb'"\ud83d\ude00"', False),
    (rb'"\uD83D\uDE00 \uDE00"', True),
    (rb'"\ud83d\ud83d\ude00"', True),
    (rb'"\\ud800"', False),
    (rb'"\\\ud800"', True),
    (rb'"\u00e9 plain"', False),
    (rb'"\"\ud800"', True),
    (b'"ud800"', False),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS)
def test_found_and_put_back(text: bytes, expected: bool) -> None:
    """A lone surrogate is known from a pair and from an escaped backslash; marks stand for exactly
    what was there; mended text is read by any parser."""
    assert has_lone(text) == expected
    hidden_text, hidden = hide(text)
    assert (len(hidden) > 0) == expected
    assert not has_lone(hidden_text)
    assert restore(hidden_text, hidden) == text
    assert json.loads(mend(text)).encode()


@given(st.text(st.characters(codec=None, categories=["Cs", "Lu", "Po"])))
def test_any_text(text: str) -> None:
    """What is written comes back; a client's is refused if it is no Unicode."""
    written = json.dumps({"x": text}).encode()
    value = decode(written)
    assert value == json.loads(written)  # two halves that meet are one character
    assert decode(encode(value)) == value
    unpaired = isinstance(value, dict) and isinstance(value["x"], Unpaired)
    assert unpaired == has_lone(written)
    if unpaired:
        with pytest.raises(BadStructure):
            decode_strict(written)
    else:
        assert decode_strict(written) == value


def test_marks_cannot_be_brought() -> None:
    """Text that already holds what marks are made of is not taken apart."""
    with pytest.raises(UpstreamBroken):
        hide(b'"\x7f0\x7f \\ud800"')
