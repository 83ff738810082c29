"""The interactions of the embedded FHIR server, without sockets: a request in, an answer out.

It behaves as HAPI does where a proxy could trip: a page is a link at the base URL that anyone may
follow, parameters that begin with ``_`` and are unknown are ignored, a criterion without a value
is dropped, and error texts repeat what was asked.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from urllib.parse import parse_qsl, quote, unquote, urlencode

from proxy.demo import query
from proxy.demo.build import array, thing
from proxy.demo.capability import capability
from proxy.demo.compartment import around
from proxy.demo.store import EPOCH, Store, Version, instant
from proxy.fhir.codec import Json, JsonObject, decode, encode
from proxy.fhir.structure import RESOURCES

Pairs = list[tuple[str, str]]

PAGE, MOST = 20, 200  # entries of a page: unless told, and at most
PREFETCH = 13  # up to so many matches the total is known without being asked for
RESULTS = 1_000  # searches whose pages can be asked for
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Request:
    """``target``: below the base, with its slash, percent-encoded. ``headers``: lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Result:
    """A search that was run: its matches stay the same for whoever holds its id."""

    matches: tuple[Version, ...]
    pairs: Pairs


def outcome(status: int, text: str, code: str = "processing", severity: str = "error") -> Response:
    issue: JsonObject = {"severity": severity, "code": code, "diagnostics": text}
    return Response(status, encode({"resourceType": "OperationOutcome", "issue": [issue]}))


