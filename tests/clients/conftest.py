"""HAPI with some cases, and the proxy in front of it as a process of its own."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from proxy.demo.generator import cases, data_set
from proxy.fhir.codec import JsonObject
from tests.conftest import absent, free_port
from tests.gateway import ROLES, Gateway, running
from tests.loading import load, unload

CASES = 5
SEED = 23


@dataclass(frozen=True, slots=True)
class Trial:
    """A role at the gateway. ``ids``: type to the ids that this role must be shown for the loaded
    cases, pseudonyms among them."""

    role: str
    base: str
    token: str
    ids: Mapping[str, frozenset[str]]

    @property
    def restricted(self) -> bool:
        return self.role != "investigator"


@pytest.fixture(scope="package")
def loaded(hapi: str) -> Iterator[list[JsonObject]]:
    """Resources of some generated cases, which HAPI holds meanwhile."""
    resources = data_set(cases(CASES, SEED, base=hapi))
    try:
        asyncio.run(load(hapi, resources))
        yield resources
    finally:
        asyncio.run(unload(hapi, resources))


@pytest.fixture(scope="package")
def gateway(
    hapi: str, loaded: list[JsonObject], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    with running(hapi, tmp_path_factory.mktemp("gateway"), free_port()) as found:
        yield found


@pytest.fixture(params=ROLES)
def trial(request: pytest.FixtureRequest, gateway: Gateway, loaded: list[JsonObject]) -> Trial:
    """Each shipped role in turn."""
    role: str = request.param
    namer = gateway.namer(role)
    ids: dict[str, set[str]] = {}
    for resource in loaded:
        kind, real = str(resource["resourceType"]), str(resource["id"])
        shown = real if role == "investigator" else namer.show_id(kind, real)
        ids.setdefault(kind, set()).add(shown)
    return Trial(
        role, gateway.base, gateway.tokens[role], {k: frozenset(v) for k, v in ids.items()}
    )


def needed(module: str) -> Any:
    """A module of a foreign client, which only `make test-hapi` installs."""
    try:
        return importlib.import_module(module)
    except ImportError:
        absent(f"{module} is not installed; run `make clients`")
