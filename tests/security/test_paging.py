"""Section 5 of the security requirements, R-PG-1 to R-PG-6, on the running product."""

from __future__ import annotations

import base64
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.app import build
from proxy.config.model import PolicySettings
from proxy.demo.generator import cases
from tests.conftest import REPOSITORY
from tests.security.product import (
    DEID,
    EPI,
    INV,
    LDS,
    PUB,
    PUBLIC,
    RESTRICTED,
    ROLES,
    Product,
    product,
)
from tests.security.revealing import MARKER, address, is_clean, observation, person
from tests.security.serving import (
    caller,
    common,
    holding,
    link,
    local,
    product_of,
    resources,
    search,
    settings_with,
)

QUERY = "/Patient?gender=female&_count=2"
# Who pages through patients: the epidemiologist, too, through those of the program's state.
PAGING = (*ROLES, EPI)
HOME = [{**address(), "state": "MI"}]


def women(count: int) -> list[Any]:
    return [
        person(
            "Patient", f"MRN-{MARKER}-{n:04}", gender="female", birthDate="1974-11-24", address=HOME
        )
        for n in range(count)
    ]


def withheld(number: int) -> Any:
    """A patient who is not shown to restricted roles: a root modifier that nobody listed."""
    change = {"url": f"http://example.org/{MARKER}", "valueBoolean": True}
    real = f"withheld-{MARKER}-{number:04}"
    found = person("Patient", real, gender="female", address=HOME)
    return {**found, "modifierExtension": [change]}


async def walk(running: Product, role: str, target: str) -> list[Any]:
    """All pages from ``target`` on."""
    pages, following = [], target
    while following:
        answer = await running.get(role, following)
        assert answer.status == 200
        pages.append(answer)
        url = link(answer, "next")
        following = local(url) if url else ""
    return pages


async def next_of(running: Product, role: str, target: str = QUERY) -> str:
    answer = await running.get(role, target)
    url = link(answer, "next")
    assert url is not None
    return local(url)


@pytest.mark.parametrize("role", PAGING)
async def test_r_pg_1_links_are_our_own(role: str, tmp_path: Path) -> None:
    """R-PG-1: every link begins with the public base; nothing of the upstream's page links shows,
    in no encoding; following works, by the whole result, and is clean."""
    # So many withheld rows that the upstream's own pages are needed.
    between = [] if role == INV else [withheld(number) for number in range(160)]
    held = [*women(3), *between, *women(7)[3:]]
    async with holding(*held) as upstream, product(tmp_path) as running:
        pages = await walk(running, role, QUERY)
        assert [len(resources(page)) for page in pages] == [2, 2, 2, 1]
        port = upstream.base.rpartition(":")[2].partition("/")[0]
        said = " ".join(asked.target for asked in upstream.log)
        assert "_getpages=" in said
        tokens = [part.partition("&")[0] for part in said.split("_getpages=")[1:]]
        assert tokens
        for page in pages:
            for each in page.json["link"]:
                assert each["url"].startswith(PUBLIC + "/Patient?")
            secrets = (upstream.base, f":{port}", "_getpages", *tokens)
            body = page.body.decode() + str(page.headers)
            assert not any(secret in body for secret in secrets)
            assert "id" not in page.json  # HAPI's is the page token
            if role in RESTRICTED:
                assert is_clean(page, *secrets)


