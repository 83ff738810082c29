"""The Patient of a case, and the person related to them."""

from __future__ import annotations

from proxy.demo import names
from proxy.demo.build import (
    absent,
    coding,
    concept,
    decimal,
    extension,
    hide,
    identifier,
    narrative,
    reference,
    telecom,
    thing,
)
from proxy.demo.names import BASE, CORE, ECR, THO
from proxy.demo.story import FOREIGN, UPSTREAM, UUIDS, Story
from proxy.fhir.codec import Json, JsonObject

LANGUAGES = "urn:ietf:bcp:47"
# A GIF of one pixel stands for a portrait.
PIXEL = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def home(story: Story, use: str = "home") -> JsonObject:
    city, district, state, postal = story.place
    return {
        "use": use,
        "line": [story.street, f"Apt {story.digits % 90 + 1}"],
        "city": city,
        "district": district,
        "state": state,
        "postalCode": postal,
        "country": "US",
        "period": {"start": story.day(-2000)},
    }


def located(story: Story) -> JsonObject:
    """The home with a geolocation, which is more exact than any of its parts."""
    address = home(story)
    address["extension"] = [
        extension(
            BASE + "geolocation",
            extension=[
                extension("latitude", valueDecimal=decimal(f"42.{story.digits % 9000 + 1000}")),
                extension("longitude", valueDecimal=decimal(f"-83.{story.digits % 7000 + 1000}")),
            ],
        )
    ]
    return address


def race(story: Story) -> JsonObject:
    code, display, detail, detailed = story.race
    return extension(
        CORE + "us-core-race",
        extension=[
            extension("ombCategory", valueCoding=coding(names.RACE, code, display)),
            extension("detailed", valueCoding=coding(names.RACE, detail, detailed)),
            extension("text", valueString=f"{display} ({detailed})"),
        ],
    )


def ethnicity(story: Story) -> JsonObject:
    code, display = story.ethnicity
    known: JsonObject = coding(names.RACE, code, display)
    if story.style == UUIDS:
        known = absent("asked-unknown")
    return extension(
        CORE + "us-core-ethnicity",
        extension=[
            extension("ombCategory", valueCoding=known),
            extension("text", valueString=display),
        ],
    )


def gender_identity(story: Story) -> JsonObject:
    return extension(
        ECR + "us-ph-genderidentity-extension",
        extension=[
            extension(
                "value",
                valueCodeableConcept=concept(
                    names.SNOMED,
                    "446141000124107" if story.gender == "female" else "446151000124109",
                    f"Identifies as {story.gender} gender (finding)",
                    f"Identifies as {story.gender}",
                ),
            ),
            extension("period", valuePeriod={"start": story.day(-900), "end": story.day(-1)}),
            extension("comment", valueString=f"As told by {story.given} at registration"),
        ],
    )


def tribe() -> JsonObject:
    return extension(
        ECR + "us-ph-tribal-affiliation-extension",
        extension=[
            extension(
                "TribeName",
                valueCoding=coding(
                    THO + "v3-TribalEntityUS", "91", "Fort Mojave Indian Tribe of Arizona, "
                    "California"
                ),
            ),
            extension("EnrolledTribeMember", valueBoolean=True),
        ],
    )


def birth_place(story: Story) -> JsonObject:
    place: JsonObject = {
        "use": "old",
        "text": f"{story.place[0]} General, {story.place[2]}",
        "line": [f"{story.digits % 800 + 3} {names.STREETS[story.number % 8]}"],
        "city": story.place[0],
        "state": story.place[2],
        "postalCode": story.place[3],
    }
    if story.style == UUIDS:
        for part in ("line", "city", "postalCode"):
            hide(place, part)
    return extension(BASE + "patient-birthPlace", valueAddress=place)


def extensions(story: Story) -> list[Json]:
    found: list[Json] = [
        race(story),
        ethnicity(story),
        extension(CORE + "us-core-birthsex", valueCode="F" if story.gender == "female" else "M"),
        birth_place(story),
    ]
    if story.style != UUIDS:
        found.append(gender_identity(story))
        found.append(
            extension(
                BASE + "patient-religion",
                valueCodeableConcept=concept(
                    THO + "v3-ReligiousAffiliation", "1020", "Hinduism", "Hindu"
                ),
            )
        )
    if story.style == FOREIGN:
        found.append(tribe())
        found.append(extension(BASE + "patient-mothersMaidenName", valueString="Silverbrook"))
    return found


def contact(story: Story) -> JsonObject:
    """The guardian; what is known of them differs by the style of the document."""
    found: JsonObject = {
        "relationship": [concept(THO + "v3-RoleClass", "GUARD")],
        "name": {
            "use": "usual",
            "family": story.family,
            "given": [story.relative, "Q"],
            "prefix": ["Mrs."],
        },
        "telecom": [
            telecom("phone", story.phone(3), "home"),
            telecom("email", f"{story.relative}@example.net".lower(), "work"),
        ],
        "address": home(story),
        "gender": "female",
    }
    del thing(found["address"])["period"]
    if story.style == UUIDS:
        for path in ("name.family", "name.given", "telecom.value", "address.line",
                     "address.city", "address.state", "address.postalCode"):
            hide(found, path)
    return found


