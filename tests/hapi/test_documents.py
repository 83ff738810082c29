"""Documents put together from what a real HAPI holds: valid, whole, and the same every time."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.generator import cases
from proxy.fhir.codec import decode, encode
from proxy.fhir.referring import reference_texts
from tests.conftest import free_port
from tests.gateway import ROLES, Gateway, running
from tests.loading import Resource, load, unload
from tests.validation import validate

pytestmark = pytest.mark.hapi

INV = "investigator"
MADE = tuple(cases(2, 31))


@dataclass(frozen=True, slots=True)
class Site:
    hapi: str
    proxy: Gateway

    def get(self, role: str, target: str) -> tuple[int, Any, bytes]:
        """Status, JSON and bytes of a GET below the proxy's base, or of a link."""
        url = target if target.startswith("http") else f"{self.proxy.base}/{target}"
        headers = {"Authorization": f"Bearer {self.proxy.tokens[role]}"}
        request = urllib.request.Request(url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                body = response.read()
                return response.status, json.loads(body), body
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), b""

    def direct(self, target: str) -> Any:
        """What HAPI itself answers."""
        url = target if target.startswith("http") else f"{self.hapi}/{target}"
        with urllib.request.urlopen(url, timeout=120) as response:
            return json.load(response)

    def shown(self, role: str, type_: str, id_: str) -> str:
        return id_ if role == INV else self.proxy.namer(role).show_id(type_, id_)


@pytest.fixture(scope="module")
def held() -> list[Resource]:
    made = [decode(encode(r)) for case in MADE for r in case.resources]
    return [resource for resource in made if isinstance(resource, dict)]


@pytest.fixture
async def site(hapi: str, held: list[Resource], tmp_path: Path) -> Any:
    await load(hapi, held)
    with running(hapi, tmp_path, free_port()) as proxy:
        yield Site(hapi, proxy)
    await unload(hapi, held)


def compositions() -> Iterator[str]:
    for case in MADE:
        yield from (str(r["id"]) for r in case.resources if r["resourceType"] == "Composition")


@pytest.mark.parametrize("role", ROLES)
async def test_documents_are_valid_and_whole(site: Site, role: str) -> None:
    """HAPI's $validate finds no error in a document; its first entry is the Composition as a read
    gives it; every reference inside, but to earlier documents, resolves inside; twice is the
    same."""
    for id_ in compositions():
        name = f"Composition/{site.shown(role, 'Composition', id_)}"
        status, document, body = site.get(role, f"{name}/$document")
        assert (status, document["type"]) == (200, "document")
        assert site.get(role, f"{name}/$document")[2] == body
        assert document["entry"][0]["resource"] == site.get(role, name)[1]
        assert validate(site.hapi, document) == []
        urls = [entry["fullUrl"] for entry in document["entry"]]
        assert len(urls) == len(set(urls)) > 20
        for entry in document["entry"]:
            resource = {k: v for k, v in entry["resource"].items() if k != "relatesTo"}
            for text in reference_texts(resource):
                inside = text.startswith(("#", "urn:", "http"))
                assert inside or f"{site.proxy.base}/{text}" in urls, text


@pytest.mark.parametrize("role", ROLES)
async def test_documents_hold_what_the_case_holds(site: Site, role: str) -> None:
    """A document has every resource of the case that its Composition reaches and the role may
    read: no fewer than HAPI's own $document has of it."""
    for id_ in compositions():
        direct = [e["resource"] for e in site.direct(f"Composition/{id_}/$document")["entry"]]
        _, document, _ = site.get(
            role, f"Composition/{site.shown(role, 'Composition', id_)}/$document"
        )
        here = {(e["resource"]["resourceType"], e["resource"]["id"]) for e in document["entry"]}
        there = {(r["resourceType"], site.shown(role, r["resourceType"], r["id"])) for r in direct}
        if role == INV:
            assert here >= there
        else:
            readable = {pair for pair in there if site.get(role, "/".join(pair))[0] == 200}
            assert here >= readable


async def test_everything_of_the_investigator(site: Site) -> None:
    """$everything through the proxy gives exactly what it gives directly, by pages of ours."""
    patients = [r["id"] for case in MADE for r in case.resources if r["resourceType"] == "Patient"]
    for id_ in patients:
        there: list[str] = []
        following = f"{site.hapi}/Patient/{id_}/$everything?_count=50"
        while following:
            page = site.direct(following)
            following = collect(page, there)
        here: list[str] = []
        following = f"Patient/{id_}/$everything?_count=10"
        while following:
            status, page, body = site.get(INV, following)
            assert status == 200
            assert b"_getpages" not in body
            following = collect(page, here)
        assert sorted(here) == sorted(there)
        assert len(here) > 30


def collect(page: Any, names: list[str]) -> str:
    """Add the entries of a page to ``names``; the next page, or empty."""
    names += [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in page["entry"]]
    return next((str(x["url"]) for x in page["link"] if x["relation"] == "next"), "")
