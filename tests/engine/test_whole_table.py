"""The verdict table and what happens: every type, parameter, modifier and prefix of every view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from urllib.parse import quote

import pytest

from proxy.demo.generator import cases, data_set
from proxy.fhir import registry
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.search_values import PREFIXES
from proxy.fhir.structure import RESOURCES
from proxy.policy.controls import CONTROLS
from proxy.policy.derive import MODIFIERS
from proxy.policy.verdicts import Verdict
from tests.engine.playbook import INV, Chart, caller, drive, gateway, make_call, shown_id

VIEWS = sorted(gateway().views.keys() - {INV})
CLAIMS = {"conditions": ["3928002"], "jurisdictions": ["MI"]}
IDENTIFIER = "urn:ecr-proxy:pseudonym:identifier|1abc"
# One value of each search type, in a form that every view takes.
VALUES = {
    "token": "http://loinc.org|94500-6", "string": "MI", "date": "2019", "number": "5",
    "quantity": "5", "uri": "http://x.example/y", "special": "1|2|3|km",
}  # fmt: skip
# (parameter form in words) -> a value in that form
FORMS = {"three digits": "481", "five digits that end in 00": "48100", "five digits": "48104"}
OF_MODIFIER = {"missing": "true", "of-type": "http://x|MR|1", "identifier": "http://x|1"}


@cache
def chart() -> Chart:
    """An upstream with a case in it."""
    return Chart(
        data_set(cases(1, seed=7))
    )


def value(role: str, known: SearchParameter, modifier: str, found: Verdict) -> str:
    """A value that suits the parameter as the view shows what it reads."""
    if modifier in OF_MODIFIER:
        return OF_MODIFIER[modifier]
    if known.type == "composite":
        return "$".join(
            VALUES.get(part.type, "Patient/1") for part, _ in registry.components(known)
        )
    if found.way in ("identifier", "document-identifier"):
        return IDENTIFIER
    if known.type == "reference" or known.code == "_id":
        return shown_id(role, (found.targets or ("Patient",))[0], "p1")
    for words, text in FORMS.items():
        if found.form.startswith(words):
            return text
    return VALUES[known.type]


def prefixed(known: SearchParameter, text: str, prefix: str) -> str:
    """The value with a prefix; of a composite, at the parts that take one."""
    if known.type != "composite":
        return prefix + text
    kinds = [part.type for part, _ in registry.components(known)]
    return "$".join(
        prefix + piece if kind in ("date", "number", "quantity") else piece
        for kind, piece in zip(kinds, text.split("$"), strict=True)
    )


def questions(role: str) -> Iterator[tuple[str, str, bool]]:
    """(type, query, whether it is answered) of the whole table."""
    table = gateway().verdicts[role]
    for type_ in sorted(RESOURCES):
        for code, known in registry.get(type_).items():
            if code in CONTROLS:
                continue
            for modifier in (*MODIFIERS[known.type], "nonsense", *registry.targets(known)[:2]):
                found = table.verdict(type_, code, modifier)
                name = f"{code}:{modifier}" if modifier else code
                text = value(role, known, modifier, found)
                yield type_, f"{name}={quote(text)}", found.kind != "refuse"
                if found.kind != "refuse" and found.prefixes:
                    for prefix in PREFIXES:
                        asked = quote(prefixed(known, text, prefix))
                        yield type_, f"{name}={asked}", prefix in found.prefixes


@pytest.mark.parametrize("role", VIEWS)
def test_what_the_table_says_is_what_happens(role: str) -> None:
    """R-SI-10, R-SI-11: what the table refuses is refused without asking anything; what it grants
    is answered, with each of its prefixes and no other."""
    who = caller(role, claims=CLAIMS)
    counted: Counter[bool] = Counter()
    wrong = []
    for type_, query, answered in questions(role):
        counted[answered] += 1
        reply, asked = drive(make_call(who, f"/{type_}?{query}"), chart().serve)
        fine = reply.status == 200 if answered else reply.status in (400, 403) and not asked
        if not fine:
            wrong.append(f"{type_}?{query}: {reply.status} {reply.body[:160]!r}")
    assert not wrong, "\n".join(wrong[:20])
    assert counted[False] > 1000
    assert counted[True] > 20
