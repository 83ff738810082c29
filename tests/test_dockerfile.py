"""The Dockerfile: small, not root, health-checked, and made only of what the builder is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.dockerfile import read_stages, read_steps
from scripts.run_dockerfile import ignored

REPOSITORY = Path(__file__).resolve().parent.parent
FILES = ("Dockerfile", "hapi/Dockerfile")


def test_steps_are_read_with_continuations_and_comments() -> None:
    """A continued line is one step; comments inside it do not end it."""
    steps = read_steps('FROM a AS b\nRUN one && \\\n# why\n    two\nCMD ["x", "y z"]\n')
    assert [(s.name, s.text, s.line) for s in steps] == [
        ("FROM", "a AS b", 1),
        ("RUN", "one && two", 2),
        ("CMD", '["x", "y z"]', 5),
    ]
    assert steps[2].words == ["x", "y z"]


@pytest.mark.parametrize("file", FILES)
def test_the_final_stage_runs_without_root(file: str) -> None:
    """The last USER is a number other than 0, so that an engine can check it."""
    final = read_stages(REPOSITORY / file)[-1]
    user = final.named("USER")[-1].text.split(":")[0]
    assert user.isdigit()
    assert int(user) > 0


@pytest.mark.parametrize("file", FILES)
def test_base_images_are_slim_and_tagged(file: str) -> None:
    """Every image has a tag other than ``latest``; the final one is made to run, not to build."""
    stages = read_stages(REPOSITORY / file)
    assert len(stages) == 2
    for stage in stages:
        assert ":" in stage.image
        assert not stage.image.endswith(":latest")
    assert "slim" in stages[-1].image or "jre" in stages[-1].image


def test_no_build_tools_in_the_final_image() -> None:
    """The final stage installs nothing and takes pip out; the environment it gets never had it."""
    build, final = read_stages(REPOSITORY / "Dockerfile")
    commands = [step.text for step in final.named("RUN")]
    assert commands == ["pip uninstall --yes pip"]
    assert any("venv --without-pip" in step.text for step in build.named("RUN"))


def test_the_health_is_checked_without_extra_tools() -> None:
    """HEALTHCHECK runs the image's own Python against /healthz."""
    final = read_stages(REPOSITORY / "Dockerfile")[-1]
    (check,) = final.named("HEALTHCHECK")
    assert check.words[0] == "python"
    assert "/healthz" in check.words[-1]


@pytest.mark.parametrize("file", FILES)
def test_what_is_copied_is_there_and_sent_to_the_builder(file: str) -> None:
    """Every COPY from the repository names a path that exists and that .dockerignore lets in."""
    for stage in read_stages(REPOSITORY / file):
        for step in stage.named("COPY"):
            if not step.flag("from"):
                for source in step.words[:-1]:
                    assert (REPOSITORY / source).exists(), source
                    assert not ignored(REPOSITORY / source), source


@pytest.mark.parametrize(
    "path", ["tests", "config.example.toml", ".git", "hapi/target", "keys.json", "docs"]
)
def test_nothing_else_is_sent(path: str) -> None:
    """Tests, history, keys and configuration never reach the builder."""
    assert ignored(REPOSITORY / path)
