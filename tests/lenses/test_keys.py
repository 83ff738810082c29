"""The key ring: read strictly, derived per project and policy, rotated without loss."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import Forbidden
from proxy.lenses.keys import VERSIONS, KeyFileError, KeyRing, Pin, derive, weakness
from tests.vectors import read

TODAY = date(2026, 1, 31)


def secret(name: str) -> bytes:
    """A made-up secret that looks random."""
    return hashlib.sha256(name.encode()).digest()


def ring() -> KeyRing:
    return KeyRing.new(secret("service"), secret("one"), TODAY)


def document() -> dict[str, Any]:
    written: dict[str, Any] = json.loads(ring().write())
    return written


def test_a_written_ring_reads_back() -> None:
    """What `write` gives, `parse` takes: all secrets, dates and pins."""
    rotated = ring().rotate(secret("two"), TODAY, "study-7").rotate(secret("three"), TODAY)
    again = KeyRing.parse(rotated.write())
    assert again == rotated
    assert again.masters.keys() == {1, 2, 3}
    assert again.pin("study-7") == Pin(2, (1,))
    assert again.pin("another") == Pin(3, (1,))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def put(path: str, value: object) -> bytes:
    """The ring's file with ``value`` at the dotted ``path``."""
    target = whole = document()
    *steps, last = path.split(".")
    for step in steps:
        target = target.setdefault(step, {})
    target[last] = value
    return json.dumps(whole).encode()


def drop(name: str) -> bytes:
    whole = document()
    del whole[name]
    return json.dumps(whole).encode()


BAD_SECRETS = [
    # R-ID-8: empty, short, sample.
    ("empty", "", "missing"),
    ("absent", None, "missing"),
    ("eight characters", b64(b"8charact"), "shorter"),
    ("31 bytes", b64(secret("x")[:31]), "shorter"),
    ("sample text", "sample-secret-sample-secret-sample-secret-00", "sample"),
    ("change me", "changeme" * 8, "sample"),
    ("words in base64", b64(b"correct horse battery staple correct"), "text"),
    ("zeros", b64(bytes(32)), "pattern"),
    ("counted", b64(bytes(range(32))), "pattern"),
    ("counted down", b64(bytes(range(64, 0, -1))), "pattern"),
    ("repeated", b64(secret("x")[:8] * 8), "pattern"),
    ("no base64", "*" * 44, "base64"),
]


@pytest.mark.parametrize("place", ["service", "masters.1"])
@pytest.mark.parametrize(("name", "text", "why"), BAD_SECRETS, ids=[b[0] for b in BAD_SECRETS])
def test_r_id_8_bad_secrets_are_refused(place: str, name: str, text: str | None, why: str) -> None:
    """R-ID-8: an empty, short or sample secret stops the start; the message names its place and
    how to mend it, and does not print it."""
    with pytest.raises(KeyFileError) as refused:
        KeyRing.parse(put(f"{place}.secret", text), "the-file")
    message = str(refused.value)
    assert message.startswith("the-file: ")
    assert why in message
    assert place in message
    assert "keygen" in message
    assert not text or text not in message


BAD_FILES = [
    (b"", "not JSON"),
    (b"[]", "not an object"),
    (b'{"format": 1}', "lacks"),
    (drop("service"), "lacks service"),
    (put("format", 2), "format"),
    (put("extra", "value-not-to-print"), "unknown members"),
    (put("masters", []), "not an object"),
    (put("masters", {}), "not there"),
    (put("masters.0", {"created": "2026-01-31", "secret": b64(secret("y"))}), "count from 1"),
    (put("masters.62", {"created": "2026-01-31", "secret": b64(secret("y"))}), "count from 1"),
    (put("masters.2", {"created": "2026-01-31", "secret": b64(secret("one"))}), "twice"),
    (put("masters.1.created", "yesterday"), "not a date"),
    (put("default", {"master": 2, "accepts": []}), "not there"),
    (put("default", {"master": True, "accepts": []}), "not there"),
    (put("default", {"master": 1, "accepts": [1]}), "twice"),
    (put("default", {"master": 1, "accepts": 1}), "not a list"),
    (put("projects", {"p": {"master": 9, "accepts": []}}), "projects.p"),
]


@pytest.mark.parametrize(("text", "why"), BAD_FILES)
def test_malformed_files_are_refused(text: bytes, why: str) -> None:
    """Every malformed file is one clear error."""
    with pytest.raises(KeyFileError, match=why) as refused:
        KeyRing.parse(text)
    assert "value-not-to-print" not in str(refused.value)


