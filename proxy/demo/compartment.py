"""What an upstream collects around one patient (R4, patient-operation-everything.html)."""

from __future__ import annotations

from collections.abc import Collection

from proxy.demo.store import Store, Version
from proxy.fhir.reference import parse_reference
from proxy.fhir.referring import reference_texts


def around(store: Store, patient: Version, types: Collection[str], base: str) -> list[Version]:
    """The patient, all that refers to it, and what these refer to, as HAPI collects it: ``types``
    (all if empty) narrows what refers to the patient, not what comes with it."""
    named = (patient.type, patient.id)
    found = {named: patient}
    for type in store.types():
        for version in store.of_type(type) if not types or type in types else ():
            if type != "Bundle" and named in _targets(version, base):
                found.setdefault((type, version.id), version)
    for version in [*found.values()]:
        for key in _targets(version, base):
            target = store.current(*key)
            if target is not None and target.resource is not None:
                found.setdefault(key, target)
    return [*found.values()]


def _targets(version: Version, base: str) -> dict[tuple[str, str], None]:
    references = (parse_reference(text, base) for text in reference_texts(version.resource))
    return {(r.type, r.id): None for r in references if r.type and r.base == base}
