"""Every key of the configuration: what it is, its default, and the example file made from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from proxy.config.values import (
    Kind,
    read_algorithm,
    read_audience,
    read_duration,
    read_file,
    read_host,
    read_issuer,
    read_list,
    read_number,
    read_order,
    read_origin,
    read_size,
    read_text,
    read_url,
)

TEXT: Final = Kind(read_text)
FILE: Final = Kind(read_file)
URL: Final = Kind(read_url)


@dataclass(frozen=True, slots=True)
class Key:
    """One key. ``default`` is what stands for it if it is absent, as TOML would give it; None: it
    stays unset. ``example``: what the example file shows, if not the default. ``shown`` False: it
    stands there as a comment."""

    section: str
    name: str
    kind: Kind
    default: object
    about: str
    example: object = None
    required: bool = False
    shown: bool = True

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return f"ECR_PROXY_{self.section}_{self.name}".upper().replace("-", "_")

    @property
    def unset(self) -> object:
        """What the settings hold where nothing is said."""
        return () if self.kind.listed else None if self.kind is FILE else ""


_LIST_OF_TEXTS = Kind(read_list(read_text), listed=True)

KEYS: Final[tuple[Key, ...]] = (
    Key("server", "host", Kind(read_host), "127.0.0.1", "address to listen on"),
    Key("server", "port", Kind(read_number(1, 65535), number=True), 8000, "port to listen on"),
    Key(
        "server", "public-url", URL, None,
        "the base that clients use; every link is built from it. Default: host and port, /fhir",
        example="http://127.0.0.1:8000/fhir",
    ),
    Key(
        "server", "workers", Kind(read_number(0, 256), number=True), 1,
        "processes that share the port; 0: one per core",
    ),
    Key(
        "server", "origins", Kind(read_list(read_origin), listed=True), [],
        "browsers' origins allowed by CORS, each by name",
    ),
    Key(
        "upstream", "url", URL, None, "base of the FHIR server that is shown",
        example="http://127.0.0.1:8080/fhir", required=True,
    ),
    Key(
        "upstream", "aliases", Kind(read_list(read_url), listed=True), [],
        "other bases that mean the upstream, as references in its data use them",
        example=["https://ehr.example.org/fhir"],
    ),
    Key(
        "upstream", "plain-http", Kind(read_list(read_host), listed=True), [],
        "host names beside loopback that may be asked without TLS",
    ),
    Key(
        "upstream", "storage-order", Kind(read_order), "_pid",
        "sort key for the order of storage: HAPI's _pid; of other servers _lastUpdated, or none",
    ),
    Key(
        "upstream", "timeout", Kind(read_duration(0.1, 3600)), "30s",
        "for all upstream calls of one request together",
    ),
    Key(
        "upstream", "token-file", FILE, None, "credential: a file with a bearer token",
        example="upstream.token", shown=False,
    ),
    Key(
        "upstream", "username", TEXT, None, "or HTTP Basic: a name and a file with the password",
        example="ecr-proxy", shown=False,
    ),
    Key(
        "upstream", "password-file", FILE, None, "", example="upstream.password", shown=False
    ),
    Key(
        "upstream", "client-id", TEXT, None,
        "or a client credentials grant: client, a file with its secret, token endpoint, scope",
        example="ecr-proxy", shown=False,
    ),
    Key("upstream", "client-secret-file", FILE, None, "", example="client.secret", shown=False),
    Key(
        "upstream", "token-url", URL, None, "", example="https://id.example.org/token", shown=False
    ),
    Key("upstream", "scope", TEXT, None, "", example="system/*.rs", shown=False),
    Key(
        "auth", "issuer", Kind(read_issuer), None,
        "who signs the callers' tokens, exactly as their iss says. Leave out issuer, audience and\n"
        "jwks-url to accept static tokens only",
        example="https://id.example.org/realms/ecr",
    ),
    Key(
        "auth", "audience", Kind(read_audience, listed=True), None,
        "this service's name in aud; a list: one of them",
        example="https://ecr.example.org/fhir",
    ),
    Key(
        "auth", "jwks-url", URL, None, "where the issuer publishes its keys",
        example="https://id.example.org/realms/ecr/certs",
    ),
    Key(
        "auth", "role-claim", TEXT, "ecr_role",
        "claim that holds the role; dots lead into objects (realm_access.roles)",
    ),
    Key("auth", "project-claim", TEXT, "ecr_project", "claim that holds the project"),
    Key(
        "auth", "claims", _LIST_OF_TEXTS, ["conditions", "jurisdictions"],
        "claims that policies may read",
    ),
    Key(
        "auth", "algorithms", Kind(read_list(read_algorithm, least=1), listed=True),
        ["RS256", "RS384", "PS256", "ES256", "ES384"], "signatures accepted",
    ),
    Key(
        "auth", "leeway", Kind(read_duration(0, 300)), "30s",
        "how far the issuer's clock may be off",
    ),
    Key(
        "auth", "jwks-interval", Kind(read_duration(1, 3600)), "30s",
        "unknown keys make the key set be fetched again at most once in this time",
    ),
    Key(
        "auth", "jwks-lifetime", Kind(read_duration(1, 86400)), "1h",
        "keys not confirmed by the issuer for this long are no longer trusted",
    ),
    Key(
        "policies", "directory", FILE, "policies", "one TOML file per policy",
    ),
    Key("keys", "file", FILE, "keys.json", "made by `ecr-proxy keygen`"),
    Key("audit", "file", FILE, "audit.ndjson", "one AuditEvent a line, written before each reply"),
    Key(
        "audit", "tripwire", Kind(read_number(1, 1_000_000), number=True), 100,
        "one answer in so many is looked through for what its view removed; a hit is logged",
    ),
    Key(
        "limits", "body", Kind(read_size(1_000, 10**9)), "10MB", "of a request; larger is 413",
    ),
    Key(
        "limits", "upstream-body", Kind(read_size(1_000, 10**10)), "64MB",
        "of one answer of the upstream, inflated; larger is refused",
    ),
    Key(
        "limits", "parameters", Kind(read_number(1, 10_000), number=True), 100,
        "of one search, URL and form together",
    ),
    Key(
        "limits", "batch-entries", Kind(read_number(1, 10_000), number=True), 100,
        "requests of one batch",
    ),
    Key(
        "limits", "page-asks", Kind(read_number(1, 10_000), number=True), 50,
        "upstream calls that filling one page may take",
    ),
    Key(
        "limits", "page-included", Kind(read_number(1, 100_000), number=True), 1_000,
        "resources that _include and _revinclude may add to one page",
    ),
    Key(
        "limits", "page-life", Kind(read_duration(1, 30 * 86400)), "1h",
        "how long a link to a next page works",
    ),
)  # fmt: skip

SECTIONS: Final[dict[str, str]] = {
    "server": "",
    "upstream": "",
    "auth": "",
    "roles": "role -> policy: what a token's role claim may say, and the policy it means",
    "policies": "",
    "keys": "",
    "audit": "",
    "limits": "",
}

ROLES_EXAMPLE: Final = {
    "investigator": "investigator",
    "researcher-limited": "researcher-limited",
    "researcher": "researcher-deidentified",
    "researcher-shifted": "researcher-shifted",
    "stage1": "stage1-pseudonymized",
    "stage2": "stage2-anonymized",
    "surveillance": "ecr-anonymized",
}

TOKEN_KEYS: Final = ("sha256", "subject", "role", "project", "claims", "scopes", "expires")

_STATIC_EXAMPLE: Final = """\
# A static token, for machines and trials; `ecr-proxy token` makes one and prints this block.
# [[auth.token]]
# sha256 = "<64 hex digits>"        # of the token; the token itself stands nowhere
# subject = "study-7-pipeline"
# role = "researcher"
# project = "study-7"
# claims = { conditions = ["3928002"], jurisdictions = ["MI"] }
# scopes = ["system/*.rs"]          # SMART scopes; left out: as far as the role goes
# expires = 2030-01-01              # left out: never
"""

_HEAD: Final = """\
# ecr-proxy: the configuration. Every key has a default or is required; unknown keys are errors.
# The environment overrides: ECR_PROXY_<SECTION>_<KEY>, lists with commas
# (ECR_PROXY_SERVER_PUBLIC_URL, ECR_PROXY_UPSTREAM_PLAIN_HTTP, ECR_PROXY_ROLES_RESEARCHER).
# Durations and sizes carry units; files are looked for beside this file.
# This file is generated: python scripts/generate_config.py
"""


def example() -> str:
    """The text of ``config.example.toml``."""
    parts = [_HEAD]
    for section, about in SECTIONS.items():
        lines = [f"[{section}]" + (f"  # {about}" if about else "")]
        if section == "roles":
            lines += [f"{role} = {json.dumps(policy)}" for role, policy in ROLES_EXAMPLE.items()]
        for key in KEYS:
            if key.section == section:
                lines += _example_of(key)
        parts.append("\n".join(lines) + "\n")
        if section == "auth":
            parts.append(_STATIC_EXAMPLE)
    return "\n".join(parts)


def _example_of(key: Key) -> list[str]:
    value = key.default if key.example is None else key.example
    notes = [f"# {line}" for line in key.about.split("\n") if line]
    if key.required:
        notes[-1] += " (required)"
    # JSON and TOML write texts, whole numbers and lists of texts alike.
    return [*notes, f"{'' if key.shown else '# '}{key.name} = {json.dumps(value)}"]
