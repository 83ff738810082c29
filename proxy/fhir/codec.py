"""Bytes and JSON, exactly: decimals and big integers keep their text.

A decimal, or an integer of more than 18 digits, decodes to a :class:`Fragment` whose
``contents`` is its text (R4, datatypes.html#decimal: "the precision of the decimal value has
significance"); everything else to the usual Python types.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias, cast

import msgspec
import orjson

from proxy.errors import BadStructure, BodyTooLarge
from proxy.fhir.surrogates import Unpaired, has_lone, mark


class Fragment:
    """A JSON number (or what else orjson cannot write) by its text. Equal to one of that text."""

    __slots__ = ("contents",)

    def __init__(self, contents: str) -> None:
        self.contents = contents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fragment) and other.contents == self.contents

    def __hash__(self) -> int:
        return hash(self.contents)

    def __repr__(self) -> str:
        return f"Fragment({self.contents})"


Json: TypeAlias = "None | bool | int | str | Fragment | list[Json] | dict[str, Json]"
JsonObject: TypeAlias = "dict[str, Json]"

# orjson writes at most 254 levels; half of that is far deeper than any FHIR resource.
MAX_DEPTH = 128

_fast = msgspec.json.Decoder(float_hook=Fragment)
_STRINGS = re.compile(rb'"[^"]*"?')
_NOT_STRUCTURE = bytes(c for c in range(256) if c not in b'{}[]"')
_MINUS_ZERO = re.compile(rb"-0[,}\]\s]")
_MINUS_ZERO_VALUE = re.compile(rb"[:,\[]\s*-0[,}\]\s]")
_PLAIN_INTEGER = 18  # digits that surely fit 64 bits


class CodecError(ValueError):
    """The bytes are not JSON that we read (the text never quotes them)."""


def is_among(value: Json, words: Container[str]) -> bool:
    """Whether ``value`` is one of some words: what is no string, and may not even be hashed, is
    none."""
    return isinstance(value, str) and value in words


def depth(body: bytes, most: int = MAX_DEPTH) -> int:
    """How deep objects and arrays nest in ``body``, counted up to ``most`` + 1.

    Works by peeling off innermost pairs, each step one pass of ``bytes.replace`` over what is
    left, so that a large ordinary document costs a fraction of its decoding.
    """
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    # Taking two adjacent quotes away never moves anything into or out of a string.
    bare = _STRINGS.sub(b"", body.translate(None, _NOT_STRUCTURE).replace(b'""', b""))
    levels = 0
    while bare and levels <= most:
        size = len(bare)
        bare = bare.replace(b"{}", b"@").replace(b"[]", b"@").replace(b"@", b"")
        if len(bare) == size:
            break  # unbalanced: not JSON; the decoder says so
        levels += 1
    return levels


def decode(body: bytes) -> Json:
    """Decode what the upstream sent. A duplicate key's last value counts.

    A string with a lone surrogate is an :class:`Unpaired`. Raises :class:`CodecError` for what is
    not JSON, not UTF-8, or deeper than ``MAX_DEPTH``.
    """
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and depth(body) > MAX_DEPTH:
        raise CodecError("JSON nested too deeply")
    # The integer `-0` would lose its sign in the fast decoder (`-0.0` is a decimal and keeps it).
    if not (_MINUS_ZERO.search(body) and _MINUS_ZERO_VALUE.search(body)):
        try:
            return cast(Json, _fast.decode(body))
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            pass
    try:
        value = json.loads(body.decode("utf-8"), **_EXACT)
    except (ValueError, RecursionError) as error:
        raise CodecError("not JSON") from error
    return cast(Json, mark(value) if has_lone(body) else value)


def decode_strict(body: bytes, *, limit: int = 10_000_000) -> Json:
    """Decode what a client sent.

    Refused, as :class:`BadStructure`: duplicate keys, NaN and Infinity, a byte order mark, bad
    UTF-8, lone surrogates, nesting past ``MAX_DEPTH``; as :class:`BodyTooLarge`: more than
    ``limit`` bytes.
    """
    if len(body) > limit:
        raise BodyTooLarge()
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise BadStructure("JSON must not begin with a byte order mark.")
    if depth(body) > MAX_DEPTH:
        raise BadStructure("The JSON is nested too deeply.")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise BadStructure("The content is not valid UTF-8.") from None
    try:
        value = json.loads(text, object_pairs_hook=_unique, **_EXACT)
    except _DuplicateKey:
        raise BadStructure("The JSON has a duplicate key.") from None
    except (ValueError, RecursionError):
        raise BadStructure("The content is not well-formed JSON.") from None
    if has_lone(body):
        raise BadStructure("The JSON has a lone surrogate.")
    return cast(Json, value)


def encode(value: object) -> bytes:
    """JSON text of ``value``, compact. Raises :class:`CodecError` if it cannot be written."""
    try:
        return orjson.dumps(value, default=_write_number)
    except (TypeError, ValueError, RecursionError):
        pass
    # The fast decoder reads integers of any size, and there are strings that are no Unicode;
    # orjson writes these by their text.
    try:
        return orjson.dumps(_spell(value), default=_write_number)
    except (TypeError, ValueError, RecursionError) as error:
        raise CodecError("cannot be written as JSON") from error


def _spell(value: object) -> object:
    if isinstance(value, dict):
        return {key: _spell(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_spell(item) for item in value]
    if isinstance(value, Unpaired):
        return Fragment(json.dumps(value))
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return Fragment(str(value))
    return value


def number(value: object) -> Decimal | None:
    """The number that a decoded JSON number stands for; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, Fragment):
        try:
            return Decimal(value.contents)
        except InvalidOperation:
            return None
    return None


def number_text(value: Fragment) -> str:
    """The digits of an exact number as they stood in the source."""
    return value.contents


def _write_number(value: object) -> orjson.Fragment:
    if isinstance(value, Fragment):
        return orjson.Fragment(value.contents)
    raise TypeError("not JSON")


class _DuplicateKey(ValueError):
    pass


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _DuplicateKey
    return members


def _integer(text: str) -> int | Fragment:
    if len(text) > _PLAIN_INTEGER or text == "-0":
        return Fragment(text)
    return int(text)


def _refuse_constant(_: str) -> object:
    raise ValueError("not a JSON number")


_EXACT: dict[str, Any] = {
    "parse_float": Fragment,
    "parse_int": _integer,
    "parse_constant": _refuse_constant,
}
