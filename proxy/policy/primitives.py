"""Steps for primitive properties: the value, its ``_name`` sibling, and both in arrays."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from proxy.fhir.codec import Json, JsonObject
from proxy.fhir.lexical import FORMS, checker, form_of
from proxy.fhir.structure import Property
from proxy.lenses import method as lens_method
from proxy.lenses.context import masked
from proxy.policy.model import Method
from proxy.policy.required import LEGAL_VALUES
from proxy.policy.scope import Scope

if TYPE_CHECKING:
    from proxy.policy.decide import Decision
    from proxy.policy.walk import Compiler, Site, Step

# What a scalar becomes: the shown value, or one of these.
Scalar = Callable[[Json, Scope], Json]


class _Gone:
    """A value that is not shown, nor its presence."""


GONE = _Gone()  # as Json to the type checker below
MASK = _Gone()

_UNFORMED = frozenset({"string", "markdown", "xhtml"})
_KNOWN = 8192  # well-formed texts remembered of one form
_SHORT = 128  # characters; longer ones are not
Check = Callable[[Json], bool]


def mask_malformed(key: str, value: Json, out: JsonObject) -> None:
    """In place of a value that is not one of its type: presence, masked."""
    out["_" + key] = masked()


def scalar(
    method: Method, code: str, *, required: bool = False, check: Check | None = None
) -> Callable[[Json, Scope], object]:
    """The function from one value to what is shown of it, ``GONE`` or ``MASK``; an object is what
    stands beside a value that is not shown. ``check``: whether a value is well-formed; without it,
    by its type."""
    if method.name in ("keep", "pass"):
        is_formed = check or checker(code, FORMS.get(code))
        if code == "canonical":
            return _canonical(is_formed)
        return lambda value, scope: value if is_formed(value) else MASK
    if method.name == "remove":
        return lambda value, scope: GONE
    if method.name == "mask":
        return lambda value, scope: MASK
    transform = lens_method(method.name).bind(dict(method.params), code)
    if code == "instant" and lens_method(method.name).shortens:
        return _instant(transform, required)

    def show(value: Json, scope: Scope) -> object:
        shown = transform(value, scope)
        return MASK if shown is None else shown

    return show


def _canonical(is_formed: Check) -> Callable[[Json, Scope], object]:
    def show(value: Json, scope: Scope) -> object:
        if not (is_formed(value) and isinstance(value, str)):
            return MASK
        shown = scope.show_canonical(value)
        return GONE if shown is None else shown

    return show


def _instant(
    transform: Callable[[Json, Scope], Json | None], required: bool
) -> Callable[[Json, Scope], object]:
    """An instant has no shorter legal form (R4, datatypes.html#instant)."""

    def show(value: Json, scope: Scope) -> object:
        shown = transform(value, scope)
        if shown is None:
            return MASK
        return f"{str(shown)[:4]}-01-01T00:00:00Z" if required else GONE

    return show


def legal_value(prop: Property) -> str | None:
    """What a required primitive shows when it is masked; None where only a reason can stand."""
    return LEGAL_VALUES.get(prop.type) if prop.element.min > 0 else None


def add_steps(
    site: Site,
    prop: Property,
    decision: Decision,
    compiler: Compiler,
    steps: dict[str, Step | type],
) -> None:
    """Add the steps of a primitive property to ``steps``; none where it is hidden."""
    method = decision.method
    if site.type == "Reference" and prop.name in ("reference", "type"):
        # Ids take no rule of [datatypes]; the value itself is a matter of complexes.reference.
        if site.decision.mode.kind != "closed":
            steps["_" + prop.name] = _sibling(compiler, kept=True)
        return
    if method.name == "remove":
        return
    if (site.type, prop.name) == ("Composition", "title") and not decision.shown:
        return  # put back as our name for its type, which is known only then
    legal = legal_value(prop)
    form = form_of(site.type, prop)
    check = checker(prop.type, form)
    show = scalar(method, prop.type, required=prop.element.min > 0, check=check)
    if prop.many:
        many = _list_step(prop.name, show, legal, compiler, decision)
        steps[prop.name] = many
        steps["_" + prop.name] = _alone(prop.name, many)
        return
    if decision.shown and legal is None and prop.type != "canonical":
        if prop.type in _UNFORMED:
            steps[prop.name] = str
        else:
            steps[prop.name] = _formed(check) if form is None else _formed_text(form)
    else:
        steps[prop.name] = _single(show, legal)
    if method.name == "mask":
        steps["_" + prop.name] = _masked_sibling(legal)
    else:
        steps["_" + prop.name] = _sibling(compiler, kept=decision.shown)


class Formed(set[str]):
    """The step of a kept text that has a form. It is also a set of texts that are known to have
    it: codes and systems are few, so the walk seldom has to call it."""

    __slots__ = ("_matches",)

    def __init__(self, form: re.Pattern[str]) -> None:
        super().__init__()
        self._matches = form.fullmatch

    def __call__(
        self, obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject
    ) -> None:
        if type(value) is str and self._matches(value):
            out[key] = value
            if len(value) <= _SHORT:
                if len(self) >= _KNOWN:
                    self.clear()
                self.add(value)
        elif value is not None:
            mask_malformed(key, value, out)


@cache
def _formed_text(form: re.Pattern[str]) -> Formed:
    return Formed(form)


def _formed(is_formed: Check) -> Step:
    """A kept boolean or number."""

    def step(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
        if is_formed(value):
            out[key] = value
        elif value is not None:
            mask_malformed(key, value, out)

    return step


def _single(show: Callable[[Json, Scope], object], legal: str | None) -> Step:
    def step(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
        if value is None:
            return
        shown = show(value, scope)
        if shown is MASK:
            if legal is not None:
                out[key] = legal
            else:
                out["_" + key] = masked()
        elif isinstance(shown, dict):
            out["_" + key] = shown
        elif shown is not GONE:
            out[key] = shown  # type: ignore[assignment]

    return step


def _sibling(compiler: Compiler, *, kept: bool) -> Step:
    """``_name``: its listed extensions where the element is kept; a data-absent-reason where the
    element has no value."""
    extensions = compiler.extensions

    def step(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
        if key in out or not isinstance(value, dict):
            return
        bare = obj.get(key[1:]) is None
        shown = extensions.show(value.get("extension"), scope, bare=bare, listed=kept)
        if shown:
            out[key] = {"extension": shown}

    return step


def _masked_sibling(legal: str | None) -> Step:
    def step(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
        name = key[1:]
        if obj.get(name) is None and value is not None:
            if legal is not None:
                out[name] = legal
            else:
                out[key] = masked()

    return step


def _alone(name: str, many: Step) -> Step:
    """The sibling array of a repeating primitive: its own step only if no values stand beside."""

    def step(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
        if obj.get(name) is None:
            many(obj, name, None, scope, out)

    return step


def _list_step(
    name: str,
    show: Callable[[Json, Scope], object],
    legal: str | None,
    compiler: Compiler,
    decision: Decision,
) -> Step:
    kept, hides = decision.shown, decision.method.name == "mask"
    most = 1 if decision.method.param("once") is True else None
    extensions = compiler.extensions

    def reasons(value: Json, sibling: Json, scope: Scope) -> Json:
        if not isinstance(sibling, dict):
            return None
        found = extensions.show(sibling.get("extension"), scope, bare=value is None, listed=kept)
        return {"extension": found} if found else None

    def step(obj: JsonObject, key: str, value: Json, scope: Scope, out: JsonObject) -> None:
        siblings = obj.get("_" + name)
        if value is not None and not isinstance(value, list):
            out[name], out["_" + name] = [None], [masked()]
            return
        values = value or []
        beside = siblings if isinstance(siblings, list) else []
        shown: list[Json] = []
        notes: list[Json] = []
        for index in range(max(len(values), len(beside))):
            one = values[index] if index < len(values) else None
            note = beside[index] if index < len(beside) else None
            if one is None and not (hides and note is not None):
                reason = reasons(None, note, scope)
                if reason is not None:
                    shown.append(None)
                    notes.append(reason)
                continue
            result = MASK if one is None else show(one, scope)
            if result is GONE:
                continue
            if result is MASK:
                shown.append(legal)
                notes.append(masked() if legal is None else None)
            elif isinstance(result, dict):
                shown.append(None)
                notes.append(result)
            else:
                shown.append(result)  # type: ignore[arg-type]
                notes.append(reasons(one, note, scope) if kept else None)
        if shown:
            out[name] = shown[:most]
            if any(n is not None for n in notes):
                out["_" + name] = notes[:most]

    return step
