"""Dates on their way upstream: at day or instant precision only, and at most a span of days.

HAPI answers a prefix with a year or month wrongly (``gt2018``), refuses lists of dates, and takes
at most one lower and one upper bound of a parameter. So what is more than that becomes the span of
days in which every match lies; the shown row is then judged by the values themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from proxy.engine.messages import Pairs
from proxy.engine.question import Dates, Question, Sent
from proxy.fhir.search import Parameter
from proxy.fhir.search_values import DAYS, DateValue, parse_date
from proxy.lenses.backward import Backward, Ranged, SameDay, Span, days, hull

_COARSE = DAYS - {"day"}
# Prefix -> (prefix sent, whether the last day of the range is meant), where that says the same.
_SENT = {
    "gt": ("gt", True),
    "ge": ("ge", False),
    "lt": ("lt", False),
    "le": ("le", True),
    "sa": ("sa", True),
    "eb": ("eb", False),
}
_LOWER, _UPPER = frozenset({"ge", "gt"}), frozenset({"le", "lt"})
_AS_STORED: tuple[Backward, ...] = (SameDay(),)


def send(question: Question) -> Sent:
    """What a date parameter comes to: as written if the upstream answers that, else a span."""
    p, verdict = question.written, question.verdict
    condition = question.condition(p.alternatives)
    span = find_span(question.backward or _AS_STORED, p.alternatives) or Span()
    dates = Dates(p.name, span, verdict.single, condition)
    if verdict.backward or len(p.alternatives) > 1:
        return Sent(bounds(p.name, span), (condition,), unchanged=False, dates=dates)
    value = parse_date(p.alternatives[0])
    judged = verdict.judge != "never" or value.precision in _COARSE
    conditions = (condition,) if judged else ()
    return Sent(_send_one(p, value, span), conditions, unchanged=not judged, dates=dates)


def send_coarse(parameter: Parameter) -> Pairs:
    """A parameter of an identity view as an upstream answers it rightly: HAPI reads a plain year
    or month so, and ``ne``, but no other prefix of one."""
    values = [parse_date(value) for value in parameter.alternatives]
    if len(values) > 1 or values[0].precision not in _COARSE or values[0].prefix not in _SENT:
        return ((parameter.name, parameter.value),)
    return ((parameter.name, _at_day(values[0])),)


def find_span(backward: Iterable[Backward], alternatives: Sequence[str]) -> Span | None:
    """Where all that shows one of the values lies; None if nothing can."""
    found = [
        span
        for each in backward
        if isinstance(each, Ranged)
        for span in map(each.span, alternatives)
        if span is not None
    ]
    return hull(found) if found else None


def bounds(name: str, span: Span) -> Pairs:
    """The pairs that ask for what lies in a span of days; none if that is everything."""
    ends = (("ge", span.low), ("le", span.high))
    return tuple((name, f"{prefix}{end}") for prefix, end in ends if end is not None)


def join(sent: list[Sent]) -> list[Sent]:
    """What several parameters come to together: where one date parameter stands more than once
    and not just as one lower and one upper bound, it is asked for by one span, and judged.

    Values of an element that repeats may each meet another condition, so of those only the first
    span is asked for.
    """
    together: dict[str, list[int]] = {}
    for index, each in enumerate(sent):
        if each.dates is not None:
            together.setdefault(each.dates.name, []).append(index)
    joined = list(sent)
    for indexes in together.values():
        group = [sent[index] for index in indexes]
        if len(group) > 1 and not _is_range(group):
            for index, each in zip(indexes, _joined(group), strict=True):
                joined[index] = each
    return joined


def beside(sent: Sequence[Sent], rows: Pairs) -> Pairs:
    """All that is asked, with the conditions on rows. Of those on a date that is asked for anyway
    none goes upstream: it takes one lower and one upper bound, and rows are judged here."""
    asked = tuple(pair for each in sent for pair in each.form)
    own = {each.dates.name for each in sent if each.dates is not None and each.form}
    return (*asked, *(pair for pair in rows if pair[0] not in own))


def _is_range(group: list[Sent]) -> bool:
    prefixes = [value[:2] for each in group for _, value in each.form]
    lower, upper = (sum(p in kind for p in prefixes) for kind in (_LOWER, _UPPER))
    single = all(each.dates is not None and each.dates.single for each in group)
    written = all(each.unchanged for each in group)
    return lower <= 1 and upper <= 1 and lower + upper == len(prefixes) and (single or written)


def _joined(group: list[Sent]) -> Iterable[Sent]:
    found = [each.dates for each in group if each.dates is not None]
    spans = [dates.span for dates in found]
    if not found[0].single:
        spans = sorted(spans, key=lambda s: (s.low is None) + (s.high is None))[:1]
    lows = [span.low for span in spans if span.low is not None]
    highs = [span.high for span in spans if span.high is not None]
    whole = Span(max(lows, default=None), min(highs, default=None))
    for index, (each, dates) in enumerate(zip(group, found, strict=True)):
        form = bounds(dates.name, whole) if index == 0 else ()
        yield replace(each, form=form, conditions=(dates.condition,), unchanged=False)


def _send_one(parameter: Parameter, value: DateValue, span: Span) -> Pairs:
    if value.precision not in _COARSE:
        return ((parameter.name, parameter.value),)
    if value.prefix in _SENT:
        return ((parameter.name, _at_day(value)),)
    return bounds(parameter.name, span)


def _at_day(value: DateValue) -> str:
    prefix, last = _SENT[value.prefix]
    first_day, last_day = days(value.interval)
    return f"{prefix}{last_day if last else first_day}"
