"""Searches and reads of shifted dates: what is asked upstream, and what is found and shown."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from proxy.engine.gateway import Gateway, Limits
from proxy.engine.messages import Answer, Ask, Reply
from proxy.fhir import registry
from proxy.fhir.match import matches, sort_key
from proxy.fhir.match_order import put_in_order
from proxy.lenses.dates import move_date
from tests.engine.playbook import (
    PUBLIC,
    UPSTREAM,
    Chart,
    body_of,
    converse,
    drive,
    issue_of,
    make_call,
    make_gateway,
    namer,
    ok,
    patient,
    searchset,
    shown_id,
    spelled,
)

SHIFTED, SSN = "researcher-shifted", "http://hl7.org/fhir/sid/us-ssn"
SORTED, COUNT = ("_sort", "_pid"), ("_count", "101")
DAYS = ("2019-12-31", "2020-01-01", "2020-02-29", "2020-03-01T23:30:00-05:00",
        "2020-03-01T08:00:00.5Z", "2020", "2020-03", "2021", "2021-06-15", "2020-12-31T23:59:59Z")
WHO = ("p", "q", "r")


def offset(person: str) -> int:
    return namer(SHIFTED).offset(f"{UPSTREAM}/Patient/{person}", -365, -1)


def finding(id_: str, person: str, **members: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id_, "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "1-8"}]},
            "subject": {"reference": f"Patient/{person}"}, **members}  # fmt: skip


def widened(text: str, low: int, high: int) -> tuple[str, str]:
    """The days to ask for, for what shows ``text`` moved by ``low`` to ``high`` days."""
    day, half = date.fromisoformat(text), timedelta(days=184)
    return (f"{day - timedelta(days=high) - half}", f"{day - timedelta(days=low) + half}")


WIDE = widened("2020-06-15", -365, -1)
CLOSE = widened("2020-06-15", offset("p"), offset("p"))
P = shown_id(SHIFTED, "Patient", "p")
Q = shown_id(SHIFTED, "Patient", "q")
SUBJECT = ("subject", spelled("p"))
PATIENT = ("patient", spelled("p"))


def between(name: str, ends: tuple[str, str]) -> list[tuple[str, str]]:
    return [(name, f"ge{ends[0]}"), (name, f"le{ends[1]}")]


ASKED = [
    ("Observation?date=2020-06-15", between("date", WIDE)),
    ("Observation?date=ge2020-06-15", [("date", f"ge{WIDE[0]}")]),
    ("Observation?date=lt2020-06-15", [("date", f"le{WIDE[1]}")]),
    ("Observation?date=ne2020-06-15", []),
    (f"Observation?patient={P}&date=2020-06-15", [PATIENT, *between("date", CLOSE)]),
    (f"Observation?date=sa2020-06-15&subject=Patient/{P}",
     [("date", f"ge{CLOSE[0]}"), SUBJECT]),
    (f"Observation?subject:Patient={P}&date=eb2020-06-15",
     [SUBJECT, ("date", f"le{CLOSE[1]}")]),
    (f"Observation?patient={P},{Q}&date=2020-06-15",
     [("patient", spelled("p", "q")), *between("date", WIDE)]),
    (f"Observation?patient={P}&date=2020-06-15,2020-06-16",
     [PATIENT, ("date", f"ge{CLOSE[0]}"),
      ("date", f"le{widened('2020-06-16', 0, 0)[1]}")]),
    (f"Patient?_id={P}&birthdate=2020-06-15", [("_id", "p"), *between("birthdate", CLOSE)]),
    ("Patient?birthdate=2020-06-15", between("birthdate", WIDE)),
    (f"Observation?encounter=Encounter/{shown_id(SHIFTED, 'Encounter', 'p')}&date=ge2020-06-15",
     [("encounter", spelled("p", type_="Encounter")), ("date", f"ge{WIDE[0]}")]),
]  # fmt: skip
# The list of two days ends with the later one, moved by the same person's offset.
_LAST = ASKED[8][1]
_LAST[2] = ("date", "le" + widened("2020-06-16", offset("p"), offset("p"))[1])


@pytest.mark.parametrize(("target", "sent"), ASKED, ids=[target for target, _ in ASKED])
def test_asked(target: str, sent: list[tuple[str, str]]) -> None:
    """One patient that is named is asked for by that one's days; without one, as many days more are
    asked for as the range is wide."""
    type_ = target.partition("?")[0]
    ask = Ask(path=f"{type_}/_search", form=(*sent, SORTED, COUNT))
    assert converse(make_call(SHIFTED, f"/{target}"), (ask, searchset([]))).status == 200


REFUSED = ["Observation?date=ap2020-06-15", "Observation?date:missing=true",
           "Observation?_lastUpdated=ge2020-06-15", "Observation?_sort=_lastUpdated",
           "Observation?_has:Provenance:target:recorded=2020"]  # fmt: skip


@pytest.mark.parametrize("target", REFUSED)
def test_refused(target: str) -> None:
    """What is approximate, whether a date is there, and when the server wrote cannot be asked."""
    assert issue_of(converse(make_call(SHIFTED, f"/{target}")))[0] in (400, 403)


def chart() -> Chart:
    rows = [patient(w, birthDate="1980-02-29") for w in WHO]
    for person in WHO:
        for number, day in enumerate(DAYS):
            rows.append(finding(f"{person}{number}", person, effectiveDateTime=day))
            period = {"start": day} if number % 2 else {"end": day}
            rows.append(finding(f"{person}{number}-p", person, effectivePeriod=period))
    group = {"subject": {"reference": "Group/g"}}
    rows.append(finding("group", "p", effectiveDateTime=DAYS[0]) | group)
    rows.append(finding("none", "p"))
    return Chart(rows)


def moved(resource: dict[str, Any], person: str) -> dict[str, Any]:
    """The resource as shown, as far as dates go."""
    out = dict(resource)
    if "effectiveDateTime" in out:
        out["effectiveDateTime"] = move_date(out["effectiveDateTime"], offset(person))
    if "effectivePeriod" in out:
        ends = out["effectivePeriod"].items()
        out["effectivePeriod"] = {k: move_date(v, offset(person)) for k, v in ends}
    return out


def expected() -> list[dict[str, Any]]:
    found = []
    for version in chart().store.of_type("Observation"):
        resource: Any = version.resource
        person = resource["subject"]["reference"].removeprefix("Patient/")
        if person in WHO:
            found.append(moved(resource, person))
    return found


def ask(upstream: Chart, target: str, at: Gateway | None = None) -> list[Any]:
    return [e["resource"] for reply in upstream.pages(SHIFTED, target, at)
            for e in body_of(reply).get("entry", []) if e["search"]["mode"] == "match"]  # fmt: skip


ASKED_DATES = ("2019-07-01", "2020-01", "2019", "2020-02-28T12:00:00Z", "2020-06-15")


@pytest.mark.parametrize("prefix", ["", "ne", "gt", "lt", "ge", "le", "sa", "eb"])
def test_what_shows_a_date_is_found_by_it(prefix: str) -> None:
    """All and only rows that show what is asked for are found, of one patient and of all, whatever
    the precision of either date."""
    upstream, shown = chart(), expected()
    known = registry.get("Observation")["date"]
    total = 0
    for day in (*ASKED_DATES, shown[3].get("effectiveDateTime") or "2020-01-01"):
        value = (prefix + day).replace("+", "%2B")
        wanted = {r["id"] for r in shown if matches(r, "Observation", known, "", [prefix + day])}
        names = {shown_id(SHIFTED, "Observation", id_) for id_ in wanted}
        assert {r["id"] for r in ask(upstream, f"/Observation?date={value}")} == names, value
        for person in WHO:
            own = {shown_id(SHIFTED, "Observation", i) for i in wanted if i.startswith(person)}
            target = f"/Observation?patient={shown_id(SHIFTED, 'Patient', person)}&date={value}"
            assert {r["id"] for r in ask(upstream, target)} == own, target
        total += len(wanted)
    assert total > 5


@pytest.mark.parametrize("key", ["date", "-date"])
def test_rows_are_sorted_by_shifted_dates(key: str) -> None:
    """_sort is done on what shows, so its order tells nothing of the real days."""
    known = registry.get("Observation")["date"]
    found = ask(chart(), f"/Observation?_sort={key}&_count=20")
    keys = [sort_key(r, "Observation", known, key[0] == "-") for r in found]
    assert put_in_order(zip(keys, found, strict=True), down=key[0] == "-") == found
    assert len(found) == len(expected()) + 1


# By a number of the patient -----------------------------------------------------------------------

NUMBERED = f"""
title = "By number"
basis = "a test"

