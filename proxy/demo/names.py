"""Code systems, profiles and codes (facts), and fictional people and places."""

from __future__ import annotations

from dataclasses import dataclass

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
CVX = "http://hl7.org/fhir/sid/cvx"
NPI = "http://hl7.org/fhir/sid/us-npi"
SSN = "http://hl7.org/fhir/sid/us-ssn"
PHIN = "urn:oid:2.16.840.1.114222.4.5.274"
PHINQ = "urn:oid:2.16.840.1.114222.4.5.232"
URI = "urn:ietf:rfc:3986"
RACE = "urn:oid:2.16.840.1.113883.6.238"
THO = "http://terminology.hl7.org/CodeSystem/"
COUNTRY = "urn:iso:std:iso:3166"
CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
ECR = "http://hl7.org/fhir/us/ecr/StructureDefinition/"
BASE = "http://hl7.org/fhir/StructureDefinition/"
TRIGGERS = "2.16.840.1.114222.4.11.7508"  # OID of the RCTC library


@dataclass(frozen=True, slots=True)
class Disease:
    """A reportable condition with what points at it. ``oid``: its trigger value set (arc of
    examples, 2.999), ``test`` and ``organism``: (code, display) of LOINC and SNOMED CT."""

    code: str
    display: str
    icd10: str
    test: tuple[str, str]
    organism: tuple[str, str]
    oid: str


DISEASES = (
    Disease(
        "3928002", "Zika virus disease (disorder)", "A92.5",
        ("80825-3", "Zika virus envelope E gene [Presence] in Serum by NAA with probe detection"),
        ("50471002", "Zika virus (organism)"), "2.999.1146.1",
    ),
    Disease(
        "27836007", "Pertussis (disorder)", "A37.90",
        ("548-8", "Bordetella pertussis [Presence] in Throat by Organism specific culture"),
        ("5247005", "Bordetella pertussis (organism)"), "2.999.1146.2",
    ),
    Disease(
        "840539006",
        "Disease caused by Severe acute respiratory syndrome coronavirus 2 (disorder)", "U07.1",
        ("94310-0", "SARS-like Coronavirus N gene [Presence] in Unspecified specimen by NAA with "
         "probe detection"),
        ("840533007", "Severe acute respiratory syndrome coronavirus 2 (organism)"),
        "2.999.1146.3",
    ),
    Disease(
        "66071002", "Viral hepatitis type B (disorder)", "B19.10",
        ("5196-1", "Hepatitis B virus surface Ag [Presence] in Serum or Plasma by Immunoassay"),
        ("81665004", "Hepatitis B virus (organism)"), "2.999.1146.4",
    ),
    Disease(
        "302231008", "Salmonella infection (disorder)", "A02.9",
        ("625-4", "Bacteria identified in Stool by Culture"),
        ("27268008", "Genus Salmonella (organism)"), "2.999.1146.5",
    ),
    Disease(
        "15628003", "Gonorrhea (disorder)", "A54.9",
        ("43305-2", "Neisseria gonorrhoeae rRNA [Presence] in Specimen by NAA with probe "
         "detection"),
        ("68704007", "Neisseria gonorrhoeae (organism)"), "2.999.1146.6",
    ),
    Disease(
        "56717001", "Tuberculosis (disorder)", "A15.0",
        ("543-9", "Mycobacterium sp identified in Specimen by Organism specific culture"),
        ("113861009", "Mycobacterium tuberculosis (organism)"), "2.999.1146.7",
    ),
    Disease(
        "6142004", "Influenza (disorder)", "J10.1",
        ("34487-9", "Influenza virus A RNA [Presence] in Respiratory specimen by NAA with probe "
         "detection"),
        ("407479009", "Influenza A virus (organism)"), "2.999.1146.8",
    ),
)

# Sections of an eICR: (LOINC code, title, what the text says). The required ones come first.
SECTIONS = (
    ("29299-5", "Reason for Visit"), ("10154-3", "Chief Complaint"),
    ("10164-2", "History of Present Illness"), ("11450-4", "Problems"),
    ("29549-3", "Medications Administered"), ("30954-2", "Results"),
    ("29762-2", "Social History"), ("42346-7", "Admission Medications"),
    ("10160-0", "Medications"), ("18776-5", "Plan of Treatment"), ("11369-6", "Immunizations"),
    ("47519-4", "Procedures"), ("8716-3", "Vital Signs"), ("90767-5", "Pregnancy"),
    ("83910-0", "Emergency Outbreak Information"), ("11348-0", "Past Medical History"),
    ("10187-3", "Review of Systems"),
)

