"""The configuration: complete by its example, strict in what it takes, clear in what it refuses."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.config import ConfigErrors, Settings, load_settings, read_settings
from proxy.config.table import KEYS, TOKEN_KEYS, example

EXAMPLE = Path(__file__).resolve().parent.parent / "config.example.toml"
DIGEST = hashlib.sha256(b"a long random token").hexdigest()

# The least that a configuration says.
LEAST = f"""
[upstream]
url = "http://127.0.0.1:8080/fhir"
[[auth.token]]
sha256 = "{DIGEST}"
subject = "study-7-pipeline"
role = "researcher"
[roles]
researcher = "researcher-deidentified"
"""
JWT = """
issuer = "https://id.example.org/realms/ecr"
audience = "ecr-proxy"
jwks-url = "https://id.example.org/realms/ecr/certs"
"""


def with_line(section: str, line: str, text: str = LEAST) -> str:
    """``text`` with one more line under ``[section]``."""
    header = f"[{section}]\n"
    if header in text:
        return text.replace(header, header + line + "\n", 1)
    return f"{header}{line}\n{text}"


def refusal(text: str, environment: dict[str, str] | None = None) -> str:
    """All the mistakes of a configuration, as printed."""
    with pytest.raises(ConfigErrors) as refused:
        read_settings(text, environment or {}, file="the.toml")
    assert all(line.startswith("the.toml: ") for line in str(refused.value).split("\n"))
    return str(refused.value)


def leaves(settings: Settings) -> dict[str, object]:
    """The settings, flat: ``server.port`` to its value."""
    found: dict[str, object] = {}
    for section in dataclasses.fields(settings):
        value = getattr(settings, section.name)
        if dataclasses.is_dataclass(value):
            for key in dataclasses.fields(value):
                found[f"{section.name}.{key.name}"] = getattr(value, key.name)
    return found


def test_the_example_is_what_the_table_says() -> None:
    """config.example.toml is made from the table of keys; make it anew by its generator."""
    assert EXAMPLE.read_text("utf-8") == example()


def test_the_example_loads_as_it_stands() -> None:
    """The example is a working configuration; unset credentials and tokens stand as comments."""
    settings = load_settings(EXAMPLE, {})
    assert settings.server.public_url == "http://127.0.0.1:8000/fhir"
    assert settings.upstream.aliases == ("https://ehr.example.org/fhir",)
    assert settings.roles["researcher"] == "researcher-deidentified"
    assert settings.limits.body == 10_000_000
    assert settings.keys.file == EXAMPLE.parent / "keys.json"


def test_the_example_is_complete() -> None:
    """Every key that the settings hold stands in the example, live or as a comment, and no
    other; commented ones load too."""
    lines = [
        re.sub(r"^# (?=[\[a-z][\w\-.\[\]]* ?(=|$))", "", line) for line in example().split("\n")
    ]
    text = "\n".join(lines).replace("<64 hex digits>", DIGEST)
    whole = tomllib.loads(text)
    tokens = whole["auth"].pop("token")
    assert set(tokens[0]) == set(TOKEN_KEYS)
    said = {f"{section}.{name}" for section, table in whole.items() for name in table}
    known = {f"{key.section}.{key.name}" for key in KEYS}
    assert {name for name in said if not name.startswith("roles.")} == known
    held = leaves(load_settings(EXAMPLE, {})).keys() - {"auth.tokens"}
    assert {name.replace("-", "_") for name in known} == held
    one_credential = re.sub(
        r"(?m)^(username|password-file|client-.*|token-url|scope) =.*$", "", text
    )
    settings = read_settings(one_credential)
    assert settings.upstream.token_file == Path("upstream.token")
    assert settings.auth.tokens[0].expires == datetime(2030, 1, 1, tzinfo=UTC)
    assert settings.auth.tokens[0].scopes == frozenset({"system/*.rs"})


def test_later_sections_stay_out() -> None:
    """What does not work yet is neither in the example nor accepted."""
    assert "admin" not in example()
    assert "[admin] is not offered yet" in refusal(LEAST + '[admin]\nhost = "127.0.0.1"\n')


def test_the_least_configuration_takes_defaults() -> None:
    """Every key has a default or is required."""
    settings = read_settings(LEAST, base="/etc/ecr")
    assert settings.server.public_url == "http://127.0.0.1:8000/fhir"
    assert settings.upstream.timeout == 30.0
    assert settings.policies.directory == Path("/etc/ecr/policies")
    assert settings.keys.file == Path("/etc/ecr/keys.json")
    assert settings.auth.issuer == ""
    token = settings.auth.tokens[0]
    assert (token.sha256.hex(), token.subject, token.project) == (DIGEST, "study-7-pipeline", "")
    assert token.scopes is None


def test_settings_are_frozen() -> None:
    """Nothing changes the settings after they were read."""
    settings = read_settings(LEAST)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.server.port = 1  # type: ignore[misc]


VALUES = [
    ("server", 'host = "0.0.0.0"\npublic-url = "https://x/fhir/"', "server.public_url", "https://x/fhir"),
    ("server", 'host = "::1"', "server.public_url", "http://[::1]:8000/fhir"),
    ("server", "workers = 0", "server.workers", 0),
    ("server", 'origins = ["https://App.example.org"]', "server.origins", ("https://app.example.org",)),
    ("upstream", 'timeout = "500ms"', "upstream.timeout", 0.5),
    ("upstream", 'timeout = "2m"', "upstream.timeout", 120.0),
    ("upstream", 'token-file = "/run/secrets/t"', "upstream.token_file", Path("/run/secrets/t")),
    ("auth", JWT, "auth.audience", ("ecr-proxy",)),
    ("auth", JWT.replace('"ecr-proxy"', '["a", "b"]'), "auth.audience", ("a", "b")),
    ("auth", JWT.replace('/ecr"', '/ecr/"'), "auth.issuer", "https://id.example.org/realms/ecr/"),
    ("auth", 'algorithms = ["EdDSA"]', "auth.algorithms", ("EdDSA",)),
    ("limits", 'body = "64KiB"', "limits.body", 65536),
    ("limits", 'page-life = "7d"', "limits.page_life", 7 * 86400.0),
    ("limits", "page-included = 40", "limits.page_included", 40),
    ("audit", "tripwire = 1", "audit.tripwire", 1),
]  # fmt: skip


@pytest.mark.parametrize(("section", "line", "name", "expected"), VALUES)
def test_values_are_read(section: str, line: str, name: str, expected: object) -> None:
    """Durations become seconds, sizes bytes, URLs lose a trailing slash (an issuer does not)."""
    assert leaves(read_settings(with_line(section, line)))[name] == expected


ENVIRONMENT: list[tuple[dict[str, str], str, object]] = [
    ({"ECR_PROXY_SERVER_PORT": "9000"}, "server.public_url", "http://127.0.0.1:9000/fhir"),
    ({"ECR_PROXY_SERVER_PUBLIC_URL": "https://x/fhir"}, "server.public_url", "https://x/fhir"),
    ({"ECR_PROXY_SERVER_ORIGINS": "https://a, https://b"}, "server.origins",
     ("https://a", "https://b")),
    ({"ECR_PROXY_SERVER_ORIGINS": ""}, "server.origins", ()),
    ({"ECR_PROXY_UPSTREAM_URL": "http://hapi:8080/fhir", "ECR_PROXY_UPSTREAM_PLAIN_HTTP": "hapi"},
     "upstream.url", "http://hapi:8080/fhir"),
    ({"ECR_PROXY_UPSTREAM_TOKEN_FILE": ""}, "upstream.token_file", None),
    ({"ECR_PROXY_LIMITS_BATCH_ENTRIES": "7"}, "limits.batch_entries", 7),
    # What Kubernetes sets beside a service called ecr-proxy, and the name of the file itself.
    ({"ECR_PROXY_SERVICE_HOST": "10.0.0.1", "ECR_PROXY_SERVICE_PORT": "80", "ECR_PROXY_PORT":
      "tcp://10.0.0.1:80", "ECR_PROXY_PORT_80_TCP_ADDR": "10.0.0.1", "ECR_PROXY_CONFIG": "x",
      "HOME": "/"}, "server.port", 8000),
]  # fmt: skip


@pytest.mark.parametrize(("environment", "name", "expected"), ENVIRONMENT)
def test_the_environment_overrides(
    environment: dict[str, str], name: str, expected: object
) -> None:
    """ECR_PROXY_<SECTION>_<KEY> stands in place of a key, lists with commas."""
    assert leaves(read_settings(LEAST, environment))[name] == expected


def test_roles_come_from_the_environment_too() -> None:
    """A role of the file is found whatever it is written with; others are added."""
    roles = read_settings(
        LEAST, {"ECR_PROXY_ROLES_RESEARCHER": "a", "ECR_PROXY_ROLES_STUDY_LEAD": "b"}
    ).roles
    assert roles == {"researcher": "a", "study-lead": "b"}


def test_every_key_has_its_variable() -> None:
    """Each key can be overridden, and no two share a variable."""
    assert len({key.variable for key in KEYS}) == len(KEYS)
    assert "ECR_PROXY_AUTH_JWKS_URL" in {key.variable for key in KEYS}


MISTAKES = [
    # section, line, what the message says
    ("server", "debug = true", "[server] debug is an unknown key"),
    ("server", "prot = 1", "[server] prot is an unknown key; write port"),
    ("server", "port = 0", "[server] port must be a whole number from 1 to 65535"),
    ("server", 'port = "8000"', "[server] port must be a whole number"),
    ("server", "port = true", "[server] port must be a whole number"),
    ("server", 'host = "http://x"', "[server] host must be a host name or an IP address"),
    ("server", 'host = "0.0.0.0"', "[server] public-url is required"),
    ("server", 'public-url = "fhir"', "[server] public-url must be an http or https URL"),
    ("server", 'public-url = "http://u:p@x/fhir"', "[server] public-url must be"),
    ("server", 'public-url = "http://x/fhir?a"', "[server] public-url must be"),
    ("server", 'public-url = "http://x/a/../fhir"', "[server] public-url must be"),
    ("server", 'public-url = "http://x:99999/fhir"', "[server] public-url must be"),
    ("server", 'public-url = "http://x y/"', "[server] public-url must be"),
    ("server", 'origins = ["*"]', "[server] origins must name origins exactly"),
    ("server", 'origins = ["null"]', "[server] origins must name origins exactly"),
    ("server", 'origins = ["https://*.example.org"]', "[server] origins must name"),
    ("server", 'origins = "https://a"', "[server] origins must be a list"),
    ("upstream", "verify = false", "[upstream] verify is an unknown key"),
    ("upstream", "insecure = true", "[upstream] insecure is an unknown key"),
    ("upstream", 'plain-http = ["*"]', "[upstream] plain-http must be a host name"),
    ("upstream", "timeout = 30", "[upstream] timeout must be a duration with its unit"),
    ("upstream", 'timeout = "30"', "[upstream] timeout must be a duration with its unit"),
    ("upstream", 'timeout = "0s"', "[upstream] timeout must be a duration from"),
    ("upstream", 'username = "u"', "[upstream] lacks password-file"),
    ("upstream", 'scope = "s"', "[upstream] lacks client-id, client-secret-file, token-url"),
    ("upstream", 'token-file = "t"\nusername = "u"\npassword-file = "p"', "several credentials"),
    ("auth", "dev-mode = true", "[auth] dev-mode is an unknown key"),
    ("auth", 'algorithms = ["HS256"]', "[auth] algorithms must name asymmetric algorithms"),
    ("auth", 'algorithms = ["none"]', "[auth] algorithms must name asymmetric algorithms"),
    ("auth", "algorithms = []", "[auth] algorithms must not be an empty list"),
    ("auth", 'issuer = "https://id"', "[auth] needs issuer, audience and jwks-url together"),
    ("auth", JWT.replace("https://id.example.org/realms/ecr/certs", "http://id.example.org/certs"),
     "[auth] jwks-url is plain http"),
    ("auth", 'leeway = "1h"', "[auth] leeway must be a duration from"),
    ("limits", "body = 10", "[limits] body must be a size with its unit"),
    ("limits", 'body = "10 MB"', "[limits] body must be a size with its unit"),
    ("limits", 'body = "1B"', "[limits] body must be a size from"),
    ("roles", "x = 1", "[roles] x must name a policy"),
    ("storage", "x = 1", "[storage] is an unknown section"),
    ("polices", 'directory = "p"', "[polices] is an unknown section; write policies"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "line", "message"), MISTAKES)
def test_r_cf_1_r_cf_4_mistakes_stop_the_start(section: str, line: str, message: str) -> None:
    """R-CF-1, R-CF-4: a wrong, unknown or unsafe key is refused by file, key and mend."""
    assert message in refusal(with_line(section, line))


TOKEN_MISTAKES = [
    ("sha256", '"x"', "64 hex digits"),
    ("sha256", "1", "64 hex digits"),
    ("sha256", f'"{hashlib.sha256(b"test").hexdigest()}"', "is of a sample"),
    ("sha256", f'"{"0" * 64}"', "is of a sample"),
    ("role", '"guest"', "must be a role of [roles]"),
    ("role", '["researcher"]', "must be a role of [roles]"),
    ("subject", '""', "subject must be a text"),
    ("project", "7", "project must be a text"),
    ("claims", "[]", "claims must be a table"),
    ("scopes", '"system/*.rs"', "scopes must be a list"),
    ("expires", '"2030-01-01"', "expires must be a date"),
    ("token", '"the token itself"', "token is an unknown key"),
]


@pytest.mark.parametrize(("name", "value", "message"), TOKEN_MISTAKES)
def test_r_id_8_static_tokens_are_judged(name: str, value: str, message: str) -> None:
    """R-ID-8: a static token of a sample word, or without what it needs, stops the start."""
    lines = [line for line in LEAST.split("\n") if not line.startswith(f"{name} =")]
    lines.insert(lines.index("[[auth.token]]") + 1, f"{name} = {value}")
    found = refusal("\n".join(lines))
    assert "[[auth.token]] 1" in found
    assert message in found
    assert "the token itself" not in found


def test_static_tokens_are_told_apart() -> None:
    """A subject is required, and one token is one caller's."""
    assert "subject is required" in refusal(LEAST.replace('subject = "study-7-pipeline"', ""))
    block = LEAST[LEAST.index("[[auth.token]]") : LEAST.index("[roles]")]
    assert "one sha256 twice" in refusal(LEAST.replace("[roles]", block + "[roles]"))
    assert "must be a list" in refusal("[auth.token]\nx = 1\n" + LEAST.replace(block, ""))


