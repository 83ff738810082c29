"""Does a resource satisfy a search parameter, type by type; what parameters read."""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import Any

import pytest

from proxy.errors import BadValue, NotSupported
from proxy.fhir import match, registry
from proxy.fhir.codec import decode
from proxy.fhir.r4 import TYPES
from proxy.fhir.search import parameter
from proxy.fhir.structure import RESOURCES, properties

BASE = "http://upstream.example/fhir"

PATIENT = decode(
    b"""{"resourceType": "Patient", "id": "p1", "active": true, "gender": "female",
    "meta": {"lastUpdated": "2020-05-06T07:08:09.123Z"},
    "name": [{"family": "M\xc3\xbcller", "given": ["Eve", "Anne"], "text": "Eve Anne M"}],
    "identifier": [{"system": "http://mrn", "value": "1-2,3",
                    "type": {"coding": [{"system": "http://v2", "code": "MR"}], "text": "Chart"}},
                   {"value": "bare"}],
    "telecom": [{"system": "phone", "value": "555"}, {"system": "email", "value": "e@x"}],
    "address": [{"line": ["1 Home Street"], "city": "Ann Arbor", "state": "MI"}],
    "birthDate": "1974-11-24", "deceasedDateTime": "2020-02-03",
    "generalPractitioner": [{"reference": "Practitioner/d1"}],
    "extension": [{"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
                   "extension": [{"url": "ombCategory",
                                  "valueCoding": {"system": "s", "code": "2106-3"}},
                                 {"url": "text", "valueString": "White"}]}]}"""
)
OBSERVATION = decode(
    b"""{"resourceType": "Observation", "id": "o1", "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "1-8", "display": "Glucose"},
                        {"code": "local"}], "text": "Blood sugar"},
    "subject": {"reference": "Patient/p1"},
    "focus": [{"reference": "http://upstream.example/fhir/Device/v1/_history/2"},
              {"reference": "http://other.example/fhir/Patient/9"},
              {"reference": "urn:uuid:11111111-2222-3333-4444-555555555555"}],
    "encounter": {"identifier": {"system": "http://e", "value": "77"}},
    "effectivePeriod": {"start": "2018-03-05", "end": "2018-03-07T12:00:00Z"},
    "valueQuantity": {"value": 5.40, "system": "http://unitsofmeasure.org", "code": "mg"},
    "component": [{"code": {"coding": [{"code": "c1"}]}, "valueQuantity": {"value": 1}},
                  {"code": {"coding": [{"code": "c2"}]}, "valueQuantity": {"value": 2}}]}"""
)
VALUE_SET = decode(
    b"""{"resourceType": "ValueSet", "id": "v1", "url": "http://x.org/vs/a/b", "version": "1.0",
    "status": "active", "title": "A title", "date": "2020"}"""
)
RISK = decode(
    b"""{"resourceType": "RiskAssessment", "id": "r1",
    "prediction": [{"probabilityDecimal": 0.80}]}"""
)
CONDITION = decode(
    b"""{"resourceType": "Condition", "id": "c1",
    "onsetRange": {"low": {"value": 3, "code": "a"}, "high": {"value": 5, "code": "a"}}}"""
)
SERVICE_REQUEST = decode(
    b"""{"resourceType": "ServiceRequest", "id": "m1", "occurrenceTiming":
    {"event": ["2018-01-01", "2018-02-01"]}, "instantiatesCanonical": ["http://g|2"]}"""
)
NEW_YEAR = [
    decode(b"""{"resourceType": "Observation", "id": "%b", "status": "final",
    "code": {"text": "x"}, "effectiveDateTime": "%b"}""" % pair)
    for pair in [
        (b"west", b"2018-12-31T23:30:00-05:00"), (b"east", b"2019-01-01T00:30:00+14:00"),
        (b"leap", b"2016-12-31T23:59:60Z"), (b"fine", b"2018-12-31T23:59:59.1234567890123Z"),
    ]
]  # fmt: skip
ACTIVITY = decode(
    b"""{"resourceType": "PlanDefinition", "id": "pd", "relatedArtifact": [
    {"type": "depends-on", "resource": "http://lib/a|1.0"},
    {"type": "composed-of", "resource": "http://lib/b"}]}"""
)


