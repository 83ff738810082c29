"""The oracle's persons: whose dates a resource holds, and by how many days they move.

Read from R4's definitions of the types by hand, not from its search parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from proxy.policy.model import Method, Policy
from tests.oracle_facts import Json, as_list, is_resource, read_day
from tests.oracle_scope import BundleScope, Place, bundle_scope, identify, split

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Where a type names its patient by another element than patient or subject.
OTHERS = {
    "Appointment": ["participant.actor"],
    "AppointmentResponse": ["actor"],
    "AuditEvent": ["agent.who", "entity.what"],
    "Coverage": ["beneficiary"],
    "EnrollmentRequest": ["candidate"],
    "Person": ["link.target"],
    "Provenance": ["target"],
    "ResearchSubject": ["individual"],
    "SupplyRequest": ["deliverTo"],
    "Task": ["for"],
}


def method_of(policy: Policy) -> Method | None:
    """The policy's one way to shift dates."""
    lines = [r.method for r in policy.elements] + [r.method for r in policy.datatypes.values()]
    return next((m for m in lines if m.name == "shift"), None)


def days_of(resource: Json, place: Place, inside: bool, method: Method) -> int | None:
    """By how many days the dates of the resource move; None if they are nobody's."""
    for scope in reversed(list(place.bundle.around()) if place.bundle else []):
        if scope.days is not None:
            return scope.days
    if is_resource(resource) and resource["resourceType"] == "Bundle":
        name = case_of(resource, place.identity, place.bundle, place, method)
        days = days_of_person(name, place, method)
        return place.days if inside and days is None else days
    about = patients(resource, place, place.bundle, inside)
    if inside and not about:
        return place.days
    return days_of_person(name_of(about, place, method), place, method)


def days_of_person(name: str | None, place: Place, method: Method) -> int | None:
    given = method.param("range", (-365, -1))
    assert isinstance(given, tuple)
    return None if name is None else place.context.namer.offset(name, *given)


def case_of(
    bundle: Json, identity: str, outer: BundleScope | None, place: Place, method: Method
) -> str | None:
    """The name of the person whom a document or message is about."""
    scope = bundle_scope(bundle, identity, outer, place.context)
    held = [e.get("resource") for e in scope.entries]
    wanted = {"document": "Composition", "message": "MessageHeader"}.get(str(bundle.get("type")))
    heads = [
        i for i, r in enumerate(held) if isinstance(r, dict) and r.get("resourceType") == wanted
    ]
    objects = [i for i, r in enumerate(held) if isinstance(r, dict)]
    if heads and heads[0] == objects[0]:
        heads = heads[:1]
    if wanted == "Composition":
        about: dict[str, Json] = {}
        for i in heads:
            at = Place(place.context, scope.url(i), scope, place.contained)
            about |= patients(held[i], at, scope, False)
        return name_of(about, place, method)
    names = set()
    for i in heads:
        base = (split(scope.identities[i]) or ("",))[0] or place.context.bases[0]
        for link in as_list(held[i].get("focus")):
            text = link.get("reference") if isinstance(link, dict) else None
            found = identify(text, base, place.context)
            for j in first_of(scope, found):
                other = held[j]
                if isinstance(other, dict) and other.get("resourceType") == "Bundle":
                    names.add(case_of(other, scope.url(j), scope, place, method))
    return names.pop() if len(names) == 1 else None


