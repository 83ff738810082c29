"""The key ring: master secrets, which project uses which, and the keys derived from them.

``keys.json`` (made by ``ecr-proxy keygen``)::

    {"format": 1,
     "service": {"created": "2026-01-31", "secret": "<base64>"},
     "masters": {"1": {"created": "2026-01-31", "secret": "<base64>"}},
     "default": {"master": 1, "accepts": []},
     "projects": {"study-7": {"master": 1, "accepts": []}}}

``service`` is the secret of page links, ETags and audit pseudonyms, which no rotation of a
project touches. ``default`` is the pin of every project that is not listed; ``accepts`` are the
master keys whose pseudonyms are still understood, newest first.
"""

from __future__ import annotations

import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Final

import orjson
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from proxy.errors import Forbidden

SECRET_BYTES: Final = 32
# One character of a pseudonym names its key, so there are this many versions, counted from 1.
VERSIONS: Final = "123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PLACEHOLDERS: Final = ("example", "sample", "changeme", "change-me", "placeholder", "secret")


class KeyFileError(Exception):
    """The key file cannot be used. The message says why and what mends it, never a secret."""


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A master secret: at least :data:`SECRET_BYTES` random bytes, and the day it was made."""

    data: bytes
    created: date


@dataclass(frozen=True, slots=True)
class Pin:
    """The master key a project's pseudonyms are made with, and older ones still understood."""

    master: int
    accepts: tuple[int, ...] = ()

    def moved(self, master: int) -> Pin:
        """This pin after a rotation to ``master``."""
        return Pin(master, (self.master, *(v for v in self.accepts if v != self.master)))


@dataclass(frozen=True, slots=True, repr=False)
class KeySet:
    """The keys of one project, policy and master version; each is used for one thing only.

    ``ids`` (AES-SIV, 64 bytes), ``long_ids`` (FF1), ``uuids`` (AES), ``names`` (HMAC: what has no
    reversible form), ``identifiers`` and ``documents`` (AES-SIV), ``offsets`` (HMAC: of dates).
    """

    version: int
    ids: bytes
    long_ids: bytes
    uuids: bytes
    names: bytes
    identifiers: bytes
    documents: bytes
    offsets: bytes


@dataclass(frozen=True, slots=True, repr=False)
class ProjectKeys:
    """All keys of one project under one policy: ``accepted[0]`` makes pseudonyms, the others
    are only understood."""

    project: str
    policy: str
    accepted: tuple[KeySet, ...]

    @property
    def current(self) -> KeySet:
        return self.accepted[0]


