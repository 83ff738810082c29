"""Resources in memory, with their versions, in the order in which they were first written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from proxy.demo.build import thing
from proxy.fhir.codec import JsonObject, encode

# The clock of the store: the first write happens here, each further one a second later.
EPOCH = datetime(2026, 1, 5, 6, 0, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Version:
    """One version. ``resource`` and ``body`` (its JSON) are empty for a deletion. ``at``: when it
    was written, in UTC. ``method``: how (``POST``, ``PUT``, ``DELETE``)."""

    type: str
    id: str
    number: int
    at: datetime
    method: str
    resource: JsonObject | None
    body: bytes

    @property
    def path(self) -> str:
        return f"{self.type}/{self.id}/_history/{self.number}"

    @property
    def etag(self) -> str:
        return f'W/"{self.number}"'

    @property
    def instant(self) -> str:
        return instant(self.at)


def instant(at: datetime) -> str:
    """``at`` as a FHIR instant with milliseconds."""
    return at.isoformat(timespec="milliseconds")


class Store:
    """Every resource with all of its versions."""

    def __init__(self, resources: Iterable[JsonObject] = ()) -> None:
        self._held: dict[str, dict[str, list[Version]]] = {}
        self._writes = 0
        for resource in resources:
            self.write(resource)

    def write(self, resource: JsonObject, method: str = "PUT") -> Version:
        """Store a new version of ``resource``, which has a type and an id. Its meta gets the
        version, the time, and a source that changes with every write, as HAPI does."""
        type, id = str(resource["resourceType"]), str(resource["id"])
        versions = self._held.setdefault(type, {}).setdefault(id, [])
        number, at = len(versions) + 1, self._tick()
        source = hashlib.sha256(f"{type}/{id}/{number}/{self._writes}".encode()).hexdigest()
        given = resource.get("meta")
        meta: JsonObject = dict(thing(given)) if isinstance(given, dict) else {}
        meta |= {"versionId": str(number), "lastUpdated": instant(at), "source": f"#{source[:16]}"}
        stored: JsonObject = {"resourceType": type, "id": id, "meta": meta}
        stored |= {k: v for k, v in resource.items() if k not in stored}
        version = Version(type, id, number, at, method, stored, encode(stored))
        versions.append(version)
        return version

    def delete(self, type: str, id: str) -> Version | None:
        """Store a deletion; None if there is nothing to delete."""
        current = self.current(type, id)
        if current is None or current.resource is None:
            return None
        versions = self._held[type][id]
        version = Version(type, id, len(versions) + 1, self._tick(), "DELETE", None, b"")
        versions.append(version)
        return version

    def set_clock(self, seconds: int) -> None:
        """The next write happens so long after the store's first moment."""
        self._writes = seconds

    def _tick(self) -> datetime:
        self._writes += 1
        return EPOCH + timedelta(seconds=self._writes - 1)

    def current(self, type: str, id: str) -> Version | None:
        """The newest version, which may be a deletion; None if there never was one."""
        versions = self._held.get(type, {}).get(id)
        return versions[-1] if versions else None

    def version(self, type: str, id: str, number: str) -> Version | None:
        for version in self._held.get(type, {}).get(id, ()):
            if str(version.number) == number:
                return version
        return None

    def resource(self, type: str, id: str) -> JsonObject | None:
        """The resource as it is now; None if it does not exist or was deleted."""
        current = self.current(type, id)
        return current.resource if current else None

    def of_type(self, type: str) -> Iterator[Version]:
        """The current resources of a type, in the order of their first write."""
        for versions in self._held.get(type, {}).values():
            if versions[-1].resource is not None:
                yield versions[-1]

    def types(self) -> list[str]:
        return sorted(self._held)

    def history(self, type: str = "", id: str = "") -> list[Version]:
        """All versions of a resource, a type or everything, the newest first."""
        found = [
            version
            for held, ids in self._held.items()
            if type in ("", held)
            for key, versions in ids.items()
            if id in ("", key)
            for version in versions
        ]
        return sorted(found, key=lambda version: version.at, reverse=True)