MISSING = [
    ("[roles]\nresearcher = \"researcher-deidentified\"\n", "[roles] is missing"),
    ('url = "http://127.0.0.1:8080/fhir"\n', "[upstream] url is required"),
    (LEAST[LEAST.index("[[auth.token]]") : LEAST.index("[roles]")], "[auth] accepts nobody"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "message"), MISSING, ids=["roles", "url", "auth"])
def test_what_is_required_is_asked_for(part: str, message: str) -> None:
    """Each required thing that is not there is named."""
    assert message in refusal(LEAST.replace(part, ""))


TRANSPORT = [
    ("http://127.0.0.1:8080/fhir", "", True),
    ("http://localhost/fhir", "", True),
    ("http://[::1]:8080/fhir", "", True),
    ("https://hapi.example.org/fhir", "", True),
    ("http://hapi:8080/fhir", "hapi", True),
    ("http://HAPI:8080/fhir", "hapi", True),
    ("http://hapi:8080/fhir", "", False),
    ("http://hapi.evil.example/fhir", "hapi", False),
    ("http://127.0.0.1.evil.example/fhir", "", False),
    ("http://10.0.0.1/fhir", "", False),
    ("http://0.0.0.0/fhir", "", False),
]


@pytest.mark.parametrize(("url", "named", "good"), TRANSPORT)
def test_r_cf_4_plain_http_only_where_named(url: str, named: str, good: bool) -> None:
    """R-CF-4: plain http goes to loopback and to hosts that the configuration names, alone."""
    text = LEAST.replace("http://127.0.0.1:8080/fhir", url)
    text = with_line("upstream", f"plain-http = [{named and repr(named)}]", text)
    if good:
        assert read_settings(text).upstream.url == url
    else:
        assert "[upstream] url is plain http to another host" in refusal(text)


