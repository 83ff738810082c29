"""R-EL-1 to R-EL-7 and R-CF-3 on the product: errors, logs, audit."""

from __future__ import annotations

import logging
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from proxy.fhir.codec import JsonObject
from proxy.policy.compile import View
from tests.security.product import (
    INV,
    LDS,
    MARKER,
    NEVER,
    RESTRICTED,
    ROLES,
    Product,
    product,
    stored,
    token,
)
from tests.security.test_upstream import JSON, acting, other
from tests.shell.raw import reply
from tests.shell.support import assert_outcome, parts, talk

REAL = "MRN-1032702"
PATIENT: JsonObject = {"resourceType": "Patient", "id": REAL, "gender": "female"}
M = MARKER.encode()
FHIR = {"Content-Type": "application/fhir+json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("role", RESTRICTED)
async def test_absent_is_one_answer(role: str, tmp_path: Path) -> None:
    """R-EL-2, R-ID-7: never existing, deleted, withheld, real and forged ids are one 404."""
    unknown = b'{"resourceType":"OperationOutcome","issue":[]}'
    withheld = b'{"resourceType":"Patient","id":"x","modifierExtension":[{"url":"http://x/y"}]}'
    acts = {
        NEVER: reply("404 Not Found", unknown, JSON),
        "deleted": reply("410 Gone", unknown, JSON, 'ETag: W/"3"', "Location: http://x/y"),
        "x": other(withheld),
    }
    answers = []
    for real, act in acts.items():
        async with acting(act) as behind, product(tmp_path) as running:
            answers.append(
                await running.get(role, f"/Patient/{running.shown(role, 'Patient', real)}")
            )
            assert len(behind.log) == 1
    async with (
        acting(reply("404 Not Found", unknown, JSON)) as behind,
        product(tmp_path) as running,
    ):
        for forged in (REAL, "1", "a" * 64, running.shown(role, "Observation", REAL)):
            answers.append(await running.get(role, f"/Patient/{forged}"))
            assert len(behind.log) <= 1
    assert {answer.code for answer in answers} == {"not-found"}
    assert len({str(answer.same) for answer in answers}) == 1


# A request of each kind with a marker in every place that a client can fill.
MARKED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "path": ("GET", f"/Patient/{MARKER}", {}),
    "type": ("GET", f"/{MARKER}", {}),
    "operation": ("GET", f"/Patient/${MARKER}", {}),
    "bad-path": ("GET", f"/Patient/%2e%2e/{MARKER}", {}),
    "value": ("GET", f"/Patient?family={MARKER}", {}),
    "bad-value": ("GET", f"/Patient?birthdate={MARKER}", {}),
    "bad-count": ("GET", f"/Patient?_count={MARKER}", {}),
    "sort": ("GET", f"/Patient?_sort={MARKER}", {}),
    "include": ("GET", f"/Patient?_include={MARKER}", {}),
    "elements": ("GET", f"/Patient?_elements={MARKER}", {}),
    "summary": ("GET", f"/Patient?_summary={MARKER}", {}),
    "page": ("GET", f"/Patient?_page={MARKER}", {}),
    "name": ("GET", f"/Patient?{MARKER}=1", {}),
    "modifier": ("GET", f"/Patient?gender:{MARKER}=1", {}),
    "chain": ("GET", f"/Observation?subject.{MARKER}=1", {}),
    "has": ("GET", f"/Patient?_has:{MARKER}:patient:code=1", {}),
    "reference": ("GET", f"/Observation?subject=http://{MARKER}/Patient/1", {}),
    "format": ("GET", f"/Patient?_format={MARKER}", {}),
    "accept": ("GET", "/Patient", {"headers": {"Accept": MARKER}}),
    "etag": ("GET", f"/Patient/{REAL}", {"headers": {"If-None-Match": MARKER}}),
    "header": ("GET", f"/Patient/{REAL}", {"headers": {"X-Patient": MARKER, MARKER: "1"}}),
    "agent": ("GET", f"/Patient/{REAL}", {"headers": {"User-Agent": MARKER, "Referer": MARKER}}),
    "form": ("POST", "/Patient/_search", {"data": f"family={MARKER}", "headers": FORM}),
    "form-name": ("POST", "/Patient/_search", {"data": f"{MARKER}=1", "headers": FORM}),
    "form-type": ("POST", "/Patient/_search", {"data": "a=b", "headers": {"Content-Type": MARKER}}),
    "form-json": ("POST", "/Patient/_search", {"data": f'{{"a":"{MARKER}"}}', "headers": FHIR}),
    "write": ("POST", "/Patient", {"data": f'{{"a":"{MARKER}"}}', "headers": FHIR}),
    "put": ("PUT", f"/Patient/{MARKER}", {"data": f'{{"a":"{MARKER}"}}', "headers": FHIR}),
    "batch-text": ("POST", "", {"data": MARKER, "headers": FHIR}),
    "batch-type": ("POST", "", {"data": f'{{"resourceType":"{MARKER}"}}', "headers": FHIR}),
    "batch-key": (
        "POST",
        "",
        {"data": f'{{"resourceType":"Bundle","{MARKER}":1,"{MARKER}":2}}', "headers": FHIR},
    ),
    "batch-entry": (
        "POST",
        "",
        {
            "data": '{"resourceType":"Bundle","type":"batch","entry":[{"request":'
            f'{{"method":"GET","url":"Patient?{MARKER}=1"}}}},{{"request":'
            f'{{"method":"{MARKER}","url":"Patient/{MARKER}"}}}}]}}',
            "headers": FHIR,
        },
    ),
    "encoding": ("POST", "", {"data": "x", "headers": {**FHIR, "Content-Encoding": MARKER}}),
}


