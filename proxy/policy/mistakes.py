"""What is wrong in a policy, said so that its author can mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from proxy.policy.model import Source


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One thing wrong (or, in a list of warnings, doubtful) in a policy file.

    ``file`` as given by the caller, ``line`` from 1. ``what`` says what is wrong, ``mend`` what to
    write instead; both are single lines without a full stop.
    """

    file: str
    line: int
    what: str
    mend: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}; {self.mend}"


class PolicyErrors(Exception):
    """A policy, or several, cannot be used. ``mistakes`` holds all of them, in file order."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(set(mistakes)))
        super().__init__("\n".join(str(m) for m in self.mistakes))


class Findings:
    """Collects mistakes and warnings while a policy is read."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self.warnings: list[Mistake] = []

    def wrong(self, source: Source, what: str, mend: str) -> None:
        self.mistakes.append(Mistake(source.file, source.line, one_line(what), one_line(mend)))

    def doubtful(self, source: Source, what: str, mend: str) -> None:
        self.warnings.append(Mistake(source.file, source.line, one_line(what), one_line(mend)))


def one_line(text: str) -> str:
    """The text with every control character escaped, so that a mistake is one line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` is most likely a misspelling of, or None."""
    known = sorted(known)
    folded = {k.lower(): k for k in known}
    if name.lower() in folded:
        return folded[name.lower()]
    found = difflib.get_close_matches(name, known, 1, 0.6)
    if not found:
        found = difflib.get_close_matches(name.lower(), sorted(folded), 1, 0.6)
        return folded[found[0]] if found else None
    return found[0]


def offer(name: str, known: Iterable[str], otherwise: str = "take the line out") -> str:
    """The mend of a misspelt name: the nearest known one, else the known ones if they are few."""
    known = sorted(known)
    close = nearest(name, known)
    if close is not None:
        return f"write {close}"
    if len(known) == 1:
        return f"write {known[0]}"
    if 0 < len(known) <= 12:
        return "write one of " + ", ".join(known)
    return otherwise