UNKNOWN_VARIABLES = [
    {"ECR_PROXY_DEBUG": "1"},
    {"ECR_PROXY_SERVER_PROT": "1"},
    {"ECR_PROXY_UPSTREAM_VERIFY": "false"},
    {"ECR_PROXY_AUTH_TOKEN": "x"},
]


@pytest.mark.parametrize("environment", UNKNOWN_VARIABLES)
def test_r_cf_4_unknown_variables_are_refused(environment: dict[str, str]) -> None:
    """R-CF-4: an unknown variable of ours is a mistake: it may be meant as a switch."""
    assert f"variable {next(iter(environment))} is unknown" in refusal(LEAST, environment)


def test_a_wrong_variable_is_named() -> None:
    """A value from the environment is blamed on its variable, not on the file's key."""
    found = refusal(LEAST, {"ECR_PROXY_SERVER_PORT": "many"})
    assert "variable ECR_PROXY_SERVER_PORT must be a whole number" in found


def test_r_cf_1_all_mistakes_at_once() -> None:
    """R-CF-1: one run names every mistake, each on one line, and repeats no value."""
    text = """
stray = "s3cr3t-value"
[server]
port = "s3cr3t-value"
origins = ["*"]
debug = true
[upstream]
url = "ftp://s3cr3t-value"
token-file = 3
[auth]
algorithms = ["s3cr3t-value"]
[[auth.token]]
sha256 = "s3cr3t-value"
[limits]
body = "s3cr3t-value"
"""
    found = refusal(text, {"ECR_PROXY_LIMITS_PAGE_LIFE": "s3cr3t-value"})
    expected = [
        *("stray", "[server] port", "[server] origins", "[server] debug", "[upstream] url"),
        *("[upstream] token-file", "[auth] algorithms", "[[auth.token]] 1 sha256", "[roles]"),
        *("[[auth.token]] 1 role", "[[auth.token]] 1 subject", "[limits] body"),
        "variable ECR_PROXY_LIMITS_PAGE_LIFE",
    ]
    assert [name for name in expected if f"the.toml: {name} " not in found] == []
    assert len(found.split("\n")) == len(expected)
    assert "s3cr3t" not in found


