"""Searches of restricted views before a real HAPI: orders, what comes along, chains, pages."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import aiohttp
import pytest

from proxy.engine.gateway import Gateway
from proxy.engine.messages import Answer, Ask, Reply
from proxy.engine.paging import Cursor, Page, bind, seal
from proxy.fhir.codec import encode
from proxy.fhir.reference import Bases
from tests.engine.playbook import (
    ALIAS,
    DEID,
    INV,
    LDS,
    NOW,
    PUBLIC,
    WITHHOLDING,
    below,
    body_of,
    caller,
    drive,
    entries_of,
    gateway,
    issue_of,
    link_of,
    make_call,
    ring,
)
from tests.engine.test_includes import finding, visit
from tests.loading import load, unload

pytestmark = pytest.mark.hapi

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Cache-Control": "no-cache"}
Resource = dict[str, Any]


@dataclass
class Upstream:
    """A HAPI as flows ask it, and a gateway before it. ``tag``: in the ids of one test."""

    base: str
    tag: str

    @property
    def gateway(self) -> Gateway:
        return self.gateway_of(LDS)

    def gateway_of(self, role: str) -> Gateway:
        views = {role: gateway().views[role]}
        return Gateway.make(public_url=PUBLIC, bases=Bases(self.base), views=views, ring=ring())

    def serve(self, ask: Ask) -> Answer:
        body = None if ask.form is None else urlencode(ask.form).encode()
        url = ask.url or f"{self.base}/{ask.path}"
        request = urllib.request.Request(url, data=body, headers=FORM if body else {})
        try:
            with urllib.request.urlopen(request) as response:
                return Answer(response.status, {}, response.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return Answer(refusal.code, {}, refusal.read())

    def ids(self, type_: str, query: str) -> list[str]:
        """What HAPI itself answers, in its order."""
        form = (*parse_qsl(query), ("_count", "200"))
        bundle = json.loads(self.serve(Ask(path=f"{type_}/_search", form=form)).body)
        return [entry["resource"]["id"] for entry in bundle.get("entry", [])]

    def real(self, name: str) -> str:
        return f"{name}-{self.tag}"

    def shown(self, type_: str, name: str) -> str:
        return gateway().namers.of("study-7", LDS).show_id(type_, self.real(name))

    def named(self, *names: str) -> list[tuple[str, str]]:
        found = []
        for name in names:
            type_, id_ = name.lstrip("+").split("/")
            mode = "include" if name[0] == "+" else "match"
            found.append((f"{type_}/{self.shown(type_, id_)}", mode))
        return found

    def pages(self, target: str, at: Gateway | None = None, role: str = LDS) -> list[Reply]:
        at = at or self.gateway
        replies = []
        while target:
            reply, _ = drive(make_call(role, target), self.serve, at)
            assert reply.status == 200, reply.body
            replies.append(reply)
            target = below(link) if (link := link_of(reply, "next")) else ""
        return replies


@asynccontextmanager
async def holding(hapi: str, resources: Iterable[Resource]) -> AsyncIterator[Upstream]:
    """HAPI with these resources, all ids and references of which get a tag of their own."""
    upstream = Upstream(hapi, uuid.uuid4().hex[:12])
    tagged = [_tagged(resource, upstream) for resource in resources]
    await load(hapi, tagged)
    try:
        yield upstream
    finally:
        await unload(hapi, tagged)


def _tagged(value: Any, upstream: Upstream) -> Any:
    if isinstance(value, list):
        return [_tagged(item, upstream) for item in value]
    if not isinstance(value, dict):
        return value
    found = {name: _tagged(item, upstream) for name, item in value.items()}
    if "resourceType" in found:
        found["id"] = upstream.real(found["id"])
        found.pop("meta", None)
    held = found.get("reference")
    own = isinstance(held, str) and held.startswith((f"{ALIAS}/", f"{upstream.base}/"))
    if isinstance(held, str) and (own or not held.startswith(("http", "#"))):
        found["reference"] = upstream.real(held)
    return found


def person(id_: str, **members: Any) -> Resource:
    return {"resourceType": "Patient", "id": id_, **members}


CODES = "http://loinc.org"
PEOPLE = [
    person("a", gender="male", birthDate="1970-05-05", active=True,
           address=[{"state": "MI", "city": "Ann Arbor"}, {"city": "Zeeland"}]),
    person("b", gender="female", birthDate="1970-05", address=[{"city": "ann-arbor"}]),
    person("c", gender="female", birthDate="1969-12-31", active=False,
           address=[{"city": "Éau Claire"}]),
    person("d"),
    person("e", gender="male", birthDate="1980", address=[{"city": "Ypsilanti"}]),
    person("f", gender="other", birthDate="1970-05-05", address=[{"city": "AnnArbor"}]),
]


def coded(*codings: tuple[str, str]) -> Resource:
    return {"code": {"coding": [{"system": s, "code": c} for s, c in codings]}}


FINDINGS = [
    finding("1", "Patient/a", effectiveDateTime="2020-01-15T10:00:00Z", **coded((CODES, "9"))),
    finding("2", "Patient/b", effectivePeriod={"end": "2020-01-12"}, **coded((CODES, "10"))),
    finding("3", "Patient/c", effectivePeriod={"start": "2020-01-10", "end": "2020-02-01"},
            **coded(("http://snomed.info/sct", "1"), (CODES, "95"))),
    finding("4", "Patient/a", **coded(("urn:local:codes", "1"))),
    finding("5", "Patient/b", effectiveDateTime="2019", valueQuantity={"value": 5, "unit": "mg"}),
    finding("6", "Patient/c", effectiveInstant="2020-01-15T08:00:00-05:00",
            valueQuantity={"value": -2.5, "unit": "g"}),
    finding("7", "Patient/c", effectiveTiming={"event": ["2019-06-01", "2021-01-01"]},
            valueQuantity={"value": 50, "unit": "mg"}, **coded((CODES, "9"), (CODES, "99"))),
]
KEYS = {
    "Patient": ["gender", "birthdate", "address-city", "active", "gender,-birthdate",
                "-address-city,gender", "_id", "gender,-_id"],
    "Observation": ["date", "value-quantity", "code", "status,date", "code,-value-quantity"],
}


async def test_orders_are_hapis(hapi: str) -> None:
    """Each sort, up and down, gives the order that HAPI gives the same data as shown: the rows of
    the view, loaded into the server as they are."""
    async with holding(hapi, [*PEOPLE, *FINDINGS]) as upstream:
        mine: dict[tuple[str, str], list[str]] = {}
        shown: dict[str, Resource] = {}
        queries: dict[str, str] = {}
        for type_, rows in (("Patient", PEOPLE), ("Observation", FINDINGS)):
            queries[type_] = "_id=" + ",".join(upstream.shown(type_, r["id"]) for r in rows)
            for key in KEYS[type_]:
                for keys in (key, f"-{key}".replace("--", "")):
                    pages = upstream.pages(f"/{type_}?{queries[type_]}&_sort={keys}&_count=4")
                    found = [e["resource"] for page in pages for e in body_of(page)["entry"]]
                    mine[type_, keys] = [resource["id"] for resource in found]
                    shown |= {resource["id"]: resource for resource in found}
        assert {len(ids) for ids in mine.values()} == {len(PEOPLE), len(FINDINGS)}
        await load(hapi, shown.values())
        try:
            theirs = {}
            for type_, keys in mine:
                total = keys if "_id" in keys else f"{keys},_id"
                theirs[type_, keys] = upstream.ids(type_, f"{queries[type_]}&_sort={total}")
        finally:
            await unload(hapi, shown.values())
        assert mine == theirs


STORED = [
    *PEOPLE, person("h", gender="female", birthDate="1970-05-05", **WITHHOLDING),
    visit("v"),
    finding("1", "Patient/a", encounter={"reference": "Encounter/v"}),
    finding("2", "Patient/b"), finding("3", "Patient/a"), finding("4", "Patient/h"),
    finding("6", "http://elsewhere.example/fhir/Patient/a"),
    finding("9", "Patient/b", **WITHHOLDING),
]
INCLUDED = [
    ("Observation?_id={1},{2},{3}&_include=Observation:subject",
     ["Observation/1", "Observation/2", "Observation/3", "+Patient/a", "+Patient/b"]),
    ("Observation?_id={4},{6}&_include=Observation:subject", ["Observation/4", "Observation/6"]),
    ("Patient?_id={b}&_revinclude=Observation:patient", ["Patient/b", "+Observation/2"]),
    ("Patient?_id={a}&_revinclude=Observation:subject&_include:iterate=Observation:encounter",
     ["Patient/a", "+Observation/1", "+Observation/3", "+Encounter/v"]),
    ("Encounter?_id={v}&_include=Encounter:subject:Patient", ["Encounter/v", "+Patient/a"]),
]
CHAINED = [
    ("patient.gender=female", ["2"]),
    ("subject:Patient.gender=female,male", ["1", "2", "3"]),
    ("patient.gender:not=male", ["2"]),
    ("patient.birthdate=ge1970-05-01&patient.birthdate=le1970-05-31", ["1", "2", "3"]),
    ("patient.birthdate=1970-05-05", ["1", "3"]),
    ("patient.birthdate:missing=true", []),
    ("subject:Patient.address-state=MI", ["1", "3"]),
    ("subject:Patient._id={a}", ["1", "3"]),
    ("patient._id={a},{b}", ["1", "2", "3"]),
    ("encounter.class=EMER", ["1"]),
    ("patient.gender=male&_sort=-date", ["1", "3"]),
]


async def test_includes_and_chains(hapi: str) -> None:
    """What comes along and what a chain finds is decided by what shows at both ends; HAPI is asked
    in a form that finds at least those."""
    async with holding(hapi, STORED) as upstream:
        for query, names in INCLUDED:
            type_ = query.partition("?")[0]
            for name in "12346abv":
                query = query.replace("{" + name + "}", upstream.shown(type_, name))
            (page,) = upstream.pages(f"/{query}")
            assert sorted(entries_of(page)) == sorted(upstream.named(*names)), query
            assert [mode for _, mode in entries_of(page)] == [
                "include" if name[0] == "+" else "match" for name in names]
        ids = ",".join(upstream.shown("Observation", n) for n in "123469")
        for query, rows in CHAINED:
            for name in "ab":
                query = query.replace("{" + name + "}", upstream.shown("Patient", name))
            pages = upstream.pages(f"/Observation?_id={ids}&{query}&_count=2")
            found = sorted(entry for page in pages for entry in entries_of(page))
            assert found == sorted(upstream.named(*(f"Observation/{r}" for r in rows))), query
        # HAPI finds nothing by an id at the end of an untyped chain; what it holds is found.
        assert upstream.ids("Observation", f"patient._id={upstream.real('a')}") == []
        target = f"/Observation?patient._id={upstream.real('a')}"
        pages = upstream.pages(target, upstream.gateway_of(INV), INV)
        assert {name for page in pages for name, _ in entries_of(page)} == {
            f"Observation/{upstream.real(r)}" for r in "13"}


async def _write(hapi: str, resources: list[Resource], method: str = "PUT") -> None:
    """Store, or delete, many at once."""
    entries = [
        {**({"resource": r} if method == "PUT" else {}),
         "request": {"method": method, "url": f"{r['resourceType']}/{r['id']}"}}
        for r in resources
    ]
    async with aiohttp.ClientSession() as session:
        for at in range(0, len(entries), 250):
            bundle = {"resourceType": "Bundle", "type": "transaction",
                      "entry": entries[at : at + 250]}
            headers = {"Content-Type": "application/fhir+json"}
            async with session.post(hapi, data=encode(bundle), headers=headers) as response:
                assert response.status == 200, await response.text()


async def test_a_thousand_rows(hapi: str) -> None:
    """R-PG-4: a walk over 1 000 rows, a third of them withheld, gives each visible one once; as
    stored and sorted, while rows come and go."""
    tag = uuid.uuid4().hex[:12]
    one = person(f"p-{tag}")
    rows = [
        {**finding(f"r{n:04}-{tag}", f"Patient/p-{tag}",
                   effectiveDateTime=f"2020-{n % 12 + 1:02}-{n % 28 + 1:02}"),
         **(WITHHOLDING if n % 3 == 2 else {})}
        for n in range(1000)
    ]
    late = [finding(f"s{n}-{tag}", f"Patient/p-{tag}", effectiveDateTime="2019-01-01")
            for n in range(3)]
    await load(hapi, [one])
    try:
        await _write(hapi, rows)
        upstream = Upstream(hapi, tag)
        at = upstream.gateway
        namer = at.namers.of("study-7", LDS)
        patient = namer.show_id("Patient", str(one["id"]))
        visible = [r for r in rows if "modifierExtension" not in r]
        names = [f"Observation/{namer.show_id('Observation', str(r['id']))}" for r in visible]
        days = dict(zip(names, (str(r["effectiveDateTime"]) for r in visible), strict=True))
        query = f"/Observation?patient={patient}&_count=37"
        for sort in ("", "&_sort=date"):
            expected = sorted(names, key=lambda n: (days[n], n)) if sort else names
            pages = upstream.pages(query + sort, at)
            assert [name for page in pages for name, _ in entries_of(page)] == expected
            assert {len(entries_of(page)) for page in pages[:-1]} == {37}
            # Now with rows that go and come between the first page and the others.
            first, _ = drive(make_call(LDS, query + sort), upstream.serve, at)
            gone = [r for r in visible if str(r["id"])[1:5] in ("0036", "0040", "0600", "0999")]
            await _write(hapi, gone, "DELETE")
            await _write(hapi, late)
            rest = upstream.pages(below(link_of(first, "next")), at)
            lost, new = (
                {f"Observation/{namer.show_id('Observation', str(r['id']))}" for r in some}
                for some in (gone, late)
            )
            found = [name for page in rest for name, _ in entries_of(page)]
            assert len(set(found)) == len(found)
            # What was stored meanwhile may come at the end, or not at all.
            assert [n for n in found if n not in new] == [n for n in expected[37:] if n not in lost]
            assert not new.intersection(found[: -len(new)])
            await _write(hapi, late, "DELETE")
            await _write(hapi, gone)
            # Written again they are the last that are stored.
            names = [n for n in names if n not in lost] + [n for n in names if n in lost]
    finally:
        await _write(hapi, [*rows, *late], "DELETE")
        await unload(hapi, [one])


async def test_no_index_orders_rows(hapi: str) -> None:
    """Design section 5.5: HAPI gives what it finds by an index in the order of the index, here of
    whole birth dates and ZIP codes. Who sees less of them sees the order of storage."""
    tag = uuid.uuid4().hex[:12]
    people = [
        person(f"p{n:02}-{tag}", birthDate=f"1981-03-{n * 7 % 28 + 1:02}",
               address=[{"state": "MI", "postalCode": f"481{n * 7 % 28 + 10}"}])
        for n in range(28)
    ]
    await load(hapi, people)
    try:
        upstream = Upstream(hapi, tag)
        at = upstream.gateway_of(DEID)
        namer = at.namers.of("study-7", DEID)
        stored = [namer.show_id("Patient", str(each["id"])) for each in people]
        mine = "_id=" + ",".join(stored)
        for query in ("birthdate=1981", "birthdate=ge1980&birthdate=lt1982",
                      "address-postalcode=481", f"birthdate=1981&{mine}"):
            pages = upstream.pages(f"/Patient?{query}&_count=10", at, DEID)
            shown = [e["resource"]["id"] for page in pages for e in body_of(page)["entry"]]
            assert [id_ for id_ in shown if id_ in stored] == stored, query
        # What would be given otherwise.
        found = upstream.ids("Patient", "birthdate=ge1981-01-01&birthdate=le1981-12-31")
        days = {str(each["id"]): str(each["birthDate"]) for each in people}
        dates = [days[id_] for id_ in found if id_ in days]
        assert dates == sorted(dates) != list(days.values())
    finally:
        await unload(hapi, people)


async def test_a_forgotten_search_is_gone(hapi: str) -> None:
    """Where HAPI no longer has the search that a page belongs to, the page is 410."""
    upstream = Upstream(hapi, "x")
    url = f"{hapi}?_getpages={uuid.uuid4()}&_getpagesoffset=2&_count=2&_bundletype=searchset"
    at = upstream.gateway
    binding = bind(caller(LDS), at.views[LDS].digest, "Patient")
    page = Page((("gender", "female"),), Cursor(url, 0, "Patient/x", ""))
    token = seal(page, at.page_key, binding, NOW + timedelta(hours=1))
    reply, asked = drive(make_call(LDS, f"/Patient?_page={token}"), upstream.serve, at)
    assert issue_of(reply) == (410, "expired")
    assert [ask.url for ask in asked] == [url]


def parts(id_: str, *codes: str) -> Resource:
    """An Observation with a component of each code."""
    return finding(id_, "Patient/a", component=[coded((CODES, code)) for code in codes])


async def test_no_row_is_lost(hapi: str) -> None:
    """No loss: where a join gives HAPI rows several times, its first page may be just full and
    offer no next; every view gets all the same."""
    tag = uuid.uuid4().hex[:8]
    one, other = f"1{tag}", f"2{tag}"
    # Sorted here or not, the first 51 matches of HAPI's join are 50 rows, which is its page.
    stored = [parts("0", one, other), *(parts(str(n), one) for n in range(1, 60))]
    query = f"component-code={CODES}|{one},{CODES}|{other}"
    async with holding(hapi, [person("a"), *stored]) as upstream:
        form = (*parse_qsl(query), ("_sort", "_pid"), ("_count", "101"))
        first = json.loads(upstream.serve(Ask(path="Observation/_search", form=form)).body)
        assert (len(first["entry"]), "total" in first) == (50, False)
        assert [link["relation"] for link in first["link"]] == ["self"]  # HAPI's loss
        found = {}
        for role, more in ((INV, "&_total=none&_sort=component-code"), (LDS, "&_sort=code"),
                           (DEID, "&_count=7")):
            at = upstream.gateway_of(role)
            pages = upstream.pages(f"/Observation?{query}{more}", at, role)
            found[role, more] = len({name for page in pages for name, _ in entries_of(page)})
        assert set(found.values()) == {len(stored)}, found


async def test_presence_is_by_what_shows(hapi: str) -> None:
    """Nobody shows as dead by an extension that is hidden; and what an element at the end of a
    chain shows decides whether it is missing."""
    city = uuid.uuid4().hex
    here = {"address": [{"city": city}]}
    secret = {"extension": [{"url": "http://elsewhere.example/secret", "valueString": "x"}]}
    people = [
        person("alive", **here, birthDate="1970"),
        person("hidden", **here, _deceasedDateTime=secret, _birthDate=secret),
        person("dead", **here, deceasedDateTime="2020-02-03", birthDate="1970"),
    ]
    findings = [finding(f"of-{one['id']}", f"Patient/{one['id']}") for one in people]
    asked = {
        f"Patient?deceased=true&address-city={city}": ["dead"],
        f"Patient?deceased=false&address-city={city}": ["alive", "hidden"],
        f"Patient?deceased=true,false&address-city={city}": ["alive", "hidden", "dead"],
        f"Observation?patient.deceased=true&patient.address-city={city}": ["of-dead"],
        f"Observation?patient.birthdate:missing=true&patient.address-city={city}": ["of-hidden"],
        f"Observation?patient.birthdate:missing=false&patient.address-city={city}":
            ["of-alive", "of-dead"],
    }  # fmt: skip
    async with holding(hapi, [*people, *findings]) as upstream:
        for query, wanted in asked.items():
            found = [name for page in upstream.pages(f"/{query}") for name, _ in entries_of(page)]
            type_ = query.partition("?")[0]
            assert sorted(found) == sorted(f"{type_}/{upstream.shown(type_, w)}" for w in wanted)
        for query in ("Patient?deceased:missing=true", "Patient?deceased:not=true",
                      f"Patient?_id:not={upstream.shown('Patient', 'alive')}"):
            reply, asks = drive(make_call(LDS, f"/{query}"), upstream.serve, upstream.gateway)
            assert (reply.status, asks) == (403, [])
