from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from review_desk import MAIL_RULE, REFUND_RULE, START, Desk, busy
from rich.cells import cell_len

from agentrt.approvals import Shown
from agentrt.audit import ApprovalRow, CallRow
from agentrt.run.state import Trail
from agentrt.tui.arming import Arming, Key, confirmation, reason_min
from agentrt.tui.call_lines import call_text, call_title, rule_text
from agentrt.tui.frame_lines import Standing, foot, head, help_lines
from agentrt.tui.lines import fit, fit_line, line, plain, ruled, width_of, wrap
from agentrt.tui.queue_lines import (
    call_row,
    column_heads,
    empty_queue,
    matches,
    outcome,
    queue_summary,
)
from agentrt.tui.run_lines import cost, run_facts, run_row
from agentrt.tui.steady import Steady
from agentrt.tui.theme import DARK_BACKGROUND, INKS, LIGHT_BACKGROUND, risk
from agentrt.tui.times import span_of

HOSTILE = "\x1b[2J\x1b]8;;http://evil\x07\u202eevil\u202c [red]\u200bmarkup[/red] \x00"

MELTING = "\u0301\U0001f3fb\u1161" * 40
"""Characters that join what stands before them: an accent, a skin tone, a vowel of a syllable."""

texts = st.text(max_size=80)
widths = st.integers(min_value=60, max_value=200)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def row(**fields: object) -> CallRow:
    values = {
        "id": "c_1",
        "run": "r_1",
        "turn": 1,
        "index": 0,
        "agent": "desk",
        "user": "mona",
        "simulated": False,
        "tool": "refund_payment",
        "status": "held",
        "effect": "irreversible",
        "verdict": "hold",
        "revision": 1,
        "rule": "refunds money.yaml:3",
        "severity": "high",
        "summary": "refund 950.00 EUR",
        "quorum": 1,
        "approvals": 0,
        "attempt": 0,
        "requested_at": START,
        "decided_at": START,
        "expires_at": START + 750_000,
        "finished_at": None,
    }
    return CallRow(**{**values, **fields})


def said(lines: object) -> str:
    return "\n".join(plain(of) for of in lines)  # type: ignore[attr-defined]


# --- lines ---------------------------------------------------------------------------------


@given(texts, st.integers(min_value=1, max_value=60))
def test_fitted_text_takes_exactly_its_cells(text: str, cells: int) -> None:
    assert cell_len(fit(text, cells)) == cells


@given(st.text(alphabet="ab 日本\u0301", min_size=1, max_size=60), st.integers(1, 30))
def test_text_that_was_cut_says_so(text: str, cells: int) -> None:
    fitted = fit(text, cells)
    assert fitted.startswith(text) or "…" in fitted


@given(st.text(alphabet="ab 日\n", max_size=200), st.integers(min_value=2, max_value=40))
def test_wrapping_leaves_nothing_out_and_never_overflows(text: str, cells: int) -> None:
    rows = wrap(text, cells)
    assert all(cell_len(row) <= cells for row in rows)
    assert "".join("".join(rows).split()) == "".join(text.split())


def test_a_long_gap_inside_a_text_is_kept_when_it_is_wrapped() -> None:
    assert "".join(wrap("a" + " " * 50 + "b", 20)).count(" ") == 50


@given(st.lists(texts, max_size=4), st.integers(min_value=1, max_value=60))
def test_a_fitted_line_takes_exactly_its_cells(pieces: list[str], cells: int) -> None:
    assert width_of(fit_line(line(*pieces), cells)) == cells


def test_a_title_fills_the_rule() -> None:
    assert plain(ruled(line("call"), 20)) == "── call ────────────"


def test_durations_have_two_units() -> None:
    assert [span_of(ms) for ms in (-5, 61_000, 3_600_000 * 3, 86_400_000 * 2)] == [
        "00:00",
        "01:01",
        "3h 00m",
        "2d 00h",
    ]


# --- the queue -----------------------------------------------------------------------------


