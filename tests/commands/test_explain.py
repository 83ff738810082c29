"""``ecr-proxy explain`` says which rule, lens and verdict hold, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.__main__ import main
from tests.conftest import REPOSITORY
from tests.policy.test_verdicts import table_of
from tests.views import find_view

Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def explain(capsys: Output, *arguments: str) -> str:
    """What the command prints; it must succeed."""
    assert main(["explain", *arguments]) == 0
    return capsys.readouterr().out


def test_a_policy_alone_lists_its_types(capsys: Output) -> None:
    """Each type shown, its ids, how many parameters, which requests."""
    lines = explain(capsys, "researcher-deidentified").splitlines()
    assert "45 CFR 164.514(b)(2)" in lines[1]
    (patient,) = [line for line in lines if line.split()[:1] == ["Patient"]]
    assert "pseudonymous ids" in patient
    assert patient.endswith("read, search")
    (library,) = [line for line in lines if line.split()[:1] == ["Library"]]
    assert "real ids" in library
    assert not [line for line in lines if "Binary" in line]


def test_types_say_what_sections_hide(capsys: Output) -> None:
    """Where a section can be hidden, each type of which resources are hidden with it says so; with
    the rule of a section stands what its predicates show."""
    policy = "tests/cases/policies/sections.toml"
    lines = [line for line in explain(capsys, policy).splitlines() if line.startswith("  ")]
    marked = {line.split()[0] for line in lines if line.endswith("what shown sections reach")}
    assert {line.split()[0] for line in lines} - marked == {"Composition"}
    assert "where its predicate selects: keep" in explain(capsys, policy, "Composition.section")


def test_rows_are_explained(capsys: Output) -> None:
    """Which resources exist: each rule with its line, and the claims that a token must bring."""
    lines = explain(capsys, "epidemiologist").splitlines()
    (patient,) = [line for line in lines if line.split()[:1] == ["Patient"]]
    assert patient.endswith("read, search, vread; some rows")
    (library,) = [line for line in lines if line.split()[:1] == ["Library"]]
    assert "rows" not in library
    text = explain(capsys, "epidemiologist", "Patient").partition("\nelements\n")[0]
    assert "rows (policies/epidemiologist.toml:" in text
    assert "search address-state:exact={jurisdictions}\n" in text
    assert "where  %caller.conditions.exists() and " in text
    assert "a token without the claims conditions, jurisdictions sees none" in text


def test_labels_that_are_required(capsys: Output) -> None:
    """The overview of a policy says without which labels nothing exists."""
    lines = explain(capsys, "stage2-anonymized").splitlines()
    assert lines[2].startswith("exists only with the label PSEUDED")


@pytest.mark.parametrize("policy", ["researcher-limited", "researcher-deidentified"])
def test_a_type_lists_every_element_and_parameter(policy: str, capsys: Output) -> None:
    """Elements with their lens, parameters with their verdict: as the view and its table say."""
    text = explain(capsys, policy, "Patient")
    elements, parameters = text.split("\nsearch parameters\n")
    for path in ("Patient.birthDate", "Patient.communication.language", "Patient.name"):
        (line,) = [x for x in elements.splitlines() if x.split()[:1] == [path]]
        assert line.split()[1] == find_view(policy).lens(path).kind + ":"
    parameters, links = parameters.split("\n\norders and references\n")
    shown = {line.split()[0]: line.split()[1].rstrip(",") for line in parameters.splitlines()}
    listed = {line.split()[0]: line for line in links.splitlines()}
    assert set(listed) == {"_sort", "_include", "_revinclude", "chains"}
    assert "gender" in listed["_sort"]
    assert "Observation:patient" in listed["_revinclude"]
    assert shown == {c: v.kind for c, v in table_of(policy).parameters("Patient").items()}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("Patient.address.state", ["coarse", "state", "case-report.toml:", "address-state"]),
        ("Patient.address", ["hidden", "Patient.address.city", "postalCode"]),
        ("Organization.name", ["hidden", "where its predicate selects: keep"]),
        ("Patient.photo", ["hidden", "path Patient.photo", "case-report.toml:"]),
        ("Observation.value[x]", ["Observation.value[x]", "hidden"]),
        ("Patient?birthdate", ["translate", "less exactly; ask with a year (YYYY)",
                               "prefixes eq, ne, ge, gt, le, lt\n",
                               "researcher-deidentified.toml:"]),
        ("Patient?birthdate=ge2018", ["Patient?birthdate: translate"]),
        ("Patient?address-postalcode", ["translate", "three digits (000"]),
        ("Patient?birthdate:missing", ["refuse", "shown as stored"]),
        ("Observation?code-value-date", ["translate, parts", "a year (YYYY) for value-date"]),
        ("Observation?value-quantity", ["prefixes eq, ne, gt, lt, ge, le, sa, eb, ap"]),
        ("Patient?family", ["refuse", "reads Patient.name.family: hidden"]),
        ("Observation?code:not", ["allow, codes", "by its code system"]),
        ("Observation?subject", ["translate, reference", "takes ids of", "Patient"]),
        ("Patient?_count", ["allow, result"]),
        ("Patient?_sort", ["allow, sort", "by its value"]),
        ("Patient?_sort=-gender,birthdate", ["_sort=-gender: allow, sort\n",
                                             "birthdate: refuse\n", "Sortable here: _id, act"]),
        ("Patient?_sort=_id", ["_sort=_id: allow, sort\n", "in which they show"]),
        ("Observation?_include=Observation:subject", ["allow, include", "leads to", "Patient"]),
        ("Patient?_revinclude=Provenance:target", ["refuse", "Offered: "]),
        ("Observation?subject:Patient.name", ["refuse", "chained"]),
    ],
)
def test_one_element_or_parameter(target: str, expected: list[str], capsys: Output) -> None:
    """The lens with its line; the verdict with all that is read."""
    text = explain(capsys, "researcher-deidentified", target)
    for part in expected:
        assert part in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "there is no policy nobody"),
        (["investigatr"], "write investigator"),
        (["investigator", "Patien"], "write Patient"),
        (["investigator", "Patien?x"], "write Patient"),
        (["investigator", "Patient.nme"], "Patient has no element nme; write name"),
        (["investigator", "Patient.name.famly"], "Patient.name has no element famly"),
        (["investigator", "Patien.name"], "write Patient"),
        (["investigator", "Patient?famly"], "Patient has no search parameter famly; write family"),
        (["researcher-limited", "Patient?birthdat:missing=true"], "write birthdate"),
        (["researcher-limited", "Patient?_includ=x"], "write _include"),
        (["investigator", "Patient?zzzzzz"], "see ecr-proxy explain POLICY Patient"),
        (["investigator", "Patient?a b"], "name of a search parameter"),
        (["investigator", "Patient?"], ""),
    ],
)
def test_what_is_misspelt_is_one_clear_line(
    arguments: list[str], said: str, capsys: Output
) -> None:
    """No traceback; the nearest name is offered."""
    assert main(["explain", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("Error: ")
    assert said in captured.err


def test_a_policy_with_mistakes_is_not_explained(tmp_path: Path, capsys: Output) -> None:
    """All its mistakes are printed instead."""
    file = tmp_path / "bad.toml"
    file.write_text('[elements]\n"Patiant" = "keep"\n')
    assert main(["explain", str(file)]) == 1
    assert "bad.toml:2" in capsys.readouterr().err
