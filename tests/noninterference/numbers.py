"""Worlds in which a person has another number, and all of that person's dates other days.

Where dates shift by a number that does not show, another number is another offset. So the dates are
moved in the other direction as far as the offsets differ: both sides show the same, and hold
nothing of a date in common.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.demo.markers import leaves
from proxy.demo.store import Store
from proxy.fhir.codec import JsonObject
from proxy.lenses.dates import move_date
from proxy.policy.compile import View
from proxy.policy.scope import Scope
from tests.noninterference.worlds import Key, World, key_of

KIND = "number of the person"
_DATES = frozenset({"date", "dateTime", "instant"})
_DAY, _LATER = 86_400, 60  # seconds; days after the store's first moment


@dataclass(frozen=True, slots=True)
class Moved(World):
    """``late``: by how many days later what is listed is written in the second side."""

    late: Mapping[Key, int] = field(default_factory=dict)

    def store(self, side: int) -> Store:
        store = Store()
        for number, resource in enumerate(self.second if side else self.first):
            days = _LATER + (self.late.get(key_of(resource), 0) if side else 0)
            store.set_clock(number + days * _DAY)
            store.write(resource)
        return store


def make_worlds(
    role: str, view: View, scope: Scope, resources: Sequence[JsonObject], rng: random.Random
) -> Iterator[World]:
    """One world for each Patient with a number. ``scope``: where the role's reveals begin."""
    how = view.persons.how if view.persons else None
    assert how is not None
    system, limits = how.system, (how.low, how.high)
    for patient in resources:
        if patient["resourceType"] != "Patient":
            continue
        number = next((i for i in _numbers(patient) if i.get("system") == system), None)
        if number is None:
            continue
        fresh = f"{rng.randint(100, 899)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"
        offsets = [scope.namer.offset(f"{system}|{n}", *limits) for n in (number["value"], fresh)]
        about = [r for r in resources if _is_about(r, patient)]
        second, late = dict[int, JsonObject](), dict[Key, int]()
        for resource in about:
            made = _moved(resource, *offsets)
            for held in _numbers(made) if resource is patient else ():
                if held.get("system") == system:
                    held["value"] = fresh
            second[id(resource)], late[key_of(resource)] = made, offsets[0] - offsets[1]
        changed = tuple(second.get(id(r), r) for r in resources)
        yield Moved(
            KIND, role, "Patient", str(patient["id"]), tuple(resources), changed,
            about=tuple(late), late=late,
        )  # fmt: skip


def _numbers(resource: JsonObject) -> list[Any]:
    found = resource.get("identifier")
    return found if isinstance(found, list) else []


def _is_about(resource: Any, patient: Any) -> bool:
    if resource is patient:
        return True
    link = resource.get("subject") or resource.get("patient")
    if resource["resourceType"] == "Person":
        link = resource["link"][0]["target"]
    return isinstance(link, dict) and link.get("reference") == f"Patient/{patient['id']}"


def _moved(resource: JsonObject, old: int, new: int) -> JsonObject:
    """A copy whose dates, moved by ``new`` days, are those of the resource moved by ``old``."""
    made: Any = copy.deepcopy(resource)
    for leaf in leaves(resource):
        if leaf.type not in _DATES or not isinstance(leaf.value, str):
            continue
        at = made
        for key in leaf.place[:-1]:
            at = at[key]
        wanted = move_date(leaf.value, old)
        for days in (old - new, *range(-400, 401)):
            found = move_date(leaf.value, days)
            if found is not None and wanted is not None and move_date(found, new) == wanted:
                at[leaf.place[-1]] = found
                break
    return made  # type: ignore[no-any-return]
