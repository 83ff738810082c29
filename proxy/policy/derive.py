"""The verdict of a search parameter, derived from what it reads and how the view shows that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from proxy.errors import Forbidden, NotSupported, ProxyError
from proxy.fhir import match, registry
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.structure import RESOURCES
from proxy.policy.controls import CONTROLS
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
    "chain",  # judged on what the reference leads to, as that is shown
    "sort",  # rows are put in order here
    "include",  # what rows refer to, or what refers to them, comes along
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
# Element types that a token's modifier is about (R4, search.html#token).
_TYPED_MODIFIERS = {
    "text": frozenset({"CodeableConcept", "Coding", "Identifier"}),
    "of-type": frozenset({"Identifier"}),
}
# They ask a terminology or hierarchy, which can be larger than what the view shows.
_EXPANDING = frozenset({"in", "not-in", "above", "below"})


def derive(view: Shown, type_name: str) -> dict[tuple[str, str], Verdict]:
    """(code, modifier) to verdict of every registered parameter of a type."""
    rows = {}
    for code, parameter in registry.get(type_name).items():
        if code in CONTROLS:
            continue
        modifiers: tuple[str, ...] = MODIFIERS[parameter.type]
        if parameter.type == "reference":
            modifiers += registry.targets(parameter)
        elif parameter.type == "token" and not view.identity:
            # The identity view forwards whatever R4 has; what it means is the upstream's to say.
            modifiers = tuple(m for m in modifiers if _suits(m, parameter, type_name))
        for modifier in modifiers:
            rows[code, modifier] = _verdict(view, type_name, parameter, modifier)
    return rows


def _suits(modifier: str, parameter: SearchParameter, base: str) -> bool:
    """Whether a token's modifier means something on what the parameter reads."""
    needed = _TYPED_MODIFIERS.get(modifier)
    found = match.paths(parameter, base)
    return needed is None or found is None or any(path.type in needed for path in found)


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
    if modifier == "text" and not any(r.path.endswith((".display", ".text")) for r in reads):
        return _refuse(f"What {code}:text compares is not certain, so it is not offered.", reads)
    hidden = [r for r in reads if r.kind == "hidden"]
    if hidden:
        return _refuse(f"The parameter {code} reads {hidden[0].path}, which your role does not "
                       "see.", reads)  # fmt: skip
    withheld = may_be_withheld(view, parameter, base)
    aged = view.policy.ages is not None and not view.passes(base)
    if modifier == "missing":
        # The birth date of the oldest is not shown.
        return _missing(code, reads, withheld or (aged and parameter.type == "date"))
    if any(r.kind == "pseudonym" or r.code == "Reference" for r in reads):
        return _pseudonym(view, base, parameter, modifier, reads, withheld)
    return _compare(view, parameter, modifier, reads, withheld, aged)


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
    aged: bool,
) -> Verdict:
    code = parameter.code
    coarse = [r for r in reads if r.kind == "coarse" and not r.presence]
    if any(not r.shrinks for r in coarse) or (coarse and modifier):
        return _refuse(f"The parameter {code} reads {coarse[0].path}, which your role sees less "
                       "exactly; searching such values is not offered yet.", reads)  # fmt: skip
    by_system = any(r.by_system for r in reads)
    # A value in the group of the oldest is shown as their border and must match no search.
    aged = aged and parameter.type in ("quantity", "date", "composite")
    always = withheld or bool(coarse) or aged
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
