"""Places of care and those who work there; public health agencies. Many cases share them."""

from __future__ import annotations

from proxy.demo import names
from proxy.demo.build import (
    absent,
    array,
    concept,
    decimal,
    hide,
    identifier,
    narrative,
    reference,
    telecom,
)
from proxy.demo.names import CORE, ECR, PHINQ, THO, Agency, Facility
from proxy.fhir.codec import Json, JsonObject

# The three parts an agency plays in a Reportability Response.
PARTS = (
    ("rules", "RR12", "Rules Authoring Agency"),
    ("routing", "RR7", "Routing Entity"),
    ("responsible", "RR8", "Responsible Agency"),
)


def number(slug: str, low: int, size: int) -> int:
    """A number that the slug decides (telephone, house), the same in every run."""
    return low + sum(slug.encode()) * 37 % size


def address(facility: Facility, use: str = "work") -> JsonObject:
    city, district, state, postal = facility.place
    return {
        "use": use,
        "line": [f"{number(facility.slug, 100, 900)} Infirmary Road", "Building C"],
        "city": city,
        "district": district,
        "state": state,
        "postalCode": postal,
        "country": "US",
    }


def contacts(slug: str) -> list[Json]:
    return [
        telecom("phone", f"+1-555-555-{number(slug, 2000, 900)}", "work"),
        telecom("fax", f"+1-555-555-{number(slug, 3000, 900)}", "work"),
        telecom("email", f"desk@{slug}.example.org"),
    ]


def organization(facility: Facility) -> JsonObject:
    return {
        "resourceType": "Organization",
        "id": f"organization-{facility.slug}",
        "meta": {"profile": [ECR + "us-ph-organization"]},
        "text": narrative(facility.name),
        "identifier": [identifier(names.NPI, facility.npi)],
        "active": True,
        "type": [concept(THO + "organization-type", "prov", "Healthcare Provider")],
        "name": facility.name,
        "telecom": contacts(facility.slug),
        "address": [address(facility)],
    }


def laboratory(facility: Facility) -> JsonObject:
    return {
        "resourceType": "Organization",
        "id": f"organization-laboratory-{facility.slug}",
        "meta": {"profile": [ECR + "us-ph-organization"]},
        "identifier": [identifier("urn:oid:2.16.840.1.113883.4.7", f"23D{facility.npi[:7]}")],
        "active": True,
        "type": [concept(THO + "v3-RoleCode", "OUTLAB", "outpatient laboratory")],
        "name": f"{facility.family} Diagnostics",
        "telecom": contacts(f"lab-{facility.slug}"),
        "address": [address(facility)],
    }


def location(facility: Facility) -> JsonObject:
    longitude = f"-{number(facility.slug, 71, 20)}.{number(facility.slug, 1000, 8000)}"
    return {
        "resourceType": "Location",
        "id": f"location-{facility.slug}",
        "meta": {"profile": [ECR + "us-ph-location"]},
        "identifier": [identifier(names.NPI, facility.npi)],
        "status": "active",
        "name": f"{facility.name}, Building C",
        "type": [
            concept(THO + "v3-RoleCode", "OF", "Outpatient facility", "Outpatient building")
        ],
        "telecom": contacts(facility.slug),
        "address": address(facility),
        "position": {"longitude": decimal(longitude), "latitude": decimal("42.2808")},
        "managingOrganization": reference(f"Organization/organization-{facility.slug}"),
    }


def practitioner(facility: Facility) -> JsonObject:
    return {
        "resourceType": "Practitioner",
        "id": f"practitioner-{facility.slug}",
        "meta": {"profile": [CORE + "us-core-practitioner"]},
        "text": narrative(f"Dr. {facility.given} {facility.family}, {facility.name}"),
        "identifier": [identifier(names.NPI, facility.npi)],
        "name": [
            {
                "use": "official",
                "text": f"Dr. {facility.given} {facility.family}",
                "family": facility.family,
                "given": [facility.given],
                "prefix": ["Dr."],
                "suffix": ["M.D."],
            }
        ],
        "telecom": contacts(facility.slug),
        "address": [address(facility)],
    }


