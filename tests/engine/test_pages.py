"""Pages: complete, each row once, with borders that tell nothing; links that serve one caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.engine.gateway import Limits
from proxy.engine.messages import Answer, Ask, Reply
from proxy.policy.model import Caller
from tests.engine.playbook import (
    DEID,
    INV,
    LDS,
    NOW,
    POLICIES,
    PUBLIC,
    ROLES,
    UPSTREAM,
    WITHHOLDING,
    Store,
    below,
    body_of,
    caller,
    converse,
    drive,
    gateway,
    issue_of,
    link_of,
    make_call,
    make_gateway,
    ok,
    patient,
    searchset,
    shown_id,
)


def store(pattern: str, most: int = 200) -> Store:
    """Rows in order: ``v`` visible, ``h`` withheld by a modifierExtension."""
    rows = [
        patient(f"p{i}", **(WITHHOLDING if kind == "h" else {})) for i, kind in enumerate(pattern)
    ]
    return Store(tuple(rows), most)


def walk(role: str, served: Store, query: str = "_count=2") -> list[Reply]:
    """All pages, from the search on along the next links."""
    replies, target = [], f"/Patient?{query}"
    while target:
        reply, _ = drive(make_call(role, target), served.serve)
        assert reply.status == 200
        replies.append(reply)
        link = link_of(reply, "next")
        target = below(link) if link else ""
    return replies


def ids(replies: Sequence[Reply]) -> list[list[str]]:
    return [[e["resource"]["id"] for e in body_of(r).get("entry", [])] for r in replies]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("count", [1, 2, 7, 100, 999999])
@pytest.mark.parametrize("most", [3, 200])
def test_complete(role: str, count: int, most: int) -> None:
    """R-PG-4: every visible row once, in the upstream's order, whatever the page sizes; R-SP-6: a
    large _count is clipped."""
    rows = 120 if count > 7 else 20
    pages = ids(walk(role, store("v" * rows, most), f"_count={count}"))
    assert [i for page in pages for i in page] == [
        shown_id(role, "Patient", f"p{i}") for i in range(rows)
    ]
    size = min(count, 100, most if role == INV else 100)
    assert all(len(page) == size for page in pages[:-1])


WORLDS = [
    ("vvvvv", "hvhvhvhvhvh"), ("vvvv", "vvvvhhhhhhhh"), ("vv", "hhhhhhhvv"), ("v", "vh"),
    ("", "hhhhh"), ("vvv", "vvhv"), ("vvvvvv", "vhhhhvhhhhvvvhv"),
]


@pytest.mark.parametrize(("plain", "mixed"), WORLDS, ids=[w[1] for w in WORLDS])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_borders_tell_nothing(plain: str, mixed: str, count: int) -> None:
    """R-SP-4, R-SP-7, Principle 1: with and without hidden rows between, pages are equal: borders,
    links, and lengths of everything."""
    def visible(pattern: str) -> Store:
        rows = [row for row, kind in zip(store(pattern).rows, pattern, strict=True)]
        shown = iter(range(len(pattern)))
        named = [
            {**row, "id": f"v{next(shown)}"} if kind == "v" else {**row, "id": f"hidden{i}"}
            for i, (row, kind) in enumerate(zip(rows, pattern, strict=True))
        ]
        return Store(tuple(named))

    one, other = (walk(LDS, visible(p), f"_count={count}") for p in (plain, mixed))
    assert ids(one) == ids(other)
    assert [len(r.body) for r in one] == [len(r.body) for r in other]
    assert [bool(link_of(r, "next")) for r in one] == [bool(link_of(r, "next")) for r in other]


@pytest.mark.parametrize("role", ROLES)
def test_links_are_ours(role: str) -> None:
    """R-PG-1, R-PG-3: links start with the public base; no upstream host or token is in them; the
    self link of a search shows the client's own parameters."""
    pages = walk(role, store("v" * 5), "gender=female&_count=2")
    assert link_of(pages[0], "self") == f"{PUBLIC}/Patient?gender=female&_count=2"
    for page in pages:
        assert b"_getpages" not in page.body
        assert b"upstream" not in page.body
        assert {link["relation"] for link in body_of(page)["link"]} <= {"self", "next"}


def next_of(who: Caller | str, served: Store, query: str = "_count=2") -> str:
    reply, _ = drive(make_call(who, f"/Patient?{query}"), served.serve)
    return below(link_of(reply, "next"))


STRANGERS = [
    ("another subject", caller(LDS, subject="u2")),
    ("another issuer", caller(LDS, issuer="https://other.example")),
    ("another researcher", caller(DEID, subject="u2")),
    ("an investigator", caller(INV, subject="u3")),
]
CHANGES = [
    ("another role", caller(DEID)),
    ("the investigator's role", caller(INV)),
    ("another project", caller(LDS, project="study-8")),
    ("other claims", caller(LDS, claims={"conditions": ["x"]})),
    ("other scopes", caller(LDS, scopes=frozenset({"user/*.rs"}))),
]


