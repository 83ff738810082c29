"""Lenses: one transform seen in both directions, registered by the name policies use.

A lens class has ``forward`` (a value on its way out) and ``backward`` (what a search asks for
upstream, :mod:`proxy.lenses.backward`); its docstring is the method's manual page. ``bind`` gives
the function that a compiled walk calls; it returns None for a value that the method cannot read,
which is then masked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from proxy.fhir.codec import Json
from proxy.lenses.backward import Backward, NotTranslatable

if TYPE_CHECKING:
    from proxy.lenses.context import LensContext

Transform = Callable[[Json, "LensContext"], "Json | None"]
LensKind = Literal["keep", "hidden", "pseudonym", "coarse"]


class LensMethod:
    """Base of all lens methods.

    ``kind``: what search may make of an element behind it. ``suits``: the type codes it reads.
    ``says``: how its values are called in reasons.
    ``shortens``: whether it shows a date in a shorter form, which an instant does not have.
    ``orders``: whether what it shows is as fine as what is stored, so that it can be sorted by.
    """

    kind: LensKind = "coarse"
    suits: frozenset[str] = frozenset()
    says: str = "less exactly"
    shortens: bool = True
    orders: bool = False

    def bind(self, params: Mapping[str, object], type_code: str) -> Transform:
        """The forward transform for one type; raises ValueError if the two do not suit."""
        raise NotImplementedError

    def forward(
        self, value: Json, params: Mapping[str, object], type_code: str, context: LensContext
    ) -> Json | None:
        """``value`` as shown; None if it cannot be read."""
        return self.bind(params, type_code)(value, context)

    def backward(self, params: Mapping[str, object], search_type: str) -> Backward:
        """What searches of one type ask upstream for what this lens shows.

        Raises :class:`proxy.lenses.backward.NotTranslatable` where it does not say.
        """
        raise NotTranslatable


@dataclass(frozen=True, slots=True)
class Registered:
    """A method under its name."""

    name: str
    method: LensMethod


LENSES: dict[str, Registered] = {}
T = TypeVar("T", bound=type[LensMethod])


def lens(name: str) -> Callable[[T], T]:
    """Register a lens class under the name that policies use."""

    def register(cls: T) -> T:
        LENSES[name] = Registered(name, cls())
        return cls

    return register


def method(name: str) -> LensMethod:
    """The registered method; raises KeyError for an unknown name."""
    _load()
    return LENSES[name].method


def _load() -> None:
    from proxy.lenses import (  # noqa: F401
        generalize,
        narrative,
        pseudonyms,
        redact,
        scrub,
        shift,
        surrogate,
    )
