"""Parsing: the words of a query to its terms, and what is wrong with them to the letter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from agentrt.audit.query.terms import ARGUMENT, CHOICES, KEYS, Query, Term, Value
from agentrt.audit.query.times import moment_of
from agentrt.errors import QueryInvalid

__all__ = ["parse"]

LENGTH_MAX = 4_000
"""Characters of a query."""

TERMS_MAX = 40

_OPERATOR = re.compile(r">=|<=|>|<|=")
_KEY = re.compile(r"[A-Za-z_][\w.\-\[\]]*(?=:)")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A run of letters, or a text in quotes, and where it begins."""

    text: str
    at: int
    quoted: bool = False


def parse(text: str, *, now: int) -> Query:
    """The query that a line asks; `now` is what `2h` counts from, in milliseconds.

    Raises QueryInvalid, which names the place and what was probably meant.
    """
    if len(text) > LENGTH_MAX:
        raise QueryInvalid(f"A query has at most {LENGTH_MAX:,} characters.", text, LENGTH_MAX)
    terms = list(_Reader(text).terms())
    if len(terms) > TERMS_MAX:
        raise QueryInvalid(f"A query has at most {TERMS_MAX} terms.", text, terms[TERMS_MAX].at)
    kept = tuple(term for term in terms if term.key not in ("since", "until", "is"))
    return Query(
        terms=kept,
        since=_moment(text, terms, "since", now),
        until=_moment(text, terms, "until", now),
        kind=_kind(text, terms),
    )


class _Reader:
    """Reads a line from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def terms(self) -> Iterator[Term]:
        """The terms in the order they stand."""
        while self._skip_space():
            yield self._term()

    def _skip_space(self) -> bool:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._at < len(self._text)

    def _term(self) -> Term:
        at = self._at
        negated = self._text.startswith("-", at)
        self._at += negated
        if self._at >= len(self._text) or self._text[self._at].isspace():
            raise self._wrong("A `-` stands right before what must not be.", at)
        found = _KEY.match(self._text, self._at)
        if found is None:
            return Term("text", (self._word(),), negated, at)
        key = self._key(found[0], found.start())
        self._at = found.end() + 1
        return Term(key, tuple(self._values(key)), negated, at)

    def _word(self) -> Value:
        piece = self._piece(stops="")
        if not piece.quoted and "*" in piece.text.rstrip("*"):
            raise self._wrong("In a text a `*` can only stand at the end of a word.", piece.at)
        pattern = not piece.quoted and piece.text.endswith("*")
        if not any(letter.isalnum() for letter in piece.text):
            raise self._wrong("There is no word to look for.", piece.at)
        return Value(piece.text.rstrip("*") if pattern else piece.text, pattern=pattern)

    def _key(self, name: str, at: int) -> str:
        if name in KEYS:
            return name
        if name.startswith(ARGUMENT) and len(name) > len(ARGUMENT):
            return name
        near = get_close_matches(name, [*KEYS, ARGUMENT], n=1)
        hint = (
            f" Did you mean `{near[0]}`?" if near else f" There are: {', '.join(KEYS)}, args.NAME."
        )
        quoted = f'"{name}:..."'
        raise self._wrong(f"There is no key `{name}`.{hint} A text goes in quotes: {quoted}.", at)

    def _values(self, key: str) -> Iterator[Value]:
        while True:
            yield self._value(key)
            if not self._text.startswith(",", self._at):
                return
            self._at += 1

    def _value(self, key: str) -> Value:
        found = _OPERATOR.match(self._text, self._at)
        start = self._at
        operator = found[0] if found else "="
        self._at += len(found[0]) if found else 0
        piece = self._piece(stops=",")
        if not piece.text:
            raise self._wrong(f"`{key}:` has no value here.", piece.at)
        if operator != "=":
            self._check_number(key, piece, start)
        if key == "text":
            return Value(piece.text)
        value = Value(piece.text, operator, pattern="*" in piece.text and not piece.quoted)
        self._check_choice(key, value, piece.at)
        return value

    def _check_number(self, key: str, piece: _Piece, at: int) -> None:
        if not key.startswith(ARGUMENT):
            raise self._wrong(f"`{key}` has no order: `>` and `<` are for arguments.", at)
        if Value(piece.text).number is None:
            raise self._wrong(f"`{piece.text}` is not a number to compare with.", piece.at)

    def _check_choice(self, key: str, value: Value, at: int) -> None:
        choices = CHOICES.get(key)
        if choices is None or value.pattern or value.text in choices:
            return
        near = get_close_matches(value.text, choices, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(choices)}."
        raise self._wrong(f"`{key}` is never `{value.text}`; {hint}", at)

    def _piece(self, *, stops: str) -> _Piece:
        if self._text.startswith('"', self._at):
            return self._quoted()
        at = self._at
        while self._at < len(self._text):
            letter = self._text[self._at]
            if letter.isspace() or letter in stops:
                break
            self._at += 1
        return _Piece(self._text[at : self._at], at)

    def _quoted(self) -> _Piece:
        at = self._at
        self._at += 1
        letters: list[str] = []
        while self._at < len(self._text):
            letter = self._text[self._at]
            self._at += 1
            if letter == '"':
                return _Piece("".join(letters), at, quoted=True)
            if letter == "\\" and self._at < len(self._text):
                letter = self._text[self._at]
                self._at += 1
            letters.append(letter)
        raise self._wrong("This quote is never closed.", at)

    def _wrong(self, what: str, at: int) -> QueryInvalid:
        return QueryInvalid(what, self._text, at)


def _single(text: str, terms: Iterable[Term], key: str) -> Term | None:
    found = [term for term in terms if term.key == key]
    for term in found[1:]:
        raise QueryInvalid(f"`{key}:` is said twice.", text, term.at)
    for term in found:
        if term.negated or len(term.values) != 1:
            raise QueryInvalid(f"`{key}:` takes one value, and no `-`.", text, term.at)
    return found[0] if found else None


def _moment(text: str, terms: Iterable[Term], key: str, now: int) -> int | None:
    term = _single(text, terms, key)
    if term is None:
        return None
    said = term.values[0].text
    moment = moment_of(said, now=now)
    if moment is None:
        raise QueryInvalid(
            f"`{said}` is not a time such as 2h, 7d, 2026-11-23 or 2026-11-23T09:00.", text, term.at
        )
    return moment


def _kind(text: str, terms: Iterable[Term]) -> str:
    term = _single(text, terms, "is")
    if term is None:
        return Query().kind
    if term.values[0].pattern:
        raise QueryInvalid("`is:` takes call or run.", text, term.at)
    return term.values[0].text
