"""``ecr-proxy check`` prints every mistake on a line of its own and never a traceback."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.__main__ import main
from tests.conftest import REPOSITORY
from tests.loading import Resource

Upstream = Callable[[Iterable[Resource]], Awaitable[str]]
Serve = Callable[[web.Application], Awaitable[TestServer]]
Output = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the shipped policies."""
    shutil.copytree(REPOSITORY / "policies", tmp_path / "policies")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_shipped_policies(folder: Path, capsys: Output) -> None:
    """Without arguments the policies of ./policies are checked."""
    assert main(["check"]) == 0
    assert capsys.readouterr().out == (
        "ecr-anonymized: some rows of Observation, by no claim\n"
        "epidemiologist: some rows of Bundle, Composition, Condition, DiagnosticReport, Encounter, "
        "Observation, Patient, RelatedPerson, Specimen, by conditions, jurisdictions\n"
        "no mistakes in case-report, ecr-anonymized, epidemiologist, investigator, public, "
        "researcher-deidentified, researcher-limited, researcher-shifted, stage1-pseudonymized, "
        "stage2-anonymized\n"
    )


@pytest.mark.parametrize("argument", ["researcher-limited", "policies/researcher-limited.toml"])
def test_one_policy_by_name_or_file(argument: str, folder: Path, capsys: Output) -> None:
    """A policy is named as in the configuration or by its file."""
    assert main(["check", argument]) == 0
    assert capsys.readouterr().out == "no mistakes in researcher-limited\n"


def test_mistakes_and_warnings_are_lines(folder: Path, capsys: Output) -> None:
    """Mistakes of all files, one a line, warnings marked, exit code 1."""
    (folder / "policies" / "a.toml").write_text('[elements]\n"Patiant" = "keep"\ntitle = 3\n')
    (folder / "policies" / "b.toml").write_text('[elements]\n"Patient" = "keep"\n')
    assert main(["check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "policies/a.toml:2: Patiant is not an R4 resource type; write Patient" in lines
    assert any(line.startswith("policies/a.toml:3: title is not ") for line in lines)
    assert any(line.startswith("policies/b.toml:1: warning: there is no [codes]") for line in lines)


def test_unknown_policy(folder: Path, capsys: Output) -> None:
    """A policy that is not there is a mistake, not a crash."""
    assert main(["check", "nobody"]) == 1
    assert capsys.readouterr().out == (
        "policies/nobody.toml:1: the file cannot be read: no such file or directory; "
        "check its path\n"
    )
    assert main(["check", "investigater"]) == 1
    assert capsys.readouterr().out.endswith("; write investigator\n")


def test_configuration(folder: Path, capsys: Output) -> None:
    """With a configuration its own mistakes, its policies, and roles without a served policy."""
    example = (REPOSITORY / "config.example.toml").read_text("utf-8")
    config = folder / "config.toml"
    config.write_text(example, "utf-8")
    assert main(["check"]) == 0
    capsys.readouterr()
    config.write_text(
        example.replace("[roles]", '[roles]\nguest = "researcher-limitid"\nbase = "case-report"')
    )
    assert main(["check", "--config", str(config)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{config}: roles.guest: there is no policy researcher-limitid; write researcher-limited",
        f"{config}: roles.base: case-report has no [access], so it is only extended; "
        "write one of ecr-anonymized, epidemiologist, investigator, public, "
        "researcher-deidentified, researcher-limited, researcher-shifted, stage1-pseudonymized, "
        "stage2-anonymized",
    ]
    config.write_text(example.replace("[server]", "[servre]"))
    assert main(["check", "--config", str(config)]) == 1
    assert "servre" in capsys.readouterr().out


PATIENT: Resource = {
    "resourceType": "Patient",
    "id": "sample-everywoman",
    "name": [{"family": "Everywoman"}],
    "address": [{"state": "GA", "city": "Atlanta"}],
}
LEAKY = """
extends = "researcher-limited"
[datatypes]
"HumanName.text" = "keep"
"""


async def test_sample_counts_and_says_no_value(
    folder: Path, upstream: Upstream, capsys: Output
) -> None:
    """Resources of a server are shown through each served policy; what comes out is counts."""
    base = await upstream([PATIENT])
    assert await asyncio.to_thread(main, ["check", "--sample", base]) == 0
    lines = capsys.readouterr().out.splitlines()
    for policy in ("researcher-deidentified", "researcher-limited"):
        (line,) = [x for x in lines if x.startswith(f"{policy}: Patient: ")]
        assert line.endswith(" 0 failed, 0 values say what was removed")
    assert not any(x.startswith("investigator:") for x in lines)
    assert "Everywoman" not in "".join(lines)


async def test_sample_trips_on_what_still_shows(
    folder: Path, aiohttp_server: Serve, capsys: Output
) -> None:
    """A family name that also stands in a text which the policy opens is counted, and fails."""
    (folder / "policies" / "leaky.toml").write_text(LEAKY, "utf-8")
    async def search(request: web.Request) -> web.Response:
        if request.match_info["type"] != "Patient":
            raise web.HTTPNotFound
        resource = {**PATIENT, "name": [{"family": "Everywoman"}, {"text": "Mrs Everywoman"}]}
        return web.json_response(
            {"resourceType": "Bundle", "entry": [{"resource": resource}]},
            content_type="application/fhir+json",
        )

    app = web.Application()
    app.router.add_get("/fhir/{type}", search)
    base = str((await aiohttp_server(app)).make_url("/fhir"))
    assert await asyncio.to_thread(main, ["check", "leaky", "--sample", base]) == 1
    out = capsys.readouterr().out
    assert "leaky: Patient: 1 read, 1 shown, 0 failed, 1 values say what was removed" in out
    assert "Everywoman" not in out


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://x.org/fhir", "none of http or https"),
        ("http://x.org/fhir", "use https"),
        ("http://127.0.0.1:9/fhir", "does not answer"),
    ],
)
def test_sample_of_no_server(url: str, words: str, folder: Path, capsys: Output) -> None:
    """A URL that may not or cannot be asked is one message."""
    assert main(["check", "--sample", url]) == 1
    assert words in capsys.readouterr().err
