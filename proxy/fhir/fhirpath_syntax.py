"""FHIRPath text to a tree, strictly: http://hl7.org/fhirpath/N1 (normative release 1).

The grammar is fhirpathpy's, but its own ``parse`` stops at the first text it does not understand
and says nothing (``name.where(use='x'`` is read as ``name``), so the rule that ends at the end of
the input is asked here, and every complaint of lexer or parser is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache, reduce
from typing import Any, NoReturn

from antlr4 import CommonTokenStream, InputStream, ParseTreeWalker
from antlr4.error.ErrorListener import ErrorListener
from antlr4.error.Errors import RecognitionException
from fhirpathpy.parser.ASTPathListener import ASTPathListener
from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

from proxy.fhir.patterns import PatternError, check_pattern

MAX_LENGTH = 4000
MAX_DEPTH = 60

# Pure and deterministic functions of FHIRPath N1 (section 5) and their numbers of arguments. What
# looks at another resource, a terminology, a clock or a log is not among them, nor is what the
# normative release does not define.
FUNCTIONS: dict[str, frozenset[int]] = {
    name: frozenset(arity)
    for arity, names in {
        (0,): "empty not allTrue anyTrue allFalse anyFalse isDistinct distinct count single first "
        "last tail children descendants length upper lower toChars abs ceiling exp floor ln sqrt "
        "truncate toInteger toBoolean toDecimal toString toDate toDateTime toTime "
        "convertsToBoolean convertsToInteger convertsToDecimal convertsToString convertsToDate "
        "convertsToDateTime convertsToTime",
        (0, 1): "exists",
        (1,): "all where select repeat ofType is as skip take intersect exclude union combine "
        "subsetOf supersetOf indexOf startsWith endsWith contains matches extension log power "
        "round",
        (1, 2): "substring",
        (2,): "replace replaceMatches",
        (2, 3): "iif",
    }.items()
    for name in names.split()
}

# Where a name as argument is a type, not an element.
TYPE_FUNCTIONS = frozenset({"is", "as", "ofType"})
# Whose first argument is a regular expression.
PATTERN_FUNCTIONS = frozenset({"matches", "replaceMatches"})

_ESCAPES = {"r": "\r", "n": "\n", "t": "\t", "f": "\f"}
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)


_NAMES = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_PLAIN = re.compile(rf"{_NAMES}(?: *\| *{_NAMES})*", re.ASCII)
_NAME = re.compile(r"\w+", re.ASCII)
_MOST_NAMES = 40  # in what is read as a union of plain paths
# Words of the grammar; some of them are names all the same where the parser proper says so.
_WORDS = re.compile(
    r"true|false|and|or|xor|implies|div|mod|is|as|in|contains|"
    r"(?:year|month|week|day|hour|minute|second|millisecond)s?"
)


class FhirPathError(ValueError):
    """The text is not FHIRPath, or uses what is not allowed; the message says what."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node of an expression.

    ``kind`` and what it holds:

    * ``literal``: ``value`` is a str, Decimal or bool, or None for ``{}``;
    * ``opaque``: a date, time or quantity literal, kept as text;
    * ``this``: ``$this``, and the implied start of a path;
    * ``variable``: ``name`` of ``%name``;
    * ``member``: ``name`` of an element (or a type, as first step); ``children[0]`` is its input;
    * ``call``: function ``name``; ``children[0]`` is its input, the others the arguments;
    * ``type``: the argument of ``is``, ``as``, ``ofType``: ``name``;
    * ``index``: ``children`` are collection and index;
    * ``operator``: ``name`` is ``=``, ``and``, ``|`` …, ``children`` are both sides;
    * ``sign``: ``name`` is ``+`` or ``-``.

    ``raw`` is fhirpathpy's node, for what only fhirpathpy evaluates.
    """

    kind: str
    name: str = ""
    children: tuple[Node, ...] = ()
    value: str | Decimal | bool | None = None
    raw: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


THIS = Node("this")


def is_comparison(node: Node) -> bool:
    """Whether an operand only compares members with literals, ``and`` and ``or`` between: its
    value is a boolean or empty, and its evaluation cannot fail."""
    if node.kind != "operator":
        return False
    if node.name in ("and", "or"):
        return all(map(is_comparison, node.children))
    return node.name in ("=", "!=") and all(map(_is_path, node.children))


def _is_path(node: Node) -> bool:
    if node.kind in ("member", "literal"):
        return all(map(_is_path, node.children))
    return node.kind == "this"


@dataclass(frozen=True, slots=True)
class Expression:
    """A whole expression that was read to its end. ``text`` as given."""

    text: str
    root: Node

    def elements(self) -> tuple[str, ...]:
        """The element names that occur, in order, each once."""
        return tuple(dict.fromkeys(n.name for n in self.root.walk() if n.kind == "member"))


class _Strict(ErrorListener):  # type: ignore[misc]  # the parser runtime has no types
    def syntaxError(self, recognizer: Any, symbol: Any, line: int, column: int, msg: str, e: Any,
                    ) -> NoReturn:  # fmt: skip
        raise FhirPathError(f"not FHIRPath from character {column + 1} on")


class _Lexer(FHIRPathLexer):  # type: ignore[misc]
    def recover(self, re: RecognitionException) -> NoReturn:
        raise FhirPathError("not FHIRPath: a character that it does not know")


def parse(text: str, *, resolve: bool = False) -> Expression:
    """Read one expression, to its end.

    ``resolve`` also allows ``resolve()``, which search parameters use and policies may not.
    Raises :class:`FhirPathError` for what is not FHIRPath, for functions that are unknown, impure
    or have a wrong number of arguments, for variables other than ``%caller``, and for patterns
    that are no plain text or could take endless time.
    """
    root = _plain(text) or _read(text)
    _check(root, resolve)
    return Expression(text, root)


def _plain(text: str) -> Node | None:
    """A path of names, or a union of them: most search parameters are that, and the parser proper
    takes milliseconds. None for anything else."""
    if len(text) > MAX_LENGTH or not _PLAIN.fullmatch(text):
        return None
    names = _NAME.findall(text)
    if len(names) > _MOST_NAMES or any(map(_WORDS.fullmatch, names)):
        return None
    paths = []
    for path in text.split("|"):
        node = THIS
        for name in path.strip().split("."):
            node = Node("member", name, (node,))
        paths.append(node)
    return reduce(lambda left, right: Node("operator", "|", (left, right)), paths)


@lru_cache(maxsize=2048)  # the expressions of the registry and of the policies, not data
def _read(text: str) -> Node:
    if len(text) > MAX_LENGTH:
        raise FhirPathError(f"longer than {MAX_LENGTH} characters")
    if not text.strip():
        raise FhirPathError("empty")
    lexer = _Lexer(InputStream(text))
    lexer.removeErrorListeners()
    lexer.addErrorListener(_Strict())
    parser = FHIRPathParser(CommonTokenStream(lexer))
    parser.removeErrorListeners()
    parser.addErrorListener(_Strict())
    try:
        tree = parser.entireExpression()
        listener = ASTPathListener()
        ParseTreeWalker().walk(listener, tree.expression())
        return _expression(listener.parentStack[0]["children"][0], 0)
    except RecursionError:
        raise FhirPathError("nested too deeply") from None


def _check(root: Node, resolve: bool) -> None:
    for node in root.walk():
        if node.kind == "call":
            if node.name == "resolve" and resolve:
                continue
            arity = FUNCTIONS.get(node.name)
            if arity is None:
                raise FhirPathError(f"{node.name}() is not allowed")
            if len(node.children) - 1 not in arity:
                raise FhirPathError(f"{node.name}() has a wrong number of arguments")
            if node.name in PATTERN_FUNCTIONS:
                _check_pattern(node.children[1])
        elif node.kind == "variable" and node.name != "caller":
            raise FhirPathError(f"the variable %{node.name} is not allowed; only %caller is")


def _check_pattern(argument: Node) -> None:
    if not isinstance(argument.value, str):
        raise FhirPathError("a pattern is not written as a text")
    try:
        check_pattern(argument.value)
    except PatternError as error:
        raise FhirPathError(f"the pattern {argument.value} {error}") from None


def _expression(raw: dict[str, Any], depth: int) -> Node:
    """An expression in operand position: its input is ``$this``."""
    if depth > MAX_DEPTH:
        raise FhirPathError("nested too deeply")
    kind, below = raw["type"], raw.get("children", [])
    if kind == "TermExpression":
        return _term(below[0], depth + 1)
    if kind == "InvocationExpression":
        return _invocation(below[1], _expression(below[0], depth + 1), raw, depth + 1)
    if kind == "IndexerExpression":
        sides = (_expression(below[0], depth + 1), _expression(below[1], depth + 1))
        return Node("index", children=sides, raw=raw)
    if kind == "PolarityExpression":
        sign = raw["terminalNodeText"][0]
        return Node("sign", sign, (_expression(below[0], depth + 1),), raw=raw)
    if kind == "TypeExpression":
        target = Node("type", _unquote(below[1]["text"]))
        left = _expression(below[0], depth + 1)
        return Node("call", raw["terminalNodeText"][0], (left, target), raw=raw)
    if kind.endswith("Expression") and len(below) == 2:
        sides = (_expression(below[0], depth + 1), _expression(below[1], depth + 1))
        return Node("operator", raw["terminalNodeText"][0], sides, raw=raw)
    raise FhirPathError("uses a construct that is not allowed")


def _term(raw: dict[str, Any], depth: int) -> Node:
    kind, below = raw["type"], raw.get("children", [])
    if kind == "ParenthesizedTerm":
        return _expression(below[0], depth)
    if kind == "LiteralTerm":
        return _literal(below[0], raw)
    if kind == "ExternalConstantTerm":
        name = below[0].get("children", [{"text": "a string"}])[0]["text"]
        return Node("variable", _unquote(name), raw=raw)
    if kind == "InvocationTerm":
        return _invocation(below[0], THIS, raw, depth)
    raise FhirPathError("uses a construct that is not allowed")


def _invocation(raw: dict[str, Any], source: Node, whole: dict[str, Any], depth: int) -> Node:
    kind, below = raw["type"], raw.get("children", [])
    if kind == "ThisInvocation":
        return source
    if kind == "MemberInvocation":
        return Node("member", _unquote(below[0]["text"]), (source,), raw=whole)
    if kind == "FunctionInvocation":
        called = below[0]["children"]
        name = _unquote(called[0]["text"])
        raws = called[1]["children"] if len(called) > 1 else []
        if name in TYPE_FUNCTIONS:
            arguments = tuple(Node("type", _unquote(a.get("text", ""))) for a in raws)
        else:
            arguments = tuple(_expression(a, depth) for a in raws)
        return Node("call", name, (source, *arguments), raw=whole)
    raise FhirPathError("$index and $total are not allowed")


def _literal(raw: dict[str, Any], whole: dict[str, Any]) -> Node:
    kind = raw["type"]
    if kind == "NullLiteral":
        return Node("literal", raw=whole)
    if kind == "BooleanLiteral":
        return Node("literal", value=raw["text"] == "true", raw=whole)
    if kind == "NumberLiteral":
        return Node("literal", value=Decimal(raw["text"]), raw=whole)
    if kind == "StringLiteral":
        return Node("literal", value=_ESCAPE.sub(_unescape, raw["text"][1:-1]), raw=whole)
    # A bare number may also come as a quantity without unit.
    if kind == "QuantityLiteral" and not raw["children"][0].get("children"):
        return Node("literal", value=Decimal(raw["text"]), raw=whole)
    return Node("opaque", raw["text"], raw=whole)


def _unescape(match: re.Match[str]) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    return _ESCAPES.get(match[2], match[2])


def _unquote(name: str) -> str:
    return name.replace("`", "")
