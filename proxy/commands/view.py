"""``ecr-proxy view``: one resource, Bundle or NDJSON through a view, offline."""

from __future__ import annotations

import secrets
import sys
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import BinaryIO

import click

from proxy.commands.policies import find_policy
from proxy.engine.cases import concerns
from proxy.engine.leads import find_links
from proxy.engine.membership import NOWHERE, Key, Links, find_unreached
from proxy.fhir.codec import CodecError, JsonObject, decode, encode
from proxy.fhir.layout import indent
from proxy.fhir.reference import Bases
from proxy.lenses.identity import Namer
from proxy.lenses.keys import SECRET_BYTES, KeyFileError, KeyRing
from proxy.policy.compile import View, compile_view
from proxy.policy.load import PolicyErrors, load_policy
from proxy.policy.scope import Scope

UPSTREAM = "http://127.0.0.1:8080/fhir"
PUBLIC = "http://127.0.0.1:8000/fhir"

Found = tuple[int, JsonObject, bytes]  # line, resource, its bytes


@click.command()
@click.option("--policy", "policy_name", metavar="P", required=True, help="A policy or its file.")
@click.option("--project", default="offline", show_default=True, help="Whose pseudonyms to make.")
@click.option("--claims", metavar="JSON", default="{}", help="The caller's claims, for %caller.")
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    help="The key file (ecr-proxy keygen); without it pseudonyms hold for this run only.",
)
@click.option("--today", metavar="DATE", help="The civil date that ages are counted on.")
@click.option(
    "--upstream", default=UPSTREAM, show_default=True, help="Base of relative references."
)
@click.option("--alias", multiple=True, help="Another base that means the upstream.")
@click.option(
    "--public", default=PUBLIC, show_default=True, help="Base of the URLs that are shown."
)
@click.option("--pretty", is_flag=True, help="Indent a single resource.")
@click.argument("file", metavar="[FILE|-]", default="-", type=click.Path(allow_dash=True))
def command(
    policy_name: str,
    project: str,
    claims: str,
    keys: Path | None,
    today: str | None,
    upstream: str,
    alias: tuple[str, ...],
    public: str,
    pretty: bool,
    file: str,
) -> int:
    """Show FILE (JSON or NDJSON; standard input without it) as the policy's callers see it.

    NDJSON is read and written line by line; where the view hides sections of reports, it is read
    whole before, and what only hidden sections reach in it is hidden. Resources that the view does
    not show are left out, and counted on standard error.
    """
    view = _view(policy_name)
    offline = _Offline(
        view,
        _namer(view, keys, project),
        _bases(upstream, alias),
        public.rstrip("/"),
        _day(today),
        _claims(claims),
    )
    if file == "-":
        return _run(offline, sys.stdin.buffer, "-", pretty)
    with Path(file).open("rb") as stream:
        return _run(offline, stream, file, pretty)


class _BadLine(click.ClickException):
    """A line of NDJSON that is no resource; ``place``: the file and its number."""

    def __init__(self, place: str) -> None:
        super().__init__(f"{place}: not a FHIR resource in JSON; the lines before it are written")
        self.place = place


class _Offline:
    """A view with all that a request would bring."""

    def __init__(
        self,
        view: View,
        namer: Namer,
        bases: Bases,
        public: str,
        today: date,
        claims: Mapping[str, object],
    ) -> None:
        self.view = view
        self.namer = namer
        self.bases = bases
        self.public = public
        self.today = today
        self.claims = claims
        self.scrubbed: Counter[str] = Counter()
        self.missing: set[str] = set()

    def scope(self) -> Scope:
        return Scope(
            namer=self.namer,
            bases=self.bases,
            public=self.public,
            today=self.today,
            shows=self.view.shows,
            pseudonym=self.view.pseudonym,
            claims=self.claims,
        )

    def follow(self, resource: JsonObject) -> Links:
        """Where a resource leads."""
        shown = self.view.reveal(resource, self.scope())
        return find_links(self.view, self.scope(), resource, shown)

    def show(self, resource: JsonObject) -> JsonObject | None:
        scope = self.scope()
        shown = self.view.reveal(resource, scope)
        for found in scope.scrubbed.values() if shown is not None else ():
            self.scrubbed.update(found)
        if shown is not None and self.view.scrubs:
            self.missing |= scope.missing
        return shown


def _view(name: str) -> View:
    try:
        return compile_view(load_policy(find_policy(name)))
    except PolicyErrors as error:
        raise click.ClickException(str(error)) from None


