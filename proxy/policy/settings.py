"""Lines of a policy that are no rules: the top of the file, access, ids, extensions, search."""

from __future__ import annotations

import re
from collections.abc import Iterable

from proxy.ecr.anonymized import ANONYMIZED
from proxy.fhir import interaction
from proxy.fhir.r4 import SEARCH_PARAMETERS
from proxy.fhir.structure import RESOURCES
from proxy.policy.draft import Draft, ExtensionLine, Setting
from proxy.policy.locate import Entry
from proxy.policy.mistakes import Findings, offer
from proxy.policy.toml import kind

# HL7 v3-ObservationValue, the children of _SECALTINTOBV (alteration integrity), as published in
# R4 4.0.1 (v3-codesystems.xml): http://terminology.hl7.org/CodeSystem/v3-ObservationValue
LABELS = frozenset(
    [
        "ABSTRED",
        "AGGRED",
        "ANONYED",
        "MAPPED",
        "MASKED",
        "PSEUDED",
        "REDACTED",
        "SUBSETTED",
        "SYNTAC",
        "TRSLT",
        "VERSIONED",
    ]
)
INTERACTIONS = ("read", "search", "include", "vread", "history")
# Operations are granted by name, on the type that has them.
OPERATIONS = {name: type_ for type_, name in interaction.OPERATIONS}
IDS = ("pseudonym", "real")
TOTALS = ("none", "exact")
_TOP_KEYS = frozenset(
    ["title", "basis", "extends", "labels", "requires", "profiles", "view", "document", "ages"]
)
_URL = re.compile(r"(https?://[^\s|/]+(/[^\s|]*)?|urn:(oid|uuid):[^\s|]+)")
# Long enough to begin one authority's systems: http://loinc.org, urn:oid:2.16.840, urn:ietf:bcp
_SYSTEM = re.compile(r"https?://[^/]+\.[^/]+.*|urn:oid:\d+(\.\d+){2,}.*|urn:(?!oid)\w+:\w+.*")
_PART = re.compile(r"[A-Za-z0-9][\w -]*(\.value\[x\])?|value\[x\]")
_POLICY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def read_top(entry: Entry, draft: Draft, findings: Findings) -> None:
    """A line above the first table."""
    name, source, value = entry.key[0], entry.source, entry.value
    if name not in _TOP_KEYS:
        findings.wrong(source, f"there is no key {name}", offer(name, _TOP_KEYS))
    elif name in ("labels", "requires", "profiles"):
        texts = _texts(entry, f'{name} = ["…"]', findings)
        good = tuple(t for t in texts or () if _listed(name, t, entry, findings))
        if texts is not None:
            draft.settings[name] = Setting(good, source)
    elif not isinstance(value, str):
        findings.wrong(source, f"{name} is {kind(value)}, not text", f'write {name} = "…"')
    elif name == "document" and value != ANONYMIZED:
        what = f"there is no document {value}"
        findings.wrong(source, what, f'write document = "{ANONYMIZED}", or nothing')
    elif name == "view" and value != "identity":
        findings.wrong(source, f"there is no view {value}", 'write view = "identity", or nothing')
    elif name == "extends" and not _POLICY_NAME.fullmatch(value):
        findings.wrong(
            source,
            "extends names a policy of the same directory, without .toml",
            f'write extends = "{re.split(r"[/.]", value.removesuffix(".toml"))[-1] or "…"}"',
        )
    else:
        draft.settings[name] = Setting(value, source)


def _listed(name: str, text: str, entry: Entry, findings: Findings) -> bool:
    if name in ("labels", "requires") and text not in LABELS:
        findings.wrong(
            entry.at(text),
            f"{text} is not a label of the kind alteration integrity",
            offer(text, LABELS, "write one of " + ", ".join(sorted(LABELS))),
        )
        return False
    if name == "profiles" and not _URL.fullmatch(text):
        findings.wrong(entry.at(text), f"the profile {text} is no URL", "write its canonical URL")
        return False
    return True


