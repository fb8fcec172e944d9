import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.policy.yaml_source import Data, read_source


def data(text: str) -> Data:
    source = read_source("a.yaml", text)
    assert source.problems == ()
    return source.data


def told(text: str) -> list[str]:
    source = read_source("a.yaml", text)
    assert source.data is None
    return [str(problem) for problem in source.problems]


def test_lists_and_mappings_become_tuples_and_dicts() -> None:
    assert data("a: [1, {b: c}]\nd:\n  - e\n") == {"a": (1, {"b": "c"}), "d": ("e",)}


@pytest.mark.parametrize("word", ["no", "yes", "on", "off", "1:30", "0777", "1_000", "1.5", "0x1F"])
def test_what_yaml_1_1_would_twist_stays_text(word: str) -> None:
    assert data(f"a: {word}") == {"a": word}


@pytest.mark.parametrize(
    ("word", "value"), [("true", True), ("False", False), ("null", None), ("~", None), ("-7", -7)]
)
def test_plain_words_and_numbers_are_themselves(word: str, value: object) -> None:
    assert data(f"a: {word}") == {"a": value}
    assert data(f"a: '{word}'") == {"a": word}


def test_a_number_too_long_to_be_meant_stays_text() -> None:
    assert data("a: " + "9" * 5000) == {"a": "9" * 5000}


def test_every_value_and_key_knows_its_place() -> None:
    source = read_source("a.yaml", "rules:\n  - id: x\n    tools: [a, bb]\n")
    assert source.values[("rules", 0, "tools", 1)] == (3, 16)
    assert source.keys[("rules", 0, "tools")] == (3, 5)
    assert str(source.at_value(("rules", 0, "why"), "m")) == "a.yaml:2:5: m"


def test_a_problem_carries_its_line() -> None:
    source = read_source("a.yaml", "a: 1\r\nb: two\r\n")
    assert source.at_value(("b",), "m").text == "b: two"


def test_a_key_that_is_there_twice_is_refused_at_its_second_place() -> None:
    assert told("a: 1\nb: {c: 1, c: 2}\n") == ["a.yaml:2:11: the key 'c' is here twice"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x 1", "anchors and aliases are not accepted"),
        ("a: !!python/object:os.system x", "tags are not accepted"),
        ("? [a]\n: 1", "a key must be a word"),
        ("a: [1", "not YAML"),
        ("a: 1\n---\nb: 2", "not YAML"),
        ("a: \x07", "the character U+0007 is not accepted"),
        ("[" * 100 + "]" * 100, "nested too deeply"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(text: str, message: str) -> None:
    assert message in told(text)[0]


def test_the_billion_laughs_are_refused_before_they_grow() -> None:
    lines = ["a0: &a0 ha"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    assert all("anchors and aliases" in line for line in told("\n".join(lines)))


@given(st.text(max_size=60) | st.text("ab:-[]{}&*!?|>'\"#\n \t,%@`", max_size=60))
def test_any_text_is_data_or_problems_with_a_place(text: str) -> None:
    source = read_source("a.yaml", text)
    assert source.data is None or source.problems == ()
    assert all(problem.line >= 1 and problem.column >= 1 for problem in source.problems)
