"""Bearer token to caller: what is accepted, and what is refused before anything else happens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.api_jws import encode

from proxy.config import StaticToken
from proxy.errors import ProxyError, TokenExpired, Unauthorized
from proxy.policy.model import Caller
from proxy.shell.claims import RefusedBearer
from proxy.shell.identity import STATIC_ISSUER
from tests.shell.issuer import (
    AUDIENCE,
    ISSUER,
    Issuer,
    bearer,
    claims,
    ec_key,
    ed_key,
    jwk,
    rsa_key,
    setting,
    sign,
)

NOW = int(time.time())


async def judge(token: str, issuer: Issuer | None = None, **changes: Any) -> Caller:
    """The caller of one token."""
    async with setting(issuer, **changes) as s:
        return await s.authenticator.authenticate(bearer(token))


async def refuse(
    error: type[ProxyError], token: str, issuer: Issuer | None = None, **changes: Any
) -> ProxyError:
    """The refusal of one token, of exactly this class."""
    with pytest.raises(error) as refused:
        await judge(token, issuer, **changes)
    assert type(refused.value) is error
    assert "someone" not in refused.value.text
    return refused.value


def raw(header: dict[str, object], payload: object, signature: bytes = b"") -> str:
    """A token put together by hand."""
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


async def test_a_good_token_names_its_bearer() -> None:
    """Issuer, subject, role, project, scopes, and the claims that policies may read."""
    token = sign(
        claims(scope="openid user/*.rs", conditions=["840539006"], jurisdictions=[], email="a@b")
    )
    assert await judge(token) == Caller(
        issuer=ISSUER,
        subject="someone",
        role="researcher-limited",
        project="study-7",
        claims={"conditions": ["840539006"], "jurisdictions": []},
        scopes=frozenset({"openid", "user/*.rs"}),
    )


HEADERS = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": "Basic dTpw"},
    {"Authorization": "Bearer a b"},
    {"Authorization": "Bearer garbage"},
    {"Authorization": "Bearer a.b.c"},
    {"Authorization": "Bearer " + "a" * 20_000},
    {"Authorization": "Bearer äöü"},
    {"X-Authorization": "Bearer garbage"},
]


@pytest.mark.parametrize("headers", HEADERS)
async def test_r_au_1_no_or_bad_credentials(headers: dict[str, str]) -> None:
    """R-AU-1: missing or bad credentials are 401 with WWW-Authenticate, and the issuer is not even
    asked for its keys."""
    async with setting() as s:
        with pytest.raises(Unauthorized) as refused:
            await s.authenticator.authenticate(headers)
        assert refused.value.status == 401
        assert ("WWW-Authenticate", "Bearer") in refused.value.headers
        assert s.issuer.fetches == 0


async def test_the_scheme_is_read_in_any_case() -> None:
    """The scheme's name has no case (RFC 9110, 11.1)."""
    async with setting() as s:
        caller = await s.authenticator.authenticate({"Authorization": f"bEARER {sign(claims())}"})
    assert caller.subject == "someone"


def hs256_with_public_key() -> str:
    """The classic confusion: the public RSA key, as PEM, used as an HMAC secret."""
    public = rsa_key("one").public_key()
    secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    unsigned = raw({"alg": "HS256", "typ": "JWT", "kid": "one"}, claims()).rstrip(".")
    signature = hmac.digest(secret, unsigned.encode(), "sha256")
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize("algorithm", ["none", "nOnE", "None", "NONE", "", "HS256", "RS1", 5, None])
@pytest.mark.parametrize("signature", [b"", b"x" * 256])
async def test_r_au_2_the_token_chooses_no_algorithm(algorithm: object, signature: bytes) -> None:
    """R-AU-2: `none` in any case, unknown and symmetric algorithms are 401."""
    await refuse(Unauthorized, raw({"alg": algorithm, "kid": "one"}, claims(), signature))


async def test_r_au_2_the_public_key_is_no_secret() -> None:
    """R-AU-2: HS256 with the public RSA key as the secret is 401."""
    await refuse(Unauthorized, hs256_with_public_key())


