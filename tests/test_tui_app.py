from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from review_desk import START, Desk, busy, use
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from agentrt.approvals import KeyFile, group_digest, make_key
from agentrt.errors import AgentrtError, ApprovalError, NotFound
from agentrt.tui import ReviewApp, run_app
from agentrt.tui.widgets import Bar, LineList, LineText

REASON = "li_82 is a duplicate"

NEVER_S = 3600
"""The stories say themselves when the app looks at the store."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


class Review:
    """A reviewer at the screens: keys, time, and what is to be read."""

    def __init__(self, desk: Desk, app: ReviewApp, pilot: Pilot[None]) -> None:
        self.desk, self.app, self.pilot = desk, app, pilot

    async def looks(self, seconds: float = 1.0) -> None:
        """Time passes, and the app looks at the store."""
        self.desk.clock.pass_(seconds)
        self.app.poll()
        await self.pilot.pause()

    async def presses(self, *keys: str, every: float = 1.0) -> None:
        for key in keys:
            self.desk.clock.pass_(every)
            await self.pilot.press(key)
        await self.pilot.pause()

    async def writes(self, text: str) -> None:
        keys = {" ": "space", "_": "underscore"}
        await self.presses(*(keys.get(letter, letter) for letter in text), every=0.1)

    async def commits(self) -> None:
        await self.presses("enter")
        await self.app.workers.wait_for_complete()
        await self.looks()

    def says(self, id: str) -> str:
        widget = self.app.query_one(f"#{id}")
        assert isinstance(widget, Bar | LineList | LineText)
        return widget.text

    @property
    def selected(self) -> str | None:
        return self.app.query_one("#queue", LineList).selected

    @property
    def focused(self) -> str | None:
        return self.app.focused.id if self.app.focused else None


@asynccontextmanager
async def review(
    desk: Desk,
    *,
    size: tuple[int, int] = (120, 36),
    signer: Any = "ana",
    **options: Any,
) -> AsyncIterator[Review]:
    key = desk.ana if signer == "ana" else signer
    app = ReviewApp(
        desk.store, desk.queue, key, now=desk.clock.monotonic, poll_s=NEVER_S, **options
    )
    async with app.run_test(size=size) as pilot:
        at_screens = Review(desk, app, pilot)
        await at_screens.looks()
        yield at_screens


# --- decide --------------------------------------------------------------------------------


async def test_a_call_is_approved_with_a_reason_and_a_signature(desk: Desk) -> None:
    call = desk.hold(1, "refund_payment", {"amount_cents": 95000})
    async with review(desk) as ana:
        await ana.presses("a")
        await ana.writes(REASON)
        await ana.commits()
        assert desk.status(call) == "approved"
        assert "approved: recorded with your signature" in ana.says("status")
        assert "approved by ana" in ana.says("queue")
    [said] = desk.store.approvals(call)
    assert (said.verdict, said.by, said.reason) == ("approve", "ana", REASON)


async def test_a_warning_of_the_store_stands_above_everything(desk: Desk) -> None:
    async with review(desk, warning="The store was cut or rolled back.") as ana:
        assert ana.says("warning") == "The store was cut or rolled back."
    async with review(desk) as ana:
        assert ana.says("warning") == ""


async def test_a_call_is_rejected_with_the_reason_that_claude_is_told(desk: Desk) -> None:
    call = desk.hold(1, "write_file", {"path": "a"}, severity="low")
    async with review(desk) as ana:
        await ana.presses("d")
        await ana.commits()
        assert desk.status(call) == "held"
        assert "a reason of at least 1" in ana.says("status")
        await ana.writes("not there")
        await ana.commits()
    assert desk.status(call) == "rejected"
    assert "not there" in desk.store.load("r_0000000000000001").past_calls.since(0)[0].result


async def test_a_risky_call_is_not_approved_without_a_real_reason(desk: Desk) -> None:
    call = desk.hold(1, "refund_payment", {})
    async with review(desk) as ana:
        await ana.presses("a")
        await ana.writes("fine")
        await ana.commits()
        assert desk.status(call) == "held"
        assert "at least 10 characters" in ana.says("status")


async def test_a_call_of_low_risk_needs_no_reason(desk: Desk) -> None:
    call = desk.hold(1, "write_file", {}, severity="low")
    async with review(desk) as ana:
        await ana.presses("a")
        await ana.commits()
    assert desk.status(call) == "approved"


async def test_a_critical_call_is_approved_by_retyping_the_end_of_its_digest(desk: Desk) -> None:
    call = desk.hold(1, "execute_sql", {"sql": "DELETE"}, severity="critical", quorum=2)
    end = desk.queue.view(call).call.arguments_digest[-6:]
    async with review(desk) as ana:
        await ana.presses("a")
        await ana.writes(REASON)
        await ana.commits()
        assert "last 6 characters of the digest" in ana.says("status")
        assert desk.store.approvals(call) == []
        await ana.writes(end)
        await ana.commits()
        assert "1/2" in ana.says("queue")
        assert "ana" in ana.says("call")
    assert desk.status(call) == "held"
    desk.approve(call, key=desk.lee)
    assert desk.status(call) == "approved"


async def test_escape_leaves_the_form_without_a_decision(desk: Desk) -> None:
    call = desk.hold(1, "write_file", {}, severity="low")
    async with review(desk) as ana:
        await ana.presses("a", "escape", "enter", "escape")
        assert not ana.app.form.is_open
    assert desk.status(call) == "held"


async def test_a_decision_is_bound_to_what_was_shown(desk: Desk) -> None:
    """Between enter and the append another revision lands: the queue refuses, in words."""
    call = desk.hold(1, "write_file", {"path": "a"}, severity="low")
    async with review(desk) as ana:
        await ana.presses("a")
        run = desk.elsewhere.load("r_0000000000000001")
        desk.append(run, desk.decided(run, {"path": "b"}, severity="low", revision=2))
        await ana.presses("enter")
        await ana.app.workers.wait_for_complete()
        assert "has changed since it was shown" in ana.says("status")
    assert desk.status(call) == "held"
    assert desk.store.approvals(call) == []


# --- calls that belong together ------------------------------------------------------------

REFUNDS = tuple({"amount_cents": cents} for cents in (100, 200, 300))


@pytest.mark.parametrize(("key", "status"), [("A", "approved"), ("D", "rejected")])
async def test_calls_that_belong_together_are_decided_with_one_signature(
    desk: Desk, key: str, status: str
) -> None:
    calls = desk.hold_together(1, *REFUNDS)
    async with review(desk, size=(120, 60)) as ana:
        assert "one of 3 calls that belong together" in ana.says("call")
        assert "A D all that belong together" in ana.says("foot")
        await ana.presses(key)
        assert f"ALL 3 CALLS that belong together with {calls[0]}" in ana.says("form-title")
        await ana.writes(REASON)
        await ana.commits()
        assert [desk.status(call) for call in calls] == [status] * 3
        assert f"3 calls {status}: recorded" in ana.says("status")
    events = [record.event for record in desk.store.records("r_0000000000000001")[-3:]]
    assert len({getattr(event, "statement_digest", None) for event in events} - {None}) == 1


async def test_the_small_letters_decide_only_the_call_in_view(desk: Desk) -> None:
    calls = desk.hold_together(1, *REFUNDS)
    async with review(desk) as ana:
        await ana.presses("a")
        await ana.writes(REASON)
        await ana.commits()
    assert [desk.status(call) for call in calls] == ["approved", "held", "held"]


async def test_all_are_decided_only_once_the_arguments_of_all_were_on_the_screen(
    desk: Desk,
) -> None:
    calls = desk.hold_together(1, *({f"field_{n}": n for n in range(9)} for _ in range(3)))
    async with review(desk, size=(80, 24)) as ana:
        await ana.presses("A")
        assert not ana.app.form.is_open
        assert "not all of the calls have been shown" in ana.says("status")
        await ana.presses("tab", "G", "A")
        assert ana.app.form.is_open
        for call in calls[1:]:
            assert call in ana.says("call")
        assert ana.says("call").count('"field_8": 8') == 3


async def test_all_of_a_call_that_is_alone_says_so(desk: Desk) -> None:
    desk.hold(1, "refund_payment", {})
    async with review(desk) as ana:
        await ana.presses("A")
        assert not ana.app.form.is_open
        assert "belongs together with no other" in ana.says("status")
        assert "A D" not in ana.says("foot")


@pytest.mark.parametrize("verdict", ["approve", "reject"])
async def test_the_form_for_all_goes_when_one_of_them_is_decided_elsewhere(
    desk: Desk, verdict: str
) -> None:
    calls = desk.hold_together(1, *REFUNDS)
    async with review(desk, size=(120, 60)) as ana:
        await ana.presses("A")
        assert ana.app.form.is_open
        (desk.approve if verdict == "approve" else desk.reject)(calls[2], key=desk.lee)
        await ana.looks()
        assert not ana.app.form.is_open
        assert "Nothing was sent" in ana.says("status")
        assert "one of 2 calls that belong together" in ana.says("call")
    assert [desk.status(call) for call in calls[:2]] == ["held", "held"]


async def test_a_group_with_a_critical_call_asks_for_the_end_of_the_digest_of_all(
    desk: Desk,
) -> None:
    calls = desk.hold_together(1, *REFUNDS, severity="critical", quorum=2)
    digest = group_digest(desk.queue.group(calls[0]))
    async with review(desk, size=(120, 60)) as ana:
        assert f" {digest[-6:]}" in ana.says("call")
        await ana.presses("A")
        await ana.writes(REASON)
        await ana.presses("tab")
        await ana.writes(digest[-6:])
        await ana.commits()
        assert "1/2" in ana.says("queue")
    assert [len(desk.store.approvals(call)) for call in calls] == [1, 1, 1]


# --- armed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["a", "d", "enter", "space", "y"])
async def test_thirty_repeats_of_a_held_key_decide_nothing(desk: Desk, key: str) -> None:
    calls = [desk.hold(n, "write_file", {"n": n}, severity="low") for n in range(3)]
    async with review(desk) as ana:
        await ana.presses(key, every=2)
        await ana.presses(key, every=0.5)
        await ana.presses(*[key] * 30, every=0.033)
        await ana.app.workers.wait_for_complete()
    assert [desk.status(call) for call in calls] == ["held"] * 3


async def test_enter_held_in_the_form_does_not_commit(desk: Desk) -> None:
    call = desk.hold(1, "write_file", {}, severity="low")
    async with review(desk) as ana:
        await ana.presses("a")
        await ana.presses("enter", every=0.3)  # too early
        await ana.presses("enter", every=0.5)  # the keyboard begins to repeat
        await ana.presses(*["enter"] * 30, every=0.033)
        await ana.app.workers.wait_for_complete()
        assert desk.status(call) == "held"
        await ana.commits()
    assert desk.status(call) == "approved"


async def test_the_key_that_opened_the_form_writes_nothing_while_it_is_held(desk: Desk) -> None:
    desk.hold(1, "write_file", {}, severity="low")
    async with review(desk) as ana:
        await ana.presses("a")
        await ana.presses("a", every=0.5)
        await ana.presses(*["a"] * 10, every=0.033)
        assert ana.app.query_one("#reason", Input).value == ""
        await ana.writes("was bad")
        assert ana.app.query_one("#reason", Input).value == "was bad"


async def test_enter_on_the_list_opens_and_never_decides(desk: Desk) -> None:
    call = desk.hold(1, "write_file", {}, severity="low")
    async with review(desk) as ana:
        await ana.presses("enter")
        assert ana.app.pane == "runs"
        await ana.presses("enter", "enter")
        await ana.presses("escape", "escape")
        assert ana.app.pane == "approvals"
    assert desk.status(call) == "held"


async def test_a_key_before_the_call_was_in_view_does_not_count(desk: Desk) -> None:
    desk.hold(1, "write_file", {}, severity="low")
    desk.hold(2, "write_file", {}, severity="low")
    async with review(desk) as ana:
        await ana.presses("j")
        await ana.presses("a", every=0.3)
        assert not ana.app.form.is_open
        assert "0.6 s" in ana.says("status")
        await ana.presses("a")
        assert ana.app.form.is_open


async def test_pasted_text_decides_nothing(desk: Desk) -> None:
    call = desk.hold(1, "write_file", {}, severity="low")
    async with review(desk) as ana:
        ana.app.post_message(events.Paste("a\nyes please do it\n"))
        await ana.pilot.pause()
        assert not ana.app.form.is_open
        await ana.presses("a", every=0.1)
        assert not ana.app.form.is_open
        await ana.presses("a")
        ana.app.post_message(events.Paste("pasted reason\n"))
        await ana.pilot.pause()
        await ana.presses("enter", every=0.3)
        await ana.app.workers.wait_for_complete()
        assert desk.status(call) == "held"


async def test_keys_that_come_in_one_burst_decide_nothing(desk: Desk) -> None:
    """A paste in a terminal that does not mark pastes."""
    call = desk.hold(1, "write_file", {}, severity="low")
    async with review(desk) as ana:
        await ana.presses("a", "o", "k", "enter", every=0.001)
        assert desk.status(call) == "held"


async def test_the_digest_cannot_be_pasted(desk: Desk) -> None:
    call = desk.hold(1, "execute_sql", {}, severity="critical", quorum=2)
    async with review(desk) as ana:
        await ana.presses("a", "tab")
        ana.app.post_message(events.Paste(desk.queue.view(call).call.arguments_digest[-6:]))
        await ana.pilot.pause()
        assert ana.app.query_one("#confirm", Input).value == ""


async def test_a_terminal_without_the_focus_decides_nothing(desk: Desk) -> None:
    desk.hold(1, "write_file", {}, severity="low")
    async with review(desk) as ana:
        ana.app.post_message(events.AppBlur())
        await ana.presses("a")
        assert not ana.app.form.is_open
        ana.app.post_message(events.AppFocus())
        await ana.pilot.pause()
        await ana.presses("a", every=0.9)
        assert ana.app.form.is_open


async def test_high_risk_needs_the_last_line_of_the_arguments_on_the_screen(desk: Desk) -> None:
    desk.hold(1, "refund_payment", {f"field_{n}": n for n in range(60)})
    async with review(desk, size=(80, 24)) as ana:
        await ana.presses("a")
        assert not ana.app.form.is_open
        assert "last line of the arguments" in ana.says("status")
        await ana.presses("tab", "G", "a")
        assert ana.app.form.is_open


async def test_a_changed_call_has_to_be_looked_at_anew(desk: Desk) -> None:
    desk.hold(1, "write_file", {"path": "a"}, severity="low")
    async with review(desk) as ana:
        await ana.looks(5)
        run = desk.elsewhere.load("r_0000000000000001")
        desk.append(run, desk.decided(run, {"path": "changed"}, severity="low", revision=2))
        await ana.looks(0.1)
        assert "changed" in ana.says("call")
        await ana.presses("a", every=0.3)
        assert not ana.app.form.is_open


async def test_the_palette_in_front_disarms(desk: Desk) -> None:
    desk.hold(1, "write_file", {}, severity="low")
    async with review(desk) as ana:
        await ana.presses("ctrl+p")
        await ana.looks()
        await ana.presses("escape")
        await ana.presses("a", every=0.2)
        assert not ana.app.form.is_open


# --- live ----------------------------------------------------------------------------------


async def test_a_new_call_appears_without_a_key(desk: Desk) -> None:
    async with review(desk) as ana:
        assert "No held calls" in ana.says("queue")
        call = desk.hold(1, "refund_payment", {})
        await ana.looks()
        assert ana.selected == call
        assert "refund_payment" in ana.says("queue")
        assert "1 Approvals 1" in ana.says("head")


async def test_a_riskier_call_waits_above_and_the_cursor_stays(desk: Desk) -> None:
    first = desk.hold(1, "write_file", {}, severity="low")
    async with review(desk) as ana:
        second = desk.hold(2, "execute_sql", {}, severity="critical", quorum=2)
        await ana.looks()
        assert ana.selected == first
        assert "execute_sql" not in ana.says("queue")
        assert "1 newer above   . merge" in ana.says("queue-summary")
        await ana.presses("full_stop")
        assert ana.selected == first
        assert ana.says("queue").index("execute_sql") < ana.says("queue").index("write_file")
        await ana.presses("k")
        assert ana.selected == second


async def test_a_call_decided_elsewhere_stays_and_keys_are_off(desk: Desk) -> None:
    call = desk.hold(1, "write_file", {}, severity="low")
    async with review(desk) as ana:
        desk.approve(call, key=desk.lee)
        await ana.looks()
        assert ana.selected == call
        assert "approved by lee" in ana.says("queue")
        await ana.presses("a")
        assert not ana.app.form.is_open
        assert "was approved already by lee" in ana.says("status")
        await ana.presses("full_stop")
        assert "No held calls" in ana.says("queue")
        assert "was approved by lee" in ana.says("queue")


async def test_a_form_goes_when_somebody_else_decides(desk: Desk) -> None:
    call = desk.hold(1, "write_file", {}, severity="low")
    async with review(desk) as ana:
        await ana.presses("a")
        desk.reject(call, key=desk.lee)
        await ana.looks()
        assert not ana.app.form.is_open
        assert "Nothing was sent" in ana.says("status")
        assert "rejected already by lee" in ana.says("status")


async def test_a_call_that_expires_under_the_form_is_not_decided(desk: Desk) -> None:
    call = desk.hold(1, "write_file", {}, severity="low", minutes=1)
    async with review(desk) as ana:
        await ana.presses("a")
        desk.clock.pass_(120)
        await ana.presses("enter")
        await ana.app.workers.wait_for_complete()
        assert "time to decide" in ana.says("status")
        await ana.looks()
        assert not ana.app.form.is_open
    assert desk.store.approvals(call) == []


async def test_time_left_counts_down(desk: Desk) -> None:
    desk.hold(1, "write_file", {}, severity="low", minutes=10)
    async with review(desk) as ana:
        assert "09:59" in ana.says("queue")
        await ana.looks(30)
        assert "09:29" in ana.says("queue")
        assert "09:29 left" in ana.says("call-title")


@pytest.mark.sqlite
async def test_a_store_that_is_gone_is_said_and_keys_are_off(desk: Desk) -> None:
    desk.hold(1, "write_file", {}, severity="low")
    async with review(desk) as ana:
        desk.store.path.rename(desk.folder / "moved.db")
        await ana.looks(12)
        assert "stale 12 s" in ana.says("head")
        assert "no audit store" in ana.says("status")
        await ana.presses("a")
        assert not ana.app.form.is_open
        (desk.folder / "moved.db").rename(desk.store.path)
        await ana.looks()
        assert "live" in ana.says("head")
        await ana.presses("a")
        assert ana.app.form.is_open


# --- who -----------------------------------------------------------------------------------


async def test_read_only_screens_decide_nothing_and_say_so(desk: Desk) -> None:
    desk.hold(1, "write_file", {}, severity="low")
    async with review(desk, read_only=True) as auditor:
        await auditor.presses("a")
        assert not auditor.app.form.is_open
        assert "read only" in auditor.says("status")
        assert "approve" not in auditor.says("foot")


async def test_a_key_that_is_no_reviewers_is_told_what_to_do(desk: Desk, tmp_path: Path) -> None:
    desk.hold(1, "write_file", {}, severity="low")
    stranger = make_key(tmp_path / "stranger", comment="?")
    async with review(desk, signer=stranger) as somebody:
        assert "reviewers.yaml" in somebody.says("status")


async def test_without_a_key_nothing_is_decided(desk: Desk) -> None:
    desk.hold(1, "write_file", {}, severity="low")
    async with review(desk, signer=None) as somebody:
        await somebody.presses("a")
        assert not somebody.app.form.is_open
        assert "no key" in somebody.says("status")


async def test_a_signer_that_refuses_is_heard_and_nothing_is_decided(desk: Desk) -> None:
    class Refusing:
        public_key = desk.ana.public_key

        def sign(self, statement: bytes) -> str:
            raise ApprovalError("The security key was not touched.")

    call = desk.hold(1, "write_file", {}, severity="low")
    async with review(desk, signer=Refusing()) as ana:
        await ana.presses("a")
        await ana.commits()
        assert "was not touched" in ana.says("status")
    assert desk.status(call) == "held"


async def test_a_missing_role_is_said_before_anything_is_written(desk: Desk) -> None:
    from review_desk import REFUND_RULE

    desk.hold(1, "refund_payment", {}, rule=REFUND_RULE.model_copy(update={"id": "refunds"}))
    bob = make_key(desk.folder / "bob", comment="bob")
    from agentrt.approvals import ApprovalQueue
    from agentrt.policy import PublicKey, Reviewer, Reviewers

    known = Reviewer(name="bob", roles=("intern",), keys=(PublicKey.parse(bob.public_key),))
    desk.queue = ApprovalQueue(desk.store, Reviewers((known,)))
    async with review(desk, signer=bob) as somebody:
        await somebody.presses("a")
        assert not somebody.app.form.is_open
        assert "lacks the role support-lead" in somebody.says("status")


# --- look ----------------------------------------------------------------------------------


async def test_hostile_content_is_drawn_as_text(desk: Desk) -> None:
    hostile = (
        "\x1b[2J\x1b]0;owned\x07\u202etxt.exe\u202c [bold red]x[/] [@click=app.quit]y[/]\r\n" * 3
    )
    desk.hold(1, "send_mail", {"body": hostile}, preview=hostile, prompt=hostile, user="m\x1bm")
    async with review(desk) as ana:
        for keys in ((), ("2",), ("enter",), ("w",), ("1", "w")):
            await ana.presses(*keys)
            strips = ana.app.screen._compositor.render_strips()
            drawn = "\n".join(strip.text for strip in strips)
            assert not set(drawn) & set("\x1b\x07\r\u202e\u202c")
            assert all(strip.cell_length == 120 for strip in strips)
        assert r"\x1b[2J" in ana.says("read")
        assert "[bold red]x[/]" in ana.says("read")


async def test_eighty_by_twenty_four_shows_the_decision_keys(desk: Desk) -> None:
    busy(desk)
    async with review(desk, size=(80, 24)) as ana:
        foot = ana.says("foot")
        assert "a approve  d reject" in foot
        assert foot.endswith("^p commands  ? help")


async def test_too_small_a_terminal_asks_for_room_and_decides_nothing(desk: Desk) -> None:
    desk.hold(1, "write_file", {}, severity="low")
    async with review(desk, size=(59, 15)) as ana:
        assert "too small" in ana.says("too-small")
        await ana.presses("a")
        assert not ana.app.form.is_open
        await ana.pilot.resize_terminal(80, 24)
        await ana.looks()
        await ana.presses("a")
        assert ana.app.form.is_open


async def test_why_tells_the_recorded_facts_and_escape_goes_back(desk: Desk) -> None:
    call = busy(desk)
    async with review(desk) as ana:
        await ana.presses("j", "w")
        text = ana.says("read")
        assert f"why {call}" in ana.says("read-title")
        assert "mona (stated) asked the agent desk" in text
        assert "rule refunds at money.yaml:3" in text
        await ana.presses("escape")
        assert ana.app.pane == "approvals"


async def test_a_filter_narrows_as_it_is_typed_and_escape_ends_it(desk: Desk) -> None:
    busy(desk)
    async with review(desk) as ana:
        await ana.presses("slash")
        await ana.writes("mail a")
        assert "send_mail" in ana.says("queue")
        assert "write_file" not in ana.says("queue")
        await ana.presses("escape")
        assert "write_file" in ana.says("queue")


async def test_letters_in_a_filter_are_no_decisions(desk: Desk) -> None:
    busy(desk)
    async with review(desk) as ana:
        await ana.presses("slash", "a", "d", "q")
        assert not ana.app.form.is_open
        assert ana.app.query_one("#filter", Input).value == "adq"


async def test_a_run_is_live(desk: Desk) -> None:
    run = desk.start(1, prompt="hello there")
    async with review(desk) as ana:
        await ana.presses("2", "enter")
        assert "hello there" in ana.says("facts")
        desk.reply(run, use("find_charges", {"order": 1}))
        await ana.looks()
        assert "asked for: find_charges" in ana.says("facts")


async def test_why_is_told_of_the_call_that_a_fact_speaks_of(desk: Desk) -> None:
    call = busy(desk)
    async with review(desk, at="r_0000000000000002") as ana:
        assert ana.app.pane == "runs"
        await ana.presses("G", "w")
        assert f"why {call}" in ana.says("read-title")


async def test_the_id_under_the_cursor_can_be_copied(desk: Desk) -> None:
    call = desk.hold(1, "write_file", {}, severity="low")
    async with review(desk) as ana:
        await ana.presses("y")
        assert ana.app.clipboard == call


async def test_the_screens_open_where_they_are_told_to(desk: Desk) -> None:
    call = busy(desk)
    async with review(desk, at=call[:8]) as ana:
        assert ana.selected == call
    desk.reject(call, key=desk.ana)
    async with review(desk, at=call) as ana:
        assert ana.app.pane == "runs"
        assert "ana rejected it" in ana.says("facts")


def test_an_unknown_place_is_told_before_the_screens_open(desk: Desk) -> None:
    with pytest.raises(NotFound):
        ReviewApp(desk.store, desk.queue, desk.ana, at="c_nowhere")


def test_without_a_terminal_the_screens_do_not_open(desk: Desk) -> None:
    with pytest.raises(AgentrtError, match="terminal"):
        run_app(desk.store, desk.queue, desk.ana)


async def test_without_colours_risk_and_cursor_can_still_be_read(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    busy(desk)
    async with review(desk) as ana:
        assert ana.app.no_color
        strips = ana.app.screen._compositor.render_strips()
        assert any(strip.text.startswith(" > !! CRIT") for strip in strips)


async def test_a_light_theme_is_as_readable(desk: Desk) -> None:
    busy(desk)
    async with review(desk) as ana:
        ana.app.theme = "agentrt-light"
        await ana.looks()
        assert ana.app.current_theme.dark is False
        assert "execute_sql" in ana.says("queue")


def test_the_clock_of_the_stories_stands_still(desk: Desk) -> None:
    assert desk.clock() == START
    assert isinstance(desk.ana, KeyFile)