def satisfied(resource: Any, query: str) -> bool:
    """Whether the resource satisfies `name=value`, as written, decoded."""
    name, _, value = query.partition("=")
    asked = parameter(name, value)
    known = registry.get(resource["resourceType"])[asked.code]
    return match.matches(
        resource,
        resource["resourceType"],
        known,
        asked.modifier,
        asked.alternatives,
        base_url=BASE,
    )


CASES: list[tuple[Any, dict[bool, list[str]]]] = [
    (PATIENT, {
        True: [
            # string: start, without case and accents; each part by itself
            "family=mull", "family=M\u00dc", "given=an", "name=eve anne", "name:contains=ller",
            "family:exact=M\u00fcller", "family=x,mul", "address=1 home", "address-city=ann",
            "address-state=MI", "family:missing=false", "phonetic:missing=false",
            # token
            "gender=female", "gender=male,female", "gender:not=male", "active=true",
            "identifier=1-2\\,3", "identifier=http://mrn|1-2\\,3", "identifier=http://mrn|",
            "identifier=|bare", "identifier=bare", "identifier:of-type=http://v2|MR|1-2\\,3",
            "identifier:text=char", "phone=555", "email=e@x", "telecom=555", "_id=p1",
            "_id=x,p1", "gender:missing=false", "language:missing=true", "race=2106-3",
            "deceased=true", "deceased:not=false",
            # date
            "birthdate=1974", "birthdate=1974-11", "birthdate=eq1974-11-24", "birthdate=ne1975",
            "birthdate=lt1975", "birthdate=le1974-11-24", "birthdate=ge1974-11-24",
            "birthdate=gt1974-11-23", "birthdate=sa1974-11-23", "birthdate=eb1974-11-25",
            "birthdate=le1974", "birthdate=ge1974", "death-date=2020", "birthdate=1900,1974",
            "_lastUpdated=2020-05-06", "_lastUpdated=ge2020-05-06T07:08:09Z",
            "_lastUpdated=2020-05-06T07:08:09.123Z", "_lastUpdated=2020-05-06T09:08:09+02:00",
            # reference
            "general-practitioner=d1", "general-practitioner=Practitioner/d1",
            "general-practitioner:Practitioner=d1",
            "general-practitioner=http://upstream.example/fhir/Practitioner/d1",
        ],
        False: [
            "family=ller", "family:exact=m\u00fcller", "family:exact=M\u00fcll", "given=Bob",
            "name:contains=zz", "address=Home", "family:missing=true", "gender=Female",
            "gender:not=female", "gender:not=male,female", "active=false", "identifier=1-2",
            "identifier=|1-2\\,3", "identifier=http://other|bare", "identifier:text=hart",
            "identifier:of-type=http://v2|XX|1-2\\,3", "phone=e@x", "email=555", "_id=P1",
            "race=White", "deceased=false", "language=en", "language:missing=false",
            "birthdate=1975", "birthdate=ne1974", "birthdate=gt1974", "birthdate=lt1974",
            "birthdate=sa1974", "birthdate=eb1974", "birthdate=gt1974-11-24",
            "birthdate=ge1974-11-25", "death-date=2019", "_lastUpdated=2020-05-06T07:08:10Z",
            "general-practitioner=d2", "general-practitioner=Organization/d1",
            "general-practitioner:Organization=d1",
            "general-practitioner=http://other.example/fhir/Practitioner/d1",
        ],
    }),
    (OBSERVATION, {
        True: [
            "code=1-8", "code=http://loinc.org|1-8", "code=http://loinc.org|", "code=|local",
            "code:text=gluc", "code:text=blood", "code:not=2-9", "status=final",
            "patient=p1", "patient=Patient/p1", "subject=Patient/p1", "subject:Patient=p1",
            "focus=Device/v1", "focus=Device/v1/_history/2", "focus=v1",
            "focus=http://other.example/fhir/Patient/9",
            "focus=urn:uuid:11111111-2222-3333-4444-555555555555",
            "encounter:identifier=http://e|77", "device:missing=true", "patient:missing=false",
            # a period: [2018-03-05, 2018-03-07T12:00:01)
            "date=2018", "date=2018-03", "date=ge2018-03-07", "date=le2018-03-05",
            "date=ge2018", "date=le2018",
            "date=gt2018-03-06", "date=lt2018-03-06", "date=sa2018-03-04", "date=eb2018-03-08",
            "date=ge2018-03-07T11:00:00Z", "date=le2018-03-05T00:00:00Z",
            "date=gt2018-03-07T11:59:59Z", "date=lt2018-03-05T00:00:01Z", "date=ne2018-03-08",
            "date=le2018-03-07", "date=ge2018-03-05", "date=ne2018-03-06",
            # quantity: the precision of what is asked counts
            "value-quantity=5.4", "value-quantity=5", "value-quantity=5.40",
            "value-quantity=5.4|http://unitsofmeasure.org|mg", "value-quantity=5.4||mg",
            "value-quantity=gt5.3", "value-quantity=ge5.4", "value-quantity=le5.4",
            "value-quantity=ap5", "value-quantity=ne5", "value-quantity=sa5",
            "value-quantity=eb6", "component-value-quantity=2", "value-quantity=lt5,gt5.3",
            # composite: both parts on the same component
            "code-value-quantity=1-8$5.4", "code-value-quantity=http://loinc.org|1-8$gt5",
            "component-code-value-quantity=c2$2", "combo-code-value-quantity=c1$1",
            "combo-code-value-quantity=x$1,1-8$5.4", "combo-value-quantity=1",
        ],
        False: [
            "code=1", "code=http://loinc.org|local", "code=|1-8", "code=http://other|",
            "code:text=sugar", "code:not=1-8", "code:not=x,local", "subject=Group/p1",
            "patient:missing=true", "focus=Device/v1/_history/3", "focus=Patient/9", "focus=9",
            "focus=urn:uuid:00000000-2222-3333-4444-555555555555", "encounter=77",
            "encounter:identifier=77x", "device:missing=false",
            "date=2018-03-06", "date=2017", "date=gt2018-03-07", "date=lt2018-03-05",
            "date=ge2018-03-07T13:00:00Z", "date=le2018-03-04T23:59:59Z",
            "date=gt2018-03-07T12:00:00Z",
            "date=lt2018-03-05T00:00:00Z", "date=ge2018-03-07T12:00:01Z", "date=2018-03-05",
            "date=sa2018-03-05", "date=eb2018-03-07", "date=ge2018-03-08",
            "value-quantity=5.41", "value-quantity=6", "value-quantity=gt5.4",
            "value-quantity=lt5.4", "value-quantity=5.4|http://unitsofmeasure.org|g",
            "value-quantity=5.4|http://other|mg", "value-quantity=ap4", "value-quantity=ne5.4",
            "component-code-value-quantity=c1$2", "code-value-quantity=1-8$6",
            "code-value-quantity=2-9$5.4",
        ],
    }),
    (VALUE_SET, {
        True: [
            "url=http://x.org/vs/a/b", "url:below=http://x.org/vs", "url:above=http://x.org/vs/a/b/c",
            "url=http://no,http://x.org/vs/a/b", "version=1.0", "title=a t",
            "date=2020", "status=active",
        ],
        False: [
            "url=http://x.org/vs/a", "url:below=http://y.org", "url:above=http://x.org/vs",
            "version=1", "date=2020-01-01",
        ],
    }),
    (RISK, {
        True: ["probability=0.8", "probability=gt0.7", "probability=ap0.75", "probability=1",
               "probability=lt0.81"],
        False: ["probability=0.81", "probability=gt0.8", "probability=ap0.5", "probability=2",
                "probability=eb0.8"],
    }),
    (CONDITION, {
        True: ["onset-age=3", "onset-age=gt4", "onset-age=5||a", "onset-age:missing=false"],
        False: ["onset-age=4", "onset-age=gt5", "onset-age=5||mo", "onset-date:missing=false"],
    }),
    (SERVICE_REQUEST, {
        True: ["occurrence=2018", "occurrence=ge2018-01-15", "occurrence=lt2018-01-02",
               "instantiates-canonical=http://g"],
        False: ["occurrence=2018-01", "occurrence=ge2018-02-02", "occurrence=gt2018-02",
                "instantiates-canonical=http://g|1"],
    }),
    # Days count as they are written, instants as they are.
    (NEW_YEAR[0], {
        True: ["date=2018", "date=2018-12-31", "date=le2018-12-31", "date=ne2019-01-01",
               "date=2019-01-01T04:30:00Z", "date=gt2018-12-31T23:59:59Z"],
        False: ["date=2019-01-01", "date=ge2019-01-01", "date=sa2018-12-31",
                "date=lt2019-01-01T00:00:00Z"],
    }),
    (NEW_YEAR[1], {
        True: ["date=2019-01-01", "date=ge2019-01-01", "date=sa2018-12-31",
               "date=lt2019-01-01T00:00:00Z", "date=2018-12-31T10:30:00Z"],
        False: ["date=2018", "date=2018-12-31", "date=le2018-12-31"],
    }),
    (NEW_YEAR[2], {True: ["date=ge2016-12-31"], False: ["date=2018-12-31"]}),
    (NEW_YEAR[3], {True: ["date=2018-12-31"], False: ["date=2019"]}),
    (ACTIVITY, {
        True: ["depends-on=http://lib/a", "depends-on=http://lib/a|1.0",
               "composed-of=http://lib/b"],
        False: ["depends-on=http://lib/b", "depends-on=http://lib/a|2.0",
                "composed-of=http://lib/b|1"],
    }),
]  # fmt: skip


