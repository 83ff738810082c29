"""What HAPI does not store as it is given: left out of a comparison on both sides.

``test_deviations.py`` shows that each of them is real.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Loss:
    """``what`` HAPI loses; ``without`` it: a resource, unchanged if it has nothing of the kind."""

    what: str
    without: Callable[[Any], Any]


def _entries(bundle: Any, change: Callable[[Any], Any]) -> Any:
    """A Bundle with each of its entries changed; anything else as it is."""
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        return bundle
    return bundle | {"entry": [change(entry) for entry in bundle.get("entry", [])]}


def _no_id_below_uuid(entry: Any) -> Any:
    resource = entry.get("resource")
    if not isinstance(resource, dict):
        return entry
    if entry.get("fullUrl") == f"urn:uuid:{resource.get('id')}":
        resource = {k: v for k, v in resource.items() if k != "id"}
    return entry | {"resource": _entries(resource, _no_id_below_uuid)}


def _no_meta_in_bundle(entry: Any) -> Any:
    resource = entry.get("resource")
    if not isinstance(resource, dict) or resource.get("resourceType") != "Bundle":
        return entry
    return entry | {"resource": {k: v for k, v in resource.items() if k != "meta"}}


LOSSES = (
    Loss(
        "the id of an entry's resource where the fullUrl is its urn:uuid",
        lambda resource: _entries(resource, _no_id_below_uuid),
    ),
    Loss(
        "the meta of a Bundle in a Bundle",
        lambda resource: _entries(resource, _no_meta_in_bundle),
    ),
)


def without_losses(resource: Any) -> Any:
    """What is left of a resource to be compared."""
    for loss in LOSSES:
        resource = loss.without(resource)
    return resource