@given(texts, texts, texts, widths)
@example(MELTING, MELTING, MELTING, 80)
def test_a_row_of_the_queue_is_as_wide_as_the_screen_whatever_it_says(
    tool: str, summary: str, agent: str, width: int
) -> None:
    drawn = call_row(row(tool=tool, summary=summary, agent=agent), now=START, width=width)
    assert width_of(drawn) == width


def test_a_row_says_risk_time_left_tool_effect_agent_rule_and_quorum() -> None:
    text = plain(call_row(row(), now=START, width=120))
    for part in ("!  HIGH", "12:30", "refund_payment", "950.00 EUR", "desk", "refunds:3", "0/1"):
        assert part in text


def test_eighty_columns_keep_risk_time_tool_effect_and_quorum() -> None:
    text = plain(call_row(row(), now=START, width=80))
    for part in ("!  HIGH", "12:30", "refund_payment", "refund 950.00 EUR", "0/1"):
        assert part in text


def test_a_severity_that_nobody_knows_looks_critical() -> None:
    assert risk("harmless") == risk(None) == risk("critical")


def test_a_call_whose_time_is_over_says_so() -> None:
    assert "over" in plain(call_row(row(expires_at=START), now=START, width=80))


def test_a_call_without_a_rule_is_held_by_default() -> None:
    assert "by default" in plain(call_row(row(rule=None), now=START, width=120))


@pytest.mark.parametrize(
    ("status", "verdict", "text"),
    [
        ("approved", "approve", "approved by lee"),
        ("finished", "approve", "approved by lee, finished"),
        ("rejected", "reject", "rejected by lee"),
    ],
)
def test_a_decided_call_says_by_whom(status: str, verdict: str, text: str) -> None:
    last = ApprovalRow(
        run="r_1", seq=5, at=START, call="c_1", verdict=verdict, by="lee", reason="", key="k"
    )
    assert outcome(row(status=status), [last]) == text
    assert text in plain(call_row(row(), now=START, width=80, outcome=text))


def test_an_expired_call_has_no_decider() -> None:
    assert outcome(row(status="expired"), []) == "expired"


def test_the_summary_counts_each_risk_and_what_waits_above() -> None:
    rows = [row(id="c_1"), row(id="c_2", severity="low")]
    text = plain(queue_summary(rows, newer=2, now=START, width=100))
    for part in ("2 held", "! HIGH 1", ". LOW 1", "!! CRIT 0", "12:30", "2 newer above   . merge"):
        assert part in text


def test_an_empty_queue_says_what_would_fill_it_and_what_to_do() -> None:
    text = said(empty_queue(filtered="", last=(START, "was approved by ana"), now=START + 60_000))
    assert "No held calls" in text
    assert "approved by ana, 01:00 ago" in text
    assert "agentrt run" in text


def test_a_filter_without_a_match_tells_how_to_end_it() -> None:
    assert "esc" in said(empty_queue(filtered="zzz", last=None, now=START))


def test_a_filter_wants_every_word() -> None:
    assert matches(row(), "refund desk")
    assert not matches(row(), "refund nobody")


# --- the call ------------------------------------------------------------------------------


def shown(desk: Desk, call: str) -> Shown:
    return desk.queue.view(call)


def test_the_call_says_why_what_whole_arguments_who_and_what_led_here(desk: Desk) -> None:
    call = shown(desk, busy(desk))
    policy = desk.store.bundle(desk.bundle)
    text = said(call_text(call, policy=policy, may=None, width=120).lines)
    for part in (
        "refunds   money.yaml:3",
        "Money that has left does not come back.",
        "refund 950.00 EUR to cus_0192 (li_82)",
        "NOT REVERSIBLE",
        "3 fields, no hidden characters",
        '"amount_cents": 95000',
        call.call.arguments_digest[:-6],
        "mona, stated asked the agent desk",
        "I was charged twice for order 4417",
        'called   find_charges {"order": 4417}',
        "got      find_charges: li_81 950.00 EUR",
        "said     The ledger shows two charges.",
        "0 of 1 needed by support-lead",
        "counts as rejected",
        "decide: hold",
    ):
        assert part in text, part
    assert "called   refund_payment" not in text  # it is the call itself


