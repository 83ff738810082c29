"""Search verdicts: derived from the view, for each type, parameter and modifier."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from proxy.errors import BadValue, Forbidden, NotSupported
from proxy.fhir import registry
from proxy.fhir.structure import RESOURCES
from proxy.policy.compile import View, compile_view
from proxy.policy.model import ExtensionRule, Method, PathRule, Policy, Source, Step, TypeRule
from proxy.policy.verdicts import (
    MODIFIERS,
    RESULT,
    Verdict,
    VerdictTable,
    choose_tokens,
    compute_verdicts,
)
from tests.views import RESTRICTED, find_view

SOURCE = Source("policy.toml", 1, "")
ROLES = ("investigator", "researcher-limited", "researcher-deidentified")
TABLES: dict[str, VerdictTable] = {}


def table_of(role: str) -> VerdictTable:
    if role not in TABLES:
        TABLES[role] = compute_verdicts(find_view(role))
    return TABLES[role]


def make_view(
    elements: Mapping[str, str | Method],
    datatypes: Mapping[str, str | Method] | None = None,
    *,
    codes: tuple[str, ...] | None = None,
    extensions: Mapping[str, tuple[str, ...] | None] | None = None,
    ages: int | None = None,
    ids: str = "pseudonym",
    searched: str = "",
) -> View:
    """A view of a few lines; ``searched``: the only type with search, else each type named."""
    lines = {path: Method(m) if isinstance(m, str) else m for path, m in elements.items()}
    types = {key: Method(m) if isinstance(m, str) else m for key, m in (datatypes or {}).items()}
    return compile_view(
        Policy(
            name="test",
            title="",
            basis="",
            identity=False,
            access={
                p: frozenset({"search"}) for p in lines if p in RESOURCES and searched in ("", p)
            },
            ids_default=ids,
            ids={},
            elements=tuple(
                PathRule(tuple(Step(n) for n in path.split(".")), m, SOURCE)
                for path, m in lines.items()
            ),
            datatypes={key: TypeRule(key, m, SOURCE) for key, m in types.items()},
            extensions={
                url: ExtensionRule(url, parts, SOURCE) for url, parts in (extensions or {}).items()
            },
            codes=codes,
            ages=ages,
        )
    )


def ask(view: View, type_name: str, code: str, modifier: str = "") -> Verdict:
    return compute_verdicts(view).verdict(type_name, code, modifier)


# (type, parameter, limited, de-identified): the starting table for the main types.
STARTING = [
    ("Patient", "gender", "allow", "allow"),
    ("Patient", "address-state", "translate", "translate"),
    ("Patient", "address-city", "allow", "refuse"),
    ("Patient", "address-postalcode", "translate", "translate"),
    ("Patient", "address", "refuse", "refuse"),
    ("Patient", "birthdate", "allow", "translate"),
    ("Patient", "death-date", "allow", "translate"),
    ("Patient", "deceased", "allow", "allow"),
    ("Patient", "race", "allow", "allow"),
    ("Patient", "ethnicity", "allow", "allow"),
    ("Patient", "_id", "translate", "translate"),
    ("Patient", "family", "refuse", "refuse"),
    ("Patient", "name", "refuse", "refuse"),
    ("Patient", "phonetic", "refuse", "refuse"),
    ("Patient", "telecom", "refuse", "refuse"),
    ("Patient", "phone", "refuse", "refuse"),
    ("Patient", "identifier", "translate", "refuse"),
    ("Patient", "link", "refuse", "refuse"),
    ("Observation", "code", "allow", "allow"),
    ("Observation", "value-concept", "allow", "allow"),
    ("Observation", "status", "allow", "allow"),
    ("Observation", "category", "allow", "allow"),
    ("Observation", "value-quantity", "allow", "allow"),
    ("Observation", "patient", "translate", "translate"),
    ("Observation", "subject", "translate", "translate"),
    ("Observation", "encounter", "translate", "translate"),
    ("Observation", "date", "allow", "translate"),
    ("Observation", "value-date", "allow", "translate"),
    ("Observation", "value-string", "refuse", "refuse"),
    ("Observation", "code-value-string", "refuse", "refuse"),
    ("Observation", "code-value-quantity", "allow", "allow"),
    ("Observation", "identifier", "translate", "refuse"),
    ("Condition", "clinical-status", "allow", "allow"),
    ("Condition", "onset-date", "allow", "translate"),
    ("Condition", "onset-info", "refuse", "refuse"),
    ("Encounter", "class", "allow", "allow"),
    ("Encounter", "date", "allow", "translate"),
    ("Composition", "type", "allow", "allow"),
    ("Composition", "identifier", "translate", "translate"),
    ("Composition", "title", "refuse", "refuse"),
    ("DocumentReference", "identifier", "translate", "refuse"),
    ("DocumentReference", "location", "refuse", "refuse"),
    # A year is no instant, so an optional one is not shown.
    ("DocumentReference", "date", "allow", "refuse"),
    ("Provenance", "recorded", "allow", "translate"),
    ("Observation", "code-value-date", "allow", "translate"),
    ("Bundle", "type", "allow", "allow"),
    ("Bundle", "identifier", "translate", "translate"),
    ("Bundle", "timestamp", "allow", "translate"),
    ("Bundle", "composition", "refuse", "refuse"),
    ("Organization", "address-state", "translate", "translate"),
    ("Organization", "name", "refuse", "refuse"),
    ("Location", "near", "refuse", "refuse"),
    ("ValueSet", "url", "allow", "allow"),
    ("ValueSet", "title", "allow", "allow"),
    ("Library", "_id", "allow", "allow"),
    ("Library", "depends-on", "allow", "allow"),
    ("Patient", "_lastUpdated", "allow", "refuse"),
    ("Patient", "_profile", "refuse", "refuse"),
    ("Patient", "_tag", "refuse", "refuse"),
    ("Patient", "_source", "refuse", "refuse"),
    ("Patient", "_text", "refuse", "refuse"),
    ("Patient", "_content", "refuse", "refuse"),
]


@pytest.mark.parametrize(("type_name", "code", "limited", "deidentified"), STARTING)
def test_the_shipped_views_answer_the_starting_table(
    type_name: str, code: str, limited: str, deidentified: str
) -> None:
    """What each role may ask by follows from its policy; an investigator by all."""
    kinds = [table_of(role).verdict(type_name, code).kind for role in ROLES]
    assert kinds == ["allow", limited, deidentified]


@pytest.mark.parametrize("role", RESTRICTED)
@pytest.mark.parametrize(
    ("type_name", "code", "modifier", "kind", "way"),
    [
        ("Observation", "code", "not", "allow", "codes"),
        ("Observation", "component-code", "not", "refuse", "refused"),
        ("Observation", "status", "not", "allow", "plain"),
        ("Observation", "code", "text", "refuse", "refused"),
        ("Observation", "code", "in", "refuse", "refused"),
        ("Observation", "code", "below", "refuse", "refused"),
        ("Observation", "code", "exact", "refuse", "unknown"),
        ("Observation", "code", "Not", "refuse", "unknown"),
        ("Observation", "code", "missing", "refuse", "refused"),
        ("Observation", "status", "missing", "allow", "plain"),
        ("Observation", "subject", "missing", "refuse", "refused"),
        ("Observation", "subject", "Patient", "translate", "reference"),
        ("Observation", "subject", "Practitioner", "refuse", "unknown"),
        ("Observation", "subject", "identifier", "refuse", "refused"),
        ("Patient", "_id", "missing", "refuse", "refused"),
        ("Patient", "address-state", "exact", "refuse", "refused"),
        ("Patient", "address-state", "contains", "refuse", "refused"),
        ("ValueSet", "url", "below", "allow", "plain"),
        ("Patient", "active", "text", "refuse", "unknown"),
        ("ValueSet", "url", "missing", "allow", "plain"),
        ("ValueSet", "title", "contains", "allow", "plain"),
    ],
)
def test_modifiers_follow_what_they_read(
    role: str, type_name: str, code: str, modifier: str, kind: str, way: str
) -> None:
    """`:text` reads displays, `:missing` presence, `:not` needs all that is read to be shown."""
    if way == "reference" and not find_view(role).pseudonym("Patient"):
        kind = "allow"
    found = table_of(role).verdict(type_name, code, modifier)
    assert (found.kind, found.way) == (kind, way)


@pytest.mark.parametrize("role", RESTRICTED)
@pytest.mark.parametrize(
    ("code", "modifier", "chain", "error"),
    [
        ("_has", "Observation:patient:code", "", Forbidden),
        ("_include", "foo", "", NotSupported),
        ("_sort", "foo", "", NotSupported),
        ("_filter", "", "", Forbidden),
        ("_query", "", "", Forbidden),
        ("_list", "", "", Forbidden),
        ("_contained", "", "", Forbidden),
        ("_containedType", "", "", Forbidden),
        ("_content", "", "", Forbidden),
        ("_text", "", "", Forbidden),
        ("_offset", "", "", Forbidden),
        ("_getpagesoffset", "", "", Forbidden),
        ("_since", "", "", Forbidden),
        ("general-practitioner", "", "name", Forbidden),
        ("general-practitioner", "Practitioner", "name", Forbidden),
        ("famly", "", "", NotSupported),
        ("Family", "", "", NotSupported),
        ("_hsa", "Observation:patient:code", "", NotSupported),
        ("_foo", "", "", NotSupported),
        ("_count", "exact", "", NotSupported),
    ],
)
def test_what_reaches_beyond_the_row_is_refused(
    role: str, code: str, modifier: str, chain: str, error: type[Exception]
) -> None:
    """Known things are forbidden, unknown ones not supported; the text echoes nothing odd."""
    found = table_of(role).verdict("Patient", code, modifier, chain)
    assert found.kind == "refuse"
    assert type(found.error()) is error
    if error is NotSupported and not modifier:
        assert code not in found.reason


@pytest.mark.parametrize("role", ROLES)
def test_parameters_about_the_result_are_done_here(role: str) -> None:
    """They never go upstream, in no view."""
    for code in RESULT:
        assert table_of(role).verdict("Patient", code).way == "result"
    assert table_of(role).verdict("Patient", "_totalMethod").way == "ignored"


@pytest.mark.parametrize(
    ("code", "modifier", "chain", "kind"),
    [
        ("general-practitioner", "", "name", "allow"),
        ("general-practitioner", "Practitioner", "name", "allow"),
        ("general-practitioner", "Practitioner", "identifier", "allow"),
        ("general-practitioner", "Observation", "code", "refuse"),
        ("general-practitioner", "", "nonsense", "refuse"),
        ("gender", "", "name", "refuse"),
        ("organization", "", "partof.name", "allow"),
        ("organization", "", "partof.nonsense", "refuse"),
        ("_has", "Observation:patient:code", "", "allow"),
        ("_has", "Observation:patient:_has:Provenance:target:recorded", "", "allow"),
        ("_has", "Observation:encounter:code", "", "refuse"),
        ("_has", "Observation:patient:nonsense", "", "refuse"),
        ("_has", "Nonsense:patient:code", "", "refuse"),
        ("_has", "", "", "refuse"),
        ("family", "exact", "", "allow"),
        ("family", "foo", "", "refuse"),
        ("_include", "iterate", "", "allow"),
        ("_include", "foo", "", "refuse"),
        ("_offset", "", "", "refuse"),
        ("_foo", "", "", "refuse"),
    ],
)
def test_the_identity_view_forwards_what_the_registry_knows(
    code: str, modifier: str, chain: str, kind: str
) -> None:
    """Every step of a chain and of `_has` must be a parameter that its type has."""
    assert table_of("investigator").verdict("Patient", code, modifier, chain).kind == kind


def test_sorts_and_includes_of_the_identity_view() -> None:
    """Sort keys and includes are parameters of the registry."""
    table = table_of("investigator")
    sorts = {"birthdate": "allow", "_id": "allow", "_lastUpdated": "allow", "nonsense": "refuse"}
    assert {k: table.sort("Patient", k).kind for k in sorts} == sorts
    includes = {
        "Observation:subject": "allow",
        "Observation:subject:Patient": "allow",
        "Observation:*": "allow",
        "*": "allow",
        "Observation:code": "refuse",
        "Nonsense:subject": "refuse",
        "Observation": "refuse",
        "Observation:subject:Nonsense": "refuse",
    }
    assert {k: table.include(k).kind for k in includes} == includes


def test_types_without_access_are_not_searched() -> None:
    """A type that the policy does not offer has no parameters at all."""
    found = table_of("researcher-limited").verdict("AuditEvent", "agent-name")
    assert type(found.error()) is Forbidden
    assert not table_of("researcher-limited").parameters("AuditEvent")


def test_every_combination_of_the_registry_has_a_verdict() -> None:
    """No parameter or modifier falls through; a refusal says why, and a grant what it reads."""
    for role in RESTRICTED:
        table = table_of(role)
        for type_name in table.types():
            for code, known in registry.get(type_name).items():
                for modifier in (*MODIFIERS[known.type], "nonsense"):
                    found = table.verdict(type_name, code, modifier)
                    assert found.reason
                    if found.kind == "refuse":
                        assert found.error().status in (400, 403)
                    else:
                        assert found.reads


def test_a_refusal_names_what_can_be_asked_instead() -> None:
    """The reason is fixed text with standard names only, and lists what is offered."""
    reason = table_of("researcher-deidentified").verdict("Patient", "family").reason
    assert "Patient.name" in reason
    assert "address-state" in reason
    assert "family," not in reason.partition("Searchable here")[2]


def test_the_rules_behind_a_verdict_are_named() -> None:
    """The audit and `explain` say which lines of the policy decided."""
    (rule,) = table_of("researcher-deidentified").verdict("Patient", "birthdate").rules
    assert "researcher-deidentified.toml:" in rule


# What can be read by the codes of a system, by presence, by its beginning.


def test_codes_are_judged_where_their_system_decides() -> None:
    """Under [codes] a bare code is judged again; without it nothing needs to be."""
    listed = make_view({"Observation": "keep"}, codes=("http://loinc.org",))
    found = ask(listed, "Observation", "code")
    assert (found.way, found.judge, found.codes) == ("codes", "bare", ("http://loinc.org",))
    assert ask(make_view({"Observation": "keep"}), "Observation", "code").judge == "never"
    whole = make_view({"Observation": "keep", "Observation.code.coding": "keep"}, codes=("x",))
    assert ask(whole, "Observation", "code").way == "plain"
    opened = make_view({"Observation": "keep"}, {"Coding": "keep"}, codes=("x",))
    assert ask(opened, "Observation", "code").way == "plain"


def test_tokens_are_chosen_by_their_system() -> None:
    """Unlisted systems are not asked; a bare code is judged, and not negated."""
    found = ask(make_view({"Observation": "keep"}, codes=("http://loinc.org",)), "Observation",
                "code")  # fmt: skip
    loinc, local, none = "http://loinc.org|1", "http://x|1", "|1"
    assert choose_tokens(found, "", (loinc, local, none)) == choose_tokens(found, "", (loinc,))
    assert choose_tokens(found, "", (loinc,)).judge is False
    assert choose_tokens(found, "", ("1", loinc)).alternatives == ("1", loinc)
    assert choose_tokens(found, "", ("1",)).judge is True
    assert choose_tokens(found, "", (local, "http://x|")).alternatives == ()
    assert choose_tokens(found, "not", (loinc, local)).alternatives == (loinc,)
    with pytest.raises(Forbidden):
        choose_tokens(found, "not", (loinc, "1"))
    with pytest.raises(BadValue):
        choose_tokens(found, "", ("|",))


@pytest.mark.parametrize("system", [
    "http://loinc.org.stmary.example/mrn", "http://loinc.orgx", "http://loinc.org:8080/mrn",
    "http://loinc.org@stmary.example", "HTTP://loinc.org",
])  # fmt: skip
def test_systems_that_look_like_a_listed_one_are_not_asked(system: str) -> None:
    """What such a system codes does not show, so a search by it finds nothing."""
    view = make_view({"Observation": "keep"}, codes=("http://loinc.org",))
    token = f"{system}|MRN-5"
    assert choose_tokens(ask(view, "Observation", "code"), "", (token,)).alternatives == ()


@pytest.mark.parametrize("token", [
    "http://loinc.org| MRN 5", "http://loinc.org|MRN  5", "http://loinc.org|5\n", " MRN 5",
])  # fmt: skip
def test_malformed_codes_are_not_asked(token: str) -> None:
    """What is no code is masked, so a search by it finds nothing."""
    view = make_view({"Observation": "keep"}, codes=("http://loinc.org",))
    assert choose_tokens(ask(view, "Observation", "code"), "", (token,)).alternatives == ()


def test_what_a_modifier_extension_can_withhold_is_judged() -> None:
    """A component with an unlisted modifierExtension is hidden with all that it holds."""
    view = make_view({"Observation": "keep"})
    assert ask(view, "Observation", "component-code").judge == "always"
    assert ask(view, "Observation", "component-code", "not").kind == "refuse"
    assert ask(view, "Observation", "component-code", "missing").kind == "refuse"
    assert ask(view, "Observation", "code").judge == "never"


def test_real_ids_are_asked_as_they_are_and_judged() -> None:
    """A reference to a type that is not shown is not shown, so it must not be found."""
    view = make_view({"Observation": "keep", "Patient": "keep"}, ids="real")
    found = ask(view, "Observation", "subject")
    assert (found.kind, found.way, found.judge) == ("allow", "reference", "always")
    assert found.targets == ("Patient",)
    assert ask(view, "Observation", "subject", "missing").kind == "refuse"
    assert ask(view, "Observation", "_id").way == "plain"


def test_targets_that_are_not_shown_are_not_asked() -> None:
    """A reference takes ids of shown types only; with none of them it is refused."""
    view = make_view({"Observation": "keep", "Patient": "keep"})
    assert ask(view, "Observation", "subject").targets == ("Patient",)
    assert ask(view, "Observation", "device").kind == "refuse"
    assert ask(view, "Observation", "subject", "Device").kind == "refuse"


def test_last_updated_needs_its_own_line() -> None:
    """meta is made new: a line for instants does not put lastUpdated there."""
    without = make_view({"Patient": "keep"}, {"instant": "keep"})
    assert ask(without, "Patient", "_lastUpdated").kind == "refuse"
    having = make_view({"Patient": "keep"}, {"Meta.lastUpdated": "keep"})
    assert ask(having, "Patient", "_lastUpdated").kind == "allow"


RACE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
ASSERTED = "http://hl7.org/fhir/StructureDefinition/condition-assertedDate"


@pytest.mark.parametrize(
    ("extensions", "datatypes", "race", "asserted"),
    [
        ({}, {"dateTime": "keep"}, "refuse", "refuse"),
        ({RACE: None}, {}, "allow", "refuse"),
        ({RACE: ("ombCategory",)}, {}, "allow", "refuse"),
        ({RACE: (), ASSERTED: None}, {}, "allow", "refuse"),
        (
            {ASSERTED: None},
            dict.fromkeys(("date", "dateTime", "instant"), "keep"),
            "refuse",
            "allow",
        ),
        ({ASSERTED: ("value[x]",)}, {}, "refuse", "allow"),
        ({ASSERTED: ("part",)}, {}, "refuse", "refuse"),
    ],
)
def test_extensions_are_read_by_their_line(
    extensions: dict[str, tuple[str, ...] | None],
    datatypes: dict[str, str],
    race: str,
    asserted: str,
) -> None:
    """An extension that is not listed cannot be searched; what is opened is judged as shown."""
    view = make_view({"Patient": "keep", "Condition": "keep"}, datatypes, extensions=extensions)
    table = compute_verdicts(view)
    found = table.verdict("Patient", "race"), table.verdict("Condition", "asserted-date")
    assert tuple(v.kind for v in found) == (race, asserted)
    assert all(v.judge == "always" for v in found if v.kind == "allow")


def test_passed_types_are_asked_as_stored() -> None:
    """A type shown whole has every parameter that is understood."""
    view = make_view({"Library": "pass"}, codes=("x",), ages=89)
    for code, found in compute_verdicts(view).parameters("Library").items():
        assert found.kind == ("refuse" if code in ("_text", "_content") else "allow")
        assert found.judge == "never"
