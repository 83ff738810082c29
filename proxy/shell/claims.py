"""What a verified token says: that it is an access token for us, and who its bearer is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, TypeGuard

from proxy.config import AuthSettings
from proxy.errors import Forbidden, TokenExpired, Unauthorized
from proxy.policy.model import Caller

Claims = Mapping[str, object]

# How issuers say what a token is. Header `typ` (RFC 9068 says at+jwt; Keycloak, Entra ID and Auth0
# say JWT), claim `typ` (Keycloak: Bearer, ID, Refresh, Offline, Logout, DPoP), claim `token_use`
# (Amazon Cognito: access, id).
_HEADER_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_CLAIM_TYPES: Final = frozenset({"bearer", "jwt", "at+jwt"})
_TOKEN_USES: Final = frozenset({"access"})
_SAYS_ACCESS: Final = frozenset({"at+jwt", "application/at+jwt", "bearer", "access"})
# What only an ID token (OpenID Connect Core, 2 and 3.3.2.11) or a logout token carries.
_ID_TOKEN: Final = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})
# Entra ID marks neither kind; an access token has one of these, an ID token none.
_ENTRA: Final = frozenset({"tid", "ver"})
_ENTRA_ACCESS: Final = frozenset({"scp", "azp", "appid", "azpacr", "appidacr"})


def judge_kind(header: Mapping[str, object], claims: Claims) -> None:
    """Raises Unauthorized unless the token is a bearer access token (R-AU-8).

    A token bound to a key (``cnf``) is refused too: no proof of possession is checked here.
    """
    said = (
        (header.get("typ"), _HEADER_TYPES),
        (claims.get("typ"), _CLAIM_TYPES),
        (claims.get("token_use"), _TOKEN_USES),
    )
    kinds = [(_folded(text), known) for text, known in said if text is not None]
    explicit = any(kind in _SAYS_ACCESS for kind, _ in kinds)
    refused = (
        any(kind not in known for kind, known in kinds)
        or "cnf" in claims
        or (not explicit and not _ID_TOKEN.isdisjoint(claims))
        or (not explicit and claims.keys() >= _ENTRA and _ENTRA_ACCESS.isdisjoint(claims))
    )
    if refused:
        raise Unauthorized


def _folded(value: object) -> str:
    return value.lower() if isinstance(value, str) else ""


def judge_claims(claims: Claims, auth: AuthSettings, now: float) -> None:
    """Raises Unauthorized unless issuer, audience and times are as they must be (R-AU-3).

    ``now``: seconds since 1970.
    """
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != auth.issuer or not any(
        isinstance(name, str) and name in auth.audience for name in named
    ):
        raise Unauthorized
    expires, begins = claims.get("exp"), claims.get("nbf", 0)
    if not _is_time(expires) or not _is_time(begins):
        raise Unauthorized
    if now >= expires + auth.leeway:
        raise TokenExpired
    if now < begins - auth.leeway:
        raise Unauthorized


def _is_time(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


class RefusedBearer(Forbidden):
    """A good token that opens nothing here. ``caller``: whose it is, for the audit; the role is
    empty where the token names not exactly one that is known."""

    def __init__(self, text: str | None = None, caller: Caller | None = None) -> None:
        super().__init__(text)
        self.caller = caller


def read_caller(claims: Claims, auth: AuthSettings, roles: Collection[str]) -> Caller:
    """The bearer of a token that was judged good.

    :raises Unauthorized: it names no subject, or its scopes cannot be read.
    :raises RefusedBearer: it has not exactly one of ``roles`` (R-AU-4, R-AU-5), or its project is
        no text.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise Unauthorized
    read = {name: lookup(claims, name) for name in auth.claims}
    role = ""
    try:
        role = _role(lookup(claims, auth.role_claim), roles)
        project = _project(lookup(claims, auth.project_claim))
    except Forbidden as refused:
        raise RefusedBearer(refused.text, Caller(auth.issuer, subject, role, "")) from None
    return Caller(
        issuer=auth.issuer,
        subject=subject,
        role=role,
        project=project,
        claims={name: value for name, value in read.items() if _is_simple(value)},
        scopes=_scopes(claims),
    )


def lookup(claims: Claims, name: str) -> object:
    """The claim ``name``; if there is none of that whole name, dots lead into objects."""
    if name in claims:  # Auth0's own claims are URLs, with dots
        return claims[name]
    value: object = claims
    for step in name.split("."):
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]
    return value


def _role(claim: object, roles: Collection[str]) -> str:
    said = claim if isinstance(claim, list) else [claim]
    if not all(isinstance(role, str) for role in said):
        raise Forbidden("Your token names no role that this server knows.")
    known = set(said).intersection(roles)
    if len(known) > 1:
        raise Forbidden("Your token names several roles; it must name one.")
    if not known:
        raise Forbidden("Your token names no role that this server knows.")
    return str(known.pop())


def _project(claim: object) -> str:
    if isinstance(claim, list) and len(claim) == 1:
        claim = claim[0]
    if claim is None:
        return ""
    if not isinstance(claim, str) or len(claim) > 200:
        raise Forbidden("Your token does not name one project.")
    return claim


def _scopes(claims: Claims) -> frozenset[str] | None:
    """SMART scopes: ``scope`` (RFC 8693), or ``scp`` as Entra ID and Okta call it; a text with
    spaces or a list. None where the token says nothing."""
    claim = claims.get("scope", claims.get("scp"))
    if claim is None:
        return None
    listed = claim.split() if isinstance(claim, str) else claim
    if not isinstance(listed, list) or not all(isinstance(scope, str) for scope in listed):
        raise Unauthorized
    return frozenset(listed)


def _is_simple(value: object) -> bool:
    """Whether a policy can understand a claim: a text, number, truth value, or a list of those."""
    items = value if isinstance(value, list) else [value]
    return value is not None and all(isinstance(item, str | int | float) for item in items)