def read_access(entry: Entry, draft: Draft, findings: Findings) -> None:
    """A line of ``[access]``: the interactions on one type."""
    name = entry.key[1]
    good = _resource(name, entry, findings)
    texts = _texts(entry, f'{name} = ["read", "search"]', findings)
    if texts is None:
        return
    for text in texts:
        if text not in (*INTERACTIONS, *OPERATIONS):
            known = (*INTERACTIONS, *(o for o, type_ in OPERATIONS.items() if type_ == name))
            findings.wrong(entry.at(text), f"there is no interaction {text}", offer(text, known))
            good = False
        elif OPERATIONS.get(text, name) != name:
            findings.wrong(
                entry.at(text),
                f"{name} has no operation {text}",
                f"write it for {OPERATIONS[text]}",
            )
            good = False
    if good:
        draft.settings[f"access.{name}"] = Setting(texts, entry.source)


def read_ids(entry: Entry, draft: Draft, findings: Findings) -> None:
    """A line of ``[ids]``: how the ids of one type, or of all others, are shown."""
    name, value = entry.key[1], entry.value
    known = RESOURCES | {"default"}
    if name not in known:
        findings.wrong(entry.source, f"{name} is not an R4 resource type", offer(name, known))
    elif value not in IDS:
        what = (
            f"ids are not shown as {value}"
            if isinstance(value, str)
            else (f"{name} is {kind(value)}, not text")
        )
        findings.wrong(entry.source, what, 'write "pseudonym" or "real"')
    else:
        draft.settings[f"ids.{name}"] = Setting(str(value), entry.source)


def read_codes(entry: Entry, draft: Draft, findings: Findings) -> None:
    """``systems`` of ``[codes]``: code systems, or the beginnings of many (policy.systems)."""
    name = entry.key[1]
    if name != "systems":
        findings.wrong(entry.source, f"[codes] has no key {name}", "write systems")
        return
    texts = _texts(entry, 'systems = ["http://loinc.org"]', findings)
    if texts is None:
        return
    for text in texts:
        if not re.fullmatch(r"(https?|urn):\S*", text):
            findings.wrong(
                entry.at(text), f"{text or 'the empty text'} begins no code system", "write a URI"
            )
        elif not _SYSTEM.fullmatch(text):
            findings.doubtful(
                entry.at(text),
                f"{text} is the beginning of local code systems too",
                "write the systems themselves",
            )
    draft.settings["codes.systems"] = Setting(texts, entry.source)


def read_ages(entry: Entry, draft: Draft, findings: Findings) -> None:
    """``oldest`` of ``[ages]``: the greatest age shown as it is, in years."""
    name = entry.key[1]
    if name != "oldest":
        findings.wrong(entry.source, f"ages has no key {name}", "write oldest")
    else:
        _number("ages.oldest", entry, draft, findings, 1, 120)


def read_search(entry: Entry, draft: Draft, findings: Findings) -> None:
    """A line of ``[search]``."""
    name, value = entry.key[1], entry.value
    full = f"search.{name}"
    if name == "page-size":
        _number(full, entry, draft, findings, 1, 1000)
    elif name == "window":
        _number(full, entry, draft, findings, 1, 1_000_000)
    elif name == "total":
        if value in TOTALS:
            draft.settings[full] = Setting(str(value), entry.source)
        else:
            what = (
                f"there is no total {value}"
                if isinstance(value, str)
                else (f"total is {kind(value)}, not text")
            )
            findings.wrong(entry.source, what, 'write "none" or "exact"')
    elif name in ("include", "chain"):
        texts = _texts(entry, f'{name} = ["Observation:subject"]', findings)
        if texts is not None:
            good = tuple(dict.fromkeys(t for t in texts if _path(t, entry, findings)))
            draft.settings[full] = Setting(good, entry.source)
    elif name in _TOP_KEYS:
        findings.wrong(entry.source, f"[search] has no key {name}", "move it above the tables")
    else:
        known = ("page-size", "total", "window", "include", "chain")
        findings.wrong(entry.source, f"[search] has no key {name}", offer(name, known))


