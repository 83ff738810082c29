"""Section 2, authentication and roles: every example against a running proxy over a socket."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.app import create_app
from proxy.config import read_settings
from proxy.demo.upstream import REQUEST_LOG, Logged, create_upstream
from proxy.lenses.keys import KeyRing
from tests.conftest import REPOSITORY
from tests.shell.issuer import AUDIENCE, ISSUER, Issuer, claims, rsa_key, sign
from tests.shell.test_identity import ISSUED, R_AU_3, hs256_with_public_key, raw, raw_signed

pytestmark = pytest.mark.asyncio(loop_scope="module")

REAL = "MRN-1032702"
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": REAL,
    "gender": "female",
    "name": [{"family": "Everywoman"}],
}
STATIC = "k3Jx-0Q2fZ7bYw9sVtLmNcRaUoEiPdGh"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str:
        """The code of the one issue of an OperationOutcome."""
        assert self.headers["Content-Type"].startswith("application/fhir+json")
        assert self.body["resourceType"] == "OperationOutcome"
        assert [issue["severity"] for issue in self.body["issue"]] == ["error"]
        return str(self.body["issue"][0]["code"])


@dataclass
class Site:
    """A running proxy between a client, an issuer and an upstream."""

    base: str
    root: str
    session: aiohttp.ClientSession
    issuer: Issuer
    log: list[Logged]

    async def ask(self, path: str, token: str | None = None, **more: Any) -> Answer:
        """One request; ``path`` below the FHIR base, or from the root if it says so."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        url = self.root + path[5:] if path.startswith("root:") else self.base + path
        method = more.pop("method", "GET")
        headers |= more.pop("headers", {})
        async with self.session.request(method, url, headers=headers, **more) as response:
            is_json = "json" in response.content_type
            body = await response.json(content_type=None) if is_json else await response.text()
            return Answer(response.status, response.headers, body)

    @property
    def calls(self) -> list[str]:
        """Upstream calls but for the one that learns what the upstream can do."""
        return [entry.target for entry in self.log if entry.target != "/fhir/metadata"]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Site]:
    """The product in front of the sample server, trusting one issuer and one static token."""
    issuer = Issuer()
    certs = web.Application()
    certs.router.add_get("/certs", issuer.answer)
    upstream_app = create_upstream([PATIENT])
    issuing, upstream = TestServer(certs), TestServer(upstream_app)
    await issuing.start_server()
    await upstream.start_server()
    keys = folder / "keys.json"
    keys.touch(0o600)
    keys.write_bytes(
        KeyRing.new(
            secrets.token_bytes(32), secrets.token_bytes(32), datetime.now(UTC).date()
        ).write()
    )
    text = f"""
[server]
public-url = "http://127.0.0.1:8000/fhir"
[upstream]
url = "{upstream.make_url("/fhir")}"
[auth]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
jwks-url = "{issuing.make_url("/certs")}"
[[auth.token]]
sha256 = "{hashlib.sha256(STATIC.encode()).hexdigest()}"
subject = "pipeline"
role = "researcher-limited"
project = "study-7"
[roles]
investigator = "investigator"
researcher-limited = "researcher-limited"
researcher-deidentified = "researcher-deidentified"
[policies]
directory = "{REPOSITORY / "policies"}"
"""
    server = TestServer(create_app(read_settings(text, base=folder)))
    await server.start_server()
    async with aiohttp.ClientSession() as session:
        yield Site(
            str(server.make_url("/fhir")),
            str(server.make_url("")).rstrip("/"),
            session,
            issuer,
            upstream_app[REQUEST_LOG],
        )
    for each in (server, upstream, issuing):
        await each.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One proxy for the whole module: compiling its views takes a second."""
    async with running(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture
def site(shared_site: Site) -> Site:
    """The proxy, with nothing yet asked of its upstream."""
    shared_site.log.clear()
    return shared_site


def assert_unauthorized(answer: Answer, site: Site) -> None:
    """The outcome U401 of the requirements."""
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.code in ("login", "expired")
    assert site.calls == []


async def test_good_tokens_are_answered(site: Site) -> None:
    """The ground on which the refusals stand: signed and static tokens read the patient."""
    for token in (sign(claims()), STATIC):
        found = await site.ask("/Patient", token)
        assert found.status == 200
        assert [e["resource"]["gender"] for e in found.body["entry"]] == ["female"]
        assert REAL not in str(found.body)
        assert "Everywoman" not in str(found.body)
    whole = await site.ask(f"/Patient/{REAL}", sign(claims(ecr_role="investigator")))
    assert whole.body["name"] == PATIENT["name"]
    assert len(site.calls) == 3


R_AU_1 = [
    ("/Patient", {}),
    ("", {"method": "POST", "json": {"resourceType": "Bundle", "type": "batch"}}),
    (f"/Patient/{REAL}", {}),
    (f"/Patient/{REAL}", {"method": "HEAD"}),
    ("/Patient/_search", {"method": "POST", "data": {"gender": "female"}}),
    ("/Patient/no-such-id", {}),
    ("/NoSuchType", {}),
    ("/Patient", {"method": "PUT", "json": PATIENT}),
    ("/Patient/$everything", {}),
    ("/metadata/x", {}),
]
CREDENTIALS: list[dict[str, str]] = [
    {},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer garbage"},
    {"Authorization": "Basic dTpw"},
    {"X-Role": "investigator", "X-Forwarded-User": "root"},
    {"Cookie": "access_token=" + STATIC},
]


@pytest.mark.parametrize(("path", "request_"), R_AU_1)
@pytest.mark.parametrize("headers", CREDENTIALS, ids=range(len(CREDENTIALS)))
async def test_r_au_1_every_path_needs_a_token(
    site: Site, path: str, request_: dict[str, Any], headers: dict[str, str]
) -> None:
    """R-AU-1: without a good token every path but the open ones is 401, before anything else."""
    answer = await site.ask(path, headers=headers, **request_)
    if request_.get("method") == "HEAD":
        assert (answer.status, site.calls) == (401, [])
    else:
        assert_unauthorized(answer, site)


async def test_r_au_1_a_token_in_the_query_is_none(site: Site) -> None:
    """R-AU-1: a token is a header; in query or form it is not looked at."""
    assert_unauthorized(await site.ask(f"/Patient?access_token={STATIC}"), site)
    form: dict[str, Any] = {"method": "POST", "data": {"access_token": STATIC}}
    assert_unauthorized(await site.ask("/Patient/_search", **form), site)


async def test_r_au_1_what_is_open(site: Site) -> None:
    """R-AU-1: capability statement, SMART configuration and health need no token."""
    for path in ("/metadata", "/.well-known/smart-configuration", "root:/healthz", "root:/readyz"):
        assert (await site.ask(path)).status == 200
    assert site.calls == []


@pytest.mark.parametrize("algorithm", ["none", "nOnE", "NONE", "HS256"])
async def test_r_au_2_the_token_chooses_no_algorithm(site: Site, algorithm: str) -> None:
    """R-AU-2: unsigned tokens, and any algorithm that is not configured, are 401."""
    for signature in (b"", b"x" * 256):
        token = raw({"alg": algorithm, "typ": "JWT", "kid": "one"}, claims(), signature)
        assert_unauthorized(await site.ask("/Patient", token), site)


async def test_r_au_2_the_public_key_is_no_secret(site: Site) -> None:
    """R-AU-2: HS256 signed with the public RSA key is 401."""
    assert_unauthorized(await site.ask("/Patient", hs256_with_public_key()), site)


@pytest.mark.parametrize("changes", R_AU_3.values(), ids=R_AU_3.keys())
async def test_r_au_3_issuer_audience_and_expiry(site: Site, changes: dict[str, object]) -> None:
    """R-AU-3: validly signed tokens without exp, iss or aud, or with others', are 401."""
    payload = {**claims(), **changes}
    token = raw_signed({name: value for name, value in payload.items() if value is not None})
    assert_unauthorized(await site.ask("/Patient", token), site)


