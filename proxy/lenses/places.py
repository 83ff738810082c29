"""Places shown less exactly, from complete tables with their source.

* ``zip3.csv``: what a three-digit ZIP prefix may show: itself where more than 20,000 people live
  (45 CFR 164.514(b)(2)(i)(B)) by current Census ZCTA populations, else ``000``.
* ``states.csv``: states, DC, territories and freely associated states of the USA with USPS codes
  (ISO 3166-2:US as in pycountry 26.2.16, and USPS Publication 28, appendix B).
* ``countries.csv``: ISO 3166-1 alpha-2, alpha-3 and names (as in pycountry 26.2.16).
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from proxy.errors import BadValue, Forbidden
from proxy.lenses.backward import Listed

HIDDEN_ZIP3 = "000"  # 45 CFR 164.514(b)(2)(i)(B)(2)
PADDING = "00"

_ZIP = re.compile(r"(\d{5})(?:-?\d{4})?")


def _rows(name: str) -> list[dict[str, str]]:
    text = (files("proxy.lenses") / name).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


@cache
def zip3_table() -> dict[str, str]:
    """Three-digit prefix to what is shown of it."""
    return {row["prefix"]: row["shown"] for row in _rows("zip3.csv")}


@cache
def states() -> frozenset[str]:
    """Codes and names of states, in lower case."""
    return frozenset(v.lower() for row in _rows("states.csv") for v in row.values() if v)


@cache
def countries() -> frozenset[str]:
    """Codes and names of countries, in lower case."""
    return frozenset(v.lower() for row in _rows("countries.csv") for v in row.values() if v)


def show_zip5(text: str) -> str | None:
    """The five-digit ZIP code of ``text`` (ZIP+4 cut); None if it is none.

    Here and below a blank before a value makes it unreadable: a search that begins with what is
    shown would not find it. Blanks after it do not count.
    """
    match = _ZIP.fullmatch(text.rstrip())
    return match[1] if match and text.isascii() else None


def show_zip3(text: str) -> str | None:
    """The three digits shown of a ZIP code; ``000`` for a prefix that few live in or none.

    A value that is already three digits counts as a prefix.
    """
    stripped = text.rstrip()
    prefix = stripped if re.fullmatch(r"[0-9]{3}", stripped) else (show_zip5(text) or "")[:3]
    return zip3_table().get(prefix, HIDDEN_ZIP3) if prefix else None


def show_zip3_padded(text: str) -> str | None:
    """:func:`show_zip3` as five digits, the last two of them zeros, which is the form of the
    anonymized-eICR guide (eicr-anon-patient: 30302 is shown as 30300)."""
    shown = show_zip3(text)
    return None if shown is None else shown + PADDING


def show_state(text: str) -> str | None:
    """``text`` if it is the code or name of a state, else None."""
    return text.rstrip() if text.rstrip().lower() in states() else None


def show_country(text: str) -> str | None:
    """``text`` if it is the code or name of a country, else None."""
    return text.rstrip() if text.rstrip().lower() in countries() else None


@cache
def hidden_zip3() -> tuple[str, ...]:
    """The prefixes that are shown as ``000``: in areas where few live, and in use nowhere."""
    return tuple(p for p in (f"{n:03}" for n in range(1000)) if show_zip3(p) == HIDDEN_ZIP3)


@dataclass(frozen=True, slots=True)
class ShownZip5(Listed):
    """Backward of ``zip5``: what is stored begins with what is shown."""

    form: str = "five digits"

    def check(self, value: str) -> None:
        if not re.fullmatch(r"[0-9]{5}", value):
            raise BadValue("Ask for a postal code as it is shown: exactly five digits.")

    def values(self, value: str) -> tuple[str, ...]:
        return (value,)


@dataclass(frozen=True, slots=True)
class ShownZip3(Listed):
    """Backward of ``zip3``: what is stored begins with the three digits that are shown, or, for
    ``000``, with any that are shown so."""

    form: str = "three digits (000 for areas where few live)"

    def check(self, value: str) -> None:
        if not re.fullmatch(r"[0-9]{3}", value):
            raise Forbidden("Ask for a postal code as it is shown: exactly three digits.")
        if value in hidden_zip3() and value != HIDDEN_ZIP3:
            raise Forbidden("Postal codes of areas where few live are shown as 000; ask for that.")

    def values(self, value: str) -> tuple[str, ...]:
        shown = (value,) if any(p.startswith(value) for p in zip3_table().values()) else ()
        hidden = hidden_zip3() if HIDDEN_ZIP3.startswith(value) else ()
        return tuple(dict.fromkeys(shown + hidden))


@dataclass(frozen=True, slots=True)
class ShownZip3Padded(ShownZip3):
    """Backward of ``zip3-padded``: as of ``zip3``, asked for with the zeros."""

    form: str = "five digits that end in 00 (00000 for areas where few live)"

    def check(self, value: str) -> None:
        if not re.fullmatch(r"[0-9]{3}00", value):
            raise Forbidden("Ask for a postal code as it is shown: five digits that end in 00.")
        if value[:3] in hidden_zip3() and value[:3] != HIDDEN_ZIP3:
            raise Forbidden("Postal codes of areas where few live show as 00000; ask for that.")

    def values(self, value: str) -> tuple[str, ...]:
        return ShownZip3.values(self, value[:3])
