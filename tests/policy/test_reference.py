"""The steward's reference says what the loader does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from proxy.policy.datatypes import IDENTIFYING
from proxy.policy.load import read_policies
from proxy.policy.methods import METHODS, SCALES
from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / "docs" / "policies.md").read_text("utf-8")


def test_the_example_loads(tmp_path: Path) -> None:
    """The file shown at the beginning is a policy without mistake or warning."""
    shutil.copytree(REPOSITORY / "policies", tmp_path, dirs_exist_ok=True)
    first = re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert first is not None
    (tmp_path / "example.toml").write_text(first[1], "utf-8")
    loaded = read_policies([tmp_path / "example.toml"])
    assert (loaded.mistakes, loaded.warnings) == ((), ())


def test_every_method_and_scale_is_described() -> None:
    """The table of methods is complete."""
    table, _, _ = TEXT.partition("## What is not there yet")
    for name in METHODS:
        assert f"`{name}`" in table, name
    for to in SCALES:
        assert f"`{to}`" in table, to


def test_every_identifying_type_is_named() -> None:
    """The list of values that need a line is complete."""
    for name in IDENTIFYING - {"Coding"}:
        assert f"`{name}`" in TEXT, name


def test_every_shipped_policy_is_listed() -> None:
    """The reference lists exactly the policies that are shipped."""
    section = TEXT.partition("## The shipped policies")[2]
    rows = set(re.findall(r"^\| `([a-z0-9-]+)` \|", section, re.MULTILINE))
    assert rows == {p.stem for p in (REPOSITORY / "policies").glob("*.toml")}
