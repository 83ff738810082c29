"""What the oracle knows of R4: properties, which values can identify, JSON shapes, invariants.

Read from the generated definitions alone, and written for clarity, not speed.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any, NamedTuple

from proxy.fhir.codec import Fragment
from proxy.fhir.r4 import TYPES, Element
from proxy.policy.model import Method

Json = Any  # decoded JSON of unknown, often wrong, shape: the oracle looks before it touches

DAR = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"

_IDENTIFYING = """
string markdown xhtml base64Binary uri url oid uuid id date dateTime instant time
HumanName Address ContactPoint Identifier Attachment Annotation Signature Narrative
Location.position
"""
IDENTIFYING = frozenset(_IDENTIFYING.split())
DATES = frozenset({"date", "dateTime", "instant", "time"})
QUANTITIES = frozenset({"Quantity", "Age", "Duration", "Count", "Distance"})
PASSED = frozenset({"PlanDefinition", "Library", "ValueSet", "CodeSystem"})

# Elements whose Identifier names a document.
DOCUMENT_IDENTIFIERS = frozenset(
    {
        ("Bundle", "identifier"),
        ("Composition", "identifier"),
        ("DocumentReference", "masterIdentifier"),
        ("DocumentManifest", "masterIdentifier"),
        ("Composition", "relatesTo", "target[x]"),
        ("Composition", "section", "entry", "identifier"),
        ("Composition", "relatesTo", "target[x]", "identifier"),
        ("DocumentReference", "relatesTo", "target", "identifier"),
    }
)


class Prop(NamedTuple):
    """One JSON property: ``name`` as in JSON, ``code`` its type code or backbone path."""

    name: str
    element: Element
    code: str

    @property
    def many(self) -> bool:
        return self.element.max != 1

    @property
    def primitive(self) -> bool:
        return TYPES[self.code].kind == "primitive"

    @property
    def choice(self) -> bool:
        return self.element.name.endswith("[x]")


def props(type_path: str) -> dict[str, Prop]:
    """The JSON properties of a type, choices spelled out, in the specification's order."""
    found = {}
    for element in TYPES[type_path].elements:
        if element.name.endswith("[x]"):
            for code in element.types:
                name = element.name[:-3] + code[0].upper() + code[1:]
                found[name] = Prop(name, element, code)
        elif element.types:
            found[element.name] = Prop(element.name, element, element.types[0])
    return found


def line_type(code: str) -> str:
    """The type whose lines a type takes: those derived from Quantity take Quantity's."""
    return "Quantity" if code in QUANTITIES else code


def is_resource(value: Json) -> bool:
    """Whether ``value`` is a JSON object with the name of a concrete resource type."""
    if not isinstance(value, dict) or not isinstance(value.get("resourceType"), str):
        return False
    known = TYPES.get(value["resourceType"])
    return known is not None and known.kind == "resource" and not known.abstract


def is_under(system: str, entry: str) -> bool:
    """Whether ``[codes]`` lists the system by this entry."""
    if not system.startswith(entry):
        return False
    rest = system[len(entry) :]
    if rest == "" or entry[-1] in "/.:-":
        return True
    if entry.startswith("urn:oid:"):
        return rest[0] == "."
    return rest[0] == ":" if entry.startswith("urn:") else rest[0] in "/|#?"


# --- primitives ---------------------------------------------------------------------------------


def has_json_type(code: str, value: Json) -> bool:
    """Whether ``value`` has the JSON type of the primitive."""
    if code == "boolean":
        return isinstance(value, bool)
    if code in ("integer", "positiveInt", "unsignedInt"):
        return isinstance(value, int) and not isinstance(value, bool)
    if code == "decimal":
        return isinstance(value, int | Fragment) and not isinstance(value, bool)
    return isinstance(value, str)


_DAY = r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?"
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
_ZONE = r"(Z|[+-]((0\d|1[0-3]):[0-5]\d|14:00))"
GRAMMAR = {
    "date": re.compile(_DAY),
    "dateTime": re.compile(rf"{_DAY}(?:(?<=-\d\d-\d\d)T{_CLOCK}{_ZONE})?", re.ASCII),
    "instant": re.compile(rf"(\d{{4}})-(\d\d)-(\d\d)T{_CLOCK}{_ZONE}", re.ASCII),
    "time": re.compile(_CLOCK),
}


def read_day(code: str, text: Json) -> tuple[int, int | None, int | None] | None:
    """Year, month, day of a well-formed date of the type; None if it is malformed."""
    if not isinstance(text, str):
        return None
    match = GRAMMAR[code].fullmatch(text)
    if match is None or not text.isascii():
        return None
    year, month, day = (None if g is None else int(g) for g in match.groups()[:3])
    assert year is not None
    try:
        date(year, 1 if month is None else month, 1 if day is None else day)
    except ValueError:
        return None
    return year, month, day


