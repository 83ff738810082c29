"""Paths of ``[elements]``: text to steps, and what each step names in R4."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from proxy.fhir.fhirpath import FhirPathError, predicate
from proxy.fhir.r4 import TYPES, Element
from proxy.fhir.structure import PRIMITIVES, RESOURCES, properties
from proxy.policy.mistakes import nearest, offer
from proxy.policy.model import Step
from proxy.policy.rows import reads_no_one_claim


class PathError(ValueError):
    """A path that names nothing, or may not be named. ``what`` is wrong, ``mend`` helps."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Place:
    """What one step names. ``owner``: type or backbone path that has the element; ``name`` as in
    the path; ``types``: one type, or all of a choice."""

    owner: str
    name: str
    types: tuple[str, ...]
    element: Element | None = None  # None: the resource itself


@dataclass(frozen=True, slots=True)
class Path:
    """A path in its one spelling. ``respelt``: the text as it should be written, if it was not."""

    steps: tuple[Step, ...]
    places: tuple[Place, ...]
    respelt: str | None = None

    @property
    def key(self) -> str:
        """The spelling by which two lines are the same one."""
        return write(tuple(Step(s.name, tidy(s.predicate)) for s in self.steps))

    @property
    def plain(self) -> str:
        return ".".join(s.name for s in self.steps)


def write(steps: tuple[Step, ...]) -> str:
    """The text of a path."""
    return ".".join(s.name + (f".where({s.predicate})" if s.predicate else "") for s in steps)


# Elements that take no line of [elements], wherever they stand: (what, mend).
_IDS = ("ids take no rule but [ids]", "take the line out; [ids] says how ids are shown")
_NO_RULE: dict[str, tuple[str, str]] = {
    "id": _IDS,
    "Reference.reference": _IDS,
    "Bundle.link": _IDS,
    "Bundle.entry.fullUrl": _IDS,
    "Bundle.entry.link": _IDS,
    "Bundle.entry.request": _IDS,
    "Bundle.entry.response": _IDS,
    "meta": (
        "meta is made new from labels and profiles",
        'take the line out; "Meta.lastUpdated" under [datatypes] shows the time',
    ),
    "extension": ("extensions take no path", "list their URLs under [extensions]"),
    "modifierExtension": ("extensions take no path", "list their URLs under [extensions]"),
}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(\[x\])?")
_TYPED = re.compile(r"(?:ofType|as)\(\s*(?:FHIR\.)?([A-Za-z0-9]+)\s*\)")


def read_path(text: str) -> Path:
    """The path of a line of ``[elements]``; raises :class:`PathError`."""
    steps = _steps(text)
    path = _resolve(steps)
    for step, place in zip(path.steps, path.places, strict=True):
        if step.predicate:
            try:
                predicate(step.predicate, place.types[0] if len(place.types) == 1 else "")
            except FhirPathError as error:
                raise PathError(
                    f"the predicate where({step.predicate}) is not allowed: {error}",
                    predicate_mend(str(error)),
                ) from None
            if reads_no_one_claim(step.predicate):
                raise PathError(
                    f"the predicate where({step.predicate}) reads no one claim of %caller",
                    "write %caller and a claim's name",
                )
    return path


def predicate_mend(reason: str) -> str:
    """How to mend FHIRPath that is not allowed, from the reason given for it."""
    if (unknown := re.search(r"([\w.]+) has no element (\w+)", reason)) and unknown[1] in TYPES:
        close = nearest(unknown[2], [n.removesuffix("[x]") for n in elements(unknown[1])])
        if close is not None:
            return f"write {close}"
    if "pattern" in reason:
        return "write a plain text pattern, without repeats or alternatives inside a repeat"
    return "write FHIRPath on the element itself, with %caller as its only variable"


def _steps(text: str) -> tuple[Step, ...]:
    """``ofType(Quantity)`` becomes a step of that name; :func:`_resolve` takes it up."""
    steps: list[Step] = []
    at = 0
    while True:
        if typed := _TYPED.match(text, at):
            steps.append(Step("ofType:" + typed[1]))
            at = typed.end()
        elif text.startswith("where(", at) and steps:
            end = _closing(text, at + len("where("))
            condition = text[at + len("where(") : end].strip()
            if not condition:
                raise PathError("where() is empty", "write a condition in it, or take it out")
            if steps[-1].predicate:
                raise PathError(
                    "two predicates follow one step",
                    f"write where(({steps[-1].predicate}) and ({condition}))",
                )
            steps[-1] = Step(steps[-1].name, condition)
            at = end + 1
        elif name := _NAME.match(text, at):
            steps.append(Step(name[0]))
            at = name.end()
        else:
            raise PathError(
                f"{text or 'the empty text'} is not a path",
                "write Type.element.element, each step with .where(…) if need be",
            )
        if at == len(text):
            return tuple(steps)
        if text[at] == "(":
            raise PathError(
                f"{steps[-1].name}() is not a step of a path",
                "write element names and where(…) alone",
            )
        if text[at] != ".":
            raise PathError(
                f"the path does not parse to its end, from {text[at : at + 20]}",
                "write Type.element.element, each step with .where(…) if need be",
            )
        at += 1


