"""The general suites in a form that is quick to call: each says what it caught, or nothing.

None of them knows of any fault. What they compare with (the oracle's answers, the stored bytes,
the verdict tables) is made once, while nothing is planted.
"""

from __future__ import annotations

import copy
import json
import random
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest

from proxy.demo.generator import entries
from proxy.demo.markers import leaves
from proxy.fhir.codec import decode, encode
from tests import views
from tests.faults.running import harness, refusal, twins
from tests.footprints import documents, footprint, reviewed
from tests.mangling import seeds
from tests.policy.test_no_loss import WORDS, by_path, public_values, shown_paths, singles
from tests.rig import Claims
from tests.security.test_errors import test_every_status_is_an_outcome as statuses
from tests.security.test_errors import test_wire_errors_are_outcomes as wire_errors
from tests.security.test_paging import test_r_pg_2_a_link_is_useless_to_anyone_else as of_no_use
from tests.security.test_paging import test_r_pg_6_a_refreshed_token_goes_on as goes_on
from tests.tripwire import find_leaks, identifying_values
from tests.views import Case, comparable, differences


@contextmanager
def fresh() -> Iterator[None]:
    """Views compiled anew inside, and forgotten after."""
    for cached in (views.find_view, views.namer_of):
        cached.cache_clear()
    try:
        yield
    finally:
        for cached in (views.find_view, views.namer_of):
            cached.cache_clear()


def footprints(role: str) -> str:
    """Footprints of what stands in the generated documents, against the reviewed ones."""
    known = reviewed(role)
    for path, kinds in footprint(role, _parts()).items():
        wrong = kinds - known.get(path, frozenset({"hidden"}))
        if wrong:
            return f"{path} {sorted(wrong)}"
    return ""


@cache
def _parts() -> tuple[Any, ...]:
    """Each document with its first two entries, and one entry of each type by itself."""
    found: list[Any] = []
    types: set[str] = set()
    for document in documents():
        if document["resourceType"] != "Bundle":
            continue
        held = [e for e in entries(document) if _type(e) != "Bundle"]
        found.append({**document, "entry": held[:2]})
        for entry in held[2:]:
            if _type(entry) not in types:
                types.add(_type(entry))
                found.append({**document, "type": "collection", "entry": [entry]})
    return tuple(found)


def _type(entry: Any) -> str:
    return str(entry["resource"]["resourceType"])


def oracle(role: str) -> str:
    """The walk against what the oracle showed, over good and damaged resources."""
    for resource, expected in _oracle_says(role):
        try:
            shown = Case(role).reveal(resource)
        except Exception as raised:  # a crash is a catch
            return type(raised).__name__
        for found in differences(comparable(shown), expected):
            return f"{resource['resourceType']}{found}"
    return ""


@cache
def _oracle_says(role: str) -> tuple[tuple[Any, Any], ...]:
    held = [*seeds(), *_damaged(), *_linked_through_hidden()]
    return tuple((r, comparable(Case(role).reveal_slowly(copy.deepcopy(r)))) for r in held)


def _damaged() -> Iterator[Any]:
    """Every type of resource with wrong values, foreign members and element ids."""
    rng = random.Random(3)
    for resource in seeds():
        for wrong in ({"marker": 1}, 17, "text", [["text"]]):
            copied = copy.deepcopy(resource)
            places = [x for x in leaves(resource) if x.type != "code"]
            for leaf in rng.sample(places, min(6, len(places))):
                holder: Any = copied
                for key in leaf.place[:-1]:
                    holder = holder[key]
                if leaf.place != ("id",):
                    holder[leaf.place[-1]] = wrong
                if isinstance(holder, dict) and len(leaf.place) > 1:
                    holder["id"] = "marker"
                    holder["marker"] = "text"
            yield copied


def _linked_through_hidden() -> Iterator[Any]:
    """Documents whose sections lead to their entries only through one of a hidden type."""
    between = "urn:uuid:5b0a5c0e-7a44-4a68-9d1c-0c2f2b8a1d11"
    for document in documents():
        if document["resourceType"] != "Bundle" or document["type"] != "document":
            continue
        copied: Any = decode(encode(document))
        composition = copied["entry"][0]["resource"]
        linked = [r for s in composition["section"] for r in s.get("entry", [])]
        media = {"resourceType": "Media", "status": "completed", "partOf": copy.deepcopy(linked)}
        for reference in linked:
            reference["reference"] = between
        copied["entry"].append({"fullUrl": between, "resource": media})
        yield copied


def no_loss(role: str) -> str:
    """What is permitted is complete and exact; what identifies a person comes out nowhere."""
    permitted = shown_paths(role)
    for resource, body, secrets in _stored(role):
        shown = Case(role).reveal(resource)
        lost = _lost(role, resource, shown, permitted)
        if lost:
            return lost
        leaks = find_leaks(shown, secrets)
        if leaks:
            return f"{resource['resourceType']}: {len(leaks)} identifying values"
        out = views.find_view(role).reveal_bytes(body, Case(role).scope())
        changed = _decimals(out or b"{}") - _decimals(body)
        if changed:
            return f"{resource['resourceType']}: decimals {sorted(changed)[:3]}"
    return ""


@cache
def _stored(role: str) -> tuple[tuple[Any, bytes, set[str]], ...]:
    dates = role == "researcher-deidentified"
    return tuple(
        (r, encode(r), identifying_values(r, dates=dates) - WORDS - public_values(r))
        for r in seeds()
    )


def _lost(role: str, resource: Any, shown: Any, permitted: frozenset[str]) -> str:
    for single in singles(resource):
        whole = shown if single is resource else Case(role).reveal(single)
        stored, found = by_path(role, single), by_path(role, whole)
        for path in stored.keys() & permitted:
            banded = found.get(path.rpartition(".")[0] + ".comparator") == [">="]
            if stored[path] != found.get(path, []) and not banded:
                return f"{path} is lost or changed"
    return ""


def _decimals(body: bytes) -> set[str]:
    """The decimals in a JSON text, as they are written."""
    found: set[str] = set()

    def keep(text: str) -> str:
        found.add(text)
        return text

    json.loads(body, parse_float=keep)
    return found


async def shell(role: str, claims: Claims) -> str:
    """Errors of every layer, and what is not HTTP, on the running product."""
    return await _first_failure(statuses, wire_errors)


async def paging(role: str, claims: Claims) -> str:
    """Page links in whose hands they work."""
    return await _first_failure(partial(of_no_use, role), partial(goes_on, role))


async def _first_failure(*tests: Callable[[Path], Awaitable[None]]) -> str:
    for test in tests:
        with tempfile.TemporaryDirectory() as folder:
            try:
                await test(Path(folder))
            except (Exception, pytest.fail.Exception) as raised:
                return type(raised).__name__
    return ""


Suite = Callable[[str, Claims], Awaitable[str]]


def _plain(suite: Callable[[str], str]) -> Suite:
    async def call(role: str, claims: Claims) -> str:
        return suite(role)

    return call


# The quick ones first; the last two are written for requirements, by their numbers.
SUITES: dict[str, Suite] = {
    "no-loss": _plain(no_loss),
    "footprints": _plain(footprints),
    "refusals": refusal,
    "twins": twins,
    "oracle": _plain(oracle),
    "harness": harness,
    "shell": shell,
    "paging": paging,
}
GENERAL = frozenset(SUITES) - {"shell", "paging"}
