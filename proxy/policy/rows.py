"""Which resources exist for a caller: ``[rows]``, compiled (policy-language, rows).

A rule is judged on the resource as stored, wherever it stands: by itself, as an entry, contained,
in a Bundle in a Bundle. What it reads may be hidden: a policy declassifies what its rules select
and nothing else. A claim that a rule names and the token lacks, or holds in a form that is not
understood, is no "unlimited" but no rows at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from proxy.fhir import registry
from proxy.fhir.codec import Json, JsonObject
from proxy.fhir.fhirpath import parse, predicate
from proxy.fhir.match import matcher
from proxy.fhir.match_elements import fold
from proxy.fhir.search import Parameter, escape, parse_query
from proxy.fhir.search_values import parse_date
from proxy.policy.model import PathRule, RowRule

Pairs = tuple[tuple[str, str], ...]
Claims = Mapping[str, object]
Test = Callable[[JsonObject], bool]

# A claim's values, as one whole alternative of a search value.
CLAIM = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.:/-]*)\}")
# Where a claim's text can only be a value: in other types it could bring a prefix or a part along.
CLAIM_TYPES = frozenset({"token", "string", "uri"})

# What is asked upstream too: conditions that a server takes as they are judged here. Others (dates
# at year precision, numbers, meta, parameters that a server may not have) are judged here alone.
_SENT = {
    "token": frozenset({"", "not", "missing"}),
    "string": frozenset({"", "exact", "missing"}),
    "date": frozenset({"", "missing"}),
    "uri": frozenset({"", "missing"}),
}
_CORE = "http://hl7.org/fhir/SearchParameter/"
_MOST_CALLERS = 64  # whose compiled conditions are kept


def read_search(rule: RowRule) -> tuple[Parameter, ...]:
    """The conditions of ``search``, as a query is read. Raises what
    :func:`proxy.fhir.search.parse_query` does."""
    return parse_query(rule.search)


def claims_named(rule: RowRule) -> frozenset[str]:
    """The claims without which the rule shows nothing."""
    values = (value for p in read_search(rule) for value in p.alternatives)
    found = {match[1] for value in values if (match := CLAIM.fullmatch(value))}
    return frozenset(found) | claims_read(rule.where)


def claims_needed(rules: Mapping[str, tuple[RowRule, ...]]) -> frozenset[str]:
    """All claims that the row rules of a policy name."""
    found = (claims_named(rule) for held in rules.values() for rule in held)
    return frozenset().union(*found)


def claims_of_elements(rules: Iterable[PathRule]) -> frozenset[str]:
    """All claims that the predicates of a policy's elements name."""
    found = (claims_read(step.predicate) for rule in rules for step in rule.steps)
    return frozenset().union(*found)


def claims_read(text: str) -> frozenset[str]:
    """The claims of ``%caller`` that FHIRPath names; none in an empty text."""
    return frozenset(
        node.name
        for node in (parse(text).root.walk() if text else ())
        if node.kind == "member" and node.children[0].kind == "variable"
    )


def reads_no_one_claim(text: str) -> bool:
    """Whether FHIRPath reads ``%caller`` otherwise than by the name of a claim."""
    nodes = list(parse(text).root.walk())
    named = {id(node.children[0]) for node in nodes if node.kind == "member"}
    return any(node.kind == "variable" and id(node) not in named for node in nodes)


def element_predicate(text: str) -> Callable[[Json, Claims], bool]:
    """The test of a predicate of ``[elements]``. Where a claim that it names is not there it
    selects nothing, so that a missing claim, or one misspelt, never shows more."""
    test, named = predicate(text), claims_read(text)
    if not named:
        return test
    return lambda value, claims: (
        all(understand(claims.get(name)) for name in named) and test(value, claims)
    )


def understand(claim: object) -> tuple[str, ...]:
    """A claim's values: a text, a number, or a list of those; empty if it is none of that, or if
    one of a list is not. A text without letter or digit would match everything, so it is none."""
    items: Sequence[object] = claim if isinstance(claim, list | tuple) else (claim,)
    texts = [_text(item) for item in items]
    return tuple(dict.fromkeys(t for t in texts if t)) if all(texts) else ()


