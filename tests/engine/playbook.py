"""Conversations: what a flow asks, line by line, and what it is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from proxy.demo.server import Request, Server
from proxy.demo.store import Store as Versions
from proxy.engine.flow import exchange
from proxy.engine.gateway import Gateway, Limits
from proxy.engine.messages import Answer, Ask, Call, Reply
from proxy.fhir.codec import encode
from proxy.fhir.reference import Bases
from proxy.lenses.identity import Namer
from proxy.lenses.keys import KeyRing
from proxy.policy.compile import compile_view
from proxy.policy.load import load_directory, load_policy
from proxy.policy.model import Caller

UPSTREAM = "http://upstream:8080/fhir"
ALIAS = "https://ehr.example/r4"
PUBLIC = "https://public.example/fhir"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICIES = Path(__file__).parents[2] / "policies"
INV, LDS, DEID = "investigator", "researcher-limited", "researcher-deidentified"
ROLES = (INV, LDS, DEID)

Turn = tuple[Ask | tuple[Ask, ...], Answer | tuple[Answer, ...]]


def _secret(seed: int) -> bytes:
    """Bytes that look random and are the same in every run."""
    return sha256(bytes([seed])).digest()


@cache
def ring() -> KeyRing:
    return KeyRing.new(_secret(3), _secret(5), date(2026, 1, 1))


@cache
def gateway() -> Gateway:
    """The shipped policies, each role named as its policy."""
    views = {
        name: compile_view(policy)
        for name, policy in load_directory(POLICIES).items()
        if policy.served
    }
    bases = Bases(UPSTREAM, [ALIAS])
    return Gateway.make(public_url=PUBLIC, bases=bases, views=views, ring=ring())


def make_gateway(policies: Mapping[str, Path], limits: Limits | None = None) -> Gateway:
    """A gateway with policies of a test's own, by role."""
    views = {role: compile_view(load_policy(path)) for role, path in policies.items()}
    return Gateway.make(
        public_url=PUBLIC, bases=Bases(UPSTREAM), views=views, ring=ring(),
        limits=limits or Limits(),
    )


def caller(role: str, **changes: Any) -> Caller:
    members: dict[str, Any] = {
        "issuer": "https://id.example", "subject": "u1", "role": role, "project": "study-7",
    }
    return Caller(**{**members, **changes})


def spelled(*ids: str, type_: str = "Patient") -> str:
    """The search value that asks for references to these things in every spelling."""
    return ",".join(
        f"{base}{type_}/{id_}" for base in ("", f"{UPSTREAM}/", f"{ALIAS}/") for id_ in ids
    )


def make_call(
    who: Caller | str | None,
    target: str,
    method: str = "GET",
    body: bytes = b"",
    now: datetime = NOW,
    request_id: str = "r1",
    **headers: str,
) -> Call:
    """A call. ``who``: a role, a caller, or nobody. ``headers``: ``_`` for ``-``."""
    held = caller(who) if isinstance(who, str) else who
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Call(method, target, named, body, held, now, request_id)


def form_call(who: Caller | str, target: str, form: str) -> Call:
    return make_call(who, target, "POST", form.encode(),
                     content_type="application/x-www-form-urlencoded")


def converse(call: Call, *turns: Turn, at: Gateway | None = None) -> Reply:
    """The reply, after exactly these asks with these answers."""
    flow = exchange(call, at or gateway())
    left = list(turns)
    try:
        asked = next(flow)
        while True:
            assert left, f"asked beyond the script: {asked}"
            expected, answer = left.pop(0)
            assert asked == expected
            asked = flow.send(answer)
    except StopIteration as done:
        assert not left, f"never asked: {left[0][0]}"
        reply = done.value
    assert isinstance(reply, Reply)
    return reply


def drive(
    call: Call, serve: Callable[[Ask], Answer], at: Gateway | None = None
) -> tuple[Reply, list[Ask]]:
    """The reply with an upstream that answers by itself, and all that was asked."""
    flow = exchange(call, at or gateway())
    log: list[Ask] = []
    try:
        asked = next(flow)
        while True:
            several = (asked,) if isinstance(asked, Ask) else asked
            log += several
            answers = tuple(map(serve, several))
            asked = flow.send(answers[0] if isinstance(asked, Ask) else answers)
    except StopIteration as done:
        reply = done.value
    assert isinstance(reply, Reply)
    return reply, log


def namer(role: str, project: str = "study-7") -> Namer:
    return gateway().namers.of(project, role)


def shown_id(role: str, type_: str, real: str) -> str:
    """The id that a role sees."""
    return real if role == INV else namer(role).show_id(type_, real)


def body_of(reply: Reply) -> Any:
    return orjson.loads(reply.body)


