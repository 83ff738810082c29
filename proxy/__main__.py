"""The command ``ecr-proxy``: demo | serve | check | explain | view | keygen | token.

Each subcommand is a module of :mod:`proxy.commands` and is imported only when it is used, so that
``ecr-proxy view`` does not load a web server.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from proxy import __version__
from proxy.errors import ProxyError

# In the order of a newcomer's day; the words are what `ecr-proxy --help` prints.
COMMANDS = {
    "demo": "Sample server, proxy and a token per role, with curl lines to try.",
    "serve": "The gateway.",
    "check": "Every mistake in policies and configuration.",
    "explain": "Which rule, lens or verdict an element or parameter takes, and why.",
    "view": "One resource, Bundle or NDJSON through a view, offline.",
    "keygen": "Make a key ring.",
    "token": "Make a static or a signed trial token.",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"proxy.commands.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"proxy.commands.{cmd_name}.command is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ecr-proxy", message="%(prog)s %(version)s")
def cli() -> None:
    """A role-based, live, searchable view of a FHIR R4 server that holds case reports."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

    What a user can cause (a wrong option, a file that is not there, a policy with mistakes) is one
    message on standard error, never a traceback. Commands report their own mistakes as
    ``click.ClickException``.
    """
    try:
        result = cli.main(args=arguments, prog_name="ecr-proxy", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # The reader went away (`ecr-proxy view … | head`). Nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"Error: {where}{error.strerror or 'input or output failed'}", err=True)
        return 1
    except ProxyError as error:
        click.echo(f"Error: {error.text}", err=True)
        return 1
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
