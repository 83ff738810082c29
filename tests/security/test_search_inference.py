"""Section 3 of the security requirements, R-SI-1 to R-SI-6, on the running product.

Every example and more of its kind, by GET, POST, HEAD and batch; refusals are the same whatever is
stored, and the upstream is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from proxy.fhir import registry
from proxy.policy.derive import MODIFIERS
from tests.security.asking import check_refused, found, hold, in_batches
from tests.security.product import (
    DEID,
    EPI,
    INV,
    LDS,
    RESTRICTED,
    product,
)
from tests.security.searched import EMPTY, REAL, WORLD, filled, patient
from tests.security.serving import common, holding, is_refusal

# What no research view shows, by what reads it.
HIDDEN = (
    "Patient?family={m}",
    "Patient?given={m}",
    "Patient?name={m}",
    "Patient?phonetic={m}",
    "Patient?telecom={m}",
    "Patient?phone={m}",
    "Patient?email={m}",
    "Patient?address={m}",
    "Patient?address=MI",
    "Patient?link=Patient/x",
    "Patient?family:exact={m}",
    "Patient?family:contains={m}",
    "Patient?name:exact={m}",
    "Patient?family:missing=true",
    "Patient?family:missing=false",
    "Patient?name:missing=false",
    "Patient?telecom:missing=false",
    "Patient?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|{m}",
    "Patient?identifier:text={m}",
    "Patient?identifier:missing=false",
    "Patient?gender:text=female",
    "Patient?gender:in=http://example.org/ValueSet/x",
    "Practitioner?family={m}",
    "Practitioner?name={m}",
    "Practitioner?phone={m}",
    "PractitionerRole?telecom={m}",
    "RelatedPerson?name={m}",
    "RelatedPerson?phone={m}",
    "Person?name={m}",
    "Person?phonetic={m}",
    "Organization?name={m}",
    "Organization?phonetic={m}",
    "Organization?address={m}",
    "Location?name={m}",
    "Location?address={m}",
    "Observation?value-string={m}",
    "Observation?code-value-string=http://loinc.org|59419-2${m}",
    "Observation?code:text={m}",
    "Observation?value-concept:text={m}",
    "Observation?subject:identifier=urn:oid:1.2.3|{m}",
    "Condition?code:text={m}",
    "Condition?code:in=http://example.org/ValueSet/x",
    "Condition?code:not-in=http://example.org/ValueSet/x",
    "Condition?code:below=http://snomed.info/sct|1",
    "Condition?code:above=http://snomed.info/sct|1",
    "Condition?onset-info={m}",
    "Composition?title={m}",
    "DocumentReference?description={m}",
    "Device?udi-carrier={m}",
    "Device?device-name={m}",
    "Immunization?lot-number={m}",
    "Medication?lot-number={m}",
    "CareTeam?identifier:of-type=a|b|{m}",
    "Endpoint?name={m}",
    "Patient?_tag={m}",
    "Patient?_security={m}",
    "Patient?_source={m}",
    "Patient?_profile=http://example.org/{m}",
)
# Beyond that, what Safe Harbor hides or shows less exactly.
HIDDEN_DEID = (
    "Patient?identifier=urn:oid:1.2.3|{m}",
    "Patient?identifier={m}",
    "Encounter?identifier={m}",
    "Observation?identifier={m}",
    "Specimen?accession={m}",
    "Patient?address-city=Ann%20Arbor",
    "Patient?birthdate=1974-11-24",
    "Patient?birthdate:missing=false",
    "Patient?_lastUpdated=gt2020-01-01",
    "Patient?_lastUpdated=gt2020",
    "Location?address-postalcode=481",
    "Organization?address-postalcode=48104",
)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_si_1_what_is_hidden_is_not_searched(role: str, tmp_path: Path) -> None:
    """R-SI-1: names, telecoms, street lines, record numbers, free text, displays and metadata are
    neither searched nor tested for, whether or not something matches."""
    targets = filled(HIDDEN + (HIDDEN_DEID if role == DEID else ()))
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        matching = await check_refused(running, upstream, role, targets)
        hold(upstream, *EMPTY)
        assert await check_refused(running, upstream, role, targets) == matching


VALUES = {
    "token": "abc",
    "date": "2018-01-02",
    "reference": "Patient/x",
    "string": "abc",
    "number": "1",
    "quantity": "1",
    "uri": "http://example.org/x",
    "composite": "a$b",
    "special": "1",
}


def combinations() -> Iterator[tuple[str, str, str, str]]:
    """(type, code, modifier, target) of every parameter of R4 and US Core on every type, with every
    modifier of its kind, and of names that nobody knows."""
    for kind in sorted(common()[1].gateway.views[INV].policy.access):
        for code, known in registry.get(kind).items():
            for modifier in MODIFIERS[known.type]:
                value = "true" if modifier == "missing" else VALUES[known.type]
                name = f"{code}:{modifier}" if modifier else code
                yield kind, code, modifier, f"{kind}?{quote(name)}={quote(value, safe='')}"
        for strange in ("x", "_x", "_famly", "namee", "Gender", "_has", "_filter", "code:x"):
            yield kind, strange, "", f"{kind}?{strange}=1"


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_si_1_everything_that_is_not_offered_is_refused(role: str, tmp_path: Path) -> None:
    """R-SI-1, R-SI-11: of every type, parameter and modifier exactly what the view's table offers
    is answered; the rest is refused without an upstream call."""
    table = common()[1].gateway.verdicts[role]
    asked = list(combinations())
    refused = [
        target
        for kind, code, modifier, target in asked
        if table.verdict(kind, code, modifier).kind == "refuse"
    ]
    assert len(refused) * 2 > len(asked) > 4000
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        upstream.calls()
        for target, status, _ in await in_batches(running, role, refused):
            assert status in ("400", "403"), target
        assert upstream.calls() == []


CHAINS = (
    "Patient?_has:Observation:patient:code-value-quantity=http://loinc.org%7C59419-2$gt1000",
    "Patient?_has:Observation:patient:code=59419-2",
    "Patient?_has:Observation:subject:value-string={m}",
    "Patient?_has:Condition:patient:_has:Encounter:diagnosis:status=finished",
    "Patient?_has:Provenance:target:recorded=2019",
    "Patient?_has:AuditEvent:patient:agent-name={m}",
    "Observation?patient.family={m}",
    "Observation?subject:Patient.name={m}",
    "Observation?patient.telecom={m}",
    "Observation?patient.identifier:of-type=a%7Cb%7C{m}",
    "Observation?subject.name={m}",
    "Observation?patient.organization.name={m}",
    "Observation?performer:Practitioner.name={m}",
    "Observation?performer:Organization.name={m}",
    "Observation?encounter.subject:Patient.family={m}",
    "Observation?encounter.patient.gender=female",
    "Observation?patient._has:Condition:patient:code=3928002",
    "Observation?specimen.subject:Patient.family={m}",
    "Condition?subject:Patient.phonetic={m}",
    "Condition?subject:Group.code={m}",
    "Composition?entry:Patient.family={m}",
    "Composition?subject:Patient._id.x={m}",
    "Encounter?location.name={m}",
    "Encounter?participant:Practitioner.name={m}",
    "Bundle?composition.title={m}",
    "Bundle?composition.patient.family={m}",
    "Bundle?message.source={m}",
    "Observation?patient.address={m}",
    "Observation?code.text={m}",
    "Observation?patient.nothing={m}",
    "Observation?patient:Patient:Patient.family={m}",
)
CHAINS_DEID = (
    "Observation?patient.birthdate:missing=false",
    "Observation?subject:Patient.birthdate=1974-11-24",
    "Observation?subject:Patient.birthdate=ge1974",
    "Observation?patient.address-city=Ann%20Arbor",
    "Observation?patient.address-postalcode=48104",
    "Observation?patient.identifier={m}",
    "Observation?subject:Patient.address-state=MI",
    "Observation?subject:Patient.gender=female",
)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_si_2_chains_tell_nothing(role: str, tmp_path: Path) -> None:
    """R-SI-2: chains through what is hidden, of more than one step or of a type that is not shown,
    and every reverse chain are refused; for the de-identified view every chain is."""
    targets = filled(CHAINS + (CHAINS_DEID if role == DEID else ()))
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        matching = await check_refused(running, upstream, role, targets)
        hold(upstream, *EMPTY)
        assert await check_refused(running, upstream, role, targets) == matching


SORTS = (
    "Patient?_sort=family",
    "Patient?_sort=-family",
    "Patient?_sort=gender,family",
    "Patient?_sort=name",
    "Patient?_sort=telecom",
    "Patient?_sort=address",
    "Patient?_sort=phonetic",
    "Patient?_sort=identifier",
    "Patient?_sort=_score",
    "Patient?_sort=_pid",
    "Patient?_sort=_lastUpdated",
    "Patient?_sort=-_lastUpdated",
    "Patient?_sort=_tag",
    "Patient?_sort=nothing",
    "Patient?_sort=Family",
    "Patient?_sort:asc=family",
    "Patient?_sort:desc=gender",
    "Patient?_sort=gender:missing",
    "Observation?_sort=patient",
    "Observation?_sort=subject.name",
    "Observation?_sort=subject:Patient.family",
    "Observation?_sort=patient.birthdate",
    "Observation?_sort=value-string",
    "Observation?_sort=code-value-string",
    "Observation?_sort=code-value-quantity",
    "Organization?_sort=name",
    "Location?_sort=near",
    "Composition?_sort=title",
)
SORTS_DEID = (
    "Patient?_sort=-birthdate",
    "Patient?_sort=birthdate",
    "Patient?_sort=death-date",
    "Patient?_sort=address-postalcode",
    "Patient?_sort=address-city",
    "Patient?_sort=gender,birthdate",
    "Observation?_sort=-date",
    "Condition?_sort=recorded-date",
    "Composition?_sort=-date",
    "Bundle?_sort=timestamp",
)


@pytest.mark.parametrize("role", RESTRICTED)
async def test_r_si_3_order_tells_nothing(role: str, tmp_path: Path) -> None:
    """R-SI-3: no order by what is hidden or shown less exactly."""
    targets = list(SORTS + (SORTS_DEID if role == DEID else ()))
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        await check_refused(running, upstream, role, targets)


PROBES = (
    "Patient?birthdate=ge1974-11-01&birthdate=lt1974-12-01&_summary=count",
    "Patient?birthdate=ge1974-11-01&birthdate=lt1974-12-01",
    "Patient?birthdate=1974-11-24",
    "Patient?birthdate=1974-11",
    "Patient?birthdate=ne1974-11-24",
    "Patient?birthdate=sa1974",
    "Patient?birthdate=eb1974",
    "Patient?birthdate=ap1974",
    "Patient?birthdate=ge1974-11-24T00:00:00Z",
    "Patient?birthdate=1974,1974-11-24",
    "Patient?birthdate=1974&birthdate=lt1974-06-01",
    "Patient?death-date=gt2019-02-03",
    "Condition?recorded-date=2019-02-03",
    "Condition?recorded-date=ge2019-02&_total=accurate",
    "Observation?date=lt2019-02-03T04:05:06Z",
    "Observation?date=2019-02-03&_count=1",
    "Encounter?date=gt2019-02-03",
    "Bundle?timestamp=ge2019-02-03",
    "Composition?date=2019-02",
    "Composition?period=2019-02-03",
    "DocumentReference?date=2019-02-03",
    "Specimen?collected=2019-02-03",
    "Immunization?date=2019-02-03",
    "Provenance?recorded=2019-02-03",
    "Patient?birthdate=1974&_summary=count",
    "Patient?birthdate=1974&_count=0",
)


async def test_r_si_4_generalised_values_are_not_probed(tmp_path: Path) -> None:
    """R-SI-4: what the de-identified view shows as years is not searched more finely, in no
    prefix, list or repetition, and not counted."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        matching = await check_refused(running, upstream, DEID, PROBES)
        hold(upstream, *EMPTY)
        assert await check_refused(running, upstream, DEID, PROBES) == matching


