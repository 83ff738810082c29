"""Names shown instead of real ones: legal, stable, separate, and leading back."""

from __future__ import annotations

import hashlib
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Forbidden
from proxy.lenses.ciphers import ALPHABET
from proxy.lenses.identity import (
    DOCUMENT_SYSTEM,
    IDENTIFIER_SYSTEM,
    Namer,
    Namers,
    canonical_document,
    document_spellings,
)
from proxy.lenses.keys import KeyRing
from tests.vectors import read

TODAY = date(2026, 1, 31)
FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
UUID_URN = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def ring() -> KeyRing:
    service, master = (hashlib.sha256(name).digest() for name in (b"service", b"one"))
    return KeyRing.new(service, master, TODAY)


def rotated() -> KeyRing:
    return ring().rotate(hashlib.sha256(b"two").digest(), TODAY)


NAMERS = Namers(ring())
NAMER = NAMERS.of("study-7", "researcher-limited")

legal_ids = st.text(ALPHABET, min_size=1, max_size=64)
types = st.sampled_from(["Patient", "Observation", "Bundle", "MedicationAdministration"])


@given(types, legal_ids)
def test_r_id_5_ids_are_legal_and_lead_back(type_: str, real: str) -> None:
    """R-ID-5: every legal id becomes a legal id, of at most 64 characters, that decodes to it."""
    shown = NAMER.show_id(type_, real)
    assert FHIR_ID.fullmatch(shown)
    assert shown != real
    assert NAMER.real_ids(type_, shown) == (real,)


def test_forms_by_length() -> None:
    """Up to 40 characters: key version and AES-SIV, 40 fill exactly 64. From 41 on: FF1, the same
    length."""
    lengths = {n: len(NAMER.show_id("Patient", "a" * n)) for n in range(1, 65)}
    assert lengths[1] == 24
    assert lengths[40] == 64
    assert all(24 <= lengths[n] <= 64 for n in range(1, 41))
    assert all(lengths[n] == n for n in range(41, 65))
    assert all(NAMER.show_id("Patient", "a" * n)[0] == "1" for n in range(1, 41))


def test_r_id_5_a_hundred_thousand_patients() -> None:
    """R-ID-5: the ids of 100 000 patients are all distinct, and another type's differ."""
    shown = {NAMER.show_id("Patient", str(number)) for number in range(100_000)}
    assert len(shown) == 100_000
    assert NAMER.show_id("Observation", "7") != NAMER.show_id("Patient", "7")
    assert NAMER.real_ids("Observation", NAMER.show_id("Patient", "7")) == ()
    long = "x" * 50
    assert NAMER.show_id("Observation", long) != NAMER.show_id("Patient", long)


@pytest.mark.parametrize(
    "real",
    [
        "MRN-1032702",
        "patient-ecr-eve-everywoman",
        "observation-travel-history-eve-everywoman-1999",
        "A" * 40,
        "." * 64,
    ],
)
def test_r_id_2_r_id_3_views_share_nothing(real: str) -> None:
    """R-ID-2, R-ID-3: roles and projects see different ids of one resource, with no common part
    and nothing of the real one."""
    shown = [
        NAMERS.of(project, policy).show_id("Patient", real)
        for project in ("study-7", "study-8")
        for policy in ("researcher-limited", "researcher-deidentified")
    ]
    for number, one in enumerate(shown):
        assert not common(one, real)
        assert all(not common(one[1:], other[1:]) for other in shown[number + 1 :])


def common(one: str, other: str, length: int = 5) -> bool:
    """Whether the texts share a run of ``length`` characters."""
    return any(one[i : i + length] in other for i in range(len(one) - length + 1))


@pytest.mark.parametrize(
    "shown",
    [
        *("", "1", "123", "never", "patient-ecr-eve-everywoman", "1" * 40, "A" * 40, "1" * 24),
        *("a" * 65, "a" * 10_000, "a_" * 25, "ä" * 50, "a b", "Patient/1", "1\n", "\0" * 50),
    ],
)
def test_what_cannot_be_ours_has_no_candidate(shown: str) -> None:
    """Short strings that do not verify, and what is no legal id, are answered without asking."""
    assert NAMER.real_ids("Patient", shown) == ()


