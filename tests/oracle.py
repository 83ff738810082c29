"""The slow evaluator: what a policy shows of a resource, straight from the language's text.

It asks at every element "which rule does this element take?" and knows nothing of the compiled
walk: it imports the R4 facts and the parsed Policy only. Where the two disagree, one is wrong.

AMBIGUITIES, and how they are read here:

* A branch (``valueQuantity``) is more specific than its choice (``value[x]``) of equal length.
* A path rule on a Coding covers it whatever its system; a ``Coding`` line is for those whose
  system is not listed. An entry of ``[codes]`` is one system and
  what is below it, or, where it ends in ``/``, ``.``, ``:`` or ``-``, a plain string prefix.
* A member's line on a structural member (``Identifier.type``) makes that member structurally kept.
* Under a parent that is removed, masked or transformed a contentReference child never shows.
* A value opened by members or longer paths only shows no extensions of its own.
* A listed modifierExtension that comes out empty, or stands where R4 has none, withholds like an
  unlisted one.
* Malformed means: wrong JSON type or cardinality, or a text not in the form of its type. Whether a
  code is one of its value set is not asked.
* Hidden items of a required list go; one masked item stands where none is left.
* A document's entry goes if the Composition reached it as stored and no longer reaches it as shown.
"""

from __future__ import annotations

from tests import oracle_facts as facts
from tests.oracle_anonymized import (
    UNKNOWN,
    age_name,
    is_eicr,
    is_report,
    new_identifier,
    put_age,
)
from tests.oracle_bundles import Bundles, nowhere, references
from tests.oracle_facts import Json, as_list
from tests.oracle_narrative import narrate
from tests.oracle_persons import days_of, method_of, shift
from tests.oracle_rules import KEEP, State, Step
from tests.oracle_scope import BundleScope, Contained, Context, Place
from tests.oracle_values import pseudonymize

LABELS = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"


