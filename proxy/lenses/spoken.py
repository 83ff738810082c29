"""What identifies a person as people write it: patterns for names, numbers, telecoms, streets.

Everything is compared folded: lower case, without accents, one character for one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

# The kinds of placeholders, in the order in which what is known is looked for.
KINDS = ("EMAIL", "URL", "ADDRESS", "PHONE", "SSN", "ID", "NAME", "DATE")
NAME, FAMILY, GIVEN, TELECOM, STREET, NUMBER = (
    "name", "family", "given", "telecom", "street", "number",
)  # fmt: skip
_FEWEST = 4  # characters of a number that identifies
_WORDS = "mr mrs ms miss mx dr prof sir rev jr sr ii iii iv md do phd rn np pa esq the of de la del"
_TITLES = frozenset(_WORDS.split())
# USPS Publication 28, appendices C1 and C2, as far as they are common; N, E, S, W.
_STREETS = (
    ("street", "str", "st"), ("avenue", "ave", "av"), ("road", "rd"), ("drive", "dr"),
    ("lane", "ln"), ("boulevard", "blvd"), ("court", "ct"), ("place", "pl"), ("square", "sq"),
    ("terrace", "ter"), ("circle", "cir"), ("highway", "hwy"), ("parkway", "pkwy"), ("way", "wy"),
    ("trail", "trl"), ("apartment", "apt", "unit", "#"), ("suite", "ste"), ("floor", "fl"),
    ("building", "bldg"), ("north", "n"), ("south", "s"), ("east", "e"), ("west", "w"),
    ("northeast", "ne"), ("northwest", "nw"), ("southeast", "se"), ("southwest", "sw"),
)  # fmt: skip
_SPELLINGS = {word: words for words in _STREETS for word in words}
_WORD = re.compile(r"[^\W_]+")
# No letter or digit stands beside, and beside a name no letter. An underscore is a gap, as in
# names of files.
BEGIN, END = r"(?<![^\W_])", r"(?![^\W_])"
_LETTERS = r"(?<![^\W\d_])(?:{})(?![^\W\d_])"
_GAP = r"[\s,.#-]{1,4}"


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character)[:1].lower()
    if character.isspace():
        return " "
    return plain if len(plain) == 1 else character


def fold(text: str) -> str:
    """``text`` in lower case and without accents, as long as before."""
    if text.isascii() and not any(c in text for c in "\t\n\r\v\f"):
        return text.lower()
    return "".join(map(_fold_character, text))


def known_pattern(
    kind: str, texts: Iterable[tuple[str, str]]
) -> re.Pattern[str] | None:
    """The pattern that finds what of ``texts`` (what it is, text as stored) is of a kind of
    placeholder; None if nothing is."""
    found = {spelling for what, text in texts for of, spelling in _spell(what, text) if of == kind}
    if not found:
        return None
    longest_first = sorted(found, key=lambda spelling: (-len(spelling), spelling))
    either = "|".join(longest_first)
    return re.compile(_LETTERS.format(either) if kind == "NAME" else f"{BEGIN}(?:{either}){END}")


def _spell(what: str, text: str) -> Iterator[tuple[str, str]]:
    """(kind of placeholder, pattern of a spelling)."""
    plain = " ".join(fold(unicodedata.normalize("NFC", text)).split())
    if what in (NAME, FAMILY, GIVEN):
        yield from (("NAME", spelling) for spelling in _names(plain))
    elif what == STREET:
        words = re.findall(r"[\w#]+", plain)
        if len(words) > 1:
            yield "ADDRESS", _GAP.join(map(_street_word, words))
    elif what == NUMBER:
        yield from (("ID", spelling) for spelling in _numbers(plain))
    elif what == TELECOM:
        yield from _telecoms(plain)


def _names(text: str) -> Iterator[str]:
    """A name given as ``given … | family``, or as words alone: each word that is no title, and the
    words beside initials."""
    given, bar, family = text.partition("|")
    words = [w for w in _WORD.findall(text) if w not in _TITLES or (bar and w in (given, family))]
    for word in words:
        if len(word) > 1:
            yield re.escape(word)
    ends = _WORD.findall(family) if bar else []
    if not ends:
        return
    last = r"[\s'\u2019._-]{0,2}".join(map(re.escape, ends))
    yield last
    firsts = _WORD.findall(given)
    if not firsts:
        return
    gap = r"[\s._-]{0,2}"
    whole = gap.join(rf"(?:{re.escape(w)}|{re.escape(w[0])})" for w in firsts)
    lead = rf"(?:{re.escape(firsts[0])}|{re.escape(firsts[0][0])})"
    yield whole + gap + last
    yield lead + gap + last
    yield rf"{lead}\.?\s{{1,2}}[^\W\d_]{{1,20}}\.?\s{{1,2}}{last}"
    yield rf"{last},?{gap}{whole}"
    yield rf"{last},?{gap}{lead}"


def _street_word(word: str) -> str:
    words = _SPELLINGS.get(word, (word,))
    return rf"(?:{'|'.join(map(re.escape, words))})"


def _numbers(text: str) -> Iterator[str]:
    """A number as it is, with other separators or none, and without leading zeros."""
    bare = [c for c in text if c.isalnum()]
    if len(bare) < _FEWEST:
        return
    stripped = "".join(bare).lstrip("0")
    spelled = [r"[\s./_:-]?".join(map(re.escape, bare))]
    if _FEWEST <= len(stripped) < len(bare):
        spelled.append(re.escape(stripped))
    for each in spelled:
        yield each
        if text.isdigit():
            yield rf"[^\W\d_]{{1,12}}{each}"


def _telecoms(text: str) -> Iterator[tuple[str, str]]:
    value = text.removeprefix("tel:").removeprefix("mailto:")
    if "@" in value:
        yield "EMAIL", re.escape(value)
        return
    digits = [c for c in value if c.isdigit()]
    if "://" in value or len(digits) < 7:
        yield "URL", re.escape(value)
        return
    gap = r"[\s().+/-]{0,3}"
    local = digits[-10:] if len(digits) >= 10 else digits
    before = digits[: len(digits) - len(local)]
    country = rf"(?:\+?{gap.join(before)}{gap})?" if before else r"(?:\+?1[\s.-]?)?"
    yield "PHONE", rf"{country}\(?{gap.join(local)}"
    if len(local) == 10:
        yield "PHONE", gap.join(local[-7:])
