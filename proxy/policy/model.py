"""A policy as read: frozen, checked, without behaviour. The language is docs/policies.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Source:
    """Where a line of a policy stands. ``key`` as written in the file."""

    file: str
    line: int
    key: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Method:
    """A method with its parameters, hashable.

    ``params`` are sorted (name, value) pairs; a list value is a tuple. ``"keep"`` in the file is
    ``Method("keep")``; ``{ method = "generalize", to = "year" }`` is
    ``Method("generalize", (("to", "year"),))``.
    """

    name: str
    params: tuple[tuple[str, object], ...] = ()

    def param(self, name: str, default: object = None) -> object:
        return dict(self.params).get(name, default)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: an element name (``contact``, ``value[x]``, ``valueQuantity``) or, first,
    a resource type; ``predicate`` is the FHIRPath text inside ``where(…)``, empty if none."""

    name: str
    predicate: str = ""


@dataclass(frozen=True, slots=True)
class PathRule:
    """A line of ``[elements]``. ``steps[0]`` is the resource type."""

    steps: tuple[Step, ...]
    method: Method
    source: Source

    @property
    def path(self) -> str:
        """The canonical path without predicates: ``Composition.section``."""
        return ".".join(s.name for s in self.steps)

    @property
    def has_predicate(self) -> bool:
        return any(s.predicate for s in self.steps)


@dataclass(frozen=True, slots=True)
class TypeRule:
    """A line of ``[datatypes]``: ``key`` is ``date``, ``HumanName``, ``Address.state`` or
    ``Identifier.document``."""

    key: str
    method: Method
    source: Source


@dataclass(frozen=True, slots=True)
class ExtensionRule:
    """A line of ``[extensions]``. ``parts`` is None for ``"keep"`` (the extension is opened), else
    the names opened: relative URLs, ``value[x]``, ``part.value[x]``."""

    url: str
    parts: tuple[str, ...] | None
    source: Source


@dataclass(frozen=True, slots=True)
class RowRule:
    """A table ``[rows.Type]``: which resources of the type exist. ``search``: conditions as in a
    query, ``{claim}`` for a claim's values; ``where``: FHIRPath; either may be empty."""

    type: str
    search: str
    where: str
    source: Source


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """``[search]``. ``include`` and ``chain`` hold the references that may be followed, as
    ``Type:parameter`` or ``Type:parameter:Target``."""

    page_size: int = 100
    total: str = "none"  # exact | none
    window: int = 10_000
    include: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy, ``extends`` already merged.

    ``identity`` is ``view = "identity"``: everything as stored. ``access``: type to the
    interactions allowed on it (``read``, ``search``, ``include``, ``vread``, ``history``,
    ``$document``, ``$everything``).
    ``ids``: type to ``pseudonym`` or ``real``, ``ids_default`` for the others. ``codes``: code
    system prefixes, or None where the policy has no ``[codes]`` (all codes show). ``rows``: type
    to its row rules, which must all hold (a base's and its child's). ``requires``: the labels
    without which no resource exists. ``ages``: the
    oldest age shown exactly, or None. ``document``: the profile of documents (``anonymized``), or
    empty. ``oldest`` of the file: 89 means 90 and more are one group.
    ``digest``: hex SHA-256 of the merged policy's canonical form; changes with any rule.
    """

    name: str
    title: str
    basis: str
    identity: bool
    access: Mapping[str, frozenset[str]]
    ids_default: str
    ids: Mapping[str, str]
    elements: tuple[PathRule, ...]
    datatypes: Mapping[str, TypeRule]
    extensions: Mapping[str, ExtensionRule]
    codes: tuple[str, ...] | None
    rows: Mapping[str, tuple[RowRule, ...]] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    ages: int | None = None
    document: str = ""
    search: SearchSettings = SearchSettings()
    sources: Mapping[str, Source] = field(default_factory=dict)  # "access.Patient" -> its line
    served: bool = True  # False: a base that is only extended
    digest: str = ""

    @property
    def methods(self) -> list[Method]:
        """The methods of ``elements``, then those of ``datatypes``."""
        lines = [rule.method for rule in self.datatypes.values()]
        return [rule.method for rule in self.elements] + lines


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: from a verified token. ``claims`` hold what policies may read."""

    issuer: str
    subject: str
    role: str
    project: str = ""
    claims: Mapping[str, object] = field(default_factory=dict)
    scopes: frozenset[str] | None = None  # None: the token carries no scope claim
