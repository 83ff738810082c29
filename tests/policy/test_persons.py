"""Whose dates move: one offset a person, in documents, messages, contained resources and alone."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from typing import Any

import pytest

from proxy.demo.generator import cases
from proxy.fhir.codec import decode, encode
from proxy.fhir.r4 import TYPES
from proxy.fhir.structure import RESOURCES
from proxy.lenses.dates import move_date
from proxy.policy.persons import elements
from tests.oracle_persons import OTHERS
from tests.views import ALIASES, UPSTREAM, Case, differences, find_view, namer_of

SHIFTED, BY_NUMBER = "researcher-shifted", "shifts"
SSN = "http://hl7.org/fhir/sid/us-ssn"
DAY = "2020-03-01"
DATED = re.compile(r"(19|20)\d\d(-|$)")
MASKED = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
                         "valueCode": "masked"}]}  # fmt: skip


def moved(person: str, policy: str = SHIFTED, day: str = DAY) -> str | None:
    limits = (-365, -1) if policy == SHIFTED else (-400, -10)
    return move_date(day, namer_of(policy).offset(person, *limits))


def at(id: str) -> str:
    return f"{UPSTREAM}/Patient/{id}"


def observation(reference: Any, **members: Any) -> dict[str, Any]:
    subject = {"reference": reference} if isinstance(reference, str) else reference
    return {"resourceType": "Observation", "id": "o", "status": "final", "subject": subject,
            "effectiveDateTime": DAY, **members}  # fmt: skip


def patient(id: str | None = "p", *numbers: Any, **members: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "birthDate": DAY, **({"id": id} if id else {}),
            "identifier": [{"system": SSN, "value": n} for n in numbers], **members}  # fmt: skip


def entry(url: str | None, resource: Any) -> dict[str, Any]:
    return {"resource": resource} | ({"fullUrl": url} if url else {})


def bundle(kind: str, *entries: Any, id: str = "b") -> dict[str, Any]:
    return {"resourceType": "Bundle", "id": id, "type": kind, "timestamp": f"{DAY}T00:00:00Z",
            "identifier": {"system": "urn:x:y", "value": id}, "entry": list(entries)}  # fmt: skip


def composition(subject: str | None) -> dict[str, Any]:
    return {"resourceType": "Composition", "id": "c", "status": "final", "title": "x",
            "type": {"coding": [{"system": "http://loinc.org", "code": "55751-2"}]}, "date": DAY,
            "author": [{"reference": "Practitioner/d"}],
            **({"subject": {"reference": subject}} if subject else {})}  # fmt: skip


def dates(resource: Any, policy: str = SHIFTED) -> list[str | None]:
    """The shown dates of a resource, in the order in which they stand; None for a masked one."""
    shown = Case(policy).reveal(resource)
    assert shown is not None
    return list(found(shown))


def found(value: Any, name: str = "") -> list[str | None]:
    if isinstance(value, dict):
        return [day for key, inner in value.items() for day in found(inner, key)]
    if isinstance(value, list):
        return [day for inner in value for day in found(inner, name)]
    if name in ("valueCode",) and value == "masked":
        return [None]
    return [value[:10]] if isinstance(value, str) and DATED.match(value) else []


CONTAINED = patient("in")
FATHER = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode",
                      "code": "FTH"}]}  # fmt: skip
ALONE = [
    ("of a patient", observation("Patient/p"), [moved(at("p"))]),
    ("of another", observation("Patient/q"), [moved(at("q"))]),
    ("by an absolute reference", observation(at("p")), [moved(at("p"))]),
    ("by an alias", observation(f"{ALIASES[0]}/Patient/p"), [moved(at("p"))]),
    ("a version of one", observation("Patient/p/_history/3"), [moved(at("p"))]),
    ("elsewhere", observation("http://a.example/Patient/p"), [moved("http://a.example/Patient/p")]),
    ("the patient", patient(), [moved(at("p"))]),
    ("a relative", {"resourceType": "RelatedPerson", "id": "r", "birthDate": DAY,
                    "patient": {"reference": "Patient/p"}}, [moved(at("p"))]),
    ("a relative's history", {"resourceType": "FamilyMemberHistory", "id": "f", "bornDate": DAY,
                              "status": "completed", "relationship": FATHER,
                              "patient": {"reference": "Patient/p"}}, [moved(at("p"))]),
    ("a group", observation("Group/g"), [None]),
    ("a device", observation("Device/g"), [None]),
    ("nobody", observation({}), [None]),
    ("a number", observation({"identifier": {"system": SSN, "value": "1"}}), [None]),
    ("a urn that says nothing", observation("urn:uuid:2be4b4e4-6df1-4cb2-a947-c70fa0eda34d"),
     [None]),
    ("a conditional reference", observation("Patient?identifier=1"), [None]),
    ("who cares", {"resourceType": "Practitioner", "id": "d", "birthDate": DAY}, [None]),
    ("one link of a person", {"resourceType": "Person", "id": "n", "birthDate": DAY,
                              "link": [{"target": {"reference": "Patient/p"}}]}, [moved(at("p"))]),
    ("two links of a person",
     {"resourceType": "Person", "id": "n", "birthDate": DAY,
      "link": [{"target": {"reference": f"Patient/{id}"}} for id in "pq"]}, [None]),
    ("one contained", observation("#in", contained=[CONTAINED]),
     [moved(f"{UPSTREAM}/Observation/o#in")] * 2),
    ("what is contained", observation("Patient/p", hasMember=[{"reference": "#in"}], contained=[
        {"resourceType": "Observation", "id": "in", "status": "final", "issued": f"{DAY}T00:00:00Z"}
    ]), [moved(at("p"))] * 2),
    ("about another in it", observation("Patient/p", hasMember=[{"reference": "#in"}], contained=[
        {**observation("Patient/q"), "id": "in"}
    ]), [moved(at("p")), moved(at("q"))]),
    ("rules of public health", {"resourceType": "Library", "id": "l", "date": DAY}, [DAY]),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "shown"), [c[1:] for c in ALONE], ids=[c[0] for c in ALONE])
def test_a_resource_alone(resource: Any, shown: list[str | None]) -> None:
    """Dates move by the offset of the one patient that a resource is about; those of nobody, or of
    several, are masked; conformance resources are nobody's."""
    assert sorted(map(str, dates(resource))) == sorted(map(str, shown))


