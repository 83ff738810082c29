"""What comes out of each restricted policy is exactly what a reviewed file says.

``UPDATE_FOOTPRINTS=1`` writes the files anew; the difference is then for a person to review.
"""

from __future__ import annotations

import os
import re
from functools import cache

import pytest

from proxy.ecr.anonymized import MADE_ANEW
from tests.footprints import FILES, Found, footprint, write
from tests.views import EPI, RESTRICTED, find_policy, find_view

POLICIES = (*RESTRICTED, EPI)


@cache
def found(policy: str) -> Found:
    return footprint(policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_footprint_is_the_reviewed_one(policy: str) -> None:
    """A marker at any leaf comes out, changes the output or does nothing, as reviewed.

    ``?`` marks a path where it depends on the data beside it (a predicate, a code's system).
    """
    file = FILES / f"{policy}.txt"
    text = write(found(policy))
    if os.environ.get("UPDATE_FOOTPRINTS"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


@pytest.mark.parametrize("policy", POLICIES)
def test_explain_agrees_with_footprint(policy: str) -> None:
    """A lens that keeps lets the marker out, unless a row rule hides what bears it; one that hides
    does not, predicates aside; one that transforms changes the output without it."""
    view = find_view(policy)
    wrong = []
    for path, kinds in found(policy).items():
        if not is_plain(path) or path.startswith("Bundle.") or view.passes(path.split(".")[0]):
            continue
        type_, kind = path.split(".")[0], view.lens(path).kind
        if path.endswith(".reference"):
            agrees = kinds <= {"changed", "hidden"}
        elif path.endswith(".id"):  # in a document it is that of the full URL
            agrees = "shown" not in kinds or not view.pseudonym(type_)
        elif kind == "keep":
            agrees = "shown" in kinds or data_decides(path) or view.limits(type_)
        elif kind == "hidden":
            agrees = "shown" not in kinds or widened(policy, path)
        else:
            agrees = "shown" not in kinds
        if not agrees:
            wrong.append(f"{path}: lens {kind}, markers {sorted(kinds)}")
    assert wrong == []


def is_plain(path: str) -> bool:
    """Whether the path is one of elements alone: nothing in extensions, siblings or meta."""
    return not re.search(r"[(_]|\.meta\.|\.contained\.|\.extension|\.text\.(div|status)", path)


def data_decides(path: str) -> bool:
    """Whether a system decides about the value: a marker as system belongs to no code system, and
    the event of a message has a system of its own."""
    return path.endswith(".system") or path == "MessageHeader.eventCoding.code"


def widened(policy: str, path: str) -> bool:
    """Whether a predicate of the policy shows more at the path, or a document that has the element
    anew stands beside others."""
    anew = find_policy(policy).document and ".".join(path.split(".")[:2]) in MADE_ANEW
    return bool(anew) or any(
        rule.has_predicate and (path == rule.path or path.startswith(rule.path + "."))
        for rule in find_policy(policy).elements
    )
