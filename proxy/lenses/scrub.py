"""scrub: what identifies a person, taken out of free text as far as it is known or has a shape."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from proxy.fhir.codec import Json
from proxy.lenses import LensMethod, Transform, lens
from proxy.lenses.context import LensContext
from proxy.lenses.spoken import BEGIN, END, KINDS, known_pattern, spread

# What stands in a text while it is scrubbed: one private character a kind, which no pattern reads.
_MARKS = {kind: chr(0xE000 + number) for number, kind in enumerate(KINDS)}
_SHOWN = {mark: f"[{kind}]" for kind, mark in _MARKS.items()}
_ANY_MARK = re.compile("[" + "".join(_SHOWN) + "]")
_PRIVATE = ("Cf", "Co", "Cs")  # invisible, private and broken characters, which can hide a name

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?", r"(?:1[89]|20)\d\d"
_TIME = r"(?:[t ]{1,2}\d{1,2}:\d\d(?::\d\d(?:\.\d{1,9})?)?(?: ?(?:z|[ap]\.?m\.?|[+-]\d\d:?\d\d))?)?"
_SHORT = r"(?:[-./]|(?: ?['\u2019])?)\d\d(?![\d:])"  # a year of two digits
_GAP = r"[ ,./-]{0,2}"
# Every repeat is bounded or of one class that what follows it is not, so that a text of any length
# is read in linear time.
_DATE = "|".join(
    (
        rf"{_YEAR}([-/.])\d{{1,2}}(?:\1\d{{1,2}}{_TIME})?",
        rf"\d{{1,2}}([-/.])\d{{1,2}}\2(?:{_YEAR}|['\u2019]?\d\d){_TIME}",
        rf"(?:0?[1-9]|1[0-2])[-/]{_YEAR}",
        # Without anything between only with a year: some genes are called as months are.
        rf"{_DAY}[ ./-](?:of )?{_MONTH}(?:{_GAP}{_YEAR}|{_SHORT})?{_TIME}",
        rf"{_DAY}[ ./-]{{0,2}}{_MONTH}(?:{_GAP}{_YEAR}|{_SHORT}){_TIME}",
        rf"{_YEAR}{_GAP}{_MONTH}[ ./-]{{0,2}}{_DAY}{_TIME}|{_YEAR}[-./]{_MONTH}",
        rf"{_MONTH}[ ./-]{{1,2}}{_DAY}(?: ?- ?{_DAY})?(?:{_GAP}{_YEAR}|{_SHORT})?{_TIME}",
        rf"{_MONTH}{_DAY}{_GAP}{_YEAR}{_TIME}",
        rf"{_MONTH}{_GAP}(?:of )?{_YEAR}",
        r"(?:on|since|from|until|till|before|after|dated|dob:?|born) \d{1,2}/\d{1,2}(?!/\d)",
        rf"{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[0-2]\d[0-5]\d(?:[0-5]\d)?)?"
        r"(?:[+-]\d{4})?",
    )
)
_MAIL = r"[\w.%+'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"
_URL = r"(?:(?:https?|ftp|sftp|mailto|tel):|www\.|urn:(?:uuid|oid):)\S{1,2000}"
_SSN = r"\d{3}([- .])\d{2}\1\d{4}"
_PHONE = (
    r"(?:\+?\d{1,3}[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ ./-])\d{3}[ .-]\d{4}(?: ?(?:x|ext\.?) ?\d{1,6})?"
    r"|\+\d[\d ().-]{6,20}\d"
    r"|(?:phone|tel|telephone|fax|cell|mobile|pager|call)[ :.#]{1,3}\d{3}[ .-]\d{4}"
)
_NUMBER = r" ?(?:number|num|no|nr|id)"
_RECORD = r"(?:med(?:ical|\.)? )?(?:record|rec\.?|chart|account|acct\.?|case)"
_MRN = (
    rf"(?:(?:(?:mrn|accession)(?:{_NUMBER})?|mr(?= ?#)|(?:patient|member) id|{_RECORD}{_NUMBER})"
    r"(?:[ :#.=]{1,3}(?:is|was|of)(?=[ :#=]))?"
    r"|acct|account|chart|med(?:ical|\.)? rec(?:ord|\.)?)"
    r"[ :#.=-]{0,4}(?=[a-z-]{0,6}\d)[a-z0-9-]{3,24}|[a-z]{0,4}-?\d{6,}[a-z]{0,3}"
)


def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"{BEGIN}(?:{pattern}){END}")


# Before what is known of a person: shapes that can hold a name. After it: numbers.
_BEFORE = (("EMAIL", _whole(_MAIL)), ("URL", re.compile(rf"{BEGIN}(?:{_URL})")))
_AFTER = (
    ("SSN", _whole(_SSN)),
    ("DATE", _whole(_DATE)),
    ("PHONE", _whole(_PHONE)),
    ("ID", _whole(_MRN)),
)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the persons of a case: a pattern for each kind, made once for all texts."""

    patterns: tuple[tuple[str, re.Pattern[str]], ...]

    @classmethod
    def of(cls, texts: frozenset[tuple[str, str]]) -> Known:
        """``texts``: (kind, text as it is stored), see :mod:`proxy.lenses.spoken`."""
        found = ((kind, known_pattern(kind, texts)) for kind in KINDS)
        return cls(tuple((kind, pattern) for kind, pattern in found if pattern is not None))


