"""Drives a flow: hands its Asks to the upstream and their Answers back, off the event loop where
the step between them is long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, TypeAlias

from proxy.engine.messages import Answer, Ask, Flow, Reply

Send: TypeAlias = Callable[[Ask], Awaitable[Answer]]
Sent: TypeAlias = "Answer | tuple[Answer, ...] | None"

# How many Asks of one exchange are under way at once; the others wait their turn.
PARALLEL: Final = 8


@dataclass(frozen=True, slots=True)
class Offload:
    """Where long steps run, and from how many bytes on (read so far in this exchange).

    A step over 256 kB takes some 10 ms, as long as the loop may wait for a thread that runs; below
    that the way to the thread and back costs more than it spares. Measured beside a 15 MB
    searchset: small reads waited 630 ms without a thread and 450 ms with one; most of what is left
    is its decoding, which holds the interpreter.
    """

    executor: Executor | None = None
    above: int = 256 * 1024


async def drive(flow: Flow, send: Send, offload: Offload, weight: int = 0) -> Reply:
    """The Reply of ``flow``; what it raises is raised. ``weight``: bytes of the request's body.

    A tuple of Asks is gathered, and the Answers come back in its order.
    """
    sent: Sent = None
    while True:
        if weight > offload.above and offload.executor is not None:
            loop = asyncio.get_running_loop()
            said = await loop.run_in_executor(offload.executor, _step, flow, sent)
        else:
            said = _step(flow, sent)
        if isinstance(said, Reply):
            return said
        if isinstance(said, Ask):
            sent = await send(said)
            weight += len(sent.body)
        else:
            sent = await _gather(said, send)
            weight += sum(len(answer.body) for answer in sent)


def _step(flow: Flow, sent: Sent) -> Ask | tuple[Ask, ...] | Reply:
    # The Reply is returned, not raised: a StopIteration cannot leave a coroutine or a future.
    try:
        return next(flow) if sent is None else flow.send(sent)
    except StopIteration as done:
        reply: Reply = done.value
        return reply


async def _gather(asks: tuple[Ask, ...], send: Send) -> tuple[Answer, ...]:
    turns = asyncio.Semaphore(PARALLEL)

    async def one(ask: Ask) -> Answer:
        async with turns:
            return await send(ask)

    # A group, because it ends its other calls when one of them raises or the client goes.
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(ask)) for ask in asks]
    return tuple(task.result() for task in tasks)
