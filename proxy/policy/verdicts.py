"""Which search parameters a view answers, and how: one verdict for each type, parameter, modifier.

Every verdict about an element is derived from the view's lenses and from what the parameter reads
(:mod:`proxy.fhir.match`); only parameters that read no element (``_count`` …) stand in a table.
The table is made once, when the view is, and is the only thing asked at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal
from weakref import WeakKeyDictionary

from proxy.errors import Forbidden, NotSupported, ProxyError
from proxy.fhir import registry
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.search_values import parse_token
from proxy.fhir.structure import RESOURCES
from proxy.policy.controls import BROAD, CONTROLS, IGNORED, NEVER, REPEATS, RESULT
from proxy.policy.decide import DOCUMENT_IDENTIFIERS
from proxy.policy.reads import Read, Shown, may_be_withheld, read_values

Kind = Literal["allow", "translate", "refuse"]
Way = Literal[
    "plain",  # forwarded as it is
    "codes",  # forwarded; see choose_tokens
    "id",  # _id: pseudonyms to ids
    "reference",  # typed pseudonyms to ids
    "identifier",  # system|pseudonym to the identifier, of a document too where both are read
    "document-identifier",  # system|pseudonym to any spelling of a document's identifier
    "coarse",  # a beginning of what is stored: forwarded, and judged as shown
    "result",  # about the answer, done here
    "ignored",  # has no effect on any server we know; dropped
    "unknown",  # refused: not known at all
    "refused",  # refused: known
]
Judge = Literal["never", "bare", "always"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to one parameter with one modifier: ``kind`` is the outcome, ``way`` how.

    ``reason``: fixed text; of a refusal it says what to ask instead. ``reads``: the values it
    compares. ``targets``: of a reference, the types whose ids it takes. ``judge``: whether the
    condition is evaluated again on each row as shown: ``bare`` only for codes without a system.
    """

    kind: Kind
    way: Way
    reason: str
    reads: tuple[Read, ...] = ()
    targets: tuple[str, ...] = ()
    judge: Judge = "never"
    codes: tuple[str, ...] = field(default=(), repr=False)  # prefixes of systems that show

    @property
    def outcome(self) -> Kind:
        """The same as ``kind``."""
        return self.kind

    @property
    def exact(self) -> bool:
        """Whether the upstream's answer to it is what the caller may know, so that rows can be
        counted there."""
        return self.kind == "allow" and self.judge == "never"

    @property
    def rules(self) -> tuple[str, ...]:
        """Where the policy says so (``file:line``), each once."""
        return tuple(dict.fromkeys(str(r.source) for r in self.reads if r.source is not None))

    def error(self) -> ProxyError:
        """The error that a refusal answers."""
        return (NotSupported if self.way == "unknown" else Forbidden)(self.reason)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What of a token's alternatives goes upstream, and whether rows are judged again."""

    alternatives: tuple[str, ...]
    judge: bool


# Modifiers of R4 by search type (search.html#modifiers); of references also a type's name.
MODIFIERS: Mapping[str, tuple[str, ...]] = {
    "token": ("", "not", "missing", "text", "of-type", "in", "not-in", "above", "below"),
    "string": ("", "exact", "contains", "missing"),
    "reference": ("", "missing", "identifier", "above", "below"),
    "date": ("", "missing"),
    "number": ("", "missing"),
    "quantity": ("", "missing"),
    "uri": ("", "missing", "above", "below"),
    "composite": ("", "missing"),
    "special": ("",),
}
# They ask a terminology or hierarchy, which can be larger than what the view shows.
_EXPANDING = frozenset({"in", "not-in", "above", "below"})


