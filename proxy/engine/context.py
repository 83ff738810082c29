"""One caller's exchange: who asks, through which view, by which names; what the audit is told."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256

from proxy.engine.gateway import Gateway
from proxy.engine.membership import Membership
from proxy.engine.messages import Answer, Ask, Call, Facts, Pairs
from proxy.engine.paging import Page, bind, seal, unseal
from proxy.engine.projection import Projection, prettify
from proxy.errors import InternalError
from proxy.fhir.codec import JsonObject, encode
from proxy.lenses.scrub import Known
from proxy.policy.compile import View
from proxy.policy.known import Texts
from proxy.policy.model import Caller
from proxy.policy.scope import Scope

# What a part of a flow is: it asks, and gives something else than a Reply back.
Asks = Generator["Ask | tuple[Ask, ...]", "Answer | tuple[Answer, ...]", "tuple[Answer, ...]"]

_MOST_PATIENTS = 100  # recorded per exchange


@dataclass(slots=True)
class Notes:
    """What is to be recorded, gathered while a flow runs."""

    facts: Facts = field(default_factory=Facts)
    _scrubbed: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, **facts: object) -> None:
        self.facts = replace(self.facts, **facts)  # type: ignore[arg-type]

    def add_patients(self, patients: Iterable[str]) -> None:
        """Patients, as pseudonyms under the audit key; each once, a bounded number."""
        held = self.facts.patients
        found = [patient for patient in patients if patient not in held]
        if found:  # most rows of a page are about patients that were met already
            self.add(patients=tuple(dict.fromkeys((*held, *found)))[:_MOST_PATIENTS])

    def add_scrubbed(self, name: str, found: Iterable[Counter[str]]) -> None:
        """What was found in the texts of the resource called ``name``; again, it counts once."""
        self._scrubbed[name] = sum(found, Counter())
        total = sum(self._scrubbed.values(), Counter())
        self.add(scrubbed=tuple(sorted(total.items())))

    def set_scrubbed(self, found: Iterable[Counter[str]]) -> None:
        """What was found in all texts of the answer, whatever was said of its parts before."""
        self._scrubbed.clear()
        self.add_scrubbed("", found)


@dataclass(frozen=True, slots=True)
class Context:
    """What every step of one granted request needs. ``if_none_match``: that header, or empty.
    ``watched``: whether the tripwire looks through what is shown. ``membership``: what was found
    out of cases so far. ``companions``: Patients fetched so far, by absolute URL, and
    ``relatives`` of theirs; ``scrubbers``: what was made of them."""

    gateway: Gateway
    caller: Caller
    view: View
    now: datetime
    if_none_match: str
    watched: bool
    notes: Notes
    membership: Membership = field(default_factory=Membership, compare=False)
    companions: dict[str, JsonObject | None] = field(default_factory=dict, compare=False)
    relatives: dict[str, list[JsonObject]] = field(default_factory=dict, compare=False)
    scrubbers: dict[Texts, Known] = field(default_factory=dict, compare=False)

    @classmethod
    def make(
        cls, gateway: Gateway, caller: Caller, view: View, call: Call, notes: Notes
    ) -> Context:
        """The context of a granted request, noted for the audit."""
        notes.add(policy=f"{view.name}@{view.digest}")
        etags = call.headers.get("if-none-match", "")
        watched = _is_watched(call.request_id, gateway.limits.tripwire)
        return cls(gateway, caller, view, call.now, etags, watched, notes)

    @property
    def base(self) -> str:
        return self.gateway.public_url

    def scope(self) -> Scope:
        """A fresh scope: one for each resource that is revealed."""
        return Scope(
            # A caller without a project has a view without pseudonyms, so any key does.
            namer=self.gateway.namers.of(self.caller.project or _NOBODY, self.view.name),
            bases=self.gateway.bases,
            public=self.gateway.public_url,
            today=self.now.date(),
            shows=self.view.shows,
            pseudonym=self.view.pseudonym,
            claims=self.caller.claims,
            companions=self.companions,
            relatives=self.relatives,
            scrubbers=self.scrubbers,
        )

    def real_ids(self, type_: str, shown: str) -> tuple[str, ...]:
        """The upstream ids that a shown id may stand for; none: it cannot be one of ours."""
        if not self.view.pseudonym(type_):
            return (shown,)
        namer = self.gateway.namers.of(self.caller.project, self.view.name)
        return namer.real_ids(type_, shown)

    def etag(self, body: bytes) -> str:
        """A weak ETag: a keyed hash of what is shown and of whom it is shown to."""
        whom = bind(self.caller, self.view.digest, "")
        digest = hmac.digest(self.gateway.etag_key, whom.owner + whom.terms + body, "sha256")
        return f'W/"{urlsafe_b64encode(digest[:18]).decode()}"'

    def knows(self, etag: str) -> bool:
        """Whether the client says it has the representation (weak comparison, RFC 9110, 13.1.2).

        ``*`` is no ETag that we issued and is not taken for one.
        """
        opaque = etag.removeprefix("W/")
        return any(
            item.strip().removeprefix("W/") == opaque for item in self.if_none_match.split(",")
        )

    def seal(self, page: Page, path: str) -> str:
        expires = self.now + timedelta(seconds=self.gateway.limits.page_seconds)
        return seal(page, self.gateway.page_key, bind(self.caller, self.view.digest, path), expires)

    def name_search(self, path: str, query: Pairs) -> bytes:
        """A digest of a search as this caller makes it."""
        whom = bind(self.caller, self.view.digest, path)
        return sha256(whom.owner + whom.terms + repr(query).encode()).digest()

    def unseal(self, token: str, path: str) -> Page:
        binding = bind(self.caller, self.view.digest, path)
        return unseal(token, self.gateway.page_key, binding, self.now)

    def audit_name(self, url: str) -> str:
        """The pseudonym under the audit key of the patient with this absolute URL."""
        return hmac.digest(self.gateway.audit_key, url.encode(), "sha256")[:16].hex()


_NOBODY = "-"


def _is_watched(request_id: str, share: int) -> bool:
    """Whether a request is one of the share; by its id, which the shell draws at random."""
    if not share:
        return False
    return int.from_bytes(sha256(request_id.encode()).digest()[:8], "big") % share == 0


def ask_one(ask: Ask) -> Generator[Ask | tuple[Ask, ...], Answer | tuple[Answer, ...], Answer]:
    answer = yield ask
    if not isinstance(answer, Answer):
        raise InternalError()
    return answer


def ask_all(asks: tuple[Ask, ...]) -> Asks:
    """The answers to ``asks``, gathered; a single one is asked alone."""
    if len(asks) == 1:
        return ((yield from ask_one(asks[0])),)
    answers = yield asks
    if isinstance(answers, Answer) or len(answers) != len(asks):
        raise InternalError()
    return answers


def render(body: bytes, resource: JsonObject | None, projection: Projection) -> bytes:
    """The bytes of a shown resource: ``body`` as it is, or ``resource`` projected and encoded."""
    out = body if resource is None else encode(projection.apply(resource))
    return prettify(out) if projection.pretty else out


__all__ = ["Asks", "Context", "Notes", "Pairs", "ask_all", "ask_one", "render"]
