"""Section 11 of the security requirements, R-HV-1 to R-HV-4, on the running product."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.fhir.codec import decode
from tests.security.product import DEID, INV, LDS, NEVER, PUBLIC, RESTRICTED, ROLES, product
from tests.security.revealing import MARKER, is_clean, observation, person
from tests.security.serving import Upstream, bundle, holding, link, local, post

REAL = f"MRN-{MARKER}"
# What the upstream knows a version by.
COUNTERS = ("versionId", "_history", 'W/"1"', 'W/"2"', "version")


def patient(**more: Any) -> Any:
    return person("Patient", REAL, gender="female", birthDate="1974-11-24", **more)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_hv_1_history_is_refused(role: str, tmp_path: Path) -> None:
    """R-HV-1: history of a resource, a type or the system is 403 with nothing asked, the same for
    what exists, does not exist and never did, in whatever form."""
    async with holding(patient()) as upstream, product(tmp_path) as running:
        upstream.store.write(patient(active=False))
        shown = running.shown(role, "Patient", REAL)
        never = running.shown(role, "Patient", NEVER)
        targets = [
            f"/Patient/{shown}/_history",
            f"/Patient/{never}/_history",
            f"/Patient/{REAL}/_history",
            "/Patient/_history",
            "/_history",
            f"/Patient/{shown}/_history?_count=1",
            "/_history?_since=2020-01-01T00:00:00Z",
            "/Patient/_history?_at=2020",
            "/Patient/_history/",
            f"/Patient/{shown}/%5Fhistory",
            "/Binary/_history",
        ]
        answers = {target: await running.get(role, target) for target in targets}
        for answer in answers.values():
            assert (answer.status, answer.code) == (403, "forbidden")
            assert is_clean(answer, REAL)
        assert len({str(answer.same) for answer in answers.values()}) == 1
        for target in targets:
            head = await running.ask(role, "HEAD", "/fhir" + target)
            assert (head.status, head.body) == (403, b"")
            assert (await running.ask(role, "POST", "/fhir" + target)).status in (403, 405)
        for url in ("_history", "Patient/_history", f"Patient/{shown}/_history"):
            answer = await post(running, role, orjson.dumps(bundle("batch", url)))
            assert answer.json["entry"][0]["response"]["status"][:3] == "403"
        assert (await running.get(role, "/_history/1")).status in (400, 404)
        assert upstream.calls() == []


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_hv_2_versions_are_refused(role: str, tmp_path: Path) -> None:
    """R-HV-2: a view with pseudonyms shows no version at all, whichever it is (of row-limited
    roles with real ids: test_rows)."""
    async with holding(patient()) as upstream, product(tmp_path) as running:
        upstream.store.write(patient(active=False))
        upstream.store.delete("Patient", REAL)
        answers = [
            await running.get(role, f"/Patient/{id_}/_history/{version}")
            for id_ in (running.shown(role, "Patient", REAL), NEVER, REAL)
            for version in ("1", "2", "3", "99", "current", "x.y-z")
        ]
        assert {(answer.status, answer.code) for answer in answers} == {(403, "forbidden")}
        assert len({str(answer.same) for answer in answers}) == 1
        assert upstream.calls() == []


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_hv_3_version_numbers_do_not_show(role: str, tmp_path: Path) -> None:
    """R-HV-3 (as the design amends it): no version and no upstream ETag in a read, search or
    batch; the ETag of a read is a keyed hash of what is shown."""
    seen = observation(subject={"reference": f"Patient/{REAL}/_history/2"})
    async with holding(patient(), seen) as upstream, product(tmp_path) as running:
        shown = running.shown(role, "Patient", REAL)
        id_ = running.shown(role, "Observation", "observation-1")
        batch = orjson.dumps(bundle("batch", f"Patient/{shown}", "Patient?gender=female"))
        etags = []
        for _ in range(2):
            answers = [
                await running.get(role, f"/Patient/{shown}"),
                await running.get(role, "/Patient?gender=female"),
                await running.get(role, f"/Observation/{id_}"),
                await post(running, role, batch),
            ]
            for answer in answers:
                assert answer.status == 200
                assert is_clean(answer, REAL, *COUNTERS)
                assert not {"last-modified", "content-location"} & set(answer.headers)
            etags.append(answers[0].headers["etag"])
            upstream.store.write(patient(active=True, name=[{"text": MARKER}]))
            upstream.store.write(patient())
        # What is shown is the same, unless the view shows when it was stored.
        assert (etags[0] == etags[1]) == (role == DEID)


async def test_r_hv_3_etags_differ_by_caller(tmp_path: Path) -> None:
    """R-HV-3: no two roles have an ETag in common, whatever is shown."""
    plain: Any = {"resourceType": "ValueSet", "id": "v", "status": "active"}
    async with holding(plain), product(tmp_path) as running:
        etags = {(await running.get(role, "/ValueSet/v")).headers["etag"] for role in ROLES}
        assert len(etags) == 3
        assert not etags & {'W/"1"', '"1"'}


def versions(upstream: Upstream) -> list[Any]:
    """60 versions of a patient, deleted at the 20th and the 41st, and made again."""
    for number in range(2, 61):
        if number in (20, 41):
            upstream.store.delete("Patient", REAL)
        else:
            upstream.store.write(patient(multipleBirthInteger=number))
    return list(upstream.store.history("Patient", REAL))


async def test_r_hv_4_history_is_complete(tmp_path: Path) -> None:
    """R-HV-4: 60 versions by sevens, deletions among them: all of them, in order, request and
    response parts as the upstream has them, links our own."""
    async with holding(patient()) as upstream, product(tmp_path) as running:
        stored = versions(upstream)
        assert len(stored) == 60
        for target in (f"/Patient/{REAL}/_history", "/Patient/_history", "/_history"):
            entries, following = [], f"{target}?_count=7"
            while following:
                answer = await running.get(INV, following)
                assert answer.status == 200
                assert answer.json["type"] == "history"
                assert len(answer.json["entry"]) <= 7
                assert answer.json.get("total", 60) == 60
                entries += answer.json["entry"]
                assert upstream.base not in answer.body.decode()
                for each in answer.json["link"]:
                    assert each["url"].startswith(f"{PUBLIC}{target}")
                url = link(answer, "next")
                following = local(url) if url else ""
            assert len(entries) == 60
            for entry, version in zip(entries, stored, strict=True):
                assert entry["fullUrl"] == f"{PUBLIC}/Patient/{REAL}"
                assert entry["request"] == {"method": version.method, "url": version.path}
                assert entry["response"]["etag"] == version.etag
                assert entry["response"]["lastModified"] == version.instant
                if version.resource is None:
                    assert "resource" not in entry
                else:
                    assert entry["resource"] == orjson.loads(version.body)
            assert sum(entry["request"]["method"] == "DELETE" for entry in entries) == 2


async def test_r_hv_4_versions_are_read(tmp_path: Path) -> None:
    """R-HV-4: every version is read as it was; a deletion is 410, what never was is 404."""
    async with holding(patient()) as upstream, product(tmp_path) as running:
        for version in versions(upstream):
            answer = await running.get(INV, f"/Patient/{REAL}/_history/{version.number}")
            if version.resource is None:
                assert (answer.status, answer.code) == (410, "deleted")
            else:
                assert answer.status == 200
                assert decode(answer.body) == decode(version.body)
                place = f"{PUBLIC}/Patient/{REAL}/_history/{version.number}"
                assert answer.headers["content-location"] == place
        for missing in (f"/Patient/{REAL}/_history/61", f"/Patient/{NEVER}/_history/1"):
            answer = await running.get(INV, missing)
            assert (answer.status, answer.code) == (404, "not-found")


async def test_r_hv_4_history_takes_its_own_parameters_only(tmp_path: Path) -> None:
    """R-HV-4, principle 2: what R4 does not give a history is refused, and so is what it gives in
    another form."""
    async with holding(patient()) as upstream, product(tmp_path) as running:
        for query in ("family=x", "_id=x", "_offset=1", "_getpages=x", "_count=x", "_since=x"):
            for target in (f"/Patient/{REAL}/_history", "/Patient/_history", "/_history"):
                answer = await running.get(INV, f"{target}?{query}")
                assert answer.status == 400
                assert answer.code in ("not-supported", "value")
        assert upstream.calls() == []


async def test_history_pages_are_the_callers(tmp_path: Path) -> None:
    """R-PG-2: a page of history is no page of another path, and of no other role."""
    async with holding(patient()) as upstream, product(tmp_path) as running:
        versions(upstream)
        answer = await running.get(INV, f"/Patient/{REAL}/_history?_count=7")
        following = local(link(answer, "next") or "")
        token = following.partition("?")[2]
        upstream.calls()
        assert (await running.get(LDS, following)).status == 403
        for path in ("/Patient/_history", "/_history", "/Patient", "/Patient/x/_history"):
            answer = await running.get(INV, f"{path}?{token}")
            assert (answer.status, answer.code) == (404, "not-found")
        assert upstream.calls() == []
