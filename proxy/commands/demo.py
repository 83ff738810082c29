"""``ecr-proxy demo``: sample cases, a server that holds them, the proxy before it, and lines to
try."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shlex
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click
import tomlkit
from aiohttp import web

import proxy
from proxy.app import create_app
from proxy.config import ConfigErrors, Settings, read_settings
from proxy.demo import ersd
from proxy.demo.generator import Case, cases, data_set
from proxy.demo.load import LoadError, load
from proxy.demo.upstream import create_upstream
from proxy.fhir.codec import JsonObject
from proxy.lenses.identity import Namers
from proxy.lenses.keys import SECRET_BYTES, KeyRing
from proxy.policy.load import PolicyErrors, load_directory
from proxy.policy.model import Policy

HOST = "127.0.0.1"
PROJECT = "demo"
STOPS = (signal.SIGINT, signal.SIGTERM)
NAME_WIDTH = 24


@dataclass(frozen=True, slots=True)
class Options:
    """``upstream``: base URL of a server to load and to stand before; empty: the embedded one, on
    the port after ``port``."""

    cases: int
    seed: int
    port: int
    upstream: str
    env_file: Path | None

    @property
    def proxy_url(self) -> str:
        return f"http://{HOST}:{self.port}/fhir"

    @property
    def upstream_url(self) -> str:
        return self.upstream.rstrip("/") or f"http://{HOST}:{self.port + 1}/fhir"


@dataclass(frozen=True, slots=True)
class Role:
    """A role of the demo, named as its policy. ``id`` gives the id it sees for a resource;
    ``claims``: what its token says that row rules ask for."""

    policy: Policy
    token: str
    namers: Namers
    claims: Mapping[str, list[str]]

    def id(self, type: str, real: str) -> str:
        if self.policy.identity or self.policy.ids.get(type, self.policy.ids_default) == "real":
            return real
        return self.namers.of(PROJECT, self.policy.name).show_id(type, real)


def shipped_policies() -> Path:
    """The folder of the shipped policies: beside the package in a checkout, inside it in a
    wheel."""
    package = Path(proxy.__file__).resolve().parent
    for folder in (package.parent / "policies", package / "policies"):
        if folder.is_dir():
            return folder
    raise click.ClickException("The shipped policies are not there; run the demo from a checkout.")


def served(folder: Path) -> list[Policy]:
    """The policies that a role can have, the one that shows everything first."""
    try:
        found = load_directory(folder).values()
    except PolicyErrors as error:
        raise click.ClickException(str(error)) from None
    return sorted((p for p in found if p.served), key=lambda p: (not p.identity, p.name))


def program(case: Case) -> dict[str, list[str]]:
    """The claims of a program that is about what this case is about, where the person lives."""
    disease, (_, _, state, _) = case.story.disease, case.story.place
    codes = [disease.code, disease.icd10, disease.test[0], disease.organism[0]]
    return {"conditions": codes, "jurisdictions": [state]}


def settings(options: Options, folder: Path, policies: Path, roles: Sequence[Role]) -> Settings:
    """The demo's configuration; ``folder`` holds its keys and its audit log."""
    host = urlsplit(options.upstream_url).hostname or ""
    document = {
        "server": {"host": HOST, "port": options.port, "public-url": options.proxy_url},
        # A trial may stand before any host; a real configuration names it with care.
        "upstream": {"url": options.upstream_url, "plain-http": [host]},
        "auth": {
            "token": [
                {
                    "sha256": hashlib.sha256(role.token.encode()).hexdigest(),
                    "subject": f"demo-{role.policy.name}",
                    "role": role.policy.name,
                    "project": PROJECT,
                    "claims": role.claims,
                }
                for role in roles
            ]
        },
        "roles": {role.policy.name: role.policy.name for role in roles},
        "policies": {"directory": str(policies)},
        "keys": {"file": "keys.json"},
        "audit": {"file": "audit.ndjson"},
    }
    try:
        return read_settings(tomlkit.dumps(document), {}, file="demo", base=folder)
    except ConfigErrors as error:
        raise click.ClickException(str(error)) from None


def gateway(configured: Settings) -> web.Application:
    try:
        return create_app(configured)
    except ConfigErrors as error:
        raise click.ClickException(str(error)) from None


def bind(port: int) -> socket.socket:
    """A listening socket on loopback. Raises ClickException if the port is taken."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise click.ClickException(
            f"Port {port} cannot be used ({error.strerror}); choose another with --port."
        ) from None


@asynccontextmanager
async def serving(app: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    """Serve ``app`` until the block ends; what is under way is finished."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listener, shutdown_timeout=5).start()
        yield
    finally:
        await runner.cleanup()


def curl(url: str, token: str = "") -> str:
    head = f"-H {shlex.quote(f'Authorization: Bearer {token}')} " if token else ""
    return f"curl -s {head}{shlex.quote(url)}"


