"""One search parameter to be answered, with all that is known of it; and what it comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.engine.context import Context
from proxy.engine.messages import Pairs
from proxy.errors import BadValue, InternalError
from proxy.fhir import registry
from proxy.fhir.codec import JsonObject
from proxy.fhir.match import matcher
from proxy.fhir.match_elements import fold
from proxy.fhir.r4 import SearchParameter
from proxy.fhir.reference import Bases
from proxy.fhir.search import Parameter, unescape
from proxy.lenses.backward import Backward, Span
from proxy.lenses.shift import ShiftedDay
from proxy.policy.verdicts import Verdict

Condition = Callable[[JsonObject], bool]


@dataclass(frozen=True, slots=True)
class Dates:
    """A date parameter as a ``span`` of days that holds all its matches, and the ``condition`` on
    shown rows. ``single``: a resource holds at most one value of it."""

    name: str
    span: Span
    single: bool
    condition: Condition


@dataclass(frozen=True, slots=True)
class Sent:
    """What one parameter comes to. ``form``: what is asked; ``conditions``: what a shown row must
    meet; ``empty``: nothing can match; ``unchanged``: asked as written, and no row is judged.
    ``dates``: of a date, how it can be asked for together with others of its name."""

    form: Pairs = ()
    conditions: tuple[Condition, ...] = ()
    empty: bool = False
    unchanged: bool = True
    dates: Dates | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """``written``: by the client, on resources of ``type``; ``verdict``: the view's, no refusal.
    ``offset``: by which shifted dates of all matches are moved, if that is known."""

    context: Context
    type: str
    written: Parameter
    verdict: Verdict
    offset: int | None = None

    @property
    def backward(self) -> tuple[Backward, ...]:
        """What to ask for of each value read, where some are shown otherwise than stored."""
        found, offset = self.verdict.backward, self.offset
        if offset is None:
            return found
        return tuple(b.pinned(offset) if isinstance(b, ShiftedDay) else b for b in found)

    @property
    def defined(self) -> SearchParameter:
        """The registry's word on the parameter."""
        found = registry.get(self.type).get(self.written.code)
        if found is None:
            raise InternalError()
        return found

    def condition(self, alternatives: tuple[str, ...]) -> Condition:
        """Whether a shown row meets the parameter with these values. Raises BadValue for a
        malformed one, NotSupported for what cannot be judged here."""
        modifier = self.written.modifier
        oldest = self.context.view.policy.ages
        base = self.context.base
        return matcher(self.type, self.defined, modifier, alternatives, base, oldest=oldest)

    def ask(self, alternatives: tuple[str, ...]) -> Pairs:
        """The parameter with these values, as it goes upstream."""
        return ((self.written.name, ",".join(alternatives)),)

    def as_written(self) -> Pairs:
        return ((self.written.name, self.written.value),)

    def check_text(self) -> None:
        """A server drops a text that is empty once accents and punctuation are gone, and shows
        everything. Raises BadValue for one."""
        if self.defined.type == "string" and self.written.modifier in ("", "contains", "exact"):
            for value in self.written.alternatives:
                if not any(character.isalnum() for character in fold(unescape(value))):
                    raise BadValue("A search text must have a letter or digit.")

    def relative(self, value: str, *servers: Bases) -> str:
        """A reference to one of the servers as the upstream stores it: relative."""
        for bases in servers:
            below = bases.below(value)
            if below is not None and below.query is None and below.fragment is None:
                return below.path
        return value
