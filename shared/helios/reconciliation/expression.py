"""Expressions over the legs of a flow, as rules write them: a closed grammar, parsed once.

    expression = term { ("+" | "-") term }
    term       = number | field | aggregate | "(" expression ")"
    aggregate  = ("sum" | "min" | "max") "(" field ")" | "count" "(" leg ")"
    field      = leg "." name { "." name }

``+`` and ``-`` have a blank on both sides, because a name may contain them. A text without an operator and without
parentheses is one field as a whole, so that its names may contain blanks.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final, Literal, NamedTuple, cast

Function = Literal["sum", "count", "min", "max"]

_FUNCTIONS: Final = ("sum", "count", "min", "max")
_NUMBER: Final = re.compile(r"\d{1,18}(?:\.\d{1,18})?", re.ASCII)
_WORD: Final = re.compile(r"[()]|[^\s()]+")
_OPERATOR: Final = re.compile(r"[()]|(?:^|\s)[-+*/](?:\s|$)")


class ExpressionError(ValueError):
    """The text is not an expression; the message says where, and what to write instead."""


class Number(NamedTuple):
    """A number that the declaration names."""

    value: Decimal


class Field(NamedTuple):
    """The value of a field. Of a leg with several parts, the value of each of them."""

    leg: str
    path: str


class Aggregate(NamedTuple):
    """A value over the parts of a leg; ``path`` is empty for ``count``."""

    function: Function
    leg: str
    path: str


class Operation(NamedTuple):
    """The sum of two expressions if ``sign`` is 1, their difference if it is -1."""

    left: "Expression"
    sign: Literal[1, -1]
    right: "Expression"


Expression = Number | Field | Aggregate | Operation


def parse(text: str) -> Expression:
    """The expression in a text.

    Raises:
        ExpressionError: the text is not an expression.
    """
    if not _OPERATOR.search(text):
        return _operand(text.strip(), 1)
    return _Parser(text).parse()


def reads(expression: Expression) -> Iterator[tuple[str, str]]:
    """What an expression reads, as (leg, path); the path is empty where only the parts are counted."""
    match expression:
        case Field(leg, path) | Aggregate(_, leg, path):
            yield leg, path
        case Operation(left, _, right):
            yield from reads(left)
            yield from reads(right)


def aggregated(expression: Expression) -> Iterator[str]:
    """The legs over whose parts an expression has functions."""
    match expression:
        case Aggregate(_, leg, _):
            yield leg
        case Operation(left, _, right):
            yield from aggregated(left)
            yield from aggregated(right)


def legs_of(expression: Expression) -> list[str]:
    """The distinct legs that an expression reads, the first first."""
    return list(dict.fromkeys(leg for leg, _ in reads(expression)))


class _Parser:
    """Recursive descent over the words of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._words = [(match.group(), match.start() + 1) for match in _WORD.finditer(text)]
        self._next = 0

    def parse(self) -> Expression:
        expression = self._sum()
        word, position = self._peek()
        if word:
            reason = "there is no ( for it" if word == ")" else "the operators are + and -"
            raise ExpressionError(f"unexpected {word!r} at character {position}: {reason}")
        return expression

    def _sum(self) -> Expression:
        expression = self._term()
        while self._peek()[0] in {"+", "-"}:
            sign: Literal[1, -1] = 1 if self._take()[0] == "+" else -1
            expression = Operation(expression, sign, self._term())
        return expression

    def _term(self) -> Expression:
        word, position = self._take()
        if word == "(":
            expression = self._sum()
            self._expect(")")
            return expression
        if word in _FUNCTIONS and self._peek()[0] == "(":
            return self._aggregate(cast("Function", word))
        return _operand(word, position)

    def _aggregate(self, function: Function) -> Aggregate:
        self._expect("(")
        word, position = self._take()
        if function == "count":
            if not word or word in "()+-" or "." in word:
                raise ExpressionError(f"count takes the name of a leg at character {position}: write count(leg)")
            aggregate = Aggregate(function, word, "")
        else:
            operand = _operand(word, position) if "." in word else None
            if not isinstance(operand, Field):
                raise ExpressionError(f"{function} takes a field at character {position}: write {function}(leg.field)")
            aggregate = Aggregate(function, *operand)
        self._expect(")")
        return aggregate

    def _expect(self, wanted: str) -> None:
        word, position = self._take()
        if word != wanted:
            found = f"{word!r}" if word else "the end"
            raise ExpressionError(f"expected {wanted!r} at character {position}, found {found}")

    def _peek(self) -> tuple[str, int]:
        """The next word and its position; an empty one at the end."""
        return self._words[self._next] if self._next < len(self._words) else ("", len(self._text) + 1)

    def _take(self) -> tuple[str, int]:
        word = self._peek()
        self._next += 1
        return word


def _operand(word: str, position: int) -> Number | Field:
    if _NUMBER.fullmatch(word):
        return Number(Decimal(word))
    leg, _, path = word.partition(".")
    if "+" in word and path:
        raise ExpressionError(f"{word!r} at character {position}: put a blank on both sides of +")
    if not leg or not path or not all(path.split(".")):
        found = f"found {word!r}" if word else "found the end"
        raise ExpressionError(f"expected leg.field, a number or a function at character {position}, {found}")
    return Field(leg, path)
