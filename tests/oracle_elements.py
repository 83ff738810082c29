"""Elements on their way out: one primitive or complex value under its rule."""

from __future__ import annotations

from tests import oracle_facts as facts
from tests.oracle_facts import Json, Prop, as_list, clean_dar
from tests.oracle_persons import method_of, move_weekdays, shift
from tests.oracle_required import Required
from tests.oracle_rules import (
    KEEP,
    REMOVE,
    Decision,
    Lineage,
    State,
    extend,
    is_document_identifier,
    relocate,
)
from tests.oracle_scope import Place
from tests.oracle_values import UCUM, transform

# Periods that a birth date can stand in.
AT_BIRTH = ("bornPeriod", "effectivePeriod", "valuePeriod")


class Elements(Required):
    """Elements under their rules."""

    def children(
        self,
        kind: str,
        value: dict[str, Json],
        state: State,
        lineage: Lineage | None,
        place: Place,
    ) -> dict[str, Json]:
        """What shows of the known members of an element, in source order."""
        known = facts.props(kind)
        out: dict[str, Json] = {}
        done = set()
        for key in value:
            name = key[1:] if key[:1] == "_" else key
            prop = known.get(name)
            if prop is None or name in done or name in ("id", "extension", "modifierExtension"):
                continue
            if len(lineage or ()) == 1 and name in ("meta", "contained"):
                continue
            if kind == "Bundle" and name in ("entry", "link", "total", "signature"):
                continue
            if key[:1] == "_" and not prop.primitive:
                continue
            done.add(name)
            out |= self.member(kind, value, prop, state, lineage, place)
        if kind == "FamilyMemberHistory" and not ({"ageAge", "ageRange", "ageString"} & set(out)):
            out.pop("estimatedAge", None)
        if kind == "Composition" and "title" in out:
            self.title(value, out, state, lineage, place)
        return out

    def member(
        self,
        kind: str,
        parent: dict[str, Json],
        prop: Prop,
        state: State,
        lineage: Lineage | None,
        place: Place,
    ) -> dict[str, Json]:
        """One property with its sibling, as shown; empty if it does not show."""
        value = parent.get(prop.name)
        sibling = parent.get("_" + prop.name) if prop.primitive else None
        if value is None and sibling is None:
            return {}
        if value is not None and isinstance(value, list) != prop.many:
            at = extend(lineage, prop, None)
            decision = self.decide(kind, parent, prop, None, state, at, place.context)
            if not decision.shows:
                return {}
            if self.required(kind, parent, prop):
                return facts.masked_property(prop)
            if prop.primitive:
                mask: Json = facts.dar()
                return (
                    {prop.name: [None], "_" + prop.name: [mask]}
                    if prop.many
                    else {"_" + prop.name: mask}
                )
            mask = facts.masked_complex(prop.code)
            return {prop.name: [mask] if prop.many else mask}
        if not prop.primitive:
            items: list[Json] = as_list(value) if prop.many else [value]
            shown = []
            for item in items:
                if item is None:
                    continue
                at = extend(lineage, prop, item)
                decision = self.decide(kind, parent, prop, item, state, at, place.context)
                result = self.complex(kind, parent, prop, item, decision, at, place)
                if result:
                    shown.append(result)
            if not shown:
                return {}
            if is_once(decision):
                del shown[1:]
            return {prop.name: shown if prop.many else shown[0]}
        if prop.many and sibling is not None and not isinstance(sibling, list):
            sibling = None
        pairs = align(value, sibling, prop.many)
        results = []
        required = self.required(kind, parent, prop)
        for item, beside in pairs:
            if item is None and beside is None:
                continue
            at = extend(lineage, prop, item)
            decision = self.decide(kind, parent, prop, item, state, at, place.context)
            pair = self.primitive(kind, parent, prop, item, beside, decision, required, place)
            if pair is not None:
                results.append(pair)
                if is_once(decision):
                    break
        return join(prop, results)

    def primitive(
        self,
        kind: str,
        parent: dict[str, Json],
        prop: Prop,
        value: Json,
        sibling: Json,
        decision: Decision,
        required: bool,
        place: Place,
    ) -> tuple[Json, Json] | None:
        """(value, sibling) as shown; None if hidden."""
        method = decision.method
        if method is None or method.name == "remove":
            return None
        masked: tuple[Json, Json] | None = (None, facts.dar())
        if required and prop.code in facts.LEGAL:
            masked = (facts.LEGAL[prop.code], None)
        if method.name == "mask":
            return masked if value is not None or sibling is not None else None
        held = sibling.get("extension") if isinstance(sibling, dict) else None
        if value is None:
            if decision.keeps:
                extensions = self.extensions(held, "top", place, dar=True)
            elif required and prop.code in facts.LEGAL:
                return masked
            else:
                extensions = [d for d in map(clean_dar, as_list(held)) if d]
            return (None, {"extension": extensions}) if extensions else None
        if not facts.has_json_type(prop.code, value):
            return masked
        if decision.keeps and not facts.is_well_formed(kind, prop, value):
            return masked
        moves = method.name == "shift"
        if moves and shift(prop.code, value, place.days) is None:
            return masked
        aged = self.aged(kind, parent, prop, value, place)
        if method.param("to") == "age-range":
            aged = None  # the oldest are one range
        if aged == "remove":
            return None
        if aged == "mask":
            return masked
        if aged is not None:
            value = aged
        if decision.keeps:
            extensions = self.extensions(held, "top", place)
            if (kind, prop.name) == ("Reference", "type") and not self.type_shows(value):
                return None
            if prop.code == "canonical":
                value = self.canonical(value, place)
                if value is None:
                    return None
            return value, ({"extension": extensions} if extensions else None)
        if moves:
            result = shift(prop.code, value, place.days)
            old = self.aged(kind, parent, prop, result, place) == "remove"
            return None if old else (result, None)
        namer, today = place.context.namer, place.context.today
        result = transform(
            method, prop.code, value, self.tables, namer, False, place.bearer, today=today
        )
        if result is None:
            return masked
        if isinstance(result, dict):
            return None, result
        if prop.code == "instant" and not required:
            return None
        return result, None

    def inside(self, resource: Json, place: Place) -> dict[str, Json] | None:
        """A resource that is the value of an element, as shown."""
        raise NotImplementedError

    def complex(
        self,
        kind: str,
        parent: dict[str, Json],
        prop: Prop,
        value: Json,
        decision: Decision,
        lineage: Lineage | None,
        place: Place,
    ) -> dict[str, Json] | None:
        """One complex item as shown; None if hidden."""
        code = prop.code
        if code == "Resource":
            return self.inside(value, place) if decision.keeps else None
        if not isinstance(value, dict):
            return facts.masked_complex(code, value) if decision.shows else None
        method = decision.method
        if not value and method is not None and method.name == "mask":
            return facts.masked_complex(code)
        if not value or self.withheld(code, value, place):
            return None
        template = relocate(lineage, prop) if lineage is not None else None
        if method is not None and method.name == "keep":
            return self.kept(kind, parent, prop, value, decision, template, place)
        by_type = decision.origin in ("type", "none")
        state = State("closed", method or REMOVE, members=by_type)
        opened = self.children(code, value, state, template, place)
        if method is None or method.name == "remove":
            if not opened:
                return None
            self.complete(code, value, opened, state, template, place)
            return opened
        if method.name == "mask":
            if code == "Identifier" and self.required(kind, parent, prop):
                above = lineage[:-1] if lineage else None
                stands = self.legal(kind, parent, prop, {}, above, place)
                return {**stands[prop.name], **opened}
            mask = facts.masked_complex(code, value) | opened
            if code == "Composition.section" and "entry" in opened:  # cmp-2
                mask.pop("emptyReason")
            return mask | opened
        absent = [d for d in map(clean_dar, as_list(value.get("extension"))) if d]
        if absent and not set(value) - {"id", "extension"}:
            return {"extension": absent}
        document = is_document_identifier(lineage)
        own = "." not in kind and kind != "Extension"
        namer = place.context.namer
        result = transform(
            method, code, value, self.tables, namer, document, place.bearer, own
        )
        if result is None:
            if code == "Identifier" and not lacks_value(value):
                return facts.masked_complex(code, value) | opened
            if code == "Identifier":
                return opened or None
            return facts.masked_complex(code, value) | opened
        assert isinstance(result, dict)
        if code in facts.QUANTITIES:
            coded = {k: v for k, v in result.items() if k in ("system", "code")}
            judged = {**value, "value": result["value"]}
            banded = self.aged(kind, parent, prop, judged, place)
            years = {"system": UCUM, "code": "a"} if coded else {}
            if banded == "mask":
                return facts.dar()
            result = {**banded, **years} if isinstance(banded, dict) else result
            if isinstance(banded, dict) and "unit" in opened:
                result["unit"] = "years"
            if not self.listed(result.get("system")):
                result = {k: v for k, v in result.items() if k not in ("system", "code")}
        return opened | result

    def kept(
        self,
        kind: str,
        parent: dict[str, Json],
        prop: Prop,
        value: dict[str, Json],
        decision: Decision,
        lineage: Lineage | None,
        place: Place,
    ) -> dict[str, Json] | None:
        """A complex item under ``keep``."""
        code = prop.code
        if (
            code == "Reference"
            and isinstance(value.get("reference"), str)
            and self.show_reference(value, place) is None
        ):
            return None
        identifying = code in facts.IDENTIFYING or code == "Coding"
        if decision.origin in ("cover-path", "cover-type"):
            state = State(decision.origin, KEEP)
        elif identifying and decision.origin in ("path", "type", "member"):
            state = State("cover-path" if decision.origin == "path" else "cover-type", KEEP)
        else:
            state = State("keep", KEEP)
        out: dict[str, Json] = {}
        with_value = bool(set(value) - {"id", "extension"})
        for key in value:  # in source order, for the numbers of contained resources
            if key == "extension":
                extensions = self.extensions(value[key], "top", place, dar=not with_value)
                if extensions:
                    out["extension"] = extensions
        out |= self.children(code, value, state, lineage, place)
        if code == "Reference" and isinstance(value.get("reference"), str):
            out["reference"] = self.show_reference(value, place)
        if "modifierExtension" in facts.props(code):
            modifiers = self.extensions(value.get("modifierExtension"), "top", place)
            if modifiers:
                out["modifierExtension"] = modifiers
        if code in facts.QUANTITIES and "code" in value and not {"code", "_code"} & set(out):
            out.pop("system", None)
        if code == "Timing.repeat" and method_of(self.policy) is not None:
            move_weekdays(out, place.days)
        banded = self.aged(kind, parent, prop, value, place)
        if prop.name in AT_BIRTH and banded is None and method_of(self.policy) is not None:
            end = "end" if value.get("start") is None else "start"
            if isinstance(out.get(end), str):
                banded = self.aged(kind, parent, prop, {end: out[end]}, place)
        if banded == "remove":
            return None
        out = self.band(code, banded, out)
        if "extension" in out and not with_value:
            return out
        self.complete(code, value, out, state, lineage, place)
        return out or None


def lacks_value(identifier: dict[str, Json]) -> bool:
    system = identifier.get("system")
    return identifier.get("value") is None and (system is None or isinstance(system, str))


def is_once(decision: Decision) -> bool:
    """Whether one masked item stands for all."""
    return decision.method is not None and decision.method.param("once") is True


def align(value: Json, sibling: Json, many: bool) -> list[tuple[Json, Json]]:
    """Values beside their siblings."""
    if not many:
        return [(value, sibling)]
    values = as_list(value)
    siblings = as_list(sibling)
    size = max(len(values), len(siblings))
    values = values + [None] * (size - len(values))
    siblings = siblings + [None] * (size - len(siblings))
    return list(zip(values, siblings, strict=True))


def join(prop: Prop, pairs: list[tuple[Json, Json]]) -> dict[str, Json]:
    """Pairs of value and sibling as JSON members."""
    if not pairs:
        return {}
    if not prop.many:
        value, beside = pairs[0]
        return ({} if value is None else {prop.name: value}) | (
            {} if beside is None else {"_" + prop.name: beside}
        )
    out: dict[str, Json] = {prop.name: [v for v, _ in pairs]}
    if any(b is not None for _, b in pairs):
        out["_" + prop.name] = [b for _, b in pairs]
    return out
