"""Inflate a compressed body under a limit."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

from proxy.errors import UpstreamBroken, UpstreamIncomplete

# Content-Encoding -> window bits of zlib: gzip with its header, deflate with zlib's (RFC 9110,
# 8.4.1.2, where some servers send it bare).
INFLATED: Final[Mapping[str, tuple[int, ...]]] = {
    "gzip": (31,),
    "x-gzip": (31,),
    "deflate": (15, -15),
}


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """``body`` inflated, at most ``limit`` bytes.

    :raises UpstreamBroken: it is malformed, longer than ``limit``, or something follows it.
    :raises UpstreamIncomplete: it ends before its end.
    """
    for bits in INFLATED[encoding]:
        decoder = zlib.decompressobj(wbits=bits)
        try:
            out = decoder.decompress(body, limit + 1)
        except zlib.error:
            continue
        if len(out) > limit or decoder.unused_data:
            raise UpstreamBroken
        if not decoder.eof:
            raise UpstreamIncomplete
        return out
    raise UpstreamBroken
