"""Finding a policy by what a user calls it."""

from __future__ import annotations

from pathlib import Path

import click

from proxy.policy.mistakes import offer

PACKAGE = Path(__file__).resolve().parent.parent


def directory() -> Path:
    """``./policies`` if it is there, else the shipped ones: beside the package in a checkout,
    inside it in a wheel."""
    places = (Path("policies"), PACKAGE.parent / "policies", PACKAGE / "policies")
    return next((place for place in places if place.is_dir()), places[0])


def find_policy(name: str) -> Path:
    """The file of a policy by name or path.

    :raises click.ClickException: there is none; the nearest name is offered.
    """
    path = Path(name)
    if path.suffix == ".toml" or len(path.parts) > 1:
        if path.is_file():
            return path
        raise click.ClickException(f"{name}: no such policy file")
    found = directory() / f"{name}.toml"
    if found.is_file():
        return found
    known = sorted(p.stem for p in directory().glob("*.toml"))
    raise click.ClickException(f"no policy {name!r} in {directory()}; {offer(name, known)}")
