"""HAPI with some cases, and the proxy in front of it as a process of its own."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.generator import cases, data_set
from proxy.fhir.codec import JsonObject
from tests.conftest import absent, free_port
from tests.gateway import ROLES, Gateway, running
from tests.loading import load, unload

HERE = Path(__file__).resolve().parent
CASES = 5
SEED = 23


@dataclass(frozen=True, slots=True)
class Trial:
    """A role at the gateway. ``ids``: type to the ids that this role must be shown for the loaded
    cases, pseudonyms among them."""

    role: str
    base: str
    token: str
    ids: Mapping[str, frozenset[str]]

    @property
    def restricted(self) -> bool:
        return self.role != "investigator"


@pytest.fixture(scope="package")
def loaded(hapi: str) -> Iterator[list[JsonObject]]:
    """Resources of some generated cases, which HAPI holds meanwhile."""
    resources = data_set(cases(CASES, SEED, base=hapi))
    try:
        asyncio.run(load(hapi, resources))
        yield resources
    finally:
        asyncio.run(unload(hapi, resources))


@pytest.fixture(scope="package")
def gateway(
    hapi: str, loaded: list[JsonObject], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    with running(hapi, tmp_path_factory.mktemp("gateway"), free_port()) as found:
        yield found


@pytest.fixture(params=ROLES)
def trial(request: pytest.FixtureRequest, gateway: Gateway, loaded: list[JsonObject]) -> Trial:
    """Each shipped role in turn."""
    role: str = request.param
    namer = gateway.namer(role)
    ids: dict[str, set[str]] = {}
    for resource in loaded:
        kind, real = str(resource["resourceType"]), str(resource["id"])
        shown = real if role == "investigator" else namer.show_id(kind, real)
        ids.setdefault(kind, set()).add(shown)
    return Trial(
        role, gateway.base, gateway.tokens[role], {k: frozenset(v) for k, v in ids.items()}
    )


def needed(module: str) -> Any:
    """A module of a foreign client, which only `make test-hapi` installs."""
    try:
        return importlib.import_module(module)
    except ImportError:
        absent(f"{module} is not installed; run `make clients`")


def run_node(script: str, *arguments: str, base: str, token: str) -> Any:
    """What a script of this folder prints as JSON, which uses fhir-kit-client."""
    node = shutil.which("node")
    if node is None or not (HERE / "node_modules" / "fhir-kit-client").is_dir():
        absent("fhir-kit-client is not installed; run `make clients`")
    done = subprocess.run(
        [str(node), script, *arguments],
        cwd=HERE,
        env={"PATH": os.environ["PATH"], "BASE": base, "TOKEN": token},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
