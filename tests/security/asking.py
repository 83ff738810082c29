"""One question asked in every way there is, and what a refusal of it must look like."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.demo.store import Store
from proxy.fhir.codec import JsonObject
from tests.security.product import Answer, Product, upstream_port
from tests.security.serving import (
    FORM,
    Upstream,
    bundle,
    common,
    is_refusal,
    post,
    resources,
)

BATCH = 100  # requests that one batch may hold


async def every_way(running: Product, role: str, target: str) -> list[Answer]:
    """The search by GET, by POST with the parameters in the form, with the form in another order,
    and with the first parameter in the URL and the others in the form."""
    kind, _, query = target.partition("?")
    first, _, rest = query.partition("&")
    answers = [await running.get(role, f"/{target}")]
    for asked, form in ((kind, query), (kind, f"{rest}&{first}" if rest else first)):
        answers.append(
            await running.ask(
                role, "POST", f"/fhir/{asked}/_search", data=form.encode(), headers=FORM
            )
        )
    answers.append(
        await running.ask(
            role, "POST", f"/fhir/{kind}/_search?{first}", data=rest.encode(), headers=FORM
        )
    )
    return answers


async def in_batches(
    running: Product, role: str, targets: Iterable[str]
) -> list[tuple[str, str, Any]]:
    """(target, status, entry) of every search, asked as entries of batches."""
    found = []
    for some in chunks(list(targets)):
        answer = await post(running, role, orjson.dumps(bundle("batch", *some)))
        assert answer.status == 200, answer.body
        entries = answer.json["entry"]
        assert len(entries) == len(some)
        for target, entry in zip(some, entries, strict=True):
            found.append((target, entry["response"]["status"][:3], entry))
    return found


def chunks(targets: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(targets), BATCH):
        yield targets[begin : begin + BATCH]


async def check_refused(
    running: Product, upstream: Upstream, role: str, targets: Iterable[str]
) -> list[tuple[Any, ...]]:
    """Every target is refused in every way, HEAD and batch among them, before any upstream call,
    with one fixed text. Gives what is comparable of the answers, to be the same whatever is
    stored."""
    targets = list(targets)
    upstream.calls()
    said: list[tuple[Any, ...]] = []
    for target in targets:
        answers = await every_way(running, role, target)
        assert all(map(is_refusal, answers)), (role, target, answers[0].status, answers[0].body)
        # Of several parameters the one that comes first is refused; the third way turns them round.
        same = (answers[0], answers[1], answers[3])
        assert len({str(answer.same) for answer in same}) == 1, (role, target)
        assert answers[0].json["issue"][0]["diagnostics"], target
        head = await running.ask(role, "HEAD", f"/fhir/{target}")
        assert (head.status, head.body) == (answers[0].status, b""), (role, target)
        said.append(answers[0].same)
    for target, status, entry in await in_batches(running, role, targets):
        assert status in ("400", "403"), (role, target, entry)
        assert "resource" not in entry, target
    assert upstream.calls() == []
    return said


async def found(running: Product, role: str, target: str) -> list[str]:
    """Ids of what a search finds, which is the same in every way to ask."""
    answers = await every_way(running, role, target)
    assert [answer.status for answer in answers] == [200] * len(answers), answers[0].body
    ids = [[r["id"] for r in resources(answer)] for answer in answers]
    assert all(one == ids[0] for one in ids)
    return ids[0]


def hold(upstream: Upstream, *stored: JsonObject) -> None:
    """Let the upstream hold exactly these resources from now on."""
    upstream.store.__dict__.update(Store(stored).__dict__)


@asynccontextmanager
async def forgetting(*stored: dict[str, Any]) -> AsyncIterator[None]:
    """An upstream that drops every condition and answers each search with all that it holds, its
    self link saying nothing of it."""
    base = common()[0].upstream.url

    async def answer(request: web.Request) -> web.Response:
        entries = [
            {
                "fullUrl": f"{base}/{each['resourceType']}/{each['id']}",
                "resource": each,
                "search": {"mode": "match"},
            }
            for each in stored
        ]
        body = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
        return web.json_response(body, content_type="application/fhir+json")

    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", answer)
    async with TestServer(application, host="127.0.0.1", port=upstream_port()):
        yield
