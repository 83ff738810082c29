"""Search values drawn from what a role is shown, written as a client would write them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from proxy.fhir.codec import Fragment, JsonObject
from proxy.fhir.match import walk
from proxy.fhir.match_paths import NotUnderstood, compile_tracks
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.registry import components
from proxy.fhir.search import escape

BASE = "{base}"  # of the server that is asked; set when it is
# Of R4 itself, which every server knows.
VALUE_SETS = (
    "http://hl7.org/fhir/ValueSet/administrative-gender",
    "http://terminology.hl7.org/ValueSet/v3-ActEncounterCode",
)


def elements(
    parameter: SearchParameter, type_name: str, shown: Iterable[JsonObject]
) -> Iterator[tuple[Any, str]]:
    """(element, its type) of what the parameter reads in the shown resources."""
    try:
        tracks = compile_tracks(parameter.expression, type_name)
    except NotUnderstood:
        return
    for resource in shown:
        for track in tracks:
            for element in walk(resource, track):
                yield element, track.type


def composites(
    parameter: SearchParameter, type_name: str, shown: Iterable[JsonObject]
) -> list[str]:
    """Values of a composite: for each group of elements, each component's of one and the same."""
    found: dict[str, None] = {}
    for element, code in elements(parameter, type_name, shown):
        parts = [list(_components(c, e, element, code)) for c, e in components(parameter)]
        found.update(dict.fromkeys("$".join(part) for part in zip(*parts, strict=False)))
    return list(found)


def _components(
    parameter: SearchParameter, expression: str, element: Any, code: str
) -> Iterator[str]:
    try:
        tracks = compile_tracks(expression, code)
    except NotUnderstood:
        return
    for track in tracks:
        for inner in walk(element, track):
            yield from (v for v in draw(parameter.type, "", inner, track.type) if BASE not in v)


def draw(search_type: str, modifier: str, element: Any, code: str) -> list[str]:
    """Values of a parameter of a type with a modifier, that the element suggests."""
    make = _BY_MODIFIER.get((search_type, modifier)) or _BY_TYPE.get(search_type)
    return [] if make is None else list(dict.fromkeys(make(element, code)))


def _parts(element: Any, code: str) -> Iterator[Mapping[str, Any]]:
    held = element.get("coding", []) if code == "CodeableConcept" else [element]
    yield from (h for h in held if isinstance(h, Mapping))


def _tokens(element: Any, code: str) -> Iterator[str]:
    if isinstance(element, bool):
        yield "true" if element else "false"
    elif isinstance(element, (str, int)):
        yield escape(str(element))
    elif isinstance(element, Mapping):
        value = "value" if code in ("Identifier", "ContactPoint") else "code"
        for part in _parts(element, code):
            system, held = part.get("system"), part.get(value)
            if isinstance(held, str):
                yield f"{escape(system)}|{escape(held)}" if system else f"|{escape(held)}"
                yield escape(held)
            if system and code != "ContactPoint":
                yield f"{escape(system)}|"


def _of_type(element: Any, code: str) -> Iterator[str]:
    if isinstance(element, Mapping) and isinstance(element.get("value"), str):
        for part in _parts(element.get("type") or {}, "CodeableConcept"):
            if "code" in part:
                names = part.get("system", ""), part["code"], element["value"]
                yield "|".join(map(escape, names))


def _token_texts(element: Any, code: str) -> Iterator[str]:
    if not isinstance(element, Mapping):
        return
    if code == "Identifier":
        yield from _token_texts(element.get("type"), "CodeableConcept")
        return
    if isinstance(element.get("text"), str):
        yield escape(element["text"].split()[0])
    for part in _parts(element, code):
        if isinstance(part.get("display"), str):
            yield escape(part["display"].split()[0])


def _strings(element: Any, code: str) -> Iterator[str]:
    for text in _texts(element):
        yield escape(text)
        yield escape(text[:4].strip().upper())


def _exact(element: Any, code: str) -> Iterator[str]:
    for text in _texts(element):
        yield escape(text)
        yield escape(text.upper())


def _contained(element: Any, code: str) -> Iterator[str]:
    for text in _texts(element):
        yield escape(text[1:5].strip() or text)


def _texts(element: Any) -> Iterator[str]:
    if isinstance(element, str):
        yield element
    elif isinstance(element, Mapping):
        for value in element.values():
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, str) and len(inner) > 1:
                    yield inner


def _dates(element: Any, code: str) -> Iterator[str]:
    if isinstance(element, str):
        yield element
        for size in (10, 7, 4):
            if len(element) > size:
                yield element[:size]
    elif isinstance(element, Mapping):
        for name in ("start", "end", "event", "repeat", "boundsPeriod"):
            held = element.get(name)
            for inner in held if isinstance(held, list) else [held]:
                yield from _dates(inner, "")


def _number(value: Any) -> str:
    return value.contents if isinstance(value, Fragment) else str(value)


def _numbers(element: Any, code: str) -> Iterator[str]:
    if isinstance(element, (int, Fragment)) and not isinstance(element, bool):
        yield _number(element)


def _quantities(element: Any, code: str) -> Iterator[str]:
    if not isinstance(element, Mapping):
        return
    for held in (element, element.get("low"), element.get("high")):
        if isinstance(held, Mapping) and "value" in held:
            number = _number(held["value"])
            yield number
            unit = held.get("code") or held.get("currency")
            if unit:
                yield f"{number}|{escape(held.get('system', ''))}|{escape(unit)}"
                yield f"{number}||{escape(unit)}"


def _references(element: Any, code: str) -> Iterator[str]:
    text = element.get("reference") if isinstance(element, Mapping) else element
    if not isinstance(text, str):
        return
    if isinstance(element, str) or ":" in text:
        yield escape(text)
    elif not text.startswith("#"):
        yield text
        yield text.rpartition("/")[2]
        yield f"{BASE}/{text}"


def _typed(element: Any, code: str) -> Iterator[str]:
    for text in _references(element, code):
        if "/" not in text and ":" not in text:
            yield text


def _named(element: Any, code: str) -> Iterator[str]:
    if isinstance(element, Mapping):
        yield from _tokens(element.get("identifier"), "Identifier")


def _uris(element: Any, code: str) -> Iterator[str]:
    if isinstance(element, str):
        yield escape(element)


def _below(element: Any, code: str) -> Iterator[str]:
    if isinstance(element, str):
        yield escape(element.rpartition("/")[0] or element)


def _above(element: Any, code: str) -> Iterator[str]:
    if isinstance(element, str):
        yield escape(element)
        yield escape(element + "/more")


def _value_sets(element: Any, code: str) -> Iterator[str]:
    yield from VALUE_SETS


def _presence(element: Any, code: str) -> Iterator[str]:
    yield from ("true", "false")


Make = Callable[[Any, str], Iterator[str]]
_BY_TYPE: Mapping[str, Make] = {
    "token": _tokens,
    "string": _strings,
    "date": _dates,
    "number": _numbers,
    "quantity": _quantities,
    "reference": _references,
    "uri": _uris,
}
_BY_MODIFIER: Mapping[tuple[str, str], Make] = {
    ("token", "text"): _token_texts,
    ("token", "of-type"): _of_type,
    ("token", "in"): _value_sets,
    ("token", "not-in"): _value_sets,
    ("string", "exact"): _exact,
    ("string", "contains"): _contained,
    ("reference", "identifier"): _named,
    ("reference", "typed"): _typed,
    ("uri", "below"): _below,
    ("uri", "above"): _above,
    **{(t, "missing"): _presence for t in (*_BY_TYPE, "composite")},
}
