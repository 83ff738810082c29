"""Foreign clients walk sorted searches with what comes along: through the proxy as on the server
itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest

from tests.clients.conftest import Trial, needed, run_node

pytestmark = pytest.mark.hapi

Found = list[tuple[str, str]]  # mode and name of each entry, page after page
Walk = Callable[[str, str, str, dict[str, str]], Found]


def by_fhirpy(base: str, token: str, kind: str, asked: dict[str, str]) -> Found:
    """fhirpy follows links itself; page by page, its bundles hold what comes along."""
    client = needed("fhirpy").SyncFHIRClient(base, authorization=f"Bearer {token}")
    bundle, found = client.resources(kind).search(**asked).fetch_raw(), []
    while True:
        found += [_entry(entry) for entry in bundle.get("entry", [])]
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        if "next" not in links:
            return found
        path, _, query = links["next"].removeprefix(base).partition("?")
        bundle = client.execute(path.strip("/"), method="get", params=dict(parse_qsl(query)))


def by_fhirclient(base: str, token: str, kind: str, asked: dict[str, str]) -> Found:
    """fhirclient's models are strict: every resource on every page must be valid."""
    smart = needed("fhirclient.client")
    server = smart.FHIRClient(settings={"app_id": "walk", "api_base": base}).server
    if token:
        server.session.headers["Authorization"] = f"Bearer {token}"
    model = getattr(needed(f"fhirclient.models.{kind.lower()}"), kind)
    return [
        _entry(entry.as_json())
        for bundle in model.where(dict(asked)).perform_iter(server)
        for entry in bundle.entry or ()
    ]


def by_fhir_kit(base: str, token: str, kind: str, asked: dict[str, str]) -> Found:
    """fhir-kit-client asks for the next page of a bundle."""
    seen = run_node("search.mjs", kind, json.dumps(asked), base=base, token=token)
    return [(mode, name) for mode, name in seen]


def _entry(entry: Any) -> tuple[str, str]:
    resource = entry["resource"]
    return entry["search"]["mode"], f"{resource['resourceType']}/{resource['id']}"


CLIENTS: dict[str, Walk] = {
    "fhirpy": by_fhirpy,
    "fhirclient": by_fhirclient,
    "fhir-kit-client": by_fhir_kit,
}
# (type, search): sorted by what every view shows exactly, in pages of a few.
SEARCHES: tuple[tuple[str, dict[str, str]], ...] = (
    ("Patient", {"_sort": "gender,_id", "_count": "3"}),
    ("Observation", {"_sort": "status,_id", "_count": "25", "_include": "Observation:subject"}),
    ("Condition", {"_sort": "-_id", "_count": "4", "_include": "Condition:subject"}),
)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("kind", "asked"), SEARCHES, ids=[kind for kind, _ in SEARCHES])
def test_walks_are_those_of_the_server(
    client: str, kind: str, asked: dict[str, str], hapi: str, trial: Trial
) -> None:
    """The investigator's walk is the server's, entry by entry; of the others it has as many rows,
    under the ids that they are shown, each once."""
    walk = CLIENTS[client]
    found = walk(trial.base, trial.token, kind, asked)
    rows = [name for mode, name in found if mode == "match"]
    assert len(set(rows)) == len(rows)
    assert {f"{kind}/{shown}" for shown in trial.ids[kind]} <= set(rows)
    if not trial.restricted:
        assert found == walk(hapi, "", kind, asked)
    elif "_include" in asked:
        assert any(mode == "include" for mode, _ in found)
