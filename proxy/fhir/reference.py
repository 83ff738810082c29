"""References and URLs, read by their grammar: R4, references.html#literal, and RFC 3986.

The identity of a thing is its absolute URL. Two spellings of one URL (host in capitals, default
port, ``%41`` for ``A``, dot segments) are one URL here, so every URL is normalised (RFC 3986,
section 6.2.2 and 6.2.3) before anything is compared; text is never replaced inside text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

Kind = Literal["relative", "absolute", "urn", "fragment", "conditional", "invalid"]

_ID = r"[A-Za-z0-9\-.]{1,64}"
_LITERAL = re.compile(
    rf"(?P<type>[A-Z][A-Za-z]*)/(?P<id>{_ID})(?:/_history/(?P<version>{_ID}))?"
    r"(?:\#(?P<fragment>[^\s#]*))?"
)
_ID_ONLY = re.compile(_ID)
_TYPE = re.compile(r"[A-Z][A-Za-z]*")
_URN = re.compile(r"urn:[a-z0-9][a-z0-9-]{0,31}:[!-~]+", re.IGNORECASE)
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f-\xa0\\<>\"{}|^`\u2028\u2029]")
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_LONGEST = 512  # characters; longer texts are not remembered
_DOTS = frozenset({".", ".."})  # segments of a path that are no names
_PORTS = {"http": 80, "https": 443}


def is_id(text: str) -> bool:
    """Whether ``text`` is a legal Resource.id (R4, datatypes.html#id).

    ``.`` and ``..`` match the specification's pattern but are dot segments in a URL: no id here.
    """
    return _ID_ONLY.fullmatch(text) is not None and text not in _DOTS


@dataclass(frozen=True, slots=True)
class Url:
    """A normalised http(s) URL. ``origin``: ``scheme://[userinfo@]host[:port]``; ``path``: with
    its leading slash or empty; ``query``: None if there is no ``?``."""

    origin: str
    path: str
    query: str | None
    fragment: str | None

    def __str__(self) -> str:
        query = "" if self.query is None else "?" + self.query
        fragment = "" if self.fragment is None else "#" + self.fragment
        return self.origin + self.path + query + fragment


def parse_url(text: str) -> Url | None:
    """The normalised absolute http(s) URL that ``text`` is; None for anything else."""
    # urlsplit drops line ends and leading blanks silently, so they are looked for first.
    if text[:4].lower() != "http" or _NOT_IN_URL.search(text) or _BAD_PERCENT.search(text):
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not host:
        return None
    userinfo = parts.netloc.rpartition("@")[0]
    host = f"[{host}]" if ":" in host else _decode_unreserved(host)
    origin = f"{parts.scheme}://{userinfo + '@' if userinfo else ''}{host}"
    if port is not None and port != _PORTS[parts.scheme]:
        origin += f":{port}"
    bare = text.partition("#")[0]
    return Url(
        origin,
        _without_dots(_decode_unreserved(parts.path)),
        parts.query if "?" in bare else None,
        parts.fragment if "#" in text else None,
    )


def _decode_unreserved(text: str) -> str:
    """RFC 3986, 6.2.2.1 and 6.2.2.2: unreserved characters plain, other escapes in capitals."""
    if "%" not in text:
        return text

    def plain(match: re.Match[str]) -> str:
        char = chr(int(match[1], 16))
        return char if char in _UNRESERVED else match[0].upper()

    return _ENCODED.sub(plain, text)


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4, for the path of an absolute URL."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


@lru_cache(maxsize=64)  # the bases of a configuration, not data
def normalise_base(base: str) -> str:
    """A service base as it is compared: normalised, without a trailing slash.

    Raises ValueError if it is not an http(s) URL, or has a query or fragment.
    """
    url = parse_url(base)
    if url is None or url.query is not None or url.fragment is not None:
        raise ValueError("a base must be an http or https URL without query or fragment")
    return url.origin + url.path.rstrip("/")


class Bases:
    """Service bases that mean one server: its own URL (``main``) and its aliases, in ``all``.
    ``written``: those that references to it may be stored with; none if there is no alias, since
    a server writes its own things relative."""

    __slots__ = ("all", "main", "written")

    def __init__(self, main: str, aliases: Iterable[str] = ()) -> None:
        """Raises ValueError for what is not a base (:func:`normalise_base`)."""
        self.main = normalise_base(main)
        others = tuple(map(normalise_base, aliases))
        self.all = frozenset((self.main, *others))
        self.written = tuple(dict.fromkeys((self.main, *others))) if others else ()

    def __contains__(self, base: object) -> bool:
        """Whether a normalised base (as in :attr:`Reference.base`) is one of these."""
        return base in self.all

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.all))

    def below(self, text: str) -> Url | None:
        """What of an absolute URL lies below one of the bases; None if it lies elsewhere.

        The result has an empty origin and a path without leading slash: for
        ``<base>/Patient/1?x=y`` path ``Patient/1`` and query ``x=y``. The longest base counts.
        """
        url = parse_url(text)
        if url is None:
            return None
        whole = url.origin + url.path
        for base in sorted(self.all, key=len, reverse=True):
            if whole == base or whole.startswith(base + "/"):
                return Url("", whole[len(base) + 1 :], url.query, url.fragment)
        return None

    def rebase(self, text: str, onto: str) -> str | None:
        """An absolute URL below one of the bases, moved to the base ``onto``; None if it lies
        elsewhere. ``rebase(b, onto)`` of a base itself is ``onto``."""
        below = self.below(text)
        if below is None:
            return None
        return onto.rstrip("/") + ("/" if below.path else "") + str(below)


class Reference(NamedTuple):
    """A literal reference (R4, references.html#literal).

    ``kind``: how it is written. ``base``: the normalised service base, written (``absolute``) or
    the one it was resolved at (``relative``); empty where there is none. ``type``, ``id``,
    ``version``: of a RESTful URL; all empty for an absolute URL of another form. ``fragment``:
    after ``#`` (the whole of a ``fragment``). ``text``: as written.
    """

    kind: Kind
    text: str
    base: str = ""
    type: str = ""
    id: str = ""
    version: str = ""
    fragment: str = ""

    @property
    def identity(self) -> str:
        """The absolute URL, version and fragment dropped, that names the thing referred to; a
        urn with what is case-insensitive in lower case (RFC 8141, RFC 9562); empty for a
        fragment, a conditional, an invalid, or without a base."""
        if self.kind in ("relative", "absolute"):
            if self.type:
                return f"{self.base}/{self.type}/{self.id}" if self.base else ""
            url = parse_url(self.text)
            return "" if url is None else url.origin + url.path
        return _normalise_urn(self.text) if self.kind == "urn" else ""


def _normalise_urn(text: str) -> str:
    _, namespace, specific = text.split(":", 2)
    namespace = namespace.lower()
    return f"urn:{namespace}:{specific.lower() if namespace == 'uuid' else specific}"


def parse_reference(text: object, base: str = "") -> Reference:
    """Read ``Reference.reference``, a fullUrl, or any URL that may name a resource.

    ``base``: the normalised base at which a relative one resolves (the entry's fullUrl base, else
    the upstream's). Never raises: what has no known form is ``invalid``.
    """
    if not isinstance(text, str):
        return Reference("invalid", "")
    return _known(text, base) if len(text) <= _LONGEST else _parse(text, base)


def _parse(text: str, base: str) -> Reference:
    match = _LITERAL.fullmatch(text)
    if match is not None:
        return _restful("relative", text, base, match)
    if base and text.startswith(base + "/") and "#" not in text:
        # Most URLs lie below the base at hand, which is normalised; so is the rest if it matches.
        match = _LITERAL.fullmatch(text, len(base) + 1)
        if match is not None and (found := _restful("absolute", text, base, match)).type:
            return found
    if text.startswith("#"):
        kind: Kind = "invalid" if _NOT_IN_URL.search(text) else "fragment"
        return Reference(kind, text, fragment=text[1:])
    if text[:4].lower() == "urn:":
        return Reference("urn" if _URN.fullmatch(text) else "invalid", text)
    type_, mark, query = text.partition("?")
    if mark and query and _TYPE.fullmatch(type_):
        return Reference("conditional", text, base, type_)
    url = parse_url(text)
    return Reference("invalid", text) if url is None else _absolute(text, url)


# Most resources refer to the same few patients, encounters and organizations.
_known = lru_cache(maxsize=8192)(_parse)


def _restful(kind: Kind, text: str, base: str, match: re.Match[str]) -> Reference:
    type_, id_, version, fragment = match.groups("")
    if id_ in _DOTS or version in _DOTS:
        return Reference("invalid", text)
    return Reference(kind, text, base, type_, id_, version, fragment)


def _absolute(text: str, url: Url) -> Reference:
    segments = url.path.removesuffix("/").split("/")
    whole = url.origin + "/".join(segments)
    if url.query is not None:
        if _TYPE.fullmatch(segments[-1]):
            base = whole[: -len(segments[-1]) - 1]
            return Reference("conditional", text, base, segments[-1])
        return Reference("absolute", text)
    tail = segments[-4:] if len(segments) > 4 and segments[-2] == "_history" else segments[-2:]
    written = "/".join(tail) + ("" if url.fragment is None else "#" + url.fragment)
    match = _LITERAL.fullmatch(written)
    if match is None or len(segments) <= len(tail):
        return Reference("absolute", text)
    base = whole[: len(whole) - len("/".join(tail)) - 1]
    return _restful("absolute", text, base, match)