def patient(story: Story) -> JsonObject:
    """The Patient of the case, with everything that a profile asks for and more."""
    found: JsonObject = {
        "resourceType": "Patient",
        "id": story.id("Patient", "patient"),
        "meta": {"profile": [ECR + "us-ph-patient"]},
        "text": narrative(
            f"{story.name}, born {story.birth.isoformat()}, record number {story.mrn}",
            f"Lives at {story.home}; telephone {story.phone(1)}",
        ),
        "extension": extensions(story),
        "identifier": [
            {
                "use": "usual",
                "type": concept(THO + "v2-0203", "MR", "Medical record number"),
                "system": f"urn:oid:{story.facility.oid}",
                "value": story.mrn,
                "assigner": {"display": story.facility.name},
            },
            identifier(names.SSN, story.ssn),
        ],
        "active": True,
        "name": [
            {
                "use": "official",
                "text": story.name,
                "family": story.family,
                "given": [story.given, story.middle],
                "prefix": ["Ms." if story.gender == "female" else "Mr."],
            },
            {"use": "nickname", "family": story.family, "given": [story.given[:3]]},
        ],
        "telecom": [
            telecom("phone", story.phone(1), "home"),
            telecom("phone", story.phone(2), "mobile"),
            telecom("email", story.email),
        ],
        "gender": story.gender,
        "birthDate": story.birth.isoformat(),
        "_birthDate": {
            "extension": [
                extension(
                    BASE + "patient-birthTime",
                    valueDateTime=f"{story.birth.isoformat()}T03:{story.digits % 60:02}:00-05:00",
                )
            ]
        },
        "deceasedBoolean": False,
        "address": [located(story)],
        "maritalStatus": concept(THO + "v3-MaritalStatus", "M", "Married"),
        "multipleBirthInteger": 2,
        "photo": [{"contentType": "image/gif", "data": PIXEL, "title": f"{story.family}.gif"}],
        "contact": [contact(story)],
        "communication": [
            {"language": concept(LANGUAGES, "en", "English"), "preferred": True}
        ],
        "generalPractitioner": [reference(clinic("Practitioner", story), story.clinician)],
        "managingOrganization": reference(clinic("Organization", story)),
        "link": [{"other": reference(story.ref("RelatedPerson", "mother")), "type": "seealso"}],
    }
    if story.style == FOREIGN:
        del found["deceasedBoolean"]
        found["deceasedDateTime"] = story.time(300)
    elif story.style == UUIDS:
        hide(found, "deceasedBoolean")
        for gone in ("photo", "multipleBirthInteger", "link"):
            del found[gone]
    return found


def clinic(type: str, story: Story) -> str:
    """The reference to the ``type`` of the case's place of care, which many cases share."""
    return f"{type}/{type.lower()}-{story.facility.slug}"


def mother(story: Story) -> JsonObject:
    """The RelatedPerson that Patient.link and an exposure name."""
    found: JsonObject = {
        "resourceType": "RelatedPerson",
        "id": story.id("RelatedPerson", "mother"),
        "identifier": [identifier(f"urn:oid:{story.facility.oid}.8", f"RP{story.mrn}")],
        "active": True,
        "patient": reference(story.ref("Patient", "patient")),
        "relationship": [concept(THO + "v3-RoleCode", "MTH", "mother")],
        "name": [
            {
                "use": "usual",
                "text": f"{story.relative} {story.family}",
                "family": story.family,
                "given": [story.relative],
            }
        ],
        "telecom": [telecom("phone", story.phone(3), "home")],
        "gender": "female",
        "birthDate": story.birth.replace(year=story.birth.year - 24, day=5).isoformat(),
        "address": [home(story)],
    }
    if story.style == UPSTREAM:
        # Contacts can be animals; the extension is in use although it names another type.
        found["extension"] = [
            extension(
                BASE + "practitioner-animalSpecies",
                valueCodeableConcept=concept(
                    names.SNOMED, "35794008", "Wild mink (organism)"
                ),
            )
        ]
    return found


def person(story: Story) -> JsonObject:
    return {
        "resourceType": "Person",
        "id": story.id("Person", "person"),
        "identifier": [identifier(f"urn:oid:{story.facility.oid}.9", f"P{story.mrn}")],
        "name": [{"family": story.family, "given": [story.given]}],
        "telecom": [telecom("phone", story.phone(1))],
        "gender": story.gender,
        "birthDate": story.birth.isoformat(),
        "link": [{"target": reference(story.ref("Patient", "patient"), story.name)}],
    }
