"""Which patients a stored resource is about, for the audit. Reads bytes; never fails."""

from __future__ import annotations

import msgspec

from proxy.fhir.reference import Bases, parse_reference
from proxy.fhir.surrogates import has_lone, mend

_NONE = msgspec.Raw()
# Elements that name the patient, over R4's types (compartmentdefinition-patient.html).
_ELEMENTS = ("subject", "patient", "beneficiary", "individual", "source")
_MOST = 100


class _Clue(msgspec.Struct):
    resourceType: str = ""
    id: str = ""
    subject: msgspec.Raw = _NONE
    patient: msgspec.Raw = _NONE
    beneficiary: msgspec.Raw = _NONE
    individual: msgspec.Raw = _NONE
    source: msgspec.Raw = _NONE
    entry: msgspec.Raw = _NONE


class _Reference(msgspec.Struct):
    reference: str = ""


class _Entry(msgspec.Struct):
    fullUrl: str = ""
    resource: msgspec.Raw = _NONE


_clues = msgspec.json.Decoder(_Clue)
_references = msgspec.json.Decoder(_Reference)
_entries = msgspec.json.Decoder(list[_Entry])
_FAILURES = (msgspec.MsgspecError, RecursionError)


def patients_of(body: bytes, bases: Bases) -> list[str]:
    """Absolute URLs of the patients that the resource in ``body`` is about or is."""
    try:
        clue = _clues.decode(body)
    except _FAILURES:
        return patients_of(mend(body), bases) if has_lone(body) else []
    if clue.resourceType == "Bundle":
        return _in_bundle(bytes(clue.entry), bases)
    if clue.resourceType == "Patient":
        return [f"{bases.main}/Patient/{clue.id}"]
    found = (_patient(bytes(getattr(clue, name)), bases) for name in _ELEMENTS)
    return [url for url in found if url]


def _patient(body: bytes, bases: Bases) -> str:
    if not body:
        return ""
    try:
        text = _references.decode(body).reference
    except _FAILURES:
        return ""
    reference = parse_reference(text, bases.main)
    if reference.type != "Patient" or reference.kind not in ("relative", "absolute"):
        return ""
    base = bases.main if reference.base in bases else reference.base
    return f"{base}/Patient/{reference.id}"


def _in_bundle(body: bytes, bases: Bases) -> list[str]:
    if not body:
        return []
    try:
        entries = _entries.decode(body)
    except _FAILURES:
        return []
    found = []
    for entry in entries:
        resource = bytes(entry.resource)
        if b'"Patient"' not in resource:  # spares reading the others
            continue
        try:
            clue = _clues.decode(resource)
        except _FAILURES:
            continue
        if clue.resourceType == "Patient":
            own = f"{bases.main}/Patient/{clue.id}"
            found.append(parse_reference(entry.fullUrl).identity or own)
    return found[:_MOST]
