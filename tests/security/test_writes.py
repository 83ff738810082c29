"""Section 19 of the security requirements, R-WR-1 to R-WR-5, on the running product.

The product is read-only: no write reaches the upstream, whoever sends it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.demo.generator import cases
from proxy.fhir.codec import Json, decode
from proxy.fhir.structure import RESOURCES
from tests.security.product import INV, LDS, PUBLIC, RESTRICTED, ROLES, product, token
from tests.security.revealing import MARKER, composition, is_clean, observation, person
from tests.security.serving import FHIR, bundle, common, holding, is_outcome, post, resources
from tests.security.test_upstream import acting, match, other, searchset
from tests.shell.raw import hang_up, silent
from tests.shell.support import assert_outcome, parts, talk

REAL = f"MRN-{MARKER}"
PATIENT = person("Patient", REAL, gender="female")
VALUE_SYSTEM = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"


@pytest.mark.parametrize("role", ROLES)
async def test_r_wr_1_nothing_can_be_written(role: str, tmp_path: Path) -> None:
    """R-WR-1: POST, PUT, PATCH and DELETE on every type are 405, the same for all; the upstream is
    not asked."""
    body = orjson.dumps(PATIENT)
    async with holding(PATIENT) as upstream, product(tmp_path) as running:
        answers = set()
        for type_ in sorted(RESOURCES):
            for method, path in (
                ("POST", f"/fhir/{type_}"),
                ("PUT", f"/fhir/{type_}/1"),
                ("PATCH", f"/fhir/{type_}/1"),
                ("DELETE", f"/fhir/{type_}/1"),
            ):
                answer = await running.ask(role, method, path, data=body, headers=FHIR)
                assert answer.status == 405
                assert is_outcome(answer)
                answers.add(str(answer.same))
        assert len(answers) == 1
        assert upstream.calls() == []
        assert upstream.store.types() == ["Patient"]


@pytest.mark.parametrize("role", ROLES)
async def test_r_wr_1_in_whatever_form(role: str, tmp_path: Path) -> None:
    """R-WR-1: nor conditionally, by patch formats, with version headers, by a form, by a method
    that is none, or as an entry of a Bundle."""
    body = orjson.dumps(PATIENT)
    async with holding(PATIENT) as upstream, product(tmp_path) as running:
        shown = running.shown(role, "Patient", REAL)
        patch = {"Content-Type": "application/json-patch+json"}
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for method, path, headers in (
            ("PUT", "/Patient?identifier=x", FHIR),
            ("DELETE", "/Patient?gender=female", FHIR),
            ("DELETE", f"/Patient/{shown}?_cascade=delete", FHIR),
            ("DELETE", f"/Patient/{shown}/_history/1", FHIR),
            ("DELETE", "/Patient", FHIR),
            ("DELETE", "/", FHIR),
            ("PUT", "/", FHIR),
            ("PATCH", f"/Patient/{shown}", patch),
            ("PATCH", "/Patient?gender=female", patch),
            ("PUT", f"/Patient/{shown}", {**FHIR, "If-Match": 'W/"1"'}),
            ("PUT", f"/Patient/{shown}", {**FHIR, "If-None-Match": "*"}),
            ("POST", "/Patient", {**FHIR, "If-None-Exist": "gender=female"}),
            ("POST", f"/Patient/{shown}", FHIR),
            ("POST", "/Patient", form),
            ("PUT", "/Patient/_search", form),
            ("DELETE", "/Patient/_search", form),
            ("MKCOL", f"/Patient/{shown}", FHIR),
            ("MERGE", f"/Patient/{shown}", FHIR),
            ("LINK", f"/Patient/{shown}", FHIR),
            ("COPY", f"/Patient/{shown}", FHIR),
        ):
            answer = await running.ask(role, method, "/fhir" + path, data=body, headers=headers)
            assert answer.status in (400, 403, 405), (method, path)
            assert is_clean(answer, REAL)
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            url = "Patient" if method == "POST" else f"Patient/{shown}"
            each = {"request": {"method": method, "url": url}, "resource": PATIENT}
            answer = await post(running, role, orjson.dumps(bundle("transaction", each)))
            assert answer.status in (403, 405)
            answer = await post(running, role, orjson.dumps(bundle("batch", each)))
            assert answer.json["entry"][0]["response"]["status"][:3] in ("403", "405")
            assert is_clean(answer, REAL)
        for kind in ("document", "message", "collection", "history"):
            answer = await post(running, role, orjson.dumps(bundle(kind)))
            assert answer.status in (400, 405)
        assert upstream.calls() == []


@pytest.mark.parametrize("label", ["SUBSETTED", "REDACTED", "MASKED", "PSEUDED", "ANONYED"])
async def test_r_wr_2_reduced_views_cannot_be_stored(label: str, tmp_path: Path) -> None:
    """R-WR-2: what a view has reduced (labelled, with a pseudonymous id, with masked narrative, as
    a researcher or the investigator read it) is not put back by anyone."""
    async with holding(PATIENT) as upstream, product(tmp_path) as running:
        masked = '<div xmlns="http://www.w3.org/1999/xhtml"><p>MASKED</p></div>'
        shown = running.shown(LDS, "Patient", REAL)
        read = (await running.get(LDS, f"/Patient/{shown}")).json
        part = (await running.get(INV, f"/Patient/{REAL}?_elements=gender")).json
        security = [{"system": VALUE_SYSTEM, "code": label}]
        upstream.calls()
        for resource in (
            {**PATIENT, "meta": {"security": security}},
            {**PATIENT, "meta": {"tag": security}},
            {**PATIENT, "text": {"status": "empty", "div": masked}},
            {**read, "id": REAL},
            read,
            part,
        ):
            for role in ROLES:
                for path in (f"/Patient/{resource['id']}", f"/Patient/{REAL}"):
                    body = orjson.dumps(resource)
                    answer = await running.ask(role, "PUT", "/fhir" + path, data=body, headers=FHIR)
                    assert (answer.status, answer.code) == (405, "not-supported")
        assert upstream.calls() == []
        current = upstream.store.current("Patient", REAL)
        assert current is not None
        assert current.number == 1


ODD: dict[str, Any] = {
    "resourceType": "Observation",
    "id": "odd",
    "meta": {"versionId": "9", "source": "#x", "tag": [{"code": "a"}], "unknown": [None, {}]},
    "text": {"status": "generated", "div": "<div>\u00e9 &amp; <script>x</script></div>"},
    "extension": [{"url": "http://example.org/x", "valueString": ""}],
    "favouriteColour": {"a": [[], [[]], {}, None, "", 0, False]},
    "status": "final",
    "code": {"text": '\u0000\u001f\u2028\U0001f600\\/"', "coding": []},
    "subject": {"reference": "Patient/x/_history/3", "display": "Eve"},
    "_status": {"id": "s"},
    "valueString": "a\tb\nc",
    "note": [{"text": "b"}, {"text": "a"}, {"text": "b"}],
    "bodySite": None,
}
# As an upstream may write it: numbers, escapes, order and space that a rewrite would change.
RAW = (
    rb'{"resourceType":"Observation" , "id":"raw","status":"final","n":[1.10,0.00,1E2,1e+2,-0.0,'
    rb"3.141592653589793238462643,12345678901234567890123,-0,1e400,0.1e-400],"
    rb'"s":"\u00e9\u00E9\/\ud83d\ude00\u0041 \"\\","e":"","dup":1,'
    b'"_given":[null,{"id":"g"},null],"u":"\xc3\xa9\xf0\x9f\x98\x80"\n\t,"a":[ ],"o":{ }}'
)


async def test_r_wr_3_odd_resources_are_unchanged(tmp_path: Path) -> None:
    """R-WR-3: unknown members, nulls, empty and doubled values, order and number text come out of
    a read and of a search exactly as the upstream has them."""
    async with holding(ODD) as upstream, product(tmp_path) as running:
        stored = upstream.store.current("Observation", "odd")
        assert stored is not None
        read = await running.get(INV, "/Observation/odd")
        found = await running.get(INV, "/Observation")
        assert read.body == stored.body
        assert stored.body in found.body


async def test_r_wr_3_bytes_are_unchanged(tmp_path: Path) -> None:
    """R-WR-3: every byte of what the upstream wrote inside a resource comes out, number text and
    escapes included."""
    async with acting(other(RAW), other(searchset(match(RAW)))), product(tmp_path) as running:
        read = await running.get(INV, "/Observation/raw")
        assert (read.status, read.body) == (200, RAW)
        found = await running.get(INV, "/Observation?status=final")
        assert found.status == 200
        assert RAW in found.body


def rebased(value: Json, base: str) -> Json:
    """``value`` with every reference under the upstream's base led to the public one; a stored
    Bundle is one document and stays as it is."""
    if isinstance(value, list):
        return [rebased(v, base) for v in value]
    if not isinstance(value, dict) or value.get("resourceType") == "Bundle":
        return value
    moved = {k: rebased(v, base) for k, v in value.items()}
    text = value.get("reference")
    if isinstance(text, str) and text.startswith(base + "/"):
        moved["reference"] = PUBLIC + text.removeprefix(base)
    return moved


async def test_r_wr_3_the_corpus_is_unchanged(tmp_path: Path, shared: Path) -> None:
    """R-WR-3: every published example and three generated cases, documents and single resources:
    deep-equal, numbers digit by digit, order of members and items; nothing added but the public
    base in references that led to the upstream."""
    granted = common()[1].gateway.views[INV].policy.access
    base = common()[0].upstream.url
    held: dict[tuple[str, str], Any] = {}
    for file in sorted((shared / "ecr-examples" / "fhir").rglob("*.json")):
        found = decode(file.read_bytes())
        if isinstance(found, dict) and found.get("resourceType") in granted:
            held[str(found["resourceType"]), f"example-{len(held)}"] = found
    assert len(held) > 20
    for case in cases(3, 9, base=base):
        for resource in (*case.resources, *case.bundles):
            held[str(resource["resourceType"]), str(resource["id"])] = resource
    for (_, id_), resource in held.items():
        resource["id"] = id_
    async with holding(*held.values()) as upstream, product(tmp_path) as running:
        for type_, id_ in held:
            stored = upstream.store.current(type_, id_)
            assert stored is not None
            answer = await running.get(INV, f"/{type_}/{id_}")
            assert answer.status == 200
            shown, expected = decode(answer.body), rebased(decode(stored.body), base)
            assert shown == expected, (type_, id_)
            assert list(keys(shown)) == list(keys(expected))
        rows = 0
        for type_ in sorted({t for t, _ in held}):
            answer = await running.get(INV, f"/{type_}?_count=100")
            for entry in answer.json.get("entry", ()):
                single = await running.get(INV, f"/{type_}/{entry['resource']['id']}")
                assert entry["resource"] == single.json
                rows += 1
        assert rows > 50


def keys(value: Json) -> Any:
    """Every member name, in order."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from keys(item)


