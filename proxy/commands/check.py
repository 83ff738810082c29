"""``ecr-proxy check``: every mistake in policies and configuration."""

from __future__ import annotations

from pathlib import Path

import click

from proxy.app import unread_claims
from proxy.commands.sample import SampleError, Server, sample
from proxy.config.load import ConfigErrors, load_settings
from proxy.config.model import Settings
from proxy.policy.compile import compile_view
from proxy.policy.load import Loaded, read_policies
from proxy.policy.mistakes import offer
from proxy.policy.model import Policy
from proxy.policy.rows import claims_needed

CONFIG = "config.toml"
DIRECTORY = "policies"


@click.command()
@click.argument("policies", metavar="[POLICY…]", nargs=-1)
@click.option(
    "--config",
    metavar="F",
    type=click.Path(),
    help=f"Check this configuration too, and its policies; ./{CONFIG} if it is there.",
)
@click.option(
    "--sample",
    "url",
    metavar="URL",
    help="Read some resources of each type from this server, show them through each policy, and"
    " count shown values in which something removed still stands.",
)
def command(policies: tuple[str, ...], config: str | None, url: str | None) -> int:
    """Every mistake in POLICY (a name, a file or a directory), one a line with file and line.

    Without POLICY, all policies of the configuration's directory, else of ./policies. Exit code 1
    if there is a mistake; warnings alone leave it 0.
    """
    wrong = 0
    settings = None
    if config is not None or (not policies and Path(CONFIG).is_file()):
        try:
            settings = load_settings(config or CONFIG)
        except ConfigErrors as error:
            for line in error.mistakes:
                click.echo(line)
            wrong += len(error.mistakes)
    directory = settings.policies.directory if settings else Path(DIRECTORY)
    loaded = read_policies([_find(name, directory) for name in policies] or [directory])
    for warning in loaded.warnings:
        click.echo(f"{warning.file}:{warning.line}: warning: {warning.what}; {warning.mend}")
    for mistake in loaded.mistakes:
        click.echo(str(mistake))
    wrong += len(loaded.mistakes)
    if settings is not None and not policies and not loaded.mistakes:
        wrong += _check_roles(settings, loaded)
    if url is not None and not wrong:
        wrong += _sample(url, settings, list(loaded.policies.values()))
    for policy in loaded.policies.values() if not wrong else ():
        if policy.rows:
            claims = ", ".join(sorted(claims_needed(policy.rows))) or "no claim"
            click.echo(f"{policy.name}: some rows of {', '.join(sorted(policy.rows))}, by {claims}")
    if not wrong:
        click.echo("no mistakes in " + (", ".join(loaded.policies) or "the configuration"))
    return 1 if wrong else 0


def _find(name: str, directory: Path) -> Path:
    """A policy by name, file or directory."""
    path = Path(name)
    if path.exists() or path.suffix or len(path.parts) > 1:
        return path
    return directory / f"{name}.toml"


def _check_roles(settings: Settings, loaded: Loaded) -> int:
    """Each role has a policy that can be served."""
    served = [name for name, policy in loaded.policies.items() if policy.served]
    wrong = 0
    for role, name in settings.roles.items():
        if name in served:
            for mistake in unread_claims(settings, role, loaded.policies[name]):
                click.echo(mistake)
                wrong += 1
            continue
        what = (
            f"{name} has no [access], so it is only extended"
            if name in loaded.policies
            else f"there is no policy {name}"
        )
        click.echo(f"{settings.file}: roles.{role}: {what}; {offer(name, served)}")
        wrong += 1
    return wrong


def _sample(url: str, settings: Settings | None, policies: list[Policy]) -> int:
    """The counts of every served policy but identity views; gives the number of hits."""
    wrong = 0
    try:
        server = Server(url, settings.upstream.plain_http if settings else ())
        for policy in policies:
            if policy.identity or not policy.served:
                continue
            for counts in sample(compile_view(policy), server):
                click.echo(
                    f"{policy.name}: {counts.type}: {counts.read} read, {counts.shown} shown, "
                    f"{counts.failed} failed, {counts.hits} values say what was removed"
                )
                wrong += counts.hits + counts.failed
    except SampleError as error:
        raise click.ClickException(f"--sample: {error}") from None
    return wrong
