"""What the attackers are after: one value of one patient, hidden from some roles, and the worlds
that differ in it alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.demo.store import Store
from tests.rig import DEID, LDS

VICTIM, FRIEND, FINDING, AGE = "victim-1", "friend-1", "finding-1", "age-1"
LOINC = "http://loinc.org"
SYSTEM = "urn:oid:2.999.19.1"
COUNT = 12

BIRTHS = tuple(f"1974-{n + 1:02}-15" for n in range(COUNT))
NAMES = ("Abernathy", "Castellane", "Duvernay", "Eskildsen", "Fairweather", "Grunewald",
         "Halvorsen", "Ibarrola", "Jankowska", "Kestrelwood", "Lindqvist", "Marchetti")  # fmt: skip
ZIPS = tuple(str(48100 + 8 * n) for n in range(COUNT))
NUMBERS = tuple(str(70300000 + 10 * n) for n in range(COUNT))
# Of these no beginning is that of another part of the address.
STREETS = tuple(f"X{chr(ord('a') + n)} {name} Street" for n, name in enumerate(NAMES))
CITIES = ("Ann Arbor", "Bay City", "Chelsea", "Dexter", "Ecorse", "Flint", "Gaylord", "Holland",
          "Ionia", "Jackson", "Kalamazoo", "Lansing")  # fmt: skip
PHONES = tuple(f"+1-734-555-01{n:02}" for n in range(COUNT))
AGES = tuple(str(90 + n) for n in range(COUNT))
DAYS = tuple(f"2019-{n + 1:02}-15" for n in range(COUNT))
TEXTS = tuple(f"Sat beside {name}" for name in NAMES)
TIMES = tuple(str(n) for n in range(COUNT))


def patient(real: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": real,
        "identifier": [{"system": SYSTEM, "value": f"N-{real}"}],
        "name": [{"family": f"Zz{real}", "given": ["Zoe"]}],
        "telecom": [{"system": "phone", "value": f"+1-{real}"}],
        "gender": "female",
        "birthDate": "1950-03-04",
        "address": [address()],
        **more,
    }


def address(**more: str | list[str]) -> dict[str, Any]:
    home = {"line": ["1 Elm Street"], "city": "Ann Arbor", "state": "MI", "postalCode": "48104"}
    return {**home, **more}


def finding(real: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": real,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "8665-2"}]},
        "subject": {"reference": f"Patient/{VICTIM}"},
        "effectiveDateTime": "2019-03-04",
        **more,
    }


def decoys() -> list[dict[str, Any]]:
    """Persons of whom everything is public; each lies just behind one candidate in every order."""
    return [
        patient(
            f"decoy-{n:02}",
            birthDate=f"1974-{n + 1:02}-20",
            name=[{"family": NAMES[n] + "zz"}],
            identifier=[{"system": SYSTEM, "value": str(int(NUMBERS[n]) + 5)}],
            address=[address(postalCode=str(int(ZIPS[n]) + 4), city=CITIES[n] + "zz")],
        )
        for n in range(COUNT)
    ]


def world(**of_victim: Any) -> list[dict[str, Any]]:
    """The victim with some elements, a friend, the decoys, findings about the victim."""
    age = {
        "code": {"coding": [{"system": LOINC, "code": "29553-5"}]},
        "valueQuantity": {"value": 40, "unit": "a", "system": "http://unitsofmeasure.org",
                          "code": "a"},
    }  # fmt: skip
    return [
        patient(VICTIM, **{"birthDate": "1974-06-15", **of_victim}),
        patient(FRIEND),
        *decoys(),
        finding(FINDING),
        finding(AGE, **age),
    ]


def _birth(value: str) -> Store:
    return Store(world(birthDate=value))


def _name(value: str) -> Store:
    return Store(world(name=[{"family": value, "given": ["Zoe"]}]))


def _zip(value: str) -> Store:
    return Store(world(address=[address(postalCode=value)]))


def _street(value: str) -> Store:
    return Store(world(address=[address(line=[value])]))


def _city(value: str) -> Store:
    return Store(world(address=[address(city=value)]))


def _phone(value: str) -> Store:
    return Store(world(telecom=[{"system": "phone", "value": value}]))


def _number(value: str) -> Store:
    return Store(world(identifier=[{"system": SYSTEM, "value": value}]))


def _in_finding(real: str, **changed: Any) -> Store:
    return Store([{**each, **changed} if each["id"] == real else each for each in world()])


def _age(value: str) -> Store:
    quantity = {"value": int(value), "unit": "a", "system": "http://unitsofmeasure.org",
                "code": "a"}  # fmt: skip
    return _in_finding(AGE, valueQuantity=quantity)


def _day(value: str) -> Store:
    return _in_finding(FINDING, effectiveDateTime=value, valueDateTime=value)


def _text(value: str) -> Store:
    return _in_finding(FINDING, valueString=value)


def _updated(value: str) -> Store:
    """The victim stored a number of seconds after the first write; what comes before it nobody but
    the investigator may see."""
    media: dict[str, Any] = {"resourceType": "Media", "id": "m", "status": "completed"}
    return Store([*[media] * int(value), *world()])


def _versions(value: str) -> Store:
    """The victim written a number of times more."""
    store = Store(world())
    for _ in range(int(value)):
        store.write(world()[0])
    return store


def _withheld(value: str) -> Store:
    """A number of patients more, whom a modifier that no policy lists withholds, behind all that
    shows."""
    changed = [{"url": "http://example.org/changed", "valueBoolean": True}]
    more = [patient(f"withheld-{n}", modifierExtension=changed) for n in range(int(value))]
    return Store([*world(), *more])


def elsewhere(store: Store) -> Store:
    """The same world with a victim who lives in another state, so that an epidemiologist of
    Michigan sees neither the victim nor the findings."""
    held = [v.resource for kind in store.types() for v in store.of_type(kind)]
    found = []
    for each in held:
        assert each is not None
        if each["id"] == VICTIM:
            addresses: Any = each["address"]
            each = {**each, "address": [{**addresses[0], "state": "GA"}]}
        found.append(each)
    return Store(found)


@dataclass(frozen=True, slots=True)
class Secret:
    """``candidates``: what it may be, in its own order, all shown alike to ``roles``. ``make``: the
    world in which it is one of them."""

    candidates: Sequence[str]
    make: Callable[[str], Store]
    roles: tuple[str, ...] = (DEID,)

    @property
    def worlds(self) -> tuple[str, ...]:
        """Candidates that the attacks are tried on."""
        return tuple(self.candidates[n] for n in (0, 5, COUNT - 1))


BOTH = (LDS, DEID)
SECRETS = {
    "birth date": Secret(BIRTHS, _birth),
    "name": Secret(NAMES, _name, BOTH),
    "ZIP code": Secret(ZIPS, _zip),
    "street": Secret(STREETS, _street, BOTH),
    "city": Secret(CITIES, _city),
    "telephone": Secret(PHONES, _phone, BOTH),
    "identifier": Secret(NUMBERS, _number),
    "age of the oldest": Secret(AGES, _age),
    "day of a finding": Secret(DAYS, _day),
    "text of a finding": Secret(TEXTS, _text, BOTH),
    "time of storage": Secret(TIMES, _updated),
    "number of versions": Secret(TIMES, _versions),
    "number of withheld rows": Secret(TIMES, _withheld, BOTH),
}
