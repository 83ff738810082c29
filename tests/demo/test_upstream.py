"""The embedded server: it answers as HAPI does. Tests with ``upstream`` run against both."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.demo.generator import Case, cases, data_set
from proxy.demo.upstream import REQUEST_LOG, create_upstream
from proxy.fhir.codec import JsonObject, decode

Upstream = Callable[[list[JsonObject]], Awaitable[str]]
Serve = Callable[[web.Application], Awaitable[TestServer]]

FHIR = {"Content-Type": "application/fhir+json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
# Of this module alone: HAPI keeps what other suites loaded, so searches name one of these.
TAG = "urn:example:embedded-server"


def people() -> list[JsonObject]:
    """Twenty-five patients, their mother's name as family name, and an Observation for each."""
    found: list[JsonObject] = []
    for number in range(25):
        tag: JsonObject = {"tag": [{"system": TAG, "code": "es"}]}
        found.append(
            {
                "resourceType": "Patient",
                "id": f"es-p{number}",
                "meta": dict(tag),
                "gender": "female" if number % 2 else "male",
                "birthDate": f"19{50 + number}-03-04",
                "name": [{"family": f"Family{number:02}"}],
            }
        )
    for number in range(25):
        found.append(
            {
                "resourceType": "Observation",
                "id": f"es-o{number}",
                "meta": {"tag": [{"system": TAG, "code": "es"}]},
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
                "subject": {"reference": f"Patient/es-p{number}"},
                "valueQuantity": {
                    "value": 60 + number, "system": "http://unitsofmeasure.org", "code": "/min"
                },
            }
        )
    return found


async def get(url: str, **options: Any) -> tuple[int, Any, Any]:
    """Status, JSON and headers of a GET, or of ``method=…``."""
    method = options.pop("method", "GET")
    # HAPI else answers from a search that it ran up to a minute ago.
    options["headers"] = {"Cache-Control": "no-cache"} | options.get("headers", {})
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, **options) as response,
    ):
        text = await response.text()
        return response.status, json.loads(text) if text else None, response.headers


def ids(bundle: Any) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", ())]


async def test_read_version_and_history(upstream: Upstream) -> None:
    """Read and vread carry version headers; history has every version, the newest first, and
    deletions without resource; a deleted resource is gone."""
    base = await upstream(people()[:2])
    url = f"{base}/Patient/es-p0"
    _, first, _ = await get(url)
    changed = {**first, "gender": "other"}
    status, _, _ = await get(url, method="PUT", json=changed, headers=FHIR)
    assert status == 200
    status, found, headers = await get(url)
    now, before = found["meta"]["versionId"], first["meta"]["versionId"]
    assert status == 200
    assert found["gender"] == "other"
    assert int(now) == int(before) + 1
    assert headers["ETag"] == f'W/"{now}"'
    assert headers["Content-Location"] == f"{url}/_history/{now}"
    assert headers["Last-Modified"].endswith("GMT")
    status, old, _ = await get(f"{url}/_history/{before}")
    assert (status, old["gender"]) == (200, "male")
    status, _, _ = await get(url, headers={"If-None-Match": f'W/"{now}"'})
    assert status == 304
    status, _, _ = await get(url, method="DELETE")
    assert status == 200
    status, gone, _ = await get(url)
    assert (status, gone["resourceType"]) == (410, "OperationOutcome")
    status, past, _ = await get(f"{url}/_history")
    methods = [entry["request"]["method"] for entry in past["entry"]]
    assert (status, past["type"]) == (200, "history")
    assert past["total"] >= len(methods) >= 3
    assert methods[:2] == ["DELETE", "PUT"]
    assert "resource" not in past["entry"][0]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("Patient/es-nobody", 404, id="unknown id"),
        pytest.param("Patient/es-p0/_history/99999", 404, id="unknown version"),
        pytest.param("Foo/1", 404, id="unknown type"),
        pytest.param("Patient?marker44=1", 400, id="unknown parameter"),
        pytest.param("Patient?birthdate=2020-marker44", 400, id="malformed date"),
        pytest.param("Patient?_count=marker44", 400, id="malformed count"),
        pytest.param("Patient?_sort=marker44", 400, id="unknown order"),
        pytest.param("Patient/es-p0/$marker44", 400, id="unknown operation"),
        pytest.param("?_getpages=marker44&_getpagesoffset=2&_count=2&_bundletype=searchset", 410,
                     id="unknown page"),
    ],
)
async def test_errors_are_outcomes_that_echo(
    upstream: Upstream, path: str, status: int
) -> None:
    """What cannot be answered gets an OperationOutcome whose text repeats what was asked."""
    base = await upstream(people()[:1])
    found, body, _ = await get(f"{base}{'' if path[0] == '?' else '/'}{path}")
    assert (found, body["resourceType"]) == (status, "OperationOutcome")
    if "marker44" in path and "$" not in path:
        assert "marker44" in body["issue"][0]["diagnostics"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("birthdate=1957-03-04,1958-03-04", 400),
        ("birthdate=ge1957-03-04,lt1951-01-01", 400),
        ("birthdate=ge1957-03-04&birthdate=ge1958-03-04", 400),
        ("birthdate=lt1957-03-04&birthdate=le1958-03-04", 400),
        ("birthdate=1957-03-04&birthdate=ge1950-03-04", 400),
        ("birthdate=ne1957-03-04&birthdate=ne1958-03-04", 400),
        ("birthdate=ge1957-03-04&birthdate=lt1958-03-04", 200),
        ("birthdate=sa1957-03-04&birthdate=eb1958-03-04", 200),
        ("birthdate=ne1957-03-04", 200),
    ],
)
async def test_dates_are_one_range(upstream: Upstream, query: str, status: int) -> None:
    """A date takes no list, and at most one lower and one upper bound."""
    base = await upstream(people()[:1])
    found, _, _ = await get(f"{base}/Patient?{query}")
    assert found == status


