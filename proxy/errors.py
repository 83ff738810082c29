"""Everything that can go wrong in an exchange, drawn as a tree::

    ProxyError
    ├── RequestError            400 invalid       the request is not one we can read
    │   ├── BadStructure        400 structure     JSON or path that is not well formed
    │   ├── BadValue            400 value         a parameter value that is malformed
    │   ├── NotSupported        400 not-supported a parameter or interaction we do not know
    │   └── TooCostly           400 too-costly    more work than one request may cause
    ├── Unauthorized            401 login         no token, or one we do not accept
    │   └── TokenExpired        401 expired
    ├── Forbidden               403 forbidden     the caller's view does not offer this
    ├── NotFound                404 not-found     does not exist in the caller's view
    ├── MethodNotAllowed        405 not-supported the product is read-only
    ├── NotAcceptable           406 not-supported another format than JSON was asked for
    ├── RequestTimeout          408 timeout       the request did not arrive in time
    ├── Gone                    410 expired       a page link that is no longer valid
    │   └── Deleted             410 deleted       deleted, in a view that may know it
    ├── BodyTooLarge            413 too-long
    ├── TargetTooLong           414 too-long
    ├── UnsupportedMediaType    415 not-supported
    ├── TooManyRequests         429 throttled
    ├── HeadersTooLarge         431 too-long
    ├── InternalError           500 exception     a fault of ours; nothing is released
    ├── UpstreamBroken          502 exception     the upstream answered something unusable
    │   └── UpstreamIncomplete  502 incomplete
    ├── Unavailable             503 transient     the upstream is down or overloaded
    │   └── AuditUnavailable    503 transient     the exchange could not be recorded
    └── UpstreamTimeout         504 timeout

Each class carries its HTTP status, its OperationOutcome issue code (value set issue-type) and a
fixed text. ``text`` may name a standard parameter or type; it never repeats what a client or the
upstream sent.
"""

from __future__ import annotations

import orjson


class ProxyError(Exception):
    """Base of all errors that leave as an OperationOutcome.

    ``text`` replaces the class's fixed text (it must itself be fixed: names of standard parameters
    and types at most); ``retry_after`` is in seconds.
    """

    status = 500
    code = "exception"
    text = "The request could not be answered."

    def __init__(self, text: str | None = None, *, retry_after: int | None = None) -> None:
        super().__init__(text or self.text)
        if text is not None:
            self.text = text
        self.retry_after = retry_after

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Response headers that this error adds."""
        if self.retry_after is not None:
            return (("Retry-After", str(self.retry_after)),)
        return ()


class RequestError(ProxyError):
    status, code, text = 400, "invalid", "The request is not valid."


class BadStructure(RequestError):
    code, text = "structure", "The content is not well formed."


class BadValue(RequestError):
    code, text = "value", "A value in the request is not valid."


class NotSupported(RequestError):
    code, text = "not-supported", "The request uses something that this server does not support."


class TooCostly(RequestError):
    code, text = "too-costly", "The request needs more work than is allowed; narrow it."


class Unauthorized(ProxyError):
    status, code, text = 401, "login", "A valid bearer token is required."

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("WWW-Authenticate", "Bearer"),)


class TokenExpired(Unauthorized):
    code, text = "expired", "The bearer token has expired."


class Forbidden(ProxyError):
    status, code, text = 403, "forbidden", "Your role does not allow this request."


class NotFound(ProxyError):
    status, code, text = 404, "not-found", "No such resource."


class MethodNotAllowed(ProxyError):
    status, code, text = 405, "not-supported", "This server is read-only."

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("Allow", "GET, HEAD, POST"),)


class NotAcceptable(ProxyError):
    status, code, text = 406, "not-supported", "Only application/fhir+json is available."


class RequestTimeout(ProxyError):
    status, code, text = 408, "timeout", "The request did not arrive in time."


class Gone(ProxyError):
    status, code, text = 410, "expired", "This page is no longer available; repeat the search."


class Deleted(Gone):
    code, text = "deleted", "This resource has been deleted."


class BodyTooLarge(ProxyError):
    status, code, text = 413, "too-long", "The request body is too large."


class TargetTooLong(ProxyError):
    status, code, text = 414, "too-long", "The request target is too long."


class UnsupportedMediaType(ProxyError):
    status, code, text = 415, "not-supported", "The request body has an unsupported media type."


class TooManyRequests(ProxyError):
    status, code, text = 429, "throttled", "Too many requests."


class HeadersTooLarge(ProxyError):
    status, code, text = 431, "too-long", "The request headers are too large."


class InternalError(ProxyError):
    """A fault of ours; the boundary turns every unexpected exception into this."""


class UpstreamBroken(ProxyError):
    status, code, text = 502, "exception", "The upstream server gave an unusable answer."


class UpstreamIncomplete(UpstreamBroken):
    code, text = "incomplete", "The upstream server's answer was incomplete."


class Unavailable(ProxyError):
    status, code, text = 503, "transient", "The service is temporarily unavailable."


class AuditUnavailable(Unavailable):
    text = "The exchange could not be recorded, so nothing is released."


class UpstreamTimeout(ProxyError):
    status, code, text = 504, "timeout", "The upstream server did not answer in time."


def outcome(error: ProxyError) -> dict[str, object]:
    """The OperationOutcome of ``error`` (one issue, severity ``error``)."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": error.code, "diagnostics": error.text}],
    }


def outcome_bytes(error: ProxyError) -> bytes:
    """:func:`outcome`, serialized."""
    return orjson.dumps(outcome(error))