@pytest.mark.parametrize(
    ("resource", "query", "expected"),
    [
        pytest.param(r, q, e, id=f"{r['resourceType']}?{q}-{e}")
        for r, table in CASES
        for e, queries in table.items()
        for q in queries
    ],
)
def test_a_resource_satisfies_a_parameter_as_r4_says(
    resource: Any, query: str, expected: bool
) -> None:
    """R4, search.html: prefixes, precision, modifiers, escapes, OR lists, for every search type."""
    assert satisfied(resource, query) is expected


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("birthdate=yesterday", BadValue),
        ("birthdate=ap1974", NotSupported),
        ("birthdate:exact=1974", NotSupported),
        ("gender:above=x", NotSupported),
        ("gender:in=http://v", NotSupported),
        ("family:missing=maybe", BadValue),
        ("family:missing=true,false", BadValue),
        ("family=a,,b", BadValue),
        ("family=a\\b", BadValue),
        ("general-practitioner:foo=1", NotSupported),
        ("_source:contains=1", NotSupported),
        ("identifier=|", BadValue),
        ("_content=x", NotSupported),
    ],
)
def test_what_cannot_be_judged_is_an_error(query: str, error: type[Exception]) -> None:
    """Malformed values and modifiers that need more than the resource are never guessed."""
    with pytest.raises(error):
        satisfied(PATIENT, query)


