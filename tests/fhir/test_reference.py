"""References and URLs are read by their grammar."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.fhir.reference import Bases, is_id, normalise_base, parse_reference, parse_url

UP = "http://upstream:8080/fhir"
LONG = "a" * 64

FORMS = [
    # text, kind, base, type, id, version, fragment
    ("Patient/123", "relative", UP, "Patient", "123", "", ""),
    ("Patient/MRN-1.2/_history/3", "relative", UP, "Patient", "MRN-1.2", "3", ""),
    ("Patient/123#p1", "relative", UP, "Patient", "123", "", "p1"),
    (f"Patient/{LONG}", "relative", UP, "Patient", LONG, "", ""),
    ("FutureThing/1", "relative", UP, "FutureThing", "1", "", ""),
    (f"{UP}/Patient/123", "absolute", UP, "Patient", "123", "", ""),
    (f"{UP}/Patient/123/", "absolute", UP, "Patient", "123", "", ""),
    (f"{UP}/Patient/123/_history/3", "absolute", UP, "Patient", "123", "3", ""),
    ("HTTP://UPSTREAM:8080/fhir/Patient/1", "absolute", UP, "Patient", "1", "", ""),
    ("http://upstream:8080/./x/../fhir/Patient/1", "absolute", UP, "Patient", "1", "", ""),
    ("http://upstream:8080/%66hir/Patient/%31", "absolute", UP, "Patient", "1", "", ""),
    ("https://h:443/Patient/1", "absolute", "https://h", "Patient", "1", "", ""),
    ("http://h/Patient/1/_history/2", "absolute", "http://h", "Patient", "1", "2", ""),
    ("http://h/a/Patient/1#x", "absolute", "http://h/a", "Patient", "1", "", "x"),
    ("http://[2001:db8::1]:8080/Patient/1", "absolute", "http://[2001:db8::1]:8080", "Patient",
     "1", "", ""),
    ("http://loinc.org", "absolute", "", "", "", "", ""),
    ("http://h/page?x=1", "absolute", "", "", "", "", ""),
    ("http://h/Patient/1%2F2", "absolute", "", "", "", "", ""),
    ("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "urn", "", "", "", "", ""),
    ("urn:oid:1.2.3", "urn", "", "", "", "", ""),
    ("#p1", "fragment", "", "", "", "", "p1"),
    ("#", "fragment", "", "", "", "", ""),
    ("Patient?identifier=a|b", "conditional", UP, "Patient", "", "", ""),
    (f"{UP}/Patient?identifier=x", "conditional", UP, "Patient", "", "", ""),
    ("", "invalid", "", "", "", "", ""),
    ("Patient", "invalid", "", "", "", "", ""),
    ("Patient/..", "invalid", "", "", "", "", ""),
    ("Patient/1/2", "invalid", "", "", "", "", ""),
    ("Patient/1/_history/..", "invalid", "", "", "", "", ""),
    (f"Patient/{LONG}a", "invalid", "", "", "", "", ""),
    ("Patient/a b", "invalid", "", "", "", "", ""),
    ("Patient/1\n", "invalid", "", "", "", "", ""),
    ("patient/1", "invalid", "", "", "", "", ""),
    ("/Patient/1", "invalid", "", "", "", "", ""),
    ("//evil.example/Patient/1", "invalid", "", "", "", "", ""),
    ("../Patient/1", "invalid", "", "", "", "", ""),
    ("http://[::1/Patient/1", "invalid", "", "", "", "", ""),
    ("http://h:port/Patient/1", "invalid", "", "", "", "", ""),
    ("http:///Patient/1", "invalid", "", "", "", "", ""),
    ("http://h\\@x/Patient/1", "invalid", "", "", "", "", ""),
    ("http://h/Pat\tient/1", "invalid", "", "", "", "", ""),
    ("http://h/%zz", "invalid", "", "", "", "", ""),
    ("ftp://h/Patient/1", "invalid", "", "", "", "", ""),
    ("javascript:alert(1)", "invalid", "", "", "", "", ""),
    ("urn:uuid:", "invalid", "", "", "", "", ""),
    ("urn:uuid:a b", "invalid", "", "", "", "", ""),
    (17, "invalid", "", "", "", "", ""),
    (None, "invalid", "", "", "", "", ""),
]


@pytest.mark.parametrize(
    ("text", "kind", "base", "type_", "id_", "version", "fragment"),
    FORMS,
    ids=[repr(row[0])[:50] for row in FORMS],
)
def test_forms(
    text: object, kind: str, base: str, type_: str, id_: str, version: str, fragment: str
) -> None:
    """Every form of a literal reference is told apart, and its parts are found (R-ID-4)."""
    found = parse_reference(text, UP)
    assert (found.kind, found.base, found.type, found.id, found.version, found.fragment) == (
        kind, base, type_, id_, version, fragment,
    )


@pytest.mark.parametrize(
    "text",
    [
        "Patient/1", "Patient/1/_history/9", "Patient/1#x", f"{UP}/Patient/1",
        "HTTP://Upstream:8080/fhir/Patient/%31/", "http://upstream:8080/x/../fhir/Patient/1",
    ],
)
def test_one_thing_has_one_identity(text: str) -> None:
    """All spellings of one resource's URL name one thing; versions and fragments do not count."""
    assert parse_reference(text, UP).identity == f"{UP}/Patient/1"


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("URN:UUID:ABCDEF", "urn:uuid:abcdef"),
        ("urn:OID:1.2.3", "urn:oid:1.2.3"),
        ("http://Example.org/a/../b#c", "http://example.org/b"),
        ("#p1", ""),
        ("Patient?x=1", ""),
        ("nonsense", ""),
    ],
)
def test_identity_of_other_forms(text: str, identity: str) -> None:
    """A urn and a plain URL name themselves; what is no literal reference names nothing."""
    assert parse_reference(text, UP).identity == identity


