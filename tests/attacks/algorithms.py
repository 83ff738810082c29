"""How hidden values are read from a server that hides them in what it shows, not in what it does.

Each attack is given the candidates and gives those that are left when it has asked all it can. It
is calibrated first: if the server does not tell true from false where the attacker knows the
answer, the attack is of no use, and all candidates are left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import orjson

from proxy.fhir.search import escape
from tests.attacks.hidden import COUNT, FRIEND, VICTIM
from tests.attacks.servers import GET, Reply, Server, ask, query

Read = Callable[[Server, Reply], bool]
Template = Callable[[Server, str], str]
Attack = Callable[[Server, Sequence[str]], Awaitable[set[str]]]

NONSENSE = "qqqqqq"


def present(server: Server, reply: Reply) -> bool:
    """The victim, or something of the victim's, is among the matches."""
    return bool(reply.matches)


def included(server: Server, reply: Reply) -> bool:
    """The victim came along."""
    return f"Patient/{server.name('Patient', VICTIM)}" in reply.included


def counted(server: Server, reply: Reply) -> bool:
    return bool(reply.total)


def continued(server: Server, reply: Reply) -> bool:
    """Another page follows."""
    return bool(reply.link("next"))


@dataclass(frozen=True, slots=True)
class Bisect:
    """Halve the candidates by a question whether the value is below one of them; ``inverted``: the
    question is whether it is not. ``below`` and ``above``: values outside all candidates."""

    template: Template
    below: str
    above: str
    read: Read = present
    inverted: bool = False
    way: str = GET

    async def __call__(self, server: Server, candidates: Sequence[str]) -> set[str]:
        async def is_below(value: str) -> bool:
            reply = await ask(server, self.template(server, value), self.way)
            return self.read(server, reply) is not self.inverted

        left = list(candidates)
        # Even if it tells nothing the questions are asked: what is said to them must be the same.
        calibrated = await is_below(self.above) and not await is_below(self.below)
        while len(left) > 1:
            middle = len(left) // 2
            left = left[:middle] if await is_below(left[middle]) else left[middle:]
        return set(left) if calibrated else set(candidates)


@dataclass(frozen=True, slots=True)
class Among:
    """Halve the candidates by a question whether the value is one of a list; ``inverted``: whether
    it is none of them. ``write``: a candidate as a search value."""

    template: Template
    read: Read = present
    inverted: bool = False
    way: str = GET
    write: Callable[[str], str] = escape

    async def __call__(self, server: Server, candidates: Sequence[str]) -> set[str]:
        async def is_among(values: Sequence[str]) -> bool:
            target = self.template(server, ",".join(map(self.write, values)))
            reply = await ask(server, target, self.way)
            return self.read(server, reply) is not self.inverted

        left = list(candidates)
        calibrated = await is_among(left) and not await is_among([NONSENSE])
        while len(left) > 1:
            middle = len(left) // 2
            left = left[:middle] if await is_among(left[:middle]) else left[middle:]
        return set(left) if calibrated else set(candidates)


@dataclass(frozen=True, slots=True)
class Spell:
    """Find the value letter by letter, by asking for its beginnings."""

    template: Template
    read: Read = present
    way: str = GET

    async def __call__(self, server: Server, candidates: Sequence[str]) -> set[str]:
        async def begins(prefix: str) -> bool:
            return self.read(server, await ask(server, self.template(server, prefix), self.way))

        left, length = list(candidates), 0
        if await begins(NONSENSE):
            return set(candidates)
        while len(left) > 1:
            length += 1
            known = left
            for prefix in dict.fromkeys(each[:length] for each in left):
                if await begins(prefix):
                    left = [each for each in left if each.startswith(prefix)]
                    break
            if length > max(map(len, known)):
                return set(candidates)
        return set(left)


@dataclass(frozen=True, slots=True)
class Order:
    """See behind how many of the decoys, each just behind one candidate, the victim is sorted;
    ``step``: rows of a page, of which as many as there are are walked."""

    template: Callable[[Server], str]
    step: int = 0
    down: bool = False

    async def __call__(self, server: Server, candidates: Sequence[str]) -> set[str]:
        names = [f"Patient/{server.name('Patient', f'decoy-{n:02}')}" for n in range(COUNT)]
        victim = f"Patient/{server.name('Patient', VICTIM)}"
        more = f"&_count={self.step}" if self.step else ""
        reply = await ask(server, self.template(server) + more)
        rows = list(reply.matches)
        while url := reply.link("next"):
            reply = await ask(server, url.partition("/fhir")[2].lstrip("/"))
            rows += reply.matches
        ordered = [row for row in rows if row in (*names, victim)]
        if self.down:
            ordered.reverse()
        if [row for row in ordered if row != victim] != names or victim not in ordered:
            return set(candidates)
        return {candidates[ordered.index(victim)]}


@dataclass(frozen=True, slots=True)
class Differ:
    """Put every candidate where the template has it, and see whether the answer is in any way
    another than to a value that is certainly wrong: status, header, length or text.

    ``headers``: of the request, with the candidate. ``echoes``: what of the answer repeats the
    candidate is not counted.
    """

    template: Template
    headers: Callable[[str], dict[str, str]] = lambda value: {}
    way: str = GET
    nonsense: str = NONSENSE

    async def __call__(self, server: Server, candidates: Sequence[str]) -> set[str]:
        async def say(value: str) -> tuple[object, ...]:
            target = self.template(server, value)
            reply = await ask(server, target, self.way, self.headers(value))
            text = orjson.dumps(reply.body).decode().replace(value, "#")
            volatile = ("date", "x-request-id", "content-length", "etag", "last-modified",
                        "content-location", "location")  # fmt: skip
            headers = {k: v for k, v in reply.response.headers.items() if k not in volatile}
            kind = "" if reply.status == 200 else _without_numbers(text)
            return reply.status, str(headers), len(reply.matches), reply.total, kind

        wrong = await say(self.nonsense)
        found = {value for value in candidates if await say(value) != wrong}
        return found or set(candidates)


@dataclass(frozen=True, slots=True)
class Tell:
    """Ask once and compute the value from the answer; ``tell`` gives None if it cannot."""

    template: Template
    tell: Callable[[Reply], str | None]
    way: str = GET

    async def __call__(self, server: Server, candidates: Sequence[str]) -> set[str]:
        found = self.tell(await ask(server, self.template(server, ""), self.way))
        return {found} if found is not None and found in candidates else set(candidates)


def _without_numbers(text: str) -> str:
    return "".join(c for c in text if not c.isdigit())


def of_victim(type_name: str, *pairs: tuple[str, str]) -> Template:
    """A question about the victim's ``type_name``; ``{v}`` and ``{o}`` in a value are the shown ids
    of the victim and of the finding, ``{f}`` of the friend, ``{x}`` the value asked for."""
    def make(server: Server, value: str) -> str:
        words = {
            "{v}": server.name("Patient", VICTIM),
            "{f}": server.name("Patient", FRIEND),
            "{o}": server.name("Observation", "finding-1"),
            "{a}": server.name("Observation", "age-1"),
            "{x}": value,
        }
        return query(type_name, *((name, _replaced(given, words)) for name, given in pairs))

    return make


def _replaced(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text
