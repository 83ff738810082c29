"""The methods of the policy language as a table: parameters, and the types each one suits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.lenses.generalize import SUITS
from proxy.lenses.surrogate import NAMED
from proxy.policy.model import Method

TEXTS = frozenset({"string", "markdown"})
DATES = frozenset({"date", "dateTime", "instant"})
PASSED = ("PlanDefinition", "Library", "ValueSet", "CodeSystem")

# Shown least to shown most; a transform stands between mask and keep.
RANK = {"remove": 0, "mask": 1, "keep": 3, "pass": 4}
TRANSFORM = 2


def rank(method: Method) -> int:
    """How much a method shows: remove < mask < transform < keep < pass."""
    return RANK.get(method.name, TRANSFORM)


# Of two transforms of one value, the pairs (less, more) where the second shows at least as much.
_FINER = frozenset({("year", "month"), ("zip3", "zip5"), ("zip3-padded", "zip5")}) | {
    ("zip3", "zip3-padded"),  # the same digits, written otherwise
    ("zip3-padded", "zip3"),
}


def shows_less(one: Method, other: Method) -> bool:
    """Whether ``one`` may show less of a value than ``other``. Two different transforms that are
    not known to be comparable may."""
    if rank(one) != rank(other):
        return rank(one) < rank(other)
    if rank(one) != TRANSFORM or one == other:
        return False
    return (str(other.param("to")), str(one.param("to"))) not in _FINER


def _any(code: str) -> bool:
    return True


def _maskable(code: str) -> bool:
    # A Narrative without status and div is not valid: it has a method of its own.
    return code not in ("Narrative", "xhtml", "Resource")


@dataclass(frozen=True, slots=True)
class Scale:
    """One value of ``to``: the types it suits, and whether it takes ``steps``."""

    types: frozenset[str]
    steps: bool = False

    @property
    def words(self) -> str:
        return ", ".join(sorted(self.types))


SCALES: Mapping[str, Scale] = {
    to: Scale(types, steps=to == "range") for to, types in SUITS.items() if to != "map"
}
MAP = Scale(SUITS["map"])


@dataclass(frozen=True, slots=True)
class Spec:
    """A method: its parameters (name to TOML type) and the types it suits, in words too."""

    suits: Callable[[str], bool]
    words: str
    parameters: Mapping[str, type] = field(default_factory=dict)


METHODS: Mapping[str, Spec] = {
    "keep": Spec(_any, "every type"),
    "remove": Spec(_any, "every type"),
    "pass": Spec(lambda code: code in PASSED, "the types " + ", ".join(PASSED) + " as a whole"),
    "mask": Spec(_maskable, "elements but narratives and whole resources", {"once": bool}),
    "pseudonymize": Spec(lambda code: code == "Identifier", "Identifier", {"from": str}),
    "generalize": Spec(
        _any,
        "dates, strings of addresses, numbers and codes",
        {"to": str, "map": str, "steps": list},
    ),
    "narrative": Spec(lambda code: code == "Narrative", "Narrative", {"text": str, "from": str}),
    "shift": Spec(lambda code: code in DATES, "dates", {"range": list, "by-system": str}),
    "scrub": Spec(lambda code: code in TEXTS, "string and markdown"),
    "surrogate": Spec(
        lambda code: code in ("HumanName", "string"),
        "names: HumanName and " + ", ".join(sorted(NAMED)),
        {"family": str, "given": str, "from": str},
    ),
}


def scale(method: Method) -> Scale | None:
    """The scale of a ``generalize``; None for other methods."""
    if method.name != "generalize":
        return None
    to = method.param("to")
    return SCALES[to] if isinstance(to, str) and to in SCALES else MAP


def suits(method: Method, code: str) -> bool:
    """Whether the method can be used on values of the type ``code``."""
    found = scale(method)
    return code in found.types if found else METHODS[method.name].suits(code)


def words(method: Method) -> str:
    """What the method suits, for a message."""
    found = scale(method)
    return found.words if found else METHODS[method.name].words


def spelled(method: Method) -> str:
    """The method as it is written in a policy file."""
    if not method.params:
        return f'"{method.name}"'
    params = ", ".join(
        f'{name} = "{value}"' if isinstance(value, str) else f"{name} = {_list(value)}"
        for name, value in method.params
    )
    return f'{{ method = "{method.name}", {params} }}'


def _list(value: object) -> str:
    return "[" + ", ".join(str(v) for v in value) + "]" if isinstance(value, tuple) else str(value)
