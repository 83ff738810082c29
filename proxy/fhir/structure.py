"""Look-ups over the R4 definitions: which JSON properties a type has, what a path names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from proxy.fhir.r4 import TYPES, Element

RESOURCES = frozenset(
    name for name, t in TYPES.items() if t.kind == "resource" and not t.abstract
)
PRIMITIVES = frozenset(name for name, t in TYPES.items() if t.kind == "primitive")

# R4, datatypes.html#open: what `value[x]` of type * stands for, in R4's definitions spelled out.
_QUANTITIES = frozenset({"Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity"})


class Property(NamedTuple):
    """One JSON property of a type. ``branch`` is the element's name in a path: the property
    itself (``valueQuantity``) for a choice; ``element.name`` is then ``value[x]``."""

    name: str
    element: Element
    type: str  # type code, or the path of a backbone element
    primitive: bool
    many: bool


@cache
def properties(type_path: str) -> Mapping[str, Property]:
    """JSON name to property, in the specification's order, choices spelled out.

    ``type_path``: a type name or the path of a backbone element. ``_name`` siblings are not
    listed. Raises KeyError for an unknown type.
    """
    found: dict[str, Property] = {}
    for element in TYPES[type_path].elements:
        many = element.max != 1
        if element.name.endswith("[x]"):
            stem = element.name[:-3]
            for code in element.types:
                name = stem + code[0].upper() + code[1:]
                found[name] = Property(name, element, code, code in PRIMITIVES, many)
        else:
            code = element.types[0] if element.types else ""
            found[element.name] = Property(element.name, element, code, code in PRIMITIVES, many)
    return found


def is_choice(type_path: str, name: str) -> bool:
    """Whether ``name`` is a choice element of the type, as ``value[x]``."""
    return any(e.name == name and name.endswith("[x]") for e in TYPES[type_path].elements)


def is_quantity(code: str) -> bool:
    """Whether the datatype is Quantity or derived from it (R4, datatypes.html#quantity)."""
    return code == "Quantity" or code in _QUANTITIES
