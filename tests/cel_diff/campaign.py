"""A stretch of random expressions, put to both sides, and what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from . import ours
from .answers import Answer, Asked
from .contexts import Context
from .generator import Generated, generated
from .known_differences import known
from .made import Made
from .mutations import mutated, shorter
from .reference import Question, Reference, parse_question, question
from .shrinking import smallest

__all__ = ["Tally", "Unexplained", "compared", "parsed", "run", "run_mutated", "stretch"]

_BATCH = 100

Text = tuple[str, Context]
"""What is asked, and what it may speak of."""


@dataclass(frozen=True)
class Unexplained:
    """A difference that is not on the list."""

    number: int
    whole: Asked
    least: Asked

    def __str__(self) -> str:
        least = self.least
        answers = f"  ours:   {least.ours}\n  Google: {least.theirs}"
        return f"{least.text}\n{answers}\n  from:   {self.whole.text}"


@dataclass(frozen=True)
class Tally:
    """How many there were of each."""

    values: int = 0
    errors: int = 0
    refused: int = 0
    """By our checker: on purpose, or by both."""
    agreed_refusals: int = 0
    known: Counter[str] = field(default_factory=Counter)
    unexplained: tuple[Unexplained, ...] = ()

    @property
    def asked(self) -> int:
        """How many there were in all; those refused on both sides agree too."""
        agreed = self.values + self.errors + self.agreed_refusals
        return agreed + self.known.total() + len(self.unexplained)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.values + other.values,
            self.errors + other.errors,
            self.refused + other.refused,
            self.agreed_refusals + other.agreed_refusals,
            self.known + other.known,
            self.unexplained + other.unexplained,
        )


def stretch(asked: tuple[bool, int, range]) -> Tally:
    """In a process of its own: texts or expressions of a seed, by their numbers."""
    texts, seed, numbers = asked
    with Reference() as reference:
        go = run_mutated if texts else run
        return sum(go(reference, seed, numbers), Tally())


def run(reference: Reference, seed: int | str, numbers: Iterable[int]) -> Iterator[Tally]:
    """Expressions of the seed, by their numbers: a tally for every batch."""
    for batch in _batches(numbers):
        made = [generated(seed, number) for number in batch]
        asked = compared(reference, [(each.text, each.context) for each in made])
        yield sum(
            (
                _tallied(reference, number, each, answer)
                for number, each, answer in zip(batch, made, asked, strict=True)
            ),
            Tally(),
        )


def _batches(numbers: Iterable[int]) -> Iterator[list[int]]:
    waiting = iter(numbers)
    while batch := list(islice(waiting, _BATCH)):
        yield batch


def compared(reference: Reference, texts: Sequence[Text]) -> list[Asked]:
    """What both sides make of the texts."""
    questions = [question(text, context) for text, context in texts]
    return _put(reference, texts, questions, ours.evaluated)


def parsed(reference: Reference, texts: Sequence[Text]) -> list[Asked]:
    """Whether both sides take these for texts of CEL."""
    questions = [parse_question(text) for text, _ in texts]
    return _put(reference, texts, questions, lambda text, _: ours.parsed(text))


def _put(
    reference: Reference,
    texts: Sequence[Text],
    questions: Sequence[Question],
    answer: Callable[[str, Context], Answer],
) -> list[Asked]:
    """The questions to both sides, which work on them at the same time."""
    reference.send(questions)
    mine = [answer(text, context) for text, context in texts]
    return [
        Asked(text, context, one, other)
        for (text, context), one, other in zip(texts, mine, reference.receive(), strict=True)
    ]


def _tallied(reference: Reference, number: int, made: Generated, asked: Asked) -> Tally:
    if asked.agree:
        return _agreed(asked.ours)
    least = _least(reference, made, asked)
    return _differing(number, asked, least)


def _agreed(answer: Answer) -> Tally:
    is_refused = answer.kind == "refused"
    return Tally(
        values=int(answer.kind == "value"),
        errors=int(answer.kind == "error"),
        refused=int(is_refused),
        agreed_refusals=int(is_refused),
    )


def _differing(number: int, whole: Asked, least: Asked) -> Tally:
    refused = int(whole.ours.kind == "refused")
    if name := known(least):
        return Tally(refused=refused, known=Counter([name]))
    return Tally(refused=refused, unexplained=(Unexplained(number, whole, least),))


def _least(reference: Reference, made: Generated, asked: Asked) -> Asked:
    """The smallest part or variant on which both still differ, and in the same way."""
    seen = {asked.text: asked}

    def differs(candidates: Sequence[Made]) -> list[bool]:
        answers = compared(reference, [(each.text, made.context) for each in candidates])
        seen.update((answer.text, answer) for answer in answers)
        return [not answer.agree and answer.kinds == asked.kinds for answer in answers]

    least = smallest(
        made.made, made.context, differs, lambda each: known(seen[each.text]) is not None
    )
    return seen[least.text]


# --- mutated texts -----------------------------------------------------------------------


def run_mutated(reference: Reference, seed: int | str, numbers: Iterable[int]) -> Iterator[Tally]:
    """The same for texts with mistakes: are they accepted, and if so, what do they come to?"""
    for batch in _batches(numbers):
        texts = [mutated(seed, number) for number in batch]
        answers = zip(parsed(reference, texts), compared(reference, texts), strict=True)
        yield sum(
            (
                _tallied_text(reference, number, read, told)
                for number, (read, told) in zip(batch, answers, strict=True)
            ),
            Tally(),
        )


def _tallied_text(reference: Reference, number: int, read: Asked, told: Asked) -> Tally:
    if not read.agree:
        return _differing(number, read, _least_text(reference, read, parsed))
    # What our types refuse is documented as a whole; here, texts are read.
    if told.agree or told.ours.kind == "refused":
        return _agreed(told.ours)
    return _differing(number, told, _least_text(reference, told, compared))


def _least_text(
    reference: Reference, asked: Asked, ask: Callable[[Reference, Sequence[Text]], list[Asked]]
) -> Asked:
    """The shortest text on which both still differ in the same way."""
    while known(asked) is None:
        found = {*shorter(asked.text), *ours.parts(asked.text)}
        texts = sorted((text for text in found if len(text) < len(asked.text)), key=len)
        answers = ask(reference, [(text, asked.context) for text in texts])
        alike = [each for each in answers if not each.agree and each.kinds == asked.kinds]
        if not alike:
            break
        asked = alike[0]
    return asked