async def test_r_au_3_an_expired_token_says_so(site: Site) -> None:
    """R-AU-3: an expired token is 401 with the code `expired`."""
    answer = await site.ask("/Patient", sign(claims(exp=1_700_000_000)))
    assert_unauthorized(answer, site)
    assert answer.code == "expired"


@pytest.mark.parametrize("role", [None, "guest", [], "", ["guest"], {"role": "investigator"}])
async def test_r_au_4_no_known_role(site: Site, role: object) -> None:
    """R-AU-4: no role claim, an unknown role, an empty list: 403 and no upstream call."""
    answer = await site.ask("/Patient", sign(claims(ecr_role=role)))
    assert (answer.status, answer.code, site.calls) == (403, "forbidden", [])


@pytest.mark.parametrize(
    "roles",
    [
        ["researcher-deidentified", "researcher-limited"],
        ["researcher-limited", "investigator"],
        ["investigator", "researcher-deidentified", "guest"],
    ],
)
async def test_r_au_5_several_roles(site: Site, roles: list[str]) -> None:
    """R-AU-5: more than one role is 403, whatever their order, and so is every way of choosing
    one that the token does not make."""
    token = sign(claims(ecr_role=roles))
    for path in ("/Patient", "/Patient?_role=investigator"):
        answer = await site.ask(path, token, headers={"X-Role": roles[0]})
        assert (answer.status, answer.code, site.calls) == (403, "forbidden", [])


