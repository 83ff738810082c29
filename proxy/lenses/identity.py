"""Names shown instead of real ones: ids, URIs, identifiers, and the way back.

Everything here is keyed by project and policy name, deterministic, and needs no store. The forms
are frozen (``tests/vectors``):

* an id of up to 40 characters: one character for the key version, then AES-SIV over the packed
  id, for its type; 25 to 64 characters;
* an id of 41 to 64 characters: FF1 with the type as tweak; the same length;
* what is no legal FHIR id (``_``, longer than 64): a UUID of its HMAC, which leads nowhere;
* ``urn:uuid:`` and a UUID: one AES block; any other URI: a version 8 UUID of its HMAC;
* an identifier: AES-SIV over its system and value, under a ``system`` that says so;
* a document identifier: the same over its canonical value alone;
* a person: 16 characters of base32 of the HMAC of what the resource is named by.
"""

from __future__ import annotations

import hmac
import re
from base64 import b32encode
from functools import lru_cache
from threading import Lock
from typing import Final
from uuid import UUID

from cachetools import TTLCache
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from proxy.lenses.ciphers import Ff1Ids, Siv, pack_id, unpack_id
from proxy.lenses.keys import VERSIONS, KeyRing, KeySet, ProjectKeys
from proxy.lenses.offsets import offset_of

IDENTIFIER_SYSTEM: Final = "urn:ecr-proxy:pseudonym:identifier"
DOCUMENT_SYSTEM: Final = "urn:ecr-proxy:pseudonym:document"
SYSTEMS: Final = frozenset({IDENTIFIER_SYSTEM, DOCUMENT_SYSTEM})
PERSON: Final = 16  # characters that stand for a person
PERSON_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz234567")

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_URNS = ("urn:uuid:", "URN:UUID:", "urn:oid:", "URN:OID:")
_SOURCE = re.compile(r"([:|])")  # after the length of an identifier's value
_SHORT: Final = 40  # the longest id whose AES-SIV form has at most 64 characters
_CACHED: Final = 8192  # ids remembered per direction
_REMEMBERED: Final = 3600.0  # seconds a namer and its caches live
_LONGEST: Final = 512  # characters; longer texts are not remembered


