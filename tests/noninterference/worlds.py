"""Worlds: pairs of datasets that differ in one hidden thing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from proxy.demo.generator import cases, data_set
from proxy.demo.store import Store
from proxy.fhir.codec import JsonObject
from tests.rig import DEID, LDS

UNLISTED = "https://ehr.example.org/StructureDefinition/local-note"
Edit = Callable[[JsonObject, str], None]
Key = tuple[str, str]  # type and id

# What is written in the two worlds: markers, dates within one year, or nothing at all.
MARKERS = ("Everywoman7777", "Someoneelse3")
_NIGHT = 50_000  # seconds after the store's first write; when unseen rows are written


@dataclass(frozen=True, slots=True)
class World:
    """``kind``: what differs. ``type``, ``id``: the resource that it is about. ``first`` and
    ``second``: the resources in storage order, one that is listed again being written again;
    ``deleted``: written in both, then deleted in the second. ``what``: what differs, exactly.

    Of a world in which much differs at once, ``about`` lists (type, id) of all that differs or is
    deleted, and ``unseen`` of what is not shown in either side: it is written at another time, so
    that the times of storage of what is shown stay the same."""

    kind: str
    role: str
    type: str
    id: str
    first: tuple[JsonObject, ...]
    second: tuple[JsonObject, ...]
    deleted: bool = False
    what: str = ""
    about: tuple[Key, ...] = ()
    unseen: frozenset[Key] = frozenset()

    @property
    def name(self) -> str:
        return f"{self.kind} of {self.type} ({self.what})"

    def store(self, side: int) -> Store:
        """The embedded upstream's store in one side."""
        held = self.second if side else self.first
        store = _clocked(held, self.unseen) if self.about else Store(held)
        if self.deleted and side:
            for type_name, id in self.about or ((self.type, self.id),):
                store.delete(type_name, id)
        return store


def _clocked(held: tuple[JsonObject, ...], unseen: frozenset[Key]) -> Store:
    """A store in which unseen rows are written at another time than all others; a row that is
    written again keeps its time."""
    store, seconds = Store(), dict[Key, int]()
    for number, resource in enumerate(held):
        key = key_of(resource)
        if key in unseen:
            store.set_clock(_NIGHT + number)
        else:
            store.set_clock(seconds.setdefault(key, len(seconds)))
        store.write(resource)
    store.set_clock(_NIGHT + len(held))
    return store


def key_of(resource: JsonObject) -> Key:
    return str(resource["resourceType"]), str(resource["id"])


def first_of(resource: JsonObject, name: str) -> JsonObject:
    """The first item of a list of objects, made if there is none."""
    items = resource.setdefault(name, [{}])
    if not isinstance(items, list) or not isinstance(items[0], dict):
        raise TypeError(name)
    return items[0]


def _name(resource: JsonObject, marker: str) -> None:
    first_of(resource, "name")["family"] = marker


def _organization_name(resource: JsonObject, marker: str) -> None:
    resource["name"] = marker
    resource.pop("type", None)  # a public agency's name is shown


def _identifier(resource: JsonObject, marker: str) -> None:
    first_of(resource, "identifier")["value"] = marker


def _reference_identifier(resource: JsonObject, marker: str) -> None:
    subject = resource["subject"]
    assert isinstance(subject, dict)
    subject["identifier"] = {"system": "urn:oid:1.2.3", "value": marker}
    subject["display"] = marker


def _assigner(resource: JsonObject, marker: str) -> None:
    first_of(resource, "identifier")["assigner"] = {"display": marker}


def _element_id(resource: JsonObject, marker: str) -> None:
    first_of(resource, "identifier")["id"] = marker


def _contained_id(resource: JsonObject, marker: str) -> None:
    resource["contained"] = [{"resourceType": "Practitioner", "id": marker, "gender": "female"}]
    resource["performer"] = [{"reference": f"#{marker}"}]


def _recorded_day(resource: JsonObject, marker: str) -> None:
    day = "2019-02-03" if marker == MARKERS[0] else "2019-11-24T13:28:17-05:00"
    resource["recordedDate"] = day


def _oldest_birth_day(resource: JsonObject, marker: str) -> None:
    resource["birthDate"] = "1921-11-24" if marker == MARKERS[0] else "1927-02-03"
    resource.pop("_birthDate", None)