def test_the_end_of_the_arguments_is_where_they_end(desk: Desk) -> None:
    drawn = call_text(shown(desk, busy(desk)), policy=None, may=None, width=100)
    assert plain(drawn.lines[drawn.arguments_end]).strip() == "}"


def test_hostile_arguments_are_spelt_out_and_counted(desk: Desk) -> None:
    call = desk.hold(
        9, "send_mail", {"to": HOSTILE}, preview=HOSTILE, prompt=HOSTILE, reason=HOSTILE
    )
    text = said(call_text(shown(desk, call), policy=None, may=None, width=120).lines)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"\u202e" in text
    assert "[red]" in text
    assert "hidden characters, spelt out" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_of_a_call_is_wider_than_the_screen(desk: Desk, width: int) -> None:
    wide = {"note": "日本語" * 80, "nested": {"list": ["x" * 500, 1.5, None]}}
    call = desk.hold(9, "send_mail", wide, preview="見" * 300)
    view = shown(desk, call)
    for of in call_text(view, policy=None, may="no " * 90, width=width).lines:
        assert width_of(of) <= width
    assert width_of(call_title(view, now=START, width=width, more=True)) == width


def test_arguments_are_never_cut(desk: Desk) -> None:
    call = desk.hold(9, "write_file", {"text": "0123456789" * 2_000})
    text = said(call_text(shown(desk, call), policy=None, may=None, width=80).lines)
    assert "".join(text.split()).count("0123456789") == 2_000


def test_a_call_of_a_follow_up_names_the_run_before_and_shows_its_own_part(desk: Desk) -> None:
    call = shown(desk, busy(desk))
    said_before = [b'{"role":"assistant","content":[{"type":"text","text":"Long ago."}]}']
    run = replace(
        call.run,
        parent="r_before",
        inherited=1,
        messages=Trail([*said_before, *call.run.messages]),
    )
    follow_up = replace(call, run=run)
    text = said(call_text(follow_up, policy=None, may=None, width=120).lines)
    assert "it follows the run r_before" in text
    assert "Long ago." not in text
    assert 'called   find_charges {"order": 4417}' in text


def test_who_may_not_decide_is_told_why(desk: Desk) -> None:
    call = shown(desk, busy(desk))
    text = said(call_text(call, policy=None, may="ana lacks the role", width=100).lines)
    assert "not decide: ana lacks the role" in text


def test_the_text_of_a_rule_ends_where_the_next_one_begins() -> None:
    text = "rules:\n  - id: a\n    why: x\n\n  - id: b\n    why: y\n"
    assert rule_text(text, 2) == ["  - id: a", "    why: x"]
    assert rule_text(text, 5) == ["  - id: b", "    why: y"]
    assert rule_text(text, 99) == []


# --- runs ----------------------------------------------------------------------------------


def test_a_simulated_run_is_not_said_to_have_cost_anything() -> None:
    assert cost(Decimal("0.01"), unknown=True, simulated=True) == "simulated"
    assert cost(Decimal("0.01"), unknown=True, simulated=False) == "$0.0100 + ?"


@given(texts, texts, widths)
@example(MELTING, MELTING, 80)
def test_a_row_of_the_runs_is_as_wide_as_the_screen(agent: str, prompt: str, width: int) -> None:
    from agentrt.audit import RunRow

    drawn = run_row(
        RunRow(
            id="r_1",
            head_seq=1,
            head_hash=b"",
            head_at=START,
            status="waiting",
            agent=agent,
            model="m",
            environment="e",
            simulated=False,
            user=None,
            prompt=prompt,
            turn=1,
            held=1,
            in_doubt=0,
            cost_usd="0.0042",
            cost_unknown=True,
            started_at=START,
        ),
        now=START,
        width=width,
    )
    assert width_of(drawn) == width
    assert "$0.0042 +" in plain(drawn)  # an unknown price is not hidden


