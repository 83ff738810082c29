"""What one exchange has found out of the cases that resources belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Key = tuple[str, str]  # type and id, as the upstream has them


@dataclass(frozen=True, slots=True)
class Links:
    """Where a stored resource leads: by all that it holds, and by what shows of it; ``shown`` is
    None where nothing of it does."""

    stored: tuple[Key, ...]
    shown: tuple[Key, ...] | None


NOWHERE = Links((), None)  # of what is not there


@dataclass(slots=True)
class Case:
    """What a Composition reaches: ``shown`` by what shows, ``stored`` at all. Of these ``ahead``
    and ``behind`` were not yet fetched."""

    shown: set[Key]
    stored: set[Key]
    ahead: set[Key]
    behind: set[Key]

    @classmethod
    def of(cls, report: Key) -> Case:
        """The case of a Composition, nothing of it followed."""
        return cls({report}, {report}, {report}, {report})

    def advance(self, links: Mapping[Key, Links]) -> None:
        """Follow what was fetched meanwhile, as far as that leads."""
        while todo := [key for key in self.ahead if key in links]:
            self.ahead.difference_update(todo)
            _reach((lead for k in todo for lead in links[k].shown or ()), self.shown, self.ahead)
        while todo := [key for key in self.behind if key in links]:
            self.behind.difference_update(todo)
            _reach((lead for k in todo for lead in links[k].stored), self.stored, self.behind)


def find_unreached(links: Mapping[Key, Links]) -> set[Key]:
    """Of all resources there are, by where they lead, those that some Composition reaches as stored
    and none as shown."""
    reports = {key for key in links if key[0] == "Composition"}
    cases = Case(set(reports), set(reports), set(reports), reports)
    cases.advance(links)
    return cases.stored - cases.shown


def _reach(keys: Iterable[Key], reached: set[Key], waiting: set[Key]) -> None:
    fresh = {key for key in keys if key not in reached}
    reached |= fresh
    waiting |= fresh


@dataclass(slots=True)
class Membership:
    """``shows``: resources judged so far. ``links``: of what was fetched. ``cases``: by their
    Composition. ``reports``: the Compositions about a patient, by the patient's id."""

    shows: dict[Key, bool] = field(default_factory=dict)
    links: dict[Key, Links] = field(default_factory=dict)
    cases: dict[Key, Case] = field(default_factory=dict)
    reports: dict[str, tuple[Key, ...]] = field(default_factory=dict)
