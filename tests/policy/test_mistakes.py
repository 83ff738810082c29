"""Every kind of mistake, planted into every shipped policy, is named with file, line and mend."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.policy.load import read_policies
from proxy.policy.mistakes import Mistake
from tests.conftest import REPOSITORY

POLICIES = REPOSITORY / "policies"
IDENTITY = "investigator"
REAL_IDS = "epidemiologist"  # makes no pseudonyms
# The public one keeps nothing, so that most of what can be planted meets no line there.
SHIPPED = sorted(p.stem for p in POLICIES.glob("*.toml") if p.stem != "public")
TOP = ""


@dataclass(frozen=True, slots=True)
class Plant:
    """Lines to write into a table (or above the first, with TOP), and the mistake that the last
    of them is."""

    name: str
    table: str
    lines: tuple[str, ...]
    what: str
    mend: str


def plant(name: str, table: str, *lines: str, what: str, mend: str) -> Plant:
    return Plant(name, table, lines, what, mend)


RR7 = "type.coding.exists(code = 'RR7')"

PLANTS = (
    plant("unknown key", TOP, 'lables = ["PSEUDED"]', what="no key lables", mend="write labels"),
    plant("unknown label", TOP, 'profiles = ["x"]', what="x is no URL", mend="canonical URL"),
    plant("unknown table", "acess", what="no table [acess]", mend="write [access]"),
    plant(
        "wrong type of value", TOP, 'profiles = "http://x.org/p"', what="text, not a list",
        mend='profiles = ["…"]',
    ),
    plant("document", TOP, 'document = "anonimized"', what="there is no document anonimized",
          mend='write document = "anonymized"'),
    plant("not TOML", TOP, "profiles = [", what="not TOML", mend="mend the line"),
    plant("unknown type in access", "access", 'Patiant = ["read"]', what="Patiant is not",
          mend="write Patient"),
    plant("unknown interaction", "access", 'Substance = ["raed"]', what="no interaction raed",
          mend="write read"),
    plant("access to a hidden type", "access", 'Substance = ["read"]',
          what="can never fire: Substance", mend='write "Substance" = "keep"'),
    plant("history", "access", 'Substance = ["history"]', what="identity views only",
          mend="take history out"),
    plant("an operation of another type", "access", 'Substance = ["$document"]',
          what="Substance has no operation $document", mend="write it for Composition"),
    plant("unknown operation", "access", 'Substance = ["$expunge"]', what="no interaction $expunge",
          mend="write one of history, include, read"),
    plant("ids of no type", "ids", 'Patiant = "real"', what="Patiant is not", mend="write Patient"),
    plant("ids as nothing", "ids", 'Patient = "pseudonim"', what="not shown as pseudonim",
          mend='write "pseudonym"'),
    plant("ids of a hidden type", "ids", 'Substance = "real"', what="can never fire",
          mend='"Substance" = "keep"'),
    plant("misspelt type", "elements", '"Patiant.gender" = "keep"', what="Patiant is not",
          mend="write Patient"),
    plant("misspelt element", "elements", '"Patient.gendre" = "keep"',
          what="Patient has no element gendre", mend="write gender"),
    plant("misspelt element below a datatype", "elements", '"Patient.name.famly" = "keep"',
          what="HumanName has no element famly", mend="write family"),
    plant("misspelt choice", "elements", '"Observation.valueQuantty" = "keep"',
          what="no element valueQuantty", mend="write valueQuantity"),
    plant("datatype as type", "elements", '"HumanName.family" = "keep"', what="is a datatype",
          mend="[datatypes]"),
    plant("abstract type", "elements", '"DomainResource.text" = "keep"', what="abstract",
          mend="each resource type"),
    plant("path without quotes", "elements", 'Patient.gender = "keep"', what="needs quotes",
          mend='write "Patient.gender"'),
    plant("another spelling", "elements", '"Observation.value" = "keep"',
          what="not the path's one spelling", mend="write Observation.value[x]"),
    plant("typed spelling", "elements", '"Observation.value.ofType(Quantity)" = "keep"',
          what="not the path's one spelling", mend="write Observation.valueQuantity"),
    plant("path twice", "elements", '"Patient.gender" = "keep"', '"Patient.gender" = "remove"',
          what="written twice, first on line", mend="keep one of the two"),
    plant("path twice in two spellings", "elements",
          "\"Endpoint.contact.where(use='old')\" = \"keep\"",
          "\"Endpoint.contact.where( use = 'old' )\" = \"keep\"",
          what="written twice, first on line", mend="keep one of the two"),
    plant("method misspelt", "elements", '"Patient.gender" = "kepe"', what="no method kepe",
          mend="write keep"),
    plant("method of a type", "elements", '"Substance" = "mask"', what="does not suit a resource",
          mend="write keep, pass or remove"),
    plant("pass of an element", "elements", '"Patient.gender" = "pass"', what="pass does not suit",
          mend="write keep"),
    plant("pass of another type", "elements", '"Substance" = "pass"', what="pass does not suit",
          mend="write keep"),
    plant("method that does not suit", "elements",
          '"FamilyMemberHistory.bornDate" = { method = "generalize", to = "zip3" }',
          what="generalize to zip3 does not suit date", mend="write keep, remove or mask"),
    plant("method of a narrative", "elements", '"Composition.section.text" = "mask"',
          what="mask does not suit Narrative", mend='write "narrative"'),
    plant("method of a Period", "elements",
          '"Encounter.period" = { method = "generalize", to = "year" }',
          what="does not suit Period", mend="Encounter.period.start and Encounter.period.end"),
    plant("method of some of a choice", "elements",
          '"Observation.effective[x]" = { method = "generalize", to = "year" }',
          what="does not suit Period", mend="write the branch Observation.effectiveDateTime"),
    plant("unknown parameter", "elements",
          '"FamilyMemberHistory.bornDate" = { method = "generalize", too = "year" }',
          what="no parameter too", mend="write to"),
    plant("unknown scale", "elements",
          '"FamilyMemberHistory.bornDate" = { method = "generalize", to = "yaer" }',
          what="no to = yaer", mend="write year"),
    plant("steps missing", "elements",
          '"Immunization.doseQuantity" = { method = "generalize", to = "range" }',
          what="needs steps", mend="steps = [0, 18, 65]"),
    plant("map missing", "elements", '"Patient.gender" = { method = "generalize", map = "no" }',
          what="map no cannot be read", mend="a TOML file"),
    plant("map without end", "elements",
          '"Patient.gender" = { method = "generalize", map = "/dev/zero" }',
          what="map /dev/zero cannot be read", mend="a TOML file"),
    plant("shift of a text", "elements", '"Patient.gender" = "shift"',
          what="shift does not suit code", mend="write keep, remove or mask"),
    plant("shift of a time", "elements",
          '"Observation.valueTime" = "shift"',
          what="shift does not suit time",
          mend="write keep, remove or mask"),
    plant("shift by nothing", "elements",
          '"FamilyMemberHistory.bornDate" = { method = "shift", range = [-9, 0] }',
          what="range contains 0", mend="write range = [-365, -1]"),
    plant("shift around nothing", "elements",
          '"FamilyMemberHistory.bornDate" = { method = "shift", range = [-9, 9] }',
          what="range contains 0", mend="write range = [-365, -1]"),
    plant("shift backwards", "elements",
          '"FamilyMemberHistory.bornDate" = { method = "shift", range = [-1, -9] }',
          what="range is reversed", mend="write range = [-365, -1]"),
    plant("shift by one number", "elements",
          '"FamilyMemberHistory.bornDate" = { method = "shift", range = [-1] }',
          what="range is not two whole numbers", mend="write range = [-365, -1]"),
    plant("shift by a fraction", "elements",
          '"FamilyMemberHistory.bornDate" = { method = "shift", range = [-1.5, -1] }',
          what="range is not two whole numbers", mend="write range = [-365, -1]"),
    plant("shift by truth", "elements",
          '"FamilyMemberHistory.bornDate" = { method = "shift", range = [-1, true] }',
          what="range is not two whole numbers", mend="write range = [-365, -1]"),
    plant("shift far away", "elements",
          '"FamilyMemberHistory.bornDate" = { method = "shift", range = [-40000, -1] }',
          what="range goes farther than 36525 days", mend="write range = [-365, -1]"),
    plant("shift by no system", "elements",
          '"FamilyMemberHistory.bornDate" = { method = "shift", by-system = "MR" }',
          what="by-system is MR", mend="write its URI"),
    plant("scrub of a code", "elements", '"Patient.gender" = "scrub"',
          what="scrub does not suit code", mend="write keep, remove or mask"),
    plant("a stand-in for part of a name", "elements", '"Patient.name.family" = "surrogate"',
          what="surrogate does not suit string", mend="write keep, remove or mask"),
    plant("a stand-in for any text", "datatypes", '"Attachment.title" = "surrogate"',
          what="surrogate does not suit string", mend="write keep, remove or mask"),
    plant("a stand-in without a text", "elements",
          '"Organization.contact.name" = { method = "surrogate", family = " " }',
          what="family is empty", mend='family = "StudySubject"'),
    plant("one mask beside a predicate", "elements",
          '"Endpoint.contact.where(use = \'work\')" = "keep"',
          '"Endpoint.contact" = { method = "mask", once = true }',
          what="cannot stand for those", mend='write "mask"'),
    plant("a label that is required", TOP, 'requires = ["PSEUDONYMED"]',
          what="PSEUDONYMED is not a label", mend="write PSEUDED"),
    plant("a narrative from nowhere", "elements",
          '"Composition.text" = { method = "narrative", from = "stored" }',
          what="no from = stored", mend='from = "shown"'),
    plant("a narrative from two sources", "elements",
          '"Composition.text" = { method = "narrative", from = "shown", text = "x" }',
          what="do not go together", mend='from = "shown" alone'),
    plant("a pseudonym from nowhere", "elements",
          '"Device.identifier" = { method = "pseudonymize", from = "stored" }',
          what="no from = stored", mend='from = "upstream"'),
    plant("below a type without line", "elements", '"Substance.status" = "keep"',
          what="can never fire: Substance has no line", mend='write "Substance" = "keep" too'),
    plant("below pass", "elements", '"Measure" = "keep"', '"ValueSet.name" = "keep"',
          what="can never fire", mend='"ValueSet" = "keep"'),
    plant("content reference", "elements", '"Composition.section.section" = "keep"',
          what="the outer path holds at every depth", mend="write Composition.section"),
    plant("an id", "elements", '"Patient.id" = "keep"', what="ids take no rule",
          mend="[ids] says how"),
    plant("a reference", "elements", '"Observation.subject.reference" = "keep"',
          what="ids take no rule", mend="[ids] says how"),
    plant("a fullUrl", "elements", '"Bundle.entry.fullUrl" = "keep"', what="ids take no rule",
          mend="[ids] says how"),
    plant("meta", "elements", '"Patient.meta" = "keep"', what="meta is made new",
          mend="Meta.lastUpdated"),
    plant("an extension by path", "elements", '"Patient.extension" = "keep"',
          what="extensions take no path", mend="[extensions]"),
    plant("into a resource inside", "elements", '"Bundle.entry.resource.name" = "keep"',
          what="starts anew at its own type", mend="under that type"),
    plant("below a primitive", "elements", '"Patient.gender.code" = "keep"',
          what="has no elements", mend="end the path there"),
    plant("below a choice", "elements", '"Observation.value[x].unit" = "keep"',
          what="is a choice of types", mend="write valueQuantity"),
    plant("a required code hidden", "elements", '"Observation.status" = "remove"',
          what="Observation.status is required", mend='write "keep"'),
    plant("a required code masked with what bears it", "elements", '"Person.link" = "keep"',
          '"Composition.relatesTo" = "mask"', what="Composition.relatesTo.code is required",
          mend='write "remove", or "Composition.relatesTo.code" = "keep" too'),
    plant("a required boolean hidden", "elements", '"Group" = "keep"',
          '"Group.actual" = "remove"', what="Group.actual is required", mend='write "keep"'),
    plant("a required integer masked with what bears it", "elements", '"Claim" = "keep"',
          '"Claim.item" = "mask"', what="Claim.item.sequence is required",
          mend='"Claim.item.sequence" = "keep" too'),
    plant("a predicate that shows less", "elements", '"Patient.telecom" = "mask"',
          "\"Patient.telecom.where(use = 'home')\" = \"remove\"",
          what="shows less than Patient.telecom without it",
          mend='write "Patient.telecom" = "remove" and '
          "\"Patient.telecom.where((use = 'home').not())\" = \"mask\""),
    plant("a predicate that is not closed", "elements",
          "\"Patient.name.where(use = 'old'\" = \"keep\"", what="does not parse to its end",
          mend="close it with )"),
    plant("a predicate that is no FHIRPath", "elements",
          "\"Patient.name.where(use = = 'old')\" = \"keep\"", what="not FHIRPath",
          mend="write FHIRPath"),
    plant("a predicate on an element misspelt", "elements",
          "\"Patient.name.where(usse = 'old')\" = \"keep\"",
          what="HumanName has no element usse", mend="write use"),
    *(
        plant(f"a predicate with {text}", "elements", f'"Patient.name.where({text})" = "keep"',
              what="is not allowed", mend="%caller as its only variable")
        for text in ("resolve().exists()", "use.memberOf('x')", "period.end < now()",
                     "period.end < today()", "%resource.exists()")
    ),
    *(
        plant(f"a predicate with the pattern {text}", "elements",
              f"\"Patient.name.where(family.matches({text}))\" = \"keep\"",
              what=what, mend="write a plain text pattern")
        for text, what in (
            ("'(a+)+$'", "repeats what itself repeats"), ("'(a|aa)+$'", "has alternatives"),
            ("'(a?){40}'", "repeats what itself repeats"), ("'a*b*c*d*e*'", "too many repeats"),
            ("'(a)1(?=b)'", "looks around or back"), ("'(?P<x>a)(?P=x)'", "looks around or back"),
            ("'(a'", "is no regular expression"), ("text", "not written as a text"),
        )
    ),
    plant("a pattern that replaces", "elements",
          "\"Patient.name.where(family.replaceMatches('(a+)+$', 'b') = 'b')\" = \"keep\"",
          what="repeats what itself repeats", mend="write a plain text pattern"),
    plant("a pattern of rows", "rows", "Patient = { where = \"name.family.matches('(a+)+$')\" }",
          what="repeats what itself repeats", mend="write a plain text pattern"),
    plant("a predicate on all claims", "elements",
          '"Patient.name.where(%caller.exists())" = "keep"', what="no one claim",
          mend="a claim's name"),
    plant("a predicate on a section that shows less", "elements",
          '"Composition.section.where(code.exists())" = "mask"',
          what="shows less than Composition.section without it",
          mend='"Composition.section.where((code.exists()).not())" = "keep"'),
    plant("a predicate on a whole type", "elements",
          f'"Organization.where({RR7})" = "keep"', what="for rows", mend="[rows.Organization]"),
    plant("another function in a path", "elements", '"Patient.name.first()" = "keep"',
          what="first() is not a step", mend="where(…) alone"),
    plant("misspelt datatype", "datatypes", '"Adress.line" = "keep"', what="Adress is not",
          mend="write Address"),
    plant("misspelt member", "datatypes", '"Address.lin" = "keep"', what="no member lin",
          mend="write Address.line"),
    plant("a datatype that never identifies", "datatypes", '"CodeableConcept" = "keep"',
          what="can never fire", mend="CodeableConcept.text"),
    plant("a primitive that never identifies", "datatypes", '"code" = "keep"',
          what="can never fire", mend="take the line out"),
    plant("a member that never identifies", "datatypes", '"Period.id" = "keep"',
          what="can never fire", mend="take the line out"),
    plant("a type derived from Quantity", "datatypes", '"Age.unit" = "keep"',
          what="takes the lines of Quantity", mend="write Quantity.unit"),
    plant("a type under datatypes", "datatypes", '"Patient.name" = "keep"',
          what="is a resource type", mend="[elements]"),
    plant("a logical reference by type", "datatypes", '"Reference.identifier" = "keep"',
          what="only by a path", mend="[elements]"),
    plant("a datatype's method", "datatypes", '"Attachment" = "pseudonymize"',
          what="pseudonymize does not suit Attachment", mend="write keep, remove or mask"),
    plant("a table without method", "datatypes", '"HumanName.text" = { to = "year" }',
          what="names no method", mend="write a method"),
    plant("an extension by name", "extensions", '"us-core-sex" = "keep"', what="no absolute URL",
          mend="canonical URL"),
    plant("an extension's method", "extensions", '"http://x.org/e" = "mask"',
          what="not shown as mask", mend="{ keep = "),
    plant("an extension's value", "extensions", '"http://x.org/e" = { keep = ["valueString"] }',
          what="valueString is no part", mend="write value[x]"),
    plant("an extension that no base lists", "extensions", '"http://x.org/e" = "remove"',
          what="can never fire", mend="take the line out"),
    plant("a system", "codes", 'system = ["http://loinc.org"]', what="no key system",
          mend="write systems"),
    plant("rows of no type", "rows", 'Patiant = { where = "true" }', what="Patiant is not",
          mend="write Patient"),
    plant("rows of a hidden type", "rows", 'Substance = { where = "true" }',
          what="can never fire: Substance", mend='write "Substance" = "keep"'),
    plant("rows that say nothing", "rows", "Location = {}", what="says nothing",
          mend='write search = "…"'),
    plant("rows that are no table", "rows", 'Bundle = "type=document"', what="text, not a table",
          mend='write search = "…"'),
    *(
        plant(f"rows: {name}", "rows", f"Patient = {{ {line} }}", what=what, mend=mend)
        for name, line, what, mend in (
            ("a key misspelt", 'serch = "active=true"', "no key serch", "write search"),
            ("a list", 'search = ["active=true"]', "list, not text", 'write search = "…"'),
            ("nothing in it", 'where = " "', "where is empty", "take it out"),
            ("no query", 'search = "active"', "cannot be read", "as in a URL"),
            ("an escape cut short", 'search = "active=%4"', "cannot be read", "as in a URL"),
            ("no parameter", 'search = "gendre=male"', "no search parameter gendre",
             "write gender"),
            ("a chain", 'search = "general-practitioner.name=x"', "reads other resources",
             "of the row itself"),
            ("_has", 'search = "_has:Observation:patient:code=x"', "reads other resources",
             "of the row itself"),
            ("_include", 'search = "_include=Patient:link"', "about the answer", "take it out"),
            ("_sort", 'search = "_sort=birthdate"', "about the answer", "take it out"),
            ("_count", 'search = "_count=1"', "about the answer", "take it out"),
            ("_summary", 'search = "_summary=true"', "about the answer", "take it out"),
            ("a reference", 'search = "organization=Organization/1"', "it cannot be judged here",
             "where = …"),
            ("full text", 'search = "_text=x"', "_text cannot be judged here", "where = …"),
            ("a modifier", 'search = "name:phonetic=x"', "name:phonetic cannot be judged here",
             "where = …"),
            ("a prefix", 'search = "birthdate=ap2019-01-01"', "cannot be judged here",
             "where = …"),
            ("no date", 'search = "birthdate=yesterday"', "birthdate is malformed",
             "mend the value"),
            ("a backslash", 'search = "name=a\\\\b"', "name is malformed", "mend the value"),
            ("an alternative missing", 'search = "gender=male,"', "gender is malformed",
             "mend the value"),
            ("a text of nothing", 'search = "name=-"', "matches everything", "mend the value"),
            ("part of a value as claim", 'search = "address-state=M{state}"', "is no claim",
             "{jurisdictions}"),
            ("a claim of no name", 'search = "address-state={}"', "is no claim",
             "{jurisdictions}"),
            ("a claim that would bring a prefix", 'search = "birthdate={born}"',
             "a claim cannot stand in birthdate", "where = …"),
            ("a claim as presence", 'search = "name:missing={named}"',
             "a claim cannot stand in name:missing", "write the values"),
            ("no FHIRPath", 'where = "active = = true"', "where is not allowed",
             "write FHIRPath"),
            ("FHIRPath not closed", 'where = "name.where(use=\'x\'"', "where is not allowed",
             "write FHIRPath"),
            ("an element misspelt", 'where = "gendr = \'male\'"', "Patient has no element gendr",
             "write gender"),
            *((f"where with {text}", f'where = "{text}"', "is not allowed",
               "%caller as its only variable")
              for text in ("managingOrganization.resolve().exists()",
                           "maritalStatus.memberOf('x')", "birthDate < now()",
                           "birthDate < today()", "%resource.exists()")),
            ("all claims at once", 'where = "%caller.exists()"', "no one claim", "a claim's name"),
        )
    ),
    plant("unknown search key", "search", "page-sise = 10", what="no key page-sise",
          mend="write page-size"),
    plant("an include that is no parameter", "search", 'include = ["Observation:subjct"]',
          what="no search parameter subjct", mend="write subject"),
    plant("a chain of an unknown type", "search", 'chain = ["Observaton:subject"]',
          what="Observaton is not an R4 resource type", mend="write Observation"),
    plant("a chain to an unknown type", "search", 'chain = ["Observation:subject:Patent"]',
          what="Patent is not an R4 resource type", mend="write Patient"),
    plant("an include to a type that the reference has not", "search",
          'include = ["Patient:organization:Patient"]', what="has no target Patient",
          mend="write Organization"),
    plant("a chain that is text", "search", 'chain = "Observation:subject"',
          what="not a list", mend="write chain"),
)
# What an identity view may have: in it, all others are mistakes for having their table at all.
OF_IDENTITY = frozenset({TOP, "acess", "access", "search"})
# History is what identity views are for; types need no line in them.
NOT_WRONG_THERE = frozenset({"access to a hidden type", "history"})


def write_into(text: str, row: Plant) -> tuple[str, int]:
    """The policy's text with the plant, and the line of the mistake."""
    lines = text.split("\n")
    if row.table == TOP:
        _take_out(lines, 0, row.lines[-1].partition(" ")[0])
        at = next(i for i, line in enumerate(lines) if line.startswith("title")) + 1
    elif f"[{row.table}]" in lines:
        at = lines.index(f"[{row.table}]") + 1
    else:
        lines.append(f"[{row.table}]")
        at = len(lines)
    for line in row.lines if row.table in ("search", "elements", TOP) else ():
        key = line.partition(" = ")[0]
        if row.table == TOP and key in lines[at - 1]:
            continue
        _take_out(lines, at, key)
    lines[at:at] = row.lines
    header = row.table == "acess"  # the table itself is the mistake
    return "\n".join(lines), at if header else at + len(row.lines)


