"""Keys of ``[datatypes]``: the types whose values can identify, and their members."""

from __future__ import annotations

from proxy.fhir.r4 import TYPES
from proxy.fhir.structure import RESOURCES, is_quantity
from proxy.lenses.pseudonyms import DOCUMENT
from proxy.policy.mistakes import offer
from proxy.policy.paths import PathError, elements

# Values that can identify (the policy language, "How a value finds its rule", 2); `id` as the
# value of an element, such as the message that MessageHeader.response.identifier answers.
IDENTIFYING = frozenset(
    [
        "string",
        "markdown",
        "xhtml",
        "base64Binary",
        "uri",
        "url",
        "oid",
        "uuid",
        "id",
        "date",
        "dateTime",
        "instant",
        "time",
        "HumanName",
        "Address",
        "ContactPoint",
        "Identifier",
        "Attachment",
        "Annotation",
        "Signature",
        "Narrative",
        "Coding",
    ]
)
DATATYPES = frozenset(n for n, t in TYPES.items() if t.kind == "datatype" and not t.abstract)
_NO_MEMBER = {
    "Reference.reference": ("ids take no rule but [ids]", "take the line out"),
    "Reference.identifier": (
        "a Reference.identifier shows only by a path",
        "write the path of the element under [elements]",
    ),
    "Reference.type": ("Reference.type shows with its reference", "take the line out"),
}


def read_datatype(key: str) -> tuple[str, ...]:
    """The types that a line of ``[datatypes]`` is about; raises :class:`PathError`."""
    if key == DOCUMENT:
        return ("Identifier",)
    name, *members = key.split(".")
    if name in RESOURCES:
        raise PathError(f"{name} is a resource type", "write the line under [elements]")
    if not members:
        return _type(name)
    if name not in DATATYPES:
        raise PathError(
            f"{name} is not an R4 datatype", offer(name, DATATYPES, "see R4 for its datatypes")
        )
    if len(members) > 1:
        raise PathError(
            f"{key} goes below a member", "write the path of the element under [elements]"
        )
    return _member(name, members[0])


def _type(name: str) -> tuple[str, ...]:
    if name in IDENTIFYING:
        return (name,)
    if name in TYPES and TYPES[name].kind in ("primitive", "datatype"):
        members = [
            f"{name}.{m}" for m in elements(name) if name in DATATYPES and _can_identify(name, m)
        ]
        raise PathError(
            f"{name} does not identify by itself, so a line for it can never fire",
            "write one of its members: " + ", ".join(members)
            if members and not TYPES[name].abstract
            else "take the line out; it shows where [elements] keeps it",
        )
    raise PathError(
        f"{name} is not an R4 datatype",
        offer(name, IDENTIFYING | DATATYPES, "see R4 for its datatypes"),
    )


def _member(name: str, member: str) -> tuple[str, ...]:
    key = f"{name}.{member}"
    if is_quantity(name) and name != "Quantity":
        raise PathError(
            f"{name} takes the lines of Quantity, so {key} can never fire",
            f"write Quantity.{member}",
        )
    if key in _NO_MEMBER:
        raise PathError(*_NO_MEMBER[key])
    if name == "Extension":
        raise PathError("extensions have a table of their own", "write it under [extensions]")
    known = elements(name)
    if member not in known:
        spelt = f"{name}.{member}[x]"
        if member + "[x]" in known:
            raise PathError(f"{key} is a choice of types", f"write {spelt}")
        raise PathError(
            f"{name} has no member {member}",
            offer(key, [f"{name}.{m}" for m in known] + [DOCUMENT], f"see R4 for {name}"),
        )
    if name == "Meta" and member != "lastUpdated":
        raise PathError("meta is made new", "write labels and profiles above the first table")
    if not _can_identify(name, member):
        raise PathError(
            f"{key} can never fire: it does not identify, and shows where [elements] keeps it",
            "take the line out, or write a path under [elements]",
        )
    return known[member].types


def _can_identify(name: str, member: str) -> bool:
    """Whether step 2 ever looks for a line of this member."""
    if member in ("id", "extension") or (name, member) == ("Quantity", "system"):
        return False
    if (name, member) == ("Quantity", "code") or name in IDENTIFYING:
        return True
    return any(t in IDENTIFYING for t in elements(name)[member].types)
