"""Sections of a Composition: shown by predicate, masked at any depth, and what goes with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from proxy.lenses.narrative import masked_narrative
from proxy.policy.compile import View, compile_view
from proxy.policy.load import load_directory
from tests.views import UPSTREAM, Case

RESULTS, PROBLEMS = "30954-2", "11450-4"
CHOSEN = f"code.coding.exists(code = '{RESULTS}')"
POLICY = """
title = "t"
basis = "b"
[access]
Bundle = ["read"]
Composition = ["read"]
[ids]
default = "pseudonym"
[elements]
Bundle = "keep"
Composition = "keep"
Patient = "keep"
Observation = "keep"
Provenance = "keep"
{lines}
[datatypes]
Narrative = "narrative"
"""
MASKED = f'"Composition.section" = "mask"\n"Composition.section.where({CHOSEN})" = "keep"\n'
WITHHELD = {
    "extension": [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
            "valueCode": "masked",
        }
    ],
    "text": masked_narrative(),
    "emptyReason": {
        "coding": [
            {
                "system": "http://terminology.hl7.org/CodeSystem/list-empty-reason",
                "code": "withheld",
            }
        ]
    },
}


def section(code: str, *ids: str, inside: Iterable[Any] = ()) -> dict[str, Any]:
    """A section with entries, and sections inside it."""
    made: dict[str, Any] = {
        "title": f"Title {code}",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "text": {"status": "generated", "div": "<div>Eve</div>"},
    }
    if ids:
        made["entry"] = [{"reference": f"Observation/{id}"} for id in ids]
    if nested := list(inside):
        made["section"] = nested
    return made


def observation(id: str, *to: str) -> dict[str, Any]:
    """An Observation about the patient, derived from others."""
    made: dict[str, Any] = {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "94500-6"}]},
        "subject": {"reference": "Patient/p"},
    }
    if to:
        made["derivedFrom"] = [{"reference": f"Observation/{other}"} for other in to]
    return made


def document(sections: list[Any], *resources: dict[str, Any], **members: Any) -> dict[str, Any]:
    composition: dict[str, Any] = {
        "resourceType": "Composition",
        "id": "c",
        "status": "final",
        "type": {"coding": [{"system": "http://loinc.org", "code": "55751-2"}]},
        "subject": {"reference": "Patient/p"},
        "date": "2026",
        "author": [{"reference": "Patient/p"}],
        "title": "Report",
        "section": sections,
    }
    held = [composition, {"resourceType": "Patient", "id": "p"}, *resources]
    entry = [{"fullUrl": f"{UPSTREAM}/{r['resourceType']}/{r['id']}", "resource": r} for r in held]
    return {"resourceType": "Bundle", "id": "b", "type": "document", "entry": entry, **members}


@pytest.fixture
def see(tmp_path: Path) -> Any:
    """Shows a resource by a policy with the lines given."""

    def show(lines: str, resource: Any) -> Any:
        (tmp_path / "trial.toml").write_text(POLICY.replace("{lines}", lines))
        view = compile_view(load_directory(tmp_path)["trial"])
        return view.reveal(resource, scope_of(view))

    return show


def scope_of(view: View) -> Any:
    scope = Case("researcher-limited").scope()
    scope.shows, scope.pseudonym = view.shows, view.pseudonym
    return scope


def sections_of(shown: Any) -> Any:
    return shown["entry"][0]["resource"].get("section")


def held(shown: Any) -> list[str]:
    """The types and coded names of what a shown document holds."""
    namer = Case("researcher-limited").scope().namer
    known = {namer.show_id("Observation", n): n for n in "rxyz"}
    known |= {namer.show_id("Provenance", n): n for n in "v"}
    return [known.get(e["resource"]["id"], e["resource"]["resourceType"]) for e in shown["entry"]]


ENTRY_OF = '"Composition.section.entry" = "keep"\n'
ROWS: dict[str, tuple[str, list[Any], list[str]]] = {
    # what: lines, sections, which Observations stay (of r x y z)
    "chosen": (MASKED, [section(RESULTS, "r"), section(PROBLEMS, "x")], ["r"]),
    "none chosen": (MASKED, [section(PROBLEMS, "r", "x")], []),
    "nested, hidden in shown": (
        MASKED,
        [section(RESULTS, "r", inside=[section(PROBLEMS, "x")])],
        ["r"],
    ),
    "nested, chosen in hidden": (
        MASKED,
        [section(PROBLEMS, "x", inside=[section(RESULTS, "r")])],
        [],
    ),
    "nested twice": (
        MASKED,
        [section(RESULTS, inside=[section(RESULTS, "r", inside=[section(PROBLEMS, "x")])])],
        ["r"],
    ),
    "dropped": (
        MASKED.replace('"mask"', '"remove"'),
        [section(RESULTS, "r"), section(PROBLEMS, "x")],
        ["r"],
    ),
    "in both": (MASKED, [section(RESULTS, "r"), section(PROBLEMS, "r", "x")], ["r"]),
    "entries opened": (MASKED + ENTRY_OF, [section(PROBLEMS, "r", "x")], ["r", "x"]),
}


@pytest.mark.parametrize("name", ROWS)
def test_only_what_shown_sections_reach_stays(name: str, see: Any) -> None:
    """Entries that the Composition reaches by hidden sections alone leave the document, at any
    depth; what refers to them stays, without the reference."""
    lines, sections, stays = ROWS[name]
    referring = observation("z", "x")
    sections = [*sections, section(RESULTS, "z")]
    shown = see(lines, document(sections, *map(observation, "rx"), referring))
    expected = [id for id in "rx" if id in stays]
    assert held(shown) == ["Composition", "Patient", *expected, "z"] or "x" not in stays
    assert ("x" in held(shown)) == ("x" in stays or "derivedFrom" in str(shown))


def test_a_hidden_section_is_masked(see: Any) -> None:
    """Masked text, the reason ``withheld``, no entries; code and title where the policy opens
    them; with entries opened, no reason to be empty (cmp-2)."""
    hidden = section(PROBLEMS, "x")
    whole = document([section(RESULTS, "r"), hidden], *map(observation, "rx"))
    assert sections_of(see(MASKED, whole))[1] == WITHHELD
    lines = MASKED + '"Composition.section.code" = "keep"\n'
    assert sections_of(see(lines, whole))[1] == {**WITHHELD, "code": hidden["code"]}
    opened = sections_of(see(MASKED + ENTRY_OF, whole))[1]
    assert len(opened["entry"]) == 1
    assert "emptyReason" not in opened
    dropped = sections_of(see(MASKED.replace('"mask"', '"remove"'), whole))
    assert [s["code"]["coding"][0]["code"] for s in dropped] == [RESULTS]
    assert sections_of(see('"Composition.section" = "remove"', whole)) is None


def test_nested_sections_take_the_lesser_rule(see: Any) -> None:
    """A hidden section in a shown one is masked there; in a hidden one none shows, not even that
    there are any."""
    inner, chosen = section(PROBLEMS, "x"), section(RESULTS, "r")
    outer = section(RESULTS, inside=[inner, chosen])
    shown = sections_of(see(MASKED, document([outer], *map(observation, "rx"))))[0]["section"]
    assert shown[0] == WITHHELD
    assert shown[1]["code"] == chosen["code"]
    hiding = section(PROBLEMS, inside=[inner, chosen])
    assert sections_of(see(MASKED, document([hiding]))) == [WITHHELD]


def test_copies_and_nameless_entries_go_too(see: Any) -> None:
    """All entries with the fullUrl of what is hidden go, one without fullUrl by its type and id;
    so does what only refers to them, and the signature."""
    sections = [section(RESULTS, "r"), section(PROBLEMS, "x", "y")]
    made = document(sections, *map(observation, "rxxy"), signature={"data": "AA=="})
    del made["entry"][5]["fullUrl"]
    lonely = {"resourceType": "Provenance", "id": "v", "target": [{"reference": "Observation/x"}]}
    made["entry"].append({"fullUrl": f"{UPSTREAM}/Provenance/v", "resource": lonely})
    shown = see(MASKED, made)
    assert held(shown) == ["Composition", "Patient", "r"]
    assert "signature" not in shown
    assert "v" in held(see("", made))


def test_what_only_a_bundle_inside_refers_to_stays(see: Any) -> None:
    """References from a Bundle in a document to the document's entries count as the entry's own."""
    inner: Any = {"resourceType": "Bundle", "id": "i", "type": "document",
             "entry": [{"fullUrl": "urn:uuid:0e2d6b4e-38a7-4bd6-9b9e-2f7e1f8f0c01",
                        "resource": observation("y", "x")}]}  # fmt: skip
    inner["entry"][0]["resource"]["derivedFrom"][0]["reference"] = f"{UPSTREAM}/Observation/x"
    made = document([section(RESULTS), section(PROBLEMS)], observation("x"))
    made["entry"][0]["resource"]["section"][0]["entry"] = [{"reference": "Bundle/i"}]
    made["entry"].append({"fullUrl": f"{UPSTREAM}/Bundle/i", "resource": inner})
    assert held(see(MASKED, made)) == ["Composition", "Patient", "x", "Bundle"]
    made["entry"][0]["resource"]["section"].reverse()
    made["entry"][0]["resource"]["section"][0]["entry"] = [{"reference": "Bundle/i"}]
    del made["entry"][0]["resource"]["section"][1]["entry"]
    assert held(see(MASKED, made)) == ["Composition", "Patient"]


def test_verdicts_count_the_least(see: Any, tmp_path: Path) -> None:
    """A search by what a section hides is refused, whatever predicates show of it."""
    see(MASKED, document([]))
    view = compile_view(load_directory(tmp_path)["trial"])
    for path in ("section", "section.entry", "section.code"):
        assert view.lens(f"Composition.{path}").kind == "hidden"


def message(*resources: dict[str, Any], kind: str = "message") -> dict[str, Any]:
    """A Bundle that is no document: under a header that leads to all that it holds."""
    named = [f"{UPSTREAM}/{r['resourceType']}/{r['id']}" for r in resources]
    focus = [{"reference": name} for name in named]
    header = {"resourceType": "MessageHeader", "id": "m", "focus": focus}
    held = zip([f"{UPSTREAM}/MessageHeader/m", *named], [header, *resources], strict=True)
    entry = [{"fullUrl": url, "resource": resource} for url, resource in held]
    return {"resourceType": "Bundle", "id": "b", "type": kind, "entry": entry}


def parts(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in bundle["entry"]]


@pytest.mark.parametrize(
    "kind",
    ["message", "batch", "transaction", "collection", "searchset", "history", "batch-response"],
)
def test_a_section_hides_in_every_bundle(kind: str, see: Any) -> None:
    """What only a hidden section of a Composition reaches is in no Bundle, nor what hangs on it
    alone; what no Composition reaches stays, and so does all where no section can be hidden."""
    lonely = {"resourceType": "Provenance", "id": "v", "target": [{"reference": "Observation/x"}]}
    whole = document([section(RESULTS, "r"), section(PROBLEMS, "x")], *map(observation, "rx"))
    made = message(*parts(whole), observation("z"), kind=kind)
    made["entry"].append({"fullUrl": f"{UPSTREAM}/Provenance/v", "resource": lonely})
    header = '"MessageHeader" = "keep"\n'
    start = ["MessageHeader", "Composition", "Patient"]
    shown = see(header + MASKED, made)
    assert held(shown) == [*start, "r", "z"]
    assert len(shown["entry"][0]["resource"]["focus"]) == len(shown["entry"]) - 1
    assert held(see(header, made)) == [*start, "r", "x", "z", "v"]
    assert held(see(MASKED, made)) == [*start[1:], "r", "z"]


def test_reports_in_one_bundle_are_judged_together(see: Any) -> None:
    """What one Composition hides another may show; a Bundle inside counts by the Compositions that
    it holds, and goes with all that it alone leads to where only a hidden section names it."""
    one, two = (document([section(RESULTS, a), section(PROBLEMS, b)]) for a, b in ("rx", "yx"))
    two["entry"][0]["resource"]["id"] = "d"
    both = message(*parts(one), parts(two)[0], *map(observation, "rxyz"))
    assert held(see(MASKED, both)) == ["Composition", "Patient", "Composition", "r", "y", "z"]
    inner = document([section(RESULTS, "r"), section(PROBLEMS, "x")], id="i")
    for entry in inner["entry"]:
        entry["fullUrl"] = entry["fullUrl"].replace(UPSTREAM, "https://sender.example/fhir")
    for listed in parts(inner)[0]["section"]:
        listed["entry"][0]["reference"] = f"{UPSTREAM}/{listed['entry'][0]['reference']}"
    around = message(inner, *map(observation, "rxz"))
    assert held(see(MASKED, around)) == ["Bundle", "r", "z"]
    named = document([section(RESULTS), section(PROBLEMS)])
    named["entry"][0]["resource"]["section"][1]["entry"] = [{"reference": "Bundle/i"}]
    around = message(*parts(named), inner, *map(observation, "rxz"))
    assert held(see(MASKED, around)) == ["Composition", "Patient", "z"]


def test_a_document_without_its_composition_first(see: Any) -> None:
    """The sections of a Composition count wherever it stands in a document."""
    made = document([section(RESULTS, "r"), section(PROBLEMS, "x")], *map(observation, "rx"))
    made["entry"].insert(0, made["entry"].pop(1))
    assert held(see(MASKED, made)) == ["Patient", "Composition", "r"]
