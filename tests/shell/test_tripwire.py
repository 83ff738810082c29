"""The tripwire on the running product: an alarm is a number in the log."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from proxy.fhir.codec import JsonObject
from proxy.shell.log import JsonFormatter
from tests.rig import DEID, LDS, embedded, running

NAME = "Zqfamilyname"
REPORT: JsonObject = {
    "resourceType": "Bundle",
    "id": "report",
    "type": "collection",
    "entry": [
        {
            "fullUrl": "https://else.example/fhir/Patient/1",
            "resource": {"resourceType": "Patient", "id": "1", "name": [{"family": NAME}]},
        },
        {
            "fullUrl": "https://else.example/fhir/Observation/2",
            "resource": {
                "resourceType": "Observation",
                "id": "2",
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]},
                "valueQuantity": {"value": 1, "unit": f"per {NAME}"},
            },
        },
    ],
}


@pytest.mark.parametrize("role", [LDS, DEID])
async def test_r_tc_11_alarm(role: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """R-TC-11: a removed name that still stands in a unit is an alarm without the name, on every
    answer where the share is one; the answer is the one that the share of another gives."""
    answers = []
    for share in (1, 1_000_000):
        folder = tmp_path / str(share)
        folder.mkdir()
        extra = f"[audit]\ntripwire = {share}\n"
        async with running(embedded([REPORT]), folder, roles=(role,), extra=extra) as rig:
            caplog.clear()
            target = f"/Bundle/{rig.id(role, 'Bundle', 'report')}"
            answers.append([await rig.ask(role, target) for _ in range(3)])
            hits = [r for r in caplog.records if r.getMessage() == "tripwire"]
            lines = [orjson.loads(JsonFormatter().format(record)) for record in hits]
            assert [line["hits"] for line in lines] == ([1, 1, 1] if share == 1 else [])
            assert NAME not in str(lines) + rig.audit.read_text()
    watched, unwatched = ([(a.status, a.body, a.headers["etag"]) for a in row] for row in answers)
    assert watched[0][0] == 200
    assert watched == unwatched
