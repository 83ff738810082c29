"""Section 12 of the security requirements, R-CA-1 to R-CA-5, on the running product.

R-CA-6 is about load and comes with the load tests.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Mapping
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
from tests.security.serving import (
    bundle,
    caller,
    holding,
    post,
    resources,
    search,
    settings_with,
)

REAL = f"MRN-{MARKER}"


def held() -> tuple[Any, ...]:
    return (
        person("Patient", REAL, gender="female", birthDate="1974-11-24"),
        observation(subject={"reference": f"Patient/{REAL}"}),
    )


def urls(running: Product, role: str) -> tuple[str, str]:
    return f"/Patient/{running.shown(role, 'Patient', REAL)}", "/Patient?gender=female"


def check_view(role: str, answer: Answer) -> None:
    """The answer is what this role sees, and nothing of another's."""
    assert answer.status == 200
    found = resources(answer)[0] if answer.json["resourceType"] == "Bundle" else answer.json
    assert (MARKER in answer.body.decode()) == (role == INV)
    assert found["birthDate"] == ("1974" if role == DEID else "1974-11-24")
    if role != INV:
        assert is_clean(answer, REAL)


@pytest.mark.parametrize("order", list(itertools.permutations(ROLES)))
async def test_r_ca_1_nothing_is_served_to_another(order: tuple[str, ...], tmp_path: Path) -> None:
    """R-CA-1: read and search in every order of roles, and again: each gets its own view."""
    async with holding(*held()), product(tmp_path) as running:
        first: dict[str, bytes] = {}
        for role in (*order, *reversed(order), *order):
            for url in urls(running, role):
                answer = await running.get(role, url)
                check_view(role, answer)
                assert first.setdefault(role + url, answer.body) == answer.body


async def test_r_ca_1_projects_do_not_share(tmp_path: Path) -> None:
    """R-CA-1: two persons of one role and two projects have their own pseudonyms, each time."""
    other = caller("other", LDS, project="study-8", subject="another")
    async with holding(*held()), product(tmp_path, **settings_with(other)) as running:
        for _ in range(3):
            mine = resources(await running.get(LDS, "/Patient"))
            theirs = resources(await running.get("other", "/Patient"))
            assert mine[0]["id"] != theirs[0]["id"]


async def test_r_ca_1_concurrently(tmp_path: Path) -> None:
    """R-CA-1: all roles at once, each gets its own view."""
    async with holding(*held()), product(tmp_path) as running:
        asked = [(role, url) for role in ROLES for url in urls(running, role)] * 15
        answers = await asyncio.gather(*(running.get(role, url) for role, url in asked))
        for (role, _), answer in zip(asked, answers, strict=True):
            check_view(role, answer)