async def test_r_si_4_shown_dates_are_searched(tmp_path: Path) -> None:
    """R-SI-4: the limited data set shows days, so it is searched by them; a year of the
    de-identified view finds by the year that is shown."""
    async with holding(*WORLD, patient("b", birthDate="1975-02-03")), product(tmp_path) as running:
        shown = running.shown(LDS, "Patient", REAL)
        month = "birthdate=ge1974-11-01&birthdate=lt1974-12-01"
        assert await found(running, LDS, f"Patient?{month}") == [shown]
        assert await found(running, LDS, "Patient?birthdate=1974-11-24") == [shown]
        assert await found(running, LDS, "Patient?birthdate=1974-11-25") == []
        shown = running.shown(DEID, "Patient", REAL)
        assert await found(running, DEID, "Patient?birthdate=1974") == [shown]
        assert await found(running, DEID, "Patient?birthdate=1973") == []


TEXTS = (
    "Observation?_content={m}",
    "Patient?_text=Home%20Street",
    "Patient?_content=Home",
    "Condition?_text={m}",
    "Bundle?_content={m}",
    "Composition?_text={m}",
    "Patient?_text:contains={m}",
    "Patient?_content:missing=false",
    "Patient?name:text-advanced={m}",
    "Condition?code:text-advanced={m}",
    "Library?_content={m}",
)


