"""FHIRPath predicates: strict reading, the meaning of each shape, and agreement with fhirpathpy."""

from __future__ import annotations

from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.models import models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.fhir.codec import decode
from proxy.fhir.fhirpath import FhirPathError, parse, predicate
from proxy.fhir.fhirpath_values import thaw

PATIENT = decode(
    b"""{"resourceType": "Patient", "active": false, "birthDate": "1974-01-02",
    "name": [{"use": "official", "family": "Everywoman", "given": ["Eve", null],
              "_given": [null, {"extension": [{"url": "u", "valueCode": "x"}]}]},
             {"use": "old", "given": ["Eva"]}],
    "multipleBirthInteger": 2, "deceasedDateTime": "2020",
    "telecom": [{"system": "phone", "rank": 1}, {"system": "email", "rank": 2}]}"""
)
OBSERVATION = decode(
    b"""{"resourceType": "Observation", "code": {"coding": [{"system": "s", "code": "30954-2"}]},
    "valueQuantity": {"value": 7.50, "unit": "mg"}, "effectiveDateTime": "2020-01",
    "issued": "2020-01-02T03:04:05Z",
    "component": [{"valueString": "a"}, {"valueQuantity": {"value": 3}}]}"""
)


@pytest.mark.parametrize(
    "text",
    [
        "name.where(use='x'",
        "name.where(use='x'))",
        "a b",
        "name..given",
        "name.",
        "= 1",
        "a = ",
        "a ~ #",
        "'open",
        "a /* open",
        "",
        "   ",
        "(" * 500 + "1" + ")" * 500,
        "1 | " * 2000 + "1",
    ],
)
def test_text_that_is_not_wholly_fhirpath_is_an_error(text: str) -> None:
    """Trailing garbage, an open bracket or an unknown character is never silently dropped."""
    with pytest.raises(FhirPathError):
        parse(text)


@pytest.mark.parametrize(
    "text",
    ["now() > @2018", "today()", "timeOfDay()", "subject.resolve() is Patient",
     "code.memberOf('http://v')", "name.trace('x')", "%resource.id", "%context.id", "%'vs-x'.a",
     "name.select($index)", "aggregate($total + 1)", "name.where()", "name.first(1)", "frob()",
     "iif(a)", "conformsTo('x')"],
)  # fmt: skip
def test_what_is_impure_or_unknown_is_an_error(text: str) -> None:
    """Clocks, other resources, terminologies, logs and other variables are not allowed."""
    with pytest.raises(FhirPathError):
        parse(text)


def test_resolve_is_allowed_for_search_parameters_only() -> None:
    """`where(resolve() is Patient)` parses only when asked for."""
    assert parse("subject.where(resolve() is Patient)", resolve=True).root.name == "where"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name.where(use = 'official').exists()", True),
        ("name.exists(use = 'official' and family = 'Everywoman')", True),
        ("name.exists(use = 'official' and family = 'Nobody')", False),
        ("name.use = 'official'", False),  # two against one
        ("name.first().use = 'official'", True),
        ("name.given.count() = 3", True),  # a null with an extension is an element
        ("name.given.extension('u').value = 'x'", True),
        ("active", False),
        ("active.not()", True),
        ("active = false", True),
        ("active = 0", False),
        ("photo.exists()", False),
        ("photo = 'x'", False),
        ("photo != 'x'", False),  # empty is not true
        ("(photo = 'x').not()", False),
        ("photo.empty()", True),
        ("multipleBirth = 2", True),
        ("multipleBirthInteger = 2.0", True),
        ("multipleBirth is integer", True),
        ("multipleBirth is boolean", False),
        ("deceased is dateTime", True),
        ("deceased.ofType(boolean).empty()", True),
        ("(deceased as dateTime) = '2020'", True),
        ("$this is Patient", True),
        ("$this is DomainResource", True),
        ("Patient.active.exists()", True),
        ("telecom.all(rank > 0)", True),
        ("telecom.all(rank > 1)", False),
        ("telecom.exists(rank >= 1.5)", True),
        ("telecom.rank > 1", False),  # several items have no order
        ("name[1].use = 'old'", True),
        ("'old' in name.use", True),
        ("name.use contains 'nick'", False),
        ("name.use.distinct().count() = 2", True),
        ("(name.use | telecom.system).count() = 4", True),
        ("name.exists(use in %caller.uses)", True),
        ("%caller.none.exists()", False),
        ("name.family", False),  # not boolean
        ("name.where(family)", False),
        ("name.given.first().startsWith('E')", True),
        ("name.given.contains('E')", False),  # several items
        ("birthDate < @1980-01-01", True),
        ("birthDate > @1980-01-01", False),
        ("birthDate = @1974", False),  # differing precision: empty
        ("multipleBirth + 1 = 3", True),
        ("name.given.first().substring(0, 2) = 'Ev'", True),
        ("name.where(use = 'old').given.single() = 'Eva'", True),
        ("name.given.single() = 'Eva'", False),
        ("true or photo.exists()", True),
        ("photo.first() = 'x' or true", True),
        ("photo.first() = 'x' and true", False),
        ("photo.first() = 'x' implies false", False),
        ("false implies photo.first() = 'x'", True),
        ("true xor false", True),
    ],
)
def test_a_predicate_means_what_fhirpath_says(text: str, expected: bool) -> None:
    """Empty propagation, singletons, three-valued logic and choice types, with and without the
    element's type known."""
    claims = {"uses": ["old", "maiden"]}
    assert predicate(text)(PATIENT, claims) is expected
    assert predicate(text, "Patient")(PATIENT, claims) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("code.coding.exists(code = '30954-2')", True),
        ("code.coding.exists(system = 's' and code != '30954-2')", False),
        ("(value as Quantity).value > 7.49", True),
        ("value.ofType(Quantity).value = 7.5", True),
        ("valueQuantity.value = 7.5", True),
        ("value is Quantity", True),
        ("component.value.ofType(string) = 'a'", True),
        ("component.value.ofType(Quantity).value = 3", True),
        ("effective < issued", False),  # differing precision: unknown
        ("effective != issued", False),
        ("issued = issued", True),
    ],
)
def test_choice_types_and_exact_numbers(text: str, expected: bool) -> None:
    """`value` names every branch, `ofType` and `as` one; decimals compare by value."""
    assert predicate(text)(OBSERVATION) is expected
    assert predicate(text, "Observation")(OBSERVATION) is expected