@pytest.mark.parametrize(
    ("age", "found"),
    [
        ({"valueQuantity": {"value": 90, "comparator": ">=", "code": "a"}}, False),
        ({"valueQuantity": {"value": 90, "comparator": ">="}}, False),
        ({"valueQuantity": {"value": 90, "comparator": ">=", "code": "mL/min"}}, True),
        ({"valueQuantity": {"value": 90, "comparator": ">=", "unit": "mL/min"}}, True),
        ({"valueQuantity": {"value": 90, "code": "a"}}, True),
    ],
)
def test_the_group_of_the_oldest_matches_no_search(age: Any, found: bool) -> None:
    """What a view shows for all ages above the oldest is no value that can be searched."""
    resource = {"resourceType": "Observation", **age}
    known = registry.get("Observation")["value-quantity"]
    for value in ("90", "ge90", "gt80"):
        plain = match.matcher("Observation", known, "", (value,))
        judged = match.matcher("Observation", known, "", (value,), oldest=89)
        assert plain(resource)
        assert judged(resource) is found


def test_composites_need_all_their_parts() -> None:
    """A composite value without its `$` is malformed."""
    for value in ("1-8", "1-8$", "1-8$5$6", "$5"):
        with pytest.raises(BadValue):
            satisfied(OBSERVATION, f"code-value-quantity={value}")