def _take_out(lines: list[str], at: int, key: str) -> None:
    """Take a key's line, or the lines of its list, out of the table whose lines begin at ``at``."""
    end = next((i for i in range(at, len(lines)) if lines[i].startswith("[")), len(lines))
    here = [i for i in range(at, end) if lines[i].partition(" = ")[0].rstrip() == key]
    for first in here:
        whole = not lines[first].endswith("[")
        last = first if whole else next(i for i in range(first, end) if lines[i] == "]")
        del lines[first : last + 1]


FOLLOWED = """
title   = "Paths"
basis   = "test"
extends = "case-report"

[access]
Observation  = ["read", "search"]
Patient      = ["read", "search"]
Organization = ["read"]
Device       = ["include"]

[search]
"""
NOWHERE = [
    ('include = ["Flag:patient"]', "Flag is not shown", "take it out"),
    ('chain = ["Flag:patient"]', "Flag is not shown", "take it out"),
    ('include = ["Patient:organization"]', "at its end has include under [access]", '"include"'),
    ('chain = ["Patient:organization"]', "at its end has search under [access]", '"search"'),
    ('include = ["Observation:subject:Patient"]', "at its end has include under [access]", ""),
    ('include = ["Observation:subject"]', "", ""), ('chain = ["Observation:subject"]', "", ""),
    ('include = ["Observation:subject:Device"]', "", ""),
]