class Server:
    """A FHIR R4 server over ``store``. ``base``: its absolute base URL."""

    def __init__(self, store: Store, base: str) -> None:
        self.store = store
        self.base = base
        self._results: dict[str, _Result] = {}

    def answer(self, request: Request) -> Response:
        """Answer one request; everything that is wrong becomes an OperationOutcome."""
        path, _, raw = request.target.partition("?")
        parts = [unquote(part) for part in path.split("/") if part]
        pairs = parse_qsl(raw, keep_blank_values=True)
        method = "GET" if request.method == "HEAD" else request.method
        if not parts and (method == "POST" or any(k == "_getpages" for k, _ in pairs)):
            return self._batch(request) if method == "POST" else self._page(dict(pairs))
        if parts == ["metadata"] and method == "GET":
            return Response(200, capability(self.base))
        if parts == ["_history"] and method == "GET":
            return self._history(pairs)
        if not parts or parts[0].startswith(("$", "_")):
            return outcome(400, f"HAPI-0302: Unknown path '{path}'", "not-supported")
        if parts[0] not in RESOURCES:
            return outcome(
                404, f"HAPI-0302: Unknown resource type '{parts[0]}' - Server knows how to handle: "
                f"{sorted(RESOURCES)}", "not-supported",
            )
        try:
            return self._of_type(request, method, parts, pairs)
        except query.Refused as refused:
            return outcome(refused.status, str(refused))
        except ValueError:
            return outcome(400, f"HAPI-0450: Failed to parse {request.body[:200]!r}")

    def _of_type(
        self, request: Request, method: str, parts: list[str], pairs: Pairs
    ) -> Response:
        type, *rest = parts
        match method, rest:
            case "GET", [] | ["_search"]:
                if request.method == "HEAD":
                    return outcome(400, "HAPI-0287: HEAD is not possible for a search")
                return self._search(type, pairs)
            case "POST", ["_search"]:
                form: Pairs = []
                if request.headers.get("content-type", "").startswith(FORM):
                    form = parse_qsl(request.body.decode(), keep_blank_values=True)
                return self._search(type, pairs + form, posted=True)
            case "POST", []:
                return self._write(type, str(uuid.uuid4()), request, "POST")
            case "GET", ["_history"]:
                return self._history(pairs, type)
            case "GET", [id]:
                return self._read(type, id, request)
            case "PUT", [id]:
                return self._write(type, id, request, "PUT")
            case "DELETE", [id]:
                return self._delete(type, id)
            case "GET", [id, "_history"]:
                return self._history(pairs, type, id)
            case "GET", [id, "$everything"] if type == "Patient":
                return self._everything(id, pairs)
            case "GET", [id, "_history", number]:
                found = self.store.version(type, id, number)
                if found is None:
                    return outcome(404, f"HAPI-0979: Version {number} of {type}/{id} is not known")
                return self._version(found)
            case _:
                return outcome(
                    400, f"HAPI-0446: Invalid request: {request.method} {request.target}",
                    "not-supported",
                )

    def _version(self, found: Version) -> Response:
        url = f"{self.base}/{found.path}"
        if found.resource is None:
            gone = outcome(410, f"Resource was deleted at {found.instant}", "processing")
            return Response(410, gone.body, {"Location": url})
        return Response(
            200,
            found.body,
            {
                "ETag": found.etag,
                "Last-Modified": format_datetime(found.at, usegmt=True),
                "Content-Location": url,
            },
        )

    def _read(self, type: str, id: str, request: Request) -> Response:
        found = self.store.current(type, id)
        if found is None:
            return outcome(404, f"HAPI-2001: Resource {type}/{id} is not known")
        known = request.headers.get("if-none-match", "").removeprefix("W/").strip('"')
        if found.resource is not None and known == str(found.number):
            return Response(304)
        return self._version(found)

    def _write(self, type: str, id: str, request: Request, method: str) -> Response:
        resource = decode(request.body)
        if not isinstance(resource, dict) or resource.get("resourceType") != type:
            return outcome(400, f"HAPI-0450: Not a {type}: {request.body[:200]!r}")
        current = self.store.current(type, id)
        wanted = request.headers.get("if-match", "")
        if wanted and (current is None or wanted != current.etag):
            return outcome(409, f"HAPI-0550: Trying to update {type}/{id} which is not the "
                                "current version")
        if method == "PUT" and resource.get("id") != id:
            return outcome(400, f"HAPI-0420: Can not update, the id in the body is not {id}")
        found = self.store.write(resource | {"id": id}, method)
        url = f"{self.base}/{found.path}"
        headers = {"Content-Location": url, "ETag": found.etag}
        if method == "POST":
            headers["Location"] = url
        fresh = current is None or current.resource is None
        return Response(201 if fresh else 200, found.body, headers)

    def _delete(self, type: str, id: str) -> Response:
        done = self.store.delete(type, id)
        text = f"Successfully deleted {type}/{id}" if done else f"{type}/{id} does not exist"
        return outcome(200, text, "informational", "information")

    def _search(self, type: str, pairs: Pairs, *, posted: bool = False) -> Response:
        matches = tuple(query.run(self.store, type, pairs, self.base))
        given = dict(pairs)
        own = f"{self.base}/{type}/_search"
        if not posted:
            own = f"{self.base}/{type}"
            if pairs:
                own += "?" + urlencode(sorted(pairs), quote_via=quote, safe="")
        if given.get("_summary") == "count" or given.get("_count") == "0":
            return Response(200, encode(self._bundle("searchset") | {"total": len(matches)}))
        return self._first_page(matches, pairs, own)

    def _everything(self, id: str, pairs: Pairs) -> Response:
        """As HAPI does it: ``start``, ``end`` and ``_since`` have no effect, a total is rare."""
        patient = self.store.current("Patient", id)
        if patient is None or patient.resource is None:
            return outcome(404, f"HAPI-2841: Resource [[{id}]] is not known.")
        types = [type for name, value in pairs if name == "_type" for type in value.split(",")]
        unknown = [type for type in types if type not in RESOURCES]
        if unknown:
            text = f"HAPI-2197: Unknown resource type '{unknown[0]}' in _type parameter."
            return outcome(404, text)
        own = f"{self.base}/Patient/{id}/$everything" + ("?" + urlencode(pairs) if pairs else "")
        kept = [(name, value) for name, value in pairs if name == "_count"]
        return self._first_page(tuple(around(self.store, patient, types, self.base)), kept, own)

    def _first_page(self, matches: tuple[Version, ...], pairs: Pairs, own: str) -> Response:
        key = str(uuid.uuid4())
        self._results[key] = _Result(matches, pairs)
        if len(self._results) > RESULTS:
            del self._results[next(iter(self._results))]  # the oldest expires
        return Response(200, encode(self._results_page(key, 0, query.count(dict(pairs)), own)))

    def _page(self, given: Mapping[str, str]) -> Response:
        key = given["_getpages"]
        if key not in self._results:
            return outcome(
                410, f'HAPI-0417: Search ID "{key}" does not exist and may have expired'
            )
        try:
            start, size = int(given.get("_getpagesoffset", "0")), query.count(given)
        except (ValueError, query.Refused):
            return outcome(400, "HAPI-0375: Invalid offset or count")
        return Response(200, encode(self._results_page(key, max(start, 0), size, "")))

    def _results_page(self, key: str, start: int, size: int | None, own: str) -> JsonObject:
        result = self._results[key]
        size = PAGE if size is None else min(size, MOST)
        matches, end = result.matches, start + size

        def link(relation: str, offset: int) -> JsonObject:
            return {
                "relation": relation,
                "url": f"{self.base}?_getpages={key}&_getpagesoffset={offset}&_count={size}"
                "&_bundletype=searchset",
            }

        links: list[Json] = [{"relation": "self", "url": own} if own else link("self", start)]
        if end < len(matches):
            links.append(link("next", end))
        if start > 0:
            links.append(link("previous", max(start - size, 0)))
        page = [self._now(found) for found in matches[start:end]]
        shown = [found for found in page if found is not None]
        entries: list[Json] = [self._entry(found, "match") for found in shown]
        entries += [
            self._entry(found, "include")
            for found in query.included(self.store, shown, result.pairs, self.base)
        ]
        bundle = self._bundle("searchset", key)
        asked = dict(result.pairs).get("_total") == "accurate"
        if asked or len(matches) <= max(size, PREFETCH):
            bundle["total"] = len(matches)
        bundle["link"] = links
        if entries:
            bundle["entry"] = entries
        return bundle

    def _now(self, found: Version) -> Version | None:
        """What a page shows of a match: its current content, nothing if it was deleted."""
        current = self.store.current(found.type, found.id)
        return current if current and current.resource is not None else None

    def _entry(self, found: Version, mode: str) -> JsonObject:
        return {
            "fullUrl": f"{self.base}/{found.type}/{found.id}",
            "resource": found.resource,
            "search": {"mode": mode},
        }

    def _bundle(self, type: str, id: str = "") -> JsonObject:
        return {
            "resourceType": "Bundle",
            "id": id or str(uuid.uuid4()),
            "meta": {"lastUpdated": instant(EPOCH)},
            "type": type,
        }

    def _history(self, pairs: Pairs, type: str = "", id: str = "") -> Response:
        versions = self.store.history(type, id)
        if id and not versions:
            return outcome(404, f"HAPI-2001: Resource {type}/{id} is not known")
        given = dict(pairs)
        size = query.count(given) or PAGE
        offset = given.get("_offset", "0")
        start = int(offset) if offset.isdigit() else 0
        bundle = self._bundle("history")
        bundle["total"] = len(versions)
        where = "/".join(part for part in (self.base, type, id, "_history") if part)
        own = f"{where}?{urlencode(pairs)}" if pairs else where
        links: list[Json] = [{"relation": "self", "url": own}]
        if start + size < len(versions):
            more = f"{where}?_count={size}&_offset={start + size}"
            links.append({"relation": "next", "url": more})
        bundle["link"] = links
        bundle["entry"] = [self._past(version) for version in versions[start : start + size]]
        return Response(200, encode(bundle))

    def _past(self, version: Version) -> JsonObject:
        status = "200 OK" if version.number > 1 else "201 Created"
        entry: JsonObject = {"fullUrl": f"{self.base}/{version.type}/{version.id}"}
        if version.resource is not None:
            entry["resource"] = version.resource
        entry["request"] = {"method": version.method, "url": version.path}
        entry["response"] = {
            "status": status if version.resource is not None else "200 OK",
            "etag": version.etag,
            "lastModified": version.instant,
        }
        return entry

    def _batch(self, request: Request) -> Response:
        try:
            bundle = decode(request.body)
        except ValueError:
            bundle = None
        if not isinstance(bundle, dict) or bundle.get("type") != "batch":
            return outcome(400, "HAPI-0527: Unable to process the Bundle: only batch is possible")
        entries = [self._batched(thing(entry)) for entry in array(bundle.get("entry", []))]
        found = self._bundle("batch-response")
        found["link"] = [{"relation": "self", "url": self.base}]
        found["entry"] = list(entries)
        return Response(200, encode(found))

    def _batched(self, entry: JsonObject) -> JsonObject:
        asked = thing(entry.get("request", {}))
        body = encode(entry["resource"]) if "resource" in entry else b""
        answer = self.answer(
            Request(
                str(asked.get("method", "")),
                "/" + str(asked.get("url", "")).lstrip("/"),
                {"if-none-match": str(asked.get("ifNoneMatch", ""))},
                body,
            )
        )
        reason = _REASONS.get(answer.status, "Error")
        response: JsonObject = {"status": f"{answer.status} {reason}"}
        shown = decode(answer.body) if answer.body else None
        if answer.status >= 400:
            return {"response": response | {"outcome": shown}}
        return {"resource": shown, "response": response} if shown else {"response": response}


_REASONS = {
    200: "OK", 201: "Created", 304: "Not Modified", 400: "Bad Request", 404: "Not Found",
    409: "Conflict", 410: "Gone",
}

