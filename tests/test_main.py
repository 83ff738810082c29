"""The command line's frame: what a user can cause is one message, never a traceback."""

from __future__ import annotations

import sys
from types import ModuleType

import click
import pytest

from proxy import __version__
from proxy.__main__ import main
from proxy.errors import BadStructure


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` names the command and its version."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ecr-proxy {__version__}\n"


def test_help_lists_every_command_without_importing_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The list of commands needs none of their modules."""
    before = {name for name in sys.modules if name.startswith("proxy.commands.")}
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in ("demo", "serve", "check", "explain", "view", "keygen", "token"):
        assert f"  {name} " in text
    assert {name for name in sys.modules if name.startswith("proxy.commands.")} == before


def raising(error: BaseException) -> ModuleType:
    """A stand-in for a command's module whose command raises ``error``."""

    @click.command()
    def command() -> None:
        raise error

    module = ModuleType("proxy.commands.check")
    module.command = command  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (click.ClickException("2 mistakes"), 1, "Error: 2 mistakes"),
        (click.UsageError("wrong"), 2, "Error: wrong"),
        (FileNotFoundError(2, "No such file or directory", "p.toml"), 1, "Error: p.toml: No such"),
        (OSError("closed"), 1, "Error: input or output failed"),
        (BadStructure(), 1, "Error: The content is not well formed."),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_expected_errors_are_one_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    message: str,
) -> None:
    """An error that a user can cause gives its message, an exit code and no traceback."""
    monkeypatch.setitem(sys.modules, "proxy.commands.check", raising(error))
    assert main(["check"]) == code
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown


def test_an_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """What is not in the list is refused with the usage text."""
    assert main(["nope"]) == 2
    assert "No such command" in capsys.readouterr().err
