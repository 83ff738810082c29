"""The deployment files hold together: the configuration loads, and names agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.config import load_settings
from scripts.dockerfile import read_stages

REPOSITORY = Path(__file__).resolve().parent.parent
COMPOSE = (REPOSITORY / "deploy" / "compose.yaml").read_text()


def test_the_composed_configuration_loads_with_the_image_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """deploy/config.toml and the variables of the Dockerfile make complete settings."""
    final = read_stages(REPOSITORY / "Dockerfile")[-1]
    for step in final.named("ENV"):
        for word in step.text.split():
            name, _, value = word.partition("=")
            if name.startswith("ECR_PROXY_"):
                monkeypatch.setenv(name, value)
    settings = load_settings(REPOSITORY / "deploy" / "config.toml")
    assert settings.server.host == "0.0.0.0"
    assert str(settings.keys.file) == "/var/lib/ecr-proxy/keys.json"
    assert settings.upstream.url == "http://hapi:8080/fhir"


def test_what_compose_tells_hapi_is_what_it_reads() -> None:
    """Every HAPI_ variable is one that the server takes: its database options."""
    source = (REPOSITORY / "hapi/src/main/java/org/ecrproxy/hapi/HapiServer.java").read_text()
    options = set(re.findall(r'"(db[a-z-]*)", "', source))
    variables = set(re.findall(r"HAPI_([A-Z_]+):", COMPOSE))
    assert variables == {option.upper().replace("-", "_") for option in options}


def test_only_the_proxy_is_reachable_and_only_from_this_machine() -> None:
    """One service publishes a port, on loopback; passwords come from the environment."""
    assert re.findall(r'^      - "([\d.:]+)"$', COMPOSE, re.MULTILINE) == ["127.0.0.1:8000:8000"]
    assert len(re.findall(r"PASSWORD: \$\{POSTGRES_PASSWORD:\?", COMPOSE)) == 2
