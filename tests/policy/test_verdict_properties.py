"""A verdict follows the lenses of what its parameter reads, nothing else: random policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy.fhir import match, registry
from proxy.fhir.r4 import TYPES
from proxy.fhir.structure import Property, properties
from proxy.policy.compile import View
from proxy.policy.methods import suits
from proxy.policy.model import Method
from proxy.policy.reads import Read
from proxy.policy.verdicts import MODIFIERS, Verdict, VerdictTable, compute_verdicts
from tests.policy.test_verdicts import make_view

SEARCHED = ("Patient", "Observation", "Encounter", "Condition", "RiskAssessment", "Composition")
SHOWN = (*SEARCHED, "Practitioner", "Organization", "Location", "Device", "Group")
# Made anew or judged by themselves: no line of [elements] is about them.
APART = ("id", "meta", "extension", "modifierExtension", "contained", "text", "implicitRules")
IDENTIFYING = (
    "string", "markdown", "uri", "url", "oid", "uuid", "date", "dateTime", "instant", "time",
    "HumanName", "Address", "ContactPoint", "Identifier", "Annotation", "Attachment",
)  # fmt: skip
HIDING = (Method("remove"), Method("mask"))
COARSE = (
    *(Method("generalize", (("to", to),)) for to in ("year", "month", "zip3", "zip3-padded",
                                                     "zip5", "state", "country", "age-band",
                                                     "age-range")),
    Method("surrogate"),
    Method("generalize", (("steps", (0, 18, 65)), ("to", "range"))),
    Method("generalize", (("map", (("a", "b"), ("c", "b"))),)),
    Method("shift"),
    Method("scrub"),
)  # fmt: skip
Lines = Mapping[str, str | Method]
Drawn = tuple[str, Lines, Lines, dict[str, object]]


@cache
def elements(type_name: str) -> dict[str, Property]:
    """Path to property of a type's elements, down to the members of datatypes."""
    return dict(_elements(type_name, type_name, 4))


def _elements(path: str, where: str, depth: int) -> Iterator[tuple[str, Property]]:
    for name, prop in properties(where).items():
        if name in APART or (prop.type in ("Reference", "Identifier") and depth < 4):
            continue
        below = f"{path}.{name}"
        yield below, prop
        if depth > 1 and prop.type in TYPES and TYPES[prop.type].kind != "primitive":
            yield from _elements(below, prop.type, depth - 1)


def parameters(type_name: str) -> list[str]:
    """Those that read elements which a line can be about."""
    return [
        code
        for code, known in registry.get(type_name).items()
        if (paths := match.paths(known, type_name))
        and all(path.path in elements(type_name) for path in paths)
    ]


@st.composite
def lines(draw: st.DrawFn, type_name: str) -> dict[str, str | Method]:
    """All types shown, and a few lines about one of them."""
    found: dict[str, str | Method] = dict.fromkeys(SHOWN, "keep")
    paths = sorted(elements(type_name))
    for path in draw(st.lists(st.sampled_from(paths), max_size=5)):
        fit = [m for m in (*HIDING, Method("keep"), *COARSE) if suits(m, end(path).type)]
        found[path] = draw(st.sampled_from(fit))
    return found


@st.composite
def policies(draw: st.DrawFn) -> Drawn:
    """(type searched, lines of [elements], of [datatypes], settings)."""
    type_name = draw(st.sampled_from(SEARCHED))
    datatypes: dict[str, str | Method] = {}
    for code in IDENTIFYING:
        fit: list[str | Method] = [m for m in COARSE if suits(m, code)]
        kept = draw(st.integers(0, 9))
        if kept < 7:
            datatypes[code] = "keep"
        elif kept < 9 and fit:
            datatypes[code] = draw(st.sampled_from(fit))
    more: dict[str, object] = {
        "codes": draw(st.sampled_from([None, ("http://loinc.org",)])),
        "ages": draw(st.sampled_from([None, 89])),
        "ids": draw(st.sampled_from(["pseudonym", "real"])),
    }
    return type_name, draw(lines(type_name)), datatypes, more


def view(policy: Drawn, **changed: str | Method) -> View:
    type_name, found, datatypes, more = policy
    return make_view({**found, **changed}, datatypes, searched=type_name, **more)  # type: ignore[arg-type]


def end(path: str) -> Property:
    return elements(path.partition(".")[0])[path]


def verdicts(table: VerdictTable, type_name: str, code: str) -> list[Verdict]:
    kind = registry.get(type_name)[code].type
    return [table.verdict(type_name, code, modifier) for modifier in MODIFIERS[kind]]


