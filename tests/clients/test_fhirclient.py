"""fhirclient, whose models are strict, takes every resource that the proxy shows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.conftest import Trial, needed

pytestmark = pytest.mark.hapi


@pytest.fixture
def server(trial: Trial) -> Any:
    """A fhirclient server whose session carries the role's token."""
    smart = needed("fhirclient.client")
    found = smart.FHIRClient(settings={"app_id": "trial", "api_base": trial.base}).server
    found.session.headers["Authorization"] = f"Bearer {trial.token}"
    return found


def model(name: str) -> Any:
    """The strict model of a resource type."""
    return getattr(needed(f"fhirclient.models.{name.lower()}"), name)


@pytest.mark.parametrize("kind", ["Patient", "Observation", "Condition", "Encounter"])
def test_pages_are_walked_and_every_resource_is_valid(server: Any, trial: Trial, kind: str) -> None:
    """A walk in small pages gives every resource once; the strict model accepts each one."""
    search = model(kind).where({"_count": "4"})
    found = [resource.id for resource in search.perform_resources_iter(server)]
    assert len(found) == len(set(found))
    assert trial.ids[kind] <= set(found)


def test_a_resource_is_read_by_its_shown_id(server: Any, trial: Trial) -> None:
    """The shown id reads the resource, which says the same id."""
    chosen = sorted(trial.ids["Patient"])[0]
    assert model("Patient").read(chosen, server).id == chosen


def test_documents_satisfy_the_strict_models(server: Any, trial: Trial) -> None:
    """A document Bundle and all its entries are accepted by the strict models."""
    error = needed("fhirclient.models.fhirabstractbase").FHIRValidationError
    for chosen in sorted(trial.ids["Bundle"])[:4]:
        try:
            found = model("Bundle").read(chosen, server)
        except error as invalid:
            pytest.fail(f"{trial.role} is shown an invalid Bundle: {invalid}")
        assert found.entry
