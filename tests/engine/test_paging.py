"""Page tokens: sealed, padded, bound."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from string import ascii_uppercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.engine.paging import Binding, Cursor, Page, bind, seal, unseal
from proxy.errors import Gone, NotFound, UpstreamBroken
from proxy.policy.model import Caller

KEY = bytes(range(32))
NOW = datetime(2026, 3, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
CALLER = Caller(
    "https://id.example", "u1", "researcher", "study-7",
    {"conditions": ["a", "b"], "exp": 1, "jti": "x"}, frozenset({"user/*.rs", "openid"}),
)
PAGE = Page(
    (("gender", "female"), ("_count", "2")),
    Cursor("http://up/fhir?_getpages=1", 3, "Patient/4", "Patient/3", 12),
)
BINDING = bind(CALLER, "digest", "Patient")


def test_round_trip() -> None:
    """R-PG-1: a token gives back the page; it shows nothing of it and changes with any byte."""
    token = seal(PAGE, KEY, BINDING, LATER)
    assert unseal(token, KEY, BINDING, NOW) == PAGE
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


STRANGERS = [
    ("issuer", bind(replace(CALLER, issuer="https://other.example"), "digest", "Patient")),
    ("subject", bind(replace(CALLER, subject="u2"), "digest", "Patient")),
    ("type", bind(CALLER, "digest", "Observation")),
]
CHANGES = [
    ("role", bind(replace(CALLER, role="investigator"), "digest", "Patient")),
    ("project", bind(replace(CALLER, project="study-8"), "digest", "Patient")),
    ("scopes", bind(replace(CALLER, scopes=frozenset({"openid"})), "digest", "Patient")),
    ("no scopes", bind(replace(CALLER, scopes=None), "digest", "Patient")),
    ("claims", bind(replace(CALLER, claims={"conditions": ["a"]}), "digest", "Patient")),
    ("policy", bind(CALLER, "tightened", "Patient")),
]


@pytest.mark.parametrize("binding", [b for _, b in STRANGERS], ids=[n for n, _ in STRANGERS])
def test_useless_to_others(binding: Binding) -> None:
    """R-PG-2: a token of another caller or type is no token."""
    token = seal(PAGE, KEY, BINDING, LATER)
    with pytest.raises(NotFound):
        unseal(token, KEY, binding, NOW)


@pytest.mark.parametrize("binding", [b for _, b in CHANGES], ids=[n for n, _ in CHANGES])
def test_does_not_outlive_a_change(binding: Binding) -> None:
    """R-PG-6: a token that was given under another role, policy, claim … is gone, and says so."""
    token = seal(PAGE, KEY, BINDING, LATER)
    with pytest.raises(Gone, match="search again"):
        unseal(token, KEY, binding, NOW)


def test_refreshed_bearer_goes_on() -> None:
    """R-PG-6: a new bearer token of the same caller continues; only its own claims differ."""
    refreshed = replace(CALLER, claims={"jti": "y", "exp": 2, "conditions": ["a", "b"]})
    token = seal(PAGE, KEY, BINDING, LATER)
    assert unseal(token, KEY, bind(refreshed, "digest", "Patient"), NOW) == PAGE


def test_expiry() -> None:
    """A token lives until its expiry, then it is gone."""
    token = seal(PAGE, KEY, BINDING, LATER)
    assert unseal(token, KEY, BINDING, LATER) == PAGE
    with pytest.raises(Gone):
        unseal(token, KEY, BINDING, LATER + timedelta(seconds=1))


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_judged(text: str) -> None:
    """What is no token of ours is not found, whatever it is."""
    with pytest.raises(NotFound):
        unseal(text, KEY, BINDING, NOW)


def test_one_spelling() -> None:
    """A token is the characters that were given and no others, though Base64 would pass over them:
    a self link repeats it."""
    token = seal(PAGE, KEY, BINDING, LATER)
    for text in (f"{token[:9]}!{token[9:]}", f"{token}=", f" {token}", f"{token[:9]}\n{token[9:]}",
                 *(token[:-1] + last for last in ascii_uppercase if last != token[-1])):
        with pytest.raises(NotFound):
            unseal(text, KEY, BINDING, NOW)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.text(max_size=64), st.text(max_size=64),
       st.none() | st.integers(0, 2**31))
def test_length_tells_nothing(offset: int, row: str, before: str, total: int | None) -> None:
    """The length of a token depends on the query alone, not on where the page begins."""
    cursor = Cursor("http://up/fhir?_getpages=1&_getpagesoffset=" + str(offset), offset, row,
                    before, total)
    token = seal(Page(PAGE.query, cursor), KEY, BINDING, LATER)
    assert len(token) == len(seal(Page(PAGE.query), KEY, BINDING, LATER))
    assert unseal(token, KEY, BINDING, NOW).cursor == cursor


def test_a_proxy_can_stand_before_a_proxy() -> None:
    """A link of ours fits into a token: the upstream may be another proxy."""
    below = seal(Page(PAGE.query, Cursor("http://up/fhir?" + "x" * 900)), KEY, BINDING, LATER)
    cursor = Cursor(f"http://source/fhir/Observation?_page={below}", 3)
    token = seal(Page(PAGE.query, cursor), KEY, BINDING, LATER)
    assert unseal(token, KEY, BINDING, NOW).cursor == cursor


def test_endless_link_is_refused() -> None:
    """An upstream link beyond all measure is an upstream that is broken."""
    with pytest.raises(UpstreamBroken):
        seal(Page((), Cursor("http://up/fhir?" + "x" * 5000)), KEY, BINDING, LATER)
