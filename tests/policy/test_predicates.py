"""A predicate that shows less is refused, and the form that the message prints loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.policy.load import read_policies

HEAD = """
[ids]
default = "real"
[codes]
systems = ["http://loinc.org"]
[elements]
"Patient" = "keep"
"Observation" = "keep"
"""
TYPES = """
[datatypes]
"string" = { method = "generalize", to = "country" }
"date" = { method = "generalize", to = "month" }
"Address.state" = "keep"
"""
LESS = [
    ('"Patient.contact.where(gender = \'male\')" = "remove"', ""),
    ('"Patient.address.where(use = \'old\')" = "mask"', ""),
    ('"Patient.gender.where($this = \'other\')" = "mask"', ""),
    ('"Observation.component.where(code.exists()).value[x]" = "remove"', ""),
    ('"Observation.component.where(code.exists()).code.where(text.exists())" = "mask"', ""),
    (
        '"Patient.birthDate.where($this < \'1930\')" = { method = "generalize", to = "year" }',
        "",
    ),
    ('"Patient.name.where(use = \'old\')" = "mask"', '"Patient.name" = "keep"'),
    ('"Observation.valueString.where(true)" = "remove"', '"Observation.valueString" = "mask"'),
    (
        '"Observation.valueQuantity.where(true)" = { method = "generalize", to = "age-band" }',
        '"Observation.value[x]" = "keep"',
    ),
]
MORE = [
    ('"Patient.name.where(use = \'usual\')" = "keep"', '"Patient.name" = "mask"'),
    ('"Patient.name.where(use = \'usual\')" = "mask"', ""),
    ('"Patient.birthDate.where(true)" = "keep"', ""),
    ('"Patient.birthDate.where(true)" = "keep"', '"Patient.birthDate" = "remove"'),
    ('"Patient.contact.where(true).name" = "mask"', '"Patient.contact" = "remove"'),
    (
        '"Patient.birthDate.where(true)" = { method = "generalize", to = "month" }',
        '"Patient.birthDate" = { method = "generalize", to = "year" }',
    ),
]


def mistakes(folder: Path, *lines: str) -> list[tuple[int, str, str]]:
    file = folder / "p.toml"
    file.write_text(HEAD + "\n".join(lines) + TYPES, "utf-8")
    return [(m.line, m.what, m.mend) for m in read_policies([file]).mistakes]


@pytest.mark.parametrize(("line", "without"), LESS, ids=range(len(LESS)))
def test_shows_less(line: str, without: str, tmp_path: Path) -> None:
    """The mistake is at the predicate's line; written as the message says, the policy loads."""
    ((number, what, mend),) = mistakes(tmp_path, line, without)
    assert number == HEAD.count("\n") + 1
    assert "the predicate shows less than" in what
    assert mend.startswith("write ")
    turned = re.split(r' and (?=")', mend.removeprefix("write "))
    assert len(turned) >= 2
    rest = [] if without.split(" = ")[0] == turned[0].split(" = ")[0] else [without]
    assert mistakes(tmp_path, *turned, *rest) == []


@pytest.mark.parametrize(("line", "without"), MORE, ids=range(len(MORE)))
def test_shows_more(line: str, without: str, tmp_path: Path) -> None:
    """A predicate that shows as much or more than its path without it loads."""
    assert mistakes(tmp_path, line, without) == []
