"""What an exchange stands on: the views, the keys, the upstream's place, the limits. Frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.engine.messages import Pairs
from proxy.engine.orders import Orders
from proxy.fhir.reference import Bases
from proxy.lenses.identity import Namers
from proxy.lenses.keys import KeyRing
from proxy.policy.compile import View
from proxy.policy.verdicts import VerdictTable, compute_verdicts


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one request may ask for.

    ``target``: characters of the request target. ``parameters``: of one search, URL and form
    together. ``entries``: of one batch. ``body``: bytes. ``asks``: upstream calls that filling
    one page may cause. ``included``: resources that may come along with one page.
    ``page_seconds``: how long a page link lives. ``tripwire``: one answer in so many is looked
    through for what was removed, none if 0.
    """

    target: int = 8_000
    parameters: int = 100
    entries: int = 100
    body: int = 10_000_000
    asks: int = 50
    included: int = 1_000
    page_seconds: int = 3_600
    tripwire: int = 100


@dataclass(frozen=True, slots=True, repr=False)
class Gateway:
    """One installation, put together once by the composition root.

    ``public_url``: the base that clients use, without a trailing slash. ``bases``: the upstream's
    own base and its aliases. ``views`` and
    ``verdicts``: by role. ``upstream_parameters``: type to the search
    parameter codes that the upstream's CapabilityStatement lists, None if it is not known.
    ``smart``: members of the SMART configuration that describe the authorization server
    (``issuer``, ``jwks_uri``, ``token_endpoint`` …). ``orders``: what may be forgotten at any
    time, so it counts for nothing in comparisons. ``storage_order``: the upstream's sort key for
    its order of storage, empty if it has none.
    """

    public_url: str
    bases: Bases
    views: Mapping[str, View]
    verdicts: Mapping[str, VerdictTable]
    namers: Namers
    page_key: bytes
    etag_key: bytes
    audit_key: bytes
    limits: Limits = Limits()
    upstream_parameters: Mapping[str, frozenset[str]] | None = None
    smart: Mapping[str, object] = field(default_factory=dict)
    storage_order: str = "_pid"
    orders: Orders = field(default_factory=Orders, compare=False)

    @property
    def as_stored(self) -> Pairs:
        """What asks the upstream for rows in its order of storage. Else an index by which it finds
        them may order them, and so by values that are hidden."""
        return (("_sort", self.storage_order),) if self.storage_order else ()

    @classmethod
    def make(
        cls,
        *,
        public_url: str,
        bases: Bases,
        views: Mapping[str, View],
        ring: KeyRing,
        limits: Limits = Limits(),
        upstream_parameters: Mapping[str, frozenset[str]] | None = None,
        smart: Mapping[str, object] | None = None,
        storage_order: str = "_pid",
    ) -> Gateway:
        """A gateway with the keys of ``ring``; makes the verdict table of every view."""
        distinct = {view.name: view for view in views.values()}
        tables = {name: compute_verdicts(view) for name, view in distinct.items()}
        return cls(
            public_url.rstrip("/"),
            bases,
            views,
            {role: tables[view.name] for role, view in views.items()},
            Namers(ring),
            ring.page_key,
            ring.etag_key,
            ring.audit_key,
            limits,
            upstream_parameters,
            smart or {},
            storage_order,
        )
