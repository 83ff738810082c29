"""FHIR-PYrate turns searches into data frames: through the proxy as on the server itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.conftest import Trial, needed

pytestmark = [
    pytest.mark.hapi,
    # of the packages below it, about versions to come
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

BY_ID = {"_sort": "_id"}  # left to itself, the package warns and sorts pages so, too
# type -> (search, column -> FHIRPath)
FRAMES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "Patient": (
        {"_count": "3"},
        {"id": "id", "gender": "gender", "born": "birthDate", "state": "address.state"},
    ),
    "Observation": (
        {"_count": "20", "status": "final"},
        {"id": "id", "subject": "subject.reference", "code": "code.coding.code",
         "value": "valueQuantity.value", "day": "effectiveDateTime"},
    ),
    "Condition": (
        {"_count": "5"},
        {"id": "id", "subject": "subject.reference", "code": "code.coding.code"},
    ),
}  # fmt: skip


def frame(base: str, token: str, kind: str) -> Any:
    """Rows of a search, in the order of their ids."""
    pyrate = needed("fhir_pyrate")
    search, columns = FRAMES[kind]
    auth = pyrate.Ahoy(auth_url="", token=token) if token else None
    with pyrate.Pirate(
        auth=auth,
        base_url=base,
        num_processes=1,
        print_request_url=False,
        disable_multiprocessing_requests=True,
    ) as pirate:
        found = pirate.steal_bundles_to_dataframe(
            resource_type=kind,
            request_params=search | BY_ID,
            fhir_paths=[(name, path) for name, path in columns.items()],
        )
    return found.sort_values("id").reset_index(drop=True) if len(found) else found


@pytest.mark.parametrize("kind", sorted(FRAMES))
def test_frames_are_those_of_the_server(hapi: str, trial: Trial, kind: str) -> None:
    """The investigator's frame is the server's own; the others' have the same rows under the ids
    that they are shown."""
    found = frame(trial.base, trial.token, kind)
    direct = frame(hapi, "", kind)
    if not trial.restricted:
        assert found.to_dict("list") == direct.to_dict("list")
    assert len(found) == len(direct)
    assert trial.ids[kind] <= set(found["id"]) or kind == "Observation"
    assert set(found["id"]).isdisjoint(direct["id"]) is trial.restricted


def test_rows_of_one_frame_are_found_from_another(trial: Trial) -> None:
    """Ids and references of frames fit together: for each patient, the conditions."""
    pyrate = needed("fhir_pyrate")
    patients = frame(trial.base, trial.token, "Patient").head(3)
    auth = pyrate.Ahoy(auth_url="", token=trial.token)
    with pyrate.Pirate(
        auth=auth, base_url=trial.base, num_processes=1, print_request_url=False
    ) as pirate:
        found = pirate.trade_rows_for_dataframe(
            df=patients,
            resource_type="Condition",
            df_constraints={"subject": "id"},
            request_params=BY_ID,
            fhir_paths=[("condition", "id"), ("subject", "subject.reference")],
        )
    assert len(found)
    assert {s.removeprefix("Patient/") for s in found["subject"]} <= set(patients["id"])
