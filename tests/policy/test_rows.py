"""Which resources exist: ``[rows]`` as a table of rules, claims and resources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.policy.compile import Scope, compile_view
from proxy.policy.load import load_policy, read_policies
from proxy.policy.model import RowRule, Source
from proxy.policy.rows import Rows, claims_named, element_predicate, understand

WHERE = Source("p.toml", 1, "rows")


def rows(type_: str, search: str = "", where: str = "") -> Rows:
    return Rows({type_: (RowRule(type_, search, where, WHERE),)})


def patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": "p", **more}


MI = patient(address=[{"state": "MI"}])
TWO = patient(address=[{"state": "MI"}, {"state": "OH"}])
OH = patient(address=[{"state": "OH"}])
NONE = patient()
STATES = "address-state:exact={jurisdictions}"

NO_LIMITS: tuple[dict[str, object], ...] = (
    {}, {"jurisdictions": []}, {"jurisdictions": ""}, {"jurisdictions": None},
    {"jurisdictions": True}, {"jurisdictions": {"MI": 1}}, {"jurisdictions": ["MI", True]},
    {"jurisdictions": ["MI", ""]}, {"jurisdictions": ["MI", None]}, {"jurisdictions": [["MI"]]},
    {"jurisdictions": ["MI", "-"]}, {"other": ["MI"]},
)  # fmt: skip

# search, where, claims, what exists, what does not, what is sent upstream (None: nothing exists).
TABLE: list[tuple[str, str, dict[str, object], list[Any], list[Any], Any]] = [
    ("active=true", "", {}, [patient(active=True)], [patient(active=False), NONE],
     (("active", "true"),)),
    (STATES, "", {"jurisdictions": ["MI"]}, [MI, TWO], [OH, NONE],
     (("address-state:exact", "MI"),)),
    (STATES, "", {"jurisdictions": "MI"}, [MI, TWO], [OH, NONE], (("address-state:exact", "MI"),)),
    (STATES, "", {"jurisdictions": ["OH", "MI", "OH"]}, [MI, TWO, OH], [NONE],
     (("address-state:exact", "OH,MI"),)),
    # A claim that is missing, empty, or of a type that is not understood: nothing.
    *((STATES, "", claims, [], [MI, TWO, OH, NONE], None) for claims in NO_LIMITS),
    ("address-state:exact=OH,{jurisdictions}", "", {"jurisdictions": ["MI"]}, [MI, OH], [NONE],
     (("address-state:exact", "OH,MI"),)),
    ("address-state:exact=OH,{jurisdictions}", "", {}, [], [MI, OH], None),
    # Every value is a value: what separates or escapes is escaped.
    ("address-state:exact={jurisdictions}", "", {"jurisdictions": ["M,I"]},
     [patient(address=[{"state": "M,I"}])], [MI, patient(address=[{"state": "M"}])],
     (("address-state:exact", "M\\,I"),)),
    ("identifier={records}", "", {"records": ["http://a|1"]},
     [patient(identifier=[{"value": "http://a|1"}])],
     [patient(identifier=[{"system": "http://a", "value": "1"}])],
     (("identifier", "http://a\\|1"),)),
    ("identifier={records}", "", {"records": ["1$2\\3"]},
     [patient(identifier=[{"value": "1$2\\3"}])], [], (("identifier", "1\\$2\\\\3"),)),
    ("identifier={records}", "", {"records": [7, 8]}, [patient(identifier=[{"value": "7"}])],
     [patient(identifier=[{"value": "9"}])], (("identifier", "7,8"),)),
    # What a server may take otherwise is judged here alone.
    ("birthdate=ge1990", "", {}, [patient(birthDate="1990-01-01")],
     [patient(birthDate="1989-12-31"), NONE], ()),
    ("birthdate=ge1990-01-01", "", {}, [patient(birthDate="1990-01-01")],
     [patient(birthDate="1989-12-31")], (("birthdate", "ge1990-01-01"),)),
    ("birthdate=lt1980-01-01,ge1990-01-01", "", {}, [patient(birthDate="1990-01-01")],
     [patient(birthDate="1985-12-31")], ()),
    ("_security:not=R,V", "", {}, [MI], [patient(meta={"security": [{"code": "R"}]})], ()),
    # Several conditions and both keys must all hold.
    ("active=true&gender=male", "", {}, [patient(active=True, gender="male")],
     [patient(active=True), patient(gender="male")], (("active", "true"), ("gender", "male"))),
    ("active=true", "gender = 'male'", {}, [patient(active=True, gender="male")],
     [patient(active=True), patient(gender="male")], (("active", "true"),)),
    # where: what is empty, no truth value, or fails, selects nothing.
    ("", "active", {}, [patient(active=True)], [patient(active=False), NONE], ()),
    ("", "gender", {}, [], [patient(gender="male")], ()),
    ("", "name.given.toInteger() > 1", {}, [],
     [patient(name=[{"given": ["a"]}, {"given": ["b"]}])], ()),
    ("", "address.where(state in %caller.jurisdictions).exists()", {"jurisdictions": ["MI"]},
     [MI, TWO], [OH, NONE], ()),
    # A claim that is named must be there, also where its absence would open the row.
    ("", "address.where(state in %caller.barred).empty()", {"barred": ["OH"]}, [MI, NONE],
     [TWO, OH], ()),
    ("", "address.where(state in %caller.barred).empty()", {}, [], [MI, NONE], None),
]  # fmt: skip


@pytest.mark.parametrize(("search", "where", "claims", "exist", "not_", "sent"), TABLE)
def test_a_rule_selects(
    search: str,
    where: str,
    claims: dict[str, object],
    exist: list[Any],
    not_: list[Any],
    sent: Any,
) -> None:
    """R-AU-7: what a rule selects for a caller, and what it asks the upstream for."""
    rules = rows("Patient", search, where)
    assert all(rules.hold("Patient", resource, claims) for resource in exist)
    assert not any(rules.hold("Patient", resource, claims) for resource in not_)
    assert rules.form("Patient", claims) == sent
    assert rules.limits("Patient")
    assert rules.hold("Observation", {"resourceType": "Observation"}, claims)
    assert rules.form("Observation", claims) == ()


def test_malformed_data_selects_nothing_and_does_not_fail() -> None:
    """A resource in which everything has a wrong type is judged like any other."""
    rules = rows("Patient", "active=true&birthdate=ge1990-01-01&name=x", "name.family = 'x'")
    odd = patient(active="yes", birthDate=7, name={"family": ["x"]}, address="MI")
    assert not rules.hold("Patient", odd, {})


@pytest.mark.parametrize(
    ("search", "where", "named"),
    [
        ("active=true", "", set()),
        ("code={conditions},x", "", {"conditions"}),
        ("code={https://id.example.org/conditions}", "", {"https://id.example.org/conditions"}),
        ("", "id in %caller.mine or id in %caller.`their own`", {"mine", "their own"}),
    ],
)
def test_claims_are_known_by_name(search: str, where: str, named: set[str]) -> None:
    """The claims without which a rule shows nothing."""
    assert claims_named(RowRule("Condition", search, where, WHERE)) == named


def test_many_callers_are_kept_apart() -> None:
    """Conditions compiled for one caller are never another's, however many there are."""
    rules = rows("Patient", STATES)
    callers = [{"jurisdictions": ["MI" if i % 2 else "OH"]} for i in range(300)]
    for _ in range(2):
        for number, claims in enumerate(callers):
            assert rules.hold("Patient", MI, claims) is bool(number % 2)
    assert understand(["a", "a"]) == ("a",)