def outcome(found: Verdict) -> tuple[object, ...]:
    """What of a verdict is about the answer: all but the words."""
    return (found.kind, found.way, found.judge, found.prefixes, found.form, found.targets,
            found.backward, found.single, tuple(outcome(part) for _, part in found.parts))


def related(path: str, other: str) -> bool:
    """Whether one path is the other's or stands above it, branches of a choice apart."""
    return f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")


def draw_answered(data: st.DataObject) -> tuple[Drawn, str, Verdict]:
    """A policy and a parameter that it answers."""
    policy = data.draw(policies())
    table = compute_verdicts(view(policy))
    answered = [c for c in parameters(policy[0]) if table.verdict(policy[0], c).kind != "refuse"]
    assume(answered)
    code = data.draw(st.sampled_from(answered))
    return policy, code, table.verdict(policy[0], code)


def values(found: Verdict) -> list[Read]:
    return [r for r in found.reads if r.path in elements(r.path.partition(".")[0])]


@settings(max_examples=80, deadline=None)
@given(data=st.data(), method=st.sampled_from(HIDING))
def test_hiding_what_is_read_refuses(data: st.DataObject, method: Method) -> None:
    """A line that hides an element which an answered parameter reads, or what it stands in, turns
    the verdict to refuse, whatever else the policy says below it that does not show it again."""
    policy, code, before = draw_answered(data)
    type_name, found, *_ = policy
    reads = values(before)
    assume(reads)
    names = data.draw(st.sampled_from([r.path for r in reads])).split(".")
    cut = ".".join(names[: data.draw(st.integers(2, len(names)))])
    assume(not any(p.startswith(f"{cut}.") for p in found))
    after = compute_verdicts(view(policy, **{cut: method})).verdict(type_name, code)
    assert after.kind == "refuse", (before, after)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_what_is_not_read_changes_nothing(data: st.DataObject) -> None:
    """A line about an element that a parameter does not read leaves its verdicts alone, with every
    modifier."""
    policy = data.draw(policies())
    type_name = policy[0]
    table = compute_verdicts(view(policy))
    code = data.draw(st.sampled_from(parameters(type_name)))
    known = registry.get(type_name)[code]
    read = {path.path for path in match.paths(known, type_name) or ()}
    conditions = {p for path in match.paths(known, type_name) or () for p, _ in path.conditions}
    spare = [p for p in sorted(elements(type_name))
             if not any(related(p, r) for r in read | conditions)]  # fmt: skip
    path = data.draw(st.sampled_from(spare))
    fit = [m for m in (*HIDING, Method("keep"), *COARSE) if suits(m, end(path).type)]
    changed = compute_verdicts(view(policy, **{path: data.draw(st.sampled_from(fit))}))
    before, after = (
        [*map(outcome, verdicts(each, type_name, code))] for each in (table, changed)
    )
    assert before == after, (code, path)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_coarsening_what_is_read_translates_or_refuses(data: st.DataObject) -> None:
    """A line that shows an element which is read less exactly leaves no parameter that compares it
    allowed: it is translated and judged as shown, or refused; its modifiers and its presence are
    refused with it."""
    policy, code, before = draw_answered(data)
    type_name = policy[0]
    pairs = [
        (read.path, method)
        for read in values(before)
        if not read.presence and read.kind != "pseudonym"
        for method in COARSE
        if suits(method, end(read.path).type)
    ]
    assume(pairs)
    path, method = data.draw(st.sampled_from(pairs))
    assume(not any(p.startswith(f"{path}.") for p in policy[1]))
    table = compute_verdicts(view(policy, **{path: method}))
    plain, *modified = verdicts(table, type_name, code)
    assert plain.kind in ("translate", "refuse"), (before, plain)
    assert plain.kind == "refuse" or plain.judge == "always"
    for found in modified:  # `:text` reads other members
        assert found.kind == "refuse" or path not in {r.path for r in found.reads}, found
    if plain.kind == "translate":
        assert set(plain.prefixes) <= set(before.prefixes)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_same_lenses_have_the_same_verdicts(data: st.DataObject) -> None:
    """Two policies that show all that a parameter reads by the same methods answer it alike,
    however else they differ."""
    policy = data.draw(policies())
    type_name, _, datatypes, more = policy
    other = (type_name, data.draw(lines(type_name)), datatypes, more)
    tables = [compute_verdicts(view(each)) for each in (policy, other)]
    for code in parameters(type_name):
        one, two = (table.verdict(type_name, code) for table in tables)
        if shown(one) == shown(two):
            assert outcome(one) == outcome(two), code


def shown(found: Verdict) -> list[tuple[object, ...]]:
    return sorted((r.path, r.kind, str(r.method), r.by_system, r.vanishes) for r in found.reads)
