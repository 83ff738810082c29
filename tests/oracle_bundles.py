"""Bundles: which entries show, under which names, and what a document no longer reaches."""

from __future__ import annotations

from collections.abc import Iterator

from tests import oracle_facts as facts
from tests.oracle_anonymized import (
    CARE,
    age_name,
    age_observation,
    age_of,
    as_care,
    as_unknown,
    heads,
    is_eicr,
    is_job,
    least_employer,
    names_of,
    of_work,
    says_what_it_is,
    telling,
    texts,
)
from tests.oracle_elements import Elements
from tests.oracle_facts import Json, as_list
from tests.oracle_persons import case_of, method_of
from tests.oracle_rows import exists
from tests.oracle_rules import Step, extend, holds
from tests.oracle_scope import (
    BundleScope,
    Contained,
    Context,
    Place,
    bundle_scope,
    identify,
    is_type,
    split,
    upstream_id,
)


class Bundles(Elements):
    """Bundles under the policy."""

    def resource(
        self,
        resource: Json,
        identity: str,
        shown_id: str | None,
        bundle: BundleScope | None,
        context: Context,
        judged: Json = None,
    ) -> dict[str, Json] | None:
        """One resource as shown; None if it does not show. ``judged``: what predicates on it as a
        whole are judged on, if it is not itself."""
        raise NotImplementedError

    def shows_resource(self, resource: Json, context: Context, contained: bool = False) -> bool:
        """Whether the resource's type rule shows it, no modifierExtension withholds it, its type's
        rows have it, and it bears the labels that are required (a contained one has none)."""
        if not facts.is_resource(resource):
            return False
        kind = resource["resourceType"]
        if not exists(self.policy, resource, context):
            return False
        method = self.effective((Step(kind, kind, kind, resource),), context, True)
        return method.name == "pass" or (
            method.name == "keep"
            and not self.withheld(kind, resource, nowhere(context))
            and (contained or all(bears(resource, x) for x in self.policy.requires))
        )

    def bundle_members(self, bundle: Json, out: dict[str, Json], place: Place) -> None:
        """Links and entries of a Bundle, into ``out``."""
        context = place.context
        lineage = (Step("Bundle", "Bundle", "Bundle", bundle),)
        links = [
            shown for link in as_list(bundle.get("link")) if (shown := self.link(link, context))
        ]
        if links:
            out["link"] = links
        scope = bundle_scope(bundle, place.identity, place.bundle, context)
        method = method_of(self.policy)
        if method is not None and case_of(bundle, place.identity, place.bundle, place, method):
            scope.days = place.days
        prop = facts.props("Bundle")["entry"]
        for index, entry in enumerate(scope.entries):
            at = extend(lineage, prop, entry)
            if (
                self.effective(at or lineage, context, True).name != "keep"
                or not self.shows_resource(entry.get("resource"), context)
                or self.withheld("Bundle.entry", entry, nowhere(context))
            ):
                scope.hidden.add(index)
        scope.never = set(scope.hidden)
        while True:
            if place.bundle is not None:
                place.bundle.edges.pop(place.bundle.at, None)
            scope.edges.clear()
            shown_entries = {
                index: self.entry(entry, index, scope, context)
                for index, entry in enumerate(scope.entries)
                if index not in scope.hidden
            }
            gone = {index for index, entry in shown_entries.items() if entry is None}
            if bundle.get("type") == "document":
                stored, now = self.stored_edges(scope, context), scope.edges
                lost = reach(stored, 0) - reach(now, 0)
                lost |= reach(both_ways(stored), 0) - reach(both_ways(now), 0)
                gone |= lost - scope.hidden
            if self.hides_sections:
                stored, heads = self.stored_edges(scope, context), heads_of(scope)
                gone |= unreached(stored, scope.edges, heads) - scope.hidden
            if not gone:
                break
            scope.hidden |= gone
        entries = [entry for entry in shown_entries.values() if entry]
        if self.policy.document and entries and bundle.get("type") in ("document", "message"):
            entries = self.anonymized(bundle, shown_entries, scope, context)
        if entries:
            out["entry"] = entries

    @property
    def hides_sections(self) -> bool:
        """Whether a line without a predicate hides sections or what they list."""
        lines = {
            ".".join(step.name for step in rule.steps): rule.method.name
            for rule in self.policy.elements
            if not any(step.predicate for step in rule.steps)
        }
        of_sections = {lines.get("Composition.section"), lines.get("Composition.section.entry")}
        return self.shows_type("Composition") and not of_sections.isdisjoint({"mask", "remove"})

    def anonymized(
        self,
        bundle: Json,
        shown: dict[int, dict[str, Json] | None],
        scope: BundleScope,
        context: Context,
    ) -> list[Json]:
        """The entries of a document or message, facilities as such, with those that are made."""
        told = set().union(
            *(ends & self.told_by(index, scope, scope, context)
              for index, ends in scope.edges.items())
        )  # fmt: skip
        for index in told:
            kind = scope.entry_type(index)
            entry = scope.entries[index]
            known = kind in CARE and bool(shown.get(index))
            known = known and not says_what_it_is(entry["resource"])
            if known and self.shows_resource(as_care(entry["resource"]), context):
                scope.care.add(index)
                shown[index] = self.entry(entry, index, scope, context)
        named = set().union(*(texts(entry["resource"]) for entry in shown.values() if entry))
        entries: list[Json] = [each for _, each in sorted(shown.items()) if each]
        employers: list[dict[str, Json]] = []
        for index, entry in enumerate(scope.entries):
            if index in scope.never or scope.entry_type(index) != "Organization":
                continue
            for name in names_of(scope, index):
                url = context.namer.show_uri(f"{name}#employer")
                unknown = as_unknown(entry["resource"])
                if url in named and self.shows_resource(unknown, context):
                    copy = self.resource(
                        least_employer(), url, url.removeprefix("urn:uuid:"),
                        scope, context, unknown,
                    )  # fmt: skip
                    employers.append({"fullUrl": url, "resource": copy})
        entries += sorted(employers, key=lambda one: str(one["fullUrl"]))
        if bundle.get("type") == "document" and self.shows_type("Observation"):
            for index in heads(bundle):
                head = shown.get(index)
                if head and is_eicr(scope.entries[index]["resource"]):
                    entries.append(self.age(index, head["resource"], scope, context))
        return entries

    def told_by(
        self, index: int, inner: BundleScope, outer: BundleScope, context: Context
    ) -> set[int]:
        """The entries of ``outer`` that an entry of ``inner``, which it is or holds, tells of that
        they give care."""
        resource, identity = inner.entries[index]["resource"], inner.identities[index]
        if identity in listed_as_work(inner, context):
            return set()
        if resource["resourceType"] == "Bundle":
            within = bundle_scope(resource, identity, inner, context)
            held = [i for i, e in enumerate(within.entries) if isinstance(e.get("resource"), dict)]
            return set().union(*(self.told_by(i, within, outer, context) for i in held))
        if self.is_mute(resource, context):
            return set()
        base = (split(identity) or ("",))[0] or context.bases[0]
        texts = references(telling(resource, resource["resourceType"]))
        return {i for text in texts for i in outer.named(identify(text, base, context))}

    def is_mute(self, resource: dict[str, Json], context: Context) -> bool:
        """Whether what it refers to may be anything: a job's employer, the keeper of a place that
        says to be something else than a facility."""
        if resource["resourceType"] not in CARE:
            return is_job(resource)
        if not says_what_it_is(resource):
            return False
        return self.selected(resource, context) == self.selected(as_unknown(resource), context)

    def selected(self, resource: dict[str, Json], context: Context) -> set[str]:
        """The predicates on the type that hold of a resource."""
        kind = resource["resourceType"]
        step = Step(kind, kind, kind, resource)
        firsts = {rule.steps[0] for rule in self.policy.elements}
        found = {first.predicate for first in firsts if first.name == kind and first.predicate}
        return {predicate for predicate in found if holds(predicate, step, context)}

    def age(self, at: int, composition: Json, scope: BundleScope, context: Context) -> Json:
        """The entry of the calculated age that the shown Composition lists."""
        name = age_name(scope.url(at), context)
        shown = (composition.get("subject") or {}).get("reference")
        head = scope.entries[at]["resource"]
        birth_date = None
        if shown:
            patient = self.patient(head["subject"]["reference"], at, head, scope, context)
            birth_date = (patient or {}).get("birthDate")
        if shown and shown.startswith("#"):
            shown = None
        if shown and not shown.startswith(("urn:", "http", "#")):
            shown = f"{context.public}/{shown}"
        quantity = age_of(birth_date, context, self.policy.ages)
        meta = self.meta(None, nowhere(context))
        return {
            "fullUrl": name,
            "resource": age_observation(name, shown, quantity, meta, context),
        }

    def patient(
        self, text: str, at: int, head: Json, scope: BundleScope, context: Context
    ) -> Json:
        """The Patient whom a Composition is about, contained in it or in the Bundles around."""
        if text.startswith("#"):
            held = [c for c in as_list(head.get("contained")) if isinstance(c, dict)]
            found = [c for c in held if c.get("id") == text[1:]][:1]
            return next((c for c in found if c.get("resourceType") == "Patient"), None)
        base = (split(scope.identities[at]) or ("",))[0] or context.bases[0]
        name = identify(text, base, context)
        for around in scope.around():
            for index in around.named(name):
                if index not in around.never and around.entry_type(index) == "Patient":
                    return around.entries[index]["resource"]
        return None

    def meta(self, source: Json, place: Place) -> dict[str, Json]:
        """The meta that is made for a resource."""
        raise NotImplementedError

    def stored_edges(self, scope: BundleScope, context: Context) -> dict[int, set[int]]:
        edges: dict[int, set[int]] = {}
        for index, entry in enumerate(scope.entries):
            base = (split(scope.identities[index]) or ("",))[0] or context.bases[0]
            for name in outward(entry.get("resource"), base, context):
                edges.setdefault(index, set()).update(scope.named(name))
        return edges

    def entry(
        self, entry: Json, index: int, scope: BundleScope, context: Context
    ) -> dict[str, Json] | None:
        resource, identity = entry["resource"], scope.identities[index]
        kind = resource["resourceType"]
        scope.at = index
        stored = entry.get("fullUrl")
        real = resource.get("id")
        if upstream := upstream_id(identity, context):
            shown_id: str | None = self.show_id(*upstream, context)
            full: str | None = f"{context.public}/{upstream[0]}/{shown_id}"
        elif not self.pseudonymous(kind):
            shown_id = real if isinstance(real, str) else None
            full = stored if isinstance(stored, str) else None
        else:
            full = context.namer.show_uri(identity)
            shown_id = self.put_id(entry, kind, context) or full.removeprefix("urn:uuid:")
        judged = as_care(resource) if index in scope.care else None
        shown = self.resource(resource, scope.url(index), shown_id, scope, context, judged)
        if shown is None:
            return None
        out: dict[str, Json] = {}
        if stored is not None and full is not None:
            out["fullUrl"] = full
        out["resource"] = shown
        place = Place(context, identity, scope, nowhere(context).contained)
        if extensions := self.extensions(entry.get("extension"), "top", place):
            out["extension"] = extensions
        if extensions := self.extensions(entry.get("modifierExtension"), "top", place):
            out["modifierExtension"] = extensions
        search = entry.get("search")
        if isinstance(search, dict) and isinstance(search.get("mode"), str):
            out["search"] = {"mode": search["mode"]}
        request = entry.get("request")
        if isinstance(request, dict) and isinstance(request.get("method"), str):
            url = self.request_url(request.get("url"), context) or kind
            out["request"] = {"method": request["method"], "url": url}
        response = entry.get("response")
        if isinstance(response, dict) and isinstance(response.get("status"), str):
            out["response"] = {"status": response["status"]}
            location = response.get("location")
            url = self.request_url(location, context)
            if url and "/" in url:
                out["response"]["location"] = url
        return out

    def put_id(self, entry: Json, kind: str, context: Context) -> str | None:
        """The shown id under which a batch is to store the entry."""
        request = entry.get("request")
        if not isinstance(request, dict) or request.get("method") != "PUT":
            return None
        identity = identify(request.get("url"), context.bases[0], context)
        upstream = upstream_id(identity, context) if identity else None
        mine = upstream is not None and upstream[0] == kind
        return self.show_id(kind, upstream[1], context) if upstream and mine else None

    def request_url(self, text: Json, context: Context) -> str | None:
        if not isinstance(text, str):
            return None
        path = text.split("?")[0]
        if is_type(path):
            return path if self.shows_type(path) else None
        identity = identify(path, context.bases[0], context)
        upstream = upstream_id(identity, context) if identity else None
        if upstream and is_type(upstream[0]) and self.shows_type(upstream[0]):
            return f"{upstream[0]}/{self.show_id(*upstream, context)}"
        return None

    def link(self, link: Json, context: Context) -> dict[str, Json] | None:
        if not isinstance(link, dict) or not isinstance(link.get("relation"), str):
            return None
        text = link.get("url")
        for base in context.bases:
            if isinstance(text, str) and text.startswith(base + "/"):
                url = self.request_url(text[len(base) + 1 :], context)
                if url and "?" not in text:
                    return {"relation": link["relation"], "url": f"{context.public}/{url}"}
        return None


