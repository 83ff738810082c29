"""The yardstick: the committed list of searches; placeholders filled from generated cases."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from proxy.demo.generator import Case
from proxy.fhir import registry
from proxy.fhir.codec import JsonObject
from proxy.fhir.search import escape
from proxy.lenses.identity import Namer

FILE = Path(__file__).with_name("searches.toml")
Pairs = tuple[tuple[str, str], ...]
OTHER_TYPE = "another type"  # the refusal of all searches of a type that a role does not have


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why searches are refused. ``instead``: a search that the role can ask; ``says``: what the
    OperationOutcome tells."""

    reason: str
    instead: str
    says: str


@dataclass(frozen=True, slots=True)
class Search:
    """One search of the list. ``refused``: role to the name of its :class:`Refusal`. ``matches``:
    whether the generated cases hold what it looks for."""

    id: str
    text: str
    source: str
    roles: tuple[str, ...]
    refused: Mapping[str, str]
    matches: bool

    @property
    def type(self) -> str:
        return self.text.partition("?")[0]

    def refusal(self, role: str) -> str:
        """The name of the refusal that the role gets; empty if it is answered."""
        if self.type not in load().types.get(role, [self.type]):
            return OTHER_TYPE
        return self.refused.get(role, "")


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The whole list. ``types``: what a role searches at all, of those that do not search all."""

    types: Mapping[str, list[str]]
    sources: Mapping[str, str]
    refusals: Mapping[str, Refusal]
    searches: tuple[Search, ...]


@cache
def load() -> Yardstick:
    """The committed list. Raises ``TypeError`` or ``KeyError`` for a key that is not known."""
    found = tomllib.loads(FILE.read_text(encoding="utf-8"))
    searches = tuple(
        Search(
            id=each.pop("id"),
            text=each.pop("text"),
            source=each.pop("source"),
            roles=tuple(each.pop("roles")),
            refused=each.pop("refused", {}),
            matches=each.pop("matches", True),
            **each,
        )
        for each in found["search"]
    )
    refusals = {name: Refusal(**each) for name, each in found["refusals"].items()}
    return Yardstick(found["types"], found["sources"], refusals, searches)


def codes(text: str) -> tuple[str, ...]:
    """The parameters of a search, without modifiers, chains and ``_has``."""
    pairs = text.partition("?")[2].split("&")
    return tuple(pair.partition("=")[0].partition(":")[0].partition(".")[0] for pair in pairs)


def encode(type_name: str, pairs: Pairs) -> str:
    """The target of a GET below the base."""
    query = "&".join(f"{quote(name, safe=':.')}={quote(value, safe='')}" for name, value in pairs)
    return f"/{type_name}?{query}"


class Filler:
    """Fills placeholders with what a role is shown of a case; the investigator's words stand where
    a role is shown nothing."""

    def __init__(self, case: Case, other: Case, namer: Namer | None) -> None:
        self._namer = namer
        self._held = {(str(r["resourceType"]), str(r["id"])): r for r in case.resources}
        story = case.story
        at = story.facility
        city, _, state, postal = story.place
        place = at.place
        self.values: dict[str, str] = {
            name: self._id(type_name, story.id(type_name, key))
            for name, type_name, key in _IDS
        }
        self.values |= {
            name: self._id(type_name, f"{stem}{at.slug}") for name, type_name, stem in _PLACES
        }
        role = next(i for t, i in self._held if t == "PractitionerRole" and i.endswith("attending"))
        self.values |= {
            "other-patient": self._id("Patient", other.story.id("Patient", "patient")),
            "practitioner-role": self._id("PractitionerRole", role),
            "eicr": self._document(_get(case.eicr, "identifier")),
            "original": self._document(
                _get(self._held["Composition", story.id("Composition", "eicr")], "relatesTo", 0,
                     "targetIdentifier")
            ),
            "mrn": self._identifier("Patient", "patient", story.id, "identifier", 0),
            "visit": self._identifier("Encounter", "encounter", story.id, "identifier", 0),
            "accession": self._identifier("Specimen", "specimen", story.id, "accessionIdentifier"),
            "npi": self._business(
                _get(self._held["Practitioner", f"practitioner-{at.slug}"], "identifier", 0)
            ),
            "family": story.family,
            "given": story.given,
            "part": story.family[1:5],
            "gender": story.gender,
            "phone": story.phone(1),
            "birth-date": story.birth.isoformat(),
            "birth-year": str(story.birth.year),
            "city": city,
            "state": state,
            "zip": postal,
            "zip3": postal[:3],
            "race": f"{escape(_RACE)}|{story.race[0]}",
            "ethnicity": f"{escape(_RACE)}|{story.ethnicity[0]}",
            "year": str(story.visit.year),
            "month": f"{story.visit:%Y-%m}",
            "next-month": _next_month(story.visit.year, story.visit.month),
            "travel": story.travel[0],
            "travel-start": story.day(-30),
            "travel-end": story.day(-12),
            "cluster": f"Cluster {state}-{story.digits % 900 + 100}",
            "lot": f"LOT-{story.digits % 10000}",
            "udi": "(01)09999990000019",
            "organization-name": escape(at.name),
            "location-name": escape(at.name),
            "practitioner-name": at.family,
            "facility-city": place[0],
            "facility-state": place[2],
            "facility-zip": place[3],
        }

    def fill(self, text: str, search: Search) -> tuple[str, Pairs]:
        """Type and decoded parameters of ``text``, which belongs to ``search``."""
        date = next((c for c in codes(search.text) if _is_date(search.type, c)), "")
        values = self.values | {"type": search.type, "date-parameter": date}
        type_name, _, query = text.partition("?")
        split = [pair.partition("=") for pair in query.split("&")]
        pairs = tuple((name.format(**values), value.format(**values)) for name, _, value in split)
        return type_name.format(**values), pairs

    def _id(self, type_name: str, real: str) -> str:
        assert (type_name, real) in self._held or type_name == "Patient"
        return real if self._namer is None else self._namer.show_id(type_name, real)

    def _identifier(
        self, type_name: str, key: str, name: Callable[[str, str], str], *path: str | int
    ) -> str:
        return self._business(_get(self._held[type_name, name(type_name, key)], *path))

    def _business(self, found: Mapping[str, Any]) -> str:
        system, value = found["system"], found["value"]
        if self._namer is not None:
            system, value = self._namer.show_identifier(system, value)
        return f"{escape(system)}|{escape(value)}"

    def _document(self, found: Mapping[str, Any]) -> str:
        system, value = found["system"], found["value"]
        if self._namer is not None:
            system, value = self._namer.show_document_identifier(value)
        return f"{escape(system)}|{escape(value)}"


_RACE = "urn:oid:2.16.840.1.113883.6.238"
# Placeholder, type, key of the case's resource.
_IDS = (
    ("patient", "Patient", "patient"),
    ("relative", "RelatedPerson", "mother"),
    ("encounter", "Encounter", "encounter"),
    ("diagnosis", "Condition", "diagnosis"),
    ("composition", "Composition", "eicr"),
    ("specimen", "Specimen", "specimen"),
    ("order", "ServiceRequest", "order"),
    ("note", "DocumentReference", "source"),
)
# Placeholder, type, beginning of the id of the place of care's resource.
_PLACES = (
    ("organization", "Organization", "organization-"),
    ("laboratory", "Organization", "organization-laboratory-"),
    ("location", "Location", "location-"),
    ("practitioner", "Practitioner", "practitioner-"),
)


def _get(value: Any, *path: str | int) -> Any:
    for step in path:
        value = value[step]
    return value


def _next_month(year: int, month: int) -> str:
    return f"{year + month // 12}-{month % 12 + 1:02}"


def _is_date(type_name: str, code: str) -> bool:
    known = registry.get(type_name).get(code)
    return known is not None and known.type == "date"


def without_meta(resource: JsonObject) -> JsonObject:
    """A resource without what a server says of its own storage of it."""
    return {k: v for k, v in resource.items() if k != "meta"}