def test_a_misspelt_element_is_an_error_where_the_type_is_known() -> None:
    """A predicate that could never select is told at load."""
    with pytest.raises(FhirPathError, match="no element cod"):
        predicate("code.cod = 'x'", "Observation")
    assert predicate("Observation.code.exists()")(PATIENT) is False


@pytest.mark.parametrize(
    "element", [None, 3, "text", [], {}, {"name": 3}, {"name": [3, None, [[]]]}, {"name": {}}]
)
def test_odd_data_selects_nothing_and_never_raises(element: Any) -> None:
    """Malformed elements make a predicate false, whatever it is."""
    for text in (
        "name.use = 'x'",
        "name.exists(use.first() = 'x')",
        "name.use < 3",
        "name.use + 1 > 0",
    ):
        assert predicate(text)(element) is False


# No 0 and 1: fhirpathpy takes them for false and true.
_ELEMENT = st.recursive(
    st.sampled_from(["a", "b", "2020", "c d"]) | st.integers(2, 5) | st.booleans(),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(
            lambda xs: [x for x in xs if not isinstance(x, list)] or ["a"]
        )
        | st.dictionaries(st.sampled_from(["p", "q", "r"]), inner, max_size=3)
    ),
    max_leaves=8,
)
_ROOT = st.dictionaries(st.sampled_from(["p", "q", "r"]), _ELEMENT, max_size=3)
_LITERAL = st.sampled_from(["'a'", "'b'", "2", "3.0", "true", "{}"])
_PATH = st.lists(st.sampled_from(["p", "q", "r"]), min_size=1, max_size=3).map(".".join)
_NARROW = st.sampled_from(["", ".first()", ".last()", ".distinct()", ".tail()", ".take(1)"])


@st.composite
def _criterion(draw: st.DrawFn, depth: int = 2) -> str:
    kind = draw(st.integers(0, 8 if depth else 3))
    path = draw(_PATH) + draw(_NARROW)
    if kind == 0:
        return f"{path} {draw(st.sampled_from(['=', '!=']))} {draw(_LITERAL)}"
    if kind == 1:
        return f"{path}.{draw(st.sampled_from(['exists()', 'empty()', 'count() = 1']))}"
    if kind == 2:
        return f"{draw(_LITERAL)} in {path}"
    if kind == 3:
        return f"({path} | {draw(_PATH)}).count() > 1"
    if kind == 4:
        return f"{path}.exists({draw(_criterion(depth=depth - 1))})"
    if kind == 5:
        return f"{path}.where({draw(_criterion(depth=depth - 1))}).count() = 1"
    if kind == 6:
        return f"{path}.all({draw(_criterion(depth=depth - 1))})"
    if kind == 7:
        return f"({draw(_criterion(depth=depth - 1))}).not()"
    left, right = draw(_criterion(depth=depth - 1)), draw(_criterion(depth=depth - 1))
    return f"({left}) {draw(st.sampled_from(['and', 'or', 'xor', 'implies']))} ({right})"


def _by_fhirpathpy(text: str, element: Any) -> bool | None:
    try:
        return bool(fhirpathpy.evaluate(thaw(element), text, {}, models["r4"]) == [True])
    except Exception:
        return None


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(element=_ROOT, text=_criterion())
def test_compiled_closures_agree_with_fhirpathpy(element: Any, text: str) -> None:
    """The same expression on the same element gives the same selection."""
    expected = _by_fhirpathpy(text, element)
    assert predicate(text)(element) is (expected is True)
