"""``ecr-proxy explain``: which rule, lens or verdict an element or parameter takes, and why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from proxy.engine.cases import concerns
from proxy.fhir import registry
from proxy.fhir.r4 import TYPES
from proxy.fhir.search import Parameter, parse_query
from proxy.fhir.structure import RESOURCES, properties
from proxy.policy.compile import Lens, View, compile_view
from proxy.policy.controls import CONTROLS
from proxy.policy.load import read_policies
from proxy.policy.mistakes import offer
from proxy.policy.model import Method
from proxy.policy.rows import claims_named
from proxy.policy.verdicts import Verdict, VerdictTable, compute_verdicts

DIRECTORY = "policies"
_SEE = "see ecr-proxy explain POLICY {} for all of them"


@click.command()
@click.argument("policy", metavar="POLICY")
@click.argument("target", metavar="[PATH|Type?param]", default="")
@click.option(
    "--policies",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=DIRECTORY,
    show_default=True,
    help="Where POLICY is looked for, if it is a name.",
)
def command(policy: str, target: str, policies: Path) -> int:
    """How POLICY (a name or a file) shows an element, and whether a search may ask for it.

    PATH is an element (Patient.address.state) or a type; a type prints its elements and its search
    parameters. Type?param (Patient?birthdate, Observation?code:not, Observation?patient.gender)
    prints one verdict and the elements that it reads, with a value also of orders and includes
    (Observation?_sort=date). Without either, the types that the policy shows.
    """
    view = _view(policy, policies)
    table = compute_verdicts(view)
    if not target:
        lines = _overview(view, table)
    elif "?" in target:
        type_name, _, parameter = target.partition("?")
        lines = _parameter(view, table, _type(type_name), parameter)
    elif "." in target:
        lines = _element(view, table, target)
    else:
        lines = _everything(view, table, _type(target))
    for line in lines:
        click.echo(line)
    return 0


def _view(policy: str, directory: Path) -> View:
    path = Path(policy)
    if not path.is_file():
        path = directory / f"{policy}.toml"
    if not path.is_file():
        known = sorted(p.stem for p in directory.glob("*.toml"))
        raise click.ClickException(f"there is no policy {policy}; {offer(policy, known)}")
    loaded = read_policies([path])
    if loaded.mistakes:
        raise click.ClickException("\n".join(map(str, loaded.mistakes)))
    return compile_view(next(iter(loaded.policies.values())))


def _type(name: str) -> str:
    if name not in RESOURCES:
        raise click.ClickException(f"{name} is no R4 resource type; {offer(name, RESOURCES)}")
    return name


def _overview(view: View, table: VerdictTable) -> Iterator[str]:
    yield f"{view.name}: {view.policy.title}"
    yield f"basis: {view.policy.basis}"
    if view.policy.requires:
        labels = ", ".join(view.policy.requires)
        yield f"exists only with the label {labels}: resources of every type that does not pass"
    for type_name in sorted(RESOURCES):
        if view.shows(type_name):
            access = ", ".join(sorted(view.policy.access.get(type_name, ()))) or "no requests"
            ids = "pseudonymous ids" if view.pseudonym(type_name) else "real ids"
            offered = table.parameters(type_name).values()
            asked = sum(v.kind != "refuse" for v in offered)
            rows = "; some rows" if view.limits(type_name) else ""
            cases = "; what shown sections reach" if concerns(view, type_name) else ""
            yield f"  {type_name:26} {ids:17} {asked:3} parameters  {access}{rows}{cases}"


def _everything(view: View, table: VerdictTable, type_name: str) -> Iterator[str]:
    lens = view.lens(type_name)
    yield f"{type_name}: {_shown(lens)}"
    yield from _rows(view, type_name)
    yield ""
    yield "elements"
    for path, found in _elements(view, type_name, type_name):
        yield f"  {path:44} {_shown(found)}"
    yield ""
    yield "search parameters"
    for code, verdict in sorted(table.parameters(type_name).items()):
        modifiers = ", ".join(f":{m}" for m in _modifiers(table, type_name, code))
        text = table.verdict(type_name, code).reason.partition(" Searchable here")[0]
        if verdict.prefixes:
            text += f"; prefixes {', '.join(verdict.prefixes)}"
        text += f" (also {modifiers})" if modifiers else ""
        yield f"  {code:30} {_way(verdict):32} {text}"
    yield ""
    yield "orders and references"
    yield from _links(view, table, type_name)


def _links(view: View, table: VerdictTable, type_name: str) -> Iterator[str]:
    """What else a search of the type may ask for: orders, what comes along, chains."""
    if view.identity:
        return
    codes = table.parameters(type_name)
    chains = [f"{c}:{end}" for c in codes for end in table.links.chained(type_name, c)]
    for name, found in (
        ("_sort", table.sorts(type_name)),
        ("_include", table.links.included(type_name)),
        ("_revinclude", table.links.included(type_name, reverse=True)),
        ("chains", chains),
    ):
        yield f"  {name:30} {', '.join(found) or 'none'}"


def _rows(view: View, type_name: str) -> Iterator[str]:
    """The row rules on a type, which all must hold, and the claims that they need."""
    for rule in view.policy.rows.get(type_name, ()):
        yield f"rows ({rule.source})"
        for name, text in (("search", rule.search), ("where", " ".join(rule.where.split()))):
            if text:
                yield f"  {name:6} {text}"
        if claims := ", ".join(sorted(claims_named(rule))):
            yield f"  a token without the claims {claims} sees none"


def _modifiers(table: VerdictTable, type_name: str, code: str) -> list[str]:
    """Those answered, names of target types left out."""
    return [m for m in table.modifiers(type_name, code) if m and m not in RESOURCES]


def _elements(view: View, path: str, where: str) -> Iterator[tuple[str, Lens]]:
    """Each element down to where a datatype begins, in R4's order."""
    for name, prop in properties(where).items():
        below = f"{path}.{name}"
        lens = view.lens(below)
        yield below, lens
        if TYPES[prop.type].kind == "backbone" and not prop.element.recursive:
            inner = list(_elements(view, below, prop.type))
            if lens.kind != "hidden" or any(found.kind != "hidden" for _, found in inner):
                yield from inner