class VerdictTable:
    """The verdicts of one view; immutable once made."""

    def __init__(self, view: Shown) -> None:
        self._identity = view.identity
        self._rows: dict[str, dict[tuple[str, str], Verdict]] = {}
        for type_name in sorted(RESOURCES if view.identity else view.policy.access):
            if view.shows(type_name):
                self._rows[type_name] = _rows(view, type_name)
        self._offers = {t: _offer(rows) for t, rows in self._rows.items()}

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
        """The verdict of ``code`` as a sort key (without its ``-``)."""
        if not self._identity:
            return Verdict("refuse", "refused", BROAD["_sort"])
        if code in ("_id", "_lastUpdated", "_score") or code in registry.get(type_name):
            return Verdict("allow", "plain", "identity view")
        return Verdict("refuse", "unknown", "A sort key is not a search parameter of this type.")

    def include(self, value: str) -> Verdict:
        """The verdict of ``Source:parameter[:Target]`` as an include."""
        if not self._identity:
            return Verdict("refuse", "refused", BROAD["_include"])
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
        if not self._identity:
            return Verdict("refuse", "refused", BROAD[code])
        if code == "_has":
            return self._reverse(type_name, modifier)
        allowed = REPEATS if code in ("_include", "_revinclude") else frozenset()
        if modifier and modifier not in allowed:
            return Verdict("refuse", "unknown", f"The parameter {code} has no such modifier.")
        return Verdict("allow", "plain", "identity view")

    def _chain(self, type_name: str, code: str, modifier: str, chain: str) -> Verdict:
        """An identity view follows chains whose every step the registry knows."""
        if not self._identity:
            text = "Chained parameters are not offered to your role; search the other type and "
            return Verdict("refuse", "refused", text + "use its reference.")
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


def compute_verdicts(view: Shown) -> VerdictTable:
    """The table of a view. Takes a moment; make it once, when the view is made."""
    return VerdictTable(view)


_tables: WeakKeyDictionary[object, VerdictTable] = WeakKeyDictionary()


def verdicts_of(view: Shown) -> VerdictTable:
    """The table of a view, made on first use and kept as long as the view."""
    table = _tables.get(view)
    if table is None:
        table = _tables[view] = compute_verdicts(view)
    return table


def verdict(view: Shown, type_name: str, code: str, modifier: str = "", chain: str = "") -> Verdict:
    """:meth:`VerdictTable.verdict` of the view's table."""
    return verdicts_of(view).verdict(type_name, code, modifier, chain)


def choose_tokens(verdict: Verdict, modifier: str, alternatives: tuple[str, ...]) -> Tokens:
    """What to ask for a parameter whose way is ``codes``.

    A system that is not under ``[codes]`` shows no code, so such an alternative cannot match and
    is dropped; a code without system also matches codes that are hidden, so rows are judged
    again. No alternative left: without ``:not`` no row matches, with it every row does. Raises
    :class:`Forbidden` for ``:not`` of a code without system, BadValue for a malformed token.
    """
    kept, bare = [], False
    for alternative in alternatives:
        token = parse_token(alternative)
        if token.system is None:
            bare = True
        elif not token.system.startswith(verdict.codes):
            continue
        kept.append(alternative)
    if bare and modifier == "not":
        raise Forbidden("The modifier not needs the system too: write system|code.")
    return Tokens(tuple(kept), bare or verdict.judge == "always")


def _rows(view: Shown, type_name: str) -> dict[tuple[str, str], Verdict]:
    rows = {}
    for code, parameter in registry.get(type_name).items():
        if code in CONTROLS:
            continue
        modifiers: tuple[str, ...] = MODIFIERS[parameter.type]
        if parameter.type == "reference":
            modifiers += registry.targets(parameter)
        for modifier in modifiers:
            rows[code, modifier] = _verdict(view, type_name, parameter, modifier)
    return rows


def _offer(rows: Mapping[tuple[str, str], Verdict]) -> str:
    """What can be asked of a type instead."""
    offered = sorted(c for (c, m), v in rows.items() if m == "" and v.kind != "refuse")
    return f" Searchable here: {', '.join(offered)}." if offered else ""


def _verdict(view: Shown, base: str, parameter: SearchParameter, modifier: str) -> Verdict:
    if view.identity:
        return Verdict("allow", "plain", "identity view")
    reads = read_values(view, parameter, base, modifier)
    code = parameter.code
    if not reads:
        return _refuse(f"What the parameter {code} reads is not certain, so it is not offered.")
    if modifier in _EXPANDING:
        return _refuse(f"The parameter {code} is not offered with this modifier; list the values.",
                       reads)  # fmt: skip
    hidden = [r for r in reads if r.kind == "hidden"]
    if hidden:
        return _refuse(f"The parameter {code} reads {hidden[0].path}, which your role does not "
                       "see.", reads)  # fmt: skip
    withheld = may_be_withheld(view, parameter, base)
    if modifier == "missing":
        return _missing(code, reads, withheld)
    if any(r.kind == "pseudonym" or r.code == "Reference" for r in reads):
        return _pseudonym(view, base, parameter, modifier, reads, withheld)
    return _compare(view, parameter, modifier, reads, withheld)


