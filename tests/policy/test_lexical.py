"""What is not in the lexical form of its type is malformed, and masked like any other."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.fhir.codec import decode
from proxy.fhir.lexical import FORMS, checker, form_of
from proxy.fhir.structure import properties
from tests.oracle_facts import is_well_formed, props
from tests.views import Case, comparable

UUID = "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"
# type code, where one stands, well-formed values, malformed ones
FORMED: list[tuple[str, str, str, list[Any], list[Any]]] = [
    ("date", "Patient", "birthDate",
     ["1974", "1974-11", "1974-11-30", "2024-02-29", "2000-02-29", "0001-01-01"],
     ["", "Okonkwo, John", "0000", "74", "1974-13", "1974-00", "1974-11-31", "2023-02-29",
      "1900-02-29", "1974-11-30T10:00:00Z", "1974-11-30 ", "1974-11-30\n",
      "\uff11\uff19\uff17\uff14", "1974-1-1"]),
    ("dateTime", "Patient", "deceasedDateTime",
     ["1974", "1974-11", "1974-11-30", "1974-11-30T23:59:60.123+14:00", "2024-02-29T00:00:00Z"],
     ["2020-13-45 by Dr. Smith", "2020-01-01T10:00Z", "2020-01-01T10:00:00", "2020-01T10:00:00Z",
      "2020-01-01T24:00:00Z", "2020-01-01T10:00:00+14:30", "2023-02-29T10:00:00Z"]),
    ("instant", "Observation", "effectiveInstant",
     ["2020-01-01T10:00:00Z", "2020-01-01T10:00:00.5-05:00"],
     ["Okonkwo", "2020-01-01", "2020-01-01T10:00:00", "2020-02-30T10:00:00Z"]),
    ("time", "Observation", "valueTime", ["10:00:00", "23:59:60.5"],
     ["10:00", "24:00:00", "10:00:00Z", "Smith"]),
    ("code", "Coding", "code", ["94500-6", "a b", "text/cql"],
     ["", " a", "a ", "a  b", "  MRN 5\n Okonkwo ", "a\tb", "a\u00a0b"]),
    ("code", "Patient", "language", ["en", "en-US", "zh-Hant-TW", "EN"],
     ["", "John Okonkwo 555-12-3456", "Okonkwo", "e", "en_US", "en-", "x-okonkwo"]),
    ("code", "Expression", "language", ["text/cql"], [" text/cql"]),
    ("id", "Meta", "versionId", ["1", "a.B-9"], ["", "a b", "a_b", "a" * 65, "a\n"]),
    ("oid", "Extension", "valueOid", ["urn:oid:2.16.840.1"],
     ["2.16.840.1", "urn:oid:2", "urn:oid:2.016", "urn:oid:3.1", "urn:oid:2.1.", "urn:oid:Smith"]),
    ("uuid", "Extension", "valueUuid", [UUID], [UUID[9:], UUID.upper(), UUID + "0"]),
    ("uri", "Coding", "system", ["http://loinc.org", "urn:x"], ["", "John Okonkwo", "http://x\n"]),
    ("url", "Attachment", "url", ["http://x"], ["", "John Okonkwo"]),
    ("canonical", "Extension", "valueCanonical", ["http://x|1"], ["", "John Okonkwo"]),
    ("base64Binary", "Attachment", "data", ["QUJD", "QUJD\n QUI=", " QUJD "],
     ["", " ", "QUJ", "John Okonkwo", "QU JD", "QUJD!"]),
    ("integer", "Observation", "valueInteger", [0, -(2**31), 2**31 - 1],
     [2**31, -(2**31) - 1]),
    ("unsignedInt", "Attachment", "size", [0, 1], [-1, 2**31]),
    ("positiveInt", "ContactPoint", "rank", [1], [0, -5, 2**31]),
    ("string", "HumanName", "family", ["", " a ", "x\ny"], []),
]  # fmt: skip
WRONG_KIND: dict[str, list[Any]] = {
    "text": [1, True, ["a"], {"a": 1}],
    "number": ["1", True, [1], {"a": 1}],
}


@pytest.mark.parametrize(("code", "parent", "name", "formed", "malformed"), FORMED)
def test_form_of_each_type(
    code: str, parent: str, name: str, formed: list[Any], malformed: list[Any]
) -> None:
    """R4, datatypes.html#primitive, in both readings of it; a date is a day of the calendar."""
    prop, slow = properties(parent)[name], props(parent)[name]
    assert prop.type == code
    check = checker(code, form_of(parent, prop))
    for value, expected in [(v, True) for v in formed] + [(v, False) for v in malformed]:
        assert check(value) is expected, value
        assert is_well_formed(parent, slow, value) is expected, value
    kind = "text" if isinstance((formed + malformed)[0], str) else "number"
    assert not any(check(value) for value in WRONG_KIND[kind])


def test_forms_take_no_time_to_deny() -> None:
    """A long text that is malformed at its end is denied after one pass."""
    for code, text in (
        ("base64Binary", "QUJD \n " * 50_000 + "!"),
        ("code", "a " * 50_000),
        ("oid", "urn:oid:2" + ".1" * 50_000 + "."),
        ("dateTime", "2020-01-01T10:00:00." + "1" * 50_000),
    ):
        assert FORMS[code].fullmatch(text) is None


PATIENT = rb"""{"resourceType": "Patient", "id": "a", "language": "John Okonkwo 555-12-3456",
 "meta": {"lastUpdated": "Smith"}, "birthDate": "Okonkwo, John",
 "deceasedDateTime": "2020-13-45 by Dr. Smith", "gender": " male Okonkwo",
 "address": [{"period": {"start": "Smith", "end": "2020-01-01"}}]}"""
OBSERVATION = rb"""{"resourceType": "Observation", "id": "b", "status": "final\n Okonkwo",
 "code": {"coding": [{"system": "http://loinc.org", "code": "  MRN 5\n Okonkwo "},
                     {"system": "http://loinc.org/ Smith", "code": "94500-6"}]},
 "effectiveInstant": "Okonkwo",
 "component": [{"code": {"coding": [{"system": "http://loinc.org", "code": "1"}]},
                "valueTime": "Okonkwo"}]}"""


@pytest.mark.parametrize("policy", ["researcher-limited", "researcher-deidentified"])
@pytest.mark.parametrize("body", [PATIENT, OBSERVATION])
def test_malformed_texts_do_not_pass(policy: str, body: bytes) -> None:
    """Each is masked, and the well-formed beside it shows; the slow evaluator agrees."""
    case = Case(policy)
    shown = comparable(case.reveal(decode(body)))
    for text in ("Okonkwo", "Smith", "555", "MRN", "2020-13"):
        assert text not in repr(shown)
    assert shown == comparable(case.reveal_slowly(decode(body)))


def test_what_stands_for_a_malformed_text() -> None:
    """A reason where the element may be absent, and there only."""
    shown: Any = comparable(Case("researcher-limited").reveal(decode(OBSERVATION)))
    reason = {"extension": [{
        "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
        "valueCode": "masked",
    }]}  # fmt: skip
    assert "effectiveInstant" not in shown
    assert shown["_effectiveInstant"] == reason
    assert shown["_status"] == reason
    first, second = shown["code"]["coding"]
    assert first == {"system": "http://loinc.org", "_code": reason}
    assert second == {"_system": reason, "code": "94500-6"}
