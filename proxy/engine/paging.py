"""Page links of our own: sealed, padded, bound to the caller and the query.

A token holds where the next page begins. It is encrypted and authenticated (AES-SIV, RFC 5297)
under the installation's page key; whose it is and where it leads is authenticated with it as
associated data, so a token in other hands or at another path is no token at all. Under what it was
given (role, project, scopes, claims, policy) stands inside, so that the owner of an outdated one is
told to search again. Its length depends on the request alone: what the upstream contributes is
padded to a fixed room.
"""

from __future__ import annotations

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import sha256

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from proxy.engine.messages import Pairs
from proxy.errors import Gone, NotFound, UpstreamBroken
from proxy.policy.model import Caller

PARAMETER = "_page"

# Claims that change with every token of the same caller (RFC 7519, OpenID Connect Core).
_VOLATILE = frozenset(
    {"acr", "amr", "at_hash", "auth_time", "c_hash", "exp", "iat", "jti", "nbf", "nonce",
     "session_state", "sid", "uti", "aio", "rh"}
)
# Bytes for what the upstream contributes, beside thrice the query. Links of other servers keep
# within the first; one of ours, sealed itself, needs the second.
_ROOMS = (1024, 4096)
# Format, expiry (seconds since 1970), length of query and cursor, what it was given under.
_HEAD = struct.Struct(">BQII32s")
_FORMAT = 2


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page begins: row ``offset`` of the upstream page ``url`` (empty: the search itself,
    asked anew). ``row`` and ``before`` name the row that begins it and the one before it
    (``Type/id``), so that a row deleted meanwhile moves nothing. ``total``: as counted at first.
    """

    url: str = ""
    offset: int = 0
    row: str = ""
    before: str = ""
    total: int | None = None

    def find(self, rows: Sequence[str]) -> int:
        """Where the page begins among ``rows`` (``Type/id`` each): at the row that was next, else
        after the one before it; if both were deleted meanwhile, where their follower moved to."""
        if self.row in rows:
            return rows.index(self.row)
        if self.before in rows:
            return rows.index(self.before) + 1
        return max(self.offset - 1, 0)


@dataclass(frozen=True, slots=True)
class Page:
    """A page to be asked for: ``query`` as the client wrote it, decoded."""

    query: Pairs
    cursor: Cursor = field(default_factory=Cursor)


@dataclass(frozen=True, slots=True)
class Binding:
    """What a token is bound to, as digests of 32 bytes. ``owner``: whose it is (not the bearer
    string), and the path below the base. ``terms``: under what it was given."""

    owner: bytes
    terms: bytes


def bind(caller: Caller, digest: str, path: str) -> Binding:
    """The binding of the caller's tokens at a path below the base, in the view of this digest. A
    refreshed bearer token of the same caller gives the same."""
    claims = {k: v for k, v in caller.claims.items() if k not in _VOLATILE}
    scopes = None if caller.scopes is None else sorted(caller.scopes)
    terms = (caller.role, caller.project, scopes, _plain(claims), digest)
    return Binding(_digest((caller.issuer, caller.subject, path)), _digest(terms))


def _digest(parts: tuple[object, ...]) -> bytes:
    return sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).digest()


def _plain(value: object) -> object:
    """``value`` made of what orjson sorts and writes; sets and unknown things in a stable form."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(v) for v in value)
    return value if value is None or isinstance(value, (str, bool)) else str(value)


@lru_cache(maxsize=8)
def _cipher(key: bytes) -> AESSIV:
    return AESSIV(key)


def seal(page: Page, key: bytes, binding: Binding, expires: datetime) -> str:
    """The token of ``page``, of URL-safe characters.

    ``key``: 32 bytes. Raises :class:`UpstreamBroken` if the upstream's link is longer than any
    server's should be.
    """
    query = orjson.dumps(page.query)
    c = page.cursor
    cursor = orjson.dumps((c.url, c.offset, c.row, c.before, c.total))
    rooms = (room + 3 * len(query) for room in _ROOMS)
    room = next((room for room in rooms if len(cursor) <= room), 0)
    if not room:
        raise UpstreamBroken()
    until = int(expires.timestamp())
    head = _HEAD.pack(_FORMAT, until, len(query), len(cursor), binding.terms)
    plain = head + query + cursor.ljust(room, b" ")
    return _write(_cipher(key).encrypt(plain, [binding.owner]))


def _write(sealed: bytes) -> str:
    return urlsafe_b64encode(sealed).rstrip(b"=").decode()


def unseal(token: str, key: bytes, binding: Binding, now: datetime) -> Page:
    """The page that a token stands for.

    Raises :class:`NotFound` for a token that is not ours, not this caller's or not for this path,
    :class:`Gone` for one that has expired, or was given under another role, project, policy,
    other scopes or claims.
    """
    try:
        sealed = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        if _write(sealed) != token:  # decoding passes over what is no Base64, and spare bits
            raise NotFound("No such page.")
        plain = _cipher(key).decrypt(sealed, [binding.owner])
    except (InvalidTag, Base64Error, ValueError, UnicodeEncodeError):
        raise NotFound("No such page.") from None
    format_, expires, query_length, cursor_length, terms = _HEAD.unpack_from(plain)
    if format_ != _FORMAT or now.timestamp() > expires:
        raise Gone()
    if terms != binding.terms:
        raise Gone("What you may see has changed since this page was offered; search again.")
    end = _HEAD.size + query_length
    query = orjson.loads(plain[_HEAD.size : end])
    url, offset, row, before, total = orjson.loads(plain[end : end + cursor_length])
    return Page(
        tuple((str(name), str(value)) for name, value in query),
        Cursor(url, offset, row, before, total),
    )
