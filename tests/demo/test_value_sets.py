"""Searches by value set on the embedded server."""

from __future__ import annotations

import pytest

from proxy.demo.generator import cases, data_set
from proxy.demo.query import Refused, run
from proxy.demo.store import Store

BASE = "http://127.0.0.1/fhir"
TRIGGERS = "http://hl7.org/fhir/us/ecr/ValueSet/dxtc"
ONE = "http://cts.nlm.nih.gov/fhir/ValueSet/2.999.1146.1.1"  # Zika's


def codes(store: Store, name: str, value: str) -> set[str]:
    found = run(store, "Condition", [(name, value)], BASE)
    coded = [v.resource["code"] for v in found if v.resource is not None]
    return {str(c["coding"][0].get("code", "")) for c in coded}  # type: ignore[index,call-overload,union-attr]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("code:in", ONE, {"3928002"}),
        ("code:in", TRIGGERS, {"3928002", "27836007", "840539006"}),  # by the sets that it includes
        ("code:in", f"{ONE},{ONE}", {"3928002"}),
        ("code:not-in", TRIGGERS, {"38341003", ""}),
    ],
)
def test_membership(name: str, value: str, wanted: set[str]) -> None:
    """``:in`` finds what has a code of the set or of one that it includes, ``:not-in`` the rest."""
    assert codes(Store(data_set(cases(3, 7, base=BASE))), name, value) == wanted


def test_an_unknown_value_set() -> None:
    """A value set that is not stored is an error, not an empty answer."""
    with pytest.raises(Refused, match="none was found"):
        codes(Store(data_set(cases(1, 7, base=BASE))), "code:in", "http://example.org/none")
