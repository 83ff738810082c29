"""A view as two servers: the proxy before the originals, and a second HAPI that holds what the
view shows of them."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import aiohttp

from proxy.fhir.codec import JsonObject, decode, encode
from proxy.fhir.reference import Bases
from proxy.fhir.structure import RESOURCES
from proxy.policy.compile import Scope, View, compile_view
from proxy.policy.load import load_directory
from proxy.policy.verdicts import VerdictTable, compute_verdicts
from tests.equivalence.asking import Server
from tests.gateway import Gateway
from tests.loading import load, rank, unload

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SHIPPED, OURS = REPOSITORY / "policies", Path(__file__).resolve().parent / "policies"
ROLES = (
    "investigator",
    "whole",
    "open",
    "epidemiologist",
    "researcher-limited",
    "researcher-deidentified",
    "researcher-shifted",
)
CLAIMS: Mapping[str, Mapping[str, object]] = {
    "epidemiologist": {
        "jurisdictions": ["MI", "NH"],
        "conditions": ["66071002", "3928002", "8310-5"],
    }
}
_REFERENCE = re.compile(rb'"reference":"([A-Za-z]+/[A-Za-z0-9.-]{1,64})"')
ASSIGNED = ("versionId", "lastUpdated", "source")


@dataclass(frozen=True, slots=True)
class Twins:
    """``shown``: by type, what the role is shown of what it may search. ``second``: the base of
    the HAPI that holds exactly what it is shown. ``ghosts``: names of what is referred to and not
    shown; of them it holds the ids."""

    role: str
    gateway: Gateway
    first: str
    second: str
    shown: Mapping[str, list[JsonObject]]
    ghosts: frozenset[str] = frozenset()

    @property
    def view(self) -> View:
        return view_of(self.role)

    @property
    def table(self) -> VerdictTable:
        return table_of(self.role)

    @property
    def types(self) -> list[str]:
        """The types that the role may search."""
        return searchable(self.view)

    def proxy(self, session: aiohttp.ClientSession) -> Server:
        return Server(self.gateway.base, session, self.gateway.tokens[self.role])

    def plain(self, session: aiohttp.ClientSession) -> Server:
        return Server(self.second, session, whole=True)


@cache
def view_of(role: str) -> View:
    """The view of a role, which is named as its policy."""
    return compile_view((load_directory(SHIPPED) | load_directory(OURS))[role])


@cache
def table_of(role: str) -> VerdictTable:
    return compute_verdicts(view_of(role))


def searchable(view: View) -> list[str]:
    """The types that a view lets be searched."""
    return [t for t, offered in view.policy.access.items() if "search" in offered]


def all_policies(folder: Path) -> Path:
    """The folder, with the policies of the product and those of these tests."""
    for file in (*SHIPPED.glob("*.toml"), *OURS.glob("*.toml")):
        shutil.copy(file, folder)
    return folder


async def stored(base: str, types: Iterable[str]) -> list[JsonObject]:
    """Everything of the types that a server holds, as it stores it."""
    found: list[JsonObject] = []
    async with aiohttp.ClientSession() as session:
        for type_name in types:
            url = f"{base}/{type_name}?_count=200"
            while url:
                async with session.get(url, headers={"Cache-Control": "no-cache"}) as response:
                    body = decode(await response.read())
                assert isinstance(body, dict), url
                entries, links = body.get("entry", []), body.get("link", [])
                assert isinstance(entries, list)
                assert isinstance(links, list)
                found += [e["resource"] for e in entries]  # type: ignore[index,misc,call-overload]
                url = next((k["url"] for k in links if k["relation"] == "next"), "")  # type: ignore[index,call-overload,assignment]
    return found


def shown_of(
    view: View, gateway: Gateway, first: str, resources: Iterable[JsonObject]
) -> Iterator[JsonObject]:
    """What a role is shown of resources, as the proxy's own parts show it."""
    for resource in resources:
        if view.identity:
            yield _unassigned(resource)
            continue
        scope = Scope(
            namer=gateway.namer(view.name),
            bases=Bases(first),
            public=gateway.base,
            today=datetime.now(UTC).date(),
            shows=view.shows,
            pseudonym=view.pseudonym,
            claims=gateway.claims.get(view.name, {}),
        )
        shown = view.reveal(resource, scope)
        if shown is not None:
            yield _unassigned(shown)


