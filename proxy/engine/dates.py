"""Date values on their way upstream: at day or instant precision only.

HAPI answers a prefix with a year or month wrongly (``gt2018``), so such a value becomes one at day
precision that selects at least the same; the shown row is then judged by the value itself.
"""

from __future__ import annotations

from datetime import date, timedelta

from proxy.errors import NotSupported
from proxy.fhir.search import Parameter
from proxy.fhir.search_values import DateValue, Interval, parse_date

_DAY = 86_400 * 1_000_000  # microseconds
_COARSE = frozenset({"year", "month"})
# Prefix -> (prefix sent, whether the last day of the range is meant).
_SENT = {
    "gt": ("gt", True),
    "ge": ("ge", False),
    "lt": ("lt", False),
    "le": ("le", True),
    "sa": ("sa", True),
    "eb": ("eb", False),
}


def is_coarse(parameter: Parameter) -> bool:
    """Whether a value has year or month precision. Raises BadValue for what is no date."""
    return any(parse_date(value).precision in _COARSE for value in parameter.alternatives)


def at_day_precision(parameter: Parameter) -> tuple[tuple[str, str], ...]:
    """What to ask for the parameter: (name, value) pairs whose conjunction selects no less.

    Raises :class:`NotSupported` for ``ne`` and ``ap`` of a year or month, and for a list that
    mixes ranges with plain values.
    """
    values = [parse_date(value) for value in parameter.alternatives]
    if not any(value.precision in _COARSE for value in values):
        return ((parameter.name, parameter.value),)
    if all(value.prefix == "eq" for value in values):
        first = min(_first(value.interval) for value in values)
        last = max(_last(value.interval) for value in values)
        return ((parameter.name, f"ge{first}"), (parameter.name, f"le{last}"))
    return ((parameter.name, ",".join(map(_send, values))),)


def _send(value: DateValue) -> str:
    if value.precision not in _COARSE:
        return f"{value.prefix}{value.text}"
    if value.prefix not in _SENT:
        raise NotSupported(
            "Use days (YYYY-MM-DD) with the prefixes ne and ap, and in lists of ranges."
        )
    prefix, last = _SENT[value.prefix]
    return f"{prefix}{_last(value.interval) if last else _first(value.interval)}"


def _first(interval: Interval) -> date:
    return date.fromordinal((interval.low or 0) // _DAY + 1)


def _last(interval: Interval) -> date:
    return date.fromordinal((interval.high or 0) // _DAY + 1) - timedelta(days=1)