@pytest.mark.parametrize("role", RESTRICTED)
@pytest.mark.parametrize("name", MARKED)
async def test_errors_and_logs_repeat_nothing(
    role: str, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """R-EL-3, R-EL-4, R-EL-5, R-EL-6: whatever a client sends comes back in no error, log or
    audit record; the record is there."""
    caplog.set_level(logging.DEBUG)
    method, target, options = MARKED[name]
    async with stored(PATIENT), product(tmp_path) as running:
        answer = await running.ask(role, method, "/fhir" + target, **options)
        (event,) = running.audit()
    if answer.status >= 400:
        assert answer.code
    if name == "reference":  # accepted: the self link repeats the caller's own parameter
        assert answer.status in (200, 400)
    else:
        assert not answer.says(MARKER)
    assert MARKER not in caplog.text
    assert not any(MARKER in str(vars(record)) for record in caplog.records)
    assert MARKER not in str(event)
    assert event["agent"][0]["role"] == [{"text": role}]
    assert event["outcomeDesc"].startswith(str(answer.status))
    (line,) = [record for record in caplog.records if record.name == "proxy.access"]
    assert (line.status, line.role) == (answer.status, role)  # type: ignore[attr-defined]


async def test_record_of_an_exchange(tmp_path: Path) -> None:
    """R-EL-4: who, role, policy version, interaction, type, parameter names, rules, outcome,
    entries, the patient as a pseudonym under the audit key; no id, no value."""
    async with stored(PATIENT), product(tmp_path) as running:
        await running.get(LDS, "/Patient?gender=female")
        await running.get(INV, f"/Patient/{REAL}")
        (search, read) = running.audit()
        policy = running.parts.gateway.views[LDS]
    user = search["agent"][0]
    assert user["who"]["identifier"]["value"] == f"{LDS}-client"
    assert user["policy"] == [f"urn:ecr-proxy:policy:{LDS}@{policy.digest}"]
    detail = [(d["type"], d["valueString"]) for d in search["entity"][1]["detail"]]
    assert ("interaction", "search-type") in detail
    assert ("type", "Patient") in detail
    assert ("parameter", "gender") in detail
    assert ("entries", "1") in detail
    assert any(kind == "rule" for kind, _ in detail)
    people = [event["entity"][2]["what"]["identifier"]["value"] for event in (search, read)]
    assert people[0] == people[1]  # one person, whoever asks
    assert REAL not in str(search) + str(read)
    assert "female" not in str(search)


async def refuse(running: Product, target: str, **options: Any) -> tuple[int, str]:
    method = options.pop("method", "GET")
    role = options.pop("role", LDS)
    answer = await running.ask(role, method, "/fhir" + target, **options)
    return answer.status, answer.code


async def test_every_status_is_an_outcome(tmp_path: Path) -> None:
    """R-EL-5: each error, from whichever layer, is an OperationOutcome with a fitting code."""
    async with stored(PATIENT), product(tmp_path) as running:
        assert await refuse(running, "/Patient", role=None) == (401, "login")
        assert await refuse(running, "/Patient?family=x") == (403, "forbidden")
        assert await refuse(running, "/nowhere") == (404, "not-found")
        assert await refuse(running, "/Patient", method="PUT") == (405, "not-supported")
        assert await refuse(running, "/Patient?_format=xml") == (406, "not-supported")
        long = {"method": "POST", "data": BytesIO(b"x" * 10_000_001), "headers": FHIR}
        assert await refuse(running, "", **long) == (413, "too-long")
        assert await refuse(running, "/Patient?gender=" + "x" * 9000) == (414, "too-long")
        odd = {"method": "POST", "data": b"x", "headers": {"Content-Type": "text/plain"}}
        assert await refuse(running, "", **odd) == (415, "not-supported")
        many = {f"X-{n}": "1" for n in range(200)}
        assert await refuse(running, "/Patient", headers=many) == (431, "too-long")
        running.settings.audit.file.unlink()
        running.settings.audit.file.mkdir()
        assert await refuse(running, "/Patient") == (503, "transient")
        running.settings.audit.file.rmdir()


@pytest.mark.parametrize("role", RESTRICTED)
async def test_faults_in_the_middle(
    role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """R-EL-7, R-CF-3, R-WR-5: a transformation that fails at entry 40 of 50 withholds the answer,
    or puts an outcome in that entry's place; nothing raw, nothing silent."""
    resources: list[JsonObject] = [
        {
            "resourceType": "Patient",
            "id": f"{REAL}-{n}",
            "gender": "female",
            "name": [{"text": MARKER}],
        }
        for n in range(50)
    ]
    whole = View.reveal
    calls = iter(range(1000))

    def fail(view: View, resource: JsonObject, scope: Any) -> Any:
        if next(calls) == 39:
            raise ValueError(MARKER)
        return whole(view, resource, scope)

    monkeypatch.setattr(View, "reveal", fail)
    async with stored(*resources), product(tmp_path) as running:
        answer = await running.get(role, "/Patient?gender=female&_count=50")
    assert not answer.says(MARKER)
    assert not answer.says(REAL)
    assert MARKER not in caplog.text
    if answer.status == 200:
        outcomes = [
            entry
            for entry in answer.json["entry"]
            if entry["resource"]["resourceType"] == "OperationOutcome"
        ]
        assert len(outcomes) == 1
        assert outcomes[0]["resource"]["issue"][0]["code"] == "incomplete"
    else:
        assert answer.status in (500, 502)
        assert answer.code in ("exception", "incomplete")


async def test_tokens_are_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """R-EL-3: no log and no record holds a token, whole or in part."""
    caplog.set_level(logging.DEBUG)
    async with stored(PATIENT) as log, product(tmp_path) as running:
        for role in ROLES:
            await running.get(role, "/Patient?gender=female")
            await running.get(role, "/Patient?access_token=" + token(role))
            assert token(role) not in str(running.audit())
        assert all("authorization" not in asked.headers for asked in log)
    assert token(LDS)[-16:] not in caplog.text


async def test_wire_errors_are_outcomes(tmp_path: Path) -> None:
    """R-EL-5, R-EL-6: what is no HTTP gets an OperationOutcome, too."""
    async with stored(PATIENT) as log, product(tmp_path) as running:
        said = await talk(running.port, b"GARBAGE " + M + b"\r\n\r\n")
        status, headers, body = parts(said)
        assert status == 400
        assert_outcome(status, headers, body, "invalid")
        assert M not in said
        assert log == []
