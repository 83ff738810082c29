"""Verdicts of values that a view shows less exactly: dates, ages, presence."""

from __future__ import annotations

from proxy.fhir.search_values import PREFIXES
from proxy.lenses.backward import BORDERS
from proxy.policy.decide import strength
from proxy.policy.methods import shows_less
from proxy.policy.model import Method
from proxy.policy.verdicts import compute_verdicts
from tests.policy.test_verdicts import ask, make_view, table_of


def test_values_of_the_oldest_are_judged() -> None:
    """Where ages are grouped, quantities are judged as shown."""
    aged = make_view({"Condition": "keep"}, ages=89)
    assert ask(aged, "Condition", "onset-age").judge == "always"
    assert ask(make_view({"Condition": "keep"}), "Condition", "onset-age").judge == "never"


def test_texts_of_the_oldest_are_judged() -> None:
    """An age said in words is shown as 90+ and must match no search; other texts need no look."""
    shown = {"Observation": "keep", "Patient": "keep"}
    aged = make_view(shown, {"string": "keep"}, ages=89)
    assert ask(aged, "Observation", "value-string").judge == "always"
    assert ask(aged, "Patient", "family").judge == "never"
    plain = make_view(shown, {"string": "keep"})
    assert ask(plain, "Observation", "value-string").judge == "never"


def test_prefixes_follow_what_is_shown() -> None:
    """As stored, dates take all prefixes but ap and numbers all; by years, those of borders; a
    composite those of its parts; where values have no order there are none."""
    year = Method("generalize", (("to", "year"),))
    exact = make_view({"Observation": "keep"}, {"dateTime": "keep", "instant": "keep"})
    years = make_view({"Observation": "keep"}, {"dateTime": year, "instant": year})
    borders = ("eq", "ne", "ge", "gt", "le", "lt")
    assert ask(exact, "Observation", "date").prefixes == (
        "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb",
    )  # fmt: skip
    assert ask(years, "Observation", "date").prefixes == borders
    assert ask(years, "Observation", "code-value-date").prefixes == borders
    assert ask(exact, "Observation", "date", "missing").prefixes == ()
    assert ask(exact, "Observation", "status").prefixes == ()
    assert len(ask(exact, "Observation", "value-quantity").prefixes) == 9
    assert len(ask(exact, "Observation", "code-value-quantity").prefixes) == 9
    assert table_of("investigator").verdict("Patient", "birthdate").prefixes == PREFIXES
    hidden = make_view({"Observation": "keep"})
    assert ask(hidden, "Observation", "date").prefixes == ()


def test_instants_that_vanish() -> None:
    """An optional instant has no shorter form: alone it is refused, beside other forms of the same
    date it matches nothing; a required one shows its year."""
    year = Method("generalize", (("to", "year"),))
    lines = {"Observation": "keep", "DocumentReference": "keep", "Provenance": "keep"}
    view = make_view(lines, {"dateTime": year, "instant": year, "Meta.lastUpdated": year})
    assert ask(view, "DocumentReference", "date").kind == "refuse"
    assert ask(view, "Provenance", "recorded").kind == "translate"
    assert ask(view, "Provenance", "_lastUpdated").kind == "refuse"
    found = ask(view, "Observation", "date")
    assert found.kind == "translate"
    assert [r.path for r in found.reads if r.vanishes] == ["Observation.effectiveInstant"]


def test_the_birth_date_of_the_oldest_is_not_shown() -> None:
    """Where it is kept for the others, it is judged, and its absence cannot be asked."""
    aged = make_view({"Patient": "keep"}, {"date": "keep"}, ages=89)
    assert ask(aged, "Patient", "birthdate").judge == "always"
    assert ask(aged, "Patient", "birthdate", "missing").kind == "refuse"
    plain = make_view({"Patient": "keep"}, {"date": "keep"})
    assert ask(plain, "Patient", "birthdate", "missing").kind == "allow"


def test_presence_counts_where_only_presence_is_read() -> None:
    """`deceased` reads whether there is a date, which a year shows too; hidden it is refused."""
    year = Method("generalize", (("to", "year"),))
    assert ask(make_view({"Patient": "keep"}, {"dateTime": year}), "Patient", "deceased").kind == (
        "allow"
    )
    assert ask(make_view({"Patient": "keep"}), "Patient", "deceased").kind == "refuse"


def test_shifted_dates_keep_their_precision() -> None:
    """Moved dates are translated with all prefixes, sort, and do not vanish: an instant stays one;
    whether they are there cannot be asked, since nobody's are masked."""
    moved = Method("shift")
    lines = {"Observation": "keep", "DocumentReference": "keep", "Patient": "keep"}
    dated = dict.fromkeys(("date", "dateTime", "instant", "Meta.lastUpdated"), moved)
    view = make_view(lines, dated, ages=89)
    for type_name, code in (("Observation", "date"), ("DocumentReference", "date"),
                            ("Patient", "birthdate"), ("Patient", "_lastUpdated")):  # fmt: skip
        found = ask(view, type_name, code)
        assert (found.kind, found.way, found.judge) == ("translate", "coarse", "always")
        assert len(found.prefixes) == 8
        assert not any(read.vanishes for read in found.reads)
        assert ask(view, type_name, code, "missing").kind == "refuse"
    table = compute_verdicts(view)
    assert table.sort("Observation", "date").way == "sort"
    assert table.sort("Patient", "birthdate").way == "sort"
    assert table.sort("Patient", "_lastUpdated").kind == "refuse"
    assert ask(view, "Observation", "code-value-date").way == "parts"
    year = Method("generalize", (("to", "year"),))
    mixed = make_view(lines, {**dated, "dateTime": year})
    assert set(ask(mixed, "Observation", "date").prefixes) == set(BORDERS)
    assert compute_verdicts(mixed).sort("Observation", "date").kind == "refuse"


def test_scrubbed_texts_are_not_searched() -> None:
    """What reads a text with placeholders is refused, whatever the modifier."""
    view = make_view({"Observation": "keep"}, {"string": Method("scrub")})
    for code, modifier in (("value-string", ""), ("value-string", "exact"), ("code", "text"),
                           ("value-string", "missing"), ("code-value-string", "")):  # fmt: skip
        assert ask(view, "Observation", code, modifier).kind == "refuse"
    assert ask(view, "Observation", "code").kind == "allow"


def test_two_ways_to_show_a_date_are_not_compared() -> None:
    """Neither a year nor a moved date shows less than the other, so a base's line must be written
    again; of several predicates that select, the year counts as the least."""
    year = Method("generalize", (("to", "year"),))
    one, other = Method("shift"), Method("shift", (("range", (1, 9)),))
    for a, b in ((year, one), (one, other)):
        assert shows_less(a, b)
        assert shows_less(b, a)
    assert not shows_less(one, one)
    assert shows_less(one, Method("keep"))
    assert shows_less(Method("mask"), one)
    assert strength(year) < strength(one) < strength(Method("keep"))
