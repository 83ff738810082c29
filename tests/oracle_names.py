"""What things are called in a view: ids, references, canonicals."""

from __future__ import annotations

from tests.oracle_facts import Json
from tests.oracle_rules import Rules
from tests.oracle_scope import Context, Place, identify, is_type, split, upstream_id


class Names(Rules):
    """The names that the policy shows."""

    def pseudonymous(self, kind: str) -> bool:
        return self.policy.ids.get(kind, self.policy.ids_default) == "pseudonym"

    def show_id(self, kind: str, real: str, context: Context) -> str:
        return context.namer.show_id(kind, real) if self.pseudonymous(kind) else real

    def type_shows(self, value: Json) -> bool:
        name = value.rpartition("/")[2] if isinstance(value, str) else ""
        return self.shows_type(name) if is_type(name) else True

    def show_reference(self, source: dict[str, Json], place: Place) -> str | None:
        """The shown text of a literal reference; None if what it names does not show."""
        text, context = source["reference"], place.context
        if not isinstance(text, str):
            return None
        if text == "#":
            place.names_container = True
            return text
        if text.startswith("#"):
            return place.contained.show(text[1:])
        identity = identify(text, place.base, context)
        if identity is None:
            return None
        for scope in place.bundle.around() if place.bundle else ():
            if indexes := scope.named(identity):
                if indexes[0] in scope.hidden:
                    return None
                scope.edges.setdefault(scope.at, set()).update(indexes)
                return self.name(identity, scope.entry_type(indexes[0]), context)
        if upstream := upstream_id(identity, context):
            if not is_type(upstream[0]) or not self.shows_type(upstream[0]):
                return None
            return self.name(identity, upstream[0], context)
        parts = split(identity)
        if parts and is_type(parts[1]):
            return self.name(identity, parts[1], context) if self.shows_type(parts[1]) else None
        declared = source.get("type")
        if isinstance(declared, str) and is_type(declared) and not self.shows_type(declared):
            return None
        return context.namer.show_uri(identity)

    def name(self, identity: str, kind: str, context: Context) -> str:
        if upstream := upstream_id(identity, context):
            return f"{upstream[0]}/{self.show_id(*upstream, context)}"
        if not self.pseudonymous(kind):
            return identity
        return context.namer.show_uri(identity)

    def canonical(self, text: str, place: Place) -> str | None:
        """A canonical below the upstream's base, moved to ours; None if its type does not show."""
        url, bar, version = text.partition("|")
        if url == "#":
            place.names_container = True
            return url
        if url.startswith("#"):
            return place.contained.show(url[1:])
        for base in place.context.bases:
            if url.startswith(base + "/"):
                parts = split(url)
                if parts is None or not is_type(parts[1]) or not self.shows_type(parts[1]):
                    return None
                shown = self.show_id(parts[1], parts[2], place.context)
                return f"{place.context.public}/{parts[1]}/{shown}{bar}{version}"
        return text
