"""The settings as read: frozen, checked, every default filled in.

Durations are seconds, sizes bytes, files absolute paths or relative to the working directory;
URLs have no trailing slash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """``[server]``. ``workers`` 0: one per core. ``origins``: browsers' origins, exact."""

    host: str
    port: int
    public_url: str
    workers: int
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """``[upstream]``. At most one credential is set: ``token_file``; ``username`` with
    ``password_file``; ``client_id`` with ``client_secret_file``, ``token_url`` and ``scope``."""

    url: str
    aliases: tuple[str, ...]
    plain_http: tuple[str, ...]
    storage_order: str
    timeout: float
    token_file: Path | None
    username: str
    password_file: Path | None
    client_id: str
    client_secret_file: Path | None
    token_url: str
    scope: str


@dataclass(frozen=True, slots=True)
class StaticToken:
    """One ``[[auth.token]]``. ``sha256``: digest of the token. ``scopes`` None: not narrowed.
    ``expires``: aware, UTC."""

    sha256: bytes
    subject: str
    role: str
    project: str = ""
    claims: Mapping[str, object] = field(default_factory=dict)
    scopes: frozenset[str] | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """``[auth]``. ``issuer`` is empty where only static tokens are accepted; else ``audience``
    (any of them) and ``jwks_url`` are set. ``claims``: names of the claims that policies may
    read."""

    issuer: str
    audience: tuple[str, ...]
    jwks_url: str
    role_claim: str
    project_claim: str
    claims: tuple[str, ...]
    algorithms: tuple[str, ...]
    leeway: float
    jwks_interval: float
    jwks_lifetime: float
    tokens: tuple[StaticToken, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """``[policies]``."""

    directory: Path


@dataclass(frozen=True, slots=True)
class KeySettings:
    """``[keys]``."""

    file: Path


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """``[audit]``. ``tripwire``: one answer in so many is looked through for what was removed."""

    file: Path
    tripwire: int = 100


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """``[limits]``. ``body`` and ``upstream_body``: bytes of a request and of one answer of the
    upstream. ``page_asks``: upstream calls to fill one page. ``page_included``: resources that
    may come along with one. ``page_life``: seconds."""

    body: int
    upstream_body: int
    parameters: int
    batch_entries: int
    page_asks: int
    page_included: int
    page_life: float


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration. ``roles``: role to the name of its policy. ``file``: where it was
    read from."""

    server: ServerSettings
    upstream: UpstreamSettings
    auth: AuthSettings
    roles: Mapping[str, str]
    policies: PolicySettings
    keys: KeySettings
    audit: AuditSettings
    limits: LimitSettings
    file: str = ""