[access]
Composition = ["read", "search", "$document"]
Observation = ["read", "search"]
Patient     = ["read", "search", "include"]

[ids]
default = "pseudonym"

[elements]
"Composition" = "keep"
"Observation" = "keep"
"Patient"     = "keep"

[datatypes]
date     = {{ method = "shift", by-system = "{SSN}" }}
dateTime = {{ method = "shift", by-system = "{SSN}" }}
instant  = {{ method = "shift", by-system = "{SSN}" }}

[rows.Observation]
search = "status=final"

[search]
include = ["Observation:subject"]
chain   = ["Observation:subject:Patient"]
"""


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    file = tmp_path_factory.mktemp("policies") / f"{SHIFTED}.toml"
    file.write_text(NUMBERED)
    return make_gateway({SHIFTED: file}, Limits(asks=12))


def numbered_day(at: Gateway, number: str, day: str = "2020-06-15") -> str:
    days = at.namers.of("study-7", SHIFTED).offset(f"{SSN}|{number}", -365, -1)
    return str(move_date(day, days))


def person(id_: str, *numbers: str) -> dict[str, Any]:
    return patient(id_, birthDate="2020-06-15",
                   identifier=[{"system": SSN, "value": n} for n in numbers])  # fmt: skip


def store() -> Chart:
    return Chart([
        person("p", "1"), person("q", "1"), person("r", "2", "3"), person("s"),
        *(finding(f"o{w}", w, effectiveDateTime="2020-06-15") for w in "pqrst"),
        finding("hidden", "p", effectiveDateTime="2020-06-15") | {"status": "amended"},
        {"resourceType": "Composition", "id": "c", "status": "final", "date": "2020-06-15",
         "type": {"coding": [{"system": "http://loinc.org", "code": "55751-2"}]},
         "subject": {"reference": "Patient/p"}, "author": [], "title": "x",
         "section": [{"entry": [{"reference": "Observation/op"}]}]},
    ])  # fmt: skip


def day_of(resource: Any) -> Any:
    return resource.get("effectiveDateTime") or resource.get("birthDate") or resource.get("date")


def test_a_search_asks_for_the_patients_of_its_rows(numbered: Gateway) -> None:
    """The Patients of a page are fetched together, once, and those of two records with one number
    are one person; without one number the date is masked."""
    upstream = store()
    found = {r["id"]: r for r in ask(upstream, "/Observation", numbered)}
    one = numbered_day(numbered, "1")
    shown = [day_of(found[namer_id(numbered, "Observation", f"o{w}")]) for w in "pqrst"]
    assert shown == [one, one, None, None, None]
    asked = [a for a in upstream.log if a.path == "Patient/_search"]
    assert [dict(a.form or ())["_id"] for a in asked] == ["p,q,r,s,t"]


def namer_id(at: Gateway, type_: str, id_: str) -> str:
    return at.namers.of("study-7", SHIFTED).show_id(type_, id_)


def test_includes_chains_and_orders_know_the_person(numbered: Gateway) -> None:
    """What comes along, what is at the end of a chain, and what is sorted shows the same date."""
    upstream, one = store(), numbered_day(numbered, "1")
    reply, _ = drive(make_call(SHIFTED, "/Observation?_include=Observation:subject"),
                     upstream.serve, numbered)  # fmt: skip
    days = {e["resource"]["id"]: day_of(e["resource"]) for e in body_of(reply)["entry"]}
    assert [days[namer_id(numbered, "Patient", w)] for w in "pqrs"] == [one, one, None, None]
    named = f"subject=Patient/{namer_id(numbered, 'Patient', 'p')}"
    for query in (f"subject:Patient.birthdate={one}", f"date={one}&_sort=date",
                  f"date={one}", f"{named}&date={one}"):  # fmt: skip
        rows = ask(store(), f"/Observation?{query}", numbered)
        ids = {"op"} if "Patient/" in query else {"op", "oq"}
        assert {r["id"] for r in rows} == {namer_id(numbered, "Observation", i) for i in ids}, query
        assert {day_of(r) for r in rows} == {one}


def serve_reads(upstream: Chart, asked: list[Ask]) -> Any:
    """An upstream that answers reads too."""

    def serve(a: Ask) -> Answer:
        asked.append(a)
        type_, _, id_ = a.path.partition("/")
        if a.form is None and not a.url:
            held = upstream.store.current(type_, id_)
            return ok(held.resource) if held and held.resource else Answer(404, {}, b"{}")
        return upstream.serve(a)

    return serve


def test_a_read_asks_for_its_patient(numbered: Gateway) -> None:
    """A read fetches the one Patient; a Patient, and what does not show, needs no more asks than
    what was never there."""
    one = numbered_day(numbered, "1")
    for type_, id_, day, asks in (
        ("Observation", "op", one, 2), ("Observation", "or", None, 2), ("Patient", "p", one, 1),
        ("Observation", "hidden", None, 1), ("Observation", "never", None, 1),
    ):  # fmt: skip
        log: list[Ask] = []
        target = f"/{type_}/{namer_id(numbered, type_, id_)}"
        reply, _ = drive(make_call(SHIFTED, target), serve_reads(store(), log), numbered)
        assert len(log) == asks, (id_, log)
        assert reply.status == (404 if id_ in ("hidden", "never") else 200)
        assert reply.status == 404 or day_of(body_of(reply)) == day


def test_a_document_knows_the_person(numbered: Gateway) -> None:
    """All entries of a Composition's document show the dates that reads of them show."""
    log: list[Ask] = []
    target = f"/Composition/{namer_id(numbered, 'Composition', 'c')}/$document"
    reply, _ = drive(make_call(SHIFTED, target), serve_reads(store(), log), numbered)
    one = numbered_day(numbered, "1")
    assert {day_of(e["resource"]) for e in body_of(reply)["entry"]} == {one}
    assert len(body_of(reply)["entry"]) == 3
    assert body_of(reply)["timestamp"].startswith(one)


