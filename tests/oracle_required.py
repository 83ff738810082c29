"""What must be there: required elements that a rule hides, and what stands for them."""

from __future__ import annotations

from proxy.policy.model import Method
from tests import oracle_facts as facts
from tests.oracle_extensions import Extensions
from tests.oracle_facts import Json, Prop, as_list
from tests.oracle_rules import Lineage, State, extend, is_document_identifier, names_prefix
from tests.oracle_scope import Context, Place
from tests.oracle_values import transform


class Required(Extensions):
    """Required elements and the invariants that demand one."""

    def complete(
        self,
        kind: str,
        value: dict[str, Json],
        out: dict[str, Json],
        state: State,
        lineage: Lineage | None,
        place: Place,
    ) -> None:
        """Add what must be there to ``out``, in place: where the rule hides it, or had been."""
        for prop in facts.props(kind).values():
            if not self.required(kind, value, prop):
                continue
            if {prop.name, "_" + prop.name} & set(out) or prop.code == "Resource":
                continue
            if kind == "Bundle" and prop.name in ("link", "entry"):
                continue
            had = value.get(prop.name) is not None or value.get("_" + prop.name) is not None
            if not had and (prop.choice or prop.code == "Identifier"):
                continue
            if had or self.hides(kind, prop, state, lineage, place.context):
                out |= self.legal(kind, value, prop, out, lineage, place)
        if kind in facts.ONE_OF:
            several, one = facts.ONE_OF[kind]
            prop = facts.props(kind)[one]
            if not ({x for n in several for x in (n, "_" + n)} & set(out)):
                had = any(value.get(n) or value.get("_" + n) for n in several)
                if had or self.hides(kind, prop, state, lineage, place.context):
                    out |= facts.masked_property(prop)

    def hides(
        self,
        kind: str,
        prop: Prop,
        state: State,
        lineage: Lineage | None,
        context: Context,
    ) -> bool:
        """Whether the rule, not the data, hides the property: with no predicate selecting."""
        at = extend(lineage, prop, None)
        listed = {"system": (self.policy.codes or ("",))[0], "code": "x"}
        decision = self.decide(kind, listed, prop, listed, state, at, context, judge=False)
        if decision.shows:
            return False
        if decision.origin in ("type", "none") and any(
            key.startswith(facts.line_type(prop.code) + ".") for key in self.policy.datatypes
        ):
            return False
        return at is None or not any(
            len(r.steps) > len(at) and names_prefix(r, at) for r in self.policy.elements
        )

    def legal(
        self,
        kind: str,
        value: dict[str, Json],
        prop: Prop,
        out: dict[str, Json],
        lineage: Lineage | None,
        place: Place,
    ) -> dict[str, Json]:
        """The property as it stands where it is required and hidden."""
        if prop.code == "Identifier":
            stored = value.get(prop.name)
            first = (stored[0] if stored else None) if isinstance(stored, list) else stored
            document = is_document_identifier(extend(lineage, prop, first))
            if isinstance(first, dict):
                shown = transform(
                    Method("pseudonymize"),
                    "Identifier",
                    first,
                    self.tables,
                    place.context.namer,
                    document,
                )
                if shown is not None:
                    return {prop.name: [shown] if prop.many else shown}
        if (kind, prop.name) == ("Composition", "title"):
            return {"title": self.own_title(out)}
        return facts.masked_property(prop, value.get(prop.name))

    def title(
        self,
        value: dict[str, Json],
        out: dict[str, Json],
        state: State,
        lineage: Lineage | None,
        place: Place,
    ) -> None:
        """A masked title shows our name for the document's type."""
        prop = facts.props("Composition")["title"]
        at = extend(lineage, prop, value.get("title"))
        decision = self.decide(
            "Composition", value, prop, value.get("title"), state, at, place.context
        )
        if out["title"] == "masked" and not (decision.keeps and value.get("title") == "masked"):
            out["title"] = self.own_title(out)

    def own_title(self, out: dict[str, Json]) -> str:
        for coding in as_list((out.get("type") or {}).get("coding")):
            if (
                coding.get("system") == "http://loinc.org"
                and coding.get("code") in self.tables.titles
            ):
                return self.tables.titles[coding["code"]]
        return "masked"

    def required(self, kind: str, value: Json, prop: Prop) -> bool:
        if kind == "Bundle" and prop.name in ("identifier", "timestamp"):
            return isinstance(value, dict) and value.get("type") == "document"  # bdl-9, bdl-10
        return prop.element.min > 0
