"""Patterns in the syntax of RE2, and now and then some that are not."""

from __future__ import annotations

from random import Random

__all__ = ["pattern"]

_ATOMS = (
    "a", "b", "ab", "x", ".", ".*", "é", "\U0001f600", " ", "\\d", "\\D", "\\w", "\\W", "\\s",
    "\\S", "[a-c]", "[^a]", "[ab]", "[é-ü]", "[\\d.]", "[[:alpha:]]", "[[:^space:]]", "\\pL",
    "\\p{Lu}", "\\P{Greek}", "\\x61", "\\x{1F600}", "\\.", "\\\\", "\\b", "\\B", "^", "$", "\\A",
    "\\z", "\\Qa.b\\E", "\\n", "\\t", "()", "\\C", "[^\\x00-\\x7F]",
)  # fmt: skip
_REPEATS = ("*", "+", "?", "*?", "+?", "??", "{2}", "{1,}", "{0,3}", "{2,3}?")
_GROUPS = ("(", "(?:", "(?i)(", "(?i:", "(?s:", "(?m:", "(?U:", "(?P<n>", "(?<n>")
_WRONG = (
    "(", ")", "[", "a{1001}", "*", "(?=a)", "(?!a)", "(?<=a)", "\\1", "(a)\\1", "a**", "[z-a]",
    "\\p{Nope}", "(?P<n", "\\", "a{2,1}", "(?>a)", "a++", "\\Z", "(?x)a", "\\uD83D", "(?P=n)",
    "{", "a{,2}", "[]a]", "x{0}",
)  # fmt: skip


def pattern(random: Random) -> str:
    if random.random() < 0.04:
        return random.choice(_WRONG)
    return _alternatives(random, 3)


def _alternatives(random: Random, depth: int) -> str:
    number = 2 if random.random() < 0.2 else 1
    return "|".join(_sequence(random, depth) for _ in range(number))


def _sequence(random: Random, depth: int) -> str:
    return "".join(_repeated(random, depth) for _ in range(random.choice((1, 1, 2, 3))))


def _repeated(random: Random, depth: int) -> str:
    atom = random.choice(_ATOMS)
    if depth > 0 and random.random() < 0.2:
        return f"{random.choice(_GROUPS)}{_alternatives(random, depth - 1)}){_repeat(random)}"
    # ".*" and "ab" and what has no width are not repeated as one.
    return atom + _repeat(random) if atom[0] in "[." and len(atom) != 2 else atom


def _repeat(random: Random) -> str:
    return random.choice(_REPEATS) if random.random() < 0.4 else ""
