"""Serves the application: one process, or several that share the port.

A worker takes requests until it is told to stop, then finishes those under way. The supervisor
replaces a worker that dies, and gives up if one dies right after its start.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

from aiohttp import web

from proxy.shell.boundary import describe
from proxy.shell.protocol import Listener

log = logging.getLogger(__name__)

DRAIN: Final = 15.0  # seconds for requests under way when we stop
BACKLOG: Final = 1024
EARLY: Final = 5.0  # a worker that lives shorter than this will not live longer next time
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

Make = Callable[[], web.Application]


class StartError(Exception):
    """The server cannot start. The message says why."""


def count_workers(configured: int) -> int:
    """How many processes: ``configured``, or one per core that we may use if it is 0."""
    if configured:
        return configured
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def bind(host: str, port: int, *, shared: bool) -> socket.socket:
    """A bound socket; ``shared``: other processes of ours may bind the same port.

    :raises StartError: if the address cannot be used.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # One socket: where a name has addresses of both kinds, that of version 4.
        family, _, _, _, address = min(found, key=lambda one: one[0] != socket.AF_INET)
        with ExitStack() as stack:
            bound = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind(address)
            stack.pop_all()
    except OSError as error:
        raise StartError(f"{host}:{port} cannot be listened on ({error.strerror})") from None
    return bound


def serve(make: Make, bound: socket.socket) -> None:
    """Serve on ``bound`` in this process until a signal, or the end of the parent process."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(make(), bound))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed, else None: asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(application: web.Application, bound: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report)
    stop = asyncio.Event()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.set)
    parent = multiprocessing.parent_process()
    if parent is not None:
        loop.add_reader(parent.sentinel, stop.set)
    runner = web.AppRunner(application, shutdown_timeout=DRAIN)
    await runner.setup()
    try:
        if not isinstance(runner.server, Listener):
            raise StartError("the application does not speak our protocol")
        # Views and tables live as long as the process: the collector need not look at them again
        # with every large answer.
        gc.collect()
        gc.freeze()
        await web.SockSite(runner, bound, backlog=BACKLOG).start()
        log.info("listening", extra={"address": "{}:{}".format(*bound.getsockname()[:2])})
        await stop.wait()
        log.info("stopping")
        if parent is not None:
            loop.remove_reader(parent.sentinel)
    finally:
        await runner.cleanup()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What no handler caught, by its kind and place alone."""
    raised = context.get("exception")
    log.error("fault", extra={"fault": describe(raised) if raised else "event loop"})


def supervise(target: Callable[..., None], arguments: Sequence[object], workers: int) -> None:
    """Run ``target(*arguments)`` in ``workers`` processes until a signal.

    :raises StartError: if a worker ends right after its start.
    """
    spawn = multiprocessing.get_context("spawn")
    stopping = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopping
        stopping = True

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    running: dict[BaseProcess, float] = {}
    try:
        while not stopping:
            while len(running) < workers:
                process = spawn.Process(target=target, args=tuple(arguments))
                process.start()
                running[process] = time.monotonic()
            wait([process.sentinel for process in running], timeout=0.5)
            for dead in [process for process in running if not process.is_alive()]:
                lived = time.monotonic() - running.pop(dead)
                log.error("worker ended", extra={"worker": dead.pid})
                if lived < EARLY and not stopping:
                    raise StartError("a worker ended right after its start")
    finally:
        _end(list(running))
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + DRAIN + 5.0
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
