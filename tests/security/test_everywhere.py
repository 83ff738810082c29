"""R-TC-1, R-TC-3, R-TC-7, R-ID-3 and R-DT-1 of everything that R4 can hold, not of examples: a
marker in every element of every type that a restricted role reads, and in every extension value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.fhir.codec import Fragment
from proxy.fhir.structure import properties
from proxy.policy.methods import PASSED
from tests.security.product import DEID, LDS, RESTRICTED, SHIFTED, STAGE1, product
from tests.security.revealing import MARKER, is_clean, observation
from tests.security.serving import common, holding

UUID = "0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"
# A value of each primitive type that can identify; codes, numbers and canonicals name concepts.
TELLING: dict[str, Any] = {
    "string": MARKER,
    "markdown": MARKER,
    "uri": f"urn:{MARKER}:a",
    "url": f"https://{MARKER}.example/a",
    "id": MARKER,
    "oid": "urn:oid:2.999.777.1",
    "uuid": f"urn:uuid:{UUID}",
    "base64Binary": "enFtYXJrZXIgaGVyZQ==",
    "xhtml": f"<div>{MARKER}</div>",
    "date": "2017-07-19",
    "dateTime": "2017-07-19T11:22:33Z",
    "instant": "2017-07-19T11:22:33.444Z",
    "time": "11:22:33",
}
PLAIN: dict[str, Any] = {
    "code": "plain",
    "canonical": "http://example.org/plain|1",
    "integer": 1,
    "positiveInt": 1,
    "unsignedInt": 1,
    "decimal": Fragment("1.5"),
    "boolean": True,
}
FOUND = re.compile(rf"{MARKER}|2\.999\.777|cd9187a4c6e0|enFtYXJr", re.IGNORECASE)
# Of a date that shows: to one role its year alone, to the other another day.
REAL_DATES = {DEID: re.compile(r"2017-07|07-19|11:22"), SHIFTED: re.compile(r"2017-07-19")}
LOINC = "http://loinc.org"
# What policies show on purpose: (the type that holds it, its name).
SHOWN = {
    LDS: {("Address", "city"), ("Quantity", "unit")},
    DEID: {("Quantity", "unit")},
    SHIFTED: {("Quantity", "unit")},
    STAGE1: {("Address", "postalCode"), ("Quantity", "unit")},
}
QUANTITIES = ("Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity")


def full(type_: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """An object of the type with every element, choices in every branch; a datatype within itself
    is left out."""
    made: dict[str, Any] = {}
    for name, prop in properties(type_).items():
        if prop.type in ("Extension", "Resource") or name in ("implicitRules", "contained"):
            continue
        if prop.primitive:
            value = TELLING.get(prop.type, PLAIN.get(prop.type))
            sibling = {"id": MARKER, "extension": [{"url": f"http://x/{MARKER}"}]}
            made[name] = [value] if prop.many else value
            made[f"_{name}"] = [sibling] if prop.many else sibling
        elif above.count(prop.type) < 1 and len(above) < 6:
            held = full(prop.type, (*above, prop.type))
            made[name] = [held] if prop.many else held
    if "system" in made and "code" in made:  # a code that is listed shows
        made["system"] = LOINC
    return made


def leaves(value: Any, type_: str, name: str = "") -> Iterator[tuple[str, str, str]]:
    """Every text of ``value`` with the type that holds it and its name."""
    if isinstance(value, list):
        for item in value:
            yield from leaves(item, type_, name)
    elif isinstance(value, dict):
        inner = str(value.get("resourceType", type_))
        known = properties(inner) if inner else {}
        for key, item in value.items():
            prop = known.get(key)
            if isinstance(item, dict | list) and not (prop and prop.primitive):
                sibling = "Element" if key.startswith("_") else ""
                yield from leaves(item, prop.type if prop else sibling, key)
            else:
                yield from leaves(item, inner, key)
    else:
        yield type_, name, str(value)


def survivors(shown: Any, pattern: re.Pattern[str]) -> set[tuple[str, str]]:
    """Where a marker still stands: the type that holds it and its name."""
    return {
        ("Quantity" if type_ in QUANTITIES else type_, name)
        for type_, name, text in leaves(shown, "")
        if pattern.search(text)
    }


@pytest.mark.parametrize("role", [*RESTRICTED, SHIFTED, STAGE1])
async def test_every_element_of_every_type(role: str, tmp_path: Path) -> None:
    """R-TC-1, R-TC-7, R-ID-3, R-DT-1: with a marker in every string, uri, id, identifier, date and
    attachment that R4 defines, only cities (limited data set), postal codes (stage 1) and units
    come out."""
    types = sorted(set(common()[1].gateway.views[role].policy.access) - set(PASSED))
    assert len(types) > 25
    held = [full(t) | {"resourceType": t, "id": f"{MARKER}-{t}"} for t in types]
    async with holding(*held) as upstream, product(tmp_path) as running:
        upstream.log.clear()
        found: dict[str, set[tuple[str, str]]] = {}
        for type_ in types:
            id_ = running.shown(role, type_, f"{MARKER}-{type_}")
            for target in (f"/{type_}/{id_}", f"/{type_}?_id={id_}"):
                answer = await running.get(role, target)
                assert answer.status == 200, type_
                assert not FOUND.search(json.dumps(dict(answer.headers)))
                found.setdefault(type_, set()).update(survivors(answer.json, FOUND))
                found[type_] |= survivors(answer.json, REAL_DATES.get(role, FOUND))
        allowed = SHOWN[role]
        assert {t: s - allowed for t, s in found.items() if s - allowed} == {}


@pytest.mark.parametrize("role", [*RESTRICTED, SHIFTED, STAGE1])
async def test_every_value_of_an_open_extension(role: str, tmp_path: Path) -> None:
    """R-TC-3: in a listed extension, too, only what the policy's datatypes show comes out, whatever
    type its value has and however deep it stands; its own parts aside that the policy opens by
    name."""
    policy = common()[1].gateway.views[role].policy
    kept = [url for url, line in policy.extensions.items() if line.parts is None]
    assert len(kept) > 10
    held = []
    for number, (name, prop) in enumerate(properties("Extension").items()):
        if not name.startswith("value"):
            continue
        value = TELLING.get(prop.type, PLAIN.get(prop.type)) if prop.primitive else full(prop.type)
        deep = {"url": f"http://x/{MARKER}", name: value}
        inner = {"url": "part", name: value, "id": MARKER, "extension": [deep]}
        held += [
            observation(
                id=f"{number}-{place}",
                extension=[{"url": url, name: value, "id": MARKER, "extension": [deep]}, deep],
                _status={"extension": [{"url": url, "extension": [inner, deep]}]},
            )
            for place, url in enumerate(kept)
        ]
    async with holding(*held), product(tmp_path) as running:
        found, rows = set(), 0
        following = "/Observation?_count=100"
        while following:
            answer = await running.get(role, following)
            assert answer.status == 200
            shown = [e["resource"] for e in answer.json["entry"]]
            rows += len(shown)
            found |= survivors(shown, FOUND)
            found |= survivors(shown, REAL_DATES.get(role, FOUND))
            links = {each["relation"]: each["url"] for each in answer.json["link"]}
            following = links.get("next", "").removeprefix("https://ecr.example.org/fhir")
        allowed = SHOWN[role]
        assert rows == len(held)
        assert found <= allowed


REAL = f"MRN-{MARKER}-1032702"


def spellings(base: str) -> list[str]:
    """Ways to write a reference to a stored patient, good and bad."""
    host = base.removeprefix("http://")
    return [
        f"Patient/{REAL}",
        f"Patient/{REAL}/_history/3",
        f"Patient/{REAL}#p1",
        f"Patient/{REAL}?_format=xml",
        f"Patient/{REAL}/",
        f"/Patient/{REAL}",
        f"./Patient/{REAL}",
        f"../fhir/Patient/{REAL}",
        f"//{host}/Patient/{REAL}",
        f" Patient/{REAL} ",
        f"patient/{REAL}",
        f"Patient%2F{REAL}",
        f"Patient/{REAL}|3",
        f"{base}/Patient/{REAL}",
        f"{base}//Patient/{REAL}",
        f"{base}/Patient/{REAL}/_history/3",
        f"{base}/./Patient/{REAL}",
        f"{base.upper()}/Patient/{REAL}",
        f"http://user:pw@{host}/Patient/{REAL}",
        f"https://{host}/Patient/{REAL}",
        f"http://{MARKER}.example/fhir/Patient/{REAL}",
        f"https://ehr.{MARKER}.example/Patient/{REAL}/_history/1",
        f"Patient?identifier={REAL}",
        f"Patient?name={MARKER}&birthdate=1974-11-24",
        f"urn:uuid:{REAL}",
        f"urn:oid:{REAL}",
        f"urn:{MARKER}",
        f"#{REAL}",
        f"mailto:{MARKER}@example.org",
        f"data:text/plain,{MARKER}",
        f"javascript:{MARKER}",
        f"Binary/{REAL}",
        f"FutureThing/{REAL}",
        REAL,
        f"Patient/{REAL}\u0000",
        f"Patient/{REAL} {MARKER}",
    ]


@pytest.mark.parametrize("role", [*RESTRICTED, SHIFTED, STAGE1])
async def test_every_spelling_of_a_reference(role: str, tmp_path: Path) -> None:
    """R-ID-4: however a reference, canonical, link or full URL is spelt, the real id, host and
    words in it do not come out: it is rewritten, or it goes."""
    base = common()[0].upstream.url
    texts = spellings(base)
    held = []
    for number, text in enumerate(texts):
        reference = {"reference": text, "type": "Patient", "display": MARKER}
        inner = observation(id=REAL, subject=reference)
        held += [
            observation(
                id=f"o{number}",
                subject=reference,
                focus=[reference],
                note=[{"authorReference": reference, "text": MARKER}],
                instantiatesCanonical=[text],
            ),
            {
                "resourceType": "CarePlan",
                "id": f"c{number}",
                "status": "active",
                "intent": "plan",
                "subject": reference,
                "instantiatesCanonical": [f"{base}/PlanDefinition/p"],
                "instantiatesUri": [text],
            },
            {
                "resourceType": "Bundle",
                "id": f"b{number}",
                "type": "collection",
                "link": [{"relation": "self", "url": text}],
                "entry": [{"fullUrl": text, "resource": inner, "link": [{"url": text}]}],
            },
            {
                "resourceType": "Bundle",
                "id": f"h{number}",
                "type": "history",
                "entry": [
                    {
                        "fullUrl": text,
                        "resource": inner,
                        "request": {"method": "PUT", "url": text, "ifNoneExist": REAL},
                        "response": {"status": "200", "location": text, "etag": MARKER},
                    }
                ],
            },
        ]
    async with holding(*held), product(tmp_path) as running:
        for resource in held:
            kind = str(resource["resourceType"])
            answer = await running.get(
                role, f"/{kind}/{running.shown(role, kind, str(resource['id']))}"
            )
            assert answer.status == 200
            secrets = (REAL, "1032702", base, "pw@", "1974-11")
            assert is_clean(answer, *secrets), resource