def _birth_day(resource: JsonObject, marker: str) -> None:
    resource["birthDate"] = "1974-11-24" if marker == MARKERS[0] else "1974-02-03"
    resource.pop("_birthDate", None)


def _hidden_period(resource: JsonObject, marker: str) -> None:
    day = "2019-02-03" if marker == MARKERS[0] else "2019-11-24"
    first_of(resource, "name")["period"] = {"start": day}


def _hidden_time(resource: JsonObject, marker: str) -> None:
    day = "2019-02-03" if marker == MARKERS[0] else "2019-11-24"
    resource["note"] = [{"text": "seen", "time": day}]


def _telecom(resource: JsonObject, marker: str) -> None:
    number = "+1-555-0100" if marker == MARKERS[0] else "+1-555-0199"
    resource["telecom"] = [{"system": "phone", "value": number, "use": "home"}]
    resource.pop("type", None)


def _narrative(resource: JsonObject, marker: str) -> None:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{marker}</p></div>'
    resource["text"] = {"status": "generated", "div": div}


def _extension(resource: JsonObject, marker: str) -> None:
    found = resource.setdefault("extension", [])
    assert isinstance(found, list)
    found.append({"url": UNLISTED, "valueString": marker})


def _nested_extension(resource: JsonObject, marker: str) -> None:
    code = resource["code"]
    assert isinstance(code, dict)
    code["extension"] = [{"url": UNLISTED, "valueAddress": {"line": [marker]}}]


def _contact(resource: JsonObject, marker: str) -> None:
    gender = "female" if marker == MARKERS[0] else "male"
    resource["contact"] = [{"name": {"family": marker}, "gender": gender}]


def _text(resource: JsonObject, marker: str) -> None:
    code = resource["code"]
    assert isinstance(code, dict)
    code["text"] = marker
    resource["note"] = [{"text": marker}]


def _malformed(resource: JsonObject, marker: str) -> None:
    resource["gender"] = {"marker": marker}


def _local_code(resource: JsonObject, marker: str) -> None:
    code = resource["code"]
    assert isinstance(code, dict)
    code["coding"] = [{"system": "urn:oid:2.999.1", "code": marker}]


def _hidden_reference(resource: JsonObject, marker: str) -> None:
    resource["derivedFrom"] = [{"reference": f"Media/{marker}"}]


def _hidden_entry(bundle: JsonObject, marker: str) -> None:
    entries = bundle["entry"]
    assert isinstance(entries, list)
    media: JsonObject = {
        "resourceType": "Media",
        "status": "completed",
        "content": {"contentType": "text/plain", "title": marker},
    }
    number = "1" if marker == MARKERS[0] else "2"
    uuid = f"urn:uuid:0e2d6b4e-38a7-4bd6-9b9e-2f7e1f8f0c0{number}"
    entries.append({"fullUrl": uuid, "resource": media})


def _hidden_contained(resource: JsonObject, marker: str) -> None:
    media: JsonObject = {
        "resourceType": "Media",
        "id": marker,
        "status": "completed",
        "content": {"title": marker},
    }
    resource["contained"] = [media]
    resource["focus"] = [{"reference": f"#{marker}"}]


_IDENTIFIER = (("Observation", _reference_identifier), ("Observation", _contained_id))
_HIDDEN_TYPE = (
    ("Bundle", _hidden_entry),
    ("Observation", _hidden_contained),
    ("Observation", _hidden_reference),
)
_UNLISTED = (("Patient", _contact), ("Patient", _malformed), ("Observation", _local_code))
# kind -> role -> (type, edit): each is made once with either marker.
EDITS: dict[str, dict[str, tuple[tuple[str, Edit], ...]]] = {
    "name": {
        DEID: (("Patient", _name), ("Organization", _organization_name)),
        LDS: (("Patient", _name), ("Practitioner", _name)),
    },
    "identifier": {
        DEID: (("Patient", _identifier), *_IDENTIFIER),
        LDS: (("Patient", _assigner), ("Patient", _element_id), *_IDENTIFIER),
    },
    "date": {
        DEID: (
            ("Condition", _recorded_day),
            ("Patient", _birth_day),
            ("Patient", _oldest_birth_day),
        ),
        LDS: (("Patient", _hidden_period), ("Observation", _hidden_time)),
    },
    "telecom": {
        DEID: (("Patient", _telecom), ("Organization", _telecom)),
        LDS: (("Patient", _telecom), ("RelatedPerson", _telecom)),
    },
    "narrative": {
        DEID: (("Observation", _narrative), ("Patient", _narrative)),
        LDS: (("Observation", _narrative), ("Condition", _narrative)),
    },
    "extension": {
        DEID: (("Patient", _extension), ("Observation", _nested_extension)),
        LDS: (("Patient", _extension), ("Condition", _nested_extension)),
    },
    "hidden type": {DEID: _HIDDEN_TYPE, LDS: _HIDDEN_TYPE},
    "unlisted element": {
        DEID: (*_UNLISTED, ("Observation", _text)),
        LDS: (*_UNLISTED, ("Condition", _text)),
    },
}
DELETED = "deleted resource"
KINDS = (*EDITS, DELETED)


