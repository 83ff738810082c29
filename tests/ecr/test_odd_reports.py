"""An eICR in an odd shape is anonymized whole: nothing of one shows half as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.ecr.showing import LOINC, ages, document_of, entry, show
from tests.policy.test_oracle import disagreements
from tests.views import ANON, TODAY, UPSTREAM

PATIENT: Any = {"birthDate": "1974-11-24", "name": [{"family": "Roe"}]}
SECRETS = ("2020-02-03", "doc-1", "b-1", "1974-11-24", "Roe")


def _coded(**coding: Any) -> Any:
    return {"type": {"coding": [coding]}}


def report(**composition: Any) -> Any:
    return document_of(PATIENT, section=[], **composition)


def _inserted(entry: Any) -> Any:
    made = report()
    made["entry"].insert(0, entry)
    return made


def _turned() -> Any:
    made = report()
    made["entry"].reverse()
    return made


def _contained() -> Any:
    held = {"resourceType": "Patient", "id": "pp", **PATIENT}
    return report(subject={"reference": "#pp"}, contained=[held])


SHAPES: dict[str, Callable[[], Any]] = {
    "as it is": report,
    "its first entry is null": lambda: _inserted(None),
    "its first entry is empty": lambda: _inserted({}),
    "its first entry has no resource": lambda: _inserted({"fullUrl": f"{UPSTREAM}/Patient/1"}),
    "its Composition is the last": _turned,
    "its subject is contained": _contained,
    "a type without system": lambda: report(**_coded(code="55751-2")),
    "a type with an odd system": lambda: report(**_coded(system=[LOINC], code="55751-2")),
    "a type of another system": lambda: report(**_coded(system="urn:x", code="55751-2")),
    "a type with an object": lambda: report(type={"coding": {"system": LOINC, "code": "55751-2"}}),
    "a type among others": lambda: report(
        type={"coding": [{"system": "urn:x", "code": "y"}, {"code": "55751-2"}]}
    ),
    "a type without code": lambda: report(**_coded(system=LOINC)),
    "a type with an odd code": lambda: report(**_coded(system=LOINC, code=["11488-4"])),
    "a type in words": lambda: report(type={"text": "Reportability response"}),
    "a type that is no object": lambda: report(type="55751-2"),
    "no type": lambda: report(type=None),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_report_in_an_odd_shape_is_anonymized_whole(name: str) -> None:
    """Wherever its Composition stands and whatever its type leaves unsaid: new identifiers and
    dates, and the age once, as an entry that the Composition lists and that is the subject's."""
    made = SHAPES[name]()
    shown, plain = show(made), show(report())
    (composition,) = entry(shown, "Composition")
    (age,) = ages(shown)
    assert age["valueQuantity"] == {"value": 51, "unit": "year", "code": "a",
                                    "system": "http://unitsofmeasure.org"}  # fmt: skip
    (url,) = [e["fullUrl"] for e in shown["entry"] if e["resource"] == age]
    assert json.dumps(composition["section"]).count(url) == 1
    contained = composition["subject"]["reference"][:1] == "#"
    assert ("subject" in age) == (not contained)
    assert (shown["identifier"], shown["timestamp"]) == (plain["identifier"], plain["timestamp"])
    assert composition["identifier"] == plain["entry"][0]["resource"]["identifier"]
    assert composition["date"] == TODAY.isoformat()
    assert [word for word in SECRETS if word in json.dumps(shown)] == []
    assert disagreements(ANON, made) == []


@pytest.mark.parametrize(
    "coding",
    [{"system": LOINC, "code": "88085-6"}, {"system": "urn:oid:2.16.840.1.113883.6.1",
                                            "code": "60591-5"}, {"system": "urn:x", "code": "y"}],
)  # fmt: skip
def test_what_says_to_be_another_report_is_one(coding: Any) -> None:
    """A document whose type is another, in any system, takes the policy's lines alone."""
    shown = show(report(**_coded(**coding)))
    assert shown["timestamp"] == "2020-02-03T00:00:00Z"
    assert entry(shown, "Composition")[0]["date"] == "2020-02-03"
    assert ages(shown) == []


def test_the_subject_may_be_an_entry_of_the_message_around() -> None:
    """The age of a document whose Patient stands in the message around it is known."""
    made = report()
    patient = made["entry"].pop(1)
    header = {"resourceType": "MessageHeader", "id": "h", "eventCoding": {"code": "x"},
              "source": {"endpoint": "http://x"}, "focus": [{"reference": "Bundle/b"}]}  # fmt: skip
    message = {"resourceType": "Bundle", "id": "m", "type": "message", "entry": [
        {"fullUrl": "urn:uuid:0b0b0b0b-0000-4000-8000-000000000001", "resource": header},
        {"fullUrl": f"{UPSTREAM}/Bundle/b", "resource": made}, patient,
    ]}  # fmt: skip
    (document,) = entry(show(message), "Bundle")
    (age,) = ages(document)
    assert age["valueQuantity"]["value"] == 51
    assert disagreements(ANON, message) == []
