"""What passes between the shell and the core: Call in, Ask out, Answer in, Reply out."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from proxy.errors import ProxyError
from proxy.policy.model import Caller

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A client's request, read but not yet judged.

    ``target``: raw origin-form target below the public base, path and query still percent-encoded,
    with its leading slash (``/Patient/123?_elements=id``). ``headers``: lower-case names, only
    those the core may look at. ``now``: aware, UTC. ``caller``: None for an anonymous request.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    caller: Caller | None
    now: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to the upstream. Built from parsed parts only, never from the client's text.

    ``path``: path below the upstream base, segments percent-encoded (``Patient/123``,
    ``Patient/_search``, or empty for the base itself). ``query`` and ``form``: decoded pairs, in
    order; a ``form`` makes it a POST. ``url``: an absolute page link that the upstream gave,
    already checked to lie under the upstream base; then path, query and form are empty.
    """

    path: str = ""
    query: Pairs = ()
    form: Pairs | None = None
    url: str = ""
    if_none_match: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The upstream's response, or the failure of asking (``error``), never both.

    ``headers``: lower-case names. The shell has already refused redirects, other content types
    than FHIR JSON, and bodies past the limits.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: ProxyError | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the audit may know of an exchange: names and counts, never values.

    ``interaction``: FHIR interaction code (``read``, ``search-type``, ``batch`` …) or empty if it
    was never understood. ``patients``: pseudonyms under the audit key. ``rules``: ids of the
    policy lines that decided. ``policy``: ``name@digest``. ``alarms``: values in which the
    tripwire still found what was removed; it looks at a share of the answers. ``operation``: its
    name (``$document``), if it is one. ``scrubbed``: what was found in texts, by kind.
    """

    interaction: str = ""
    type: str = ""
    parameters: tuple[str, ...] = ()
    policy: str = ""
    rules: tuple[str, ...] = ()
    entries: int = 0
    patients: tuple[str, ...] = ()
    alarms: int = 0
    operation: str = ""
    scrubbed: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """The response to the client, complete and checked. ``body`` is JSON or empty."""

    status: int
    body: bytes = b""
    headers: Pairs = ()
    facts: Facts = Facts()


# A flow yields one Ask, or a tuple of them to be gathered, and is sent one Answer or a tuple of
# them in the same order.
Flow = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", Reply]
