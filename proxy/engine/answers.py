"""What an upstream's answer means, checked: the upstream is trusted to store, nothing else.

No text of an upstream error goes anywhere; its status is mapped by a table per kind of ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import msgspec

from proxy.engine.messages import Answer
from proxy.errors import (
    BadValue,
    Deleted,
    Gone,
    NotFound,
    ProxyError,
    UpstreamBroken,
)
from proxy.fhir.codec import MAX_DEPTH, depth
from proxy.fhir.reference import Bases, is_id
from proxy.fhir.surrogates import has_lone, hide, mend, restore

OK = 200

T = TypeVar("T")

# Status -> our error, per kind of ask. Anything else that is no 200 is an unusable answer. A search
# is refused by the upstream for the form of a value alone, which is the client's.
READ: Mapping[int, type[ProxyError]] = {404: NotFound, 410: Deleted}
SEARCH: Mapping[int, type[ProxyError]] = {400: BadValue, 422: BadValue}
PAGE: Mapping[int, type[ProxyError]] = {404: Gone, 410: Gone}
HISTORY: Mapping[int, type[ProxyError]] = {400: BadValue, 404: NotFound, 410: Deleted}


_NONE = msgspec.Raw()  # empty: the member is not there


class Meta(msgspec.Struct):
    """The member of Resource.meta that a header repeats."""

    versionId: str = ""


class Resource(msgspec.Struct):
    """What a resource says of itself; the rest of it is not looked at."""

    resourceType: str
    id: str | None = None
    meta: msgspec.Raw = _NONE

    @property
    def version(self) -> str:
        """Its versionId if that is a legal id, else empty."""
        try:
            version = _metas.decode(bytes(self.meta)).versionId
        except (msgspec.MsgspecError, RecursionError):
            return ""
        return version if is_id(version) else ""


class Link(msgspec.Struct):
    relation: str
    url: str


class Search(msgspec.Struct):
    mode: str = ""


class Entry(msgspec.Struct):
    """An entry of a searchset or history; ``resource``, ``request`` and ``response`` as bytes,
    empty where there is none."""

    fullUrl: str | None = None
    resource: msgspec.Raw = _NONE
    search: Search | None = None
    request: msgspec.Raw = _NONE
    response: msgspec.Raw = _NONE


class Bundle(msgspec.Struct):
    """A searchset or history as the upstream gave it."""

    resourceType: str
    type: str = ""
    total: int | None = None
    link: list[Link] = []
    entry: list[Entry] = []

    @property
    def next(self) -> str:
        """URL of the next page, empty if there is none."""
        return next((link.url for link in self.link if link.relation == "next"), "")


_metas = msgspec.json.Decoder(Meta)
_resources = msgspec.json.Decoder(Resource)
_bundles = msgspec.json.Decoder(Bundle)


@dataclass(frozen=True, slots=True)
class Row:
    """One resource of a Bundle: ``body`` its bytes, ``type`` and ``id`` as it says itself; both
    empty if it is malformed."""

    body: bytes
    type: str
    id: str
    mode: str

    @property
    def key(self) -> str:
        return f"{self.type}/{self.id}"


def check(
    answer: Answer, table: Mapping[int, type[ProxyError]], *, passes: bool = True
) -> bytes:
    """The body of a 200. ``passes``: whether its bytes will be handed on without being decoded, so
    that its depth and encoding must be checked here.

    Raises the answer's own error, what ``table`` says of its status, or :class:`UpstreamBroken`.
    """
    if answer.error is not None:
        raise answer.error
    if answer.status != OK:
        raise table.get(answer.status, UpstreamBroken)()
    body = answer.body
    if not passes:
        return body
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and depth(body) > MAX_DEPTH:
        raise UpstreamBroken()
    if not body.isascii():
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            raise UpstreamBroken() from None
    return body


def read_resource(
    answer: Answer, type_: str, id_: str, *, passes: bool = True
) -> tuple[bytes, Resource]:
    """The bytes of the one resource that was asked for, and what it says of itself.

    Raises :class:`NotFound`, :class:`Deleted`, or :class:`UpstreamBroken` if it is another one.
    """
    body = check(answer, READ, passes=passes)
    found = _decode(_resources, body)
    if found.resourceType != type_ or found.id != id_:
        raise UpstreamBroken()
    return body, found


def read_bundle(body: bytes, type_: str) -> Bundle:
    """A Bundle of the type (``searchset``, ``history``). Raises :class:`UpstreamBroken`."""
    bundle = _decode_bundle(body)
    if bundle.resourceType != "Bundle" or bundle.type != type_ or (bundle.total or 0) < 0:
        raise UpstreamBroken()
    return bundle


def read_row(entry: Entry) -> Row | None:
    """The resource of an entry; None if it has none."""
    body = bytes(entry.resource)
    if not body:
        return None
    mode = "match" if entry.search is None or not entry.search.mode else entry.search.mode
    try:
        found = _decode(_resources, body)
    except UpstreamBroken:
        return Row(body, "", "", mode)
    if found.id is None or not is_id(found.id):
        return Row(body, "", "", mode)
    return Row(body, found.resourceType, found.id, mode)


def found(bundle: Bundle) -> list[Row]:
    """What a searchset gives: its matches and what it includes, in its order. An entry without
    resource, or of a mode that R4 does not have, is a malformed match, so that it is not lost in
    silence; an outcome of the upstream's own is left out."""
    rows = []
    for entry in bundle.entry:
        row = read_row(entry)
        if row is None:
            rows.append(_malformed(b""))
        elif row.mode in ("match", "include"):
            rows.append(row)
        elif row.mode != "outcome" or not _is_outcome(row):
            rows.append(_malformed(row.body))
    return rows