@pytest.mark.parametrize("odd", [None, 3, "x", [], {}, [[]], [None], {"coding": 3}, True])
def test_malformed_elements_match_nothing_and_never_raise(odd: Any) -> None:
    """What an upstream stores against the specification does not break a search."""
    queries = {
        "code": ("code=1-8", "code-value-quantity=1-8$5", "code:text=a"),
        "effectiveDateTime": ("date=2018",),
        "valueQuantity": ("value-quantity=5",),
        "subject": ("patient=p1",),
        "status": ("status=final",),
    }
    for name, query in [(n, q) for n, qs in queries.items() for q in qs]:
        assert satisfied({"resourceType": "Observation", name: odd}, query) is False


def test_the_parameters_that_are_not_understood_are_listed() -> None:
    """The committed list is complete and current; everything else has its paths."""
    text = (files("proxy.fhir") / "not-understood.csv").read_text()
    listed = [tuple(row) for row in csv.reader(text.splitlines())][1:]
    assert listed == sorted(set(match.not_understood()))


def test_every_path_read_is_an_element_of_r4() -> None:
    """Paths are canonical: each step a JSON property of the type before it."""
    for base in RESOURCES:
        for known in registry.get(base).values():
            for read in match.paths(known, base) or ():
                where, *names = read.path.split(".")
                for name in names:
                    where = properties(where)[name].type
                assert where == read.type
                assert read.type in TYPES


@pytest.mark.parametrize(
    ("base", "code", "expected"),
    [
        ("Observation", "date", {"effectiveDateTime", "effectivePeriod", "effectiveTiming",
                                 "effectiveInstant"}),
        ("Observation", "value-string", {"valueString", "valueCodeableConcept.text"}),
        ("Procedure", "date", {"performedDateTime", "performedPeriod"}),
        ("Patient", "deceased", {"deceasedBoolean", "deceasedDateTime"}),
        ("Patient", "address-state", {"address.state"}),
        ("Patient", "_id", {"id"}),
        ("Patient", "_lastUpdated", {"meta.lastUpdated"}),
        ("Observation", "combo-code-value-quantity",
         {"code", "valueQuantity", "component.code", "component.valueQuantity"}),
    ],
)  # fmt: skip
def test_the_paths_of_known_parameters(base: str, code: str, expected: set[str]) -> None:
    """Unions, casts, choices and composites come out as the elements they name."""
    read = match.paths(registry.get(base)[code], base)
    assert read is not None
    assert {r.path.removeprefix(base + ".") for r in read} == expected


def test_conditions_and_targets_are_part_of_what_is_read() -> None:
    """`where(system='phone')` reads the system too; `resolve() is Patient` narrows the target."""
    (phone,) = match.paths(registry.get("Patient")["phone"], "Patient") or ()
    assert phone.conditions == (("Patient.telecom.system", "phone"),)
    (patient,) = match.paths(registry.get("Observation")["patient"], "Observation") or ()
    assert patient.targets == ("Patient",)


@pytest.mark.parametrize(
    ("resource", "code", "up", "down"),
    [
        (PATIENT, "given", "ANNE", "EVE"),
        (PATIENT, "gender", (True, "", False, "female"), (False, "", True, "female")),
        (PATIENT, "language", None, None),
        (OBSERVATION, "component-value-quantity", 1, 2),
        (OBSERVATION, "patient", "Patient/p1", "Patient/p1"),
        (VALUE_SET, "url", "http://x.org/vs/a/b", "http://x.org/vs/a/b"),
    ],
)
def test_sorting_takes_the_least_or_greatest_value(
    resource: Any, code: str, up: Any, down: Any
) -> None:
    """R4, search.html#sort: of several values the lowest ascending, the highest descending."""
    kind = resource["resourceType"]
    known = registry.get(kind)[code]
    assert match.sort_key(resource, kind, known, False) == up
    assert match.sort_key(resource, kind, known, True) == down