def test_a_failure_is_no_masked_date(numbered: Gateway) -> None:
    """Where the Patients cannot be fetched, the answer is the failure, not a date that is gone."""

    def serve(a: Ask) -> Answer:
        return Answer(503, {}, b"") if a.path == "Patient/_search" else store().serve(a)

    reply, _ = drive(make_call(SHIFTED, "/Observation"), serve, numbered)
    assert reply.status >= 500
    assert isinstance(reply, Reply)


def test_many_patients_are_asked_for_in_parts(numbered: Gateway) -> None:
    """At most a hundred Patients are asked for at once."""
    upstream = Chart([r for n in range(101) for r in (
        person(f"p{n}", str(n)), finding(f"o{n}", f"p{n}", effectiveDateTime="2020-06-15"))])
    found = ask(upstream, "/Observation?_count=100", numbered)
    assert all(day_of(r) for r in found)
    asked = [a for a in upstream.log if a.path == "Patient/_search"]
    assert all(len(dict(a.form or ())["_id"].split(",")) <= 100 for a in asked)
    assert len(asked) <= 3
    assert PUBLIC in body_of(upstream.pages(SHIFTED, "/Observation", numbered)[0])["link"][0]["url"]


def test_the_statement_says_how_dates_show() -> None:
    """The CapabilityStatement says of a date parameter that it reads dates moved by some days."""
    text = converse(make_call(SHIFTED, "/metadata")).body
    assert b"translated: shown moved by some days; prefixes eq, ne, gt, lt, ge, le, sa, eb" in text


