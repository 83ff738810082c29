"""Whether the proxy still answers as a server that stores what a view shows, with a fault in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from proxy.demo.upstream import STORE
from proxy.fhir.codec import JsonObject
from proxy.policy.compile import View, compile_view
from proxy.policy.load import load_directory
from tests.equivalence.embedded import find_differences
from tests.equivalence.queries import Query
from tests.noninterference.harness import show_whole
from tests.noninterference.policies import CLAIMS, LIMITS, gather_policies
from tests.rig import Rig, embedded, running


async def differs(
    role: str,
    folder: Path,
    make: Callable[[Rig, View], Iterable[JsonObject]],
    plant: Callable[[], None],
    ask: Callable[[Rig, list[JsonObject]], list[Query]],
) -> bool:
    """Whether any answer differs once the fault is planted. ``make`` gives what is stored, ``ask``
    the queries about what the role is shown of it."""
    app, policies = embedded([]), gather_policies(folder / "policies")
    view, extra = compile_view(load_directory(policies)[role]), LIMITS.get(role, "")
    async with running(
        app, folder, roles=[role], policies=policies, claims=CLAIMS, extra=extra
    ) as rig:
        for resource in make(rig, view):
            app[STORE].write(resource)
        stored = [v.resource for t in app[STORE].types() for v in app[STORE].of_type(t)]
        held = [r for r in stored if r is not None]
        shown = [whole for _, whole in show_whole(view, rig, role, held)]
        plant()
        return bool(await find_differences(rig, role, shown, ask(rig, shown)))