@pytest.mark.parametrize(
    ("search", "wanted"),
    [
        pytest.param("Patient?gender=male&birthdate=lt1955-01-01", ["0", "2", "4"], id="and"),
        pytest.param("Patient?_id=es-p3,es-p5", ["3", "5"], id="or"),
        pytest.param("Patient?_id=es-p3&gender=", ["3"], id="without value: dropped"),
        pytest.param("Patient?_id=es-p3&_nonsense=1", ["3"], id="unknown with _: ignored"),
        pytest.param("Patient?family=Family07", ["7"], id="string"),
        pytest.param("Patient?family:exact=family07", [], id="exact"),
        pytest.param("Patient?family:nonsense=Family07", ["7"], id="unknown modifier: ignored"),
        pytest.param("Patient?birthdate=1957-03-04", ["7"], id="date"),
        pytest.param("Observation?subject=Patient/es-p8", ["8"], id="reference"),
        pytest.param("Observation?patient=es-p8", ["8"], id="reference by id"),
        pytest.param("Observation?code=http://loinc.org|8867-4&value-quantity=gt82",
                     ["23", "24"], id="token and quantity"),
        pytest.param("Observation?subject:Patient.family=Family09", ["9"], id="chain"),
        pytest.param("Patient?_has:Observation:patient:value-quantity=gt82", ["23", "24"],
                     id="reverse chain"),
        pytest.param("Patient?_sort=-birthdate&_id=es-p1,es-p2,es-p3", ["3", "2", "1"],
                     id="sorted"),
    ],
)
async def test_searches(upstream: Upstream, search: str, wanted: list[str]) -> None:
    """GET and POST find the same, as HAPI finds it."""
    base = await upstream(people())
    type, _, query = search.partition("?")
    tagged = f"{query}&_tag={TAG}|es"
    status, found, _ = await get(f"{base}/{type}?{tagged}")
    assert status == 200, found
    numbers = [id.lstrip("es-po") for id in ids(found)]
    assert numbers == wanted if "_sort" in query else sorted(numbers) == sorted(wanted)
    status, posted, _ = await get(
        f"{base}/{type}/_search", method="POST", data=tagged, headers=FORM
    )
    assert (status, sorted(ids(posted))) == (200, sorted(ids(found)))
    assert all(entry["search"]["mode"] == "match" for entry in found.get("entry", ()))


