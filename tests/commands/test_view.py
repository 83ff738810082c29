"""``ecr-proxy view``: what a steward tries at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.__main__ import main
from proxy.fhir.codec import JsonObject
from proxy.policy.compile import View
from proxy.policy.scope import Scope

PATIENT = {
    "resourceType": "Patient",
    "id": "p-1",
    "name": [{"family": "Marker"}],
    "birthDate": "1974-11-24",
    "multipleBirthInteger": 2,
}
OBSERVATION = {
    "resourceType": "Observation",
    "id": "o-1",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "6690-2"}], "text": "Marker"},
    "valueQuantity": {"value": 1.5, "unit": "g"},
}
MEDIA = {"resourceType": "Media", "id": "m-1", "status": "completed", "content": {}}
POLICY = "researcher-deidentified"


def run(capsysbinary: pytest.CaptureFixture[bytes], *arguments: str) -> tuple[int, bytes, str]:
    code = main(["view", *arguments])
    captured = capsysbinary.readouterr()
    return code, captured.out, captured.err.decode()


def test_one_resource_is_shown_by_the_policy(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A resource over several lines is one resource; the hidden is gone, the kept is exact."""
    file = tmp_path / "patient.json"
    file.write_text(json.dumps(PATIENT, indent=2))
    code, out, err = run(capsysbinary, "--policy", POLICY, str(file))
    shown = json.loads(out)
    assert code == 0
    assert b"Marker" not in out
    assert shown["birthDate"] == "1974"
    assert shown["id"] != "p-1"
    assert shown["multipleBirthInteger"] == 2
    assert "this run only" in err