def role(facility: Facility) -> JsonObject:
    """The PractitionerRole; its id is long (54 characters and more)."""
    return {
        "resourceType": "PractitionerRole",
        "id": role_id(facility),
        "meta": {"profile": [ECR + "us-ph-practitionerrole"]},
        "identifier": [identifier(names.NPI, facility.npi)],
        "practitioner": reference(
            f"Practitioner/practitioner-{facility.slug}",
            f"{facility.given} {facility.family}, MD",
        ),
        "organization": reference(f"Organization/organization-{facility.slug}", facility.name),
        "code": [
            concept(
                "http://nucc.org/provider-taxonomy", "261QP2300X", "Primary Care Clinic/Center",
                "Primary care",
            )
        ],
        "specialty": [concept(names.SNOMED, "419772000", "Family practice")],
        "location": [reference(f"Location/location-{facility.slug}", facility.name)],
        "telecom": contacts(facility.slug),
    }


def role_id(facility: Facility) -> str:
    return f"practitionerrole-{facility.family}-{facility.given}-{facility.slug}-attending".lower()


def unknown(facility: Facility) -> list[JsonObject]:
    """What a converter writes of a clinician of whom it knows next to nothing: a Practitioner, a
    PractitionerRole, an Organization and a Location whose values are missing, each with its
    reason."""
    tail = f"unknown-{facility.slug}"
    doctor, part, place, firm = (
        practitioner(facility), role(facility), location(facility), organization(facility)
    )
    for resource, key in ((doctor, "practitioner"), (part, "practitionerrole"),
                          (place, "location"), (firm, "organization")):
        resource["id"] = f"{key}-{tail}"
        resource.pop("text", None)
    del place["position"]
    part["code"] = [{"coding": [absent()]}]
    part["practitioner"] = reference(f"Practitioner/practitioner-{tail}")
    part["organization"] = reference(f"Organization/organization-{tail}")
    part["location"] = [reference(f"Location/location-{tail}")]
    place["managingOrganization"] = reference(f"Organization/organization-{tail}")
    for path in ("identifier.system", "identifier.value"):
        hide(doctor, path, "not-applicable")
        hide(firm, path)
    hide(part, "identifier.value")
    hide(doctor, "name.family")
    for path in ("address.line", "address.city", "address.state", "address.postalCode"):
        hide(doctor, path)
        hide(place, path)
    for resource in (doctor, part, place, firm):
        hide(resource, "telecom.value")
    hide(place, "name")
    array(firm["telecom"])[0] = absent()
    hide(firm, "address", "not-applicable")
    return [firm, doctor, place, part]


def facility_resources(facility: Facility) -> list[JsonObject]:
    """Everything of one place of care, what is referenced first."""
    return [
        organization(facility), laboratory(facility), practitioner(facility),
        location(facility), role(facility), *unknown(facility),
    ]


def agency(found: Agency, part: str = "") -> JsonObject:
    """The Organization of a public health agency; with ``part`` (``rules``, ``routing``,
    ``responsible``) that of its part in a Reportability Response, typed accordingly."""
    code, title = next(((c, t) for key, c, t in PARTS if key == part), ("", ""))
    profile = f"rr-{title.lower().replace(' ', '-')}-organization" if part else "us-ph-organization"
    resource: JsonObject = {
        "resourceType": "Organization",
        "id": f"agency-{found.slug}-{part}" if part else f"agency-{found.slug}",
        "meta": {"profile": [ECR + profile]},
        "identifier": [
            identifier(names.NPI, f"18880{number(found.slug + part, 10000, 89999)}")
        ],
        "active": True,
        "name": f"{found.name} - {title}" if part else found.name,
        "telecom": [
            telecom("phone", f"+1-555-555-{number(found.slug, 7000, 900)}"),
            telecom("email", f"reports@{found.slug}.health.example.gov"),
        ],
        "address": [
            {"line": ["1 Capitol Square"], "city": found.city, "state": found.state,
             "postalCode": found.postal, "country": "US"}
        ],
    }
    if part:
        resource["type"] = [concept(PHINQ, code, title)]
    return resource