def _unassigned(resource: JsonObject) -> JsonObject:
    """Without what the server that stores it sets itself."""
    meta = resource.get("meta")
    if not isinstance(meta, dict):
        return resource
    return resource | {"meta": {k: v for k, v in meta.items() if k not in ASSIGNED}}


def referred(resource: JsonObject) -> list[str]:
    """``Type/id`` of everything that a resource refers to in the same server, Bundles aside."""
    if resource["resourceType"] == "Bundle":
        return []
    return [text.decode() for text in _REFERENCE.findall(encode(resource))]


def ghosts_of(resources: Iterable[JsonObject]) -> list[JsonObject]:
    """A resource without content for everything that is referred to and not there: HAPI finds no
    reference to what it never held, see the deviations."""
    held = list(resources)
    names = {f"{r['resourceType']}/{r['id']}" for r in held}
    return _bare({name for r in held for name in referred(r)} - names)


def _bare(names: Iterable[str]) -> list[JsonObject]:
    split = [name.split("/") for name in sorted(names)]
    return [{"resourceType": t, "id": i} for t, i in split if t in RESOURCES]


async def store(base: str, resources: Iterable[JsonObject]) -> None:
    """Store resources so that every reference between them is found: HAPI resolves references when
    they are written, so what is referred to before it comes is first stored without content."""
    ordered = sorted(resources, key=lambda r: rank(str(r["resourceType"])))
    names = {f"{r['resourceType']}/{r['id']}" for r in ordered}
    stored: set[str] = set()
    early: set[str] = set()
    for resource in ordered:
        stored.add(f"{resource['resourceType']}/{resource['id']}")
        early |= {name for name in referred(resource) if name in names and name not in stored}
    await load(base, _bare(early))
    await load(base, ordered)


def in_reference_order(resources: Iterable[JsonObject]) -> list[JsonObject]:
    """What is referenced first: HAPI resolves references when they are written."""
    waiting = {f"{r['resourceType']}/{r['id']}": r for r in resources}
    ordered: list[JsonObject] = []

    def put(name: str) -> None:
        resource = waiting.pop(name, None)
        if resource is not None:
            for text in referred(resource):
                put(text)
            ordered.append(resource)

    for name in list(waiting):
        put(name)
    return ordered


async def unlabel(base: str, resources: Iterable[JsonObject]) -> None:
    """Take labels away: HAPI keeps those of an id, and the next role's row may have the same."""
    async with aiohttp.ClientSession() as session:
        for resource in resources:
            meta = resource.get("meta")
            labels = meta.get("security") if isinstance(meta, dict) else None
            if labels:
                url = f"{base}/{resource['resourceType']}/{resource['id']}/$meta-delete"
                body = {
                    "resourceType": "Parameters",
                    "parameter": [{"name": "meta", "valueMeta": {"security": labels}}],
                }
                headers = {"Content-Type": "application/fhir+json"}
                async with session.post(url, data=encode(body), headers=headers) as response:
                    assert response.status == 200, await response.text()


@contextmanager
def materialized(role: str, gateway: Gateway, first: str, second: str) -> Iterator[Twins]:
    """The view of ``role`` over all that the first HAPI holds, in the second for the time of the
    block."""
    view = view_of(role)
    # In an identity view references to types that cannot be searched stay: they need targets.
    types = RESOURCES if view.identity else view.policy.access
    # In the order of their ids, whatever else was stored before: so the same searches are drawn.
    everything = sorted(asyncio.run(stored(first, types)), key=lambda r: str(r["id"]))
    shown = shown_of(view, gateway, first, everything)
    held = in_reference_order(shown)
    by_type: dict[str, list[JsonObject]] = {t: [] for t in searchable(view)}
    for resource in held:
        by_type.get(str(resource["resourceType"]), []).append(resource)
    ghosts = ghosts_of(held)
    names = frozenset(f"{g['resourceType']}/{g['id']}" for g in ghosts)
    try:
        asyncio.run(load(second, ghosts))
        asyncio.run(store(second, held))
        yield Twins(role, gateway, first, second, by_type, names)
    finally:
        asyncio.run(
            unlabel(second, [r for r in held if not view.pseudonym(str(r["resourceType"]))])
        )
        asyncio.run(unload(second, [*held, *ghosts]))