def test_what_a_view_cannot_show_is_one_line(
    tmp_path: Path,
    capsysbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever goes wrong inside a view, the command says of which line, and no traceback."""
    file = tmp_path / "data.ndjson"
    file.write_text("\n".join(map(json.dumps, (PATIENT, OBSERVATION))))
    reveal = View.reveal

    def fail(view: View, resource: JsonObject, scope: Scope) -> JsonObject | None:
        if resource["resourceType"] == "Observation":
            raise TypeError("unhashable type")
        return reveal(view, resource, scope)

    monkeypatch.setattr(View, "reveal", fail)
    code, out, err = run(capsysbinary, "--policy", POLICY, str(file))
    assert (code, len(out.splitlines())) == (1, 1)
    assert err.splitlines()[-1] == f"Error: {file}:2: the resource cannot be shown"


def test_claims_choose_the_rows(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """``--claims`` are those of the caller's token: rows out of their scope are counted, not shown;
    without them there is none."""
    file = tmp_path / "data.ndjson"
    states = [{**PATIENT, "id": state, "address": [{"state": state}]} for state in ("MI", "OH")]
    file.write_text("\n".join(map(json.dumps, states)))
    claims = '{"conditions": ["3928002"], "jurisdictions": ["OH"]}'
    code, out, err = run(
        capsysbinary, "--policy", "epidemiologist", "--claims", claims, str(file)
    )
    assert code == 0
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["OH"]
    assert "1 not shown by this policy" in err
    code, out, err = run(capsysbinary, "--policy", "epidemiologist", str(file))
    assert (code, out) == (0, b"")
    assert "2 not shown by this policy" in err


def test_ndjson_is_shown_line_by_line_and_the_hidden_is_counted(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Blank lines and a missing last line end lose nothing; a hidden type is counted."""
    file = tmp_path / "data.ndjson"
    lines = [json.dumps(PATIENT), "", json.dumps(MEDIA), json.dumps(OBSERVATION)]
    file.write_text("\r\n".join(lines))
    code, out, err = run(capsysbinary, "--policy", POLICY, str(file))
    assert code == 0
    assert [json.loads(line)["resourceType"] for line in out.splitlines()] == [
        "Patient",
        "Observation",
    ]
    assert "1 not shown" in err


SECTIONS = """
title = "t"
basis = "b"
[access]
Composition = ["read"]
[ids]
default = "pseudonym"
[elements]
Composition = "keep"
Observation = "keep"
Organization = "keep"
Patient = "keep"
"Composition.section" = "mask"
"Composition.section.where(title = 'Shown')" = "keep"
[datatypes]
Narrative = "narrative"
"""


def report(hidden: list[str], shown: list[str]) -> dict[str, object]:
    sections = [
        {"title": title, "entry": [{"reference": name} for name in names]}
        for title, names in (("Hidden", hidden), ("Shown", shown))
    ]
    return {"resourceType": "Composition", "status": "final", "title": "t", "date": "2026",
            "subject": {"reference": "Patient/p-1"}, "section": sections}  # fmt: skip


def test_what_only_a_hidden_section_reaches_is_hidden(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """All lines are judged together, wherever the Compositions stand; what none reaches, and what
    one shows, is shown; a line that cannot be read shows none of them."""
    policy, file = tmp_path / "trial.toml", tmp_path / "data.ndjson"
    policy.write_text(SECTIONS)
    led = {**OBSERVATION, "id": "led", "performer": [{"reference": "Organization/lab"}]}
    held = [
        {"resourceType": "Organization", "id": "lab"},
        *({**OBSERVATION, "id": id} for id in ("listed", "both", "free")),
        led, {**OBSERVATION, "id": "around", "hasMember": [{"reference": "Observation/led"}]},
        PATIENT, {**OBSERVATION, "id": None},
        report(["Observation/listed", "Observation/both", "Observation/around"], []),
        report(["Observation/listed"], ["Observation/both"]),
    ]  # fmt: skip
    arguments = ("--policy", str(policy), str(file))
    file.write_text("\n".join(map(json.dumps, held)))
    code, out, err = run(capsysbinary, *arguments)
    shown = [json.loads(line) for line in out.splitlines()]
    kinds = ["Observation", "Observation", "Patient", "Observation", "Composition", "Composition"]
    assert (code, [r["resourceType"] for r in shown]) == (0, kinds)
    assert len(shown[-1]["section"][1]["entry"]) == 1
    assert "4 not shown" in err
    file.write_text("\n".join(map(json.dumps, [*held[:4], {}, *held[4:]])))
    code, out, err = run(capsysbinary, *arguments)
    assert (code, out) == (1, b"")
    assert err.endswith(f"{file}:5: not a FHIR resource in JSON\n")


def test_a_bad_line_ends_with_its_number_and_the_lines_before_it(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """What is good is delivered, what is bad is said, nothing of its text is repeated."""
    file = tmp_path / "data.ndjson"
    file.write_text(f'{json.dumps(PATIENT)}\n{{"resourceType": "Secret\n')
    code, out, err = run(capsysbinary, "--policy", POLICY, str(file))
    assert code == 1
    assert len(out.splitlines()) == 1
    assert "data.ndjson:2:" in err
    assert "Secret" not in err


def test_the_same_keys_and_day_give_the_same_bytes(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """With a key file, pseudonyms hold from run to run; another project has others."""
    keys, file = tmp_path / "keys.json", tmp_path / "patient.json"
    file.write_text(json.dumps(PATIENT))
    assert main(["keygen", "--file", str(keys)]) == 0
    capsysbinary.readouterr()
    options = ["--policy", POLICY, "--keys", str(keys), "--today", "2026-01-31", str(file)]
    first = run(capsysbinary, *options)[1]
    assert run(capsysbinary, *options)[1] == first
    assert run(capsysbinary, "--project", "other", *options)[1] != first


def test_the_identity_view_hands_on_the_bytes(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """An investigator's view changes nothing, spelling of numbers included."""
    file = tmp_path / "observation.json"
    text = b'{ "resourceType":"Observation", "valueQuantity":{"value":1.50e0} }'
    file.write_bytes(text)
    assert run(capsysbinary, "--policy", "investigator", str(file))[1] == text + b"\n"


def test_a_person_of_ninety_is_counted_on_the_day_given(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """On the day before the ninetieth birthday the year shows, on the day itself it does not."""
    file = tmp_path / "patient.json"
    file.write_text(json.dumps({**PATIENT, "birthDate": "1936-02-01"}))
    before = run(capsysbinary, "--policy", POLICY, "--today", "2026-01-31", str(file))[1]
    after = run(capsysbinary, "--policy", POLICY, "--today", "2026-02-01", str(file))[1]
    assert json.loads(before)["birthDate"] == "1936"
    assert "birthDate" not in json.loads(after)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policy", "reseacher-limited", "-"], "researcher-limited"),
        (["--policy", "nowhere/x.toml", "-"], "no such policy file"),
        (["--policy", POLICY, "--today", "yesterday", "-"], "2026-01-31"),
        (["--policy", POLICY, "--claims", "[1]", "-"], "JSON object"),
        (["--policy", POLICY, "--upstream", "ftp://x", "-"], "http or https"),
        (["--policy", POLICY, "missing.json"], "missing.json"),
        (["--policy", POLICY, "--keys", "missing.json", "-"], "missing.json"),
    ],
    ids=["policy", "file", "day", "claims", "base", "input", "keys"],
)
def test_a_wrong_option_is_one_clear_line(
    arguments: list[str], said: str, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """A mistake is said with its mend, without a traceback."""
    code, out, err = run(capsysbinary, *arguments)
    assert code != 0
    assert out == b""
    assert said in err
    assert "Traceback" not in err


def test_what_was_found_in_texts_is_counted(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Where a policy scrubs texts, the counts by kind stand on standard error, never the texts."""
    policy, file = tmp_path / "scrubbed.toml", tmp_path / "data.json"
    policy.write_text(
        'title = "x"\n[access]\nPatient = ["read"]\n[ids]\ndefault = "pseudonym"\n[elements]\n'
        '"Bundle" = "keep"\n"Patient" = "keep"\n"Observation" = "keep"\n'
        '"Observation.note.text" = "scrub"\n'
    )
    note = [{"text": "Ann Lee, born 3/4/1980, called 513-555-0164; Ann sleeps"}]
    found = {"resourceType": "Observation", "id": "o", "note": note,
             "subject": {"reference": "Patient/p"}}  # fmt: skip
    person = {"resourceType": "Patient", "id": "p", "name": [{"family": "Lee", "given": ["Ann"]}]}
    held = [{"fullUrl": f"http://127.0.0.1:8080/fhir/{r['resourceType']}/{r['id']}", "resource": r}
            for r in (person, found)]  # fmt: skip
    file.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": held}))
    code, out, err = run(capsysbinary, "--policy", str(policy), str(file))
    assert code == 0
    assert "[NAME], born [DATE], called [PHONE]; [NAME] sleeps" in out.decode()
    assert "view: found in texts: 1 DATE, 2 NAME, 1 PHONE" in err
    assert "view: no server was asked for 1 patients and those related to them" in err
    assert "Ann" not in out.decode() + err


def test_one_view_behind_another(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """What stage 1 shows is a file for stage 2, whose upstream is stage 1's public base; without
    stage 1 nothing shows."""
    file, between = tmp_path / "patient.json", tmp_path / "one.json"
    file.write_text(json.dumps(PATIENT))
    _, out, _ = run(capsysbinary, "--policy", "stage1-pseudonymized", str(file))
    between.write_bytes(out)
    arguments = ("--policy", "stage2-anonymized", "--upstream", "http://127.0.0.1:8000/fhir")
    code, shown, _ = run(capsysbinary, *arguments, str(between))
    assert code == 0
    assert json.loads(shown)["id"] == json.loads(out)["id"]
    assert b"1974" not in shown
    _, nothing, err = run(capsysbinary, *arguments, str(file))
    assert nothing == b""
    assert "1 not shown" in err
