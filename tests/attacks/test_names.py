"""Attackers who try to learn whom a pseudonym means, or to make one: by guessing real ids, which
are record numbers here, and by forging.

Worlds that differ in a real id show different pseudonyms; what is compared is everything else.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.demo.store import Store
from tests.attacks.algorithms import Among, Attack, Differ
from tests.attacks.catalogue import IDENTIFIER
from tests.attacks.hidden import COUNT, NUMBERS, SYSTEM, VICTIM, finding, patient, world
from tests.attacks.servers import BATCH, POST, Open, Server, Veiled, ask, query
from tests.attacks.test_attacks import bring, trial
from tests.rig import DEID, LDS, RESTRICTED, Rig


def with_number(value: str) -> Store:
    """The victim's id is a record number."""
    victim = f"MRN-{value}"
    found = finding("finding-1", subject={"reference": f"Patient/{victim}"})
    return Store([patient(victim), patient("friend-1"), found])


def read(server: Server, value: str) -> str:
    return f"Patient/MRN-{value}"


def said(type_name: str, name: str, text: str) -> Callable[[Server, str], str]:
    return lambda server, value: query(type_name, (name, text.format(value)))


def numbered(value: str) -> str:
    return f"MRN-{value}"


def referred(value: str) -> str:
    return f"Patient/MRN-{value}"


def by_url(server: Server, value: str) -> str:
    return query("Observation", ("patient", f"{server.base}/{read(server, value)}"))


GUESSES: dict[str, Attack] = {
    "a read": Differ(read),
    "a read in a batch": Differ(read, way=BATCH),
    "a read of a version": Differ(lambda server, value: f"{read(server, value)}/_history/1"),
    "a history": Differ(lambda server, value: f"{read(server, value)}/_history"),
    "_id": Among(said("Patient", "_id", "{}"), write=numbered),
    "_id in a form": Among(said("Patient", "_id", "{}"), write=numbered, way=POST),
    "_id in a batch": Among(said("Patient", "_id", "{}"), write=numbered, way=BATCH),
    "whose findings": Among(said("Observation", "patient", "{}"), write=referred),
    "whose findings, by id alone": Among(said("Observation", "subject", "{}"), write=numbered),
    "whose findings, by type": Among(said("Observation", "subject:Patient", "{}"), write=numbered),
    "whose findings, by a URL": Differ(by_url),
    "by a chain": Among(said("Observation", "subject:Patient._id", "{}"), write=numbered),
    "by a reverse chain": Among(
        said("Patient", "_has:Observation:patient:subject", "{}"), write=referred
    ),
    "not this one": Differ(lambda server, value: f"Patient?_id:not=MRN-{value}"),
}


def unnamed(rig: Rig, role: str, heard: list[tuple[object, ...]], names: list[str]) -> list[str]:
    """What was heard, with the names that a world gives taken out; an ETag is made of the shown
    bytes and with them another."""
    texts = []
    for status, headers, body in heard:
        text = f"{status} {[h for h in headers if h[0] != 'etag']} {body!r}"  # type: ignore[attr-defined]
        for name in names:
            text = text.replace(name, "#")
        texts.append(text)
    return texts


async def test_guesses_work_without_a_view(tmp_path: Path) -> None:
    """On the upstream a record number that is an id is found by guessing."""
    async with trial(tmp_path) as (rig, app):
        for value in (NUMBERS[0], NUMBERS[COUNT - 1]):
            bring(app, with_number(value))
            for title, attack in GUESSES.items():
                if title != "not this one":
                    left = await attack(Open(rig.upstream, rig.session), NUMBERS)
                    assert left == {value}, title


@pytest.mark.parametrize("role", RESTRICTED)
async def test_real_ids_cannot_be_guessed(role: str, tmp_path: Path) -> None:
    """A guessed record number is no id, right or wrong: the same is said to it in every world."""
    async with trial(tmp_path, role) as (rig, app):
        for title, attack in GUESSES.items():
            told = []
            for value in (NUMBERS[0], NUMBERS[5], NUMBERS[COUNT - 1]):
                bring(app, with_number(value))
                server = Veiled(rig, role)
                assert await attack(server, NUMBERS) == set(NUMBERS), title
                names = [rig.id(role, "Patient", f"MRN-{value}")]
                told.append(unnamed(rig, role, server.heard, names))
            assert told[0] == told[1] == told[2], title


