"""The audit: legal AuditEvents, one a line, whole or not at all (R-EL-4)."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from proxy.engine.messages import Facts
from proxy.errors import AuditUnavailable
from proxy.fhir import r4
from proxy.policy.model import Caller
from proxy.shell.audit import Audit, Exchange, event
from tests.shell.support import CALLER, NOW, PUBLIC

FACTS = Facts(
    interaction="search-type",
    type="Observation",
    parameters=("code", "patient"),
    policy="researcher-limited@0123abcd",
    rules=("policies/researcher-limited.toml:12",),
    entries=3,
    patients=("9f86d081884c7d65", "60303ae22b998861"),
)
SEARCH = Exchange(NOW, "5cf1…", "GET", CALLER, FACTS, 200)


def test_event_of_a_search() -> None:
    """R-EL-4: who, role, policy version, interaction, type, parameter names, rules, outcome,
    number of entries, the patients as pseudonyms; no values."""
    assert event(SEARCH, PUBLIC) == {
        "resourceType": "AuditEvent",
        "type": {
            "system": "http://terminology.hl7.org/CodeSystem/audit-event-type",
            "code": "rest",
            "display": "RESTful Operation",
        },
        "subtype": [{"system": "http://hl7.org/fhir/restful-interaction", "code": "search-type"}],
        "action": "E",
        "recorded": "2026-01-31T12:00:00.000Z",
        "outcome": "0",
        "outcomeDesc": "200",
        "agent": [
            {
                "type": {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
                            "code": "IRCP",
                            "display": "information recipient",
                        }
                    ]
                },
                "role": [{"text": "researcher"}],
                "who": {"identifier": {"system": "https://id.example.org", "value": "someone"}},
                "requestor": True,
                "policy": ["urn:ecr-proxy:policy:researcher-limited@0123abcd"],
            },
            {
                "type": {
                    "coding": [
                        {
                            "system": "http://dicom.nema.org/resources/ontology/DCM",
                            "code": "110152",
                            "display": "Destination Role ID",
                        }
                    ]
                },
                "who": {"identifier": {"system": "urn:ietf:rfc:3986", "value": PUBLIC}},
                "requestor": False,
            },
        ],
        "source": {
            "observer": {"identifier": {"system": "urn:ietf:rfc:3986", "value": PUBLIC}},
            "type": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/security-source-type",
                    "code": "4",
                    "display": "Application Server",
                }
            ],
        },
        "entity": [
            {
                "what": {"identifier": {"system": "urn:ecr-proxy:request-id", "value": "5cf1…"}},
                "type": {
                    "system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType",
                    "code": "XrequestId",
                },
            },
            {
                "type": {
                    "system": "http://terminology.hl7.org/CodeSystem/audit-entity-type",
                    "code": "2",
                    "display": "System Object",
                },
                "role": {
                    "system": "http://terminology.hl7.org/CodeSystem/object-role",
                    "code": "24",
                    "display": "Query",
                },
                "detail": [
                    {"type": "project", "valueString": "study-7"},
                    {"type": "method", "valueString": "GET"},
                    {"type": "interaction", "valueString": "search-type"},
                    {"type": "type", "valueString": "Observation"},
                    {"type": "parameter", "valueString": "code"},
                    {"type": "parameter", "valueString": "patient"},
                    {"type": "rule", "valueString": "policies/researcher-limited.toml:12"},
                    {"type": "entries", "valueString": "3"},
                ],
            },
            *(
                {
                    "what": {
                        "identifier": {"system": "urn:ecr-proxy:audit-pseudonym", "value": name}
                    },
                    "type": {
                        "system": "http://terminology.hl7.org/CodeSystem/audit-entity-type",
                        "code": "1",
                        "display": "Person",
                    },
                    "role": {
                        "system": "http://terminology.hl7.org/CodeSystem/object-role",
                        "code": "1",
                        "display": "Patient",
                    },
                }
                for name in FACTS.patients
            ),
        ],
    }


@pytest.mark.parametrize(
    ("status", "code", "outcome", "words"),
    [
        (200, "", "0", "200"),
        (304, "", "0", "304"),
        (403, "forbidden", "4", "403 forbidden"),
        (500, "exception", "8", "500 exception"),
        (503, "transient", "8", "503 transient"),
        (0, "cancelled", "4", "cancelled"),
    ],
)
def test_outcome(status: int, code: str, outcome: str, words: str) -> None:
    """Success, the caller's failure and ours are told apart."""
    told = event(replace(SEARCH, status=status, code=code), PUBLIC)
    assert (told["outcome"], told["outcomeDesc"]) == (outcome, words)


