"""What the server says of itself, to nobody and to each role."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.engine.messages import Answer
from proxy.fhir import registry
from proxy.policy.controls import CONTROLS
from tests.engine.playbook import (
    DEID,
    INV,
    LDS,
    PUBLIC,
    ROLES,
    body_of,
    caller,
    converse,
    drive,
    gateway,
    make_call,
    searchset,
)


def statement(role: str | None, **changes: Any) -> Any:
    at = replace(gateway(), **changes)
    reply = converse(make_call(role, "/metadata"), at=at)
    assert reply.status == 200
    return body_of(reply)


def resources(role: str, **changes: Any) -> dict[str, Any]:
    return {r["type"]: r for r in statement(role, **changes)["rest"][0]["resource"]}


def test_anonymous() -> None:
    """R-OP-4: without a token: software, base and security, and nothing of the upstream."""
    found = statement(None)
    assert sorted(found["rest"][0]) == ["mode", "security"]
    assert found["implementation"]["url"] == PUBLIC
    assert found["fhirVersion"] == "4.0.1"
    assert "upstream" not in str(found)
    assert found == statement("guest")


def test_what_comes_along_is_listed() -> None:
    """Includes in both directions, orders and chains are those of the view, as far as the token
    goes; the identity view takes them all."""
    whole, narrow = resources(LDS)["Patient"], caller(LDS, scopes=frozenset({"user/Patient.rs"}))
    assert "searchInclude" not in whole
    assert "Observation:patient" in whole["searchRevInclude"]
    assert "Observation:subject" in resources(LDS)["Observation"]["searchInclude"]
    said = body_of(converse(make_call(narrow, "/metadata")))["rest"][0]["resource"]
    assert all("searchRevInclude" not in each for each in said)
    assert resources(INV)["Patient"]["searchInclude"] == ["*"]
    for role, sorts, chains in ((LDS, True, True), (DEID, False, False)):
        listed = resources(role)["Observation"]["searchParam"]
        texts = {p["name"]: p["documentation"] for p in listed}
        assert ("; sorts" in texts["date"]) is sorts
        assert ("; chained to Patient" in texts["patient"]) is chains
        assert "; sorts" in texts["code"]


@pytest.mark.parametrize("role", ROLES)
def test_what_is_listed_is_answered(role: str) -> None:
    """R-OP-4: every listed parameter is answered and every listed type can be searched; what is
    not listed is refused."""
    view = gateway().views[role]
    listed = resources(role)
    assert set(listed) == set(view.policy.access) & {t for t in listed if view.shows(t)}
    for type_ in ("Patient", "Observation", "Bundle"):
        names = {p["name"] for p in listed[type_]["searchParam"]}
        assert all(p["documentation"] for p in listed[type_]["searchParam"])
        for code in set(registry.get(type_)) - CONTROLS:
            refused = gateway().verdicts[role].verdict(type_, code).kind == "refuse"
            assert (code in names) is not refused


def test_prefixes_and_forms_are_told() -> None:
    """A parameter says with which prefixes it is answered, and in what form it is asked for."""
    told = {
        (role, p["name"]): p["documentation"]
        for role in (LDS, DEID)
        for p in resources(role)["Patient"]["searchParam"]
    }
    assert told[DEID, "birthdate"] == (
        "translated: shown less exactly; ask with a year (YYYY); prefixes eq, ne, ge, gt, le, lt"
    )
    assert "prefixes eq, ne, gt, lt, ge, le, sa, eb" in told[LDS, "birthdate"]
    assert "three digits" in told[DEID, "address-postalcode"]
    assert "prefixes" not in told[DEID, "gender"]


def test_interactions() -> None:
    """Interactions are those that the policy, the view and the token's scopes grant."""
    codes = {r: [i["code"] for i in resources(r)["Patient"]["interaction"]] for r in ROLES}
    assert codes[INV] == ["read", "vread", "history-instance", "history-type", "search-type"]
    assert codes[LDS] == codes[DEID] == ["read", "search-type"]
    narrow = caller(INV, scopes=frozenset({"user/Patient.r"}))
    body = body_of(converse(make_call(narrow, "/metadata")))
    (only,) = body["rest"][0]["resource"]
    assert [i["code"] for i in only["interaction"]] == ["read", "vread", "history-instance"]


