"""R-CF-1 to R-CF-3, R-UM-6 and R-UM-7 on the product: whatever breaks, nothing gets out."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.app import build
from proxy.config import ConfigErrors
from proxy.config.model import PolicySettings
from proxy.engine import (
    asking,
    batch,
    context,
    flow,
    leads,
    read,
    results,
    reveal,
    search,
    subjects,
)
from proxy.engine import document as document_
from proxy.engine import history as histories
from proxy.fhir.structure import RESOURCES
from proxy.lenses.identity import Namer
from proxy.policy.bundle import BundleWalk
from proxy.policy.compile import View
from proxy.shell import handler
from tests.conftest import REPOSITORY, free_port
from tests.security.product import (
    DEID,
    INV,
    RESTRICTED,
    ROLES,
    SERVED,
    Answer,
    Product,
    product,
)
from tests.security.revealing import (
    MARKER,
    composition,
    document,
    is_clean,
    observation,
    person,
    read_one,
)
from tests.security.serving import bundle, common, holding, link, local, post
from tests.security.test_upstream import acting
from tests.shell.raw import drip

REAL = f"MRN-{MARKER}"
Change = Callable[[Path], None]


def held() -> tuple[Any, ...]:
    return (
        person("Patient", REAL, gender="female"),
        person("Patient", "second", gender="female"),
        observation(subject={"reference": f"Patient/{REAL}"}),
        document(composition(), person("Patient", "patient-1")),
        composition(id="case", subject={"reference": f"Patient/{REAL}"}),
    )


def added(text: str) -> Change:
    def change(file: Path) -> None:
        file.write_text(file.read_text() + text)

    return change


def written(make: Callable[[bytes], bytes]) -> Change:
    def change(file: Path) -> None:
        file.write_bytes(make(file.read_bytes()))

    return change


def swapped(old: str, new: str) -> Change:
    def change(file: Path) -> None:
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))

    return change


DAMAGES: dict[str, Change] = {
    "missing": lambda file: file.unlink(),
    "empty": written(lambda _: b""),
    "not parseable": added("\n[elements\n"),
    "not UTF-8": written(lambda text: text + b"\n# \xff"),
    "cut off": written(lambda text: text[:-20]),
    "unknown table": added("\n[element]\nPatient = 1\n"),
    "unknown member": swapped("title ", "titel "),
    "unknown type": swapped("Observation ", "Observatory "),
    "unknown interaction": swapped('["read", "search"]', '["read", "write"]'),
    "unknown method": swapped('"generalize"', '"obscure"'),
    "wrong type": swapped("page-size = 100", 'page-size = "100"'),
    "unknown base": swapped('extends = "case-report"', 'extends = "no-such"'),
    "extends itself": swapped('extends = "case-report"', 'extends = "researcher-deidentified"'),
    "no access": swapped("[access]", "[acces]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_r_cf_1_a_damaged_policy_stops_the_start(damage: str, tmp_path: Path) -> None:
    """R-CF-1: a policy that is missing, empty, not parseable, or has an unknown or wrong member
    stops the start with the reason, and no view of the others is served without it. (There is no
    reload.)"""
    settings, _ = common()
    folder = tmp_path / "policies"
    shutil.copytree(REPOSITORY / "policies", folder)
    DAMAGES[damage](folder / f"{DEID}.toml")
    with pytest.raises(ConfigErrors) as error:
        build(replace(settings, policies=PolicySettings(folder)))
    assert DEID in str(error.value) or "no-such" in str(error.value)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_cf_2_types_without_a_rule_are_denied(role: str, tmp_path: Path) -> None:
    """R-CF-2: every type that the policy does not name is 403 with nothing asked, by read, search
    and batch, whether the id exists or not."""
    access = common()[1].gateway.views[role].policy.access
    others = sorted(set(RESOURCES) - set(access))
    assert {"Media", "Coverage", "Account", "Basic", "Consent", "Binary"} <= set(others)
    stored: list[Any] = [{"resourceType": t, "id": "x", "note": MARKER} for t in others]
    async with holding(*stored) as upstream, product(tmp_path) as running:
        answers = set()
        for type_ in others:
            shown = running.shown(role, type_, "x")
            for target in (f"/{type_}/{shown}", f"/{type_}/x", f"/{type_}", f"/{type_}?_id=x"):
                answer = await running.get(role, target)
                assert (answer.status, answer.code) == (403, "forbidden")
                answers.add(str(answer.same))
        assert len(answers) == 1
        for part in (others[:90], others[90:]):
            body = orjson.dumps(bundle("batch", *(f"{type_}/x" for type_ in part)))
            answer = await post(running, role, body)
            assert {e["response"]["status"][:3] for e in answer.json["entry"]} == {"403"}
            assert is_clean(answer)
        assert upstream.calls() == []


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_cf_2_nor_come_along(role: str, tmp_path: Path) -> None:
    """R-CF-2: such types are in no document, contained resource, include or reference."""
    access = common()[1].gateway.views[role].policy.access
    others: list[Any] = [
        {"resourceType": t, "id": f"x-{t.lower()}", "note": MARKER}
        for t in sorted(set(RESOURCES) - set(access))
    ]
    names = [{"reference": f"{r['resourceType']}/{r['id']}"} for r in others]
    section = {"title": "x", "entry": names}
    whole = await read_one(
        tmp_path, role, document(composition(section=[section]), *others, observation())
    )
    kinds = [e["resource"]["resourceType"] for e in whole["entry"]]
    assert set(kinds) <= {"Composition", "Observation"}
    text = orjson.dumps(whole).decode()
    assert not any(f'"{r["resourceType"]}/' in text or r["id"] in text for r in others)
    inside = [{**r, "id": f"c{n}"} for n, r in enumerate(others)]
    local_names = [{"reference": f"#{r['id']}"} for r in inside]
    shown = await read_one(
        tmp_path, role, observation(contained=inside, derivedFrom=local_names + names)
    )
    assert "contained" not in shown
    assert "derivedFrom" not in shown
    async with holding(*held()) as upstream, product(tmp_path) as running:
        for query in ("_include=*", "_revinclude=Media:subject", "_include=Patient:link"):
            answer = await running.get(role, f"/Patient?{query}")
            assert (answer.status, answer.code) == (403, "forbidden")
        assert upstream.calls() == []


class Fault(Exception):
    """No error of ours."""


# Every step of an exchange, where it is looked up.
STAGES: tuple[tuple[Any, str], ...] = (
    (flow, "classify"),
    (flow, "decide"),
    (flow, "negotiate"),
    (flow, "parse_query"),
    (flow, "parse_batch"),
    (batch, "decode_strict"),
    (batch, "make_entry"),
    (search, "narrow"),
    (search, "assemble"),
    (search, "print_query"),
    (search, "judge"),
    (search, "write_entry"),
    (asking, "check"),
    (asking, "read_bundle"),
    (results, "reveal"),
    (results, "render"),
    (results, "match_entry"),
    (results, "patients_of"),
    (search, "matches"),
    (asking, "next_url"),
    (document_, "fetch"),
    (document_, "load"),
    (document_, "reveal_resource"),
    (leads, "reference_texts"),
    (document_, "may"),
    (document_, "encode"),
    (document_, "patients_of"),
    (document_, "make_entry"),
    (document_, "assemble_document"),
    (document_, "tagged"),
    (read, "read_resource"),
    (read, "show"),
    (read, "patients_of"),
    (reveal, "load"),
    (reveal, "decode"),
    (View, "reveal"),
    (BundleWalk, "entries"),
    (Namer, "show_id"),
    (Namer, "real_ids"),
    (Namer, "show_uri"),
    (context, "seal"),
    (context, "unseal"),
    (context, "bind"),
    (context, "encode"),
    (context.Context, "scope"),
    (context.Context, "etag"),
    (context.Context, "audit_name"),
    (subjects, "parse_reference"),
    (handler, "make_call"),
    (handler, "drive"),
    (handler, "make_response"),
)
STAGE_NAMES = [f"{getattr(where, '__name__', where)}.{name}" for where, name in STAGES]


@pytest.mark.parametrize(("where", "name"), STAGES, ids=STAGE_NAMES)
async def test_r_cf_3_a_fault_in_any_stage_withholds_the_answer(
    where: Any,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """R-CF-3: a fault injected in any stage, for each restricted role and each kind of request, is
    a fixed error: no marker in body, headers, log or audit; afterwards the service goes on."""
    caplog.set_level(logging.DEBUG)
    asked = hits = 0

    def fail(*_: object, **__: object) -> Any:
        nonlocal hits
        hits += 1
        raise Fault(f"{MARKER} {REAL}")

    async with holding(*held()), product(tmp_path) as running:
        for role in RESTRICTED:
            kinds = await kinds_of(running, role)
            with monkeypatch.context() as patched:
                patched.setattr(where, name, fail)
                for send in kinds:
                    before = hits
                    answer = await send()
                    asked += hits > before
                    if hits > before:
                        check_closed(answer)
                    assert is_clean(answer, REAL)
            assert (await kinds[0]()).status == 200
        assert asked >= 2  # the fault was met by each role
        # aiohttp.access is the upstream's, which runs in this process too.
        ours = [record for record in caplog.records if record.name != "aiohttp.access"]
        assert ours
        assert not any(MARKER in str(vars(record)) for record in ours)
        assert MARKER not in str(running.audit())


def check_closed(answer: Answer) -> None:
    assert answer.status in (500, 502, 503)
    assert answer.code in ("exception", "incomplete", "transient")


async def kinds_of(running: Product, role: str) -> list[Callable[[], Any]]:
    """A request of each kind that is answered with data."""
    patient = f"/Patient/{running.shown(role, 'Patient', REAL)}"
    stored = f"/Bundle/{running.shown(role, 'Bundle', 'document-1')}"
    made = f"/Composition/{running.shown(role, 'Composition', 'case')}/$document"
    page = await running.get(role, "/Patient?gender=female&_count=1")
    following = local(link(page, "next") or "")
    body = orjson.dumps(bundle("batch", patient[1:], "Patient?gender=female"))

    def get(target: str) -> Callable[[], Any]:
        return lambda: running.get(role, target)

    asked = (patient, stored, made, "/Patient?gender=female&_count=1", following)
    return [*map(get, asked), lambda: post(running, role, body)]


@pytest.mark.parametrize("raised", [MemoryError, RecursionError, KeyError, AssertionError, OSError])
async def test_r_cf_3_whatever_is_raised(
    raised: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-CF-3: errors of the machine and of the language are no exception."""

    def fail(*_: object, **__: object) -> Any:
        raise raised(MARKER)

    async with holding(*held()), product(tmp_path) as running:
        for role in RESTRICTED:
            kinds = await kinds_of(running, role)
            with monkeypatch.context() as patched:
                patched.setattr(View, "reveal", fail)
                for send in kinds:
                    answer = await send()
                    check_closed(answer)
                    assert is_clean(answer, REAL)


