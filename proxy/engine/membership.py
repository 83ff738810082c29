"""What one exchange has found out of the cases that resources belong to."""

from __future__ import annotations

from dataclasses import dataclass, field

Key = tuple[str, str]  # type and id, as the upstream has them


@dataclass(frozen=True, slots=True)
class Links:
    """Where a stored resource leads: by all that it holds, and by what shows of it; ``shown`` is
    None where nothing of it does."""

    stored: tuple[Key, ...]
    shown: tuple[Key, ...] | None


@dataclass(slots=True)
class Membership:
    """``shows``: resources judged so far. ``links``: of what was fetched, None for what is not
    there. ``reports``: the Compositions of a patient, by the patient's id."""

    shows: dict[Key, bool] = field(default_factory=dict)
    links: dict[Key, Links | None] = field(default_factory=dict)
    reports: dict[str, tuple[Key, ...]] = field(default_factory=dict)
