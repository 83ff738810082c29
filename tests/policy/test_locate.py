"""TOML is read as tomllib reads it, with lines, and broken text never raises."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.policy.load import read_policies
from proxy.policy.locate import Document, judge_whole, read_document
from proxy.policy.mistakes import Findings
from tests.conftest import REPOSITORY

SHIPPED = sorted((REPOSITORY / "policies").glob("*.toml"))


def read(text: str) -> tuple[Document, Findings]:
    findings = Findings()
    document = read_document(text, "p.toml", findings)
    if not findings.mistakes:
        judge_whole(text, "p.toml", findings)
    return document, findings


def tree(document: Document) -> dict[str, object]:
    """The nested tables that the entries make."""
    whole: dict[str, object] = {}
    keys = [(key, None) for key, _ in document.tables]
    for key, entry in [*keys, *((e.key, e) for e in document.entries)]:
        node = whole
        for name in key if entry is None else key[:-1]:
            below = node.setdefault(name, {})
            assert isinstance(below, dict)
            node = below
        if entry is not None:
            node[key[-1]] = entry.value
    return whole


LINES = '''\
# a comment with "quotes" and [brackets
title = "a # no comment"   # one

[elements]   # header
"Patient.name.where(use = 'old')" = "keep"
'x.y'.z = 1
many = [
  "one",   # [
  "two", "]",
]
text = """
[not a header]
key = "\\""""
raw = \'\'\'
# raw'\'\'\'
inline = { a = [1, 2], b = "}" }
'''


def test_lines_of_every_kind() -> None:
    """Comments, texts and lists over several lines do not shift the lines of what follows."""
    document, findings = read(LINES)
    assert findings.mistakes == []
    assert tree(document) == tomllib.loads(LINES)
    assert [(e.key[-1], e.source.line) for e in document.entries] == [
        ("title", 2),
        ("Patient.name.where(use = 'old')", 5),
        ("z", 6),
        ("many", 7),
        ("text", 11),
        ("raw", 14),
        ("inline", 16),
    ]
    many = document.entries[3]
    assert [many.at(item).line for item in ("one", "two", "three")] == [8, 9, 7]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_files_are_read_as_tomllib_does(file: Path) -> None:
    """Statement by statement or as a whole, the content is the same."""
    text = file.read_text("utf-8")
    document, findings = read(text)
    assert findings.mistakes == []
    assert tree(document) == tomllib.loads(text)
    lines = text.split("\n")
    assert all(e.source.key in lines[e.source.line - 1] for e in document.entries)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ('a = 1\nb = \nc = "x\nd = 2\n', [2, 3]),
        ("a = 1 2\n= 3\n[[]]\n", [1, 2, 3]),
        ("[t\na = 1\n[u]\nb = 1\nb = 2\n", [1]),
        ("[t\n\n[u]\nb = 1\nb = 2\n", [1]),
        ("[x] y\n[u]\nb = 1\nb = 2\n", [1, 4]),
        ("a.b = 1\na.b = 2\n", [2]),
        ("a = 1\na.b = 2\n", [2]),
        ("a.b = 1\n[a]\nc = 2\n", [2]),
    ],
)
def test_one_broken_statement_hides_no_other(text: str, lines: list[int]) -> None:
    """Each broken statement is a mistake of its own line; only an open bracket runs on."""
    _, findings = read(text)
    assert [m.line for m in findings.mistakes] == lines


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='ab.=[]{}"\'#,\n \\1x-', max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    """What tomllib accepts is read the same; what it refuses is a mistake; nothing raises."""
    document, findings = read(text)
    try:
        whole = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert findings.mistakes
        return
    if not findings.mistakes:
        assert tree(document) == whole
    else:
        assert all("list of tables" in m.what for m in findings.mistakes)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_mangled_policies_never_raise(data: st.DataObject, tmp_path: Path) -> None:
    """A shipped policy with random cuts and insertions loads or gives located mistakes."""
    file = data.draw(st.sampled_from(SHIPPED))
    for shipped in SHIPPED:
        (tmp_path / shipped.name).write_bytes(shipped.read_bytes())
    text = file.read_text("utf-8")
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 12))
        new = data.draw(
            st.one_of(
                st.text(max_size=6),
                st.sampled_from(
                    [".where(", ")", '"', "\n[elements]\n", "[x]", "value[x]", ".", "{ ", "mask",
                     '"remove"', '"Patient" = "remove"\n', "_", "%caller", "[ids]\n"]
                ),
            )
        )
        text = text[:at] + new + text[at + cut :]
    target = tmp_path / file.name
    target.write_text(text, "utf-8", errors="replace", newline="")
    count = text.count("\n") + 1
    loaded = read_policies([target])
    for mistake in loaded.mistakes:
        assert mistake.what
        assert mistake.mend
        assert "\n" not in str(mistake)
        assert mistake.file != str(target) or 1 <= mistake.line <= count + 1
    assert loaded.mistakes or file.stem in loaded.policies
