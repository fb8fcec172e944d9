import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrt.visible import hidden, visible

# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt: shown as nothing at all.
IGNORABLE = (
    *(0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFEFF, 0xFFA0),
    *range(0x180B, 0x1810),
    *range(0x200B, 0x2010),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    *range(0xFE00, 0xFE10),
    *range(0xFFF0, 0xFFF9),
    *range(0x1BCA0, 0x1BCA4),
    *range(0x1D173, 0x1D17B),
    *range(0xE0000, 0xE1000),
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße, 東京 🙂", "Grüße, 東京 🙂"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\rb\tc\0", "a\\x0db\\x09c\\x00"),
        ("pay \u202eevil\u202c", "pay \\u202eevil\\u202c"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("\x85\x9b31m", "\\x85\\x9b31m"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("smuggled\U000e0101\ufe01", "smuggled\\U000e0101\\ufe01"),
        ("\ud800", "\\ud800"),
        ("line\u2028", "line\\u2028"),
    ],
)
def test_what_a_terminal_obeys_or_an_eye_misses_is_spelt_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_every_character_that_unicode_calls_ignorable_is_spelt_out() -> None:
    assert [hex(code) for code in IGNORABLE if visible(chr(code)) == chr(code)] == []


def test_every_control_and_format_character_there_is_gets_spelt_out() -> None:
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
            assert visible(chr(code)).isascii()


def test_line_feeds_stay_only_where_lines_are_shown() -> None:
    assert visible("a\nb") == "a\\x0ab"
    assert visible("a\nb\x1b", lines=True) == "a\nb\\x1b"


ANY = st.text(st.characters())


@given(ANY)
def test_what_was_made_visible_is_visible(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert hidden(shown) == 0


@given(ANY)
def test_hidden_counts_what_is_spelt_out(text: str) -> None:
    changed = sum(visible(character, lines=True) != character for character in text)
    assert hidden(text) == changed


@given(ANY)
def test_what_is_plain_stays_as_it_is(text: str) -> None:
    if hidden(text) == 0:
        assert visible(text, lines=True) == text