def test_data_dictionary() -> None:
    """The statement says of each type what the role sees of it, and how."""
    found = {role: resources(role)["Patient"].get("documentation", "") for role in ROLES}
    assert found[INV] == ""
    said = dict(part.split(": ") for part in found[DEID].removesuffix(".").split("; "))
    lists = {title: set(names.split(", ")) for title, names in said.items()}
    assert lists["As stored"] >= {"active", "gender", "telecom.use"}
    assert lists["Less exact"] >= {"birthDate (year)", "address.postalCode (zip3)"}
    assert "generalPractitioner" in lists["Pseudonyms"]
    assert lists["Not shown"] >= {"photo", "contact"}
    assert "birthDate" in found[LDS].split("; ")[0]
    assert resources(LDS)["ValueSet"]["documentation"] == "Shown whole, as stored."


def test_upstream_list() -> None:
    """What the upstream does not have is not offered."""
    known = {"Patient": frozenset({"gender", "family"})}
    listed = resources(LDS, upstream_parameters=known)
    assert [p["name"] for p in listed["Patient"]["searchParam"]] == ["gender"]
    assert "searchParam" not in listed["Observation"]


@pytest.mark.parametrize(
    ("query", "status"),
    [("_format=json", 200), ("_pretty=true", 200), ("mode=full", 200), ("mode=terminology", 400),
     ("_format=xml", 406), ("x=y", 400)],
)
def test_parameters(query: str, status: int) -> None:
    """The statement takes its format and nothing else."""
    reply = converse(make_call(None, f"/metadata?{query}"))
    assert reply.status == status
    assert (reply.body[:3] == b'{\n ') is (query == "_pretty=true")


def test_smart_configuration() -> None:
    """The SMART configuration tells where tokens come from; it is open to everyone."""
    at = replace(gateway(), smart={"issuer": "https://id.example", "jwks_uri": "https://id/certs",
                                   "secret": "x"})
    reply = converse(make_call(None, "/.well-known/smart-configuration"), at=at)
    found = body_of(reply)
    assert found["issuer"] == "https://id.example"
    assert "permission-v2" in found["capabilities"]
    assert "secret" not in found


def test_security_names_the_endpoints() -> None:
    """Where the authorization server is known, the statement names it as SMART clients expect."""
    smart = {"token_endpoint": "https://id.example/token"}
    security = statement(None, smart=smart)["rest"][0]["security"]
    assert security["extension"][0]["extension"] == [
        {"url": "token", "valueUri": "https://id.example/token"}
    ]


def test_self_check() -> None:
    """For each restricted role, every type, parameter and modifier that the
    table does not offer is refused without an ask; what it offers is asked."""
    for role in (LDS, DEID):
        table = gateway().verdicts[role]
        for type_ in ("Patient", "Observation", "Encounter", "Organization", "Bundle"):
            for code in registry.get(type_):
                for modifier in ("", "missing", "not", "exact", "text", "identifier", "nonsense"):
                    name = f"{code}:{modifier}" if modifier else code
                    reply, asked = drive(
                        make_call(role, f"/{type_}?{name}=true"), lambda ask: searchset([])
                    )
                    offered = table.verdict(type_, code, modifier).kind != "refuse"
                    if offered:
                        assert reply.status in (200, 400, 403)
                    else:
                        assert reply.status in (400, 403)
                        assert asked == []


def test_nothing_is_learned_from_an_upstream_that_fails() -> None:
    """The statement is ours: it asks the upstream nothing."""
    reply, asked = drive(make_call(LDS, "/metadata"), lambda ask: Answer(500))
    assert (reply.status, asked) == (200, [])