@pytest.mark.parametrize("role", PAGING)
async def test_r_pg_1_tokens_are_protected(role: str, tmp_path: Path) -> None:
    """R-PG-1: a token that was changed, shortened, lengthened or made up is no page, without an
    upstream call; upstream tokens and offsets are refused."""
    async with holding(*women(5)) as upstream, product(tmp_path) as running:
        path = await next_of(running, role)
        head, token = path.split("_page=")
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        flipped = [
            raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
            for at in (0, 7, 15, 16, 40, len(raw) // 2, len(raw) - 1)
        ]
        forged = [base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in flipped]
        forged += [token[:-4], token + "AAAA", token[4:], "", "x", "%00", "A" * 2000]
        forged += [token.swapcase(), token[::-1], "..%2F..%2Fmetadata", "http://evil.example/"]
        assert len(upstream.calls()) == 1
        for one in forged:
            answer = await running.get(role, f"{head}_page={one}")
            calls = upstream.calls()
            if one == "":  # no page is asked for: the first one
                assert answer.status in (200, 400)
            elif one == "%00":
                assert (answer.status, answer.code, calls) == (400, "value", [])
            else:
                assert (answer.status, answer.code) in ((404, "not-found"), (410, "expired"))
                assert calls == []
        for query in ("_getpages=1", "_getpagesoffset=2", "_offset=2", "_bundletype=searchset"):
            answer = await running.get(role, f"/Patient?{query}")
            assert answer.status in (400, 403)
            answer = await running.get(role, f"?{query}")
            assert answer.status in (400, 404)
            answer = await running.get(role, f"{path}&{query}")
            assert answer.status in (400, 403)
        for type_ in ("Observation", "Bundle"):
            answer = await running.get(role, path.replace("Patient", type_))
            assert (answer.status, answer.code) == (404, "not-found")
        assert upstream.calls() == []
        assert (await running.get(role, path)).status == 200


@pytest.mark.parametrize("role", PAGING)
async def test_r_pg_1_a_page_takes_no_other_parameters(role: str, tmp_path: Path) -> None:
    """R-PG-1: a page link cannot be widened, by URL or by form."""
    async with holding(*women(5)) as upstream, product(tmp_path) as running:
        path = await next_of(running, role)
        upstream.calls()
        for more in ("family=x", "_count=100", "_id=x", "_elements=name", "_sort=family"):
            assert (await running.get(role, f"{path}&{more}")).status in (400, 403)
            assert (await search(running, role, "Patient", path[9:] + "&" + more)).status >= 400
        assert (await running.get(role, path + "&" + path[9:])).status in (400, 403)
        assert upstream.calls() == []


OTHERS = (
    caller("other-inv", INV, subject="another"),
    caller("other-lds", LDS, subject="another"),
    caller("other-deid", DEID, subject="another"),
    caller("project-inv", INV, project="study-8"),
    caller("project-lds", LDS, project="study-8"),
    caller("project-deid", DEID, project="study-8"),
    caller("narrow-inv", INV, scopes=frozenset({"user/Patient.rs"})),
    caller("narrow-lds", LDS, scopes=frozenset({"user/Patient.rs"})),
    caller("narrow-deid", DEID, scopes=frozenset({"user/Patient.rs"})),
    caller("claims-inv", INV, claims={"conditions": ["3928002"]}),
    caller("claims-lds", LDS, claims={"conditions": ["3928002"]}),
    caller("claims-deid", DEID, claims={"conditions": ["3928002"]}),
    caller("moved-inv", INV, subject=f"{LDS}-client"),
    caller("moved-lds", LDS, subject=f"{INV}-client"),
    caller("moved-deid", DEID, subject=f"{INV}-client"),
    caller("other-epi", EPI, subject="another"),
    caller("project-epi", EPI, project="study-8"),
    caller("narrow-epi", EPI, scopes=frozenset({"user/Patient.rs"})),
    caller("claims-epi", EPI, claims={"conditions": ["3928002"], "jurisdictions": ["GA"]}),
    caller("moved-epi", EPI, subject=f"{INV}-client"),
)
_WAYS = ("other", "project", "narrow", "claims", "moved")
OTHER_NAMES = (
    *(f"{what}-{who}" for what in _WAYS for who in ("inv", "lds", "deid")),
    *(f"{what}-epi" for what in _WAYS),
)


@pytest.mark.parametrize("role", PAGING)
async def test_r_pg_2_a_link_is_useless_to_anyone_else(role: str, tmp_path: Path) -> None:
    """R-PG-2: in other hands a page link is 404, one and the same; in the same hands under another
    role, project, scopes or claims it has gone (R-PG-6); the upstream is not asked."""
    async with (
        holding(*women(5)) as upstream,
        product(tmp_path, **settings_with(*OTHERS)) as running,
    ):
        path = await next_of(running, role)
        upstream.calls()
        answers: dict[bool, list[Any]] = {True: [], False: []}
        subjects = {other: f"{other}-client" for other in PAGING}
        subjects |= {name: each.subject for name, each in zip(OTHER_NAMES, OTHERS, strict=True)}
        for other, subject in subjects.items():
            if other != role:
                mine = answers[subject == f"{role}-client"]
                mine.append(await running.get(other, path))
                mine.append(await search(running, other, "Patient", path[9:]))
        for own, status in ((False, (404, "not-found")), (True, (410, "expired"))):
            assert {(answer.status, answer.code) for answer in answers[own]} == {status}
            assert len({str(answer.same) for answer in answers[own]}) == 1
        assert (await running.get(None, path)).status == 401
        assert (await running.get(PUB, path)).status == 403  # who has no patients at all
        assert upstream.calls() == []


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_pg_3_self_link_is_in_the_callers_terms(role: str, tmp_path: Path) -> None:
    """R-PG-3: self is the public base with the given parameters; the real id that is asked for
    shows nowhere, nor what else went upstream."""
    real = f"MRN-{MARKER}"
    held = (person("Patient", real), observation(subject={"reference": f"Patient/{real}"}))
    async with holding(*held) as upstream, product(tmp_path) as running:
        shown = running.shown(role, "Patient", real)
        for given, written in (
            (f"patient=Patient/{shown}", f"patient=Patient/{shown}"),
            (f"patient={shown}", f"patient={shown}"),
            (f"subject:Patient={shown}&_count=5", f"subject:Patient={shown}&_count=5"),
            (f"subject={PUBLIC}/Patient/{shown}", f"subject={PUBLIC}/Patient/{shown}"),
            ("code=8480-6", "code=8480-6"),
            ("_elements=status&status=final", "_elements=status&status=final"),
        ):
            for answer in (
                await running.get(role, f"/Observation?{given}"),
                await search(running, role, "Observation", given),
            ):
                assert answer.status == 200
                url = link(answer, "self") or ""
                plain = url.replace("%2F", "/").replace("%3A", ":")
                assert plain == f"{PUBLIC}/Observation?{written}"
                assert len(resources(answer)) == 1
                assert is_clean(answer, real)
        forms = b" ".join(body for _, _, body in upstream.calls())
        assert real.encode() in forms


async def test_r_pg_3_self_link_of_the_identity_view(tmp_path: Path) -> None:
    """R-PG-3: the identity view adds _total and a page size upstream; self shows neither."""
    async with holding(*women(2)), product(tmp_path) as running:
        answer = await running.get(INV, "/Patient?gender=female")
        assert link(answer, "self") == f"{PUBLIC}/Patient?gender=female"


@pytest.mark.parametrize("role", PAGING)
async def test_r_pg_4_paging_loses_nothing(role: str, tmp_path: Path) -> None:
    """R-PG-4: 1 000 rows by sevens give exactly the visible set, each row once, in storage order;
    withheld rows between them leave no gap."""
    seen: list[Any] = women(700)
    held = list(seen)
    for number in range(300):
        held.insert((number * 7919) % len(held), withheld(number))
    visible = [p["id"] for p in held if role == INV or "modifierExtension" not in p]
    async with holding(*held), product(tmp_path) as running:
        pages = await walk(running, role, "/Patient?gender=female&_count=7")
        ids = [r["id"] for page in pages for r in resources(page)]
        assert ids == [running.shown(role, "Patient", real) for real in visible]
        sizes = [len(resources(page)) for page in pages]
        assert set(sizes[:-1]) == {7}
        assert 1 <= sizes[-1] <= 7
        if role != INV:
            assert all("total" not in page.json for page in pages)


def check_names(document: Any, *, identity: bool) -> None:
    """Every fullUrl matches its resource, and the Composition's references resolve."""
    urls = {}
    for entry in document["entry"]:
        found, url = entry["resource"], entry["fullUrl"]
        if url.startswith("urn:uuid:"):
            assert identity or url == f"urn:uuid:{found['id']}"
        elif not identity or url.startswith(PUBLIC):
            assert url == f"{PUBLIC}/{found['resourceType']}/{found['id']}"
        urls[url] = found
        if not url.startswith("urn:"):
            urls["/".join(url.split("/")[-2:])] = found
    composition = document["entry"][0]["resource"]
    named = [composition["subject"], *composition["author"]]
    named += [e for s in composition.get("section", ()) for e in s.get("entry", ())]
    resolved = [e for e in named if "reference" in e]
    assert len(resolved) > 5
    for each in resolved:
        target = each["reference"]
        assert target in urls or f"urn:uuid:{target}" in urls, target


@pytest.mark.parametrize("role", ROLES)
async def test_r_pg_5_full_urls_match(role: str, tmp_path: Path) -> None:
    """R-PG-5: in searches and documents fullUrl is the public base with type and shown id, or a
    mapped urn:uuid; references resolve inside the Bundle as they did when stored."""
    held: list[Any] = []
    upstream_base = common()[0].upstream.url
    for case in cases(3, 5, base=upstream_base):
        held += [*case.resources, case.eicr]
    unique = {(r["resourceType"], r["id"]): r for r in held}
    async with holding(*unique.values()), product(tmp_path) as running:
        for kind in sorted({k for k, _ in unique} - {"Bundle"}):
            answer = await running.get(role, f"/{kind}?_count=20")
            if answer.status == 403:
                continue  # a type that the role does not have
            assert answer.status == 200
            for entry in answer.json.get("entry", ()):
                shown = entry["resource"]
                assert entry["fullUrl"] == f"{PUBLIC}/{kind}/{shown['id']}"
        for real in [i for k, i in unique if k == "Bundle"]:
            target = f"/Bundle/{running.shown(role, 'Bundle', real)}"
            check_names((await running.get(role, target)).json, identity=role == INV)


@pytest.mark.parametrize("role", PAGING)
async def test_r_pg_6_a_refreshed_token_goes_on(role: str, tmp_path: Path) -> None:
    """R-PG-6: another bearer token of the same caller continues the pages."""
    again = settings_with(caller("again", role))
    async with holding(*women(5)), product(tmp_path, **again) as running:
        path = await next_of(running, role)
        mine, refreshed = await running.get(role, path), await running.get("again", path)
        assert mine.status == refreshed.status == 200
        assert resources(mine) == resources(refreshed)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_pg_6_a_changed_policy_ends_a_page(role: str, tmp_path: Path) -> None:
    """R-PG-6: after the policy is tightened, or the link's time is over, page 2 is 404 or 410 and
    nothing is asked; a new search is judged under the new policy."""
    settings, parts = common()
    folder = tmp_path / "policies"
    shutil.copytree(REPOSITORY / "policies", folder)
    file = folder / f"{role}.toml"
    text = file.read_text()
    text += "" if "[elements]" in text else "\n[elements]"
    file.write_text(text.replace("[elements]", '[elements]\n"Patient.gender" = "remove"\n'))
    changed = replace(settings, policies=PolicySettings(folder))
    late = replace(parts.gateway, limits=replace(parts.gateway.limits, page_seconds=-1))
    async with holding(*women(5)) as upstream:
        async with product(tmp_path) as running:
            path = await next_of(running, role)
        async with product_of(tmp_path, build(changed)) as running:
            upstream.calls()
            answer = await running.get(role, path)
            assert (answer.status, answer.code) in ((404, "not-found"), (410, "expired"))
            assert (await running.get(role, QUERY)).status == 403
            assert upstream.calls() == []
        async with product_of(tmp_path, replace(parts, gateway=late)) as running:
            path = await next_of(running, role)
            upstream.calls()
            answer = await running.get(role, path)
            assert (answer.status, answer.code) == (410, "expired")
            assert upstream.calls() == []


@pytest.mark.parametrize("role", RESTRICTED)
async def test_page_tokens_have_one_length(role: str, tmp_path: Path) -> None:
    """Design section 1: the length of a token tells nothing of the data, nor of the page."""
    lengths = set()
    for held in (women(9), [*women(2), *(withheld(n) for n in range(30)), *women(9)[2:]]):
        async with holding(*held), product(tmp_path) as running:
            pages = await walk(running, role, QUERY)
            lengths |= {len(url) for page in pages if (url := link(page, "next"))}
    assert len(lengths) == 1
