"""Searching the store: criteria, chains, order, and what is included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from proxy.demo.store import Store, Version
from proxy.demo.value_sets import members
from proxy.errors import ProxyError
from proxy.fhir import match, registry, search
from proxy.fhir.codec import Json
from proxy.fhir.match_order import put_in_order
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.structure import RESOURCES

Pairs = Sequence[tuple[str, str]]

# Parameters about the answer, not about which resources match.
_OF_THE_RESULT = frozenset(
    {"_count", "_sort", "_total", "_summary", "_elements", "_include", "_revinclude", "_format",
     "_pretty", "_offset"}
)
# The modifiers that HAPI knows.
_MODIFIERS = frozenset(
    {"", "contains", "exact", "in", "not-in", "missing", "not", "of-type", "text", "above",
     "below"}
)
# Membership of a value set: a search for any of its codes, or for none of them.
_IN = {"in": "", "not-in": "not"}


_BOUNDS = {
    **dict.fromkeys(("ge", "gt", "sa"), "lower"),
    **dict.fromkeys(("le", "lt", "eb"), "upper"),
}


class Refused(Exception):
    """A search that is not possible. The text repeats what was asked, as servers do."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


def count(given: Mapping[str, str]) -> int | None:
    """The value of ``_count``, None if there is none."""
    text = given.get("_count", "")
    if not text:
        return None
    if not text.lstrip("-").isdigit():
        raise Refused(f"HAPI-0375: Invalid _count value: {text}")
    return max(int(text), 0)


def run(store: Store, type: str, pairs: Pairs, base: str) -> list[Version]:
    """The current resources of ``type`` that satisfy every criterion, in storage order or as
    ``_sort`` says. Raises :class:`Refused`."""
    found = list(store.of_type(type))
    _check_dates(type, pairs)
    for name, value in pairs:
        # HAPI drops a criterion without a value (a string one only if it allows `:contains`), so
        # that everything matches.
        if value and name.partition(":")[0] not in _OF_THE_RESULT:
            found = list(_narrow(store, type, found, name, value, base))
    for name, value in pairs:
        if name == "_sort":
            found = _order(type, found, value)
    return found


def _check_dates(type: str, pairs: Pairs) -> None:
    """As HAPI: a date takes no list, one lower and one upper bound, and other prefixes (none is
    both bounds) stand alone. Raises :class:`Refused`."""
    bounds: dict[str, list[str]] = {}
    for name, value in pairs:
        known = registry.get(type).get(name)
        if known is None or known.type != "date" or not value:
            continue
        if len(search.split(value, ",")) > 1:
            raise Refused("HAPI-1930: DateRange parameter does not support OR queries")
        bounds.setdefault(name, []).append(_BOUNDS.get(value[:2], "both"))
    if any(len(set(found)) < len(found) or ("both" in found and found[1:])
           for found in bounds.values()):  # fmt: skip
        raise Refused("HAPI-1923: Can not have multiple date range parameters for the same param")


def _narrow(
    store: Store, type: str, found: list[Version], name: str, value: str, base: str
) -> Iterable[Version]:
    try:
        # A list may be as long as a form: a proxy asks for every spelling of a name.
        asked = search.parameter(name, value, len(value))
        if asked.code == "_has":
            return _having(store, type, found, asked, base)
        known = registry.get(type).get(asked.code)
        if known is None and asked.code.startswith("_"):
            return found  # as HAPI: ignored
        if known is None:
            raise Refused(
                f'HAPI-0524: Unknown search parameter "{asked.code}" for resource type "{type}". '
                f"Valid search parameters for this search are: {sorted(registry.get(type))}"
            )
        if asked.chain:
            return _chained(store, type, found, known, asked, base)
        modifier = asked.modifier
        if known.type != "reference" and modifier not in _MODIFIERS:
            modifier = ""  # as HAPI: searched as if it were not there
        values: Sequence[str] = search.split(value, ",", len(value))
        if modifier in _IN:
            modifier, values = _IN[modifier], _codes(store, values)
        return _those(found, type, known, modifier, values, base)
    except ProxyError as error:
        raise Refused(f"HAPI-1940: {error} ({name}={value})") from error


def _codes(store: Store, urls: Sequence[str]) -> list[str]:
    """What the value sets ``urls`` hold. Raises :class:`Refused` for one that is not stored."""
    found: list[str] = []
    for url in urls:
        codes = members(store, url)
        if codes is None:
            raise Refused(f'HAPI-2788: Unable to expand value set "{url}" because none was found')
        found += codes
    return found


def _those(
    found: Iterable[Version],
    type: str,
    parameter: SearchParameter,
    modifier: str,
    values: Sequence[str],
    base: str,
) -> list[Version]:
    """Those of ``found`` that have one of ``values``."""
    satisfies = match.matcher(type, parameter, modifier, tuple(values), base)
    return [v for v in found if v.resource is not None and satisfies(v.resource)]


