"""Put resources into a FHIR server, what is referenced first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import groupby

import aiohttp

from proxy.demo.generator import in_load_order, load_rank
from proxy.fhir.codec import JsonObject, encode

SECONDS = 120  # for one resource
_HEADERS = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}


class LoadError(Exception):
    """The server did not take a resource. The text is one line for the user."""


async def load(base: str, resources: Iterable[JsonObject], *, parallel: int = 4) -> int:
    """PUT each resource under its own id; the number stored.

    Types follow each other in load order, ``parallel`` resources of one rank go at a time: a
    server that resolves references on arrival then finds the target of each. Raises LoadError.
    """
    gate = asyncio.Semaphore(parallel)
    stored = 0
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, headers=_HEADERS) as session:

        async def put(resource: JsonObject) -> None:
            name = f"{resource['resourceType']}/{resource['id']}"
            try:
                async with (
                    gate,
                    session.put(f"{base}/{name}", data=encode(resource)) as response,
                ):
                    await response.read()
                    status = response.status
            except (aiohttp.ClientError, TimeoutError):
                raise LoadError(f"{base} does not answer; is a FHIR server there?") from None
            if status not in (200, 201):
                raise LoadError(f"{base} refused {name} with status {status}.")

        for _, batch in groupby(
            in_load_order(resources), key=lambda r: (r["resourceType"], load_rank(r))
        ):
            for done in await asyncio.gather(
                *(put(resource) for resource in batch), return_exceptions=True
            ):
                if isinstance(done, BaseException):
                    raise done
                stored += 1
    return stored
