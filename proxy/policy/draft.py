"""One policy file as read: every line understood by itself, not yet merged with its base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.policy.model import Method, RowRule, Source
from proxy.policy.paths import Path


@dataclass(frozen=True, slots=True)
class PathLine:
    """A line of ``[elements]``."""

    path: Path
    method: Method
    source: Source


@dataclass(frozen=True, slots=True)
class TypeLine:
    """A line of ``[datatypes]``; ``types`` are those that the key names."""

    key: str
    types: tuple[str, ...]
    method: Method
    source: Source


@dataclass(frozen=True, slots=True)
class ExtensionLine:
    """A line of ``[extensions]``. ``parts`` None: opened whole; ``removed``: takes back what a
    base opened."""

    url: str
    parts: tuple[str, ...] | None
    removed: bool
    source: Source


@dataclass(frozen=True, slots=True)
class Setting:
    """Any other line, under its full key (``title``, ``access.Patient``, ``search.total``)."""

    value: str | int | tuple[str, ...]
    source: Source


@dataclass(slots=True)
class Draft:
    """A policy file, or a file merged with its base (see :mod:`proxy.policy.merge`).

    ``file`` stands for lines that are missing. The keys of ``elements`` are paths in their one
    spelling. ``attempted``: types whose line is there and cannot be read, so that what stands
    below them is no second mistake. ``incomplete``: its base is missing.
    """

    name: str
    file: Source
    settings: dict[str, Setting] = field(default_factory=dict)
    elements: dict[str, PathLine] = field(default_factory=dict)
    datatypes: dict[str, TypeLine] = field(default_factory=dict)
    extensions: dict[str, ExtensionLine] = field(default_factory=dict)
    tables: dict[str, Source] = field(default_factory=dict)
    attempted: set[str] = field(default_factory=set)
    incomplete: bool = False
    rows: dict[str, tuple[RowRule, ...]] = field(default_factory=dict)

    @property
    def identity(self) -> bool:
        return "view" in self.settings

    @property
    def lines(self) -> list[PathLine | TypeLine]:
        """The lines of ``elements``, then those of ``datatypes``."""
        return [*self.elements.values(), *self.datatypes.values()]

    def under(self, table: str) -> Mapping[str, Setting]:
        """The settings of one table, without its name."""
        front = table + "."
        return {k[len(front) :]: s for k, s in self.settings.items() if k.startswith(front)}
