"""What one reveal knows beside the resource: who names, what is near, what is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from proxy.fhir.codec import Json, JsonObject
from proxy.fhir.reference import Bases, Reference, parse_reference
from proxy.fhir.structure import RESOURCES
from proxy.lenses.context import Naming
from proxy.lenses.scrub import Known

# The fate of a thing in the Bundle at hand: how a reference to it is shown, or None if it is not.
Fates = dict[str, str | None]
AS_STORED = ""  # a thing elsewhere whose id is real: references name its absolute URL


@dataclass(slots=True)
class Contained:
    """The contained resources of one resource, named in the order in which references meet them.

    ``resources``: by their own id. ``names``: id to the shown ``cN``. ``queue``: to be revealed.
    """

    resources: dict[str, JsonObject]
    visible: Callable[[JsonObject], bool]
    real: bool
    names: dict[str, str | None] = field(default_factory=dict)
    queue: list[str] = field(default_factory=list)
    container_named: bool = False

    def refer(self, id: str) -> str | None:
        if id == "":
            self.container_named = True
            return "#"
        if id not in self.names:
            resource = self.resources.get(id)
            if resource is None or not self.visible(resource):
                self.names[id] = None
            else:
                shown = id if self.real else f"c{len(self.queue) + 1}"
                self.names[id] = shown
                self.queue.append(id)
        name = self.names[id]
        return None if name is None else "#" + name


class _Nameless:
    """Names for a walk of which only matters whether anything shows."""

    def show_id(self, type: str, real: str) -> str:
        return "x"

    def show_uri(self, uri: str) -> str:
        return "urn:x:x"

    def show_identifier(self, system: str | None, value: str) -> tuple[str, str]:
        return "urn:x:x", "x"

    def show_document_identifier(self, value: str) -> tuple[str, str]:
        return "urn:x:x", "x"

    def show_person(self, bearer: str) -> str:
        return "x"

    def offset(self, person: str, low: int, high: int) -> int:
        return low


@dataclass(slots=True)
class Scope:
    """The context of one reveal; made anew for each resource that is answered.

    ``bases``: the upstream's base and its aliases. ``public``: the public base, without a slash
    at its end. ``today``: the civil date (UTC). ``base``: where relative references resolve at
    this point. ``shows``: whether a type is shown at all; ``pseudonym``: whether its ids are
    pseudonyms. ``met``: identities that shown references named since it was last cleared.
    ``companions``: stored Patients by absolute URL, whom what is revealed is about; None: there is
    no such Patient. ``missing``: those that were looked for and are not among them. ``offset``: by
    how many days dates at this point are shifted (:mod:`proxy.policy.persons`); ``together``:
    whether a document or message around it says so. ``near``: the resources of the Bundles at hand
    that persons are found by, by identity. ``relatives``: stored RelatedPersons by the URL of
    their Patient. ``known``: what is known of the persons whom a text at this point may name; None:
    not who they are; ``whole``: whether a document or message around it says so; ``around``: what
    the Bundles at hand know. ``scrubbers``: those made so far. ``scrubbed``: what was found in each
    text, by kind.
    ``held``: what the entries at hand hold and show, by identity, where documents are anonymized.
    """

    namer: Naming
    bases: Bases
    public: str
    today: date
    shows: Callable[[str], bool]
    pseudonym: Callable[[str], bool]
    claims: Mapping[str, object] = field(default_factory=dict)
    base: str = ""
    url: str = ""  # absolute URL of the Bundle at hand
    frames: list[Fates] = field(default_factory=list)
    contained: Contained | None = None
    part: str = ""  # id of the contained resource at hand
    met: set[str] = field(default_factory=set)
    companions: Mapping[str, JsonObject | None] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    offset: int | None = None
    together: bool = False
    near: tuple[Mapping[str, tuple[str, JsonObject]], ...] = ()
    relatives: Mapping[str, Sequence[JsonObject]] = field(default_factory=dict)
    known: Known | None = None
    whole: bool = False
    around: frozenset[tuple[str, str]] = frozenset()
    scrubbers: dict[frozenset[tuple[str, str]], Known] = field(default_factory=dict)
    scrubbed: dict[int, Counter[str]] = field(default_factory=dict)
    held: Mapping[str, JsonObject] = field(default_factory=dict)
    _seen: dict[tuple[str, str, str], tuple[str | None, str]] = field(default_factory=dict)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.base = self.base or self.bases.main

    @classmethod
    def nowhere(cls) -> Scope:
        """A scope without a Bundle, in which everything referred to counts as shown."""
        return cls(
            namer=_Nameless(),
            bases=Bases("http://localhost"),
            public="",
            today=date.min,
            shows=lambda type: True,
            pseudonym=lambda type: True,
        )

    @property
    def bearer(self) -> str:
        """See :class:`proxy.lenses.context.LensContext`."""
        named = self.url.removeprefix(self.bases.main + "/")
        if not named or named[0] == "#":
            return ""
        return f"{named}#{self.part}" if self.part else named

    def identity(self, reference: Reference) -> str:
        """The absolute URL that names a thing, aliases of the upstream made its own base."""
        if reference.type and reference.base in self.bases.all:
            return f"{self.bases.main}/{reference.type}/{reference.id}"
        return reference.identity

    def show_id(self, type: str, id: str) -> str:
        return self.namer.show_id(type, id) if self.pseudonym(type) else id

    def forget(self) -> None:
        """Called when the Bundle at hand changes: fates are no longer what they were."""
        self._seen.clear()

    def name_of(self, text: str, base: str) -> str:
        """The identity of what a reference text names."""
        key = (text, base)
        if key not in self._names:
            self._names[key] = self.identity(parse_reference(text, base))
        return self._names[key]

    def refer(self, text: str, declared: Json) -> str | None:
        """How the reference ``text`` is shown; None if what it names is not shown.

        ``declared``: Reference.type.
        """
        if text[:1] == "#":
            reference = parse_reference(text)
            if self.contained is None or reference.kind != "fragment":
                return None
            return self.contained.refer(reference.fragment)
        key = (text, self.base, declared if type(declared) is str else "")
        found = self._seen.get(key)
        if found is None:
            found = self._seen[key] = self._refer(text, declared)
        shown, identity = found
        if identity:
            self.met.add(identity)
        return shown

    def _refer(self, text: str, declared: Json) -> tuple[str | None, str]:
        """How it is shown, and the identity of the entry at hand that it names, if one."""
        reference = parse_reference(text, self.base)
        kind, type, bases = reference.kind, reference.type, self.bases
        if kind == "invalid" or kind == "conditional":
            return None, ""
        ours = type != "" and reference.base in bases.all
        identity = f"{bases.main}/{type}/{reference.id}" if ours else reference.identity
        for fates in reversed(self.frames):
            if identity in fates:
                fate = fates[identity]
                if fate == AS_STORED:
                    return identity, identity
                return fate, identity if fate is not None else ""
        if not ours:
            return self._refer_elsewhere(reference, identity, declared), ""
        if type not in RESOURCES or not self.shows(type):
            return None, ""
        return f"{type}/{self.show_id(type, reference.id)}", ""

    def _refer_elsewhere(self, reference: Reference, identity: str, declared: Json) -> str | None:
        if self.bases.below(identity) is not None:
            return None  # under the upstream's base, but no resource
        for type in (reference.type, declared):
            if type and not (isinstance(type, str) and self.shows(type)):
                return None
        if reference.type in RESOURCES and not self.pseudonym(reference.type):
            return identity
        return self.namer.show_uri(identity) if identity else None

    def show_canonical(self, text: str) -> str | None:
        """A canonical as shown: the upstream's own are rebased, one that names what is contained
        does as a reference to it, all others stay as they are."""
        url, mark, version = text.partition("|")
        if url.startswith("#"):
            return self.refer(url, None)
        below = self.bases.below(url)
        if below is None:
            return text
        type, _, id = below.path.partition("/")
        if not (id and "/" not in id and type in RESOURCES and self.shows(type)):
            return None
        return f"{self.public}/{type}/{self.show_id(type, id)}{mark}{version}"
