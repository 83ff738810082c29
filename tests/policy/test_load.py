"""Policies as loaded: merged, immutable, with a digest that changes with any rule."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from proxy.lenses import method as registered
from proxy.policy.load import PolicyErrors, load_directory, load_policy, read_policies
from proxy.policy.methods import METHODS, PASSED, suits
from proxy.policy.model import Method, Policy
from tests.conftest import REPOSITORY

BASE = """
title = "base"
[ids]
default = "pseudonym"
[elements]
"Patient" = "keep"
"Patient.name" = "remove"
"Patient.contact.gender" = "keep"
"Group" = "keep"
"Group.characteristic" = "remove"
[datatypes]
"Address.state" = { method = "generalize", to = "state" }
[extensions]
"http://x.org/a" = "keep"
"http://x.org/b" = "keep"
[codes]
systems = ["http://loinc.org"]
"""
CHILD = """
title = "child"
extends = "base"
ages = { oldest = 89 }
[access]
Patient = ["read", "search"]
[elements]
"Patient.name" = "mask"
"Group" = "remove"
[datatypes]
date = { method = "generalize", to = "year" }
[extensions]
"http://x.org/b" = "remove"
[search]
page-size = 10
"""


def written(folder: Path, **policies: str) -> Path:
    for name, text in policies.items():
        (folder / f"{name}.toml").write_text(text, "utf-8")
    return folder


def rules(policy: Policy) -> dict[str, str]:
    return {rule.path: rule.method.name for rule in policy.elements}


def test_child_over_base(tmp_path: Path) -> None:
    """Child's lines replace the base's key by key; removed types and extensions go; each line
    knows its file."""
    policy = load_policy(written(tmp_path, base=BASE, child=CHILD) / "child.toml")
    assert rules(policy) == {
        "Patient": "keep",
        "Patient.name": "mask",
        "Patient.contact.gender": "keep",
        "Group": "remove",
    }
    assert policy.datatypes["Address.state"].method == Method("generalize", (("to", "state"),))
    assert policy.datatypes["date"].source.file == str(tmp_path / "child.toml")
    assert policy.datatypes["Address.state"].source.file == str(tmp_path / "base.toml")
    assert policy.datatypes["Address.state"].source.line == 12
    assert set(policy.extensions) == {"http://x.org/a"}
    assert policy.codes == ("http://loinc.org",)
    assert (policy.title, policy.ages, policy.ids_default) == ("child", 89, "pseudonym")
    assert policy.access == {"Patient": frozenset({"read", "search"})}
    assert (policy.search.page_size, policy.search.total) == (10, "none")
    assert policy.served


def test_base_is_not_served(tmp_path: Path) -> None:
    """A policy without [access] loads, to be extended, and is not served."""
    policies = load_directory(written(tmp_path, base=BASE, child=CHILD))
    assert {name: p.served for name, p in policies.items()} == {"base": False, "child": True}


def test_policy_is_frozen(tmp_path: Path) -> None:
    """A policy cannot be changed once it is loaded."""
    policy = load_policy(written(tmp_path, base=BASE) / "base.toml")
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.title = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"Patient.name" = "mask"', '"Patient.name" = "remove"'),
        ("oldest = 89", "oldest = 88"),
        ('to = "year"', 'to = "month"'),
        ('["read", "search"]', '["read"]'),
        ("page-size = 10", "page-size = 11"),
        ('"http://x.org/b" = "remove"', '"http://x.org/b" = { keep = ["value[x]"] }'),
    ],
)
def test_digest_changes_with_any_rule(old: str, new: str, tmp_path: Path) -> None:
    """Every change of meaning changes the digest."""
    folder = written(tmp_path, base=BASE, child=CHILD)
    before = load_policy(folder / "child.toml").digest
    assert old in CHILD
    written(folder, child=CHILD.replace(old, new))
    assert load_policy(folder / "child.toml").digest != before


def test_digest_covers_the_base_and_no_layout(tmp_path: Path) -> None:
    """The digest is that of the merged form: a rule of the base counts, comments do not."""
    folder = written(tmp_path, base=BASE, child=CHILD)
    before = load_policy(folder / "child.toml").digest
    written(folder, base="# a comment\n" + BASE, child=CHILD + "\n# another")
    assert load_policy(folder / "child.toml").digest == before
    written(folder, base=BASE.replace("http://loinc.org", "http://snomed.info/sct"))
    assert load_policy(folder / "child.toml").digest != before


def test_map_is_read_at_load(tmp_path: Path) -> None:
    """A map is read beside the policy and is part of the digest."""
    line = '"Patient.gender" = { method = "generalize", map = "maps/sex.toml" }\n'
    text = BASE.replace("[datatypes]", line + "[datatypes]")
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "sex.toml").write_text('"other" = "unknown"\n', "utf-8")
    policy = load_policy(written(tmp_path, base=text) / "base.toml")
    rule = next(r for r in policy.elements if r.path == "Patient.gender")
    assert rule.method.param("map") == (("other", "unknown"),)
    (tmp_path / "maps" / "sex.toml").write_text('"other" = "male"\n', "utf-8")
    assert load_policy(tmp_path / "base.toml").digest != policy.digest


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """Mistakes of all files come together, in order of file and line."""
    folder = written(
        tmp_path,
        a='lables = []\n[elements]\n"Patiant" = "keep"\n"Patient" = "kepe"\n',
        b="title = 3\n[acess]\n",
    )
    with pytest.raises(PolicyErrors) as raised:
        load_directory(folder)
    places = [(Path(m.file).name, m.line) for m in raised.value.mistakes]
    assert places == [("a.toml", 1), ("a.toml", 3), ("a.toml", 4), ("b.toml", 1), ("b.toml", 2)]
    assert all("\n" not in str(m) for m in raised.value.mistakes)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"title = 'x'\n# caf\xe9\n", "not UTF-8"),
        (b'title = "x\n', "not TOML"),
        (b"title\n", "not TOML"),
        (b"[elements\n", "not TOML"),
        (b'title = "a"\ntitle = "b"\n', "written twice, first on line 1"),
        (b"[ids]\n[ids]\n", "written twice, first on line 1"),
        (b"x = " + b"[" * 5000 + b"]" * 5000, "not TOML"),
        (b"#" * 3_000_000, "larger than 2 MB"),
    ],
    ids=["BOM of UTF-16", "Latin-1", "open text", "no value", "open header", "key twice",
         "table twice", "too deep", "too large"],
)
def test_text_that_is_no_policy(body: bytes, what: str, tmp_path: Path) -> None:
    """What is no TOML is one line with file and line, never a traceback."""
    file = tmp_path / "p.toml"
    file.write_bytes(body)
    with pytest.raises(PolicyErrors) as raised:
        load_policy(file)
    assert any(what in m.what for m in raised.value.mistakes)
    assert {m.file for m in raised.value.mistakes} == {str(file)}


def test_missing_file_and_empty_directory(tmp_path: Path) -> None:
    """A file that is not there and a directory without policies are mistakes like others."""
    loaded = read_policies([tmp_path / "no.toml", tmp_path])
    assert [m.what for m in loaded.mistakes] == [
        "the directory holds no policy",
        "the file cannot be read: no such file or directory",
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "# a policy\n", "[elements]\n", "\r\n# x\r\n"])
def test_a_file_that_says_nothing(text: str, tmp_path: Path) -> None:
    """An empty file, or one of comments, is no policy: it is a mistake, not a view of nothing."""
    file = tmp_path / "p.toml"
    file.write_text(text, "utf-8")
    (mistake,) = read_policies([file]).mistakes
    assert (mistake.file, mistake.line, mistake.what) == (str(file), 1, "the file says nothing")
    assert mistake.mend.startswith("write title = ")


def test_warnings(tmp_path: Path) -> None:
    """No [codes] and string = keep load with a warning that names what shows."""
    text = BASE.split("[codes]")[0] + '[elements."Device"]\nmethod = "keep"\n'
    text = text.replace("[datatypes]", '[datatypes]\nstring = "keep"')
    (tmp_path / "p.toml").write_text(text, "utf-8")
    loaded = read_policies([tmp_path / "p.toml"])
    assert loaded.mistakes == ()
    assert [w.line for w in loaded.warnings] == [1, 12]
    assert "no [codes]" in loaded.warnings[0].what
    for name in ("Device.serialNumber", "Device.udiCarrier.carrierHRF", "Device.lotNumber"):
        assert name in loaded.warnings[1].what


def test_shipped_policies_load_without_warning() -> None:
    """What is shipped has neither mistake nor warning, and every served view says its basis."""
    loaded = read_policies([REPOSITORY / "policies"])
    assert (loaded.mistakes, loaded.warnings) == ((), ())
    assert {n for n, p in loaded.policies.items() if not p.served} == {"case-report"}
    for policy in loaded.policies.values():
        assert policy.title
        assert policy.basis


def test_shipped_research_views_show_every_type_of_case_reports() -> None:
    """Every type that a view shows can be asked for, and no other."""
    for name in ("researcher-limited", "researcher-deidentified"):
        policy = load_policy(REPOSITORY / "policies" / f"{name}.toml")
        shown = {
            r.path for r in policy.elements if "." not in r.path and r.method.name != "remove"
        }
        assert shown == set(policy.access)
        assert {r.path for r in policy.elements if r.method.name == "pass"} == set(PASSED)


TYPES = ("date", "dateTime", "instant", "string", "code", "Coding", "CodeableConcept", "Quantity",
         "Age", "decimal", "integer", "Identifier", "Narrative", "HumanName", "boolean", "Period")
SIMPLE = ("year", "month", "zip5", "zip3", "zip3-padded", "state", "country", "age-band")
GENERALIZE: tuple[tuple[tuple[str, object], ...], ...] = (
    *((("to", to),) for to in SIMPLE),
    (("steps", (0, 18)), ("to", "range")),
    (("map", (("a", "b"),)),),
)


@pytest.mark.parametrize("name", METHODS)
def test_what_loads_can_be_done(name: str) -> None:
    """A method suits a type in a policy exactly if its lens can be bound to it."""
    lens = registered(name)
    if name in ("keep", "remove", "pass", "mask"):
        assert lens.kind in ("keep", "hidden")
        return
    for params in GENERALIZE if name == "generalize" else ((),):
        for code in TYPES:
            try:
                lens.bind(dict(params), code)
                bound = True
            except ValueError:
                bound = False
            assert suits(Method(name, params), code) == bound, (name, params, code)