async def test_r_au_2_only_configured_algorithms() -> None:
    """R-AU-2: a good signature under an algorithm that is not configured, or that the key is not
    for, is 401."""
    await refuse(Unauthorized, sign(claims(), algorithm="RS512"))
    await refuse(Unauthorized, sign(claims()), algorithms=("ES256",))
    fixed = Issuer(keys=[jwk(rsa_key("one"), "one", alg="PS256")])
    await refuse(Unauthorized, sign(claims()), fixed)
    assert (await judge(sign(claims(), algorithm="PS256"), fixed)).subject == "someone"


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", rsa_key("one")),
        ("PS256", rsa_key("one")),
        ("ES256", ec_key("e")),
        ("EdDSA", ed_key("d")),
    ],
    ids=["RS256", "PS256", "ES256", "EdDSA"],
)
async def test_each_kind_of_key(algorithm: str, key: Any) -> None:
    """RSA, elliptic curve and Edwards keys verify their signatures, and no changed token."""
    issuer = Issuer(keys=[jwk(key, "one")])
    token = sign(claims(), key, algorithm)
    assert (await judge(token, issuer)).role == "researcher-limited"
    head, body, signature = token.split(".")
    changed = json.loads(base64.urlsafe_b64decode(body + "=="))
    changed["ecr_role"] = "investigator"
    other = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
    await refuse(Unauthorized, f"{head}.{other}.{signature}", issuer)
    await refuse(Unauthorized, f"{head}.{body}.", issuer)
    await refuse(Unauthorized, f"{head}.{body}", issuer)


async def test_r_au_2_the_token_brings_no_key() -> None:
    """R-AU-2: keys in the token (jwk, jku, x5c) are not looked at; critical headers are refused."""
    mine = jwk(rsa_key("mine"), "one")
    headers: list[dict[str, object]] = [
        {"jwk": mine},
        {"jku": "http://127.0.0.1:1/"},
        {"x5c": ["AA=="]},
    ]
    for header in headers:
        await refuse(Unauthorized, sign(claims(), rsa_key("mine"), header=header))
        assert (await judge(sign(claims(), header=header))).subject == "someone"
    await refuse(Unauthorized, sign(claims(), header={"crit": ["exp"]}))


R_AU_3 = {
    "no exp": {"exp": None},
    "no aud": {"aud": None},
    "no iss": {"iss": None},
    "aud of another service": {"aud": "https://other.example.org/fhir"},
    "aud list of others": {"aud": ["account", "https://other.example.org/fhir"]},
    "empty aud list": {"aud": []},
    "aud longer": {"aud": AUDIENCE + "/x"},
    "aud shorter": {"aud": AUDIENCE[:-1]},
    "aud in other case": {"aud": AUDIENCE.upper()},
    "aud object": {"aud": {AUDIENCE: 1}},
    "aud nested": {"aud": [[AUDIENCE]]},
    "iss longer": {"iss": ISSUER + ".evil.example"},
    "iss shorter": {"iss": ISSUER[:-3]},
    "iss with a slash": {"iss": ISSUER + "/"},
    "iss list": {"iss": [ISSUER]},
    "exp text": {"exp": str(NOW + 300)},
    "exp true": {"exp": True},
    "exp null": {"exp": []},
    "nbf text": {"nbf": "tomorrow"},
    "nbf in an hour": {"nbf": NOW + 3600},
    "no sub": {"sub": None},
    "empty sub": {"sub": ""},
    "sub number": {"sub": 7},
    "scope number": {"scope": 7},
    "scope objects": {"scope": [{}]},
}


@pytest.mark.parametrize("changes", R_AU_3.values(), ids=R_AU_3.keys())
async def test_r_au_3_issuer_audience_and_times(changes: dict[str, object]) -> None:
    """R-AU-3: exp, iss and aud are required and compared whole; a malformed claim is 401."""
    payload = claims()
    payload.update(changes)
    token = raw_signed({name: value for name, value in payload.items() if value is not None})
    await refuse(Unauthorized, token)


def raw_signed(payload: dict[str, object]) -> str:
    """Sign claims that the library would not write, such as a list for `iss`."""
    return encode(json.dumps(payload).encode(), rsa_key("one"), "RS256", headers={"kid": "one"})


@pytest.mark.parametrize("payload", [b"[]", b"1", b"not json", b"", b'{"exp": NaN}', b"\xff"])
async def test_r_au_3_claims_that_are_none(payload: bytes) -> None:
    """A signed payload that is no JSON object is 401."""
    await refuse(Unauthorized, encode(payload, rsa_key("one"), "RS256", headers={"kid": "one"}))


# claim, seconds from now, what is raised
TIMES = [
    ("exp", -3600, TokenExpired),
    ("exp", -45, TokenExpired),
    ("exp", -10, None),  # within the leeway of 30 s
    ("exp", 300.5, None),
    ("exp", 10**18, None),
    ("nbf", 10, None),
    ("nbf", 120, Unauthorized),
    ("nbf", -10, None),
    ("nbf", -(10**9), None),
]


