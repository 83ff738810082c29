"""The elements that a search parameter reads, down to the values compared, and their lenses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from proxy.fhir import match
from proxy.fhir.match import ReadPath
from proxy.fhir.r4 import TYPES, SearchParameter
from proxy.fhir.structure import is_quantity, properties
from proxy.lenses import method as lens_method
from proxy.lenses.backward import Backward, Ranged
from proxy.policy.decide import KEEP, Decision, Mode, coding_rule, decide
from proxy.policy.model import Method, Policy, Source
from proxy.policy.required import LEGAL_VALUES

LensKind = Literal["keep", "hidden", "pseudonym", "coarse"]


class Lens(Protocol):
    """What :meth:`proxy.policy.compile.View.lens` gives."""

    @property
    def kind(self) -> LensKind: ...
    @property
    def method(self) -> Method: ...
    @property
    def why(self) -> str: ...
    @property
    def source(self) -> Source | None: ...


class Shown(Protocol):
    """The part of a view that verdicts are derived from."""

    @property
    def policy(self) -> Policy: ...
    @property
    def identity(self) -> bool: ...
    def lens(self, path: str, /) -> Lens: ...
    def shows(self, type_name: str, /) -> bool: ...
    def passes(self, type_name: str, /) -> bool: ...
    def pseudonym(self, type_name: str, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Read:
    """One value that a parameter compares.

    ``path``: canonical (``Observation.code.coding.code``). ``code``: its type, empty where that
    does not matter. ``by_system``: whether it shows depends on its code system (``[codes]``).
    ``method``: how it is shown, ``search_type``: how it is compared. ``presence``: only whether it
    is there is read. ``vanishes``: an instant that is shown less exactly has no legal form where it
    is optional, so it is not shown, though another form of the same date is. ``masked``: what a
    date of it shows that is masked, empty if nothing.
    """

    path: str
    code: str
    kind: LensKind
    why: str
    source: Source | None
    by_system: bool = False
    method: Method = KEEP
    search_type: str = ""
    presence: bool = False
    vanishes: bool = False
    masked: str = ""

    @property
    def says(self) -> str:
        """How its values show, in words."""
        return lens_method(self.method.name).says

    @property
    def orders(self) -> bool:
        """Whether rows can be put in order by it as it shows."""
        return self.kind == "keep" or lens_method(self.method.name).orders

    def backward(self) -> Backward:
        """What to ask upstream for what is shown of it; raises NotTranslatable."""
        found = lens_method(self.method.name).backward(dict(self.method.params), self.search_type)
        if self.masked and isinstance(found, Ranged):
            return found.masked_as(self.masked)
        return found


# (search type, modifier) -> type of the element -> the members compared. What is not here is
# compared itself. R4, search.html#token, #string, #date, #quantity.
_CODED = {
    "CodeableConcept": ("coding.system", "coding.code"),
    "Coding": ("system", "code"),
    "Identifier": ("system", "value"),
    "ContactPoint": ("system", "value"),
}
_QUANTITY = ("value", "comparator", "system", "code")
_MEMBERS: dict[tuple[str, str], Mapping[str, tuple[str, ...]]] = {
    ("token", ""): _CODED,
    ("token", "text"): {
        "CodeableConcept": ("text", "coding.display"),
        "Coding": ("display",),
        "Identifier": ("type.text", "type.coding.display"),
    },
    ("token", "of-type"): {
        "Identifier": ("type.coding.system", "type.coding.code", "value"),
    },
    ("string", ""): {
        "HumanName": ("text", "family", "given", "prefix", "suffix"),
        "Address": ("text", "line", "city", "district", "state", "postalCode", "country"),
    },
    ("date", ""): {
        "Period": ("start", "end"),
        "Timing": ("event", "repeat.boundsPeriod.start", "repeat.boundsPeriod.end"),
    },
    ("quantity", ""): {
        **dict.fromkeys(("Quantity", "Age", "Count", "Distance", "Duration"), _QUANTITY),
        "Money": ("value", "currency"),
        "Range": tuple(f"{end}.{m}" for end in ("low", "high") for m in _QUANTITY),
        "SampledData": (
            *(f"origin.{m}" for m in ("value", "system", "code")),
            "lowerLimit",
            "upperLimit",
        ),
    },
    ("reference", "identifier"): {"Reference": ("identifier.system", "identifier.value")},
}

# Types that a rule can show whole in another form: how their value is then shown.
_WHOLE: Mapping[str, tuple[LensKind, ...]] = {
    "Identifier": ("pseudonym",),
    **dict.fromkeys(
        ("CodeableConcept", "Coding", "Quantity", "Age", "Count", "Distance", "Duration"),
        ("coarse",),
    ),
}
# Instants that are shown though R4's cardinality has them optional (bdl-10).
_DEMANDED = frozenset({"Bundle.timestamp"})


def read_values(
    view: Shown, parameter: SearchParameter, base: str, modifier: str
) -> tuple[Read, ...] | None:
    """Every value that ``parameter:modifier`` compares on resources of ``base``, with its lens.

    None if the parameter is not fully understood, or a path has no lens.
    """
    return read_paths(view, match.paths(parameter, base), base, modifier)


def read_paths(
    view: Shown, paths: Iterable[ReadPath] | None, base: str, modifier: str
) -> tuple[Read, ...] | None:
    """:func:`read_values` of some paths alone."""
    if paths is None:
        return None
    found: dict[Read, None] = {}
    try:
        for path in paths:
            found.update(dict.fromkeys(_read(view, base, path, modifier)))
    except KeyError:
        return None
    return tuple(found)


def may_be_withheld(view: Shown, parameter: SearchParameter, base: str) -> bool:
    """Whether an element on the way can be withheld by what it bears: a modifierExtension that is
    not listed hides its backbone element, whatever the rules of its members are."""
    if view.passes(base):
        return False
    for path in match.paths(parameter, base) or ():
        where = base
        for name in path.path.split(".")[1:]:
            where = properties(where)[name].type
            if TYPES[where].kind != "primitive" and "modifierExtension" in properties(where):
                return True
    return False


def holds_one(parameter: SearchParameter, base: str) -> bool:
    """Whether a resource holds at most one value of the parameter: all that it reads are branches
    of one choice, and nothing on the way repeats."""
    chosen = set()
    for path in match.paths(parameter, base) or ():
        where, names = base, []
        for name in path.path.split(".")[1:]:
            prop = properties(where)[name]
            if prop.many:
                return False
            names.append(prop.element.name)
            where = prop.type
        chosen.add(tuple(names))
    return len(chosen) == 1


def _read(view: Shown, base: str, path: ReadPath, modifier: str) -> Iterator[Read]:
    kind = path.search_type
    if view.passes(base):
        yield Read(path.path, "", "keep", view.lens(base).why, None, search_type=kind)
        return
    for place, _ in path.conditions:
        if not place.endswith(".extension.url"):
            yield _at(view, place, "code", "token")
    if ".extension." in path.path:
        yield _extension(view.policy, path)
        return
    if kind == "presence":
        lens = view.lens(path.path)
        yield Read(path.path, path.type, lens.kind, lens.why, lens.source, presence=True)
        return
    whole = view.lens(path.path)
    members = _members(kind, modifier, path.type)
    if modifier == "" and whole.kind in _WHOLE.get(path.type, ()):
        members = ()
    if not members:
        yield _at(view, path.path, path.type, kind)
    coded = _by_system(view, path)
    for member in members:
        by_system = coded and member.rpartition(".")[2] in ("code", "system")
        yield _at(view, f"{path.path}.{member}", "", kind, by_system=by_system)


def _members(search_type: str, modifier: str, code: str) -> tuple[str, ...]:
    table = _MEMBERS.get((search_type, modifier)) or _MEMBERS.get((search_type, ""), {})
    return table.get(code, ())


def _at(view: Shown, path: str, code: str, kind: str, *, by_system: bool = False) -> Read:
    lens = view.lens(path)
    if path.endswith(".meta.lastUpdated") and "Meta.lastUpdated" not in view.policy.datatypes:
        # meta is made new; without a line of its own this element is not in it.
        return Read(path, code, "hidden", "meta is made new", None)
    return Read(
        path, code, lens.kind, lens.why, lens.source, by_system, lens.method, kind,
        vanishes=code == "instant" and _shortens(lens) and not _demanded(path),
        masked=LEGAL_VALUES["date"] if kind == "date" and _demanded(path) else "",
    )  # fmt: skip


def _shortens(lens: Lens) -> bool:
    return lens.kind == "coarse" and lens_method(lens.method.name).shortens


def _demanded(path: str) -> bool:
    """Whether an element shows wherever it is held."""
    where, *names = path.split(".")
    for name in names[:-1]:
        where = properties(where)[name].type
    return path in _DEMANDED or properties(where)[names[-1]].element.min > 0


def _by_system(view: Shown, path: ReadPath) -> bool:
    """Whether ``[codes]`` decides about the codes at this path. A line on the Coding or Quantity
    itself shows all of it."""
    policy = view.policy
    if policy.codes is None:
        return False
    if is_quantity(path.type) or path.type in ("Range", "SampledData"):
        line = policy.datatypes.get("Quantity.code")
        return line is None or line.method.name != "keep"
    rule = coding_rule(policy)
    if rule is None or rule.shown:
        return False
    coding = path.path + (".coding" if path.type == "CodeableConcept" else "")
    return path.type in ("CodeableConcept", "Coding") and view.lens(coding).source is None


def _extension(policy: Policy, path: ReadPath) -> Read:
    """A value inside an extension: by the line of its URL; parts that are not named are hidden,
    so what is found is always judged on what shows."""
    url = next((text for place, text in path.conditions if place.endswith("extension.url")), "")
    rule = policy.extensions.get(url)
    if rule is None:
        return Read(path.path, path.type, "hidden", "the extension is not listed", None)
    _, _, inside = path.path.partition(".extension.")
    nested = inside.startswith("extension.")
    names = inside.removeprefix("extension.").split(".")
    if rule.parts is not None and not nested and "value[x]" not in rule.parts:
        return Read(path.path, path.type, "hidden", "its value is not opened", rule.source)
    mode = Mode("cover") if rule.parts is not None and not nested else Mode("keep")
    decision, where = Decision(KEEP, mode, rule.source, f"extension {url}"), "Extension"
    for name in names:
        prop = properties(where)[name]
        decision, where = decide(policy, where, prop, (), decision.mode), prop.type
    kind: LensKind = "keep" if decision.shown else lens_method(decision.method.name).kind
    return Read(
        path.path, path.type, kind, decision.why, decision.source or rule.source, True,
        decision.method, path.search_type,
    )  # fmt: skip
