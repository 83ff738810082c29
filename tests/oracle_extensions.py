"""Which extensions show, and what a modifierExtension withholds."""

from __future__ import annotations

import re

from tests import oracle_facts as facts
from tests.oracle_ages import Ages
from tests.oracle_anonymized import EMPLOYER, employer
from tests.oracle_facts import Json, Prop, as_list, clean_dar
from tests.oracle_rules import KEEP, Lineage, State
from tests.oracle_scope import BundleScope, Contained, Place


class Extensions(Ages):
    """``[extensions]`` of the policy."""

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
        raise NotImplementedError

    def extensions(
        self, source: Json, opened: str | tuple[str, ...], place: Place, dar: bool = False
    ) -> list[Json]:
        """The extensions that show. ``opened``: ``top`` (on an element), ``all`` or the part names
        (inside an extension). ``dar``: the bearer has no value, so its reason may stay."""
        shown = []
        for item in as_list(source):
            result = self.extension(item, opened, place)
            if result is None and dar:
                result = clean_dar(item)
            if result is not None:
                shown.append(result)
        return shown

    def extension(
        self, item: Json, opened: str | tuple[str, ...], place: Place
    ) -> dict[str, Json] | None:
        if not isinstance(item, dict) or not isinstance(item.get("url"), str):
            return None
        url = item["url"]
        if re.search(r"\s", url) or not url:
            return None
        absolute = re.match(r"[A-Za-z][A-Za-z0-9+.\-]*:", url) is not None
        if opened == "top" or absolute:
            rule = self.policy.extensions.get(url)
            if rule is None:
                return None
            parts, value = rule.parts, rule.parts is not None and "value[x]" in rule.parts
        elif opened == "all":
            parts, value = None, False
        else:
            value = f"{url}.value[x]" in opened
            if url in opened:
                parts = None
            elif value:
                parts = ()
            else:
                return None
        if self.withheld("Extension", item, place):
            return None
        if self.policy.document and url == EMPLOYER:
            found = employer(item, place)
            if found != "other":
                return found if isinstance(found, dict) else None
        out: dict[str, Json] = {"url": url}
        known = facts.props("Extension")
        no_value = not any(k.lstrip("_") in known and k.lstrip("_")[:5] == "value" for k in item)
        done = set()
        for key in item:
            if key == "extension":
                inner = self.extensions(
                    item[key], "all" if parts is None else parts, place, dar=no_value
                )
                if inner:
                    out["extension"] = inner
            prop = known.get(key.lstrip("_"))
            if prop is None or not prop.choice or prop.name in done:
                continue
            if key[:1] == "_" and not prop.primitive:
                continue
            done.add(prop.name)
            if value:
                out |= self.member("Extension", item, prop, State("cover-path", KEEP), None, place)
            elif parts is None:
                out |= self.member("Extension", item, prop, State("keep", KEEP), None, place)
        return out if len(out) > 1 else None

    def withheld(self, kind: str, bearer: dict[str, Json], place: Place) -> bool:
        """Whether a modifierExtension withholds what bears it."""
        source = bearer.get("modifierExtension")
        if source is None or source == []:
            return False
        if not isinstance(source, list) or "modifierExtension" not in facts.props(kind):
            return True  # it could not be shown, and so what it modifies would say another thing
        trial = Place(
            place.context,
            place.identity,
            quiet(place.bundle),
            Contained(
                place.contained.resources,
                place.contained.shows,
                place.contained.pseudonym,
                dict(place.contained.numbers),
            ),
        )
        return any(self.extension(item, "top", trial) is None for item in source)


def quiet(scope: BundleScope | None) -> BundleScope | None:
    """The Bundles around, without memory of what is referred to."""
    if scope is None:
        return None
    return BundleScope(
        scope.identity, scope.identities, scope.entries, scope.hidden, quiet(scope.outer)
    )
