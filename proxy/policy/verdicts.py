"""Which search parameters a view answers, and how: one verdict for each type, parameter, modifier.

Every verdict about an element is derived from the view's lenses and from what the parameter reads
(:mod:`proxy.fhir.match`); only parameters that read no element (``_count`` …) stand in a table.
The table is made once, when the view is, and is the only thing asked at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from proxy.errors import Forbidden
from proxy.fhir import match, registry
from proxy.fhir.lexical import FORMS
from proxy.fhir.search_values import parse_token
from proxy.fhir.structure import RESOURCES
from proxy.policy.controls import BROAD, BY_VALUE, CONTROLS, IGNORED, NEVER, REPEATS, RESULT
from proxy.policy.derive import MODIFIERS, Verdict, derive
from proxy.policy.links import Links
from proxy.policy.reads import Read, Shown
from proxy.policy.systems import is_listed


@dataclass(frozen=True, slots=True)
class Tokens:
    """What of a token's alternatives goes upstream, and whether rows are judged again."""

    alternatives: tuple[str, ...]
    judge: bool


class VerdictTable:
    """The verdicts of one view; immutable once made."""

    def __init__(self, view: Shown) -> None:
        self._identity = view.identity
        self._pseudonym = view.pseudonym
        self._rows: dict[str, dict[tuple[str, str], Verdict]] = {}
        for type_name in sorted(RESOURCES if view.identity else view.policy.access):
            if view.shows(type_name):
                self._rows[type_name] = derive(view, type_name)
        self._offers = {t: _offer(rows) for t, rows in self._rows.items()}
        self.links = Links(view, self._rows)

    def verdict(self, type_name: str, code: str, modifier: str = "", chain: str = "") -> Verdict:
        """The verdict of ``code:modifier`` or ``code:modifier.chain`` on a type."""
        row = self._rows.get(type_name)
        if row is None:
            return Verdict("refuse", "refused", "Your role does not search this type.")
        if code in CONTROLS:
            return self._control(type_name, code, modifier)
        found = row.get((code, ""))
        if found is None:
            return Verdict("refuse", "unknown", _UNKNOWN_PARAMETER)
        if chain:
            return self._chain(type_name, code, modifier, chain)
        found = row.get((code, modifier))
        if found is None:
            return Verdict("refuse", "unknown", f"The parameter {code} has no such modifier.")
        if found.kind == "refuse" and found.way == "refused":
            return replace(found, reason=found.reason + self._offers[type_name])
        return found

    def sort(self, type_name: str, code: str) -> Verdict:
        """The verdict of ``code`` as a sort key (without its ``-``). ``plain``: sorted upstream;
        ``sort``: here, by what is shown."""
        known = registry.get(type_name).get(code)
        if self._identity:
            if known is not None or code in ("_id", "_lastUpdated", "_score"):
                return Verdict("allow", "plain", "identity view")
            return Verdict("refuse", "unknown", _UNKNOWN_KEY)
        if known is None and not (code == "_score" or "." in code or ":" in code):
            return Verdict("refuse", "unknown", _UNKNOWN_KEY)
        found = self._sort_here(type_name, code)
        if found.kind == "allow":
            return found
        offered = ", ".join(self.sorts(type_name))
        text = f"Rows are not put in order by this for your role. {found.reason}"
        return replace(found, reason=text + (offered and f" Sortable here: {offered}."))

    def sorts(self, type_name: str) -> tuple[str, ...]:
        """The codes that rows of a restricted view's type can be sorted by."""
        codes = self.parameters(type_name)
        return tuple(c for c in codes if self._sort_here(type_name, c).kind == "allow")

    def _sort_here(self, type_name: str, code: str) -> Verdict:
        known = registry.get(type_name).get(code)
        found = self._rows.get(type_name, {}).get((code, ""))
        if known is None or found is None:
            return Verdict("refuse", "refused", "Rows are sorted by single parameters of their own "
                           "type only.")  # fmt: skip
        if found.kind == "refuse":
            return found
        if found.way == "id":  # told anyway: it orders rows that are alike in all else
            return Verdict("allow", "sort", "ids in the order in which they show", found.reads)
        unsorted = known.type == "reference" or not match.sorts(known, type_name)
        here = self._pseudonym(type_name)
        ordered = found.kind == "allow" or (
            found.way == "coarse" and all(read.orders for read in found.reads)
        )
        if not ordered or unsorted or (here and code == "_lastUpdated"):
            text = f"The parameter {code} is not one that is compared exactly as it shows."
            return Verdict("refuse", "refused", text, found.reads)
        exact = found.exact and not here and not any(r.by_system for r in found.reads)
        return Verdict("allow", "plain" if exact else "sort", found.reason, found.reads)

    def include(self, value: str, *, reverse: bool = False) -> Verdict:
        """The verdict of ``Source:parameter[:Target]`` as _include or _revinclude."""
        if not self._identity:
            return self.links.include(value, reverse=reverse)
        source, _, rest = value.partition(":")
        code, _, target = rest.partition(":")
        if value == "*" or (source in RESOURCES and code == "*"):
            return Verdict("allow", "plain", "identity view")
        known = registry.get(source).get(code) if source in RESOURCES else None
        if known is None or known.type != "reference" or (target and target not in RESOURCES):
            return Verdict(
                "refuse", "unknown", "An include is not Type:parameter or * that R4 has."
            )
        return Verdict("allow", "plain", "identity view")

    def parameters(self, type_name: str) -> Mapping[str, Verdict]:
        """Code to verdict (without modifier) of every registered parameter of a type."""
        row = self._rows.get(type_name, {})
        return MappingProxyType({c: v for (c, m), v in row.items() if m == ""})

    def modifiers(self, type_name: str, code: str) -> tuple[str, ...]:
        """The modifiers with which a parameter is answered, the empty one included."""
        row = self._rows.get(type_name, {})
        return tuple(m for (c, m), v in row.items() if c == code and v.kind != "refuse")

    def types(self) -> tuple[str, ...]:
        """The types that can be searched at all."""
        return tuple(self._rows)

    def _control(self, type_name: str, code: str, modifier: str) -> Verdict:
        if code in IGNORED:
            return Verdict("allow", "ignored", "without effect on any server; dropped")
        if code in NEVER:
            return Verdict("refuse", "refused", NEVER[code])
        if code in RESULT:
            if modifier:
                return Verdict("refuse", "unknown", f"The parameter {code} has no modifier.")
            return Verdict("allow", "result", "done on what is shown")
        if not self._identity and code not in BY_VALUE:
            return Verdict("refuse", "refused", BROAD[code])
        if code == "_has":
            return self._reverse(type_name, modifier)
        allowed = REPEATS if code in ("_include", "_revinclude") else frozenset()
        if modifier and modifier not in allowed:
            return Verdict("refuse", "unknown", f"The parameter {code} has no such modifier.")
        if not self._identity:
            return Verdict("allow", BY_VALUE[code], "judged by its value")
        return Verdict("allow", "plain", "identity view")

    def _chain(self, type_name: str, code: str, modifier: str, chain: str) -> Verdict:
        """An identity view follows chains whose every step the registry knows."""
        if not self._identity:
            return self.links.chain(type_name, code, modifier, chain, self.verdict)
        known = registry.get(type_name)[code]
        targets = (modifier,) if modifier else registry.targets(known)
        step, _, rest = chain.partition(".")
        name, _, inner = step.partition(":")
        if known.type != "reference" or (modifier and modifier not in registry.targets(known)):
            return Verdict("refuse", "unknown", "A chain goes through references only.")
        for target in targets:
            if self.verdict(target, name, inner, rest).kind != "refuse":
                return Verdict("allow", "plain", "identity view")
        return Verdict("refuse", "unknown", "A chain ends in a parameter that its type has not.")

    def _reverse(self, type_name: str, modifier: str) -> Verdict:
        """``_has:Type:reference:parameter``, possibly again ``_has``."""
        source, _, rest = modifier.partition(":")
        code, _, name = rest.partition(":")
        known = registry.get(source).get(code) if source in RESOURCES else None
        if known is None or known.type != "reference" or type_name not in registry.targets(known):
            return Verdict("refuse", "unknown", "_has names no reference to this type.")
        if name.startswith("_has:"):
            return self._reverse(source, name[5:])
        step, _, chain = name.partition(".")
        last, _, inner = step.partition(":")
        if self.verdict(source, last, inner, chain).kind == "refuse":
            return Verdict("refuse", "unknown", "_has ends in a parameter that its type has not.")
        return Verdict("allow", "plain", "identity view")