GIVEN = {
    "female": ("Amara", "Beatriz", "Chiyo", "Delphine", "Eilidh", "Farida", "Greta", "Hana",
               "Ines", "Jolanta", "Katalin", "Linnea"),
    "male": ("Anselm", "Bram", "Cosmo", "Desmond", "Emeka", "Florian", "Goran", "Hiro",
             "Ivo", "Jasper", "Kofi", "Leander"),
}
FAMILY = ("Okonkwo", "Marchetti", "Thornquist", "Velasquez", "Iyer", "Lindqvist", "Abernathy",
          "Castellane", "Duvernay", "Eskildsen", "Fairweather", "Grunewald", "Halvorsen",
          "Ibarrola", "Jankowska", "Kestrelwood")
STREETS = ("Larkspur Lane", "Quarry Hill Road", "Old Mill Street", "Juniper Court",
           "Saltmarsh Avenue", "Foundry Row", "Copperfield Way", "Heron Pond Drive")
JOBS = (("Lead welder at the shipyard", "Welder"), ("Kindergarten teacher", "Teacher"),
        ("Line cook, night shift", "Cook"), ("Dairy farm hand", "Farm worker"))
EMPLOYERS = ("Tidewater Shipwrights", "Little Acorns Kindergarten", "Moonlight Diner",
             "Clover Ridge Dairy")
VENUES = ("Harbor Lights Concert Hall", "Riverbend County Fair", "Northfield Ice Rink")
TRAVEL = (("FJI", "Fiji", "Suva"), ("BRA", "Brazil", "Recife"), ("KEN", "Kenya", "Mombasa"),
          ("VNM", "Viet Nam", "Hue"))
RACES = (("2106-3", "White", "2108-9", "European"),
         ("2054-5", "Black or African American", "2060-2", "African"),
         ("2028-9", "Asian", "2034-7", "Chinese"),
         ("1002-5", "American Indian or Alaska Native", "1735-0", "Alaska Native"))
ETHNICITIES = (("2186-5", "Not Hispanic or Latino"), ("2135-2", "Hispanic or Latino"))

# (city, county, state, ZIP). 03603 and 82190 lie in areas of fewer than 20,000 people.
PLACES = (
    ("Ann Arbor", "Washtenaw", "MI", "48104"), ("Lansing", "Ingham", "MI", "48912"),
    ("Burlington", "Middlesex", "MA", "01803"), ("Atlanta", "Fulton", "GA", "30302"),
    ("Charlestown", "Sullivan", "NH", "03603"), ("San Mateo", "San Mateo", "CA", "94401"),
    ("Yellowstone", "Park", "WY", "82190"), ("Peoria", "Peoria", "IL", "61602"),
)


@dataclass(frozen=True, slots=True)
class Facility:
    """A place of care: its slug (for ids), name, place, and the person who cares there."""

    slug: str
    name: str
    place: tuple[str, str, str, str]
    given: str
    family: str
    npi: str
    oid: str


FACILITIES = (
    Facility("saint-brigid", "Saint Brigid Medical Center", PLACES[0], "Ottilie", "Vanterpool",
             "1999000013", "2.999.19.1"),
    Facility("three-rivers", "Three Rivers Clinic", PLACES[3], "Mordecai", "Ashgrove",
             "1999000021", "2.999.19.2"),
    Facility("harbor-point", "Harbor Point Hospital", PLACES[5], "Philippa", "Tremontane",
             "1999000039", "2.999.19.3"),
)


@dataclass(frozen=True, slots=True)
class Agency:
    """A public health agency; ``slug`` also names its three roles in an RR."""

    slug: str
    name: str
    state: str
    city: str
    postal: str


AGENCIES = (
    Agency("mi", "Michigan Example Department of Health", "MI", "Lansing", "48933"),
    Agency("ga", "Georgia Example Department of Public Health", "GA", "Atlanta", "30303"),
    Agency("ca", "California Example Department of Public Health", "CA", "Sacramento", "95814"),
)
