"""What a configuration value may be. Each kind reads what TOML gave into what the settings hold.

A reader raises ValueError whose text ends the sentence "[section] key …" and never repeats the
value, which may be a secret in the wrong place.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from urllib.parse import urlsplit

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d{1,9})(B|KB|KiB|MB|MiB|GB|GiB)")
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_\-.]*[A-Za-z0-9])?")
_URL = re.compile(r"[!-~]{1,2000}")  # visible ASCII: no spaces, no control characters
_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:]+\]|[a-z0-9\-.]+)(:\d{1,5})?")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")

# A sort key that gives rows in the order in which they were stored: HAPI's own, or R4's.
ORDERS = ("_pid", "_lastUpdated", "none")
# Signatures only: a key that both sides know would let every client make tokens.
ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)


@dataclass(frozen=True, slots=True)
class Kind:
    """``read`` takes the TOML value; ``listed``: several are written as a list, in the environment
    with commas; ``number``: an integer."""

    read: Callable[[object], object]
    listed: bool = False
    number: bool = False

    def from_text(self, text: str) -> object:
        """The TOML value that an environment variable means."""
        if self.listed:
            return [item.strip() for item in text.split(",") if item.strip()]
        if self.number and re.fullmatch(r"-?\d{1,18}", text.strip()):
            return int(text)
        return text


def read_text(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or not value.strip():
        raise ValueError("must be a text of 1 to 200 characters")
    return value


def read_file(value: object) -> Path:
    return Path(read_text(value)).expanduser()


def read_host(value: object) -> str:
    """A host name or an IP address."""
    if isinstance(value, str):
        if _HOST.fullmatch(value):
            return value.lower()
        try:
            return str(ipaddress.ip_address(value))
        except ValueError:
            pass
    raise ValueError("must be a host name or an IP address, without scheme and port")


def read_number(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value

    return read


def read_duration(least: float, most: float) -> Callable[[object], float]:
    """A duration with its unit, in seconds: ``"30s"``, ``"500ms"``, ``"5m"``, ``"1h"``."""

    def read(value: object) -> float:
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if not found:
            raise ValueError('must be a duration with its unit, such as "30s", "500ms" or "5m"')
        seconds = float(found[1]) * _SECONDS[found[2]]
        if not least <= seconds <= most:
            raise ValueError(f"must be a duration from {least:g} to {most:g} seconds")
        return seconds

    return read


def read_size(least: int, most: int) -> Callable[[object], int]:
    """A size with its unit, in bytes: ``"10MB"`` is 10,000,000, ``"10MiB"`` 10,485,760."""

    def read(value: object) -> int:
        found = _SIZE.fullmatch(value) if isinstance(value, str) else None
        if not found:
            raise ValueError('must be a size with its unit, such as "64KB" or "10MB"')
        size = int(found[1]) * _BYTES[found[2]]
        if not least <= size <= most:
            raise ValueError(f"must be a size from {least} to {most} bytes")
        return size

    return read


def read_url(value: object) -> str:
    """An http or https URL without credentials, query and fragment; a trailing slash goes."""
    bad = "must be an http or https URL without user, query and fragment"
    if not isinstance(value, str) or not _URL.fullmatch(value) or "?" in value or "#" in value:
        raise ValueError(bad)
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(bad) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError(bad)
    if port == 0 or any(segment in (".", "..") for segment in parts.path.split("/")):
        raise ValueError(bad)
    return value.rstrip("/")


def read_issuer(value: object) -> str:
    """The issuer exactly as tokens carry it: a trailing slash is part of it."""
    read_url(value)
    return str(value)


def read_origin(value: object) -> str:
    """A browser's origin: scheme, host and port, exactly; no wildcard, not ``null``."""
    if not isinstance(value, str) or not _ORIGIN.fullmatch(value.lower()):
        raise ValueError("must name origins exactly (https://app.example.org); no wildcard")
    return value.lower()


def read_algorithm(value: object) -> str:
    if value not in ALGORITHMS:
        raise ValueError(f"must name asymmetric algorithms out of {', '.join(ALGORITHMS)}")
    return str(value)


def read_order(value: object) -> str:
    """The sort key for the order of storage; empty for ``none``."""
    if value not in ORDERS:
        raise ValueError(f"must be one of {', '.join(ORDERS)}")
    return "" if value == "none" else str(value)


def read_list(read: Callable[[object], object], least: int = 0) -> Callable[[object], object]:
    """A list of at least ``least`` different values, as a tuple."""

    def read_all(value: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise ValueError("must be a list")
        items = tuple(dict.fromkeys(read(item) for item in value))
        if len(items) < least:
            raise ValueError("must not be an empty list")
        return items

    return read_all


def read_audience(value: object) -> tuple[str, ...]:
    """One audience, or a list of which a token must name one."""
    items = value if isinstance(value, list) else [value]
    if not items:
        raise ValueError("must not be an empty list")
    return tuple(dict.fromkeys(read_text(item) for item in items))


def read_moment(value: object) -> datetime:
    """A TOML date (its first instant) or date-time; without an offset it is UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise ValueError("must be a date or a date-time, without quotes")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine by its name or address alone, without asking DNS."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
