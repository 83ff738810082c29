"""A policy file to a :class:`Draft`; every line that cannot be understood is reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path as FilePath

from proxy.fhir.structure import RESOURCES
from proxy.lenses.surrogate import NAMED
from proxy.policy import settings
from proxy.policy.datatypes import read_datatype
from proxy.policy.draft import Draft, ExtensionLine, PathLine, TypeLine
from proxy.policy.files import TooLarge, read_text
from proxy.policy.locate import Document, Entry, judge_whole, read_document
from proxy.policy.method import read_method
from proxy.policy.methods import PASSED, suits, words
from proxy.policy.mistakes import Findings, nearest, offer
from proxy.policy.model import Method, Source
from proxy.policy.paths import PathError, read_path
from proxy.policy.row_lines import read_rows

TABLES = frozenset(
    ["access", "ids", "elements", "datatypes", "extensions", "codes", "rows", "search", "ages"]
)
TOP = frozenset(["title", "basis", "extends", "labels", "requires", "profiles", "view", "document"])


def read_draft(file: FilePath, shown: str, findings: Findings) -> Draft:
    """The lines of ``file``, named ``shown`` in messages, each judged by itself."""
    top = Source(shown, 1, file.name)
    draft = Draft(file.stem, top)
    text = _text(file, top, findings)
    if text is None:
        draft.incomplete = True
        return draft
    before = len(findings.mistakes)
    document = read_document(text, shown, findings)
    if not document.entries and len(findings.mistakes) == before:
        mend = 'write title = "…", extends = "…" or tables as the shipped policies have'
        findings.wrong(top, "the file says nothing", mend)
    unknown = _headers(document, draft, findings)
    for entry in _entries(document, unknown, findings):
        if len(entry.key) == 1:
            settings.read_top(entry, draft, findings)
        else:
            _READERS[entry.key[0]](entry, draft, findings)
    read_rows(document, draft, findings)
    if len(findings.mistakes) == before:
        judge_whole(text, shown, findings)
    return draft


def _text(file: FilePath, top: Source, findings: Findings) -> str | None:
    try:
        text = read_text(file)
    except OSError as error:
        close = nearest(file.stem, (p.stem for p in file.parent.glob("*.toml") if p != file))
        findings.wrong(
            top,
            f"the file cannot be read: {(error.strerror or 'error').lower()}",
            f"write {close}" if close else "check its path",
        )
        return None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        findings.wrong(Source(top.file, line, ""), "the text is not UTF-8", "save it as UTF-8")
        return None
    except TooLarge:
        findings.wrong(top, "the file is larger than 2 MB", "split the policy with extends")
        return None
    return text.replace("\r\n", "\n")


def _headers(document: Document, draft: Draft, findings: Findings) -> frozenset[str]:
    """Notes which tables there are; gives the names of those that do not exist."""
    unknown = set()
    for key, source in document.tables:
        if key[0] in TABLES:
            draft.tables.setdefault(key[0], source)
        elif key[0] in TOP:
            findings.wrong(source, f"{key[0]} is not a table", f"write {key[0]} = … at the top")
            unknown.add(key[0])
        else:
            findings.wrong(source, f"there is no table [{key[0]}]", _table_offer(key[0]))
            unknown.add(key[0])
    return frozenset(unknown)


def _table_offer(name: str) -> str:
    mend = offer(name, TABLES, "")
    return mend.replace("write ", "write [") + "]" if mend else "take it out; [elements] says what"


def _entries(document: Document, unknown: frozenset[str], findings: Findings) -> list[Entry]:
    """The entries under their table and key: inline tables opened, long keys folded."""
    flat: list[Entry] = []
    folded: dict[tuple[str, ...], list[Entry]] = {}
    for entry in document.entries:
        first = entry.key[0]
        if first in unknown or first == "rows":
            continue
        if first not in TABLES:
            if len(entry.key) > 1:
                findings.wrong(entry.source, f"{first} is not a table", f"write {first} = … alone")
            else:
                flat.append(entry)
        elif len(entry.key) == 1:
            if not isinstance(entry.value, dict):
                findings.wrong(entry.source, f"{first} is not a table", f"write [{first}] above it")
                continue
            for name, value in entry.value.items():
                source = Source(entry.source.file, entry.source.line, name)
                flat.append(Entry((first, name), value, source, entry.text))
        elif len(entry.key) == 2:
            flat.append(entry)
        else:
            folded.setdefault(entry.key[:2], []).append(entry)
    for key, entries in folded.items():
        if key[0] in ("elements", "datatypes") and all(e.key[2] != "method" for e in entries):
            for entry in entries:
                path = ".".join(k for k in entry.key[1:] if k != "method")
                findings.wrong(entry.source, "a path needs quotes", f'write "{path}" = …')
        else:
            flat.append(_fold(key, entries))
    return flat


def _fold(key: tuple[str, ...], entries: list[Entry]) -> Entry:
    """The inline table that a table of its own, or dotted keys, stand for."""
    tree: dict[str, object] = {}
    for entry in entries:
        node = tree
        for name in entry.key[2:-1]:
            below = node.setdefault(name, {})
            if not isinstance(below, dict):
                break
            node = below
        node[entry.key[-1]] = entry.value
    first = entries[0]
    source = Source(first.source.file, first.source.line, key[1])
    return Entry(key, tree, source, first.text)


def _element(entry: Entry, draft: Draft, findings: Findings) -> None:
    try:
        path = read_path(entry.key[1])
    except PathError as error:
        findings.wrong(entry.source, error.what, error.mend)
        read_method(entry, findings)
        draft.attempted.add(nearest(entry.key[1], RESOURCES) or "")
        return
    if len(path.steps) == 1:
        draft.attempted.add(path.plain)
    if path.respelt is not None:
        what = f"{entry.key[1]} is not the path's one spelling"
        findings.wrong(entry.source, what, f"write {path.respelt}")
    method = read_method(entry, findings)
    if path.steps[-1].predicate and len(path.steps) == 1:
        what = "a predicate on a whole type would select resources, which is for rows"
        findings.wrong(entry.source, what, f"write it as where under [rows.{path.plain}]")
        return
    if path.key in draft.elements:
        first = draft.elements[path.key].source
        findings.wrong(
            entry.source,
            f"the path {path.key} is written twice, first on line {first.line}",
            "keep one of the two lines",
        )
        return
    types, whole = path.places[-1].types, len(path.steps) == 1
    if method is not None and _fits(
        entry.source, method, types, findings, plain=path.plain, resource=whole
    ):
        draft.elements[path.key] = PathLine(path, method, entry.source)


def _fits(
    source: Source,
    method: Method,
    types: tuple[str, ...],
    findings: Findings,
    *,
    plain: str = "",
    resource: bool = False,
) -> bool:
    """Whether the method suits the types that a line is about. ``plain``: its path without
    predicates, if it has one; ``resource``: it is about a whole one."""
    name = method.name
    if resource and name not in ("keep", "pass", "remove"):
        what = f"{name} does not suit a resource type"
        findings.wrong(source, what, "write keep, pass or remove")
        return False
    if name == "pass" and not (resource and types[0] in PASSED):
        findings.wrong(
            source,
            f"pass does not suit {source.key}: it is for the types {', '.join(PASSED)} as a whole",
            "write keep",
        )
        return False
    bad = [code for code in types if not suits(method, code)]
    if name == "surrogate" and types == ("string",) and plain not in NAMED:
        bad = ["string"]  # which names no person
    if not bad:
        return True
    if len(types) > 1 and len(bad) < len(types):
        good = next(code for code in types if code not in bad)
        stem = source.key.removesuffix("[x]")
        mend = f"write the branch {stem}{good[:1].upper()}{good[1:]}"
    elif bad[0] == "Narrative":
        mend = 'write "narrative" or "remove"'
    elif bad[0] == "Period":
        mend = f"write {source.key}.start and {source.key}.end"
    else:
        mask = suits(Method("mask"), bad[0])
        mend = "write keep, remove or mask" if mask else "write keep or remove"
    named = f"{name} to {method.param('to')}" if method.param("to") else name
    findings.wrong(source, f"{named} does not suit {bad[0]}: it is for {words(method)}", mend)
    return False


def _datatype(entry: Entry, draft: Draft, findings: Findings) -> None:
    method = read_method(entry, findings)
    try:
        types = read_datatype(entry.key[1])
    except PathError as error:
        findings.wrong(entry.source, error.what, error.mend)
        return
    if method is not None and _fits(entry.source, method, types, findings):
        draft.datatypes[entry.key[1]] = TypeLine(entry.key[1], types, method, entry.source)


def _extension(entry: Entry, draft: Draft, findings: Findings) -> None:
    line = settings.read_extension(entry, findings)
    if isinstance(line, ExtensionLine):
        draft.extensions[line.url] = line


_READERS: Mapping[str, Callable[[Entry, Draft, Findings], None]] = {
    "access": settings.read_access,
    "ids": settings.read_ids,
    "elements": _element,
    "datatypes": _datatype,
    "extensions": _extension,
    "codes": settings.read_codes,
    "search": settings.read_search,
    "ages": settings.read_ages,
}
