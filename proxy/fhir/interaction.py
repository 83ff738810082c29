"""Which interaction a request is: a closed grammar over the raw target (R4, http.html).

Everything is a table: what is in no row is refused. Each path segment is percent-decoded exactly
once, and must then be a word of the grammar, a resource type of R4 or a legal id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from proxy.errors import BadStructure, Forbidden, MethodNotAllowed, NotFound
from proxy.fhir.reference import is_id
from proxy.fhir.structure import RESOURCES

# RFC 3986, 3.3: what may stand in a segment. A backslash or a control character may not.
_SEGMENT = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})+")
_NEVER = re.compile(r"[\x00-\x1f\x7f/\\]")
_QUERY = re.compile(r"[!-~]*")  # visible ASCII: the rest of a target is percent-encoded

TYPE, ID, OPERATION = "[type]", "[id]", "$"

# Route -> method -> interaction code. The codes are those of R4 (value set restful-interaction);
# ``capabilities`` and ``smart-configuration`` are open to everyone.
ROUTES: Mapping[tuple[str, ...], Mapping[str, str]] = {
    (): {"POST": "batch"},
    ("metadata",): {"GET": "capabilities"},
    (".well-known", "smart-configuration"): {"GET": "smart-configuration"},
    (TYPE,): {"GET": "search-type"},
    (TYPE, "_search"): {"POST": "search-type"},
    (TYPE, ID): {"GET": "read"},
    (TYPE, ID, "_history", ID): {"GET": "vread"},
    (TYPE, ID, "_history"): {"GET": "history-instance"},
    (TYPE, "_history"): {"GET": "history-type"},
    ("_history",): {"GET": "history-system"},
    (OPERATION,): {"GET": "operation", "POST": "operation"},
    (TYPE, OPERATION): {"GET": "operation", "POST": "operation"},
    (TYPE, ID, OPERATION): {"GET": "operation", "POST": "operation"},
}
OPEN = frozenset({"capabilities", "smart-configuration"})
# The operations there are, each on an instance of one type, and what defines them (R4,
# composition-operation-document.html, patient-operation-everything.html). No other is known.
OPERATIONS: Mapping[tuple[str, str], str] = {
    ("Composition", "$document"): "http://hl7.org/fhir/OperationDefinition/Composition-document",
    ("Patient", "$everything"): "http://hl7.org/fhir/OperationDefinition/Patient-everything",
}
NOT_OFFERED = "This operation is not offered."  # alike, whether it is known or not

# Writes (R4, http.html#summary) are answered alike wherever they go: the product is read-only.
_WRITES = frozenset({"PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Interaction:
    """A request, understood. ``query``: raw, without its question mark. ``head``: the same as a
    GET, answered without a body. ``post``: parameters also come in a body. ``operation``: its name
    with the dollar sign, where the code is ``operation``."""

    code: str
    type: str = ""
    id: str = ""
    version: str = ""
    query: str = ""
    head: bool = False
    post: bool = False
    operation: str = ""

    @property
    def name(self) -> str:
        """What tables call it: the operation, else the code."""
        return self.operation or self.code


def classify(method: str, target: str) -> Interaction:
    """The interaction that ``method`` on ``target`` is.

    ``target``: raw, below the public base: ``/Patient/1?_elements=id``, or empty for the base.
    Raises :class:`BadStructure` for a path that is not well formed, :class:`NotFound` for a route
    that does not exist, :class:`MethodNotAllowed` for a method that a route does not have, and
    :class:`Forbidden` for an operation that is not one of :data:`OPERATIONS`.
    """
    path, _, query = target.partition("?")
    if not _QUERY.fullmatch(query) or "#" in query:
        raise BadStructure("The request target is not well formed.")
    segments = _segments(path)
    if method in _WRITES:
        raise MethodNotAllowed()
    for route, methods in ROUTES.items():
        if len(route) == len(segments) and all(map(_fits, route, segments)):
            return _interaction(route, methods, segments, method, query)
    raise NotFound("There is no such route.")


def _interaction(
    route: tuple[str, ...],
    methods: Mapping[str, str],
    segments: list[str],
    method: str,
    query: str,
) -> Interaction:
    code = methods.get("GET" if method == "HEAD" else method)
    if code is None:
        if method in ("GET", "HEAD"):
            raise NotFound("There is no such route.")
        raise MethodNotAllowed()
    operation = segments[-1] if code == "operation" else ""
    if operation and (ID not in route or (segments[0], operation) not in OPERATIONS):
        raise Forbidden(NOT_OFFERED)
    ids = [text for part, text in zip(route, segments, strict=True) if part == ID]
    return Interaction(
        code,
        segments[0] if route[:1] == (TYPE,) else "",
        ids[0] if ids else "",
        ids[1] if len(ids) > 1 else "",
        query,
        head=method == "HEAD",
        post=method == "POST",
        operation=operation,
    )


def _fits(part: str, segment: str) -> bool:
    if part == TYPE:
        return segment in RESOURCES
    if part == ID:
        return is_id(segment)
    if part == OPERATION:
        return segment.startswith("$")
    return segment == part


def _segments(path: str) -> list[str]:
    if path in ("", "/"):
        return []
    if not path.startswith("/"):
        raise BadStructure("The path is not well formed.")
    raw = path[1:].removesuffix("/").split("/")
    return [_decode(segment) for segment in raw]


def _decode(segment: str) -> str:
    """One segment, percent-decoded once. Raises BadStructure for empty and dot segments, encoded
    slashes, backslashes, control characters, bad escapes, bad UTF-8."""
    if not _SEGMENT.fullmatch(segment):
        raise BadStructure("The path is not well formed.")
    try:
        text = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        raise BadStructure("The path is not well formed.") from None
    if text in (".", "..") or _NEVER.search(text):
        raise BadStructure("The path is not well formed.")
    return text