@pytest.mark.parametrize(("line", "what", "mend"), NOWHERE, ids=[n[0] for n in NOWHERE])
def test_paths_lead_somewhere(line: str, what: str, mend: str, tmp_path: Path) -> None:
    """A reference that may be followed must start at a type that shows, and lead to one that
    [access] lets come along, or lets be searched."""
    shutil.copy(POLICIES / "case-report.toml", tmp_path)
    file = tmp_path / "paths.toml"
    file.write_text(FOLLOWED + line)
    mistakes = read_policies([file]).mistakes
    assert len(mistakes) == (what != "")
    for mistake in mistakes:
        assert mistake.line == len(FOLLOWED.split("\n"))
        assert what in mistake.what
        assert mend in mistake.mend


def planted(folder: Path, policy: str, row: Plant) -> tuple[list[Mistake], Path, int]:
    """The mistakes of a shipped policy with the plant, its file, and the line planted."""
    shutil.copytree(POLICIES, folder, dirs_exist_ok=True)
    file = folder / f"{policy}.toml"
    text, line = write_into(file.read_text(encoding="utf-8"), row)
    file.write_text(text, encoding="utf-8")
    return list(read_policies([file]).mistakes), file, line


@pytest.mark.parametrize("row", PLANTS, ids=lambda row: row.name)
@pytest.mark.parametrize("policy", SHIPPED)
def test_mistake_is_named(policy: str, row: Plant, tmp_path: Path) -> None:
    """The planted mistake is found with file, line and mend; no other line is blamed."""
    mistakes, file, line = planted(tmp_path, policy, row)
    if policy == IDENTITY and row.name in NOT_WRONG_THERE:
        assert mistakes == []
        return
    if policy == IDENTITY and row.table not in OF_IDENTITY:
        assert any(f"an identity view has no [{row.table}]" in m.what for m in mistakes)
        assert {m.line for m in mistakes} <= {line, line - len(row.lines)}
        return
    found = [m for m in mistakes if row.what in m.what]
    assert [(m.file, m.line) for m in found] == [(str(file), line)], [str(m) for m in mistakes]
    assert row.mend in found[0].mend
    if policy != IDENTITY and row.name != "not TOML":
        assert {(m.file, m.line) for m in mistakes} == {(str(file), line)}


