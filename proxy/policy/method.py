"""A method as written in a line: ``"keep"`` or ``{ method = "generalize", to = "year" }``."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path as FilePath

from proxy.lenses.shift import DEFAULT_RANGE
from proxy.policy.files import read_text
from proxy.policy.locate import Entry
from proxy.policy.methods import METHODS, SCALES
from proxy.policy.mistakes import Findings, offer
from proxy.policy.model import Method, Source
from proxy.policy.toml import kind

_FARTHEST = 36525  # days: a hundred years
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")
_FORM = 'write a method, as "keep", or { method = "generalize", to = "year" }'


def read_method(entry: Entry, findings: Findings) -> Method | None:
    """The method of a line, its parameters checked; None if it was reported."""
    value, source = entry.value, entry.source
    if isinstance(value, str):
        value = {"method": value}
    if not isinstance(value, dict):
        findings.wrong(source, f"the method is {kind(value)}, not text or a table", _FORM)
        return None
    name = value.get("method")
    if not isinstance(name, str):
        findings.wrong(source, "the table names no method", _FORM)
        return None
    if name not in METHODS:
        findings.wrong(source, f"there is no method {name}", offer(name, METHODS))
        return None
    spec = METHODS[name]
    good = True
    for key, given in value.items():
        if key == "method":
            continue
        if key not in spec.parameters:
            findings.wrong(
                source,
                f"the method {name} has no parameter {key}",
                offer(key, spec.parameters, "take it out"),
            )
            good = False
        elif not isinstance(given, spec.parameters[key]):
            wanted = kind(spec.parameters[key]())
            findings.wrong(source, f"{key} is {kind(given)}, not {wanted}", f"write {wanted}")
            good = False
    if not good:
        return None
    if name == "generalize":
        return _generalize(value, source, findings)
    if name == "narrative":
        return _narrative(value, source, findings)
    if name == "mask" and value.get("once"):
        return Method("mask", (("once", True),))
    if name in ("surrogate", "pseudonymize"):
        return _named(name, value, source, findings)
    if name == "shift":
        return _shift(value, source, findings)
    return Method(name)


def _named(
    name: str, value: dict[str, object], source: Source, findings: Findings
) -> Method | None:
    if value.get("from", "upstream") != "upstream":
        what, mend = f"there is no from = {value['from']}", 'write from = "upstream", or nothing'
        findings.wrong(source, what, mend)
        return None
    parts = sorted((key, str(text)) for key, text in value.items() if key != "method")
    for key, text in parts:
        if not text.strip() or not text.isprintable():
            what = f"{key} is empty or has control characters"
            findings.wrong(source, what, 'write family = "StudySubject", given = "Pseudo"')
            return None
    return Method(name, tuple(parts))


def _shift(value: dict[str, object], source: Source, findings: Findings) -> Method | None:
    days = value.get("range", list(DEFAULT_RANGE))
    system = value.get("by-system")
    mend = "write range = [-365, -1]: the least and the greatest offset in days"
    bounds = [d for d in days if type(d) is int] if isinstance(days, list) else []
    what = ""
    if not isinstance(days, list) or len(days) != 2 or len(bounds) != 2:
        what = "range is not two whole numbers"
    elif bounds[0] > bounds[1]:
        what = "range is reversed"
    elif bounds[0] <= 0 <= bounds[1]:
        what = "range contains 0, so some dates would not move"
    elif max(map(abs, bounds)) > _FARTHEST:
        what = f"range goes farther than {_FARTHEST} days"
    if what:
        findings.wrong(source, what, mend)
    if system is not None and not _URI.fullmatch(str(system)):
        what = f"by-system is {system or 'empty'}, which is no system of identifiers"
        findings.wrong(source, what, 'write its URI, as "urn:oid:2.16.840.1.113883.19.5"')
    if what:
        return None
    by = () if system is None else (("by-system", system),)
    return Method("shift", (*by, ("range", tuple(bounds))))


def _narrative(value: dict[str, object], source: Source, findings: Findings) -> Method | None:
    if "from" in value:
        if value["from"] == "shown" and "text" not in value:
            return Method("narrative", (("from", "shown"),))
        what, mend = f"there is no from = {value['from']}", 'write from = "shown", or text = "…"'
        if value["from"] == "shown":
            what, mend = "from and text do not go together", 'write from = "shown" alone'
        findings.wrong(source, what, mend)
        return None
    if "text" not in value:
        return Method("narrative")
    text = str(value["text"])
    if not text.strip() or not text.isprintable():
        findings.wrong(source, "text is empty or has control characters", 'write text = "MASKED"')
        return None
    return Method("narrative", (("text", text),))


def _generalize(value: dict[str, object], source: Source, findings: Findings) -> Method | None:
    to, mapping, steps = value.get("to"), value.get("map"), value.get("steps")
    if (to is None) == (mapping is None):
        findings.wrong(
            source,
            "generalize needs one of to and map" if to is None else "generalize has to and map",
            'write to = "year", or another of ' + ", ".join(SCALES) + ', or map = "file"',
        )
        return None
    if mapping is not None:
        if steps is not None:
            findings.wrong(source, "steps do not go with map", "take steps out")
            return None
        pairs = _read_map(str(mapping), source, findings)
        return None if pairs is None else Method("generalize", (("map", pairs),))
    if to not in SCALES:
        findings.wrong(
            source,
            f"generalize has no to = {to}",
            offer(str(to), SCALES, "write one of " + ", ".join(SCALES)),
        )
        return None
    to = str(to)
    if not SCALES[to].steps:
        if steps is not None:
            findings.wrong(source, f"steps do not go with to = {to}", "take steps out")
            return None
        return Method("generalize", (("to", to),))
    numbers = steps if isinstance(steps, list) else []
    if not numbers or not all(_number(n) for n in numbers) or sorted(set(numbers)) != numbers:
        findings.wrong(
            source,
            f"to = {to} needs steps: numbers, each greater than the one before",
            "write steps = [0, 18, 65]",
        )
        return None
    return Method("generalize", (("steps", tuple(numbers)), ("to", to)))


def _number(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


def _read_map(name: str, source: Source, findings: Findings) -> tuple[tuple[str, str], ...] | None:
    """A TOML file of ``"code" = "code shown"``, beside the policy file."""
    mend = 'write a TOML file of lines "code" = "code shown", by its path from the policy file'
    try:
        tree = tomllib.loads(read_text(FilePath(source.file).parent / name))
    except (OSError, ValueError, RecursionError):
        findings.wrong(source, f"the map {name} cannot be read as TOML", mend)
        return None
    pairs = {k: v for k, v in tree.items() if isinstance(v, str) and k and v}
    if not pairs or len(pairs) != len(tree):
        findings.wrong(source, f"the map {name} holds other things than codes", mend)
        return None
    return tuple(sorted(pairs.items()))