def listed_as_work(scope: BundleScope, context: Context) -> set[str]:
    """The identities of what Compositions list in sections about work."""
    found = set()
    for index, entry in enumerate(scope.entries):
        if scope.entry_type(index) == "Composition":
            base = (split(scope.identities[index]) or ("",))[0] or context.bases[0]
            for section in of_work(entry["resource"].get("section")):
                names = (identify(text, base, context) for text in references(section))
                found |= {name for name in names if name}
    return found


def bears(resource: Json, label: str) -> bool:
    """Whether a resource is labelled so."""
    meta = resource.get("meta")
    held = as_list(meta.get("security")) if isinstance(meta, dict) else []
    system = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
    return any(
        isinstance(c, dict) and c.get("system") == system and c.get("code") == label for c in held
    )


def nowhere(context: Context) -> Place:
    """A place for judging alone: nothing contained, no Bundle around."""
    return Place(context, "", None, Contained({}, lambda r: False, True))


def heads_of(scope: BundleScope) -> dict[int, str]:
    """The entries that are or hold Compositions, with their types."""
    found = {}
    for index, entry in enumerate(scope.entries):
        kind = scope.entry_type(index)
        if kind == "Composition" or (kind == "Bundle" and has_report(entry["resource"])):
            found[index] = kind
    return found