@pytest.mark.parametrize("policy", ["researcher-limited", "researcher-deidentified"])
def test_everything_is_for_identity_views(policy: str, tmp_path: Path) -> None:
    """$everything in another view does not load: what the upstream collects cannot be judged."""
    shutil.copytree(POLICIES, tmp_path, dirs_exist_ok=True)
    file = tmp_path / f"{policy}.toml"
    lines = file.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("Patient "))
    lines[at] = 'Patient = ["read", "search", "$everything"]'
    file.write_text("\n".join(lines))
    (mistake,) = read_policies([file]).mistakes
    assert (mistake.file, mistake.line) == (str(file), at + 1)
    assert "identity views only" in mistake.what
    assert "$document for Composition" in mistake.mend


@pytest.mark.parametrize("policy", [p for p in SHIPPED if p != IDENTITY])
def test_ids_must_be_said(policy: str, tmp_path: Path) -> None:
    """A view that makes pseudonyms without a default for ids does not load."""
    shutil.copytree(POLICIES, tmp_path, dirs_exist_ok=True)
    for file in tmp_path.glob("*.toml"):
        lines = file.read_text(encoding="utf-8").split("\n")
        file.write_text("\n".join(x for x in lines if not x.startswith("default ")), "utf-8")
    (mistake,) = read_policies([tmp_path / f"{policy}.toml"]).mistakes
    if policy == REAL_IDS:
        assert mistake.what == "the view does not say how ids are shown"
        return
    text = Path(mistake.file).read_text("utf-8").split("\n")
    assert "pseudonymize" in text[mistake.line - 1]
    assert "without saying for which ids" in mistake.what
    assert mistake.mend.startswith('write [ids] with default = "pseudonym"')