BASE = """
[ids]
default = "real"
[codes]
systems = ["http://loinc.org"]
[elements]
"Patient" = "keep"
"Bundle"  = "keep"
[rows.Patient]
search = "active=true"
"""


def test_rows_of_base_and_child_both_hold(tmp_path: Path) -> None:
    """A child never widens the rows of its base; it may add to them; the digest changes."""
    (tmp_path / "base.toml").write_text(BASE)
    child = tmp_path / "child.toml"
    child.write_text('extends = "base"\n')
    alone = load_policy(child)
    child.write_text('extends = "base"\n[rows.Patient]\nwhere = "gender = \'male\'"\n')
    both = load_policy(child)
    assert [(r.search, r.where) for r in both.rows["Patient"]] == [
        ("active=true", ""), ("", "gender = 'male'"),
    ]
    rules = Rows(both.rows)
    assert rules.hold("Patient", patient(active=True, gender="male"), {})
    assert not rules.hold("Patient", patient(gender="male"), {})
    assert not rules.hold("Patient", patient(active=True), {})
    assert len({alone.digest, both.digest}) == 2
    assert [str(r.source) for r in both.rows["Patient"]] == [
        f"{tmp_path / 'base.toml'}:9", f"{child}:2",
    ]


def test_a_removed_type_takes_its_rows_along(tmp_path: Path) -> None:
    """A child that removes a type drops the base's rows on it, which could never fire."""
    (tmp_path / "base.toml").write_text(BASE)
    child = tmp_path / "child.toml"
    child.write_text('extends = "base"\n[elements]\n"Patient" = "remove"\n')
    assert load_policy(child).rows == {}


