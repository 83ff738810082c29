"""How a flow is driven: asks in order, gathered, off the loop where steps are long."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy.engine.messages import Answer, Ask, Flow, Reply
from proxy.errors import NotFound, UpstreamTimeout
from proxy.shell.drive import PARALLEL, Offload, drive


async def echo(ask: Ask) -> Answer:
    await asyncio.sleep(0)
    return Answer(200, body=ask.path.encode())


async def test_conversation() -> None:
    """An Ask gets its Answer, a tuple of Asks a tuple in the same order, an empty one at once."""
    said: list[object] = []

    def flow() -> Flow:
        said.append((yield Ask("a")))
        said.append((yield (Ask("b"), Ask("c"))))
        said.append((yield ()))
        return Reply(200, b"done")

    assert await drive(flow(), echo, Offload()) == Reply(200, b"done")
    assert said == [
        Answer(200, body=b"a"),
        (Answer(200, body=b"b"), Answer(200, body=b"c")),
        (),
    ]


async def test_what_a_flow_raises_is_raised() -> None:
    """A refusal of the core leaves the drive as it is, on the loop and off it."""

    def flow() -> Flow:
        yield Ask("a")
        raise NotFound

    with ThreadPoolExecutor(1) as executor:
        for offload in (Offload(), Offload(executor, above=0)):
            with pytest.raises(NotFound):
                await drive(flow(), echo, offload, weight=1)


async def test_failures_arrive_as_answers() -> None:
    """A failed send is an Answer, so that one of several can fail alone."""

    async def send(ask: Ask) -> Answer:
        return Answer(error=UpstreamTimeout()) if ask.path == "b" else await echo(ask)

    def flow() -> Flow:
        answers = yield (Ask("a"), Ask("b"))
        assert isinstance(answers, tuple)
        return Reply(200, b" ".join(b"no" if a.error else a.body for a in answers))

    assert (await drive(flow(), send, Offload())).body == b"a no"


async def test_gathering_is_bounded() -> None:
    """However many Asks a flow gathers, a bounded number is under way."""
    now = most = 0

    async def send(ask: Ask) -> Answer:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return await echo(ask)

    def flow() -> Flow:
        answers = yield tuple(Ask(str(n)) for n in range(100))
        assert isinstance(answers, tuple)
        return Reply(200, b",".join(a.body for a in answers))

    reply = await drive(flow(), send, Offload())
    assert reply.body == ",".join(map(str, range(100))).encode()
    assert most == PARALLEL


async def test_long_steps_leave_the_loop_free() -> None:
    """R-DS-7: a step over a large answer runs in a thread; the loop goes on meanwhile."""
    threads: list[str] = []

    async def send(ask: Ask) -> Answer:
        return Answer(200, body=b"x" * int(ask.path))

    def flow() -> Flow:
        threads.append(threading.current_thread().name)
        yield Ask("10")
        threads.append(threading.current_thread().name)
        yield Ask("2000")
        threads.append(threading.current_thread().name)
        time.sleep(0.2)
        return Reply(200)

    with ThreadPoolExecutor(1, thread_name_prefix="steps") as executor:
        task = asyncio.create_task(drive(flow(), send, Offload(executor, above=1000)))
        turns = 0
        while not task.done():
            await asyncio.sleep(0.01)
            turns += 1
        await task
    assert threads == ["MainThread", "MainThread", "steps_0"]
    assert turns > 5