SORTED = [
    # Each list as HAPI gives it, on the way up and on the way down; what has no value is left out.
    (
        "name", lambda text: {"resourceType": "Organization", "name": text},
        ["a", "a b", "a'b", "a-b", "a.b", "A1b", "ab", "aéb", "aZb", "a_b", "a{b", "Éb"],
        None,
    ),
    (
        "code", lambda codes: {"resourceType": "DetectedIssue", "code": {"coding": [
            {k: v for k, v in (("system", s), ("code", c)) if v} for s, c in codes]}},
        [
            [("http://a", "5")], [("http://a", "9"), ("http://z", "0")], [("http://a", "99")],
            [("http://m", "1"), ("", "0")], [("http://m", "")], [("", "2")], [("", "5")],
        ],
        [
            [("http://a", "9"), ("http://z", "0")], [("http://m", "1"), ("", "0")],
            [("http://m", "")], [("http://a", "99")], [("http://a", "5")], [("", "5")],
            [("", "2")],
        ],
    ),
    (
        "date", lambda value: {"resourceType": "Observation", **value},
        [
            {"effectivePeriod": {"end": "2020-01-12"}},
            {"effectiveTiming": {"event": ["2020-01-01", "2020-03-01"]}},
            {"effectivePeriod": {"start": "2020-01-10", "end": "2020-01-20"}},
            {"effectivePeriod": {"start": "2020-01-14"}},
            {"effectiveDateTime": "2020-01-15"},
            {"effectiveDateTime": "2020-01-15T10:00:00Z"},
            {"effectiveInstant": "2020-01-15T08:00:00-05:00"},
        ],
        None,
    ),
    (
        "value-quantity", lambda value: {"resourceType": "Observation", "valueQuantity": value},
        [{"value": -3, "unit": "x"}, {"value": 1, "unit": "g"}, {"value": 5, "unit": "mg"}],
        None,
    ),
]


@pytest.mark.parametrize(("code", "make", "up", "down"), SORTED, ids=[row[0] for row in SORTED])
def test_the_order_is_hapis(code: str, make: Any, up: list[Any], down: list[Any] | None) -> None:
    """Values of one type are ordered as HAPI orders them; the way down is the way up reversed, but
    where there are several values, or none of a kind."""
    for descends, values in ((False, up), (True, down or up[::-1])):
        resources = [make(value) for value in values]
        known = registry.get(resources[0]["resourceType"])[code]
        kind = resources[0]["resourceType"]
        keys = [match.sort_key(each, kind, known, descends) for each in resources]
        assert all(key is not None for key in keys)
        assert keys == sorted(keys, reverse=descends)  # type: ignore[type-var]
        assert len(set(keys)) == len(keys)


def test_references_are_those_that_the_parameter_reads() -> None:
    """Literal references, of the types that `resolve() is` names only."""
    resource = {"resourceType": "Observation", "subject": {"reference": "Group/1"}}
    for code, found in (("subject", ["Group/1"]), ("patient", []), ("code", [])):
        parameter = registry.get("Observation")[code]
        assert list(match.references(resource, "Observation", parameter)) == found


def test_dates_sort_by_their_begin() -> None:
    """Earlier dates have smaller keys, in any precision and zone."""
    known = registry.get("Patient")["birthdate"]
    keys = [
        match.sort_key({"resourceType": "Patient", "birthDate": text}, "Patient", known, False)
        for text in ("1973", "1974", "1974-11", "1974-11-24", "1975")
    ]
    assert None not in keys
    assert keys == sorted(keys, key=lambda key: int(str(key)))


def test_the_group_of_the_oldest_matches_no_value() -> None:
    """What stands for every age from 90 on, a Quantity or a text, matches no value and no
    complement of one where resources are judged as shown."""
    asked = [("value-string", "90"), ("value-quantity", "90"), ("value-quantity", "ne5")]
    for value in ({"valueString": "90+"}, {"valueQuantity": {"value": 90, "comparator": ">="}}):
        resource = {"resourceType": "Observation", "id": "o", **value}
        for code, text in asked:
            known = registry.get("Observation")[code]
            judge = match.matcher("Observation", known, "", (text,), oldest=89)
            assert not judge(resource)
    plain = match.matcher("Observation", registry.get("Observation")["value-string"], "", ("90",))
    assert plain({"valueString": "90+"})