def _namer(view: View, keys: Path | None, project: str) -> Namer:
    try:
        if keys is not None:
            ring = KeyRing.load(keys)
        else:
            if not view.identity:
                click.echo("view: no --keys, so pseudonyms hold for this run only", err=True)
            service, master = (secrets.token_bytes(SECRET_BYTES) for _ in range(2))
            ring = KeyRing.new(service, master, datetime.now(UTC).date())
        return Namer(ring.project(project, view.name))
    except KeyFileError as error:
        raise click.ClickException(str(error)) from None


def _bases(upstream: str, aliases: tuple[str, ...]) -> Bases:
    try:
        return Bases(upstream, aliases)
    except ValueError as error:
        raise click.UsageError(f"--upstream or --alias: {error}") from None


def _day(text: str | None) -> date:
    if text is None:
        return datetime.now(UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise click.UsageError("--today: write a date as 2026-01-31") from None


def _claims(text: str) -> Mapping[str, object]:
    try:
        claims = decode(text.encode())
    except CodecError:
        claims = None
    if not isinstance(claims, dict):
        raise click.UsageError('--claims: write a JSON object, as {"jurisdictions": ["MI"]}')
    return claims


def _run(offline: _Offline, stream: BinaryIO, name: str, pretty: bool) -> int:
    hidden = 0
    found: Iterable[Found] = _resources(stream, name)
    unreached: set[Key] = set()
    if offline.view.hides_sections:
        found = _read_all(found)
        unreached = _judge(offline, found, name)
    for line, resource, raw in found:
        try:
            shown = offline.show(resource)
            text = raw if offline.view.identity else encode(shown)
        except Exception:  # whatever it is that the view cannot show
            raise _not_shown(name, line) from None
        if shown is None or _key(resource) in unreached:
            hidden += 1
            continue
        sys.stdout.buffer.write((indent(text) if pretty else text) + b"\n")
    sys.stdout.buffer.flush()
    if hidden:
        click.echo(f"view: {hidden} not shown by this policy", err=True)
    if offline.scrubbed:
        counts = ", ".join(f"{n} {kind}" for kind, n in sorted(offline.scrubbed.items()))
        click.echo(f"view: found in texts: {counts}", err=True)
    if offline.missing:
        click.echo(
            f"view: no server was asked for {len(offline.missing)} patients and those related to "
            "them: texts are scrubbed of whom the resource holds, or masked",
            err=True,
        )
    return 0


def _read_all(found: Iterable[Found]) -> list[Found]:
    """All of it: up to a line that cannot be read it would be no whole."""
    try:
        return list(found)
    except _BadLine as error:
        raise click.ClickException(f"{error.place}: not a FHIR resource in JSON") from None


def _judge(offline: _Offline, found: Iterable[Found], name: str) -> set[Key]:
    """What of all the resources there are only hidden sections reach."""
    links: dict[Key, Links] = {}
    for line, resource, _ in found:
        try:
            more = offline.follow(resource)
        except Exception:  # whatever it is that the view cannot show
            raise _not_shown(name, line) from None
        key = _key(resource) or (str(resource["resourceType"]), f"#{line}")
        before = links.get(key, NOWHERE)  # as another version leads
        shown = (before.shown or ()) + (more.shown or ())
        links[key] = Links(before.stored + more.stored, shown)
    return {key for key in find_unreached(links) if concerns(offline.view, key[0])}


def _key(resource: JsonObject) -> Key | None:
    """What a resource is called by references; None if it has no id."""
    id = resource.get("id")
    return (str(resource["resourceType"]), id) if isinstance(id, str) else None


def _not_shown(name: str, line: int) -> click.ClickException:
    return click.ClickException(f"{name}:{line}: the resource cannot be shown")


def _resources(stream: BinaryIO, name: str) -> Iterator[Found]:
    """(line, resource, its bytes) of one JSON text over several lines, or of one a line."""
    first, number = b"", 0
    for first in stream:
        number += 1
        if number == 1:
            first = first.removeprefix(BOM_UTF8)
        if first.strip():
            break
    if not first.strip():
        raise click.ClickException(f"{name}: empty; expected a FHIR resource in JSON")
    one = _read(first)
    if one is None:
        whole = first + stream.read()
        one = _read(whole)
        if one is None:
            raise click.ClickException(f"{name}:{number}: not a FHIR resource in JSON")
        yield number, one, whole.strip()
        return
    yield number, one, first.strip()
    for line in stream:
        number += 1
        if not line.strip():
            continue
        resource = _read(line)
        if resource is None:
            sys.stdout.buffer.flush()
            raise _BadLine(f"{name}:{number}")
        yield number, resource, line.strip()


def _read(text: bytes) -> JsonObject | None:
    try:
        value = decode(text.strip())
    except CodecError:
        return None
    if isinstance(value, dict) and isinstance(value.get("resourceType"), str):
        return value
    return None
