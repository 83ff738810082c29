"""References stored as URLs of the upstream, searched by before a real HAPI."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.fhir.reference import Bases
from tests.engine.playbook import ALIAS, DEID, INV, LDS, PUBLIC, entries_of, gateway
from tests.engine.test_includes import finding
from tests.hapi.test_search_views import holding, person

pytestmark = pytest.mark.hapi

QUERIES = [
    # query, what is found
    ("Observation?subject=Patient/{a}", "123"),
    ("Observation?patient={a}", "123"),
    ("Observation?subject:Patient={a}", "123"),
    (f"Observation?subject={PUBLIC}/Patient/{{a}}", "123"),
    ("Observation?subject:Patient={b},{a}", "1234"),
    ("Observation?patient=Patient/{a},Patient/{b}", "1234"),
    ("Patient?_id={b}&_revinclude=Observation:subject", "b4"),
]


@pytest.mark.parametrize("role", [LDS, DEID, INV])
async def test_every_spelling_is_found(hapi: str, role: str) -> None:
    """What shows a reference is found by it, be it stored relative, under an alias, or under HAPI's
    own URL, which HAPI itself shows as relative."""
    stored = [
        person("a"), person("b"), finding("1", "Patient/a"), finding("2", f"{ALIAS}/Patient/a"),
        finding("3", f"{hapi}/Patient/a"), finding("4", f"{ALIAS}/Patient/b"),
        finding("5", "http://elsewhere.example/fhir/Patient/a"),
    ]  # fmt: skip
    async with holding(hapi, stored) as upstream:
        at = replace(upstream.gateway_of(role), bases=Bases(upstream.base, [ALIAS]))

        def named(type_: str, id_: str) -> str:
            real = upstream.real(id_)
            namer = gateway().namers.of("study-7", role)
            return real if role == INV else namer.show_id(type_, real)

        for query, ids in QUERIES:
            # HAPI, to which the identity view leaves includes, knows only what is relative.
            wanted = ids[:1] if role == INV and "_revinclude" in query else ids
            asked = query.format(a=named("Patient", "a"), b=named("Patient", "b"))
            pages = upstream.pages("/" + asked, at, role)
            found = {name for page in pages for name, _ in entries_of(page)}
            types = {"a": "Patient", "b": "Patient"}
            assert found == {
                f"{types.get(i, 'Observation')}/{named(types.get(i, 'Observation'), i)}"
                for i in wanted
            }, query