def _missing(code: str, reads: tuple[Read, ...], withheld: bool) -> Verdict:
    """Whether an element is there may be asked only where its presence is shown as stored."""
    if withheld or any(r.kind != "keep" or r.by_system or r.code == "Reference" for r in reads):
        return _refuse(f"Whether {code} is missing cannot be asked, since not all of what it reads "
                       "is shown as stored.", reads)  # fmt: skip
    return Verdict("allow", "plain", "shown as stored", reads)


def _pseudonym(
    view: Shown,
    base: str,
    parameter: SearchParameter,
    modifier: str,
    reads: tuple[Read, ...],
    withheld: bool,
) -> Verdict:
    code = parameter.code
    judge: Judge = "always" if withheld else "never"
    if code == "_id" and modifier == "":
        return Verdict("translate", "id", "ids are pseudonyms", reads, (base,))
    if parameter.type == "reference" and (modifier == "" or modifier in RESOURCES):
        known = (modifier,) if modifier else registry.targets(parameter)
        targets = tuple(t for t in known if view.shows(t))
        if not targets:
            return _refuse(f"What {code} refers to is not shown to your role.", reads)
        if any(view.pseudonym(t) for t in targets):
            return Verdict("translate", "reference", "ids are pseudonyms", reads, targets, judge)
        # References to types that are not shown are not shown either.
        return Verdict("allow", "reference", "ids are real", reads, targets, "always")
    if parameter.type == "token" and modifier == "" and all(r.kind == "pseudonym" for r in reads):
        document = all(_is_document(r.path) for r in reads)
        way: Way = "document-identifier" if document else "identifier"
        judge = "always" if any(_is_document(r.path) for r in reads) else judge
        return Verdict("translate", way, "identifiers are pseudonyms", reads, (), judge)
    return _refuse(f"The parameter {code} reads pseudonyms; ask for exactly one, as shown, without "
                   "modifier.", reads)  # fmt: skip


def _is_document(path: str) -> bool:
    parent, _, name = path.rpartition(".")
    return (parent, name) in DOCUMENT_IDENTIFIERS


def _compare(
    view: Shown,
    parameter: SearchParameter,
    modifier: str,
    reads: tuple[Read, ...],
    withheld: bool,
) -> Verdict:
    code = parameter.code
    coarse = [r for r in reads if r.kind == "coarse" and not r.presence]
    if any(not r.shrinks for r in coarse) or (coarse and modifier):
        return _refuse(f"The parameter {code} reads {coarse[0].path}, which your role sees less "
                       "exactly; searching such values is not offered yet.", reads)  # fmt: skip
    by_system = any(r.by_system for r in reads)
    aged = view.policy.ages is not None and parameter.type in ("quantity", "date", "composite")
    # A value in the group of the oldest is shown as their border and must match no search.
    always = withheld or bool(coarse) or (aged and not view.passes(reads[0].path.split(".")[0]))
    if modifier == "not" and (withheld or coarse):
        return _refuse(f"The parameter {code} is not offered with this modifier, since not all of "
                       "what it reads is always shown.", reads)  # fmt: skip
    if by_system and parameter.type == "token" and not _in_extension(reads):
        judge: Judge = "always" if always else "bare"
        codes = view.policy.codes or ()
        return Verdict("allow", "codes", "shown under [codes]", reads, (), judge, codes)
    judge = "always" if always or by_system else "never"
    if coarse:
        return Verdict("translate", "coarse", "shown less exactly", reads, (), judge)
    if modifier == "not" and judge == "always":
        return _refuse(f"The parameter {code} is not offered with this modifier.", reads)
    return Verdict("allow", "plain", "shown as stored", reads, (), judge)


def _in_extension(reads: tuple[Read, ...]) -> bool:
    return any(".extension." in r.path for r in reads)


def _refuse(reason: str, reads: tuple[Read, ...] = ()) -> Verdict:
    return Verdict("refuse", "refused", reason, reads)


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
    "verdict",
    "verdicts_of",
]