class Namer:
    """The names of one project under one policy, both ways. Safe to share between threads.

    The caches are bounded and in memory only.
    """

    def __init__(self, keys: ProjectKeys) -> None:
        self._accepted = tuple(_Ciphers(key_set) for key_set in keys.accepted)
        self._by_version = {ciphers.mark: ciphers for ciphers in self._accepted}
        self._current = self._accepted[0]
        self._shown_ids = lru_cache(_CACHED)(self._show_id)
        self._real_ids = lru_cache(_CACHED)(self._decode_id)
        self._shown_uris = lru_cache(_CACHED)(self._show_uri)
        self._shown_documents = lru_cache(_CACHED // 4)(self._show_document)
        self._offsets = lru_cache(_CACHED)(self._offset)

    def show_id(self, type: str, real: str) -> str:
        """The id shown for the resource ``real`` of the type: a legal FHIR id, always the same."""
        if len(real) > _LONGEST:
            return self._show_id(type, real)
        return self._shown_ids(type, real)

    def real_ids(self, type: str, shown: str) -> tuple[str, ...]:
        """The ids to ask the upstream for when a client says ``shown``.

        One if it was made here; one per accepted key if it has 41 to 64 characters and may stand
        for a long id; none if it cannot be ours, which is answered without asking. Every
        candidate is a legal FHIR id. A resource found under one is ours to show only under
        ``show_id`` of its own id (which differs from ``shown`` after a rotation).
        """
        return self._real_ids(type, shown) if len(shown) <= 64 else ()

    def show_uri(self, uri: str) -> str:
        """``urn:uuid:…`` for an absolute URL or URN that lives elsewhere than in the upstream."""
        return self._show_uri(uri) if len(uri) > _LONGEST else self._shown_uris(uri)

    def show_identifier(self, system: str | None, value: str) -> tuple[str, str]:
        """The (system, value) shown for a business identifier."""
        # The length keeps (value, system) apart whatever characters they hold.
        source = f"{len(value)}{':' if system is None else '|'}{value}{system or ''}"
        return IDENTIFIER_SYSTEM, self._current.seal_identifier(source)

    def real_identifier(self, system: str | None, value: str) -> tuple[str | None, str] | None:
        """The (system, value) that is shown as these; None if nothing is."""
        if system != IDENTIFIER_SYSTEM:
            return None
        ciphers = self._by_version.get(value[:1])
        source = ciphers.open_identifier(value) if ciphers else None
        if source is None:
            return None
        length, bar, rest = _SOURCE.split(source, maxsplit=1)
        real = rest[: int(length)]
        return (rest[int(length) :] if bar == "|" else None), real

    def show_document_identifier(self, value: str) -> tuple[str, str]:
        """The (system, value) shown for the identifier of a document, in whatever spelling and
        whatever system it stands."""
        if len(value) > _LONGEST:
            return self._show_document(value)
        return self._shown_documents(value)

    def show_person(self, bearer: str) -> str:
        """:data:`PERSON` characters (a-z, 2-7) that stand for the person whom the resource named
        ``bearer`` is about. 80 bits: among 10^9 persons two share them by a chance below one in a
        million."""
        return self._current.hashed_name(f"person/{bearer}")

    def real_document_identifier(self, system: str | None, value: str) -> str | None:
        """The canonical value that is shown as these; None if nothing is."""
        if system != DOCUMENT_SYSTEM:
            return None
        ciphers = self._by_version.get(value[:1])
        return ciphers.open_document(value) if ciphers else None

    def offset(self, person: str, low: int, high: int) -> int:
        """The days, from ``low`` to ``high``, by which all dates of ``person`` are moved; under
        the current key, so that a rotation gives another."""
        if len(person) > _LONGEST:
            return self._offset(person, low, high)
        return self._offsets(person, low, high)

    def _offset(self, person: str, low: int, high: int) -> int:
        return offset_of(self._current.offsets, person, low, high)

    def _show_id(self, type: str, real: str) -> str:
        if not _ID.fullmatch(real):
            return self._current.hashed_uuid(f"id/{type}/{real}")
        return self._current.seal_id(_bytes(type), real)

    def _decode_id(self, type: str, shown: str) -> tuple[str, ...]:
        if not _ID.fullmatch(shown):
            return ()
        context = _bytes(type)
        ciphers = self._by_version.get(shown[0])
        real = ciphers.open_id(context, shown) if ciphers else None
        if real is not None:
            return (real,)
        if len(shown) <= _SHORT:
            return ()
        return tuple(each.long_ids.decrypt(shown, context) for each in self._accepted)

    def _show_uri(self, uri: str) -> str:
        scheme, uuid = uri[:9].lower(), uri[9:].lower()
        if scheme == "urn:uuid:" and _UUID.fullmatch(uuid):
            return f"urn:uuid:{self._current.mapped_uuid(uuid)}"
        return f"urn:uuid:{self._current.hashed_uuid('uri/' + uri)}"

    def _show_document(self, value: str) -> tuple[str, str]:
        return DOCUMENT_SYSTEM, self._current.seal_document(canonical_document(value))


def canonical_document(value: str) -> str:
    """The canonical value of a document identifier: without ``urn:uuid:`` or ``urn:oid:``, in
    lower case. All spellings that a search can ask for meet in it; a value in mixed case, of which
    there are too many to ask for, keeps its case, and so has a name of its own."""
    bare = next((value[len(p) :] for p in _URNS if value.startswith(p)), value)
    lower = bare.lower()
    return lower if bare in (lower, lower.upper()) else bare


def document_spellings(canonical: str) -> tuple[str, ...]:
    """Every spelling that has this canonical value, and perhaps others, for an OR search."""
    lower = canonical == canonical.lower()
    forms = dict.fromkeys((canonical, canonical.upper() if lower else canonical))
    return tuple(prefix + form for prefix in ("", *_URNS) for form in forms)


class Namers:
    """The :class:`Namer` of each project and policy of a key ring; as many as are in use, at most
    32 (a token names the project, so their number is bounded by the issuer, not by us).

    A namer, and with it the ids that it remembers, is forgotten after an hour."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._namers: TTLCache[tuple[str, str], Namer] = TTLCache(32, _REMEMBERED)
        self._lock = Lock()  # long steps run in threads

    def of(self, project: str, policy: str) -> Namer:
        """Raises Forbidden if ``project`` is empty."""
        with self._lock:
            found = self._namers.get((project, policy))
            if found is None:
                found = Namer(self._ring.project(project, policy))
                self._namers[project, policy] = found
            return found


class _Ciphers:
    """The ciphers of one key version."""

    __slots__ = (
        "_documents", "_identifiers", "_ids", "_names", "_uuids", "long_ids", "mark", "offsets",
    )  # fmt: skip

    def __init__(self, keys: KeySet) -> None:
        self.mark = VERSIONS[keys.version - 1]
        self.long_ids = Ff1Ids(keys.long_ids)
        self.offsets = keys.offsets
        self._ids = Siv(keys.ids)
        self._identifiers = Siv(keys.identifiers)
        self._documents = Siv(keys.documents)
        self._names = keys.names
        self._uuids = Cipher(algorithms.AES(keys.uuids), modes.ECB())  # one block

    def seal_id(self, context: bytes, real: str) -> str:
        if len(real) > _SHORT:
            return self.long_ids.encrypt(real, context)
        return self.mark + self._ids.seal(pack_id(real), context)

    def open_id(self, context: bytes, shown: str) -> str | None:
        packed = self._ids.open(shown[1:], context)
        return None if packed is None else unpack_id(packed)

    def seal_identifier(self, source: str) -> str:
        return self.mark + self._identifiers.seal(_padded(source), b"identifier")

    def open_identifier(self, shown: str) -> str | None:
        return _unpadded(self._identifiers.open(shown[1:], b"identifier"))

    def seal_document(self, canonical: str) -> str:
        return self.mark + self._documents.seal(_padded(canonical), b"document")

    def open_document(self, shown: str) -> str | None:
        return _unpadded(self._documents.open(shown[1:], b"document"))

    def mapped_uuid(self, uuid: str) -> str:
        return str(UUID(bytes=self._uuids.encryptor().update(UUID(uuid).bytes)))

    def hashed_name(self, source: str) -> str:
        digest = hmac.digest(self._names, _bytes(source), "sha256")
        return b32encode(digest[:10]).decode().lower()

    def hashed_uuid(self, source: str) -> str:
        digest = bytearray(hmac.digest(self._names, _bytes(source), "sha256")[:16])
        digest[6] = digest[6] & 0x0F | 0x80  # version 8 (RFC 9562)
        digest[8] = digest[8] & 0x3F | 0x80  # variant
        return str(UUID(bytes=bytes(digest)))


def _bytes(text: str) -> bytes:
    # JSON may hold lone surrogates; they are data like any other here.
    return text.encode("utf-8", "surrogatepass")


def _padded(text: str) -> bytes:
    """``text`` with its length hidden but for the count of 16-byte blocks (ISO/IEC 7816-4)."""
    data = _bytes(text) + b"\x80"
    return data + bytes(-len(data) % 16)


def _unpadded(data: bytes | None) -> str | None:
    if data is None:
        return None
    return data.rstrip(b"\0")[:-1].decode("utf-8", "surrogatepass")