def dataset(base: str, each: int = 3) -> list[JsonObject]:
    """Two generated cases, ``each`` resources of a type: enough to page through, quick to load."""
    kept: dict[str, int] = {}
    chosen = []
    for resource in data_set(cases(2, 11, base=base)):
        type_name = str(resource["resourceType"])
        kept[type_name] = kept.get(type_name, 0) + 1
        if kept[type_name] <= each and type_name not in ("ValueSet", "Library", "PlanDefinition"):
            chosen.append(resource)
    return chosen


def worlds(role: str, resources: list[JsonObject]) -> Iterator[World]:
    """All worlds of a role over one dataset."""
    for kind, by_role in EDITS.items():
        for type_name, edit in by_role[role]:
            yield _edited(kind, role, resources, type_name, edit)
    yield _one_entry_more(role, resources)
    for type_name in ("Patient", "Observation"):
        yield _withheld(role, resources, type_name)
    yield _never_there(role, resources, "Condition")
    if role == DEID:  # times of storage show in the limited data set
        yield _rewritten(role, resources, "Patient")


def find(resources: list[JsonObject], type_name: str) -> int:
    """The index of the first resource of the type; of Bundles, of the first document."""
    return next(
        i
        for i, r in enumerate(resources)
        if r["resourceType"] == type_name and (type_name != "Bundle" or r["type"] == "document")
    )


def _edited(kind: str, role: str, resources: list[JsonObject], type_name: str, edit: Edit) -> World:
    index = find(resources, type_name)
    sides = []
    for marker in MARKERS:
        side = copy.deepcopy(resources)
        edit(side[index], marker)
        sides.append(tuple(side))
    what, id = edit.__name__.strip("_"), str(resources[index]["id"])
    return World(kind, role, type_name, id, sides[0], sides[1], what=what)


def _one_entry_more(role: str, resources: list[JsonObject]) -> World:
    """A document with an entry of a hidden type, and without it."""
    index = find(resources, "Bundle")
    other = copy.deepcopy(resources)
    _hidden_entry(other[index], MARKERS[0])
    id = str(resources[index]["id"])
    both = tuple(resources), tuple(other)
    return World("hidden type", role, "Bundle", id, *both, what="one_entry_more")


def _withheld(role: str, resources: list[JsonObject], type_name: str) -> World:
    """A row that a modifierExtension withholds, in the first world there, in the second deleted."""
    index = find(resources, type_name)
    hidden = copy.deepcopy(resources[index])
    hidden["id"] = f"withheld-{type_name.lower()}"
    hidden["modifierExtension"] = [{"url": UNLISTED, "valueBoolean": True}]
    both = (*resources[:index], hidden, *resources[index:])
    return World(DELETED, role, type_name, str(hidden["id"]), both, both, True, "withheld")


def _never_there(role: str, resources: list[JsonObject], type_name: str) -> World:
    """A row that was shown, then deleted; in the first world it never was there. It is the last to
    be written, so that all others have the same times of storage."""
    gone = copy.deepcopy(resources[find(resources, type_name)])
    gone["id"] = f"gone-{type_name.lower()}"
    first, id = tuple(resources), str(gone["id"])
    return World(DELETED, role, type_name, id, first, (*first, gone), True, "never_there")


def _rewritten(role: str, resources: list[JsonObject], type_name: str) -> World:
    """A row that was written twice: version and time of storage differ, nothing else."""
    row, first = resources[find(resources, type_name)], tuple(resources)
    again = (*first, row)
    return World("unlisted element", role, type_name, str(row["id"]), first, again, what="version")
