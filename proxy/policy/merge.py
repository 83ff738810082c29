"""``extends``: a file over its base, key by key, and what the child must write again."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.ecr.extensions import value_types
from proxy.fhir.r4 import TYPES
from proxy.lenses.pseudonyms import DOCUMENT
from proxy.policy.datatypes import IDENTIFYING
from proxy.policy.draft import Draft, ExtensionLine, PathLine, Setting, TypeLine
from proxy.policy.methods import rank, shows_less, spelled
from proxy.policy.mistakes import Findings
from proxy.policy.model import Method, RowRule, Source
from proxy.policy.paths import Path, Place

KEEP = Method("keep")

# Elements whose Identifier is a document's (the policy language, step 2).
_DOCUMENTS = frozenset(
    {
        ("Bundle", "identifier"),
        ("Composition", "identifier"),
        ("Composition.relatesTo", "target[x]"),
        ("Composition.relatesTo", "targetIdentifier"),
    }
)


def merge(base: Draft, child: Draft, findings: Findings) -> Draft:
    """The child's lines over the base's; reports lines of the base that must be restated."""
    if base.identity or child.identity:
        findings.wrong(
            child.settings["extends"].source,
            "an identity view neither extends nor is extended",
            "take extends out",
        )
    whole = {
        line.path.plain
        for line in child.elements.values()
        if len(line.path.steps) == 1 and line.method.name == "remove"
    }
    kept = {k: v for k, v in base.elements.items() if v.path.steps[0].name not in whole}
    for line in _unsaid(kept, base, child):
        _restate(line, child, findings)
    extensions = {**base.extensions, **child.extensions}
    return Draft(
        child.name,
        child.file,
        {**base.settings, **child.settings, **_required(base, child)},
        {**kept, **child.elements},
        {**base.datatypes, **child.datatypes},
        {url: line for url, line in extensions.items() if not _taken_back(url, base, child)},
        {**base.tables, **child.tables},
        base.attempted | child.attempted,
        base.incomplete,
        _both(base, child, whole),
    )


def _both(base: Draft, child: Draft, removed: set[str]) -> dict[str, tuple[RowRule, ...]]:
    """The row rules of base and child, which must all hold."""
    kept = {kind: held for kind, held in base.rows.items() if kind not in removed}
    return {
        kind: (*kept.get(kind, ()), *child.rows.get(kind, ()))
        for kind in dict.fromkeys((*kept, *child.rows))
    }


def _required(base: Draft, child: Draft) -> dict[str, Setting]:
    """The labels that base and child require, which must all be there."""
    held = [d.settings["requires"] for d in (base, child) if "requires" in d.settings]
    texts = [t for s in held if isinstance(s.value, tuple) for t in s.value]
    return {"requires": Setting(tuple(dict.fromkeys(texts)), held[-1].source)} if held else {}


def _taken_back(url: str, base: Draft, child: Draft) -> bool:
    return url in base.extensions and url in child.extensions and child.extensions[url].removed


Line = PathLine | TypeLine | ExtensionLine


def _unsaid(kept: dict[str, PathLine], base: Draft, child: Draft) -> Iterator[Line]:
    """Lines of the base that the child does not write itself."""
    yield from (v for k, v in kept.items() if k not in child.elements)
    yield from (v for k, v in base.datatypes.items() if k not in child.datatypes)
    yield from (v for k, v in base.extensions.items() if k not in child.extensions)


def _restate(line: Line, child: Draft, findings: Findings) -> None:
    found = next(_lesser(line, child), None)
    if found is None:
        return
    source, key = found
    findings.wrong(
        source,
        f"{key} would show less of what the base's {line.source.key} shows "
        f"({line.source.file}:{line.source.line}), which holds until it is written here",
        f'write "{line.source.key}" = {_method(line)} here, or less of it',
    )


def _method(line: Line) -> str:
    if not isinstance(line, ExtensionLine):
        return spelled(line.method)
    if line.parts is None:
        return '"keep"'
    return "{ keep = [" + ", ".join(f'"{p}"' for p in line.parts) + "] }"


def _lesser(line: Line, child: Draft) -> Iterator[tuple[Source, str]]:
    """Lines of the child that would show less of what ``line`` shows."""
    if isinstance(line, ExtensionLine):
        for other in child.datatypes.values():
            types = {t for part in _opened(line) for t in value_types(line.url, part)}
            if shows_less(other.method, KEEP) and other.key in {*types, *_members(types)}:
                yield other.source, other.key
        return
    if rank(line.method) == 0:
        return
    if isinstance(line, PathLine):
        for outer in child.elements.values():
            if _covers(outer.path, line.path) and shows_less(outer.method, line.method):
                yield outer.source, outer.source.key
        reached = set(_path_keys(line))
    else:
        reached = set(_type_keys(line))
    for other in child.datatypes.values():
        if other.key in reached and shows_less(other.method, line.method):
            yield other.source, other.key


def _opened(line: ExtensionLine) -> Iterator[str]:
    """The parts whose value is shown even where step 2 would stop: ``""`` for the value itself."""
    for part in line.parts or ():
        if part.endswith("value[x]"):
            yield part.removesuffix("value[x]").removesuffix(".")


def _covers(outer: Path, inner: Path) -> bool:
    """Whether a rule on ``outer`` names what ``inner`` names, or something around it."""
    if len(outer.places) > len(inner.places):
        return False
    return all(_same(a, b) for a, b in zip(outer.places, inner.places, strict=False))


def _same(outer: Place, inner: Place) -> bool:
    if outer.element is None or inner.element is None:
        return outer.types == inner.types
    return outer.element is inner.element and set(inner.types) <= set(outer.types)


def _path_keys(line: PathLine) -> Iterator[str]:
    """Keys of ``[datatypes]`` that would govern the element, were it not for its path."""
    for place in line.path.places[1:]:
        yield f"{place.owner}.{place.name}"
        if (place.owner, place.name) in _DOCUMENTS or place.name == "masterIdentifier":
            yield DOCUMENT
        yield from (t for t in place.types if t in IDENTIFYING)
    yield from _inner(line.path.places[-1].types, line.method)


def _type_keys(line: TypeLine) -> Iterator[str]:
    yield from (t for t in line.types if t in IDENTIFYING)
    if "." in line.key:
        yield line.key.split(".")[0]
    yield from _inner(line.types, line.method)


def _inner(types: tuple[str, ...], method: Method) -> Iterator[str]:
    """What lies inside an identifying value that is kept whole. Its members' lines, and those of
    dates, hold by themselves where they show less."""
    if method.name == "keep":
        inside = _members({t for t in types if t in IDENTIFYING})
        yield from (t for t in inside if "." not in t and t not in ("date", "dateTime", "instant"))


def _members(types: set[str]) -> Iterator[str]:
    for name in types:
        for element in TYPES[name].elements if TYPES[name].kind == "datatype" else ():
            yield f"{name}.{element.name}"
            yield from (t for t in element.types if t in IDENTIFYING)