def _closing(text: str, at: int) -> int:
    """Where the parenthesis that is open at ``at`` closes."""
    depth, quote = 1, ""
    while at < len(text):
        c = text[at]
        if quote:
            if c == "\\":
                at += 1
            elif c == quote:
                quote = ""
        elif c in "'\"`":
            quote = c
        else:
            depth += (c == "(") - (c == ")")
            if depth == 0:
                return at
        at += 1
    raise PathError(
        "the predicate does not parse to its end",
        f"close the string with {quote}" if quote else "close it with )",
    )


def _resolve(steps: tuple[Step, ...]) -> Path:
    kind = steps[0].name
    if kind not in RESOURCES:
        raise _no_type(kind, len(steps) > 1)
    shown = [steps[0]]
    places = [Place("", kind, (kind,))]
    respelt = False
    for number, step in enumerate(steps[1:], 1):
        before = places[-1]
        if step.name.startswith("ofType:"):
            place = _branch(before, step.name[7:])
            places[-1] = place
            shown[-1] = Step(place.name, shown[-1].predicate or step.predicate)
            respelt = True
            continue
        following = steps[number + 1].name if number + 1 < len(steps) else ""
        place, exact = _element(before, step.name, following)
        respelt = respelt or not exact
        places.append(place)
        shown.append(Step(place.name, step.predicate))
    path = tuple(shown)
    return Path(path, tuple(places), write(path) if respelt else None)


def _element(before: Place, name: str, following: str) -> tuple[Place, bool]:
    """What ``name`` names below ``before``, and whether this is its one spelling."""
    owner = _owner(before, name)
    known = elements(owner)
    place = known.get(name)
    if place is None and name + "[x]" in known:
        return known[name + "[x]"], following.startswith("ofType:")
    if place is None:
        names = set(known) | {n[:-3] for n in known if n.endswith("[x]")}
        close = nearest(name, names)
        if close is not None and close + "[x]" in known:
            close += "[x]"
        raise PathError(
            f"{owner} has no element {name}",
            f"write {close}" if close else offer(name, known, "see R4 for its elements"),
        )
    for key in (f"{owner}.{name}", name):
        if key in _NO_RULE:
            raise PathError(*_NO_RULE[key])
    if place.element is not None and place.element.recursive:
        target = place.types[0]
        raise PathError(
            f"{owner}.{name} is {target} again: the rule of the outer path holds at every depth",
            f"write {target}",
        )
    return place, True


def _owner(before: Place, name: str) -> str:
    """The type in which the next step is looked up."""
    if len(before.types) > 1:
        branches = [b for b in elements(before.owner).values() if b.element is before.element]
        having = [
            b.name
            for b in branches
            if len(b.types) == 1 and b.types[0] not in PRIMITIVES and name in elements(b.types[0])
        ]
        raise PathError(
            f"{before.name} is a choice of types, and a path goes on from one of them",
            offer(name, having, "write one of its types"),
        )
    code = before.types[0]
    if code in PRIMITIVES:
        raise PathError(f"{before.name} is a {code} and has no elements", "end the path there")
    if code == "Resource":
        raise PathError(
            f"{before.owner}.{before.name} is a resource, which starts anew at its own type",
            "write the rule under that type",
        )
    return code


def _branch(before: Place, code: str) -> Place:
    for place in elements(before.owner).values() if before.owner else ():
        if place.element is before.element and place.types == (code,):
            return place
    raise PathError(
        f"{before.name} is no choice that has the type {code}", "write the element's own name"
    )


def _no_type(name: str, more: bool) -> PathError:
    if name in TYPES and TYPES[name].abstract:
        return PathError(f"{name} is abstract", "write one line for each resource type")
    if name in TYPES:
        return PathError(f"{name} is a datatype, not a resource type", "write it under [datatypes]")
    return PathError(
        f"{name} is not an R4 resource type", offer(name, RESOURCES, "see R4 for its types")
    )


@cache
def elements(owner: str) -> dict[str, Place]:
    """Every name that a path can use below a type: elements, choices and their branches."""
    found = {e.name: Place(owner, e.name, e.types, e) for e in TYPES[owner].elements}
    for prop in properties(owner).values():
        if prop.name not in found:
            found[prop.name] = Place(owner, prop.name, (prop.type,), prop.element)
    return found


_WORD = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`\\]|\\.)*`|\w+|[<>!]=|[^\s\w]")


def tidy(predicate: str) -> str:
    """A predicate without the spacing that makes no difference."""
    return " ".join(_WORD.findall(predicate))
