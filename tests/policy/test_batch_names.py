"""An entry that a batch stores is the thing that it becomes: one id, one stand-in, one offset."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policy.test_oracle import disagreements
from tests.views import STAGE1, UPSTREAM, Case

URN = "urn:uuid:0b0b0b0b-0000-4000-8000-00000000000"
SHIFTED = "researcher-shifted"
PATIENT: Any = {"resourceType": "Patient", "id": "p1", "name": [{"family": "Smith"}],
                "birthDate": "1974-11-24", "deceasedDateTime": "2020-05-05"}  # fmt: skip
FINDING: Any = {"resourceType": "Observation", "id": "o1", "status": "final",
                "code": {"text": "x"}, "effectiveDateTime": "2020-05-01"}  # fmt: skip
HELD: Any = {"resourceType": "Observation", "id": "o2", "status": "final", "code": {"text": "x"},
             "subject": {"reference": "#p"}, "effectiveDateTime": "2020-05-01",
             "contained": [{"resourceType": "Patient", "id": "p", "name": [{"family": "Smith"}]}],
             }  # fmt: skip


def stored(resource: Any, number: int, full_url: str | None) -> Any:
    path = f"{resource['resourceType']}/{resource['id']}"
    made: Any = {"resource": resource, "request": {"method": "PUT", "url": path}}
    return made if full_url is None else {"fullUrl": full_url.format(number), **made}


@pytest.mark.parametrize("kind", ["batch", "transaction", "collection", "document"])
@pytest.mark.parametrize(
    ("full_url", "reference"),
    [
        (URN + "{}", URN + "1"),
        (URN + "{}", "Patient/p1"),
        (URN + "{}", f"{UPSTREAM}/Patient/p1"),
        (None, "Patient/p1"),
        ("no URL {}", "Patient/p1"),
    ],
)
def test_what_a_batch_stores_is_named_as_where_it_is_stored(
    kind: str, full_url: str | None, reference: str
) -> None:
    """Under whatever fullUrl, what a PUT stores has the id, the stand-in name and the offset that
    it has alone, contained persons too; references by the fullUrl and by type and id lead to
    it."""
    entries = [{"reference": f"Observation/{o}"} for o in ("o1", "o2")]
    composition = {"resourceType": "Composition", "id": "c1", "status": "final",
                   "subject": {"reference": reference}, "author": [{"reference": reference}],
                   "section": [{"entry": entries}]}  # fmt: skip
    finding = {**FINDING, "subject": {"reference": reference}}
    listed = [composition, PATIENT, finding, HELD]
    bundle = {"resourceType": "Bundle", "id": "b", "type": kind,
              "entry": [stored(r, n, full_url) for n, r in enumerate(listed)]}  # fmt: skip
    for policy in (STAGE1, SHIFTED):
        shown: Any = Case(policy).reveal(bundle)
        apart = [composition, PATIENT, {**FINDING, "subject": {"reference": "Patient/p1"}}, HELD]
        alone: list[Any] = [Case(policy).reveal(r) for r in apart]
        for entry, one, member in zip(
            shown["entry"][1:], alone[1:], ("name", "effectiveDateTime", "contained"), strict=True
        ):
            assert entry["resource"]["id"] == one["id"]
            assert entry["resource"].get(member) == one.get(member)
        dates = {r.get("deceasedDateTime") for r in (shown["entry"][1]["resource"], alone[1])}
        assert policy != SHIFTED or (len(dates) == 1 and None not in dates)
        assert disagreements(policy, bundle) == []
    about = {e["resource"].get("subject", {}).get("reference") for e in shown["entry"][:3]}
    entry = shown["entry"][1]
    names = {entry.get("fullUrl"), f"Patient/{entry['resource']['id']}"}
    assert about - {None} <= names