URN = "urn:uuid:2be4b4e4-6df1-4cb2-a947-c70fa0eda34d"
OWN = entry(at("p"), patient())
OTHER = entry(f"{UPSTREAM}/Observation/o", observation("Patient/q"))
CARER = entry(f"{UPSTREAM}/Practitioner/d",
              {"resourceType": "Practitioner", "id": "d", "birthDate": DAY})  # fmt: skip
HEAD = entry(f"{UPSTREAM}/Composition/c", composition("Patient/p"))
DOCUMENT = bundle("document", HEAD, OWN, OTHER, CARER, id="d")


def message(*entries: Any, focus: str = "Bundle/d") -> dict[str, Any]:
    header = {"resourceType": "MessageHeader", "id": "h", "source": {"endpoint": "http://x.example"},
              "eventUri": "http://x.example/e", "focus": [{"reference": focus}]}  # fmt: skip
    return bundle("message", entry(f"{UPSTREAM}/MessageHeader/h", header), *entries, id="m")


NESTED = entry(f"{UPSTREAM}/Bundle/d", DOCUMENT)
LEADS = entry(f"{UPSTREAM}/Composition/c", composition("Patient/p") | {
    "section": [{"entry": [{"reference": "Bundle/d"}], "code": FATHER}]
})
CASES = [
    # All that is in a document: its time, its Composition, the patient, another's, a carer's.
    ("document", DOCUMENT, [moved(at("p"))] * 5),
    ("by urn", bundle("document", entry(None, composition(URN)), entry(URN, patient(None)), CARER),
     [moved(URN)] * 4),
    ("a document in it", bundle("document", LEADS, OWN, NESTED),
     [moved(at("p"))] * 8),
    ("of nobody", bundle("document", entry(None, composition(None)), OWN, CARER),
     ["1900-01-01", "1900", moved(at("p")), None]),
    ("of a group", bundle("document", entry(None, composition("Group/g")), OWN),
     ["1900-01-01", "1900", moved(at("p"))]),
    ("two heads", bundle("document", OWN, HEAD, entry(None, composition("Patient/q"))),
     ["1900-01-01", moved(at("p")), moved(at("p")), moved(at("q"))]),
    ("message", message(NESTED, CARER, OTHER), [moved(at("p"))] * 8),
    ("by ids alone", bundle("document", entry(None, composition("Patient/p")),
                            entry(None, patient()), entry(None, observation("Patient/q"))),
     [moved(at("p"))] * 4),
    ("entries by ids alone", bundle("batch", entry(None, patient()),
                                    entry(None, observation("Patient/p")),
                                    entry(None, observation("Patient/q"))),
     [None, moved(at("p")), moved(at("p")), moved(at("q"))]),
    ("message by ids alone", bundle("message", entry(None, message()["entry"][0]["resource"]),
                                    entry(None, DOCUMENT), entry(None, OTHER["resource"])),
     [moved(at("p"))] * 7),
    ("message elsewhere", message(NESTED, OTHER, focus="Bundle/x"),
     [None, *[moved(at("p"))] * 5, moved(at("q"))]),
    ("collection", bundle("collection", OWN, OTHER, CARER),
     [None, moved(at("p")), moved(at("q")), None]),
    ("searchset", bundle("searchset", entry(at("q"), patient("q")), OTHER),
     [None, moved(at("q")), moved(at("q"))]),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "shown"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_documents_and_messages(resource: Any, shown: list[str | None]) -> None:
    """All of a document, and of the message around it, moves by the offset of its Composition's
    subject; in other Bundles each entry goes by itself."""
    assert sorted(map(str, dates(resource))) == sorted(map(str, shown))
    case = Case(SHIFTED)
    assert list(differences(case.reveal(resource), case.reveal_slowly(resource))) == []


def test_documents_and_their_parts_agree() -> None:
    """What stands in an eICR, in its response and alone shows the same dates of a person."""
    alone = 0
    for case in cases(4, 11, base=UPSTREAM):
        stored = [decode(encode(bundle)) for bundle in case.bundles]
        documents = [json.loads(encode(Case(SHIFTED).reveal(each))) for each in stored]
        held = {e["resource"]["id"]: e["resource"] for d in documents for e in d.get("entry", [])}
        for resource in case.resources:
            shown = Case(SHIFTED).reveal(decode(encode(resource)))
            inside = held.get(shown["id"]) if shown else None
            if inside is not None and "subject" in inside:
                assert found(json.loads(encode(shown))) == found(inside)
                alone += 1
    assert alone > 20


ABOUT = observation("Patient/p")
NUMBERS = [
    ("in the Bundle", {}, [patient("p", "1")], f"{SSN}|1"),
    ("twice the same", {}, [patient("p", "1", "1")], f"{SSN}|1"),
    ("a companion", {at("p"): patient("p", "1")}, [], f"{SSN}|1"),
    ("the Bundle's before", {at("p"): patient("p", "2")}, [patient("p", "1")], f"{SSN}|1"),
    ("two numbers", {at("p"): patient("p", "1", "2")}, [], None),
    ("no number", {at("p"): patient("p")}, [], None),
    ("no text", {at("p"): patient("p", 7, None)}, [], None),
    ("no patient", {at("p"): None}, [], None),
    ("not looked for", {}, [], None),
]


@pytest.mark.parametrize(("companions", "near", "name"), [c[1:] for c in NUMBERS],
                         ids=[c[0] for c in NUMBERS])  # fmt: skip
def test_a_number_names_the_person(
    companions: dict[str, Any], near: list[Any], name: str | None
) -> None:
    """Under by-system the Patient's identifier counts, of the Bundle at hand or else of the server;
    without exactly one, the date is masked."""
    case = Case(BY_NUMBER)
    scope = case.scope()
    scope.companions = companions
    entries = [entry(at("p"), each) for each in near] + [entry(None, ABOUT)]
    shown = find_view(BY_NUMBER).reveal(bundle("collection", *entries), scope)
    assert shown is not None
    last: Any = shown["entry"][-1]  # type: ignore[index]
    expected = moved(name, BY_NUMBER) if name else None
    assert last["resource"].get("effectiveDateTime") == expected
    if name is None:
        assert last["resource"]["_effectiveDateTime"] == MASKED
    assert scope.missing == ({at("p")} if not companions and not near else set())


def test_a_survey_finds_who_is_missing() -> None:
    """Before a reveal it can be told which Patients it will look for, wherever they are named."""
    view = find_view(BY_NUMBER)
    inner = {**observation("Patient/q"), "id": "in"}
    rows: list[tuple[Any, set[str]]] = [
        (ABOUT, {"p"}), (patient("p"), set()),
        (observation("Patient/p", contained=[inner]), {"p", "q"}),
        (bundle("collection", OTHER, entry(None, ABOUT)), {"p", "q"}),
        (bundle("document", HEAD, OTHER), {"p", "q"}),
        (bundle("document", HEAD, entry(at("p"), patient("p", "1")), OTHER), set()),
        (message(entry(f"{UPSTREAM}/Bundle/d", bundle("document", HEAD, OTHER))), {"p", "q"}),
        ({"resourceType": "Library", "id": "l"}, set()),
    ]  # fmt: skip
    for resource, wanted in rows:
        assert view.companions(resource, Case(BY_NUMBER).scope()) == {at(id) for id in wanted}
    assert find_view(SHIFTED).companions(ABOUT, Case(SHIFTED).scope()) == set()


def test_when_the_server_wrote_is_a_date_of_the_person() -> None:
    """Meta.lastUpdated moves where it has a line, and goes where it cannot."""
    case, stored = Case(BY_NUMBER), {"lastUpdated": f"{DAY}T08:00:00.123Z"}
    shown = case.reveal(patient("p", "1", meta=stored))
    assert shown["meta"]["lastUpdated"] == f"{moved(f'{SSN}|1', BY_NUMBER)}T08:00:00.123Z"
    assert "meta" not in case.reveal(patient("p", meta=stored))
    assert "lastUpdated" not in Case(SHIFTED).reveal(patient("p", meta=stored))["meta"]


@pytest.mark.parametrize("type_name", sorted(RESOURCES))
def test_the_patients_of_a_type(type_name: str) -> None:
    """What R4's search parameters read of a type is what its definition names the patient by."""
    names = {"patient", "subject"} & {e.name for e in TYPES[type_name].elements}
    expected = OTHERS.get(type_name, sorted(names))
    found = {".".join(steps) for steps in elements(type_name)}
    assert found <= set(expected) or not expected
    assert found or not names or type_name.startswith("Medicinal") or type_name == "Patient", names


BORN = [
    ("89 and stays", "1936-12-01", -1, True), ("90 as stored", "1936-06-30", -1, False),
    ("90 as shown", "1936-07-15", -30, False), ("young", "1990-01-01", -365, True),
    ("a year", "1936", -200, False), ("a month", "1936-07", -16, False),
]  # fmt: skip


@pytest.mark.parametrize(("born", "offset", "stays"), [c[1:] for c in BORN],
                         ids=[c[0] for c in BORN])  # fmt: skip
def test_birth_dates_of_the_oldest_go(born: str, offset: int, stays: bool) -> None:
    """A person of 90 or more shows no birth date, neither by the stored date nor by the shown."""
    person = next(
        str(n) for n in range(9999) if namer_of(SHIFTED).offset(at(str(n)), -365, -1) == offset
    )
    shown = Case(SHIFTED).reveal(patient(person, birthDate=born))
    assert ("birthDate" in shown) is stays
    assert "_birthDate" not in shown


WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@pytest.mark.parametrize(
    ("subject", "stored", "stays"),
    [
        ("Patient/p", ["mon", "sat"], True),
        ("Patient/q", ["sun"], True),
        (None, ["mon"], False),
        ("Patient/p", ["mon", "MON"], False),
        ("Patient/p", ["mon", "day"], False),
        ("Patient/p", [], False),
    ],
)
def test_days_of_the_week_move_with_dates(
    subject: str | None, stored: list[str], stays: bool
) -> None:
    """What is repeated on the weekday of its first day still is; of nobody, or where one is no day
    of the week, none is shown."""
    day = date(2026, 3, 2) + timedelta(days=WEEK.index(stored[0]) if stored else 0)
    repeat = {"boundsPeriod": {"start": day.isoformat()}, "dayOfWeek": stored, "count": 3}
    held = observation(subject or {}, effectiveTiming={"repeat": repeat})
    revealed: Any = Case(SHIFTED).reveal(held)
    shown = revealed["effectiveTiming"]["repeat"]
    assert shown["count"] == 3
    assert ("dayOfWeek" in shown) == stays
    if stays:
        first = date.fromisoformat(shown["boundsPeriod"]["start"])
        assert shown["dayOfWeek"][0] == WEEK[first.weekday()]
        assert len(shown["dayOfWeek"]) == len(stored)
        assert first != day
