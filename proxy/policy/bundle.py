"""Bundles of every type, walked entry by entry; the identity of a thing is its absolute URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from proxy.fhir.codec import Json, JsonObject, is_among
from proxy.fhir.reference import parse_reference
from proxy.fhir.referring import reference_texts
from proxy.fhir.structure import RESOURCES
from proxy.policy.places import group_entries, is_ours, is_served, list_entries, locate
from proxy.policy.reachability import find_lost, find_roots, find_unreached, join, reach
from proxy.policy.scope import AS_STORED, Fates, Scope

if TYPE_CHECKING:
    from proxy.policy.anonymized import Anonymized
    from proxy.policy.resources import Resources, Start


class Entry(NamedTuple):
    """An entry and how what it holds is named. ``identity``: absolute URL, empty without a
    fullUrl. ``base``: where its relative references resolve."""

    position: int
    source: JsonObject
    resource: JsonObject | None
    identity: str
    base: str
    full_url: str | None  # shown
    id: str | None  # shown
    url: str  # absolute URL of the thing (:class:`proxy.policy.places.Place`)
    start: Start | None  # how the resource is walked; None: it is not shown


class BundleWalk:
    """The part of the walk that knows Bundles."""

    def __init__(
        self, resources: Resources, anonymized: Anonymized | None, hides_sections: bool
    ) -> None:
        self._resources = resources
        self._anonymized = anonymized
        self._hides_sections = hides_sections

    def entries(self, bundle: JsonObject, out: JsonObject, scope: Scope) -> None:
        """Put the shown entries of ``bundle`` into ``out``."""
        source = bundle.get("entry")
        if not isinstance(source, list):
            return
        outer_url, outer_base = scope.url, scope.base
        kind, served = bundle.get("type"), is_served(bundle)
        found = [
            self._name(i, e, served, scope) for i, e in enumerate(source) if isinstance(e, dict)
        ]
        grouped = group_entries([(entry.identity, entry.resource) for entry in found], scope)
        places = {name: [found[i] for i in at] for name, at in grouped.items()}
        fates: Fates = {}
        for name, entries in places.items():
            first = entries[0]
            own = first.identity == name
            fates[name] = self._fate(first, scope) if own else _fate_by_id(first, scope)
        scope.frames.append(fates)
        outer_held = scope.held
        if self._anonymized is not None:
            self._anonymized.enter(places, scope)
        made: list[Json] = []
        scope.forget()
        outer_met = scope.met
        shown: dict[int, JsonObject] = {}
        met: dict[int, set[str]] = {}
        try:
            self._reveal(found, shown, met, scope)
            if found and (kind == "document" or self._hides_sections):
                self._prune(kind == "document", found, places, shown, met, scope)
            if self._anonymized is not None and shown:
                made = self._anonymized.complete(kind, found, places, shown, met, scope)
        finally:
            scope.frames.pop()
            scope.held = outer_held
            scope.forget()
            scope.url, scope.base, scope.met = outer_url, outer_base, outer_met
        for names in met.values():  # what is referred to outside is the outer entry's reference
            outer_met |= names - fates.keys()
        if shown:
            out["entry"] = [*(shown[index] for index in sorted(shown)), *made]

    def _prune(
        self,
        document: bool,
        entries: list[Entry],
        places: Mapping[str, list[Entry]],
        shown: dict[int, JsonObject],
        met: dict[int, set[str]],
        scope: Scope,
    ) -> None:
        """Take out of ``shown`` what a document's first entry no longer reaches, and, where
        sections can be hidden, what Compositions in any Bundle no longer reach; and references to
        it out of all else."""
        by_name = {name: {e.position for e in at} for name, at in places.items()}
        first, fates = entries[0].position, scope.frames[-1]
        reports, nested = _find_reports(entries) if self._hides_sections else (set(), set())
        starts = [{first}] if document else []
        if reports or nested:
            starts.append(reports)
        stored: dict[int, set[int]] = {}
        while True:
            now = {i: join(names, by_name) for i, names in met.items()}
            if all(reach(of, now) >= shown.keys() for of in starts):
                return
            stored = stored or {
                e.position: join(self._stored(e.resource, e.base, scope), by_name)
                for e in entries
            }
            lost = find_lost(stored, now, first) if document else set[int]()
            if reports or nested:
                lost |= find_unreached(stored, now, find_roots(reports, nested, stored))
            lost &= shown.keys()
            if not lost:
                return
            gone = {name for name, at in by_name.items() if at & lost}
            for index in lost:
                del shown[index], met[index]
            fates.update(dict.fromkeys(gone))
            scope.forget()
            left = [e for e in entries if not gone.isdisjoint(met.get(e.position, ()))]
            self._reveal(left, shown, met, scope)

    def _stored(self, resource: JsonObject | None, base: str, scope: Scope) -> set[str]:
        """Identities of all that a stored resource refers to; of what a Bundle holds, those outside
        of it."""
        if resource is None or resource.get("resourceType") != "Bundle":
            return {scope.name_of(text, base) for text in reference_texts(resource)}
        held = list(list_entries(resource, "", scope.bases.main, scope))
        named = set[str]().union(*(self._stored(inner, place.base, scope) for place, inner in held))
        inside = group_entries([(place.identity, inner) for place, inner in held], scope)
        return named - inside.keys()

    def _name(self, index: int, source: JsonObject, served: bool, scope: Scope) -> Entry:
        held = source.get("resource")
        resource = held if isinstance(held, dict) else None
        start = self._resources.start(resource, scope.claims) if resource else None
        type_name = str(resource.get("resourceType")) if resource else ""
        id = (resource or {}).get("id")
        place = locate(index, source, served, scope.url, scope.base, scope)
        identity, base, url, text, reference, put = place
        if reference is not None and identity:
            if reference.type == type_name and is_ours(reference, scope):
                shown = scope.show_id(type_name, reference.id)
                full_url = f"{scope.public}/{type_name}/{shown}"
                main = scope.bases.main
                return Entry(index, source, resource, identity, main, full_url, shown, url, start)
            if not scope.pseudonym(type_name) and isinstance(text, str):
                real = id if isinstance(id, str) else None
                return Entry(index, source, resource, identity, base, text, real, url, start)
            uuid = scope.namer.show_uri(identity)
            id = scope.show_id(type_name, put.id) if put else uuid.rpartition(":")[2]
            return Entry(index, source, resource, identity, base, uuid, id, url, start)
        main, malformed = scope.bases.main, reference is not None
        if not scope.pseudonym(type_name):
            real = id if isinstance(id, str) else None
            stored = text if isinstance(text, str) else None
            return Entry(index, source, resource, "", main, stored, real, url, start)
        uuid = scope.namer.show_uri(f"{scope.url}#{index}")
        id = scope.show_id(type_name, put.id) if put else uuid.rpartition(":")[2]
        return Entry(index, source, resource, "", main, uuid if malformed else None, id, url, start)

    def _fate(self, entry: Entry, scope: Scope) -> str | None:
        if entry.start is None:
            return None
        if entry.full_url is None or entry.full_url.startswith("urn:"):
            return entry.full_url
        if not entry.full_url.startswith(scope.public + "/"):
            return AS_STORED
        return f"{entry.start.type}/{entry.id}"

    def _reveal(
        self,
        entries: list[Entry],
        shown: dict[int, JsonObject],
        met: dict[int, set[str]],
        scope: Scope,
    ) -> None:
        """Put the shown entries into ``shown``, by index, and into ``met`` what each refers to."""
        for entry in entries:
            scope.base, scope.url, scope.met = entry.base, entry.url, set()
            if entry.resource is None or entry.start is None:
                continue
            resource = self._resources.walk(entry.start, entry.resource, scope, entry.id)
            shown[entry.position] = self._envelope(entry, resource, scope)
            met[entry.position] = scope.met

    def _envelope(self, entry: Entry, resource: JsonObject, scope: Scope) -> JsonObject:
        out: JsonObject = {}
        if entry.full_url is not None:
            out["fullUrl"] = entry.full_url
        out["resource"] = resource
        search, request = entry.source.get("search"), entry.source.get("request")
        if isinstance(search, dict) and isinstance(search.get("mode"), str):
            out["search"] = {"mode": search["mode"]}
        if isinstance(request, dict) and isinstance(request.get("method"), str):
            url = self._request_url(request.get("url"), entry, scope)
            out["request"] = {"method": request["method"], "url": url}
        response = entry.source.get("response")
        if isinstance(response, dict) and isinstance(response.get("status"), str):
            out["response"] = {"status": response["status"]}
        return out

    def _request_url(self, text: Json, entry: Entry, scope: Scope) -> str:
        """``Type`` or ``Type/id``; what is neither becomes the type of the entry (bdl-3)."""
        reference = parse_reference(text, scope.bases.main)
        type_name, ours = reference.type, reference.base in scope.bases
        if reference.id and ours and type_name in RESOURCES and scope.shows(type_name):
            return f"{type_name}/{scope.show_id(type_name, reference.id)}"
        if is_among(text, RESOURCES):
            return str(text)
        return entry.start.type if entry.start else ""

    def links(self, obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
        """Bundle.link: only what names a resource or a type of the upstream."""
        shown: list[Json] = []
        for link in value if isinstance(value, list) else ():
            relation = link.get("relation") if isinstance(link, dict) else None
            text = link.get("url") if isinstance(link, dict) else None
            below = scope.bases.below(text) if isinstance(text, str) else None
            if below is None or below.query is not None or not isinstance(relation, str):
                continue
            type_name, _, id = below.path.partition("/")
            if type_name not in RESOURCES or not scope.shows(type_name):
                continue
            url = f"{scope.public}/{type_name}"
            if id:
                reference = parse_reference(below.path, scope.bases.main)
                if reference.kind != "relative":
                    continue
                url += "/" + scope.show_id(type_name, reference.id)
            shown.append({"relation": relation, "url": url})
        if shown:
            out[key] = shown


def _find_reports(entries: list[Entry]) -> tuple[set[int], set[int]]:
    """Of the entries, by position, the Compositions, and the Bundles that hold one at any depth."""
    held = [(e.position, e.resource.get("resourceType"), e.resource) for e in entries if e.resource]
    reports = {at for at, kind, _ in held if kind == "Composition"}
    return reports, {at for at, kind, r in held if kind == "Bundle" and _holds_report(r)}


def _holds_report(bundle: JsonObject) -> bool:
    inside = bundle.get("entry")
    for entry in inside if isinstance(inside, list) else ():
        held = entry.get("resource") if isinstance(entry, dict) else None
        kind = held.get("resourceType") if isinstance(held, dict) else None
        if kind == "Composition":
            return True
        if kind == "Bundle" and isinstance(held, dict) and _holds_report(held):
            return True
    return False


def _fate_by_id(entry: Entry, scope: Scope) -> str | None:
    """The fate of what is named by type and id alone: it is referred to as if the upstream held
    it."""
    id = (entry.resource or {}).get("id")
    type_name = entry.start.type if entry.start else ""
    return f"{type_name}/{scope.show_id(type_name, str(id))}" if type_name else None