def test_a_run_is_told_in_order_with_calls_decisions_and_results(desk: Desk) -> None:
    call = busy(desk)
    desk.reject(call, key=desk.ana, reason="li_82 was credited already")
    records = desk.store.records(desk.store.find_call(call).run)
    facts = list(run_facts(records, width=120))
    assert [key for key, _lines in facts] == [str(record.seq) for record in records]
    text = said(of for _key, lines in facts for of in lines)
    order = (
        "mona (stated) asked the agent desk",
        "find_charges: attempt 1 came back",
        "refund_payment: policy decided: hold",
        "refund_payment: ana rejected it",
        "li_82 was credited already",
    )
    places = [text.index(part) for part in order]
    assert places == sorted(places)


# --- the list that does not move -----------------------------------------------------------


class Thing:
    def __init__(self, id: str) -> None:
        self.id = id


def things(ids: str) -> list[Thing]:
    return [Thing(name) for name in ids]


def ids(rows: object) -> str:
    return "".join(row.id for row in rows)  # type: ignore[attr-defined]


def test_what_is_newer_waits_above_the_cursor() -> None:
    view = Steady[Thing]().updated(things("bd")).moved("d").updated(things("abcde"))
    assert (ids(view.rows), ids(view.newer), view.selected) == ("bde", "ac", "d")


def test_merging_keeps_the_cursor_on_its_row() -> None:
    view = Steady[Thing]().updated(things("bd")).moved("d").merged(things("abcd"))
    assert (ids(view.rows), ids(view.newer), view.selected) == ("abcd", "", "d")


def test_a_row_that_is_gone_stays_under_the_cursor_until_it_moves() -> None:
    view = Steady[Thing]().updated(things("abc")).moved("b").updated(things("ac"))
    assert (ids(view.rows), view.gone, view.selected) == ("abc", {"b"}, "b")
    assert ids(view.moved("c").rows) == "ac"


@given(
    st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1).map(sorted),
    st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True).map(sorted), max_size=5),
    st.data(),
)
def test_an_update_never_moves_the_cursor(
    first: list[str], later: list[list[str]], data: st.DataObject
) -> None:
    chosen = data.draw(st.sampled_from(first))
    view = Steady[Thing]().updated(things("".join(first))).moved(chosen)
    place = ids(view.rows).index(chosen)
    for names in later:
        view = view.updated(things("".join(names)))
        assert view.selected == chosen
        assert ids(view.rows).index(chosen) == place
        assert set(names) <= set(ids(view.rows)) | set(ids(view.newer))


# --- arming --------------------------------------------------------------------------------


def test_a_call_arms_after_it_was_in_view_unchanged() -> None:
    arming = Arming().seeing("c_1", at=0)
    assert arming.why_not(at=0.5) is not None
    assert arming.why_not(at=0.6) is None
    assert arming.seeing("c_1", at=5).why_not(at=5) is None
    assert arming.seeing("c_2", at=5).why_not(at=5.5) is not None


def test_nothing_is_armed_without_the_focus_and_just_after_it() -> None:
    arming = Arming().seeing("c_1", at=0)
    assert arming.blurred().why_not(at=99) is not None
    assert arming.focused(at=10).why_not(at=10.2) is not None
    assert arming.focused(at=10).why_not(at=10.3) is None


def test_a_paste_disarms() -> None:
    arming = Arming().seeing("c_1", at=0).pasted(at=10)
    assert arming.why_not(at=10.1) is not None


def test_before_anything_was_in_view_nothing_is_armed() -> None:
    assert Arming().why_not(at=1e9) is not None


def test_a_key_held_down_counts_once_whatever_its_delay() -> None:
    key = Key().then("a", at=0)
    assert key.why_not is None
    for at in (0.5, 0.53, 0.56, 0.9):
        key = key.then("a", at=at)
        assert key.repeated
    assert not key.then("a", at=2).repeated


def test_keys_faster_than_fingers_are_a_paste() -> None:
    assert Key().then("x", at=1).then("enter", at=1.01).why_not is not None
    assert Key().then("x", at=1).then("enter", at=1.1).why_not is None