def test_r_cf_1_files_that_cannot_be_read(tmp_path: Path) -> None:
    """R-CF-1: a missing, empty, undecodable or unparseable file is one clear error."""
    path = tmp_path / "config.toml"
    bad: list[tuple[Any, str]] = [
        (None, "cannot be read: no such file or directory; copy config.example.toml"),
        (b"\xff\xfe", "is not UTF-8 at line 1; save it as UTF-8"),
        (b"[server]\nport = 1\n# \xff", "is not UTF-8 at line 3"),
        (b"", "[upstream] url is required"),
        (b"[server\nport = 1", "is not TOML at line 1"),
        (b"[server]\nport = 1\nport = 2\n", "is not TOML at line 3: a key is written twice; mend"),
        (b"[server]\nport = 1\n[server]", "is not TOML at line 3: [server] is written twice; mend"),
        (b'[server]\nhost = "x" y', "is not TOML at line 2; mend the line"),
        (b"a = " + b"[" * 100_000, "is not TOML"),
    ]
    for content, message in bad:
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigErrors) as refused:
            load_settings(path, {})
        assert message in str(refused.value)
        assert str(path) in str(refused.value)
    with pytest.raises(ConfigErrors, match="cannot be read: is a directory; name the file in it"):
        load_settings(tmp_path, {})
