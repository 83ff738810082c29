"""surrogate: stand-ins for the names of persons under a project's key."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.fhir.codec import Json, JsonObject, encode
from proxy.lenses import LensKind, LensMethod, Transform, lens
from proxy.lenses.context import LensContext
from proxy.lenses.identity import PERSON, PERSON_LETTERS

# A HumanName that is not its resource's own: of a contact, in an extension.
INNER = "HumanName.inner"
# Strings that hold the name of the person whom their resource is about.
NAMED = frozenset({"FamilyMemberHistory.name"})
FAMILY, GIVEN = "StudySubject", "Pseudo"

# R4, name-use 4.0.1
_USES = frozenset({"usual", "official", "temp", "nickname", "anonymous", "old", "maiden"})


@lens("surrogate")
class Surrogate(LensMethod):
    """The name of a person becomes a stand-in: a family name that ends in 16 characters made for
    that person, and a fixed given name.

    A person is the resource that bears the name, wherever it stands: a Patient has the same
    stand-in alone and in every document, another sender's Patient of the same id has another. Only
    ``use`` stays; ``text`` is given where the source has nothing else. Names inside a resource
    that are not its own (of a contact) have stand-ins of their own, by resource and stored name. In
    a text (FamilyMemberHistory.name) the stand-in is "given family". A resource that has neither
    id nor full URL names no person: its names are masked. No search reads a stand-in.

    ``family`` and ``given``: the fixed parts, ``StudySubject`` and ``Pseudo`` unless said.

    ``from = "upstream"`` (in a policy with ``requires``): the upstream shows such stand-ins
    already. They stay as they are, and a name that is not in their form is masked.

    Example: ``HumanName = "surrogate"`` shows John Robert Smith as Pseudo
    StudySubject-k5jx7zq2m4vd3rwa.
    """

    kind: LensKind = "coarse"
    suits = frozenset({"HumanName", INNER, "string"})

    def bind(self, params: Mapping[str, object], type_code: str) -> Transform:
        if type_code not in self.suits:
            raise ValueError(f"surrogate does not suit {type_code}")
        family, given = str(params.get("family", FAMILY)), str(params.get("given", GIVEN))

        def show_text(value: Json, context: LensContext) -> Json | None:
            if not isinstance(value, str) or not context.bearer:
                return None
            return f"{given} {family}-{context.namer.show_person(context.bearer)}"

        def show_name(value: Json, context: LensContext) -> Json | None:
            if not isinstance(value, dict) or not context.bearer:
                return None
            text, *parts = stored = [value.get(name) for name in ("text", "family", "given")]
            person = context.bearer
            if type_code == INNER:
                person += " " + encode(stored).decode()
            stand_in = f"{family}-{context.namer.show_person(person)}"
            shown = _show_use(value)
            if text is not None and parts == [None, None]:
                return {**shown, "text": f"{given} {stand_in}"}
            return {**shown, "family": stand_in, "given": [given]}

        if params.get("from") == "upstream":
            return lambda value, context: _keep(value, family, given)
        return show_text if type_code == "string" else show_name


def _keep(value: Json, family: str, given: str) -> Json | None:
    """A stand-in with these fixed parts, as text or HumanName; None for any other name."""
    if isinstance(value, str):
        first, _, last = value.rpartition(" ")
        return value if first == given and _is_stand_in(last, family) else None
    if not isinstance(value, dict):
        return None
    shown = _show_use(value)
    if "text" in value:
        text = _keep(value["text"], family, given) if isinstance(value["text"], str) else None
        return None if text is None else {**shown, "text": text}
    if value.get("given") != [given] or not _is_stand_in(value.get("family"), family):
        return None
    return {**shown, "family": value["family"], "given": [given]}


def _show_use(name: JsonObject) -> JsonObject:
    """What shows of any name: what it is used for."""
    use = name.get("use")
    return {"use": use} if isinstance(use, str) and use in _USES else {}


def _is_stand_in(name: Json, family: str) -> bool:
    """Whether a family name is one of those made with this fixed part."""
    person = name.removeprefix(f"{family}-") if isinstance(name, str) else ""
    return name != person and len(person) == PERSON and PERSON_LETTERS.issuperset(person)
