"""Narratives made from what is shown hold no more than that, as XHTML that R4 allows."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.fhir.codec import Fragment
from proxy.lenses.table import CUT, LONGEST, ROWS
from proxy.policy.methods import PASSED
from tests.mangling import mangle, seeds
from tests.policy.test_oracle import FUZZED, generated
from tests.views import Case, examples

XHTML = "{http://www.w3.org/1999/xhtml}"
ALLOWED = {XHTML + name for name in ("div", "table", "caption", "tr", "td", "p")}  # txt-1
MASKED = '<div xmlns="http://www.w3.org/1999/xhtml"><p>MASKED</p></div>'
CASE = Case("narrated")


def reveal(resource: Any) -> Any:
    return CASE.reveal(resource)


def narratives(value: Any) -> Iterator[tuple[Any, str]]:
    """Every narrative with what it tells of, the resource or section that bears it; those of the
    eRSD, which passes, are its own."""
    if isinstance(value, dict) and value.get("resourceType") not in PASSED:
        text = value.get("text")
        if isinstance(text, dict) and "div" in text:
            yield value, text["div"]
        for item in value.values():
            yield from narratives(item)
    elif isinstance(value, list):
        for item in value:
            yield from narratives(item)


def said(value: Any) -> Iterator[str]:
    """Every name and value in JSON, narratives apart."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "text" and isinstance(item, dict) and "div" in item:
                continue
            yield key.removeprefix("_")
            yield from said(item)
    elif isinstance(value, list):
        for item in value:
            yield from said(item)
    elif isinstance(value, bool):
        yield str(value).lower()
    elif value is not None:
        yield value.contents if isinstance(value, Fragment) else str(value)


def check(shown: Any) -> int:
    """How many narratives there are; each is well-formed and tells what shows alone."""
    count = 0
    for bearer, div in narratives(shown):
        count += 1
        root = ElementTree.fromstring(div)
        assert root.tag == XHTML + "div"
        assert {e.tag for e in root.iter()} <= ALLOWED
        assert not any(e.attrib for e in root.iter())
        texts = {t for e in root.iter() for t in (e.text, e.tail) if t is not None}
        assert any(t.strip() for t in texts)  # txt-2
        if div != MASKED:
            assert texts - {CUT} <= set(said(bearer)), div[:2000]
            assert bearer["text"]["status"] == "generated"
    return count


def test_every_text_is_a_name_or_value_of_what_shows(shared: Path) -> None:
    """In every published example and generated resource, in documents and contained too."""
    assert sum(check(reveal(r)) for _, r in examples(shared)) > 400
    assert sum(check(reveal(r)) for r in generated()) > 100


@FUZZED
@given(st.data())
def test_odd_data_cannot_break_a_narrative(data: st.DataObject) -> None:
    """Whatever stands in the resource, markup and control characters among it."""
    resource = mangle(data.draw, copy.deepcopy(data.draw(st.sampled_from(seeds()))))
    odd = st.text(st.characters(), max_size=8) | st.sampled_from(
        ("<script>", "&lt;", "]]>", "\x00", "\ufffe", "\r\n", "\ud800", "x" * LONGEST)
    )
    resource["text"] = {"status": "generated", "div": "<div>x</div>"}
    resource["address"] = [{"city": data.draw(odd), "state": "MI"}]
    resource["status"] = data.draw(odd)
    check(reveal(resource))


def patient(**members: Any) -> Any:
    text = {"status": "generated", "div": "<div>Eve Everywoman of Elm Street</div>"}
    return {"resourceType": "Patient", "id": "1", "text": text, **members}


def narrative(resource: Any) -> str:
    found: str = reveal(resource)["text"]["div"]
    return found


@pytest.mark.parametrize(
    ("members", "row"),
    [
        ({"gender": "female"}, "<tr><td>gender</td><td>female</td></tr>"),
        ({"active": True}, "<tr><td>active</td><td>true</td></tr>"),
        ({"address": [{"city": "A & B <i>"}]},
         "<tr><td>address</td><td><table><tr><td>city</td><td>A &amp; B &lt;i&gt;</td></tr>"),
        ({"generalPractitioner": [{"reference": "Practitioner/7"}]},
         "<tr><td>generalPractitioner</td><td><table><tr><td>reference</td><td>Practitioner/1"),
        ({"multipleBirthInteger": 2, "birthDate": "1974-11-24"},
         "<tr><td>birthDate</td><td>1974-11-24</td></tr>"
         "<tr><td>multipleBirthInteger</td><td>2</td></tr>"),
        ({"extension": [{"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex",
                         "valueCode": "F"}]},
         "<tr><td>http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex</td>"
         "<td>F</td></tr>"),
    ],
)  # fmt: skip
def test_rows(members: dict[str, Any], row: str) -> None:
    """A row for each value, in R4's order, in tables as deep as the data; all of it escaped."""
    assert row in narrative(patient(**members))


@pytest.mark.parametrize(
    "members",
    [
        {"name": [{"family": "Everywoman"}]},
        {"address": [{"city": "Tab\x01"}]},
        {"address": [{"city": "x" * (LONGEST + 1)}]},
        {"photo": [{"data": "RXZl"}]},
    ],
)
def test_what_is_not_told(members: dict[str, Any]) -> None:
    """What is hidden, what XML cannot hold, what is too long, files."""
    div = narrative(patient(**members))
    assert all(hidden not in div for hidden in ("Everywoman", "Tab", "xxxx", "RXZl", "Elm"))


def test_a_long_resource_is_cut() -> None:
    """After so many rows a fixed line says that there is more."""
    div = narrative(patient(address=[{"city": f"Town {n}"} for n in range(ROWS)]))
    assert div.count("<tr>") in (ROWS, ROWS - 1)  # the last one's table may be cut off whole
    assert div.endswith(f"</table><p>{CUT}</p></div>")
    few = narrative(patient(communication=[{"preferred": True} for _ in range(5)]))
    assert CUT not in few


def test_a_section_tells_of_itself() -> None:
    """Its code and entries as they show; its own sections have their own; one that shows nothing
    is masked."""
    text = {"status": "generated", "div": "<div>Eve</div>"}
    entry = {"reference": "Observation/1"}
    loinc = {"coding": [{"system": "http://loinc.org", "code": "30954-2", "display": "Results"}]}
    inner = {"title": "inner", "text": text}
    section = {"title": "Eve", "code": loinc, "text": text, "entry": [entry], "section": [inner]}
    shown = reveal({"resourceType": "Composition", "id": "c", "status": "final",
                    "type": loinc, "section": [section]})  # fmt: skip
    outer = shown["section"][0]
    reference = outer["entry"][0]["reference"]
    assert "<tr><td>code</td><td>30954-2</td></tr>" in outer["text"]["div"]
    assert f"<tr><td>reference</td><td>{reference}</td></tr>" in outer["text"]["div"]
    assert "Eve" not in outer["text"]["div"]
    assert outer["section"][0]["text"]["div"] == MASKED