def _element(view: View, table: VerdictTable, path: str) -> Iterator[str]:
    try:
        lens = view.lens(path)
    except KeyError:
        raise click.ClickException(_unknown(path)) from None
    yield f"{path}: {_shown(lens)}"
    yield from _predicates(view, path)
    where = _type_at(path)
    if where and TYPES[where].kind != "primitive":
        for name in properties(where):
            yield f"  {path + '.' + name:44} {_shown(view.lens(f'{path}.{name}'))}"
    readers = sorted(
        code
        for code, verdict in table.parameters(path.partition(".")[0]).items()
        if any(f"{read.path}.".startswith(f"{path}.") for read in verdict.reads)
    )
    if readers:
        yield f"  read by the search parameters {', '.join(readers)}"


def _unknown(path: str) -> str:
    """What is wrong with a path, with the nearest element of the type at hand."""
    where, *names = path.split(".")
    known = _type(where)
    for name in names:
        found = properties(known).get(name)
        if found is None:
            return f"{where} has no element {name}; {offer(name, properties(known))}"
        where, known = f"{where}.{name}", found.type
    return f"R4 has no element {path}"


def _predicates(view: View, path: str) -> Iterator[str]:
    """The lines with a predicate that show more of an element, where it selects."""
    for rule in view.policy.elements:
        if rule.has_predicate and (path == rule.path or path.startswith(rule.path + ".")):
            yield f"  where its predicate selects: {_method(rule.method)} ({rule.source})"


def _type_at(path: str) -> str:
    where, *names = path.split(".")
    for name in names:
        prop = properties(where).get(name)
        if prop is None:
            return ""
        where = prop.type
    return where


def _parameter(view: View, table: VerdictTable, type_name: str, text: str) -> Iterator[str]:
    asked = _read(text)
    known = {*registry.get(type_name), *CONTROLS}
    if asked.code not in known:
        what = f"{type_name} has no search parameter {asked.code}"
        raise click.ClickException(f"{what}; {offer(asked.code, known, _SEE.format(type_name))}")
    verdict = table.verdict(type_name, asked.code, asked.modifier, asked.chain)
    if verdict.way in ("sort", "include") and "=" in text:
        yield from _by_value(table, type_name, asked)
        return
    yield f"{type_name}?{asked.name}: {_way(verdict)}"
    yield f"  {verdict.reason}"
    if verdict.prefixes:
        yield f"  answered with the prefixes {', '.join(verdict.prefixes)}"
    if verdict.targets:
        yield f"  takes ids of {', '.join(verdict.targets)}"
    for read in verdict.reads:
        source = f", {read.source}" if read.source else ""
        codes = ", by its code system" if read.by_system else ""
        yield f"  reads {read.path}: {read.kind}{codes} ({read.why}{source})"


def _by_value(table: VerdictTable, type_name: str, asked: Parameter) -> Iterator[str]:
    """What is judged by its value: each sort key, or the path of an include."""
    for value in asked.alternatives:
        if asked.code == "_sort":
            found = table.sort(type_name, value.removeprefix("-"))
        else:
            found = table.include(value, reverse=asked.code == "_revinclude")
        yield f"{type_name}?{asked.name}={value}: {_way(found)}"
        yield f"  {found.reason}"
        if found.targets:
            yield f"  leads to {', '.join(found.targets)}"


def _read(text: str) -> Parameter:
    """A parameter with or without a value."""
    return parse_query(text if "=" in text else f"{text}=x")[0]


def _way(verdict: Verdict) -> str:
    if verdict.kind == "refuse":
        return "refuse"
    judged = {"never": "", "bare": ", codes alone judged", "always": ", rows judged"}
    return f"{verdict.kind}, {verdict.way}{judged[verdict.judge]}"


def _shown(lens: Lens) -> str:
    source = f" ({lens.source})" if lens.source else ""
    return f"{lens.kind}: {_method(lens.method)}, {lens.why}{source}"


def _method(method: Method) -> str:
    shown = ((k, list(v) if isinstance(v, tuple) else v) for k, v in method.params)
    params = ", ".join(f"{k} = {v}" for k, v in shown)
    return f"{method.name} {{{params}}}" if params else method.name