class Oracle(Bundles):
    """A policy, evaluated slowly."""

    def reveal(self, resource: Json, context: Context) -> Json | None:
        """The resource as shown; None if it is withheld."""
        if not facts.is_resource(resource):
            return None
        kind, real = resource["resourceType"], resource.get("id")
        identity = f"{context.bases[0]}/{kind}/{real}" if isinstance(real, str) else ""
        shown_id = self.show_id(kind, real, context) if isinstance(real, str) and real else None
        return self.resource(resource, identity, shown_id, None, context)

    def resource(
        self,
        resource: Json,
        identity: str,
        shown_id: str | None,
        bundle: BundleScope | None,
        context: Context,
        judged: Json = None,
    ) -> dict[str, Json] | None:
        if not self.shows_resource(resource, context):
            return None
        held = resource.get("contained")
        inside = {
            c["id"]: c
            for c in reversed(held if isinstance(held, list) else [])
            if isinstance(c, dict) and isinstance(c.get("id"), str)
        }
        kind = resource["resourceType"]
        contained = Contained(
            inside,
            lambda r: (
                self.shows_resource(r, context, True) and self.root_method(r, context) != "pass"
            ),
            self.pseudonymous(kind),
        )
        place = Place(context, identity, bundle, contained)
        out = self.body(resource, shown_id, place, judged=judged)
        if out is None or self.root_method(resource, context) == "pass":
            return out
        shown = self.contained(held, place) if inside else []
        if shown:
            out["contained"] = shown
        narrate(out)
        return out

    def inside(self, resource: Json, place: Place) -> dict[str, Json] | None:
        if not facts.is_resource(resource):
            return None
        kind, real = resource["resourceType"], resource.get("id")
        named = isinstance(real, str) and bool(real)
        identity = f"{place.base}/{kind}/{real}" if named else place.identity
        shown_id = self.show_id(kind, real, place.context) if named else None
        return self.resource(resource, identity, shown_id, place.bundle, place.context)

    def root_method(self, resource: Json, context: Context) -> str:
        kind = resource["resourceType"]
        return self.effective((Step(kind, kind, kind, resource),), context, True).name

    def body(
        self,
        resource: Json,
        shown_id: str | None,
        place: Place,
        inside: bool = False,
        judged: Json = None,
    ) -> dict[str, Json] | None:
        """The resource without its contained ones."""
        before = place.days
        if (method := method_of(self.policy)) is not None:
            place.days = days_of(resource, place, inside, method)
        try:
            return self.made(resource, judged or resource, shown_id, place, inside)
        finally:
            place.days = before

    def made(
        self, resource: Json, judged: Json, shown_id: str | None, place: Place, inside: bool
    ) -> dict[str, Json] | None:
        kind = resource["resourceType"]
        if self.root_method(resource, place.context) == "pass":
            for reference in references(resource):
                self.show_reference({"reference": reference}, place)
            return dict(resource) if shown_id is None else {**resource, "id": shown_id}
        out: dict[str, Json] = {"resourceType": kind}
        if shown_id is not None:
            out["id"] = shown_id
        if not inside and (meta := self.meta(resource.get("meta"), place)):
            out["meta"] = meta
        lineage = (Step(kind, kind, kind, judged),)
        state = State("keep", KEEP)
        if kind == "Bundle":
            self.bundle_members(resource, out, place)
        out |= self.children(kind, resource, state, lineage, place)
        if extensions := self.extensions(resource.get("extension"), "top", place):
            out["extension"] = extensions
        if extensions := self.extensions(resource.get("modifierExtension"), "top", place):
            out["modifierExtension"] = extensions
        self.complete(kind, resource, out, state, lineage, place)
        if self.policy.document:
            self.anonymize(resource, out, place)
        return out

    def anonymize(self, resource: Json, out: dict[str, Json], place: Place) -> None:
        """What an anonymized document has anew, into ``out``."""
        today, own = place.context.today.isoformat(), resource.get("identifier")
        kinds = (resource["resourceType"], resource.get("type"))
        if kinds == ("Bundle", "document") and is_report(resource):
            out["identifier"] = new_identifier(own, place)
            out["timestamp"] = f"{today}T00:00:00Z"
        if not is_eicr(resource):
            return
        original = out.get("identifier")
        if not isinstance(original, dict) or not {"value", "_value", "extension"} & set(original):
            original = pseudonymize(own, place.context.namer, True) or UNKNOWN
        relations = [{"code": "transforms", "targetIdentifier": original}]
        for item in as_list(resource.get("relatesTo")) if "relatesTo" in out else ():
            if isinstance(item, dict) and item.get("code") in ("replaces", "appends"):
                relations += self.relation(item, place)
        out |= {"identifier": new_identifier(own, place), "date": today, "relatesTo": relations}
        if self.shows_type("Observation"):
            name = age_name(place.identity, place.context)
            out["section"] = put_age(out.get("section"), {"reference": name})

    def relation(self, item: dict[str, Json], place: Place) -> list[dict[str, Json]]:
        """A relation that the anonymized document has to others, if what it leads to shows."""
        shown: dict[str, Json] = {"code": item["code"]}
        identifier, reference = item.get("targetIdentifier"), item.get("targetReference")
        if isinstance(identifier, dict) and isinstance(identifier.get("value"), str):
            shown["targetIdentifier"] = new_identifier(identifier, place)
        elif isinstance(reference, dict) and isinstance(reference.get("reference"), str):
            named = self.show_reference(reference, place)
            if named is None:
                return []
            shown["targetReference"] = {"reference": named}
        else:
            return []
        if extensions := self.extensions(item.get("extension"), "top", place):
            shown["extension"] = extensions
        return [shown]

    def contained(self, held: list[Json], place: Place) -> list[Json]:
        """The contained resources that are shown, in source order."""
        bodies: dict[str, Json] = {}
        scope = place.contained

        def show(name: str) -> None:
            reference = scope.show(name)
            assert reference is not None
            place.names_container, place.part = False, name
            bodies[name] = self.body(scope.resources[name], reference[1:], place, inside=True)
            if bodies[name] is not None:
                narrate(bodies[name])

        def follow() -> None:
            while waiting := [n for n in scope.numbers if n not in bodies]:
                show(waiting[0])

        follow()
        for name, resource in scope.resources.items():
            if name not in bodies and scope.shows(resource) and self.points_back(resource, place):
                show(name)
                follow()
        return [
            bodies[r["id"]]
            for r in held
            if isinstance(r, dict)
            and bodies.get(str(r.get("id")))
            and scope.resources[r["id"]] is r
        ]

    def points_back(self, resource: Json, place: Place) -> bool:
        """Whether the contained resource shows a reference to its container."""
        trial = nowhere(place.context)
        trial.contained = Contained(
            place.contained.resources, place.contained.shows, place.contained.pseudonym
        )
        self.body(resource, "x", trial, inside=True)
        return trial.names_container

    def meta(self, source: Json, place: Place) -> dict[str, Json]:
        out: dict[str, Json] = {}
        stored = source if isinstance(source, dict) else {}
        line = self.line("Meta.lastUpdated")
        updated = stored.get("lastUpdated")
        if line and line.name == "keep" and facts.read_day("instant", updated):
            out["lastUpdated"] = updated
        if line and line.name == "shift" and (moved := shift("instant", updated, place.days)):
            out["lastUpdated"] = moved
        profiles = stored.get("profile")
        if isinstance(profiles, list):
            listed = [p for p in profiles if isinstance(p, str) and p in self.policy.profiles]
            if listed:
                out["profile"] = listed
        if self.policy.labels:
            out["security"] = [{"system": LABELS, "code": x} for x in self.policy.labels]
        return out