@pytest.mark.parametrize(
    ("severity", "verdict", "asked", "least"),
    [
        ("low", "approve", False, 0),
        ("medium", "approve", False, 0),
        ("medium", "approve", True, 1),
        ("medium", "reject", False, 1),
        ("high", "approve", False, 10),
        ("critical", "approve", False, 10),
        ("unheard of", "approve", False, 10),
    ],
)
def test_how_long_a_reason_must_be(
    desk: Desk, severity: str, verdict: str, asked: bool, least: int
) -> None:
    call = desk.hold(9, "pay", {}, severity=severity, reason_required=asked, rule=MAIL_RULE)
    assert reason_min([shown(desk, call)], verdict) == least


def test_only_the_approval_of_a_critical_call_is_confirmed(desk: Desk) -> None:
    critical = shown(desk, desk.hold(9, "pay", {}, severity="critical", quorum=2))
    high = shown(desk, desk.hold(10, "pay", {}, rule=REFUND_RULE))
    assert confirmation([critical], "approve") == critical.call.arguments_digest[-6:]
    assert confirmation([critical], "reject") == confirmation([high], "approve") == ""


# --- around the screens --------------------------------------------------------------------

LONG = (("a", "approve"), ("d", "reject"), *((f"k{n}", "does something") for n in range(20)))


@given(widths)
def test_the_foot_never_loses_decisions_or_help(width: int) -> None:
    text = plain(foot(LONG, width))
    assert text.endswith("^p commands  ? help ")
    assert "a approve  d reject" in text
    assert cell_len(text) == width


@given(texts, texts, widths, st.one_of(st.none(), st.floats(0, 1e6)))
def test_the_head_always_says_how_fresh_the_data_are(
    environment: str, reviewer: str, width: int, stale_s: float | None
) -> None:
    standing = Standing("approvals", 7, 3, environment, reviewer, stale_s, START)
    text = plain(head(standing, width))
    assert ("live" in text) if stale_s is None else (f"stale {int(stale_s)} s" in text)
    assert cell_len(text) == width


def test_every_key_of_the_app_is_in_the_help() -> None:
    from agentrt.tui import ReviewApp

    names = {"slash": "/", "full_stop": ".", "escape": "esc", "question_mark": "?"}
    text = said(help_lines(100))
    for binding in ReviewApp.BINDINGS:
        key = names.get(binding.key, binding.key)  # type: ignore[union-attr]
        assert key == "?" or f" {key} " in text


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", INKS)
def test_every_colour_can_be_read_in_both_themes(name: str) -> None:
    """WCAG 2.2, success criterion 1.4.3: 4.5:1."""
    for colour, background in (
        (INKS[name].dark, DARK_BACKGROUND),
        (INKS[name].light, LIGHT_BACKGROUND),
    ):
        light, dark = sorted((luminance(colour), luminance(background)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_the_screens_need_neither_the_claude_sdk_nor_a_web_server() -> None:
    code = "import sys, agentrt.tui; print(*sorted(set(sys.modules) & {'anthropic', 'starlette'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_presenters_need_no_terminal_library() -> None:
    code = (
        "import sys, importlib.util as u, types\n"
        "import pathlib, agentrt\n"
        "package = types.ModuleType('agentrt.tui')\n"
        "package.__path__ = [str(pathlib.Path(agentrt.__file__).parent / 'tui')]\n"
        "sys.modules['agentrt.tui'] = package\n"
        "import agentrt.tui.queue_lines, agentrt.tui.call_lines, agentrt.tui.run_lines\n"
        "import agentrt.tui.frame_lines, agentrt.tui.steady, agentrt.tui.arming\n"
        "print('textual' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_heads_stand_above_their_columns() -> None:
    for width in (80, 120):
        heads = plain(column_heads(width))
        text = plain(call_row(row(), now=START, width=width))
        assert heads.index("WHAT IT WILL DO") == text.index("refund 950.00")
        assert heads.index("STATE") == text.index("0/1")
