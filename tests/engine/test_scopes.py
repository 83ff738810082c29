"""SMART v2 scopes narrow what a role allows; they never widen it."""

from __future__ import annotations

import pytest

from proxy.engine.access import scopes_grant

ROWS = [
    # scopes, type, letter, granted
    (None, "Patient", "r", True),
    ((), "Patient", "r", True),
    (("openid", "profile"), "Patient", "r", True),
    (("user/Patient.rs",), "Patient", "r", True),
    (("user/Patient.rs",), "Patient", "s", True),
    (("user/Patient.rs",), "Observation", "r", False),
    (("user/Patient.r",), "Patient", "s", False),
    (("user/Patient.s",), "Patient", "r", False),
    (("user/Patient.cud",), "Patient", "r", False),
    (("user/*.rs",), "Observation", "s", True),
    (("system/*.cruds",), "Observation", "s", True),
    (("openid", "user/Patient.r", "user/Observation.s"), "Observation", "s", True),
    (("user/Patient.read",), "Patient", "s", True),
    (("user/Patient.write",), "Patient", "r", False),
    (("user/*.*",), "Patient", "r", True),
    # What cannot be enforced here grants nothing.
    (("patient/*.rs",), "Patient", "r", False),
    (("user/Observation.rs?category=laboratory",), "Observation", "s", False),
    # Malformed ones grant nothing, and still narrow.
    (("user/Patient.",), "Patient", "r", False),
    (("user/Patient.sr",), "Patient", "r", False),
    (("user/patient.rs",), "Patient", "r", False),
    (("user/Patient.rsx",), "Patient", "r", False),
    (("user/",), "Patient", "r", False),
]


@pytest.mark.parametrize(
    ("scopes", "type_", "letter", "granted"), ROWS, ids=[f"{r[0]}-{r[1]}.{r[2]}" for r in ROWS]
)
def test_scopes(
    scopes: tuple[str, ...] | None, type_: str, letter: str, granted: bool
) -> None:
    """A clinical scope grants its type and letters; a token with none is not narrowed."""
    held = None if scopes is None else frozenset(scopes)
    assert scopes_grant(held, type_, letter) is granted