def issue_of(reply: Reply) -> tuple[int, str]:
    """Status and issue code of an error."""
    outcome = body_of(reply)
    assert outcome["resourceType"] == "OperationOutcome"
    (issue,) = outcome["issue"]
    assert issue["severity"] == "error"
    return reply.status, issue["code"]


def ok(resource: object, **headers: str) -> Answer:
    """A 200 of the upstream."""
    body = resource if isinstance(resource, bytes) else encode(resource)
    return Answer(200, {k.replace("_", "-"): v for k, v in headers.items()}, body)


def searchset(rows: Sequence[object], next_link: str = "", **members: object) -> Answer:
    """A page of the upstream. A row is a resource, or an entry if it has a ``resource``. A page
    from which none follows says how many rows there are, unless its ``total`` is None."""
    entries = [
        row if isinstance(row, dict) and "resource" in row else {
            "fullUrl": f"{UPSTREAM}/x", "resource": row, "search": {"mode": "match"}}
        for row in rows
    ]
    links = [{"relation": "self", "url": f"{UPSTREAM}/Patient?x"}]
    if next_link:
        links.append({"relation": "next", "url": next_link})
    else:
        members = {"total": len(entries)} | members
    bundle: dict[str, object] = {
        "resourceType": "Bundle", "id": "b1", "type": "searchset", "link": links, **members,
    }
    if bundle.get("total", 0) is None:
        del bundle["total"]
    if entries:
        bundle["entry"] = entries
    return ok(bundle)


def patient(id_: str, **members: object) -> dict[str, object]:
    return {
        "resourceType": "Patient", "id": id_, "meta": {"versionId": "3", "source": "#x"},
        "name": [{"family": "Everywoman"}], "gender": "female", "birthDate": "1974-11-24",
        **members,
    }


WITHHOLDING = {"modifierExtension": [{"url": "http://x.example/unlisted", "valueBoolean": True}]}


@dataclass(frozen=True, slots=True)
class Store:
    """An upstream that pages a fixed list of rows of one type, as HAPI does."""

    rows: tuple[dict[str, object], ...]
    most: int = 200

    def serve(self, ask: Ask) -> Answer:
        if ask.url:
            query = dict(pair.split("=") for pair in ask.url.split("?")[1].split("&"))
            offset, count = int(query["_getpagesoffset"]), int(query["_count"])
        else:
            offset, count = 0, int(dict(ask.form or ())["_count"])
        count = min(count, self.most)
        following = offset + count
        link = f"{UPSTREAM}?_getpages=abc&_getpagesoffset={following}&_count={count}"
        return searchset(self.rows[offset:following], link if following < len(self.rows) else "")


class Chart:
    """An upstream over resources of any type, as the embedded server answers for them. ``log``:
    what was asked. References to it are relative."""

    def __init__(self, resources: Iterable[dict[str, Any]]) -> None:
        self.store = Versions(resources)
        self.log: list[Ask] = []
        self._server = Server(self.store, UPSTREAM)

    def serve(self, ask: Ask) -> Answer:
        self.log.append(ask)
        if ask.url:
            response = self._server.answer(Request("GET", "/?" + ask.url.partition("?")[2]))
        else:
            headers = {"content-type": "application/x-www-form-urlencoded"}
            body = urlencode(ask.form or ()).encode()
            response = self._server.answer(Request("POST", f"/{ask.path}", headers, body))
        return Answer(response.status, response.headers, response.body)

    def write(self, resource: dict[str, Any]) -> None:
        self.store.write(resource)

    def delete(self, type_: str, id_: str) -> None:
        self.store.delete(type_, id_)

    def pages(self, who: Caller | str, target: str, at: Gateway | None = None) -> list[Reply]:
        """All pages of a search, along the next links."""
        replies = []
        while target:
            reply, _ = drive(make_call(who, target), self.serve, at)
            assert reply.status == 200, reply.body
            replies.append(reply)
            link = link_of(reply, "next")
            target = below(link) if link else ""
        return replies


def entries_of(*replies: Reply) -> list[tuple[str, str]]:
    """``Type/id`` and mode of every entry."""
    found = [entry for reply in replies for entry in body_of(reply).get("entry", [])]
    return [
        ("{resourceType}/{id}".format(**entry["resource"]), entry["search"]["mode"])
        if "id" in entry["resource"] else ("", entry["search"]["mode"])
        for entry in found
    ]


def link_of(reply: Reply, relation: str) -> str:
    links = {link["relation"]: link["url"] for link in body_of(reply).get("link", [])}
    return str(links.get(relation, ""))


def below(url: str) -> str:
    """A link of ours as a target."""
    assert url.startswith(PUBLIC + "/")
    return url[len(PUBLIC):]