@pytest.mark.parametrize(
    ("line", "restated"),
    [
        ('"HumanName" = "remove"', "HumanName.use"),
        ('"string" = "remove"', "Quantity.unit"),
        ('"oid" = "mask"', "eicr-trigger-code-flag-extension"),
    ],
    ids=["a datatype over a member", "a member's type", "a value that an extension opens"],
)
@pytest.mark.parametrize("policy", [p for p in SHIPPED if p != IDENTITY])
def test_base_lines_must_be_restated(
    policy: str, line: str, restated: str, tmp_path: Path
) -> None:
    """A child's line that would show less than its base's does not load until it is restated."""
    shutil.copytree(POLICIES, tmp_path, dirs_exist_ok=True)
    child = tmp_path / "child.toml"
    child.write_text(f'extends = "{policy}"\n[datatypes]\n{line}\n', "utf-8")
    mistakes = read_policies([child]).mistakes
    assert {(m.file, m.line) for m in mistakes} == {(str(child), 3)}
    assert any(restated in m.what and m.mend.startswith("write ") for m in mistakes)


@pytest.mark.parametrize("policy", SHIPPED)
def test_circle_is_named(policy: str, tmp_path: Path) -> None:
    """A policy that extends itself by way of another is named, whichever file is read."""
    shutil.copytree(POLICIES, tmp_path, dirs_exist_ok=True)
    (tmp_path / "other.toml").write_text(f'extends = "{policy}"\n', "utf-8")
    file = tmp_path / f"{policy}.toml"
    text = file.read_text("utf-8")
    lines = [x for x in text.split("\n") if not x.startswith("extends")]
    at = next(i for i, x in enumerate(lines) if x.startswith("title")) + 1
    lines.insert(at, 'extends = "other"')
    file.write_text("\n".join(lines), "utf-8")
    mistakes = read_policies([file]).mistakes
    assert (str(tmp_path / "other.toml"), 1) in {(m.file, m.line) for m in mistakes}
    circle = next(m for m in mistakes if "circle" in m.what)
    assert f"{policy} extends other extends {policy}" in circle.what


