"""``ecr-proxy keygen``: make a key ring, or change which keys its projects use."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import click

from proxy.commands.private import write_private
from proxy.lenses.keys import SECRET_BYTES, KeyFileError, KeyRing, Pin, weakness


@click.command()
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("keys.json"),
    show_default=True,
    help="The key file.",
)
@click.option("--rotate", is_flag=True, help="Add a master key and use it from now on.")
@click.option("--project", default="", help="With --rotate: for this project only.")
@click.option("--pin", default="", metavar="PROJECT", help="Keep a project at its present key.")
@click.option("--force", is_flag=True, help="Replace the file; all pseudonyms made so far die.")
def command(path: Path, rotate: bool, project: str, pin: str, force: bool) -> None:
    """Make a key ring, or rotate one.

    Without an option a new file is made, readable by its owner alone; an existing one is never
    overwritten. The file holds what pseudonyms are made with: who has it can undo them, without
    it nobody can. Keep a copy in a safe place.
    """
    if sum((rotate, bool(pin), force)) > 1:
        raise click.UsageError("--rotate, --pin and --force exclude each other.")
    if project and not rotate:
        raise click.UsageError("--project goes with --rotate.")
    today = datetime.now(UTC).date()
    if rotate:
        _change(path, lambda ring: ring.rotate(_secret(), today, project), project)
    elif pin:
        _change(path, lambda ring: ring.pinned(pin), pin)
    else:
        _make(path, today, force)


def _make(path: Path, today: date, force: bool) -> None:
    if path.exists() and not force:
        raise click.ClickException(
            f"{path} exists already; --rotate adds a key to it, --force throws its keys away"
        )
    write_private(path, KeyRing.new(_secret(), _secret(), today).write(), replace=force)
    click.echo(f"{path}: made, with master key 1 for every project. Keep a copy in a safe place.")
    if force:
        click.echo("Pseudonyms, page links and audit pseudonyms made before are no longer known.")


def _change(path: Path, change: Callable[[KeyRing], KeyRing], project: str) -> None:
    try:
        before = KeyRing.load(path)
        after = change(before)
    except KeyFileError as error:
        raise click.ClickException(str(error)) from None
    write_private(path, after.write(), replace=True)
    for line in describe(before, after, project):
        click.echo(line)


def describe(before: KeyRing, after: KeyRing, project: str) -> list[str]:
    """What it means that ``before`` became ``after``, a sentence a line. ``project``: the one that
    the change was about, empty for the default."""
    lines = [
        f"Master key {version} is new, made {after.masters[version].created}."
        for version in sorted(after.masters.keys() - before.masters.keys())
    ]
    names = sorted({*before.projects, *after.projects, *([project] if project else [])})
    lines += [_changed(f"Project {name}", before.pin(name), after.pin(name)) for name in names]
    lines.append(_changed("Every other project", before.default, after.default))
    pinned = sorted(after.projects.keys() - before.projects.keys())
    lines += [f"Project {name} is listed now; the default no longer moves it." for name in pinned]
    lines.append("Page links, ETags and audit pseudonyms do not change.")
    lines.append("Serving processes use the file as it is when they start.")
    return lines


def _changed(whose: str, before: Pin, after: Pin) -> str:
    if before == after:
        return f"{whose}: nothing changes (key {after.master})."
    return (
        f"{whose}: all pseudonyms and shifted dates change "
        f"(key {before.master} -> {after.master}). "
        f"Ids and identifiers made with {_listed(after)} are still accepted, "
        "and answered with the new ones."
    )


def _listed(pin: Pin) -> str:
    return " and ".join(f"key {version}" for version in pin.accepts)


def _secret() -> bytes:
    while weakness(secret := secrets.token_bytes(SECRET_BYTES)):
        pass  # as good as never
    return secret
