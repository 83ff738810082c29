"""Who is who while the oracle walks: identities, Bundles around a resource, contained ids."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from proxy.fhir.r4 import TYPES
from tests.oracle_facts import Json, is_resource
from tests.oracle_values import Pseudonymizer

_ID = r"[A-Za-z0-9\-.]{1,64}"
_RESTFUL = re.compile(
    rf"(?:(?P<base>.+)/)?(?P<type>[A-Z][A-Za-z]*)/(?P<id>{_ID})(?:/_history/{_ID})?"
)


@dataclass(frozen=True, slots=True)
class Context:
    """One reveal. ``bases``: the upstream's base and those that equal it; ``public``: ours."""

    namer: Pseudonymizer
    bases: tuple[str, ...] = ("http://upstream.example/fhir",)
    public: str = "http://proxy.example/fhir"
    today: date = date(2026, 1, 1)
    claims: Mapping[str, object] = field(default_factory=dict)
    companions: Mapping[str, Json] = field(default_factory=dict)  # Patients by absolute URL


def is_type(name: str) -> bool:
    return name in TYPES and TYPES[name].kind == "resource" and not TYPES[name].abstract


def identify(text: Json, base: str, context: Context) -> str | None:
    """The absolute URL or urn that a literal reference or fullUrl names, without version.

    ``base``: the service base at which a relative one resolves. None: conditional or no
    reference at all.
    """
    if not isinstance(text, str):
        return None
    if re.fullmatch(r"urn:[a-z0-9][a-z0-9-]{0,31}:[!-~]+", text, re.IGNORECASE):
        _, space, rest = text.split(":", 2)
        space = space.lower()
        return f"urn:{space}:{rest.lower() if space == 'uuid' else rest}"
    if match := re.match(r"(https?)://([^/?#\s]+)", text, re.IGNORECASE):
        if re.search(r"[\x00-\x20\x7f-\xa0\\<>\"{}|^`\u2028\u2029]|%(?![0-9A-Fa-f]{2})", text):
            return None
        path = text[match.end() :]
        whole = match[1].lower() + "://" + match[2].lower() + re.split(r"[?#]", path)[0]
        if "?" in path:
            return None
        for known in context.bases:
            if whole.startswith(known + "/"):
                whole = context.bases[0] + whole[len(known) :]
        restful = _RESTFUL.fullmatch(whole)
        return f"{restful['base']}/{restful['type']}/{restful['id']}" if restful else whole
    restful = _RESTFUL.fullmatch(text.split("#")[0] if "#" in text else text)
    if restful is None or restful["base"]:
        return None
    return f"{base}/{restful['type']}/{restful['id']}"


def split(identity: str) -> tuple[str, str, str] | None:
    """Base, type and id of a RESTful URL; None for another identity."""
    match = _RESTFUL.fullmatch(identity)
    return (match["base"] or "", match["type"], match["id"]) if match else None


def upstream_id(identity: str, context: Context) -> tuple[str, str] | None:
    """Type and id of what the upstream itself holds; None for what lives elsewhere."""
    parts = split(identity)
    return (parts[1], parts[2]) if parts and parts[0] == context.bases[0] else None


@dataclass(slots=True)
class BundleScope:
    """One Bundle around a resource. ``hidden`` holds the indexes of entries that do not show.
    ``own``: for an entry whose fullUrl is no URL of a resource, the name that its resource has by
    its type and id. ``never``: hidden by what they are; ``care``: judged as giving care."""

    identity: str
    identities: list[str]
    entries: list[Json]
    hidden: set[int]
    outer: BundleScope | None
    own: dict[int, str] = field(default_factory=dict)
    edges: dict[int, set[int]] = field(default_factory=dict)
    at: int = -1
    days: int | None = None  # by which all dates in it move
    never: set[int] = field(default_factory=set)
    care: set[int] = field(default_factory=set)
    stored_at: dict[int, str] = field(default_factory=dict)  # by a batch, where no URL names it

    def url(self, index: int) -> str:
        """The thing's own URL: who it is, whatever an entry is called."""
        return self.stored_at.get(index, self.identities[index])

    def around(self) -> Iterator[BundleScope]:
        scope: BundleScope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def named(self, identity: str | None) -> list[int]:
        """The indexes of the entries with this identity, or, if none has it, this own name."""
        found = [i for i, known in enumerate(self.identities) if known == identity]
        return found or [i for i, name in self.own.items() if name == identity]

    def entry_type(self, index: int) -> str:
        resource = self.entries[index].get("resource")
        return str(resource["resourceType"]) if is_resource(resource) else ""


@dataclass(slots=True)
class Contained:
    """The contained resources of one container, numbered as references to them are shown."""

    resources: dict[str, Json]
    shows: Callable[[Json], bool]
    pseudonym: bool
    numbers: dict[str, int] = field(default_factory=dict)

    def show(self, name: str) -> str | None:
        """The shown form of ``#name``; None if what it names does not show."""
        if name not in self.resources or not self.shows(self.resources[name]):
            return None
        number = self.numbers.setdefault(name, len(self.numbers) + 1)
        return f"#c{number}" if self.pseudonym else f"#{name}"


@dataclass(slots=True)
class Place:
    """Where the walk stands, as far as names matter."""

    context: Context
    identity: str  # of the resource (of the container, for a contained one)
    bundle: BundleScope | None
    contained: Contained
    names_container: bool = False  # a shown reference was "#"
    part: str = ""  # id of the contained resource, if this is one

    @property
    def bearer(self) -> str:
        """How the resource is named: Type/id if it is the upstream's; empty if it has no name."""
        ours = upstream_id(self.identity, self.context)
        name = "/".join(ours) if ours else self.identity
        if not name or name.startswith("#"):
            return ""
        return f"{name}#{self.part}" if self.part else name
    days: int | None = None  # by which dates move here

    @property
    def base(self) -> str:
        """Where relative references resolve: the resource's own base, else the upstream's."""
        parts = split(self.identity)
        return parts[0] if parts and parts[0] else self.context.bases[0]


def bundle_scope(
    bundle: Json, identity: str, outer: BundleScope | None, context: Context
) -> BundleScope:
    """The scope of a Bundle's entries; an entry that is no object is as one without resource."""
    entries = bundle.get("entry")
    items = [e if isinstance(e, dict) else {} for e in entries] if isinstance(entries, list) else []
    identities = []
    own_names: dict[int, str] = {}
    for index, entry in enumerate(items):
        resource = entry.get("resource")
        named = identify(entry.get("fullUrl"), context.bases[0], context)
        ours = bundle.get("type") in ("searchset", "history")
        if named is None and ours and isinstance(resource, dict):
            own = f"{resource.get('resourceType')}/{resource.get('id')}"
            named = identify(own, context.bases[0], context)
        urn = named is None or named.startswith("urn:")
        if urn and isinstance(resource, dict) and is_resource(resource):
            text = f"{resource['resourceType']}/{resource.get('id', '')}"
            name = identify(text, context.bases[0], context)
            if name is not None:
                own_names[index] = name
        identities.append(named or f"{identity}#{index}")
    scope = BundleScope(identity, identities, items, set(), outer, own_names)
    for index, entry in enumerate(items):
        request, resource = entry.get("request"), entry.get("resource")
        if not isinstance(request, dict) or request.get("method") != "PUT":
            continue
        at = identify(request.get("url"), context.bases[0], context) or ""
        parts = upstream_id(at, context)
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if parts and parts[0] == kind and split(identities[index]) is None:
            scope.stored_at[index] = at
    return scope
