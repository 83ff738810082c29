"""Indent JSON text without reading it: every token stays byte for byte (R4, http.html#_pretty)."""

from __future__ import annotations

import re

# What stands between blanks: a string, a number or word, or a sign.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[^\s{}\[\]:,"]+|[{}\[\]:,]', re.DOTALL)
_STEP = b"  "


def indent(body: bytes) -> bytes:
    """Well-formed JSON text, two blanks a level, one member or item a line."""
    out: list[bytes] = []
    level, opened = 0, False
    for match in _TOKEN.finditer(body):
        token = match[0]
        if token in b"}]":
            level -= 1
            if not opened:
                out.append(b"\n" + _STEP * level)
        elif opened:
            out.append(b"\n" + _STEP * level)
        opened = token in b"{["
        out.append(token)
        if opened:
            level += 1
        elif token == b",":
            out.append(b"\n" + _STEP * level)
        elif token == b":":
            out.append(b" ")
    return b"".join(out)