def lines_to_try(options: Options, roles: Sequence[Role], case: Case) -> list[str]:
    """Titles and curl lines: one patient, one case report, one search, the reporting rules, as
    stored and as each role that has the type sees them. The ids are the role's own."""
    story = case.story
    patient, document = story.id("Patient", "patient"), str(case.eicr["id"])
    code = f"http://loinc.org|{story.disease.test[0]}".replace("|", "%7C")
    shown = (
        ("The same patient", "Patient", patient, "Patient/{}"),
        ("The same case report", "Bundle", document, "Bundle/{}"),
        ("The same search: the results of one test of this patient", "Patient", patient,
         f"Observation?subject=Patient/{{}}&code={code}"),
        ("The reporting rules", "PlanDefinition", str(ersd.plan()["id"]), "PlanDefinition/{}"),
    )
    lines: list[str] = []
    for title, type, real, path in shown:
        lines += ["", title]
        before = curl(f"{options.upstream_url}/{path.format(real)}")
        lines.append(f"  # before: as stored\n  {before}")
        for role in (r for r in roles if type in r.policy.access and not r.policy.requires):
            url = f"{options.proxy_url}/{path.format(role.id(type, real))}"
            lines.append(f"  # {role.policy.name}\n  {curl(url, role.token)}")
    return lines


def describe(
    options: Options, roles: Sequence[Role], case: Case, stored: int, audit: Path
) -> str:
    about = f"{case.story.disease.display} in {case.story.place[2]}"
    lines = [
        f"{options.cases} fictional case{'s' if options.cases > 1 else ''}, {stored} resources.",
        "",
        f"  {'Proxy':{NAME_WIDTH}} {options.proxy_url}",
        f"  {'Upstream (no login)':{NAME_WIDTH}} {options.upstream_url}",
        f"  {'Audit log':{NAME_WIDTH}} {audit}",
        "",
        "Tokens, one for each role (a role is named as its policy)",
        *(f"  {role.policy.name:{NAME_WIDTH}} {role.token}" for role in roles),
        *(f"  {r.policy.name} sees {about} alone, by its token" for r in roles if r.claims),
        *(f"  {r.policy.name} sees nothing here: it belongs before another proxy"
          for r in roles if r.policy.requires),
        *lines_to_try(options, roles, case),
        "",
        "Press Ctrl-C to stop.",
    ]
    return "\n".join(lines)


def write_environment(file: Path, options: Options, roles: Sequence[Role]) -> None:
    """Shell variables for scripts. The file appears complete and is for its owner only."""
    values = {"PROXY_URL": options.proxy_url, "UPSTREAM_URL": options.upstream_url}
    for role in roles:
        values[f"TOKEN_{role.policy.name.upper().replace('-', '_')}"] = role.token
    text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    part = file.with_name(f"{file.name}.part")
    try:
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        part.replace(file)
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written ({error.strerror}).") from None


async def run(options: Options, folder: Path) -> None:
    """Serve until interrupted. ``folder``: private, for keys and audit log."""
    policies = shipped_policies()
    ring = KeyRing.new(
        secrets.token_bytes(SECRET_BYTES), secrets.token_bytes(SECRET_BYTES),
        datetime.now(UTC).date(),
    )
    keys = folder / "keys.json"
    keys.touch(0o600)
    keys.write_bytes(ring.write())
    namers = Namers(ring)
    found = list(cases(options.cases, options.seed, base=options.upstream_url))
    roles = [
        Role(p, secrets.token_urlsafe(32), namers, program(found[0]) if p.rows else {})
        for p in served(policies)
    ]
    configured = settings(options, folder, policies, roles)
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        front = stack.enter_context(bind(options.port))
        resources = data_set(found)
        if options.upstream:
            stored = await fill(options.upstream_url, resources)
        else:
            back = stack.enter_context(bind(options.port + 1))
            await stack.enter_async_context(
                serving(create_upstream(resources, options.upstream_url), back)
            )
            stored = len(resources)
        await stack.enter_async_context(serving(gateway(configured), front))
        loop = asyncio.get_running_loop()
        for one in STOPS:
            loop.add_signal_handler(one, stop.set)
        if options.env_file:
            write_environment(options.env_file, options, roles)
        click.echo(describe(options, roles, found[0], stored, configured.audit.file))
        await stop.wait()


async def fill(base: str, resources: Sequence[JsonObject]) -> int:
    click.echo(f"Loading {len(resources)} resources into {base} …", err=True)
    try:
        return await load(base, resources)
    except LoadError as error:
        raise click.ClickException(str(error)) from None


@click.command("demo")
@click.option("--cases", default=6, show_default=True, type=click.IntRange(1, 10_000),
              help="How many cases; each is a case report, its response, and their resources.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0, 2**31 - 1),
              help="Another seed gives other cases; the same seed the same.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65_534),
              help="Port of the proxy; the embedded server takes the next one.")
@click.option("--upstream", default="", metavar="URL",
              help="Load the cases into this FHIR server and stand in front of it.")
@click.option("--env-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Also write base URLs and tokens as shell variables, once all is ready.")
def command(cases: int, seed: int, port: int, upstream: str, env_file: Path | None) -> None:
    """Sample server, proxy and a token per role, with curl lines to try.

    Everything is fictional, listens on loopback only, and is gone when the command ends (but for
    what --upstream was loaded with).
    """
    options = Options(cases, seed, port, upstream, env_file)
    with tempfile.TemporaryDirectory(prefix="ecr-proxy-demo-") as folder:
        asyncio.run(run(options, Path(folder)))