@pytest.mark.parametrize("policy", SHIPPED)
def test_missing_base_is_named(policy: str, tmp_path: Path) -> None:
    """A base that is not there is named with the nearest one that is."""
    shutil.copytree(POLICIES, tmp_path, dirs_exist_ok=True)
    child = tmp_path / "child.toml"
    child.write_text(f'# a child\nextends = "{policy}s"\n', "utf-8")
    (mistake,) = read_policies([child]).mistakes
    assert (mistake.line, mistake.mend) == (2, f"write {policy}")


@pytest.mark.parametrize("policy", SHIPPED)
def test_label_of_another_kind(policy: str, tmp_path: Path) -> None:
    """Only labels that say how a resource was altered are known; the line in a list is found."""
    shutil.copytree(POLICIES, tmp_path, dirs_exist_ok=True)
    file = tmp_path / f"{policy}.toml"
    lines = [x for x in file.read_text("utf-8").split("\n") if not x.startswith("labels")]
    at = next(i for i, x in enumerate(lines) if x.startswith("title")) + 1
    lines[at:at] = ["labels = [", '  "PSEUDED",', '  "PSUEDED",', "]"]
    file.write_text("\n".join(lines), "utf-8")
    found = [m for m in read_policies([file]).mistakes if "PSUEDED" in m.what]
    assert [(m.line, m.mend) for m in found] == [(at + 3, "write PSEUDED")]