@pytest.mark.parametrize(("claim", "offset", "error"), TIMES)
async def test_r_au_3_times_have_a_leeway(
    claim: str, offset: float, error: type[ProxyError] | None
) -> None:
    """Clocks may differ by the leeway; an expired token says so with the code `expired`."""
    token = sign(claims(**{claim: int(time.time()) + offset}))
    if error is None:
        assert (await judge(token)).subject == "someone"
    else:
        refused = await refuse(error, token)
        assert refused.status == 401


async def test_audience_may_be_a_list() -> None:
    """`aud` is a string or a list that contains ours; several of ours may be configured."""
    assert (await judge(sign(claims(aud=["account", AUDIENCE])))).subject == "someone"
    token = sign(claims(aud="ecr-proxy"))
    assert (await judge(token, audience=(AUDIENCE, "ecr-proxy"))).subject == "someone"


ROLES = {
    "no role": None,
    "unknown": "guest",
    "empty list": [],
    "empty": "",
    "list of unknown": ["guest", "offline_access"],
    "number": 5,
    "true": True,
    "object": {"researcher-limited": True},
    "nested list": [["researcher-limited"]],
    "with a number": ["researcher-limited", 5],
    "with blanks": " researcher-limited ",
    "in other case": "Researcher-Limited",
    "two in a text": "researcher-limited investigator",
    "with a comma": "researcher-limited,investigator",
}


@pytest.mark.parametrize("role", ROLES.values(), ids=ROLES.keys())
async def test_r_au_4_no_role_no_access(role: object) -> None:
    """R-AU-4: without a configured role, as a whole string, it is 403."""
    refused = await refuse(RefusedBearer, sign(claims(ecr_role=role)))
    assert (refused.status, refused.code) == (403, "forbidden")
    assert isinstance(refused, RefusedBearer)
    assert refused.caller == Caller(ISSUER, "someone", "", "")  # whom the audit records


@pytest.mark.parametrize(
    "roles",
    [["researcher-deidentified", "researcher-limited"], ["public", "investigator"]],
)
async def test_r_au_5_several_roles_are_refused(roles: list[str]) -> None:
    """R-AU-5: two configured roles are never united, and no one is picked: 403."""
    await refuse(RefusedBearer, sign(claims(ecr_role=roles)))


async def test_r_au_5_one_role_among_foreign_ones() -> None:
    """What the issuer lists beside our roles does not count, and a role named twice is one."""
    token = sign(claims(ecr_role=["offline_access", "investigator", "investigator"]))
    assert (await judge(token)).role == "investigator"


async def test_claims_are_found_by_name_and_by_path() -> None:
    """A claim's name may be a path into objects, or hold dots itself (as URLs do)."""
    token = sign(
        claims(
            ecr_role=None,
            realm_access={"roles": ["default-roles-ecr", "investigator"]},
            **{"https://ecr.example.org/project": "study-9"},
        )
    )
    caller = await judge(
        token, role_claim="realm_access.roles", project_claim="https://ecr.example.org/project"
    )
    assert (caller.role, caller.project) == ("investigator", "study-9")
    await refuse(RefusedBearer, sign(claims()), role_claim="realm_access.roles")
    await refuse(RefusedBearer, sign(claims(realm_access="roles")), role_claim="realm_access.roles")


async def test_r_au_7_limits_are_passed_on_only_if_understood() -> None:
    """R-AU-7: a limit that is absent or not understood is absent for the policy, never a
    wildcard."""
    caller = await judge(sign(claims(conditions={"all": True}, jurisdictions=None)))
    assert caller.claims == {}
    caller = await judge(sign(claims(conditions=[["x"]], jurisdictions="MI")))
    assert caller.claims == {"jurisdictions": "MI"}


@pytest.mark.parametrize("project", [["a", "b"], [], 7, {"a": 1}, "x" * 300])
async def test_a_project_is_one_text(project: object) -> None:
    """Several projects, or what is no text, are 403: pseudonyms need exactly one."""
    refused = await refuse(RefusedBearer, sign(claims(ecr_project=project)))
    assert isinstance(refused, RefusedBearer)
    assert refused.caller == Caller(ISSUER, "someone", "researcher-limited", "")


async def test_a_project_may_be_absent() -> None:
    """A role without pseudonyms needs no project."""
    assert (await judge(sign(claims(ecr_project=None)))).project == ""
    assert (await judge(sign(claims(ecr_project=["study-1"])))).project == "study-1"