def scrub(text: str, known: Known) -> tuple[str, Counter[str]]:
    """``text`` with placeholders, and how often each kind was found.

    Letters and dashes are compared as ASCII has them, without case and accents. Invisible
    characters go, and the text comes out in Unicode's composed form (NFC).
    """
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(c for c in composed if unicodedata.category(c) not in _PRIVATE)
    found: Counter[str] = Counter()
    for kind, pattern in (*_BEFORE, *known.patterns, *_AFTER):
        kept = _replace(kept, kind, pattern, found)
    return _ANY_MARK.sub(lambda match: _SHOWN[match[0]], kept), found


def _replace(text: str, kind: str, pattern: re.Pattern[str], found: Counter[str]) -> str:
    parts, end = [], 0
    folded, places = spread(text)
    for match in pattern.finditer(folded):
        start = max(end, places[match.start()])
        parts += [text[end:start], _MARKS[kind]]
        # With the accents after it, and the whole of a letter that is several when folded.
        end = max(places[match.end()], places[match.end() - 1] + 1)
        found[kind] += 1
    return "".join((*parts, text[end:])) if parts else text


@lens("scrub")
class Scrub(LensMethod):
    """Free text without what is known to identify, which is no proof that it identifies nobody.

    Replaced by ``[NAME]``, ``[ID]``, ``[PHONE]``, ``[EMAIL]``, ``[URL]``, ``[ADDRESS]``,
    ``[DATE]`` and ``[SSN]``: the names (each part, with and without initials, in either order),
    identifier values, telecoms and street lines of the Patients, RelatedPersons and contacts of
    the same case, in the spellings in use: in any case, without accents, letters and dashes as
    ASCII has them, a street line without its apartment too; and whatever has the shape of a
    date, a phone number, a mail address, a URL, a social security number or a record number. Where
    these persons are not known the whole text is masked. Names of others, places, and what is
    misspelt, stay: no Safe Harbor view may rely on it. No search reads such a text.

    What was found is counted by kind, in the audit and by ``ecr-proxy view``, never shown.

    Example: ``"Observation.note.text" = "scrub"`` shows "John Smith seen 3/4/2020" as
    "[NAME] seen [DATE]".
    """

    suits = frozenset({"string", "markdown"})
    says = "with placeholders"

    def bind(self, params: Mapping[str, object], type_code: str) -> Transform:
        if type_code not in self.suits:
            raise ValueError(f"scrub does not suit {type_code}")

        def transform(value: Json, context: LensContext) -> Json | None:
            if type(value) is not str or context.known is None:
                return None
            shown, found = scrub(value, context.known)
            context.scrubbed[id(value)] = found
            return shown

        return transform