@pytest.mark.parametrize("policy", SHIPPED)
@pytest.mark.parametrize(
    ("value", "what", "mend"),
    [
        ("{ youngest = 3 }", "no key youngest", "write oldest"),
        ('{ oldest = "89" }', "oldest is text", "write a number"),
        ("{ oldest = 0 }", "oldest is 0", "write a number"),
        ("89", "ages is not a table", "write [ages]"),
    ],
)
def test_ages(policy: str, value: str, what: str, mend: str, tmp_path: Path) -> None:
    """``ages`` has one key, a number of years."""
    shutil.copytree(POLICIES, tmp_path, dirs_exist_ok=True)
    file = tmp_path / f"{policy}.toml"
    lines = [x for x in file.read_text("utf-8").split("\n") if not x.startswith("ages")]
    at = next(i for i, x in enumerate(lines) if x.startswith("title")) + 1
    lines.insert(at, f"ages = {value}")
    file.write_text("\n".join(lines), "utf-8")
    found = [m for m in read_policies([file]).mistakes if what in m.what]
    assert [m.line for m in found] == [at + 1]
    assert mend in found[0].mend


def test_ages_where_birth_dates_move_on(tmp_path: Path) -> None:
    """A birth date that shows later than it was, and goes at 90, would tell its day."""
    shutil.copytree(POLICIES, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "researcher-shifted.toml"
    text = file.read_text("utf-8")
    assert not read_policies([file]).mistakes
    file.write_text(text.replace("range = [-365, -1]", "range = [1, 365]"), "utf-8")
    (found,) = read_policies([file]).mistakes
    assert (found.mend, found.what[:9]) == (
        "write a range in the past, as range = [-365, -1]", "with ages"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ids", "wrong"),
    [
        ('default = "pseudonym"', True),
        ('default = "real"', False),
        ('default = "pseudonym"\nPatient = "real"', False),
        ('default = "real"\nPatient = "pseudonym"', True),
    ],
)
def test_versions_are_for_real_ids(ids: str, wrong: bool, tmp_path: Path) -> None:
    """R-HV-2, R-HV-3: vread may be listed where ids are real; under pseudonyms it is a mistake."""
    file = tmp_path / "p.toml"
    file.write_text(
        f'[access]\nPatient = ["read", "vread"]\n[ids]\n{ids}\n[elements]\n"Patient" = "keep"\n'
    )
    found = [(m.line, m.mend) for m in read_policies([file]).mistakes]
    assert found == ([(2, "take vread out")] if wrong else [])