@pytest.mark.parametrize("stored", ["2019-09-02T10:00:00Z", "1960-01-01T00:00:00Z"])
@pytest.mark.parametrize("prefix", ["lt", "le", "gt", "ge", "eq", "ne", "sa", "eb"])
def test_a_masked_date_is_found_by_what_it_shows(stored: str, prefix: str) -> None:
    """A required date that is nobody's shows as 1900, and so it is found, whatever it is: by no day
    can it be told from any other."""
    held: dict[str, Any] = {"resourceType": "Provenance", "id": "v", "recorded": stored,
                            "target": [{"reference": "Organization/x"}]}  # fmt: skip
    shown_day = "1900-01-01T00:00:00Z"
    for day in ("1899-12-31", "1900-01-01", "1900", "1900-06", "1901-01-01", "1960-02-01",
                "2019-09-02", "2021-03-05"):  # fmt: skip
        target = f"/Provenance?recorded={prefix}{day}"
        reply, _ = drive(make_call(SHIFTED, target), Chart([held]).serve)
        shown = [e["resource"]["recorded"] for e in body_of(reply).get("entry", ())]
        masked, known = held | {"recorded": shown_day}, registry.get("Provenance")["recorded"]
        expected = matches(masked, "Provenance", known, "", [f"{prefix}{day}"])
        assert shown == ([shown_day] if expected else []), day


