"""Search parameters that are not about an element of the row: what becomes of them.

Verdicts about elements are derived (:mod:`proxy.policy.verdicts`); these cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

# Parameters about the answer and not about an element (R4, search.html#table; search-control).
RESULT = frozenset({"_count", "_elements", "_summary", "_total", "_format", "_pretty"})
# What clients send and no server that we know reads.
IGNORED = frozenset({"_totalMethod"})
# Known; they reach beyond the elements of a row, so restricted views offer none but those below.
BROAD = {
    "_has": "Searches over what refers to a resource are not offered to your role; search the "
    "other type and use its reference.",
    "_filter": "_filter is not offered to your role; use search parameters.",
    "_list": "_list is not offered to your role; use search parameters.",
    "_query": "Named queries are not offered to your role; use search parameters.",
    "_contained": "Searching contained resources is not offered to your role.",
    "_containedType": "Searching contained resources is not offered to your role.",
}
# Known, and offered to nobody.
NEVER = {
    "_offset": "Pages are reached by their links only.",
    "_getpages": "Pages are reached by their links only.",
    "_getpagesoffset": "Pages are reached by their links only.",
    "_bundletype": "The type of the Bundle cannot be chosen.",
    "_graph": "Graphs are not supported.",
    "_fhirpath": "FHIRPath in a search is not supported.",
    "_at": "_at is for history only.",
    "_since": "_since is for history only.",
    "_type": "Search one type at a time.",
    "_compartmentLastUpdated": "_compartmentLastUpdated is not supported.",
    "_pid": "_pid is not supported.",
    "_mdm": "_mdm is not supported.",
    "_language": "_language is not supported.",
}
# Those of them that a restricted view judges by their values, and how they are then answered.
BY_VALUE: Mapping[str, Literal["sort", "include"]] = {
    "_sort": "sort",
    "_include": "include",
    "_revinclude": "include",
}
REPEATS = frozenset({"iterate", "recurse"})
CONTROLS = RESULT | IGNORED | BROAD.keys() | BY_VALUE.keys() | NEVER.keys()