async def test_pages_are_links_at_the_base_url(upstream: Upstream) -> None:
    """A walk along `next` meets every match once, in a fixed order; the links carry no filter."""
    base = await upstream(people())
    _, page, _ = await get(f"{base}/Patient?_tag={TAG}|es&_count=10")
    assert "total" not in page
    seen, sizes = ids(page), [len(ids(page))]
    while following := [x["url"] for x in page["link"] if x["relation"] == "next"]:
        assert following[0].startswith(f"{base}?_getpages=")
        assert "_tag" not in following[0]
        _, page, _ = await get(following[0])
        sizes.append(len(ids(page)))
        seen += ids(page)
    assert sizes == [10, 10, 5]
    assert sorted(seen) == sorted(f"es-p{n}" for n in range(25))


@pytest.mark.parametrize(
    ("query", "total", "entries"),
    [
        pytest.param("_count=10", None, 10, id="not known yet"),
        pytest.param("_count=30", 25, 25, id="fits in the page"),
        pytest.param("_count=10&_total=accurate", 25, 10, id="asked for"),
        pytest.param("_summary=count", 25, 0, id="count only"),
        pytest.param("_count=0", 25, 0, id="no entries"),
    ],
)
async def test_totals(
    upstream: Upstream, query: str, total: int | None, entries: int
) -> None:
    """A total appears where HAPI has one."""
    base = await upstream(people())
    _, found, _ = await get(f"{base}/Patient?_tag={TAG}|es&{query}")
    assert (found.get("total"), len(ids(found))) == (total, entries)


async def test_includes(upstream: Upstream) -> None:
    """_include and _revinclude add the linked resources, marked as such and not counted."""
    base = await upstream(people())
    for search, mode in (
        ("Observation?_id=es-o4&_include=Observation:subject", ("es-o4", "es-p4")),
        ("Patient?_id=es-p4&_revinclude=Observation:subject", ("es-p4", "es-o4")),
    ):
        _, found, _ = await get(f"{base}/{search}")
        modes = {e["resource"]["id"]: e["search"]["mode"] for e in found["entry"]}
        assert modes == {mode[0]: "match", mode[1]: "include"}
        assert found["total"] == 1


async def test_everything_about_a_patient(upstream: Upstream) -> None:
    """$everything gives the patient, what refers to it and what that refers to, in pages; ``_type``
    narrows it, dates do not."""
    (case,) = cases(1, 11)
    base = await upstream([dict(r) for r in case.resources])
    patient = next(str(r["id"]) for r in case.resources if r["resourceType"] == "Patient")
    url = f"{base}/Patient/{patient}/$everything"
    found: list[str] = []
    following = f"{url}?_count=9&start=2050-01-01&_since=2050-01-01T00:00:00Z"
    while following:
        status, page, _ = await get(following)
        assert (status, page["type"]) == (200, "searchset")
        found += [f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in page["entry"]]
        following = next((x["url"] for x in page["link"] if x["relation"] == "next"), "")
    kinds = {name.split("/")[0] for name in found}
    assert found[0] == f"Patient/{patient}"
    assert {"Composition", "Observation", "Encounter", "Organization", "Practitioner"} <= kinds
    assert len(set(found)) == len(found)
    _, page, _ = await get(f"{url}?_type=Condition,Goal&_count=100")
    kinds = {e["resource"]["resourceType"] for e in page["entry"]}
    assert kinds >= {"Patient", "Condition", "Goal"}
    assert "Observation" not in kinds
    assert (await get(f"{base}/Patient/es-nobody/$everything"))[0] == 404
    assert (await get(f"{url}?_type=Foo"))[0] == 404