EXCHANGES = {
    "search": SEARCH,
    "read": replace(SEARCH, facts=replace(FACTS, interaction="read", patients=())),
    "smart": replace(SEARCH, facts=Facts("smart-configuration"), caller=None),
    "anonymous": Exchange(NOW, "1", "other", None, Facts(), 401, "login"),
    "static": replace(SEARCH, caller=Caller("", "pipeline", "researcher")),
    "later": replace(SEARCH, now=NOW + timedelta(microseconds=1)),
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_events_are_legal(name: str) -> None:
    """Every member of every event is an element of R4 and no required one is missing."""
    assert problems(event(EXCHANGES[name], PUBLIC), "AuditEvent") == []


def problems(value: object, path: str) -> list[str]:
    """What R4's definition of ``path`` does not allow of ``value``."""
    assert isinstance(value, dict)
    elements = {element.name: element for element in r4.TYPES[path].elements}
    found = [
        f"{path}.{name} is missing"
        for name, element in elements.items()
        if element.min and not any(key.startswith(name.removesuffix("[x]")) for key in value)
    ]
    for key, member in value.items():
        if key == "resourceType":
            continue
        element = elements.get(key) or next(
            (e for n, e in elements.items() if n.endswith("[x]") and key.startswith(n[:-3])), None
        )
        if element is None:
            found.append(f"{path}.{key} is unknown")
        elif (element.max != 1) != isinstance(member, list):
            found.append(f"{path}.{key} has the wrong number")
        else:
            for item in member if isinstance(member, list) else [member]:
                below = f"{path}.{key}" if f"{path}.{key}" in r4.TYPES else element.types[0]
                if isinstance(item, dict):
                    found += problems(item, below)
    return found


def test_each_event_is_one_line(tmp_path: Path) -> None:
    """Events append to what stands there; the file is the owner's alone."""
    file = tmp_path / "audit.ndjson"
    for number in range(3):
        audit = Audit(str(file), PUBLIC)
        audit.write(replace(SEARCH, request_id=f"{number}\n"))
        audit.close()
    lines = file.read_bytes().splitlines()
    ids = [orjson.loads(line)["entity"][0]["what"]["identifier"]["value"] for line in lines]
    assert ids == ["0\n", "1\n", "2\n"]
    assert file.stat().st_mode & 0o777 == 0o600


def test_rotation_is_followed(tmp_path: Path) -> None:
    """A file that is moved away keeps what it has; the next event starts a new one."""
    file = tmp_path / "audit.ndjson"
    audit = Audit(str(file), PUBLIC)
    audit.write(SEARCH)
    file.rename(tmp_path / "audit.1")
    audit.write(SEARCH)
    audit.write(SEARCH)
    audit.close()
    assert len((tmp_path / "audit.1").read_bytes().splitlines()) == 1
    assert len(file.read_bytes().splitlines()) == 2


def test_writers_do_not_mix(tmp_path: Path) -> None:
    """Threads and descriptors may share the file; every line stays whole."""
    file = tmp_path / "audit.ndjson"
    audits = [Audit(str(file), PUBLIC) for _ in range(2)]

    def write(audit: Audit) -> None:
        for _ in range(200):
            audit.write(SEARCH)

    threads = [threading.Thread(target=write, args=(audits[n % 2],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = file.read_bytes().splitlines()
    assert len(lines) == 800
    assert {orjson.loads(line)["resourceType"] for line in lines} == {"AuditEvent"}


def test_half_a_line_does_not_swallow_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that the disk took in part is a failure, and the next event stands on its own."""
    file = tmp_path / "audit.ndjson"
    audit = Audit(str(file), PUBLIC)
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:20]))
    with pytest.raises(AuditUnavailable):
        audit.write(SEARCH)
    monkeypatch.undo()
    audit.write(SEARCH)
    torn, good = file.read_bytes().splitlines()
    assert len(torn) == 20
    assert orjson.loads(good)["resourceType"] == "AuditEvent"


def test_ready_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not ready from a write that failed until one goes through; what was torn stays on its line
    and the next event stands on its own."""
    file = tmp_path / "audit.ndjson"
    audit = Audit(str(file), PUBLIC)
    assert audit.ready
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:20]))
    with pytest.raises(AuditUnavailable):
        audit.write(SEARCH)
    monkeypatch.setattr(os, "write", refuse)
    assert not audit.ready
    assert not audit.ready
    monkeypatch.undo()
    assert audit.ready
    audit.write(SEARCH)
    torn, good = file.read_bytes().splitlines()
    assert len(torn) == 20
    assert orjson.loads(good)["resourceType"] == "AuditEvent"


def refuse(descriptor: int, data: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_ready_needs_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without room is told before the first record is lost; a pipe has no such
    thing as room."""
    audit = Audit(str(tmp_path / "audit.ndjson"), PUBLIC)
    found = os.statvfs(tmp_path)
    full = os.statvfs_result((*found[:4], 0, *found[5:]))
    monkeypatch.setattr(os, "fstatvfs", lambda _: full)
    assert not audit.ready
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert Audit(str(tmp_path / "pipe"), PUBLIC).ready
    os.close(reader)


@pytest.mark.parametrize("kind", ["directory", "full", "pipe", "no-folder"])
def test_unusable_targets(kind: str, tmp_path: Path) -> None:
    """R-EL-4: what cannot take the whole record is an error, at start or at the write; a pipe
    that nobody reads does not block."""
    file = tmp_path / "audit.ndjson"
    if kind == "directory":
        file.mkdir()
    elif kind == "full":
        file.symlink_to("/dev/full")
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file = tmp_path / "none" / "audit.ndjson"
    with pytest.raises(AuditUnavailable):
        Audit(str(file), PUBLIC).write(SEARCH)
