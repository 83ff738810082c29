"""The attacks, by what they are after: each finds its secret on a server without a view."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.fhir.search import escape
from tests.attacks.algorithms import (
    Among,
    Attack,
    Bisect,
    Differ,
    Order,
    Spell,
    Tell,
    Template,
    continued,
    counted,
    included,
    of_victim,
)
from tests.attacks.hidden import COUNT, FRIEND, LOINC, SYSTEM, VICTIM
from tests.attacks.servers import BATCH, POST, WAYS, Reply, Server, query


def mine(*pairs: tuple[str, str]) -> Template:
    """About the victim."""
    return of_victim("Patient", ("_id", "{v}"), *pairs)


def found(*pairs: tuple[str, str]) -> Template:
    """About a finding of the victim's."""
    return of_victim("Observation", ("_id", "{o}"), *pairs)


def sorted_by(keys: str, *pairs: tuple[str, str]) -> Order:
    def make(server: Server) -> str:
        return query("Patient", *pairs, ("_sort", keys))

    return Order(make)


def by_date(first: str, last: str, template: str, code: str) -> Mapping[str, Attack]:
    """A date by bisection, with every prefix, precision and way. ``template``: ``Patient`` or
    ``Observation``."""
    about = mine if template == "Patient" else found
    attacks: dict[str, Attack] = {
        f"{code}={prefix} {way}": Bisect(
            about((code, f"{prefix}{{x}}")), first, last, way=way, inverted=prefix in ("ge", "sa")
        )
        for prefix, way in (("lt", "GET"), ("ge", "GET"), ("lt", POST), ("lt", BATCH))
    }
    attacks[f"{code}=eb"] = Bisect(about((code, "eb{x}")), first, last)
    attacks[f"{code}=lt instant"] = Bisect(about((code, "lt{x}T00:00:00Z")), first, last)
    attacks[f"{code} between"] = Bisect(about((code, "ge1900"), (code, "lt{x}")), first, last)
    never = "1899-09-09"
    attacks[f"{code}=day"] = Differ(about((code, "{x}")), nonsense=never)
    counting = about((code, "{x}"), ("_summary", "count"))
    attacks[f"{code}=day counted"] = Differ(counting, nonsense=never)
    return attacks


BIRTH: dict[str, Attack] = {
    **by_date("1974-01-01", "1975-01-01", "Patient", "birthdate"),
    "not missing and before": Bisect(
        mine(("birthdate:missing", "false"), ("birthdate", "lt{x}")), "1974-01-01", "1975-01-01"
    ),
    "total": Bisect(
        mine(("birthdate", "lt{x}"), ("_total", "accurate")), "1974-01-01", "1975-01-01", counted
    ),
    "count": Bisect(
        mine(("birthdate", "lt{x}"), ("_count", "0")), "1974-01-01", "1975-01-01", counted
    ),
    "a page border": Bisect(
        of_victim("Patient", ("_id", "{v},{f}"), ("birthdate", "lt{x}"), ("_count", "1")),
        "1974-01-01", "1975-01-01", continued,
    ),
    "a chain": Bisect(found(("subject:Patient.birthdate", "lt{x}")), "1974-01-01", "1975-01-01"),
    "a chain without type": Bisect(
        found(("patient.birthdate", "lt{x}")), "1974-01-01", "1975-01-01"
    ),
    "a chain and an include": Bisect(
        found(("patient.birthdate", "lt{x}"), ("_include", "Observation:subject")),
        "1974-01-01", "1975-01-01", included,
    ),
    "an include of what was searched": Bisect(
        of_victim("Observation", ("_id", "{o}"), ("_include", "Observation:subject"),
                  ("subject:Patient.birthdate", "ge{x}")),
        "1974-01-01", "1975-01-01", included, inverted=True,
    ),
    "order": sorted_by("birthdate"),
    "order downward": Order(sorted_by("-birthdate").template, down=True),
    "order page by page": Order(sorted_by("birthdate").template, step=1),
    "order among others": sorted_by("gender,birthdate"),
    "order within a group": sorted_by("birthdate", ("gender", "female")),
    "any difference": Differ(mine(("birthdate", "{x}")), nonsense="1899-09-09"),
    "any difference in a batch": Differ(
        mine(("birthdate", "{x}")), way=BATCH, nonsense="1899-09-09"
    ),
}  # fmt: skip


def by_text(code: str) -> Mapping[str, Attack]:
    """A string of the victim's, by lists, beginnings, modifiers and ways."""
    attacks: dict[str, Attack] = {
        f"{code} {way}": Among(mine((code, "{x}")), way=way) for way in WAYS
    }
    attacks[f"{code}:exact"] = Among(mine((f"{code}:exact", "{x}")))
    attacks[f"{code}:contains"] = Among(mine((f"{code}:contains", "{x}")))
    attacks[f"{code} letter by letter"] = Spell(mine((code, "{x}")))
    attacks[f"{code} letter by letter, in a form"] = Spell(mine((code, "{x}")), way=POST)
    attacks[f"{code} counted"] = Among(mine((code, "{x}"), ("_summary", "count")), counted)
    attacks[f"{code} by a chain"] = Among(found((f"patient.{code}", "{x}")))
    attacks[f"{code} by any difference"] = Differ(mine((code, "{x}")))
    return attacks


