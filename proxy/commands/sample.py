"""``check --sample``: a view over some real resources, counted."""

from __future__ import annotations

import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException

from proxy.engine.tripwire import alarm
from proxy.errors import ProxyError
from proxy.fhir.codec import CodecError, JsonObject, decode
from proxy.fhir.reference import Bases
from proxy.lenses.identity import Namer
from proxy.lenses.keys import KeyRing
from proxy.policy.compile import View
from proxy.policy.scope import Scope

COUNT = 20  # resources of a type
LARGEST = 50_000_000  # bytes of an answer
TIMEOUT = 30.0  # seconds
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class SampleError(Exception):
    """The server cannot be read; the message says why, and nothing of what it sent."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What came of one type: resources read, shown, not made (the view failed), and values of the
    shown ones in which a removed identifier still stands."""

    type: str
    read: int
    shown: int
    failed: int
    hits: int


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class Server:
    """A FHIR server, of which the first answer of each type is the sample."""

    def __init__(self, url: str, plain_http: tuple[str, ...] = ()) -> None:
        """Raises SampleError for a URL that may not be asked."""
        parts = urllib.parse.urlsplit(url)
        plain = _LOOPBACK | set(plain_http)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SampleError("the URL is none of http or https")
        if parts.scheme == "http" and parts.hostname not in plain:
            raise SampleError("plain http is for loopback and hosts in plain-http; use https")
        self.url = url.rstrip("/")
        try:
            self.bases = Bases(self.url)
        except ValueError:
            raise SampleError("the URL is no base of a FHIR server") from None
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)

    def resources(self, type_name: str) -> Iterator[JsonObject]:
        """Some resources of a type; none if the server does not have the type."""
        request = urllib.request.Request(
            f"{self.url}/{type_name}?_count={COUNT}", headers={"Accept": "application/fhir+json"}
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                body = answer.read(LARGEST + 1)
        except urllib.error.HTTPError as error:
            if error.code in (400, 404):
                return
            raise SampleError(f"the server answers {error.code} for {type_name}") from None
        except (OSError, HTTPException):
            raise SampleError("the server does not answer") from None
        if len(body) > LARGEST:
            raise SampleError(f"the answer for {type_name} is larger than {LARGEST} bytes")
        try:
            bundle = decode(body)
        except CodecError:
            raise SampleError(f"the answer for {type_name} is not FHIR JSON") from None
        entries = bundle.get("entry") if isinstance(bundle, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if isinstance(resource, dict) and resource.get("resourceType") == type_name:
                yield resource


def sample(view: View, server: Server) -> Iterator[Sample]:
    """Every type that the view shows and the server has, revealed under a key of the moment."""
    today = datetime.now(UTC).date()
    ring = KeyRing.new(os.urandom(32), os.urandom(64), today)
    namer = Namer(ring.project("sample", view.name))
    for type_name in sorted(view.policy.access):
        counts = [0, 0, 0, 0]
        for resource in server.resources(type_name):
            bases = server.bases
            scope = Scope(namer, bases, bases.main, today, view.shows, view.pseudonym)
            counts[0] += 1
            try:
                revealed = view.reveal(resource, scope)
            except (ProxyError, ArithmeticError, LookupError, TypeError, ValueError):
                counts[2] += 1
                continue
            counts[1] += revealed is not None
            counts[3] += alarm(resource, revealed)
        if counts[0]:
            yield Sample(type_name, *counts)