def test_forged_long_ids_have_one_candidate_a_key() -> None:
    """A string of 41 to 64 characters that AES-SIV does not verify is asked for under each
    accepted key, so forged, foreign and deleted ids cause the same number of calls."""
    old, new = NAMER, Namers(rotated()).of("study-7", "researcher-limited")
    tampered = old.show_id("Patient", "a" * 30)[:-2] + ".."
    foreign = Namers(ring()).of("another", "researcher-limited").show_id("Patient", "a" * 30)
    for shown in (tampered, foreign, "0" * 41, "never-" * 10, NAMER.show_id("Patient", "b" * 64)):
        assert len(old.real_ids("Patient", shown)) == 1
        assert len(new.real_ids("Patient", shown)) == 2
        for candidate in new.real_ids("Patient", shown):
            assert FHIR_ID.fullmatch(candidate)
            assert len(candidate) == len(shown)


def test_old_pseudonyms_lead_back_and_new_ones_are_shown() -> None:
    """After a rotation the old pseudonyms still decode; what is shown is the new one."""
    old, new = NAMER, Namers(rotated()).of("study-7", "researcher-limited")
    for real in ("123", "x" * 60):
        before, after = old.show_id("Patient", real), new.show_id("Patient", real)
        assert before != after
        assert real in new.real_ids("Patient", before)
        assert new.real_ids("Patient", after)[0] == real
        assert real not in old.real_ids("Patient", after)
    assert new.real_ids("Patient", old.show_id("Patient", "123")) == ("123",)
    assert new.real_identifier(*old.show_identifier("s", "v")) == ("s", "v")
    system, value = old.show_document_identifier("doc")
    assert new.real_document_identifier(system, value) == "doc"
    assert new.show_document_identifier("doc") != (system, value)


@pytest.mark.parametrize("mark", ["2", "Z", "-", "."])
def test_unknown_key_versions_have_no_candidate(mark: str) -> None:
    """A pseudonym that names a key version we do not have does not verify."""
    shown = NAMER.show_id("Patient", "123")
    assert len(shown) <= 40
    assert NAMER.real_ids("Patient", mark + shown[1:]) == ()
    system, value = NAMER.show_identifier("s", "v")
    assert NAMER.real_identifier(system, mark + value[1:]) is None


@pytest.mark.parametrize("real", ["RR-FHIR-001_R2_1", "a" * 65, "", "ä", "a b", "a/b", "\ud800"])
def test_ids_that_are_not_legal_lead_nowhere(real: str) -> None:
    """What FHIR does not allow as an id still gets a legal, stable name: a UUID that routes
    nowhere."""
    shown = NAMER.show_id("Composition", real)
    assert UUID(shown).version == 8
    assert shown == NAMER.show_id("Composition", real)
    assert shown != NAMER.show_id("Patient", real)
    assert NAMER.real_ids("Composition", shown) == ()


@given(st.uuids())
def test_urn_uuids_stay_uuids_without_collision(uuid: UUID) -> None:
    """A urn:uuid becomes another, the same for every spelling of it; the mapping is one AES block,
    so that no two meet."""
    shown = NAMER.show_uri(f"urn:uuid:{uuid}")
    assert UUID_URN.fullmatch(shown)
    assert shown != f"urn:uuid:{uuid}"
    for spelling in (
        f"urn:uuid:{uuid}".upper(),
        f"URN:uuid:{uuid}",
        f"urn:UUID:{str(uuid).upper()}",
    ):
        assert NAMER.show_uri(spelling) == shown


@pytest.mark.parametrize(
    "uri",
    [
        "http://sender.example/fhir/Patient/1",
        "urn:oid:1.2.3",
        "urn:uuid:2.16.840.1.113883.19.5.99999.20",
        "urn:uuid:",
        "urn:uuid:db734647-fc99-424c-a864-7e3cda82e89xw",
        "http://base/Bundle/1#3",
        "x" * 2000,
        "",
    ],
)
def test_other_uris_become_version_8_uuids(uri: str) -> None:
    """What is no UUID after urn:uuid:, and every other URI, becomes the UUID of its HMAC."""
    shown = NAMER.show_uri(uri)
    assert UUID_URN.fullmatch(shown)
    assert UUID(shown[9:]).version == 8
    assert UUID(shown[9:]).variant == "specified in RFC 4122"
    assert NAMERS.of("study-8", "researcher-limited").show_uri(uri) != shown


def test_two_senders_are_two_persons() -> None:
    """Equal ids under different bases have different names."""
    assert NAMER.show_uri("http://a/Patient/1") != NAMER.show_uri("http://b/Patient/1")


texts = st.text(min_size=1, max_size=80)