NAME: dict[str, Attack] = {
    **by_text("family"),
    **by_text("name"),
    "phonetic": Among(mine(("phonetic", "{x}"))),
    "escaped name": Among(mine(("family", "{x}"), ("gender", "female"))),
    "a reverse chain": Among(
        of_victim("Patient", ("_id", "{v}"), ("_has:Observation:patient:patient.family", "{x}"))
    ),
    "a chain and an include": Among(
        found(("subject:Patient.family", "{x}"), ("_include", "Observation:subject")), included
    ),
    "a page border": Among(
        of_victim("Patient", ("family:exact", f"{{x}},Zz{FRIEND}"), ("_count", "1")), continued
    ),
    "the total": Among(
        of_victim("Patient", ("family:exact", "{x}"), ("_total", "accurate")), counted
    ),
    "a filter on all rows": Among(of_victim("Patient", ("family:exact", "{x}"))),
    "order": sorted_by("family"),
    "order page by page": Order(sorted_by("family").template, step=2),
    "order downward": Order(sorted_by("-family").template, down=True),
    "order by the whole name": sorted_by("name"),
}
ZIP: dict[str, Attack] = {
    **by_text("address-postalcode"),
    "address": Among(mine(("address", "{x}"))),
    "order": sorted_by("address-postalcode"),
    "order page by page": Order(sorted_by("address-postalcode").template, step=1),
    "a page border": Among(
        of_victim("Patient", ("address-postalcode:exact", "{x}"), ("_total", "accurate")), counted
    ),
}


def numbered(value: str) -> str:
    return f"{SYSTEM}|{value}"


IDENTIFIER: dict[str, Attack] = {
    **{
        f"identifier {way}": Among(mine(("identifier", "{x}")), way=way, write=numbered)
        for way in WAYS
    },
    "without its system": Among(mine(("identifier", "{x}"))),
    "of any patient": Among(of_victim("Patient", ("identifier", "{x}"))),
    "not": Among(mine(("identifier:not", "{x}")), inverted=True, write=numbered),
    "counted": Among(mine(("identifier", "{x}"), ("_summary", "count")), counted, write=numbered),
    "by a chain": Among(found(("patient.identifier", "{x}")), write=numbered),
    "by a chain in a form": Among(found(("patient.identifier", "{x}")), way=POST, write=numbered),
    "and an include": Among(
        found(("patient.identifier", "{x}"), ("_include", "Observation:subject")),
        included, write=numbered,
    ),
    "order": sorted_by("identifier"),
    "any difference": Differ(mine(("identifier", "{x}"))),
}  # fmt: skip


def by_quantity(*codes: str) -> dict[str, Attack]:
    about = "http://loinc.org|29553-5$lt{x}|http://unitsofmeasure.org|a"
    pairs = {"value-quantity": "lt{x}", "combo-value-quantity": "lt{x}",
             "code-value-quantity": about, "combo-code-value-quantity": about}  # fmt: skip
    return {
        code: Bisect(of_victim("Observation", ("_id", "{a}"), (code, pairs[code])), "89", "120")
        for code in codes
    }


