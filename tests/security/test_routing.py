"""R-RT-1 to R-RT-10 over sockets, as every role, with the upstream's request log."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.fhir.codec import JsonObject
from tests.security.product import (
    INV,
    LDS,
    PUBLIC,
    RESTRICTED,
    ROLES,
    Product,
    product,
    stored,
)
from tests.shell.support import parts, talk

REAL = "MRN-1032702"
PATIENT: JsonObject = {
    "resourceType": "Patient",
    "id": REAL,
    "gender": "female",
    "birthDate": "1974-11-24",
    "name": [{"family": "Everywoman"}],
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "target",
    [
        "/Patient/%2e%2e/%2e%2e/actuator/env",
        "/Patient/../../actuator/env",
        "/Patient/%252e%252e",
        f"/Patient%2F{REAL}",
        f"/Patient%2f{REAL}",
        f"//Patient/{REAL}",
        f"/Patient//{REAL}",
        f"/./Patient/{REAL}",
        f"/Patient/./{REAL}",
        f"/x/../Patient/{REAL}",
        f"/Patient\\{REAL}",
        f"/Patient/{REAL}%5C",
        f"/Patient/{REAL}%00",
        f"/Patient/{REAL}%0d%0aX:y",
        f"/Patient/{REAL};x=y",
        f"/Patient/{REAL}%",
        f"/Patient/{REAL}%zz",
        f"/Patient/{REAL}%C0%AF",
        f"/Patient/{REAL}//",
        f"/patient/{REAL}",
        f"/Pati%25ent/{REAL}",
        f"/Patient/{'a' * 65}",
        f"/Patient/{REAL}/_history/1/2",
        f"/Patient/{REAL}/Observation",
        "/Patient/_id",
        "/Nonsense",
        "/Resource/1",
        "/DomainResource",
        "/*",
        "/DEFAULT/Patient/1",
        "/swagger-ui/index.html",
        "/api-docs",
    ],
)
async def test_paths_outside_the_grammar(role: str, target: str, tmp_path: Path) -> None:
    """R-RT-1, R-RT-2, R-RT-3: 400 or 404 with a fixed text, and the upstream is never asked."""
    async with stored(PATIENT) as log, product(tmp_path) as running:
        answer = await running.get(role, target)
        assert answer.status in (400, 404)
        assert answer.code in ("invalid", "structure", "value", "not-supported", "not-found")
        assert not answer.says(REAL)
        assert log == []


@pytest.mark.parametrize("role", [INV, LDS])
@pytest.mark.parametrize(
    "target", ["/", "/actuator/prometheus", "/metrics", "/Patient", "/fhir2/Patient", "/_search"]
)
async def test_nothing_is_passed_through(role: str, target: str, tmp_path: Path) -> None:
    """R-RT-3: what is not in the grammar is 404 for every role."""
    async with stored(PATIENT) as log, product(tmp_path) as running:
        answer = await running.ask(role, "GET", target)
        assert (answer.status, answer.code) == (404, "not-found")
        assert log == []


@pytest.mark.parametrize("role", ROLES)
async def test_trailing_slash_is_the_same_path(role: str, tmp_path: Path) -> None:
    """R-RT-2: one trailing slash is the same path with the same decision."""
    async with stored(PATIENT), product(tmp_path) as running:
        path = f"/Patient/{running.shown(role, 'Patient', REAL)}"
        plain, slash = await running.get(role, path), await running.get(role, path + "/")
    assert plain.same == slash.same
    assert plain.status == 200


FORGED = [
    {"Host": "evil.example"},
    {"X-Forwarded-Host": "evil.example"},
    {"X-Forwarded-Proto": "ftp"},
    {"Forwarded": "host=evil.example"},
    {"X-Forwarded-For": "127.0.0.1", "X-Original-URL": "/evil.example"},
    {"X-Security-Context": "evil.example"},
    {"X-Request-Partition-IDs": "1"},
    {"X-Cascade": "delete"},
    {"X-Rewrite-History": "true"},
    {"X-Meta-Snapshot-Mode": "TAG"},
    {"X-Upsert-Extistence-Check": "disabled"},
    {"X-Role": "investigator"},
    {"Cookie": "a=b"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"X-HTTP-Method": "DELETE"},
    {"X-Method-Override": "DELETE"},
    {"Range": "bytes=0-300"},
    {"Accept-Encoding": "gzip"},
    {"If-Modified-Since": "Sat, 31 Jan 2099 00:00:00 GMT"},
    {"If-None-Match": 'W/"1"'},
    {"If-None-Match": "*"},
    {"Prefer": "handling=lenient"},
    {"X-Request-ID": "evil.example"},
]


@pytest.mark.parametrize("role", ROLES)
async def test_headers_that_have_no_effect(role: str, tmp_path: Path) -> None:
    """R-RT-4, R-RT-5, R-RT-6, R-RT-8, R-CA-3: reads and searches with them are answered as
    without them, and the upstream sees the allow-list alone."""
    async with stored(PATIENT) as log, product(tmp_path) as running:
        for target in (
            f"/Patient/{running.shown(role, 'Patient', REAL)}",
            "/Patient?gender=female",
        ):
            plain = await running.get(role, target)
            assert plain.status == 200
            for headers in FORGED:
                other = await running.get(role, target, headers=headers)
                assert other.same == plain.same
                assert not other.says("evil.example")
                assert "127.0.0.1" not in str(other.headers)
        for asked in log:
            assert asked.method in ("GET", "POST")
            assert set(asked.headers) <= {
                "host",
                "accept",
                "accept-encoding",
                "cache-control",
                "prefer",
                "content-type",
                "content-length",
            }
            assert asked.headers["accept"] == "application/fhir+json"
            assert asked.headers["prefer"] == "handling=strict"


async def test_absolute_form_targets_are_refused(tmp_path: Path) -> None:
    """R-RT-4: a target that names a host is 400 and reaches nobody."""
    lines = b"GET http://evil.example/fhir/Patient HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    async with stored(PATIENT) as log, product(tmp_path) as running:
        status, _, body = parts(await talk(running.port, lines))
        assert status == 400
        assert b"evil" not in body
        assert log == []


@pytest.mark.parametrize("role", ROLES)
async def test_links_start_with_the_public_base(role: str, tmp_path: Path) -> None:
    """R-RT-4: links and fullUrls are built from the configured public URL."""
    async with stored(PATIENT), product(tmp_path) as running:
        bundle = (await running.get(role, "/Patient?gender=female")).json
        links = [link["url"] for link in bundle["link"]]
        links += [entry["fullUrl"] for entry in bundle["entry"]]
        assert links
        assert all(link.startswith(PUBLIC + "/Patient") for link in links)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "OPTIONS"])
async def test_methods_that_are_not_offered(role: str, method: str, tmp_path: Path) -> None:
    """R-RT-6, R-WR-1, R-WR-2: the product is read-only for every role; no upstream call."""
    async with stored(PATIENT) as log, product(tmp_path) as running:
        target = f"/fhir/Patient/{running.shown(role, 'Patient', REAL)}"
        answer = await running.ask(role, method, target, data=b"{}")
        assert (answer.status, answer.code) == (405, "not-supported")
        assert answer.headers["allow"] == "GET, HEAD, POST"
        assert log == []


@pytest.mark.parametrize("role", ROLES)
async def test_override_parameters_are_refused(role: str, tmp_path: Path) -> None:
    """R-RT-6: `_method` has no effect but a refusal."""
    async with stored(PATIENT) as log, product(tmp_path) as running:
        path = f"/fhir/Patient/{running.shown(role, 'Patient', REAL)}?_method=PUT"
        assert (await running.ask(role, "POST", path)).status in (400, 405)
        assert (await running.ask(role, "GET", path)).status == 400
        assert log == []


@pytest.mark.parametrize("role", ROLES)
async def test_other_formats(role: str, tmp_path: Path) -> None:
    """R-RT-7: JSON or 406; the upstream is asked for JSON and for nothing else."""
    async with stored(PATIENT) as log, product(tmp_path) as running:
        path = f"/Patient/{running.shown(role, 'Patient', REAL)}"
        for accept in ("application/fhir+xml", "text/html", "image/png", "text/turtle"):
            answer = await running.get(role, path, headers={"Accept": accept})
            assert (answer.status, answer.code) == (406, "not-supported")
        for given in ("xml", "html/json", "ttl", "application/fhir%2Bxml", "text/html"):
            answer = await running.get(role, f"{path}?_format={given}")
            assert answer.status == 406
        assert log == []
        for accept in ("text/html, */*;q=0.1", "application/json", "application/fhir+json"):
            answer = await running.get(role, path, headers={"Accept": accept})
            assert answer.status == 200
            assert answer.headers["content-type"].startswith("application/fhir+json")
        for asked in log:
            assert asked.headers["accept"] == "application/fhir+json"
            assert "_format" not in asked.target


async def search(running: Product, role: str, url: str, form: str) -> int:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await running.ask(
        role, "POST", f"/fhir/Patient/_search{url}", data=form.encode(), headers=headers
    )
    return answer.status


@pytest.mark.parametrize("role", RESTRICTED)
async def test_posted_searches_are_judged_whole(role: str, tmp_path: Path) -> None:
    """R-RT-9: parameters of URL and form are judged together."""
    async with stored(PATIENT) as log, product(tmp_path) as running:
        assert await search(running, role, "?family=Everywoman", "gender=female") == 403
        assert await search(running, role, "?gender=female", "family=Everywoman") == 403
        assert await search(running, role, "", "family=Everywoman") == 403
        assert log == []
        assert await search(running, role, "?gender=female", "") == 200
        assert await search(running, role, "", "gender=female") == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_foreign_origins(origin: str, tmp_path: Path) -> None:
    """R-RT-10: no Access-Control header for an origin that is not configured."""
    preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
    async with stored(PATIENT), product(tmp_path) as running:
        answers = [
            await running.ask(None, "OPTIONS", "/fhir/Patient", headers=preflight),
            await running.get(LDS, "/Patient?gender=female", headers={"Origin": origin}),
            await running.get(None, "/metadata", headers={"Origin": origin}),
        ]
    for answer in answers:
        assert not any(name.startswith("access-control") for name in answer.headers)
