"""The verdict of a search parameter, derived from what it reads and how the view shows that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from proxy.errors import Forbidden, NotSupported, ProxyError
from proxy.fhir import match, registry
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.search_values import PREFIXES
from proxy.fhir.structure import RESOURCES
from proxy.lenses.backward import DATES, NUMBERS, Backward, NotTranslatable
from proxy.policy.controls import CONTROLS
from proxy.policy.decide import DOCUMENT_IDENTIFIERS
from proxy.policy.reads import (
    Read,
    Shown,
    holds_one,
    may_be_withheld,
    read_paths,
    read_values,
)

Kind = Literal["allow", "translate", "refuse"]
Way = Literal[
    "plain",  # forwarded as it is
    "codes",  # forwarded; see choose_tokens
    "id",  # _id: pseudonyms to ids
    "reference",  # typed pseudonyms to ids
    "identifier",  # system|pseudonym to the identifier, of a document too where both are read
    "document-identifier",  # system|pseudonym to any spelling of a document's identifier
    "coarse",  # shown less exactly: what finds at least all of it is asked for, and judged as shown
    "presence",  # whether something is there: of what the upstream says is, judged as shown
    "parts",  # a composite, asked part by part, and judged as a whole
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
    ``prefixes``: those that its values may have, none if values have no prefix. ``form``: how a
    value must be written to match what is shown, empty if in no special way. ``backward``: what to
    ask for of each value read, where some are shown less exactly. ``parts``: of a composite, the
    code and verdict of each component. ``single``: a resource holds at most one value of it.
    """

    kind: Kind
    way: Way
    reason: str
    reads: tuple[Read, ...] = ()
    targets: tuple[str, ...] = ()
    judge: Judge = "never"
    codes: tuple[str, ...] = field(default=(), repr=False)  # prefixes of systems that show
    prefixes: tuple[str, ...] = ()
    form: str = ""
    backward: tuple[Backward, ...] = field(default=(), repr=False)
    parts: tuple[tuple[str, Verdict], ...] = field(default=(), repr=False)
    single: bool = False

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
# R4, search.html#prefix. What is approximately a date depends on the day of asking: `ap` is not
# offered for it.
_PREFIXES = {"date": DATES, "number": NUMBERS, "quantity": NUMBERS}
_ORDERED = frozenset({*_PREFIXES, "composite"})
# Search types, and texts, that a value of the oldest can be compared by.
_AGED = frozenset({"quantity", "date", "composite"})
_SAID = frozenset({"Observation.valueString", "Observation.component.valueString"})
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
        prefixes = PREFIXES if modifier == "" and parameter.type in _ORDERED else ()
        return Verdict("allow", "plain", "identity view", prefixes=prefixes)
    code = parameter.code
    if code == "_id" and modifier:
        # HAPI finds other rows by _id:not, if nothing was ever stored under the id.
        return _refuse("The parameter _id is answered without modifier; list the ids.")
    if modifier in _EXPANDING and parameter.type != "uri":
        reads = read_values(view, parameter, base, modifier) or ()
        return _refuse(f"The parameter {code} is not offered with this modifier; list the values.",
                       reads)  # fmt: skip
    withheld = may_be_withheld(view, parameter, base)
    found = _judge(
        view, base, parameter, modifier, read_values(view, parameter, base, modifier), withheld
    )
    if found.kind == "refuse" or modifier == "missing":
        return found
    if parameter.type == "composite":
        return _compose(view, base, parameter, found, withheld)
    if parameter.type == "date":
        return replace(found, single=holds_one(parameter, base))
    return found


def _judge(
    view: Shown,
    base: str,
    parameter: SearchParameter,
    modifier: str,
    reads: tuple[Read, ...] | None,
    withheld: bool,
) -> Verdict:
    """The verdict by the lenses of what is read."""
    code = parameter.code
    if not reads:
        return _refuse(f"What the parameter {code} reads is not certain, so it is not offered.")
    if modifier == "text" and not any(r.path.endswith((".display", ".text")) for r in reads):
        return _refuse(f"What {code}:text compares is not certain, so it is not offered.", reads)
    hidden = [r for r in reads if r.kind == "hidden"]
    if hidden:
        return _refuse(f"The parameter {code} reads {hidden[0].path}, which your role does not "
                       "see.", reads)  # fmt: skip
    if all(r.vanishes for r in reads):
        return _refuse(f"The parameter {code} reads {reads[0].path}, an instant that has no less "
                       "exact form, so your role does not see it.", reads)  # fmt: skip
    aged = view.policy.ages is not None and not view.passes(base)
    if modifier and any(r.presence for r in reads):
        return _refuse(f"The parameter {code} asks whether something is there; ask for true or "
                       "false, without modifier.", reads)  # fmt: skip
    if modifier == "missing":
        # The birth date of the oldest is not shown.
        return _missing(code, reads, withheld or (aged and parameter.type == "date"))
    if any(r.kind == "pseudonym" or r.code == "Reference" for r in reads):
        return _pseudonym(view, base, parameter, modifier, reads, withheld)
    return _compare(view, parameter, modifier, reads, withheld, aged)


