"""What a base shows and a line of the child would show less of, the child writes itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.policy.load import read_policies

BASE = """
[ids]
default = "real"
[codes]
systems = ["http://loinc.org"]
"""
KINDS = '"Patient" = "keep"\n"Organization" = "keep"\n"Composition" = "keep"\n"Bundle" = "keep"\n'
YEAR = '{ method = "generalize", to = "year" }'
MONTH = '{ method = "generalize", to = "month" }'
ECR = "http://hl7.org/fhir/us/ecr/StructureDefinition/"
REASON = f'"{ECR}us-ph-determination-of-reportability-reason-extension"'

# Table and line of the base, table and line of the child, key to restate (or "").
ROWS = [
    ("elements", '"Patient.birthDate" = "keep"', "datatypes", f'"date" = {YEAR}',
     "Patient.birthDate"),
    ("elements", f'"Patient.birthDate" = {MONTH}', "datatypes", f'"date" = {YEAR}',
     "Patient.birthDate"),
    ("elements", f'"Patient.birthDate" = {YEAR}', "datatypes", f'"date" = {MONTH}', ""),
    ("elements", f'"Patient.birthDate" = {YEAR}', "datatypes", '"date" = "keep"', ""),
    ("elements", '"Patient.birthDate" = "remove"', "datatypes", '"date" = "remove"', ""),
    ("elements", '"Patient.name" = "keep"', "datatypes", '"HumanName" = "mask"', "Patient.name"),
    ("elements", '"Patient.name" = "keep"', "datatypes", '"string" = "remove"', "Patient.name"),
    ("elements", '"Patient.name.family" = "keep"', "datatypes", '"HumanName.family" = "remove"',
     "Patient.name.family"),
    # A member's line and those of dates hold inside by themselves where they show less.
    ("elements", '"Patient.name" = "keep"', "datatypes", '"HumanName.family" = "remove"', ""),
    ("elements", '"Patient.identifier" = "keep"', "datatypes", f'"dateTime" = {YEAR}', ""),
    # On what does not identify a path says nothing of the values inside.
    ("elements", '"Patient.contact" = "keep"', "datatypes", '"string" = "remove"', ""),
    ("elements", '"Composition.identifier" = "keep"', "datatypes",
     '"Identifier.document" = "remove"', "Composition.identifier"),
    ("elements", '"Patient.contact.gender" = "keep"', "elements", '"Patient.contact" = "remove"',
     "Patient.contact.gender"),
    ("elements", '"Patient.contact.gender" = "mask"', "elements", '"Patient.contact" = "remove"',
     "Patient.contact.gender"),
    ("elements", '"Patient.contact.gender" = "remove"', "elements", '"Patient.contact" = "mask"',
     ""),
    ("elements", '"Patient.deceasedDateTime" = "keep"', "elements",
     '"Patient.deceased[x]" = "remove"', "Patient.deceasedDateTime"),
    ("elements", '"Patient.deceased[x]" = "keep"', "elements",
     '"Patient.deceasedDateTime" = "remove"', ""),
    ("elements", '"Organization.where(active).name" = "keep"', "elements",
     '"Organization.name" = "remove"', "Organization.where(active).name"),
    ("elements", '"Organization.where(active).name" = "keep"', "datatypes",
     '"string" = "remove"', "Organization.where(active).name"),
    # A type that the child removes takes the base's lines below it away.
    ("elements", '"Organization.where(active).name" = "keep"', "elements",
     '"Organization" = "remove"', ""),
    ("datatypes", '"Address.state" = "keep"', "datatypes", '"Address" = "remove"',
     "Address.state"),
    ("datatypes", '"Address.state" = "keep"', "datatypes", '"string" = "remove"',
     "Address.state"),
    ("datatypes", '"Address" = "keep"', "datatypes", '"Address.state" = "remove"', ""),
    ("datatypes", '"Identifier.document" = "pseudonymize"', "datatypes",
     '"Identifier" = "remove"', "Identifier.document"),
    ("datatypes", '"Identifier.document" = "pseudonymize"', "datatypes",
     '"Identifier" = "keep"', ""),
    ("extensions", f'{REASON} = {{ keep = ["value[x]"] }}', "datatypes", '"string" = "remove"',
     REASON.strip('"')),
    ("extensions", f'{REASON} = {{ keep = ["value[x]"] }}', "datatypes", f'"date" = {YEAR}', ""),
    ("extensions", f'{REASON} = "keep"', "datatypes", '"string" = "remove"', ""),
    ("extensions", '"http://x.org/unknown" = { keep = ["value[x]"] }', "datatypes",
     f'"date" = {YEAR}', "http://x.org/unknown"),
    ("extensions", '"http://x.org/unknown" = { keep = ["part"] }', "datatypes",
     f'"date" = {YEAR}', ""),
]


def policy(table: str, *lines: str) -> str:
    text = "\n".join(lines) + "\n"
    return f"[elements]\n{KINDS}" + (text if table == "elements" else f"[{table}]\n{text}")


@pytest.mark.parametrize(
    ("table", "line", "child_table", "child_line", "key"), ROWS, ids=range(len(ROWS))
)
def test_restating(
    table: str, line: str, child_table: str, child_line: str, key: str, tmp_path: Path
) -> None:
    """The child's line is named with the base's key and line; with that key written in the child
    too, as the message says or hidden, the policy loads."""
    base, child = tmp_path / "base.toml", tmp_path / "child.toml"
    base.write_text(BASE + policy(table, line), "utf-8")
    head = f'extends = "base"\n[{child_table}]\n{child_line}\n'
    child.write_text(head, "utf-8")
    loaded = read_policies([child])
    if not key:
        assert [str(m) for m in loaded.mistakes] == []
        return
    (mistake,) = loaded.mistakes
    number = base.read_text("utf-8").split("\n").index(line) + 1
    assert (mistake.file, mistake.line) == (str(child), 3)
    assert f"the base's {key} shows ({base}:{number})" in mistake.what
    assert mistake.mend == f"write {line} here, or less of it"
    for restated in (line, line.split('" = ')[0] + '" = "remove"'):
        same = table == child_table
        child.write_text(head + (restated if same else f"[{table}]\n{restated}"), "utf-8")
        again = read_policies([child])
        assert [str(m) for m in again.mistakes] == []
        assert "child" in again.policies


def test_over_two_generations(tmp_path: Path) -> None:
    """A grandchild must restate what its grandparent shows, though the parent says nothing."""
    (tmp_path / "a.toml").write_text(BASE + policy("datatypes", '"Address.state" = "keep"'))
    (tmp_path / "b.toml").write_text('extends = "a"\n')
    (tmp_path / "c.toml").write_text('extends = "b"\n[datatypes]\n"Address" = "remove"\n')
    (mistake,) = read_policies([tmp_path / "c.toml"]).mistakes
    assert mistake.line == 3
    assert "Address.state" in mistake.what


def test_identity_views_stand_alone(tmp_path: Path) -> None:
    """Neither does an identity view extend, nor is one extended."""
    (tmp_path / "a.toml").write_text('view = "identity"\n')
    (tmp_path / "b.toml").write_text('extends = "a"\n')
    (tmp_path / "c.toml").write_text('view = "identity"\nextends = "d"\n')
    (tmp_path / "d.toml").write_text(BASE)
    for name, line in (("b", 1), ("c", 2)):
        found = [m for m in read_policies([tmp_path / f"{name}.toml"]).mistakes if m.line == line]
        assert any("an identity view neither extends nor is extended" in m.what for m in found)