_SPACED = r"[^\s]+"
TEXTS = {
    "base64Binary": re.compile(r"[0-9a-zA-Z+/=]+"),
    "canonical": re.compile(_SPACED),
    "code": re.compile(rf"{_SPACED}(?: {_SPACED})*"),
    "id": re.compile(r"[A-Za-z0-9.-]{1,64}"),
    "oid": re.compile(r"urn:oid:[012](\.(0|[1-9]\d*))+", re.ASCII),
    "uri": re.compile(_SPACED),
    "url": re.compile(_SPACED),
    "uuid": re.compile(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
}
LEAST = {"integer": -2147483648, "unsignedInt": 0, "positiveInt": 1}


def is_well_formed(kind: str, prop: Prop, value: Json) -> bool:
    """Whether a value of the right JSON type is in the form of its primitive (datatypes.html)."""
    code = prop.code
    if code in LEAST:
        return bool(LEAST[code] <= value <= 2147483647)
    if code == "time":
        return GRAMMAR["time"].fullmatch(value) is not None and value.isascii()
    if code in GRAMMAR:
        return read_day(code, value) is not None
    if code == "base64Binary":
        text = re.sub(r"\s", "", value)
        whole = all(len(run) % 4 == 0 for run in value.split())
        return whole and TEXTS[code].fullmatch(text) is not None
    if prop.name == "language" and code == "code" and kind != "Expression":
        first, *others = value.split("-")
        return re.fullmatch("[A-Za-z]{2,3}", first) is not None and all(
            re.fullmatch("[A-Za-z0-9]{1,8}", other) for other in others
        )
    return code not in TEXTS or TEXTS[code].fullmatch(value) is not None


# --- the order of showing -----------------------------------------------------------------------

_FINENESS = (
    "year",
    "month",
    "country",
    "state",
    "zip3",
    "zip3-padded",
    "zip5",
    "age-range",
    "age-band",
    "range",
)


def shown(method: Method) -> tuple[int, int]:
    """A key that grows with what a method shows: remove < mask < transform < keep < pass."""
    rank = {"remove": 0, "mask": 1, "keep": 3, "pass": 4}.get(method.name, 2)
    if rank != 2:
        return rank, 0
    to = method.param("to")
    if isinstance(to, str) and to in _FINENESS:
        return rank, 1 + _FINENESS.index(to)
    return rank, 20 if method.name == "generalize" else 0


def lesser(a: Method, b: Method) -> Method:
    """The one of two methods that shows less; the first if they show the same."""
    return b if shown(b) < shown(a) else a


# --- what must be there -------------------------------------------------------------------------

NARRATIVE_STATUS = "empty"
LEGAL = {
    "string": "masked",
    "markdown": "masked",
    "uri": "urn:masked",
    "url": "urn:masked",
    "canonical": "urn:masked",
    "id": "masked",
    "date": "1900",
    "dateTime": "1900",
    "instant": "1900-01-01T00:00:00Z",
    "xhtml": '<div xmlns="http://www.w3.org/1999/xhtml"><p>MASKED</p></div>',
}

# Invariants that demand one of several elements: type -> (those, the one that is masked).
ONE_OF: dict[str, tuple[tuple[str, ...], str]] = {
    "Organization": (("identifier", "name"), "name"),  # org-1
    "Patient.contact": (("name", "telecom", "address", "organization"), "name"),  # pat-1
    "Composition.section": (("text", "entry", "section"), "text"),  # cmp-1
    "Observation.referenceRange": (("low", "high", "text"), "text"),  # obs-3
    "MedicationAdministration.dosage": (("dose", "rateRatio", "rateQuantity"), "dose"),  # mad-1
}


def dar(reason: str = "masked") -> dict[str, Json]:
    """An element that says why it has no value."""
    return {"extension": [{"url": DAR, "valueCode": reason}]}


def is_dar(extension: Json) -> bool:
    """Whether this is a well-formed data-absent-reason."""
    return (
        isinstance(extension, dict)
        and extension.get("url") == DAR
        and isinstance(extension.get("valueCode"), str)
        and re.fullmatch(r"\S+( \S+)*", extension["valueCode"]) is not None
    )


def masked_narrative(text: str = "MASKED") -> dict[str, Json]:
    """The fixed narrative; ``text`` is escaped here."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {
        **dar(),
        "status": NARRATIVE_STATUS,
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{escaped}</p></div>',
    }


WITHHELD = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/list-empty-reason",
            "code": "withheld",
        }
    ]
}


def masked_complex(code: str, source: Json = None) -> dict[str, Json]:
    """A complex element that is present and withheld, with the children that it must have.

    A required choice is masked in the branch that ``source`` has.
    """
    if code == "Narrative":
        return masked_narrative()
    out = dar()
    for prop in props(code).values():
        if prop.element.min == 0 or (
            prop.choice
            and not (isinstance(source, dict) and {prop.name, "_" + prop.name} & set(source))
        ):
            continue
        out.update(masked_property(prop))
    if code == "Composition.section":
        out["emptyReason"] = WITHHELD
    if code in ONE_OF:
        out.update(masked_property(props(code)[ONE_OF[code][1]]))
    return out


def masked_property(prop: Prop, source: Json = None) -> dict[str, Json]:
    """The property as it stands where it is required and hidden."""
    if not prop.primitive:
        item: Json = masked_complex(prop.code, source)
        return {prop.name: [item] if prop.many else item}
    if prop.code in LEGAL:
        return {prop.name: [LEGAL[prop.code]] if prop.many else LEGAL[prop.code]}
    if prop.many:
        return {prop.name: [None], "_" + prop.name: [dar()]}
    return {"_" + prop.name: dar()}


def as_list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def clean_dar(extension: Json) -> Json | None:
    return {"url": DAR, "valueCode": extension["valueCode"]} if is_dar(extension) else None
