"""A role's view as a server: every resource as the role is shown it, in storage order, in an
embedded server that knows nothing of views."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from urllib.parse import quote

from proxy.demo.server import Request, Server
from proxy.demo.store import Store
from proxy.fhir.codec import JsonObject, decode

# What changes which rows stand on a page, or how much of them, and not which rows match.
_OF_THE_PAGE = frozenset({"_count", "_elements", "_summary", "_total", "_totalMethod", "_sort"})


class Materialized:
    """``show``: a stored resource as the role is shown it; None if it is withheld."""

    def __init__(
        self,
        stored: Iterable[JsonObject],
        show: Callable[[JsonObject], JsonObject | None],
        base: str,
    ) -> None:
        shown = [show(resource) for resource in stored]
        self._server = Server(Store(each for each in shown if each is not None), base)

    def search(
        self, type_name: str, pairs: Sequence[tuple[str, str]]
    ) -> list[tuple[str, JsonObject]]:
        """(mode, resource) of all that the search finds, without order of its own."""
        kept = [(n, v) for n, v in pairs if n not in _OF_THE_PAGE]
        kept.append(("_count", "200"))
        query = "&".join(f"{quote(n, safe=':.')}={quote(v, safe='')}" for n, v in kept)
        answer = self._server.answer(Request("GET", f"/{type_name}?{query}"))
        found = decode(answer.body)
        assert isinstance(found, dict)
        assert answer.status == 200, found
        links, entries = found.get("link"), found.get("entry", [])
        assert isinstance(links, list)
        assert isinstance(entries, list)
        assert all(isinstance(link, dict) and link["relation"] != "next" for link in links)
        rows: list[tuple[str, JsonObject]] = []
        for entry in entries:
            assert isinstance(entry, dict)
            mode, resource = entry["search"], entry["resource"]
            assert isinstance(mode, dict)
            assert isinstance(resource, dict)
            rows.append((str(mode["mode"]), resource))
        return rows
