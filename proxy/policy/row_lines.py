"""Lines of ``[rows]``: which resources exist, each condition one that can be judged here."""

from __future__ import annotations

import re
from collections.abc import Iterator

from proxy.errors import NotSupported, ProxyError
from proxy.fhir import registry
from proxy.fhir.fhirpath import FhirPathError, predicate
from proxy.fhir.match import matcher
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.search import Parameter, parse_query
from proxy.fhir.structure import RESOURCES
from proxy.policy.controls import CONTROLS
from proxy.policy.draft import Draft
from proxy.policy.locate import Document, Entry
from proxy.policy.mistakes import Findings, offer
from proxy.policy.model import RowRule, Source
from proxy.policy.paths import predicate_mend
from proxy.policy.rows import CLAIM, CLAIM_TYPES, is_readable, reads_no_one_claim
from proxy.policy.toml import kind

KEYS = ("search", "where")
_FORM = 'write search = "…", where = "…", or both'
_WHERE = "write the condition as where = …"


def read_rows(document: Document, draft: Draft, findings: Findings) -> None:
    """Every table ``[rows.Type]`` of a file into the draft, its mistakes reported."""
    seen: dict[str, Source] = {}
    lines: dict[str, dict[str, Entry]] = {}
    for key, source in document.tables:
        if key[0] == "rows" and len(key) > 1:
            seen.setdefault(key[1], source)
            if len(key) > 2:
                findings.wrong(source, f"[{'.'.join(key)}] is no table of rows", _FORM)
    for type_, name, entry in _entries(document, findings):
        seen.setdefault(type_, entry.source)
        draft.tables.setdefault("rows", entry.source)
        if name:
            lines.setdefault(type_, {})[name] = entry
    for type_, source in seen.items():
        if type_ not in RESOURCES:
            findings.wrong(
                source, f"{type_} is not an R4 resource type", offer(type_, RESOURCES, "see R4")
            )
        elif type_ not in lines:
            findings.wrong(source, f"rows.{type_} says nothing, so it limits nothing", _FORM)
        elif (rule := _rule(type_, source, lines[type_], findings)) is not None:
            draft.rows[type_] = (rule,)


def _entries(document: Document, findings: Findings) -> Iterator[tuple[str, str, Entry]]:
    """Type, key and value of each line of ``[rows]``, however its table is written; the key is
    empty for a table without lines."""
    for entry in document.entries:
        if entry.key[0] != "rows":
            continue
        yield from _opened(entry.key[1:], entry.value, entry, findings)


def _opened(
    key: tuple[str, ...], value: object, entry: Entry, findings: Findings
) -> Iterator[tuple[str, str, Entry]]:
    if len(key) == 2:
        yield key[0], key[1], Entry(key, value, entry.source, entry.text)
    elif len(key) < 2 and isinstance(value, dict):
        if key and not value:
            yield key[0], "", entry
        for name, inner in value.items():
            yield from _opened((*key, name), inner, entry, findings)
    elif len(key) > 2:
        findings.wrong(entry.source, f"{'.'.join(key)} is no line of [rows]", _FORM)
    else:
        name = ".".join(("rows", *key))
        findings.wrong(entry.source, f"{name} is {kind(value)}, not a table", _FORM)


def _rule(
    type_: str, source: Source, lines: dict[str, Entry], findings: Findings
) -> RowRule | None:
    before = len(findings.mistakes)
    texts = {"search": "", "where": ""}
    for name, entry in lines.items():
        if name not in KEYS:
            findings.wrong(entry.source, f"rows has no key {name}", offer(name, KEYS))
        elif not isinstance(entry.value, str):
            what = f"{name} is {kind(entry.value)}, not text"
            findings.wrong(entry.source, what, f'write {name} = "…"')
        elif not entry.value.strip():
            findings.wrong(entry.source, f"{name} is empty, so it limits nothing", "take it out")
        else:
            texts[name] = entry.value.strip()
            _JUDGES[name](type_, texts[name], entry.source, findings)
    where = Source(source.file, source.line, f"rows.{type_}")
    return RowRule(type_, **texts, source=where) if len(findings.mistakes) == before else None