@dataclass(frozen=True, slots=True, repr=False)
class KeyRing:
    """All master secrets of an installation. Frozen: a rotation gives a new ring."""

    service: Secret
    masters: Mapping[int, Secret]
    default: Pin
    projects: Mapping[str, Pin]

    @classmethod
    def new(cls, service: bytes, master: bytes, today: date) -> KeyRing:
        """A ring with one master key for every project. The secrets are fresh random bytes."""
        return cls(Secret(service, today), {1: Secret(master, today)}, Pin(1), {})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> KeyRing:
        """The ring in the file ``path``.

        Raises KeyFileError if it is missing, readable by everyone, malformed, or holds a secret
        that is short or no random one.
        """
        return cls.parse(read_private(path), os.fspath(path))

    @classmethod
    def parse(cls, text: bytes, file: str = "keys.json") -> KeyRing:
        """The ring written as ``text``; ``file`` names it in messages. Raises KeyFileError."""
        try:
            document = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise _error(file, "is not JSON") from None
        fields = _table(file, "the file", document, "format service masters default projects")
        if fields["format"] != 1:
            raise _error(file, "has an unknown format", "this release reads format 1")
        service = _secret(file, "service", fields["service"])
        masters = {
            _version(file, "masters", name): _secret(file, f"masters.{name}", value)
            for name, value in _mapping(file, "masters", fields["masters"]).items()
        }
        secrets = [service.data, *(master.data for master in masters.values())]
        if len(set(secrets)) < len(secrets):
            raise _error(file, "uses one secret twice", "every secret must be random")
        projects = {
            name: _pin(file, f"projects.{name}", value, masters)
            for name, value in _mapping(file, "projects", fields["projects"]).items()
        }
        return cls(service, masters, _pin(file, "default", fields["default"], masters), projects)

    def write(self) -> bytes:
        """The text of the key file that :meth:`parse` reads back as this ring."""
        document = {
            "format": 1,
            "service": _written(self.service),
            "masters": {str(v): _written(secret) for v, secret in sorted(self.masters.items())},
            "default": {"master": self.default.master, "accepts": list(self.default.accepts)},
            "projects": {
                name: {"master": pin.master, "accepts": list(pin.accepts)}
                for name, pin in sorted(self.projects.items())
            },
        }
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def rotate(self, secret: bytes, today: date, project: str = "") -> KeyRing:
        """A ring with a new master key, used by ``project`` from now on, or, if that is empty,
        by every project that is not listed. The pseudonyms made so far stay understood.

        Raises KeyFileError when all version numbers are used up.
        """
        version = max(self.masters) + 1
        if version > len(VERSIONS):
            raise KeyFileError(f"all {len(VERSIONS)} versions of master keys are used up")
        ring = replace(self, masters={**self.masters, version: Secret(secret, today)})
        if not project:
            return replace(ring, default=self.default.moved(version))
        return replace(ring, projects={**self.projects, project: self.pin(project).moved(version)})

    def pinned(self, project: str) -> KeyRing:
        """A ring that lists ``project`` with the key it uses now: rotations of the default no
        longer touch it."""
        return replace(self, projects={**self.projects, project: self.pin(project)})

    def pin(self, project: str) -> Pin:
        """Which keys ``project`` uses."""
        return self.projects.get(project, self.default)

    def project(self, project: str, policy: str) -> ProjectKeys:
        """The keys of ``project`` under the policy named ``policy``.

        Raises Forbidden if ``project`` is empty: without one there is no pseudonym.
        """
        if not project:
            raise Forbidden("Your token names no project, which this role needs.")
        pin = self.pin(project)
        versions = (pin.master, *pin.accepts)
        return ProjectKeys(
            project, policy, tuple(self._key_set(version, project, policy) for version in versions)
        )

    def _key_set(self, version: int, project: str, policy: str) -> KeySet:
        master = self.masters[version].data

        def key(purpose: str, length: int) -> bytes:
            return derive(master, length, purpose, project, policy)

        return KeySet(
            version=version,
            ids=key("ids", 64),
            long_ids=key("long-ids", 32),
            uuids=key("uuids", 32),
            names=key("names", 32),
            identifiers=key("identifiers", 64),
            documents=key("documents", 64),
            offsets=key("offsets", 32),
        )

    @property
    def page_key(self) -> bytes:
        """The key (32 bytes) that seals page links."""
        return derive(self.service.data, 32, "pages")

    @property
    def etag_key(self) -> bytes:
        """The key (32 bytes) of ETags."""
        return derive(self.service.data, 32, "etags")

    @property
    def audit_key(self) -> bytes:
        """The key (32 bytes) of patients' pseudonyms in the audit."""
        return derive(self.service.data, 32, "audit")


def derive(master: bytes, length: int, *labels: str) -> bytes:
    """A key of ``length`` bytes by HKDF-SHA-256 from ``master`` for ``labels`` (purpose, project,
    policy name). Labels are length-prefixed: two lists of them never run into one another."""
    info = b"".join(len(data).to_bytes(4, "big") + data for data in map(str.encode, labels))
    return HKDF(SHA256(), length, salt=b"ecr-proxy keys 1", info=info).derive(master)