def patients(
    resource: Json, place: Place, bundle: BundleScope | None, inside: bool
) -> dict[str, Json]:
    """The Patients that a resource is about, by absolute URL; None where they are elsewhere."""
    kind = resource["resourceType"]
    if kind == "Patient":
        own = f"{place.identity}#{resource.get('id')}" if inside else own_name(resource, place)
        return {own: resource} if own else {}
    found: dict[str, Json] = {}
    for path in OTHERS.get(kind, ["patient", "subject"]):
        for link in follow(resource, path.split(".")):
            text = link.get("reference") if isinstance(link, dict) else None
            if not isinstance(text, str):
                continue
            if text.startswith("#"):
                near = place.contained.resources if inside else {
                    c.get("id"): c
                    for c in reversed(as_list(resource.get("contained")))
                    if isinstance(c, dict)
                }
                one = near.get(text[1:])
                if isinstance(one, dict) and one.get("resourceType") == "Patient":
                    found[place.identity + text] = one
                continue
            name = identify(text, place.base, place.context)
            if name is None:
                continue
            entry = beside(name, bundle)
            name = own_name(entry, place) if entry else name
            parts = split(name)
            kind_of = entry.get("resourceType") if entry else parts[1] if parts else None
            if (kind_of or link.get("type")) == "Patient":
                found[name] = entry
    return found


def follow(value: Json, names: list[str]) -> Iterator[Json]:
    if isinstance(value, list):
        for item in value:
            yield from follow(item, names)
    elif names and isinstance(value, dict):
        yield from follow(value.get(names[0]), names[1:])
    elif not names:
        yield value


def beside(name: str, bundle: BundleScope | None) -> Json:
    """The entry of that identity in the Bundles around."""
    for scope in bundle.around() if bundle else ():
        for index in first_of(scope, name):
            return scope.entries[index]["resource"]
    return None


def first_of(scope: BundleScope, name: str | None) -> list[int]:
    """The first entry of that name which holds something, if any."""
    held = [i for i, e in enumerate(scope.entries) if isinstance(e.get("resource"), dict)]
    found = [i for i in held if scope.identities[i] == name]
    return (found or [i for i in held if scope.own.get(i) == name and name is not None])[:1]


def own_name(patient: Json, place: Place) -> str:
    """What an entry is referred to by: its type and id where no fullUrl names it."""
    for scope in place.bundle.around() if place.bundle else ():
        for index, entry in enumerate(scope.entries):
            if entry.get("resource") is patient:
                named = "#" not in scope.identities[index]
                own = scope.own.get(index)
                known = own is not None and not named and first_of(scope, own) == [index]
                stored = scope.stored_at.get(index)
                return stored or (own if own and known else scope.identities[index])
    return place.identity


def name_of(about: dict[str, Json], place: Place, method: Method) -> str | None:
    """One person by its URL or its identifier of the system that the policy names."""
    if len(about) != 1:
        return None
    ((url, patient),) = about.items()
    system = method.param("by-system")
    if system is None:
        return url
    patient = patient or place.context.companions.get(url) or {}
    values = {
        i.get("value")
        for i in as_list(patient.get("identifier"))
        if isinstance(i, dict) and i.get("system") == system and isinstance(i.get("value"), str)
    }
    return f"{system}|{values.pop()}" if len(values) == 1 else None


def move_weekdays(repeat: dict[str, Json], days: int | None) -> None:
    """Days of the week move with the dates; all of them go where one is unknown or nobody's."""
    listed = repeat.get("dayOfWeek")
    if not isinstance(listed, list):
        return
    if days is None or not all(day is None or day in WEEK for day in listed):
        repeat.pop("dayOfWeek")
        repeat.pop("_dayOfWeek", None)
        return
    later = {day: WEEK[(at + days) % 7] for at, day in enumerate(WEEK)}
    repeat["dayOfWeek"] = [None if day is None else later[str(day)] for day in listed]


def shift(code: str, text: Json, days: int | None) -> Json | None:
    """A date moved; one without a day by its middle. None if it cannot be."""
    known = read_day(code, text)
    if known is None or days is None:
        return None
    year, month, day = known
    first = date(year, month or 1, day or 1)
    if month is None:
        first = date(year, 7, 2)
    elif day is None:
        first = date(year, month, 15 if month == 2 else 16)
    ordinal = first.toordinal() + days
    if not 1 <= ordinal <= date.max.toordinal():
        return None
    moved = first + timedelta(days=days)
    spelled = f"{moved.year:04}-{moved.month:02}-{moved.day:02}"
    return spelled[: min(len(text), 10)] + text[10:]