@given(st.none() | st.text(max_size=80), texts)
def test_identifiers_lead_back(system: str | None, value: str) -> None:
    """R-ID-7: an identifier's pseudonym decodes to its system and value, whatever they hold."""
    shown = NAMER.show_identifier(system, value)
    assert shown[0] == IDENTIFIER_SYSTEM
    assert FHIR_ID.fullmatch(shown[1][:64])
    assert set(shown[1]) <= set(ALPHABET)
    assert NAMER.real_identifier(*shown) == (system, value)


def test_identifiers_are_bound_to_system_project_and_kind() -> None:
    """One value under two systems has two pseudonyms; none decodes elsewhere."""
    system, value = NAMER.show_identifier("urn:oid:1.2", "MRN-1")
    assert NAMER.show_identifier("urn:oid:1.3", "MRN-1") != (system, value)
    assert NAMER.show_identifier(None, "MRN-1") != (system, value)
    assert NAMERS.of("study-8", "researcher-limited").real_identifier(system, value) is None
    for bad in ("", "1", value[:-1], value + "A", value.swapcase(), "MRN-1", "1" + "\n" * 40):
        assert NAMER.real_identifier(system, bad) is None
    assert NAMER.real_identifier("urn:oid:1.2", value) is None
    assert NAMER.real_identifier(None, value) is None
    assert NAMER.real_document_identifier(DOCUMENT_SYSTEM, value) is None


def test_identifiers_hide_their_length() -> None:
    """Values of different length have pseudonyms of one length, up to a block."""
    lengths = {len(NAMER.show_identifier("urn:oid:1.2", "9" * n)[1]) for n in range(3, 10)}
    assert len(lengths) <= 2


DOCUMENTS = [
    ("2be4b4e4-6df1-4cb2-a947-c70fa0eda34d", "2BE4B4E4-6DF1-4CB2-A947-C70FA0EDA34D",
     "urn:uuid:2be4b4e4-6df1-4cb2-a947-c70fa0eda34d",
     "URN:UUID:2BE4B4E4-6DF1-4CB2-A947-C70FA0EDA34D",
     "URN:UUID:2be4b4e4-6df1-4cb2-a947-c70fa0eda34d"),
    ("1.2.840.114350.1.13.212.2.7.8", "urn:oid:1.2.840.114350.1.13.212.2.7.8"),
    ("urn:uuid:2.16.840.1.113883.19.5.99999.20", "2.16.840.1.113883.19.5.99999.20"),
    ("IHEEX-33159", "iheex-33159", "urn:oid:IHEEX-33159"),
    # In mixed case: a name of its own, which is found by it.
    ("urn:uuid:2BE4B4E4-6df1-4cb2-a947-c70fa0eda34d", "2BE4B4E4-6df1-4cb2-a947-c70fa0eda34d"),
    ("Report 17", "urn:uuid:Report 17"),
    (" x ", "URN:OID: x ", " X "),
    ("urn:uuid:urn:uuid:x", "URN:OID:urn:uuid:x"),
    ("urn:uuid:db734647-fc99-424c-a864-7e3cda82e89xw", "db734647-fc99-424c-a864-7e3cda82e89xw"),
]  # fmt: skip


@pytest.mark.parametrize("spellings", DOCUMENTS, ids=[d[0] for d in DOCUMENTS])
def test_documents_have_one_pseudonym_in_every_spelling(spellings: tuple[str, ...]) -> None:
    """R-ID-6: a document's identifier has one pseudonym, with or without its urn prefix and in
    lower or upper case, and it decodes to the canonical value; a search asks for every spelling
    that has it."""
    shown = shown_by(spellings)
    assert len(shown) == 1
    canonical = NAMER.real_document_identifier(*shown.pop())
    assert canonical == canonical_document(spellings[0])
    found = document_spellings(canonical)
    assert set(spellings) <= set(found)
    assert len(found) == len(set(found))


def shown_by(spellings: tuple[str, ...]) -> set[tuple[str, str]]:
    return {NAMER.show_document_identifier(spelling) for spelling in spellings}


@given(st.text("aB1ß\u0130urn:id :", max_size=12), st.sampled_from(["", "urn:uuid:", "URN:OID:"]))
def test_whatever_has_a_pseudonym_is_found_by_it(bare: str, prefix: str) -> None:
    """R-ID-6: among the spellings asked for stands every one that is shown as the pseudonym."""
    value = prefix + bare
    canonical = NAMER.real_document_identifier(*NAMER.show_document_identifier(value))
    assert canonical is not None
    assert value in document_spellings(canonical)
    assert canonical_document(f"urn:uuid:{canonical}") == canonical