def _chained(
    store: Store,
    type: str,
    found: list[Version],
    parameter: SearchParameter,
    asked: search.Parameter,
    base: str,
) -> list[Version]:
    types = [asked.modifier] if asked.modifier else list(registry.targets(parameter))
    rest = asked.rest()
    targets = [
        f"{target}/{version.id}"
        for target in types
        if target in RESOURCES and rest.code in registry.get(target)
        for version in run(store, target, [(rest.name, rest.value)], base)
    ]
    if not targets:
        return []
    return _those(found, type, parameter, "", targets, base)


def _having(
    store: Store, type: str, found: list[Version], asked: search.Parameter, base: str
) -> list[Version]:
    other, _, rest = asked.modifier.partition(":")
    code, _, name = rest.partition(":")
    if other not in RESOURCES or code not in registry.get(other) or not name:
        raise Refused(f"HAPI-1208: Invalid _has parameter: {asked.name}")
    pointing = run(store, other, [(name, asked.value)], base)
    parameter = registry.get(other)[code]
    return [
        version
        for version in found
        if _those(pointing, other, parameter, "", (f"{type}/{version.id}",), base)
    ]


def _order(type: str, found: list[Version], value: str) -> list[Version]:
    """Sorted by each key of ``_sort``; the last key first, as every sort is stable."""
    stored = {version.id: at for at, version in enumerate(found)}
    for key in reversed(value.split(",")):
        code, down = key.lstrip("-"), key.startswith("-")
        if code == "_pid":  # HAPI's name for the order of storage
            found = sorted(found, key=lambda version: stored[version.id], reverse=down)
            continue
        parameter = registry.get(type).get(code)
        if parameter is None:
            raise Refused(f'HAPI-1194: Unknown _sort parameter value "{code}" for "{type}"')
        keyed = [(match.sort_key(v.resource or {}, type, parameter, down), v) for v in found]
        found = put_in_order(keyed, down=down)
    return found


def included(
    store: Store, page: Sequence[Version], pairs: Pairs, base: str
) -> list[Version]:
    """What ``_include`` and ``_revinclude`` add to a page. Raises :class:`Refused`."""
    wanted = [(n, v) for n, v in pairs if n.partition(":")[0] in ("_include", "_revinclude")]
    known = {(v.type, v.id) for v in page}
    added: list[Version] = []
    sources = {False: list(page), True: list(page)}
    while wanted:
        fresh: list[Version] = []
        for name, value in wanted:
            iterate = name.partition(":")[2] in ("iterate", "recurse")
            for version in _linked(store, sources[iterate], name, value, base):
                if (version.type, version.id) not in known:
                    known.add((version.type, version.id))
                    fresh.append(version)
        if not fresh:
            break
        added += fresh
        sources = {False: [], True: fresh}
    return added


def _linked(
    store: Store, sources: Sequence[Version], name: str, value: str, base: str
) -> Iterator[Version]:
    reverse = name.startswith("_revinclude")
    type, _, rest = value.partition(":")
    code, _, target = rest.partition(":")
    if type == "*" or code == "*":
        if not reverse:
            for source in sources:
                if type in ("*", source.type):
                    yield from _stored(store, source, base)
        elif type == "*":
            yield from _referring(store, sources, base)
        return
    if type not in RESOURCES or code not in registry.get(type):
        raise Refused(f'HAPI-2015: Invalid {name} value: "{value}"')
    parameter = registry.get(type)[code]
    if reverse:
        refs = tuple(f"{s.type}/{s.id}" for s in sources if target in ("", s.type))
        if refs:
            yield from _those(store.of_type(type), type, parameter, "", refs, base)
        return
    for source in sources:
        if source.type == type:
            for found in _stored(store, source, base):
                named = (f"{found.type}/{found.id}",)
                if target in ("", found.type) and _those(
                    [source], type, parameter, "", named, base
                ):
                    yield found


def _referring(store: Store, sources: Sequence[Version], base: str) -> Iterator[Version]:
    """What refers to the sources by any element that a search parameter reads: what HAPI has in
    its index, and so gives for ``_revinclude=*``."""
    refs = tuple(f"{s.type}/{s.id}" for s in sources)
    for type in store.types() if refs else ():
        for parameter in registry.get(type).values():
            if parameter.type == "reference" and match.paths(parameter, type):
                yield from _those(store.of_type(type), type, parameter, "", refs, base)


def _stored(store: Store, source: Version, base: str) -> Iterator[Version]:
    """The stored resources that ``source`` refers to, anywhere in it."""
    for ref in dict.fromkeys(_references(source.resource)):
        type, _, id = ref.removeprefix(base + "/").partition("/")
        found = store.current(type, id.partition("/")[0])
        if found is not None and found.resource is not None:
            yield found


def _references(value: Json) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        target = value.get("reference")
        if isinstance(target, str):
            yield target
        for item in value.values():
            yield from _references(item)