def _path(text: str, entry: Entry, findings: Findings) -> bool:
    """``Type:parameter`` or ``Type:parameter:Target`` of a reference parameter."""
    base, _, rest = text.partition(":")
    code, _, target = rest.partition(":")
    where = entry.at(text)
    for name in (base, target) if target else (base,):
        if name not in RESOURCES:
            findings.wrong(where, f"{name} is not an R4 resource type", offer(name, RESOURCES))
            return False
    known = {p.code: p for p in SEARCH_PARAMETERS if base in p.bases and p.type == "reference"}
    if code not in known:
        findings.wrong(
            where,
            f"{base} has no search parameter {code} that is a reference",
            offer(code, known, f"write {base}: and one of its references"),
        )
        return False
    if target and target not in known[code].targets:
        mend = offer(target, known[code].targets, f"write {base}:{code}")
        findings.wrong(where, f"{base}:{code} has no target {target}", mend)
        return False
    return True


def read_extension(entry: Entry, findings: Findings) -> ExtensionLine | None:
    """A line of ``[extensions]``: ``"keep"``, ``"remove"`` (of a base's) or ``{ keep = […] }``."""
    url, value, source = entry.key[1], entry.value, entry.source
    good = True
    if not _URL.fullmatch(url):
        findings.wrong(source, f"{url} is no absolute URL", "write the extension's canonical URL")
        good = False
    if value in ("keep", "remove"):
        return ExtensionLine(url, None, value == "remove", source) if good else None
    form = 'write "keep" or { keep = ["part", "value[x]"] }'
    if not isinstance(value, dict):
        shown = value if isinstance(value, str) else kind(value)
        findings.wrong(source, f"an extension is not shown as {shown}", form)
        return None
    for key in value:
        if key != "keep":
            findings.wrong(source, f"an extension has no key {key}", form)
            good = False
    inner = Entry((*entry.key, "keep"), value.get("keep"), source, entry.text)
    parts = _texts(inner, '{ keep = ["part", "value[x]"] }', findings) if "keep" in value else None
    if parts is None or not good:
        return None
    if not parts:
        findings.wrong(source, "keep is empty, so the extension never shows", "take the line out")
        return None
    for part in parts:
        if not _PART.fullmatch(part):
            findings.wrong(entry.at(part), f"{part} is no part of an extension", _part_mend(part))
            good = False
        elif re.fullmatch(r"value[A-Zx]\w*", part):
            findings.wrong(entry.at(part), f"{part} is no part of an extension", "write value[x]")
            good = False
    return ExtensionLine(url, tuple(dict.fromkeys(parts)), False, source) if good else None


def _part_mend(part: str) -> str:
    if "://" in part or part.startswith("urn:"):
        return "give the URL its own line"
    if re.fullmatch(r"[\w-]+\.value\w*", part):
        return f"write {part.split('.')[0]}.value[x]"
    return "write its relative URL, value[x], or part.value[x]"


def _resource(name: str, entry: Entry, findings: Findings) -> bool:
    if name in RESOURCES:
        return True
    findings.wrong(
        entry.source,
        f"{name} is not an R4 resource type",
        offer(name, RESOURCES, "see R4 for its types"),
    )
    return False


def _texts(entry: Entry, form: str, findings: Findings) -> tuple[str, ...] | None:
    """A list of texts, or None if it was reported."""
    name, value = entry.key[-1], entry.value
    if not isinstance(value, list):
        findings.wrong(entry.source, f"{name} is {kind(value)}, not a list", f"write {form}")
        return None
    bad: Iterable[object] = [v for v in value if not isinstance(v, str)]
    for item in bad:
        findings.wrong(entry.source, f"{name} holds {kind(item)}, not text alone", f"write {form}")
        return None
    return tuple(value)


def _number(full: str, entry: Entry, draft: Draft, findings: Findings, low: int, high: int) -> None:
    value, source = entry.value, entry.source
    if type(value) is not int:
        what = f"{entry.key[-1]} is {kind(value)}, not a whole number"
        findings.wrong(source, what, f"write a number from {low} to {high}")
    elif not low <= value <= high:
        findings.wrong(
            source, f"{entry.key[-1]} is {value}", f"write a number from {low} to {high}"
        )
    else:
        draft.settings[full] = Setting(value, source)
