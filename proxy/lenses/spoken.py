"""What identifies a person as people write it: patterns for names, numbers, telecoms, streets.

Everything is compared folded: in lower case, without accents, letters and dashes as ASCII has them
where it has them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

# The kinds of placeholders, in the order in which what is known is looked for.
KINDS = ("EMAIL", "URL", "ADDRESS", "PHONE", "SSN", "ID", "NAME", "DATE")
NAME, FAMILY, GIVEN, TELECOM, STREET, NUMBER = (
    "name", "family", "given", "telecom", "street", "number",
)  # fmt: skip
_FEWEST = 4  # characters of a number that identifies
_WORDS = "mr mrs ms miss mx dr prof sir rev jr sr ii iii iv md do phd rn np pa esq the of de la del"
_TITLES = frozenset(_WORDS.split())
# USPS Publication 28, appendices C1 and C2, as far as they are common; N, E, S, W; ordinals.
_STREETS = (
    ("street", "str", "st"), ("avenue", "ave", "av"), ("road", "rd"), ("drive", "dr"),
    ("lane", "ln"), ("boulevard", "blvd"), ("court", "ct"), ("place", "pl"), ("square", "sq"),
    ("terrace", "ter"), ("circle", "cir"), ("highway", "hwy"), ("parkway", "pkwy"), ("way", "wy"),
    ("trail", "trl"), ("floor", "fl"), ("building", "bldg"), ("saint", "st"),
    ("north", "n"), ("south", "s"), ("east", "e"), ("west", "w"),
    ("northeast", "ne"), ("northwest", "nw"), ("southeast", "se"), ("southwest", "sw"),
    ("first", "1st"), ("second", "2nd"), ("third", "3rd"), ("fourth", "4th"), ("fifth", "5th"),
    ("sixth", "6th"), ("seventh", "7th"), ("eighth", "8th"), ("ninth", "9th"), ("tenth", "10th"),
)  # fmt: skip
_SPELLINGS = {
    word: tuple(dict.fromkeys(each for words in _STREETS if word in words for each in words))
    for word in {word for words in _STREETS for word in words}
}
_WORD = re.compile(r"[^\W_]+")
# No letter or digit stands beside, and beside a name no letter. An underscore is a gap, as in
# names of files.
BEGIN, END = r"(?<![^\W_])", r"(?![^\W_])"
_LETTERS = r"(?<![^\W\d_])(?:{})(?![^\W\d_])"
_GAP, _NEAR = r"[\s,.#-]{1,4}", r"[\s,.#-]{0,4}"
# Before the number of a part of a building (appendix C2), each as good as another; a post box.
_PARTS = "apartment apt unit suite ste room rm flat lot space spc trailer trlr #"
_UNITS = frozenset(_PARTS.split())
_UNIT = f"(?:{'|'.join(sorted(_UNITS))})"
_BOX = r"(?:(?:p[\s.]{0,2}o[\s.]{0,2}|post\s{1,2}office\s{1,2})?box|p\.?o\.?b\.?)"
_BOXES = re.compile(rf"\b{_BOX}(?!\w)")
_INSIDE = r"(?:extension|extn?\.?|x|#)[\s.:=]{0,2}"  # before the extension of a phone number
_EXTENSION = re.compile(rf"(?<=\d)[\s,;]{{0,3}}{_INSIDE}\d{{1,6}}\s*$")


# What Unicode's data does not take apart; "o with stroke" is taken from the name.
_LIKE = {"\u00e6": "ae", "\u0153": "oe", "\u00fe": "th", "\u00f0": "d", "\u0131": "i",
         "\u014b": "n", "\u0259": "e", "\u2212": "-", "\u2043": "-"}  # fmt: skip
_MARKED = re.compile(r"LATIN SMALL LETTER ([A-Z]) WITH .+")
# German and Nordic letters as who has no such keys writes them.
_WRITTEN = str.maketrans({"\u00e4": "ae", "\u00f6": "oe", "\u00fc": "ue", "\u00f8": "oe",
                          "\u00e5": "aa"})  # fmt: skip


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str:
    if character.isspace():
        return " "
    apart = unicodedata.normalize("NFKD", character)
    return "".join(_like(c) for c in apart.casefold() if not unicodedata.combining(c))


def _like(character: str) -> str:
    """What ASCII has for a lower-case letter or a dash, as far as it has anything."""
    if character.isascii() or unicodedata.category(character) == "Pd":
        return character if character.isascii() else "-"
    marked = _MARKED.fullmatch(unicodedata.name(character, ""))
    return marked[1].lower() if marked else _LIKE.get(character, character)


def fold(text: str) -> str:
    """``text`` as it is compared."""
    return spread(text)[0]


def spread(text: str) -> tuple[str, Sequence[int]]:
    """``text`` as it is compared, and where in ``text`` each of its characters stands; the end,
    too."""
    if text.isascii() and not any(c in text for c in "\t\n\r\v\f"):
        return text.lower(), range(len(text) + 1)
    folded = [_fold_character(character) for character in text]
    places = [at for at, each in enumerate(folded) for _ in each]
    return "".join(folded), [*places, len(text)]


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
        written = fold(unicodedata.normalize("NFC", text).lower().translate(_WRITTEN))
        for each in {plain, " ".join(written.split())}:
            yield from (("NAME", spelling) for spelling in _names(each))
    elif what == STREET:
        yield from (("ADDRESS", spelling) for spelling in _streets(plain))
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
    lead, *rest = map(_name_or_initial, firsts)
    # No text is read as names and initials in several ways, which would take time exponential in
    # their number: after an initial in between something stands, or all are of one sort.
    mixed = "".join(map(_parted, firsts[:-1])) + (rest or [lead])[-1]
    for whole in dict.fromkeys((
        mixed,
        gap.join((lead, *(re.escape(w[0]) for w in firsts[1:]))),
        gap.join((lead, *map(re.escape, firsts[1:]))),
    )):  # fmt: skip
        yield whole + gap + last
        yield rf"{last},?{gap}{whole}"
    yield lead + gap + last
    yield rf"{lead}\.?\s{{1,2}}[^\W\d_]{{1,20}}\.?\s{{1,2}}{last}"
    yield rf"{last},?{gap}{lead}"


def _name_or_initial(word: str) -> str:
    return rf"(?:{re.escape(word)}|{re.escape(word[0])})" if len(word) > 1 else re.escape(word)


def _parted(word: str) -> str:
    """A name, or its initial, and what stands before the next."""
    name = rf"{re.escape(word)}[\s._-]{{0,2}}"
    return rf"(?:{name}|{re.escape(word[0])}[\s._-]{{1,2}})" if len(word) > 1 else name


def _streets(text: str) -> Iterator[str]:
    """A street line as it is, and where it names a part of the building also without."""
    words = re.findall(r"\w+|#", _BOXES.sub("pobox", text))
    words = [w for w, before in zip(words, ["", *words], strict=False)
             if w != "#" or before not in _UNITS]  # fmt: skip
    if len(words) < 2:
        return
    at = next((n for n, word in enumerate(words) if word in _UNITS and n > 1), len(words))
    unit = words[at + 1 :]
    if any(len(word) == 1 or any(c.isdigit() for c in word) for word in unit):
        yield f"{_line(words[:at])}(?:{_GAP}(?:{_UNIT}{_NEAR})?{_line(unit)})?"
    else:
        yield _line(words)


def _line(words: list[str]) -> str:
    gaps = [_NEAR if word in _UNITS else _GAP for word in words[:-1]]
    return "".join(_street_word(w) + gap for w, gap in zip(words, [*gaps, ""], strict=True))


def _street_word(word: str) -> str:
    if word == "pobox":
        return _BOX
    if word in _UNITS:
        return _UNIT
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
    value = _EXTENSION.sub("", text.removeprefix("tel:").removeprefix("mailto:"))
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
    inside = rf"(?:[\s,;]{{0,2}}{_INSIDE}\d{{1,6}})?"
    yield "PHONE", rf"{country}\(?{gap.join(local)}{inside}"
    if len(local) == 10:
        yield "PHONE", gap.join(local[-7:]) + inside
