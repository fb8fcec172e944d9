import re
from dataclasses import replace

import pytest
from worlds import Desk, Story, asked, decided, replied, said, started, use

from agentrt.approvals import KeyFile
from agentrt.errors import NotFound
from agentrt.events import AnyEvent, Record, RunFinished, User
from agentrt.run import explain, trace
from agentrt.run.page import page

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e&\"'"


def told() -> list[Record]:
    """A run of two calls: 1 started, 2 asked, 3 replied, 4 and 5 decided, 6 finished."""
    story = Story()
    uses = (use("read_note", name="a"), use("pay", payee="b", cents=1, id="toolu_2"))
    story.tell(started(), after(asked(), 1), after(replied(said("I look."), *uses), 2))
    story.tell(after(decided(story.call(0), "hold"), 3), after(decided(story.call(1), "hold"), 3))
    story.tell(after(RunFinished(stop_reason="end_turn", output="Done."), 4))
    return story.records


def after(event: AnyEvent, cause: int) -> AnyEvent:
    return event.model_copy(update={"cause": cause})


def test_a_record_is_told_with_all_that_led_to_it_and_all_that_followed() -> None:
    found = trace(told(), 4)
    assert [fact.seq for fact in found.led_here] == [1, 2, 3]
    assert [fact.seq for fact in found.followed] == [6]
    whole = trace(told(), 1)
    assert [fact.seq for fact in whole.followed] == [2, 3, 4, 5, 6]


def test_what_has_another_cause_did_not_follow() -> None:
    assert trace(told(), 5).followed == ()


def test_a_file_in_which_causes_go_in_circles_ends_the_walk() -> None:
    records = told()
    forged = [replace(each, event=after(each.event, each.seq % 6 + 1)) for each in records]
    assert trace(forged, 3).led_here == ()


def test_a_record_that_there_is_not_is_not_found() -> None:
    with pytest.raises(NotFound, match="has no record 99; it has 6"):
        trace(told(), 99)


def test_lines_and_data_say_the_same() -> None:
    found = trace(told(), 4)
    text = "\n".join(found.lines())
    assert "what followed from it" in text
    data = found.data()
    assert (data["seq"], len(data["led_here"]), len(data["followed"])) == (4, 3, 1)
    assert len(data["record"]["hash"]) == 64


# --- the page ----------------------------------------------------------------------------


async def a_page(desk: Desk, keys: dict[str, KeyFile]) -> str:
    call = await desk.hold(user=User(name=HOSTILE))
    run = await desk.queue.approve(call.id, signer=keys["ana"], reason=HOSTILE)
    story = explain(desk.store.records(run.id), call.id)
    return page(f"Why {HOSTILE}", [story, trace(desk.store.records(run.id), 1)], {"by": HOSTILE})


async def test_nothing_that_others_wrote_is_obeyed_by_the_browser_or_the_eye(
    desk: Desk, keys: dict[str, KeyFile]
) -> None:
    text = await a_page(desk, keys)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[31m\\u202e" in text


async def test_the_page_is_complete_and_asks_nobody_for_anything(
    desk: Desk, keys: dict[str, KeyFile]
) -> None:
    text = await a_page(desk, keys)
    assert "default-src 'none'" in text
    for word in ("http://", "https://", "src=", "href=", "url(", "@import", "<link", "<img"):
        assert word not in text.replace("default-src", ""), word
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    opened = re.findall(r"<(\w+)(?:\s[^>]*)?>", text)
    closed = re.findall(r"</(\w+)>", text)
    assert sorted(tag for tag in opened if tag != "meta") == sorted(closed)


async def test_the_page_names_each_record_by_its_hash(desk: Desk, keys: dict[str, KeyFile]) -> None:
    text = await a_page(desk, keys)
    for record in desk.store.records("r_0000000000000001"):
        assert record.hash.hex() in text


async def test_what_was_forgotten_is_said(desk: Desk) -> None:
    await desk.hold()
    records = desk.store.records("r_0000000000000001")
    records[0] = replace(records[0], forgotten=frozenset({"prompt"}))
    assert "forgotten since: prompt" in "\n".join(trace(records, 1).lines())