@pytest.mark.parametrize(
    "text",
    [
        '[rows.Patient]\nsearch = "active=true"\nwhere = "true"\n',
        '[rows]\nPatient = { search = "active=true", where = "true" }\n',
        '[rows]\nPatient.search = "active=true"\nPatient.where = "true"\n',
        'rows.Patient = { search = "active=true", where = "true" }\n',
        'rows.Patient.search = "active=true"\nrows.Patient.where = "true"\n',
        'rows = { Patient = { search = "active=true", where = "true" } }\n',
    ],
)
def test_every_spelling_of_the_table_is_read(text: str, tmp_path: Path) -> None:
    """TOML has several ways to write one table; in an identity view each is refused."""
    file = tmp_path / "p.toml"
    end = BASE.partition("[rows")[0]
    whole = text + end if text.startswith("rows") else end + text
    file.write_text(whole)
    (rule,) = load_policy(file).rows["Patient"]
    assert (rule.search, rule.where) == ("active=true", "true")
    file.write_text('view = "identity"\n' + text)
    assert ["identity view has no [rows]" in m.what for m in read_policies([file]).mistakes] == [
        True
    ]


def test_a_claim_that_finds_beginnings_is_doubtful(tmp_path: Path) -> None:
    """A string is found by its beginning unless it says exact: the author is warned."""
    file = tmp_path / "p.toml"
    for search, warned in (
        ("address-state={states}", True),
        ("address-state:exact={states}", False),
        ("address-state=MI", False),
        ("gender={genders}", False),
    ):
        file.write_text(BASE.replace("active=true", search))
        loaded = read_policies([file])
        assert loaded.mistakes == ()
        found = [w for w in loaded.warnings if "begins as the claim does" in w.what]
        assert [(w.line, w.mend) for w in found] == (
            [(10, "write address-state:exact")] if warned else []
        )


NESTED = """
[ids]
default = "real"
[codes]
systems = ["http://loinc.org"]
[elements]
"Patient"     = "keep"
"Bundle"      = "keep"
"Parameters"  = "keep"
"Observation" = "keep"
[datatypes]
string = "keep"
[rows.Patient]
search = "gender={genders}"
[rows.Bundle]
where = "entry.count() < 3"
"""


def nest(*inside: Any) -> list[Any]:
    """Every way in which one resource can hold others."""
    entries = [{"fullUrl": f"http://u/fhir/Patient/{r['id']}", "resource": r} for r in inside]
    bundle = {"resourceType": "Bundle", "id": "b", "type": "collection", "entry": entries}
    named = [{"reference": f"#{r['id']}"} for r in inside]
    parts = [{"name": "p", "part": [{"name": "q", "resource": r}]} for r in inside]
    return [
        bundle,
        {**bundle, "entry": [{"fullUrl": "http://u/fhir/Bundle/b", "resource": bundle}]},
        {"resourceType": "Observation", "id": "o", "status": "final", "focus": named,
         "contained": list(inside)},
        {"resourceType": "Parameters", "id": "p", "parameter": parts},
        {"resourceType": "Parameters", "parameter": [{"name": "b", "resource": bundle}]},
    ]  # fmt: skip


@pytest.mark.parametrize("index", range(5))
def test_rows_hold_for_every_resource_inside_another(index: int, tmp_path: Path) -> None:
    """A resource out of scope is nowhere, however deep it stands; one in scope is everywhere."""
    file = tmp_path / "p.toml"
    file.write_text(NESTED)
    view = compile_view(load_policy(file))
    mine = patient(gender="female") | {"id": "mine", "language": "en-shown"}
    other = patient(gender="male") | {"id": "other", "language": "en-hidden"}

    def show(resource: Any, **claims: object) -> str:
        scope = Scope.nowhere()
        scope.claims, scope.pseudonym, scope.shows = claims, view.pseudonym, view.shows
        return str(view.reveal(resource, scope))

    held = nest(mine, other)[index]
    text = show(held, genders=["female"])
    assert "shown" in text
    assert "hidden" not in text
    assert "other" not in text
    both = show(held, genders=["male", "female"])
    assert "shown" in both
    assert "hidden" in both
    none = show(held)
    assert "shown" not in none
    assert "hidden" not in none
    third = patient(gender="female") | {"id": "third"}
    crowded = nest(mine, other, third)[index]
    kept = "shown" in show(crowded, genders=["female", "male"])
    assert kept is ("entry" not in str(crowded))  # of Bundles with three none exists


@pytest.mark.parametrize("text", [
    "%caller.jurisdictions.empty()", "%caller.jurisdictions.exists()",
    "%caller.jurisdictions.exists().not() or true",
    "'MI' in %caller.jurisdictions or %caller.juristictions.empty()",
])  # fmt: skip
@pytest.mark.parametrize("claims", NO_LIMITS)
def test_predicates_by_a_claim_that_is_missing(text: str, claims: dict[str, object]) -> None:
    """As for rows: without the claim a predicate of an element selects nothing, whatever it makes
    of its absence."""
    assert element_predicate(text)({"family": "x"}, claims) is False


def test_predicates_by_a_claim_that_is_there() -> None:
    """With the claim, or without one in it, a predicate means what it says."""
    assert element_predicate("family in %caller.names")({"family": "x"}, {"names": ["x"]})
    assert not element_predicate("family in %caller.names")({"family": "x"}, {"names": ["y"]})
    assert element_predicate("family = 'x'")({"family": "x"}, {})
