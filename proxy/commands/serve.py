"""``ecr-proxy serve``: the gateway."""

from __future__ import annotations

from pathlib import Path

import click

from proxy.app import build, create_app
from proxy.config import ConfigErrors, Settings, load_settings
from proxy.shell.log import configure
from proxy.shell.server import StartError, bind, count_workers, serve, supervise


@click.command()
@click.option(
    "--config",
    "file",
    metavar="F",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("config.toml"),
    show_default=True,
    envvar="ECR_PROXY_CONFIG",
    help="The configuration.",
)
def command(file: Path) -> None:
    """Serve the views of the upstream that the configuration names, until interrupted.

    Logs go to standard error as JSON, one object a line. A mistake in configuration, policies or
    keys stops the start with one line for each.
    """
    try:
        settings = load_settings(file)
        workers = count_workers(settings.server.workers)
        if workers == 1:
            _serve_alone(settings)
        else:
            build(settings)  # so that mistakes are told once, not by every worker
            _supervise(settings, file, workers)
    except (ConfigErrors, StartError) as error:
        raise click.ClickException(str(error)) from None


def _serve_alone(settings: Settings) -> None:
    bound = bind(settings.server.host, settings.server.port, shared=False)
    with bound:
        application = create_app(settings)
        configure()
        serve(lambda: application, bound)


def _supervise(settings: Settings, file: Path, workers: int) -> None:
    host, port = settings.server.host, settings.server.port
    bind(host, port, shared=False).close()  # the port is free, not another service's to share
    with bind(host, port, shared=True):
        configure()
        supervise(work, (str(file), host, port), workers)


def work(file: str, host: str, port: int) -> None:
    """One worker process: reads the configuration again and serves the shared port."""
    configure()
    settings = load_settings(file)
    with bind(host, port, shared=True) as bound:
        serve(lambda: create_app(settings), bound)
