"""The ciphers keep to their standards, and give what earlier releases gave."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.lenses.ciphers import (
    ALPHABET,
    Ff1,
    Ff1Ids,
    Siv,
    decode_text,
    encode_text,
    pack_id,
    unpack_id,
)
from tests.vectors import read

NIST = read("ff1-nist.json")
DIGITS = NIST["alphabet"]

ids = st.text(ALPHABET, min_size=1, max_size=40)
long_ids = st.text(ALPHABET, min_size=41, max_size=64)


@pytest.mark.parametrize("sample", NIST["samples"], ids=range(1, 10))
def test_ff1_gives_the_samples_of_nist(sample: dict[str, str | int]) -> None:
    """FF1 enciphers and deciphers the nine samples published with SP 800-38G."""
    ff1 = Ff1(bytes.fromhex(str(sample["key"])), int(sample["radix"]))
    tweak = bytes.fromhex(str(sample["tweak"]))
    plain, cipher = ([DIGITS.index(c) for c in str(sample[n])] for n in ("plain", "cipher"))
    assert ff1.encrypt(plain, tweak) == cipher
    assert ff1.decrypt(cipher, tweak) == plain


@pytest.mark.parametrize("numerals", [[], [1], [1, 2, 3]])
def test_ff1_refuses_too_small_a_domain(numerals: list[int]) -> None:
    """Below a million possible texts FF1 is not safe, and its standard forbids it."""
    with pytest.raises(ValueError, match="too few"):
        Ff1(bytes(16), 10).encrypt(numerals, b"")


@given(long_ids, st.binary(min_size=1, max_size=20))
def test_ff1_keeps_length_and_alphabet(text: str, tweak: bytes) -> None:
    """An id of 41 to 64 characters becomes another of the same length, and comes back."""
    cipher = Ff1Ids(b"k" * 32)
    shown = cipher.encrypt(text, tweak)
    assert len(shown) == len(text)
    assert set(shown) <= set(ALPHABET)
    assert cipher.decrypt(shown, tweak) == text


def pack_slowly(text: str) -> bytes:
    """What packing means: six bits a character, a 1, zeros to the byte border."""
    bits = "".join(f"{ALPHABET.index(c):06b}" for c in text) + "1"
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


@given(ids)
def test_packing_is_six_bits_a_character(text: str) -> None:
    """Packing equals its definition and comes back, also where the id ends in zero bits."""
    assert pack_id(text) == pack_slowly(text)
    assert unpack_id(pack_id(text)) == text


@given(st.binary(max_size=80))
def test_one_text_per_value(data: bytes) -> None:
    """Bytes have exactly one text: no other last character decodes to the same."""
    text = encode_text(data)
    assert decode_text(text) == data
    if text:
        others = [text[:-1] + c for c in ALPHABET if c != text[-1]]
        assert data not in [decode_text(other) for other in others]


@pytest.mark.parametrize("text", ["+", "ab+d", "ab/d", "abc=", "a", "ab\n d", "äbcd", "abcd_"])
def test_other_alphabets_do_not_decode(text: str) -> None:
    """Base64 of another alphabet, padding, blanks and impossible lengths give nothing."""
    assert decode_text(text) is None


def test_siv_opens_only_what_it_sealed() -> None:
    """AES-SIV refuses another key, another context, and every changed or missing character."""
    siv, context = Siv(b"k" * 64), b"Patient"
    shown = siv.seal(b"MRN-1032702", context)
    assert siv.open(shown, context) == b"MRN-1032702"
    assert siv.open(shown, b"Observation") is None
    assert Siv(b"l" * 64).open(shown, context) is None
    for place, character in enumerate(shown):
        other = "A" if character != "A" else "B"
        assert siv.open(shown[:place] + other + shown[place + 1 :], context) is None
        assert siv.open(shown[:place], context) is None


def test_ciphers_are_shared_between_threads() -> None:
    """Big documents are rewritten in threads, with the ciphers of the same project."""
    long_cipher, siv = Ff1Ids(b"k" * 32), Siv(b"k" * 64)
    texts = [f"{number:050d}" for number in range(400)]

    def both(text: str) -> str:
        sealed = siv.open(siv.seal(text.encode(), b"t"), b"t")
        assert sealed == text.encode()
        return long_cipher.decrypt(long_cipher.encrypt(text, b"t"), b"t")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(both, texts)) == texts
