"""Requests are classified once, from the raw target, by a closed grammar."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import (
    BadStructure,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    ProxyError,
)
from proxy.fhir.interaction import ROUTES, Interaction, classify

KNOWN = [
    ("GET", "/metadata", Interaction("capabilities")),
    ("HEAD", "/metadata", Interaction("capabilities", head=True)),
    ("GET", "/.well-known/smart-configuration", Interaction("smart-configuration")),
    ("GET", "/Patient/123", Interaction("read", "Patient", "123")),
    ("HEAD", "/Patient/123", Interaction("read", "Patient", "123", head=True)),
    ("GET", "/Patient/123/", Interaction("read", "Patient", "123")),
    ("GET", "/Patient/Patient", Interaction("read", "Patient", "Patient")),
    ("GET", "/%50atient/%31", Interaction("read", "Patient", "1")),
    ("GET", "/Patient/1?_elements=a%2Cb", Interaction("read", "Patient", "1",
                                                      query="_elements=a%2Cb")),
    ("GET", "/Patient", Interaction("search-type", "Patient")),
    ("GET", "/Patient/?a=b?c", Interaction("search-type", "Patient", query="a=b?c")),
    ("POST", "/Patient/_search", Interaction("search-type", "Patient", post=True)),
    ("GET", "/Patient/1/_history/2", Interaction("vread", "Patient", "1", "2")),
    ("GET", "/Patient/1/_history", Interaction("history-instance", "Patient", "1")),
    ("GET", "/Patient/_history", Interaction("history-type", "Patient")),
    ("GET", "/_history", Interaction("history-system")),
    ("GET", "/Composition/1/$document",
     Interaction("operation", "Composition", "1", operation="$document")),
    ("HEAD", "/Composition/1/%24document?_pretty=true",
     Interaction("operation", "Composition", "1", query="_pretty=true", head=True,
                 operation="$document")),
    ("POST", "/Patient/1/$everything",
     Interaction("operation", "Patient", "1", post=True, operation="$everything")),
    ("POST", "", Interaction("batch", post=True)),
    ("POST", "/", Interaction("batch", post=True)),
]


@pytest.mark.parametrize(
    ("method", "target", "expected"), KNOWN, ids=[f"{m} {t}" for m, t, _ in KNOWN]
)
def test_known(method: str, target: str, expected: Interaction) -> None:
    """Every row of the grammar is found, with its parts decoded once."""
    assert classify(method, target) == expected


REFUSED = [
    # R-RT-1, R-RT-2
    ("GET", "/Patient/%2e%2e/%2e%2e/actuator/env", BadStructure),
    ("GET", "/Patient/../Patient/1", BadStructure),
    ("GET", "/./Patient/1", BadStructure),
    ("GET", "/Patient%2F1", BadStructure),
    ("GET", "/Patient%2f1", BadStructure),
    ("GET", "/Patient/1%5c2", BadStructure),
    ("GET", "//Patient/1", BadStructure),
    ("GET", "/Patient//1", BadStructure),
    ("GET", "/Patient/1//", BadStructure),
    ("GET", "//", BadStructure),
    ("GET", "/Patient\\1", BadStructure),
    ("GET", "/Patient/1%00", BadStructure),
    ("GET", "/Patient/1%0d%0aX:y", BadStructure),
    ("GET", "/Patient/1\x00", BadStructure),
    ("GET", "/Patient/a b", BadStructure),
    ("GET", "/Patient/é", BadStructure),
    ("GET", "/Patient/%ff", BadStructure),
    ("GET", "/Patient/%zz", BadStructure),
    ("GET", "/Patient/%", BadStructure),
    ("GET", "/Patient/1#x", BadStructure),
    ("GET", "/Patient?x=1#y", BadStructure),
    ("GET", "/Patient?x=a b", BadStructure),
    ("GET", "Patient/1", BadStructure),
    ("GET", "http://evil.example/fhir/Patient", BadStructure),
    ("GET", "/http://evil.example/Patient", BadStructure),
    ("PUT", "/Patient/../1", BadStructure),
    # Decoded exactly once: what is left encoded is no id.
    ("GET", "/Patient/%2531", NotFound),
    ("GET", "/Patient/%252e%252e", NotFound),
    # R-RT-3
    ("GET", "", NotFound),
    ("GET", "/", NotFound),
    ("GET", "/actuator/prometheus", NotFound),
    ("GET", "/swagger-ui/index.html", NotFound),
    ("GET", "/api-docs", NotFound),
    ("GET", "/DEFAULT/Patient/1", NotFound),
    ("GET", "/patient/1", NotFound),
    ("GET", "/Resource/1", NotFound),
    ("GET", "/DomainResource", NotFound),
    ("GET", "/HumanName/1", NotFound),
    ("GET", "/Foo", NotFound),
    ("GET", "/Patient/a_b", NotFound),
    ("GET", "/Patient/" + "a" * 65, NotFound),
    ("GET", "/Patient/1;x=y", NotFound),
    ("GET", "/Patient/_search", NotFound),
    ("POST", "/_search", NotFound),
    ("GET", "/Patient/1/Observation", NotFound),
    ("GET", "/Patient/1/*", NotFound),
    ("GET", "/Patient/1/_history/2/x", NotFound),
    ("GET", "/metadata/x", NotFound),
    ("GET", "/.well-known/openid-configuration", NotFound),
    # R-RT-6, R-WR-1, R-OP-3: writes
    ("POST", "/Patient", MethodNotAllowed),
    ("POST", "/Subscription", MethodNotAllowed),
    ("POST", "/Patient/1", MethodNotAllowed),
    ("POST", "/Patient/1?_method=PUT", MethodNotAllowed),
    ("PUT", "/Patient/1", MethodNotAllowed),
    ("PUT", "/Patient?identifier=x", MethodNotAllowed),
    ("PATCH", "/Patient/1", MethodNotAllowed),
    ("DELETE", "/Patient/1", MethodNotAllowed),
    ("DELETE", "/Foo/1", MethodNotAllowed),
    ("POST", "/metadata", MethodNotAllowed),
    ("OPTIONS", "/Patient", MethodNotAllowed),
    ("TRACE", "/Patient/1", MethodNotAllowed),
    ("get", "/Patient/1", MethodNotAllowed),
    ("QUERY", "/Patient", MethodNotAllowed),
    # R-OP-1, R-OP-2, R-OP-5, R-BK-1, R-SP-2, R-SP-3
    *[
        (method, target, Forbidden)
        for method in ("GET", "POST", "HEAD")
        for target in (
            "/$export", "/$graphql?query=x", "/$expunge", "/$reindex", "/$anything-new",
            "/Patient/$export", "/Patient/$validate", "/Patient/$lastn",
            "/Patient/1/$document", "/Patient/1/$graphql?query=x", "/Patient/1/%24everything%20",
            "/Patient/$everything", "/$everything", "/Encounter/1/$everything",
            "/Composition/$document", "/$document", "/Composition/1/$documents",
            "/Composition/1/$Document", "/Group/1/$export",
        )
    ],
    ("DELETE", "/$expunge", MethodNotAllowed),
    ("PUT", "/Composition/1/$document", MethodNotAllowed),
]


@pytest.mark.parametrize(
    ("method", "target", "error"), REFUSED, ids=[f"{m} {t[:60]!r}" for m, t, _ in REFUSED]
)
def test_refused(method: str, target: str, error: type[ProxyError]) -> None:
    """R-RT-1, R-RT-2, R-RT-3, R-RT-6, R-OP-1, R-OP-2: what the grammar does not know is refused,
    with a fixed text."""
    with pytest.raises(error) as raised:
        classify(method, target)
    assert type(raised.value) is error
    assert "evil" not in raised.value.text


def test_rows_are_disjoint() -> None:
    """No two routes of the same length can fit one path: order in the table does not matter."""
    for route in ROUTES:
        for other in ROUTES:
            if route != other and len(route) == len(other):
                pairs = [{a, b} for a, b in zip(route, other, strict=True) if a != b]
                assert any(pair != {"[type]", "[id]"} for pair in pairs)


@settings(deadline=None)
@given(st.sampled_from(["GET", "HEAD", "POST", "PUT"]), st.text())
def test_any_target_is_judged(method: str, target: str) -> None:
    """R-RT-1: whatever the target, there is an interaction or one of our errors."""
    try:
        outcome: str | int = classify(method, "/" + target).code
    except ProxyError as error:
        outcome = error.status
    codes = {code for row in ROUTES.values() for code in row.values()}
    assert outcome in codes | {400, 403, 404, 405}
