"""keep, remove, mask, pass: methods that change no value."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.lenses import LensKind, LensMethod, Transform, lens
from proxy.lenses.backward import Backward, SameDay, SameNumber, SameText


@lens("keep")
class Keep(LensMethod):
    """The element as it is stored.

    Example: ``"Observation.status" = "keep"``. A search on it is forwarded unchanged.
    """

    kind: LensKind = "keep"

    def bind(self, params: Mapping[str, object], type_code: str) -> Transform:
        return lambda value, context: value

    def backward(self, params: Mapping[str, object], search_type: str) -> Backward:
        if search_type == "date":
            return SameDay()
        return SameNumber() if search_type in ("number", "quantity") else SameText()


@lens("pass")
class Pass(Keep):
    """A whole PlanDefinition, Library, ValueSet or CodeSystem as stored; no other table applies."""


@lens("remove")
class Remove(LensMethod):
    """Neither the value nor its presence is shown.

    Example: ``"Patient.photo" = "remove"``. Where the element is required it is masked.
    """

    kind: LensKind = "hidden"


@lens("mask")
class Mask(LensMethod):
    """Presence and number are shown, as data-absent-reason ``masked``.

    Example: ``"Patient.name" = "mask"`` shows two names as two masked items; ``{ method = "mask",
    once = true }`` shows one, however many there are.
    """

    kind: LensKind = "hidden"
