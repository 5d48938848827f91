"""The grammar of FHIRPath (N1, appendix A), as a precedence climber that yields a small tree."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


class FHIRPathError(ValueError):
    """The expression is not FHIRPath, or asks of a value what it cannot give."""


@dataclass(frozen=True, slots=True)
class Literal:
    """`kind` is a System type's name; None for the empty collection `{}`."""

    kind: str | None
    value: Any


@dataclass(frozen=True, slots=True)
class Member:
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    arguments: "tuple[Tree, ...]"


@dataclass(frozen=True, slots=True)
class Variable:
    """`%resource`, `$this`: the sign is part of the name."""

    name: str


@dataclass(frozen=True, slots=True)
class Step:
    """`right` on each of what `left` gives."""

    left: "Tree"
    right: "Tree"


@dataclass(frozen=True, slots=True)
class Index:
    left: "Tree"
    at: "Tree"


@dataclass(frozen=True, slots=True)
class Sign:
    operator: str
    operand: "Tree"


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: "Tree"
    right: "Tree"


@dataclass(frozen=True, slots=True)
class OfType:
    """`is` and `as` as operators."""

    operator: str
    left: "Tree"
    type: str


Tree = Literal | Member | Call | Variable | Step | Index | Sign | Binary | OfType

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<datetime>@\d{4}(?:-\d\d(?:-\d\d)?)?T(?:\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:\d\d)?)?)
    |(?P<date>@\d{4}(?:-\d\d(?:-\d\d)?)?)
    |(?P<time>@T\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?)
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<string>'(?:[^'\\]|\\.)*')
    |(?P<delimited>`(?:[^`\\]|\\.)*`)
    |(?P<variable>%(?:[A-Za-z_][\w-]*|`(?:[^`\\]|\\.)*`|'(?:[^'\\]|\\.)*')|\$(?:this|index|total))
    |(?P<word>[A-Za-z_]\w*)
    |(?P<sign><=|>=|!=|!~|[-+*/&|.,()\[\]{}<>=~])""",
    re.VERBOSE | re.DOTALL,
)
_LEVELS = {
    "implies": 1,
    "or": 2, "xor": 2,
    "and": 3,
    "in": 4, "contains": 4,
    "=": 5, "~": 5, "!=": 5, "!~": 5,
    "<": 6, ">": 6, "<=": 6, ">=": 6,
    "|": 7,
    "is": 8, "as": 8,
    "+": 9, "-": 9, "&": 9,
    "*": 10, "/": 10, "div": 10, "mod": 10,
}  # fmt: skip
_SIGN_LEVEL = 11
_DIGITS_MAX = 4000
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}
_WORD_OPERATORS = frozenset({"as", "is", "in", "contains", "and", "or", "xor", "implies", "div", "mod"})
# Operators' words that are names too, where a name is due (N1, section 8.3).
_NAMES_TOO = frozenset({"as", "is", "in", "contains"})
UNITS = frozenset(
    f"{unit}{plural}"
    for unit in ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
    for plural in ("", "s")
)


def parsed(text: str) -> Tree:
    """The tree of an expression.

    Raises:
        FHIRPathError: with the place where the text stops being FHIRPath.
    """
    parser = _Parser(text)
    tree = parser.expression(0)
    if parser.kind != "end":
        raise parser.error("an operator or the end")
    return tree


def variables(tree: Tree) -> Iterator[str]:
    """The names with a `%` that an expression uses, each as often as it does."""
    match tree:
        case Variable(name):
            if name.startswith("%"):
                yield name
        case Call(_, arguments):
            for one in arguments:
                yield from variables(one)
        case Step(left, right) | Index(left, right) | Binary(_, left, right):
            yield from variables(left)
            yield from variables(right)
        case Sign(_, operand) | OfType(_, operand, _):
            yield from variables(operand)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._began = 0
        self.kind = self.said = ""
        self.next()

    def next(self) -> str:
        """Goes on by a token; returns the one left behind."""
        said = self.said
        while True:
            self._began = self._at
            if self._at == len(self._text):
                self.kind, self.said = "end", ""
                return said
            found = _TOKEN.match(self._text, self._at)
            if found is None:
                raise self.error("FHIRPath")
            self._at = found.end()
            if found.lastgroup != "space":
                self.kind, self.said = str(found.lastgroup), found.group()
                return said

    def error(self, wanted: str) -> FHIRPathError:
        here = self._text[self._began : self._began + 20] or "the end"
        return FHIRPathError(f"at character {self._began + 1}: expected {wanted}, found {here!r}")

    def expect(self, sign: str) -> None:
        if self.said != sign or self.kind != "sign":
            raise self.error(repr(sign))
        self.next()

    def is_sign(self, sign: str) -> bool:
        return self.kind == "sign" and self.said == sign

    def expression(self, level: int) -> Tree:
        left = self._signed()
        while True:
            operator = self.said
            operates = self.kind == "sign" or (self.kind == "word" and operator in _WORD_OPERATORS)
            here = _LEVELS.get(operator, 0) if operates else 0
            if here <= level:
                return left
            self.next()
            if operator in {"is", "as"}:
                left = OfType(operator, left, self._type())
            else:
                left = Binary(operator, left, self.expression(here))

    def _signed(self) -> Tree:
        if self.is_sign("-") or self.is_sign("+"):
            return Sign(self.next(), self.expression(_SIGN_LEVEL - 1))
        return self._steps(self._term())

    def _steps(self, left: Tree) -> Tree:
        while True:
            if self.is_sign("."):
                self.next()
                left = Step(left, self._invocation())
            elif self.is_sign("["):
                self.next()
                left = Index(left, self.expression(0))
                self.expect("]")
            else:
                return left

    def _term(self) -> Tree:
        match self.kind:
            case "number":
                return self._number()
            case "string":
                return Literal("String", _unescaped(self.next()))
            case "date":
                return Literal("Date", self.next()[1:])
            case "datetime":
                return Literal("DateTime", self.next()[1:])
            case "time":
                return Literal("Time", self.next()[2:])
            case "word" if self.said in {"true", "false"}:
                return Literal("Boolean", self.next() == "true")
            case "sign" if self.said == "(":
                self.next()
                inner = self.expression(0)
                self.expect(")")
                return inner
            case "sign" if self.said == "{":
                self.next()
                self.expect("}")
                return Literal(None, None)
            case "variable" if self.said.startswith("%"):
                said = self.next()
                return Variable("%" + (_unescaped(said[1:]) if said[1] in "`'" else said[1:]))
            case _:
                return self._invocation()

    def _number(self) -> Tree:
        said = self.next()
        if len(said) > _DIGITS_MAX:
            raise FHIRPathError(f"a number has at most {_DIGITS_MAX} digits")
        value: Any = Decimal(said) if "." in said else int(said)
        if self.kind == "string" or (self.kind == "word" and self.said in UNITS):
            unit = _unescaped(self.next()) if self.kind == "string" else self.next().removesuffix("s")
            return Literal("Quantity", {"value": value, "code": unit})
        return Literal("Decimal" if "." in said else "Integer", value)

    def _invocation(self) -> Tree:
        if self.kind == "variable" and self.said.startswith("$"):
            return Variable(self.next())
        if self.kind == "delimited":
            return Member(_unescaped(self.next()))
        if self.kind != "word" or (self.said in _WORD_OPERATORS and self.said not in _NAMES_TOO):
            raise self.error("a name, a function or a value")
        name = self.next()
        if not self.is_sign("("):
            return Member(name)
        self.next()
        arguments: list[Tree] = []
        while not self.is_sign(")"):
            arguments.append(self.expression(0))
            if not self.is_sign(")"):
                self.expect(",")
        self.next()
        return Call(name, tuple(arguments))

    def _type(self) -> str:
        names = []
        while True:
            if self.kind not in {"word", "delimited"}:
                raise self.error("a type's name")
            said = self.next()
            names.append(_unescaped(said) if said.startswith("`") else said)
            if not self.is_sign("."):
                return ".".join(names)
            self.next()


def _unescaped(quoted: str) -> str:
    def meant(found: "re.Match[str]") -> str:
        said = found.group(1)
        return chr(int(said[1:], 16)) if said[0] == "u" else _ESCAPES.get(said, said)

    text = re.sub(r"\\(u[0-9a-fA-F]{4}|.)", meant, quoted[1:-1], flags=re.DOTALL)
    try:
        # Of a character beyond 16 bits both halves are written.
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeError as error:
        raise FHIRPathError("half a surrogate pair is no character") from error
