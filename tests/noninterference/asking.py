"""The requests of one world of a sweep, of every kind that a role is offered."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import orjson

from proxy.policy.compile import View
from tests.noninterference.questions import Criteria
from tests.noninterference.requests import JSON, MOST_PAGES, Request
from tests.noninterference.worlds import Key, World
from tests.rig import Response, Rig

# Kinds of requests with how many of a hundred are made of each.
KINDS = {
    "read": 9, "head": 4, "search": 16, "modifier": 10, "prefix": 8, "sort": 7, "include": 6,
    "revinclude": 5, "chain": 6, "page walk": 8, "post": 5, "batch": 6, "header": 6,
    "operation": 3, "bad input": 4, "refused": 3,
}  # fmt: skip
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_PROJECTIONS = (
    "_summary=true", "_summary=text", "_summary=data", "_elements=id,meta", "_pretty=true",
    "_elements=identifier,subject,code", "_format=json", "_summary=false",
)  # fmt: skip
_COUNTED = ("_summary=count", "_count=0", "_total=accurate&_count=2")
_HEADERS: tuple[dict[str, str], ...] = (
    {"If-None-Match": 'W/"1"'}, {"If-None-Match": "*"}, {"If-Modified-Since": "Sat, 01 Jan 2028"},
    {"Range": "bytes=0-99"}, {"Prefer": "return=minimal"}, {"Accept": "application/json"},
    {"Accept": "*/*"}, {"Accept-Encoding": "gzip"}, {"Cache-Control": "no-cache"},
    {"X-Forwarded-For": "10.0.0.1"}, {"X-Request-Id": "abc-1"}, {"Prefer": "handling=lenient"},
)  # fmt: skip
_BAD = (
    "{type}?nonsense=1", "{type}?_count=-1", "{type}?_count=x", "{type}/a b", "//evil/x",
    "{type}?_page=AAAA", "{type}?_getpages=1", "{type}?code=%00", "Nothing/1", "{type}/{id}/x/y",
    "{type}?_id=", "{type}?_sort=", "{type}?_elements=nonsense", "{type}?_total=always",
)  # fmt: skip
_SORT_SIGNS = ("", "-")


@dataclass
class Asker:
    """Makes requests about what differs in a world. ``view``: the role's."""

    role: str
    view: View
    world: World
    criteria: Criteria
    rng: random.Random

    def requests(self, count: int, wanted: Iterable[str] = KINDS) -> Iterator[Request]:
        """``count`` requests, of each kind its share; what is not offered is left out."""
        makers = {
            "read": self._read, "head": self._head, "search": self._search,
            "modifier": self._modifier, "prefix": self._prefix, "sort": self._sort,
            "include": self._include, "revinclude": self._revinclude, "chain": self._chain,
            "page walk": self._walk, "post": self._post, "batch": self._batch,
            "header": self._header, "operation": self._operation, "bad input": self._bad,
            "refused": self._refused,
        }  # fmt: skip
        made = 0
        kinds = [kind for kind in wanted for _ in range(KINDS[kind])]
        self.rng.shuffle(kinds)
        while made < count:
            before = made
            for kind in kinds:
                request = makers[kind]()
                if request is not None and made < count:
                    made += 1
                    yield request
            assert made > before, "nothing is offered"

    def _target(self) -> Key:
        """Something that differs, or now and then anything."""
        rng, table = self.rng, self.criteria.offers.table
        about = [key for key in self.world.about if key[0] in table.types()]
        if about and rng.random() < 0.9:
            return rng.choice(about)
        side = self.world.first if rng.random() < 0.5 else self.world.second
        found = [r for r in side if r["resourceType"] in table.types()]
        one = rng.choice(found)
        return str(one["resourceType"]), str(one["id"])

    def _path(self, rig: Rig, key: Key) -> str:
        """As the role would have it; of what is hidden, too."""
        real = not self.view.pseudonym(key[0])
        return "/".join(key) if real else f"{key[0]}/{rig.id(self.role, *key)}"

    def _tail(self) -> str:
        rng = self.rng
        count = rng.choice(("", f"_count={rng.randint(1, 5)}", "_count=30"))
        if self.view.policy.search.total == "exact" and rng.random() < 0.12:
            count = rng.choice(_COUNTED)
        projection = rng.choice(_PROJECTIONS) if rng.random() < 0.2 else ""
        return "".join(f"&{part}" for part in (count, projection) if part)

    def get(self, kind: str, target: str) -> Request:
        """One GET of a target in URL form."""
        async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
            yield await rig.ask(self.role, f"/{target}")

        return Request(kind, target, run)

    def _read(self) -> Request:
        key, projection = self._target(), self.rng.choice(("", *_PROJECTIONS))

        async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
            path = self._path(rig, key)
            yield await rig.ask(self.role, f"/{path}?{projection}" if projection else f"/{path}")

        return Request("read", f"{'/'.join(key)} {projection}", run)

    def _head(self) -> Request:
        key = self._target()
        criterion = self.criteria.take(key[0]) if self.rng.random() < 0.4 else None

        async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
            target = self._path(rig, key) if criterion is None else f"{key[0]}?{criterion}"
            yield await rig.ask(self.role, f"/{target}", method="HEAD")

        return Request("head", f"{'/'.join(key)} {criterion}", run)

    def _search(self) -> Request | None:
        return self._by("search", lambda c: not c[1] and c[2] in ("", "eq"))

    def _modifier(self) -> Request | None:
        return self._by("modifier", lambda c: c[1] != "")

    def _prefix(self) -> Request | None:
        return self._by("prefix", lambda c: c[2] not in ("", "eq"))

    def _by(self, kind: str, wanted: Callable[[tuple[str, str, str]], bool]) -> Request | None:
        type_name, _ = self._target()
        one = self.criteria.take(type_name, wanted)
        if one is None:
            return None
        other = self.criteria.take(type_name) if self.rng.random() < 0.2 else None
        return self.get(kind, f"{type_name}?{one}{f'&{other}' if other else ''}{self._tail()}")

    def _sort(self) -> Request | None:
        type_name, _ = self._target()
        keys = self._sort_keys(type_name)
        if not keys:
            return None
        pointed = sorted({c for c, _, _ in self.criteria.pointed(type_name)} & set(keys))
        keys = pointed if pointed and self.rng.random() < 0.6 else keys
        picked = self.rng.sample(keys, min(len(keys), self.rng.choice((1, 1, 2))))
        sort = ",".join(self.rng.choice(_SORT_SIGNS) + key for key in picked)
        one = self.criteria.take(type_name) if self.rng.random() < 0.3 else None
        query = f"_sort={sort}{f'&{one}' if one else ''}{self._tail()}"
        return self.get("sort", f"{type_name}?{query}")

    def _sort_keys(self, type_name: str) -> list[str]:
        table = self.criteria.offers.table
        offered = {code for code, _, _ in self.criteria.offers.combinations.get(type_name, ())}
        return sorted(c for c in offered if table.sort(type_name, c).kind != "refuse")

    def _include(self) -> Request | None:
        return self._included("include", self.criteria.offers.includes)

    def _revinclude(self) -> Request | None:
        return self._included("revinclude", self.criteria.offers.revincludes)

    def _included(self, kind: str, links: Sequence[tuple[str, str, str]]) -> Request | None:
        """``links``: (type that is searched, include, type that comes along)."""
        if not links:
            return None
        types = {self._target()[0] for _ in range(5)}
        near = [link for link in links if link[0] in types or link[2] in types] or links
        # A reference that may lead to many types is no likelier than another.
        start = self.rng.choice(sorted({":".join(v.split(":")[:2]) for _, v, _ in near}))
        type_name, value, _ = self.rng.choice([link for link in near if link[1].startswith(start)])
        iterate = ":iterate" if self.rng.random() < 0.1 else ""
        one = self.criteria.take(type_name) if self.rng.random() < 0.2 else None
        query = f"_{kind}{iterate}={value}{f'&{one}' if one else ''}{self._tail()}"
        return self.get(kind, f"{type_name}?{query}")

    def _chain(self) -> Request | None:
        chains = self.criteria.offers.chains
        if not chains:
            return None
        types = {self._target()[0] for _ in range(4)}
        near = [c for c in chains if c[0] in types or c[2] in types]
        pointed = [c for c in near if (c[3], c[4], "") in self.criteria.pointed(c[2])]
        found = pointed if pointed and self.rng.random() < 0.5 else near or chains
        source, code, target, last, modifier = self.rng.choice(found)
        name, _, value = self.criteria.write(target, last, modifier).partition("=")
        return self.get("chain", f"{source}?{code}:{target}.{name}={value}{self._tail()}")

    def _walk(self) -> Request:
        type_name, _ = self._target()
        query = f"_count={self.rng.randint(1, 4)}"
        one = self.criteria.take(type_name) if self.rng.random() < 0.4 else None
        keys = self._sort_keys(type_name) if self.rng.random() < 0.25 else []
        query += f"&{one}" if one else ""
        query += f"&_sort={self.rng.choice(keys)}" if keys else ""

        async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
            response = await rig.ask(self.role, f"/{type_name}?{query}")
            yield response
            for _ in range(MOST_PAGES):
                link = response.link("next") if response.status == 200 else None
                if link is None:
                    return
                response = await rig.follow(self.role, link)
                yield response

        return Request("page walk", f"{type_name}?{query}", run)

    def _post(self) -> Request:
        type_name, _ = self._target()
        found = [self.criteria.take(type_name) for _ in range(self.rng.randint(0, 2))]
        query = "&".join(filter(None, (*found, "_count=20")))
        at = self.rng.randrange(2)

        async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
            target = f"/{type_name}/_search" + (f"?{query}" if at else "")
            body = b"" if at else query.encode()
            yield await rig.ask(self.role, target, method="POST", headers=_FORM, body=body)

        return Request("post", f"{type_name}?{query}", run)

    def _batched(self, kind: str, urls: Sequence[str], key: Key) -> Request:
        async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
            type_name, shown = self._path(rig, key).split("/")
            made = [u.replace("{type}", type_name).replace("{id}", shown) for u in urls]
            entries = [{"request": {"method": "GET", "url": url}} for url in made]
            body = orjson.dumps({"resourceType": "Bundle", "type": "batch", "entry": entries})
            yield await rig.ask(self.role, "", method="POST", headers=JSON, body=body)

        return Request(kind, " ".join(urls), run)

    def _batch(self) -> Request:
        key = self._target()
        urls = ["{type}/{id}"]
        for _ in range(self.rng.randint(2, 6)):
            type_name = key[0] if self.rng.random() < 0.5 else self._target()[0]
            one = self.criteria.take(type_name)
            urls.append(f"{type_name}?{one}{self._tail()}" if one else type_name)
        return self._batched("batch", urls, key)

    def _header(self) -> Request:
        key, sent = self._target(), self.rng.choice(_HEADERS)

        async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
            first = await rig.ask(self.role, f"/{self._path(rig, key)}", headers=sent)
            yield first
            again = {"If-None-Match": first.headers.get("etag", '"none"')}
            yield await rig.ask(self.role, f"/{self._path(rig, key)}", headers=again)

        return Request("header", f"{'/'.join(key)} {sent}", run)

    def _operation(self) -> Request | None:
        """``Composition/$document`` where it is offered."""
        if "$document" not in self.view.policy.access.get("Composition", ()):
            return None
        held = [r for r in self.world.first if r["resourceType"] == "Composition"]
        if not held:
            return None
        key = ("Composition", str(self.rng.choice(held)["id"]))

        async def run(rig: Rig, world: World) -> AsyncIterator[Response]:
            yield await rig.ask(self.role, f"/{self._path(rig, key)}/$document")

        return Request("operation", f"{key[1]}/$document", run)

    def _bad(self) -> Request:
        """Bad input beside a good read: the one says no more than the other."""
        urls = ["{type}/{id}", *self.rng.sample(_BAD, 3)]
        return self._batched("bad input", urls, self._target())

    def _refused(self) -> Request:
        """What is not offered, with hidden values, beside a good read."""
        key = self._target()
        urls = ["{type}/{id}"]
        table = self.criteria.offers.table
        refused = [
            (code, modifier)
            for code in table.parameters(key[0])
            for modifier in ("", "missing", "not")
            if table.verdict(key[0], code, modifier).kind == "refuse"
        ]
        for code, modifier in self.rng.sample(refused, min(4, len(refused))):
            urls.append(f"{key[0]}?{self.criteria.write(key[0], code, modifier, hidden=0.8)}")
            urls.append(f"{key[0]}?_sort={quote(code)}&_count=2")
        return self._batched("refused", urls, key)
