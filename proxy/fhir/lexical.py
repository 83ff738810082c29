"""The lexical forms of R4's primitive types (datatypes.html#primitive).

What a server stores under a date need not be one: a text that is not in the form of its type is
malformed, as a value of the wrong JSON type is. ``string``, ``markdown`` and ``xhtml`` have no
form beyond their JSON type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from proxy.fhir.codec import Fragment, Json
from proxy.fhir.structure import RESOURCES, Property

# Days of the Gregorian calendar, year by year: February has 29 days in leap years only.
_LEAP = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
_YEAR = rf"(?!0000)(?:(?=[0-9]{{4}}(?!-02-29))|(?={_LEAP}))[0-9]{{4}}"
_MONTH = r"(?:0[1-9]|1[0-2])"
_DAY = (
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|[12][0-9]))"
)
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"

# BCP 47 (RFC 5646, 2.1): a language of two or three letters and its subtags. Longer languages are
# not registered, and what is for private use says nothing to others.
LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*")

FORMS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        # ++ and *+ take no way back: the length of what is tried does not matter.
        "base64Binary": re.compile(r"\s*+(?:[0-9A-Za-z+/=]{4}\s*+)++"),
        "canonical": re.compile(r"\S+"),
        "code": re.compile(r"\S+(?: \S+)*"),
        "date": re.compile(rf"{_YEAR}(?:-(?:{_DAY}|{_MONTH}))?"),
        "dateTime": re.compile(rf"{_YEAR}(?:-(?:{_DAY}(?:T{_TIME}{_ZONE})?|{_MONTH}))?"),
        "id": re.compile(r"[A-Za-z0-9\-.]{1,64}"),
        "instant": re.compile(rf"{_YEAR}-{_DAY}T{_TIME}{_ZONE}"),
        "oid": re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+"),
        "time": re.compile(_TIME),
        "uri": re.compile(r"\S+"),
        "url": re.compile(r"\S+"),
        "uuid": re.compile(r"urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    }
)
# The least and the most of whole numbers, which have 32 bits.
BORDERS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "integer": (-(2**31), 2**31 - 1),
        "positiveInt": (1, 2**31 - 1),
        "unsignedInt": (0, 2**31 - 1),
    }
)
# Where a code named language is one of BCP 47 (binding "languages"); of an Expression it is not.
_SPOKEN = frozenset(
    {
        "Attachment",
        "CodeSystem.concept.designation",
        "TerminologyCapabilities.codeSystem.version",
        "ValueSet.compose.include.concept.designation",
    }
)


def form_of(parent: str, prop: Property) -> re.Pattern[str] | None:
    """The form of a property's texts in the type or backbone element ``parent``; None where it
    has none beyond its JSON type."""
    if prop.name == "language" and (parent in RESOURCES or parent in _SPOKEN):
        return LANGUAGE
    return FORMS.get(prop.type)


def checker(code: str, form: re.Pattern[str] | None) -> Callable[[Json], bool]:
    """The function that tells whether a decoded value is one of the primitive type ``code``: of
    its JSON type, and in the form, if there is one."""
    if form is not None:
        matches = form.fullmatch
        return lambda value: type(value) is str and matches(value) is not None
    if code in BORDERS:
        least, most = BORDERS[code]
        return lambda value: type(value) is int and least <= value <= most
    if code == "decimal":
        return lambda value: type(value) is Fragment or type(value) is int
    kind = bool if code == "boolean" else str
    return lambda value: type(value) is kind