_UNKNOWN_PARAMETER = "A search parameter is not known for this resource type."
_UNKNOWN_KEY = "A sort key is not a search parameter of this type."


def _offer(rows: Mapping[tuple[str, str], Verdict]) -> str:
    """What can be asked of a type instead."""
    offered = sorted(c for (c, m), v in rows.items() if m == "" and v.kind != "refuse")
    return f" Searchable here: {', '.join(offered)}." if offered else ""


def compute_verdicts(view: Shown) -> VerdictTable:
    """The table of a view. Takes a moment; make it once, when the view is made."""
    return VerdictTable(view)


def choose_tokens(verdict: Verdict, modifier: str, alternatives: tuple[str, ...]) -> Tokens:
    """What to ask for a parameter whose way is ``codes``.

    A system that is not under ``[codes]`` shows no code, and what is not in the form of a code
    does not show, so such an alternative cannot match and is dropped; a code without system also
    matches codes that are hidden, so rows are judged again. No alternative left: without
    ``:not`` no row matches, with it every row does. Raises
    :class:`Forbidden` for ``:not`` of a code without system, BadValue for a malformed token.
    """
    kept, bare = [], False
    for alternative in alternatives:
        token = parse_token(alternative)
        if token.system is None:
            bare = True
        elif not is_listed(token.system, verdict.codes):
            continue
        if token.code is not None and not FORMS["code"].fullmatch(token.code):
            continue
        kept.append(alternative)
    if bare and modifier == "not":
        raise Forbidden("The modifier not needs the system too: write system|code.")
    return Tokens(tuple(kept), bare or verdict.judge == "always")


__all__ = [
    "IGNORED",
    "MODIFIERS",
    "RESULT",
    "Read",
    "Tokens",
    "Verdict",
    "VerdictTable",
    "choose_tokens",
    "compute_verdicts",
]
