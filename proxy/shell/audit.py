"""The audit: one FHIR AuditEvent an exchange, written before the reply is released.

The events follow the shape of IHE BALP (Basic Audit Log Patterns): who asked in which role, under
which policy, which interaction on which type, with which parameters by name, what came of it. They
hold no value of a request, no resource id and no text of an answer; a patient stands there as a
pseudonym under the audit's own key.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from proxy.engine.messages import Facts
from proxy.errors import AuditUnavailable
from proxy.policy.model import Caller

log = logging.getLogger(__name__)

_EVENT_TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_RESTFUL: Final = "http://hl7.org/fhir/restful-interaction"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_ENTITY_TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_OBJECT_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
_BALP_ENTITY: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"

# Our own names, as URNs: what kind of identifier a value is.
REQUEST_ID: Final = "urn:ecr-proxy:request-id"
PATIENT: Final = "urn:ecr-proxy:audit-pseudonym"
POLICY: Final = "urn:ecr-proxy:policy:"

# AuditEvent.action by interaction (BALP: a read is R, a query is E); anything else is E.
_ACTION: Mapping[str, str] = {
    "read": "R",
    "vread": "R",
    "history-instance": "R",
    "history-type": "R",
    "history-system": "R",
    "capabilities": "R",
    "smart-configuration": "R",
}
# What value set restful-interaction knows. Other words of ours stand as plain detail.
_SUBTYPES: Final = frozenset(
    {
        "batch",
        "capabilities",
        "history-instance",
        "history-system",
        "history-type",
        "operation",
        "read",
        "search-system",
        "search-type",
        "transaction",
        "vread",
    }
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is recorded. ``now``: aware, UTC. ``status``: HTTP status of the answer, 0 if the
    client went away before there was one. ``code``: issue code of a refusal, else empty."""

    now: datetime
    request_id: str
    method: str
    caller: Caller | None
    facts: Facts
    status: int
    code: str = ""


def event(exchange: Exchange, public_url: str) -> dict[str, object]:
    """The AuditEvent (FHIR R4) of ``exchange``; ``public_url`` names this server."""
    facts = exchange.facts
    audit_event: dict[str, object] = {
        "resourceType": "AuditEvent",
        "type": {"system": _EVENT_TYPE, "code": "rest", "display": "RESTful Operation"},
    }
    if facts.interaction in _SUBTYPES:
        audit_event["subtype"] = [{"system": _RESTFUL, "code": facts.interaction}]
    audit_event |= {
        "action": _ACTION.get(facts.interaction, "E"),
        "recorded": exchange.now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "outcome": _outcome(exchange.status),
        "outcomeDesc": _describe(exchange.status, exchange.code),
        "agent": [_user(exchange.caller, facts.policy), _server(public_url)],
        "source": {
            "observer": _reference("urn:ietf:rfc:3986", public_url),
            "type": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/security-source-type",
                    "code": "4",
                    "display": "Application Server",
                }
            ],
        },
        "entity": [_request(exchange), _asked(exchange), *map(_patient, facts.patients)],
    }
    return audit_event


def _outcome(status: int) -> str:
    """AuditEvent.outcome: success, minor failure (the caller's), serious failure (ours)."""
    if 200 <= status < 400:
        return "0"
    return "8" if status >= 500 else "4"


def _describe(status: int, code: str) -> str:
    return " ".join(filter(None, (str(status or ""), code))) or "none"


def _reference(system: str, value: str) -> dict[str, object]:
    return {"identifier": {"system": system, "value": value}}


def _user(caller: Caller | None, policy: str) -> dict[str, object]:
    agent: dict[str, object] = {
        "type": {
            "coding": [
                {
                    "system": _PARTICIPATION,
                    "code": "IRCP",
                    "display": "information recipient",
                }
            ]
        }
    }
    if caller is None:
        agent["who"] = {"display": "unidentified"}
    else:
        if caller.role:
            agent["role"] = [{"text": caller.role}]
        identifier = {"value": caller.subject}
        if caller.issuer:
            identifier = {"system": caller.issuer, **identifier}
        agent["who"] = {"identifier": identifier}
    agent["requestor"] = True
    if policy:
        agent["policy"] = [POLICY + policy]
    return agent


