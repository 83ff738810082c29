"""TOML and environment to Settings, or every mistake at once."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from proxy.config.model import (
    AuditSettings,
    AuthSettings,
    KeySettings,
    LimitSettings,
    PolicySettings,
    ServerSettings,
    Settings,
    StaticToken,
    UpstreamSettings,
)
from proxy.config.table import KEYS, SECTIONS, TOKEN_KEYS, Key
from proxy.config.values import is_loopback, read_list, read_moment, read_text
from proxy.policy.mistakes import offer, one_line

PREFIX: Final = "ECR_PROXY_"
# Where the service itself is called "ecr-proxy", Kubernetes sets variables of these names; and
# the file is named by the last one.
_NOT_OURS: Final = re.compile(r"ECR_PROXY_(?:SERVICE_.*|PORT(?:_.*)?|CONFIG)")
# Digests of tokens that people try things with.
_SAMPLES: Final = frozenset(
    hashlib.sha256(word).digest()
    for word in b" test token secret password sample example changeme demo admin foo 123456".split(
        b" "
    )
)
_SECTION_CLASSES: Final[Mapping[str, Callable[..., object]]] = {
    "server": ServerSettings,
    "upstream": UpstreamSettings,
    "auth": AuthSettings,
    "policies": PolicySettings,
    "keys": KeySettings,
    "audit": AuditSettings,
    "limits": LimitSettings,
}
# The three kinds of upstream credential: what each needs, and what it may have.
_CREDENTIALS: Final[tuple[tuple[frozenset[str], frozenset[str]], ...]] = (
    (frozenset({"token-file"}), frozenset()),
    (frozenset({"username", "password-file"}), frozenset()),
    (frozenset({"client-id", "client-secret-file", "token-url"}), frozenset({"scope"})),
)
# URLs that this server asks.
_ASKED: Final = (("upstream", "url"), ("upstream", "token-url"), ("auth", "jwks-url"))
_JWT: Final = ("issuer", "audience", "jwks-url")

# What mends a file that cannot be read.
_MENDS: Final[Mapping[int, str]] = {
    errno.ENOENT: "copy config.example.toml and name it with --config",
    errno.EISDIR: "name the file in it with --config",
}
_TWICE: Final = re.compile(r"Cannot (?:declare|mutate|overwrite) [^(]*(?:\((?P<key>[^)]*)\))?")

Values = dict[tuple[str, str], Any]


class ConfigErrors(Exception):
    """The configuration cannot be used. ``mistakes``: all that is wrong, one line each, with the
    file and key and how to mend it; no value is repeated."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = tuple(dict.fromkeys(mistakes))
        super().__init__("\n".join(self.mistakes))


def load_settings(
    file: str | os.PathLike[str], environment: Mapping[str, str] | None = None
) -> Settings:
    """The settings in the TOML file ``file``, overridden by ``environment`` (the process's own if
    None). Raises ConfigErrors; no file named in it is opened."""
    path = Path(file)
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigErrors([f"{path}: is not UTF-8 at line {line}; save it as UTF-8"]) from None
    except OSError as error:
        reason = (error.strerror or "error").lower()
        mend = _MENDS.get(error.errno or 0, "let this process read it")
        raise ConfigErrors([f"{path}: cannot be read: {reason}; {mend}"]) from None
    variables = os.environ if environment is None else environment
    return read_settings(text, variables, file=os.fspath(file), base=path.parent)


def read_settings(
    text: str,
    environment: Mapping[str, str] | None = None,
    *,
    file: str = "config.toml",
    base: str | os.PathLike[str] = "",
) -> Settings:
    """The settings written as ``text``. ``file`` names it in messages; relative files are taken
    from the folder ``base``. Raises ConfigErrors."""
    return _Reader(text, environment or {}, file, Path(base)).settings()


def _reason(error: str) -> str:
    """Why a text is not TOML, where that is a table or key written twice; no value is repeated."""
    found = _TWICE.match(error)
    if found is None:
        return ""
    named = ".".join(re.findall(r"'([^']*)'", found["key"] or ""))
    return f": {f'[{named}]' if named else 'a key'} is written twice"


