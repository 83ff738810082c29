"""Which resources stand alone in a view whose policy can hide sections: a slow reading of the rule
over a whole dataset, which shares nothing with the lookups of the product but the registry's search
parameters, since these say what an upstream finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from proxy.fhir import match, registry
from proxy.fhir.r4 import SearchParameter

Key = tuple[str, str]
Show = Callable[[Any], Any]
_BACKWARDS = 4  # references followed back from what is bound to no patient
_PERSONAL = ("subject", "patient", "beneficiary", "individual", "source")


def standing(
    stored: Iterable[Any], show: Show, name: Callable[[Key], str], bases: Iterable[str]
) -> list[Any]:
    """Of the ``stored`` resources, in their order, those that exist in the view. ``show``: one as
    the view shows it by itself; ``name``: how a reference to a resource is shown; ``bases``: of the
    upstream."""
    reading = Reading({key_of(r): r for r in stored}, show, name, tuple(bases))
    return [r for key, r in reading.stored.items() if reading.exists(key)]


def key_of(resource: Any) -> Key:
    return resource["resourceType"], resource["id"]


class Reading:
    """One dataset under one view."""

    def __init__(
        self,
        stored: Mapping[Key, Any],
        show: Show,
        name: Callable[[Key], str],
        bases: tuple[str, ...],
    ) -> None:
        self.stored, self.bases = stored, bases
        self.shown = {key: show(resource) for key, resource in stored.items()}
        names = {name(key): key for key in stored}
        self.leads = {key: self.named(resource) for key, resource in stored.items()}
        self.shown_leads = {
            key: {names[t] for t in texts(view) if t in names} if view else set()
            for key, view in self.shown.items()
        }
        self.reports = [key for key in stored if key[0] == "Composition"]
        self.about = {key: self.patients(key) for key in stored}
        self.reached: dict[tuple[Key, bool], set[Key]] = {}
        self.found_by: dict[tuple[Key, tuple[str, ...]], set[Key]] = {}

    def exists(self, key: Key) -> bool:
        """Whether the resource shows, alone."""
        if self.shown[key] is None or key[0] == "Composition":
            return self.shown[key] is not None
        reports = [r for r in self.reports if self.is_about(r, key) or self.lists(r, key)]
        if self.is_bound(key):
            before = self.before(key)
            while not any(key in self.reach(r, shown=False) for r in reports):
                more = next(before, None)
                if more is None:
                    return True
                reports += more
            return any(key in self.reach(r, shown=True) for r in reports)
        reports += self.trace(key)
        return any(key in self.reach(r, shown=True) for r in reports)

    def is_bound(self, key: Key) -> bool:
        if key[0] == "Patient":
            return any(self.is_about(r, key) for r in self.reports)
        return key[0] == "Bundle" or bool(self.about[key])

    def is_about(self, report: Key, key: Key) -> bool:
        return not self.about[report].isdisjoint(self.about[key])

    def lists(self, report: Key, key: Key) -> bool:
        return key in self.indexed(report, "entry")

    def before(self, key: Key) -> Iterator[list[Key]]:
        """Of what refers to ``key``, of what refers to that, and so on: the reports among it, and
        those about whom it is about."""
        ends, met = {key}, {key}
        while ends:
            found = {k for k in self.stored if ends & self.leads[k] & self.indexed(k)} - met
            met |= found
            ends = {k for k in found if k[0] != "Composition"}
            yield [
                r for r in self.reports if r in found or any(self.is_about(r, k) for k in ends)
            ]

    def trace(self, key: Key) -> list[Key]:
        """The reports of whom something is about that refers to ``key``, or to what does."""
        found, ends, met = [], {key}, {key}
        for _ in range(_BACKWARDS):
            before = {k for k, leads in self.shown_leads.items() if ends & leads}
            before = {k for k in before if ends & self.shown_leads[k] & self.indexed(k)}
            found += [k for k in before if k[0] == "Composition"]
            fresh = {k for k in before if k[0] != "Composition"} - met
            met |= fresh
            ends = set()
            for k in fresh:
                reports = [r for r in self.reports if self.is_about(r, k)]
                found += reports
                if not reports:
                    ends.add(k)
        return found

    def reach(self, report: Key, *, shown: bool) -> set[Key]:
        """All that a report leads to, as shown or as stored."""
        if (report, shown) not in self.reached:
            leads = self.shown_leads if shown else self.leads
            found, waiting = {report}, [report]
            while waiting:
                for key in leads.get(waiting.pop(), ()):
                    if key not in found:
                        found.add(key)
                        waiting.append(key)
            self.reached[report, shown] = found
        return self.reached[report, shown]

    def named(self, resource: Any) -> set[Key]:
        """The upstream's resources to which one refers, but for what it says of other documents."""
        kept = {k: v for k, v in resource.items() if k != "relatesTo"}
        return self.keys(texts(kept if resource["resourceType"] == "Composition" else resource))

    def keys(self, written: Iterable[str]) -> set[Key]:
        found = set()
        for text in written:
            for base in self.bases:
                text = text.removeprefix(base + "/")
            type_, _, rest = text.partition("/")
            id_, _, version = rest.partition("/")
            if type_.isalpha() and id_ and "/" not in version.removeprefix("_history/"):
                found.add((type_, id_))
        return found

    def indexed(self, key: Key, *codes: str) -> set[Key]:
        """What an upstream finds the resource by."""
        if (key, codes) in self.found_by:
            return self.found_by[key, codes]
        parameters: list[SearchParameter] = [
            p
            for code, p in registry.get(key[0]).items()
            if p.type == "reference" and p.url.startswith("http://hl7.org/fhir/SearchParameter/")
            if (code in codes or not codes) and match.paths(p, key[0])
        ]
        found = (match.references(self.stored[key], key[0], p) for p in parameters)
        self.found_by[key, codes] = self.keys(text for written in found for text in written)
        return self.found_by[key, codes]

    def patients(self, key: Key) -> set[str]:
        resource = self.stored[key]
        if key[0] == "Patient":
            return {key[1]}
        if key[0] == "Bundle":
            inside = self.keys(
                e.get("fullUrl", "")
                for e in resource.get("entry", ())
                if e.get("resource", {}).get("resourceType") == "Patient"
            )
            return {id_ for type_, id_ in inside if type_ == "Patient"}
        found = self.keys(
            str(resource[n].get("reference"))
            for n in _PERSONAL
            if isinstance(resource.get(n), dict)
        )
        return {id_ for type_, id_ in found if type_ == "Patient"}


def texts(value: Any) -> set[str]:
    """Every literal reference at any depth; what a Bundle holds refers to what it holds."""
    if isinstance(value, list):
        return set().union(*map(texts, value))
    if not isinstance(value, dict) or value.get("resourceType") == "Bundle":
        return set()
    own = {value["reference"]} if isinstance(value.get("reference"), str) else set()
    return own.union(*map(texts, value.values()))
