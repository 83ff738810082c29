"""The elements that a search parameter reads, down to the values compared, and their lenses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from proxy.fhir import match
from proxy.fhir.match import ReadPath
from proxy.fhir.r4 import TYPES, SearchParameter
from proxy.fhir.structure import is_quantity, properties
from proxy.lenses import method as lens_method
from proxy.policy.decide import KEEP, Decision, Mode, coding_rule, decide
from proxy.policy.model import Method, Policy, Source

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
    ``shrinks``: a coarse value that is the stored one or a beginning of it, or does not show.
    ``presence``: only whether it is there is read.
    """

    path: str
    code: str
    kind: LensKind
    why: str
    source: Source | None
    by_system: bool = False
    shrinks: bool = False
    presence: bool = False


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

# generalize to …: what shows is what is stored, or its beginning, or nothing.
_SHRINKING = frozenset({"zip5", "state", "country"})


def read_values(
    view: Shown, parameter: SearchParameter, base: str, modifier: str
) -> tuple[Read, ...] | None:
    """Every value that ``parameter:modifier`` compares on resources of ``base``, with its lens.

    None if the parameter is not fully understood, or a path has no lens.
    """
    paths = match.paths(parameter, base)
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


def _read(view: Shown, base: str, path: ReadPath, modifier: str) -> Iterator[Read]:
    if view.passes(base):
        yield Read(path.path, "", "keep", view.lens(base).why, None)
        return
    for place, _ in path.conditions:
        if not place.endswith(".extension.url"):
            yield _at(view, place, "code")
    if ".extension." in path.path:
        yield _extension(view.policy, path)
        return
    if path.search_type == "presence":
        lens = view.lens(path.path)
        yield Read(path.path, path.type, lens.kind, lens.why, lens.source, presence=True)
        return
    whole = view.lens(path.path)
    members = _members(path.search_type, modifier, path.type)
    if path.type == "Identifier" and whole.kind == "pseudonym":
        members = () if modifier == "" else members
    if not members:
        yield _at(view, path.path, path.type)
    coded = _by_system(view, path)
    for member in members:
        by_system = coded and member.rpartition(".")[2] in ("code", "system")
        yield _at(view, f"{path.path}.{member}", "", by_system=by_system)


def _members(search_type: str, modifier: str, code: str) -> tuple[str, ...]:
    table = _MEMBERS.get((search_type, modifier)) or _MEMBERS.get((search_type, ""), {})
    return table.get(code, ())


def _at(view: Shown, path: str, code: str, *, by_system: bool = False) -> Read:
    lens = view.lens(path)
    if path.endswith(".meta.lastUpdated") and "Meta.lastUpdated" not in view.policy.datatypes:
        # meta is made new; without a line of its own this element is not in it.
        return Read(path, code, "hidden", "meta is made new", None)
    return Read(path, code, lens.kind, lens.why, lens.source, by_system, _shrinks(lens.method))


def _shrinks(method: Method) -> bool:
    return method.name == "generalize" and method.param("to") in _SHRINKING


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
        path.path, path.type, kind, decision.why, decision.source or rule.source, by_system=True
    )
