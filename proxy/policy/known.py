"""What identifies the persons of a case directly, for :mod:`proxy.lenses.scrub`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from proxy.fhir.codec import Json, JsonObject, is_among
from proxy.lenses.scrub import Known
from proxy.lenses.spoken import FAMILY, GIVEN, NAME, NUMBER, STREET, TELECOM

PERSONS = frozenset({"Patient", "RelatedPerson"})
Texts = frozenset[tuple[str, str]]


def texts_of(persons: Iterable[JsonObject]) -> Texts:
    """Names, identifiers, telecoms, street lines and ids of Patients, of their contacts, and of
    RelatedPersons, each with what it is."""
    return frozenset(found for person in persons for found in _person(person))


def know(texts: Texts, made: dict[Texts, Known]) -> Known:
    """The patterns for these texts. ``made``: those of this exchange, of which it is one."""
    if texts not in made:
        made[texts] = Known.of(texts)
    return made[texts]


def persons_in(resource: JsonObject) -> Iterator[JsonObject]:
    """The Patients and RelatedPersons in a resource, at any depth: it may be one, contain some, or
    be a Bundle of them."""
    waiting: list[Json] = [resource]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if is_among(item.get("resourceType"), PERSONS):
                yield item
            waiting += [v for v in item.values() if isinstance(v, dict | list)]
        elif isinstance(item, list):
            waiting += [v for v in item if isinstance(v, dict | list)]


def _person(person: JsonObject) -> Iterator[tuple[str, str]]:
    yield from _texts(NUMBER, person.get("id"))
    for identifier in _objects(person.get("identifier")):
        yield from _texts(NUMBER, identifier.get("value"))
    for name in _objects(person.get("name")):
        yield from _name(name)
    for telecom in _objects(person.get("telecom")):
        yield from _texts(TELECOM, telecom.get("value"))
    for address in _objects(person.get("address")):
        lines = address.get("line")
        for line in lines if isinstance(lines, list) else ():
            yield from _texts(STREET, line)
        yield from _texts(STREET, address.get("text"))
    for contact in _objects(person.get("contact")):
        yield from _person(contact)


def _name(name: JsonObject) -> Iterator[tuple[str, str]]:
    family, given = name.get("family"), name.get("given")
    firsts = [g for g in given if isinstance(g, str)] if isinstance(given, list) else []
    yield from _texts(NAME, name.get("text"))
    yield from _texts(FAMILY, family)
    for first in firsts:
        yield from _texts(GIVEN, first)
    if isinstance(family, str) and firsts:
        yield NAME, f"{' '.join(firsts)}|{family}"


def _texts(kind: str, value: Json) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and value.strip():
        yield kind, value


def _objects(value: Json) -> list[JsonObject]:
    """The objects of a list; one object, as of a contact's name, is a list of itself."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]
