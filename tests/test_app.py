"""The composition root: good settings make an application, bad ones are refused, all at once."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from proxy.app import build, create_app
from proxy.config import ConfigErrors, PolicySettings, Settings, read_settings
from proxy.lenses.keys import KeyRing
from proxy.shell.protocol import Listener
from tests.conftest import REPOSITORY
from tests.shell.raw import PATIENT, reply, upstream

TOKEN = "a-long-random-token"
ROLES = ("investigator", "researcher-limited", "researcher-deidentified")


def settings(folder: Path, base: str = "http://127.0.0.1:9/fhir", extra: str = "") -> Settings:
    """Settings in ``folder`` with keys, all shipped policies and a static token per role."""
    keys = folder / "keys.json"
    keys.touch(0o600)
    keys.write_bytes(KeyRing.new(os.urandom(32), os.urandom(32), date.today()).write())
    tokens = "".join(
        f'[[auth.token]]\nsha256 = "{hashlib.sha256(f"{TOKEN}-{role}".encode()).hexdigest()}"\n'
        f'subject = "someone"\nrole = "{role}"\nproject = "study-7"\n'
        for role in ROLES
    )
    roles = "".join(f'{role} = "{role}"\n' for role in ROLES)
    text = (
        f'[server]\npublic-url = "https://ecr.example.org/fhir"\n'
        f'[upstream]\nurl = "{base}"\n{extra}\n{tokens}[roles]\n{roles}'
        f'[policies]\ndirectory = "{REPOSITORY / "policies"}"\n'
    )
    return read_settings(text, file="config.toml", base=folder)


async def test_settings_become_a_server(tmp_path: Path) -> None:
    """The application reads through a view, speaks our protocol, and sends its credential."""
    (tmp_path / "token").write_text("service-token\n")
    act = reply("200 OK", PATIENT)
    async with upstream(act) as behind:
        made = create_app(settings(tmp_path, behind.base, 'token-file = "token"'))
        async with TestServer(made, host="127.0.0.1") as server:
            assert server.runner is not None
            assert isinstance(server.runner.server, Listener)
            headers = {"Authorization": f"Bearer {TOKEN}-investigator"}
            async with (
                aiohttp.ClientSession() as session,
                session.get(server.make_url("/fhir/Patient/1"), headers=headers) as response,
            ):
                assert (response.status, await response.read()) == (200, PATIENT)
        (asked,) = behind.log
        assert asked.headers["authorization"] == "Bearer service-token"


def test_limits_reach_the_engine(tmp_path: Path) -> None:
    """What a page may cost, and what may come along with it, is as configured."""
    made = build(settings(
        tmp_path, "http://127.0.0.1:9/fhir", "[limits]\npage-asks = 7\npage-included = 8"))
    assert (made.gateway.limits.asks, made.gateway.limits.included) == (7, 8)


Break = Callable[[Path], str]


def no_keys(folder: Path) -> str:
    (folder / "keys.json").unlink()
    return "keys.json: does not exist"


def open_keys(folder: Path) -> str:
    (folder / "keys.json").chmod(0o644)
    return "keys.json: is open to other users"


def audit_directory(folder: Path) -> str:
    (folder / "audit.ndjson").mkdir()
    return "[audit] file cannot be appended to"


@pytest.mark.parametrize("break_it", [no_keys, open_keys, audit_directory])
def test_bad_files_stop_the_start(break_it: Break, tmp_path: Path) -> None:
    """R-CF-1, R-ID-8: keys or audit file that cannot be used are one clear line each."""
    good = settings(tmp_path)
    expected = break_it(tmp_path)
    with pytest.raises(ConfigErrors) as raised:
        build(good)
    (line,) = raised.value.mistakes
    assert expected in line


def test_mistakes_come_all_at_once(tmp_path: Path) -> None:
    """R-CF-1: roles without policy, a policy that is only extended, a missing credential and
    missing keys are told together, each in one line."""
    text = (
        '[upstream]\nurl = "http://127.0.0.1:9/fhir"\ntoken-file = "none"\n'
        f'[[auth.token]]\nsha256 = "{hashlib.sha256(TOKEN.encode()).hexdigest()}"\n'
        'subject = "x"\nrole = "a"\n[roles]\na = "investigater"\nb = "case-report"\n'
        f'[policies]\ndirectory = "{REPOSITORY / "policies"}"\n'
    )
    with pytest.raises(ConfigErrors) as raised:
        create_app(read_settings(text, file="config.toml", base=tmp_path))
    told = raised.value.mistakes
    assert told[0] == "config.toml: [roles] a names no policy; write investigator"
    assert told[1].startswith("config.toml: [roles] b names a policy that is only extended; ")
    assert any("keys.json: does not exist" in line for line in told)
    assert any("[upstream]" in line and "none: cannot be read" in line for line in told)
    assert len(told) == 4
    assert all("\n" not in line for line in told)


def test_mistakes_of_policies_stop_the_start(tmp_path: Path) -> None:
    """R-CF-1: a policy that does not load names its file and line."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "one.toml").write_text('title = "x"\nnonsense = 1\n')
    other = replace(settings(tmp_path), policies=PolicySettings(folder))
    with pytest.raises(ConfigErrors) as raised:
        build(other)
    assert any("one.toml:2: " in line for line in raised.value.mistakes)


def test_rows_by_a_claim_that_is_not_read_stop_the_start(tmp_path: Path) -> None:
    """R-AU-7, R-CF-1: a role whose rows need a claim that no token is asked for would see nothing;
    static tokens bring their claims along."""
    good = settings(tmp_path)
    role = {"epi": "epidemiologist"}
    assert build(replace(good, roles=role)).gateway.views["epi"].limits("Patient")
    auth = replace(good.auth, issuer="https://id.example.org", claims=("conditions",))
    with pytest.raises(ConfigErrors) as raised:
        build(replace(good, roles=role, auth=auth))
    (line,) = raised.value.mistakes
    assert "[roles] epi has rows by the claim jurisdictions" in line
    assert line.endswith("add it to claims of [auth]")


def test_predicates_by_a_claim_that_is_not_read_stop_the_start(tmp_path: Path) -> None:
    """A predicate on a claim that is misspelt, or that no token is asked for, never selects: the
    start says so, with the nearest claim that is read."""
    folder = tmp_path / "policies"
    shutil.copytree(REPOSITORY / "policies", folder)
    (folder / "child.toml").write_text(
        'extends = "researcher-deidentified"\n[elements]\n'
        '"Patient.name.where(%caller.juristictions.exists())" = "keep"\n'
    )
    good = settings(tmp_path)
    auth = replace(good.auth, issuer="https://id.example.org", claims=("jurisdictions",))
    with pytest.raises(ConfigErrors) as raised:
        build(replace(good, policies=PolicySettings(folder), roles={"r": "child"}, auth=auth))
    (line,) = raised.value.mistakes
    assert "[roles] r has predicates by the claim juristictions, which is not read" in line
    assert line.endswith("write jurisdictions there, or add it to claims of [auth]")
