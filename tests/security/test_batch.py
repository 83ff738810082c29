"""Section 10 of the security requirements, R-BT-1 to R-BT-7, on the running product.

The product is read-only: what these requirements say of writes is met by refusing them whole.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.security.product import (
    DEID,
    INV,
    LDS,
    NEVER,
    RESTRICTED,
    ROLES,
    Answer,
    Product,
    product,
)
from tests.security.revealing import MARKER, is_clean, observation, person
from tests.security.serving import bundle, common, holding, is_outcome, post
from tests.security.test_upstream import acting
from tests.shell.raw import reply

REAL = f"MRN-{MARKER}"
SEARCHES = "/Patient/_search"


def held() -> tuple[Any, ...]:
    return (
        person("Patient", REAL, gender="female", birthDate="1974-11-24"),
        person("Patient", "other", gender="male"),
        observation(subject={"reference": f"Patient/{REAL}"}),
    )


async def send(running: Product, role: str, body: Any, **headers: str) -> Answer:
    return await post(running, role, orjson.dumps(body), **headers)


def entries(answer: Answer) -> list[Any]:
    assert answer.status == 200, answer.body
    found = answer.json["entry"]
    assert isinstance(found, list)
    return found


def statuses(answer: Answer) -> list[str]:
    return [entry["response"]["status"][:3] for entry in entries(answer)]


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_bt_1_entries_are_judged_alone(role: str, tmp_path: Path) -> None:
    """R-BT-1: a read, a refused search and a search give 200, 403 and 200 in this order; the
    refused one never reaches the upstream."""
    async with holding(*held()) as upstream, product(tmp_path) as running:
        shown = running.shown(role, "Patient", REAL)
        answer = await send(
            running,
            role,
            bundle(
                "batch",
                f"Patient/{shown}",
                "Patient?family=Everywoman",
                "Patient?gender=female",
            ),
        )
        assert answer.json["type"] == "batch-response"
        assert statuses(answer) == ["200", "403", "200"]
        assert is_clean(answer, REAL, "Everywoman")
        refused = entries(answer)[1]
        assert refused["response"]["outcome"]["issue"][0]["code"] == "forbidden"
        assert "resource" not in refused
        calls = upstream.calls()
        assert sorted(target for _, target, _ in calls) == [
            f"/fhir/Patient/{REAL}",
            f"/fhir{SEARCHES}",
        ]
        assert not any(b"amily" in body or b"verywoman" in body for _, _, body in calls)


@pytest.mark.parametrize("role", ROLES)
async def test_r_bt_1_entries_are_answered_as_if_alone(role: str, tmp_path: Path) -> None:
    """R-BT-1: whatever is asked, an entry holds what the same request gets alone: status, ETag,
    body; and the upstream is asked the same."""
    async with holding(*held()) as upstream, product(tmp_path) as running:
        shown = running.shown(role, "Patient", REAL)
        urls = (
            f"Patient/{shown}",
            f"Patient/{shown}?_elements=gender",
            f"Patient/{shown}?_format=json",
            f"Patient/{running.shown(role, 'Patient', NEVER)}",
            f"Patient/{REAL}",
            "Patient?gender=female",
            "Patient?gender=female&_count=1",
            f"Observation?patient={shown}",
            "Observation?value-string=x",
            "Patient?nonsense=1",
            "Patient?_sort=birthdate",
            "Patient?_count=0",
            "Nonsense",
            "Nonsense/1",
            "Patient/1/2/3",
            "Patient/%2e%2e/x",
            f"Patient/{shown}/_history",
            f"Patient/{shown}/_history/1",
            f"Patient/{shown}/$everything",
            "Binary/1",
            "Media",
            "Subscription",
            "Patient?_format=xml",
            "Patient?_page=AAAA",
        )
        alone = []
        for url in urls:
            alone.append(await running.get(role, "/" + url))
            upstream_alone = {tuple(call) for call in upstream.calls()}
            answer = await send(running, role, bundle("batch", url))
            (entry,) = entries(answer)
            assert {tuple(call) for call in upstream.calls()} == upstream_alone
            check_same(alone[-1], entry)
        together = entries(await send(running, role, bundle("batch", *urls)))
        assert len(together) == len(urls)
        for single, entry in zip(alone, together, strict=True):
            check_same(single, entry)


def check_same(single: Answer, entry: Any) -> None:
    assert entry["response"]["status"].startswith(str(single.status))
    if single.status < 400:
        found = entry["resource"]
        if found["resourceType"] == "Bundle":  # page tokens seal the time of their making
            assert found.get("entry") == single.json.get("entry")
        else:
            assert found == single.json
        assert entry["response"].get("etag") == single.headers.get("etag")
    else:
        assert entry["response"]["outcome"] == single.json


ELSEWHERE = (
    "http://169.254.169.254/latest/meta-data",
    "http://evil.example/Patient",
    "https://evil.example/fhir/Patient/1",
    "//evil.example/x",
    "///evil.example/x",
    "/\\evil.example/x",
    "\\\\evil.example\\x",
    "http:/evil.example",
    "http:evil.example",
    "HTTP://evil.example/Patient",
    " http://evil.example/Patient",
    "\thttp://evil.example/Patient",
    "file:///etc/passwd",
    "gopher://evil.example/",
    "javascript:alert(1)",
    "@evil.example/Patient",
    "evil.example/Patient",
    "Patient@evil.example",
    "../actuator/env",
    "Patient/../../actuator/env",
    "Patient/%2e%2e/%2e%2e/actuator/env",
    "Patient%2F1",
    "Patient/1#x",
    "Patient/1\r\nHost: evil.example",
    "Patient/1 HTTP/1.1",
    "metadata/../Patient",
    "Patient/1\x00",
    "Pätient/1",
)


@pytest.mark.parametrize("role", [INV, LDS, DEID])
async def test_r_bt_2_entries_are_relative(role: str, tmp_path: Path) -> None:
    """R-BT-2: an entry URL that could reach another host, or is none of the grammar, is 400 or 404
    (for the entry or the whole Bundle); nothing is connected to, not even the upstream by its own
    name."""
    visitors: list[object] = []

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitors.append(writer)
        writer.close()

    elsewhere = await asyncio.start_server(visit, "127.0.0.1", 0)
    port = elsewhere.sockets[0].getsockname()[1]
    own = common()[0].upstream.url
    urls = (
        *ELSEWHERE,
        f"{own}/Patient/{REAL}",
        f"{own}/Patient?gender=female",
        f"http://127.0.0.1:{port}/Patient",
        f"//127.0.0.1:{port}/Patient",
        f"@127.0.0.1:{port}/",
        f"http://localhost:{port}/Patient",
    )
    async with elsewhere, holding(*held()) as upstream, product(tmp_path) as running:
        for url in urls:
            for kind in ("batch", "transaction"):
                answer = await send(running, role, bundle(kind, url))
                if answer.status == 200:
                    (status,) = statuses(answer)
                    assert status in ("400", "404")
                else:
                    assert answer.status in (400, 404)
                    assert is_outcome(answer)
                assert is_clean(answer, "evil", "169.254", REAL)
        assert upstream.calls() == []
        assert visitors == []


WRITES: tuple[Any, ...] = (
    {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": "Patient"}},
    {
        "request": {"method": "PUT", "url": "Patient/1"},
        "resource": {"resourceType": "Patient", "id": "1"},
    },
    {"request": {"method": "PATCH", "url": "Patient/1"}, "resource": {"resourceType": "Binary"}},
    {"request": {"method": "DELETE", "url": "Patient/1"}},
    {"request": {"method": "DELETE", "url": "Patient?gender=female"}},
    {"request": {"method": "POST", "url": "Patient", "ifNoneExist": "gender=female"}},
    {"request": {"method": "post", "url": "Patient"}},
    {"request": {"method": "POST", "url": "$expunge"}},
    {"request": {"method": "OPTIONS", "url": "Patient"}},
    {"request": {"method": "TRACE", "url": "Patient/1"}},
    {"request": {"method": "GET", "url": "Patient?family=x&nonsense=2"}},
    {"request": {"method": "GET", "url": "Nonsense/1"}},
    {"request": {"method": "GET", "url": "Patient/1/$lastn"}},
)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("position", [0, 1])
async def test_r_bt_3_a_refused_part_refuses_the_whole(
    role: str, position: int, tmp_path: Path
) -> None:
    """R-BT-3: a transaction of an allowed read and a refused part (a write, always) is refused
    whole, with an OperationOutcome and without an upstream call."""
    async with holding(*held()) as upstream, product(tmp_path) as running:
        for write in WRITES:
            parts: list[Any] = ["Patient?gender=female"]
            parts.insert(position, write)
            answer = await send(running, role, bundle("transaction", *parts))
            assert answer.status in (400, 403, 404, 405)
            assert is_outcome(answer)
        assert upstream.calls() == []


@pytest.mark.parametrize("role", ROLES)
async def test_r_bt_3_reads_fail_together(role: str, tmp_path: Path) -> None:
    """R-BT-3, design section 4: a transaction of reads gives all, or fails as the one that
    fails."""
    async with holding(*held()) as upstream, product(tmp_path) as running:
        good = f"Patient/{running.shown(role, 'Patient', REAL)}"
        missing = f"Patient/{running.shown(role, 'Patient', NEVER)}"
        answer = await send(running, role, bundle("transaction", good, "Patient?gender=female"))
        assert answer.json["type"] == "transaction-response"
        assert statuses(answer) == ["200", "200"]
        for urls in ((good, missing), (missing, good)):
            answer = await send(running, role, bundle("transaction", *urls))
            assert (answer.status, answer.code) == (404, "not-found")
        upstream.calls()
        if role != INV:
            answer = await send(running, role, bundle("transaction", good, "Patient?family=x"))
            assert (answer.status, answer.code) == (403, "forbidden")
            assert upstream.calls() == []


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_bt_4_responses_are_made_new(role: str, tmp_path: Path) -> None:
    """R-BT-4: location, etag, lastModified and outcome of the upstream do not come out."""
    patient = orjson.dumps({**held()[0], "meta": {"versionId": "17"}})
    telling = (
        f"Location: Patient/{REAL}/_history/3",
        f"Content-Location: http://{MARKER}/fhir/Patient/{REAL}/_history/3",
        'ETag: W/"17"',
        "Last-Modified: Sun, 04 Mar 2018 05:06:07 GMT",
        f"X-Request-Id: {MARKER}",
        f"Warning: 199 - {MARKER}",
    )
    fhir = "application/fhir+json"
    acts = (
        reply("200 OK", patient, fhir, *telling),
        reply("404 Not Found", b'{"diagnostics":"' + MARKER.encode() + b'"}', fhir, *telling),
        reply("500 Error", b'{"diagnostics":"' + MARKER.encode() + b'"}', fhir, *telling),
        reply("410 Gone", b'{"diagnostics":"' + MARKER.encode() + b'"}', fhir, *telling),
    )
    for act, expected in zip(acts, ("200", "404", "502", "404"), strict=True):
        async with acting(act) as behind, product(tmp_path) as running:
            url = f"Patient/{running.shown(role, 'Patient', REAL)}"
            answer = await send(running, role, bundle("batch", url))
            assert statuses(answer) == [expected]
            response = entries(answer)[0]["response"]
            assert set(response) <= {"status", "etag", "outcome"}
            assert response.get("etag") not in ('W/"17"', '"17"', 'W/"3"')
            assert is_clean(answer, REAL, "_history", "2018", "05:06:07", '"17"')
            assert 1 <= len(behind.log) <= 2


@pytest.mark.parametrize("role", ROLES)
async def test_r_bt_5_limits_hold_before_any_work(role: str, tmp_path: Path) -> None:
    """R-BT-5: too many entries are 400 too-costly, a long body 413, with nothing asked; as many as
    are allowed are answered."""
    limit = common()[1].gateway.limits.entries
    async with holding(*held()) as upstream, product(tmp_path) as running:
        for count in (limit + 1, 10_001):
            answer = await send(running, role, bundle("batch", *["Patient?gender=male"] * count))
            assert (answer.status, answer.code) == (400, "too-costly")
        body = orjson.dumps(bundle("batch", "Patient?gender=male", x="y" * 10_000_000))
        answer = await post(running, role, body)
        assert (answer.status, answer.code) == (413, "too-long")
        assert upstream.calls() == []
        answer = await send(running, role, bundle("batch", *["Nonsense"] * limit))
        assert statuses(answer) == ["404"] * limit
        answer = await send(running, role, bundle("batch"))
        assert answer.json.get("entry", []) == []


@pytest.mark.parametrize("role", ROLES)
async def test_r_bt_5_batches_do_not_nest(role: str, tmp_path: Path) -> None:
    """R-BT-5: a batch in a batch, which could multiply the work, is refused."""
    inner = {
        "request": {"method": "POST", "url": "/"},
        "resource": bundle("batch", "Patient?gender=male"),
    }
    async with holding(*held()) as upstream, product(tmp_path) as running:
        for url in ("/", "", "?", "Bundle", "."):
            each = {**inner, "request": {"method": "POST", "url": url}}
            answer = await send(running, role, bundle("batch", each))
            assert answer.status == 400 or statuses(answer)[0] in ("400", "404", "405")
        assert upstream.calls() == []


@pytest.mark.parametrize("role", ROLES)
async def test_r_bt_6_prefer_is_not_forwarded(role: str, tmp_path: Path) -> None:
    """R-BT-6: no write is offered, so none returns anything; a client's Prefer changes nothing and
    goes nowhere."""
    async with holding(*held()) as upstream, product(tmp_path) as running:
        url = f"Patient/{running.shown(role, 'Patient', REAL)}"
        plain = await send(running, role, bundle("batch", url))
        for prefer in (
            "return=representation",
            "return=OperationOutcome",
            "return=minimal",
            "handling=lenient",
            "respond-async",
        ):
            answer = await send(running, role, bundle("batch", url), Prefer=prefer)
            assert answer.same == plain.same
            asked = [entry.headers.get("prefer") for entry in upstream.log]
            assert set(asked) == {"handling=strict"}
            upstream.calls()
            for method in ("POST", "PUT"):
                refused = await running.ask(
                    role,
                    method,
                    "/fhir/Patient" + ("" if method == "POST" else "/1"),
                    data=orjson.dumps(held()[0]),
                    headers={"Content-Type": "application/fhir+json", "Prefer": prefer},
                )
                assert (refused.status, refused.code) == (405, "not-supported")
                assert is_clean(refused, REAL)
            assert upstream.calls() == []


@pytest.mark.parametrize("role", ROLES)
async def test_r_bt_7_what_goes_upstream_is_built_anew(role: str, tmp_path: Path) -> None:
    """R-BT-7: extra members, signatures, unknown names, full URLs, resources and conditional
    headers of the client's Bundle do not reach the upstream, which sees two rebuilt requests."""
    async with holding(*held()) as upstream, product(tmp_path) as running:
        url = f"Patient/{running.shown(role, 'Patient', REAL)}"
        plain = await send(running, role, bundle("batch", url, "Patient?gender=female"))
        expected = upstream.calls()
        odd = {
            "fullUrl": f"http://{MARKER}.example/Patient/x",
            "extension": [{"url": f"http://{MARKER}.example", "valueString": MARKER}],
            "fhir_comments": [MARKER],
            MARKER: MARKER,
            "resource": {"resourceType": "Patient", "id": MARKER, "name": [{"text": MARKER}]},
            "link": [{"relation": "self", "url": f"http://{MARKER}.example"}],
            "search": {"mode": "include", "score": 1},
            "response": {"status": "200", "location": MARKER},
            "request": {
                "method": "GET",
                "url": url,
                "ifMatch": f'W/"{MARKER}"',
                "ifModifiedSince": "2031-01-01T00:00:00Z",
                "ifNoneExist": f"identifier={MARKER}",
                "ifNoneMatch": f'W/"{MARKER}"',
                "extension": [{"url": MARKER}],
                MARKER: MARKER,
            },
        }
        body = bundle(
            "batch",
            odd,
            {"request": {"url": "Patient?gender=female", "method": "GET", "x": [MARKER]}},
            id=MARKER,
            meta={"tag": [{"code": MARKER}]},
            signature={"data": MARKER},
            link=[{"relation": "next", "url": f"http://{MARKER}.example"}],
            total=7,
            timestamp="2031-01-01T00:00:00Z",
            identifier={"value": MARKER},
        )
        body[MARKER] = MARKER
        answer = await send(running, role, body)
        assert upstream.log
        for asked in upstream.log:
            sent = asked.target + str(dict(asked.headers)) + asked.body.decode()
            assert MARKER not in sent.replace(REAL, "")
            assert "if-none-match" not in asked.headers
        assert sorted(upstream.calls()) == sorted(expected)
        assert answer.same == plain.same


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "Bundle", "type": "document", "entry": []},
        {"resourceType": "Bundle", "type": "searchset"},
        {"resourceType": "Bundle", "entry": []},
        {"resourceType": "Patient"},
        {"resourceType": "Bundle", "type": "batch", "entry": {}},
        {"resourceType": "Bundle", "type": "batch", "entry": [1]},
        {"resourceType": "Bundle", "type": "batch", "entry": [{}]},
        {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET"}}]},
        {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"url": "Patient"}}]},
        {"resourceType": "Bundle", "type": ["batch"], "entry": []},
        {
            "resourceType": "Bundle",
            "type": "batch",
            "entry": [{"request": {"method": "GET", "url": ["Patient"]}}],
        },
    ],
)
async def test_malformed_batches(role: str, body: Any, tmp_path: Path) -> None:
    """R-BT-7: what is no batch is 400 with nothing asked."""
    async with holding(*held()) as upstream, product(tmp_path) as running:
        answer = await send(running, role, body)
        assert answer.status == 400
        assert is_outcome(answer)
        assert upstream.calls() == []
