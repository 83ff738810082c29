"""What is true in one fictional case, drawn from a seed, and the ids of its resources."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from proxy.demo import names
from proxy.demo.names import Disease, Facility

UPSTREAM, FOREIGN, UUIDS = "upstream", "foreign", "urn:uuid"
STYLES = (UPSTREAM, FOREIGN, UUIDS)
SPACE = uuid.UUID("5d1b6a52-3a3f-5d0e-9c58-0d7c5a2e9b11")
_ZONE = timezone(timedelta(hours=-5))


@dataclass(frozen=True, slots=True)
class Story:
    """One case. ``number`` counts from 0 and decides the ``style`` of the documents: full URLs
    under the upstream's base, under a sender's, or ``urn:uuid:`` without ids."""

    number: int
    seed: int
    gender: str
    given: str
    middle: str
    family: str
    birth: date
    visit: datetime
    place: tuple[str, str, str, str]
    street: str
    relative: str  # given name of the mother
    disease: Disease
    other: Disease
    facility: Facility
    job: tuple[str, str]
    employer: str
    venue: str
    travel: tuple[str, str, str]
    race: tuple[str, str, str, str]
    ethnicity: tuple[str, str]
    digits: int  # makes record numbers and telephone numbers of this case

    @property
    def style(self) -> str:
        return STYLES[self.number % len(STYLES)]

    @property
    def name(self) -> str:
        return f"{self.given} {self.middle}. {self.family}"

    @property
    def clinician(self) -> str:
        return f"{self.facility.given} {self.facility.family}, MD"

    @property
    def home(self) -> str:
        city, _, state, postal = self.place
        return f"{self.street}, {city}, {state} {postal}"

    @property
    def mrn(self) -> str:
        """The record number, unique in a data set."""
        return str(70_300_000 + self.seed % 97 * 1_000 + self.number * 7 + 11)

    @property
    def ssn(self) -> str:
        # 900-999 is never issued as a social security number.
        return f"9{self.digits % 100:02}-{self.digits % 89 + 10}-{self.digits % 9000 + 1000}"

    def phone(self, line: int) -> str:
        """A telephone number of the fictional exchange 555-01xx."""
        return f"+1-{200 + self.digits % 700}-555-01{(self.digits + line * 17) % 100:02}"

    @property
    def email(self) -> str:
        return f"{self.given}.{self.family}@example.org".lower()

    @property
    def expecting(self) -> bool:
        age = self.visit.year - self.birth.year
        return self.gender == "female" and 16 <= age <= 45

    def uuid(self, key: str) -> str:
        return str(uuid.uuid5(SPACE, f"{self.seed}/{self.number}/{key}"))

    def day(self, days: int) -> str:
        """The date ``days`` after the visit."""
        return (self.visit + timedelta(days=days)).date().isoformat()

    def time(self, hours: float) -> str:
        """The moment ``hours`` after the visit, with its zone."""
        return (self.visit + timedelta(hours=hours)).isoformat()

    def id(self, type: str, key: str) -> str:
        """The upstream's id of a resource: it holds a name, or a record number, or is long."""
        if self.style == UPSTREAM:
            stem = type.lower() if key == type.lower() else f"{type}-{key}"
            text = f"{stem}-{self.given}-{self.family}-{self.number}".lower()
        elif self.style == FOREIGN:
            text = self.mrn if type == "Patient" else f"{self.mrn}-{key}"
        else:
            text = f"{self.facility.oid}.840.1.113883.4391.{self.mrn}-{key}-{self.uuid(key)[:13]}"
        return text if len(text) <= 64 else f"{text[:51]}-{self.uuid(type + key)[:12]}"

    def ref(self, type: str, key: str) -> str:
        return f"{type}/{self.id(type, key)}"


def _pick(choice: random.Random, among: tuple[str, ...]) -> str:
    return among[choice.randrange(len(among))]


def draw(number: int, seed: int) -> Story:
    """The case ``number`` of the data set ``seed``; the same two always give the same case."""
    choice = random.Random(f"ecr-proxy/{seed}/{number}")
    gender = ("female", "male")[choice.randrange(2)]
    visit = datetime(2024, 2, 1, 8, tzinfo=_ZONE) + timedelta(
        days=choice.randrange(640), minutes=choice.randrange(600)
    )
    # Every fourth person is older than 89, every fourth an infant or child.
    years = (34, 93, 8, 61)[number % 4] + choice.randrange(7)
    disease = names.DISEASES[number % len(names.DISEASES)]
    other = names.DISEASES[(number + 3) % len(names.DISEASES)]
    return Story(
        number=number,
        seed=seed,
        gender=gender,
        given=_pick(choice, names.GIVEN[gender]),
        middle=_pick(choice, tuple("ABCDEFGHJKLM")),
        family=_pick(choice, names.FAMILY),
        birth=visit.date() - timedelta(days=years * 365 + choice.randrange(360)),
        visit=visit,
        place=names.PLACES[choice.randrange(len(names.PLACES))],
        street=f"{choice.randrange(10, 9900)} {_pick(choice, names.STREETS)}",
        relative=_pick(choice, names.GIVEN["female"]),
        disease=disease,
        other=other,
        facility=names.FACILITIES[number % len(names.FACILITIES)],
        job=names.JOBS[number % len(names.JOBS)],
        employer=names.EMPLOYERS[number % len(names.EMPLOYERS)],
        venue=_pick(choice, names.VENUES),
        travel=names.TRAVEL[choice.randrange(len(names.TRAVEL))],
        race=names.RACES[choice.randrange(len(names.RACES))],
        ethnicity=names.ETHNICITIES[choice.randrange(2)],
        digits=choice.randrange(10_000, 99_999_999),
    )
