"""``.well-known/smart-configuration`` (SMART App Launch 2.2, conformance.html)."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.engine.gateway import Gateway
from proxy.fhir.codec import encode

# What a client may rely on here; launch and refresh are the authorization server's matter.
CAPABILITIES = ("permission-user", "permission-v2")
SCOPES = ("openid", "user/*.rs", "system/*.rs")

# Members of the configuration that describe the authorization server, as configured.
_MEMBERS = (
    "issuer",
    "jwks_uri",
    "authorization_endpoint",
    "token_endpoint",
    "introspection_endpoint",
    "grant_types_supported",
    "token_endpoint_auth_methods_supported",
)


def smart_configuration(gateway: Gateway) -> bytes:
    """The configuration, the same for everyone: it tells where tokens come from, no more."""
    known: Mapping[str, object] = {m: gateway.smart[m] for m in _MEMBERS if m in gateway.smart}
    return encode(
        {
            **known,
            "scopes_supported": list(SCOPES),
            "capabilities": list(CAPABILITIES),
            "code_challenge_methods_supported": ["S256"],
        }
    )