class _Reader:
    def __init__(self, text: str, environment: Mapping[str, str], file: str, base: Path) -> None:
        self.text, self.environment, self.file, self.base = text, environment, file, base
        self.mistakes: list[str] = []
        self.bad: set[tuple[str, str]] = set()  # keys whose value could not be read
        self.overridden: dict[tuple[str, str], str] = {}  # key -> variable

    def settings(self) -> Settings:
        try:
            document: dict[str, object] = tomllib.loads(self.text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            place = re.search(r"at line \d+", str(error))
            where = f" {place[0]}" if place else ""
            raise ConfigErrors(
                [f"{self.file}: is not TOML{where}{_reason(str(error))}; mend the line"]
            ) from None
        tables = self._tables(document)
        tokens = tables["auth"].pop("token", [])
        roles = self._roles(tables.pop("roles"))
        self._override(tables, roles)
        values = {(k.section, k.name): self._value(k, tables[k.section]) for k in KEYS}
        self._judge(values, bool(tokens))
        static = self._tokens(tokens, roles)
        if self.mistakes:
            raise ConfigErrors(self.mistakes)
        built: dict[str, Any] = {}
        for section, make in _SECTION_CLASSES.items():
            fields = {n.replace("-", "_"): v for (s, n), v in values.items() if s == section}
            built[section] = make(**fields, **({"tokens": static} if section == "auth" else {}))
        return Settings(**built, roles=roles, file=self.file)

    def wrong(self, place: str, what: str, mend: str = "") -> None:
        self.mistakes.append(
            one_line(f"{self.file}: {place} {what}" + (f"; {mend}" if mend else ""))
        )

    def _tables(self, document: dict[str, object]) -> dict[str, dict[str, Any]]:
        """The sections of the file; what is unknown in it is a mistake."""
        tables: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        for section, table in document.items():
            if section == "admin":
                self.wrong("[admin]", "is not offered yet", "take it out")
            elif not isinstance(table, dict):
                self.wrong(section, "must stand in a section", "write it below its [section]")
            elif section not in SECTIONS:
                self.wrong(f"[{section}]", "is an unknown section", offer(section, SECTIONS))
            else:
                tables[section] = dict(table)
        for section, table in tables.items():
            known = [key.name for key in KEYS if key.section == section]
            known += ["token"] if section == "auth" else []
            for name in list(table) if section != "roles" else ():
                if name not in known:
                    del table[name]
                    self.wrong(f"[{section}] {name}", "is an unknown key", offer(name, known))
        return tables

    def _roles(self, table: dict[str, Any]) -> dict[str, str]:
        roles: dict[str, str] = {}
        for role, policy in table.items():
            try:
                roles[read_text(role)] = read_text(policy)
            except ValueError:
                self.wrong(f"[roles] {role}", "must name a policy", f'{role} = "<policy>"')
        return roles

    def _override(self, tables: dict[str, dict[str, Any]], roles: dict[str, str]) -> None:
        """What the environment says in place of the file."""
        known = {key.variable: key for key in KEYS}
        for name, text in sorted(self.environment.items()):
            if not name.startswith(PREFIX) or _NOT_OURS.fullmatch(name):
                continue
            if key := known.get(name):
                if text or key.kind.listed:  # an empty variable says nothing
                    tables[key.section][key.name] = key.kind.from_text(text)
                    self.overridden[key.section, key.name] = name
            elif name.startswith(PREFIX + "ROLES_") and text:
                said = name.removeprefix(PREFIX + "ROLES_")
                same = [role for role in roles if role.upper().replace("-", "_") == said]
                roles[same[0] if same else said.lower().replace("_", "-")] = text
            else:
                self.wrong(
                    f"variable {name}",
                    "is unknown",
                    "unset it, or spell it as the configuration example says",
                )
        if not roles:
            self.wrong("[roles]", "is missing", "map each role of a token to a policy")

    def _value(self, key: Key, table: Mapping[str, object]) -> Any:
        variable = self.overridden.get((key.section, key.name))
        place = f"variable {variable}" if variable else f"[{key.section}] {key.name}"
        raw = table.get(key.name, key.default)
        if raw is None and not key.required:
            return key.unset
        try:
            if raw is None:
                raise ValueError(f"is required; it is the {key.about}")
            value = key.kind.read(raw)
        except ValueError as error:
            self.wrong(place, str(error))
            self.bad.add((key.section, key.name))
            return key.unset
        return self.base / value if isinstance(value, Path) else value

    def _judge(self, values: Values, static: bool) -> None:
        """What only several keys together show to be wrong. Keys that could not be read have been
        reported; what they would mean together is not guessed."""
        if not values["server", "public-url"] and not self._any_bad("server", ["host", "port"]):
            host, port = values["server", "host"], values["server", "port"]
            if host in ("0.0.0.0", "::"):  # noqa: S104
                self.wrong("[server] public-url", "is required where host is every address")
            name = f"[{host}]" if ":" in host else host
            values["server", "public-url"] = f"http://{name}:{port}/fhir"
        if not self._any_bad("upstream", ["plain-http"]):
            for section, name in _ASKED:
                self._judge_transport(f"[{section}] {name}", values[section, name], values)
        self._judge_credential(values)
        said = [name for name in _JWT if values["auth", name]]
        if not self._any_bad("auth", _JWT):
            if 0 < len(said) < len(_JWT):
                self.wrong("[auth]", "needs issuer, audience and jwks-url together")
            if not said and not static:
                self.wrong("[auth]", "accepts nobody", "set issuer, audience and jwks-url")

    def _any_bad(self, section: str, names: Iterable[str]) -> bool:
        return any((section, name) in self.bad for name in names)

    def _judge_transport(self, place: str, url: str, values: Values) -> None:
        """Plain http only to loopback and hosts that the configuration names."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        named: tuple[str, ...] = values["upstream", "plain-http"]
        if parts.scheme == "http" and not is_loopback(host) and host not in named:
            self.wrong(
                place, "is plain http to another host", "use https, or name it in plain-http"
            )

    def _judge_credential(self, values: Values) -> None:
        known = {name for needed, more in _CREDENTIALS for name in needed | more}
        said = {name for name in known if values["upstream", name]}
        if self._any_bad("upstream", known):
            return
        used = [(needed, more) for needed, more in _CREDENTIALS if said & (needed | more)]
        if len(used) > 1:
            self.wrong("[upstream]", "has several credentials", "keep one kind")
        for needed, _ in used:
            if missing := sorted(needed - said):
                self.wrong("[upstream]", f"lacks {', '.join(missing)} for its credential")

    def _tokens(self, tables: object, roles: Mapping[str, str]) -> tuple[StaticToken, ...]:
        if not isinstance(tables, list):
            self.wrong("[auth] token", "must be a list of tables", "write [[auth.token]]")
            return ()
        tokens = [self._token(n, table, roles) for n, table in enumerate(tables, 1)]
        digests = [token.sha256 for token in tokens if token]
        if len(set(digests)) < len(digests):
            self.wrong("[[auth.token]]", "has one sha256 twice", "give every caller an own token")
        return tuple(token for token in tokens if token)

    def _token(self, number: int, table: object, roles: Mapping[str, str]) -> StaticToken | None:
        place = f"[[auth.token]] {number}"
        before = len(self.mistakes)
        if not isinstance(table, dict):
            self.wrong(place, "must be a table")
            return None
        for name in table:
            if name not in TOKEN_KEYS:
                self.wrong(f"{place} {name}", "is an unknown key", offer(name, TOKEN_KEYS))
        text = table.get("sha256")
        if not isinstance(text, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", text):
            self.wrong(f"{place} sha256", "must be 64 hex digits", "make it with `ecr-proxy token`")
        elif bytes.fromhex(text) in _SAMPLES or len(set(text.lower())) < 6:
            self.wrong(f"{place} sha256", "is of a sample", "make one with `ecr-proxy token`")
        role = table.get("role")
        if not isinstance(role, str) or role not in roles:
            self.wrong(f"{place} role", "must be a role of [roles]", "name one of them")
        claims = table.get("claims", {})
        if not isinstance(claims, dict):
            self.wrong(f"{place} claims", "must be a table")
        fields: dict[str, Any] = {
            name: self._field(f"{place} {name}", table[name], read)
            for name, read in _TOKEN_READERS.items()
            if name in table
        }
        if "subject" not in table:
            self.wrong(f"{place} subject", "is required", "name who uses the token")
        if len(self.mistakes) > before:
            return None
        if "scopes" in fields:
            fields["scopes"] = frozenset(fields["scopes"])
        return StaticToken(
            sha256=bytes.fromhex(str(text)),
            role=str(role),
            claims=claims,
            **fields,
        )

    def _field(self, place: str, value: object, read: Callable[[object], object]) -> object:
        try:
            return read(value)
        except ValueError as error:
            self.wrong(place, str(error))
            return None


_TOKEN_READERS: Final[Mapping[str, Callable[[object], object]]] = {
    "subject": read_text,
    "project": read_text,
    "scopes": read_list(read_text),
    "expires": read_moment,
}
