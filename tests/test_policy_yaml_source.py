import unicodedata
from collections.abc import Iterator

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agentrt.policy import yaml_source
from agentrt.policy.yaml_source import Data, Source, read_source

LOADERS = [yaml.BaseLoader, *([yaml.CBaseLoader] if yaml.__with_libyaml__ else [])]


@pytest.fixture(autouse=True, params=LOADERS, ids=lambda loader: loader.__name__)
def _each_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_source, "_LOADER", request.param)


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
        ("a: \ud800", "the character U+D800 is not accepted"),
        ("[" * 100 + "]" * 100, "nested too deeply"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(text: str, message: str) -> None:
    assert message in told(text)[0]


def test_the_billion_laughs_are_refused_before_they_grow() -> None:
    lines = ["a0: &a0 ha"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    assert all("anchors and aliases" in line for line in told("\n".join(lines)))


def test_anchors_and_tags_are_refused_wherever_they_are() -> None:
    text = "&a a: {&b b: [&c c]}\n!d e: *a\n*a : f\n? [&g g]\n: h\n"
    assert [problem.split(":")[1:3] for problem in told(text)] == [
        *(["1", "1"], ["1", "8"], ["1", "15"], ["2", "1"], ["2", "7"], ["3", "1"]),
        *(["3", "1"], ["4", "3"]),
    ]


def test_a_second_document_is_refused_where_it_begins() -> None:
    assert told("a: 1\n---\nb: 2\n") == [
        "a.yaml:2:1: not YAML: a file is one document, and here begins another"
    ]


def test_what_the_file_ends_too_early_for_is_shown_at_its_end() -> None:
    assert told("a: 1\nb: [c\n\n")[0].startswith("a.yaml:2:6: not YAML: ")


def test_what_is_nested_too_deeply_is_told_once_and_quickly() -> None:
    assert told("a: " + "[" * 100_000) == ["a.yaml:1:15: nested too deeply"]


def test_problems_before_a_mistake_of_syntax_are_told_with_it() -> None:
    first, second = told("a: 1\na: 2\nb: [1\n")
    assert "the key 'a' is here twice" in first
    assert "not YAML" in second


def test_a_byte_order_mark_moves_nothing() -> None:
    source = read_source("a.yaml", "\ufeffab: cd")
    assert source.data == {"ab": "cd"}
    assert source.place_in(("ab",), 1) == (1, 6)


@given(st.text(max_size=60) | st.text("ab:-[]{}&*!?|>'\"#\n \t,%@`", max_size=60))
def test_any_text_is_data_or_problems_with_a_place(text: str) -> None:
    source = read_source("a.yaml", text)
    assert source.data is None or source.problems == ()
    assert all(problem.line >= 1 and problem.column >= 1 for problem in source.problems)


def test_every_character_is_read_or_refused_by_name() -> None:
    for code in [*range(0x2100), *range(0xD7FF, 0xE001), *range(0xFE00, 0x10001), 0x10FFFF]:
        problems = read_source("a.yaml", f'a: "{chr(code)}"').problems
        refused = bool(problems) and f"U+{code:04X} is not accepted" in problems[0].message
        assert refused == (chr(code) not in "\t\n\r\x85" and not _printable(chr(code))), hex(code)


def _printable(character: str) -> bool:
    # YAML 1.1 calls a character printable by its number, whether or not it is assigned.
    return unicodedata.category(character) not in ("Cc", "Cs") and character not in "\ufffe\uffff"


# --- where the characters of a text stand ---------------------------------------------------

FOLDED = """\
a: args.cents >
    2000 &&
    args.to ==

    'x'
b: 'it''s
  so'
c: "x\\u0041\\
    y"
d: |
  one

    two
e: >-
  one
  two
    more
"""


@pytest.mark.parametrize(
    ("key", "text", "place"),
    [
        *(("a", "args.cents", (1, 4)), ("a", "2000", (2, 5)), ("a", " 2000", (1, 16))),
        *(("a", "args.to", (3, 5)), ("a", "'x'", (5, 5)), ("b", "'s", (6, 7)), ("b", "so", (7, 3))),
        *(("c", "A", (8, 6)), ("c", "y", (9, 5)), ("d", "one", (11, 3)), ("d", "two", (13, 5))),
        *(("e", "one", (15, 3)), ("e", "two", (16, 3)), ("e", "more", (17, 5))),
    ],
)
def test_a_place_inside_a_text_is_found_in_every_style(
    key: str, text: str, place: tuple[int, int]
) -> None:
    source = read_source("a.yaml", FOLDED)
    value = text_at(source, key)
    assert source.place_in((key,), value.index(text)) == place


def test_the_end_of_a_text_is_just_behind_its_last_character() -> None:
    source = read_source("a.yaml", "a: 'bc'")
    assert source.place_in(("a",), 2) == (1, 7)


def test_a_place_that_cannot_be_said_is_that_of_the_value() -> None:
    source = read_source("a.yaml", "a: {b: cd, e: ''}")
    assert source.place_in(("a", "b"), 9) == (1, 8)
    assert source.place_in(("a", "b"), -1) == (1, 8)
    assert source.place_in(("a", "e"), 0) == (1, 15)
    assert source.place_in(("a",), 0) == (1, 4)
    assert source.place_in(("a", "x", "y"), 3) == (1, 4)


def text_at(source: Source, key: str) -> str:
    assert source.problems == ()
    assert isinstance(source.data, dict)
    value = source.data[key]
    assert isinstance(value, str)
    return value


BREAKS = st.sampled_from(["\n", "\r\n", "\n\n", "\n \n\n", "\n"])
WORDS = st.text("abé😀&>=().", min_size=1, max_size=4)


@st.composite
def flow_scalars(draw: st.DrawFn) -> str:
    """A scalar written plain, in single or in double quotes, over several lines."""
    mark = draw(st.sampled_from(["", "'", '"']))
    escapes = {
        "": [],
        "'": ["''"],
        '"': ["\\n", "\\x41", "\\u263a", "\\U0001F600", '\\"', "\\\n  "],
    }
    words = WORDS | st.sampled_from(escapes[mark]) if escapes[mark] else WORDS
    glue = st.sampled_from([" ", "  ", *(["\t "] if mark else [])]) | BREAKS.map(
        lambda breaks: breaks + "   "
    )
    text = "x" + "".join(draw(words) + draw(glue) for _ in range(draw(st.integers(0, 6)))) + "y"
    return f"{mark}{text}{mark}"


@st.composite
def block_scalars(draw: st.DrawFn) -> str:
    """A literal or folded scalar with blank and further indented lines."""
    indented = draw(st.booleans())
    header = draw(st.sampled_from("|>")) + draw(st.sampled_from(["", "+", "-"]))
    header += "2" if indented else ""
    first = draw(st.sampled_from(["", "  "])) if indented else ""
    lines = st.lists(
        st.sampled_from(["", "  ", "a b", "c", "é😀 d ", "  deeper", "\ttab"]), max_size=7
    )
    shown = [f"  {first}start", *(f"  {line}" if line else "" for line in draw(lines))]
    return f"{header}\n" + "\n".join(shown)


@given(flow_scalars() | block_scalars(), st.sampled_from(["", "\n", "\nz: 1\n", "\n\n# c\nz: 1"]))
def test_the_place_of_a_character_holds_that_character(scalar: str, after: str) -> None:
    source = read_source("a.yaml", f"a: 1\nb: {scalar}{after}")
    value = text_at(source, "b")
    places = [source.place_in(("b",), offset) for offset in range(len(value))]
    assert places == sorted(places)
    for character, (line, column) in zip(value, places, strict=True):
        shown = f"{source.lines[line - 1]}\n"[column - 1]
        assert shown == character or shown == "\\" or (shown, character) in FOLDS, (line, column)
    assert len(set(places)) == len(places)


# A line break and the blanks before it become one blank, or nothing before other line breaks.
FOLDS = {("\n", " "), (" ", "\n"), ("\t", "\n"), ("\t", " ")}


def test_a_thousand_rules_are_read_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[str] = []

    def parse(text: str, Loader: type[yaml.BaseLoader]) -> Iterator[yaml.Event]:  # noqa: N803
        passes.append(text)
        return parsed(text, Loader=Loader)

    parsed = yaml.parse
    monkeypatch.setattr(yaml_source.yaml, "parse", parse)
    text = "rules:\n" + "".join(f"  - id: r{i}\n    tools: [a]\n" for i in range(1000))
    source = read_source("a.yaml", text)
    assert passes == [text]
    assert source.line_of(("rules", 999)) == 2000
