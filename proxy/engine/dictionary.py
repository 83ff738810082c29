"""The data dictionary of a view: what of a resource type a caller sees, in a sentence or two.

Made from the lenses that the walk was compiled from, to the second level of elements; it stands in
the caller's CapabilityStatement as the documentation of each type.
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy.fhir.r4 import TYPES
from proxy.fhir.structure import Property, properties
from proxy.policy.compile import Lens, View
from proxy.policy.rows import claims_named

# Made anew or judged by themselves, for every type alike.
_COMMON = frozenset(
    {"id", "meta", "implicitRules", "language", "text", "contained", "extension",
     "modifierExtension"}
)
_HEADINGS = (
    ("keep", "As stored"),
    ("coarse", "Less exact"),
    ("pseudonym", "Pseudonyms"),
    ("hidden", "Not shown"),
)


def describe_type(view: View, type_: str) -> str:
    """What the view shows of the type, as text; empty for an identity view."""
    if view.identity:
        return ""
    rows = _rows(view, type_)
    if view.passes(type_):
        return f"{rows}Shown whole, as stored."
    found: dict[str, list[str]] = {kind: [] for kind, _ in _HEADINGS}
    for name, lens in _elements(view, type_):
        found[lens.kind].append(name + _precision(lens))
    parts = [f"{title}: {', '.join(found[kind])}" for kind, title in _HEADINGS if found[kind]]
    return rows + "; ".join(parts) + "."


def _rows(view: View, type_: str) -> str:
    """That not all resources of the type are there, and what of the token decides."""
    rules = view.policy.rows.get(type_, ())
    claims = sorted(frozenset[str]().union(*map(claims_named, rules)))
    by = f", by the claims {', '.join(claims)} of your token" if claims else ""
    return f"Only some resources of this type are shown{by}. " if rules else ""


def _elements(view: View, type_: str) -> Iterator[tuple[str, Lens]]:
    """Elements of the first level; those of the second that are shown otherwise than they."""
    for name, item in properties(type_).items():
        if name in _COMMON:
            continue
        lens = view.lens(f"{type_}.{name}")
        inner = [] if item.type == "Reference" else list(_members(view, f"{type_}.{name}", item))
        apart = [(f"{name}.{member}", each) for member, each in inner if each.kind != lens.kind]
        if lens.kind == "hidden" and any(each.kind != "hidden" for _, each in apart):
            yield from ((path, each) for path, each in apart if each.kind != "hidden")
        else:
            yield name, lens
            yield from ((path, each) for path, each in apart if lens.kind == "keep")


def _members(view: View, path: str, item: Property) -> Iterator[tuple[str, Lens]]:
    if item.primitive or item.type not in TYPES:
        return
    for name in properties(item.type):
        if name not in _COMMON:
            yield name, view.lens(f"{path}.{name}")


def _precision(lens: Lens) -> str:
    to = {"shift": "shifted", "scrub": "scrubbed"}.get(lens.method.name, lens.method.param("to"))
    return f" ({to})" if lens.kind == "coarse" and isinstance(to, str) else ""