def _compose(
    view: Shown, base: str, parameter: SearchParameter, whole: Verdict, withheld: bool
) -> Verdict:
    """A composite's verdict with those of its parts: where a part is shown less exactly or is a
    date, each is asked for by its own parameter, and the whole is judged on what is shown."""
    parts = []
    for part, paths in match.components(parameter, base):
        reads = read_paths(view, paths, base, "")
        parts.append((part, _judge(view, base, part, "", reads, withheld)))
    refused = next((found for _, found in parts if found.kind == "refuse"), None)
    if refused is not None:
        return replace(refused, reads=whole.reads)
    each = tuple((part.code, found) for part, found in parts)
    prefixes = _common(found.prefixes for _, found in parts if found.prefixes)
    found = replace(whole, parts=each, prefixes=prefixes)
    if not any(v.kind == "translate" or p.type == "date" for p, v in parts):
        return found
    offered = registry.get(base)
    if any(offered.get(p.code) != p for p, _ in parts):
        return _refuse(f"The parameter {parameter.code} reads what your role sees less exactly, "
                       "and its parts cannot be asked for one by one.", whole.reads)  # fmt: skip
    forms = ", ".join(f"{v.form} for {code}" for code, v in each if v.form)
    reason = f"{whole.reason}; ask with {forms}" if forms else whole.reason
    return replace(found, way="parts", judge="always", form=forms, reason=reason)


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
    if code == "_id":
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
    code, prefixes = parameter.code, _PREFIXES.get(parameter.type, ())
    if any(r.presence for r in reads):
        # Upstream an element with no more than an extension is there, too.
        return Verdict("allow", "presence", "by what shows", reads, (), "always")
    coarse = [r for r in reads if r.kind == "coarse"]
    by_system = any(r.by_system for r in reads)
    # A value in the group of the oldest is shown as their border and must match no search.
    aged = aged and (parameter.type in _AGED or any(r.path in _SAID for r in reads))
    always = withheld or bool(coarse) or aged
    if modifier == "not" and (withheld or coarse):
        return _refuse(f"The parameter {code} is not offered with this modifier, since not all of "
                       "what it reads is always shown.", reads)  # fmt: skip
    if coarse and parameter.type == "composite":
        return Verdict("translate", "coarse", f"shown {coarse[0].says}", reads, (), "always")
    if coarse:
        return _translate(code, modifier, coarse[0], reads)
    if by_system and parameter.type == "token" and not _in_extension(reads):
        judge: Judge = "always" if always else "bare"
        codes = view.policy.codes or ()
        return Verdict("allow", "codes", "shown under [codes]", reads, (), judge, codes)
    judge = "always" if always or by_system else "never"
    if modifier == "not" and judge == "always":
        return _refuse(f"The parameter {code} is not offered with this modifier.", reads)
    return Verdict("allow", "plain", "shown as stored", reads, (), judge, prefixes=prefixes)


def _translate(code: str, modifier: str, least: Read, reads: tuple[Read, ...]) -> Verdict:
    """The verdict where some of what is read is shown less exactly: what the lenses say of the
    way back, if each has one."""
    try:
        found = tuple(dict.fromkeys(r.backward() for r in reads))
    except NotTranslatable:
        return _refuse(f"The parameter {code} reads {least.path}, which your role sees less "
                       "exactly, in a form that no search can ask for.", reads)  # fmt: skip
    if modifier:
        return _refuse(f"The parameter {code} reads {least.path}, which your role sees less "
                       "exactly; ask without this modifier.", reads)  # fmt: skip
    form = next((each.form for each in found if each.form), "")
    return Verdict(
        "translate", "coarse", f"shown {least.says}{f'; ask with {form}' if form else ''}", reads,
        judge="always", prefixes=_common(each.prefixes for each in found), form=form,
        backward=found,
    )  # fmt: skip


def _common(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The prefixes that all of them have, in the order of the first."""
    first, *others = list(lists) or [()]
    return tuple(prefix for prefix in first if all(prefix in other for other in others))


def _in_extension(reads: tuple[Read, ...]) -> bool:
    return any(".extension." in r.path for r in reads)


def _refuse(reason: str, reads: tuple[Read, ...] = ()) -> Verdict:
    return Verdict("refuse", "refused", reason, reads)