def has_report(bundle: Json) -> bool:
    """Whether a Bundle holds a Composition, itself or in a Bundle."""
    held = [e.get("resource") for e in as_list(bundle.get("entry")) if isinstance(e, dict)]
    kinds = [(r.get("resourceType"), r) for r in held if isinstance(r, dict)]
    return any(k == "Composition" or (k == "Bundle" and has_report(r)) for k, r in kinds)


def unreached(
    stored: dict[int, set[int]], now: dict[int, set[int]], heads: dict[int, str]
) -> set[int]:
    """What reports lead to by what is stored and not by what shows, and what hangs on that alone.
    A Bundle to which another report leads begins nothing."""
    reports = [index for index, kind in heads.items() if kind == "Composition"]
    others = [index for index in heads if index not in reach(stored, *reports)]
    begins = set(reports)
    for index in others:
        over = {other for other in others if index in reach(stored, other)}
        mutual = over & reach(stored, index)
        if over == mutual and index == min(mutual):
            begins.add(index)
    dead = reach(stored, *begins) - reach(now, *begins)
    alive = {start: ends - dead for start, ends in stored.items() if start not in dead}
    around = reach(both_ways(stored), *begins)
    return dead | (around - reach(both_ways(alive), *begins))


def reach(edges: dict[int, set[int]], *starts: int) -> set[int]:
    """The entries that some reach, themselves too."""
    found, waiting = set(starts), [*starts]
    while waiting:
        for index in edges.get(waiting.pop(), ()):
            if index not in found:
                found.add(index)
                waiting.append(index)
    return found


def both_ways(edges: dict[int, set[int]]) -> dict[int, set[int]]:
    """The same links, each also backwards."""
    found = {index: set(others) for index, others in edges.items()}
    for index, others in edges.items():
        for other in others:
            found.setdefault(other, set()).add(index)
    return found


def outward(resource: Json, base: str, context: Context) -> set[str | None]:
    """The identities that a stored resource refers to; of what a Bundle holds, those outside."""
    if not (isinstance(resource, dict) and resource.get("resourceType") == "Bundle"):
        return {identify(text, base, context) for text in references(resource)}
    inside, found = bundle_scope(resource, "", None, context), set[str | None]()
    for index, entry in enumerate(inside.entries):
        own = (split(inside.identities[index]) or ("",))[0] or context.bases[0]
        found |= outward(entry.get("resource"), own, context)
    return {name for name in found if not inside.named(name)}


def references(value: Json) -> Iterator[str]:
    """Every literal reference at any depth of stored data."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)