@pytest.mark.parametrize("who", [c for _, c in STRANGERS], ids=[n for n, _ in STRANGERS])
def test_links_serve_one_caller(who: Caller) -> None:
    """R-PG-2: in other hands a link is not found, and nothing is asked."""
    link = next_of(LDS, store("vvvv"))
    assert issue_of(converse(make_call(who, link))) == (404, "not-found")


@pytest.mark.parametrize("who", [c for _, c in CHANGES], ids=[n for n, _ in CHANGES])
def test_links_do_not_outlive_a_change(who: Caller) -> None:
    """R-PG-6: to the same person under another role, project, claims or scopes a link has gone,
    and nothing is asked."""
    link = next_of(LDS, store("vvvv"))
    reply = converse(make_call(who, link))
    assert issue_of(reply) == (410, "expired")
    assert b"search again" in reply.body


def test_links_belong_to_their_type() -> None:
    """A link of one search is none of another type's."""
    link = next_of(LDS, store("vvvv")).replace("/Patient", "/Observation")
    assert issue_of(converse(make_call(LDS, link))) == (404, "not-found")


def test_links_do_not_outlive_a_policy(tmp_path: Path) -> None:
    """R-PG-6: when the policy changes, a link made under the old one is no longer valid."""
    link = next_of(LDS, store("vvvv"))
    text = (POLICIES / f"{LDS}.toml").read_text().replace('labels  = ["PSEUDED"]', "labels = []")
    (tmp_path / f"{LDS}.toml").write_text(text)
    (tmp_path / "case-report.toml").write_text((POLICIES / "case-report.toml").read_text())
    changed = make_gateway({LDS: tmp_path / f"{LDS}.toml"})
    assert changed.views[LDS].digest != gateway().views[LDS].digest
    assert issue_of(converse(make_call(LDS, link), at=changed)) == (410, "expired")


def test_links_expire() -> None:
    """An old link is gone, and nothing is asked; a refreshed bearer token goes on till then."""
    link = next_of(caller(LDS, claims={"exp": 1}), store("vvvv"))
    later = make_call(caller(LDS, claims={"exp": 2}), link, now=NOW + timedelta(minutes=59))
    reply, asked = drive(later, store("vvvv").serve)
    assert (reply.status, len(ids([reply])[0]), len(asked)) == (200, 2, 1)
    gone = converse(make_call(LDS, link, now=NOW + timedelta(minutes=61)))
    assert issue_of(gone) == (410, "expired")


@pytest.mark.parametrize("token", ["x", "AAAA", "", "%ff", "a" * 3000])
def test_forged_links(token: str) -> None:
    """A forged link is not found, or no request at all."""
    assert converse(make_call(LDS, f"/Patient?_page={token}")).status in (400, 404)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("status", [404, 410])
def test_upstream_forgot(role: str, status: int) -> None:
    """When the upstream no longer has the page, ours is gone: never an empty page."""
    link = f"{UPSTREAM}?_getpages=abc&_getpagesoffset=3&_count=3"
    rows = [patient(f"p{i}") for i in range(3)]
    first, _ = drive(
        make_call(role, "/Patient?_count=2"),
        lambda ask: searchset(rows, link) if not ask.url else searchset([patient("p4")]),
    )
    second = below(link_of(first, "next"))
    reply, _ = drive(
        make_call(role, second),
        lambda ask: searchset(rows[:2], link) if not ask.url else Answer(status, {}, b"HAPI-0417"),
    )
    assert issue_of(reply) == (410, "expired")


@pytest.mark.parametrize("deleted", [["p2"], ["p1"], ["p1", "p2"], ["p0", "p1"], ["p2", "p3"]])
def test_deletions_meanwhile(deleted: list[str]) -> None:
    """R-PG-4: a row deleted between two pages moves nothing: the others come, each once."""
    whole = store("v" * 7)
    link = next_of(LDS, whole)
    left = Store(tuple(row for row in whole.rows if row["id"] not in deleted))
    seen = []
    while link:
        reply, _ = drive(make_call(LDS, link), left.serve)
        seen += ids([reply])[0]
        link = below(link_of(reply, "next")) if link_of(reply, "next") else ""
    after = [f"p{i}" for i in range(2, 7) if f"p{i}" not in deleted]
    assert seen == [shown_id(LDS, "Patient", i) for i in after]


def test_work_is_limited() -> None:
    """A page that would need too much fetching is refused as too costly, not given in part."""
    limited = replace(gateway(), limits=Limits(asks=3))
    reply, asked = drive(
        make_call(LDS, "/Patient?_count=2"), store("h" * 30 + "vv", 3).serve, at=limited
    )
    assert issue_of(reply) == (400, "too-costly")
    assert len(asked) == 3


