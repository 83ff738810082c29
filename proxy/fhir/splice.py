"""Change a few strings inside JSON bytes and leave every other byte as it is.

The identity view hands resources on byte for byte; only references under an upstream base change
(``Reference.reference``), found by walking the JSON tokens, never by looking for text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from proxy.fhir.surrogates import is_text

# A token of JSON as far as nesting and strings go; what lies between (numbers, words, blanks,
# commas) cannot hold any of these characters. A string followed by a colon is a key.
_TOKEN = re.compile(rb'[{}\[\]]|"(?:[^"\\]|\\.)*"(?P<key>[ \t\r\n]*:)?', re.DOTALL)

# No absolute reference can hide from this: its key would have to be written with \u, or its value
# to begin with neither h nor an escape.
_ABSOLUTE = re.compile(rb'"reference"[ \t\r\n]*:[ \t\r\n]*"(?:[Hh]|\\)')

Span = tuple[int, int]


def rebase_references(body: bytes, rebase: Callable[[str], str | None]) -> bytes:
    """``body`` with every absolute ``reference`` that ``rebase`` maps replaced by what it gives.

    ``body``: one well-formed JSON resource. What stands inside a Bundle, the resource itself or
    one within it, is a stored document and stays untouched.
    """
    if not _ABSOLUTE.search(body) and b"\\u" not in body:
        return body
    parts: list[bytes] = []
    done = 0
    for start, end in _reference_spans(body):
        new = rebase(_text(body[start:end]))
        if new is not None:
            parts += (body[done:start], json.dumps(new, ensure_ascii=not is_text(new)).encode())
            done = end
    return body if not parts else b"".join(parts) + body[done:]


def _reference_spans(body: bytes) -> list[Span]:
    """Spans of the string values of ``reference`` members, quotes included, in order."""
    kept: list[Span] = []
    # One frame per open object or array: where its spans begin in `kept`, and whether it is a
    # Bundle. Members of a Bundle may stand before its resourceType, so spans go when it closes.
    frames: list[list[int]] = []
    key = ""
    for match in _TOKEN.finditer(body):
        first = body[match.start()]
        if first in b"{[":
            frames.append([len(kept), 0])
            key = ""
        elif first in b"}]":
            begin, is_bundle = frames.pop()
            if is_bundle:
                del kept[begin:]
            key = ""
        elif match["key"] is not None:
            key = _text(match[0][: match[0].rindex(b'"') + 1])
        else:
            if key == "reference":
                kept.append(match.span())
            elif key == "resourceType" and _text(match[0]) == "Bundle":
                frames[-1][1] = 1
            key = ""
    return kept


def _text(token: bytes) -> str:
    """The text of a string token. The standard library reads lone surrogates, which are data."""
    if b"\\" not in token:
        return token[1:-1].decode("utf-8", "replace")
    return str(json.loads(token))
