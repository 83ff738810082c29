"""Orders, includes, chains and pages over a socket: by GET, POST, HEAD and in a batch the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from proxy.fhir.codec import JsonObject, encode
from tests.engine.test_includes import STORED, finding
from tests.rig import DEID, INV, LDS, PUBLIC, Response, Rig, embedded, running

HELD: list[JsonObject] = [*STORED, *(
    finding(f"x{n}", "Patient/a", effectiveDateTime=f"2020-01-{n % 28 + 1:02}") for n in range(60))]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running(embedded(HELD), tmp_path) as made:
        yield made


def searches(rig: Rig, role: str) -> list[str]:
    """Searches with what this file is about; ``Type?query``."""
    a, one = rig.id(role, "Patient", "a"), rig.id(role, "Observation", "1")
    found = [
        "Patient?_sort=gender&_count=2", "Observation?_sort=code,-status&_count=3",
        f"Observation?_id={one}&_include=Observation:subject",
        f"Observation?patient={a}&_include=Observation:encounter&_count=5",
        f"Patient?_id={a}&_revinclude=Observation:patient",
        f"Patient?_id={a}&_revinclude=Encounter:patient&_revinclude:iterate=Observation:encounter",
        "Patient?_sort=family", "Observation?_include=*", "Patient?_sort=nonsense",
        "Patient?_has:Observation:patient:status=final", "Observation?patient.family=x",
    ]
    if role != DEID:
        found += [
            "Observation?patient.gender=female&_sort=-date&_count=7", "Patient?_sort=-birthdate",
            f"Observation?subject:Patient._id={a}&_count=3",
            "Observation?encounter:Encounter.class=EMER&_include=Observation:subject:Patient",
        ]
    return found


async def batched(rig: Rig, role: str, search: str) -> tuple[str, Any]:
    """Status and resource of a search as an entry of a batch."""
    entry: JsonObject = {"request": {"method": "GET", "url": search}}
    body = encode({"resourceType": "Bundle", "type": "batch", "entry": [entry]})
    headers = {"Content-Type": "application/fhir+json"}
    answer = await rig.ask(role, "", method="POST", headers=headers, body=body)
    assert answer.status == 200
    answered: Any = answer.entries[0]
    response = answered["response"]
    return response["status"][:3], answered.get("resource", response.get("outcome"))


def without_links(bundle: JsonObject) -> JsonObject:
    """Page tokens hold what the upstream names its searches by."""
    return {name: value for name, value in bundle.items() if name != "link"}


@pytest.mark.parametrize("role", [INV, LDS, DEID])
async def test_every_way_of_asking_gives_the_same(rig: Rig, role: str) -> None:
    """POST, HEAD and an entry of a batch answer a search as GET does: status, rows, what comes
    along, links and lengths; refusals, too."""
    for search in searches(rig, role):
        type_, _, query = search.partition("?")
        target = "/" + type_ + "?" + "&".join(
            "=".join(quote(part, safe=":.") for part in pair.split("=", 1))
            for pair in query.split("&"))
        get = await rig.ask(role, target)
        post = await rig.search(role, type_, query)
        head = await rig.ask(role, target, method="HEAD")
        status, resource = await batched(rig, role, target[1:])
        assert {get.status, post.status, head.status, int(status)} == {get.status}, search
        assert get.status in (200, 400, 403), search
        assert head.body == b""
        assert head.headers["content-length"] == str(len(get.body))
        assert without_links(get.json) == without_links(post.json) == without_links(resource)
        for relation in ("self", "next"):
            links = [answer.link(relation) for answer in (get, post)]
            assert len({link and len(link) for link in links}) == 1, search


async def walk(rig: Rig, role: str, target: str) -> list[Response]:
    pages = []
    while target:
        page = await rig.ask(role, target)
        assert page.status == 200
        pages.append(page)
        link = page.link("next")
        target = link[len(PUBLIC):] if link else ""
    return pages


async def test_pages_in_order(rig: Rig) -> None:
    """A sorted walk over the wire: full pages, every visible row once, in order, each with what
    it refers to."""
    pages = await walk(
        rig, LDS, "/Observation?patient.gender=female&_sort=-date&_include=Observation:patient"
        "&_count=7")
    rows = [[r for r in page.resources if r["resourceType"] == "Observation"] for page in pages]
    assert {len(page) for page in rows[:-1]} == {7}
    dates = [str(r.get("effectiveDateTime", "")) for page in rows for r in page]
    assert dates == sorted(dates, reverse=True)
    assert len({str(r["id"]) for page in rows for r in page}) == len(dates) == 60 + 4
    assert {r["id"] for page in pages for r in page.resources if r["resourceType"] == "Patient"} \
        == {rig.id(LDS, "Patient", "a"), rig.id(LDS, "Patient", "b")}


async def test_refusals_ask_nothing(rig: Rig) -> None:
    """R-SI-10: what is refused is refused before the upstream is asked."""
    for role in (LDS, DEID):
        for search in searches(rig, role):
            rig.diary.clear()
            answer = await rig.ask(role, "/" + search)
            assert bool(rig.diary) is (answer.status == 200), search
