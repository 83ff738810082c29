"""Who is meant: whose dates a resource holds, and which persons its texts may name.

Dates are those of the one Patient that the resource is about, whose offset ``shift`` adds. A
Patient is about itself; any other resource about the Patients that its search parameters
``patient`` and ``subject`` read. In a document every entry is about the subject of its
Composition, in a message about that of the document that its focus nests. Of no Patient, or of
several, no offset is known.

Texts may name the Patients that their resource is about, and those related to them; in a document
or message whoever is in it, and whomever any of it is about. ``scrub`` needs to know all of them:
those that are stored beside what is at hand, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from proxy.fhir import match, registry
from proxy.fhir.codec import Json, JsonObject, is_among
from proxy.fhir.reference import parse_reference
from proxy.fhir.structure import RESOURCES
from proxy.lenses.scrub import Known
from proxy.lenses.shift import Shifting, move_weekday, read_shift
from proxy.policy.known import PERSONS, Texts, know, persons_in, texts_of
from proxy.policy.model import Policy
from proxy.policy.places import (
    Named,
    Place,
    find_contained,
    find_heads,
    list_entries,
    name_entries,
)
from proxy.policy.scope import Scope

if TYPE_CHECKING:
    from proxy.policy.complexes import Hook

CODES = ("patient", "subject")
# Absolute URL to the Patient, as far as it is at hand.
Found: TypeAlias = "dict[str, JsonObject | None]"
Near: TypeAlias = "tuple[Named, ...]"
_NOBODY: tuple[str, JsonObject | None] = ("", None)


class State(NamedTuple):
    """What :meth:`Persons.enter` found in the scope."""

    offset: int | None
    together: bool
    near: Near
    known: Known | None
    whole: bool
    around: Texts


def shifting(policy: Policy) -> Shifting | None:
    """How the policy shifts dates; None if it does not. All its lines say the same."""
    return next((read_shift(dict(m.params)) for m in policy.methods if m.name == "shift"), None)


def scrubs(policy: Policy) -> bool:
    """Whether the policy scrubs any text."""
    return any(method.name == "scrub" for method in policy.methods)


@cache
def elements(type_name: str) -> tuple[tuple[str, ...], ...]:
    """The elements of a type that name the Patients it is about, as their steps."""
    known = registry.get(type_name) if type_name in RESOURCES else {}
    found: dict[tuple[str, ...], None] = {}
    for code in CODES:
        parameter = known.get(code)
        if parameter is not None and "Patient" in parameter.targets:
            for path in match.paths(parameter, type_name) or ():
                found[tuple(path.path.split(".")[1:])] = None
    return tuple(found)


class Persons:
    """The persons of resources under one policy. ``how``: it shifts dates so; None: it does not.
    ``scrubs``: whether it scrubs texts."""

    def __init__(self, how: Shifting | None, scrubs: bool) -> None:
        self.how = how
        self.scrubs = scrubs

    @classmethod
    def of(cls, policy: Policy) -> Persons | None:
        """Those of a policy that asks for persons at all."""
        how, texts = shifting(policy), scrubs(policy)
        return cls(how, texts) if how is not None or texts else None

    @property
    def has_companions(self) -> bool:
        """Whether stored Patients are looked for beside a resource."""
        return self.scrubs or (self.how is not None and self.how.system != "")

    def enter(self, resource: JsonObject, scope: Scope, *, contained: bool) -> State:
        """Set the scope's offset, and whom it knows, to those of a resource whose walk begins. What
        is contained and is about nobody is about whom its container is about."""
        state = State(
            scope.offset, scope.together, scope.near, scope.known, scope.whole, scope.around
        )
        dated = self.how is not None and not scope.together
        told = self.scrubs and not scope.whole
        if not (dated or self.scrubs):
            return state
        if resource.get("resourceType") == "Bundle":
            inside = list(list_entries(resource, scope.url, scope.base, scope))
            scope.near = (*scope.near, name_entries(inside, scope))
            if dated:
                person = self._case(resource, inside, scope.near, scope)
                scope.together = person != ""
                scope.offset = self.offset(person, scope)
            if told:
                held = (r for _, r in inside if is_among(r.get("resourceType"), PERSONS))
                scope.around |= texts_of(held)
                self._know_case(resource, inside, scope)
            return state
        found = _patients(resource, scope, scope.base, scope.near, contained=contained)
        if contained and not found:
            return state
        if dated:
            scope.offset = self.offset(self._name(found, scope), scope)
        if told:
            scope.known = self._know(found, resource, scope, contained=contained)
        elif self.scrubs and not all(held or scope.companions.get(u) for u, held in found.items()):
            scope.known = None  # of somebody else, whom the document or message does not hold
        return state

    def leave(self, state: State, scope: Scope) -> None:
        """Undo :meth:`enter`."""
        scope.offset, scope.together, scope.near = state.offset, state.together, state.near
        scope.known, scope.whole, scope.around = state.known, state.whole, state.around

    def hooks(self, type_name: str) -> list[Hook]:
        """What is done to a shown object of the type after its walk: the days of the week on which
        something is repeated would tell the offset but for whole weeks."""
        return [_move_weekdays] if self.how is not None and type_name == "Timing.repeat" else []

    def offset(self, person: str, scope: Scope) -> int | None:
        """The offset of a person by name; None for nobody."""
        if self.how is None or not person:
            return None
        return scope.namer.offset(person, self.how.low, self.how.high)

    def survey(self, resource: JsonObject, scope: Scope) -> None:
        """Look for all persons that a reveal of the resource will look for, so that the scope's
        ``missing`` names the Patients that it lacks."""
        self._survey(resource, scope, contained=False)

    def _survey(self, resource: JsonObject, scope: Scope, *, contained: bool) -> None:
        state = self.enter(resource, scope, contained=contained)
        for inner, part in _parts(resource, scope, contained=contained):
            self._survey(inner, scope, contained=part)
        self.leave(state, scope)

    def _case(
        self, bundle: JsonObject, inside: list[tuple[Place, JsonObject]], near: Near, scope: Scope
    ) -> str:
        """The person whom all of a document or message is about; empty if there is none. ``near``:
        what it holds is the last of it."""
        kind = bundle.get("type")
        found: Found = {}
        if kind == "document":
            for place, composition in find_heads(inside, "Composition"):
                found |= _patients(composition, scope, place.base, near, contained=False)
            return self._name(found, scope)
        if kind != "message":
            return ""
        focus = [
            near[-1].get(scope.name_of(text, place.base), _NOBODY)[1]
            for place, header in find_heads(inside, "MessageHeader")
            for text, _ in _references(header, ("focus",))
        ]
        persons = set()
        for place, inner in inside:
            if inner.get("resourceType") == "Bundle" and any(inner is each for each in focus):
                within = list(list_entries(inner, place.url, place.base, scope))
                around = (*near, name_entries(within, scope))
                persons.add(self._case(inner, within, around, scope))
        return persons.pop() if len(persons) == 1 else ""

    def _name(self, found: Found, scope: Scope) -> str:
        """The name of the one person found: its URL, or the identifier that the policy asks for."""
        if len(found) != 1 or self.how is None:
            return ""
        ((url, patient),) = found.items()
        if not self.how.system:
            return url
        if patient is None:
            patient = scope.companions.get(url)
            if url not in scope.companions:
                scope.missing.add(url)
        values = {
            str(value)
            for identifier in _objects((patient or {}).get("identifier"))
            if identifier.get("system") == self.how.system
            and isinstance(value := identifier.get("value"), str)
        }
        return f"{self.how.system}|{values.pop()}" if len(values) == 1 else ""

    def _know_case(
        self, bundle: JsonObject, inside: list[tuple[Place, JsonObject]], scope: Scope
    ) -> None:
        """Know all persons of a document or message: those in it, and whoever a read of any of it
        would know. The subject of a document must be one of them."""
        kind = bundle.get("type")
        if kind not in ("document", "message"):
            return
        persons = list(persons_in(bundle))
        subjects: Found = {}
        for place, composition in find_heads(inside, "Composition") if kind == "document" else ():
            subjects |= _patients(composition, scope, place.base, scope.near, contained=False)
        about: Found = {}
        for inner, _ in _parts(bundle, scope, contained=False):
            about |= _about(inner, scope, contained=False)
        beside = [_beside(url, held, scope) for url, held in about.items()]
        complete = all(held or scope.companions.get(url) for url, held in subjects.items())
        held = any(person["resourceType"] == "Patient" for person in persons)
        scope.whole = held or bool(subjects)
        if scope.whole:
            everybody = [*persons, *(person for found in beside for person in found)]
            scope.known = know(texts_of(everybody), scope.scrubbers) if complete else None

    def _know(
        self, found: Found, resource: JsonObject, scope: Scope, *, contained: bool
    ) -> Known | None:
        """The persons of a resource alone: those that it holds, those of the Bundle at hand, and
        each Patient whom it is about, as stored, with those related to it."""
        persons = list(persons_in(resource))
        complete = bool(found)
        for url, held in found.items():
            persons += [*([held] if held else []), *_beside(url, held, scope)]
            if held is None or not (scope.near or contained or "#" in url):
                patient = held or scope.companions.get(url)
                complete &= patient is not None and url in scope.relatives
        if not complete:
            return None
        texts = texts_of(persons)
        # As one object where it can be: its hash is that of many texts.
        texts = scope.around if texts <= scope.around else texts | scope.around
        return know(texts, scope.scrubbers)


def _parts(
    resource: JsonObject, scope: Scope, *, contained: bool
) -> Iterator[tuple[JsonObject, bool]]:
    """The entries of a Bundle, the scope at each as a walk has it, and what a resource contains;
    whether it is contained."""
    held = scope.url, scope.base
    if resource.get("resourceType") == "Bundle":
        for place, inner in list(list_entries(resource, scope.url, scope.base, scope)):
            scope.url, scope.base = place.url, place.base
            yield inner, False
            scope.url, scope.base = held
    for inner in () if contained else _objects(resource.get("contained")):
        yield inner, True


def _about(resource: JsonObject, scope: Scope, *, contained: bool) -> Found:
    """The Patients that a resource, or anything in it, is about."""
    near = scope.near
    found: Found = {}
    if resource.get("resourceType") == "Bundle":
        inside = list(list_entries(resource, scope.url, scope.base, scope))
        scope.near = (*near, name_entries(inside, scope))
    else:
        found |= _patients(resource, scope, scope.base, near, contained=contained)
    for inner, part in _parts(resource, scope, contained=contained):
        found |= _about(inner, scope, contained=part)
    scope.near = near
    return found


def _beside(url: str, held: JsonObject | None, scope: Scope) -> list[JsonObject]:
    """The stored Patient of a URL with those related to it, as far as they are at hand, else it is
    missing. One ``held`` under a URN may be stored by its type and id."""
    if "#" in url:
        return []
    if held is not None and url.startswith("urn:"):
        id_ = held.get("id")
        url = scope.name_of(f"Patient/{id_}", scope.bases.main) if isinstance(id_, str) else ""
    if not url:
        return []
    if url not in scope.companions or url not in scope.relatives:
        scope.missing.add(url)
    patient = scope.companions.get(url)
    return [*([patient] if patient else []), *scope.relatives.get(url, ())]


def _patients(
    resource: JsonObject, scope: Scope, base: str, near: Near, *, contained: bool
) -> Found:
    """The Patients that the resource is about."""
    type_name = resource.get("resourceType")
    if type_name == "Patient":
        name = f"{scope.url}#{resource.get('id')}" if contained else _called(resource, scope)
        return {name: resource} if name else {}
    found: Found = {}
    for steps in elements(str(type_name)):
        for text, declared in _references(resource, steps):
            if text.startswith("#"):
                held = _contained(text[1:], resource, scope, contained=contained)
                if held is not None and held.get("resourceType") == "Patient":
                    found[scope.url + text] = held
                continue
            reference = parse_reference(text, base)
            if reference.kind not in ("relative", "absolute", "urn"):
                continue
            identity = scope.identity(reference)
            known = next((each[identity] for each in reversed(near) if identity in each), None)
            called, held = (identity, None) if known is None else known
            kind = (held or {}).get("resourceType") or reference.type or declared
            if kind == "Patient":
                found[called] = held
    return found


def _move_weekdays(obj: JsonObject, out: JsonObject, scope: Scope) -> None:
    """Days of the week go unless all are known and move."""
    listed = out.get("dayOfWeek")
    if listed is None:
        return
    days = listed if scope.offset is not None and isinstance(listed, list) else []
    moved: list[Json] = [
        None if day is None else move_weekday(day, scope.offset or 0) for day in days
    ]
    if [day is None for day in moved] == [day is None for day in days] and moved:
        out["dayOfWeek"] = moved
    else:
        del out["dayOfWeek"]
        out.pop("_dayOfWeek", None)


def _called(resource: JsonObject, scope: Scope) -> str:
    """What an entry is referred to by, else its URL."""
    around = scope.near[-1].values() if scope.near else ()
    return next((called for called, held in around if held is resource), scope.url)


def _contained(
    id: str, resource: JsonObject, scope: Scope, *, contained: bool
) -> JsonObject | None:
    if contained:
        return scope.contained.resources.get(id) if scope.contained is not None else None
    return find_contained(id, resource)


def _references(value: Json, steps: tuple[str, ...]) -> Iterator[tuple[str, Json]]:
    """The reference texts at the end of the steps, each with its declared type."""
    if isinstance(value, list):
        for item in value:
            yield from _references(item, steps)
    elif isinstance(value, dict):
        if steps:
            yield from _references(value.get(steps[0]), steps[1:])
        elif isinstance(text := value.get("reference"), str):
            yield text, value.get("type")


def _objects(value: Json) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