OLDEST: dict[str, Attack] = {
    **by_quantity("value-quantity", "combo-value-quantity", "code-value-quantity",
                  "combo-code-value-quantity"),
    "exactly": Among(of_victim("Observation", ("_id", "{a}"), ("value-quantity", "{x}"))),
    "from": Bisect(
        of_victim("Observation", ("_id", "{a}"), ("value-quantity", "ge{x}")), "89", "120",
        inverted=True,
    ),
    "in a batch": Bisect(
        of_victim("Observation", ("_id", "{a}"), ("value-quantity", "lt{x}")), "89", "120",
        way=BATCH,
    ),
    "with its unit": Bisect(
        of_victim("Observation", ("_id", "{a}"),
                  ("value-quantity", "lt{x}|http://unitsofmeasure.org|a")), "89", "120",
    ),
    "counted": Bisect(
        of_victim("Observation", ("_id", "{a}"), ("value-quantity", "lt{x}"),
                  ("_summary", "count")), "89", "120", counted,
    ),
    "any difference": Differ(
        of_victim("Observation", ("_id", "{a}"), ("value-quantity", "{x}")), nonsense="7"
    ),
}  # fmt: skip
FINDING: dict[str, Attack] = {
    **by_date("2019-01-01", "2020-01-01", "Observation", "date"),
    **by_date("2019-01-01", "2020-01-01", "Observation", "value-date"),
    "a composite": Bisect(
        found(("code-value-date", f"{LOINC}|8665-2$lt{{x}}")), "2019-01-01", "2020-01-01"
    ),
    "a composite in a form": Bisect(
        found(("code-value-date", f"{LOINC}|8665-2$lt{{x}}")), "2019-01-01", "2020-01-01", way=POST
    ),
    "a reverse chain": Bisect(
        of_victim("Patient", ("_id", "{v}"), ("_has:Observation:patient:value-date", "lt{x}")),
        "2019-01-01", "2020-01-01",
    ),
    "a reverse include": Bisect(
        of_victim("Patient", ("_id", "{v}"), ("_revinclude", "Observation:patient"),
                  ("_has:Observation:subject:value-date", "lt{x}")),
        "2019-01-01", "2020-01-01",
    ),
}  # fmt: skip
TEXT: dict[str, Attack] = {
    "value-string": Among(found(("value-string", "{x}"))),
    "letter by letter": Spell(found(("value-string", "{x}"))),
    "contains": Among(found(("value-string:contains", "{x}"))),
    "a composite": Among(
        found(("code-value-string", "{x}")), write=lambda text: f"{LOINC}|8665-2${escape(text)}"
    ),
    "a reverse chain": Among(
        of_victim("Patient", ("_id", "{v}"), ("_has:Observation:patient:value-string", "{x}"))
    ),
    "in a batch": Among(found(("value-string", "{x}")), way=BATCH),
    "counted": Among(found(("value-string", "{x}"), ("_summary", "count")), counted),
    "any difference": Differ(found(("value-string", "{x}"))),
}  # fmt: skip


def stored_before(server: Server, value: str) -> str:
    """Whether the victim was stored before that second of the store's clock."""
    about = mine(("_lastUpdated", f"lt2026-01-05T06:00:{int(value):02}Z"))
    return about(server, value)


UPDATED: dict[str, Attack] = {
    "_lastUpdated": Bisect(stored_before, "0", "59"),
    "_lastUpdated in a form": Bisect(stored_before, "0", "59", way=POST),
    "_lastUpdated in a batch": Bisect(stored_before, "0", "59", way=BATCH),
}


def read_victim(server: Server, value: str) -> str:
    return f"Patient/{server.name('Patient', VICTIM)}"


def read_version(server: Server, value: str) -> str:
    return f"{read_victim(server, value)}/_history/{int(value) + 1}"


VERSIONS: dict[str, Attack] = {
    # Versions count from 1, and the first is there without any writing again.
    "If-None-Match": Differ(
        read_victim, lambda v: {"If-None-Match": f'W/"{v if v == "99" else int(v) + 1}"'},
        nonsense="99",
    ),
}  # fmt: skip

SHOWN = COUNT + 2  # patients: the decoys, the victim, the friend


def more_than_shown(reply: Reply) -> str | None:
    return None if reply.total is None else str(reply.total - SHOWN)


def rows_more(reply: Reply) -> str | None:
    return str(len(reply.matches) - SHOWN)


def all_patients(*pairs: tuple[str, str]) -> Template:
    return of_victim("Patient", ("gender", "female"), *pairs)


WITHHELD: dict[str, Attack] = {
    "the total": Tell(all_patients(("_total", "accurate")), more_than_shown),
    "the total of a page": Tell(
        all_patients(("_total", "accurate"), ("_count", "1")), more_than_shown
    ),
    "the count": Tell(all_patients(("_summary", "count")), more_than_shown),
    "the count in a batch": Tell(all_patients(("_summary", "count")), more_than_shown, BATCH),
    "no rows": Tell(all_patients(("_count", "0")), more_than_shown),
    "the rows": Tell(all_patients(("_count", "100")), rows_more),
    "the rows in a form": Tell(all_patients(("_count", "100")), rows_more, POST),
    "what a sort must look through": Tell(
        all_patients(("_sort", "gender"), ("_count", "100")), rows_more
    ),
    "what comes along": Tell(
        all_patients(("_revinclude", "Observation:patient"), ("_count", "100")), rows_more
    ),
}

CATALOGUE: Mapping[str, Mapping[str, Attack]] = {
    "birth date": BIRTH,
    "name": NAME,
    "ZIP code": ZIP,
    "street": {**by_text("address")},
    "city": {**by_text("address-city")},
    "telephone": {
        "phone": Among(mine(("phone", "{x}"))),
        "telecom": Among(mine(("telecom", "{x}"))),
        "telecom in a form": Among(mine(("telecom", "{x}")), way=POST),
        "telecom by a chain": Among(found(("patient.telecom", "{x}"))),
        "telecom, not": Among(mine(("telecom:not", "{x}")), inverted=True),
        "any difference": Differ(mine(("phone", "{x}"))),
    },
    "identifier": IDENTIFIER,
    "age of the oldest": OLDEST,
    "day of a finding": FINDING,
    "text of a finding": TEXT,
    "time of storage": UPDATED,
    "number of versions": VERSIONS,
    "number of withheld rows": WITHHELD,
}
