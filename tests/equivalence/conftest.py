"""Fixtures: the originals in the first HAPI, the proxy before it, and each role's twins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.conftest import free_port
from tests.equivalence.coverage import Coverage
from tests.equivalence.dataset import originals
from tests.equivalence.twins import CLAIMS, ROLES, Twins, all_policies, materialized, store
from tests.gateway import Gateway, running
from tests.loading import unload

SECONDS = 60  # for one answer


@pytest.fixture(scope="package")
def before_originals(hapi: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The proxy before a HAPI that holds the originals."""
    resources = originals(hapi)
    try:
        # What another test left under the same ids may refer to what was not there: HAPI does not
        # resolve that anew when the same is stored again.
        asyncio.run(unload(hapi, resources))
        asyncio.run(store(hapi, resources))
        policies = all_policies(tmp_path_factory.mktemp("policies"))
        with running(
            hapi,
            tmp_path_factory.mktemp("gateway"),
            free_port(),
            policies=policies,
            roles=ROLES,
            claims=CLAIMS,
        ) as gateway:
            yield gateway
    finally:
        asyncio.run(unload(hapi, resources))


@pytest.fixture(scope="package", params=ROLES)
def twins(
    request: pytest.FixtureRequest, before_originals: Gateway, hapi: str, hapi_view: str
) -> Iterator[Twins]:
    """Each role's view, behind the proxy and stored as it is shown."""
    with materialized(request.param, before_originals, hapi, hapi_view) as found:
        yield found


@pytest.fixture(scope="package")
def coverage() -> Coverage:
    """What all roles together asked."""
    return Coverage()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(SECONDS)) as found:
        yield found