@pytest.mark.parametrize("role", [LDS, DEID])
def test_circles_are_broken(role: str) -> None:
    """An upstream whose pages lead in a circle is broken."""
    rows = [patient("p1", **WITHHOLDING)]
    answer = searchset(rows, f"{UPSTREAM}?_getpages=1")
    reply, asked = drive(make_call(role, "/Patient"), lambda ask: answer)
    assert issue_of(reply) == (502, "exception")
    assert len(asked) == 2


def test_link_of_an_alias_is_followed_at_the_upstream() -> None:
    """A page link under an alias of the upstream is asked at the upstream's own base."""
    rows = [patient("p1", **WITHHOLDING)]
    first = searchset(rows, "https://ehr.example/r4?_getpages=1")
    _, asked = drive(
        make_call(LDS, "/Patient"), lambda ask: searchset([]) if ask.url else first
    )
    assert asked[1] == Ask(url=f"{UPSTREAM}?_getpages=1")


TOTAL = """
title   = "Counting"
basis   = "test"
extends = "case-report"

[access]
Patient = ["read", "search"]

[search]
total  = "{total}"
window = 6
"""


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies")
    for total in ("exact", "none"):
        (folder / f"{total}.toml").write_text(TOTAL.format(total=total))
    (folder / "case-report.toml").write_text((POLICIES / "case-report.toml").read_text())
    return folder


COUNTS = [
    # total, query, rows, status, total shown
    ("exact", "_summary=count", "vhvhv", 200, 3),
    ("exact", "_count=0", "vhvhv", 200, 3),
    ("exact", "_total=accurate", "vhvhv", 200, 3),
    ("exact", "_total=estimate&_count=1", "vhvhv", 200, 3),
    ("exact", "", "vhvhv", 200, None),
    ("exact", "_total=none", "vhvhv", 200, None),
    ("exact", "gender=female&_total=accurate", "vvv", 200, 3),
    ("exact", "_id=nonsense&_summary=count", "vvv", 403, None),
    ("exact", "_summary=count", "vvvvvvv", 400, None),
    ("exact", "_summary=count", "", 200, 0),
    ("none", "_summary=count", "vvv", 403, None),
    ("none", "_count=0", "vvv", 403, None),
    ("none", "_total=accurate", "vvv", 200, None),
]


@pytest.mark.parametrize(
    ("total", "query", "pattern", "status", "shown"), COUNTS,
    ids=[f"{c[0]}-{c[1]}-{c[2]}" for c in COUNTS],
)
def test_totals(
    counting: Path, total: str, query: str, pattern: str, status: int, shown: int | None
) -> None:
    """R-SP-4, R-AG-5: whether there is a total depends on view and request alone; it counts what
    the caller sees, by walking, within the window."""
    at = make_gateway({"r": counting / f"{total}.toml"})
    reply, _ = drive(make_call("r", f"/Patient?{query}"), store(pattern, 2).serve, at=at)
    assert reply.status == status
    assert body_of(reply).get("total") == shown
    assert ("entry" in body_of(reply)) is (
        status == 200 and "=count" not in query and "_count=0" not in query and "v" in pattern
    )


def test_total_on_every_page(counting: Path) -> None:
    """A total is counted once and shown on every page of its search."""
    at = make_gateway({"r": counting / "exact.toml"})
    first, asked = drive(
        make_call("r", "/Patient?_total=accurate&_count=2"), store("vhvv").serve, at=at
    )
    assert (body_of(first)["total"], len(asked)) == (3, 2)  # one to count, one to fill
    second, asked = drive(
        make_call("r", below(link_of(first, "next"))), store("vhvv").serve, at=at
    )
    assert (body_of(second)["total"], len(asked)) == (3, 1)  # not counted again


@pytest.mark.parametrize("query", ["_summary=count", "_count=0"])
def test_identity_counts_upstream(query: str) -> None:
    """The identity view sees every row, so the upstream's accurate count is its total."""
    ask = Ask(path="Patient/_search",
              form=(("gender", "male"), ("_total", "accurate"), ("_count", "0")))
    counted = ok({"resourceType": "Bundle", "type": "searchset", "total": 45})
    reply = converse(make_call(INV, f"/Patient?gender=male&{query}"), (ask, counted))
    assert body_of(reply)["total"] == 45
    uncounted = ok({"resourceType": "Bundle", "type": "searchset"})
    assert issue_of(
        converse(make_call(INV, f"/Patient?gender=male&{query}"), (ask, uncounted))
    ) == (502, "exception")


def test_a_search_too_long_to_go_on() -> None:
    """What fits on one page is answered however long it is; a link that could not be followed is
    not handed out."""
    shown = ",".join(shown_id(LDS, "Patient", f"p{i}") for i in range(300))
    form = f"_id={shown}&_count=50".encode()
    call = make_call(LDS, "/Patient/_search", "POST", form,
                     content_type="application/x-www-form-urlencoded")
    reply, _ = drive(call, store("v" * 50).serve)
    assert len(body_of(reply)["entry"]) == 50
    assert issue_of(drive(call, store("v" * 51).serve)[0]) == (400, "too-costly")