def _text(item: object) -> str:
    if isinstance(item, bool):
        return ""
    text = str(item) if isinstance(item, str | int | float | Decimal) else ""
    return text if is_readable(text) and text.isprintable() else ""


def is_readable(text: str) -> bool:
    """Whether anything of a text is left when strings are compared; if not, all begin with it."""
    return any(character.isalnum() for character in fold(text))


class Rows:
    """The row rules of one policy; immutable but for a bounded store of compiled conditions."""

    def __init__(self, rules: Mapping[str, tuple[RowRule, ...]]) -> None:
        self._rules = {kind: tuple(_Rule(rule) for rule in held) for kind, held in rules.items()}
        # By the claims' own mapping, which a caller keeps: no claim is compared for each row.
        self._known: dict[int, tuple[Claims, dict[str, Test]]] = {}

    def limits(self, type_: str) -> bool:
        """Whether a rule stands on resources of the type."""
        return type_ in self._rules

    def hold(self, type_: str, resource: JsonObject, claims: Claims) -> bool:
        """Whether a stored resource of the type exists for a caller with these claims."""
        if type_ not in self._rules:
            return True
        tests = self._tests(claims)
        test = tests.get(type_)
        if test is None:
            test = tests[type_] = _all([rule.test(claims) for rule in self._rules[type_]])
        return test(resource)

    def form(self, type_: str, claims: Claims) -> Pairs | None:
        """What a search of the type asks upstream beside its own conditions, FHIR-escaped; None
        if no row can exist for the caller."""
        found: list[tuple[str, str]] = []
        for rule in self._rules.get(type_, ()):
            if not rule.met(claims):
                return None
            found += rule.sent(claims)
        return tuple(dict.fromkeys(found))

    def _tests(self, claims: Claims) -> dict[str, Test]:
        known = self._known.get(id(claims))
        if known is not None and known[0] is claims:
            return known[1]
        if len(self._known) >= _MOST_CALLERS:
            self._known = {}
        tests: dict[str, Test] = {}
        self._known[id(claims)] = (claims, tests)
        return tests


class _Rule:
    """One rule, its parts that do not depend on claims made once."""

    def __init__(self, rule: RowRule) -> None:
        self._type = rule.type
        self._parameters = read_search(rule)
        self._where = predicate(rule.where, rule.type) if rule.where else None
        self._claims = claims_named(rule)

    def met(self, claims: Claims) -> bool:
        """Whether the token has all that the rule needs."""
        return all(understand(claims.get(name)) for name in self._claims)

    def test(self, claims: Claims) -> Test:
        if not self.met(claims):
            return _never
        tests: list[Test] = [self._match(p, claims) for p in self._parameters]
        where = self._where
        if where is not None:
            tests.append(lambda resource: where(resource, claims))
        return _all(tests)

    def _match(self, p: Parameter, claims: Claims) -> Test:
        defined = registry.get(self._type)[p.code]
        return matcher(self._type, defined, p.modifier, expand(p, claims))

    def sent(self, claims: Claims) -> Iterator[tuple[str, str]]:
        for p in self._parameters:
            defined = registry.get(self._type)[p.code]
            if p.code.startswith("_") or not defined.url.startswith(_CORE):
                continue
            refused = defined.type == "date" and not p.modifier and not _is_one_day(p)
            if p.modifier in _SENT.get(defined.type, ()) and not refused:
                yield p.name, ",".join(expand(p, claims))


def expand(p: Parameter, claims: Claims) -> tuple[str, ...]:
    """The alternatives of a condition, each ``{claim}`` replaced by its values, escaped."""
    found: list[str] = []
    for value in p.alternatives:
        named = CLAIM.fullmatch(value)
        found += map(escape, understand(claims.get(named[1]))) if named else [value]
    return tuple(found)


def _is_one_day(p: Parameter) -> bool:
    """Whether a date is one value, at least as exact as a day: HAPI takes no others rightly."""
    values = [parse_date(value).precision for value in p.alternatives]
    return len(values) == 1 and values[0] not in ("year", "month")


def _never(_: JsonObject) -> bool:
    return False


def _all(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda resource: all(test(resource) for test in tests)
