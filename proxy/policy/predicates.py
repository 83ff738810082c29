"""Predicates only show more: what a path shows without its predicate, and the rule turned round."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.lenses.pseudonyms import DOCUMENT
from proxy.policy.datatypes import IDENTIFYING
from proxy.policy.draft import Draft, PathLine
from proxy.policy.methods import rank, shows_less, spelled
from proxy.policy.mistakes import Findings
from proxy.policy.model import Method, Source, Step
from proxy.policy.paths import write

KEEP, REMOVE = Method("keep"), Method("remove")


def judge_predicate(line: PathLine, draft: Draft, findings: Findings) -> None:
    """Report a line whose predicate makes its path show less, with the lines to write instead."""
    plain, exact = _without(line, draft)
    less = shows_less(line.method, plain) if plain is not None else line.method != KEEP
    if not less:
        return
    findings.wrong(
        line.source,
        f"the predicate shows less than {line.path.plain} without it"
        + (f" ({exact.file}:{exact.line})" if exact else ""),
        "write " + " and ".join(_turned(line, plain, draft)),
    )


def _turned(line: PathLine, plain: Method | None, draft: Draft) -> Iterator[str]:
    """The lines that say the same with predicates that show more."""
    steps = line.path.steps
    yield f'"{line.path.plain}" = {spelled(line.method)}'
    if plain is not None:
        shown = {"": plain}
    else:  # members of it show, by their own lines
        shown = {
            key[len(kind) :]: rule.method
            for kind in line.path.places[-1].types
            for key, rule in draft.datatypes.items()
            if key.startswith(kind + ".") and key != DOCUMENT
        }
    for at, step in enumerate(steps):
        if step.predicate:
            for member, method in shown.items():
                yield f'"{_negated(steps, at)}{member}" = {spelled(method)}'


def _negated(steps: tuple[Step, ...], at: int) -> str:
    return write(
        tuple(
            Step(s.name, f"({s.predicate}).not()" if i == at else "") for i, s in enumerate(steps)
        )
    )


def _without(line: PathLine, draft: Draft) -> tuple[Method | None, Source | None]:
    """What holds for the path of ``line`` without predicates, and the line that says so; None for
    a value of which members show."""
    names = [step.name for step in line.path.steps]
    for length in range(len(names), 0, -1):
        found = draft.elements.get(".".join(names[:length]))
        if found is None:
            continue
        if length == len(names):
            return found.method, found.source
        if found.method.name != "keep":
            return (found.method if found.method.name == "pass" else REMOVE), found.source
        return _by_type(line, draft), None
    return REMOVE, None


def _by_type(line: PathLine, draft: Draft) -> Method | None:
    """What step 2 says of the element of ``line``; of a choice, what shows most."""
    place = line.path.places[-1]
    found = [_of_type(f"{place.owner}.{place.name}", kind, draft) for kind in place.types]
    return None if None in found else max((m for m in found if m is not None), key=rank)


def _of_type(member: str, kind: str, draft: Draft) -> Method | None:
    if kind not in IDENTIFYING:
        return REMOVE if kind == "Location.position" else KEEP
    keys = [member, kind, *([DOCUMENT] if kind == "Identifier" else [])]
    lines = [draft.datatypes[k].method for k in keys if k in draft.datatypes]
    if lines:
        return max(lines, key=rank)
    return None if any(k.startswith(kind + ".") for k in draft.datatypes) else REMOVE