SCOPES = [
    ({}, None),
    ({"scope": ""}, frozenset()),
    ({"scope": "user/*.rs  openid"}, frozenset({"user/*.rs", "openid"})),
    ({"scope": ["system/*.rs"]}, frozenset({"system/*.rs"})),
    ({"scp": "user/Patient.rs"}, frozenset({"user/Patient.rs"})),
    ({"scp": ["user/Patient.rs"]}, frozenset({"user/Patient.rs"})),
]


@pytest.mark.parametrize(("changes", "scopes"), SCOPES)
async def test_scopes_in_every_form(
    changes: dict[str, object], scopes: frozenset[str] | None
) -> None:
    """Scopes are a text or a list, called scope or scp; no claim at all is told apart."""
    assert (await judge(sign(claims(**changes)))).scopes == scopes


# What issuers put into their tokens, as seen or documented. `who` is what must come of it: None is
# 401. Names and ids are made up.
KEYCLOAK: dict[str, object] = {
    "jti": "onrtac:7f0c",
    "typ": "Bearer",
    "azp": "ecr-app",
    "sid": "f9b9",
    "acr": "1",
    "realm_access": {"roles": ["researcher-limited", "offline_access", "default-roles-ecr"]},
    "scope": "openid user/*.rs",
}
ENTRA: dict[str, object] = {
    "aio": "E2ZgYIhPYGBgYA",
    "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474",
    "rh": "0.ARoA",
    "tid": "fa15d692-e9c7-4460-a743-29f2956fd429",
    "uti": "PjfbDEVKU0aTs",
    "roles": ["researcher-limited"],
}
V1: dict[str, object] = {
    **ENTRA,
    "ver": "1.0",
    "appid": "1c6b",
    "appidacr": "1",
    "unique_name": "a@b",
}
V2: dict[str, object] = {**ENTRA, "ver": "2.0", "azp": "1c6b", "azpacr": "1", "name": "A B"}
AUTH0: dict[str, object] = {"azp": "my-app-id", "permissions": ["read:cases"]}

ISSUED: list[tuple[str, dict[str, object], dict[str, object], bool]] = [
    # name, header, claims beside the good ones, accepted
    ("Keycloak access", {"typ": "JWT"}, KEYCLOAK, True),
    ("Keycloak access, aud list", {}, {**KEYCLOAK, "aud": [AUDIENCE, "account"]}, True),
    ("Keycloak access before 25, nonce", {}, {**KEYCLOAK, "nonce": "n"}, True),
    ("Keycloak access, RFC 9068", {"typ": "at+jwt"}, KEYCLOAK, True),
    ("Keycloak ID", {}, {**KEYCLOAK, "typ": "ID", "at_hash": "h", "nonce": "n"}, False),
    ("Keycloak ID, only its typ", {}, {**KEYCLOAK, "typ": "ID"}, False),
    ("Keycloak refresh", {}, {**KEYCLOAK, "typ": "Refresh"}, False),
    ("Keycloak offline", {}, {**KEYCLOAK, "typ": "Offline"}, False),
    ("Keycloak logout", {"typ": "logout+jwt"}, {"typ": "Logout", "events": {}}, False),
    ("Keycloak DPoP", {}, {**KEYCLOAK, "typ": "DPoP", "cnf": {"jkt": "x"}}, False),
    ("Keycloak mutual TLS", {}, {**KEYCLOAK, "cnf": {"x5t#S256": "x"}}, False),
    ("Entra v1 delegated", {"x5t": "k"}, {**V1, "scp": "user_impersonation"}, True),
    ("Entra v2 delegated", {}, {**V2, "scp": "Cases.Read"}, True),
    ("Entra v2 application", {}, {**V2, "idtyp": "app"}, True),
    ("Entra v1 ID", {}, {**ENTRA, "ver": "1.0", "unique_name": "a@b"}, False),
    ("Entra v2 ID", {}, {**ENTRA, "ver": "2.0", "nonce": "n", "name": "A B"}, False),
    ("Entra v2 ID without nonce", {}, {**ENTRA, "ver": "2.0", "name": "A B"}, False),
    ("Entra v2 hybrid ID", {}, {**ENTRA, "ver": "2.0", "c_hash": "h"}, False),
    ("Auth0 access", {}, {**AUTH0, "scope": "openid read:cases"}, True),
    ("Auth0 access, list", {}, {**AUTH0, "aud": [AUDIENCE, "https://t.auth0.com/userinfo"]}, True),
    ("Auth0 access, RFC 9068", {"typ": "at+jwt"}, {"client_id": "c", "jti": "j"}, True),
    ("Auth0 machine", {}, {"sub": "c@clients", "azp": "c", "gty": "client-credentials"}, True),
    ("Auth0 ID", {}, {"nonce": "n", "sid": "s", "name": "A B"}, False),
    ("Auth0 ID with at_hash", {}, {"at_hash": "h", "sid": "s"}, False),
    ("Cognito ID", {}, {"token_use": "id", "at_hash": "h"}, False),
    ("Cognito ID, only its use", {}, {"token_use": "id"}, False),
    ("Cognito access", {}, {"token_use": "access", "client_id": "c"}, True),
    ("media type in full", {"typ": "application/at+jwt"}, {}, True),
    ("a proof", {"typ": "dpop+jwt"}, {}, False),
    ("an event", {"typ": "secevent+jwt"}, {"events": {}}, False),
    ("typ of an odd type", {"typ": "JWT"}, {"typ": ["Bearer"]}, False),
    ("ID in lower case", {}, {"typ": "id"}, False),
    ("bearer in the header", {"typ": "Bearer"}, {"typ": "Bearer"}, False),
    ("ID token of a client", {}, {"aud": "my-app-id", "azp": "my-app-id"}, False),
    ("access token of a client", {}, {**KEYCLOAK, "aud": "account"}, False),
    ("nothing said", {}, {}, True),
]