async def test_record_numbers_cannot_be_guessed(tmp_path: Path) -> None:
    """In the limited data set, which shows a pseudonym in place of a record number, every attack on
    identifiers hears the same in every world, but for the pseudonym itself."""
    async with trial(tmp_path, LDS) as (rig, app):
        for title, attack in IDENTIFIER.items():
            told = []
            for value in (NUMBERS[0], NUMBERS[5], NUMBERS[COUNT - 1]):
                bring(app, Store(world(identifier=[{"system": SYSTEM, "value": value}])))
                server = Veiled(rig, LDS)
                assert await attack(server, NUMBERS) == set(NUMBERS), title
                names = [rig.namer(LDS).show_identifier(SYSTEM, value)[1]]
                told.append(unnamed(rig, LDS, server.heard, names))
            assert told[0] == told[1] == told[2], title


def forgeries(shown: str, others: list[str]) -> list[str]:
    """Strings near a pseudonym: one character changed, cut, turned, mixed with others, made up."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-."
    rng = random.Random(shown)
    found = []
    for at in range(len(shown)):
        changed = rng.choice(alphabet.replace(shown[at], ""))
        found.append(shown[:at] + changed + shown[at + 1 :])
    found += [shown[:-1], shown[1:], shown + "A", shown[::-1], shown.swapcase(), shown.lower()]
    half = len(shown) // 2
    found += [shown[:half] + other[half:] for other in others]
    found += [shown[:1] + other[1:half] + shown[half:] for other in others]
    found += ["".join(rng.choices(alphabet, k=n)) for n in (3, 24, 32, 40, 41, 48, 63, 64) * 4]
    return [each for each in dict.fromkeys(found) if each not in (shown, *others)]


@pytest.mark.parametrize("role", RESTRICTED)
async def test_pseudonyms_cannot_be_forged(role: str, tmp_path: Path) -> None:
    """What nobody was shown names nothing: every forgery, and every pseudonym under another type,
    role or project, is answered as what never existed, by reads and by searches."""
    async with trial(tmp_path, role) as (rig, app):
        bring(app, Store(world()))
        shown = rig.id(role, "Patient", VICTIM)
        others = [rig.id(role, "Patient", f"decoy-{n:02}") for n in range(COUNT)]
        tried = forgeries(shown, others)
        # Of another type, role or project the same resource has another name, which is none here.
        foreign = DEID if role == LDS else LDS
        tried += [rig.id(role, "Person", VICTIM), rig.id(foreign, "Patient", VICTIM)]
        tried += [rig.namers.of("study-8", role).show_id("Patient", VICTIM), VICTIM]
        server, answers = Veiled(rig, role), set()
        assert (await ask(server, f"Patient/{shown}")).status == 200
        for each in tried:
            reply = await ask(server, f"Patient/{each}")
            answers.add((reply.status, reply.response.body))
            for target in (query("Patient", ("_id", each)),
                           query("Observation", ("patient", f"Patient/{each}"))):  # fmt: skip
                found = await ask(server, target)
                assert (found.status, found.entries) == (200, []), (target, found.body)
        assert len(answers) == 1
        assert answers.pop()[0] == 404
        for kind in ("Observation", "Condition", "Encounter", "Practitioner"):
            assert (await ask(server, f"{kind}/{shown}")).status == 404


@pytest.mark.parametrize("role", RESTRICTED)
async def test_pseudonyms_say_nothing_of_ids(role: str, tmp_path: Path) -> None:
    """Of record numbers in a row the pseudonyms share nothing but the mark of the key, and are of
    one length; neither order nor any character follows the number."""
    async with trial(tmp_path, role) as (rig, _):
        shown = [rig.id(role, "Patient", f"MRN-{number}") for number in range(70300000, 70300200)]
        assert len({each[0] for each in shown}) == 1
        assert len({len(each) for each in shown}) == 1
        rest = [each[1:] for each in shown]
        assert len(set(rest)) == len(rest)
        assert rest not in (sorted(rest), sorted(rest, reverse=True))
        for at in range(len(rest[0]) - 1):
            assert len({each[at] for each in rest}) > 40  # of 64