def _server(public_url: str) -> dict[str, object]:
    return {
        "type": {
            "coding": [{"system": _DICOM, "code": "110152", "display": "Destination Role ID"}]
        },
        "who": _reference("urn:ietf:rfc:3986", public_url),
        "requestor": False,
    }


def _request(exchange: Exchange) -> dict[str, object]:
    return {
        "what": _reference(REQUEST_ID, exchange.request_id),
        "type": {"system": _BALP_ENTITY, "code": "XrequestId"},
    }


def _asked(exchange: Exchange) -> dict[str, object]:
    facts = exchange.facts
    detail = [
        ("project", exchange.caller.project if exchange.caller else ""),
        ("method", exchange.method),
        ("interaction", facts.interaction),
        ("type", facts.type),
        ("operation", facts.operation),
        *(("parameter", name) for name in facts.parameters),
        *(("rule", rule) for rule in facts.rules),
        ("entries", str(facts.entries)),
        *(("scrubbed", f"{kind} {count}") for kind, count in facts.scrubbed),
    ]
    return {
        "type": {"system": _ENTITY_TYPE, "code": "2", "display": "System Object"},
        "role": {"system": _OBJECT_ROLE, "code": "24", "display": "Query"},
        "detail": [{"type": name, "valueString": value} for name, value in detail if value],
    }


def _patient(pseudonym: str) -> dict[str, object]:
    return {
        "what": _reference(PATIENT, pseudonym),
        "type": {"system": _ENTITY_TYPE, "code": "1", "display": "Person"},
        "role": {"system": _OBJECT_ROLE, "code": "1", "display": "Patient"},
    }


class Audit:
    """Appends events to an NDJSON file, each with one write, so that several processes may share
    it. A file that was moved away (rotated) or deleted is made anew."""

    def __init__(self, path: str, public_url: str) -> None:
        """:raises AuditUnavailable: if the file cannot be opened for appending."""
        self._path = path
        self._public_url = public_url
        self._lock = threading.Lock()
        self._open: tuple[int, int, int] | None = None  # descriptor, device, inode
        self._torn = False
        self._failed = False  # the last line could not be written
        with self._lock:
            self._descriptor()

    def write(self, exchange: Exchange) -> None:
        """Record ``exchange``.

        :raises AuditUnavailable: if the whole line could not be handed to the file.
        """
        line = orjson.dumps(event(exchange, self._public_url)) + b"\n"
        with self._lock:
            if not self._put(line):
                log.error("audit unavailable", extra={"request_id": exchange.request_id})
                raise AuditUnavailable

    @property
    def ready(self) -> bool:
        """Whether the file can be written now: it opens, its file system has room, and after a
        failure an empty line goes through (which also ends a line that was torn)."""
        with self._lock:
            try:
                room = os.fstatvfs(self._descriptor()).f_bavail > 0 or not self._regular()
            except (AuditUnavailable, OSError):
                return False
            return room and (not self._failed or self._put(b"" if self._torn else b"\n"))

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _put(self, line: bytes) -> bool:
        """Append ``line``; whether all of it was taken."""
        try:
            self._append(line)
        except (AuditUnavailable, OSError):
            self._failed = True
        else:
            self._failed = False
        return not self._failed

    def _regular(self) -> bool:
        return stat.S_ISREG(os.fstat(self._descriptor()).st_mode)

    def _append(self, line: bytes) -> None:
        descriptor = self._descriptor()
        if self._torn:  # half a line stands at the end; it must not swallow this one
            line = b"\n" + line
        written = os.write(descriptor, line)
        self._torn = written < len(line)
        if self._torn:
            raise OSError

    def _descriptor(self) -> int:
        """The open file, opened anew if the path no longer leads to it."""
        try:
            if self._open is not None:
                descriptor, *identity = self._open
                try:
                    now = os.stat(self._path)
                    if [now.st_dev, now.st_ino] == identity:
                        return descriptor
                except FileNotFoundError:
                    pass
                self._drop()
            # Not blocking: a pipe that nobody reads is an error now, not a wait for ever.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(self._path, flags, stat.S_IRUSR | stat.S_IWUSR)
            opened = os.fstat(descriptor)
            self._open = descriptor, opened.st_dev, opened.st_ino
            self._torn = False
            return descriptor
        except OSError:
            raise AuditUnavailable from None

    def _drop(self) -> None:
        if self._open is not None:
            os.close(self._open[0])
            self._open = None