@pytest.mark.parametrize("role", [*ROLES, None])
async def test_r_ca_2_no_cache_may_store(role: str | None, tmp_path: Path) -> None:
    """R-CA-2: every answer, data or error or description, says no-store, and varies by
    Authorization and Accept."""
    async with holding(*held()), product(tmp_path) as running:
        targets = ["/metadata", "/.well-known/smart-configuration", "/Patient?family=x", "/x"]
        targets += ["/Patient?_format=xml", "/Patient?_count=x", f"/Patient/{NEVER}"]
        if role is not None:
            targets += urls(running, role)
        answers = [await running.get(role, target) for target in targets]
        answers.append(await running.ask(role, "HEAD", "/fhir" + targets[-1]))
        answers.append(await running.ask(role, "PUT", "/fhir" + targets[-1], data=b"{}"))
        answers.append(await post(running, role, orjson.dumps(bundle("batch", "Patient"))))
        if role is not None:
            etag = (await running.get(role, targets[-2])).headers["etag"]
            known = await running.get(role, targets[-2], headers={"If-None-Match": etag})
            assert known.status == 304
            answers.append(known)
        for answer in answers:
            assert answer.headers["cache-control"] == "no-store"
            assert {"Authorization", "Accept"} <= set(answer.headers["vary"].split(", "))
            assert not {"expires", "age", "pragma"} & set(answer.headers)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_ca_3_versions_cannot_be_tested(role: str, tmp_path: Path) -> None:
    """R-CA-3: the upstream's validators, any wildcard and another's ETag give the same 200 as
    without; none of them goes upstream. The caller's own ETag gives 304."""
    async with holding(*held()) as upstream, product(tmp_path) as running:
        for _ in range(16):
            upstream.store.write(held()[0])  # now at version 17
        url, _ = urls(running, role)
        plain = await running.get(role, url)
        check_view(role, plain)
        own = plain.headers["etag"]
        foreign = [
            (await running.get(other, urls(running, other)[0])).headers["etag"]
            for other in ROLES
            if other != role
        ]
        guesses = [f'W/"{n}"' for n in range(1, 31)] + [f'"{n}"' for n in range(1, 31)]
        guesses += ["*", "17", "W/17", ", ".join(f'W/"{n}"' for n in range(1, 31)), *foreign]
        guesses += [own[:-2] + '"', own.replace("W/", "W/W/"), own.swapcase(), '""', 'W/""']
        tests: list[Mapping[str, str]] = [{"If-None-Match": guess} for guess in guesses]
        late = "Fri, 01 Jan 2100 00:00:00 GMT"
        tests += [
            {"If-Modified-Since": late},
            {"If-Modified-Since": "Mon, 05 Jan 2026 06:00:18 GMT"},
            {"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
            {"If-Match": 'W/"1"'},
            {"If-Match": own},
            {"If-Range": own, "Range": "bytes=0-5"},
            {"If-None-Match": 'W/"17"', "If-Modified-Since": late},
        ]
        for headers in tests:
            answer = await running.get(role, url, headers=headers)
            assert answer.same == plain.same, headers
        validators = ("if-none-match", "if-modified-since", "if-match", "if-unmodified-since")
        assert not any(name in asked.headers for asked in upstream.log for name in validators)
        for known in (own, own.removeprefix("W/"), f'W/"1", {own}, "x"'):
            answer = await running.get(role, url, headers={"If-None-Match": known})
            assert (answer.status, answer.body) == (304, b"")
            assert answer.headers["etag"] == own


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_ca_3_missing_is_missing(role: str, tmp_path: Path) -> None:
    """R-CA-3: with a validator, too, what does not exist is the same 404."""
    async with holding(*held()), product(tmp_path) as running:
        etag = (await running.get(role, urls(running, role)[0])).headers["etag"]
        target = f"/Patient/{running.shown(role, 'Patient', NEVER)}"
        plain = await running.get(role, target)
        assert (plain.status, plain.code) == (404, "not-found")
        for guess in ("*", 'W/"1"', etag):
            assert (await running.get(role, target, headers={"If-None-Match": guess})).same == (
                plain.same
            )


# Pairs that a careless cache key would confuse.
NEAR = (
    ("code=a%26_id=b", "code=a&_id=b"),
    ("code=8480-6,1-8", "code=8480-6&code=1-8"),
    ("code=8480-6&status=final", "status=final&code=8480-6"),
    ("code=8480-6&code=8480-6", "code=8480-6"),
    ("code=8480-6", "code:not=http://loinc.org|8480-6"),
    ("code=http://loinc.org|8480-6", "code=http://loinc.org%257C8480-6"),
    ("code=8480%2D6", "code=8480%252D6"),
    ("code=8480-6&x=1&x=2", "code=8480-6&x=2&x=1"),
    ("_id=a,b", "_id=b,a"),
    ("code=A", "code=a"),
    ("code=8480-6&_count=1", "code=8480-6&_count=2"),
    ("code=8480-6&_elements=status", "code=8480-6&_elements=code"),
    ("code=8480-6&_pretty=true", "code=8480-6&_pretty=false"),
)


@pytest.mark.parametrize("role", ROLES)
async def test_r_ca_4_keys_are_exact(role: str, tmp_path: Path) -> None:
    """R-CA-4: near requests, by GET and POST, in both orders, are answered as if each were the
    first."""
    pairs = [query for pair in NEAR for query in pair]
    alone: dict[tuple[str, str], tuple[int, bytes]] = {}
    async with holding(*held(), observation(id="b")), product(tmp_path) as running:
        for query in pairs:
            async with product(tmp_path) as fresh:
                for method in ("GET", "POST"):
                    alone[method, query] = await ask(fresh, role, method, query)
        for query in (*pairs, *reversed(pairs)):
            for method in ("GET", "POST", "GET"):
                assert await ask(running, role, method, query) == alone[method, query]
        assert alone["GET", "code=a%26_id=b"] != alone["GET", "code=a&_id=b"]


async def ask(running: Product, role: str, method: str, query: str) -> tuple[int, bytes]:
    if method == "GET":
        answer = await running.get(role, f"/Observation?{query}")
    else:
        answer = await search(running, role, "Observation", query)
    # Equal page links have different tokens: each seals when it expires.
    return answer.status, re.sub(rb"_page=[A-Za-z0-9_-]+", b"_page=", answer.body)


async def test_r_ca_5_concurrent_requests_are_not_merged(tmp_path: Path) -> None:
    """R-CA-5: the same search by investigator and researchers at the same instant, 500 times over:
    no mixed answer."""
    async with holding(*held()), product(tmp_path) as running:
        for _ in range(10):
            asked = [INV, DEID, INV, LDS, DEID] * 10
            answers = await asyncio.gather(
                *(running.get(role, "/Patient?gender=female") for role in asked)
            )
            bodies: dict[str, set[bytes]] = {}
            for role, answer in zip(asked, answers, strict=True):
                bodies.setdefault(role, set()).add(answer.body)
            assert [len(of_role) for of_role in bodies.values()] == [1, 1, 1]
            for role in ROLES:
                check_view(role, next(a for r, a in zip(asked, answers, strict=True) if r == role))


async def test_r_ca_4_the_upstream_is_told_not_to_reuse(tmp_path: Path) -> None:
    """R-CA-4: every search asks the upstream anew (HAPI else reuses one for a minute)."""
    async with holding(*held()) as upstream, product(tmp_path) as running:
        for role in ROLES:
            before = await running.get(role, "/Patient?gender=female")
            assert len(resources(before)) == 1
        assert {asked.headers.get("cache-control") for asked in upstream.log} == {"no-cache"}
        upstream.store.delete("Patient", REAL)
        for role in ROLES:
            assert resources(await running.get(role, "/Patient?gender=female")) == []
