"""What the audit writes is valid FHIR R4, as a real server judges it."""

from __future__ import annotations

import pytest

from proxy.shell.audit import event
from tests.shell.support import PUBLIC
from tests.shell.test_audit import EXCHANGES
from tests.validation import validate


@pytest.mark.hapi
@pytest.mark.parametrize("name", EXCHANGES)
def test_events_are_valid(name: str, hapi: str) -> None:
    """R-EL-4: every kind of AuditEvent passes the validator without an error."""
    assert validate(hapi, event(EXCHANGES[name], PUBLIC)) == []
