"""Subscription filters: Pub/Sub documentation, "Filter messages from a subscription"."""

import re
from collections.abc import Callable, Mapping

Filter = Callable[[Mapping[str, str]], bool]
"""Whether a message with these attributes is delivered."""

MAX_FILTER_BYTES = 256

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<word>AND|OR|NOT|attributes|hasPrefix)\b
    | (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<name>[A-Za-z_][A-Za-z0-9_\-]*)
    | (?P<symbol>!=|[=:.,()\-])
    )""",
    re.VERBOSE,
)


class BadFilter(ValueError):  # noqa: N818 - reads as the fact it is
    """The filter does not follow the grammar; the message says where."""


def parse(text: str) -> Filter:
    """The filter of this text; an empty text matches every message.

    Raises:
        BadFilter: the text does not follow the grammar.
    """
    if len(text.encode()) > MAX_FILTER_BYTES:
        raise BadFilter(f"a filter has at most {MAX_FILTER_BYTES} bytes")
    if not text.strip():
        return lambda _: True
    return _Parser(text).parse()


class _Parser:
    """Recursive descent over the grammar: terms joined by AND or by OR, not by both without parentheses."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._split(text))
        self._next = 0

    @staticmethod
    def _split(text: str) -> list[str]:
        tokens, position = [], 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if not match:
                raise BadFilter(f"can't read {text[position:]!r}")
            tokens.append(match[0].strip())
            position = match.end()
        return tokens

    def parse(self) -> Filter:
        terms = self._terms()
        if self._peek():
            raise BadFilter(f"did not expect {self._peek()!r}")
        return terms

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self, *expected: str) -> str:
        token = self._peek()
        if not token or (expected and token not in expected):
            raise BadFilter(f"expected {' or '.join(expected) or 'more'} instead of {token or 'the end'!r}")
        self._next += 1
        return token

    def _terms(self) -> Filter:
        terms = [self._term()]
        joint = self._peek()
        while self._peek() in {"AND", "OR"}:
            self._take(joint)
            terms.append(self._term())
        if joint == "OR":
            return lambda attributes: any(term(attributes) for term in terms)
        return lambda attributes: all(term(attributes) for term in terms)

    def _term(self) -> Filter:
        if self._peek() in {"NOT", "-"}:
            self._take()
            negated = self._term()
            return lambda attributes: not negated(attributes)
        if self._peek() == "(":
            self._take()
            inner = self._terms()
            self._take(")")
            return inner
        if self._peek() == "hasPrefix":
            return self._has_prefix()
        return self._comparison()

    def _has_prefix(self) -> Filter:
        self._take("hasPrefix")
        self._take("(")
        key = self._key(".")
        self._take(",")
        prefix = self._string()
        self._take(")")
        return lambda attributes: attributes.get(key, "").startswith(prefix) and key in attributes

    def _comparison(self) -> Filter:
        self._take("attributes")
        if self._peek() == ":":
            self._take()
            key = self._name()
            return lambda attributes: key in attributes
        self._next -= 1
        key = self._key(".")
        if self._take("=", "!=") == "=":
            value = self._string()
            return lambda attributes: attributes.get(key) == value
        value = self._string()
        return lambda attributes: attributes.get(key) != value

    def _key(self, separator: str) -> str:
        self._take("attributes")
        self._take(separator)
        return self._name()

    def _name(self) -> str:
        token = self._take()
        return self._unquoted(token) if token.startswith('"') else token

    def _string(self) -> str:
        token = self._take()
        if not token.startswith('"'):
            raise BadFilter(f"expected a value in double quotes instead of {token!r}")
        return self._unquoted(token)

    @staticmethod
    def _unquoted(token: str) -> str:
        return re.sub(r"\\(.)", r"\1", token[1:-1])