async def test_r_au_5_a_role_not_configured_beside_one_that_is(site: Site) -> None:
    """R-AU-5: `public` is no role here; beside it, the one configured role is the caller's."""
    token = sign(claims(ecr_role=["public", "investigator"]))
    whole = await site.ask(f"/Patient/{REAL}", token)
    assert whole.body["name"] == PATIENT["name"]


async def test_r_au_6_a_flood_of_unknown_keys(site: Site) -> None:
    """R-AU-6: a thousand tokens with random key ids cause one fetch of the key set; all are 401;
    a good client goes on."""
    good = sign(claims())
    assert (await site.ask("/Patient", good)).status == 200
    before, calls = site.issuer.fetches, len(site.calls)
    for _ in range(20):
        flood = [site.ask("/Patient", sign(claims(), kid=secrets.token_hex(8))) for _ in range(50)]
        *refused, served = await asyncio.gather(*flood, site.ask("/Patient", good))
        assert {answer.status for answer in refused} == {401}
        assert served.status == 200
    assert site.issuer.fetches - before == 1
    assert len(site.calls) - calls == 20


async def test_r_au_6_keys_out_of_reach(tmp_path: Path) -> None:
    """R-AU-6: while the issuer's keys cannot be had, signed tokens are 503, static ones go on."""
    async with running(tmp_path) as site:
        site.issuer.status = 500
        answer = await site.ask("/Patient", sign(claims()))
        assert (answer.status, answer.code) == (503, "transient")
        assert int(answer.headers["Retry-After"]) > 0
        assert site.calls == []
        assert (await site.ask("/Patient", STATIC)).status == 200


async def test_r_au_7_row_limited_roles_are_not_offered(site: Site) -> None:
    """R-AU-7: no shipped policy limits rows yet, so the epidemiologist is an unknown role, with
    limits in the token or without: 403."""
    limits: list[dict[str, object]] = [
        {"jurisdictions": ["MI"]},
        {"conditions": [], "jurisdictions": ["MI"]},
        {"conditions": ["3928002"]},
        {},
    ]
    for limit in limits:
        for path in ("/Patient", f"/Patient/{REAL}"):
            answer = await site.ask(path, sign(claims(ecr_role="epidemiologist", **limit)))
            assert (answer.status, answer.code, site.calls) == (403, "forbidden", [])


@pytest.mark.parametrize(
    ("header", "more", "accepted"), [i[1:] for i in ISSUED], ids=[i[0] for i in ISSUED]
)
async def test_r_au_8_only_access_tokens_for_this_service(
    site: Site, header: dict[str, object], more: dict[str, object], accepted: bool
) -> None:
    """R-AU-8: ID tokens, refresh tokens and tokens for other clients of the same issuer are 401;
    its access tokens for this service are served."""
    answer = await site.ask("/Patient", sign(claims(**more), rsa_key("one"), header=header))
    if accepted:
        assert answer.status == 200
    else:
        assert_unauthorized(answer, site)