@pytest.mark.parametrize("role", ROLES)
async def test_r_wr_4_clients_that_go_away(role: str, tmp_path: Path) -> None:
    """R-WR-4: a client that leaves in the middle of an upload, or after it, has written nothing;
    the service goes on."""
    head = (
        "{} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token(role) + "\r\n"
        "Content-Type: application/fhir+json\r\nContent-Length: {}\r\n\r\n"
    )
    body = orjson.dumps(PATIENT)
    async with holding(PATIENT) as upstream, product(tmp_path) as running:
        for request in ("POST /fhir/Patient", f"PUT /fhir/Patient/{REAL}", "POST /fhir"):
            for sent in (body[:-9], body, b""):
                _, writer = await asyncio.open_connection("127.0.0.1", running.port)
                writer.write(head.format(request, len(body)).encode() + sent)
                await writer.drain()
                writer.transport.abort()
        for _ in range(50):
            if len(running.audit()) >= 9:
                break
            await asyncio.sleep(0.01)
        assert (await running.get(role, "/Patient?gender=female")).status == 200
        assert [target for _, target, _ in upstream.calls()] == ["/fhir/Patient/_search"]
        said = await talk(
            running.port, head.format("POST /fhir/Patient", len(body)).encode() + body
        )
        status, headers, answer = parts(said)
        assert status == 405
        assert_outcome(status, headers, answer, "not-supported")