def test_relative_without_base_names_nothing() -> None:
    """A relative reference is a thing only at a base."""
    assert parse_reference("Patient/1").identity == ""


BASES = Bases(UP, ["https://ehr.example.org/fhir/", "http://upstream:8080/fhir/nested"])
PUBLIC = "https://public.example/fhir"

REBASED = [
    (f"{UP}/Patient/1", f"{PUBLIC}/Patient/1"),
    (UP, PUBLIC),
    (f"{UP}/", PUBLIC),
    (f"{UP}?_getpages=abc&x=%20", f"{PUBLIC}?_getpages=abc&x=%20"),
    (f"{UP}/Patient/1/_history/2#x", f"{PUBLIC}/Patient/1/_history/2#x"),
    ("https://EHR.example.org:443/fhir/Patient?name=a%2Cb", f"{PUBLIC}/Patient?name=a%2Cb"),
    ("http://upstream:8080/fhir/nested/Patient/1", f"{PUBLIC}/Patient/1"),
    ("http://upstream:8080/fhirx/Patient/1", None),
    ("http://upstream:8080/fhir/../Patient/1", None),
    ("http://upstream:8080/fhir/%2e%2e/Patient/1", None),
    ("http://upstream:80/fhir/Patient/1", None),
    ("https://upstream:8080/fhir/Patient/1", None),
    ("http://upstream:8080.evil.example/fhir/Patient/1", None),
    ("http://upstream:8080@evil.example/fhir/Patient/1", None),
    ("http://user@upstream:8080/fhir/Patient/1", None),
    ("Patient/1", None),
    ("urn:uuid:a", None),
]


@pytest.mark.parametrize(("text", "expected"), REBASED, ids=[row[0] for row in REBASED])
def test_rebase(text: str, expected: str | None) -> None:
    """Only what really lies below a base moves to the public base."""
    assert BASES.rebase(text, PUBLIC) == expected


def test_bases() -> None:
    """An alias means the upstream as its own URL does; a base is compared normalised."""
    assert BASES.main == UP
    assert "https://ehr.example.org/fhir" in BASES
    assert "http://other/fhir" not in BASES
    assert sorted(BASES) == [
        "http://upstream:8080/fhir", "http://upstream:8080/fhir/nested",
        "https://ehr.example.org/fhir",
    ]


@pytest.mark.parametrize("base", ["", "fhir", "ftp://h/fhir", "http://h/fhir?x", "http://h/#f"])
def test_not_a_base(base: str) -> None:
    """What is no http(s) URL, or has query or fragment, is no service base."""
    with pytest.raises(ValueError, match="a base must be"):
        normalise_base(base)


@pytest.mark.parametrize(
    ("text", "legal"),
    [("a", True), ("A-b.9", True), ("." * 3, True), (LONG, True), (LONG + "a", False),
     ("", False), (".", False), ("..", False), ("a_b", False), ("é", False), ("a\n", False)],
)
def test_ids(text: str, legal: bool) -> None:
    """The pattern of R4 less the dot segments."""
    assert is_id(text) is legal


@settings(deadline=None)
@given(st.text() | st.from_regex(r"https?://[ -~]*", fullmatch=True))
def test_any_text_is_read(text: str) -> None:
    """No text raises; a normalised URL is its own normal form; an identity names itself."""
    found = parse_reference(text, UP)
    if found.identity and found.kind in ("relative", "absolute"):
        assert parse_reference(found.identity).identity == found.identity
    url = parse_url(text)
    if url is not None:
        assert parse_url(str(url)) == url
