"""The composition root: settings and policies to a web application.

Everything that can be wrong with a configuration is found here, before the first request, and all
of it at once. Nothing turns a protection off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from proxy.config import ConfigErrors, Settings, UpstreamSettings
from proxy.engine.flow import exchange
from proxy.engine.gateway import Gateway
from proxy.engine.gateway import Limits as EngineLimits
from proxy.errors import AuditUnavailable
from proxy.fhir.reference import Bases
from proxy.lenses.keys import KeyFileError, KeyRing
from proxy.policy.compile import View, compile_view
from proxy.policy.load import PolicyErrors, load_directory
from proxy.policy.mistakes import nearest, offer
from proxy.policy.model import Policy
from proxy.policy.rows import claims_needed, claims_of_elements
from proxy.shell.application import make_application
from proxy.shell.audit import Audit
from proxy.shell.credential import (
    Anonymous,
    Basic,
    Bearer,
    ClientCredentials,
    Credential,
    CredentialError,
    SecretFile,
)
from proxy.shell.discovery import keep_discovering
from proxy.shell.drive import Offload
from proxy.shell.handler import Front
from proxy.shell.identity import Authenticator
from proxy.shell.learning import Starter
from proxy.shell.upstream import Limits as UpstreamLimits
from proxy.shell.upstream import connect

# Long steps of one process run in this many threads: the interpreter runs one at a time, a second
# keeps a merely large answer from waiting for a huge one.
STEP_THREADS: Final = 2
IDENTITY_SECONDS: Final = 10.0  # for one request to the identity provider or token endpoint


@dataclass(frozen=True, slots=True)
class Parts:
    """What is put together before anything is opened."""

    gateway: Gateway
    secret: SecretFile | None


def create_app(settings: Settings) -> web.Application:
    """The application that serves ``settings``.

    :raises ConfigErrors: with every mistake in policies, keys, credentials, audit file and roles.
    """
    return assemble(settings, build(settings))


def assemble(settings: Settings, parts: Parts) -> web.Application:
    """The application around ``parts`` that :func:`build` made of the same settings."""

    @asynccontextmanager
    async def open_front() -> AsyncIterator[Front]:
        async with AsyncExitStack() as stack:
            yield await _open(settings, parts, stack)

    return make_application(open_front)


def build(settings: Settings) -> Parts:
    """Load, compile and check everything that ``settings`` name. Raises ConfigErrors."""
    mistakes: list[str] = []
    views = dict(_views(settings, mistakes))
    ring = secret = None
    try:
        ring = KeyRing.load(settings.keys.file)
    except KeyFileError as error:
        mistakes.append(str(error))
    try:
        secret = _secret(settings.upstream)
    except CredentialError as error:
        mistakes.append(f"{settings.file}: [upstream] {error}")
    try:
        Audit(str(settings.audit.file), settings.server.public_url).close()
    except AuditUnavailable:
        mistakes.append(f"{settings.file}: [audit] file cannot be appended to; mend its path")
    if mistakes or ring is None:
        raise ConfigErrors(mistakes)
    limits = settings.limits
    gateway = Gateway.make(
        public_url=settings.server.public_url,
        bases=Bases(settings.upstream.url, settings.upstream.aliases),
        views=views,
        ring=ring,
        limits=EngineLimits(
            parameters=limits.parameters,
            entries=limits.batch_entries,
            body=limits.body,
            asks=limits.page_asks,
            included=limits.page_included,
            page_seconds=int(limits.page_life),
            tripwire=settings.audit.tripwire,
        ),
        smart=_smart(settings),
        storage_order=settings.upstream.storage_order,
    )
    return Parts(gateway, secret)


def _views(settings: Settings, mistakes: list[str]) -> Iterator[tuple[str, View]]:
    """Role and view; roles with one policy share its view."""
    try:
        policies = load_directory(settings.policies.directory)
    except PolicyErrors as error:
        mistakes.extend(map(str, error.mistakes))
        return
    served = sorted(name for name, policy in policies.items() if policy.served)
    views: dict[str, View] = {}
    for role, name in settings.roles.items():
        policy = policies.get(name)
        if policy is None or not policy.served:
            mistakes.append(_unserved(f"{settings.file}: [roles] {role}", name, policy, served))
            continue
        mistakes += unread_claims(settings, role, policy)
        if name not in views:
            views[name] = compile_view(policy)
        yield role, views[name]


def unread_claims(settings: Settings, role: str, policy: Policy) -> list[str]:
    """What a role's rows and predicates need of a token and the configuration does not read from
    it: the role would never see such a row, nor what such a predicate shows."""
    if not settings.auth.issuer:
        return []
    needs = (("rows", claims_needed(policy.rows)),
             ("predicates", claims_of_elements(policy.elements)))  # fmt: skip
    return [
        f"{settings.file}: [roles] {role} has {what} by the claim {name}, which is not read; "
        + _add_claim(name, settings.auth.claims)
        for what, named in needs
        for name in sorted(named.difference(settings.auth.claims))
    ]


def _add_claim(name: str, read: Iterable[str]) -> str:
    close = nearest(name, read)
    return (f"write {close} there, or " if close else "") + "add it to claims of [auth]"


def _unserved(place: str, name: str, policy: Policy | None, served: list[str]) -> str:
    if policy is None:
        return f"{place} names no policy; {offer(name, served)}"
    return f"{place} names a policy that is only extended; {offer('', served)}"


def _secret(upstream: UpstreamSettings) -> SecretFile | None:
    file = upstream.token_file or upstream.password_file or upstream.client_secret_file
    return None if file is None else SecretFile(str(file))


def _smart(settings: Settings) -> Mapping[str, object]:
    auth = settings.auth
    return {"issuer": auth.issuer, "jwks_uri": auth.jwks_url} if auth.issuer else {}


async def _open(settings: Settings, parts: Parts, stack: AsyncExitStack) -> Front:
    """Open files, sessions and threads; ``stack`` closes them."""
    # To the identity provider: a session of its own, without the upstream's credential.
    session = await stack.enter_async_context(
        aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=IDENTITY_SECONDS),
        )
    )
    authenticator = Authenticator(settings.auth, settings.roles, session)
    stack.push_async_callback(authenticator.close)
    starter = Starter(parts.gateway, exchange)
    if _discoverable(settings):
        task = asyncio.create_task(
            keep_discovering(session, settings.auth.issuer, starter.tell_issuer)
        )
        stack.push_async_callback(_cancel, task)
    upstream = await stack.enter_async_context(
        connect(
            settings.upstream.url,
            _credential(settings.upstream, parts.secret, session),
            UpstreamLimits(body=settings.limits.upstream_body),
        )
    )
    audit = Audit(str(settings.audit.file), settings.server.public_url)
    stack.callback(audit.close)
    executor = stack.enter_context(ThreadPoolExecutor(STEP_THREADS, "step"))
    return Front(
        path=urlsplit(settings.server.public_url).path.rstrip("/"),
        body_limit=settings.limits.body,
        exchange_seconds=settings.upstream.timeout,
        start=starter,
        authenticate=authenticator.authenticate,
        upstream=upstream,
        audit=audit,
        offload=Offload(executor),
        now=lambda: datetime.now(UTC),
        ready=lambda: audit.ready and not upstream.breaker.open,
        origins=frozenset(settings.server.origins),
    )


def _discoverable(settings: Settings) -> bool:
    """Whether the issuer is asked for its metadata: only where its keys are fetched, too, since
    that is the transport which was judged."""
    issuer, keys = urlsplit(settings.auth.issuer), urlsplit(settings.auth.jwks_url)
    return bool(issuer.netloc) and (issuer.scheme, issuer.netloc) == (keys.scheme, keys.netloc)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _credential(
    upstream: UpstreamSettings, secret: SecretFile | None, session: aiohttp.ClientSession
) -> Credential:
    if secret is None:
        return Anonymous()
    if upstream.username:
        return Basic(upstream.username, secret)
    if upstream.client_id:
        return ClientCredentials(
            session, upstream.token_url, upstream.client_id, secret, upstream.scope
        )
    return Bearer(secret)