@pytest.mark.parametrize("role", ROLES)
async def test_r_wr_4_reads_of_clients_that_go_away_end(role: str, tmp_path: Path) -> None:
    """R-WR-4: when a client goes, what the upstream was asked for it is broken off."""
    async with acting(silent()) as behind, product(tmp_path) as running:
        _, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(
            f"GET /fhir/Patient?gender=female HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {token(role)}\r\n\r\n".encode()
        )
        for _ in range(100):
            if behind.log:
                break
            await asyncio.sleep(0.01)
        writer.transport.abort()
        await asyncio.wait_for(behind.gone.wait(), 1.5)
        assert len(behind.log) == 1


async def test_r_wr_4_a_broken_upstream_gets_no_write(tmp_path: Path) -> None:
    """R-WR-4, R-UM-8: a write is not even tried where the upstream hangs up."""
    async with acting(hang_up) as behind, product(tmp_path) as running:
        body = orjson.dumps(PATIENT)
        answer = await running.ask(INV, "POST", "/fhir/Patient", data=body, headers=FHIR)
        assert (answer.status, answer.code) == (405, "not-supported")
        assert behind.log == []


# Entries that no view can transform.
BROKEN = {
    "array": b"[1,2]",
    "string": b'"' + MARKER.encode() + b'"',
    "number": b"7",
    "no-type": b'{"id":"x","name":"' + MARKER.encode() + b'"}',
    "no-id": b'{"resourceType":"Patient","name":[{"text":"' + MARKER.encode() + b'"}]}',
    "bad-id": b'{"resourceType":"Patient","id":"a b/' + MARKER.encode() + b'"}',
    "number-id": b'{"resourceType":"Patient","id":7,"x":"' + MARKER.encode() + b'"}',
    "type-list": b'{"resourceType":["Patient"],"id":"x","x":"' + MARKER.encode() + b'"}',
    "other-type": b'{"resourceType":"Binary","id":"x","data":"' + MARKER.encode() + b'"}',
    "unknown-type": b'{"resourceType":"FutureThing","id":"x","x":"' + MARKER.encode() + b'"}',
    "null": b"null",
}


