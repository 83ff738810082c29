"""Section 15 of the security requirements, R-BK-1 to R-BK-5.

Bulk export is not offered, to no role: what is required of it is met by refusal, and these tests
say so. Lines of resources are read and written by ``ecr-proxy view``, which R-BK-3 is tested on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.conftest import REPOSITORY
from tests.security.product import DEID, EPI, INV, LDS, MARKER, PUB, Answer, Product, product
from tests.security.revealing import is_clean
from tests.security.searched import REAL, WORLD, condition, patient
from tests.security.serving import FHIR, bundle, holding, is_refusal, post

EVERYONE = (INV, EPI, LDS, DEID, PUB)
ASYNC = {"Prefer": "respond-async"}
PARAMETERS = orjson.dumps({"resourceType": "Parameters", "parameter": [{"name": "_type"}]})


async def exported(running: Product, role: str, path: str) -> list[Answer]:
    """The export asked for in every way."""
    answers = [await running.get(role, path), await running.get(role, path, headers=ASYNC)]
    for method in ("POST", "DELETE"):
        answers.append(
            await running.ask(
                role, method, f"/fhir{path}", data=PARAMETERS, headers={**FHIR, **ASYNC}
            )
        )
    return answers


def is_refused(answer: Answer) -> bool:
    """REFUSE, or no such path."""
    return is_refusal(answer) or (answer.status, answer.code) == (404, "not-found")


@pytest.mark.parametrize("role", EVERYONE)
async def test_r_bk_1_export_is_refused(role: str, tmp_path: Path) -> None:
    """R-BK-1: an export of the system, of patients or of a group is refused, also in a batch, and
    no job is started upstream."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        shown = running.shown(role, "Patient", REAL)
        paths = (
            "/$export",
            "/%24export",
            "/Patient/$export",
            f"/Patient/{shown}/$export",
            f"/Group/{shown}/$export",
            "/Group/1/$export",
            "/$export?_type=Patient",
            "/$export-poll-status?_jobId=1",
            "/$bulk-publish",
            "/Patient/$export?_outputFormat=application/fhir%2Bndjson",
            "/$davinci-data-export",
            "/$import",
        )
        for path in paths:
            answers = await exported(running, role, path)
            assert all(map(is_refused, answers)), path
            assert all(is_clean(answer, MARKER) for answer in answers)
            assert not any("content-location" in answer.headers for answer in answers)
        body = orjson.dumps(bundle("batch", *(path[1:] for path in paths)))
        for entry in (await post(running, role, body, **ASYNC)).json["entry"]:
            assert entry["response"]["status"][:3] in ("400", "403", "404")
        assert upstream.calls() == []