# Texts --------------------------------------------------------------------------------------------

SCRUBBED = """
title = "Scrubbed"
basis = "a test"

[access]
Bundle      = ["read"]
Composition = ["read", "$document"]
Observation = ["read", "search"]
Patient     = ["read", "search"]

[ids]
default = "pseudonym"

[elements]
"Bundle" = "keep"
"Composition" = "keep"
"Observation" = "keep"
"Patient"     = "keep"
"Observation.note.text" = "scrub"

[datatypes]
string = "scrub"
"""


@pytest.fixture(scope="module")
def scrubbed(tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    file = tmp_path_factory.mktemp("policies") / f"{SHIFTED}.toml"
    file.write_text(SCRUBBED)
    return make_gateway({SHIFTED: file}, Limits(asks=12))


def noted() -> Chart:
    related = {"resourceType": "RelatedPerson", "id": "r", "patient": {"reference": "Patient/p"},
               "name": [{"family": "Other", "given": ["Bo"]}]}  # fmt: skip
    text = [{"text": "Everywoman with Bo Other on 2020-03-01"}]
    return Chart([patient("p"), related,
                  finding("o", "p", note=text), finding("x", "z", note=text)])  # fmt: skip


def test_a_search_asks_for_the_persons_that_texts_may_name(scrubbed: Gateway) -> None:
    """Patients and RelatedPersons are fetched before a text is shown; without them it is masked;
    the audit learns how much was found, by kind."""
    upstream = noted()
    reply, _ = drive(make_call(SHIFTED, "/Observation"), upstream.serve, scrubbed)
    notes = [e["resource"]["note"][0] for e in body_of(reply)["entry"]]
    assert [note["text"] for note in notes] == ["[NAME] with [NAME] on [DATE]", "masked"]
    assert [a.path for a in upstream.log] == [
        "Observation/_search", "Patient/_search", "RelatedPerson/_search"]  # fmt: skip
    assert dict(reply.facts.scrubbed) == {"NAME": 2, "DATE": 1}
    log: list[Ask] = []
    target = f"/Observation/{namer_id(scrubbed, 'Observation', 'o')}"
    reply, _ = drive(make_call(SHIFTED, target), serve_reads(noted(), log), scrubbed)
    assert body_of(reply)["note"] == [{"text": "[NAME] with [NAME] on [DATE]"}]
    assert dict(reply.facts.scrubbed) == {"NAME": 2, "DATE": 1}


def related(id_: str, person: str, family: str) -> dict[str, Any]:
    return {"resourceType": "RelatedPerson", "id": id_, "name": [{"family": family}],
            "patient": {"reference": f"Patient/{person}"}}  # fmt: skip


@pytest.mark.parametrize(("subject", "kept"), [("p", 2_000), ("nobody", 2_000), ("p", 0)])
def test_a_document_is_scrubbed_of_all_whom_it_names(
    subject: str, kept: int, scrubbed: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What $document shows is what the same document shows where it is stored: scrubbed of all whom
    a read of any of it is scrubbed of, in the document or not, however few Patients are kept from
    page to page; what is about somebody unknown is masked. The audit learns of each find once."""
    monkeypatch.setattr("proxy.engine.companions._MOST", kept)
    text = [{"text": "Everywoman with Quimby, Zulu and Yankee on 2020-03-01"}]
    report = {"resourceType": "Composition", "id": "c", "status": "final", "title": "a",
              "subject": {"reference": f"Patient/{subject}"}, "date": "2020-03-02",
              "section": [{"entry": [{"reference": f"Observation/{i}"} for i in "oqx"]}]}
    deep = finding("q", "q", note=text, hasMember=[{"reference": "Observation/d"}])
    held: list[dict[str, Any]] = [
        report, patient("p"), finding("o", "p", note=text), deep, finding("x", "z", note=text),
        finding("d", "p", note=text, hasMember=[{"reference": "Observation/e"}]),
        finding("e", "p", note=text)]  # fmt: skip
    entries = [{"fullUrl": f"{UPSTREAM}/{r['resourceType']}/{r['id']}", "resource": r}
               for r in held]
    stored = {"resourceType": "Bundle", "id": "b", "type": "document", "entry": entries}
    other = patient("q", name=[{"family": "Zulu"}])
    upstream = Chart([*held, related("r", "p", "Quimby"), related("s", "q", "Yankee"), other,
                      stored])  # fmt: skip

    def show(name: str) -> tuple[dict[str, Any], Reply]:
        reply, _ = drive(make_call(SHIFTED, name), serve_reads(upstream, []), scrubbed)
        found = {e["resource"]["id"]: e["resource"] for e in body_of(reply)["entry"]}
        return found, reply

    made, reply = show(f"/Composition/{namer_id(scrubbed, 'Composition', 'c')}/$document")
    read, answer = show(f"/Bundle/{namer_id(scrubbed, 'Bundle', 'b')}")
    assert read.items() <= made.items()
    assert made.keys() - read.keys() <= {namer_id(scrubbed, "Patient", "q")}
    if subject == "p":
        notes = {made[namer_id(scrubbed, "Observation", i)]["note"][0]["text"] for i in "oqde"}
        assert notes == {"[NAME] with [NAME], [NAME] and [NAME] on [DATE]"}
        assert made[namer_id(scrubbed, "Observation", "x")]["note"][0]["text"] == "masked"
    assert dict(reply.facts.scrubbed) == dict(answer.facts.scrubbed)


def test_all_of_a_document_moves_with_its_subject() -> None:
    """In $document, as in a stored document, the dates of what is about nobody, or about somebody
    else, move by the offset of the Composition's subject; a read masks or moves them by its own."""
    group = {"resourceType": "Condition", "id": "n", "subject": {"reference": "Group/g"},
             "recordedDate": "2020-03-05"}  # fmt: skip
    report = {"resourceType": "Composition", "id": "c", "status": "final", "title": "a",
              "subject": {"reference": "Patient/p"}, "date": "2020-03-02",
              "section": [{"entry": [{"reference": "Observation/o"},
                                     {"reference": "Condition/n"}]}]}  # fmt: skip
    other = finding("o", "q", effectiveDateTime="2020-03-04")
    upstream = Chart([patient("p"), patient("q"), group, other, report])
    target = f"/Composition/{shown_id(SHIFTED, 'Composition', 'c')}/$document"
    reply, _ = drive(make_call(SHIFTED, target), serve_reads(upstream, []))
    shown = {e["resource"]["resourceType"]: e["resource"] for e in body_of(reply)["entry"]}
    days = timedelta(days=offset("p"))
    assert shown["Composition"]["date"] == f"{date(2020, 3, 2) + days}"
    assert shown["Condition"]["recordedDate"] == f"{date(2020, 3, 5) + days}"
    assert shown["Observation"]["effectiveDateTime"] == f"{date(2020, 3, 4) + days}"
    alone = f"/Condition/{shown_id(SHIFTED, 'Condition', 'n')}"
    reply, _ = drive(make_call(SHIFTED, alone), serve_reads(upstream, []))
    assert "recordedDate" not in body_of(reply)


@pytest.mark.parametrize("query", ["code:text=x", "value-string=x", "_sort=value-string"])
def test_no_search_reads_a_scrubbed_text(query: str, scrubbed: Gateway) -> None:
    """What is replaced cannot be asked for."""
    reply = converse(make_call(SHIFTED, f"/Observation?{query}"), at=scrubbed)
    assert issue_of(reply)[0] == 403