@pytest.mark.parametrize("role", RESTRICTED)
@pytest.mark.parametrize("what", BROKEN)
async def test_r_wr_5_no_entry_fails_silently(role: str, what: str, tmp_path: Path) -> None:
    """R-WR-5: when entry 7 of a search cannot be transformed, the answer is CLOSED, or an outcome
    with the code `incomplete` stands in its place and the others are there; never raw."""
    good = [match(orjson.dumps({**PATIENT, "id": f"{REAL}-{number}"})) for number in range(1, 11)]
    entries = [*good[:6], match(BROKEN[what]), *good[6:]]
    async with acting(other(searchset(*entries))), product(tmp_path) as running:
        answer = await running.get(role, "/Patient?gender=female&_count=50")
        assert is_clean(answer, REAL)
        if answer.status == 200:
            kinds = [r["resourceType"] for r in resources(answer)]
            assert kinds == ["Patient"] * 6 + ["OperationOutcome"] + ["Patient"] * 4
            assert resources(answer)[6]["issue"][0]["code"] == "incomplete"
            assert answer.json["entry"][6]["search"]["mode"] == "outcome"
        else:
            assert answer.status == 502
            assert answer.code in ("exception", "incomplete")


@pytest.mark.parametrize("role", ROLES)
async def test_r_wr_5_broken_parts_of_a_document_are_not_silent(role: str, tmp_path: Path) -> None:
    """R-WR-5: a stored document whose parts are malformed is shown without raw pieces of them, or
    not at all; the investigator gets it as stored."""
    wrong: tuple[Any, ...] = ([MARKER], MARKER, 7, {"resourceType": [MARKER]}, {"name": MARKER})
    for broken in wrong:
        stored = {
            "resourceType": "Bundle",
            "id": "d",
            "type": "document",
            "entry": [
                {"fullUrl": "http://sender.example/Composition/c", "resource": composition()},
                {"fullUrl": "http://sender.example/Observation/o", "resource": observation()},
                {"fullUrl": "http://sender.example/Observation/x", "resource": broken},
            ],
        }
        body = orjson.dumps(stored)
        async with acting(other(body)), product(tmp_path) as running:
            answer = await running.get(role, f"/Bundle/{running.shown(role, 'Bundle', 'd')}")
            if role == INV:
                assert (answer.status, answer.body) == (200, body)
            else:
                assert answer.status in (200, 502)
                assert is_clean(answer)