async def test_r_cf_3_history_fails_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R-CF-3: nor is the investigator's history an exception."""

    def fail(*_: object, **__: object) -> Any:
        raise Fault(MARKER)

    async with holding(*held()), product(tmp_path) as running:
        for name in ("read_bundle", "make_entry", "pass_through", "assemble", "patients_of"):
            with monkeypatch.context() as patched:
                patched.setattr(histories, name, fail)
                answer = await running.get(INV, f"/Patient/{REAL}/_history")
                check_closed(answer)
                assert not answer.says(MARKER)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", ["/Patient/{}", "/Patient?gender=female"])
async def test_r_um_6_an_upstream_that_drips(role: str, path: str, tmp_path: Path) -> None:
    """R-UM-6: an answer that comes byte by byte is 504 within the configured total, and broken
    off."""
    settings = common()[0]
    quick = {"upstream": replace(settings.upstream, timeout=0.4)}
    async with acting(drip) as behind, product(tmp_path, **quick) as running:
        async with asyncio.timeout(2):
            answer = await running.get(role, path.format(running.shown(role, "Patient", REAL)))
        assert (answer.status, answer.code) == (504, "timeout")
        assert len(behind.log) == 1


@pytest.mark.parametrize("role", ROLES)
async def test_r_um_7_upstreams_out_of_reach(role: str, tmp_path: Path) -> None:
    """R-UM-7: a name that does not resolve, a TLS error and a refused connection are 503 or 504
    (never 200 or 404), without a word on why."""
    settings = common()[0]

    async def no_tls(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 " + MARKER.encode() + b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(no_tls, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        for url in (
            "https://no-such-host.invalid/fhir",
            f"https://127.0.0.1:{port}/fhir",
            f"http://127.0.0.1:{free_port()}/fhir",
        ):
            other = {"upstream": replace(settings.upstream, url=url)}
            async with product(tmp_path, **other) as running:
                shown = running.shown(role, "Patient", REAL)
                for target in (f"/Patient/{shown}", "/Patient?gender=female"):
                    answer = await running.get(role, target)
                    assert answer.status in (502, 503, 504)
                    assert answer.code in ("transient", "timeout", "exception")
                    assert int(answer.headers.get("retry-after", "1")) <= 120
                    assert is_clean(answer, "invalid", "127.0.0.1", "ssl", "connect")


def test_roles_are_those_tested() -> None:
    """Every restricted role that the configuration serves is known to these tests."""
    views = common()[1].gateway.views
    restricted = {role for role, view in views.items() if not view.identity}
    assert restricted == set(SERVED) - {INV}