async def test_batch(upstream: Upstream) -> None:
    """Each entry is answered by itself; a failure carries its outcome."""
    base = await upstream(people()[:3])
    urls = ("Patient/es-p1", "Patient/es-nobody", f"Patient?_tag={TAG}|es&gender=male")
    batch = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": url}} for url in urls],
    }
    status, found, _ = await get(base, method="POST", json=batch, headers=FHIR)
    read, missing, searched = found["entry"]
    assert (status, found["type"]) == (200, "batch-response")
    assert read["resource"]["id"] == "es-p1"
    assert read["response"]["status"] == "200 OK"
    assert missing["response"]["status"].startswith("404")
    assert missing["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert sorted(ids(searched["resource"])) == ["es-p0", "es-p2"]


async def test_head_and_metadata(upstream: Upstream) -> None:
    """HEAD reads without a body; the CapabilityStatement lists search parameters by type."""
    base = await upstream(people()[:1])
    status, body, headers = await get(f"{base}/Patient/es-p0", method="HEAD")
    assert (status, body) == (200, None)
    assert "ETag" in headers
    _, statement, _ = await get(f"{base}/metadata")
    [patient] = [r for r in statement["rest"][0]["resource"] if r["type"] == "Patient"]
    assert statement["fhirVersion"] == "4.0.1"
    assert {"family", "birthdate", "_id"} <= {p["name"] for p in patient["searchParam"]}


async def test_generated_documents_come_back_unchanged(upstream: Upstream) -> None:
    """A stored document keeps ids, full URLs and references of all three ways of naming."""
    found: list[Case] = list(cases(3, base="https://stored.example.org/fhir"))
    base = await upstream(data_set(found))
    for case in found:
        _, bundle, _ = await get(f"{base}/Bundle/{case.eicr['id']}")
        sent = json.loads(json.dumps(decode(_written(case.eicr)), default=str))
        assert [e.get("fullUrl") for e in bundle["entry"]] == [
            e.get("fullUrl") for e in sent["entry"]
        ]
        assert [e["resource"].get("id") for e in bundle["entry"]] == [
            e["resource"].get("id") for e in sent["entry"]
        ]
    story = found[0].story
    _, results, _ = await get(
        f"{base}/Observation?subject={story.ref('Patient', 'patient')}&_count=100"
    )
    assert len(ids(results)) >= 10


def _written(resource: JsonObject) -> bytes:
    from proxy.fhir.codec import encode

    return encode(resource)


async def test_the_log_holds_what_was_asked(aiohttp_server: Serve) -> None:
    """Each request is logged with method, raw target, headers and body, in order."""
    app = create_upstream(people()[:1])
    server = await aiohttp_server(app)
    base = str(server.make_url("/fhir"))
    await get(f"{base}/Patient/es-p0?x=%20y", headers={"X-Trial": "1"})
    await get(f"{base}/Patient/_search", method="POST", data="gender=male", headers=FORM)
    first, second = app[REQUEST_LOG]
    assert (first.method, first.target) == ("GET", "/fhir/Patient/es-p0?x=%20y")
    assert first.headers["x-trial"] == "1"
    assert (second.method, second.target, second.body) == (
        "POST", "/fhir/Patient/_search", b"gender=male",
    )


async def test_what_is_written_twice_in_the_same_way_has_the_same_meta(
    aiohttp_server: Serve,
) -> None:
    """Versions and times depend on the order of writing alone, so that two runs are equal."""
    answers = []
    for _ in range(2):
        server = await aiohttp_server(create_upstream(people()))
        answers.append(await get(str(server.make_url("/fhir/Patient/es-p7"))))
    assert answers[0][1] == answers[1][1]
    assert answers[0][1]["meta"]["lastUpdated"].startswith("2026-01-05T06:00:07")


async def test_a_base_url_of_its_own(aiohttp_server: Serve) -> None:
    """A given base URL stands in full URLs and links, whatever host was asked."""
    server = await aiohttp_server(create_upstream(people(), "http://fhir.example.org:81/r4"))
    _, found, _ = await get(str(server.make_url("/r4/Patient?_count=2")))
    assert found["entry"][0]["fullUrl"] == "http://fhir.example.org:81/r4/Patient/es-p0"
    assert found["link"][1]["url"].startswith("http://fhir.example.org:81/r4?_getpages=")