@pytest.mark.parametrize("role", EVERYONE)
async def test_r_bk_2_there_are_no_manifests_and_files(role: str, tmp_path: Path) -> None:
    """R-BK-2: export is not offered, so there is neither manifest nor file: addresses at which
    servers offer them lead nowhere, and answers in lines are not to be had."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        for path in (
            "/fhir/$export-poll-status",
            "/fhir/Binary/export-1",
            "/fhir/export/Patient.ndjson",
            "/bulkdata/Patient.ndjson",
            "/fhir/bulkstatus/1",
            "/fhir/jobs/1",
        ):
            answer = await running.ask(role, "GET", path)
            reads_binary = role == INV and path.startswith("/fhir/Binary/")
            assert is_refused(answer) or (reads_binary and answer.status == 404), path
        for format_ in ("ndjson", "application/fhir%2Bndjson", "application/x-ndjson", "csv"):
            kind = "ValueSet" if role == PUB else "Patient"
            answer = await running.get(role, f"/{kind}?_format={format_}")
            assert (answer.status, answer.code) == (406, "not-supported")
            answer = await running.get(
                role, f"/{kind}", headers={"Accept": format_.replace("%2B", "+")}
            )
            assert answer.status in (200, 406)
            assert "ndjson" not in answer.headers["content-type"]
        assert all(target == "/fhir/Binary/export-1" or "_search" in target
                   for _, target, _ in upstream.calls())  # fmt: skip


def view(policy: str, data: bytes, *options: str) -> tuple[int, list[bytes], str]:
    """Exit code, lines and messages of ``ecr-proxy view`` on standard input."""
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "view", "--policy", policy, *options, "-"],
        cwd=REPOSITORY,
        input=data,
        capture_output=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr.decode()


def lines(*resources: dict[str, Any]) -> list[bytes]:
    return [orjson.dumps(each) for each in resources]


PERSON, FINDING = patient("p-1"), condition("c-1", "p-1")


@pytest.mark.parametrize("role", [INV, LDS])
@pytest.mark.parametrize(
    "data",
    [
        b"\n".join(lines(PERSON, FINDING)) + b"\n",
        b"\n".join(lines(PERSON, FINDING)),
        b"\r\n".join(lines(PERSON, FINDING)) + b"\r\n",
        b"\n\n" + b"\n\n \n".join(lines(PERSON, FINDING)) + b"\n\n",
        b"\xef\xbb\xbf" + b"\n".join(lines(PERSON, FINDING)),
    ],
    ids=["plain", "no last newline", "CRLF", "blank lines", "BOM"],
)
def test_r_bk_3_good_lines_are_all_delivered(role: str, data: bytes) -> None:
    """R-BK-3: however lines are ended and begun, every resource comes out, once, in order."""
    code, shown, errors = view(role, data)
    assert code == 0, errors
    assert [json.loads(line)["resourceType"] for line in shown] == ["Patient", "Condition"]
    if role == INV:
        assert [json.loads(line) for line in shown] == [PERSON, FINDING]
    else:
        assert not any(MARKER.encode() in line for line in shown)


@pytest.mark.parametrize("role", [INV, LDS])
@pytest.mark.parametrize(
    "bad",
    [
        b'{"resourceType":"Patient","id":"' + MARKER.encode(),
        b"[" + lines(PERSON)[0] + b"]",
        b'"' + MARKER.encode() + b'"',
        b"null",
        b"{}",
        b'{"id":"1"}',
        b'{"resourceType":7}',
        lines(PERSON)[0] + lines(FINDING)[0],
        lines(PERSON)[0] + b",",
        b'{"resourceType":"Patient","id":"\xff"}',
    ],
    ids=["broken", "array", "string", "null", "empty", "no type", "wrong type", "two on a line",
         "comma", "not UTF-8"],
)  # fmt: skip
def test_r_bk_3_a_bad_line_is_an_error(role: str, bad: bytes) -> None:
    """R-BK-3: a line that is no resource ends the work with an error that names the line; what was
    good before is delivered, and nothing of the bad line passes."""
    first, last = lines(PERSON, FINDING)
    code, shown, errors = view(role, b"\n".join([first, bad, last]))
    assert code == 1
    assert [json.loads(line)["resourceType"] for line in shown] == ["Patient"]
    assert "-:2:" in errors
    assert MARKER not in errors
    assert "Traceback" not in errors


def test_r_bk_3_a_long_line(tmp_path: Path) -> None:
    """R-BK-3: a line of 60 MB is delivered like any other."""
    note = [{"text": "x" * 1000} for _ in range(60_000)]
    code, shown, errors = view(LDS, b"\n".join(lines(PERSON, {**FINDING, "note": note}, FINDING)))
    assert code == 0, errors
    assert [json.loads(line)["resourceType"] for line in shown] == [
        "Patient", "Condition", "Condition",
    ]  # fmt: skip


FILTERS = (
    "_typeFilter=Patient%3Ffamily%3DEverywoman",
    "_type=AuditEvent",
    "_elements=name",
    "_since=2021-08-02T22:13:23Z",
    "_until=2021-08-02T22:13:23Z",
    "includeAssociatedData=LatestProvenanceResources",
    "patient=Patient/1",
    "_mdm=true",
)


@pytest.mark.parametrize("role", EVERYONE)
async def test_r_bk_4_filters_of_an_export_are_refused(role: str, tmp_path: Path) -> None:
    """R-BK-4: export is not offered, so each of its filters is refused with it, the same whatever
    they would find, and in searches too, where they are not known."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        answers = []
        for filter_ in FILTERS:
            for path in (f"/$export?{filter_}", f"/Patient/$export?{filter_}"):
                answers += await exported(running, role, path)
        assert all(map(is_refused, answers))
        kind = "ValueSet" if role == PUB else "Patient"
        for filter_ in FILTERS:
            if not filter_.startswith("_elements"):
                assert is_refusal(await running.get(role, f"/{kind}?{filter_}")), filter_
        assert upstream.calls() == []


@pytest.mark.parametrize("role", [EPI, LDS, DEID])
async def test_r_bk_5_there_is_no_larger_set_than_a_search_gives(
    role: str, tmp_path: Path
) -> None:
    """R-BK-5: export is not offered; what a role can collect is what its searches page through,
    and that is the same set as its reads show."""
    stored = [condition(f"c{n}", REAL, "3928002" if n % 3 else "86406008") for n in range(30)]
    async with holding(patient(), *stored) as upstream, product(tmp_path) as running:
        for path in ("/$export?_type=Condition", "/Condition/$export", "/Patient/$export"):
            assert all(map(is_refused, await exported(running, role, path)))
        assert upstream.calls() == []
        answer = await running.get(role, "/Condition?_count=100")
        searched = {e["resource"]["id"] for e in answer.json.get("entry", ())}
        shown = [running.shown(role, "Condition", each["id"]) for each in stored]
        read = {i for i in shown if (await running.get(role, f"/Condition/{i}")).status == 200}
        assert searched == read
        assert len(read) == (20 if role == EPI else 30)
