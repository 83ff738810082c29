"""Searches by code systems that only look like a listed one."""

from __future__ import annotations

import pytest

from tests.engine.playbook import DEID, LDS, body_of, converse, make_call


@pytest.mark.parametrize("role", [LDS, DEID])
@pytest.mark.parametrize("system", [
    "http://loinc.org.stmary.example/mrn", "http://snomed.info/sct-local",
    "urn:ietf:bcp:47x", "urn:oid:2.16.840.1.113883.6.42",
])  # fmt: skip
def test_a_system_that_looks_like_a_listed_one_is_not_asked(role: str, system: str) -> None:
    """No code of it shows, so nothing is found and the upstream is not asked."""
    reply = converse(make_call(role, f"/Observation?code={system}|MRN-5"))
    assert reply.status == 200
    assert "entry" not in body_of(reply)