@pytest.mark.parametrize(
    ("header", "more", "accepted"), [i[1:] for i in ISSUED], ids=[i[0] for i in ISSUED]
)
async def test_r_au_8_access_tokens_of_real_issuers(
    header: dict[str, object], more: dict[str, object], accepted: bool
) -> None:
    """R-AU-8: access tokens as Keycloak, Entra ID and Auth0 issue them are accepted; their ID,
    refresh and logout tokens, key-bound ones and those for other services are 401."""
    token = sign(claims(**more), header=header)
    if accepted:
        assert (await judge(token)).role == "researcher-limited"
    else:
        await refuse(Unauthorized, token)


SECRET = "k3Jx-0Q2fZ7bYw9sVtLmNcRaUoEiPdGh"


def static(token: str = SECRET, **fields: Any) -> StaticToken:
    digest = hashlib.sha256(token.encode()).digest()
    return StaticToken(digest, **{"subject": "pipeline", "role": "researcher-limited", **fields})


async def test_static_tokens_name_their_bearer() -> None:
    """A static token is found by its digest, without the issuer, and carries its own claims."""
    mine = static(
        project="study-7", claims={"conditions": ["1"]}, scopes=frozenset({"system/*.rs"})
    )
    async with setting(tokens=(static("another" + SECRET), mine)) as s:
        caller = await s.authenticator.authenticate(bearer(SECRET))
        assert s.issuer.fetches == 0
    assert caller == Caller(
        STATIC_ISSUER, "pipeline", "researcher-limited", "study-7", {"conditions": ["1"]},
        frozenset({"system/*.rs"}),
    )  # fmt: skip


@pytest.mark.parametrize(
    "token",
    [SECRET[:-1], SECRET + "A", SECRET.lower(), hashlib.sha256(SECRET.encode()).hexdigest()],
)
async def test_other_texts_are_no_static_token(token: str) -> None:
    """Only the token itself is the token: its digest from the configuration is not."""
    await refuse(Unauthorized, token, tokens=(static(),))


async def test_static_tokens_expire() -> None:
    """A static token past its date is 401 with the code `expired`; before it, good."""
    past, future = (datetime.now(UTC) + timedelta(seconds=n) for n in (-5, 60))
    await refuse(TokenExpired, SECRET, tokens=(static(expires=past),))
    assert (await judge(SECRET, tokens=(static(expires=future),))).subject == "pipeline"


async def test_only_static_tokens_where_no_issuer_is_configured() -> None:
    """Without an issuer no signed token is accepted, and nobody is asked for keys."""
    async with setting(tokens=(static(),), trusted="") as s:
        assert (await s.authenticator.authenticate(bearer(SECRET))).subject == "pipeline"
        with pytest.raises(Unauthorized):
            await s.authenticator.authenticate(bearer(sign(claims())))
        with pytest.raises(Unauthorized):
            await s.authenticator.authenticate(bearer(sign(claims(iss=""))))
        assert s.issuer.fetches == 0
