"""Views for tests: policies, naming, the compiled walk and the oracle beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from proxy.demo.names import DISEASES, PLACES
from proxy.ecr.titles import DOCUMENT_TITLES
from proxy.fhir.codec import Fragment, decode
from proxy.fhir.reference import Bases
from proxy.lenses.ages import AGE_CODES, BIRTH_EVENTS, YEARS_PER_UNIT
from proxy.lenses.identity import Namer
from proxy.lenses.keys import KeyRing
from proxy.lenses.places import countries, states, zip3_table
from proxy.policy.compile import Scope, View, compile_view
from proxy.policy.load import load_directory
from proxy.policy.model import Method, Policy
from tests.oracle import Oracle
from tests.oracle_scope import Context
from tests.oracle_values import Tables

REPOSITORY = Path(__file__).resolve().parent.parent
POLICIES = REPOSITORY / "policies"
CASE_POLICIES = REPOSITORY / "tests" / "cases" / "policies"

UPSTREAM = "http://upstream.example/fhir"
ALIASES = ("https://ehr.example.org/fhir",)
PUBLIC = "http://proxy.example/fhir"
TODAY = date(2026, 7, 1)
CENTRE = "http://centre.example/fhir"
STAGE1, STAGE2 = "stage1-pseudonymized", "stage2-anonymized"
ANON = "ecr-anonymized"
RESTRICTED = (
    "researcher-limited", "researcher-deidentified", "researcher-shifted", ANON, STAGE1, STAGE2,
)  # fmt: skip
# Policies whose upstream is a proxy that serves another one.
BEHIND = {STAGE2: STAGE1}
EPI = "epidemiologist"

TABLES = Tables(
    zip3_table(), states(), countries(), AGE_CODES, YEARS_PER_UNIT, DOCUMENT_TITLES, BIRTH_EVENTS
)


# Claims under which the generated cases and the published examples are a caller's own.
CLAIMS: dict[str, object] = {
    "conditions": sorted(
        {code for d in DISEASES for code in (d.code, d.icd10, d.test[0], d.organism[0])}
    ),
    "jurisdictions": sorted({state for _, _, state, _ in PLACES} | {"CO", "TX", "UT", "WI"}),
    "clinicians": ["Ottilie", "Seven"],
    "telecoms": ["phone"],
}


@cache
def shipped() -> dict[str, Policy]:
    """The policies of the product by name."""
    return load_directory(POLICIES)


@cache
def case_policies() -> dict[str, Policy]:
    """The policies that only tests have: each stresses some rules of the language. ``narrated`` is
    a shipped one whose narratives are made from what shows."""
    shown = Method("narrative", (("from", "shown"),))
    limited = shipped()["researcher-limited"]
    line = replace(limited.datatypes["Narrative"], method=shown)
    narrated = replace(
        limited, name="narrated", datatypes={**limited.datatypes, "Narrative": line}
    )
    return {**load_directory(CASE_POLICIES), narrated.name: narrated}


def find_policy(name: str) -> Policy:
    return shipped()[name] if name in shipped() else case_policies()[name]


@cache
def find_view(name: str) -> View:
    return compile_view(find_policy(name))


@cache
def namer_of(name: str) -> Namer:
    """The naming of one project under the policy; the secrets are of this test only."""
    ring = KeyRing.new(bytes(range(32)), bytes(range(32, 64)), date(2026, 1, 1))
    return Namer(ring.project("study-7", name))


@dataclass(frozen=True, slots=True)
class Case:
    """One policy, compiled and slow, over the same names, day and claims. One that belongs behind
    another shows what that one shows, unless it stands ``alone``."""

    name: str
    claims: Mapping[str, object] = field(default_factory=lambda: CLAIMS)
    today: date = TODAY
    alone: bool = False

    @property
    def source(self) -> Case | None:
        """The case of the policy before whose proxy this one stands."""
        found = None if self.alone else BEHIND.get(self.name)
        return None if found is None else Case(found, self.claims, self.today)

    @property
    def bases(self) -> tuple[str, ...]:
        """The upstream's base and those that equal it."""
        return (UPSTREAM, *ALIASES) if self.source is None else (PUBLIC,)

    @property
    def public(self) -> str:
        return PUBLIC if self.source is None else CENTRE

    def scope(self) -> Scope:
        view = find_view(self.name)
        return Scope(
            namer=namer_of(self.name),
            bases=Bases(self.bases[0], self.bases[1:]),
            public=self.public,
            today=self.today,
            shows=view.shows,
            pseudonym=view.pseudonym,
            claims=self.claims,
        )

    def reveal(self, resource: Any) -> Any:
        """What the compiled walk shows; None if withheld."""
        if self.source is not None:
            resource = self.source.reveal(resource)
        if resource is None:
            return None
        return find_view(self.name).reveal(resource, self.scope())

    def reveal_slowly(self, resource: Any) -> Any:
        """What the oracle shows; None if withheld."""
        if self.source is not None:
            resource = self.source.reveal_slowly(resource)
        if resource is None:
            return None
        context = Context(
            namer_of(self.name), self.bases, self.public, self.today, self.claims
        )
        return Oracle(find_policy(self.name), TABLES).reveal(resource, context)


def comparable(value: Any) -> Any:
    """JSON with exact numbers as their text; members in no order, arrays in order."""
    if isinstance(value, Fragment):
        return ("number", value.contents)
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, dict):
        return {k: comparable(v) for k, v in value.items()}
    if isinstance(value, list):
        return [comparable(v) for v in value]
    return value


def differences(a: Any, b: Any, path: str = "") -> Iterator[str]:
    """Where two values that are :func:`comparable` differ, as ``path: a | b``."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in {**a, **b}:
            if key not in a or key not in b:
                yield f"{path}.{key}: {brief(a.get(key, ...))} | {brief(b.get(key, ...))}"
            else:
                yield from differences(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from differences(x, y, f"{path}[{index}]")
    elif a != b:
        yield f"{path}: {brief(a)} | {brief(b)}"


def brief(value: Any) -> str:
    return "(absent)" if value is ... else str(value)[:160]


def examples(shared: Path) -> Iterator[tuple[str, Any]]:
    """Every published FHIR example by its file name, decoded exactly."""
    for file in sorted((shared / "ecr-examples" / "fhir").rglob("*.json")):
        yield f"{file.parent.name}/{file.name}", decode(file.read_bytes())
