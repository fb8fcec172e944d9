"""Our conditions come to what Google's CEL says, but for what is documented."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from random import SystemRandom

import pytest
from cel_diff import ours
from cel_diff.answers import Answer
from cel_diff.campaign import Tally, compared, parsed, run, run_mutated
from cel_diff.contexts import Context
from cel_diff.generator import generated
from cel_diff.known_differences import DIFFERENCES, EXAMPLES, Difference, known
from cel_diff.reference import Reference, is_installed, question

CEL_PAGE = Path(__file__).parent.parent / "docs" / "cel.md"
EXPRESSIONS = 10_000
TEXTS = 2_000

Figures = Callable[[str, object], None]


@pytest.fixture
def reference() -> Iterator[Reference]:
    if not is_installed():
        pytest.skip("cel-expr-python is not installed: it has no wheel for every platform")
    with Reference() as process:
        yield process


def seeds() -> list[object]:
    """The same as ever, and one that nobody has tried."""
    return [pytest.param(1, id="fixed seed"), pytest.param(None, id="fresh seed")]


def told(seed: int, tally: Tally) -> str:
    """What to read when it fails, with the way to see it again."""
    again = "PYTHONPATH=tests python -m cel_diff 1"
    return "\n".join(
        f"{each}\n  again:  {again} --seed {seed} --first {each.number}"
        for each in tally.unexplained
    )


@pytest.mark.parametrize("seed", seeds())
def test_expressions_come_to_what_googles_cel_says(
    reference: Reference, seed: int | None, record_property: Figures
) -> None:
    seed = seed or SystemRandom().randrange(10**6)
    tally = sum(run(reference, seed, range(EXPRESSIONS)), Tally())
    differing = tally.known.total()
    record_property(
        "figures",
        f"seed {seed}: {tally.values:,} values, {tally.errors:,} errors, {differing} known",
    )
    assert not tally.unexplained, told(seed, tally)
    assert tally.asked == EXPRESSIONS
    assert tally.values > 0.6 * EXPRESSIONS
    assert tally.refused < 0.05 * EXPRESSIONS


@pytest.mark.parametrize("seed", seeds())
def test_texts_with_mistakes_are_accepted_where_googles_parser_accepts_them(
    reference: Reference, seed: int | None, record_property: Figures
) -> None:
    seed = seed or SystemRandom().randrange(10**6)
    tally = sum(run_mutated(reference, seed, range(TEXTS)), Tally())
    record_property("figures", f"seed {seed}: {tally.agreed_refusals:,} of {TEXTS:,} refused")
    assert not tally.unexplained, told(seed, tally)
    assert tally.agreed_refusals > 0.2 * TEXTS
    assert tally.values > 0.05 * TEXTS


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda each: each.name)
def test_each_documented_difference_is_still_one(
    reference: Reference, difference: Difference
) -> None:
    asked = [(difference.example, EXAMPLES)]
    answers = [*compared(reference, asked), *parsed(reference, asked)]
    differing = [answer for answer in answers if not answer.agree]
    assert {known(answer) for answer in differing} == {difference.name}


def test_the_page_lists_the_same_differences() -> None:
    page = " ".join(CEL_PAGE.read_text().split())
    for each in DIFFERENCES:
        assert f"- **{each.name}**: {each.sentence}" in page, each.name
    assert len(re.findall(r"- \*\*", page)) == len(DIFFERENCES)


# The comparison itself


def test_a_wrong_answer_is_found_and_made_small(
    reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = ours.evaluated

    def mistaken(text: str, context: Context) -> Answer:
        answer = honest(text, context)
        is_wrong = "endsWith" in text and answer.kind == "value"
        return Answer("value", "wrong") if is_wrong else answer

    monkeypatch.setattr(ours, "evaluated", mistaken)
    tally = sum(run(reference, 1, range(300)), Tally())
    assert len(tally.unexplained) >= 3
    assert {each.least.text.replace("'", '"') for each in tally.unexplained} == {'"".endsWith("")'}


def test_the_reference_is_asked_on_when_it_dies_of_a_question(reference: Reference) -> None:
    deadly: dict[str, object] = {}
    first, broken, last = reference.ask([question("1", EXAMPLES), deadly, question("2", EXAMPLES)])
    assert (first, last) == (Answer("value", {"int": "1"}), Answer("value", {"int": "2"}))
    assert broken.kind == "broken"


def test_values_of_different_types_are_kept_apart(reference: Reference) -> None:
    texts = ["1", "1.0", "0.0", "-0.0", "true", "'1'", "[1]", "null", "0.0 / 0.0"]
    texts += ["duration('1s')", "timestamp('1970-01-01T00:00:00.000000001Z')"]
    answers = compared(reference, [(text, EXAMPLES) for text in texts])
    assert all(answer.agree for answer in answers)
    assert len({str(answer.ours) for answer in answers}) == len(texts)


def test_an_expression_of_a_seed_is_always_the_same() -> None:
    texts = [generated(7, number).text for number in range(200)]
    assert texts == [generated(7, number).text for number in range(200)]
    assert texts != [generated(8, number).text for number in range(200)]
    assert len(set(texts)) > 180
