"""What can only be judged of a whole policy, its base merged in."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.ecr.extensions import EXTENSIONS
from proxy.fhir import registry
from proxy.fhir.r4 import Element
from proxy.lenses.pseudonyms import DOCUMENT
from proxy.lenses.shift import read_shift
from proxy.policy.datatypes import DATATYPES
from proxy.policy.draft import Draft, PathLine, TypeLine
from proxy.policy.methods import TRANSFORM, rank, spelled
from proxy.policy.mistakes import Findings, nearest
from proxy.policy.paths import elements
from proxy.policy.predicates import judge_predicate
from proxy.policy.strings import named_strings

# An identity view shows everything as stored: these lines would have no effect.
_NOT_IDENTITY = ("ids", "elements", "datatypes", "extensions", "codes", "rows", "ages")
# Required, these have no value that says "masked".
_NO_MASK = frozenset(["code", "boolean", "integer", "positiveInt", "unsignedInt", "decimal", "id"])


def judge(draft: Draft, findings: Findings) -> None:
    """Report what is wrong in a merged policy; its lines have been judged one by one."""
    if draft.identity:
        _identity(draft, findings)
        return
    shown = _shown(draft)
    _never(draft, shown, findings)
    _extensions(draft, findings)
    for line in draft.elements.values():
        if any(step.predicate for step in line.path.steps):
            judge_predicate(line, draft, findings)
        for path in _required(line, draft):
            _report_required(line, path, findings)
    _once(draft, findings)
    _from_upstream(draft, findings)
    for member in draft.datatypes.values():
        _required_member(member, findings)
    _ids(draft, findings)
    _shifts(draft, findings)
    _doubts(draft, shown, findings)


def _once(draft: Draft, findings: Findings) -> None:
    """One item cannot stand for all where predicates show some of them otherwise."""
    judged = {
        line.path.plain
        for line in draft.elements.values()
        if any(step.predicate for step in line.path.steps)
    }
    for line in draft.elements.values():
        if line.method.param("once") is True and line.path.plain in judged:
            what = "one masked item cannot stand for those that a predicate selects"
            findings.wrong(line.source, what, 'write "mask", or take the predicate out')


def _from_upstream(draft: Draft, findings: Findings) -> None:
    """Names are taken for stand-ins only where what is stored says that they are."""
    if "requires" in draft.settings:
        return
    for line in draft.lines:
        if line.method.param("from") == "upstream":
            what = "what the upstream shows is no pseudonym unless its label says so"
            findings.wrong(line.source, what, 'write requires = ["PSEUDED"] at the top')


def _identity(draft: Draft, findings: Findings) -> None:
    for table in _NOT_IDENTITY:
        if table in draft.tables:
            findings.wrong(
                draft.tables[table],
                f"an identity view has no [{table}]: it shows everything as stored",
                "take the table out, or view",
            )
        else:
            for key, setting in draft.settings.items():
                if key.startswith(table + "."):
                    findings.wrong(
                        setting.source, f"an identity view has no {table}", "take it out, or view"
                    )
    for key in ("labels", "requires", "profiles", "document"):
        if key in draft.settings:
            findings.wrong(
                draft.settings[key].source,
                f"an identity view has no {key}: it shows everything as stored",
                "take the line out, or view",
            )


def _shown(draft: Draft) -> frozenset[str]:
    """Types that have a line which shows them."""
    found = {
        line.path.steps[0].name
        for line in draft.elements.values()
        if len(line.path.steps) == 1 and rank(line.method) > 0
    }
    return frozenset(found | draft.attempted)


def _never(draft: Draft, shown: frozenset[str], findings: Findings) -> None:
    """Lines that can never fire."""
    passed = {line.path.plain for line in draft.elements.values() if line.method.name == "pass"}
    removed = {p for p, line in draft.elements.items() if len(line.path.steps) == 1} - shown
    for line in draft.elements.values():
        kind = line.path.steps[0].name
        if len(line.path.steps) == 1:
            continue
        if kind in passed:
            what, mend = f"{kind} is passed whole", f'write "{kind}" = "keep", or take the line out'
        elif kind in removed:
            what, mend = f"{kind} is removed", f'write "{kind}" = "keep", or take the line out'
        elif kind not in shown:
            what, mend = f"{kind} has no line", f'write "{kind}" = "keep" too'
        else:
            continue
        findings.wrong(line.source, f"the line can never fire: {what}", mend)
    for table in ("access", "ids"):
        for kind, setting in draft.under(table).items():
            if kind != "default" and kind not in shown and setting.value:
                findings.wrong(
                    setting.source,
                    f"the line can never fire: {kind} is not shown",
                    f'write "{kind}" = "keep" under [elements], or take the line out',
                )
    for kind, setting in draft.under("access").items():
        texts = setting.value if isinstance(setting.value, tuple) else ()
        for text in sorted({"vread", "history"} & set(texts)):
            if text == "history":
                what = f"history is for identity views only: older versions of {kind} are not shown"
            elif not _hides_ids(kind, draft):
                continue
            else:
                what = f"vread is for views with real ids: versions of {kind} have no name"
            findings.wrong(setting.source, what, f"take {text} out")
        if "$everything" in texts:
            findings.wrong(
                setting.source,
                "$everything is for identity views only: the upstream collects it",
                "write searches, or $document for Composition",
            )
    for kind, rules in draft.rows.items():
        if kind not in shown:
            findings.wrong(
                rules[-1].source,
                f"the line can never fire: {kind} is not shown",
                f'write "{kind}" = "keep" under [elements], or take the rows out',
            )
    for key, word in (("include", "include"), ("chain", "search")):
        for text in _texts(draft, f"search.{key}"):
            _path(key, word, text, draft, shown, findings)


def _path(
    key: str, word: str, text: str, draft: Draft, shown: frozenset[str], findings: Findings
) -> None:
    """A reference that may be followed: from a type that shows, to one with ``word``; what refers
    to a match may be included too."""
    base, code, *target = text.split(":")
    source = draft.settings[f"search.{key}"].source
    if base not in shown:
        findings.wrong(source, f"{text} can never fire: {base} is not shown", "take it out")
        return
    ends = {*(target or registry.targets(registry.get(base)[code]))} & shown
    if key == "include":
        ends.add(base)
    granted = {t for t, s in draft.under("access").items() if word in _words(s.value)}
    if draft.under("access") and not ends & granted:
        what = f"{text} can never fire: no type at its end has {word} under [access]"
        findings.wrong(source, what, f'write "{word}" there, or take the path out')


def _words(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()


def _hides_ids(kind: str, draft: Draft) -> bool:
    """Whether the ids of the type are shown as pseudonyms, as far as the policy says."""
    lines = [draft.settings.get(f"ids.{name}") for name in (kind, "default")]
    return next((line.value for line in lines if line is not None), "") == "pseudonym"


def _texts(draft: Draft, key: str) -> tuple[str, ...]:
    value = draft.settings[key].value if key in draft.settings else ()
    return value if isinstance(value, tuple) else ()


def _extensions(draft: Draft, findings: Findings) -> None:
    for line in draft.extensions.values():
        if line.removed:
            findings.wrong(
                line.source,
                "the line can never fire: no base lists the extension, and none shows unlisted",
                "take the line out",
            )
        close = nearest(line.url, EXTENSIONS) if line.url not in EXTENSIONS else None
        if close and _differ_little(line.url, close):
            what = f"{line.url} is not one that we know, but much like one"
            findings.doubtful(line.source, what, f"see {close}")
        for part in line.parts or ():
            name = part.removesuffix("value[x]").removesuffix(".")
            known = [p for p in EXTENSIONS.get(line.url, ()) if p]
            close = nearest(name, known) if name and known and name not in known else None
            if close:
                findings.wrong(
                    line.source,
                    f"the extension has no part {name}",
                    f"write {part.replace(name, close, 1)}",
                )


def _differ_little(one: str, other: str) -> bool:
    return one.lower() == other.lower() or (
        one.rpartition("/")[0] == other.rpartition("/")[0]
        and abs(len(one) - len(other)) <= 2
        and sum(a != b for a, b in zip(reversed(one), reversed(other), strict=False)) <= 2
    )


def _required(line: PathLine, draft: Draft) -> Iterator[str]:
    """Required elements without a masked value that the line hides, by their paths."""
    place = line.path.places[-1]
    if place.element is None or (rank(line.method) > TRANSFORM):
        return
    coded = line.method.param("map") is not None
    if rank(line.method) == TRANSFORM and not coded:
        return
    if line.method.name == "remove" and place.element.min == 0:
        return
    yield from _unmaskable(place.element, place.types, line.path.plain, draft, frozenset())


def _unmaskable(
    element: Element, types: tuple[str, ...], path: str, draft: Draft, seen: frozenset[str]
) -> Iterator[str]:
    if len(types) > 1 or types[0] in seen:
        return
    if types[0] in _NO_MASK:
        if element.min:
            yield path
        return
    for inner in elements(types[0]).values():
        if inner.element is None or inner.element.min == 0 or inner.element.name != inner.name:
            continue
        below = f"{path}.{inner.name}"
        rule = draft.elements.get(below)
        if rule is None or rank(rule.method) < TRANSFORM:
            yield from _unmaskable(inner.element, inner.types, below, draft, seen | {types[0]})


def _report_required(line: PathLine, path: str, findings: Findings) -> None:
    own = path == line.path.plain
    what = f"{path} is required and has no masked value, so {line.method.name} cannot hide it"
    if own:
        mend = 'write "keep"'
    elif (element := line.path.places[-1].element) is not None and element.min == 0:
        mend = f'write "remove", or "{path}" = "keep" too'
    else:
        mend = f'write "{path}" = "keep" too'
    findings.wrong(line.source, what, mend)


def _required_member(line: TypeLine, findings: Findings) -> None:
    owner, _, member = line.key.partition(".")
    if owner not in DATATYPES or not member or line.key == DOCUMENT:
        return
    element = elements(owner)[member].element
    if element is not None and element.min and rank(line.method) <= 1 and line.types[0] in _NO_MASK:
        findings.wrong(
            line.source,
            f"{line.key} is required and has no masked value",
            'write "keep", or hide the whole value',
        )


def _ids(draft: Draft, findings: Findings) -> None:
    """A view must say whose ids it shows as they are."""
    if "ids.default" in draft.settings:
        return
    makes = [line.source for line in draft.lines if line.method.name == "pseudonymize"]
    makes += [s.source for s in draft.under("ids").values() if s.value == "pseudonym"]
    if makes:
        own = [source for source in makes if source.file == draft.file.file]
        source = min(own or makes, key=lambda s: s.line)
        what = "the view makes pseudonyms without saying for which ids"
    elif draft.under("access"):
        source = next(iter(draft.under("access").values())).source
        what = "the view does not say how ids are shown"
    else:
        return
    findings.wrong(source, what, 'write [ids] with default = "pseudonym", or "real"')


def _shifts(draft: Draft, findings: Findings) -> None:
    """All dates of a person move by one offset, else the intervals between them would not stay."""
    shifts = [line for line in draft.lines if line.method.name == "shift"]
    for line in shifts[1:]:
        if line.method != shifts[0].method:
            findings.wrong(
                line.source,
                f"dates shift otherwise than by {shifts[0].source}: intervals would not stay",
                f"write {spelled(shifts[0].method)} in both",
            )
    if shifts and read_shift(dict(shifts[0].method.params)).high > 0 and draft.under("ages"):
        findings.wrong(
            shifts[0].source,
            "with ages, a birth date shown later than it was tells its day when it goes",
            "write a range in the past, as range = [-365, -1]",
        )


def _doubts(draft: Draft, shown: frozenset[str], findings: Findings) -> None:
    # A resource that passes shows as stored, whatever [codes] says.
    opened = any(line.method.name not in ("pass", "remove") for line in draft.elements.values())
    if opened and "codes.systems" not in draft.settings:
        findings.doubtful(
            draft.file,
            "there is no [codes], so local codes show, which can be record numbers",
            "list the public code systems under [codes]",
        )
    for scrubbed in draft.lines:
        if scrubbed.method.name == "scrub":
            findings.doubtful(
                scrubbed.source,
                "scrub finds what is known or has a shape, so names of others stay in the text",
                "write mask or remove where nothing may stay",
            )
    line = draft.datatypes.get("string")
    if line is not None and line.method.name == "keep":
        findings.doubtful(
            line.source,
            "string = keep shows strings that hold names or numbers: "
            + ", ".join(named_strings(shown, draft)),
            "open members or paths one by one",
        )