def matches(bundle: Bundle) -> list[Row]:
    """The matches of a searchset, each resource once; what else the upstream adds was not asked
    for."""
    rows: list[Row] = []
    met: set[str] = set()
    for row in found(bundle):
        if row.mode == "match" and not (row.type and row.key in met):
            rows.append(row)
            met.add(row.key)
    return rows


def _malformed(body: bytes) -> Row:
    return Row(body, "", "", "match")


def _is_outcome(row: Row) -> bool:
    try:
        return _decode(_resources, row.body).resourceType == "OperationOutcome"
    except UpstreamBroken:
        return False


COUNTED = ("_total", "accurate")


def is_whole(bundle: Bundle) -> bool:
    """Whether the first page of a search says that it goes on, or how many rows there are.

    One that says neither may have lost the rest: where a join gives HAPI rows several times and
    those of its first fetch are just enough for the page, it offers no next. Asked to be
    :data:`COUNTED` it does. A complete page has a total.
    """
    return bool(bundle.next) or bundle.total is not None or not bundle.entry


def next_url(bundle: Bundle, bases: Bases, asked: set[str]) -> str:
    """Where the upstream goes on, moved to its own base; empty at the end.

    ``asked``: page URLs asked so far; the one found is added. Raises :class:`UpstreamBroken` for a
    link that leads elsewhere or round in a circle.
    """
    if not bundle.next:
        return ""
    url = bases.rebase(bundle.next, bases.main)
    if url is None or url in asked:
        raise UpstreamBroken()
    asked.add(url)
    return url


def status_line(status: int) -> str:
    """``200 OK``: Bundle.entry.response.status (R4, http.html#transaction-response)."""
    return f"{status} {HTTPStatus(status).phrase}"


def _decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        if not has_lone(body):
            raise UpstreamBroken() from None
    return _decode(decoder, mend(body))


def _decode_bundle(body: bytes) -> Bundle:
    """One resource with a lone surrogate does not take the others with it; its bytes stay."""
    try:
        return _bundles.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        if not has_lone(body):
            raise UpstreamBroken() from None
    text, hidden = hide(body)
    bundle = _decode(_bundles, text)
    for entry in bundle.entry:
        for name in ("resource", "request", "response"):
            setattr(entry, name, msgspec.Raw(restore(bytes(getattr(entry, name)), hidden)))
    return bundle