@given(st.text(max_size=700))
def test_document_identifiers_of_any_text(value: str) -> None:
    """Whatever stands there gets a name that leads to its canonical value."""
    shown = NAMER.show_document_identifier(value)
    assert shown[0] == DOCUMENT_SYSTEM
    assert NAMER.real_document_identifier(*shown) == canonical_document(value)


def test_a_project_is_needed() -> None:
    """A view that makes pseudonyms needs a project."""
    with pytest.raises(Forbidden):
        NAMERS.of("", "researcher-limited")


def test_namers_are_shared() -> None:
    """One project and policy have one Namer, with one cache."""
    assert NAMERS.of("study-7", "researcher-limited") is NAMER
    assert NAMERS.of("study-7", "researcher-deidentified") is not NAMER


def test_names_come_out_the_same_in_threads() -> None:
    """Documents rewritten in threads take the same names."""
    fresh = Namers(ring()).of("study-7", "researcher-limited")
    reals = [f"id-{number % 150}" * (1 + number % 8) for number in range(1200)]
    with ThreadPoolExecutor(4) as pool:
        shown = list(pool.map(lambda real: fresh.show_id("Patient", real), reals))
    assert shown == [NAMER.show_id("Patient", real) for real in reals]


def test_pseudonyms_are_frozen() -> None:
    """What earlier releases showed is shown for ever, and still decodes."""
    vectors = read("pseudonyms.json")
    masters = [bytes.fromhex(text) for text in vectors["masters"]]
    keys = KeyRing.new(hashlib.sha256(b"service").digest(), masters[0], TODAY)
    for master in masters[1:]:
        keys = keys.rotate(master, TODAY)
    namer = Namer(keys.project(vectors["project"], vectors["policy"]))
    for case in vectors["ids"]:
        assert namer.show_id(case["type"], case["real"]) == case["shown"]
        if case["routable"]:
            assert namer.real_ids(case["type"], case["shown"])[0] == case["real"]
    for case in vectors["older ids"]:
        assert case["real"] in namer.real_ids(case["type"], case["shown"])
    for case in vectors["uris"]:
        assert namer.show_uri(case["real"]) == case["shown"]
    for case in vectors["identifiers"]:
        shown = namer.show_identifier(case["system"], case["value"])
        assert shown == (case["shown system"], case["shown"])
    for case in vectors["documents"]:
        shown = namer.show_document_identifier(case["value"])
        assert shown == (case["shown system"], case["shown"])
    for case in vectors["persons"]:
        assert namer.show_person(case["bearer"]) == case["shown"]


def test_every_id_of_the_examples_leads_back(shared: Path) -> None:
    """Every id of the published eCR examples is shown legally, distinctly, and decodes."""
    found: set[tuple[str, str]] = set()

    def collect(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("resourceType"), str) and isinstance(value.get("id"), str):
                found.add((value["resourceType"], value["id"]))
            for item in value.values():
                collect(item)
        elif isinstance(value, list):
            for item in value:
                collect(item)

    for file in sorted((shared / "ecr-examples" / "fhir").rglob("*.json")):
        collect(json.loads(file.read_text("utf-8")))
    assert len(found) > 300
    shown = {(type_, NAMER.show_id(type_, real)): real for type_, real in found}
    assert len(shown) == len(found)
    for (type_, id_), real in shown.items():
        assert FHIR_ID.fullmatch(id_)
        assert NAMER.real_ids(type_, id_) == ((real,) if FHIR_ID.fullmatch(real) else ())


def test_names_cost_microseconds() -> None:
    """A short id costs some microseconds, a long one a fraction of a millisecond, a known one
    next to nothing (design section 6; generous bounds for a busy machine)."""
    fresh = Namers(ring()).of("study-7", "researcher-limited")
    short, long = [f"id-{n}" for n in range(2000)], [f"{n:060d}" for n in range(500)]
    assert spent(fresh, short) < 200e-6
    assert spent(fresh, long) < 3000e-6
    assert spent(fresh, short) < 20e-6


def spent(namer: Namer, reals: list[str]) -> float:
    """Seconds of processor time per id."""
    start = time.process_time()
    for real in reals:
        namer.show_id("Patient", real)
    return (time.process_time() - start) / len(reals)