@pytest.mark.parametrize("role", [EPI, *RESTRICTED])
async def test_r_si_5_no_full_text(role: str, tmp_path: Path) -> None:
    """R-SI-5: full-text search is refused, on every type."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        await check_refused(running, upstream, role, filled(TEXTS))


LANGUAGES = (
    "Patient?_filter=family%20co%20%22wom%22",
    "Patient?_filter=gender%20eq%20female",
    "Observation?_query=x",
    "Observation?_query=lastn&max=1",
    "Patient?_list=42",
    "Patient?_list=$current-problems",
    "Patient?_graph=x",
    "Patient?_fhirpath=name",
    "Patient?_at=2019-01-01",
    "Patient?_since=2019-01-01",
    "Patient?_type=Observation",
    "Patient?_typeFilter=Patient%3Ffamily%3Dx",
    "Patient?_compartmentLastUpdated=gt2019-01-01",
    "Patient?_mdm=true",
    "Patient?_id:mdm={m}",
    "Patient?name:nickname={m}",
    "Patient?_language=en",
    "Patient?_sql=1",
)


@pytest.mark.parametrize("role", [EPI, *RESTRICTED])
async def test_r_si_6_no_other_language(role: str, tmp_path: Path) -> None:
    """R-SI-6: other query languages, lists, graphs, histories and vendors' parameters are
    refused."""
    async with holding(*WORLD) as upstream, product(tmp_path) as running:
        await check_refused(running, upstream, role, filled(LANGUAGES))
        for target in ("?_type=Patient,Observation", "?name=x", "?_content=x", "?_id=1"):
            answer = await running.get(role, target)
            assert is_refusal(answer) or answer.status in (400, 404)
        assert upstream.calls() == []
