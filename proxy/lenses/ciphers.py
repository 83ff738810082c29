"""The two ciphers behind pseudonymous ids: AES-SIV over packed text, and FF1 of the same length.

Both are frozen: what they give for a key must never change, or every pseudonym in use would die.
The vectors under ``tests/vectors`` hold them.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

# The 64 characters of a FHIR id, in the order of base64 with its last two replaced.
ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-."
_NUMERALS: Final = {character: numeral for numeral, character in enumerate(ALPHABET)}
# `str.translate` tables between FHIR ids and base64; characters of the one alphabet that are not
# in the other become one that base64 refuses.
_TO_BASE64: Final = {ord("-"): "+", ord("."): "/", ord("+"): "!", ord("/"): "!", ord("="): "!"}
_FROM_BASE64: Final = {ord("+"): "-", ord("/"): "."}


def encode_text(data: bytes) -> str:
    """``data`` at six bits a character of :data:`ALPHABET`, without padding."""
    return b2a_base64(data, newline=False).decode("ascii").rstrip("=").translate(_FROM_BASE64)


def decode_text(text: str) -> bytes | None:
    """The bytes whose :func:`encode_text` is ``text``; None if there are none.

    Strict: one text per value, so a changed trailing bit is no second name of the same thing.
    """
    try:
        data = a2b_base64(text.translate(_TO_BASE64) + "=" * (-len(text) % 4), strict_mode=True)
    except (Base64Error, ValueError):
        return None
    return data if encode_text(data) == text else None


def pack_id(text: str) -> bytes:
    """``text`` (characters of :data:`ALPHABET`) at six bits each, a closing 1 bit, zeros to the
    byte. Forty characters take 31 bytes."""
    # "g" is 100000: the closing bit and what follows it up to the byte border.
    padded = text.translate(_TO_BASE64) + "g"
    packed = a2b_base64(padded + "A" * (-len(padded) % 4), strict_mode=True)
    return packed[: (6 * len(text) + 8) // 8]


def unpack_id(data: bytes) -> str:
    """The inverse of :func:`pack_id`, for bytes that it made (they arrive authenticated)."""
    text = b2a_base64(data + bytes(-len(data) % 3), newline=False).decode("ascii")
    return text.rstrip("A")[:-1].translate(_FROM_BASE64)


class Siv:
    """AES-SIV (RFC 5297) with texts of :data:`ALPHABET` as ciphertext.

    Deterministic and authenticated: equal input gives equal output, and what was not made with
    this key does not open. ``key``: 64 bytes (AES-256). Safe to share between threads.
    """

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead = AESSIV(key)

    def seal(self, data: bytes, context: bytes) -> str:
        """``data`` (at least one byte) sealed for ``context``; 16 bytes longer, as text."""
        return encode_text(self._aead.encrypt(data, [context]))

    def open(self, text: str, context: bytes) -> bytes | None:
        """What was sealed as ``text`` for ``context``; None if nothing was."""
        data = decode_text(text)
        if data is None or len(data) <= 16:
            return None
        try:
            return self._aead.decrypt(data, [context])
        except InvalidTag:
            return None


class Ff1:
    """FF1 of NIST SP 800-38G: format-preserving encryption of numeral strings.

    ``key``: 16, 24 or 32 bytes. ``radix``: 2 to 65536. Works on lists of numerals below the
    radix, at least two and enough for a domain of a million (the standard's bound).
    """

    __slots__ = ("_cipher", "_radix")

    def __init__(self, key: bytes, radix: int) -> None:
        self._cipher = Cipher(algorithms.AES(key), modes.ECB())  # the core of the PRF
        self._radix = radix

    def encrypt(self, numerals: list[int], tweak: bytes) -> list[int]:
        """``numerals`` enciphered under ``tweak``: as many of them."""
        return self._feistel(numerals, tweak, forward=True)

    def decrypt(self, numerals: list[int], tweak: bytes) -> list[int]:
        """The inverse of :meth:`encrypt`."""
        return self._feistel(numerals, tweak, forward=False)

    def _feistel(self, numerals: list[int], tweak: bytes, *, forward: bool) -> list[int]:
        radix, length = self._radix, len(numerals)
        left = length // 2
        right = length - left
        if length < 2 or radix**length < 1_000_000:
            raise ValueError("too few numerals for FF1")
        sizes = (radix**left, radix**right)
        half_bytes = ((sizes[1] - 1).bit_length() + 7) // 8  # b: bytes of the longer half
        digest_bytes = 4 * ((half_bytes + 3) // 4) + 4  # d
        block = self._cipher.encryptor().update  # ECB holds no state between whole blocks
        setting = block(
            bytes((1, 2, 1))
            + radix.to_bytes(3, "big")
            + bytes((10, left & 0xFF))
            + length.to_bytes(4, "big")
            + len(tweak).to_bytes(4, "big")
        )  # the first block (P) is the same in all ten rounds
        head = tweak + bytes((-len(tweak) - half_bytes - 1) % 16)
        a, b = self._number(numerals[:left]), self._number(numerals[left:])
        rounds = range(10) if forward else range(9, -1, -1)
        for turn in rounds:
            size = sizes[turn % 2]
            source = b if forward else a
            state = setting
            message = head + bytes((turn,)) + source.to_bytes(half_bytes, "big")
            for start in range(0, len(message), 16):
                state = block(_xor(state, message[start : start + 16]))
            stream = state
            counter = 1
            while len(stream) < digest_bytes:
                stream += block(_xor(state, counter.to_bytes(16, "big")))
                counter += 1
            y = int.from_bytes(stream[:digest_bytes], "big")
            if forward:
                a, b = b, (a + y) % size
            else:
                a, b = (b - y) % size, a
        return self._numerals(a, left) + self._numerals(b, right)

    def _number(self, numerals: list[int]) -> int:
        value = 0
        for numeral in numerals:
            value = value * self._radix + numeral
        return value

    def _numerals(self, value: int, length: int) -> list[int]:
        numerals = [0] * length
        for place in range(length - 1, -1, -1):
            value, numerals[place] = divmod(value, self._radix)
        return numerals


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).to_bytes(16, "big")


class Ff1Ids:
    """:class:`Ff1` with radix 64 over the characters of :data:`ALPHABET`.

    A text keeps its length. ``context`` is the tweak. Every text of the alphabet deciphers to
    some other one: nothing tells a forged one but that it does not exist.
    """

    __slots__ = ("_ff1",)

    def __init__(self, key: bytes) -> None:
        self._ff1 = Ff1(key, len(ALPHABET))

    def encrypt(self, text: str, context: bytes) -> str:
        """``text`` enciphered; raises KeyError for characters outside the alphabet."""
        return _text(self._ff1.encrypt([_NUMERALS[c] for c in text], context))

    def decrypt(self, text: str, context: bytes) -> str:
        """The inverse of :meth:`encrypt`; raises KeyError as it does."""
        return _text(self._ff1.decrypt([_NUMERALS[c] for c in text], context))


def _text(numerals: list[int]) -> str:
    return "".join([ALPHABET[numeral] for numeral in numerals])