def test_files_are_read_only_if_private(tmp_path: Path) -> None:
    """R-ID-8: a file that is missing, empty, or open to everyone stops the start."""
    path = tmp_path / "keys.json"
    with pytest.raises(KeyFileError, match="does not exist"):
        KeyRing.load(path)
    path.write_bytes(b" \n")
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="is empty"):
        KeyRing.load(path)
    path.write_bytes(ring().write())
    assert KeyRing.load(path) == ring()
    path.chmod(0o640)  # a group that reads it is how secrets are mounted
    assert KeyRing.load(path) == ring()
    for mode in (0o644, 0o606, 0o660, 0o601):
        path.chmod(mode)
        if os.name == "posix":
            with pytest.raises(KeyFileError, match="chmod 600"):
                KeyRing.load(path)
    with pytest.raises(KeyFileError, match="cannot be read"):
        KeyRing.load(tmp_path)


def test_random_secrets_are_accepted() -> None:
    """No random secret is taken for a weak one."""
    assert {weakness(secret(str(number))) for number in range(3000)} == {""}
    assert {weakness(os.urandom(32)) for _ in range(3000)} == {""}


def test_keys_are_separate() -> None:
    """R-ID-2: no key is equal to another: not between projects, policies, versions, purposes."""
    rotated = ring().rotate(secret("two"), TODAY)
    keys = [rotated.page_key, rotated.etag_key, rotated.audit_key]
    for project, policy in itertools.product(("p", "q", "pq"), ("a", "b")):
        for each in rotated.project(project, policy).accepted:
            keys += [each.ids, each.long_ids, each.uuids, each.names, each.identifiers]
            keys += [each.documents, each.offsets]
    halves = [half for key in keys for half in (key[:32], key[32:]) if half]
    assert len(halves) == 3 + 6 * 2 * (7 + 3)
    assert len(set(halves)) == len(halves)


def test_labels_do_not_run_together() -> None:
    """A project called like the end of a purpose does not reach another's key."""
    assert derive(b"m" * 32, 32, "ids", "ab", "c") != derive(b"m" * 32, 32, "ids", "a", "bc")


def test_a_project_is_needed() -> None:
    """Without a project there is no key, and the caller learns why."""
    with pytest.raises(Forbidden, match="names no project"):
        ring().project("", "researcher")


def test_rotation_touches_only_what_it_names() -> None:
    """A project's rotation leaves the others alone; a pinned project stays when the default
    moves; page, ETag and audit keys never move."""
    first = ring()
    one = first.rotate(secret("two"), TODAY, "study-7")
    assert one.project("other", "r") == first.project("other", "r")
    pinned = one.pinned("study-9").rotate(secret("three"), TODAY)
    assert pinned.project("study-9", "r") == first.project("study-9", "r")
    assert pinned.project("study-7", "r") == one.project("study-7", "r")
    assert [k.version for k in pinned.project("other", "r").accepted] == [3, 1]
    assert [k.version for k in one.project("study-7", "r").accepted] == [2, 1]
    assert pinned.project("other", "r").accepted[1] == first.project("other", "r").current
    assert (pinned.page_key, pinned.etag_key, pinned.audit_key) == (
        first.page_key,
        first.etag_key,
        first.audit_key,
    )


def test_versions_run_out_with_a_message() -> None:
    """One character names the version, so there is a last one."""
    full = ring()
    for number in range(2, len(VERSIONS) + 1):
        full = full.rotate(secret(str(number)), TODAY)
    assert KeyRing.parse(full.write()) == full
    with pytest.raises(KeyFileError, match="used up"):
        full.rotate(secret("one more"), TODAY)


def test_secrets_are_not_printed() -> None:
    """Neither a ring nor derived keys show a secret when printed."""
    keys = ring().project("p", "r")
    for shown in (repr(ring()), repr(keys), repr(keys.current), repr(ring().service)):
        assert "secret" not in shown.lower() or "object at" in shown
        assert repr(secret("one")) not in shown


def test_derivation_is_frozen() -> None:
    """A release that derives other keys would kill every pseudonym in use."""
    vectors = read("pseudonyms.json")
    for case in vectors["keys"]:
        found = derive(bytes.fromhex(case["master"]), case["length"], *case["labels"])
        assert found.hex() == case["key"]
