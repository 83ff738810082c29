"""fhirpy reads, searches and walks pages through the proxy as it would on the server itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.conftest import Trial, needed

pytestmark = pytest.mark.hapi


@pytest.fixture
def client(trial: Trial) -> Any:
    return needed("fhirpy").SyncFHIRClient(trial.base, authorization=f"Bearer {trial.token}")


def test_pages_are_walked_to_the_end(client: Any, trial: Trial) -> None:
    """A walk in pages of two gives every Patient once, under the id that the role is shown."""
    found = [patient.id for patient in client.resources("Patient").limit(2)]
    assert len(found) == len(set(found))
    assert trial.ids["Patient"] <= set(found)


def test_what_a_search_gives_can_be_read_and_searched_for(client: Any, trial: Trial) -> None:
    """An id from a search reads the same resource and works as a reference value."""
    chosen = sorted(trial.ids["Patient"])[0]
    listed = client.resources("Patient").search(_id=chosen).first()
    read = client.reference("Patient", chosen).to_resource()
    assert read.serialize() == listed.serialize()
    observations = client.resources("Observation").search(subject=f"Patient/{chosen}").fetch_all()
    assert observations
    assert {o["subject"]["reference"] for o in observations} == {f"Patient/{chosen}"}


def test_dates_are_as_the_role_sees_them(client: Any, trial: Trial) -> None:
    """Only the de-identified view cuts birth dates to their year."""
    lengths = {
        len(patient["birthDate"])
        for patient in client.resources("Patient").fetch_all()
        if patient.id in trial.ids["Patient"] and "birthDate" in patient
    }
    assert lengths == ({4} if trial.role == "researcher-deidentified" else {10})


def test_documents_are_read_whole(client: Any, trial: Trial) -> None:
    """Every stored document is found by type, begins with its Composition and reads the same."""
    found = client.resources("Bundle").search(type="document").limit(3).fetch_all()
    ours = [bundle for bundle in found if bundle.id in trial.ids["Bundle"]]
    assert len(ours) >= 10
    for bundle in ours[:3]:
        assert bundle["entry"][0]["resource"]["resourceType"] == "Composition"
        again = client.reference("Bundle", bundle.id).to_resource()
        assert again.serialize() == bundle.serialize()


def test_a_refusal_is_an_operation_outcome(client: Any, trial: Trial) -> None:
    """A search that could probe hidden names is refused in a way that the client understands."""
    search = client.resources("Patient").search(family="Okonkwo")
    if trial.restricted:
        with pytest.raises(needed("fhirpy.base.exceptions").ForbiddenError) as refused:
            search.fetch()
        assert json.loads(str(refused.value))["resourceType"] == "OperationOutcome"
    else:
        assert isinstance(search.fetch(), list)
