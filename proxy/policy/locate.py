"""TOML with the line of every key.

A TOML document is a sequence of statements: table headers and ``key = value``, where a value may
run over several lines. Each statement is itself TOML, so each is read alone by :mod:`tomllib`: a
mistake in one costs no other, and a key that is written twice is seen with both its lines, which
a parser of the whole document cannot tell (https://toml.io/en/v1.0.0).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

from proxy.policy.mistakes import Findings
from proxy.policy.model import Source

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``key = value``: ``key`` with its tables in front, ``text`` as written."""

    key: Key
    value: object
    source: Source
    text: str

    def at(self, item: str) -> Source:
        """The line on which ``item`` stands in a value that runs over several lines."""
        for number, line in enumerate(self.text.split("\n")):
            if f'"{item}"' in line or f"'{item}'" in line:
                return Source(self.source.file, self.source.line + number, self.source.key)
        return self.source


@dataclass(frozen=True, slots=True)
class Document:
    """A file as read: ``entries`` in order, ``tables`` the headers with their lines."""

    entries: tuple[Entry, ...]
    tables: tuple[tuple[Key, Source], ...]


# What a statement is made of; the first alternative that fits at a place is taken.
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""+|\'\'\'.*?\'\'\'+'  # strings of several lines
    r'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\''  # strings of one line
    r"|\#[^\n]*|\n|[\[\]{}]|[^\"'\#\n\[\]{}]+|.",
    re.DOTALL,
)


def read_document(text: str, file: str, findings: Findings) -> Document:
    """The statements of a TOML text; what cannot be read is reported and left out."""
    entries: list[Entry] = []
    tables: list[tuple[Key, Source]] = []
    table: Key = ()
    seen: dict[Key, Source] = {}
    seen_tables: dict[Key, Source] = {}
    for line, statement in _statements(text):
        where = Source(file, line, statement.strip().split("\n")[0])
        try:
            tree = tomllib.loads(statement)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            findings.wrong(where, f"this is not TOML: {_reason(error)}", "mend the line")
            if statement.lstrip().startswith("["):
                table = ("",)  # what follows belongs to no table we know
            continue
        if statement.lstrip().startswith("["):
            table = _header(tree)
            where = Source(file, line, ".".join(table))
            if statement.lstrip().startswith("[["):
                what = f"[[{where.key}]] is a list of tables"
                findings.wrong(where, what, f"write [{where.key}]")
            if table in seen_tables:
                findings.wrong(
                    where,
                    f"the table [{where.key}] is written twice, first on line "
                    f"{seen_tables[table].line}",
                    "move its lines there",
                )
            else:
                seen_tables[table] = where
                tables.append((table, where))
            continue
        if table == ("",):
            continue
        key, value = _leaf(tree, statement)
        key = table + key
        where = Source(file, line, key[-1])
        if key in seen:
            findings.wrong(
                where,
                f"{key[-1]} is written twice, first on line {seen[key].line}",
                "keep one of the two lines",
            )
            continue
        seen[key] = where
        entries.append(Entry(key, value, where, statement))
    return Document(tuple(entries), tuple(tables))


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each statement with the number of its first line, comments and blank lines left out."""
    line, depth, start, parts = 1, 0, 0, list[str]()
    for match in _TOKEN.finditer(text):
        piece = match.group()
        if piece == "\n" and depth == 0:
            if start:
                yield start, "".join(parts)
            start, parts = 0, []
        elif not piece.startswith("#"):
            if not start and piece.strip():
                start = line
            if start:
                parts.append(piece)
            depth = max(depth + (piece in "[{") - (piece in "]}"), 0)
        line += piece.count("\n")
    if start:
        yield start, "".join(parts)


def judge_whole(text: str, file: str, findings: Findings) -> None:
    """Reports statements that are right alone and contradict each other (``a = 1``, ``a.b = 1``).

    For texts in which nothing else was found."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        where = Source(file, int(line[1]) if line else text.count("\n") + 1, "")
        findings.wrong(where, f"this is not TOML: {_reason(error)}", "write each table once")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    text = re.sub(r" \(at (line \d+, column \d+|end of document)\)$", "", str(error))
    return text[:1].lower() + text[1:]


def _header(tree: dict[str, object]) -> Key:
    key: list[str] = []
    node: object = tree
    while isinstance(node, dict) and node:
        name, node = next(iter(node.items()))
        key.append(name)
        if isinstance(node, list):
            node = node[0]
    return tuple(key)


def _leaf(tree: dict[str, object], statement: str) -> tuple[Key, object]:
    """Key and value of one statement; a dotted key has as many names as it has dots and one."""
    key: list[str] = []
    node: object = tree
    for _ in range(_names(statement)):
        if isinstance(node, dict):
            name, node = next(iter(node.items()))
            key.append(name)
    return tuple(key), node


_NAME = re.compile(r'\s*("(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[A-Za-z0-9_-]+)\s*(\.?)')


def _names(statement: str) -> int:
    """How many names the dotted key of a valid statement has."""
    count, at = 0, 0
    while match := _NAME.match(statement, at):
        count, at = count + 1, match.end()
        if not match.group(2):
            break
    return count
