"""Resources of a case into documents, in the three ways documents name their entries."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from proxy.demo.build import identifier, reference, thing
from proxy.demo.names import ECR, URI
from proxy.demo.story import FOREIGN, SPACE, UPSTREAM, UUIDS, Story
from proxy.fhir.codec import Json, JsonObject

# Two senders; both have a Patient/1.
SENDERS = ("https://ehr.example.org/fhir", "https://his.example.net/fhir")


def sender(story: Story) -> str:
    """The base of the server that a foreign document comes from."""
    return SENDERS[story.number // 3 % len(SENDERS)]


class Naming:
    """How one case's documents name the resources; the same resource the same in both."""

    def __init__(self, story: Story, base: str) -> None:
        self._style = story.style
        self._base = sender(story) if story.style == FOREIGN else base
        # The sender's documents are counted, and so are its patients: 1, 2, 3 …
        self._turn = story.number // (3 * len(SENDERS))
        self._seed = story.seed
        self._known: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def name(self, ref: str) -> str:
        """The reference that stands in the document for the upstream's ``Type/id``."""
        if self._style == UPSTREAM:
            return ref
        if ref not in self._known:
            if self._style == UUIDS:
                self._known[ref] = f"urn:uuid:{uuid.uuid5(SPACE, f'{self._seed}/{ref}')}"
            else:
                type = ref.partition("/")[0]
                count = self._counts[type] = self._counts.get(type, 0) + 1
                number = self._turn + 1 if ref.startswith("Patient/") else (
                    self._turn * 100 + count
                )
                self._known[ref] = f"{type}/{number}"
        return self._known[ref]

    def url(self, ref: str) -> str:
        """The full URL of the entry that holds ``Type/id``."""
        named = self.name(ref)
        return named if self._style == UUIDS else f"{self._base}/{named}"

    def rewrite(self, value: Json) -> Json:
        """A copy with every relative reference as the document names it."""
        if isinstance(value, list):
            return [self.rewrite(item) for item in value]
        if not isinstance(value, dict):
            return value
        found = {key: self.rewrite(item) for key, item in value.items()}
        target = found.get("reference")
        if isinstance(target, str) and not target.startswith(("#", "urn:", "http")):
            found["reference"] = self.name(target)
        return found


def entry(naming: Naming, story: Story, resource: JsonObject) -> JsonObject:
    ref = f"{resource['resourceType']}/{resource['id']}"
    found = thing(naming.rewrite(resource))
    if story.style == UUIDS:
        del found["id"]
    else:
        found["id"] = naming.name(ref).partition("/")[2]
        meta = thing(found.get("meta", {}))
        stamped: JsonObject = {
            "versionId": str(1 + story.digits % 9),
            "lastUpdated": story.time(3),
            "source": f"#{story.uuid(ref)[:16]}",
        }
        found["meta"] = stamped | meta
    order = ("resourceType", "id", "meta")
    return {
        "fullUrl": naming.url(ref),
        "resource": {k: found[k] for k in order if k in found}
        | {k: v for k, v in found.items() if k not in order},
    }


def document(
    naming: Naming,
    story: Story,
    key: str,
    identifier: JsonObject,
    resources: Iterable[JsonObject],
) -> JsonObject:
    """A document Bundle of ``resources``, the Composition first; ``key``: ``eicr`` or ``rr``."""
    return {
        "resourceType": "Bundle",
        "id": story.id("Bundle", key),
        "meta": {"profile": [f"{ECR}{key}-document-bundle"]},
        "identifier": identifier,
        "type": "document",
        "timestamp": story.time(4 if key == "eicr" else 6),
        "entry": [entry(naming, story, resource) for resource in resources],
    }


def message(naming: Naming, story: Story, report: JsonObject, place: JsonObject) -> JsonObject:
    """A message Bundle that carries the case report as a Bundle inside an entry."""
    base = "http://hl7.org/fhir/us/ecr/"
    focus = f"Bundle/{report['id']}"
    software: JsonObject = {
        "resourceType": "Device",
        "id": story.id("Device", "software"),
        "deviceName": [{"name": "Meridian Record System", "type": "model-name"}],
        "version": [{"value": "11.2"}],
        "contact": [{"system": "email", "value": f"support@{story.facility.slug}.example.org"}],
    }
    header: JsonObject = {
        "resourceType": "MessageHeader",
        "id": story.id("MessageHeader", "header"),
        "meta": {"profile": [ECR + "ecr-messageheader"]},
        "extension": [
            {"url": ECR + "us-ph-data-encrypted-extension", "valueBoolean": False},
            {"url": ECR + "us-ph-message-processing-category-extension",
             "valueCode": "consequence"},
        ],
        "eventCoding": {
            "system": "http://example.org/fhir/CodeSystem/message-events",
            "code": "eicr-case-report-message",
            "display": "Case report",
        },
        "destination": [
            {
                "name": "State gateway",
                "target": reference(f"Device/{software['id']}"),
                "endpoint": "https://gateway.health.example.gov/fhir",
            }
        ],
        "sender": reference(f"Organization/{place['id']}"),
        "source": {
            "name": story.facility.name,
            "software": "Meridian Record System",
            "version": "11.2",
            "contact": {"system": "phone", "value": story.phone(5)},
            "endpoint": f"https://{story.facility.slug}.example.org/fhir",
        },
        "reason": {
            "coding": [
                {
                    "system": base + "CodeSystem/us-ph-triggerdefinition-namedevents",
                    "code": "encounter-close",
                    "display": "Close of an encounter",
                }
            ]
        },
        "focus": [reference(focus)],
    }
    return {
        "resourceType": "Bundle",
        "id": story.id("Bundle", "message"),
        "meta": {"profile": [ECR + "us-ph-reporting-bundle"]},
        "identifier": identifier(URI, f"urn:uuid:{story.uuid('message')}"),
        "type": "message",
        "timestamp": story.time(5),
        "entry": [
            entry(naming, story, header),
            {"fullUrl": naming.url(focus), "resource": report},
            entry(naming, story, software),
            entry(naming, story, place),
        ],
    }


