"""``ecr-proxy token``: a static token, or a signed one for trials without an identity provider."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from proxy.commands.private import write_private
from proxy.config import ConfigErrors, Settings, load_settings
from proxy.config.values import read_duration
from proxy.lenses.keys import KeyFileError, read_private

ALGORITHM: Final = "ES256"
TRIAL_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Bearer:
    """What a token is to say. ``seconds`` until it expires; 0: no limit was asked for."""

    subject: str
    role: str
    project: str
    claims: dict[str, list[str]]
    scopes: tuple[str, ...]
    seconds: float


@click.command()
@click.option("--role", required=True, help="One of [roles].")
@click.option("--subject", default="trial", show_default=True, help="Who uses the token.")
@click.option("--project", default="", help="Whose pseudonyms; roles with pseudonyms need one.")
@click.option(
    "--claim", "claims", multiple=True, metavar="NAME=VALUE[,VALUE…]", help="For policies."
)
@click.option("--scope", "scopes", multiple=True, help="A SMART scope, such as system/*.rs.")
@click.option("--expires", default="", metavar="DURATION", help="12h, 30d … (signed: 1h).")
@click.option(
    "--config",
    "config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Check the role against this configuration; take issuer, audience and claims from it.",
)
@click.option(
    "--key",
    "key_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Sign a token with this private key (PEM); it is made, with its key set, if missing.",
)
@click.option("--issuer", default="", help="With --key: the iss, if no --config says it.")
@click.option("--audience", default="", help="With --key: the aud, if no --config says it.")
def command(
    role: str,
    subject: str,
    project: str,
    claims: tuple[str, ...],
    scopes: tuple[str, ...],
    expires: str,
    config: Path | None,
    key_file: Path | None,
    issuer: str,
    audience: str,
) -> None:
    """Make a token. The first line printed is the token itself.

    Without --key it is a static one: random, shown once; the configuration gets only its digest,
    in the lines printed below it. With --key it is a signed one, for trials: the key set that
    belongs to it (KEY.jwks.json) must be served where jwks-url says.
    """
    settings = _settings(config)
    if settings is not None and role not in settings.roles:
        raise click.BadParameter(f"is not one of {', '.join(settings.roles)}", param_hint="--role")
    bearer = Bearer(subject, role, project, _claims(claims), scopes, _seconds(expires))
    if key_file is None:
        if issuer or audience:
            raise click.UsageError("--issuer and --audience go with --key.")
        token = secrets.token_urlsafe(32)
        click.echo(f"{token}\n\n# for the configuration; the token itself is stored nowhere")
        click.echo(static_block(token, bearer, datetime.now(UTC)), nl=False)
        return
    if settings is not None:
        issuer = issuer or settings.auth.issuer
        audience = audience or next(iter(settings.auth.audience), "")
    if not issuer or not audience:
        raise click.UsageError("--key needs --issuer and --audience, or a --config that has them.")
    names = ("ecr_role", "ecr_project")
    if settings is not None:
        names = (settings.auth.role_claim, settings.auth.project_claim)
    key = _key(key_file)
    click.echo(sign(key, bearer, issuer, audience, names, time.time()))


def static_block(token: str, bearer: Bearer, now: datetime) -> str:
    """The ``[[auth.token]]`` of a static token, as TOML."""
    fields: dict[str, str] = {
        "sha256": json.dumps(hashlib.sha256(token.encode()).hexdigest()),
        "subject": json.dumps(bearer.subject),
        "role": json.dumps(bearer.role),
    }
    if bearer.project:
        fields["project"] = json.dumps(bearer.project)
    if bearer.claims:
        pairs = (f"{json.dumps(k)} = {json.dumps(v)}" for k, v in bearer.claims.items())
        fields["claims"] = "{ " + ", ".join(pairs) + " }"
    if bearer.scopes:
        fields["scopes"] = json.dumps(list(bearer.scopes))
    if bearer.seconds:
        until = datetime.fromtimestamp(now.timestamp() + bearer.seconds, UTC)
        fields["expires"] = until.isoformat(timespec="seconds")
    return "[[auth.token]]\n" + "".join(f"{name} = {value}\n" for name, value in fields.items())


def sign(
    key: ec.EllipticCurvePrivateKey,
    bearer: Bearer,
    issuer: str,
    audience: str,
    names: tuple[str, str],
    now: float,
) -> str:
    """A signed access token (RFC 9068). ``names``: of the role's and the project's claim; dots
    lead into objects, except in a claim that is a URL."""
    claims: dict[str, object] = {
        "iss": issuer,
        "aud": audience,
        "sub": bearer.subject,
        "iat": int(now),
        "exp": int(now + (bearer.seconds or TRIAL_SECONDS)),
        "jti": secrets.token_hex(16),
        **bearer.claims,
    }
    if bearer.scopes:
        claims["scope"] = " ".join(bearer.scopes)
    for name, value in zip(names, (bearer.role, bearer.project), strict=True):
        if value:
            _put(claims, [name] if ":" in name else name.split("."), value)
    header = {"typ": "at+jwt", "kid": thumbprint(key)}
    return jwt.encode(claims, key, ALGORITHM, headers=header)


def key_set(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The JWK Set (RFC 7517) with the public half of ``key``."""
    jwk = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    public = {"kid": thumbprint(key), "use": "sig", "alg": ALGORITHM, **jwk}
    return json.dumps({"keys": [public]}, indent=2).encode() + b"\n"


def thumbprint(key: ec.EllipticCurvePrivateKey) -> str:
    """A name for a key: the start of the digest of its public half."""
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = hashes.Hash(hashes.SHA256())
    digest.update(spki)
    return digest.finalize().hex()[:32]


def _put(claims: dict[str, object], path: list[str], value: str) -> None:
    for step in path[:-1]:
        inner = claims.setdefault(step, {})
        if not isinstance(inner, dict):
            raise click.UsageError(f"--claim {step} stands where the role or project must go.")
        claims = inner
    claims[path[-1]] = value


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The private key in the file, made if there is none; its key set is written beside it."""
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_private(path, pem, replace=False)
        public = path.with_name(path.name + ".jwks.json")
        public.write_bytes(key_set(key))
        click.echo(f"{path}: a new key; serve {public} at jwks-url", err=True)
        return key
    try:
        loaded = serialization.load_pem_private_key(read_private(path), None)
    except KeyFileError as error:
        raise click.ClickException(str(error)) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise click.ClickException(f"{path}: is not a private key in PEM") from None
    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or loaded.curve.name != "secp256r1":
        raise click.ClickException(f"{path}: is not a P-256 key; name a file that does not exist")
    return loaded


def _settings(config: Path | None) -> Settings | None:
    try:
        return load_settings(config) if config else None
    except ConfigErrors as errors:
        raise click.ClickException(str(errors)) from None


def _claims(texts: tuple[str, ...]) -> dict[str, list[str]]:
    claims: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not name or not equals:
            raise click.BadParameter("is written NAME=VALUE[,VALUE…]", param_hint="--claim")
        claims.setdefault(name, []).extend(value for value in values.split(",") if value)
    return claims


def _seconds(text: str) -> float:
    try:
        return read_duration(1, 10 * 366 * 86400)(text) if text else 0.0
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--expires") from None
