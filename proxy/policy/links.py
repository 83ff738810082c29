"""The references that searches of a restricted view may follow: includes and chains.

Only what ``[search]`` lists, from a reference that shows, to types that show and that ``[access]``
grants. Whatever is followed is judged again on the shown rows at both ends
(:mod:`proxy.engine.includes`, :mod:`proxy.engine.chains`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proxy.fhir import match, registry
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.structure import RESOURCES
from proxy.policy.controls import CONTROLS
from proxy.policy.derive import Verdict
from proxy.policy.reads import Shown

Rows = Mapping[str, Mapping[tuple[str, str], Verdict]]
Paths = dict[tuple[str, str], frozenset[str]]

_NOT_A_PATH = "An include is not Type:parameter, or Type:parameter:Target, that R4 has."
_NOT_A_CHAIN = "A chain goes through references only."
_ENDS_NOWHERE = "A chain ends in a parameter that its type has not."


class Links:
    """What one view lets its callers follow; immutable once made. ``rows``: the verdicts of its
    parameters, by type."""

    def __init__(self, view: Shown, rows: Rows) -> None:
        self._access = view.policy.access
        self._shows = view.shows
        self._rows = rows
        self._includes = _paths(view, view.policy.search.include)
        self._chains = _paths(view, view.policy.search.chain)

    def include(self, value: str, *, reverse: bool) -> Verdict:
        """The verdict of ``Source:parameter[:Target]``, as _include or (``reverse``) _revinclude.

        Its ``targets`` are the types that may come along, or that matches may have in reverse.
        """
        source, _, rest = value.partition(":")
        code, _, target = rest.partition(":")
        if value == "*" or (source in RESOURCES and code == "*"):
            return _refuse("Wildcards are not offered to your role; name each reference, "
                           "_include=Type:parameter." + self._offer(self._includes))  # fmt: skip
        known = registry.get(source).get(code) if source in RESOURCES else None
        if known is None or known.type != "reference":
            return Verdict("refuse", "unknown", _NOT_A_PATH)
        if target and target not in _ends(known, source):
            return Verdict("refuse", "unknown", _NOT_A_PATH)
        step = self._rows.get(source, {}).get((code, ""))
        ends = self._includes.get((source, code))
        if step is None or ends is None:
            return _refuse(f"{source}:{code} does not come along for your role; search {source} "
                           "for itself." + self._offer(self._includes))  # fmt: skip
        if step.kind == "refuse":
            return step
        ends &= {target} if target else ends
        if not reverse:
            ends = frozenset(t for t in ends if self._grants(t, "include"))
        if not ends or (reverse and not self._grants(source, "include")):
            return _refuse("What this include leads to does not come along for your role.")
        return Verdict("allow", "include", "listed under [search]", step.reads, tuple(sorted(ends)))

    def chain(
        self,
        type_name: str,
        code: str,
        modifier: str,
        chain: str,
        verdict: Callable[[str, str, str], Verdict],
    ) -> Verdict:
        """The verdict of ``code:modifier.chain``. ``verdict``: of a parameter on its target."""
        known = registry.get(type_name)[code]
        ends = _ends(known, type_name)
        if known.type != "reference" or (modifier and modifier not in ends):
            return Verdict("refuse", "unknown", _NOT_A_CHAIN)
        if "." in chain or chain.startswith("_has"):
            return _refuse("Chains of more than one step are not offered to your role.")
        listed = self._chains.get((type_name, code))
        if not listed:
            return _refuse("This chained parameter is not offered to your role; search the other "
                           "type and use its reference." + self._offer(self._chains))  # fmt: skip
        possible = {modifier} if modifier else set(filter(self._shows, ends))
        if len(possible) != 1:
            return Verdict("refuse", "unknown", "A chain must say to which type the reference "
                           "leads: reference:Type.parameter.")  # fmt: skip
        (target,) = possible
        if target not in listed or not self._grants(target, "search"):
            return _refuse("Your role does not search what this chain leads to.")
        step = self._rows[type_name][code, ""]
        if step.kind == "refuse":
            return step
        name, _, inner = chain.partition(":")
        if name in CONTROLS:
            return Verdict("refuse", "unknown", _ENDS_NOWHERE)
        last = verdict(target, name, inner)
        if last.kind == "refuse":
            return last
        reason = f"a condition on the {target} that shows"
        reads = tuple(dict.fromkeys(step.reads + last.reads))
        return Verdict("translate", "chain", reason, reads, (target,), "always")

    def included(self, type_name: str, *, reverse: bool = False) -> tuple[str, ...]:
        """What a search of the type may include: its own references, or those that lead to it."""
        return tuple(
            f"{source}:{code}"
            for (source, code), ends in sorted(self._includes.items())
            if (type_name in ends if reverse else source == type_name)
            and self.include(f"{source}:{code}", reverse=reverse).kind != "refuse"
        )

    def chained(self, type_name: str, code: str) -> tuple[str, ...]:
        """The types at the end of a reference on which a chain may put a condition."""
        step = self._rows.get(type_name, {}).get((code, ""))
        ends = self._chains.get((type_name, code), frozenset())
        if step is None or step.kind == "refuse":
            return ()
        return tuple(end for end in sorted(ends) if self._grants(end, "search"))

    def _grants(self, type_name: str, word: str) -> bool:
        return word in self._access.get(type_name, ())

    def _offer(self, paths: Paths) -> str:
        listed = ", ".join(f"{source}:{code}" for source, code in sorted(paths))
        return f" Offered: {listed}." if listed else ""


def _paths(view: Shown, listed: tuple[str, ...]) -> Paths:
    """Source and code to the types at the end that show."""
    found: Paths = {}
    for text in listed:
        source, code, *target = text.split(":")
        if not view.shows(source):
            continue
        ends = frozenset(target) or _ends(registry.get(source)[code], source)
        shown = frozenset(filter(view.shows, ends))
        found[source, code] = found.get((source, code), frozenset()) | shown
    return found


def _ends(parameter: SearchParameter, base: str) -> frozenset[str]:
    """The types that a reference parameter leads to: ``resolve() is T`` narrows them."""
    ends = frozenset(registry.targets(parameter))
    paths = match.paths(parameter, base) or ()
    if paths and all(path.targets for path in paths):
        ends &= {target for path in paths for target in path.targets}
    return ends


def _refuse(reason: str) -> Verdict:
    return Verdict("refuse", "refused", reason)