def _judge_search(type_: str, text: str, source: Source, findings: Findings) -> None:
    try:
        parameters = parse_query(text)
    except ProxyError as error:
        findings.wrong(
            source, f"the search cannot be read: {_bare(error)}", "write it as in a URL: code=a,b"
        )
        return
    for p in parameters:
        found = _wrong(type_, p)
        if found is not None:
            findings.wrong(source, *found)
        elif _finds_beginnings(type_, p):
            findings.doubtful(
                source,
                f"{p.name} finds what begins as the claim does: M is MI, MN and MO",
                f"write {p.code}:exact",
            )


def _finds_beginnings(type_: str, p: Parameter) -> bool:
    """Whether the values of a claim select more than themselves."""
    claims = any(CLAIM.fullmatch(value) for value in p.alternatives)
    return claims and not p.modifier and registry.get(type_)[p.code].type == "string"


def _wrong(type_: str, p: Parameter) -> tuple[str, str] | None:
    """What is wrong with one condition, and how to mend it."""
    known = registry.get(type_)
    if p.chain or p.code == "_has":
        what = f"{p.name} reads other resources, so it cannot be judged here on a row"
        return what, "write a parameter of the row itself"
    if p.code in CONTROLS:
        return f"{p.code} is about the answer, not about a row", "take it out"
    if p.code not in known:
        judged = (code for code in known if not code.startswith("_"))
        return f"{type_} has no search parameter {p.code}", offer(p.code, judged, _WHERE)
    defined = known[p.code]
    if defined.type == "reference":
        what = f"{p.code} is a reference, which inside a document names something of its own"
        return f"{what}: it cannot be judged here", _WHERE
    return _wrong_value(type_, defined, p)


def _wrong_value(type_: str, defined: SearchParameter, p: Parameter) -> tuple[str, str] | None:
    claims = [value for value in p.alternatives if CLAIM.fullmatch(value)]
    for value in p.alternatives:
        if value not in claims and re.search(r"[{}]", value):
            what = f"{value} is no claim: it is a name in braces, as a whole value or alternative"
            return what, f"write {p.name}={{jurisdictions}}"
    if claims and (defined.type not in CLAIM_TYPES or p.modifier in ("missing", "of-type")):
        what = f"a claim cannot stand in {p.name}, which takes no plain values"
        return what, "write the values, or the condition as where = …"
    for value in p.alternatives if defined.type == "string" and p.modifier != "missing" else ():
        if value not in claims and not is_readable(value):
            return f"{value} has no letter or digit, so it matches everything", "mend the value"
    # For a claim stands a value that every type of CLAIM_TYPES takes.
    values = tuple("x" if value in claims else value for value in p.alternatives)
    try:
        matcher(type_, defined, p.modifier, values)
    except NotSupported as error:
        return f"{p.name} cannot be judged here: {_bare(error)}", _WHERE
    except ProxyError as error:
        return f"the value of {p.name} is malformed: {_bare(error)}", "mend the value"
    return None


def _bare(error: ProxyError) -> str:
    return error.text[:1].lower() + error.text[1:].rstrip(".")


def _judge_where(type_: str, text: str, source: Source, findings: Findings) -> None:
    try:
        predicate(text, type_)
    except FhirPathError as error:
        findings.wrong(source, f"where is not allowed: {error}", predicate_mend(str(error)))
        return
    if reads_no_one_claim(text):
        findings.wrong(
            source, "where reads no one claim of %caller", "write %caller and a claim's name"
        )


_JUDGES = {"search": _judge_search, "where": _judge_where}

__all__ = ["KEYS", "read_rows"]
