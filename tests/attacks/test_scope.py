"""Attackers with an epidemiologist's token, of a Zika program in Michigan, who try to learn which
other condition a patient of the program has, and whether there is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from proxy.demo.store import Store
from tests.attacks.algorithms import (
    Among,
    Attack,
    Differ,
    Tell,
    Template,
    continued,
    counted,
    of_victim,
)
from tests.attacks.hidden import VICTIM, patient
from tests.attacks.servers import BATCH, POST, Open, Reply, Veiled, query
from tests.attacks.test_attacks import EPI, bring, trial

SNOMED = "http://snomed.info/sct"
PROGRAM = "3928002"
CODES = ("86406008", "27836007", "66071002", "302231008", "15628003", "56717001", "6142004",
         "840539006", "38341003", "73211009", "44054006", "195967001")  # fmt: skip


def condition(real: str, code: str) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": real,
        "code": {"coding": [{"system": SNOMED, "code": code}]},
        "subject": {"reference": f"Patient/{VICTIM}"},
        "recordedDate": "2019-03-04",
    }


def finding_of(real: str, code: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": real,
        "status": "final",
        "code": {"coding": [{"system": SNOMED, "code": code}]},
        "subject": {"reference": f"Patient/{VICTIM}"},
    }


def with_condition(code: str) -> Store:
    """The victim has a condition of the program, and another, which a test found."""
    held = [patient(VICTIM), condition("c-1", PROGRAM), finding_of("o-1", PROGRAM)]
    if code:
        held += [condition("c-2", code), finding_of("o-2", code)]
    return Store(held)


def coded(code: str) -> str:
    return f"{SNOMED}|{code}"


def about(*pairs: tuple[str, str]) -> Template:
    return of_victim("Condition", ("patient", "Patient/{v}"), *pairs)


def shows(reply: Reply) -> str | None:
    """Another code than the program's, anywhere in the answer."""
    text = reply.response.body.decode()
    return next((code for code in CODES if re.search(rf'"{code}"', text)), None)


def plainly(target: str) -> Template:
    return lambda server, value: target


ATTACKS: dict[str, Attack] = {
    "the patient's conditions": Tell(about(), shows),
    "the patient's conditions in a form": Tell(about(), shows, POST),
    "the patient's conditions in a batch": Tell(about(), shows, BATCH),
    "what refers to the patient": Tell(
        of_victim("Patient", ("_id", "{v}"), ("_revinclude", "Condition:patient")), shows
    ),
    "findings that refer to the patient": Tell(
        of_victim("Patient", ("_id", "{v}"), ("_revinclude", "Observation:patient")), shows
    ),
    "a read": Tell(plainly("Condition/c-2"), shows),
    "a read of the test": Tell(plainly("Observation/o-2"), shows),
    "a version": Tell(plainly("Condition/c-2/_history/1"), shows),
    "a history": Tell(plainly("Condition/c-2/_history"), shows),
    "by code": Among(about(("code", "{x}")), write=coded),
    "by bare code": Among(about(("code", "{x}"))),
    "by code in a form": Among(about(("code", "{x}")), write=coded, way=POST),
    "by not": Differ(about(("code:not", f"{SNOMED}|{{x}}"))),
    "by id": Among(of_victim("Condition", ("_id", "c-2"), ("code", "{x}")), write=coded),
    "counted": Among(about(("code", "{x}"), ("_summary", "count")), counted, write=coded),
    "the total": Among(about(("code", "{x}"), ("_total", "accurate")), counted, write=coded),
    "a page border": Among(
        about(("code", f"{SNOMED}|{PROGRAM},{{x}}"), ("_count", "1")), continued, write=coded
    ),
    "a reverse chain": Among(
        of_victim("Patient", ("_id", "{v}"), ("_has:Condition:patient:code", "{x}")), write=coded
    ),
    "a reverse chain to the test": Among(
        of_victim("Patient", ("_id", "{v}"), ("_has:Observation:patient:code", "{x}")),
        write=coded, way=BATCH,
    ),
    "a difference in order": Differ(about(("code", f"{SNOMED}|{{x}}"), ("_sort", "code"))),
    "a reverse chain below a chain": Among(
        of_victim("Observation", ("_id", "o-1"),
                  ("subject:Patient._has:Condition:patient:code", "{x}")), write=coded,
    ),
    "everything of the patient": Tell(
        lambda server, value: f"Patient/{VICTIM}/$everything", lambda reply: None
    ),
}  # fmt: skip
UNANSWERED = {"everything of the patient", "a reverse chain below a chain", "a difference in order"}


async def test_every_attack_works_without_a_view(tmp_path: Path) -> None:
    """On the upstream the other condition is found, but by what it does not answer."""
    async with trial(tmp_path) as (rig, app):
        for code in (CODES[0], CODES[-1]):
            bring(app, with_condition(code))
            for title, attack in ATTACKS.items():
                if title not in UNANSWERED:
                    assert await attack(Open(rig.upstream, rig.session), CODES) == {code}, title


async def test_conditions_out_of_scope_stay_unknown(tmp_path: Path) -> None:
    """An epidemiologist hears the same whichever other condition there is, and if there is none."""
    async with trial(tmp_path, EPI) as (rig, app):
        for title, attack in ATTACKS.items():
            told = []
            for code in (CODES[0], CODES[5], CODES[-1], ""):
                bring(app, with_condition(code))
                server = Veiled(rig, EPI)
                assert await attack(server, CODES) == set(CODES), title
                told.append(server.heard)
            assert all(each == told[0] for each in told), title


async def test_what_is_in_scope_is_found(tmp_path: Path) -> None:
    """The same questions about the program's condition are answered: the view is of use."""
    async with trial(tmp_path, EPI) as (rig, app):
        bring(app, with_condition(CODES[0]))
        server = Veiled(rig, EPI)
        reply = await rig.ask(EPI, f"/{query('Condition', ('patient', f'Patient/{VICTIM}'))}")
        assert [r["id"] for r in reply.resources] == ["c-1"]
        codes = (PROGRAM, *CODES)
        assert await ATTACKS["by code"](server, codes) == {PROGRAM}