def weakness(secret: bytes) -> str:
    """Why ``secret`` cannot be a random one (``"is shorter than 32 bytes"``), empty if it can.

    Catches what people put there: words, repetitions, counted bytes, samples. A random secret
    passes but for a chance below one in a trillion.
    """
    if len(secret) < SECRET_BYTES:
        return f"is shorter than {SECRET_BYTES} bytes"
    if all(0x20 <= byte < 0x7F for byte in secret):
        return "is text, not random bytes"
    steps = {(b - a) % 256 for a, b in pairwise(secret)}
    if len(set(secret)) < SECRET_BYTES // 2 or len(steps) < SECRET_BYTES // 4:
        return "is a sample or a pattern, not random bytes"
    return ""


def read_private(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file that holds secrets.

    Raises KeyFileError if it cannot be read, is empty, or (where files have owners) everyone may
    read it or others than the owner may write it.
    """
    file = os.fspath(path)
    try:
        with Path(file).open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            text = stream.read()
    except FileNotFoundError:
        raise _error(file, "does not exist", "make one with `ecr-proxy keygen`") from None
    except OSError:
        raise _error(file, "cannot be read") from None
    if os.name == "posix" and mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise _error(file, "is open to other users", f"chmod 600 {file}")
    if not text.strip():
        raise _error(file, "is empty", "make one with `ecr-proxy keygen`")
    return text


def _error(
    file: str, what: str, mend: str = "make a new one with `ecr-proxy keygen`"
) -> KeyFileError:
    return KeyFileError(f"{file}: {what}; {mend}")


def _written(secret: Secret) -> dict[str, str]:
    return {"created": secret.created.isoformat(), "secret": b64encode(secret.data).decode()}


def _mapping(file: str, place: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _error(file, f"{place} is not an object")
    return value


def _table(file: str, place: str, value: object, names: str) -> dict[str, object]:
    """``value`` as an object with exactly the members ``names``."""
    fields = _mapping(file, place, value)
    expected = set(names.split())
    if missing := sorted(expected - fields.keys()):
        raise _error(file, f"{place} lacks {', '.join(missing)}")
    if fields.keys() - expected:  # not named: what is unknown may be a secret out of place
        raise _error(file, f"{place} has unknown members", f"it has {', '.join(sorted(expected))}")
    return fields


def _secret(file: str, place: str, value: object) -> Secret:
    fields = _table(file, place, value, "created secret")
    text = fields["secret"]
    if not isinstance(text, str) or not text:
        raise _error(file, f"the secret of {place} is missing")
    if any(word in text.lower() for word in _PLACEHOLDERS):
        raise _error(file, f"the secret of {place} is a sample")
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        raise _error(file, f"the secret of {place} is not base64") from None
    if weak := weakness(data):
        raise _error(file, f"the secret of {place} {weak}")
    try:
        return Secret(data, date.fromisoformat(str(fields["created"])))
    except ValueError:
        raise _error(file, f"the date of {place} is not a date", "write it as 2026-01-31") from None


def _version(file: str, place: str, name: str) -> int:
    if name.isascii() and name.isdigit() and 1 <= int(name[:4]) <= len(VERSIONS):
        return int(name)
    raise _error(file, f"{place} has a version that is none", f"count from 1 to {len(VERSIONS)}")


def _pin(file: str, place: str, value: object, masters: Mapping[int, Secret]) -> Pin:
    fields = _table(file, place, value, "master accepts")
    master, accepts = fields["master"], fields["accepts"]
    if not isinstance(accepts, list):
        raise _error(file, f"{place}.accepts is not a list")
    versions = [master, *accepts]
    if not all(type(version) is int and version in masters for version in versions):
        raise _error(file, f"{place} names a master key that is not there", "correct its number")
    if len(set(versions)) < len(versions):
        raise _error(file, f"{place} names a master key twice", "name each once")
    return Pin(versions[0], tuple(versions[1:]))
