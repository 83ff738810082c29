"""Regular expressions of FHIRPath (``matches``, ``replaceMatches``) that end soon on any text.

Python's matcher tries one way after the other and holds the interpreter meanwhile, so a pattern
with a repeat inside a repeat can take longer than anyone lives. Such patterns are refused from
their tree; what is left takes a bounded number of steps on a text of bounded length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib import import_module
from typing import Any

from fhirpathpy.engine.invocations import strings

MAX_TEXT = 500  # characters that a pattern is applied to
_MOST_WAYS = 200_000_000  # an upper bound, far above the steps that are really made

# The tree that re itself compiles: pairs of an operation and what belongs to it. It has no public
# name, and no other reads a pattern as re does.
_parse: Any = import_module("re._parser").parse

_PLAIN = frozenset({"LITERAL", "NOT_LITERAL", "IN", "ANY", "AT"})
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT"})

Tree = Iterable[tuple[object, Any]]


class PatternError(ValueError):
    """The pattern is none, or could take endless time; the message says what."""


class TextTooLong(ValueError):
    """A text that no pattern is applied to."""


@lru_cache(maxsize=512)
def check_pattern(pattern: str) -> None:
    """Raises :class:`PatternError` for what is no pattern, looks around or back, or may try too
    many ways: a repeat of what itself repeats or has alternatives, or several open repeats."""
    try:
        tree = _parse(pattern)
    except (re.error, RecursionError, OverflowError):
        raise PatternError("is no regular expression") from None
    ways = _ways(tree)
    if not (pattern.startswith("^") and "|" not in pattern):
        ways *= MAX_TEXT  # tried from every place on
    if ways > _MOST_WAYS:
        raise PatternError("has too many repeats one after the other")


def check_text(text: object) -> None:
    """Raises :class:`TextTooLong`."""
    if isinstance(text, str) and len(text) > MAX_TEXT:
        raise TextTooLong


def _ways(tree: Tree) -> int:
    """How many ways there are at most to match a text from one place on."""
    ways = 1
    for operation, held in tree:
        name = str(operation)
        if name in _PLAIN:
            continue
        if name == "SUBPATTERN":
            ways *= _ways(held[-1])
        elif name == "BRANCH":
            ways *= sum(_ways(branch) for branch in held[1])
        elif name in _REPEATS:
            least, most, inner = held
            once = _ways(inner)
            if most > 1 and _varies(inner):
                raise PatternError("repeats what itself repeats or has alternatives")
            ways *= once + 1 if most <= 1 else max(min(int(most), MAX_TEXT) - least, 0) + 1
        else:
            raise PatternError("looks around or back, or uses what is not allowed")
    return ways


def _varies(tree: Tree) -> bool:
    """Whether there is more than one way to match one text."""
    for operation, held in tree:
        name = str(operation)
        if name == "BRANCH" or (name in _REPEATS and held[0] != held[1]):
            return True
        if name in ("SUBPATTERN", *_REPEATS) and _varies(held[-1]):
            return True
    return False


def _bounded(work: Callable[..., Any]) -> Callable[..., Any]:
    """A function of fhirpathpy with a pattern; it raises where it might not end soon."""

    def run(inputs: list[Any], pattern: object, *others: object) -> Any:
        for item in inputs:
            check_text(item)
        if isinstance(pattern, str):
            check_pattern(pattern)
        return work(None, inputs, pattern, *others)

    return run


# What fhirpathpy takes in place of its own functions.
BOUNDED: dict[str, Any] = {
    "userInvocationTable": {
        "matches": {
            "fn": _bounded(strings.matches), "arity": {1: ["String"]}, "nullable_input": True,
        },
        "replaceMatches": {
            "fn": _bounded(strings.replace_matches), "arity": {2: ["String", "String"]},
        },
    }
}  # fmt: skip
